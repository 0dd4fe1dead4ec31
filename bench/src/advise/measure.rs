//! Measuring both sides on the user's own file, which they read in place, under a few bounds of memory.
#![forbid(unsafe_code)]

use super::facts::Facts;
use super::options::Options;
use super::pattern::Pattern;
use crate::cell::{self, Child, Died, Interrupt, Source, Spec, Start};
use crate::crossover::Figures;
use crate::drive::{Pace, Until};
use crate::memory::{Group, drop_files};
use crate::{Durability, Result, Setup};
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
/// Seconds to start a child and to open and close the file.
const START: f64 = 0.4;
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
}

/// What is measured, how often, and for how long.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Plan {
    pub(super) configs: Vec<Config>,
    pub(super) repeats: usize,
    pub(super) seconds: f64,
}

/// Five eighths of the memory for the pool's cache, as in comparisons, but no more than the table needs.
pub(super) fn cache_for(memory: u64, table: u64) -> u64 {
    (memory / 8 * 5).min(table / 8 * 9 + (4 << 20)).max(LEAST_CACHE)
}

/// What is to be measured for a table within `memory` bytes; `bounded`: whether memory can be bounded at all.
///
/// # Errors
/// If the budget does not even do for one short run of each side.
pub(super) fn plan(facts: &Facts, memory: u64, bounded: bool, budget: f64) -> Result<Plan, String> {
    let table = facts.table_bytes;
    let cache = cache_for(memory, table);
    let asked = |side, cache| Config { side, bound: Bound::Asked, memory: bounded.then_some(memory), cache };
    let mut configs = vec![asked(0, cache), asked(1, cache)];
    let mut more = vec![asked(1, (cache / 2).max(LEAST_CACHE))];
    let tight = (table / 4).max(LEAST);
    if bounded && tight < memory / 2 && tight < table {
        let cache = cache_for(tight, table);
        more.extend([0, 1].map(|side| Config { side, bound: Bound::Tight, memory: Some(tight), cache }));
    }
    // The sample is read, then all is read once to fill the memory, and so it is after each start.
    let fixed = START + 2.0 * facts.read_seconds;
    let seconds =
        |configs: usize, repeats: usize| (budget / (configs * repeats) as f64 - fixed) / (1.0 + WARMUP);
    for (all, repeats) in [(true, REPEATS), (true, 2), (false, 2), (true, 1), (false, 1)] {
        let count = configs.len() + if all { more.len() } else { 0 };
        let seconds = seconds(count, repeats).min(LONGEST);
        if seconds >= SHORTEST {
            if all {
                configs.append(&mut more);
            }
            return Ok(Plan { configs, repeats, seconds });
        }
    }
    let needed = 2.0 * (fixed + SHORTEST * (1.0 + WARMUP));
    Err(format!(
        "reading the table takes {:.1} s each time: it takes a --budget of {needed:.0}s at least",
        facts.read_seconds
    ))
}

/// Figures of each configuration, by repeat.
pub(super) type Measured = Vec<Vec<Result<Figures, Died>>>;

/// Runs `plan`, in rounds in which another configuration goes first. What is cut short keeps its rounds.
///
/// # Errors
/// If no child or no group can be made.
pub(super) fn run(
    facts: &Facts,
    pattern: &Pattern,
    options: &Options,
    plan: &Plan,
    interrupt: &Interrupt,
) -> Result<Measured> {
    let bar = ProgressBar::new((plan.configs.len() * plan.repeats) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left: {wide_msg}")?);
    let mut measured: Measured = vec![Vec::new(); plan.configs.len()];
    let begun = Instant::now();
    'rounds: for repeat in 0..plan.repeats {
        if repeat > 0 && begun.elapsed().as_secs_f64() * (1.0 + 1.0 / repeat as f64) > options.budget * 1.2 {
            break;
        }
        let mut round = Vec::new();
        for turn in 0..plan.configs.len() {
            let index = (repeat + turn) % plan.configs.len();
            let Some(config) = plan.configs.get(index) else { continue };
            bar.set_message(SIDES[config.side]);
            let result = one(facts, pattern, options, plan, config, repeat as u64, interrupt)?;
            if interrupt.came() {
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

#[expect(clippy::too_many_arguments, reason = "a run is where all of it meets")]
fn one(
    facts: &Facts,
    pattern: &Pattern,
    options: &Options,
    plan: &Plan,
    config: &Config,
    repeat: u64,
    interrupt: &Interrupt,
) -> Result<Result<Figures, Died>> {
    // What is in the page cache already would not count against the group.
    if config.memory.is_some() {
        drop_files(std::slice::from_ref(&facts.path));
    }
    let group = config.memory.map(|memory| Group::create(memory + facts.harness_bytes)).transpose();
    let group = group.map_err(|refused| refused.to_string())?;
    let spec = Spec {
        side: SIDES[config.side].into(),
        dir: facts.path.clone(),
        source: Source::File {
            path: facts.path.clone(),
            table: Some(facts.table.clone()),
            seed: options.seed,
        },
        entries: facts.entries,
        workload: pattern.workload.clone(),
        aged: 0.0,
        pace: Pace {
            threads: threads(options),
            warmup: plan.seconds * WARMUP,
            until: Until::Seconds(plan.seconds),
            rate: None,
            seed: options.seed.wrapping_add(repeat),
        },
        setup: Setup {
            cache_bytes: config.cache,
            delta_bytes: 4 << 20,
            transaction_bytes: 0,
            durability: Durability::Unsynced,
            file_bytes_max: facts.file_bytes,
            populate: false,
            read_ahead: false,
            sabotage: None,
        },
        group: group.as_ref().map(|group| group.path().to_owned()),
        start: Start::Warm,
        read_only: true,
    };
    let patience = Duration::from_secs_f64((20.0 * (facts.read_seconds + plan.seconds)).clamp(120.0, 1e6));
    let result = cell::run(&Child { spec: &spec, group: group.as_ref(), patience }, interrupt, |_| ())?;
    if let Some(group) = group {
        group.remove()?;
    }
    Ok(result.map(|outcome| Figures::of(&outcome)))
}

/// Threads that read.
pub(super) fn threads(options: &Options) -> u64 {
    let here = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    options.threads.unwrap_or(here.min(8))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

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
        let all = plan(&facts(), 4 << 30, true, 60.0).unwrap();
        assert_eq!((all.configs.len(), all.repeats), (5, 3));
        assert!(all.configs[0].cache > facts().table_bytes, "all of it fits");
        assert_eq!(all.configs[3].memory, Some(256 << 20));
        let spent = |plan: &Plan| {
            (plan.configs.len() * plan.repeats) as f64 * (plan.seconds * (1.0 + WARMUP) + START + 2.0)
        };
        for budget in [6.0, 10.0, 13.0, 30.0, 60.0, 600.0] {
            let plan = plan(&facts(), 4 << 30, true, budget).unwrap();
            assert!(spent(&plan) <= budget + 1e-9 && plan.seconds >= SHORTEST, "{budget}: {plan:?}");
        }
        let few = plan(&facts(), 4 << 30, true, 6.0).unwrap();
        assert_eq!((few.configs.len(), few.repeats), (2, 1));
        let error = plan(&facts(), 4 << 30, true, 5.0).unwrap_err();
        assert!(error.contains("--budget of 5s at least") || error.contains("--budget of 6s"), "{error}");
    }

    #[test]
    fn memory_that_cannot_be_bounded_is_measured_as_it_is() {
        let plan = plan(&facts(), 4 << 30, false, 60.0).unwrap();
        assert!(plan.configs.iter().all(|config| config.memory.is_none() && config.bound == Bound::Asked));
        assert_eq!(plan.configs.len(), 3);
        assert_eq!(cache_for(1 << 30, 100 << 30), (1 << 30) / 8 * 5);
        assert_eq!(cache_for(100 << 30, 8 << 20), 13 << 20);
    }
}
