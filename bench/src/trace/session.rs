//! What one thread of a recording did, call by call, and what of it is to be done to a store.
#![forbid(unsafe_code)]

use super::{Changes, Follower, Span, Tables};
use bifold::trace::{From, Op};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Bound;

type Key = Vec<u8>;

/// What a read is to find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// A value of so many bytes.
    Value(u64),
    /// A value.
    There,
    /// None.
    Missing,
}

impl Expected {
    fn of(value_len: Option<u64>) -> Self {
        value_len.map_or(Self::Missing, Self::Value)
    }

    /// Whether a read that found a value of `len` bytes, or none, found this.
    pub fn is(self, len: Option<u64>) -> bool {
        match self {
            Self::Value(wanted) => len == Some(wanted),
            Self::There => len.is_some(),
            Self::Missing => len.is_none(),
        }
    }
}

/// A call that is not replayed, and why.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Skip {
    /// `rank`, `nth` and `count`: other stores have no counterpart.
    Ranks,
    /// Checkpoints and syncs: each side makes its own.
    Upkeep,
    /// Reads of a write transaction's own changes, which are not in the store before its commit.
    Own,
    /// Removals of ranges whose keys are hidden: what lay in them is unknown.
    Hidden,
    /// Calls on tables whose lookup is not in the trace.
    Unknown,
}

impl Skip {
    /// What they are, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ranks => "rank, nth and count, which other stores have no counterpart of",
            Self::Upkeep => "checkpoints and syncs, of which each side makes its own",
            Self::Own => "reads of what the same transaction had written",
            Self::Hidden => "removals of ranges between hidden keys",
            Self::Unknown => "calls on tables whose lookup is not in the trace",
        }
    }
}

/// What an event comes down to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing to do.
    Nothing,
    /// A get.
    Get {
        /// Its transaction.
        txn: u64,
        /// The key.
        key: Key,
        /// What was found.
        expected: Expected,
        /// Nothing was committed since the transaction began: in order, the same must be found.
        fresh: bool,
    },
    /// Gets of many keys at once; with each what was found.
    GetMany {
        /// The keys.
        keys: Vec<Key>,
        /// What was found.
        expected: Vec<Expected>,
        /// See [`Get`](Self::Get).
        fresh: bool,
    },
    /// A scan.
    Scan {
        /// Its range.
        span: Span,
        /// Entries given from the front.
        forward: u64,
        /// Entries given from the back.
        backward: u64,
        /// If the way back begins where the way forward ended, or the other way round: which is first, forward if `true`,
        /// and the range that the second may go through.
        chained: Option<(bool, Span)>,
        /// See [`Get`](Self::Get); and the transaction had changed nothing itself.
        fresh: bool,
    },
    /// A key is removed at the commit.
    Removed {
        /// The key.
        key: Key,
        /// Whether it had a value, from before the transaction.
        found: bool,
        /// See [`Get`](Self::Get).
        fresh: bool,
    },
    /// All entries of a range are to be removed at the commit: [`Session::remove`] is to be told which the store has.
    RemoveRange {
        /// The transaction.
        txn: u64,
        /// The range.
        span: Span,
        /// How many there were, of the store and of the transaction itself, if that is known.
        removed: Option<u64>,
    },
    /// A commit.
    Commit(Changes),
    /// Not done.
    Skipped(Skip),
}

/// The tables that a thread has open.
#[derive(Default, Debug)]
pub(super) struct Openings {
    tables: HashMap<u64, (u64, u32)>,
    of_txn: HashMap<u64, Vec<u64>>,
}

impl Openings {
    pub(super) fn open(&mut self, txn: u64, table: u64, number: u32) {
        self.tables.insert(table, (txn, number));
        self.of_txn.entry(txn).or_default().push(table);
    }

    pub(super) fn close(&mut self, txn: u64) {
        for table in self.of_txn.remove(&txn).unwrap_or_default() {
            self.tables.remove(&table);
        }
    }

    pub(super) fn has(&self, table: u64) -> bool {
        self.tables.contains_key(&table)
    }
}

/// A load that goes on.
#[derive(Debug)]
struct Load {
    txn: u64,
    table: u32,
    entries: Vec<(Key, u64)>,
}

/// A `get_many` whose keys are still to come.
#[derive(Debug)]
struct Many {
    txn: u64,
    table: u32,
    left: u64,
    keys: Vec<Key>,
    expected: Vec<Expected>,
}

/// Follows one thread of a recording.
#[derive(Debug)]
pub struct Session<'t> {
    tables: &'t Tables,
    /// The tables that other threads than those that opened them use.
    shared: &'t HashMap<u64, u32>,
    hidden: bool,
    follower: Follower<'t>,
    open: Openings,
    /// Read transactions, and how many commits there had been when they began.
    reads: HashMap<u64, u64>,
    writes: HashMap<u64, Changes>,
    loads: HashMap<u64, Load>,
    many: Option<Many>,
    commits: u64,
}

impl<'t> Session<'t> {
    /// The thread of this number, of which nothing is known yet. `shared` are the tables that others use than those that opened them; if
    /// keys are `hidden`, bounds of ranges mean nothing.
    pub fn new(tables: &'t Tables, shared: &'t HashMap<u64, u32>, hidden: bool, thread: u32) -> Self {
        Self {
            tables,
            shared,
            hidden,
            follower: Follower::new(tables.renames(), thread),
            open: Openings::default(),
            reads: HashMap::new(),
            writes: HashMap::new(),
            loads: HashMap::new(),
            many: None,
            commits: 0,
        }
    }

    /// The table that `txn` knows by this name.
    fn named(&self, micros: u64, txn: u64, name: &str) -> Option<u32> {
        self.tables.number(self.follower.first(micros, txn, name))
    }

    /// What the next event of the thread comes down to.
    pub fn step(&mut self, micros: u64, op: Op<'_>) -> Step {
        self.follower.see(micros, &op);
        match op {
            Op::ReadBegin { txn } => {
                self.reads.insert(txn, self.commits);
                Step::Nothing
            }
            Op::ReadEnd { txn } => {
                self.reads.remove(&txn);
                self.open.close(txn);
                Step::Nothing
            }
            Op::WriteBegin { .. }
            | Op::Commit { .. }
            | Op::Abort { .. }
            | Op::Savepoint { .. }
            | Op::Rollback { .. } => self.write_txn(&op),
            Op::OpenTable { txn, table, name, found: true } | Op::CreateTable { txn, table, name } => {
                if let Some(number) = self.named(micros, txn, &name) {
                    self.open.open(txn, table, number);
                }
                Step::Nothing
            }
            Op::DropTable { txn, name, found: true } => match self.named(micros, txn, &name) {
                Some(number) => Step::RemoveRange { txn, span: self.tables.whole(number), removed: None },
                None => Step::Nothing,
            },
            Op::Get { .. }
            | Op::Contains { .. }
            | Op::Stream { .. }
            | Op::GetMany { .. }
            | Op::GetManyKey { .. } => self.point(op),
            Op::First { .. } | Op::Last { .. } | Op::Scan { .. } | Op::Cursor { .. } => self.scan(op),
            Op::Insert { .. }
            | Op::Remove { .. }
            | Op::RemoveRange { .. }
            | Op::LoadBegin { .. }
            | Op::LoadPush { .. }
            | Op::LoadEnd { .. } => self.change(op),
            Op::Nth { .. } | Op::Rank { .. } | Op::Count { .. } => Step::Skipped(Skip::Ranks),
            Op::Checkpoint { .. } | Op::Sync => Step::Skipped(Skip::Upkeep),
            // Where names lead to is the follower's.
            Op::ListTables { .. } | Op::OpenTable { .. } | Op::DropTable { .. } | Op::RenameTable { .. } => {
                Step::Nothing
            }
            _ => Step::Skipped(Skip::Unknown),
        }
    }

    /// These keys are removed at the commit, and all that the transaction itself has put into `span`.
    pub fn remove(&mut self, txn: u64, span: &Span, keys: Vec<Key>) {
        let Some(changes) = self.writes.get_mut(&txn) else { return };
        let own = changes.put_in(span);
        for key in keys {
            // What is deleted already was not there.
            if !changes.has(&key) {
                changes.delete(key);
            }
        }
        for key in own {
            changes.delete(key);
        }
    }

    fn write_txn(&mut self, op: &Op<'_>) -> Step {
        match *op {
            Op::WriteBegin { txn } => {
                self.writes.insert(txn, Changes::default());
            }
            Op::Commit { txn, number, .. } => {
                self.open.close(txn);
                if let (Some(changes), Some(_)) = (self.writes.remove(&txn), number) {
                    self.commits += 1;
                    return Step::Commit(changes);
                }
            }
            Op::Abort { txn } => {
                self.open.close(txn);
                self.writes.remove(&txn);
            }
            Op::Savepoint { txn, savepoint } => {
                if let Some(changes) = self.writes.get_mut(&txn) {
                    changes.save(savepoint);
                }
            }
            Op::Rollback { txn, savepoint } => {
                if let Some(changes) = self.writes.get_mut(&txn) {
                    changes.roll_back(savepoint);
                }
            }
            _ => {}
        }
        Step::Nothing
    }

    /// The transaction and the table behind the number of a lookup. Transactions of other threads are number 0.
    fn table(&self, table: u64) -> Option<(u64, u32)> {
        let shared = || self.shared.get(&table).map(|number| (0, *number));
        self.open.tables.get(&table).copied().or_else(shared)
    }

    /// Whether nothing was committed since the transaction began.
    fn fresh(&self, txn: u64) -> bool {
        self.writes.contains_key(&txn) || self.reads.get(&txn) == Some(&self.commits)
    }

    fn own(&self, txn: u64, key: &[u8]) -> bool {
        self.writes.get(&txn).is_some_and(|changes| changes.has(key))
    }

    fn get(&self, table: u64, key: &[u8], expected: Expected) -> Step {
        let Some((txn, number)) = self.table(table) else { return Step::Skipped(Skip::Unknown) };
        let key = self.tables.key(number, key);
        if self.own(txn, &key) {
            return Step::Skipped(Skip::Own);
        }
        Step::Get { txn, key, expected, fresh: self.fresh(txn) }
    }

    fn point(&mut self, op: Op<'_>) -> Step {
        match op {
            Op::Get { table, key, value_len } | Op::Stream { table, key, value_len } => {
                self.get(table, &key, Expected::of(value_len))
            }
            Op::Contains { table, key, found } => {
                self.get(table, &key, if found { Expected::There } else { Expected::Missing })
            }
            Op::GetMany { table, count } => {
                let Some((txn, table)) = self.table(table) else { return Step::Skipped(Skip::Unknown) };
                let (keys, expected) = (Vec::new(), Vec::new());
                self.many = (count > 0).then_some(Many { txn, table, left: count, keys, expected });
                Step::Nothing
            }
            Op::GetManyKey { key, value_len } => self.many_key(&key, value_len),
            _ => Step::Nothing,
        }
    }

    fn many_key(&mut self, key: &[u8], value_len: Option<u64>) -> Step {
        let Some(mut many) = self.many.take() else { return Step::Nothing };
        let key = self.tables.key(many.table, key);
        if !self.own(many.txn, &key) {
            many.keys.push(key);
            many.expected.push(Expected::of(value_len));
        }
        many.left -= 1;
        if many.left > 0 {
            self.many = Some(many);
            return Step::Nothing;
        }
        if many.keys.is_empty() {
            return Step::Skipped(Skip::Own);
        }
        Step::GetMany { fresh: self.fresh(many.txn), keys: many.keys, expected: many.expected }
    }

    fn scan(&self, op: Op<'_>) -> Step {
        match op {
            Op::First { table, value_len } => {
                self.way(table, None, None, (u64::from(value_len.is_some()), 0), None)
            }
            Op::Last { table, value_len } => {
                self.way(table, None, None, (0, u64::from(value_len.is_some())), None)
            }
            Op::Scan { table, lower, upper, forward, backward, .. } => {
                self.way(table, Some(lower), Some(upper), (forward, backward), None)
            }
            Op::Cursor { table, from: From::SeekExact(key), forward, backward }
                if forward + backward <= 1 =>
            {
                self.get(table, &key, if forward == 1 { Expected::There } else { Expected::Missing })
            }
            Op::Cursor { table, from, forward, backward } => {
                let ways = (forward, backward);
                let chained = (forward > 0 && backward > 0).then_some(true);
                match from {
                    From::Fresh | From::First => self.way(table, None, None, ways, chained),
                    From::Last => self.way(table, None, None, ways, chained.map(|_| false)),
                    From::Seek(key) | From::SeekExact(key) if forward > 0 => {
                        self.way(table, Some(Bound::Included(key)), None, ways, chained)
                    }
                    // It stood before the key it was sent to.
                    From::Seek(key) | From::SeekExact(key) => {
                        self.way(table, None, Some(Bound::Excluded(key)), ways, None)
                    }
                }
            }
            _ => Step::Nothing,
        }
    }

    fn way(
        &self,
        table: u64,
        lower: Option<Bound<Cow<'_, [u8]>>>,
        upper: Option<Bound<Cow<'_, [u8]>>>,
        (forward, backward): (u64, u64),
        chained: Option<bool>,
    ) -> Step {
        let Some((txn, number)) = self.table(table) else { return Step::Skipped(Skip::Unknown) };
        if forward + backward == 0 {
            // It was made, and asked for nothing, or there was nothing.
            return Step::Nothing;
        }
        let (mut lower, mut upper) = (lower.unwrap_or(Bound::Unbounded), upper.unwrap_or(Bound::Unbounded));
        if self.hidden {
            // One bound is a place to begin at; what lies between two is not what lay there.
            match (forward > 0, backward > 0) {
                (_, false) => upper = Bound::Unbounded,
                (false, true) => lower = Bound::Unbounded,
                (true, true) => (lower, upper) = (Bound::Unbounded, Bound::Unbounded),
            }
        }
        let span = self.tables.span(number, &lower, &upper);
        let chained = chained.map(|first| (first, self.tables.whole(number)));
        let changed = self.writes.get(&txn).is_some_and(|changes| !changes.is_empty());
        Step::Scan { span, forward, backward, chained, fresh: self.fresh(txn) && !changed }
    }

    fn change(&mut self, op: Op<'_>) -> Step {
        match op {
            Op::Insert { table, key, value_len } => {
                let Some((txn, number)) = self.table(table) else { return Step::Skipped(Skip::Unknown) };
                let key = self.tables.key(number, &key);
                if let Some(changes) = self.writes.get_mut(&txn) {
                    changes.put(key, value_len);
                }
                Step::Nothing
            }
            Op::Remove { table, key, found } => {
                let Some((txn, number)) = self.table(table) else { return Step::Skipped(Skip::Unknown) };
                let key = self.tables.key(number, &key);
                let Some(changes) = self.writes.get_mut(&txn) else { return Step::Nothing };
                let own = changes.has(&key);
                changes.delete(key.clone());
                if own { Step::Nothing } else { Step::Removed { key, found, fresh: true } }
            }
            Op::RemoveRange { table, lower, upper, removed } => {
                let Some((txn, number)) = self.table(table) else { return Step::Skipped(Skip::Unknown) };
                let all = lower == Bound::Unbounded && upper == Bound::Unbounded;
                if self.hidden && !all && removed > 0 {
                    return Step::Skipped(Skip::Hidden);
                }
                let span = self.tables.span(number, &lower, &upper);
                Step::RemoveRange { txn, span, removed: Some(removed) }
            }
            op => self.load(op),
        }
    }

    fn load(&mut self, op: Op<'_>) -> Step {
        match op {
            Op::LoadBegin { table, load } => {
                let Some((txn, table)) = self.table(table) else { return Step::Skipped(Skip::Unknown) };
                self.loads.insert(load, Load { txn, table, entries: Vec::new() });
            }
            Op::LoadPush { load, key, value_len } => {
                if let Some(load) = self.loads.get_mut(&load) {
                    load.entries.push((self.tables.key(load.table, &key), value_len));
                }
            }
            Op::LoadEnd { load, finished } => {
                if let Some(load) = self.loads.remove(&load)
                    && let Some(changes) = self.writes.get_mut(&load.txn).filter(|_| finished)
                {
                    for (key, len) in load.entries {
                        changes.put(key, len);
                    }
                }
            }
            _ => {}
        }
        Step::Nothing
    }
}
