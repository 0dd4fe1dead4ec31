//! Opening, closing, recovering, reading only.
#![forbid(unsafe_code)]

use super::{Backend, DbOf, PATH, assert_clean, builder, bytes, copy, disk_builder, is_one_file, open};
use bifold::{Db, Error};
use bifold_page_source::MemFs;
use std::path::Path;

fn fill<B: Backend>(db: &DbOf<B>, from: u32) {
    db.update(|txn| {
        let table = txn.table("t")?;
        table.insert("large", bytes(80_000, from as u8))?;
        (from..from + 200).try_for_each(|i| table.insert(i.to_be_bytes(), bytes(40, i as u8)))
    })
    .unwrap();
}

#[track_caller]
fn assert_filled<B: Backend>(db: &DbOf<B>, entries: u32) {
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    assert_eq!(table.len().unwrap(), u64::from(entries) + 1);
    for i in 0..entries {
        assert_eq!(table.get(i.to_be_bytes()).unwrap().unwrap(), bytes(40, i as u8));
    }
    assert_eq!(table.get("large").unwrap().unwrap(), bytes(80_000, (entries - 200) as u8));
    assert_clean(db);
}

pub fn a_closed_database_is_one_file<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    fill::<B>(&db, 0);
    assert!(!is_one_file(&fs), "there is no log: this tests nothing");
    db.close().unwrap();
    assert!(is_one_file(&fs));
    // Opening and closing changes nothing, however often.
    let before = fs.read_file(Path::new(PATH)).unwrap();
    for _ in 0..3 {
        let db = open::<B>(&fs);
        assert_filled::<B>(&db, 200);
        db.close().unwrap();
        assert!(fs.read_file(Path::new(PATH)).unwrap() == before, "reading has changed the file");
    }
    // The copy of one file is the database.
    let files = [(Path::new("/elsewhere").to_path_buf(), before)];
    let copied = MemFs::from_files(files).unwrap();
    let db: DbOf<B> = builder::<B>(&copied).open("/elsewhere").unwrap();
    assert_eq!(db.path(), Path::new("/elsewhere"));
    assert_filled::<B>(&db, 200);
}

pub fn dropping_closes<B: Backend>() {
    let fs = MemFs::new();
    for round in 0..4 {
        let db = open::<B>(&fs);
        fill::<B>(&db, round * 200);
        drop(db);
        assert!(is_one_file(&fs), "{:?}", fs.paths());
    }
    assert_filled::<B>(&open::<B>(&fs), 800);
    // With a write transaction dropped half-way, and with readers dropped before.
    let db = open::<B>(&fs);
    let reader = db.read().unwrap();
    let txn = db.write().unwrap();
    txn.table("t").unwrap().clear().unwrap();
    drop((txn, reader));
    drop(db);
    assert_filled::<B>(&open::<B>(&fs), 800);
}

pub fn an_unclean_close_is_recovered<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    let mut images = Vec::new();
    for round in 0..6 {
        fill::<B>(&db, round * 200);
        images.push((copy(&fs), (round + 1) * 200));
        if round % 2 == 1 {
            db.checkpoint().unwrap();
            images.push((copy(&fs), (round + 1) * 200));
        }
    }
    for (fs, entries) in images {
        // Twice, the first time without anybody closing.
        let db = open::<B>(&fs);
        assert_filled::<B>(&db, entries);
        let again = copy(&fs);
        drop(db);
        let db = open::<B>(&again);
        assert_filled::<B>(&db, entries);
        fill::<B>(&db, entries);
        assert_filled::<B>(&db, entries + 200);
        db.close().unwrap();
        assert_filled::<B>(&open::<B>(&again), entries + 200);
    }
}

pub fn reading_only_writes_nothing<B: Backend>() {
    let fs = MemFs::new();
    assert!(builder::<B>(&fs).read_only().open(PATH).is_err());
    assert!(fs.paths().is_empty());
    fill::<B>(&open::<B>(&fs), 0);
    let before = fs.read_file(Path::new(PATH)).unwrap();
    let db = builder::<B>(&fs).read_only().open(PATH).unwrap();
    assert!(matches!(db.write(), Err(Error::ReadOnly)));
    assert!(matches!(db.try_write(), Err(Error::ReadOnly)));
    assert!(matches!(db.update(|_| Ok::<_, Error>(())), Err(Error::ReadOnly)));
    assert!(matches!(db.checkpoint(), Err(Error::ReadOnly)));
    assert_filled::<B>(&db, 200);
    assert!(db.shape().unwrap().file_pages > 200);
    // Several may read, and nobody writes meanwhile.
    let other = builder::<B>(&fs).read_only().open(PATH).unwrap();
    assert_filled::<B>(&other, 200);
    assert!(matches!(builder::<B>(&fs).open(PATH), Err(Error::Locked)));
    db.close().unwrap();
    drop(other);
    assert!(fs.read_file(Path::new(PATH)).unwrap() == before);
    assert!(is_one_file(&fs));
    fill::<B>(&open::<B>(&fs), 200);
}

pub fn reading_only_sees_what_the_log_holds<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    fill::<B>(&db, 0);
    db.checkpoint().unwrap();
    fill::<B>(&db, 200);
    db.update(|txn| txn.table("u")?.insert("a", "1")).unwrap();
    db.update(|txn| txn.drop_table("u")).unwrap();
    let crashed = copy(&fs);
    let files = || crashed.paths().iter().map(|p| crashed.read_file(p).unwrap()).collect::<Vec<_>>();
    let before = files();
    assert_eq!(before.len(), 2);
    for _ in 0..2 {
        let db = builder::<B>(&crashed).read_only().open(PATH).unwrap();
        assert_filled::<B>(&db, 400);
        assert_eq!(db.read().unwrap().tables().unwrap(), ["t"]);
        drop(db);
        assert!(files() == before, "reading only wrote");
    }
    assert_filled::<B>(&open::<B>(&crashed), 400);

    // Without the log, commits would be lost in silence.
    let live = copy(&fs);
    let log = live.paths().into_iter().find(|p| p != Path::new(PATH)).unwrap();
    bifold_page_source::FileSystem::unlink(&live, &log).unwrap();
    assert!(matches!(builder::<B>(&live).open(PATH), Err(Error::LogMissing(_))));
    assert!(matches!(builder::<B>(&live).read_only().open(PATH), Err(Error::LogMissing(_))));
}

pub fn a_second_opening_is_locked_out<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    fill::<B>(&db, 0);
    for _ in 0..2 {
        assert!(matches!(builder::<B>(&fs).open(PATH), Err(Error::Locked)));
        assert!(matches!(builder::<B>(&fs).read_only().open(PATH), Err(Error::Locked)));
        assert!(matches!(builder::<B>(&fs).create(false).open(PATH), Err(Error::Locked)));
    }
    fill::<B>(&db, 200);
    assert_filled::<B>(&db, 400);
    drop(db);
    assert_filled::<B>(&open::<B>(&fs), 400);
}

pub fn creating_and_existing<B: Backend>() {
    let fs = MemFs::new();
    let missing = builder::<B>(&fs).create(false).open(PATH);
    assert!(
        matches!(missing, Err(Error::Io { ref source, .. }) if source.kind() == std::io::ErrorKind::NotFound)
    );
    assert!(fs.paths().is_empty());
    drop(builder::<B>(&fs).create_new().open(PATH).unwrap());
    let exists = builder::<B>(&fs).create_new().open(PATH);
    assert!(
        matches!(exists, Err(Error::Io { ref source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists)
    );
    drop(builder::<B>(&fs).create(false).open(PATH).unwrap());
    let db = open::<B>(&fs);
    assert_eq!(db.read().unwrap().commit_number(), 0);
    assert!(db.read().unwrap().tables().unwrap().is_empty());
    assert_clean(&db);
    assert_eq!(db.shape().unwrap().tables.len(), 0);
}

pub fn a_file_that_is_no_database<B: Backend>() {
    let text = b"Once upon a time there was a file of text. ".repeat(1000);
    for bytes in [Vec::new(), b"x".to_vec(), text, vec![0; 16 << 10], vec![0; 1 << 20]] {
        let fs = MemFs::from_files([(PATH.into(), bytes.clone())]).unwrap();
        for builder in [builder::<B>(&fs), builder::<B>(&fs).read_only(), builder::<B>(&fs).create(false)] {
            let outcome = builder.open(PATH);
            assert!(matches!(outcome, Err(Error::NotADatabase(_))), "{} bytes: {outcome:?}", bytes.len());
        }
        assert!(fs.read_file(Path::new(PATH)).unwrap() == bytes, "a file that is none of ours was changed");
    }
}

pub fn reopening_keeps_everything<B: Backend>() {
    let fs = MemFs::new();
    for round in 0..10 {
        let db = open::<B>(&fs);
        assert_eq!(db.read().unwrap().commit_number(), u64::from(round));
        fill::<B>(&db, round * 200);
        let size = db.stats().file_bytes;
        drop(db);
        let closed = fs.read_file(Path::new(PATH)).unwrap().len() as u64;
        assert!(closed <= size, "closing has made the file longer: {closed} after {size}");
        assert_filled::<B>(&open::<B>(&fs), (round + 1) * 200);
    }
    // What is not needed at the end of the file is given back: at once where nothing lies behind it, and else when
    // what does has moved.
    let len = || fs.read_file(Path::new(PATH)).unwrap().len();
    let full = len();
    let db = open::<B>(&fs);
    db.update(|txn| txn.drop_table("t")).unwrap();
    db.close().unwrap();
    assert!(len() < full);
    for round in 0..4 {
        let db = open::<B>(&fs);
        db.update(|txn| txn.table("other")?.insert([round], "")).unwrap();
        db.close().unwrap();
    }
    assert!(len() < 50_000, "an all but empty database takes {} bytes", len());
}

pub fn on_a_disk<B: Backend>() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a database");
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    for round in 0..3 {
        let db: DbOf<B> = disk_builder::<B>(4096).open(&path).unwrap();
        assert_eq!(db.path(), path.canonicalize().unwrap());
        fill::<B>(&db, round * 200);
        db.checkpoint().unwrap();
        fill::<B>(&db, round * 200);
        assert!(matches!(Db::<B::Source>::open(&path), Err(Error::Locked)));
        assert_filled::<B>(&db, (round + 1) * 200);
        db.close().unwrap();
        assert_eq!(files(), 1);
    }
    let db = Db::<B::Source>::open(&path).unwrap();
    assert_filled::<B>(&db, 600);
    let directory = Db::<B::Source>::open(dir.path());
    assert!(directory.is_err());
    let nowhere = Db::<B::Source>::open(dir.path().join("no such directory/db"));
    assert!(matches!(nowhere, Err(Error::Io { .. })), "{nowhere:?}");
}

pub fn a_read_transaction_may_outlive_the_handle<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    fill::<B>(&db, 0);
    let txn = db.read_owned().unwrap();
    fill::<B>(&db, 0);
    db.close().unwrap();
    assert!(is_one_file(&fs));
    assert_eq!(txn.table("t").unwrap().iter().count(), 201);
    assert!(matches!(builder::<B>(&fs).open(PATH), Err(Error::Locked)));
    let held = txn.table("t").unwrap().get("large").unwrap().unwrap();
    assert!(held == bytes(80_000, 0));
    drop(held);
    drop(txn);
    assert_filled::<B>(&open::<B>(&fs), 200);
}
