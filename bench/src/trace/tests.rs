//! Tests of what is found out about a trace before it is replayed.

use super::{Prepared, prepare};
use crate::cell::Interrupt;
use bifold::mmap::Database;
use std::fs;
use std::path::Path;

/// Records what `calls` does to a database that holds the keys 00 to 49 in the table `t`.
fn record(dir: &Path, hide: bool, calls: impl FnOnce(&Database) -> bifold::Result<()>) {
    let file = dir.join("db.bifold");
    let db = Database::open(&file).unwrap();
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..50).try_for_each(|n| table.insert(key(n), vec![0; n]).map(drop))
    })
    .unwrap();
    db.close().unwrap();
    fs::copy(&file, dir.join("before.bifold")).unwrap();
    let builder = Database::builder().record_trace(dir.join("trace")).hide_trace_keys(hide);
    let db = builder.open(&file).unwrap();
    calls(&db).unwrap();
    db.close().unwrap();
}

fn key(number: usize) -> String {
    format!("{number:02}")
}

fn prepared(dir: &Path) -> Prepared {
    prepare(&dir.join("trace"), None, dir, &Interrupt::default()).unwrap()
}

#[test]
fn what_was_there_is_what_was_found_and_not_put() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), false, |db| {
        db.update(|txn| {
            let table = txn.table("t")?;
            assert!(table.get(key(7))?.is_some(), "there");
            table.insert(key(8), "put")?;
            assert!(table.remove(key(9))?, "there, of unknown length");
            table.insert("new", "12345")?;
            table.remove("new").map(drop)
        })?;
        db.update(|txn| {
            let table = txn.table("t")?;
            assert!(table.get(key(8))?.is_some(), "put");
            let point = txn.savepoint()?;
            table.insert(key(10), "rolled back")?;
            txn.rollback_to(&point)?;
            assert!(table.get(key(10))?.is_some(), "there");
            table.insert("newer", "123").map(drop)
        })
    });
    let Prepared { recording, survey, notes } = prepared(dir.path());
    assert_eq!(recording.entries, 3, "{notes:?}");
    // 7, 8, 10, and the newer one: 9 was removed.
    assert_eq!((recording.exact, recording.entries_at_end), (true, Some(4)));
    // 7 and 10 bytes, and as many as those in the mean for 9; what was put elsewhere: 8 and `newer`.
    assert_eq!(recording.bytes, (2 + 7) + (2 + 8) + (2 + 10) + (2 + 3) + (5 + 3));
    assert_eq!((survey.commits, survey.names.clone()), ((2, 2), vec!["t".to_owned()]));
    assert!(notes.iter().any(|note| note.starts_with("2 of 2 commits waited")), "{notes:?}");

    let before = dir.path().join("before.bifold");
    let file = dir.path().join("trace");
    let error = prepare(&file, None, dir.path(), &Interrupt::that_came()).unwrap_err().to_string();
    assert!(error.ends_with("it was interrupted"), "{error}");
    let from = prepare(&file, Some((&before, None)), dir.path(), &Interrupt::default()).unwrap().recording;
    assert_eq!((from.entries, from.entries_at_end), (50, Some(50)), "one was removed, and one put");
    assert!(from.complete && !recording.complete);
}

#[test]
fn threads_hidden_keys_and_cuts_are_known() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), true, |db| {
        let txn = db.read()?;
        let table = txn.table("t")?;
        std::thread::scope(|scope| scope.spawn(|| table.get(key(1)).map(drop)).join()).unwrap()?;
        db.update(|txn| txn.table("t")?.remove_range(key(3)..key(5)).map(drop))
    });
    let Prepared { recording, survey, notes } = prepared(dir.path());
    assert_eq!((survey.threads.len(), survey.shared.len(), survey.hidden), (2, 1, true));
    assert_eq!((recording.entries, recording.exact, recording.entries_at_end), (1, false, None));
    assert!(notes.iter().any(|note| note.contains("1 times removals of ranges")), "{notes:?}");

    let trace = dir.path().join("trace");
    let whole = fs::read(&trace).unwrap();
    fs::write(&trace, &whole[..whole.len() - 1]).unwrap();
    let Prepared { survey: cut, notes, .. } = prepared(dir.path());
    assert!(cut.cut_at.is_some() && cut.events < survey.events);
    assert!(notes.iter().any(|note| note.contains("cut within a block")), "{notes:?}");
    fs::write(&trace, &whole[..60]).unwrap();
    assert!(
        prepare(&trace, None, dir.path(), &Interrupt::default())
            .unwrap_err()
            .to_string()
            .contains("ends within its head")
    );
}
