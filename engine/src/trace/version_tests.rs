//! Traces of version 1 are read for ever: one that was recorded by the last build that wrote them, with every kind of
//! event that it had.
#![forbid(unsafe_code)]

use super::block::{BLOCK_HEAD, BlockHead, Head, VERSION};
use super::*;
use crate::durability::Durability;
use std::borrow::Cow;
use std::ops::Bound::{Excluded, Included, Unbounded};

/// The head of the file, the head of its one block, and the events.
const FILE: &str = concat!(
    "4249464f4c445452010000000000000045ba1092830366ce2641d89ff5600600",
    "000200000000000000000000000000000000000000000000f5ede53b0d6a62fa",
    "5abdc9d2465934e5320100000100000006000000000000003300000000000000",
    "0300020959000401741b1300031c0c030161ac021c01030162ac021c01030163ac021c00030164ac021db42603011b04",
    "00041d02040006030000190200016201190900046e6f6e6500070100001a1e00010163020164011806000165050b0200",
    "0a1500046e6f6e650004030002010203a52508050d000300020900000a04676f6e650a080004676f6e65010401000100",
    "03011a0408010004046e6f6e6500080000020174010c01000161ad020c07000178000d00000161010e01000161ad020f",
    "01000210000164ad021000017800112000ad021203000613000002ad0214010001630215030002016101016301160600",
    "010162000001001603000101610201620100011702000001001700000101001701000200011701000302626201001701",
    "0004017800000200001f011e03011e810100",
);

fn key(text: &str) -> Cow<'static, [u8]> {
    Cow::Owned(text.as_bytes().to_vec())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// What was recorded.
fn events() -> Vec<Op<'static>> {
    let (table, none) = (2, || Cow::Borrowed("none"));
    let push = |entry| Op::LoadPush { load: 3, key: key(entry), value_len: 300 };
    let mut events = vec![
        Op::WriteBegin { txn: 1 },
        Op::CreateTable { txn: 1, table, name: "t".into() },
        Op::LoadBegin { table, load: 3 },
        push("a"),
        push("b"),
        push("c"),
        push("d"),
        Op::LoadEnd { load: 3, finished: true },
        Op::LoadBegin { table, load: 4 },
        Op::LoadEnd { load: 4, finished: false },
        Op::Savepoint { txn: 1, savepoint: 0 },
        Op::Remove { table, key: key("b"), found: true },
        Op::Remove { table, key: key("none"), found: false },
        Op::Rollback { txn: 1, savepoint: 0 },
        Op::RemoveRange { table, lower: Included(key("c")), upper: Excluded(key("d")), removed: 1 },
        Op::Insert { table, key: key("e"), value_len: 5 },
        Op::ListTables { txn: 1 },
        Op::DropTable { txn: 1, name: none(), found: false },
        Op::Commit { txn: 1, durability: Durability::Sync, waited: true, number: Some(1) },
        Op::WriteBegin { txn: 5 },
        Op::Abort { txn: 5 },
        Op::WriteBegin { txn: 6 },
        Op::CreateTable { txn: 6, table: 7, name: "gone".into() },
        Op::DropTable { txn: 6, name: "gone".into(), found: true },
        Op::Commit { txn: 6, durability: Durability::Buffered, waited: false, number: Some(2) },
        Op::ReadBegin { txn: 8 },
        Op::OpenTable { txn: 8, table: 9, name: none(), found: false },
        Op::OpenTable { txn: 8, table: 10, name: "t".into(), found: true },
    ];
    events.extend(reads());
    events.extend([
        Op::ReadEnd { txn: 8 },
        Op::Sync,
        Op::Checkpoint { waited: true },
        Op::Checkpoint { waited: false },
    ]);
    events
}

fn reads() -> Vec<Op<'static>> {
    let (table, value_len) = (10, Some(300));
    let scan = |lower, upper, forward, backward, keys| Op::Scan {
        table,
        lower: Included(key(lower)),
        upper,
        forward,
        backward,
        keys,
    };
    let cursor = |from, forward, backward| Op::Cursor { table, from, forward, backward };
    vec![
        Op::Get { table, key: key("a"), value_len },
        Op::Get { table, key: key("x"), value_len: None },
        Op::Contains { table, key: key("a"), found: true },
        Op::Stream { table, key: key("a"), value_len },
        Op::GetMany { table, count: 2 },
        Op::GetManyKey { key: key("d"), value_len },
        Op::GetManyKey { key: key("x"), value_len: None },
        Op::First { table, value_len },
        Op::Last { table, value_len: Some(5) },
        Op::Nth { table, n: 2, value_len },
        Op::Rank { table, key: key("c"), rank: 2 },
        Op::Count { table, lower: Excluded(key("a")), upper: Included(key("c")), entries: 1 },
        scan("b", Unbounded, 0, 1, false),
        scan("a", Excluded(key("b")), 1, 0, true),
        cursor(From::Fresh, 1, 0),
        cursor(From::First, 1, 0),
        cursor(From::Last, 0, 1),
        cursor(From::Seek(key("bb")), 1, 0),
        cursor(From::SeekExact(key("x")), 0, 0),
    ]
}

#[test]
fn a_trace_of_version_1_is_read() {
    let file = bytes(FILE);
    let mut reader = Reader::new(&file[..]).unwrap();
    assert_eq!((reader.format_version(), reader.page_size(), reader.keys_are_hidden()), (1, 512, false));
    let got: Vec<Event> = reader.by_ref().map(|event| event.unwrap()).collect();
    assert_eq!(reader.cut_at(), None);
    assert!(got.is_sorted_by_key(|event| event.micros) && got.iter().all(|event| event.thread == 1));
    let (got, wanted) = (got.into_iter().map(|event| event.op).collect::<Vec<_>>(), events());
    for (at, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
        assert_eq!(got, wanted, "event {at}");
    }
    assert_eq!(got.len(), wanted.len());
}

/// A file of `version` with one event, of a kind that version 2 brought.
fn renamed(version: u32) -> Vec<u8> {
    let head = Head { version, id: 7, began: 0, page_size: 512, hidden: false };
    let mut block = vec![0; BLOCK_HEAD];
    block.extend([32, 0, 2, 1, b'a', 2, b'b', b'c']);
    BlockHead::seal(head.id, 0, &mut block, 1, 0, 1);
    [&head.encode()[..], &block].concat()
}

#[test]
fn each_version_has_its_own_kinds() {
    let new = renamed(VERSION);
    let mut read = Reader::new(&new[..]).unwrap();
    let op = Op::RenameTable { txn: 1, name: "a".into(), new: "bc".into() };
    assert_eq!((read.format_version(), read.next().unwrap().unwrap().op), (2, op));
    let old = renamed(1);
    let end = Reader::new(&old[..]).unwrap().next().unwrap();
    assert!(matches!(end, Err(Error::Damaged { offset: 64, what }) if what.contains("no known kind")));
    for version in [0, VERSION + 1, u32::MAX] {
        let file = renamed(version);
        assert!(matches!(Reader::new(&file[..]), Err(Error::UnsupportedVersion(v)) if v == version));
    }
}
