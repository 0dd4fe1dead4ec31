//! Statistics, in one shape for every backend.
#![forbid(unsafe_code)]

use super::Db;
use super::counters::Counters;
use bifold_page_source::{PageSource, SourceStats};

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
    /// Bytes of records appended to the log.
    pub log_bytes: u64,
    /// Syncs of the log.
    pub log_syncs: u64,
    /// Gauge: bytes of the log that recovery would read.
    pub log_live_bytes: u64,
    /// Checkpoints made.
    pub checkpoints: u64,
    /// Pages and values they wrote.
    pub checkpoint_pages: u64,
    /// Microseconds they took.
    pub checkpoint_micros: u64,
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

impl<S: PageSource> Db<S> {
    /// What was done since opening, and how things stand. Cheap, but not free: it looks through the readers.
    pub fn stats(&self) -> Stats {
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
            commits: Counters::get(&counters.commits),
            log_bytes: Counters::get(&counters.log_bytes),
            log_syncs: Counters::get(&counters.log_syncs),
            log_live_bytes: Counters::get(&counters.log_live_bytes),
            checkpoints: Counters::get(&counters.checkpoints),
            checkpoint_pages: Counters::get(&counters.checkpoint_pages),
            checkpoint_micros: Counters::get(&counters.checkpoint_micros),
            delta_bytes: Counters::get(&counters.delta_bytes),
            delta_image_bytes: shared.store.slab.image_bytes(),
            free_pages: Counters::get(&counters.free_pages),
            pinned_pages: Counters::get(&counters.pinned_pages),
            oldest_reader,
            source: shared.store.source.stats(),
        }
    }
}
