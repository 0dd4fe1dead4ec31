//! One store's part in the workloads.
#![forbid(unsafe_code)]

use super::drive::{self, Driven, Latencies};
use super::workload::{Kind, Workload};
use super::written::{Share, Written};
use super::{Options, disk};
use crate::data::{self, Numbers, Seed};
use crate::store::file_bytes;
use crate::{Counters, Durability, Order, Result, Setup, Store};
use std::fs;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Entries that are compared behind each round.
const SPOT_CHECKS: u64 = 10_000;
/// How long it goes on without a checkpoint before one with it.
const QUIET: Duration = Duration::from_millis(500);

/// What one round of a workload took.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// Entries put or deleted.
    pub(super) puts: u64,
    /// Transactions committed.
    pub(super) commits: u64,
    /// Until the last commit returned.
    pub(super) run: Duration,
    /// Doing what had been put off.
    pub(super) finish: Duration,
    /// Of the commits; or of what was done during checkpoints.
    pub(super) latency: Latencies,
    /// Of the same without a checkpoint.
    pub(super) quiet: Option<Latencies>,
    /// A reader's gets a second, alone and beside the writer.
    pub(super) reads: Option<(f64, f64)>,
    /// Bytes written.
    pub(super) written: disk::Bytes,
    /// What the store counted.
    pub(super) counters: Option<Counters>,
    /// Bytes of the store's files at the end.
    pub(super) file_bytes: u64,
}

impl Outcome {
    pub(super) fn new() -> Self {
        Self {
            puts: 0,
            commits: 0,
            run: Duration::ZERO,
            finish: Duration::ZERO,
            latency: drive::latencies(),
            quiet: None,
            reads: None,
            written: disk::Bytes::default(),
            counters: None,
            file_bytes: 0,
        }
    }

    fn took(&mut self, driven: Driven, run: Duration) {
        self.puts = driven.puts;
        self.commits = driven.commits;
        self.latency = driven.latency;
        self.run = run;
    }
}

/// Whoever does the workloads.
pub(super) trait Contestant {
    fn name(&self) -> &'static str;

    /// What a durable commit calls, if it has any.
    fn synced(&self) -> Option<&'static str>;

    /// What an unsynced commit is, if it has any.
    fn unsynced(&self) -> Option<&'static str>;

    /// Does `workload` once. Nothing if it has no part in it.
    fn run(&mut self, workload: &Workload, round: u64) -> Result<Option<Outcome>>;

    /// Opens what is there once more and compares it with what was put.
    fn verify(&mut self) -> Result<()>;

    /// Removes all that it has on disk.
    fn clear(&mut self) -> Result<()>;
}

/// A store, and what it holds.
pub(super) struct Contest<'o, S> {
    options: &'o Options,
    sorted: &'o [Seed],
    dir: PathBuf,
    /// What the loaded store in `dir` holds. Nothing if it must be loaded first.
    loaded: Option<Written>,
    store: PhantomData<fn() -> S>,
}

impl<'o, S: Store> Contest<'o, S> {
    pub(super) fn new(options: &'o Options, sorted: &'o [Seed]) -> Self {
        Self { options, sorted, dir: options.dir.join(S::NAME), loaded: None, store: PhantomData }
    }

    fn fresh_dir(&self) -> Result<&Path> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        fs::create_dir_all(&self.dir)?;
        Ok(&self.dir)
    }

    /// Loads the store anew. Returns what it took.
    fn load(&mut self) -> Result<Outcome> {
        self.loaded = None;
        let bytes = data::bytes(self.options.entries);
        let setup = Setup { transaction_bytes: bytes, ..self.options.setup(Durability::Unsynced) };
        let dir = self.fresh_dir()?;
        let before = disk::Bytes::synced(dir)?;
        let store = S::open(dir, &setup)?;
        let (start, mut outcome) = (Instant::now(), Outcome::new());
        store.put(Order::Sorted, self.sorted.iter().map(|seed| (seed.key(), seed.value())))?;
        outcome.run = start.elapsed();
        drive::record(&mut outcome.latency, outcome.run);
        (outcome.puts, outcome.commits) = (self.options.entries, 1);
        let written = Written::new(self.options.entries);
        self.end(store, &written, 0, before, &mut outcome)?;
        self.loaded = Some(written);
        Ok(outcome)
    }

    fn insert(&mut self, workload: &Workload, round: u64) -> Result<Outcome> {
        self.loaded = None;
        let dir = self.fresh_dir()?;
        let before = disk::Bytes::synced(dir)?;
        let store = S::open(dir, &self.options.setup(workload.durability))?;
        let (start, mut outcome) = (Instant::now(), Outcome::new());
        let driven = drive::insert(&store, self.options.entries, workload.batch)?;
        outcome.took(driven, start.elapsed());
        let written = Written::new(self.options.entries);
        self.end(store, &written, round, before, &mut outcome)?;
        self.clear()?;
        Ok(outcome)
    }

    /// Does a workload over loaded data.
    fn change(&mut self, workload: &Workload, round: u64) -> Result<Outcome> {
        if self.loaded.is_none() {
            self.load()?;
        }
        let written = self.loaded.take().ok_or("it was not loaded")?;
        let store = S::open(&self.dir, &self.options.setup(workload.durability))?;
        written.count(&store)?;
        let before = disk::Bytes::synced(&self.dir)?;
        let mut outcome = Outcome::new();
        let (stream, time) = (stream(workload, round), self.options.time(workload));
        let change = |outcome: &mut Outcome| -> Result<()> {
            let start = Instant::now();
            let driven = drive::change(&store, &written, workload, stream, || start.elapsed() < time)?;
            outcome.took(driven, start.elapsed());
            Ok(())
        };
        match workload.kind {
            Kind::ReaderBeside => {
                let alone = || {
                    std::thread::sleep(time / 2);
                    Ok(())
                };
                let (entries, reader) = (self.options.entries, stream ^ 1);
                let ((), alone) = drive::beside_reader(&store, entries, reader, alone)?;
                let ((), beside) = drive::beside_reader(&store, entries, reader, || change(&mut outcome))?;
                outcome.reads = Some((alone, beside));
            }
            Kind::CommitsDuringCheckpoint | Kind::GetsDuringCheckpoint => {
                self.during_checkpoints(&store, &written, workload, stream, &mut outcome)?;
            }
            _ => change(&mut outcome)?,
        }
        self.end(store, &written, round, before, &mut outcome)?;
        // Kept only now: behind an error nobody knows what the store holds.
        self.loaded = Some(written);
        Ok(outcome)
    }

    /// Over and over: makes changes, then works for a while without a checkpoint, then during one.
    fn during_checkpoints(
        &self,
        store: &S,
        written: &Written,
        workload: &Workload,
        stream: u64,
        outcome: &mut Outcome,
    ) -> Result<()> {
        // Each put changes another leaf of some 4 KiB: three quarters of what begins a checkpoint by itself, so that it has
        // about the size of one that does, and the puts of the quiet time do not begin it.
        let dirty = (self.options.delta_mib << 20) / 4096 / 8 * 3;
        let (mut numbers, mut drawn) = (Numbers::new(stream), Vec::new());
        let whole = Share { index: 0, of: 1 };
        let mut put = |numbers: &mut Numbers, count: u64| {
            written.draw(numbers, whole, count, &mut drawn);
            store
                .put(Order::Random, drawn.iter().map(|(seed, version)| (seed.key(), seed.value_at(*version))))
        };
        let (start, mut quiet) = (Instant::now(), drive::latencies());
        while outcome.run < self.options.time(workload) {
            for _ in 0..dirty.div_ceil(1000) {
                put(&mut numbers, 1000)?;
            }
            let once = || {
                if workload.kind == Kind::CommitsDuringCheckpoint {
                    return put(&mut numbers, 1);
                }
                let key = Seed::new(numbers.below(written.entries())).key();
                let found = store.gets(std::iter::once(key), |value| {
                    std::hint::black_box(data::digest(value));
                })?;
                if found == 1 { Ok(()) } else { Err("an entry is missing".into()) }
            };
            drive::before_and_beside(QUIET, once, || store.checkpoint(), &mut quiet, &mut outcome.latency)?;
            outcome.run = start.elapsed();
        }
        outcome.commits = outcome.latency.len() + quiet.len();
        outcome.quiet = Some(quiet);
        Ok(())
    }

    /// Finishes what was put off, counts what was written, compares what is there, and closes the store.
    fn end(
        &self,
        store: S,
        written: &Written,
        round: u64,
        before: disk::Bytes,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let start = Instant::now();
        store.finish()?;
        outcome.finish = start.elapsed();
        outcome.written = disk::Bytes::synced(&self.dir)?.since(before);
        outcome.counters = store.counters();
        outcome.file_bytes = file_bytes(&self.dir)?;
        written.spot_check(&store, SPOT_CHECKS, round ^ 0x5EED)?;
        store.close()
    }
}

/// Another stream of random numbers for each workload and round, the same for each store. Its low byte is free for
/// what goes on side by side.
fn stream(workload: &Workload, round: u64) -> u64 {
    workload.name.bytes().fold(round, |stream, byte| stream.wrapping_mul(257).wrapping_add(u64::from(byte)))
        << 8
}

impl<S: Store> Contestant for Contest<'_, S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn synced(&self) -> Option<&'static str> {
        S::SYNCED
    }

    fn unsynced(&self) -> Option<&'static str> {
        S::UNSYNCED
    }

    fn run(&mut self, workload: &Workload, round: u64) -> Result<Option<Outcome>> {
        let checkpoints = matches!(workload.kind, Kind::CommitsDuringCheckpoint | Kind::GetsDuringCheckpoint);
        if workload.durability == Durability::Synced && S::SYNCED.is_none() || checkpoints && !S::CHECKPOINTS
        {
            return Ok(None);
        }
        let outcome = match workload.kind {
            Kind::Load => self.load(),
            Kind::Insert => self.insert(workload, round),
            _ => self.change(workload, round),
        };
        outcome.map(Some)
    }

    fn verify(&mut self) -> Result<()> {
        let Some(written) = &self.loaded else { return Ok(()) };
        let store = S::open(&self.dir, &self.options.setup(Durability::Synced))?;
        written.count(&store)?;
        written.spot_check(&store, SPOT_CHECKS * 10, 0)?;
        store.close()
    }

    fn clear(&mut self) -> Result<()> {
        self.loaded = None;
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        Ok(())
    }
}
