//! One thread of a run: it chooses operations, does them, times them, and checks what it was shown.
#![forbid(unsafe_code)]

use super::history::Batch;
use super::reading::{Reading, hex};
use super::schedule::Schedule;
use super::shared::{PART, Shared};
use super::tally::Tally;
use super::{OpenLoop, Pace, Until};
use crate::corpus::Corpus;
use crate::workload::{Choice, Op, Role, Threads};
use crate::{Order, Result, Store};
use std::cell::RefCell;
use std::thread;
use std::time::{Duration, Instant};

/// A thread that does a role.
#[expect(clippy::struct_excessive_bools, reason = "what a thread is, and how its last entries stand")]
pub(super) struct Worker<'a, S> {
    store: &'a S,
    corpus: &'a Corpus,
    role: &'a Role,
    shared: &'a Shared,
    /// Its number among all threads.
    thread: usize,
    /// When operations are due, if the rate is set.
    schedule: Option<Schedule>,
    until: Until,
    /// When measuring began, as it was known before the operation at hand: if it was, the operation counts.
    since: Option<Instant>,
    measured: bool,
    /// The warm-up is over for this thread.
    counts: bool,
    /// No other thread writes.
    alone: bool,
    choice: Choice,
    /// Entries that are chosen of.
    known: u64,
    /// The entries of the transaction at hand: their numbers, as far as they were chosen, their keys and values.
    numbers: Vec<u64>,
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    /// They were deleted, and are to be put back.
    deleted: bool,
    /// Something was put, and keys and values are still what it was.
    wrote: bool,
    /// What of the transaction at hand is followed.
    batch: Batch,
    pub(super) tally: Tally,
}

impl<'a, S: Store> Worker<'a, S> {
    /// `share` is the thread's number among those that are measured, and how many there are of these.
    pub(super) fn new(
        store: &'a S,
        corpus: &'a Corpus,
        role: &'a Role,
        shared: &'a Shared,
        pace: &Pace,
        stream: u64,
        share: Option<(u64, u64)>,
    ) -> Self {
        let known = corpus.known();
        let now = Instant::now();
        let schedule = share.zip(pace.rate).map(|((index, of), rate)| Schedule::new(rate, index, of, now));
        Self {
            store,
            corpus,
            role,
            shared,
            thread: stream as usize,
            schedule,
            until: pace.until,
            since: None,
            measured: share.is_some(),
            counts: false,
            alone: pace.threads <= 1 || role.threads == Threads::One,
            choice: Choice::new(role.distribution, known, pace.seed, stream),
            known,
            numbers: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            deleted: false,
            wrote: false,
            batch: Batch::default(),
            tally: Tally::default(),
        }
    }

    /// Does transactions until the run is over.
    pub(super) fn run(&mut self) -> Result<()> {
        let part = if self.schedule.is_some() { 1 } else { PART };
        let mut left = 0u64;
        while !self.is_over() {
            self.wait_until_due();
            if self.is_over() {
                break;
            }
            self.begin_counting()?;
            let op = self.draw();
            let mut count = if self.schedule.is_some() { 1 } else { self.role.at_once(op) };
            if self.measured && self.since.is_some() {
                if left < count {
                    left = left.saturating_add(self.shared.take(part.max(count - left)));
                    if left == 0 {
                        break;
                    }
                }
                // Only the last transaction is not whole.
                count = count.min(left);
                left -= count;
            }
            let entries = if op == Op::ReadMany { self.role.per_txn.max(1) } else { count };
            self.transaction(op, entries)?;
        }
        self.end_schedule();
        self.put_back()?;
        self.read_back()
    }

    /// Whether the run is over for this thread. Even if the machine gave it no time before the end, it first does one thing
    /// that counts, unless times are set: otherwise a short run on a busy machine might be one of nothing.
    fn is_over(&self) -> bool {
        let idle = self.measured && !self.counts && self.schedule.is_none();
        self.shared.stopped() && !(idle && self.shared.measured_since().is_some())
    }

    /// Where what is done next is the first that counts, puts back what the warm-up deleted: otherwise a run of few
    /// operations might do nothing but that, and none of what it is about.
    fn begin_counting(&mut self) -> Result<()> {
        if self.since.is_none() || std::mem::replace(&mut self.counts, true) {
            return Ok(());
        }
        let (since, schedule) = (self.since.take(), self.schedule.take());
        self.put_back()?;
        (self.since, self.schedule) = (since, schedule);
        Ok(())
    }

    fn draw(&mut self) -> Op {
        let mix = &self.role.mix;
        let sum: f64 = mix.iter().map(|(_, share)| share).sum();
        let mut part = self.choice.random().part() * sum;
        for (op, share) in mix {
            if part < *share {
                return *op;
            }
            part -= share;
        }
        mix.last().map_or(Op::Read, |(op, _)| *op)
    }

    /// Looks whether what is done next counts. In an open loop, waits until it is due: times that are counted from the end
    /// of the warm-up, so that nothing of it delays what counts.
    fn wait_until_due(&mut self) {
        loop {
            self.since = self.shared.measured_since();
            let Some(schedule) = &mut self.schedule else { return };
            if let Some(start) = self.since {
                schedule.begin_anew(start);
            }
            let due = schedule.due();
            let early = due.saturating_duration_since(Instant::now());
            // What would be due at the end or later is not.
            let is_due = early.is_zero() && self.end().is_none_or(|end| due < end);
            // Nor is what nobody can take any more.
            let all_taken = self.since.is_some() && self.shared.all_taken();
            if is_due || all_taken || self.shared.stopped() {
                return;
            }
            thread::sleep(early.clamp(Duration::from_micros(1), Duration::from_millis(10)));
        }
    }

    /// When the run ends, if a time was set and it is not in its warm-up.
    fn end(&self) -> Option<Instant> {
        match (self.since, self.until) {
            (Some(start), Until::Seconds(seconds)) => Some(start + Duration::from_secs_f64(seconds)),
            _ => None,
        }
    }

    /// When the operation began, as far as its latency is concerned.
    fn begin(&mut self) -> Instant {
        let now = Instant::now();
        self.schedule.as_mut().map_or(now, |schedule| schedule.begin(now))
    }

    /// The run is over: nothing more is due, and what was and has not begun never will.
    fn end_schedule(&mut self) {
        let Some((mut schedule, start)) = self.schedule.take().zip(self.shared.measured_since()) else {
            return;
        };
        // All this while it may have waited for one operation of the warm-up.
        schedule.begin_anew(start);
        self.since = Some(start);
        let (due, begun) = schedule.kept(self.end());
        self.tally.open_loop = OpenLoop { due, begun };
    }

    fn note(&mut self, op: Op, begun: Instant, ended: Instant) {
        if let Some(start) = self.since
            && begun >= start
        {
            self.tally.note(op, ended.saturating_duration_since(begun), ended - start);
        }
    }

    fn transaction(&mut self, op: Op, count: u64) -> Result<()> {
        self.tally.transactions += 1;
        match op {
            Op::Read | Op::Missing => self.gets(op, count),
            Op::ReadMany => self.get_many(count),
            Op::Scan | Op::ScanBack | Op::FullScan => self.scan(op),
            Op::Update => self.update(op, count),
            Op::Insert => self.insert(),
            Op::ReadModifyWrite => {
                let begun = self.begin();
                self.choose(1);
                self.read_chosen()?;
                self.put_chosen()?;
                self.note(op, begun, Instant::now());
                Ok(())
            }
            Op::Delete => self.delete(count),
        }
    }

    /// Chooses entries, and writes their keys over `keys`. Those of a commit differ.
    fn choose(&mut self, count: u64) {
        let there = match self.corpus {
            Corpus::Made(_) => self.shared.there(),
            Corpus::Sample(_) | Corpus::Traced(_) => self.known,
        };
        self.wrote = false;
        self.numbers.clear();
        self.keys.resize_with(count as usize, Vec::new);
        for key in &mut self.keys {
            let number = self.choice.next(there);
            self.corpus.key(number, key);
            self.numbers.push(number);
        }
    }

    fn gets(&mut self, op: Op, count: u64) -> Result<()> {
        if op == Op::Missing {
            self.wrote = false;
            self.keys.resize_with(count as usize, Vec::new);
            for key in &mut self.keys {
                self.corpus.missing_key(self.choice.random().draw(), key);
            }
        } else {
            self.choose(count);
        }
        let mut begins = Vec::with_capacity(self.keys.len() + 1);
        begins.push(self.begin());
        let reading = RefCell::new((self.reading(), 0usize));
        let keys = self.keys.iter().enumerate().map(|(index, key)| {
            // Where the store asks for the next key, it is done with the one before.
            if index > 0 {
                begins.push(Instant::now());
            }
            reading.borrow_mut().1 = index;
            key
        });
        let found = self.store.gets(keys, |value| {
            let (reading, index) = &mut *reading.borrow_mut();
            reading.see(&self.keys[*index], value);
        })?;
        begins.push(Instant::now());
        let reading = reading.into_inner().0;
        let wanted = if op == Op::Missing { 0 } else { count };
        self.settle(&reading, found, wanted, "gets")?;
        for pair in begins.windows(2) {
            self.note(op, pair[0], pair[1]);
        }
        Ok(())
    }

    /// Takes note of what was read, if it was right.
    fn settle(&mut self, reading: &Reading<'_>, found: u64, wanted: u64, what: &str) -> Result<()> {
        let name = S::NAME;
        if let Some(wrong) = reading.wrong() {
            return Err(format!("{name}: {what}: {wrong}").into());
        }
        if found != wanted || reading.entries != wanted {
            let seen = reading.entries;
            return Err(
                format!("{name}: {what}: {found} of {wanted} entries are there, {seen} were shown").into()
            );
        }
        if self.shared.measured_since().is_some() {
            self.tally.entries_read += reading.entries;
            self.tally.bytes_read += reading.bytes;
        }
        Ok(())
    }

    fn get_many(&mut self, count: u64) -> Result<()> {
        self.choose(count);
        let begun = self.begin();
        let mut reading = self.reading();
        let keys = &self.keys;
        let found = self.store.get_many(keys, |index, value| match keys.get(index) {
            Some(key) => reading.see(key, value),
            None => reading.see_unasked(),
        })?;
        let ended = Instant::now();
        self.settle(&reading, found, count, "get_many")?;
        self.note(Op::ReadMany, begun, ended);
        Ok(())
    }

    fn scan(&mut self, op: Op) -> Result<()> {
        let (least, most) = self.role.scan;
        let mut limit = least + self.choice.random().below(most - least + 1);
        self.choose(1);
        let mut from = std::mem::take(&mut self.keys[0]);
        if op == Op::FullScan {
            (limit, from) = (u64::MAX, Vec::new());
        }
        let begun = self.begin();
        let mut reading = self.reading();
        let mut last: Option<Vec<u8>> = None;
        let mut in_order = true;
        let (back, whole) = (op == Op::ScanBack, op == Op::FullScan);
        let see = |key: &[u8], value: &[u8]| {
            if let Some(last) = &mut last {
                in_order &= if back { key < last.as_slice() } else { key > last.as_slice() };
                last.clear();
                last.extend_from_slice(key);
            } else {
                in_order &= if whole { key >= from.as_slice() } else { key == from.as_slice() };
                last = Some(key.to_vec());
            }
            reading.see(key, value);
        };
        let seen = if back {
            self.store.scan_back(&from, limit, see)?
        } else {
            self.store.scan(&from, limit, see)?
        };
        let ended = Instant::now();
        if !in_order {
            return Err(format!(
                "{}: a scan shows entries out of order, or does not begin where it was asked to",
                S::NAME
            )
            .into());
        }
        // More only if entries were inserted between; and as many as were asked for, if there are.
        let wanted = match op {
            Op::FullScan => reading.entries.max(self.corpus.entries()),
            _ if reading.entries == limit => limit,
            _ => reading.entries.max(self.certain(back).min(limit)),
        };
        self.settle(&reading, seen, wanted, "a scan")?;
        self.keys[0] = from;
        self.note(op, begun, ended);
        Ok(())
    }

    /// How many entries there are at least from the one chosen on, itself included.
    fn certain(&self, back: bool) -> u64 {
        match self.numbers.first() {
            Some(number) if *number >= self.known => 1,
            Some(number) if back => number + 1,
            Some(number) => self.known - number,
            None => 1,
        }
    }

    fn read_chosen(&mut self) -> Result<()> {
        let mut reading = self.reading();
        let key = &self.keys[0];
        let found = self.store.gets(std::iter::once(key), |value| reading.see(key, value))?;
        self.settle(&reading, found, 1, "a read before a write")
    }

    /// Makes other values for the keys chosen, which then differ, and puts them.
    fn put_chosen(&mut self) -> Result<()> {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.make_values();
        self.put()
    }

    fn make_values(&mut self) {
        // Whatever version it is, a reader can tell that it was written.
        let any = self.choice.random().draw() as u32;
        let version = self.begin_changes(true).unwrap_or(any);
        self.values.resize_with(self.keys.len(), Vec::new);
        for (key, value) in self.keys.iter().zip(&mut self.values) {
            self.corpus.value(key, version, value);
        }
    }

    /// The entries of `keys` are about to be put, or deleted. Returns the version that they must have, if it is given.
    fn begin_changes(&mut self, puts: bool) -> Option<u32> {
        let keys = self.keys.iter().map(|key| (self.corpus.tag(key), key.as_slice()));
        self.shared.history()?.begin(keys, puts, &mut self.batch)
    }

    fn acknowledged(&mut self) {
        if let Some(history) = self.shared.history() {
            history.acknowledge(&mut self.batch);
        }
    }

    /// For a read that is about to begin.
    fn reading(&self) -> Reading<'a> {
        Reading::begin(self.corpus, self.shared.history())
    }

    fn put(&mut self) -> Result<()> {
        self.store.put(Order::Random, self.keys.iter().zip(&self.values))?;
        self.acknowledged();
        self.wrote = true;
        let bytes = self.keys.iter().chain(&self.values).map(Vec::len).sum();
        self.note_written(self.keys.len(), bytes);
        Ok(())
    }

    fn note_written(&mut self, entries: usize, bytes: usize) {
        if self.shared.measured_since().is_some() {
            self.tally.entries_written += entries as u64;
            self.tally.bytes_written += bytes as u64;
        }
    }

    /// What this thread wrote last is what is there, if no other thread writes.
    fn read_back(&mut self) -> Result<()> {
        if !(self.alone && self.wrote) {
            return Ok(());
        }
        let name = S::NAME;
        for (key, value) in self.keys.iter().zip(&self.values) {
            let mut same = false;
            let found = self.store.gets(std::iter::once(key), |there| same = there == value.as_slice())?;
            if found != 1 || !same {
                return Err(format!("{name}: the last value written to key {} is not there", hex(key)).into());
            }
        }
        Ok(())
    }

    fn update(&mut self, op: Op, count: u64) -> Result<()> {
        self.choose(count);
        if count > 1 {
            self.keys.sort_unstable();
            self.keys.dedup();
            shuffle(&mut self.keys, self.choice.random());
        }
        self.make_values();
        let begun = self.begin();
        self.put()?;
        self.note_commit(op, begun);
        Ok(())
    }

    /// A commit of several entries is one latency; its entries count each.
    fn note_commit(&mut self, op: Op, begun: Instant) {
        let ended = Instant::now();
        self.note(op, begun, ended);
        let more = self.keys.len() as u64 - 1;
        if let Some(start) = self.since
            && more > 0
        {
            self.tally.note_more(op, more, ended.saturating_duration_since(start));
        }
    }

    fn insert(&mut self) -> Result<()> {
        let number = self.shared.begin_insert(self.thread);
        self.keys.resize_with(1, Vec::new);
        self.corpus.key(number, &mut self.keys[0]);
        self.make_values();
        let begun = self.begin();
        self.put()?;
        self.note(Op::Insert, begun, Instant::now());
        self.shared.end_insert(self.thread);
        Ok(())
    }

    /// Deletes entries, or puts those back that were deleted before.
    fn delete(&mut self, count: u64) -> Result<()> {
        if self.deleted {
            return self.put_back();
        }
        self.choose(count);
        self.keys.sort_unstable();
        self.keys.dedup();
        let _ = self.begin_changes(false);
        let begun = self.begin();
        self.store.delete(self.keys.iter())?;
        self.acknowledged();
        self.deleted = true;
        self.note_written(self.keys.len(), self.keys.iter().map(Vec::len).sum());
        self.note_commit(Op::Delete, begun);
        // With several threads, another one may have put it back.
        if self.alone && self.store.gets(self.keys.iter().take(1), |_| ())? != 0 {
            return Err(format!("{}: an entry that was deleted is there", S::NAME).into());
        }
        Ok(())
    }

    fn put_back(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.deleted) {
            return Ok(());
        }
        self.make_values();
        let begun = self.begin();
        self.put()?;
        self.note_commit(Op::Insert, begun);
        Ok(())
    }
}

fn shuffle(keys: &mut [Vec<u8>], random: &mut crate::corpus::Random) {
    for at in (1..keys.len()).rev() {
        keys.swap(at, random.below(at as u64 + 1) as usize);
    }
}
