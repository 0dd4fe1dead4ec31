//! The write workloads, run on all stores in turn: what `bifold-bench writes` does.
//!
//! How a figure is made:
//! - In each round every store does the workload once, another one first each time; a store is opened for it and closed
//!   before the next is. Figures are medians over the rounds, with the least and the most; a ratio is the median of
//!   the ratios within each round.
//! - All stores hold the same entries of 16+100 bytes ([`data`](crate::data)). Workloads over loaded data begin with a
//!   scan of the whole store, which is not timed: it counts the entries and warms whatever cache the store has. Keys of
//!   a commit differ; each value is another one than before, and what a store holds is compared with what it was given
//!   behind each round.
//! - A store's unsynced commits wait for no sync, but [`finish`](crate::Store::finish) is called and timed within the
//!   run: syncs, checkpoints, flushes and compactions that were put off. Rates of unsynced work are over both times;
//!   rates of durable commits are over the time of the commits, with the time of `finish` beside them.
//! - A commit's latency is that of the whole transaction, from asking for it to the return of its commit.
//! - Bytes that reached the disk are those of the device (`/sys/dev/block/*/stat`: all processes together), with the
//!   file system synced before and behind; beside them what `/proc/self/io` charges to this process, which counts a
//!   page, or a whole large folio, each time that it becomes dirty.
//! - Rows named `disk` are what the disk does without a store (`limits`).
#![forbid(unsafe_code)]

mod contest;
mod disk;
mod drive;
mod limits;
mod options;
mod report;
mod run;
mod workload;
mod written;

pub use options::Options;
pub use run::run;
pub use workload::{Kind, WORKLOADS, Workload};

#[cfg(test)]
mod tests;
