//! What bounds a transaction: memory, the log, the disk.
#![forbid(unsafe_code)]

use super::{Backend, PATH, assert_clean, builder, bytes, copy, open};
use bifold::testing::Stepper;
use bifold::{Db, Error, WriteTxn};
use bifold_page_source::MemFs;
use bifold_page_source::testing::FaultFs;
use std::sync::Arc;

/// What the delta cannot hold goes to the file before the commit.
pub fn a_transaction_larger_than_the_delta_spills<B: Backend>() {
    let fs = MemFs::new();
    let db = builder::<B>(&fs).delta_size(64 << 10).open(PATH).unwrap();
    db.update(|txn| txn.table("t")?.insert("a", "1")).unwrap();
    let reader = db.read().unwrap();
    let key = |i: u32| (i.wrapping_mul(2_654_435_761)).to_be_bytes();
    let value = |i: u32| bytes(i as usize % 90, i as u8);
    db.update(|txn| {
        let table = txn.table("t")?;
        for i in 0..20_000u32 {
            table.insert(key(i), value(i))?;
            // What was spilled is read, changed and removed like anything else.
            if i % 7 == 3 {
                assert_eq!(table.get(key(i / 2))?.as_deref(), Some(&value(i / 2)[..]), "{i}");
                table.insert(key(i / 2), value(i / 2))?;
            }
            if i % 1000 == 999 {
                table.insert("large", bytes(5000, i as u8))?;
                assert!(table.remove("a")?);
                table.insert("a", "2")?;
            }
        }
        Ok(())
    })
    .unwrap();
    assert!(db.stats().delta_bytes <= 64 << 10, "{}", db.stats().delta_bytes);
    assert_eq!(reader.table("t").unwrap().len().unwrap(), 1, "a reader sees what it saw");
    drop(reader);
    let all_there = |db: &bifold::Db<B::Source>| {
        let txn = db.read().unwrap();
        let table = txn.table("t").unwrap();
        assert_eq!(table.len().unwrap(), 20_002);
        for i in 0..20_000u32 {
            assert_eq!(table.get(key(i)).unwrap().as_deref(), Some(&value(i)[..]), "{i}");
        }
        assert_clean(db);
    };
    all_there(&db);
    let crashed = copy(&fs);
    all_there(&open::<B>(&crashed));
    db.close().unwrap();
    all_there(&open::<B>(&fs));
}

pub fn a_spilled_transaction_that_is_dropped_leaves_nothing<B: Backend>() {
    let put_all = |txn: &WriteTxn<'_, B::Source>, value| {
        let table = txn.table("t")?;
        (0..5_000u32).try_for_each(|i| table.insert(i.to_be_bytes(), bytes(60, value)))
    };
    let begun = || {
        let builder = builder::<B>(&MemFs::new()).delta_size(64 << 10).background(Stepper::at_once());
        let db = builder.open(PATH).unwrap();
        db.update(|txn| txn.table("t")?.insert("a", "1")).unwrap();
        db.checkpoint().unwrap();
        db
    };
    let db = begun();
    let mut lengths = Vec::new();
    for round in 0..4 {
        let txn = db.write().unwrap();
        put_all(&txn, round).unwrap();
        drop(txn);
        assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 1);
        assert_clean(&db);
        lengths.push(db.stats().file_bytes);
    }
    assert!(lengths.iter().all(|len| *len == lengths[0]), "{lengths:?}");
    db.update(|txn| put_all(txn, 9)).unwrap();
    let alone = begun();
    alone.update(|txn| put_all(txn, 9)).unwrap();
    let (file, alone) = (db.stats().file_bytes, alone.stats().file_bytes);
    assert!(file <= alone.max(lengths[0]), "{file} bytes, where {alone} would do: {lengths:?}");
    assert_clean(&db);
}

/// Rolling back over a spill: what came after the savepoint goes, what came before stays.
pub fn savepoints_reach_over_spills<B: Backend>() {
    let db = builder::<B>(&MemFs::new()).delta_size(64 << 10).open(PATH).unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let fill = |from: u32, salt: u8| {
        (from..from + 3_000).try_for_each(|i| table.insert(i.to_be_bytes(), bytes(50, salt)))
    };
    let shows = |count: u64, salts: &[(u32, u8)]| {
        assert_eq!(table.len().unwrap(), count);
        for (from, salt) in salts {
            for i in *from..*from + 3_000 {
                assert_eq!(table.get(i.to_be_bytes()).unwrap().as_deref(), Some(&bytes(50, *salt)[..]));
            }
        }
    };
    fill(0, 1).unwrap();
    let first = txn.savepoint().unwrap();
    fill(3_000, 2).unwrap();
    fill(1_000, 3).unwrap();
    let second = txn.savepoint().unwrap();
    table.remove_range(0u32.to_be_bytes()..4_000u32.to_be_bytes()).unwrap();
    fill(9_000, 4).unwrap();
    txn.rollback_to(&second).unwrap();
    shows(6_000, &[(1_000, 3)]);
    fill(0, 5).unwrap();
    txn.rollback_to(&second).unwrap();
    shows(6_000, &[(1_000, 3)]);
    txn.rollback_to(&first).unwrap();
    shows(3_000, &[(0, 1)]);
    fill(3_000, 6).unwrap();
    shows(6_000, &[(0, 1), (3_000, 6)]);
    txn.commit().unwrap();
    let txn = db.read().unwrap();
    assert_eq!(txn.table("t").unwrap().len().unwrap(), 6_000);
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
