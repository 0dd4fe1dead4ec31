//! Statistics, in one shape for every backend.
#![forbid(unsafe_code)]

use super::Db;
use super::counters::Counters;
use bifold_page_source::{PageSource, SourceStats};
use std::time::Duration;

/// What a database has done since it was opened, and how it stands.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The backend: `mmap`, `pool`, `memory`.
    pub backend: &'static str,
    /// Bytes of a page.
    pub page_size: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// The newest commit's number.
    pub commit_number: u64,
    /// Commits made.
    pub commits: u64,
    /// Bytes of keys and values that they put, and of keys that they deleted.
    pub put_bytes: u64,
    /// Time that commits took to reserve room on the disk and to start the log.
    pub commit_reserve_time: Duration,
    /// Time that they took to hand over their pages, append to the log's buffer and tidy up, the writer's gate held.
    pub commit_append_time: Duration,
    /// Time that they waited for the disk afterwards, the gate open.
    pub commit_wait_time: Duration,
    /// Bytes of records appended to the log.
    pub log_bytes: u64,
    /// Bytes written to the log: records in whole sectors.
    pub log_written_bytes: u64,
    /// Syncs of the log.
    pub log_syncs: u64,
    /// Commits that these syncs made durable.
    pub synced_commits: u64,
    /// Time that they took.
    pub log_sync_time: Duration,
    /// How the log is synced: `fdatasync`, `RWF_DSYNC`; `None` while that is being tried, and without a log.
    pub sync_method: Option<&'static str>,
    /// Gauge: bytes of the log that recovery would read.
    pub log_live_bytes: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Pages and values they wrote.
    pub checkpoint_pages: u64,
    /// Bytes of these.
    pub checkpoint_bytes: u64,
    /// Microseconds from their beginning to where readers and writers used what they wrote.
    pub checkpoint_micros: u64,
    /// How often the pages of a transaction larger than memory went to the file before its commit.
    pub spills: u64,
    /// Bytes written to the file's pages: checkpoints, large values, spills, the free map.
    pub file_written_bytes: u64,
    /// How often a write transaction was made to wait at its beginning because a checkpoint could not follow.
    pub stalls: u64,
    /// How long.
    pub stall_time: Duration,
    /// Gauge: bytes of pages changed since the last checkpoint, which option `delta_size` bounds.
    pub delta_bytes: u64,
    /// Gauge: bytes of page images in memory, those kept only for readers included.
    pub delta_image_bytes: u64,
    /// Gauge: pages that can be written without growing the file. Known after the first write.
    pub free_pages: u64,
    /// Gauge: pages replaced or dropped that only live read transactions keep.
    pub pinned_pages: u64,
    /// Gauge: the commit number of the oldest read transaction, or of the newest commit if there is none.
    pub oldest_reader: u64,
    /// What the backend did.
    pub source: SourceStats,
}

impl Stats {
    /// Bytes written to file and log for each byte put; `None` if nothing was put. What the open delta holds is not
    /// written yet, so this is right over many checkpoints only.
    pub fn write_amplification(&self) -> Option<f64> {
        let written = self.file_written_bytes + self.log_written_bytes;
        if self.put_bytes == 0 { None } else { Some(written as f64 / self.put_bytes as f64) }
    }

    /// Commits that a sync of the log makes durable, on average.
    pub fn commits_per_sync(&self) -> Option<f64> {
        if self.log_syncs == 0 { None } else { Some(self.synced_commits as f64 / self.log_syncs as f64) }
    }
}

impl<S: PageSource> Db<S> {
    /// What was done since opening, and how things stand. Cheap, but not free: it looks through the readers.
    pub fn stats(&self) -> Stats {
        let get = Counters::get;
        let (log_live_bytes, log_written_bytes) = self.shared().group.log_bytes();
        let shared = self.shared();
        let counters = &shared.counters;
        let root = shared.registry.current();
        let mut oldest_reader = root.seq;
        shared.registry.live(&mut |root| oldest_reader = oldest_reader.min(root.seq));
        let page_size = shared.store.page_size.bytes() as u64;
        Stats {
            backend: S::NAME,
            page_size,
            file_bytes: shared.store.source.len_pages() * page_size,
            commit_number: root.seq,
            commits: get(&counters.commits),
            put_bytes: get(&counters.put_bytes),
            commit_reserve_time: Duration::from_nanos(get(&counters.reserve_nanos)),
            commit_append_time: Duration::from_nanos(get(&counters.append_nanos)),
            commit_wait_time: Duration::from_nanos(get(&counters.wait_nanos)),
            log_bytes: get(&counters.log_bytes),
            log_written_bytes,
            log_syncs: get(&counters.log_syncs),
            synced_commits: get(&counters.synced_commits),
            log_sync_time: Duration::from_micros(get(&counters.log_sync_micros)),
            sync_method: shared.group.sync_method(),
            log_live_bytes,
            checkpoints: get(&counters.checkpoints),
            checkpoint_pages: get(&counters.checkpoint_pages),
            checkpoint_bytes: get(&counters.checkpoint_bytes),
            checkpoint_micros: get(&counters.checkpoint_micros),
            spills: get(&counters.spills),
            file_written_bytes: get(&shared.store.written_bytes),
            stalls: get(&counters.stalls),
            stall_time: Duration::from_micros(get(&counters.stall_micros)),
            delta_bytes: get(&counters.delta_bytes),
            delta_image_bytes: shared.store.slab.image_bytes(),
            free_pages: get(&counters.free_pages),
            pinned_pages: get(&counters.pinned_pages),
            oldest_reader,
            source: shared.store.source.stats(),
        }
    }
}
