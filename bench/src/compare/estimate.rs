//! What a run will take, before it takes it.
#![forbid(unsafe_code)]

use super::run::PartPlan;
use crate::drive::{Until, followed};
use crate::report::Part;
use crate::usage::free_space;
use crate::workload::{Op, Role, Work, Workload};
use crate::{Durability, Result};
use std::path::Path;
use std::time::Duration;

/// Bytes of files for a byte of data, at the worst: a tree that is half empty, and as much again of what is obsolete.
const SPACE: f64 = 3.0;
/// Bytes of data that are loaded in a second: by Bifold's sides in key order, and else, or by the slower of other stores.
/// (In memory Bifold loads small entries three times as fast; here a disk may be what bounds it.)
const LOADED: f64 = 150e6;
const LOADED_SLOWLY: f64 = 60e6;
/// How the names of Bifold's sides begin.
const BIFOLD: &str = "bifold-";
/// Bytes of data that are overwritten in a second when a store is aged, of the slower stores.
const AGED: f64 = 30e6;
/// Bytes of data that are read in a second when all entries are.
const READ: f64 = 400e6;
/// Operations a second, where a number of them is asked for, not a time.
const DONE: f64 = 50_000.0;
/// Operations a second that a time is long enough for at the most, and inserts among them.
const DONE_MOST: f64 = 1e6;
const INSERTED_MOST: f64 = 200_000.0;
/// Seconds of a commit that waits for a sync.
const COMMIT: f64 = 0.003;
/// Seconds to start a child, open its store and close it.
const START: f64 = 0.1;
/// Where the data do not fit, seconds for which what was written is read again at the most, and entries that are read in
/// one: random reads of a disk, which wait for each other.
const AGAIN: f64 = 2.0;
const AGAIN_READ: f64 = 5000.0;

/// What a part will take.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Estimate {
    pub(super) disk_bytes: u64,
    pub(super) seconds: f64,
}

/// Whether other entries are there after a workload than before. What follows it begins on a store that is loaded anew,
/// as YCSB's own procedure has it; so all begins with what was loaded.
pub(crate) fn spoils(workload: &Workload) -> bool {
    workload.inserts() || matches!(&workload.work, Work::Replay(replay) if replay.commits > 0)
}

/// How often a side's store is loaded for the runs of a part, if every one comes to its end.
pub(super) fn store_loads(part: &Part) -> u64 {
    let (mut loads, mut fresh) = (0, false);
    for workload in part.workloads.iter().filter(|workload| !is_load(workload)) {
        for _ in 0..part.rounds {
            loads += u64::from(!fresh);
            fresh = !spoils(workload);
        }
    }
    loads
}

pub(super) fn is_load(workload: &Workload) -> bool {
    matches!(workload.work, Work::Load { .. })
}

impl Estimate {
    /// Of a part.
    pub(super) fn of(plan: &PartPlan) -> Self {
        let part = &plan.part;
        let sides = part.sides.len() as f64;
        let data = part.data_bytes as f64;
        let runs: f64 =
            part.workloads.iter().filter(|workload| !is_load(workload)).map(|w| run(plan, w)).sum();
        let of_side = |side: &String| {
            let measured = part.workloads.iter().filter_map(|workload| match workload.work {
                Work::Load { sorted, .. } => Some(load(side, sorted, data)),
                Work::Run(_) | Work::Replay(_) => None,
            });
            // What is loaded anew is aged anew.
            let once = store_loads(part) as f64 * (load(side, true, data) + data * plan.aged / AGED);
            once + part.rounds as f64 * (measured.sum::<f64>() + runs)
        };
        let seconds: f64 = part.sides.iter().map(of_side).sum();
        // A load that is measured lies beside the store that the others run on.
        let copies = if part.workloads.iter().any(is_load) && runs > 0.0 { 2.0 } else { 1.0 };
        let inserted = part.workloads.iter().map(|workload| inserted(part, workload)).fold(0.0, f64::max);
        let bytes = sides * SPACE * (copies * data + inserted);
        let disk_bytes = (bytes as u64).saturating_add((64 << 20) * sides as u64);
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

    /// What it takes, in words.
    pub(super) fn words(&self) -> String {
        format!("about {}, and up to {} MiB on disk", time(self.seconds), self.disk_bytes >> 20)
    }
}

/// Seconds, in words.
pub(super) fn time(seconds: f64) -> String {
    let seconds = Duration::from_secs_f64(seconds.clamp(0.0, 1e7)).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} minutes", seconds / 60),
        _ => format!("{:.1} hours", seconds as f64 / 3600.0),
    }
}

/// Seconds in which a side loads so many bytes of data.
fn load(side: &str, sorted: bool, data: f64) -> f64 {
    let fast = sorted && side.starts_with(BIFOLD);
    START + data / if fast { LOADED } else { LOADED_SLOWLY }
}

/// Seconds for reading again what a run wrote: of the entries that are followed, those that it can have written.
fn again(part: &Part, workload: &Workload) -> f64 {
    if part.fits || is_load(workload) || !workload.writes() {
        return 0.0;
    }
    (followed(part.entries, part.memory) as f64 / AGAIN_READ).min(AGAIN)
}

/// Seconds of a run of a workload, on one side.
fn run(plan: &PartPlan, workload: &Workload) -> f64 {
    let pace = &plan.part.pace;
    let commits = match &workload.work {
        Work::Replay(replay) if replay.durability == Durability::Synced => replay.commits as f64,
        Work::Load { .. } | Work::Replay(_) => 0.0,
        Work::Run(roles) => match pace.until {
            Until::Seconds(_) => 0.0,
            Until::Operations(operations) => {
                let synced = |role: &&Role| role.measured && role.durability == Durability::Synced;
                let per_txn = roles.iter().filter(synced).map(|role| role.per_txn.max(1)).max();
                per_txn.map_or(0.0, |per_txn| operations as f64 / per_txn as f64)
            }
        },
    };
    let time = match pace.until {
        Until::Seconds(seconds) => seconds,
        Until::Operations(operations) => operations as f64 / pace.rate.unwrap_or(DONE).min(DONE),
    };
    let warm = if plan.part.fits { plan.part.data_bytes as f64 / READ } else { 0.0 };
    START + warm + pace.warmup + commits * COMMIT + time + again(&plan.part, workload)
}

/// Bytes that a run of a workload adds, at the most.
fn inserted(part: &Part, workload: &Workload) -> f64 {
    let Work::Run(roles) = &workload.work else { return 0.0 };
    let share = |role: &Role| {
        let sum: f64 = role.mix.iter().map(|(_, share)| share).sum();
        let inserts: f64 = role.mix.iter().filter(|(op, _)| *op == Op::Insert).map(|(_, share)| share).sum();
        if sum > 0.0 { inserts / sum } else { 0.0 }
    };
    let share = roles.iter().map(share).fold(0.0, f64::max);
    let fast = |seconds: f64| {
        let most = part.pace.rate.unwrap_or(f64::MAX);
        seconds * (DONE_MOST * share).min(INSERTED_MOST).min(most * share)
    };
    let entries = match part.pace.until {
        Until::Seconds(seconds) => fast(part.pace.warmup + seconds),
        Until::Operations(operations) => operations as f64 * share + fast(part.pace.warmup),
    };
    entries * part.data_bytes as f64 / part.entries.max(1) as f64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Source;
    use crate::compare::{Memory, setup_for};
    use crate::corpus::{Made, Sizes};
    use crate::drive::Pace;
    use crate::workload::find;

    /// As the tour's second part: made data four times a memory of 64 MiB, with runs of half a second.
    fn plan(sides: &[&str], workloads: &[&str]) -> PartPlan {
        let (memory, data_bytes) = (64 << 20, 256u64 << 20);
        let entries = data_bytes / 116;
        let made = Made { entries, keys: Sizes::Fixed(16), values: Sizes::Fixed(100), seed: 1 };
        let part = Part {
            title: "some data".into(),
            sides: sides.iter().map(|side| (*side).into()).collect(),
            baseline: sides[0].into(),
            workloads: workloads.iter().map(|name| find(name).unwrap()).collect(),
            source: Source::Made(made),
            data_bytes,
            entries,
            rounds: 3,
            pace: Pace { threads: 4, warmup: 0.6, until: Until::Seconds(0.5), rate: None, seed: 1 },
            setup: setup_for(data_bytes, &Memory::default()).0,
            fits: false,
            memory: Some(memory),
            notes: Vec::new(),
            check_nanos: 1.0,
        };
        PartPlan { part, aged: 0.0, cold: false, sabotage: None }
    }

    fn seconds(sides: &[&str], workloads: &[&str]) -> f64 {
        Estimate::of(&plan(sides, workloads)).seconds
    }

    #[test]
    fn an_estimate_is_made_of_loads_runs_and_what_is_read_again() {
        let data = (256u64 << 20) as f64;
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} and {b}");
        let gets = 3.0 * (START + 0.6 + 0.5);
        near(seconds(&["bifold-mmap"], &["get-txn"]), START + data / LOADED + gets);
        near(seconds(&["sled"], &["get-txn"]), START + data / LOADED_SLOWLY + gets);
        // Each side by itself.
        let both = seconds(&["sled"], &["get-txn"]) + seconds(&["bifold-mmap"], &["get-txn"]);
        near(seconds(&["sled", "bifold-mmap"], &["get-txn"]), both);
        // What is read again is what is followed, which the memory bounds, and not two seconds.
        let written = seconds(&["bifold-mmap"], &["ycsb-b"]) - seconds(&["bifold-mmap"], &["get-txn"]);
        let few = followed(data as u64 / 116, Some(64 << 20));
        assert!((1000..4000).contains(&few), "{few}");
        near(written, 3.0 * few as f64 / AGAIN_READ);
        let mut large = plan(&["bifold-mmap"], &["ycsb-b"]);
        (large.part.memory, large.part.entries) = (Some(100 << 30), 1 << 32);
        near(again(&large.part, &large.part.workloads[0]), AGAIN);
        large.part.fits = true;
        near(again(&large.part, &large.part.workloads[0]), 0.0);
        // The time that runs were given is most of it.
        let tour = seconds(&["bifold-mmap", "bifold-pool", "bifold-pread"], &["get-txn", "ycsb-b"]);
        assert!((20.0..35.0).contains(&tour), "19.8 s of runs: {tour}");
    }

    #[test]
    fn a_load_that_is_measured_counts_in_its_order() {
        let sorted = seconds(&["bifold-mmap"], &["load-sorted"]);
        let random = seconds(&["bifold-mmap"], &["load-random"]);
        let data = (256u64 << 20) as f64;
        assert!((sorted - 3.0 * (START + data / LOADED)).abs() < 1e-6, "{sorted}");
        assert!((random - 3.0 * (START + data / LOADED_SLOWLY)).abs() < 1e-6, "{random}");
    }
}
