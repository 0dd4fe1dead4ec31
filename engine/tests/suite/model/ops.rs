//! The operations of the property tests, and how random ones are made.
#![forbid(unsafe_code)]

use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::Bound;

/// A key: bytes that take part in the test's families of keys.
pub type Key = Vec<u8>;

/// A value to be made: its length and what tells it from others.
#[derive(Clone, Copy, Debug)]
pub struct Val {
    pub len: usize,
    pub salt: u8,
}

impl Val {
    pub fn bytes(self) -> Vec<u8> {
        crate::suite::bytes(self.len, self.salt)
    }
}

/// Keys of one family: `n` times from `from` on, `step` apart.
#[derive(Clone, Copy, Debug)]
pub struct Many {
    pub family: u8,
    pub from: u16,
    pub step: u16,
    pub n: u16,
}

impl Many {
    pub fn keys(self) -> impl Iterator<Item = Key> {
        (0..self.n)
            .map(move |i| family(self.family, self.from.wrapping_add(i.wrapping_mul(self.step)) % 2000))
    }
}

/// What is done with a cursor.
#[derive(Clone, Debug)]
pub enum Move {
    Next,
    Prev,
    First,
    Last,
    Seek(Key),
    SeekExact(Key),
    Current,
    Insert(Key, Val),
    Replace(Val),
    Remove,
}

/// What is done in a write transaction, to table number `.0`.
#[derive(Clone, Debug)]
pub enum Op {
    Insert(u8, Key, Val),
    InsertMany(u8, Many, Val),
    Replace(u8, Key, Val),
    InsertNew(u8, Key, Val),
    Append(u8, Key, Val),
    Remove(u8, Key),
    Take(u8, Key),
    RemoveMany(u8, Many),
    RemoveRange(u8, Bound<Key>, Bound<Key>),
    Clear(u8),
    PopFirst(u8, u8),
    PopLast(u8, u8),
    /// One of three cursors that live until the transaction ends or its table goes.
    Cursor(u8, u8, Vec<Move>),
    Read(u8, Bound<Key>, Bound<Key>, Key),
    /// Keeps a value to the end of the transaction.
    Hold(u8, Key),
    Drop(u8),
    Rename(u8, u8),
    Savepoint,
    Rollback(u8),
    Verify(u8),
}

/// How a database is left and opened again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    Close,
    Drop,
    /// As if the power had failed.
    Crash,
    /// The same, and looked at read-only before.
    CrashAndLook,
}

/// What is done outside of transactions.
#[derive(Clone, Debug)]
pub enum Step {
    Txn(Vec<Op>, bool),
    Checkpoint,
    Snapshot,
    DropSnapshot(u8),
    VerifySnapshot(u8),
    Check,
    Leave(Leave),
}

/// Members of families of keys that are hard in their own way.
pub fn family(family: u8, n: u16) -> Key {
    let be = n.to_be_bytes();
    match family % 8 {
        0 => format!("key {n:05}").into_bytes(),
        1 => be.to_vec(),
        2 => [&[b'p'; 100], &be[..]].concat(),
        3 => be.iter().copied().cycle().take(usize::from(n % 40)).collect(),
        4 => [&[b'x'; 126], &be[..]].concat(),
        5 => vec![b'a'; usize::from(n % 129)],
        6 => [&vec![0xFF; usize::from(n % 7)], &be[..]].concat(),
        _ => [&vec![0; usize::from(n % 6)], &be[..], &vec![0; usize::from(n % 5)]].concat(),
    }
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => (0..8u8, 0..2000u16).prop_map(|(f, n)| family(f, n)),
        3 => (0..8u8, 0..30u16).prop_map(|(f, n)| family(f, n)),
        1 => vec(prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xFE), Just(0xFF)], 0..6),
        1 => vec(any::<u8>(), 0..128),
        1 => (0..8u8, 0..2000u16, any::<u8>()).prop_map(|(f, n, b)| {
            let mut key = family(f, n);
            key.push(b);
            key.truncate(128);
            key
        }),
    ]
}

fn small() -> impl Strategy<Value = Val> {
    (prop_oneof![4 => 0..40usize, 2 => 90..140usize, 1 => Just(0usize)], any::<u8>())
        .prop_map(|(len, salt)| Val { len, salt })
}

/// Values, small and large; `large` is how often they are.
fn val(large: u32) -> impl Strategy<Value = Val> {
    let huge = prop_oneof![Just(65_535usize), Just(65_536), Just(65_537), Just(70_001), Just(200_000)];
    prop_oneof![
        20 => small(),
        large => (prop_oneof![300..1200usize, 1200..6000usize, Just(512usize)], any::<u8>())
            .prop_map(|(len, salt)| Val { len, salt }),
        large.div_ceil(4) => (huge, any::<u8>()).prop_map(|(len, salt)| Val { len, salt }),
    ]
}

fn many() -> impl Strategy<Value = Many> {
    (0..8u8, 0..2000u16, prop_oneof![Just(1u16), Just(1999), 2..50u16], 1..200u16)
        .prop_map(|(family, from, step, n)| Many { family, from, step, n })
}

fn bound() -> impl Strategy<Value = Bound<Key>> {
    prop_oneof![
        1 => Just(Bound::Unbounded),
        3 => key().prop_map(Bound::Included),
        2 => key().prop_map(Bound::Excluded),
    ]
}

fn moves(large: u32) -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => Just(Move::Next),
        6 => Just(Move::Prev),
        1 => Just(Move::First),
        1 => Just(Move::Last),
        3 => key().prop_map(Move::Seek),
        2 => key().prop_map(Move::SeekExact),
        2 => Just(Move::Current),
        3 => (key(), val(large)).prop_map(|(k, v)| Move::Insert(k, v)),
        2 => val(large).prop_map(Move::Replace),
        3 => Just(Move::Remove),
    ];
    vec(one, 1..16)
}

fn op(large: u32) -> impl Strategy<Value = Op> {
    let t = 0..3u8;
    prop_oneof![
        10 => (t.clone(), key(), val(large)).prop_map(|(t, k, v)| Op::Insert(t, k, v)),
        6 => (t.clone(), many(), small()).prop_map(|(t, m, v)| Op::InsertMany(t, m, v)),
        1 => (t.clone(), many(), val(large / 2)).prop_map(|(t, m, v)| Op::InsertMany(t, Many { n: m.n % 20, ..m }, v)),
        2 => (t.clone(), key(), val(large)).prop_map(|(t, k, v)| Op::Replace(t, k, v)),
        2 => (t.clone(), key(), val(large)).prop_map(|(t, k, v)| Op::InsertNew(t, k, v)),
        2 => (t.clone(), key(), val(large)).prop_map(|(t, k, v)| Op::Append(t, k, v)),
        5 => (t.clone(), key()).prop_map(|(t, k)| Op::Remove(t, k)),
        2 => (t.clone(), key()).prop_map(|(t, k)| Op::Take(t, k)),
        4 => (t.clone(), many()).prop_map(|(t, m)| Op::RemoveMany(t, m)),
        5 => (t.clone(), bound(), bound()).prop_map(|(t, a, b)| Op::RemoveRange(t, a, b)),
        1 => t.clone().prop_map(Op::Clear),
        1 => (t.clone(), 1..40u8).prop_map(|(t, n)| Op::PopFirst(t, n)),
        1 => (t.clone(), 1..40u8).prop_map(|(t, n)| Op::PopLast(t, n)),
        5 => (t.clone(), 0..3u8, moves(large)).prop_map(|(t, c, m)| Op::Cursor(t, c, m)),
        3 => (t.clone(), bound(), bound(), key()).prop_map(|(t, a, b, k)| Op::Read(t, a, b, k)),
        3 => (t.clone(), key()).prop_map(|(t, k)| Op::Hold(t, k)),
        1 => t.clone().prop_map(Op::Drop),
        1 => (t.clone(), t.clone()).prop_map(|(t, new)| Op::Rename(t, new)),
        3 => Just(Op::Savepoint),
        2 => any::<u8>().prop_map(Op::Rollback),
        2 => t.prop_map(Op::Verify),
    ]
}

/// Random cases: `large` is how often values are large.
pub fn steps(large: u32) -> impl Strategy<Value = Vec<Step>> {
    let leave = prop_oneof![
        1 => Just(Leave::Close),
        1 => Just(Leave::Drop),
        2 => Just(Leave::Crash),
        1 => Just(Leave::CrashAndLook),
    ];
    let step = prop_oneof![
        10 => (vec(op(large), 1..24), prop::bool::weighted(0.85)).prop_map(|(ops, commit)| Step::Txn(ops, commit)),
        3 => Just(Step::Checkpoint),
        3 => Just(Step::Snapshot),
        2 => any::<u8>().prop_map(Step::DropSnapshot),
        2 => any::<u8>().prop_map(Step::VerifySnapshot),
        2 => Just(Step::Check),
        2 => leave.prop_map(Step::Leave),
    ];
    vec(step, 1..20)
}
