//! Group commit under real threads: who shares a sync, what is durable when, what readers see, what everyone is told
//! when the disk fails or a thread panics.
//!
//! Syncs are held back by a gate of the file system beneath, and background work is stepped by hand, so that each test
//! chooses what happens while a sync is under way. Where real background threads are used, what is asserted holds in
//! whatever order they run.
#![cfg(all(feature = "testing", any(feature = "mmap", feature = "buffer-pool")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

#[path = "../common/mod.rs"]
mod common;
mod durability;
mod failures;
mod sharing;
mod tickets;

use bifold::testing::Stepper;
use bifold::{CommitTicket, Db, Durability, Error, SyncMethod};
use bifold_page_source::MemFs;
use bifold_page_source::testing::{FaultFs, Gate, OpKind};
use common::{DB, Setup, TestSource};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a test waits for what must come before it is taken for hung.
pub(crate) const HUNG: Duration = Duration::from_mins(1);

/// Checkpoints come only when they are asked for.
const SETUP: Setup = Setup { page: 512, delta: 4 << 20, log: 1 << 20 };

/// A database with a log, over a file system whose calls can be held back and made to fail; background work is stepped
/// by hand. Its first commit is made, and durable.
pub(crate) struct Bed<S: TestSource> {
    pub(crate) disk: MemFs,
    pub(crate) faults: FaultFs,
    pub(crate) stepper: Stepper,
    pub(crate) method: SyncMethod,
    pub(crate) db: Arc<Db<S>>,
}

impl<S: TestSource> Bed<S> {
    pub(crate) fn new() -> Self {
        Self::synced_by(SyncMethod::Fdatasync)
    }

    pub(crate) fn synced_by(method: SyncMethod) -> Self {
        let disk = MemFs::new();
        let faults = FaultFs::new(Arc::new(disk.clone()));
        let stepper = Stepper::new();
        let builder = SETUP.builder::<S>(Arc::new(faults.clone())).background(stepper.clone());
        let db = builder.sync_method(method).checkpoint_interval(None).open(DB).unwrap();
        let bed = Self { disk, faults, stepper, method, db: Arc::new(db) };
        bed.put(1, Durability::Sync).unwrap();
        bed.stepper.run();
        bed
    }

    /// Holds back what makes the log durable. (What only hands it over goes on, but for durable writes.)
    pub(crate) fn hold(&self) -> Gate {
        let kind = if self.method == SyncMethod::Dsync { OpKind::Write } else { OpKind::Sync };
        self.faults.gate(kind, 0..u64::MAX)
    }

    /// Commits one entry, and waits as long as `durability` asks for.
    pub(crate) fn put(&self, n: u64, durability: Durability) -> Result<(), Error> {
        put(&self.db, n, durability)
    }

    /// Commits one entry and does not wait.
    pub(crate) fn put_nowait(&self, n: u64, durability: Durability) -> Result<CommitTicket, Error> {
        put_nowait(&self.db, n, durability)
    }

    /// The newest commit that a new reader sees: as many entries are there.
    pub(crate) fn seen(&self) -> u64 {
        seen(&self.db)
    }

    /// The newest commit that the next writer starts from.
    pub(crate) fn newest(&self) -> u64 {
        self.db.write().unwrap().commit_number()
    }

    /// What a crash of the process now would leave: what was handed over.
    pub(crate) fn after_kill(&self) -> u64 {
        seen_after_kill::<S>(&self.disk)
    }

    /// How often anything was synced.
    pub(crate) fn syncs(&self) -> u64 {
        self.faults.count(OpKind::Sync)
    }
}

pub(crate) fn put<S: TestSource>(db: &Db<S>, n: u64, durability: Durability) -> Result<(), Error> {
    let txn = db.write()?;
    txn.set_durability(durability);
    txn.table("t")?.insert(n.to_be_bytes(), n.to_le_bytes())?;
    txn.commit()
}

pub(crate) fn put_nowait<S: TestSource>(
    db: &Db<S>,
    n: u64,
    durability: Durability,
) -> Result<CommitTicket, Error> {
    let txn = db.write()?;
    txn.set_durability(durability);
    txn.table("t")?.insert(n.to_be_bytes(), n.to_le_bytes())?;
    txn.commit_nowait()
}

/// The files as they are now.
pub(crate) fn copy(disk: &MemFs) -> MemFs {
    let files = disk.paths().into_iter().map(|path| {
        let bytes = disk.read_file(&path).unwrap();
        (path, bytes)
    });
    MemFs::from_files(files).unwrap()
}

/// The newest commit after the death of the process now.
pub(crate) fn seen_after_kill<S: TestSource>(disk: &MemFs) -> u64 {
    let db = SETUP.builder::<S>(Arc::new(copy(disk))).background(Stepper::new()).open(DB).unwrap();
    seen(&db)
}

/// The newest commit that a reader sees, where each commit put one new entry.
pub(crate) fn seen<S: TestSource>(db: &Db<S>) -> u64 {
    let txn = db.read().unwrap();
    let entries = txn.find_table("t").unwrap().map_or(0, |table| table.len().unwrap());
    assert_eq!(entries, txn.commit_number(), "each commit puts an entry");
    entries
}

/// Waits for what other threads are about to do.
#[track_caller]
pub(crate) fn wait_until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < HUNG, "it does not come");
        std::thread::yield_now();
    }
}

pub(crate) fn is_unknown<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::OutcomeUnknown(_)))
}

pub(crate) fn is_poisoned<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Poisoned(_)))
}

/// Runs tests that are generic over the page source on each that was built.
macro_rules! on_each_source {
    ($($test:ident)*) => {
        #[cfg(feature = "mmap")]
        mod mmap {
            $(#[test]
            fn $test() {
                super::$test::<bifold::mmap::Source>();
            })*
        }
        #[cfg(feature = "buffer-pool")]
        mod pool {
            $(#[test]
            fn $test() {
                super::$test::<bifold::pool::Source>();
            })*
        }
    };
}
pub(crate) use on_each_source;
