//! What threads have done, and how long it took.
#![forbid(unsafe_code)]

use super::{OpenLoop, STEP_MS};
use crate::Result;
use crate::workload::Op;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Latencies in nanoseconds, up to twenty minutes, to three digits.
pub type Latencies = Histogram<u64>;

fn latencies() -> Latencies {
    #[expect(clippy::expect_used, reason = "the bounds are constant and valid")]
    Histogram::new_with_bounds(1, 1_200_000_000_000, 3).expect("valid bounds")
}

/// What was done of one kind.
#[derive(Clone, Debug)]
pub struct OpTally {
    /// How often.
    pub count: u64,
    /// How long each took.
    pub latencies: Latencies,
}

/// What was done.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// By kind.
    pub ops: BTreeMap<Op, OpTally>,
    /// Transactions, of whatever kind.
    pub transactions: u64,
    /// Entries read, whose values were all checked.
    pub entries_read: u64,
    /// Bytes of their keys and values.
    pub bytes_read: u64,
    /// Entries put or deleted.
    pub entries_written: u64,
    /// Bytes of their keys and values.
    pub bytes_written: u64,
    /// Operations that ended in each step since measuring began.
    pub series: Vec<u64>,
    /// When the last operation that counts had ended, since measuring began.
    pub last: Duration,
    /// How the rate was kept, if one was set.
    pub open_loop: OpenLoop,
}

impl Tally {
    /// Operations of all kinds.
    pub fn count(&self) -> u64 {
        self.ops.values().map(|op| op.count).sum()
    }

    /// `op` was done, took so long, and ended so long after measuring began.
    #[inline]
    pub(super) fn note(&mut self, op: Op, took: Duration, at: Duration) {
        self.note_latency(op, took);
        self.note_more(op, 1, at);
    }

    /// A latency of `op`, which is counted apart.
    #[inline]
    pub(super) fn note_latency(&mut self, op: Op, took: Duration) {
        self.of(op).latencies.saturating_record((took.as_nanos() as u64).max(1));
    }

    /// `op` was done so many times by something whose latency is told apart.
    #[inline]
    pub(super) fn note_more(&mut self, op: Op, times: u64, at: Duration) {
        self.of(op).count += times;
        self.last = self.last.max(at);
        let step = (at.as_millis() as u64 / STEP_MS) as usize;
        if self.series.len() <= step {
            self.series.resize(step + 1, 0);
        }
        self.series[step] += times;
    }

    #[inline]
    fn of(&mut self, op: Op) -> &mut OpTally {
        self.ops.entry(op).or_insert_with(|| OpTally { count: 0, latencies: latencies() })
    }

    /// Adds what another thread did.
    ///
    /// # Errors
    /// None that can be met: all latencies have the same bounds.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        for (op, tally) in &other.ops {
            let mine = self.of(*op);
            mine.count += tally.count;
            mine.latencies.add(&tally.latencies)?;
        }
        self.last = self.last.max(other.last);
        self.open_loop.due += other.open_loop.due;
        self.open_loop.begun += other.open_loop.begun;
        self.transactions += other.transactions;
        self.entries_read += other.entries_read;
        self.bytes_read += other.bytes_read;
        self.entries_written += other.entries_written;
        self.bytes_written += other.bytes_written;
        if self.series.len() < other.series.len() {
            self.series.resize(other.series.len(), 0);
        }
        self.series.iter_mut().zip(&other.series).for_each(|(mine, other)| *mine += other);
        Ok(())
    }
}
