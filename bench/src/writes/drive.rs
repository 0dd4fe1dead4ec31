//! Threads that write to a store, or read from it, and what that took.
#![forbid(unsafe_code)]

use super::workload::{Kind, Workload};
use super::written::{Share, Written};
use crate::data::{Numbers, Seed, digest};
use crate::{Order, Result, Store};
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Latencies in nanoseconds.
pub(super) type Latencies = Histogram<u64>;

/// Gets in one transaction of a reader.
const GETS: u64 = 100;

/// No latencies yet: up to 20 minutes, to three digits.
#[expect(clippy::expect_used, reason = "the bounds are constant and valid")]
pub(super) fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, 1_200_000_000_000, 3).expect("valid bounds")
}

pub(super) fn record(latencies: &mut Latencies, time: Duration) {
    latencies.saturating_record(time.as_nanos() as u64);
}

/// What writers did.
pub(super) struct Driven {
    pub(super) puts: u64,
    pub(super) commits: u64,
    pub(super) latency: Latencies,
}

impl Driven {
    pub(super) fn new() -> Self {
        Self { puts: 0, commits: 0, latency: latencies() }
    }

    /// Runs one commit of `puts` entries.
    fn commit(&mut self, puts: usize, commit: impl FnOnce() -> Result<()>) -> Result<()> {
        let start = Instant::now();
        commit()?;
        record(&mut self.latency, start.elapsed());
        self.puts += puts as u64;
        self.commits += 1;
        Ok(())
    }

    fn add(&mut self, other: &Self) -> Result<()> {
        self.puts += other.puts;
        self.commits += other.commits;
        Ok(self.latency.add(&other.latency)?)
    }
}

/// Puts all entries into an empty store, in the order of their numbers.
pub(super) fn insert<S: Store>(store: &S, entries: u64, batch: u64) -> Result<Driven> {
    let mut driven = Driven::new();
    for from in (0..entries).step_by(batch as usize) {
        let numbers = from..(from + batch).min(entries);
        let entries: Vec<_> = numbers.map(Seed::new).map(|seed| (seed.key(), seed.value())).collect();
        driven.commit(entries.len(), || store.put(Order::Random, entries.iter().map(|(k, v)| (k, v))))?;
    }
    Ok(driven)
}

/// Has the threads of `workload` overwrite, or delete and put again, while `go_on` says so.
pub(super) fn change<S: Store>(
    store: &S,
    written: &Written,
    workload: &Workload,
    stream: u64,
    go_on: impl Fn() -> bool + Sync,
) -> Result<Driven> {
    let go_on = &go_on;
    let of = workload.threads;
    thread::scope(|scope| {
        let writer = |index| {
            let numbers = Numbers::new(stream ^ (16 + index));
            scope.spawn(move || change_share(store, written, workload, numbers, Share { index, of }, go_on))
        };
        let writers: Vec<_> = (0..of).map(writer).collect();
        let mut all = Driven::new();
        for writer in writers {
            all.add(&writer.join().map_err(|_| "a writer panicked")??)?;
        }
        Ok(all)
    })
}

fn change_share<S: Store>(
    store: &S,
    written: &Written,
    workload: &Workload,
    mut numbers: Numbers,
    share: Share,
    go_on: impl Fn() -> bool,
) -> Result<Driven> {
    let (mut driven, mut drawn) = (Driven::new(), Vec::new());
    let mut entries = Vec::new();
    while go_on() {
        written.draw(&mut numbers, share, workload.batch, &mut drawn);
        entries.clear();
        entries.extend(drawn.iter().map(|(seed, version)| (seed.key(), seed.value_at(*version))));
        if workload.kind == Kind::Churn {
            driven.commit(entries.len(), || store.delete(entries.iter().map(|(key, _)| key)))?;
        }
        driven.commit(entries.len(), || store.put(Order::Random, entries.iter().map(|(k, v)| (k, v))))?;
    }
    Ok(driven)
}

/// Gets random entries, which must all be there, until `stop`. Returns how many.
pub(super) fn read<S: Store>(store: &S, entries: u64, stream: u64, stop: &AtomicBool) -> Result<u64> {
    let (mut numbers, mut gets, mut sum) = (Numbers::new(stream), 0, 0u64);
    while !stop.load(Ordering::Relaxed) {
        let keys = (0..GETS).map(|_| Seed::new(numbers.below(entries)).key());
        let found = store.gets(keys, |value| sum = sum.wrapping_add(digest(value)))?;
        if found != GETS {
            return Err(format!("{}: {found} of {GETS} entries are there", S::NAME).into());
        }
        gets += GETS;
    }
    std::hint::black_box(sum);
    Ok(gets)
}

/// Runs `work` beside a reader. Returns what it returned, and the reader's gets a second.
pub(super) fn beside_reader<S: Store, R>(
    store: &S,
    entries: u64,
    stream: u64,
    work: impl FnOnce() -> Result<R>,
) -> Result<(R, f64)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let start = Instant::now();
        let reader = scope.spawn(|| read(store, entries, stream, &stop));
        let result = work();
        stop.store(true, Ordering::Relaxed);
        let gets = reader.join().map_err(|_| "the reader panicked")??;
        let rate = gets as f64 / start.elapsed().as_secs_f64();
        Ok((result?, rate))
    })
}

/// Does `once` over and over for a `time`, which is recorded in `quiet`, then while `beside` runs on another thread,
/// which is recorded in `during`.
pub(super) fn before_and_beside(
    time: Duration,
    mut once: impl FnMut() -> Result<()>,
    beside: impl FnOnce() -> Result<()> + Send,
    quiet: &mut Latencies,
    during: &mut Latencies,
) -> Result<()> {
    let mut timed = |latencies: &mut Latencies| -> Result<()> {
        let start = Instant::now();
        once()?;
        record(latencies, start.elapsed());
        Ok(())
    };
    let start = Instant::now();
    while start.elapsed() < time {
        timed(quiet)?;
    }
    thread::scope(|scope| {
        let beside = scope.spawn(beside);
        while !beside.is_finished() {
            timed(during)?;
        }
        beside.join().map_err(|_| "the checkpoint panicked")?
    })
}
