//! What a trace consists of.
#![forbid(unsafe_code)]

use crate::durability::Durability;
use std::borrow::Cow;
use std::ops::Bound;

/// A key, borrowed from a caller or owned by what was read.
type Key<'a> = Cow<'a, [u8]>;

/// One call, as it was recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The thread that made the call, numbered from 1 in the order of their first calls; 0 for those that made it while
    /// they were ending.
    pub thread: u32,
    /// Microseconds from the beginning of the recording to that of the call; for [`Op::Scan`], [`Op::Cursor`] and
    /// [`Op::LoadEnd`] to the end of what they sum up. Never less than that of the event before of the same thread.
    pub micros: u64,
    /// What was asked, and what came of it.
    pub op: Op<'static>,
}

/// What was asked of the database, and what came of it.
///
/// Transactions, opened tables and loads have numbers, each its own; what is done to a table names the opening
/// ([`OpenTable`](Self::OpenTable), [`CreateTable`](Self::CreateTable)) and so the transaction. Methods that are made
/// of others are recorded as those: `replace` as a get and an insert, `insert_new` as a test and an insert, `take` as
/// a get and a removal, `append` as a cursor and an insert, `clear` as the removal of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Op<'a> {
    /// A read transaction began.
    ReadBegin {
        /// Its number.
        txn: u64,
    },
    /// A read transaction ended.
    ReadEnd {
        /// Its number.
        txn: u64,
    },
    /// The write transaction was asked for. It was given before the next event of its thread.
    WriteBegin {
        /// Its number.
        txn: u64,
    },
    /// The write transaction was committed.
    Commit {
        /// Its number.
        txn: u64,
        /// What was asked of it.
        durability: Durability,
        /// Whether the call waited for that.
        waited: bool,
        /// The number of the commit; `None` if it failed.
        number: Option<u64>,
    },
    /// The write transaction was dropped without a commit.
    Abort {
        /// Its number.
        txn: u64,
    },
    /// A savepoint was set.
    Savepoint {
        /// The transaction.
        txn: u64,
        /// The savepoint's number in it.
        savepoint: u64,
    },
    /// The transaction went back to a savepoint.
    Rollback {
        /// The transaction.
        txn: u64,
        /// The savepoint's number in it.
        savepoint: u64,
    },
    /// A table was looked up.
    OpenTable {
        /// The transaction.
        txn: u64,
        /// The number of this opening.
        table: u64,
        /// The table's name.
        name: Cow<'a, str>,
        /// Whether there is such a table.
        found: bool,
    },
    /// A table was created, and so opened.
    CreateTable {
        /// The transaction.
        txn: u64,
        /// The number of this opening.
        table: u64,
        /// The table's name.
        name: Cow<'a, str>,
    },
    /// A table was dropped.
    DropTable {
        /// The transaction.
        txn: u64,
        /// The table's name.
        name: Cow<'a, str>,
        /// Whether there was such a table.
        found: bool,
    },
    /// A table was given another name. Lookups of it name the new one from then on.
    RenameTable {
        /// The transaction.
        txn: u64,
        /// The table's name until then.
        name: Cow<'a, str>,
        /// Its name from then on, which no table had.
        new: Cow<'a, str>,
    },
    /// The tables were listed.
    ListTables {
        /// The transaction.
        txn: u64,
    },
    /// `get`.
    Get {
        /// The table.
        table: u64,
        /// The key.
        key: Key<'a>,
        /// Bytes of the value, if there was one.
        value_len: Option<u64>,
    },
    /// `contains_key`.
    Contains {
        /// The table.
        table: u64,
        /// The key.
        key: Key<'a>,
        /// Whether it had a value.
        found: bool,
    },
    /// `reader`: a value as a stream.
    Stream {
        /// The table.
        table: u64,
        /// The key.
        key: Key<'a>,
        /// Bytes of the value, if there was one.
        value_len: Option<u64>,
    },
    /// `get_many`. The next `count` events of the thread are its keys, [`GetManyKey`](Self::GetManyKey).
    GetMany {
        /// The table.
        table: u64,
        /// How many keys.
        count: u64,
    },
    /// One of the keys of the `get_many` before.
    GetManyKey {
        /// The key.
        key: Key<'a>,
        /// Bytes of the value, if there was one.
        value_len: Option<u64>,
    },
    /// `first`.
    First {
        /// The table.
        table: u64,
        /// Bytes of the value, if there was an entry.
        value_len: Option<u64>,
    },
    /// `last`.
    Last {
        /// The table.
        table: u64,
        /// Bytes of the value, if there was an entry.
        value_len: Option<u64>,
    },
    /// `nth`.
    Nth {
        /// The table.
        table: u64,
        /// How many entries lie before the one asked for.
        n: u64,
        /// Bytes of the value, if there was an entry.
        value_len: Option<u64>,
    },
    /// `rank`.
    Rank {
        /// The table.
        table: u64,
        /// The key.
        key: Key<'a>,
        /// How many entries lie before it.
        rank: u64,
    },
    /// `count`.
    Count {
        /// The table.
        table: u64,
        /// Where the range begins.
        lower: Bound<Key<'a>>,
        /// Where it ends.
        upper: Bound<Key<'a>>,
        /// Its entries.
        entries: u64,
    },
    /// A `range`, `prefix` or `iter`, recorded when it was dropped.
    Scan {
        /// The table.
        table: u64,
        /// Where the range begins.
        lower: Bound<Key<'a>>,
        /// Where it ends.
        upper: Bound<Key<'a>>,
        /// Entries given from its front.
        forward: u64,
        /// Entries given from its back.
        backward: u64,
        /// Whether keys alone were asked for.
        keys: bool,
    },
    /// A cursor's way since it was sent to a place, recorded when it was sent elsewhere or dropped.
    Cursor {
        /// The table.
        table: u64,
        /// Where it was sent.
        from: From<'a>,
        /// Entries given by `next`, and by what sent it there if that looks forward.
        forward: u64,
        /// Entries given by `prev`, and by what sent it there if that looks back.
        backward: u64,
    },
    /// `insert`, or what comes down to it.
    Insert {
        /// The table.
        table: u64,
        /// The key.
        key: Key<'a>,
        /// Bytes of the value.
        value_len: u64,
    },
    /// `remove`.
    Remove {
        /// The table.
        table: u64,
        /// The key.
        key: Key<'a>,
        /// Whether it had a value.
        found: bool,
    },
    /// `remove_range`, or `clear`.
    RemoveRange {
        /// The table.
        table: u64,
        /// Where the range begins.
        lower: Bound<Key<'a>>,
        /// Where it ends.
        upper: Bound<Key<'a>>,
        /// Entries removed.
        removed: u64,
    },
    /// `bulk_load`.
    LoadBegin {
        /// The table.
        table: u64,
        /// The load's number.
        load: u64,
    },
    /// An entry of a load.
    LoadPush {
        /// The load.
        load: u64,
        /// The key.
        key: Key<'a>,
        /// Bytes of the value.
        value_len: u64,
    },
    /// A load was finished or dropped.
    LoadEnd {
        /// The load.
        load: u64,
        /// Whether it was finished, and so became part of the table.
        finished: bool,
    },
    /// `checkpoint` or `begin_checkpoint`.
    Checkpoint {
        /// Whether the call waited for it.
        waited: bool,
    },
    /// `sync`.
    Sync,
}

/// Where a cursor was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum From<'a> {
    /// Nowhere: it was new.
    Fresh,
    /// `first`.
    First,
    /// `last`.
    Last,
    /// `seek` to a key, or the first one above it.
    Seek(Key<'a>),
    /// `seek_exact` to a key.
    SeekExact(Key<'a>),
}
