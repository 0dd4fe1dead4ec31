//! Tables: made, opened, listed, dropped, many of them, several at once.
#![forbid(unsafe_code)]

use super::{Backend, assert_clean, copy, fresh, open};
use bifold::Error;
use bifold_page_source::MemFs;

pub fn tables_are_made_opened_listed_and_dropped<B: Backend>() {
    let db = fresh::<B>();
    assert!(db.read().unwrap().tables().unwrap().is_empty());
    let txn = db.write().unwrap();
    assert!(txn.find_table("b").unwrap().is_none());
    txn.table("b").unwrap().insert("k", "1").unwrap();
    txn.create_table("a").unwrap();
    assert!(matches!(txn.create_table("a"), Err(Error::TableExists(name)) if &*name == "a"));
    assert!(matches!(txn.create_table("b"), Err(Error::TableExists(_))));
    assert_eq!(txn.tables().unwrap(), ["a", "b"]);
    txn.commit().unwrap();
    for checkpointed in [false, true] {
        if checkpointed {
            db.checkpoint().unwrap();
        }
        let txn = db.read().unwrap();
        assert_eq!(txn.tables().unwrap(), ["a", "b"]);
        assert!(txn.find_table("c").unwrap().is_none());
        assert!(matches!(txn.table("c"), Err(Error::NoSuchTable(name)) if &*name == "c"));
        assert_eq!(txn.table("b").unwrap().get("k").unwrap().unwrap(), *b"1");
        assert!(txn.table("a").unwrap().is_empty().unwrap());
    }
    let txn = db.write().unwrap();
    assert!(txn.drop_table("b").unwrap());
    assert!(!txn.drop_table("b").unwrap());
    assert!(!txn.drop_table("never").unwrap());
    assert_eq!(txn.tables().unwrap(), ["a"]);
    txn.commit().unwrap();
    assert_eq!(db.read().unwrap().tables().unwrap(), ["a"]);
    assert_clean(&db);
    db.checkpoint().unwrap();
    assert_eq!(db.read().unwrap().tables().unwrap(), ["a"]);
    assert_clean(&db);
}

pub fn ten_thousand_tables<B: Backend>() {
    const COUNT: usize = 10_000;
    let name = |i: usize| format!("table number {i}");
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    for part in 0..10 {
        let txn = db.write().unwrap();
        for i in part * COUNT / 10..(part + 1) * COUNT / 10 {
            txn.table(&name(i)).unwrap().insert(name(i), i.to_be_bytes()).unwrap();
        }
        txn.commit().unwrap();
    }
    let mut names: Vec<String> = (0..COUNT).map(name).collect();
    names.sort();
    assert_eq!(db.read().unwrap().tables().unwrap(), names);
    let txn = db.write().unwrap();
    for i in (0..COUNT).step_by(2) {
        assert!(txn.drop_table(&name(i)).unwrap());
    }
    txn.commit().unwrap();
    db.close().unwrap();
    let db = open::<B>(&fs);
    let txn = db.read().unwrap();
    let mut names: Vec<String> = (1..COUNT).step_by(2).map(name).collect();
    names.sort();
    assert_eq!(txn.tables().unwrap(), names);
    for i in (1..COUNT).step_by(2) {
        let table = txn.table(&name(i)).unwrap();
        assert_eq!(table.get(name(i)).unwrap().unwrap(), i.to_be_bytes());
        assert!(txn.find_table(&name(i - 1)).unwrap().is_none());
    }
    assert_clean(&db);
    assert_eq!(db.check().unwrap().tables, COUNT as u64 / 2);
}

pub fn two_tables_side_by_side<B: Backend>() {
    let db = fresh::<B>();
    let txn = db.write().unwrap();
    let from = txn.table("from").unwrap();
    for i in 0..500u32 {
        from.insert(i.to_be_bytes(), vec![i as u8; 20]).unwrap();
    }
    txn.commit().unwrap();

    // One is read while the other is written, by cursor and by guard.
    let txn = db.write().unwrap();
    let (from, to) = (txn.table("from").unwrap(), txn.table("to").unwrap());
    let mut cursor = from.cursor();
    while let Some((key, value)) = cursor.next().unwrap() {
        to.insert(value, key).unwrap();
        to.insert(key, value).unwrap();
    }
    drop(cursor);
    let mut guards = Vec::new();
    for entry in from.iter() {
        let (key, value) = entry.unwrap();
        to.insert([&key[..], b"again"].concat(), &value).unwrap();
        from.remove(&key).unwrap();
        guards.push((key, value));
    }
    assert!(from.is_empty().unwrap());
    for (key, value) in &guards {
        assert_eq!(to.get(key).unwrap().unwrap(), **value);
    }
    assert_eq!(guards.len(), 500);
    drop(guards);
    txn.commit().unwrap();
    let txn = db.read().unwrap();
    assert_eq!(txn.table("from").unwrap().len().unwrap(), 0);
    assert_eq!(txn.table("to").unwrap().len().unwrap(), 500 + 500 + 256);
    assert_clean(&db);
}

pub fn names_of_all_kinds<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    let longest = "x".repeat(db.key_max());
    let names = ["", "\0", "a", "a\0", "ä", "日本", &longest];
    let txn = db.write().unwrap();
    for (i, name) in names.iter().enumerate() {
        txn.table(name).unwrap().insert("i", [i as u8]).unwrap();
    }
    let too_long = "x".repeat(db.key_max() + 1);
    assert!(matches!(txn.table(&too_long), Err(Error::KeyTooLong { .. })));
    assert!(matches!(txn.create_table(&too_long), Err(Error::KeyTooLong { .. })));
    assert!(!txn.drop_table(&too_long).unwrap());
    assert!(txn.find_table(&too_long).unwrap().is_none());
    txn.commit().unwrap();
    assert!(db.read().unwrap().find_table(&too_long).unwrap().is_none());
    let crashed = copy(&fs);
    db.close().unwrap();
    for fs in [fs, crashed] {
        let db = open::<B>(&fs);
        let txn = db.read().unwrap();
        for (i, name) in names.iter().enumerate() {
            assert_eq!(txn.table(name).unwrap().get("i").unwrap().unwrap(), [i as u8]);
        }
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        assert_eq!(txn.tables().unwrap(), sorted);
        assert_clean(&db);
    }
}

pub fn a_table_dropped_and_made_again_is_empty<B: Backend>() {
    for checkpointed in [false, true] {
        let fs = MemFs::new();
        let db = open::<B>(&fs);
        let fill = |from: u32| {
            let txn = db.write().unwrap();
            let table = txn.table("t").unwrap();
            for i in from..from + 300 {
                table.insert(i.to_be_bytes(), [7; 50]).unwrap();
            }
            table.insert("large", vec![1; 100_000]).unwrap();
            table.insert("middling", vec![1; 10_000]).unwrap();
            txn.commit().unwrap();
        };
        fill(0);
        if checkpointed {
            db.checkpoint().unwrap();
        }
        let txn = db.write().unwrap();
        assert!(txn.drop_table("t").unwrap());
        assert!(txn.find_table("t").unwrap().is_none());
        let table = txn.table("t").unwrap();
        assert!(table.is_empty().unwrap());
        table.insert("only", "one").unwrap();
        assert!(txn.drop_table("t").unwrap());
        txn.table("t").unwrap().insert("only", "this").unwrap();
        txn.commit().unwrap();
        let crashed = copy(&fs);
        assert_clean(&db);
        fill(1000);
        assert_clean(&db);
        drop(db);
        let db = open::<B>(&crashed);
        let txn = db.read().unwrap();
        let table = txn.table("t").unwrap();
        assert_eq!(table.len().unwrap(), 1);
        assert_eq!(table.get("only").unwrap().unwrap(), *b"this");
        assert_clean(&db);
    }
}

pub fn handles_of_a_dropped_table<B: Backend>() {
    let db = fresh::<B>();
    let txn = db.write().unwrap();
    let (handle, other) = (txn.table("t").unwrap(), txn.table("t").unwrap());
    handle.insert("a", "1").unwrap();
    assert_eq!(other.get("a").unwrap().unwrap(), *b"1");
    let mut cursor = handle.cursor_mut();
    cursor.first().unwrap();
    let guard = other.get("a").unwrap().unwrap();
    txn.drop_table("t").unwrap();
    assert!(matches!(handle.insert("b", "2"), Err(Error::NoSuchTable(_))));
    assert!(matches!(handle.get("a"), Err(Error::NoSuchTable(_))));
    assert!(matches!(other.len(), Err(Error::NoSuchTable(_))));
    assert!(cursor.next().is_err());
    assert!(cursor.insert("c", "3").is_err());
    assert_eq!(guard, *b"1");
    // Nothing of that has failed the transaction, and a new table of this name is another one.
    txn.table("t").unwrap().insert("d", "4").unwrap();
    assert!(handle.get("d").is_err());
    drop((cursor, guard));
    txn.commit().unwrap();
    let keys: Vec<_> = db.read().unwrap().table("t").unwrap().iter().keys().map(Result::unwrap).collect();
    assert_eq!(keys, [b"d"]);
}

pub fn tables_are_renamed<B: Backend>() {
    let db = fresh::<B>();
    let txn = db.write().unwrap();
    let handle = txn.table("a").unwrap();
    handle.insert("k", "1").unwrap();
    txn.table("b").unwrap().insert("k", "2").unwrap();
    assert!(matches!(txn.rename_table("none", "c"), Err(Error::NoSuchTable(name)) if &*name == "none"));
    assert!(matches!(txn.rename_table("a", "b"), Err(Error::TableExists(name)) if &*name == "b"));
    assert!(matches!(txn.rename_table("a", "a"), Err(Error::TableExists(_))));
    let long = "n".repeat(200);
    assert!(matches!(txn.rename_table("a", &long), Err(Error::KeyTooLong { len: 200, .. })));
    // Nothing of that has failed the transaction. The names change places.
    let load = handle.bulk_load().unwrap();
    txn.rename_table("a", "c").unwrap();
    assert!(matches!(handle.get("k"), Err(Error::NoSuchTable(name)) if &*name == "a"));
    assert!(load.finish().is_err());
    let savepoint = txn.savepoint().unwrap();
    txn.rename_table("b", "a").unwrap();
    txn.rename_table("c", "b").unwrap();
    txn.rollback_to(&savepoint).unwrap();
    assert_eq!(txn.tables().unwrap(), ["b", "c"]);
    txn.rename_table("b", "a").unwrap();
    txn.rename_table("c", "b").unwrap();
    assert_eq!(txn.tables().unwrap(), ["a", "b"]);
    assert!(matches!(handle.len(), Err(Error::NoSuchTable(_))));
    txn.commit().unwrap();
    let before = db.read().unwrap();
    db.update(|txn| txn.rename_table("b", "z")).unwrap();
    for checkpointed in [false, true] {
        if checkpointed {
            db.checkpoint().unwrap();
        }
        assert_eq!(db.read().unwrap().tables().unwrap(), ["a", "z"]);
        for (txn, name) in [(&before, "b"), (&db.read().unwrap(), "z")] {
            assert_eq!(txn.table("a").unwrap().get("k").unwrap().unwrap(), *b"2");
            assert_eq!(txn.table(name).unwrap().get("k").unwrap().unwrap(), *b"1");
        }
        assert_clean(&db);
    }
}

pub fn a_rename_survives_a_crash<B: Backend>() {
    for checkpointed in [false, true] {
        let fs = MemFs::new();
        let db = open::<B>(&fs);
        db.update(|txn| {
            let table = txn.table("old")?;
            (0..500u32).try_for_each(|i| table.insert(i.to_be_bytes(), [7; 50]))?;
            table.insert("large", vec![1; 100_000])?;
            table.insert("middling", vec![1; 10_000])
        })
        .unwrap();
        if checkpointed {
            db.checkpoint().unwrap();
        }
        db.update(|txn| {
            txn.table("old")?.insert("before", "")?;
            txn.rename_table("old", "new")?;
            // Both names go on, one for another table.
            txn.table("old")?.insert("only", "this")?;
            txn.table("new")?.insert("after", "")
        })
        .unwrap();
        let crashed = copy(&fs);
        db.checkpoint().unwrap();
        assert_clean(&db);
        drop(db);
        for fs in [crashed, fs] {
            let db = open::<B>(&fs);
            let txn = db.read().unwrap();
            assert_eq!(txn.tables().unwrap(), ["new", "old"]);
            let (new, old) = (txn.table("new").unwrap(), txn.table("old").unwrap());
            assert_eq!((new.len().unwrap(), old.len().unwrap()), (504, 1));
            assert_eq!(new.get("large").unwrap().unwrap(), vec![1; 100_000]);
            assert!(new.contains_key("before").unwrap() && new.contains_key("after").unwrap());
            assert_clean(&db);
        }
    }
}

pub fn empty_tables_stay<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    db.update(|txn| txn.table("empty").map(drop)).unwrap();
    db.update(|txn| txn.table("emptied")?.insert("k", "v")).unwrap();
    db.update(|txn| txn.table("emptied")?.clear()).unwrap();
    let crashed = copy(&fs);
    db.close().unwrap();
    for fs in [fs, crashed] {
        let db = open::<B>(&fs);
        let txn = db.read().unwrap();
        assert_eq!(txn.tables().unwrap(), ["emptied", "empty"]);
        let table = txn.table("empty").unwrap();
        assert!(table.first().unwrap().is_none() && table.last().unwrap().is_none());
        assert!(table.nth(0).unwrap().is_none() && table.iter().next().is_none());
        assert_eq!(table.rank("x").unwrap(), 0);
        assert_eq!(table.get_many(&["a", "b"]).unwrap().len(), 2);
        assert_eq!(table.count::<&[u8]>(..).unwrap(), 0);
        let mut cursor = table.cursor();
        assert!(cursor.next().unwrap().is_none() && cursor.prev().unwrap().is_none());
        assert_clean(&db);
    }
}
