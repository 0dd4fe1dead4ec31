//! Replaying a recorded trace: a thread for each that was recorded, its calls in its order.
//!
//! Each thread reads the file for itself, as it goes. Gets that follow each other in one transaction are done in one
//! transaction; changes of a write transaction are kept until its commit, and then put and deleted.
//!
//! What was last written is known of the keys that are followed ([`History`]), and reads of them are held to it, as in
//! any run that writes.
#![forbid(unsafe_code)]

use super::history::{Batch, Content, History};
use super::reading::{Reading, hex};
use super::tally::Tally;
use super::turns::{Turn, Turns};
use super::{Begin, Driven};
use crate::corpus::{Corpus, Traced, VERSIONED, make};
use crate::memory::limit_here;
use crate::trace::{Changes, Expected, Session, Span, Step, after};
use crate::workload::{Op, Replay};
use crate::{Order, Result, Store};
use bifold::trace::{Event, Reader};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::BufReader;
use std::iter::Peekable;
use std::thread;
use std::time::{Duration, Instant};

/// Gets of one transaction that are done at once, at most.
const GETS: usize = 1024;
/// Keys of a range that are listed at once.
const LISTED: u64 = 1000;

type Events = Peekable<Reader<BufReader<File>>>;

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    /// As of any run.
    pub driven: Driven,
    /// In what it differed from the recording, in words.
    pub notes: Vec<String>,
}

/// The threads of a trace, each with when its first event was recorded, and its events.
fn threads(traced: &Traced) -> Result<Vec<(u32, u64, Events)>> {
    let mut readers = Vec::new();
    for thread in traced.threads() {
        let mut events = Reader::open(&traced.recording().trace)?.only(*thread).peekable();
        let first = events.peek().and_then(|event| event.as_ref().ok()).map_or(u64::MAX, |e| e.micros);
        readers.push((*thread, first, events));
    }
    Ok(readers)
}

/// Replays a trace, which `corpus` is, as `how` says on a store that holds what was there when its recording began.
///
/// # Errors
/// The store's; which value was wrong, or an earlier one, or missing, and at which event; those of reading the trace; a
/// corpus that is none.
pub fn replay<S: Store>(store: &S, corpus: &Corpus, how: &Replay, begin: Begin<'_>) -> Result<Replayed> {
    const LOOK: Duration = Duration::from_millis(10);
    let Corpus::Traced(traced) = corpus else { return Err("no trace is to be replayed".into()) };
    let recording = traced.recording();
    let readers = threads(traced)?;
    let firsts: Vec<u64> = readers.iter().map(|(_, first, _)| *first).collect();
    let history = (how.commits > 0).then(|| History::new(recording.changed, limit_here(), recording.events));
    let count = || store.counters().map_or(0, |counters| counters.checkpoints);
    let (mut done, mut differing) = (Tally::default(), Differing::default());
    let (mut seconds, mut checkpoints, mut seen) = (0.0f64, Vec::new(), count());
    begin();
    let turns = Turns::begin(&firsts, recording.first_micros.saturating_add(recording.micros), how.speed);
    thread::scope(|scope| -> Result<()> {
        let mut threads = Vec::new();
        for (me, (thread, _, events)) in readers.into_iter().enumerate() {
            let (turns, data) = (&turns, Data { corpus, traced, history: history.as_ref() });
            threads.push(scope.spawn(move || {
                let mut thread = Thread::new(store, data, Turn::new(turns, me), turns, thread);
                let result = thread.run(events);
                // Whoever fails ends it for all.
                result.inspect_err(|_| turns.stop())?;
                thread.tally.open_loop = thread.turn.kept();
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>((
                    thread.tally,
                    thread.differing,
                    turns.start().elapsed().as_secs_f64(),
                ))
            }));
        }
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(LOOK);
            let now = count();
            if now > seen {
                seen = now;
                checkpoints.push(turns.start().elapsed().as_secs_f64());
            }
        }
        for thread in threads {
            let (tally, differs, took) = thread.join().map_err(|_| "a replaying thread panicked")??;
            done.add(&tally)?;
            differing.add(&differs);
            seconds = seconds.max(took);
        }
        Ok(())
    })?;
    let series = std::mem::take(&mut done.series);
    let open_loop = how.speed.map(|_| done.open_loop);
    let driven = Driven {
        measured: done,
        beside: Tally::default(),
        seconds,
        series,
        checkpoints,
        entries: 0,
        open_loop,
        history,
    };
    Ok(Replayed { driven, notes: differing.words(S::NAME) })
}

/// In what a replay differed from the recording.
#[derive(Clone, Copy, Default, Debug)]
struct Differing {
    /// Gets that found something, and had not, or the other way round, or a value of another length.
    gets: u64,
    /// Entries that scans found fewer.
    short: u64,
}

impl Differing {
    fn add(&mut self, other: &Self) {
        self.gets += other.gets;
        self.short += other.short;
    }

    fn words(self, side: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if self.gets > 0 {
            notes.push(format!("{side}: {} gets found something else than in the recording", self.gets));
        }
        if self.short > 0 {
            notes.push(format!(
                "{side}: scans found {} entries fewer than in the recording (--from gives what was there)",
                self.short
            ));
        }
        notes
    }
}

/// What a store holds, and what is known of it.
#[derive(Clone, Copy)]
struct Data<'a> {
    /// The trace's.
    corpus: &'a Corpus,
    traced: &'a Traced,
    /// What was written; nothing if nothing is.
    history: Option<&'a History>,
}

/// A get that is to be done.
struct Get {
    key: Vec<u8>,
    expected: Expected,
    fresh: bool,
    micros: u64,
    /// The number of its event.
    number: u64,
}

/// A replaying thread.
struct Thread<'a, S> {
    store: &'a S,
    data: Data<'a>,
    session: Session<'a>,
    turn: Turn<'a>,
    turns: &'a Turns,
    /// The number it had in the recording.
    recorded: u32,
    /// The number of its present event, from 1, and when that was recorded.
    number: u64,
    micros: u64,
    /// Gets of one transaction that follow each other, and their transaction.
    gets: Vec<Get>,
    txn: u64,
    /// Of the next values that are not followed.
    version: u32,
    /// What of the commit at hand is followed.
    batch: Batch,
    tally: Tally,
    differing: Differing,
}

impl<'a, S: Store> Thread<'a, S> {
    fn new(store: &'a S, data: Data<'a>, turn: Turn<'a>, turns: &'a Turns, thread: u32) -> Self {
        let traced = data.traced;
        Self {
            store,
            data,
            session: Session::new(traced.tables(), traced.shared(), traced.recording().hidden, thread),
            turn,
            turns,
            recorded: thread,
            number: 0,
            micros: 0,
            gets: Vec::new(),
            txn: 0,
            version: thread.wrapping_mul(1 << 20),
            batch: Batch::default(),
            tally: Tally::default(),
            differing: Differing::default(),
        }
    }

    fn run(&mut self, events: Events) -> Result<()> {
        for event in events {
            let Event { micros, op, .. } = event?;
            if self.turns.stopped() {
                return Ok(());
            }
            self.number += 1;
            let step = self.session.step(micros, op);
            if let Step::Get { txn, key, expected, fresh } = step {
                if txn != self.txn || self.gets.len() == GETS {
                    self.do_gets()?;
                }
                (self.txn, self.micros) = (txn, micros);
                self.gets.push(Get { key, expected, fresh, micros, number: self.number });
                continue;
            }
            if !matches!(step, Step::Nothing | Step::Removed { .. } | Step::Skipped(_)) {
                let number = self.number;
                self.do_gets()?;
                (self.number, self.micros) = (number, micros);
                self.step(step)?;
            }
        }
        self.do_gets()
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::GetMany { keys, expected, fresh } => self.get_many(&keys, &expected, fresh),
            Step::Scan { span, forward, backward, chained, fresh } => {
                self.scan(&span, (forward, backward), chained, fresh)
            }
            Step::RemoveRange { txn, span, .. } => {
                self.turn.wait(self.micros);
                let keys = self.list(&span)?;
                self.session.remove(txn, &span, keys);
                Ok(())
            }
            Step::Commit(changes) => self.commit(changes),
            _ => Ok(()),
        }
    }

    fn wrong(&self, number: u64, what: &str) -> Result<()> {
        Err(format!("{}: event {number} of thread {}: {what}", S::NAME, self.recorded).into())
    }

    fn note(&mut self, op: Op, begun: Instant, ended: Instant) {
        let start = self.turns.start();
        self.tally.note(op, ended.saturating_duration_since(begun), ended.saturating_duration_since(start));
    }

    /// For a read that is about to begin.
    fn reading(&self) -> Reading<'a> {
        Reading::begin(self.data.corpus, self.data.history)
    }

    /// Takes note of what was read, if it was right.
    fn settle(&mut self, reading: &Reading<'_>, found: u64) -> Result<()> {
        if let Some(wrong) = reading.wrong() {
            return self.wrong(self.number, &wrong);
        }
        if found != reading.entries {
            return self.wrong(self.number, &format!("{} of {found} entries were shown", reading.entries));
        }
        self.tally.entries_read += reading.entries;
        self.tally.bytes_read += reading.bytes;
        Ok(())
    }

    /// What a get found, beside what it found in the recording.
    fn compare(&mut self, get: (&[u8], Expected, bool), number: u64, len: Option<u64>) -> Result<()> {
        let (key, expected, fresh) = get;
        if expected.is(len) {
            return Ok(());
        }
        if fresh && self.data.traced.recording().exact {
            let said = |len: Option<u64>| {
                len.map_or_else(|| "nothing".to_owned(), |len| format!("a value of {len} bytes"))
            };
            let wanted = match expected {
                Expected::Value(len) => said(Some(len)),
                Expected::There => "a value".into(),
                Expected::Missing => said(None),
            };
            let (key, found) = (hex(key), said(len));
            return self
                .wrong(number, &format!("key {key} has {found}, and had {wanted} when this was recorded"));
        }
        self.differing.gets += 1;
        Ok(())
    }

    fn do_gets(&mut self) -> Result<()> {
        if self.gets.is_empty() {
            return Ok(());
        }
        let gets = std::mem::take(&mut self.gets);
        let (mut times, at) = (Vec::with_capacity(gets.len()), Cell::new(0));
        let shown = RefCell::new((self.reading(), vec![None; gets.len()]));
        let keys = gets.iter().enumerate().map(|(index, get)| {
            // Where the store asks for the next key, it is done with the one before.
            if let Some((_, ended)) = times.last_mut() {
                *ended = Some(Instant::now());
            }
            at.set(index);
            times.push((self.turn.wait(get.micros), None));
            &get.key
        });
        let found = self.store.gets(keys, |value| {
            let (reading, lens) = &mut *shown.borrow_mut();
            reading.see(&gets[at.get()].key, value);
            lens[at.get()] = Some(value.len() as u64);
        })?;
        let ended = Instant::now();
        self.tally.transactions += 1;
        let (mut reading, lens) = shown.into_inner();
        let missing = gets.iter().zip(&lens).filter(|(_, len)| len.is_none());
        missing.for_each(|(get, _)| reading.miss(&get.key));
        self.settle(&reading, found)?;
        for ((get, len), (begun, last)) in gets.iter().zip(lens).zip(&times) {
            self.compare((&get.key, get.expected, get.fresh), get.number, len)?;
            let op = if get.expected == Expected::Missing { Op::Missing } else { Op::Read };
            self.note(op, *begun, last.unwrap_or(ended));
        }
        self.gets = gets;
        self.gets.clear();
        Ok(())
    }

    fn get_many(&mut self, keys: &[Vec<u8>], expected: &[Expected], fresh: bool) -> Result<()> {
        let begun = self.turn.wait(self.micros);
        let (mut reading, mut lens) = (self.reading(), vec![None; keys.len()]);
        let found = self.store.get_many(keys, |index, value| {
            if let (Some(key), Some(len)) = (keys.get(index), lens.get_mut(index)) {
                *len = Some(value.len() as u64);
                reading.see(key, value);
            }
        })?;
        let ended = Instant::now();
        self.tally.transactions += 1;
        keys.iter().zip(&lens).filter(|(_, len)| len.is_none()).for_each(|(key, _)| reading.miss(key));
        self.settle(&reading, found)?;
        for ((key, expected), len) in keys.iter().zip(expected).zip(lens) {
            self.compare((key, *expected, fresh), self.number, len)?;
        }
        self.note(Op::ReadMany, begun, ended);
        Ok(())
    }

    fn scan(
        &mut self,
        span: &Span,
        (forward, backward): (u64, u64),
        chained: Option<(bool, Span)>,
        fresh: bool,
    ) -> Result<()> {
        let begun = self.turn.wait(self.micros);
        self.tally.transactions += 1;
        let recording = self.data.traced.recording();
        let sure = fresh && recording.exact && recording.complete && chained.is_none();
        let seen = match chained {
            None => {
                let (ahead, ended, _) = self.way(span, forward, false, begun)?;
                let (back, ..) = self.way(span, backward, true, ended)?;
                ahead + back
            }
            Some((ahead_first, whole)) => {
                let limits = if ahead_first { (forward, backward) } else { (backward, forward) };
                let (first, ended, last) = self.way(span, limits.0, !ahead_first, begun)?;
                let rest = last.map(|last| {
                    let last = std::ops::Bound::Excluded(last);
                    if ahead_first {
                        Span { lower: whole.lower, upper: last }
                    } else {
                        Span { lower: last, upper: whole.upper }
                    }
                });
                let second = match &rest {
                    Some(rest) => self.way(rest, limits.1, ahead_first, ended)?.0,
                    None => 0,
                };
                first + second
            }
        };
        let short = forward + backward - seen;
        self.differing.short += short;
        if sure && short > 0 {
            return self.wrong(
                self.number,
                &format!(
                    "a scan shows {seen} entries, and showed {} when this was recorded",
                    forward + backward
                ),
            );
        }
        Ok(())
    }

    /// Goes one way through a range. Returns how many entries of it there were, up to `limit`, when it ended, and the last
    /// key.
    fn way(
        &mut self,
        span: &Span,
        limit: u64,
        back: bool,
        begun: Instant,
    ) -> Result<(u64, Instant, Option<Vec<u8>>)> {
        if limit == 0 {
            return Ok((0, begun, None));
        }
        let mut reading = self.reading();
        let (mut last, mut in_order): (Option<Vec<u8>>, bool) = (None, true);
        let mut shown = 0;
        let see = |key: &[u8], value: &[u8]| {
            shown += 1;
            in_order &= last.as_deref().is_none_or(|last| if back { key < last } else { key > last });
            if reading.entries < limit && span.contains(key) {
                key.clone_into(last.get_or_insert_default());
                reading.see(key, value);
            }
        };
        let found = if back {
            // The first one shown may be the bound, which does not belong to it.
            let outside = u64::from(matches!(span.upper, std::ops::Bound::Excluded(_)));
            let from = self.data.traced.tables().last(span);
            self.store.scan_back(&from, limit.saturating_add(outside), see)?
        } else {
            self.store.scan(&span.first(), limit, see)?
        };
        let ended = Instant::now();
        if !in_order || found != shown {
            self.wrong(self.number, "a scan shows entries out of order, or not all of them")?;
        }
        let seen = reading.entries;
        self.settle(&reading, seen)?;
        self.note(if back { Op::ScanBack } else { Op::Scan }, begun, ended);
        Ok((seen, ended, last))
    }

    /// The keys of a range that the store has.
    fn list(&mut self, span: &Span) -> Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut from = span.first();
        loop {
            let (mut reading, mut beyond) = (self.reading(), false);
            let found = self.store.scan(&from, LISTED, |key, value| {
                reading.see(key, value);
                beyond |= !span.contains(key);
                if !beyond {
                    keys.push(key.to_vec());
                }
            })?;
            self.settle(&reading, found)?;
            match keys.last() {
                Some(last) if found == LISTED && !beyond => from = after(last),
                _ => return Ok(keys),
            }
        }
    }

    fn commit(&mut self, changes: Changes) -> Result<()> {
        let (puts, deletes) = changes.into_parts();
        if puts.is_empty() && deletes.is_empty() {
            return Ok(());
        }
        let mut begun = self.turn.wait(self.micros);
        let bytes = puts.iter().map(|(key, len)| key.len() as u64 + len).sum::<u64>();
        self.tally.bytes_written += bytes + deletes.iter().map(|key| key.len() as u64).sum::<u64>();
        if !puts.is_empty() {
            self.version = self.version.wrapping_add(1);
            let short = |len: u64| (len < VERSIONED as u64).then_some(Content::Short(len as usize));
            let keys = puts.iter().map(|(key, len)| (key.as_slice(), short(*len)));
            let version = self.begin_changes(keys).unwrap_or(self.version);
            let entries = puts.iter().map(|(key, len)| {
                let mut value = Vec::new();
                make(key, version, *len, &mut value);
                (key, value)
            });
            self.store.put(Order::Random, entries)?;
            self.acknowledged();
            begun = self.note_commit(Op::Insert, puts.len() as u64, begun);
        }
        if !deletes.is_empty() {
            self.begin_changes(deletes.iter().map(|key| (key.as_slice(), Some(Content::Nothing))));
            self.store.delete(deletes.iter())?;
            self.acknowledged();
            self.note_commit(Op::Delete, deletes.len() as u64, begun);
        }
        Ok(())
    }

    /// These keys are about to be changed, with each what it will have if that says no version. Returns the version that
    /// the others must have, if it is given.
    fn begin_changes<'k>(&mut self, keys: impl Iterator<Item = (&'k [u8], Option<Content>)>) -> Option<u32> {
        let corpus = self.data.corpus;
        let keys = keys.map(|(key, content)| (corpus.tag(key), key, content));
        self.data.history?.begin_each(keys, &mut self.batch)
    }

    fn acknowledged(&mut self) {
        if let Some(history) = self.data.history {
            history.acknowledge(&mut self.batch);
        }
    }

    /// A commit of several entries is one latency; its entries count each. Returns when it ended.
    fn note_commit(&mut self, op: Op, entries: u64, begun: Instant) -> Instant {
        let ended = Instant::now();
        self.tally.transactions += 1;
        self.tally.entries_written += entries;
        self.tally.note_latency(op, ended.saturating_duration_since(begun));
        self.tally.note_more(op, entries, ended.saturating_duration_since(self.turns.start()));
        ended
    }
}
