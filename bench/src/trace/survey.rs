//! A first reading of a trace: whether it is whole, and what is in it.
#![forbid(unsafe_code)]

use super::renames::Own;
use super::session::Openings;
use super::{Follower, Renamed, Renames};
use crate::Result;
use crate::cell::Interrupt;
use bifold::trace::{Event, Op, Reader};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::path::Path;
use std::time::Instant;

/// The most threads of a recording that are replayed.
const THREADS: usize = 1024;
/// The longest value, in bytes: no database takes a longer one.
const VALUE: u64 = u32::MAX as u64;

/// What is in a trace.
#[derive(Clone, Default, Debug)]
pub struct Survey {
    /// Events.
    pub events: u64,
    /// Its threads, and the events of each.
    pub threads: BTreeMap<u32, u64>,
    /// Names of tables, in the order of their first lookups that found them, or of their renaming.
    pub names: Vec<String>,
    /// How they were renamed.
    pub renames: Renames,
    /// For tables that other threads use than those that looked them up, which table it is.
    pub shared: HashMap<u64, u32>,
    /// Bytes of the longest key.
    pub longest: usize,
    /// Whether keys are hidden.
    pub hidden: bool,
    /// Where the file ends within a block, if it does.
    pub cut_at: Option<u64>,
    /// Commits, and how many of them waited until they outlasted a power failure.
    pub commits: (u64, u64),
    /// Entries that scans and cursors showed, and how many of these there were.
    pub scanned: (u64, u64),
    /// When the first event was, and the last, in microseconds since the recording began.
    pub micros: (u64, u64),
    /// Nanoseconds to read an event.
    pub nanos: f64,
}

impl Survey {
    /// Reads a trace from beginning to end.
    ///
    /// # Errors
    /// I/O errors; what is no trace, or a damaged one; more than 1,024 threads; values that no database takes;
    /// that the user ended it.
    pub fn of(path: &Path, interrupt: &Interrupt) -> Result<Self> {
        let begun = Instant::now();
        let mut reader = Reader::open(path)?;
        let mut survey = Self { hidden: reader.keys_are_hidden(), micros: (u64::MAX, 0), ..Self::default() };
        let mut met = Met::default();
        for event in &mut reader {
            interrupt.check()?;
            survey.see(&event?, &mut met)?;
        }
        survey.renames = Renames::new(std::mem::take(&mut met.renamed));
        survey.cut_at = reader.cut_at();
        if survey.events == 0 {
            return Err("no calls were recorded".into());
        }
        if survey.threads.len() > THREADS {
            let threads = survey.threads.len();
            return Err(format!("{threads} threads were recorded; {THREADS} can be replayed").into());
        }
        survey.nanos = begun.elapsed().as_secs_f64() * 1e9 / survey.events as f64;
        if !met.foreign.is_empty() {
            survey.resolve(path, &met, interrupt)?;
        }
        Ok(survey)
    }

    fn see(&mut self, event: &Event, met: &mut Met) -> Result<()> {
        self.events += 1;
        *self.threads.entry(event.thread).or_default() += 1;
        self.micros = (self.micros.0.min(event.micros), self.micros.1.max(event.micros));
        met.rename(event);
        let open = met.open.entry(event.thread).or_default();
        match &event.op {
            Op::OpenTable { txn, table, name, found: true } | Op::CreateTable { txn, table, name } => {
                open.open(*txn, *table, number(&mut met.numbers, &mut self.names, name));
            }
            Op::RenameTable { name, new, .. } => {
                for name in [name, new] {
                    number(&mut met.numbers, &mut self.names, name);
                }
            }
            Op::ReadEnd { txn } | Op::Abort { txn } => open.close(*txn),
            Op::Commit { txn, durability, waited, number } => {
                open.close(*txn);
                let synced = *waited && *durability == bifold::Durability::Sync;
                self.commits.0 += u64::from(number.is_some());
                self.commits.1 += u64::from(number.is_some() && synced);
            }
            Op::Scan { forward, backward, .. } | Op::Cursor { forward, backward, .. } => {
                self.scanned.0 = self.scanned.0.saturating_add(forward.saturating_add(*backward));
                self.scanned.1 += 1;
            }
            _ => {}
        }
        if let Some(table) = table_of(&event.op).filter(|table| !open.has(*table)) {
            met.foreign.insert(table);
        }
        for key in keys_of(&event.op).into_iter().flatten() {
            self.longest = self.longest.max(key.len());
        }
        match value_of(&event.op) {
            Some(len) if len > VALUE => {
                Err(format!("event {}: a value of {len} bytes, which no database takes", self.events).into())
            }
            _ => Ok(()),
        }
    }

    /// Finds the lookups of tables that other threads use.
    fn resolve(&mut self, path: &Path, met: &Met, interrupt: &Interrupt) -> Result<()> {
        let mut followers: HashMap<u32, Follower<'_>> = HashMap::new();
        for event in Reader::open(path)? {
            interrupt.check()?;
            let Event { thread, micros, op } = event?;
            let new = || Follower::new(&self.renames, thread);
            let follower = followers.entry(thread).or_insert_with(new);
            follower.see(micros, &op);
            if let Op::OpenTable { txn, table, name, found: true } | Op::CreateTable { txn, table, name } =
                &op
                && met.foreign.contains(table)
                && let Some(number) = met.numbers.get(follower.first(micros, *txn, name))
            {
                self.shared.insert(*table, *number);
            }
        }
        Ok(())
    }
}

/// What is met on the way through a trace, and not kept.
#[derive(Default)]
struct Met {
    /// Numbers of tables by name.
    numbers: HashMap<String, u32>,
    /// Lookups that other threads use.
    foreign: BTreeSet<u64>,
    /// By thread, what it has open, and how often it has committed.
    open: HashMap<u32, Openings>,
    commits: HashMap<u32, u64>,
    /// By write transaction, what it has renamed.
    own: HashMap<u64, Own>,
    renamed: Vec<Renamed>,
}

impl Met {
    /// Follows what is renamed.
    fn rename(&mut self, event: &Event) {
        match &event.op {
            Op::WriteBegin { txn } => {
                self.own.insert(*txn, Own::default());
            }
            Op::Abort { txn } => {
                self.own.remove(txn);
            }
            Op::Savepoint { txn, .. } | Op::Rollback { txn, .. } | Op::RenameTable { txn, .. } => {
                if let Some(own) = self.own.get_mut(txn) {
                    own.see(&event.op);
                }
            }
            Op::Commit { txn, number, .. } => {
                let swaps = self.own.remove(txn).unwrap_or_default().into_swaps();
                let Some(commit) = *number else { return };
                let nth = self.commits.entry(event.thread).or_default();
                *nth += 1;
                if !swaps.is_empty() {
                    let (thread, nth, micros) = (event.thread, *nth, event.micros);
                    self.renamed.push(Renamed { commit, thread, nth, micros, swaps });
                }
            }
            _ => {}
        }
    }
}

/// The number of the table of this name, which gets one if it has none.
fn number(numbers: &mut HashMap<String, u32>, names: &mut Vec<String>, name: &str) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let number = names.len() as u32;
    numbers.insert(name.to_owned(), number);
    names.push(name.to_owned());
    number
}

/// The lookup that an event names.
fn table_of(op: &Op<'_>) -> Option<u64> {
    match op {
        Op::Get { table, .. }
        | Op::Contains { table, .. }
        | Op::Stream { table, .. }
        | Op::GetMany { table, .. }
        | Op::First { table, .. }
        | Op::Last { table, .. }
        | Op::Scan { table, .. }
        | Op::Cursor { table, .. } => Some(*table),
        _ => None,
    }
}

/// The keys in an event.
fn keys_of<'e>(op: &'e Op<'_>) -> [Option<&'e [u8]>; 2] {
    fn bound<'e>(bound: &'e Bound<Cow<'_, [u8]>>) -> Option<&'e [u8]> {
        match bound {
            Bound::Included(key) | Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        }
    }
    use bifold::trace::From;
    match op {
        Op::Get { key, .. }
        | Op::Contains { key, .. }
        | Op::Stream { key, .. }
        | Op::GetManyKey { key, .. }
        | Op::Insert { key, .. }
        | Op::Remove { key, .. }
        | Op::LoadPush { key, .. }
        | Op::Cursor { from: From::Seek(key) | From::SeekExact(key), .. } => [Some(key), None],
        Op::Scan { lower, upper, .. } | Op::RemoveRange { lower, upper, .. } => [bound(lower), bound(upper)],
        _ => [None, None],
    }
}

/// Bytes of the value in an event.
fn value_of(op: &Op<'_>) -> Option<u64> {
    match op {
        Op::Get { value_len, .. }
        | Op::Stream { value_len, .. }
        | Op::GetManyKey { value_len, .. }
        | Op::First { value_len, .. }
        | Op::Last { value_len, .. } => *value_len,
        Op::Insert { value_len, .. } | Op::LoadPush { value_len, .. } => Some(*value_len),
        _ => None,
    }
}
