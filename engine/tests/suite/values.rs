//! Values of all sizes: guards, streams, replacement.
#![forbid(unsafe_code)]

use super::{Backend, PATH, assert_clean, builder_sized, bytes, copy, fresh, open, settled};
use bifold_page_source::MemFs;
use std::io::{Read, Seek, SeekFrom};

/// Lengths around everything that happens to a value: the leaf's quarter page, a page, the checksummed chunk, the
/// extent written at once, the stream's window, the batch of a write.
fn lengths(page_size: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    for around in [
        1,
        page_size / 4 - 4,
        page_size / 4,
        page_size,
        2 * page_size,
        64 << 10,
        128 << 10,
        256 << 10,
        1 << 20,
    ] {
        lengths.extend([around - 1, around, around + 1]);
    }
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

pub fn values_around_every_threshold<B: Backend>() {
    for page_size in [512, 4096, 65_536] {
        let fs = MemFs::new();
        let db = builder_sized::<B>(&fs, page_size).delta_size(64 << 20).open(PATH).unwrap();
        let lengths = lengths(page_size);
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        for (i, len) in lengths.iter().enumerate() {
            table.insert((*len as u32).to_be_bytes(), bytes(*len, i as u8)).unwrap();
            assert_eq!(table.get((*len as u32).to_be_bytes()).unwrap().unwrap(), bytes(*len, i as u8));
        }
        txn.commit().unwrap();
        let crashed = copy(&fs);
        let recovered = builder_sized::<B>(&crashed, page_size).open(PATH).unwrap();
        for round in 0..3 {
            if round == 1 {
                db.checkpoint().unwrap();
            }
            let db = if round == 2 { &recovered } else { &db };
            let txn = db.read().unwrap();
            let table = txn.table("t").unwrap();
            for (i, len) in lengths.iter().enumerate() {
                let value = table.get((*len as u32).to_be_bytes()).unwrap().unwrap();
                assert!(value == bytes(*len, i as u8), "{len} bytes in pages of {page_size}, round {round}");
            }
            let keys: Vec<_> = lengths.iter().map(|len| (*len as u32).to_be_bytes()).collect();
            let values = table.get_many(&keys).unwrap();
            assert!(values.iter().zip(&lengths).all(|(v, len)| v.as_ref().unwrap().len() == *len));
            let mut cursor = table.cursor();
            for (i, len) in lengths.iter().enumerate() {
                assert!(cursor.next().unwrap().unwrap().1 == bytes(*len, i as u8));
            }
            assert_clean(db);
        }
    }
}

pub fn a_value_outlives_later_changes<B: Backend>() {
    let db = fresh::<B>();
    let sizes = [10usize, 100, 1000, 20_000, 70_000, 300_000];
    for checkpointed in [false, true] {
        db.update(|txn| {
            let table = txn.table("t")?;
            sizes.iter().try_for_each(|len| table.insert(len.to_be_bytes(), bytes(*len, 1)))
        })
        .unwrap();
        if checkpointed {
            db.checkpoint().unwrap();
        }
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        let mut guards: Vec<_> =
            sizes.iter().map(|len| (*len, 1, table.get(len.to_be_bytes()).unwrap().unwrap())).collect();
        for round in 2..6u8 {
            for len in sizes {
                table.insert(len.to_be_bytes(), bytes(len, round)).unwrap();
                guards.push((len, round, table.get(len.to_be_bytes()).unwrap().unwrap()));
                // In place, in the same leaf.
                table.insert((len + 1).to_be_bytes(), bytes(50, round)).unwrap();
            }
            let savepoint = txn.savepoint().unwrap();
            for len in sizes {
                table.insert(len.to_be_bytes(), bytes(len, 100 + round)).unwrap();
                guards.push((len, 100 + round, table.get(len.to_be_bytes()).unwrap().unwrap()));
                table.remove(len.to_be_bytes()).unwrap();
            }
            table.clear().unwrap();
            txn.rollback_to(&savepoint).unwrap();
        }
        txn.drop_table("t").unwrap();
        for (len, salt, guard) in &guards {
            assert!(*guard == bytes(*len, *salt), "{len} bytes of {salt}");
            let copy = (*salt, guard.to_vec());
            assert_eq!(copy.1.len(), *len);
        }
        drop(guards);
        txn.commit().unwrap();
        assert_clean(&db);
    }
}

pub fn streams_read_and_seek<B: Backend>() {
    let db = fresh::<B>();
    let lengths =
        [0usize, 1, 127, 128, 129, 5000, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 1_000_003];
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for len in lengths {
        table.insert(len.to_be_bytes(), bytes(len, 3)).unwrap();
        let mut all = Vec::new();
        table.reader(len.to_be_bytes()).unwrap().unwrap().read_to_end(&mut all).unwrap();
        assert!(all == bytes(len, 3), "{len} bytes within the transaction");
    }
    assert!(table.reader("none").unwrap().is_none());
    txn.commit().unwrap();
    for checkpointed in [false, true] {
        if checkpointed {
            db.checkpoint().unwrap();
        }
        let txn = db.read().unwrap();
        let table = txn.table("t").unwrap();
        for len in lengths {
            let wanted = bytes(len, 3);
            let mut reader = table.reader(len.to_be_bytes()).unwrap().unwrap();
            assert_eq!((reader.len(), reader.is_empty()), (len as u64, len == 0));
            let mut all = Vec::new();
            assert_eq!(reader.read_to_end(&mut all).unwrap(), len);
            assert!(all == wanted, "{len} bytes");
            assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
            // Pieces that straddle chunks and windows, forwards and backwards.
            let places = (0..len).step_by(len / 23 + 1).chain((0..len).rev().step_by(len / 17 + 1));
            for at in places.chain([len, len + 5]) {
                let mut piece = vec![0; 70_000.min(len.saturating_sub(at)).min(1 + at % 70_000)];
                assert_eq!(reader.seek(SeekFrom::Start(at as u64)).unwrap(), at as u64);
                reader.read_exact(&mut piece).unwrap();
                assert!(piece == wanted[at.min(len)..at.min(len) + piece.len()], "{len} at {at}");
                assert_eq!(reader.stream_position().unwrap(), (at + piece.len()) as u64);
            }
            assert_eq!(reader.seek(SeekFrom::End(0)).unwrap(), len as u64);
            assert_eq!(reader.seek(SeekFrom::Current(10)).unwrap(), len as u64 + 10);
            assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
            assert!(reader.seek(SeekFrom::End(-(len as i64) - 1)).is_err());
            assert!(reader.seek(SeekFrom::Current(i64::MIN)).is_err());
            assert_eq!(reader.seek(SeekFrom::End(-(len as i64))).unwrap(), 0);
        }
    }
}

pub fn large_values_are_replaced_and_removed<B: Backend>() {
    let db = settled::<B>();
    let len = |round: usize, key: usize| [50, 400, 3_000, 66_000, 200_000][(round + key) % 5] + key;
    for round in 0..15 {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        for key in 0..30usize {
            let value = bytes(len(round, key), round as u8);
            match (round + key) % 7 {
                6 => drop(table.remove(key.to_be_bytes()).unwrap()),
                _ => table.insert(key.to_be_bytes(), &value).unwrap(),
            }
        }
        if round % 4 == 3 {
            table.remove_range(10usize.to_be_bytes()..20usize.to_be_bytes()).unwrap();
        }
        txn.commit().unwrap();
        if round % 2 == 0 {
            db.checkpoint().unwrap();
        }
        assert_clean(&db);
        let txn = db.read().unwrap();
        for entry in &txn.table("t").unwrap() {
            let (key, value) = entry.unwrap();
            let key = usize::from_be_bytes(key.try_into().unwrap());
            assert!(value == bytes(len(round, key), round as u8), "round {round} key {key}");
        }
    }
    db.update(|txn| txn.table("t")?.clear()).unwrap();
    for _ in 0..3 {
        db.checkpoint().unwrap();
    }
    let shape = db.shape().unwrap();
    let used = shape.file_pages - shape.free_pages;
    assert!(used < 200, "{used} pages are used by nothing: {shape:?}");
    assert_clean(&db);
}

pub fn a_value_of_many_mebibytes<B: Backend>() {
    let fs = MemFs::new();
    let db = open::<B>(&fs);
    let value = bytes(20 << 20, 77);
    db.update(|txn| txn.table("t")?.insert("k", &value)).unwrap();
    let crashed = copy(&fs);
    db.close().unwrap();
    for fs in [fs, crashed] {
        let db = open::<B>(&fs);
        let txn = db.read().unwrap();
        let table = txn.table("t").unwrap();
        assert!(table.get("k").unwrap().unwrap() == value);
        let mut reader = table.reader("k").unwrap().unwrap();
        reader.seek(SeekFrom::Start(12_345_678)).unwrap();
        let mut piece = vec![0; 3_000_000];
        reader.read_exact(&mut piece).unwrap();
        assert!(piece == value[12_345_678..15_345_678]);
        assert_clean(&db);
        let shape = db.shape().unwrap();
        assert_eq!((shape.tables[0].large_values, shape.tables[0].large_value_bytes), (1, 20 << 20));
    }
}

pub fn values_survive_checkpoint_and_reopening<B: Backend>() {
    let fs = MemFs::new();
    let mut round = 0u8;
    while round < 8 {
        let db = open::<B>(&fs);
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        for len in [0usize, 60, 130, 2_000, 65_536, 65_537, 150_000] {
            if round > 0 {
                assert!(table.get(len.to_be_bytes()).unwrap().unwrap() == bytes(len, round - 1));
            }
            table.insert(len.to_be_bytes(), bytes(len, round)).unwrap();
        }
        txn.commit().unwrap();
        if round % 2 == 1 {
            db.checkpoint().unwrap();
        }
        db.close().unwrap();
        round += 1;
    }
    assert_clean(&open::<B>(&fs));
}
