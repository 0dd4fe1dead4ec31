//! What reviews found wrong once: each test fails on the code as it was before.

#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "tests")]

use bifold::{Builder, Db, Error};
use bifold_page_source::testing::{Fault, FaultFs, OpKind};
use bifold_page_source::{FileSystem, MemFs, MemSource};
use std::sync::Arc;

const KIB: u64 = 1024;

fn builder(fs: Arc<dyn FileSystem>) -> Builder<MemSource> {
    Db::<MemSource>::builder()
        .page_size(512)
        .delta_size(8 << 20)
        .log_size(256 * KIB)
        .file_id(7)
        .file_system(fs)
}

/// A copy of all files, as they would be after the process died.
fn copy(fs: &MemFs) -> MemFs {
    let files: Vec<_> = fs.paths().into_iter().map(|p| (p.clone(), fs.read_file(&p).unwrap())).collect();
    MemFs::from_files(files).unwrap()
}

fn bytes_of(fs: &MemFs) -> u64 {
    fs.paths().iter().map(|p| fs.read_file(p).unwrap().len() as u64).sum()
}

/// Names long enough that a catalog of a few hundred has many pages, in no order.
fn name(i: u32) -> String {
    format!("{:08x}{}", i.wrapping_mul(2_654_435_761), "x".repeat(90))
}

fn with_tables(builder: &Builder<MemSource>, count: u32) -> Db<MemSource> {
    let db = builder.open("/db").unwrap();
    for first in (0..count).step_by(30) {
        let txn = db.write().unwrap();
        for i in first..first + 30 {
            txn.table(&name(i)).unwrap().insert("k", "v").unwrap();
        }
        txn.commit().unwrap();
    }
    db.close().unwrap();
    builder.open("/db").unwrap()
}

#[test]
fn a_savepoint_of_an_aborted_transaction_is_no_other_transactions() {
    let db = builder(Arc::new(MemFs::new())).open("/db").unwrap();
    let txn = db.write().unwrap();
    let old = txn.savepoint().unwrap();
    drop(txn);
    let txn = db.write().unwrap();
    txn.savepoint().unwrap();
    txn.table("t").unwrap().insert("a", "1").unwrap();
    assert!(matches!(txn.rollback_to(&old), Err(Error::SavepointInvalid)));
}

#[test]
fn extents_that_a_rollback_undid_are_free_again() {
    let db = builder(Arc::new(MemFs::new())).open("/db").unwrap();
    for i in 0..50u32 {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        table.insert("a", i.to_be_bytes()).unwrap();
        let savepoint = txn.savepoint().unwrap();
        table.insert("big", vec![7u8; 100_000]).unwrap();
        txn.rollback_to(&savepoint).unwrap();
        txn.commit().unwrap();
        db.checkpoint().unwrap();
    }
    assert!(db.check().unwrap().is_clean());
    assert!(db.stats().file_bytes < 2 << 20, "{} bytes", db.stats().file_bytes);
}

#[test]
fn a_commit_by_checkpoint_whose_meta_is_not_synced_has_an_unknown_outcome() {
    let mem = MemFs::new();
    let fs = Arc::new(FaultFs::new(Arc::new(mem.clone())));
    let db = builder(fs.clone()).log_size(16 * KIB).open("/db").unwrap();
    db.update(|t| t.table("t")?.insert("a", "1")).unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for i in 0..200u32 {
        table.insert(i.to_be_bytes(), vec![1u8; 200]).unwrap();
    }
    // The data's sync goes well, the meta's does not.
    fs.fail(Fault::new(OpKind::Sync).on("/db").after(1));
    let result = txn.commit();
    drop(db);
    fs.heal();
    let db = builder(Arc::new(copy(&mem))).open("/db").unwrap();
    assert!(result.is_err() && fs.fired() == 1);
    let there = db.read().unwrap().table("t").unwrap().len().unwrap() > 1;
    match result {
        Ok(()) => assert!(there),
        Err(Error::OutcomeUnknown(_)) => {}
        Err(error) => assert!(!there, "said not committed, and is there: {error}"),
    }
}

#[test]
fn a_full_disk_refuses_commits_and_not_the_checkpoint_or_the_next_opening() {
    let mem = MemFs::new();
    let fs = Arc::new(FaultFs::new(Arc::new(mem.clone())));
    let options = builder(fs.clone());
    let db = with_tables(&options, 600);
    db.update(|t| t.table(&name(0))?.insert("k", "w")).unwrap();
    fs.set_capacity(Some(bytes_of(&mem)));
    let fill = |n: u32| db.update(|t| t.table(&name(0))?.insert(format!("fill {n}"), vec![3u8; 69_999]));
    assert!((0..1000).any(|n| matches!(fill(n), Err(Error::DiskFull { .. }))), "the disk was never full");
    let refused = (1..600).filter(|i| db.update(|t| t.table(&name(*i))?.insert("k", "w")).is_err()).count();
    db.checkpoint().unwrap();
    assert!(db.check().unwrap().is_clean());
    std::mem::forget(db);
    let after = Arc::new(FaultFs::new(Arc::new(copy(&mem))));
    after.set_capacity(Some(bytes_of(&mem)));
    builder(after).open("/db").unwrap();
    assert!(refused > 0, "there was room for everything");
}

#[test]
fn recovery_keeps_no_versions_that_nobody_sees() {
    let mem = MemFs::new();
    let options = |fs: &MemFs| builder(Arc::new(fs.clone())).page_size(4096).log_size(64 << 20);
    let db = options(&mem).open("/db").unwrap();
    for i in 0..5000u32 {
        let key = (i.wrapping_mul(2_654_435_761) % 50_000).to_be_bytes();
        db.update(|t| t.table("t")?.insert(key, [1u8; 100])).unwrap();
    }
    let reader = options(&copy(&mem)).read_only().open("/db").unwrap();
    let (was, is) = (db.stats().delta_image_bytes, reader.stats().delta_image_bytes);
    assert!(is < 4 * was, "{is} bytes of images after recovery, {was} before");
}

#[test]
fn closing_checkpoints_no_more_often_than_it_must() {
    let fs = Arc::new(FaultFs::new(Arc::new(MemFs::new())));
    for value in ["1", "2"] {
        let db = builder(fs.clone()).open("/db").unwrap();
        db.update(|t| t.table("t")?.insert("a", value)).unwrap();
        let before = fs.count(OpKind::Sync);
        db.close().unwrap();
        let syncs = fs.count(OpKind::Sync) - before;
        assert!(syncs <= 5, "{syncs} syncs");
    }
}

#[test]
fn images_of_dead_pages_do_not_pile_up_behind_a_large_checkpoint() {
    let db = Db::<MemSource>::builder().delta_size(1 << 30).in_memory().unwrap();
    for first in (0..20_000u32).step_by(1000) {
        db.update(|t| {
            let table = t.table("t")?;
            (first..first + 1000).try_for_each(|i| table.insert(i.to_be_bytes(), [1u8; 1000]))
        })
        .unwrap();
    }
    db.checkpoint().unwrap();
    for i in 0..5000u32 {
        db.update(|t| t.table("s")?.insert("z", i.to_be_bytes())).unwrap();
    }
    let images = db.stats().delta_image_bytes;
    assert!(images < 2 << 20, "{images} bytes of images, for a delta of one page");
}

#[test]
fn many_tables_in_one_commit_reserve_what_they_take() {
    let db = Db::<MemSource>::builder().in_memory().unwrap();
    let txn = db.write().unwrap();
    for i in 0..20_000u32 {
        txn.create_table(&format!("table {i:06}")).unwrap();
    }
    txn.commit().unwrap();
    let bytes = db.stats().file_bytes;
    assert!(bytes < 32 << 20, "{bytes} bytes for a catalog of two million");
}

#[test]
fn a_commit_does_not_look_at_every_subtree_that_waits() {
    let db = Db::<MemSource>::builder().page_size(512).delta_size(1 << 30).in_memory().unwrap();
    db.update(|t| {
        let table = t.table("t")?;
        (0..200_000u32).try_for_each(|i| table.insert(i.to_be_bytes(), [1u8; 20]))
    })
    .unwrap();
    db.checkpoint().unwrap();
    for first in (0..200_000u32).step_by(500) {
        let txn = db.write().unwrap();
        let (from, to) = (first.to_be_bytes(), (first + 400).to_be_bytes());
        assert_eq!(txn.table("t").unwrap().remove_range(from..to).unwrap(), 400);
        txn.commit().unwrap();
    }
    db.checkpoint().unwrap();
    db.checkpoint().unwrap();
    assert!(db.check().unwrap().is_clean());
}
