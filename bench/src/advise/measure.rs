//! Measuring both sides under a few bounds of memory: on the user's own file, which they read in place; or, if the pattern
//! writes, on one copy of it, on which they take turns, so that what a run changes is met by both.
#![forbid(unsafe_code)]

use super::facts::Facts;
use super::options::Options;
use super::pattern::Pattern;
use super::scratch::Scratch;
use crate::Result;
use crate::Setup;
use crate::cell::{self, Child, Died, Interrupt, Latency, Outcome, Source, Spec, Start};
use crate::compare::{Memory, durability, setup_for};
use crate::crossover::Figures;
use crate::drive::{Pace, Until};
use crate::memory::{Group, drop_files};
use crate::workload::Op;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// The names of the two sides.
pub(super) const SIDES: [&str; 2] = ["bifold-mmap", "bifold-pool"];
/// Repeats, if the budget allows.
const REPEATS: usize = 3;
/// Seconds of a run at most and at least, and of its warm-up as a part of that.
const LONGEST: f64 = 3.0;
const SHORTEST: f64 = 0.25;
const WARMUP: f64 = 0.3;
/// Seconds to start a child and to open and close the file; and to write what a run has left in memory.
const START: f64 = 0.4;
const FINISH: f64 = 1.0;
/// The least memory that is tried, besides what the harness needs.
const LEAST: u64 = 16 << 20;
/// The least cache.
const LEAST_CACHE: u64 = 1 << 20;

/// Under which bound runs are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    /// The memory that was asked about.
    Asked,
    /// A quarter of the table: as if it had outgrown memory by so much.
    Tight,
}

/// One thing that is measured.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Config {
    /// Index of its side.
    pub(super) side: usize,
    pub(super) bound: Bound,
    /// Bytes of memory of the side; `None` if nothing bounds it.
    pub(super) memory: Option<u64>,
    /// Bytes of the pool's cache.
    pub(super) cache: u64,
    /// Only the pattern's reads are done, of a pattern that writes too.
    pub(super) reads_only: bool,
}

/// What is measured, how often, and for how long.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Plan {
    pub(super) configs: Vec<Config>,
    pub(super) repeats: usize,
    pub(super) seconds: f64,
    /// Seconds of the budget for all of it: what the copy leaves, if one is made.
    pub(super) budget: f64,
}

/// Five eighths of the memory for the pool's cache, as in comparisons, but no more than the table needs.
pub(super) fn cache_for(memory: u64, table: u64) -> u64 {
    (memory / 8 * 5).min(table / 8 * 9 + (4 << 20)).max(LEAST_CACHE)
}

/// What is to be measured of `pattern` for a table within `memory` bytes; `bounded`: whether memory can be bounded at all.
/// Seconds are given for all of it, and those that the copy takes of them, if one is made.
///
/// # Errors
/// If the budget does not even do for one short run of each side.
pub(super) fn plan(
    facts: &Facts,
    pattern: &Pattern,
    memory: u64,
    bounded: bool,
    (budget, copy): (f64, f64),
) -> Result<Plan, String> {
    let table = facts.table_bytes;
    let cache = cache_for(memory, table);
    let asked = |side, cache, reads_only| Config {
        side,
        bound: Bound::Asked,
        memory: bounded.then_some(memory),
        cache,
        reads_only,
    };
    // What matters most first: fewer of them are measured if there is no time.
    let mut configs = vec![asked(0, cache, false), asked(1, cache, false)];
    if pattern.reads.is_some() {
        configs.extend([asked(0, cache, true), asked(1, cache, true)]);
    }
    let few = configs.len();
    configs.push(asked(1, (cache / 2).max(LEAST_CACHE), false));
    let tight = (table / 4).max(LEAST);
    if bounded && tight < memory / 2 && tight < table {
        let (memory, cache) = (Some(tight), cache_for(tight, table));
        let tight = |side| Config { side, bound: Bound::Tight, memory, cache, reads_only: false };
        configs.extend([tight(0), tight(1)]);
    }
    let all = configs.len();
    // The sample is read, then all is read once to fill the memory, and so it is after each start.
    let writes = pattern.workload.writes();
    let finish = if writes { FINISH } else { 0.0 };
    let budget = budget - copy;
    let fixed = START + finish + 2.0 * facts.read_seconds;
    let seconds =
        |configs: usize, repeats: usize| (budget / (configs * repeats) as f64 - fixed) / (1.0 + WARMUP);
    for (count, repeats) in [(all, REPEATS), (all, 2), (few, 2), (all, 1), (few, 1), (2, 1)] {
        let seconds = seconds(count, repeats).min(LONGEST);
        if seconds >= SHORTEST {
            configs.truncate(count);
            return Ok(Plan { configs, repeats, seconds, budget });
        }
    }
    let needed = (copy + 2.0 * (fixed + SHORTEST * (1.0 + WARMUP))).ceil();
    let copied = if writes { format!(", and the copy about {copy:.1} s") } else { String::new() };
    Err(format!(
        "reading the table takes {:.1} s each time{copied}: it takes a --budget of {needed:.0}s at least",
        facts.read_seconds
    ))
}

/// What came of a run.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Run {
    pub(super) figures: Figures,
    /// How long commits took, if there were any.
    pub(super) commits: Option<Latency>,
    /// Bytes for an operation that went to the disk, for whatever process; `None` where they cannot be counted.
    pub(super) written_bytes: Option<f64>,
}

impl Run {
    fn of(outcome: &Outcome) -> Result<Self, Died> {
        let commits = outcome.ops.iter().find(|done| done.op == Op::Update && done.count > 0);
        let operations = outcome.operations.max(1) as f64;
        Ok(Self {
            figures: Figures::of(outcome)?,
            commits: commits.map(|done| done.latency.clone()),
            written_bytes: outcome.disk.map(|disk| disk.written_bytes as f64 / operations),
        })
    }
}

/// The runs of each configuration, by repeat.
pub(super) type Measured = Vec<Vec<Result<Run, Died>>>;

/// What runs are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bench<'b> {
    pub(super) facts: &'b Facts,
    pub(super) pattern: &'b Pattern,
    pub(super) options: &'b Options,
    pub(super) plan: &'b Plan,
    /// The copy, if the pattern writes.
    pub(super) scratch: Option<&'b Scratch>,
    pub(super) interrupt: &'b Interrupt,
}

impl Bench<'_> {
    /// Runs the plan, in rounds in which another configuration goes first. What is cut short keeps its rounds.
    ///
    /// # Errors
    /// If no child or no group can be made.
    pub(super) fn run(&self) -> Result<Measured> {
        let plan = self.plan;
        let bar = ProgressBar::new((plan.configs.len() * plan.repeats) as u64);
        bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left: {wide_msg}")?);
        let mut measured: Measured = vec![Vec::new(); plan.configs.len()];
        let begun = Instant::now();
        'rounds: for repeat in 0..plan.repeats {
            let spent = begun.elapsed().as_secs_f64();
            if repeat > 0 && spent * (1.0 + 1.0 / repeat as f64) > plan.budget * 1.2 {
                break;
            }
            let mut round = Vec::new();
            for turn in 0..plan.configs.len() {
                let index = (repeat + turn) % plan.configs.len();
                let Some(config) = plan.configs.get(index) else { continue };
                bar.set_message(SIDES[config.side]);
                let result = self.one(config, repeat as u64)?;
                if self.interrupt.came() {
                    break 'rounds;
                }
                bar.inc(1);
                round.push((index, result));
            }
            for (index, result) in round {
                measured[index].push(result);
            }
        }
        bar.finish_and_clear();
        Ok(measured)
    }

    fn one(&self, config: &Config, repeat: u64) -> Result<Result<Run, Died>> {
        let Self { facts, pattern, options, plan, .. } = *self;
        // What is in the page cache already would not count against the group.
        if config.memory.is_some() {
            drop_files(std::slice::from_ref(&facts.path));
        }
        let group = config.memory.map(|memory| Group::create(memory + facts.harness_bytes)).transpose();
        let group = group.map_err(|refused| refused.to_string())?;
        let workload = pattern.reads.as_ref().filter(|_| config.reads_only).unwrap_or(&pattern.workload);
        let spec = Spec {
            side: SIDES[config.side].into(),
            dir: self.scratch.map_or(&*facts.path, Scratch::dir).to_owned(),
            source: Source::File {
                path: facts.path.clone(),
                table: Some(facts.table.clone()),
                seed: options.seed,
                made_of: None,
            },
            entries: facts.entries,
            workload: workload.clone(),
            aged: 0.0,
            pace: Pace {
                threads: threads(pattern, options),
                warmup: plan.seconds * WARMUP,
                until: Until::Seconds(plan.seconds),
                rate: None,
                seed: options.seed.wrapping_add(repeat),
            },
            setup: Setup { durability: durability(&workload.work), ..setup(facts, config) },
            group: group.as_ref().map(|group| group.path().to_owned()),
            start: Start::Warm,
            read_only: self.scratch.is_none(),
        };
        let seconds = 20.0 * (facts.read_seconds + plan.seconds + FINISH);
        let patience = Duration::from_secs_f64(seconds.clamp(120.0, 1e6));
        let child = Child { spec: &spec, group: group.as_ref(), patience };
        let result = cell::run(&child, self.interrupt, |_| ())?;
        if let Some(group) = group {
            group.remove()?;
        }
        Ok(result.and_then(|outcome| Run::of(&outcome)))
    }
}

/// How a configuration's store is opened.
pub(super) fn setup(facts: &Facts, config: &Config) -> Setup {
    let memory = Memory { group: config.memory, cache: Some(config.cache), ..Memory::default() };
    setup_for(facts.data_bytes, &memory).0
}

/// Threads of a run.
pub(super) fn threads(pattern: &Pattern, options: &Options) -> u64 {
    let here = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    options.threads.or(pattern.threads).unwrap_or(here.min(8))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::pattern::{Assume, Writes};
    use super::*;

    fn pattern() -> Pattern {
        let none = Writes { share: 0.0, per_commit: 1, synced: true };
        Pattern::assumed(Assume::Uniform, &none)
    }

    pub(in crate::advise) fn facts() -> Facts {
        Facts {
            path: "/data/a.bifold".into(),
            file_bytes: 1100 << 20,
            page_size: 4096,
            tables: 2,
            table: "t".into(),
            entries: 8_000_000,
            height: 4,
            table_bytes: 1 << 30,
            branch_bytes: 8 << 20,
            leaf_fill: 0.9,
            large_values: 0,
            data_bytes: 928_000_000,
            key_mean: 16.0,
            value_mean: 100.0,
            harness_bytes: 100 << 20,
            read_seconds: 1.0,
        }
    }

    #[test]
    fn a_budget_decides_what_is_measured() {
        let all = plan(&facts(), &pattern(), 4 << 30, true, (60.0, 0.0)).unwrap();
        assert_eq!((all.configs.len(), all.repeats), (5, 3));
        assert!(all.configs[0].cache > facts().table_bytes, "all of it fits");
        assert_eq!(all.configs[3].memory, Some(256 << 20));
        let spent = |plan: &Plan| {
            (plan.configs.len() * plan.repeats) as f64 * (plan.seconds * (1.0 + WARMUP) + START + 2.0)
        };
        for budget in [6.0, 10.0, 13.0, 30.0, 60.0, 600.0] {
            let plan = plan(&facts(), &pattern(), 4 << 30, true, (budget, 0.0)).unwrap();
            assert!(spent(&plan) <= budget + 1e-9 && plan.seconds >= SHORTEST, "{budget}: {plan:?}");
        }
        let few = plan(&facts(), &pattern(), 4 << 30, true, (6.0, 0.0)).unwrap();
        assert_eq!((few.configs.len(), few.repeats), (2, 1));
        let error = plan(&facts(), &pattern(), 4 << 30, true, (5.0, 0.0)).unwrap_err();
        assert!(error.contains("--budget of 6s at least") && !error.contains("copy"), "{error}");
    }

    #[test]
    fn memory_that_cannot_be_bounded_is_measured_as_it_is() {
        let plan = plan(&facts(), &pattern(), 4 << 30, false, (60.0, 0.0)).unwrap();
        assert!(plan.configs.iter().all(|config| config.memory.is_none() && config.bound == Bound::Asked));
        assert_eq!(plan.configs.len(), 3);
        assert_eq!(cache_for(1 << 30, 100 << 30), (1 << 30) / 8 * 5);
        assert_eq!(cache_for(100 << 30, 8 << 20), 13 << 20);
    }

    #[test]
    fn reads_alone_are_measured_beside_writes() {
        const COPY: f64 = 5.8;
        let writes = Writes { share: 0.1, per_commit: 1, synced: true };
        let pattern = Pattern::assumed(Assume::Uniform, &writes);
        let all = plan(&facts(), &pattern, 4 << 30, true, (120.0, 0.0)).unwrap();
        assert_eq!((all.configs.len(), all.repeats), (7, 3));
        let of =
            |reads_only| all.configs.iter().filter(move |config| config.reads_only == reads_only).count();
        assert_eq!((of(true), of(false)), (2, 5));
        // The copy takes some of it.
        let few = plan(&facts(), &pattern, 4 << 30, true, (14.0, COPY)).unwrap();
        assert_eq!((few.configs.len(), few.repeats), (2, 1));
        assert!(few.configs.iter().all(|config| !config.reads_only));
        let spent = 2.0 * (few.seconds * (1.0 + WARMUP) + START + FINISH + 2.0);
        assert!(spent + COPY <= 14.0 + 1e-9, "{few:?}");
        let error = plan(&facts(), &pattern, 4 << 30, true, (13.0, COPY)).unwrap_err();
        assert!(error.contains("the copy about 5.8 s: it takes a --budget of 14s at least"), "{error}");
        // Without reads there is nothing to compare with.
        let pattern = Pattern::assumed(Assume::Uniform, &Writes { share: 1.0, ..writes });
        assert_eq!(plan(&facts(), &pattern, 4 << 30, true, (120.0, 0.0)).unwrap().configs.len(), 5);
        // What changes may take in memory is the same on both sides, and a part of the bound.
        assert!(all.configs.iter().all(|config| setup(&facts(), config).delta_bytes <= 256 << 20));
    }
}
