//! What a run will take, before it takes it.
#![forbid(unsafe_code)]

use crate::drive::Until;
use crate::report::Part;
use crate::usage::free_space;
use crate::workload::Work;
use crate::{Durability, Result};
use std::path::Path;
use std::time::Duration;

/// Bytes of files for a byte of data, at the worst: a tree that is half empty, and as much again of what is obsolete.
const SPACE: f64 = 3.0;
/// Bytes of data that are loaded in a second, of the slower stores.
const LOADED: f64 = 60e6;
/// Operations a second, where a number of them is asked for, not a time.
const DONE: f64 = 50_000.0;
/// Seconds of a commit that waits for a sync, of those of a replay.
const COMMIT: f64 = 0.003;
/// Seconds to start a child, open its store and close it.
const START: f64 = 0.3;

/// What a part will take.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Estimate {
    pub(super) disk_bytes: u64,
    pub(super) seconds: f64,
}

impl Estimate {
    /// Of a part.
    pub(super) fn of(part: &Part) -> Self {
        let sides = part.sides.len() as f64;
        let load = part.data_bytes as f64 / LOADED + START;
        let loads = part.workloads.iter().filter(|w| matches!(w.work, Work::Load { .. })).count() as f64;
        let runs = part.workloads.len() as f64 - loads;
        let commits = part.workloads.iter().map(|w| match &w.work {
            Work::Replay(replay) if replay.durability == Durability::Synced => replay.commits,
            _ => 0,
        });
        let run = START
            + part.pace.warmup
            + commits.sum::<u64>() as f64 * COMMIT
            + match part.pace.until {
                Until::Seconds(seconds) => seconds,
                Until::Operations(operations) => operations as f64 / DONE,
            };
        let rounds = part.rounds as f64;
        // A replay that writes begins each round with what was there before it.
        let again =
            part.workloads.iter().any(|w| matches!(&w.work, Work::Replay(replay) if replay.commits > 0));
        let once = if runs > 0.0 { load * if again { rounds } else { 1.0 } } else { 0.0 };
        let seconds = sides * (once + rounds * (loads * load + runs * run));
        // A store that is loaded anew lies beside the one that the others run on.
        let copies = if loads > 0.0 && runs > 0.0 { 2.0 } else { 1.0 };
        let disk_bytes = (sides * copies * part.data_bytes as f64 * SPACE) as u64 + (64 << 20) * sides as u64;
        Self { disk_bytes, seconds }
    }

    /// Refuses, if `dir` has not the room.
    ///
    /// # Errors
    /// In words.
    pub(super) fn check(&self, dir: &Path) -> Result<()> {
        let free = free_space(dir)?;
        if self.disk_bytes <= free {
            return Ok(());
        }
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        Err(format!(
            "this may take {:.1} GiB on disk, and {} has {:.1} GiB left: take less data (--entries, --data), fewer sides, \
             or another --dir",
            gib(self.disk_bytes),
            dir.display(),
            gib(free)
        )
        .into())
    }

    /// How long it takes, in words.
    pub(super) fn words(&self) -> String {
        let time = Duration::from_secs_f64(self.seconds.min(1e7)).as_secs();
        let time = match time {
            0..120 => format!("{time} s"),
            120..7200 => format!("{} minutes", time / 60),
            _ => format!("{:.1} hours", time as f64 / 3600.0),
        };
        format!("about {time}, and up to {} MiB on disk", self.disk_bytes >> 20)
    }
}

/// What the commits of a workload are: those of the role that is measured.
pub(crate) fn durability(work: &Work) -> Durability {
    match work {
        Work::Load { .. } => Durability::Unsynced,
        Work::Run(roles) => {
            let synced = roles.iter().any(|role| role.writes() && role.durability == Durability::Synced);
            if synced { Durability::Synced } else { Durability::Unsynced }
        }
        Work::Replay(replay) => replay.durability,
    }
}
