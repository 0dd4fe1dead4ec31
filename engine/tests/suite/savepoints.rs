//! Savepoints: partial rollback within a transaction.
#![forbid(unsafe_code)]

use super::{Backend, assert_clean, bytes, copy, fresh, open};
use bifold::{Error, PageSource, TableMut};
use bifold_page_source::MemFs;

fn entries<S: PageSource>(table: &TableMut<'_, S>) -> Vec<(Vec<u8>, Vec<u8>)> {
    table.iter().map(|entry| entry.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
}

pub fn a_savepoint_brings_everything_back<B: Backend>() {
    let db = fresh::<B>();
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..300u32).try_for_each(|i| table.insert(i.to_be_bytes(), bytes(60, i as u8)))
    })
    .unwrap();
    db.checkpoint().unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for i in 0..50u32 {
        table.insert(i.to_be_bytes(), "changed before").unwrap();
    }
    let before = entries(&table);
    let savepoint = txn.savepoint().unwrap();
    for round in 0..3u32 {
        for i in 0..300u32 {
            match (i + round) % 3 {
                0 => drop(table.remove(i.to_be_bytes()).unwrap()),
                1 => table.insert(i.to_be_bytes(), bytes(100, 9)).unwrap(),
                _ => table.insert((1000 + i).to_be_bytes(), "new").unwrap(),
            }
        }
        table.remove_range(100u32.to_be_bytes()..200u32.to_be_bytes()).unwrap();
        assert_ne!(entries(&table), before);
        txn.rollback_to(&savepoint).unwrap();
        assert!(entries(&table) == before, "round {round}");
        assert_eq!(table.len().unwrap(), 300);
    }
    table.clear().unwrap();
    txn.rollback_to(&savepoint).unwrap();
    table.insert("after", "all").unwrap();
    txn.commit().unwrap();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    assert_eq!(table.len().unwrap(), 301);
    assert_eq!(table.get(49u32.to_be_bytes()).unwrap().unwrap(), *b"changed before");
    assert_clean(&db);
}

pub fn nested_savepoints<B: Backend>() {
    let db = fresh::<B>();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let mut savepoints = Vec::new();
    for i in 0..40u32 {
        savepoints.push((txn.savepoint().unwrap(), entries(&table)));
        for j in 0..20u32 {
            table.insert((j * 100 + i).to_be_bytes(), [i as u8; 30]).unwrap();
        }
    }
    for back in [39, 30, 30, 12, 3, 0] {
        savepoints.truncate(back + 1);
        let (savepoint, wanted) = &savepoints[back];
        table.insert("between", "x").unwrap();
        txn.rollback_to(savepoint).unwrap();
        assert!(entries(&table) == *wanted, "{back}");
    }
    assert!(table.is_empty().unwrap());
    txn.commit().unwrap();
    assert_clean(&db);
}

pub fn savepoints_that_are_no_longer_valid<B: Backend>() {
    let (db, other) = (fresh::<B>(), fresh::<B>());
    let txn = db.write().unwrap();
    let first = txn.savepoint().unwrap();
    let second = txn.savepoint().unwrap();
    txn.rollback_to(&first).unwrap();
    assert!(matches!(txn.rollback_to(&second), Err(Error::SavepointInvalid)));
    txn.rollback_to(&first).unwrap();
    txn.rollback_to(&first.clone()).unwrap();
    let third = txn.savepoint().unwrap();
    assert!(matches!(txn.rollback_to(&second), Err(Error::SavepointInvalid)));
    // Of another database.
    let foreign = other.write().unwrap();
    assert!(matches!(foreign.rollback_to(&third), Err(Error::SavepointInvalid)));
    txn.table("t").unwrap().insert("a", "1").unwrap();
    txn.commit().unwrap();
    // Of an earlier transaction, one that was committed and one that was not.
    let txn = db.write().unwrap();
    let _ = txn.savepoint().unwrap();
    assert!(matches!(txn.rollback_to(&first), Err(Error::SavepointInvalid)));
    let aborted = txn.savepoint().unwrap();
    txn.table("t").unwrap().insert("b", "2").unwrap();
    drop(txn);
    let txn = db.write().unwrap();
    for _ in 0..3 {
        let _ = txn.savepoint().unwrap();
    }
    txn.table("t").unwrap().insert("c", "3").unwrap();
    assert!(matches!(txn.rollback_to(&aborted), Err(Error::SavepointInvalid)));
    txn.commit().unwrap();
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 2);
}

pub fn tables_opened_since_a_savepoint<B: Backend>() {
    let db = fresh::<B>();
    db.update(|txn| txn.table("old")?.insert("a", "1")).unwrap();
    let txn = db.write().unwrap();
    let savepoint = txn.savepoint().unwrap();
    let (old, new) = (txn.table("old").unwrap(), txn.table("new").unwrap());
    new.insert("n", "1").unwrap();
    old.insert("b", "2").unwrap();
    txn.rollback_to(&savepoint).unwrap();
    assert!(matches!(new.insert("n", "2"), Err(Error::SavepointInvalid)));
    assert!(matches!(new.get("n"), Err(Error::SavepointInvalid)));
    assert!(matches!(old.len(), Err(Error::SavepointInvalid)));
    assert_eq!(txn.tables().unwrap(), ["old"]);
    assert!(txn.find_table("new").unwrap().is_none());
    let (old, other) = (txn.table("old").unwrap(), txn.table("other").unwrap());
    assert!(new.get("n").is_err(), "a handle has become another table's");
    assert_eq!(old.len().unwrap(), 1);
    other.insert("o", "1").unwrap();
    let again = txn.table("new").unwrap();
    assert!(again.is_empty().unwrap());
    txn.commit().unwrap();
    assert_eq!(db.read().unwrap().tables().unwrap(), ["new", "old", "other"]);
    assert_clean(&db);
}

pub fn tables_dropped_and_made_since_a_savepoint<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..100u32).try_for_each(|i| table.insert(i.to_be_bytes(), [1; 50]))
    })
    .unwrap();
    db.checkpoint().unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    table.insert("mine", "1").unwrap();
    let made = txn.table("made").unwrap();
    made.insert("m", "1").unwrap();
    let savepoint = txn.savepoint().unwrap();
    for _ in 0..3 {
        txn.drop_table("t").unwrap();
        txn.drop_table("made").unwrap();
        txn.table("t").unwrap().insert("another", "2").unwrap();
        txn.create_table("made").unwrap();
        txn.drop_table("t").unwrap();
        txn.rollback_to(&savepoint).unwrap();
        assert_eq!((table.len().unwrap(), made.len().unwrap()), (101, 1));
    }
    txn.drop_table("made").unwrap();
    txn.commit().unwrap();
    let crashed = copy(&fs);
    assert_clean(&db);
    drop(db);
    let db = open::<B>(&crashed);
    assert_eq!(db.read().unwrap().tables().unwrap(), ["t"]);
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 101);
    assert_clean(&db);
}

pub fn large_values_and_savepoints<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    let (a, b) = (bytes(100_000, 1), bytes(150_000, 2));
    let small = bytes(5_000, 3);
    db.update(|txn| txn.table("t")?.insert("old", &a)).unwrap();
    db.checkpoint().unwrap();
    let file = || db.stats().file_bytes;
    let before = file();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    table.insert("kept", &b).unwrap();
    table.insert("small", &small).unwrap();
    let savepoint = txn.savepoint().unwrap();
    for _ in 0..3 {
        table.insert("gone", &b).unwrap();
        table.insert("old", &b).unwrap();
        table.insert("kept", "not large").unwrap();
        table.remove("small").unwrap();
        txn.rollback_to(&savepoint).unwrap();
        assert_eq!(table.get("old").unwrap().unwrap(), a);
        assert_eq!(table.get("kept").unwrap().unwrap(), b);
        assert_eq!(table.get("small").unwrap().unwrap(), small);
        assert!(table.get("gone").unwrap().is_none());
    }
    txn.commit().unwrap();
    assert_clean(&db);
    for _ in 0..10 {
        db.update(|txn| {
            let savepoint = txn.savepoint()?;
            txn.table("t")?.insert("gone", &b)?;
            txn.rollback_to(&savepoint)?;
            txn.table("u")?.insert("k", "v")
        })
        .unwrap();
    }
    assert_clean(&db);
    assert!(file() < before + (3 << 20), "{} after {before}", file());
    let crashed = copy(&fs);
    drop(db);
    let db = open::<B>(&crashed);
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    assert_eq!(table.get("old").unwrap().unwrap(), a);
    assert_eq!(table.get("kept").unwrap().unwrap(), b);
    assert_eq!(table.len().unwrap(), 3);
    assert_clean(&db);
}

pub fn what_a_rollback_undid_is_not_recovered<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    table.insert("a", "1").unwrap();
    let savepoint = txn.savepoint().unwrap();
    table.insert("b", "2").unwrap();
    txn.table("u").unwrap().insert("c", "3").unwrap();
    txn.rollback_to(&savepoint).unwrap();
    // The next change of the same table is logged for that table, though another one came between.
    table.insert("d", "4").unwrap();
    txn.commit().unwrap();
    let txn = db.write().unwrap();
    let savepoint = txn.savepoint().unwrap();
    txn.table("t").unwrap().insert("e", "5").unwrap();
    txn.rollback_to(&savepoint).unwrap();
    txn.commit().unwrap();
    let db = open::<B>(&copy(&fs));
    let txn = db.read().unwrap();
    assert_eq!(txn.tables().unwrap(), ["t"]);
    let keys: Vec<_> = txn.table("t").unwrap().iter().keys().map(Result::unwrap).collect();
    assert_eq!(keys, [b"a", b"d"]);
}
