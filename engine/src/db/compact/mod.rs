//! Compaction: a database without unused space and in key order, in its own file or in a new one.
//!
//! - [`copy`]: into a new file, from a snapshot.
//! - [`in_place`]: step by step, while readers and writers go on.
//! - [`survey`]: which pages are to be rewritten.
//! - [`values`]: large values that lie too far behind are copied to lower places.
#![forbid(unsafe_code)]

mod copy;
mod in_place;
mod survey;
mod values;

/// What a compaction did; see [`Db::compact`](crate::Db::compact) and [`Db::compact_into`](crate::Db::compact_into).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CompactReport {
    /// Bytes of the database file before.
    pub bytes_before: u64,
    /// Bytes of the compacted file.
    pub bytes_after: u64,
    /// Entries copied. (In place, nothing is copied by entry.)
    pub entries: u64,
    /// Pages of trees written, those of other commits in the same checkpoints among them. (Into a new file: none but
    /// what its size tells.)
    pub pages_written: u64,
    /// Large values that were moved within the file.
    pub values_moved: u64,
    /// Pages that read transactions held at its end, by which the file could be shorter. Where going on would only have
    /// made the file longer for them, it ended early.
    pub pinned_pages: u64,
}
