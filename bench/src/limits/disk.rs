//! What the disk does past the page cache: reads in random order by depth, and reads and writes in order.
#![forbid(unsafe_code)]

use super::engine::{Direction, Engine, Job, Prepared};
use super::file::{DataFile, PAGE, PIECE};
use super::probe::Probe;
use crate::Result;
use std::time::Duration;

/// How many reads or writes in order are under way.
const IN_ORDER_DEPTH: usize = 4;

/// A job and what does it.
pub(super) struct Disk {
    job: Job,
    prepared: Prepared,
    engine: Engine,
    /// The most that was under way at one moment.
    pub(super) peak: usize,
}

impl Disk {
    /// Random reads of pages, `depth` at a time.
    pub(super) fn random_reads(data: &DataFile, engine: &Engine, depth: usize) -> Result<Self> {
        Self::new(Job::random_reads(data, depth)?, engine)
    }

    /// Reads or writes in order.
    pub(super) fn in_order(data: &DataFile, engine: &Engine, direction: Direction) -> Result<Self> {
        Self::new(Job::in_order(data, direction, IN_ORDER_DEPTH)?, engine)
    }

    fn new(job: Job, engine: &Engine) -> Result<Self> {
        Ok(Self { prepared: engine.prepare(&job)?, job, engine: engine.clone(), peak: 0 })
    }
}

impl Probe for Disk {
    /// Pages, or mebibytes, in a second.
    fn sample(&mut self, time: Duration) -> Result<f64> {
        let done = self.prepared.run(&self.job, time)?;
        self.peak = self.peak.max(done.peak);
        Ok(done.rate())
    }

    fn note(&self) -> String {
        let what = match (self.job.direction, self.job.piece) {
            (Direction::Read, PAGE) => String::new(),
            (Direction::Read, _) => format!(", {} KiB at a time, depth {}", PIECE >> 10, self.job.depth),
            (Direction::Write, _) => {
                let depth = self.job.depth;
                format!(
                    ", over what was written before, {} KiB at a time, depth {depth}, and fdatasync",
                    PIECE >> 10
                )
            }
        };
        let short = if self.peak < self.job.depth {
            format!("; no more than {} were under way at a time", self.peak)
        } else {
            String::new()
        };
        format!("O_DIRECT by {}{what}{short}", self.engine.note())
    }
}
