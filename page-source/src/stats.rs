//! What a page source has done, in one shape for all of them.
#![forbid(unsafe_code)]

/// Counts since the source was opened, and gauges as of now. A field that means nothing to a source is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceStats {
    /// Pages read from the file by the source itself (misses; for mmap the kernel reads, and this is zero).
    pub pages_read: u64,
    /// Bytes of those reads, extents included.
    pub bytes_read: u64,
    /// Read calls issued.
    pub reads: u64,
    /// Pages whose checksum was verified.
    pub pages_verified: u64,
    /// Pages written.
    pub pages_written: u64,
    /// Of those, pages kept in memory as they were written, so that looking at them reads nothing. Zero where a
    /// source has no memory of its own to keep them in (mmap: the kernel keeps what it was handed).
    pub pages_kept: u64,
    /// Bytes written, extents included.
    pub bytes_written: u64,
    /// Write calls issued.
    pub writes: u64,
    /// Syncs completed.
    pub syncs: u64,
    /// Pages evicted to make room.
    pub evictions: u64,
    /// Gauge: the memory budget in bytes; zero where there is none.
    pub budget_bytes: u64,
    /// Gauge: bytes of the budget in use, bookkeeping included.
    pub used_bytes: u64,
    /// Gauge: pages held by guards and cursors.
    pub pages_pinned: u64,
    /// Bytes of copies handed to the user because pinning more would have stopped eviction.
    pub bytes_copied_out: u64,
    /// Hard page faults of this process while it used the map; zero for sources that do not map.
    pub major_faults: u64,
    /// Soft page faults of this process while it used the map; zero for sources that do not map.
    pub minor_faults: u64,
    /// Whether reads bypass the kernel's page cache.
    pub direct: bool,
}
