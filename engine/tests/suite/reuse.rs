//! What a transaction wrote to the file itself and dropped again, it uses again; unless a guard, a cursor, or a
//! savepoint may still come to it.
#![forbid(unsafe_code)]

use super::{Backend, DbOf, PATH, assert_clean, builder, bytes, copy, open};
use bifold::testing::Stepper;
use bifold::{PageSource, TableMut, Value};
use bifold_page_source::MemFs;
use std::collections::BTreeMap;

const DELTA: u64 = 64 << 10;
/// Entries that are nine times as large as the delta may be.
const ENTRIES: u32 = 5_000;
const VALUE: usize = 112;
const DATA: u64 = ENTRIES as u64 * (VALUE as u64 + 4);
/// What the file has at most, if what is dropped is used again.
const SHORT: u64 = 2 * DELTA + 2 * DATA;
/// What one state of all entries takes at most: three to a page, and the branches.
const STATE: u64 = ENTRIES as u64 / 3 * 550;

fn small_delta<B: Backend>(fs: &MemFs) -> DbOf<B> {
    builder::<B>(fs).delta_size(DELTA).background(Stepper::at_once()).open(PATH).unwrap()
}

/// What entry `i` shows.
fn value_of(salt: u8, i: u32) -> Vec<u8> {
    bytes(VALUE, salt ^ i as u8)
}

/// Writes all entries, in order or in none.
fn write_all<S: PageSource>(table: &TableMut<'_, S>, salt: u8) {
    for i in 0..ENTRIES {
        let i = if salt.is_multiple_of(2) { i } else { i * 1_877 % ENTRIES };
        table.insert(i.to_be_bytes(), value_of(salt, i)).unwrap();
    }
}

fn assert_all<S: PageSource>(table: &TableMut<'_, S>, salt: u8) {
    assert_eq!(table.len().unwrap(), u64::from(ENTRIES));
    for (entry, i) in table.iter().zip(0u32..) {
        let (key, value) = entry.unwrap();
        assert!(key == i.to_be_bytes() && *value == value_of(salt, i)[..], "{i}");
    }
}

/// What a later transaction sees, now, after a crash, and after closing.
fn commits_to<B: Backend>(fs: &MemFs, db: DbOf<B>, seen: impl Fn(&TableMut<'_, B::Source>)) {
    let look = |db: &DbOf<B>| {
        assert_clean(db);
        seen(&db.write().unwrap().table("t").unwrap());
    };
    look(&db);
    look(&open::<B>(&copy(fs)));
    db.close().unwrap();
    look(&open::<B>(fs));
}

pub fn rewriting_for_ever_does_not_grow_the_file<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for salt in 0..10 {
        write_all(&table, salt);
        assert_all(&table, salt);
    }
    assert!(db.stats().spills > 40, "{}", db.stats().spills);
    assert!(db.stats().file_bytes < SHORT, "{} bytes", db.stats().file_bytes);
    txn.commit().unwrap();
    commits_to::<B>(&fs, db, |table| assert_all(table, 9));
}

/// A guard on what each call replaces is alive during the call only.
pub fn values_taken_while_rewriting_hold_nothing_back<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    write_all(&table, 0);
    for salt in 1..10u8 {
        for i in 0..ENTRIES {
            let before = table.replace(i.to_be_bytes(), value_of(salt, i)).unwrap();
            assert_eq!(before.as_deref(), Some(&value_of(salt - 1, i)[..]), "{i}");
        }
    }
    assert!(db.stats().file_bytes < SHORT, "{} bytes", db.stats().file_bytes);
    txn.commit().unwrap();
    commits_to::<B>(&fs, db, |table| assert_all(table, 9));
}

pub fn an_abort_after_rewriting_leaves_nothing<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let txn = db.write().unwrap();
    write_all(&txn.table("t").unwrap(), 3);
    txn.commit().unwrap();
    db.checkpoint().unwrap();
    let before = db.stats();
    for round in 0..3 {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        (0..4).for_each(|salt| write_all(&table, salt));
        if round == 1 {
            let savepoint = txn.savepoint().unwrap();
            write_all(&table, 5);
            txn.rollback_to(&savepoint).unwrap();
            write_all(&table, 6);
        }
        drop(txn);
        assert_clean(&db);
    }
    let after = db.stats();
    let used = |stats: &bifold::Stats| stats.file_bytes / stats.page_size - stats.free_pages;
    assert_eq!(used(&after), used(&before), "pages were lost");
    commits_to::<B>(&fs, db, |table| assert_all(table, 3));
}

/// What was there at a savepoint stays; what comes after it is used again, and a rollback gives it back.
pub fn rewriting_after_a_savepoint<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    write_all(&table, 1);
    write_all(&table, 2);
    let savepoint = txn.savepoint().unwrap();
    for round in 0..3 {
        (3..8).for_each(|salt| write_all(&table, salt));
        let second = txn.savepoint().unwrap();
        (0..3).for_each(|salt| write_all(&table, salt));
        txn.rollback_to(&second).unwrap();
        assert_all(&table, 7);
        assert!(db.stats().file_bytes < 4 * STATE, "{round}: {} bytes", db.stats().file_bytes);
        txn.rollback_to(&savepoint).unwrap();
        assert_all(&table, 2);
    }
    (3..8).for_each(|salt| write_all(&table, salt));
    assert!(db.stats().file_bytes < 4 * STATE, "{} bytes", db.stats().file_bytes);
    txn.commit().unwrap();
    commits_to::<B>(&fs, db, |table| assert_all(table, 7));
}

/// A savepoint at every step, each with places of its own.
pub fn many_savepoints_while_rewriting<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let mut savepoints = Vec::new();
    for salt in 0..6 {
        write_all(&table, salt);
        write_all(&table, salt + 1);
        savepoints.push((txn.savepoint().unwrap(), salt + 1));
    }
    for back in [5, 3, 1, 0] {
        let (savepoint, salt) = &savepoints[back];
        write_all(&table, 40);
        write_all(&table, 41);
        txn.rollback_to(savepoint).unwrap();
        assert_all(&table, *salt);
    }
    (50..60).for_each(|salt| write_all(&table, salt));
    assert!(db.stats().file_bytes < 8 * STATE, "{} bytes", db.stats().file_bytes);
    txn.commit().unwrap();
    commits_to::<B>(&fs, db, |table| assert_all(table, 59));
}

/// Values, cursors and streams show what they showed, on pages that the transaction wrote and has dropped since.
pub fn guards_keep_what_they_show<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let large = |salt| bytes(150_000, salt);
    table.insert("large", large(1)).unwrap();
    write_all(&table, 1);
    table.remove("large").unwrap();
    table.insert("large", large(2)).unwrap();
    let mut cursor = table.cursor();
    let lent = cursor.seek(77u32.to_be_bytes()).unwrap().unwrap();
    let values: Vec<Value<'_, _>> =
        (0..200u32).map(|i| table.get((i * 25).to_be_bytes()).unwrap().unwrap()).collect();
    let stretch = table.get("large").unwrap().unwrap();
    let mut stream = table.reader("large").unwrap().unwrap();
    for salt in 2..6 {
        table.insert("large", large(salt + 1)).unwrap();
        write_all(&table, salt);
        assert!(*lent.1 == value_of(1, 77)[..]);
        for (value, i) in values.iter().zip(0u32..) {
            assert!(**value == value_of(1, i * 25)[..], "{i}");
        }
        assert!(*stretch == large(2)[..]);
    }
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut read).unwrap();
    assert!(read == large(2));
    let long = db.stats().file_bytes;
    assert!(long > SHORT, "{long} bytes: it waited for the guards");
    // One of them does too, from another thread or not.
    drop((cursor, stretch, stream));
    let last = std::thread::scope(|scope| {
        let mut values = values.into_iter();
        let last = values.next().unwrap();
        scope.spawn(move || values.for_each(drop)).join().unwrap();
        last
    });
    write_all(&table, 6);
    let longer = db.stats().file_bytes;
    assert!(longer > long, "{longer} bytes");
    assert!(*last == bytes(VALUE, 1)[..]);
    drop(last);
    (7..10).for_each(|salt| write_all(&table, salt));
    assert_eq!(db.stats().file_bytes, longer, "everything is used again");
    table.remove("large").unwrap();
    assert_all(&table, 9);
    txn.commit().unwrap();
    commits_to::<B>(&fs, db, |table| assert_all(table, 9));
}

/// What a rollback undid is shown by the guards that were taken before, and what a load has taken is the load's.
pub fn guards_keep_what_a_rollback_undid<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let loaded = txn.table("loaded").unwrap();
    write_all(&table, 1);
    let savepoint = txn.savepoint().unwrap();
    write_all(&table, 2);
    table.insert("large", bytes(100_000, 2)).unwrap();
    let value = table.get(4u32.to_be_bytes()).unwrap().unwrap();
    let large = table.get("large").unwrap().unwrap();
    txn.rollback_to(&savepoint).unwrap();
    write_all(&table, 3);
    table.insert("large", bytes(100_000, 4)).unwrap();
    write_all(&table, 4);
    assert!(*value == value_of(2, 4)[..] && *large == bytes(100_000, 2)[..]);
    drop((value, large));

    let mut load = loaded.bulk_load().unwrap();
    for i in 0..ENTRIES {
        load.push(i.to_be_bytes(), value_of(5, i)).unwrap();
        if i % 1_000 == 999 {
            write_all(&table, 5);
            txn.rollback_to(&savepoint).unwrap();
        }
    }
    load.finish().unwrap();
    write_all(&table, 7);
    assert_all(&loaded, 5);
    let mut load = table.bulk_load().unwrap();
    for i in 0..ENTRIES {
        load.push((i + ENTRIES).to_be_bytes(), bytes(VALUE, 6)).unwrap();
        if i % 1_000 == 999 {
            write_all(&table, i as u8);
        }
    }
    load.finish().unwrap();
    table.remove_range(..ENTRIES.to_be_bytes()).unwrap();
    for i in 0..3u8 {
        write_all(&table, i);
        table.remove_range(..ENTRIES.to_be_bytes()).unwrap();
    }
    assert_all(&loaded, 5);
    txn.commit().unwrap();
    commits_to::<B>(&fs, db, |table| {
        assert_eq!(table.len().unwrap(), u64::from(ENTRIES));
        for (entry, i) in table.iter().zip(ENTRIES..) {
            let (key, value) = entry.unwrap();
            assert!(key == i.to_be_bytes() && *value == bytes(VALUE, 6)[..], "{i}");
        }
    });
}

/// A guard that is forgotten holds things back in its own transaction only.
pub fn a_forgotten_guard_holds_back_until_the_end<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    for round in 0..2 {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        write_all(&table, 0);
        if round == 0 {
            // One that has not moved: a forgotten pin would lie on a page that is written after the abort.
            std::mem::forget(table.cursor());
        }
        let before = db.stats().file_bytes;
        (1..6).for_each(|salt| write_all(&table, salt));
        let grown = db.stats().file_bytes - before;
        assert!(if round == 0 { grown > 3 * DATA } else { grown == 0 }, "{grown} bytes in round {round}");
    }
    assert_clean(&db);
}

/// Subtrees that are cut off, with extents below them.
pub fn cleared_and_filled_again_and_again<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let fill = |table: &TableMut<'_, B::Source>, salt: u8| {
        write_all(table, salt);
        for i in 0..8u32 {
            table.insert((i * 500).to_be_bytes(), bytes(2_000 + 20_000 * i as usize, salt)).unwrap();
        }
    };
    db.update(|txn| {
        fill(&txn.table("t")?, 0);
        Ok(())
    })
    .unwrap();
    let txn = db.write().unwrap();
    let savepoint = txn.savepoint().unwrap();
    for salt in 0..10 {
        let table = txn.table("u").unwrap();
        fill(&table, salt);
        match salt % 4 {
            0 => table.clear().unwrap(),
            1 => drop(txn.drop_table("u").unwrap()),
            2 => drop(table.remove_range(9u32.to_be_bytes()..(ENTRIES - 9).to_be_bytes()).unwrap()),
            _ => txn.rollback_to(&savepoint).unwrap(),
        }
    }
    // Its old pages are not the transaction's own.
    let table = txn.table("t").unwrap();
    table.clear().unwrap();
    write_all(&table, 1);
    table.clear().unwrap();
    write_all(&table, 2);
    let most = 3 * (SHORT + 2 * 600_000);
    assert!(db.stats().file_bytes < most, "{} bytes instead of {most}", db.stats().file_bytes);
    txn.commit().unwrap();
    commits_to::<B>(&fs, db, |table| assert_all(table, 2));
}

/// Extents are named by the log: few stay until the end, many make the transaction one that commits by a checkpoint.
pub fn large_values_replaced_in_one_transaction<B: Backend>() {
    let fs = MemFs::new();
    let db = builder::<B>(&fs).delta_size(1 << 20).background(Stepper::at_once()).open(PATH).unwrap();
    let value = |salt: usize| bytes(100_000 + salt * 100, salt as u8);
    for (times, by_log) in [(3, true), (200, false), (3, true)] {
        let (txn, before) = (db.write().unwrap(), db.stats());
        let table = txn.table("t").unwrap();
        for salt in 0..times {
            table.insert("one", value(salt)).unwrap();
            assert_eq!(
                table.replace("two", value(salt + 1)).unwrap().is_some(),
                salt > 0 || before.commits > 0
            );
        }
        txn.commit().unwrap();
        assert_eq!(db.stats().checkpoints == before.checkpoints, by_log, "{times}");
        assert!(db.stats().file_bytes < 8 << 20, "{} bytes", db.stats().file_bytes);
        assert_clean(&db);
        for db in [&db, &open::<B>(&copy(&fs))] {
            assert_clean(db);
            let txn = db.read().unwrap();
            let table = txn.table("t").unwrap();
            assert!(*table.get("one").unwrap().unwrap() == value(times - 1)[..]);
            assert!(*table.get("two").unwrap().unwrap() == value(times)[..]);
        }
    }
}

/// What is rolled back is named by nothing: it is used again at once, and the commit is one of the log.
pub fn large_values_rolled_back_again_and_again<B: Backend>() {
    let fs = MemFs::new();
    let db = builder::<B>(&fs).delta_size(1 << 20).background(Stepper::at_once()).open(PATH).unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    table.insert("kept", bytes(80_000, 1)).unwrap();
    let savepoint = txn.savepoint().unwrap();
    for salt in 0..100u8 {
        table.insert("kept", bytes(300_000, salt)).unwrap();
        table.insert("new", bytes(200_000, salt)).unwrap();
        txn.rollback_to(&savepoint).unwrap();
        assert!(*table.get("kept").unwrap().unwrap() == bytes(80_000, 1)[..]);
    }
    assert!(db.stats().file_bytes < 2 << 20, "{} bytes", db.stats().file_bytes);
    table.insert("last", bytes(90_000, 3)).unwrap();
    txn.commit().unwrap();
    assert_eq!(db.stats().checkpoints, 0);
    commits_to::<B>(&fs, db, |table| {
        assert_eq!(table.len().unwrap(), 2);
        assert!(*table.get("kept").unwrap().unwrap() == bytes(80_000, 1)[..]);
        assert!(*table.get("last").unwrap().unwrap() == bytes(90_000, 3)[..]);
    });
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// One of `n`.
fn below(seed: &mut u64, n: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % n
}

/// One random change, of the table and of what it should be.
fn change<S: PageSource>(table: &TableMut<'_, S>, map: &mut Map, seed: &mut u64) {
    let key = |seed: &mut u64| below(seed, 2_500).wrapping_mul(7_919).to_be_bytes()[4..].to_vec();
    let at = key(seed);
    match below(seed, 300) {
        0 => {
            table.clear().unwrap();
            map.clear();
        }
        1..=4 => {
            let (from, to) = (at, key(seed));
            table.remove_range(from.clone()..to.clone()).unwrap();
            map.retain(|key, _| *key < from || *key >= to);
        }
        5..=8 => {
            let value = bytes(65_537 + below(seed, 9_000) as usize, below(seed, 256) as u8);
            table.insert(&at, &value).unwrap();
            map.insert(at, value);
        }
        9..=30 => {
            let value = bytes(below(seed, 3_000) as usize, below(seed, 256) as u8);
            table.insert(&at, &value).unwrap();
            map.insert(at, value);
        }
        31..=50 => assert_eq!(table.remove(&at).unwrap(), map.remove(&at).is_some()),
        51..=70 => {
            let taken = table.take(&at).unwrap();
            assert_eq!(taken.as_deref(), map.remove(&at).as_deref());
        }
        _ => {
            for i in 0..20 {
                let key = [&at[..], &[i]].concat();
                let value = bytes(below(seed, 110) as usize, below(seed, 256) as u8);
                table.insert(&key, &value).unwrap();
                map.insert(key, value);
            }
        }
    }
}

fn assert_map<S: PageSource>(table: &TableMut<'_, S>, map: &Map) {
    assert_eq!(table.len().unwrap(), map.len() as u64);
    for (entry, (key, value)) in table.iter().zip(map) {
        let (found, bytes) = entry.unwrap();
        assert!(found == *key && *bytes == value[..], "{key:?}");
    }
}

/// Random changes, guards, savepoints and rollbacks, aborts and commits.
pub fn random_transactions_larger_than_the_delta<B: Backend>() {
    let fs = MemFs::new();
    let db = small_delta::<B>(&fs);
    let mut seed = 0x5EED_0FF1_CE00_u64;
    let mut committed = Map::new();
    for round in 0..12 {
        let mut map = committed.clone();
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        let mut savepoints = Vec::new();
        let mut guards: Vec<(Value<'_, _>, Vec<u8>)> = Vec::new();
        for step in 0..400u32 {
            change(&table, &mut map, &mut seed);
            match below(&mut seed, 40) {
                0 if savepoints.len() < 6 => savepoints.push((txn.savepoint().unwrap(), map.clone())),
                1 if !savepoints.is_empty() => {
                    savepoints.truncate(below(&mut seed, savepoints.len() as u64) as usize + 1);
                    let (savepoint, then) = savepoints.last().unwrap();
                    txn.rollback_to(savepoint).unwrap();
                    map.clone_from(then);
                    assert_map(&table, &map);
                }
                2..=5 if !map.is_empty() => {
                    let (key, value) = map.iter().nth(below(&mut seed, map.len() as u64) as usize).unwrap();
                    guards.push((table.get(key).unwrap().unwrap(), value.clone()));
                }
                6 | 7 => guards.clear(),
                8 => assert_map(&table, &map),
                _ => {}
            }
            assert!(guards.iter().all(|(guard, value)| **guard == value[..]), "a guard in step {step}");
        }
        drop(guards);
        assert_map(&table, &map);
        if round % 3 == 2 {
            drop(txn);
        } else {
            txn.commit().unwrap();
            committed = map;
        }
        assert_clean(&db);
        for db in [&db, &open::<B>(&copy(&fs))] {
            assert_clean(db);
            assert_map(&db.write().unwrap().table("t").unwrap(), &committed);
        }
    }
    assert!(db.stats().spills > 100, "{}", db.stats().spills);
}
