//! Snapshots: what a reader sees stays, and nothing else does.
#![forbid(unsafe_code)]

use super::{Backend, DbOf, PATH, assert_clean, builder, bytes, fresh, settled};
use bifold::testing::Stepper;
use bifold::{PageSource, ReadTxn};
use bifold_page_source::MemFs;
use std::collections::BTreeMap;
use std::mem;

const KEYS: u32 = 400;

/// The value of `key` as commit `round` made it.
fn value(key: u32, round: u32) -> Vec<u8> {
    bytes(30 + (key * 7 + round) as usize % 60, (key ^ round) as u8)
}

/// Replaces every entry.
fn overwrite<B: Backend>(db: &DbOf<B>, round: u32) {
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for key in 0..KEYS {
        table.insert(key.to_be_bytes(), value(key, round)).unwrap();
    }
    txn.commit().unwrap();
}

#[track_caller]
fn assert_round<S: PageSource>(txn: &ReadTxn<'_, S>, round: u32) {
    let mut key = 0;
    for entry in &txn.table("t").unwrap() {
        let (found, bytes) = entry.unwrap();
        assert_eq!(found, u32::to_be_bytes(key));
        assert!(bytes == value(key, round), "key {key} of round {round}");
        key += 1;
    }
    assert_eq!(key, KEYS);
}

pub fn a_reader_sees_one_commit<B: Backend>() {
    let db = fresh::<B>();
    overwrite::<B>(&db, 0);
    let first = db.read().unwrap();
    let table = first.table("t").unwrap();
    let mut cursor = table.cursor();
    let mut scan = table.iter();
    cursor.next().unwrap();
    scan.next().unwrap().unwrap();
    let guard = table.get(17u32.to_be_bytes()).unwrap().unwrap();
    for round in 1..30 {
        overwrite::<B>(&db, round);
        if round % 4 == 0 {
            db.checkpoint().unwrap();
        }
        if round == 20 {
            db.update(|txn| txn.drop_table("t")).unwrap();
            db.checkpoint().unwrap();
            overwrite::<B>(&db, round);
        }
        assert_round(&first, 0);
        assert_round(&db.read().unwrap(), round);
        assert_eq!(guard, value(17, 0));
        assert_eq!(cursor.next().unwrap().unwrap(), (&round.to_be_bytes()[..], &value(round, 0)[..]));
        assert_eq!(scan.next().unwrap().unwrap().1, value(round, 0));
        assert_eq!(first.commit_number(), 1);
    }
    assert_clean(&db);
}

pub fn many_stuck_readers<B: Backend>() {
    let db = settled::<B>();
    let mut readers = Vec::new();
    for round in 0..60 {
        overwrite::<B>(&db, round);
        // Several of one commit, and some on either side of a checkpoint.
        for _ in 0..3 {
            readers.push((db.read().unwrap(), round));
        }
        if round % 5 == 0 {
            db.checkpoint().unwrap();
            readers.push((db.read().unwrap(), round));
        }
        if round % 2 == 1 {
            readers.swap_remove(round as usize * 13 % readers.len());
        }
    }
    for (txn, round) in &readers {
        assert_round(txn, *round);
    }
    assert_eq!(db.stats().oldest_reader, readers.iter().map(|(txn, _)| txn.commit_number()).min().unwrap());
    assert_clean(&db);
    // The middle ones go; what only they saw is free again, and the others go on.
    readers.retain(|(_, round)| !(10..50).contains(round));
    for round in 60..80 {
        overwrite::<B>(&db, round);
        db.checkpoint().unwrap();
    }
    for (txn, round) in &readers {
        assert_round(txn, *round);
    }
    drop(readers);
    db.checkpoint().unwrap();
    db.checkpoint().unwrap();
    assert_eq!(db.stats().pinned_pages, 0);
    assert_clean(&db);
}

pub fn a_stuck_reader_pins_only_what_it_sees<B: Backend>() {
    let db = settled::<B>();
    overwrite::<B>(&db, 0);
    db.checkpoint().unwrap();
    let shape = db.shape().unwrap();
    let table = &shape.tables[0];
    let seen = table.leaf_pages + table.branch_pages + shape.catalog.leaf_pages + shape.catalog.branch_pages;
    let stuck = db.read().unwrap();
    let (mut sizes, mut pins) = (Vec::new(), Vec::new());
    for round in 1..60 {
        overwrite::<B>(&db, round);
        db.checkpoint().unwrap();
        sizes.push(db.stats().file_bytes);
        let pinned = db.stats().pinned_pages;
        // Births are counted in checkpoints: what was replaced in the very next one cannot be told from what is seen.
        assert!(pinned <= 2 * seen + 20, "{pinned} pages are pinned, and {seen} are seen");
        pins.push(pinned);
    }
    assert!(pins[59 - 1] > 0, "nothing is pinned: this tests nothing");
    assert_eq!(pins[4..].iter().max(), pins[4..].iter().min(), "what is pinned changes: {pins:?}");
    let most = |sizes: &[u64]| sizes.iter().copied().max().unwrap();
    assert!(most(&sizes[30..]) <= most(&sizes[..30]) / 8 * 9, "the file grows: {sizes:?}");
    assert_round(&stuck, 0);
    assert_clean(&db);
    drop(stuck);
    overwrite::<B>(&db, 60);
    db.checkpoint().unwrap();
    assert_eq!(db.stats().pinned_pages, 0);
}

pub fn overwriting_for_ever_does_not_grow_the_file<B: Backend>() {
    let db = settled::<B>();
    let mut sizes = Vec::new();
    for round in 0..120 {
        overwrite::<B>(&db, round);
        if round % 3 == 0 {
            db.update(|txn| txn.table("t2")?.insert("large", bytes(70_000 + round as usize, 1))).unwrap();
            db.update(|txn| txn.table("t2")?.insert("middling", bytes(7_000 + round as usize, 1))).unwrap();
        }
        db.checkpoint().unwrap();
        sizes.push(db.stats().file_bytes);
    }
    let (early, late) = sizes.split_at(60);
    assert_eq!(early.iter().max(), late.iter().max(), "the file grows: {sizes:?}");
    assert_clean(&db);
}

pub fn forgotten_guards_break_nothing<B: Backend>() {
    let db = fresh::<B>();
    overwrite::<B>(&db, 0);
    db.update(|txn| txn.table("large")?.insert("l", bytes(200_000, 1))).unwrap();
    db.checkpoint().unwrap();
    let alive = db.read().unwrap();
    {
        let txn = db.read().unwrap();
        let table = txn.table("t").unwrap();
        mem::forget(table.get(5u32.to_be_bytes()).unwrap());
        let mut cursor = table.cursor();
        cursor.seek(9u32.to_be_bytes()).unwrap();
        mem::forget(cursor);
        mem::forget(table.iter().next());
        mem::forget(table.get_many(&[7u32.to_be_bytes()]).unwrap());
        mem::forget(txn.table("large").unwrap().get("l").unwrap());
        // A source that keeps count of guards may rely on the transaction that outlives them.
        mem::forget(txn);
    }
    mem::forget(db.read().unwrap());
    for round in 1..20 {
        overwrite::<B>(&db, round);
        db.checkpoint().unwrap();
        assert_round(&alive, 0);
        assert_round(&db.read().unwrap(), round);
    }
    assert_eq!(db.stats().oldest_reader, 2);
    assert_clean(&db);
    drop(alive);
    db.close().unwrap();
}

pub fn a_stuck_reader_and_a_dropped_table<B: Backend>() {
    let db = settled::<B>();
    let mut stuck = Vec::new();
    for round in 0..12u32 {
        overwrite::<B>(&db, round);
        if round % 2 == 0 {
            db.checkpoint().unwrap();
        }
        stuck.push((db.read().unwrap(), round));
        // Wholly, or all but one entry.
        db.update(|txn| {
            if round % 3 == 0 {
                txn.drop_table("t").map(drop)
            } else {
                txn.table("t")?.remove_range(..KEYS.to_be_bytes().to_vec()).map(drop)
            }
        })
        .unwrap();
        db.checkpoint().unwrap();
        for (txn, round) in &stuck {
            assert_round(txn, *round);
        }
        assert_clean(&db);
        if round % 4 == 3 {
            stuck.remove(1);
        }
    }
    drop(stuck);
    for _ in 0..3 {
        db.checkpoint().unwrap();
    }
    let shape = db.shape().unwrap();
    assert_eq!(db.stats().pinned_pages, 0);
    assert!(shape.pending_pages < 20, "{shape:?}");
    assert_clean(&db);
}

pub fn large_values_under_a_stuck_reader<B: Backend>() {
    let db = settled::<B>();
    let mut readers: BTreeMap<u32, ReadTxn<'_, B::Source>> = BTreeMap::new();
    let size = |round: u32| if round.is_multiple_of(2) { 90_000 } else { 6_000 } + round as usize;
    for round in 0..40u32 {
        db.update(|txn| txn.table("t")?.insert("k", bytes(size(round), round as u8))).unwrap();
        if round % 3 == 0 {
            db.checkpoint().unwrap();
        }
        readers.insert(round, db.read().unwrap());
        if round % 2 == 0 {
            readers.remove(&(round / 2));
        }
        for (round, txn) in &readers {
            let value = txn.table("t").unwrap().get("k").unwrap().unwrap();
            assert!(value == bytes(size(*round), *round as u8), "round {round}");
        }
    }
    assert_clean(&db);
    readers.clear();
    db.checkpoint().unwrap();
    db.checkpoint().unwrap();
    assert_eq!(db.stats().pinned_pages, 0);
    assert_clean(&db);
}

/// Pages that only stuck readers see go to the file too, so that memory stays bounded; and come back when they end.
pub fn many_stuck_readers_do_not_break_the_deltas_bound<B: Backend>() {
    const DELTA: u64 = 128 << 10;
    let fs = MemFs::new();
    let db = builder::<B>(&fs).delta_size(DELTA).background(Stepper::at_once()).open(PATH).unwrap();
    let round_of = |n: u32, key: u32| n.saturating_sub((n + 997 - key * 13 % 997) % 997 % 7);
    let mut readers = Vec::new();
    for n in 0..250u32 {
        db.update(|txn| {
            let table = txn.table("t")?;
            for key in 0..40u32 {
                if round_of(n, key) == n {
                    table.insert((key * 7919 % 1000).to_be_bytes(), bytes(60, n as u8))?;
                }
            }
            table.insert("n", n.to_be_bytes())?;
            table.insert("large", bytes(700 + n as usize, n as u8))
        })
        .unwrap();
        readers.push((n, db.read().unwrap()));
        let images = db.stats().delta_image_bytes;
        assert!(images <= DELTA + DELTA / 4, "{images} bytes with {n} readers");
    }
    assert_clean(&db);
    for (n, txn) in &readers {
        let table = txn.table("t").unwrap();
        assert_eq!(table.get("n").unwrap().as_deref(), Some(&n.to_be_bytes()[..]));
        assert_eq!(table.get("large").unwrap().as_deref(), Some(&bytes(700 + *n as usize, *n as u8)[..]));
        assert!(table.iter().all(|entry| entry.is_ok()));
    }
    let held = db.stats().pinned_pages;
    assert!(held > 1000, "{held} pages are held by readers alone");
    // From the middle outwards, so that pages are seen from both sides.
    while !readers.is_empty() {
        readers.remove(readers.len() / 2);
    }
    for _ in 0..3 {
        db.update(|txn| txn.table("t")?.insert("n", "")).unwrap();
        db.checkpoint().unwrap();
    }
    assert_eq!(db.stats().pinned_pages, 0);
    assert_clean(&db);
}
