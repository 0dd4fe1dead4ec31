//! The operations on tables, with adversarial keys and bounds, against sorted maps.
#![forbid(unsafe_code)]

use super::{Backend, PATH, assert_clean, builder, builder_sized, bytes, fresh};
use bifold::testing::Stepper;
use bifold::{Db, Error};
use bifold_page_source::{MemFs, PageId, page_checksum};
use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keys that are close to each other, or to what limits there are.
fn hard_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0, 0], vec![0; 128], vec![0xFF], vec![0xFF; 128]];
    for n in 0..60u8 {
        keys.push(vec![b'a'; usize::from(n) + 1]);
        keys.push([&b"abc"[..], &[n]].concat());
        keys.push([&b"abcd"[..], &[n, 0]].concat());
        keys.push([&[0xFF; 4][..], &[n]].concat());
        keys.push([&[b'p'; 125][..], &[n]].concat());
        keys.push([&[b'p'; 126][..], &[n, 0xFF - n]].concat());
    }
    keys
}

fn filled<B: Backend>() -> (Db<B::Source>, Map) {
    let db = fresh::<B>();
    let map: Map =
        hard_keys().into_iter().enumerate().map(|(i, key)| (key, bytes(i % 70, i as u8))).collect();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    // Not in order, so that pages split in all ways.
    let mut keys: Vec<_> = map.iter().collect();
    keys.sort_by_key(|(key, _)| page_checksum(1, PageId::default(), &[&[0; 8], &key[..]].concat()));
    for (key, value) in keys {
        table.insert(key, value).unwrap();
    }
    txn.commit().unwrap();
    (db, map)
}

pub fn entries_are_found_changed_and_removed<B: Backend>() {
    let (db, mut map) = filled::<B>();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for (i, key) in hard_keys().into_iter().enumerate() {
        assert_eq!(table.get(&key).unwrap().as_deref(), map.get(&key).map(|v| &v[..]));
        assert!(table.contains_key(&key).unwrap() == map.contains_key(&key));
        let value = bytes(i * 3 % 200, 5);
        match i % 5 {
            0 => {
                let before = table.replace(&key, &value).unwrap();
                assert_eq!(before.as_deref(), map.insert(key, value).as_deref());
            }
            1 => {
                assert_eq!(table.insert_new(&key, &value).unwrap(), !map.contains_key(&key));
                map.entry(key).or_insert(value);
            }
            2 => assert_eq!(table.take(&key).unwrap().as_deref(), map.remove(&key).as_deref()),
            3 => assert_eq!(table.remove(&key).unwrap(), map.remove(&key).is_some()),
            _ => {
                table.insert(&key, &value).unwrap();
                map.insert(key, value);
            }
        }
        assert_eq!(table.len().unwrap(), map.len() as u64);
    }
    txn.commit().unwrap();
    let txn = db.read().unwrap();
    let got = txn.table("t").unwrap().iter().map(|e| e.map(|(k, v)| (k, v.to_vec())).unwrap());
    assert!(got.eq(map));
    assert_clean(&db);
}

fn bounds(keys: &[Vec<u8>]) -> Vec<Bound<Vec<u8>>> {
    let mut bounds = vec![Unbounded];
    for key in keys.iter().step_by(17) {
        let behind = [&key[..], &[0]].concat();
        let before = key[..key.len().saturating_sub(1)].to_vec();
        for key in [key.clone(), behind, before] {
            bounds.push(Included(key.clone()));
            bounds.push(Excluded(key));
        }
    }
    // Longer than any key can be.
    bounds.push(Included(vec![b'p'; 500]));
    bounds.push(Excluded(vec![0xFF; 129]));
    bounds
}

fn inside(key: &[u8], from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    let behind = match from {
        Included(from) => key >= &from[..],
        Excluded(from) => key > &from[..],
        Unbounded => true,
    };
    let before = match to {
        Included(to) => key <= &to[..],
        Excluded(to) => key < &to[..],
        Unbounded => true,
    };
    behind && before
}

pub fn bounds_of_all_kinds_give_what_a_sorted_map_gives<B: Backend>() {
    let (db, map) = filled::<B>();
    db.checkpoint().unwrap();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    let keys: Vec<Vec<u8>> = map.keys().cloned().collect();
    let bounds = bounds(&keys);
    for from in &bounds {
        for to in &bounds {
            let wanted: Vec<&Vec<u8>> = keys.iter().filter(|key| inside(key, from, to)).collect();
            let range = || (from.clone(), to.clone());
            assert_eq!(table.count(range()).unwrap(), wanted.len() as u64, "{from:?} {to:?}");
            let got: Vec<Vec<u8>> = table.range(range()).keys().map(Result::unwrap).collect();
            assert!(got.iter().eq(wanted.iter().copied()), "{from:?} {to:?}");
            let got: Vec<Vec<u8>> = table.range(range()).keys().rev().map(Result::unwrap).collect();
            assert!(got.iter().eq(wanted.iter().rev().copied()), "{from:?} {to:?}");
        }
    }
    // Ranges written as ranges.
    let count = |n: u64| n;
    assert_eq!(table.count("abc".."abd").unwrap(), count(120));
    assert_eq!(table.range("a"..="aaa").count(), 3);
    assert_eq!(table.range("aaa".."a").count(), 0);
    assert_eq!(table.range::<&[u8]>(..).count(), map.len());
    assert_eq!(table.range(vec![0xFF; 128]..).count(), 1);
    assert_eq!(table.range((Excluded(vec![0xFF; 128]), Unbounded)).count(), 0);
    assert_eq!(table.range(..Vec::new()).count(), 0);
    assert_eq!(table.range(..=Vec::new()).count(), 1);
}

pub fn prefixes_end_where_they_should<B: Backend>() {
    let (db, map) = filled::<B>();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    let prefixes: [&[u8]; 12] = [
        b"",
        b"a",
        b"abc",
        b"abcd",
        &[0],
        &[0; 128],
        &[0xFF],
        &[0xFF; 4],
        &[0xFF; 128],
        &[0xFF; 200],
        b"q",
        &[b'p'; 126],
    ];
    for prefix in prefixes {
        let wanted: Vec<_> = map.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        let got: Vec<_> = table.prefix(prefix).map(Result::unwrap).collect();
        assert!(
            got.iter().map(|(k, v)| (k, &**v)).eq(wanted.iter().map(|(k, v)| (*k, &v[..]))),
            "{prefix:?}"
        );
        let got: Vec<_> = table.prefix(prefix).rev().map(Result::unwrap).collect();
        assert!(got.iter().map(|(k, _)| k).eq(wanted.iter().rev().map(|(k, _)| *k)), "{prefix:?}");
    }
}

pub fn scans_meet_in_the_middle<B: Backend>() {
    let (db, map) = filled::<B>();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    for step in 1..6usize {
        let mut scan = table.iter();
        let mut wanted: std::collections::VecDeque<_> = map.iter().collect();
        for turn in 0.. {
            let (got, want) = if turn % (step + 1) == 0 {
                (scan.next_back(), wanted.pop_back())
            } else {
                (scan.next(), wanted.pop_front())
            };
            let got = got.map(Result::unwrap);
            assert!(got.as_ref().map(|(k, v)| (k, &v[..])) == want.map(|(k, v)| (k, &v[..])));
            if want.is_none() {
                break;
            }
        }
        assert!(scan.next().is_none() && scan.next_back().is_none() && scan.next().is_none());
    }
}

pub fn many_keys_at_once<B: Backend>() {
    let (db, map) = filled::<B>();
    db.checkpoint().unwrap();
    let mut keys: Vec<Vec<u8>> = hard_keys();
    keys.extend(hard_keys().into_iter().map(|key| [&key[..], b"no"].concat()));
    keys.extend(hard_keys().into_iter().rev());
    keys.push(vec![1; 1000]);
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    for part in [&keys[..], &keys[..1], &keys[..0], &keys[100..164]] {
        let got = table.get_many(part).unwrap();
        assert_eq!(got.len(), part.len());
        for (key, value) in part.iter().zip(&got) {
            assert_eq!(value.as_deref(), map.get(key).map(|v| &v[..]), "{key:?}");
        }
    }
}

pub fn ranks_and_places<B: Backend>() {
    let (db, map) = filled::<B>();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for checked in 0..2 {
        if checked == 1 {
            table.remove_range("abc".."abcd").unwrap();
        }
        let keys: Vec<Vec<u8>> = table.iter().keys().map(Result::unwrap).collect();
        for (n, key) in keys.iter().enumerate() {
            let n = n as u64;
            assert_eq!(table.rank(key).unwrap(), n);
            assert_eq!(table.rank([&key[..], &[0]].concat()).unwrap(), n + 1);
            let (found, value) = table.nth(n).unwrap().unwrap();
            assert_eq!((&found, &value[..]), (key, &map[key][..]));
        }
        assert!(table.nth(keys.len() as u64).unwrap().is_none());
        assert!(table.nth(u64::MAX).unwrap().is_none());
        assert_eq!(table.rank(vec![0xFF; 200]).unwrap(), keys.len() as u64);
        assert_eq!(table.first().unwrap().unwrap().0, keys[0]);
        assert_eq!(table.last().unwrap().unwrap().0, keys[keys.len() - 1]);
    }
}

pub fn empty_keys_and_empty_values<B: Backend>() {
    let db = fresh::<B>();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    table.insert("", "").unwrap();
    assert_eq!(table.get("").unwrap().unwrap(), *b"");
    assert!(matches!(table.append("", "x"), Err(Error::NotInOrder)));
    assert_eq!(table.replace("", "full").unwrap().unwrap(), *b"");
    table.insert("a", "").unwrap();
    txn.commit().unwrap();
    db.checkpoint().unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    assert_eq!(table.get("").unwrap().unwrap(), *b"full");
    assert_eq!(table.get("a").unwrap().unwrap().len(), 0);
    assert_eq!(table.reader("a").unwrap().unwrap().len(), 0);
    assert_eq!(table.pop_first().unwrap().unwrap().0, b"");
    assert_eq!(table.pop_first().unwrap().unwrap().0, b"a");
    assert!(table.pop_first().unwrap().is_none());
    txn.commit().unwrap();
    assert_clean(&db);
}

pub fn keys_up_to_the_limit_and_no_longer<B: Backend>() {
    for page_size in [512, 4096, 65_536] {
        let db = builder_sized::<B>(&MemFs::new(), page_size).open(PATH).unwrap();
        let max = db.key_max();
        assert_eq!(max, page_size / 4);
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        let key = |i: u8, len: usize| [&vec![b'k'; len - 1][..], &[i]].concat();
        for i in 0..100 {
            table.insert(key(i, max), bytes(usize::from(i) * 5, i)).unwrap();
            let error = table.insert(key(i, max + 1), "v").unwrap_err();
            let Error::KeyTooLong { len, max: limit } = error else { panic!("{error}") };
            assert_eq!((len, limit), (max + 1, max));
            // Key and value together fit a leaf, or just do not.
            for over in 0..3 {
                table.insert(key(i, max / 2), bytes(max / 2 - 1 + over, i)).unwrap();
            }
        }
        txn.commit().unwrap();
        assert_clean(&db);
        db.checkpoint().unwrap();
        assert_clean(&db);
        let txn = db.read().unwrap();
        let table = txn.table("t").unwrap();
        for i in 0..100 {
            assert_eq!(table.get(key(i, max)).unwrap().unwrap(), bytes(usize::from(i) * 5, i));
            assert!(table.get(key(i, max + 1)).unwrap().is_none());
            assert_eq!(table.get(key(i, max / 2)).unwrap().unwrap().len(), max / 2 + 1);
        }
    }
}

pub fn appending_keeps_order<B: Backend>() {
    let db = fresh::<B>();
    for part in 0..4u32 {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        for i in part * 1000..(part + 1) * 1000 {
            table.append(i.to_be_bytes(), bytes(16, i as u8)).unwrap();
        }
        assert!(matches!(table.append((part * 1000).to_be_bytes(), ""), Err(Error::NotInOrder)));
        txn.commit().unwrap();
        db.checkpoint().unwrap();
    }
    let shape = db.shape().unwrap();
    assert_eq!(shape.tables[0].entries, 4000);
    assert!(shape.tables[0].leaf_fill() > 0.9, "an ordered load leaves {shape:#?}");
    assert_clean(&db);
}

pub fn ranges_are_removed_exactly<B: Backend>() {
    let (db, map) = filled::<B>();
    db.checkpoint().unwrap();
    let keys: Vec<Vec<u8>> = map.keys().cloned().collect();
    let bounds = bounds(&keys);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let savepoint = txn.savepoint().unwrap();
    for (i, from) in bounds.iter().enumerate() {
        for to in bounds.iter().skip(i % 5).step_by(5) {
            // A handle of before the savepoint would do as well; this one is opened anew.
            let table = txn.table("t").unwrap();
            let left: Vec<&Vec<u8>> = keys.iter().filter(|key| !inside(key, from, to)).collect();
            let removed = table.remove_range((from.clone(), to.clone())).unwrap();
            assert_eq!(removed, (keys.len() - left.len()) as u64, "{from:?} {to:?}");
            assert_eq!(table.len().unwrap(), left.len() as u64);
            let got: Vec<Vec<u8>> = table.iter().keys().map(Result::unwrap).collect();
            assert!(got.iter().eq(left), "{from:?} {to:?}");
            // What is left can still be added to.
            for key in keys.iter().step_by(29) {
                table.insert(key, "again").unwrap();
                assert_eq!(table.get(key).unwrap().unwrap(), *b"again");
            }
            txn.rollback_to(&savepoint).unwrap();
        }
    }
    assert_eq!(table.remove_range("abc".."abd").unwrap(), 120);
    table.clear().unwrap();
    assert!(table.is_empty().unwrap());
    txn.commit().unwrap();
    assert_clean(&db);
    db.checkpoint().unwrap();
    db.checkpoint().unwrap();
    assert_clean(&db);
}

pub fn both_ends_are_popped<B: Backend>() {
    let (db, mut map) = filled::<B>();
    db.checkpoint().unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    while !map.is_empty() {
        for (got, wanted) in [(table.pop_first(), map.pop_first()), (table.pop_last(), map.pop_last())] {
            assert_eq!(got.unwrap().map(|(key, value)| (key, value.to_vec())), wanted);
        }
        assert_eq!(table.len().unwrap(), map.len() as u64);
    }
    assert!(table.pop_first().unwrap().is_none() && table.pop_last().unwrap().is_none());
    txn.commit().unwrap();
    assert_clean(&db);
}

pub fn every_page_size<B: Backend>() {
    for page_size in [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536] {
        let fs = MemFs::new();
        let db = builder_sized::<B>(&fs, page_size).open(PATH).unwrap();
        assert_eq!((db.page_size(), db.stats().page_size), (page_size, page_size as u64));
        let mut map = Map::new();
        for round in 0..3u32 {
            let txn = db.write().unwrap();
            let table = txn.table("t").unwrap();
            for i in 0..600u32 {
                let key = (i.wrapping_mul(2_654_435_761) % 1000).to_be_bytes().to_vec();
                let value = bytes((i * (round + 1)) as usize % 300, i as u8);
                table.insert(&key, &value).unwrap();
                map.insert(key, value);
            }
            let len = page_size / 4 + round as usize;
            table.insert("border", bytes(len, 1)).unwrap();
            map.insert(b"border".to_vec(), bytes(len, 1));
            txn.commit().unwrap();
            assert_clean(&db);
            db.checkpoint().unwrap();
            assert_clean(&db);
        }
        db.close().unwrap();
        // The file knows its page size, whatever is asked for.
        let db = builder_sized::<B>(&fs, page_size).page_size(4096).open(PATH).unwrap();
        assert_eq!(db.page_size(), page_size);
        let txn = db.read().unwrap();
        let got = txn.table("t").unwrap().iter().map(|e| e.map(|(k, v)| (k, v.to_vec())).unwrap());
        assert!(got.eq(map));
        assert_clean(&db);
    }
}

pub fn in_memory<B: Backend>() {
    let db = Db::<B::Source>::builder().backend(B::options(512)).page_size(512).in_memory().unwrap();
    for round in 0..10u32 {
        db.update(|txn| {
            let table = txn.table("t")?;
            table.insert("large", bytes(100_000, round as u8))?;
            (0..200u32).try_for_each(|i| table.insert((i + round * 50).to_be_bytes(), bytes(50, i as u8)))
        })
        .unwrap();
        let stuck = db.read().unwrap();
        if round % 3 == 0 {
            db.checkpoint().unwrap();
        }
        assert_eq!(stuck.table("t").unwrap().get("large").unwrap().unwrap(), bytes(100_000, round as u8));
        assert_clean(&db);
    }
    assert_eq!(db.stats().log_bytes, 0);
    db.close().unwrap();
    let other = Db::<B::Source>::builder().backend(B::options(4096)).in_memory().unwrap();
    assert!(other.read().unwrap().tables().unwrap().is_empty());
}

pub fn statistics_of_writing_add_up<B: Backend>() {
    let db = builder::<B>(&MemFs::new()).background(Stepper::at_once()).open(PATH).unwrap();
    assert!(db.stats().write_amplification().is_none() && db.stats().commits_per_sync().is_none());
    for n in 0..50u32 {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        table.insert(n.to_be_bytes(), bytes(100, 1)).unwrap();
        let savepoint = txn.savepoint().unwrap();
        table.insert("undone", bytes(300, 1)).unwrap();
        txn.rollback_to(&savepoint).unwrap();
        if n % 2 == 0 { txn.commit().unwrap() } else { drop(txn.commit_nowait().unwrap()) }
    }
    db.sync().unwrap();
    let stats = db.stats();
    assert_eq!((stats.commits, stats.put_bytes, stats.synced_commits), (50, 50 * 104, 50));
    // Each waited commit syncs the one before it as well.
    assert_eq!(stats.log_syncs, 26);
    assert!(stats.log_written_bytes >= 26 * 512 && stats.log_written_bytes.is_multiple_of(512));
    assert!(stats.log_bytes >= stats.put_bytes && stats.log_bytes < stats.log_written_bytes);
    assert!(stats.delta_bytes > 5000 && stats.file_written_bytes == 0);
    db.checkpoint().unwrap();
    let stats = db.stats();
    assert_eq!((stats.checkpoints, stats.delta_bytes, stats.log_live_bytes), (1, 0, 0));
    assert!(stats.checkpoint_bytes > 5000 && stats.file_written_bytes > stats.checkpoint_bytes);
    assert_eq!(stats.checkpoint_bytes, stats.checkpoint_pages * 512);
    let written = stats.file_written_bytes + stats.log_written_bytes;
    let each = stats.write_amplification().unwrap();
    assert!((each - written as f64 / (50.0 * 104.0)).abs() < 1e-9);
    assert!((1.9..2.0).contains(&stats.commits_per_sync().unwrap()));
}
