//! What bounds a transaction: memory, the log, the disk.
#![forbid(unsafe_code)]

use super::{Backend, PATH, assert_clean, builder, bytes, copy, open};
use bifold::{Db, Error};
use bifold_page_source::MemFs;
use bifold_page_source::testing::FaultFs;
use std::sync::Arc;

pub fn a_transaction_too_large_names_the_option<B: Backend>() {
    let db = builder::<B>(&MemFs::new()).delta_size(64 << 10).open(PATH).unwrap();
    db.update(|txn| txn.table("t")?.insert("a", "1")).unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let error = (0..10_000u32).find_map(|i| table.insert(i.to_be_bytes(), [1; 100]).err()).unwrap();
    let Error::TransactionTooLarge { needed, bound } = error else { panic!("{error}") };
    assert!(bound == 64 << 10 && needed > bound);
    assert!(error.to_string().contains("delta_size"), "{error}");
    assert!(matches!(table.insert("b", "2"), Err(Error::TransactionFailed)));
    drop(txn);
    // In many transactions it goes well: checkpoints come between them.
    for i in 0..2_000u32 {
        db.update(|txn| txn.table("t")?.insert(i.to_be_bytes(), [1; 100])).unwrap();
    }
    assert!(db.stats().checkpoints > 3);
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 2_001);
    assert_clean(&db);
}

/// What earlier transactions left in the delta takes room too, but not for ever.
pub fn a_transaction_that_fits_alone_fails_once_at_most<B: Backend>() {
    let db = builder::<B>(&MemFs::new()).delta_size(64 << 10).open(PATH).unwrap();
    let fill = |table: &str, count: u32| {
        db.update(|txn| {
            let table = txn.table(table)?;
            (0..count).try_for_each(|i| table.insert(i.to_be_bytes(), [1; 100]))
        })
    };
    // Not quite what makes a checkpoint by itself.
    fill("small", 200).unwrap();
    assert_eq!(db.stats().checkpoints, 0);
    assert!(matches!(fill("large", 240), Err(Error::TransactionTooLarge { .. })));
    for _ in 0..3 {
        fill("large", 240).unwrap();
    }
    assert_clean(&db);
}

pub fn a_transaction_too_large_for_the_log_commits_by_checkpoint<B: Backend>() {
    let fs = MemFs::new();
    let db = builder::<B>(&fs).log_size(16 << 10).open(PATH).unwrap();
    db.update(|txn| txn.table("t")?.insert("first", "1")).unwrap();
    let checkpoints = db.stats().checkpoints;
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for i in 0..2_000u32 {
        table.insert(i.to_be_bytes(), bytes(40, i as u8)).unwrap();
    }
    table.insert("large", bytes(100_000, 1)).unwrap();
    table.insert("middling", bytes(10_000, 2)).unwrap();
    table.insert("dropped", bytes(100_000, 3)).unwrap();
    table.remove("dropped").unwrap();
    txn.table("u").unwrap().insert("k", "v").unwrap();
    txn.commit().unwrap();
    assert!(db.stats().checkpoints > checkpoints);
    assert_eq!(db.read().unwrap().commit_number(), 2);
    assert_clean(&db);
    let mut images = vec![copy(&fs)];
    // The log goes on behind it.
    db.update(|txn| txn.table("t")?.insert("last", "3")).unwrap();
    images.push(copy(&fs));
    drop(db);
    for (more, fs) in images.iter().enumerate() {
        let db = open::<B>(fs);
        let txn = db.read().unwrap();
        assert_eq!(txn.commit_number(), 2 + more as u64);
        let table = txn.table("t").unwrap();
        assert_eq!(table.len().unwrap(), 2_003 + more as u64);
        assert_eq!(table.get("large").unwrap().unwrap(), bytes(100_000, 1));
        assert_eq!(table.get("middling").unwrap().unwrap(), bytes(10_000, 2));
        assert_clean(&db);
    }
}

pub fn values_too_large_for_the_log<B: Backend>() {
    let fs = MemFs::new();
    let db = builder::<B>(&fs).log_size(16 << 10).open(PATH).unwrap();
    for round in 0..10u8 {
        for len in [15_000, 16_300, 16_384, 20_000, 64 << 10, (64 << 10) + 1] {
            db.update(|txn| txn.table("t")?.insert(format!("{len}"), bytes(len, round))).unwrap();
        }
    }
    let crashed = copy(&fs);
    drop(db);
    for fs in [fs, crashed] {
        let db = open::<B>(&fs);
        for entry in &db.read().unwrap().table("t").unwrap() {
            let (key, value) = entry.unwrap();
            let len: usize = String::from_utf8(key).unwrap().parse().unwrap();
            assert_eq!(value, bytes(len, 9));
        }
        assert_clean(&db);
    }
}

pub fn options_out_of_bounds_are_refused<B: Backend>() {
    let named = |wanted: &str, result: bifold::Result<Db<B::Source>>| match result {
        Err(Error::InvalidOption { option, .. }) => assert_eq!(option, wanted),
        other => panic!("{wanted}: {other:?}"),
    };
    let fs = MemFs::new();
    for size in [0, 1, 256, 513, 600, 131_072, usize::MAX] {
        named("page_size", builder::<B>(&fs).page_size(size).open(PATH));
        named("page_size", builder::<B>(&fs).page_size(size).in_memory());
    }
    named("delta_size", builder::<B>(&fs).delta_size(65_535).open(PATH));
    named("log_size", builder::<B>(&fs).log_size(16_383).open(PATH));
    named("log_size", builder::<B>(&fs).log_size((1 << 30) + 1).open(PATH));
    assert!(fs.paths().is_empty());
    builder::<B>(&fs).delta_size(65_536).log_size(16_384).open(PATH).unwrap();
}

pub fn a_full_disk_aborts_one_transaction<B: Backend>() {
    let fs = Arc::new(FaultFs::new(Arc::new(MemFs::new())));
    let db = builder::<B>(&MemFs::new()).file_system(fs.clone()).open(PATH).unwrap();
    fs.set_capacity(Some(4 << 20));
    let mut committed = 0u32;
    let error = loop {
        let outcome = db.update(|txn| {
            let table = txn.table("t")?;
            (0..50u32).try_for_each(|i| table.insert((committed * 50 + i).to_be_bytes(), [7; 90]))
        });
        match outcome {
            Ok(()) => committed += 1,
            Err(error) => break error,
        }
        assert!(committed < 10_000, "the disk is never full");
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(committed > 10);
    // Reading goes on, and so does writing once there is room.
    let len = || db.read().unwrap().table("t").unwrap().len().unwrap();
    assert_eq!(len(), u64::from(committed) * 50);
    fs.set_capacity(None);
    db.update(|txn| txn.table("t")?.insert("room", "again")).unwrap();
    db.checkpoint().unwrap();
    assert_eq!(len(), u64::from(committed) * 50 + 1);
    assert_clean(&db);
    db.close().unwrap();
}
