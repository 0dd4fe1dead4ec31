//! A first reading of a trace: whether it is whole, and what is in it.
#![forbid(unsafe_code)]

use super::session::Openings;
use crate::Result;
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
    /// Names of tables, in the order of their first lookups that found them.
    pub names: Vec<String>,
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
    /// Whether entries are read one after the other.
    pub scans: bool,
    /// When the first event was, and the last, in microseconds since the recording began.
    pub micros: (u64, u64),
    /// Nanoseconds to read an event.
    pub nanos: f64,
}

impl Survey {
    /// Reads a trace from beginning to end.
    ///
    /// # Errors
    /// I/O errors; what is no trace, or a damaged one; more than 1,024 threads; values that no database takes.
    pub fn of(path: &Path) -> Result<Self> {
        let begun = Instant::now();
        let mut reader = Reader::open(path)?;
        let mut survey = Self { hidden: reader.keys_are_hidden(), micros: (u64::MAX, 0), ..Self::default() };
        let (mut numbers, mut foreign) = (HashMap::new(), BTreeSet::new());
        let mut open: HashMap<u32, Openings> = HashMap::new();
        for event in &mut reader {
            let event = event?;
            let open = open.entry(event.thread).or_default();
            survey.see(&event, &mut numbers, open, &mut foreign)?;
        }
        survey.cut_at = reader.cut_at();
        if survey.events == 0 {
            return Err("no calls were recorded".into());
        }
        if survey.threads.len() > THREADS {
            let threads = survey.threads.len();
            return Err(format!("{threads} threads were recorded; {THREADS} can be replayed").into());
        }
        survey.nanos = begun.elapsed().as_secs_f64() * 1e9 / survey.events as f64;
        if !foreign.is_empty() {
            survey.resolve(path, &numbers, &foreign)?;
        }
        Ok(survey)
    }

    fn see(
        &mut self,
        event: &Event,
        numbers: &mut HashMap<String, u32>,
        open: &mut Openings,
        foreign: &mut BTreeSet<u64>,
    ) -> Result<()> {
        self.events += 1;
        *self.threads.entry(event.thread).or_default() += 1;
        self.micros = (self.micros.0.min(event.micros), self.micros.1.max(event.micros));
        match &event.op {
            Op::OpenTable { txn, table, name, found: true } | Op::CreateTable { txn, table, name } => {
                let next = self.names.len() as u32;
                let number = *numbers.entry(name.to_string()).or_insert_with(|| {
                    self.names.push(name.to_string());
                    next
                });
                open.open(*txn, *table, number);
            }
            Op::ReadEnd { txn } | Op::Abort { txn } => open.close(*txn),
            Op::Commit { txn, durability, waited, number } => {
                open.close(*txn);
                let synced = *waited && *durability == bifold::Durability::Sync;
                self.commits.0 += u64::from(number.is_some());
                self.commits.1 += u64::from(number.is_some() && synced);
            }
            Op::First { .. } | Op::Last { .. } | Op::Scan { .. } | Op::Cursor { .. } => self.scans = true,
            _ => {}
        }
        if let Some(table) = table_of(&event.op).filter(|table| !open.has(*table)) {
            foreign.insert(table);
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
    fn resolve(
        &mut self,
        path: &Path,
        numbers: &HashMap<String, u32>,
        foreign: &BTreeSet<u64>,
    ) -> Result<()> {
        for event in Reader::open(path)? {
            if let Op::OpenTable { table, name, found: true, .. } | Op::CreateTable { table, name, .. } =
                event?.op
                && foreign.contains(&table)
                && let Some(number) = numbers.get(name.as_ref())
            {
                self.shared.insert(table, *number);
            }
        }
        Ok(())
    }
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
