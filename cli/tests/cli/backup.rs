//! Backups: a copy under a new name, whole or not at all.

use crate::common::{BACKENDS, Place, cities};
use bifold::{Db, PageSource};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[test]
fn a_backup_is_a_database_of_the_same_content() {
    for [first, second] in [BACKENDS, [BACKENDS[1], BACKENDS[0]]] {
        let place = Place::new();
        place.feed_args(&["load", "a.bifold", "cities", cities().to_str().unwrap()], b"").good();
        place.feed("load a.bifold none", b"").good();
        let before = place.files();
        // Other programs may read meanwhile.
        let reader = bifold::mmap::Builder::new().read_only().open(place.path("a.bifold")).unwrap();
        let said = place.run(&format!("backup a.bifold b.bifold --backend {first}")).text();
        assert!(said.starts_with("b.bifold: ") && said.ends_with(" MiB, 69,472 entries\n"), "{said}");
        drop(reader);
        let dump = |db: &str, backend: &str| place.run(&format!("dump {db} --backend {backend}")).good();
        assert!(dump("b.bifold", second) == dump("a.bifold", first));
        assert!(
            place.run(&format!("check b.bifold --backend {second}")).text().starts_with("0 faults; 2 tables")
        );
        let len = place.path("b.bifold").metadata().unwrap().len();
        let json = place.run(&format!("backup a.bifold c.bifold --json --backend {first}")).json();
        assert_eq!(json, [json!({ "entries": 69_472, "bytes": len })]);
        // It is a database like any other, and what was there is as it was.
        place.run("put b.bifold cities x y").good();
        assert_eq!(place.files().len(), 3);
        assert!(place.files()[..1] == before[..]);
    }
}

#[test]
fn what_was_not_closed_can_be_backed_up() {
    let place = Place::new();
    let db = bifold::mmap::Database::open(place.path("live")).unwrap();
    db.update(|txn| (0..100).try_for_each(|n| txn.table("t")?.insert(format!("{n:03}"), "value"))).unwrap();
    for backend in BACKENDS {
        let error = place.run(&format!("backup live copy --backend {backend}")).error();
        assert_eq!(error, "bifold: live: the database is open elsewhere\n");
        assert!(!place.path("copy").exists());
    }
    std::fs::copy(place.path("live"), place.path("a.bifold")).unwrap();
    std::fs::copy(place.path("live-log"), place.path("a.bifold-log")).unwrap();
    drop(db);
    for backend in BACKENDS {
        place.run(&format!("backup a.bifold {backend}.bifold --backend {backend}")).good();
        assert_eq!(place.run(&format!("tables {backend}.bifold")).text(), "t\t100\n");
    }
    assert!(place.path("a.bifold-log").exists());
}

#[test]
fn what_cannot_be_made_is_not_begun() {
    for backend in BACKENDS {
        let place = Place::new();
        place.feed("load a.bifold t", b"a\t1\n").good();
        std::fs::write(place.path("taken"), "precious").unwrap();
        let before = place.files();
        for (dest, what) in [
            ("taken", "taken: something of that name is there already"),
            ("a.bifold", "a.bifold: something of that name is there already"),
            ("no/b", "no/b: there is no such folder"),
            ("taken/b", "taken/b: Not a directory"),
        ] {
            let error = place.run(&format!("backup a.bifold {dest} --backend {backend}")).error();
            assert!(error.starts_with(&format!("bifold: {what}")), "{error}");
            assert!(place.files() == before, "{dest}");
        }
        let error = place.run("backup a.bifold").error();
        assert!(error.contains("required arguments"), "{error}");
    }
}

#[test]
fn damage_ends_a_backup_and_leaves_nothing() {
    let place = Place::new();
    place.feed_args(&["load", "a.bifold", "cities", cities().to_str().unwrap()], b"").good();
    let mut bytes = std::fs::read(place.path("a.bifold")).unwrap();
    let at = bytes.windows(8).position(|window| window == b"Winnipeg").unwrap();
    bytes[at] ^= 1;
    std::fs::write(place.path("a.bifold"), bytes).unwrap();
    for backend in BACKENDS {
        let error = place.run(&format!("backup a.bifold b.bifold --backend {backend}")).error();
        assert!(error.contains(&format!("page {} is damaged", at / 4096)), "{error}");
        assert_eq!(place.files().len(), 1);
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    let place = Place::new();
    place.feed_args(&["load", "a.bifold", "cities", cities().to_str().unwrap()], b"").good();
    for backend in BACKENDS {
        // The limit of the size of any file, in blocks, stands for a full disk. Its signal is ignored.
        let line = format!(
            r#"ulimit -f 512 && trap '' XFSZ && "$BIFOLD" backup a.bifold b.bifold --backend {backend}"#
        );
        let ran = place.shell(&line);
        if ran.code != 2 {
            println!("skipped: the shell sets no limit of the size of files");
            return;
        }
        let error = ran.error();
        assert!(error.starts_with("bifold: b.bifold: the disk is full"), "{error}");
        assert_eq!(place.files().len(), 1);
    }
}

/// Set when it is dropped, so that a test that fails ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Backups by the program that writes, and does not stop: each shows all of one commit.
fn hot<S: PageSource>() {
    let place = Place::new();
    let db = Db::<S>::open(place.path("a.bifold")).unwrap();
    let write = |n: u32| {
        db.update(|txn| {
            let table = txn.table("t")?;
            (0..100u32).try_for_each(|key| table.insert((key * 31 % 100).to_be_bytes(), n.to_be_bytes()))?;
            txn.rename_table("t", "u")?;
            txn.rename_table("u", "t")?;
            txn.table("t")?.insert("large", vec![n as u8; 70_000])
        })
        .unwrap();
    };
    write(0);
    let (newest, done) = (AtomicU32::new(0), AtomicBool::new(false));
    let numbers = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in (1..).take_while(|_| !done.load(Ordering::SeqCst)) {
                write(n);
                newest.store(n, Ordering::SeqCst);
            }
        });
        let _done = Done(&done);
        let mut numbers = Vec::new();
        for copy in 0..4 {
            let path = place.path(&format!("{copy}.bifold"));
            let before = newest.load(Ordering::SeqCst);
            assert_eq!(db.backup(&path).unwrap().entries, 101);
            let after = newest.load(Ordering::SeqCst);
            // It does go on.
            while newest.load(Ordering::SeqCst) < before + 3 && !writer.is_finished() {
                std::thread::yield_now();
            }
            let copy = Db::<S>::builder().create(false).open(&path).unwrap();
            assert!(copy.check().unwrap().is_clean());
            let txn = copy.read().unwrap();
            let table = txn.table("t").unwrap();
            let large = table.get("large").unwrap().unwrap();
            let number = u32::from_be_bytes(table.get([0; 4]).unwrap().unwrap()[..].try_into().unwrap());
            assert!((before..=after + 1).contains(&number), "{number} is not between {before} and {after}");
            for key in 0..100u32 {
                assert_eq!(table.get(key.to_be_bytes()).unwrap().unwrap(), number.to_be_bytes());
            }
            assert!(large.iter().all(|byte| *byte == number as u8));
            numbers.push(number);
        }
        numbers
    });
    assert!(numbers.is_sorted() && numbers[0] < numbers[3], "{numbers:?}");
    assert!(db.check().unwrap().is_clean());
}

#[test]
fn writers_go_on_under_mmap() {
    hot::<bifold::mmap::Source>();
}

#[test]
fn writers_go_on_under_the_pool() {
    hot::<bifold::pool::Source>();
}
