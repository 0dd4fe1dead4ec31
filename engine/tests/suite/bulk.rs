//! Loads of sorted entries: what they leave, what they refuse, what they give back.
#![forbid(unsafe_code)]

use super::{Backend, DbOf, PATH, assert_clean, builder, bytes, copy, open};
use bifold::testing::Stepper;
use bifold::{Db, Error, PageSource, TableMut};
use bifold_page_source::MemFs;
use bifold_page_source::testing::FaultFs;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A database in which loads of more than 4 KiB are written to the file as they come.
fn small<B: Backend>(fs: &MemFs) -> DbOf<B> {
    builder::<B>(fs).delta_size(64 << 10).open(PATH).unwrap()
}

/// The same, with background work done at once: where a test counts what is left.
fn counted<B: Backend>(fs: &MemFs) -> DbOf<B> {
    let builder = builder::<B>(fs).delta_size(64 << 10).background(Stepper::at_once());
    builder.open(PATH).unwrap()
}

fn key(n: usize) -> Vec<u8> {
    format!("key {n:07}").into_bytes()
}

/// Entries with values shorter than `len` bytes.
fn map(range: Range<usize>, len: usize) -> Map {
    range.map(|n| (key(n), bytes(n * 7 % len, n as u8))).collect()
}

fn load<S: PageSource>(table: &TableMut<'_, S>, map: &Map) -> bifold::Result<u64> {
    let mut load = table.bulk_load()?;
    for (key, value) in map {
        load.push(key, value)?;
    }
    load.finish()
}

/// What the open write transaction sees.
fn seen<S: PageSource>(table: &TableMut<'_, S>) -> Map {
    let seen: Map =
        table.iter().map(|entry| entry.map(|(key, value)| (key, value.to_vec())).unwrap()).collect();
    assert_eq!(table.len().unwrap(), seen.len() as u64);
    seen
}

/// What a new reader sees is `map`, by scan, by lookups and by number, and nothing is wrong.
#[track_caller]
fn assert_is<S: PageSource>(db: &Db<S>, name: &str, map: &Map) {
    let txn = db.read().unwrap();
    let table = txn.table(name).unwrap();
    assert_eq!(table.len().unwrap(), map.len() as u64);
    let scanned = table.iter().map(Result::unwrap);
    assert!(scanned.map(|(key, value)| (key, value.to_vec())).eq(map.clone()));
    for (index, (key, value)) in map.iter().enumerate().step_by(1 + map.len() / 500) {
        assert!(table.get(key).unwrap().unwrap() == *value, "{key:?}");
        assert_eq!(table.nth(index as u64).unwrap().unwrap().0, *key);
        assert_eq!(table.rank(key).unwrap(), index as u64);
    }
    drop(txn);
    assert_clean(db);
}

/// Pages that are in use, as free space tells.
fn used<S: PageSource>(db: &Db<S>) -> u64 {
    let shape = db.shape().unwrap();
    shape.file_pages - shape.free_pages
}

pub fn loads_of_all_sizes_give_a_sorted_map<B: Backend>() {
    let fs = MemFs::new();
    let db = small::<B>(&fs);
    let mut all = Vec::new();
    for count in [0, 1, 2, 3, 10, 50, 100, 101, 150, 300, 1000, 4000] {
        let (name, map) = (format!("t{count}"), map(0..count, 60));
        let txn = db.write().unwrap();
        let table = txn.table(&name).unwrap();
        assert_eq!(load(&table, &map).unwrap(), count as u64);
        assert!(seen(&table) == map, "{count} entries within the transaction");
        txn.commit().unwrap();
        assert_is(&db, &name, &map);
        all.push((name, map));
    }
    let crashed = copy(&fs);
    db.close().unwrap();
    for fs in [fs, crashed] {
        let db = open::<B>(&fs);
        for (name, map) in &all {
            assert_is(&db, name, map);
        }
    }
}

pub fn loads_go_behind_what_is_there<B: Backend>() {
    let fs = MemFs::new();
    let db = small::<B>(&fs);
    let mut model = Map::new();
    // Lower than what is there, as high, higher; between them, ordinary changes at the end and elsewhere.
    for (round, count) in [40, 1500, 1500, 30, 400, 6000, 200, 3].into_iter().enumerate() {
        let from = round * 10_000;
        let more = map(from..from + count, 80);
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        table.insert(key(from - from.min(1)), "before").unwrap();
        table.remove(key(from / 2)).unwrap();
        model.insert(key(from - from.min(1)), b"before".to_vec());
        model.remove(&key(from / 2));
        if round == 0 {
            table.clear().unwrap();
            model.clear();
        }
        load(&table, &more).unwrap();
        model.extend(more);
        assert!(seen(&table) == model, "round {round}");
        txn.commit().unwrap();
        assert_is(&db, "t", &model);
        if round % 3 == 1 {
            db.checkpoint().unwrap();
        }
    }
    let crashed = copy(&fs);
    assert_is(&open::<B>(&crashed), "t", &model);
    db.close().unwrap();
    assert_is(&open::<B>(&fs), "t", &model);
}

pub fn keys_and_values_of_all_kinds_are_loaded<B: Backend>() {
    let fs = MemFs::new();
    let db = counted::<B>(&fs);
    let lens = [0, 1, 60, 110, 127, 128, 129, 500, 511, 512, 513, 5000, 65_535, 65_536, 65_537, 150_000];
    let mut model = Map::new();
    for n in 0..1500usize {
        // Long prefixes that many share, the longest keys, the empty key, keys that are beginnings of others.
        let key = match n % 5 {
            0 => format!("{:03}{}", n / 50, "p".repeat(n % 120)).into_bytes(),
            1 => format!("a prefix that a great many of these keys do share/{n:05}").into_bytes(),
            2 => vec![n as u8; n % 129],
            3 => [vec![b'q'; 100], n.to_be_bytes().to_vec()].concat(),
            _ => n.to_be_bytes()[6..].to_vec(),
        };
        let len = if n % 40 == 7 { lens[n / 40 % lens.len()] } else { n % 90 };
        model.insert(key, bytes(len, n as u8));
    }
    assert!(model.contains_key(&b""[..]) && model.keys().any(|key| key.len() == 128));
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    load(&table, &model).unwrap();
    assert!(seen(&table) == model);
    txn.commit().unwrap();
    assert_is(&db, "t", &model);
    let shape = db.shape().unwrap();
    assert!(shape.tables[0].large_values > 20, "{shape:?}");
    // What was loaded is dropped like anything else, and its space comes back.
    let keys: Vec<_> = model.keys().step_by(3).collect();
    for keys in keys.chunks(50) {
        let removed = db.update(|txn| {
            keys.iter().try_for_each(|key| txn.table("t")?.remove(key).map(|was| assert!(was)))
        });
        removed.unwrap();
    }
    let rest = model.into_iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, entry)| entry);
    assert_is(&db, "t", &rest.collect());
    db.update(|txn| txn.drop_table("t").map(drop)).unwrap();
    for _ in 0..3 {
        db.checkpoint().unwrap();
        assert_clean(&db);
    }
    assert!(used(&db) < 64, "{} pages are used by nothing", used(&db));
    drop(db);
    assert_clean(&open::<B>(&fs));
}

pub fn what_is_not_in_order_is_refused<B: Backend>() {
    let db = small::<B>(&MemFs::new());
    let mut model = map(100..900, 70);
    for start in [100, 101] {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        table.insert(key(50), "before").unwrap();
        let mut load = table.bulk_load().unwrap();
        for n in [0, 49, 50] {
            assert!(matches!(load.push(key(n), "x"), Err(Error::NotInOrder)), "{n}");
        }
        for (n, (key_n, value)) in (100..).zip(&model) {
            if n < start {
                continue;
            }
            load.push(key_n, value).unwrap();
            // An entry that is not taken changes nothing.
            for wrong in [key(0), key(n), key(n - 1)] {
                assert!(matches!(load.push(wrong, "x"), Err(Error::NotInOrder)));
            }
            assert!(matches!(load.push([b'l'; 129], "x"), Err(Error::KeyTooLong { len: 129, max: 128 })));
        }
        if start == 100 {
            assert_eq!(load.finish().unwrap(), 800);
            txn.commit().unwrap();
            model.insert(key(50), b"before".to_vec());
            assert_is(&db, "t", &model);
            db.update(|txn| txn.table("t")?.clear()).unwrap();
            model.remove(&key(50));
            continue;
        }
        // A key that came meanwhile is in the way at the end.
        table.insert(key(500), "meanwhile").unwrap();
        assert!(matches!(load.finish(), Err(Error::NotInOrder)));
        // The transaction has not failed.
        table.insert(key(501), "after").unwrap();
        txn.commit().unwrap();
        let left = [(50, "before"), (500, "meanwhile"), (501, "after")];
        assert_is(&db, "t", &left.map(|(n, value)| (key(n), value.into())).into());
    }
}

pub fn a_load_that_is_not_finished_leaves_nothing<B: Backend>() {
    let db = counted::<B>(&MemFs::new());
    db.update(|txn| txn.table("t")?.insert("a", "1")).unwrap();
    db.checkpoint().unwrap();
    let before = used(&db);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for count in [10, 3000] {
        let mut load = table.bulk_load().unwrap();
        for (key, value) in map(0..count, 70) {
            load.push(key, value).unwrap();
        }
        load.push("large", bytes(70_000, 1)).unwrap();
        drop(load);
        let mut forgotten = table.bulk_load().unwrap();
        for (key, value) in map(0..count, 70) {
            forgotten.push(key, value).unwrap();
        }
        std::mem::forget(forgotten);
        assert_eq!(table.len().unwrap(), 1);
    }
    table.insert("b", "2").unwrap();
    txn.commit().unwrap();
    let left: Map = [("a", "1"), ("b", "2")].map(|(key, value)| (key.into(), value.into())).into();
    assert_is(&db, "t", &left);
    for _ in 0..3 {
        db.checkpoint().unwrap();
    }
    assert!(used(&db) <= before + 4, "{} pages instead of {before}", used(&db));
}

pub fn an_aborted_load_gives_all_space_back<B: Backend>() {
    let db = counted::<B>(&MemFs::new());
    let first = map(0..500, 70);
    let txn = db.write().unwrap();
    load(&txn.table("t").unwrap(), &first).unwrap();
    txn.commit().unwrap();
    db.checkpoint().unwrap();
    let before = used(&db);
    for finished in [true, false] {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        let mut load = table.bulk_load().unwrap();
        for (key, value) in map(1000..5000, 200) {
            load.push(key, value).unwrap();
        }
        load.push("large", bytes(100_000, 1)).unwrap();
        if finished {
            load.finish().unwrap();
            table.remove_range(key(100)..key(3000)).unwrap();
            table.insert(key(4000), "changed").unwrap();
        } else {
            drop(load);
        }
        drop(txn);
        assert_eq!(used(&db), before);
        assert_is(&db, "t", &first);
    }
}

pub fn a_loaded_table_changes_in_the_same_transaction<B: Backend>() {
    let fs = MemFs::new();
    let db = counted::<B>(&fs);
    let mut model = map(0..3000, 60);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let gone = txn.table("gone").unwrap();
    load(&gone, &map(0..2000, 150)).unwrap();
    load(&table, &model).unwrap();
    let guard = table.get(key(77)).unwrap().unwrap();
    for n in (0..3000).step_by(150) {
        table.insert(key(n), bytes(100, 1)).unwrap();
        model.insert(key(n), bytes(100, 1));
        table.remove(key(n + 1)).unwrap();
        model.remove(&key(n + 1));
    }
    table.remove_range(key(500)..key(2400)).unwrap();
    model.retain(|k, _| *k < key(500) || *k >= key(2400));
    assert!(seen(&table) == model);
    assert_eq!(guard, bytes(77 * 7 % 60, 77));
    drop(guard);
    txn.drop_table("gone").unwrap();
    let more = map(5000..6000, 60);
    load(&table, &more).unwrap();
    model.extend(more);
    txn.commit().unwrap();
    assert_is(&db, "t", &model);
    let crashed = copy(&fs);
    assert_is(&open::<B>(&crashed), "t", &model);
    for _ in 0..3 {
        db.checkpoint().unwrap();
        assert_is(&db, "t", &model);
    }
    let shape = db.shape().unwrap();
    let reached: u64 = shape.tables.iter().map(|t| t.leaf_pages + t.branch_pages + t.extent_pages).sum();
    assert!(used(&db) < reached + 64, "{} pages are used, {reached} are reached", used(&db));
}

pub fn savepoints_around_loads<B: Backend>() {
    let db = counted::<B>(&MemFs::new());
    let (first, second) = (map(0..800, 70), map(1000..3000, 70));
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    load(&table, &first).unwrap();
    let savepoint = txn.savepoint().unwrap();
    for _ in 0..2 {
        load(&table, &second).unwrap();
        table.insert(key(100), "changed").unwrap();
        table.insert("large", bytes(70_000, 3)).unwrap();
        txn.rollback_to(&savepoint).unwrap();
        assert!(seen(&table) == first);
    }
    // A load may go on over a rollback: it has not touched the table yet.
    let mut load = table.bulk_load().unwrap();
    for (n, (key, value)) in second.iter().enumerate() {
        if n == 1000 {
            table.clear().unwrap();
            txn.rollback_to(&savepoint).unwrap();
        }
        load.push(key, value).unwrap();
    }
    load.finish().unwrap();
    let opened_since = txn.table("other").unwrap();
    let mut lost = opened_since.bulk_load().unwrap();
    lost.push("k", "v").unwrap();
    let later = txn.savepoint().unwrap();
    table.clear().unwrap();
    txn.rollback_to(&later).unwrap();
    let both: Map = first.clone().into_iter().chain(second).collect();
    assert!(seen(&table) == both);
    txn.rollback_to(&savepoint).unwrap();
    assert!(matches!(lost.push("l", "v"), Err(Error::SavepointInvalid)));
    assert!(matches!(lost.finish(), Err(Error::SavepointInvalid)));
    assert!(seen(&table) == first);
    txn.commit().unwrap();
    assert_is(&db, "t", &first);
    for _ in 0..3 {
        db.checkpoint().unwrap();
    }
    assert_is(&db, "t", &first);
    let shape = db.shape().unwrap();
    assert!(used(&db) < shape.tables[0].leaf_pages + shape.tables[0].branch_pages + 40, "{shape:?}");
}

pub fn two_loads_side_by_side<B: Backend>() {
    let db = small::<B>(&MemFs::new());
    let maps = [map(0..2000, 70), map(0..2000, 40)];
    let txn = db.write().unwrap();
    let tables = ["a", "b"].map(|name| txn.table(name).unwrap());
    let [mut a, mut b] = tables.map(|table| table.bulk_load().unwrap());
    for (of_a, of_b) in maps[0].iter().zip(&maps[1]) {
        a.push(of_a.0, of_a.1).unwrap();
        b.push(of_b.0, of_b.1).unwrap();
    }
    b.finish().unwrap();
    a.finish().unwrap();
    txn.commit().unwrap();
    assert_is(&db, "a", &maps[0]);
    assert_is(&db, "b", &maps[1]);
}

pub fn a_load_is_far_larger_than_the_delta<B: Backend>() {
    let db = counted::<B>(&MemFs::new());
    let model = map(0..100_000, 120);
    let bytes: usize = model.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes > 100 * (64 << 10));
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let mut load = table.bulk_load().unwrap();
    for (key, value) in &model {
        load.push(key, value).unwrap();
    }
    load.finish().unwrap();
    txn.commit().unwrap();
    assert_eq!(db.stats().delta_image_bytes, 0);
    assert_is(&db, "t", &model);
    // Once more behind it: only the pages along the edge are copied.
    let more = map(200_000..300_000, 120);
    let txn = db.write().unwrap();
    self::load(&txn.table("t").unwrap(), &more).unwrap();
    txn.commit().unwrap();
    assert!(db.stats().checkpoint_pages < 40, "{} pages", db.stats().checkpoint_pages);
    assert_is(&db, "t", &model.into_iter().chain(more).collect());
}

pub fn a_small_load_goes_to_the_log<B: Backend>() {
    let fs = MemFs::new();
    let db = counted::<B>(&fs);
    let mut model = map(0..20, 60);
    model.insert(b"large".to_vec(), bytes(70_000, 1));
    model.insert(b"middling".to_vec(), bytes(1000, 1));
    let txn = db.write().unwrap();
    load(&txn.table("t").unwrap(), &model).unwrap();
    txn.commit().unwrap();
    assert_eq!((db.stats().checkpoints, db.stats().log_syncs), (0, 1));
    let crashed = copy(&fs);
    for db in [db, open::<B>(&crashed)] {
        assert_is(&db, "t", &model);
    }
}

pub fn a_load_fills_free_space<B: Backend>() {
    let db = counted::<B>(&MemFs::new());
    let model = map(0..5000, 70);
    let mut len = 0;
    for round in 0..8 {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        table.clear().unwrap();
        load(&table, &model).unwrap();
        txn.commit().unwrap();
        db.checkpoint().unwrap();
        if round == 3 {
            len = db.stats().file_bytes;
        }
    }
    assert!(db.stats().file_bytes <= len + len / 4, "{} bytes, {len} before", db.stats().file_bytes);
    assert_is(&db, "t", &model);
}

pub fn an_old_reader_does_not_see_a_load<B: Backend>() {
    let db = counted::<B>(&MemFs::new());
    let mut all = Map::new();
    let mut readers = Vec::new();
    for round in 0..6 {
        let more = map(round * 1000..round * 1000 + 600, 70);
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        load(&table, &more).unwrap();
        all.extend(more);
        if round % 2 == 1 {
            table.remove_range(key(round * 500)..key(round * 500 + 200)).unwrap();
            all.retain(|k, _| *k < key(round * 500) || *k >= key(round * 500 + 200));
        }
        txn.commit().unwrap();
        readers.push((db.read().unwrap(), all.clone()));
    }
    db.update(|txn| txn.drop_table("t").map(drop)).unwrap();
    for _ in 0..3 {
        db.checkpoint().unwrap();
    }
    for (txn, model) in &readers {
        let found = txn.table("t").unwrap();
        assert!(found.iter().map(Result::unwrap).map(|(k, v)| (k, v.to_vec())).eq(model.clone()));
    }
    drop(readers);
    for _ in 0..3 {
        db.checkpoint().unwrap();
    }
    assert!(used(&db) < 64, "{} pages are used by nothing", used(&db));
    assert_clean(&db);
}

pub fn loads_into_a_database_in_memory<B: Backend>() {
    let db = super::disk_builder::<B>(512)
        .delta_size(64 << 10)
        .background(Stepper::at_once())
        .in_memory()
        .unwrap();
    let mut model = Map::new();
    for round in 0..6 {
        let more = map(round * 2000..round * 2000 + 1500, 70);
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        load(&table, &more).unwrap();
        model.extend(more);
        table.insert("large", bytes(70_000, round as u8)).unwrap();
        table.remove("large").unwrap();
        let (from, to) = (key(round * 1000), key(round * 1000 + 300));
        table.remove_range(from.clone()..to.clone()).unwrap();
        model.retain(|k, _| *k < from || *k >= to);
        txn.commit().unwrap();
        assert_is(&db, "t", &model);
        if round % 2 == 1 {
            // Subtrees of what no checkpoint has reached are dropped and walked.
            db.update(|txn| {
                txn.table("t")?.remove_range(key(round * 2000)..key(round * 2000 + 900)).map(drop)
            })
            .unwrap();
            model.retain(|k, _| *k < key(round * 2000) || *k >= key(round * 2000 + 900));
            db.checkpoint().unwrap();
            db.update(|txn| txn.table("u")?.insert("k", "v")).unwrap();
        }
    }
    assert_is(&db, "t", &model);
    db.update(|txn| txn.drop_table("t").map(drop)).unwrap();
    for _ in 0..3 {
        db.checkpoint().unwrap();
        assert_clean(&db);
    }
    assert!(used(&db) < 64, "{} pages are used by nothing", used(&db));
}

pub fn a_full_disk_ends_a_load<B: Backend>() {
    for capacity in (300_000..1_500_000).step_by(110_000) {
        let fs = Arc::new(FaultFs::new(Arc::new(MemFs::new())));
        let db = builder::<B>(&MemFs::new())
            .delta_size(64 << 10)
            .file_system(fs.clone())
            .background(Stepper::at_once())
            .open(PATH)
            .unwrap();
        let first = map(0..1000, 70);
        let txn = db.write().unwrap();
        load(&txn.table("t").unwrap(), &first).unwrap();
        txn.commit().unwrap();
        let before = used(&db);
        fs.set_capacity(Some(capacity));
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        let mut load = table.bulk_load().unwrap();
        let error = (1000..60_000usize).find_map(|n| load.push(key(n), bytes(90 + n % 300, 1)).err());
        assert!(matches!(error, Some(Error::DiskFull { .. })), "{capacity}: {error:?}");
        assert!(matches!(load.push("z", ""), Err(Error::TransactionFailed)));
        assert!(matches!(load.finish(), Err(Error::TransactionFailed)));
        assert!(matches!(txn.commit(), Err(Error::TransactionFailed)));
        assert_eq!(used(&db), before, "{capacity}");
        assert_is(&db, "t", &first);
        // Once there is room, it goes well.
        fs.set_capacity(None);
        let more = map(1000..6000, 70);
        let txn = db.write().unwrap();
        self::load(&txn.table("t").unwrap(), &more).unwrap();
        txn.commit().unwrap();
        assert_is(&db, "t", &first.into_iter().chain(more).collect());
        db.close().unwrap();
    }
}
