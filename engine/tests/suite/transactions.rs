//! Commit and abort, and what fails a transaction.
#![forbid(unsafe_code)]

use super::{Backend, PATH, assert_clean, builder, bytes, fresh, settled};
use bifold::Error;
use bifold_page_source::MemFs;
use bifold_page_source::testing::FaultFs;
use std::sync::Arc;

pub fn commits_are_seen_and_aborts_are_not<B: Backend>() {
    let db = fresh::<B>();
    let before = db.read().unwrap();
    let txn = db.write().unwrap();
    txn.table("t").unwrap().insert("a", "1").unwrap();
    assert!(db.read().unwrap().find_table("t").unwrap().is_none());
    txn.commit().unwrap();
    assert!(before.find_table("t").unwrap().is_none());
    let after = db.read().unwrap();
    assert_eq!(after.table("t").unwrap().get("a").unwrap().unwrap(), *b"1");

    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    table.insert("a", "2").unwrap();
    table.insert("b", "2").unwrap();
    txn.table("u").unwrap().insert("c", "2").unwrap();
    txn.drop_table("t").unwrap();
    drop(txn);
    for txn in [&after, &db.read().unwrap()] {
        assert_eq!(txn.tables().unwrap(), ["t"]);
        let table = txn.table("t").unwrap();
        assert_eq!((table.len().unwrap(), &*table.get("a").unwrap().unwrap()), (1, &b"1"[..]));
    }
    assert_clean(&db);
}

pub fn a_write_transaction_sees_itself<B: Backend>() {
    let db = fresh::<B>();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for i in 0..1000u32 {
        table.insert(i.to_be_bytes(), i.to_le_bytes()).unwrap();
        assert_eq!(table.len().unwrap(), u64::from(i) + 1);
        assert_eq!(table.get(i.to_be_bytes()).unwrap().unwrap(), i.to_le_bytes());
    }
    for i in (0..1000u32).rev() {
        assert_eq!(table.rank(i.to_be_bytes()).unwrap(), u64::from(i));
        assert_eq!(table.last().unwrap().unwrap().0, i.to_be_bytes());
        assert!(table.remove(i.to_be_bytes()).unwrap());
        assert!(!table.contains_key(i.to_be_bytes()).unwrap());
    }
    assert!(table.is_empty().unwrap());
    txn.commit().unwrap();
    assert_clean(&db);
}

pub fn a_wrong_argument_fails_nothing<B: Backend>() {
    let db = fresh::<B>();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    table.insert("b", "1").unwrap();
    let long = vec![b'k'; db.key_max() + 1];
    let too_long = |error| matches!(error, Error::KeyTooLong { len, max } if (len, max) == (129, 128));
    assert!(too_long(table.insert(&long, "v").unwrap_err()));
    assert!(too_long(table.replace(&long, "v").unwrap_err()));
    assert!(too_long(table.insert_new(&long, "v").unwrap_err()));
    assert!(too_long(table.append(&long, "v").unwrap_err()));
    assert!(too_long(table.cursor_mut().insert(&long, "v").unwrap_err()));
    assert!(matches!(table.append("a", "v"), Err(Error::NotInOrder)));
    assert!(matches!(table.append("b", "v"), Err(Error::NotInOrder)));
    // Reading and removing take any key: there is none such.
    assert!(!table.remove(&long).unwrap());
    assert!(table.take(&long).unwrap().is_none());
    assert!(table.get(&long).unwrap().is_none());
    assert_eq!(table.rank(&long).unwrap(), 1);
    assert!(matches!(txn.create_table("t"), Err(Error::TableExists(_))));
    assert_eq!(table.len().unwrap(), 1);
    txn.commit().unwrap();
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 1);
}

pub fn a_failed_change_poisons_its_transaction<B: Backend>() {
    let fs = Arc::new(FaultFs::new(Arc::new(MemFs::new())));
    let db = builder::<B>(&MemFs::new()).file_system(fs.clone()).open(PATH).unwrap();
    db.update(|txn| txn.table("t")?.insert("a", "1")).unwrap();
    // The file cannot hold the value, which is written when it is inserted.
    fs.set_capacity(Some(2 << 20));
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let savepoint = txn.savepoint().unwrap();
    table.insert("b", "2").unwrap();
    assert!(matches!(table.insert("c", vec![1; 16 << 20]), Err(Error::DiskFull { .. })));
    let failed = |error| matches!(error, Error::TransactionFailed);
    assert!(failed(table.insert("d", "3").unwrap_err()));
    assert!(failed(table.get("a").unwrap_err()));
    assert!(failed(table.len().unwrap_err()));
    assert!(failed(table.remove("a").unwrap_err()));
    assert!(failed(table.cursor().next().map(|_| ()).unwrap_err()));
    assert!(failed(txn.table("u").unwrap_err()));
    assert!(failed(txn.tables().unwrap_err()));
    assert!(failed(txn.drop_table("t").unwrap_err()));
    assert!(failed(txn.savepoint().unwrap_err()));
    assert!(failed(txn.rollback_to(&savepoint).unwrap_err()));
    assert!(failed(txn.commit().unwrap_err()));
    // Nothing else has failed.
    fs.set_capacity(None);
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 1);
    db.update(|txn| txn.table("t")?.insert("c", vec![1; 1 << 20])).unwrap();
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 2);
    assert_clean(&db);
    db.close().unwrap();
}

pub fn a_commit_without_changes<B: Backend>() {
    let db = fresh::<B>();
    db.write().unwrap().commit().unwrap();
    assert_eq!(db.read().unwrap().commit_number(), 0);
    db.update(|txn| txn.table("t")?.insert("a", "1")).unwrap();
    let (number, log) = (db.read().unwrap().commit_number(), db.stats().log_bytes);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    assert!(!table.remove("b").unwrap());
    assert_eq!(table.remove_range("b".."c").unwrap(), 0);
    assert!(!table.insert_new("a", "2").unwrap());
    txn.commit().unwrap();
    assert_eq!((db.read().unwrap().commit_number(), db.stats().log_bytes), (number, log));
    db.close().unwrap();
}

pub fn commits_are_numbered<B: Backend>() {
    let db = fresh::<B>();
    for n in 1..=20u64 {
        let txn = db.write().unwrap();
        assert_eq!(txn.commit_number(), n - 1);
        txn.table("t").unwrap().insert(n.to_be_bytes(), "").unwrap();
        txn.commit().unwrap();
        assert_eq!(db.read().unwrap().commit_number(), n);
        assert_eq!((db.stats().commit_number, db.stats().commits), (n, n));
        if n % 7 == 0 {
            db.checkpoint().unwrap();
            assert_eq!(db.read().unwrap().commit_number(), n);
        }
    }
}

pub fn update_and_view<B: Backend>() {
    let db = fresh::<B>();
    let n = db
        .update(|txn| {
            txn.table("t")?.insert("a", "1")?;
            Ok::<_, Error>(5)
        })
        .unwrap();
    assert_eq!(n, 5);
    let wrong = db.update(|txn| {
        txn.table("t")?.insert("b", "2")?;
        Err::<(), _>(Error::NotInOrder)
    });
    assert!(matches!(wrong, Err(Error::NotInOrder)));
    let len = db.view(|txn| txn.table("t")?.len()).unwrap();
    assert_eq!(len, 1);
}

pub fn aborts_give_everything_back<B: Backend>() {
    let db = settled::<B>();
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..200u32).try_for_each(|i| table.insert(i.to_be_bytes(), bytes(100, i as u8)))
    })
    .unwrap();
    let abort = || {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        for i in 0..200u32 {
            table.insert(i.to_be_bytes(), bytes(90 + i as usize * 3, 1)).unwrap();
        }
        table.insert("large", vec![5; 300_000]).unwrap();
        table.remove_range(50u32.to_be_bytes()..150u32.to_be_bytes()).unwrap();
        txn.drop_table("t").unwrap();
    };
    abort();
    db.checkpoint().unwrap();
    // The checkpoint's pages lie where the large value lay, which needs a run of its own.
    abort();
    let file = db.stats().file_bytes;
    let memory = db.stats().delta_image_bytes;
    for _ in 0..20 {
        abort();
    }
    db.checkpoint().unwrap();
    assert_eq!(db.stats().delta_image_bytes, memory);
    assert_eq!(db.stats().file_bytes, file, "what was aborted still takes room");
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 200);
    assert_clean(&db);
}
