//! Tests of recording and of reading what was recorded.
#![forbid(unsafe_code)]

use super::block::{BLOCK_HEAD, BLOCK_MAX, BlockHead, HEAD, Head, VERSION};
use super::encode::KEY_KEPT;
use super::*;
use crate::db::{Builder, Db};
use crate::durability::Durability;
use crate::tree::access::Access;
use bifold_page_source::testing::pages::Rng;
use bifold_page_source::testing::{Fault, FaultFs, OpKind};
use bifold_page_source::{MemFs, MemSource};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::Path;
use std::sync::Arc;

const TRACE: &str = "/trace";

fn builder(fs: &MemFs) -> Builder<MemSource> {
    Db::builder().page_size(512).file_system(Arc::new(fs.clone())).record_trace(TRACE)
}

fn open(fs: &MemFs) -> Db<MemSource> {
    builder(fs).open("/db").unwrap()
}

fn bytes(fs: &MemFs) -> Vec<u8> {
    fs.read_file(Path::new(TRACE)).unwrap()
}

/// All events, and how reading ended.
fn read(bytes: &[u8]) -> (Vec<Event>, Result<Option<u64>>) {
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut events = Vec::new();
    for event in &mut reader {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(reader.next().is_none(), "nothing comes after an error");
                return (events, Err(error));
            }
        }
    }
    assert!(reader.next().is_none());
    let cut = reader.cut_at();
    (events, Ok(cut))
}

/// What was recorded by a database that has been closed.
fn ops(fs: &MemFs) -> Vec<Op<'static>> {
    let (events, end) = read(&bytes(fs));
    assert!(matches!(end, Ok(None)), "{end:?}");
    assert!(events.is_sorted_by_key(|event| event.micros) && events.iter().all(|event| event.thread == 1));
    events.into_iter().map(|event| event.op).collect()
}

fn key(text: &str) -> Cow<'static, [u8]> {
    Cow::Owned(text.as_bytes().to_vec())
}

#[test]
fn what_is_written_is_in_the_trace_in_order() {
    let fs = MemFs::new();
    let db = open(&fs);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    table.insert("a", "12345").unwrap();
    assert!(table.insert_new("b", "").unwrap());
    assert!(!table.insert_new("b", "x").unwrap());
    table.replace("a", "1").unwrap();
    table.append("c", "22").unwrap();
    let savepoint = txn.savepoint().unwrap();
    table.remove("zz").unwrap();
    assert!(table.take("c").unwrap().is_some());
    txn.rollback_to(&savepoint).unwrap();
    let again = txn.table("t").unwrap();
    assert_eq!(again.remove_range("b"..).unwrap(), 2);
    again.clear().unwrap();
    assert!(table.insert(vec![0; 1000], "").is_err(), "what fails is not recorded");
    txn.set_durability(Durability::Buffered);
    txn.commit().unwrap();
    let txn = db.try_write().unwrap();
    txn.create_table("u").unwrap().insert("k", "v").unwrap();
    assert!(txn.find_table("v").unwrap().is_none());
    assert!(txn.drop_table("t").unwrap());
    assert!(!txn.drop_table("t").unwrap());
    txn.tables().unwrap();
    txn.rename_table("u", "w").unwrap();
    assert!(txn.rename_table("u", "x").is_err() && txn.rename_table("w", "w").is_err());
    txn.rename_table("w", "u").unwrap();
    txn.commit_nowait().unwrap().wait().unwrap();
    db.write().unwrap().table("u").unwrap();
    db.sync().unwrap();
    db.checkpoint().unwrap();
    db.begin_checkpoint().unwrap();
    db.check().unwrap();
    db.compact().unwrap();
    db.close().unwrap();

    let (table, a, b, c) = (2, key("a"), key("b"), key("c"));
    let number = Some;
    let expected = [
        Op::WriteBegin { txn: 1 },
        Op::CreateTable { txn: 1, table, name: "t".into() },
        Op::Insert { table, key: a.clone(), value_len: 5 },
        Op::Contains { table, key: b.clone(), found: false },
        Op::Insert { table, key: b.clone(), value_len: 0 },
        Op::Contains { table, key: b.clone(), found: true },
        Op::Get { table, key: a.clone(), value_len: Some(5) },
        Op::Insert { table, key: a, value_len: 1 },
        Op::Cursor { table, from: From::Last, forward: 0, backward: 1 },
        Op::Insert { table, key: c.clone(), value_len: 2 },
        Op::Savepoint { txn: 1, savepoint: 0 },
        Op::Remove { table, key: key("zz"), found: false },
        Op::Get { table, key: c.clone(), value_len: Some(2) },
        Op::Remove { table, key: c, found: true },
        Op::Rollback { txn: 1, savepoint: 0 },
        Op::OpenTable { txn: 1, table: 3, name: "t".into(), found: true },
        Op::RemoveRange { table: 3, lower: Included(b), upper: Unbounded, removed: 2 },
        Op::RemoveRange { table: 3, lower: Unbounded, upper: Unbounded, removed: 1 },
        Op::Commit { txn: 1, durability: Durability::Buffered, waited: true, number: number(1) },
        Op::WriteBegin { txn: 4 },
        Op::CreateTable { txn: 4, table: 5, name: "u".into() },
        Op::Insert { table: 5, key: key("k"), value_len: 1 },
        Op::OpenTable { txn: 4, table: 6, name: "v".into(), found: false },
        Op::DropTable { txn: 4, name: "t".into(), found: true },
        Op::DropTable { txn: 4, name: "t".into(), found: false },
        Op::ListTables { txn: 4 },
        Op::RenameTable { txn: 4, name: "u".into(), new: "w".into() },
        Op::RenameTable { txn: 4, name: "w".into(), new: "u".into() },
        Op::Commit { txn: 4, durability: Durability::Sync, waited: false, number: number(2) },
        Op::WriteBegin { txn: 7 },
        Op::OpenTable { txn: 7, table: 8, name: "u".into(), found: true },
        Op::Abort { txn: 7 },
        Op::Sync,
        Op::Checkpoint { waited: true },
        Op::Checkpoint { waited: false },
    ];
    let got = ops(&fs);
    for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_eq!(got, expected, "event {at}");
    }
    assert_eq!(got.len(), expected.len(), "what the engine does by itself is not recorded");
}

#[test]
fn what_is_read_is_in_the_trace_in_order() {
    let fs = MemFs::new();
    let db = open(&fs);
    db.update(|txn| {
        let mut load = txn.table("t")?.bulk_load()?;
        for entry in ["a", "b", "c", "d"] {
            load.push(entry, [0; 9])?;
        }
        load.finish()?;
        let mut dropped = txn.table("t")?.bulk_load()?;
        dropped.push("e", "")
    })
    .unwrap();
    let txn = db.read_owned().unwrap();
    assert!(txn.table("none").is_err());
    let table = txn.table("t").unwrap();
    assert!(table.get("x").unwrap().is_none());
    table.reader("a").unwrap();
    table.get_many(&["d", "x"]).unwrap();
    assert!(table.first().unwrap().is_some() && table.last().unwrap().is_some());
    assert!(table.nth(2).unwrap().is_some() && table.nth(9).unwrap().is_none());
    assert_eq!(table.rank("c").unwrap(), 2);
    assert_eq!(table.count::<&str>((Excluded("a"), Included("c"))).unwrap(), 2);
    let mut scan = table.range("b"..);
    assert!(scan.next().is_some() && scan.next().is_some() && scan.next_back().is_some());
    assert!(scan.next().is_none() && scan.next_back().is_none());
    drop(scan);
    assert_eq!(table.prefix("a").keys().count(), 1);
    let mut cursor = table.cursor();
    cursor.next().unwrap();
    cursor.next().unwrap();
    cursor.current().unwrap();
    cursor.seek("bb").unwrap();
    cursor.next().unwrap();
    cursor.next().unwrap();
    cursor.prev().unwrap();
    cursor.seek_exact("x").unwrap();
    cursor.last().unwrap();
    drop(cursor);
    drop(table.cursor());
    drop(txn);
    db.close().unwrap();

    let value_len = Some(9);
    let push = |entry| Op::LoadPush { load: 3, key: key(entry), value_len: 9 };
    let expected = [
        Op::WriteBegin { txn: 1 },
        Op::CreateTable { txn: 1, table: 2, name: "t".into() },
        Op::LoadBegin { table: 2, load: 3 },
        push("a"),
        push("b"),
        push("c"),
        push("d"),
        Op::LoadEnd { load: 3, finished: true },
        Op::OpenTable { txn: 1, table: 4, name: "t".into(), found: true },
        Op::LoadBegin { table: 4, load: 5 },
        Op::LoadPush { load: 5, key: key("e"), value_len: 0 },
        Op::LoadEnd { load: 5, finished: false },
        Op::Commit { txn: 1, durability: Durability::Sync, waited: true, number: Some(1) },
        Op::ReadBegin { txn: 6 },
        Op::OpenTable { txn: 6, table: 7, name: "none".into(), found: false },
        Op::OpenTable { txn: 6, table: 8, name: "t".into(), found: true },
        Op::Get { table: 8, key: key("x"), value_len: None },
        Op::Stream { table: 8, key: key("a"), value_len },
        Op::GetMany { table: 8, count: 2 },
        Op::GetManyKey { key: key("d"), value_len },
        Op::GetManyKey { key: key("x"), value_len: None },
        Op::First { table: 8, value_len },
        Op::Last { table: 8, value_len },
        Op::Nth { table: 8, n: 2, value_len },
        Op::Nth { table: 8, n: 9, value_len: None },
        Op::Rank { table: 8, key: key("c"), rank: 2 },
        Op::Count { table: 8, lower: Excluded(key("a")), upper: Included(key("c")), entries: 2 },
        Op::Scan {
            table: 8,
            lower: Included(key("b")),
            upper: Unbounded,
            forward: 2,
            backward: 1,
            keys: false,
        },
        Op::Scan {
            table: 8,
            lower: Included(key("a")),
            upper: Excluded(key("b")),
            forward: 1,
            backward: 0,
            keys: true,
        },
        Op::Cursor { table: 8, from: From::Fresh, forward: 2, backward: 0 },
        Op::Cursor { table: 8, from: From::Seek(key("bb")), forward: 2, backward: 1 },
        Op::Cursor { table: 8, from: From::SeekExact(key("x")), forward: 0, backward: 0 },
        Op::Cursor { table: 8, from: From::Last, forward: 0, backward: 1 },
        Op::ReadEnd { txn: 6 },
    ];
    let got = ops(&fs);
    for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_eq!(got, expected, "event {at}");
    }
    assert_eq!(got.len(), expected.len());
}

/// A trace of several blocks: its bytes, its events, and where each block ends with how many events before that.
fn several_blocks() -> (Vec<u8>, Vec<Event>, Vec<(usize, usize)>) {
    let fs = MemFs::new();
    let db = open(&fs);
    let mut ends = vec![(HEAD, 0)];
    for block in 0..4u32 {
        let txn = db.write().unwrap();
        txn.table("t").unwrap().insert(block.to_be_bytes(), "value").unwrap();
        txn.commit().unwrap();
        db.shared().store.trace.as_ref().unwrap().flush();
        let bytes = bytes(&fs);
        ends.push((bytes.len(), read(&bytes).0.len()));
    }
    drop(db);
    let bytes = bytes(&fs);
    let (events, end) = read(&bytes);
    assert!(matches!(end, Ok(None)));
    assert_eq!((bytes.len(), events.len()), *ends.last().unwrap());
    assert!(ends.is_sorted_by(|a, b| a < b), "{ends:?}");
    (bytes, events, ends)
}

#[test]
fn a_cut_file_is_read_to_its_last_whole_block() {
    let (bytes, events, ends) = several_blocks();
    for len in 0..bytes.len() {
        let (got, end) = read(&bytes[..len]);
        match end {
            Err(Error::NotATrace) => assert!(len < 8),
            Err(Error::Damaged { offset: 0, .. }) => assert!((8..HEAD).contains(&len)),
            Ok(cut) => {
                let (begins, count) = *ends.iter().rfind(|(end, _)| *end <= len).unwrap();
                assert_eq!(got, events[..count], "cut to {len}");
                assert_eq!(cut, (len > begins).then_some(begins as u64), "cut to {len}");
            }
            Err(error) => panic!("cut to {len}: {error}"),
        }
    }
}

#[test]
fn a_flipped_bit_is_found_and_what_lies_before_is_read() {
    let (bytes, events, ends) = several_blocks();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (got, end) = read(&flipped);
        let (begins, count) = *ends.iter().rfind(|(end, _)| *end <= bit / 8).unwrap_or(&(0, 0));
        assert_eq!(got, events[..count], "bit {bit}");
        match end {
            Err(Error::NotATrace) => assert!(bit / 8 < 8),
            Err(Error::UnsupportedVersion(_)) => assert!((8..12).contains(&(bit / 8))),
            Err(Error::Damaged { offset, .. }) => assert_eq!(offset, begins as u64, "bit {bit}"),
            // A length that leads beyond the end of the file.
            Ok(Some(cut)) => assert!(cut == begins as u64 && (8..12).contains(&(bit / 8 - begins))),
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    // Blocks that changed places, and one that is there twice.
    let block = |n: usize| &bytes[ends[n].0..ends[n + 1].0];
    for order in [[0, 2, 1], [0, 0, 1]] {
        let made = [&bytes[..HEAD], block(order[0]), block(order[1]), block(order[2])].concat();
        let (got, end) = read(&made);
        assert_eq!(got, events[..ends[1].1]);
        assert!(matches!(end, Err(Error::Damaged { offset, .. }) if offset == ends[1].0 as u64));
    }
}

#[test]
fn bytes_that_somebody_made_are_refused_in_words() {
    let head = Head { version: VERSION, id: 3, began: 0, page_size: 512, hidden: false };
    let mut rng = Rng::new(1);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut block = vec![0; BLOCK_HEAD];
        // Kinds that exist, so that their fields are reached.
        for _ in 0..rng.below(40) {
            let kinds = if rng.below(2) == 0 { 33 } else { 256 };
            block.push(rng.below(kinds) as u8);
        }
        BlockHead::seal(head.id, 0, &mut block, 1, u64::MAX, rng.below(8) as u32);
        let (_, end) = read(&[&head.encode()[..], &block].concat());
        match end {
            Ok(None) => {}
            Err(Error::Damaged { offset, what }) => {
                assert!(offset == HEAD as u64 && !what.is_empty());
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 10_000, "{refused}");
    let mut long = head.encode().to_vec();
    long.extend([0; 8]);
    long.extend((BLOCK_MAX as u32 + 1).to_le_bytes());
    long.extend([0; 20]);
    assert!(matches!(read(&long).1, Err(Error::Damaged { offset: 64, .. })));
}

#[test]
fn every_thread_has_its_calls_in_order() {
    const THREADS: u32 = 6;
    const GETS: u32 = 5000;
    let fs = MemFs::new();
    let db = Arc::new(open(&fs));
    db.update(|txn| txn.table("t")?.insert("k", "v")).unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let db = Arc::clone(&db);
            std::thread::spawn(move || {
                let txn = db.read().unwrap();
                let table = txn.table("t").unwrap();
                for n in 0..GETS {
                    table.get([number.to_be_bytes(), n.to_be_bytes()].concat()).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let recorder = Arc::clone(db.shared().store.trace.as_ref().unwrap());
    assert_eq!(
        recorder.buffers(),
        2,
        "the common one, and that of this thread: those of the others are gone"
    );
    drop(db);

    let (events, end) = read(&bytes(&fs));
    assert!(matches!(end, Ok(None)));
    let mut by_thread: HashMap<u32, Vec<&Event>> = HashMap::new();
    for event in &events {
        by_thread.entry(event.thread).or_default().push(event);
    }
    assert_eq!(by_thread.len() as u32, 1 + THREADS);
    let mut seen = Vec::new();
    for events in by_thread.into_values() {
        assert!(events.is_sorted_by_key(|event| event.micros));
        let keys: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.op {
                Op::Get { key, value_len: None, .. } => Some(key.to_vec()),
                _ => None,
            })
            .collect();
        let Some(first) = keys.first() else { continue };
        let expected = (0..GETS).map(|n| [&first[..4], &n.to_be_bytes()].concat());
        assert!(keys.iter().cloned().eq(expected), "all, in order, and no other thread's");
        assert!(matches!(events[0].op, Op::ReadBegin { .. }));
        assert!(matches!(events.last().unwrap().op, Op::ReadEnd { .. }));
        seen.push(first[..4].to_vec());
    }
    seen.sort();
    assert!(seen.into_iter().eq((0..THREADS).map(|n| n.to_be_bytes().to_vec())));
}

#[test]
fn blocks_are_written_as_they_fill_and_stay_within_their_bound() {
    let fs = MemFs::new();
    let db = open(&fs);
    let txn = db.read().unwrap();
    assert!(txn.find_table(&"ü".repeat(KEY_KEPT)).unwrap().is_none());
    drop(txn);
    db.update(|txn| txn.table("t")?.insert("k", "v")).unwrap();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    let long = vec![b'x'; 3 * KEY_KEPT];
    for _ in 0..40 {
        assert_eq!(table.count::<&Vec<u8>>((Included(&long), Included(&long))).unwrap(), 0);
        assert!(table.get(&long).unwrap().is_none());
    }
    let written = bytes(&fs).len();
    assert!(written > 40 * 3 * KEY_KEPT - BLOCK_MAX, "{written} bytes before anybody flushed");
    drop(txn);
    drop(db);
    let ops = ops(&fs);
    let Op::OpenTable { name, .. } = &ops[1] else { panic!("{:?}", ops[1]) };
    assert_eq!(**name, "ü".repeat(KEY_KEPT / 2));
    let gets: Vec<_> = ops.iter().filter(|op| matches!(op, Op::Get { .. })).collect();
    assert_eq!(gets.len(), 40);
    for op in gets {
        assert!(matches!(op, Op::Get { key, .. } if **key == long[..KEY_KEPT]), "cut where nothing is lost");
    }
}

#[test]
fn an_error_of_the_file_ends_the_recording_and_fails_nothing() {
    for (after, blocks) in [(0, None), (1, Some(0)), (3, Some(2))] {
        let fs = MemFs::new();
        let faults = FaultFs::new(Arc::new(fs.clone()));
        let fault = Fault::new(OpKind::Write).on(TRACE).after(after).error(ErrorKind::StorageFull).forever();
        faults.fail(fault);
        let opened = builder(&fs).file_system(Arc::new(faults.clone())).open("/db");
        let Some(blocks) = blocks else {
            assert!(opened.is_err(), "a trace that cannot begin is told of");
            continue;
        };
        let db = opened.unwrap();
        for n in 0..3000u32 {
            db.update(|txn| txn.table("t")?.insert(n.to_be_bytes(), vec![1; 20])).unwrap();
        }
        let table = db.read().unwrap();
        assert_eq!(table.table("t").unwrap().len().unwrap(), 3000);
        drop(table);
        db.close().unwrap();
        assert_eq!(faults.fired(), 1, "nothing is tried again");
        let (events, end) = read(&bytes(&fs));
        assert!(matches!(end, Ok(None)), "{end:?}");
        assert_eq!(events.is_empty(), blocks == 0);
    }
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let fs = MemFs::new();
    drop(open(&fs));
    let before = bytes(&fs);
    let Err(crate::Error::Io { source, .. }) = builder(&fs).open("/db") else { panic!("it is there") };
    assert_eq!(source.kind(), ErrorKind::AlreadyExists);
    assert_eq!(bytes(&fs), before);
    // The database is closed again.
    builder(&fs).record_trace("/other").open("/db").unwrap();
}

#[test]
fn hidden_keys_are_nowhere_in_the_file() {
    let fs = MemFs::new();
    let db = builder(&fs).hide_trace_keys(true).open("/db").unwrap();
    db.update(|txn| {
        let table = txn.table("cities")?;
        table.insert("a secret city", "v")?;
        table.remove("another city!")?;
        assert!(table.get("a secret city")?.is_some());
        table.range("a secret city"..="another city!").count();
        table.cursor().seek("a secret city")?;
        Ok(())
    })
    .unwrap();
    db.close().unwrap();
    let bytes = bytes(&fs);
    let shows = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(shows(b"cities") && !shows(b"city") && !shows(b"secret"));
    assert!(Reader::new(&bytes[..]).unwrap().keys_are_hidden());
    let mut keys = Vec::new();
    for op in ops(&fs) {
        match op {
            Op::Insert { key, .. }
            | Op::Get { key, .. }
            | Op::Remove { key, .. }
            | Op::Cursor { from: From::Seek(key), .. } => keys.push(key),
            Op::Scan { lower: Included(lower), upper: Included(upper), .. } => keys.extend([lower, upper]),
            _ => {}
        }
    }
    let [inserted, removed, got, lower, upper, sought] = &keys[..] else { panic!("{keys:?}") };
    assert_eq!((inserted, inserted, inserted, removed), (got, lower, sought, upper));
    assert!(inserted != removed && inserted.len() == 13 && removed.len() == 13);
}

#[test]
fn off_means_off() {
    let fs = MemFs::new();
    let db = Db::<MemSource>::builder().page_size(512).file_system(Arc::new(fs.clone())).open("/db").unwrap();
    assert!(db.shared().store.trace.is_none());
    let write = db.write().unwrap();
    assert!(write.table("t").unwrap().access().calls().is_none());
    write.commit().unwrap();
    let read = db.read().unwrap();
    assert!(read.table("t").unwrap().access().calls().is_none());
    drop(read);
    db.close().unwrap();
    assert_eq!(fs.paths(), [Path::new("/db")]);
    // And what is not recorded by one database is not recorded by another of the same thread.
    let recorded = open(&fs);
    let other = Db::<MemSource>::in_memory().unwrap();
    other.update(|txn| txn.table("x")?.insert("k", "v")).unwrap();
    drop(recorded);
    assert_eq!(ops(&fs), []);
}

#[test]
fn a_database_in_memory_is_recorded_to_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace");
    let builder = Db::<MemSource>::builder().record_trace(&path);
    let db = builder.in_memory().unwrap();
    db.update(|txn| txn.table("t")?.insert("k", "v")).unwrap();
    let held = db.read_owned().unwrap();
    drop(db);
    let count = || Reader::open(&path).unwrap().map(|event| event.unwrap().op).collect::<Vec<_>>();
    assert_eq!(count().len(), 5);
    drop(held);
    assert_eq!(count().last(), Some(&Op::ReadEnd { txn: 3 }), "what outlives the handle is recorded too");
    let reader = Reader::open(&path).unwrap();
    assert!(reader.page_size() == 4096 && reader.began() <= std::time::SystemTime::now());
    let missing = Reader::open(dir.path().join("none"));
    assert!(matches!(missing, Err(Error::Io(e)) if e.kind() == io::ErrorKind::NotFound));
}
