//! What the engine has done since the database was opened.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts, raised by the writer and the background, and read by anyone.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) put_bytes: AtomicU64,
    pub(crate) reserve_nanos: AtomicU64,
    pub(crate) append_nanos: AtomicU64,
    pub(crate) wait_nanos: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) log_syncs: AtomicU64,
    pub(crate) log_sync_micros: AtomicU64,
    pub(crate) synced_commits: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) checkpoint_pages: AtomicU64,
    pub(crate) checkpoint_bytes: AtomicU64,
    pub(crate) checkpoint_micros: AtomicU64,
    pub(crate) spills: AtomicU64,
    pub(crate) stalls: AtomicU64,
    pub(crate) stall_micros: AtomicU64,
    /// Gauges.
    pub(crate) delta_bytes: AtomicU64,
    pub(crate) free_pages: AtomicU64,
    pub(crate) pinned_pages: AtomicU64,
    pub(crate) log_live_bytes: AtomicU64,
}

impl Counters {
    /// Adds to a count.
    pub(crate) fn add(count: &AtomicU64, by: u64) {
        count.fetch_add(by, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub(crate) fn set(gauge: &AtomicU64, to: u64) {
        gauge.store(to, Ordering::Relaxed);
    }

    /// Reads a count or a gauge.
    pub(crate) fn get(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }

    /// A commit was made of so many bytes, and took so long to reserve room and to append.
    pub(crate) fn committed(&self, put_bytes: u64, reserve: Duration, append: Duration) {
        Self::add(&self.commits, 1);
        Self::add(&self.put_bytes, put_bytes);
        Self::add(&self.reserve_nanos, nanos(reserve));
        Self::add(&self.append_nanos, nanos(append));
    }

    /// A checkpoint was made.
    pub(crate) fn checkpoint(&self, pages: u64, bytes: u64, took: Duration) {
        Self::add(&self.checkpoints, 1);
        Self::add(&self.checkpoint_pages, pages);
        Self::add(&self.checkpoint_bytes, bytes);
        Self::add(&self.checkpoint_micros, micros(took));
    }

    /// The log was synced for so many commits.
    pub(crate) fn log_synced(&self, took: Duration, commits: u64) {
        Self::add(&self.log_syncs, 1);
        Self::add(&self.log_sync_micros, micros(took));
        Self::add(&self.synced_commits, commits);
    }

    /// A writer was made to wait because checkpoints could not follow.
    pub(crate) fn stalled(&self, time: Duration) {
        Self::add(&self.stalls, 1);
        Self::add(&self.stall_micros, micros(time));
    }
}

/// A time in nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
