//! The source of plain reads passes the suite that every source must, and the engine passes its own suite on it.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
#[path = "../../engine/tests/suite/mod.rs"]
mod suite;

use bifold::Db;
use bifold_bench::pread_source::PreadSource;
use bifold_page_source::testing::conformance;
use bifold_page_source::{FileSystem, OsFs};

#[test]
fn the_source_conforms_in_memory() {
    conformance::run::<PreadSource>(&());
}

#[test]
fn the_source_conforms_on_files_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    conformance::run_on::<PreadSource>(&(), &|| OsFs.create_unnamed(&path).unwrap());
}

#[test]
fn each_page_of_a_descent_is_read_each_time_and_verified_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let open = || Db::<PreadSource>::builder().page_size(512).open(&path).unwrap();
    let db = open();
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..2000u32).try_for_each(|n| table.insert(n.to_be_bytes(), [7; 16]))
    })
    .unwrap();
    db.close().unwrap();

    let db = open();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    let get = || {
        let before = db.stats().source;
        assert_eq!(table.get(77u32.to_be_bytes()).unwrap().as_deref(), Some(&[7; 16][..]));
        let after = db.stats().source;
        (after.pages_read - before.pages_read, after.pages_verified - before.pages_verified)
    };
    let (first, verified) = get();
    assert!(first >= 3, "a tree of {first} levels is no test");
    assert_eq!(verified, first);
    assert_eq!((get(), get()), ((first, 0), (first, 0)));
}

/// Plain reads.
pub struct Pread;

impl suite::Backend for Pread {
    type Source = PreadSource;
}

mod pread {
    suite!(Pread);
}
