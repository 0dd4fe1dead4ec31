//! Both backends at once: they read each other's files, and for one thread the same operations and checkpoints leave
//! the same bytes.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bifold::testing::Stepper;
use bifold::{Builder, Db, Error, PageSource, mmap, pool};
use bifold_page_source::{MemFs, MemSource};
use std::path::Path;
use std::sync::Arc;

const PATH: &str = "/db";

fn builder<S: PageSource>(fs: &MemFs) -> Builder<S> {
    let builder = Db::<S>::builder()
        .page_size(512)
        .log_size(64 << 10)
        .delta_size(1 << 20)
        .file_id(0xB1F0)
        .background(Stepper::at_once());
    builder.file_system(Arc::new(fs.clone()))
}

fn files(fs: &MemFs) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    fs.paths().into_iter().map(|path| (path.clone(), fs.read_file(&path).unwrap())).collect()
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// One commit of everything there is.
fn commit<S: PageSource>(db: &Db<S>, seed: &mut u64) -> Result<(), Error> {
    let txn = db.write()?;
    let table = txn.table(["a", "b", "c"][random(seed) as usize % 3])?;
    for _ in 0..random(seed) % 120 {
        let key = format!("key {:04}", random(seed) % 3000);
        let value = vec![random(seed) as u8; random(seed) as usize % 60];
        match random(seed) % 8 {
            0..=4 => table.insert(&key, value)?,
            5 => drop(table.remove(&key)?),
            6 => table.insert(&key, vec![7; random(seed) as usize % 4000])?,
            _ => drop(table.get(&key)?),
        }
    }
    match random(seed) % 12 {
        0 => drop(txn.drop_table("b")?),
        1 => drop(table.remove_range("key 1".."key 2")?),
        2 => table.insert("large", vec![1; 66_000 + random(seed) as usize % 100_000])?,
        3 => {
            let savepoint = txn.savepoint()?;
            table.clear()?;
            table.insert("large", vec![1; 66_000])?;
            txn.rollback_to(&savepoint)?;
        }
        4 => return Ok(()),
        _ => {}
    }
    txn.commit()
}

/// The files after each of many steps.
fn history<S: PageSource>() -> Vec<Vec<(std::path::PathBuf, Vec<u8>)>> {
    let fs = MemFs::new();
    let mut history = Vec::new();
    let mut seed = 0x00C0_FFEE;
    for round in 0..4 {
        let db = builder::<S>(&fs).open(PATH).unwrap();
        for step in 0..40 {
            commit(&db, &mut seed).unwrap();
            if step % 9 == round {
                db.checkpoint().unwrap();
            }
            history.push(files(&fs));
        }
        assert!(db.stats().checkpoints > 4);
        db.close().unwrap();
        history.push(files(&fs));
    }
    history
}

#[test]
fn the_same_operations_leave_the_same_bytes() {
    let (memory, mapped, pooled) =
        (history::<MemSource>(), history::<mmap::Source>(), history::<pool::Source>());
    for (step, memory) in memory.iter().enumerate() {
        assert!(*memory == mapped[step], "memory and mmap differ at step {step}");
        assert!(*memory == pooled[step], "memory and pool differ at step {step}");
    }
    assert_eq!((memory.len(), mapped.len()), (pooled.len(), pooled.len()));
}

type Content = Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)>;

fn content<S: PageSource>(db: &Db<S>) -> Content {
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{:#?}", report.faults);
    let txn = db.read().unwrap();
    let entries = |name: &String| {
        let table = txn.table(name).unwrap();
        table.iter().map(|entry| entry.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
    };
    txn.tables().unwrap().into_iter().map(|name| (name.clone(), entries(&name))).collect()
}

/// Writes with one, reads and goes on with the other, by turns, closed and crashed.
fn by_turns<A: PageSource, B: PageSource>() {
    let mut fs = MemFs::new();
    let mut seed = 77;
    for round in 0..6 {
        let db = builder::<A>(&fs).open(PATH).unwrap();
        for _ in 0..25 {
            commit(&db, &mut seed).unwrap();
        }
        let wanted = content(&db);
        if round % 3 == 2 {
            // A live log is read by the other as well.
            let crashed = MemFs::from_files(files(&fs)).unwrap();
            drop(db);
            fs = crashed;
        } else {
            db.close().unwrap();
        }
        let before = files(&fs);
        let read_only = builder::<B>(&fs).read_only().open(PATH).unwrap();
        assert!(content(&read_only) == wanted, "round {round}");
        drop(read_only);
        assert!(files(&fs) == before);
        let db = builder::<B>(&fs).open(PATH).unwrap();
        assert!(content(&db) == wanted, "round {round}");
        for _ in 0..25 {
            commit(&db, &mut seed).unwrap();
        }
        let wanted = content(&db);
        db.close().unwrap();
        assert!(content(&builder::<A>(&fs).open(PATH).unwrap()) == wanted, "round {round}");
    }
}

#[test]
fn the_pool_reads_what_the_mapping_wrote() {
    by_turns::<mmap::Source, pool::Source>();
}

#[test]
fn the_mapping_reads_what_the_pool_wrote() {
    by_turns::<pool::Source, mmap::Source>();
}

#[test]
fn on_a_disk_they_share_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    for round in 0..3u8 {
        let db = mmap::Database::open(&path).unwrap();
        db.update(|txn| txn.table("t")?.insert([round, 0], vec![round; 100_000])).unwrap();
        assert!(matches!(pool::Database::open(&path), Err(Error::Locked)));
        db.close().unwrap();
        let db = pool::Database::open(&path).unwrap();
        db.update(|txn| txn.table("t")?.insert([round, 1], vec![round; 100])).unwrap();
        assert!(matches!(mmap::Database::open(&path), Err(Error::Locked)));
        assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), u64::from(round) * 2 + 2);
        db.close().unwrap();
    }
    assert!(Path::new(&path).exists());
}

/// The aliases of the two modules are types of their own, and the crate's own are those of the mapping.
#[test]
fn with_both_the_default_is_the_mapping() {
    let database: bifold::Database = mmap::Database::in_memory().unwrap();
    assert_eq!(database.stats().backend, "mmap");
    assert_eq!(pool::Database::in_memory().unwrap().stats().backend, "pool");
}
