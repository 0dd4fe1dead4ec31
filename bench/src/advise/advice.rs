//! The advice: which side, with which cache, why, and what would change it.
#![forbid(unsafe_code)]

use super::facts::Facts;
use super::measure::{Bound, Measured, Plan, Run, SIDES, setup};
use super::pattern::Pattern;
use super::words::{better, spoken};
use crate::cell::{Died, Latency};
use crate::crossover::{Measure, Place, Repeat, Standing};
use crate::report::median;
use crate::workload::Work;
use crate::{Durability, Setup};
use std::fmt::Write;

/// The engine's own bound on changes held back, in bytes.
const DELTA: u64 = 256 << 20;
/// A cache that is so much slower than a larger one is too small.
const NEARLY: f64 = 0.95;

/// All that an advice rests on.
#[derive(Debug)]
pub(super) struct Basis<'b> {
    pub(super) facts: &'b Facts,
    pub(super) pattern: &'b Pattern,
    pub(super) plan: &'b Plan,
    pub(super) measured: &'b Measured,
    /// Bytes of memory that were asked about, and where they are known from.
    pub(super) memory: u64,
    pub(super) memory_origin: &'b str,
    /// Why memory was not bounded, if it was not.
    pub(super) unbounded: Option<&'b str>,
    pub(super) threads: u64,
}

/// What is advised.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Choice {
    /// Index of the side.
    pub(super) side: usize,
    /// The pool's cache in bytes, were it chosen.
    pub(super) cache: u64,
    /// What decided: `None` if nothing did, and the side without settings is taken.
    pub(super) by: Option<(Measure, f64)>,
    /// Whether one side came to no result.
    pub(super) alone: bool,
}

/// Pairs of runs of two configurations in the same rounds.
fn pairs(measured: &Measured, first: usize, second: usize) -> Vec<Repeat> {
    let (Some(first), Some(second)) = (measured.get(first), measured.get(second)) else { return Vec::new() };
    let figures = |run: &Result<Run, Died>| run.clone().map(|run| run.figures);
    let pair = |(a, b)| Repeat { place: Place { size: 0, threads: 0 }, sides: [figures(a), figures(b)] };
    first.iter().zip(second).map(pair).collect()
}

impl Basis<'_> {
    /// The runs of a side under a bound, the largest cache first.
    pub(super) fn configs(&self, side: usize, bound: Bound, reads_only: bool) -> Vec<usize> {
        let configs = self.plan.configs.iter().enumerate();
        let mut found: Vec<(usize, u64)> = configs
            .filter(|(_, c)| c.side == side && c.bound == bound && c.reads_only == reads_only)
            .map(|(index, config)| (index, config.cache))
            .collect();
        found.sort_unstable_by_key(|(_, cache)| std::cmp::Reverse(*cache));
        found.into_iter().map(|(index, _)| index).collect()
    }

    pub(super) fn rate(&self, config: usize) -> Option<f64> {
        self.median(config, |run| run.figures.rate)
    }

    /// The median of what runs of a configuration came to, as far as it is known.
    fn median(&self, config: usize, of: impl Fn(&Run) -> f64) -> Option<f64> {
        let runs = self.measured.get(config)?;
        let mut values: Vec<f64> = runs.iter().flatten().map(of).filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        median(&values)
    }

    pub(super) fn standing(&self, bound: Bound, reads_only: bool, measure: Measure) -> Option<Standing> {
        let (mmap, pool) = (self.configs(0, bound, reads_only), self.configs(1, bound, reads_only));
        let pairs = pairs(self.measured, *mmap.first()?, *pool.first()?);
        (!pairs.is_empty()).then(|| Standing::of(&pairs, measure))
    }

    /// Whether more runs as these would hardly change how the sides stand.
    fn is_sure(&self, measure: Measure) -> bool {
        self.standing(Bound::Asked, false, measure).is_some_and(|standing| standing.sure())
    }

    /// The smallest cache that is nearly as fast as the largest.
    fn cache(&self) -> u64 {
        let pools = self.configs(1, Bound::Asked, false);
        let most = pools.first().and_then(|config| self.rate(*config)).unwrap_or(0.0);
        let enough = pools.iter().filter(|c| self.rate(**c).is_some_and(|rate| rate >= NEARLY * most));
        let cache = enough.filter_map(|config| self.plan.configs.get(*config)).map(|c| c.cache).min();
        cache.or_else(|| Some(self.plan.configs.get(*pools.first()?)?.cache)).unwrap_or(0)
    }

    /// The choice; `None` if neither side came to a result.
    pub(super) fn choose(&self) -> Option<Choice> {
        let cache = self.cache();
        for measure in [Measure::Rate, Measure::Cpu] {
            match self.standing(Bound::Asked, false, measure)? {
                Standing::Wins { side, factor, .. } => {
                    return Some(Choice { side, cache, by: Some((measure, factor)), alone: false });
                }
                Standing::Alone { side } => return Some(Choice { side, cache, by: None, alone: true }),
                Standing::Neither | Standing::NotRun => return None,
                Standing::Even { .. } => {}
            }
        }
        Some(Choice { side: 0, cache, by: None, alone: false })
    }

    /// The whole text.
    pub(super) fn text(&self, choice: &Choice) -> String {
        let mut text = String::new();
        let name = spoken(choice.side);
        let cache = choice.cache.div_ceil(1 << 20);
        let with = if choice.side == 1 { format!(", with a cache of {cache} MiB") } else { String::new() };
        let _ = writeln!(text, "Build with {name}{with}.\n");
        let cargo = if choice.side == 0 { "mmap" } else { "buffer-pool" };
        let options = self.opening(choice);
        let _ = writeln!(
            text,
            "  Cargo.toml   bifold = {{ path = \"engine\", default-features = false, features = [\"{cargo}\"] }}"
        );
        let _ = writeln!(text, "  opening      {options}\n\nWhy: {}.", self.reason(choice));
        self.write_basis(&mut text);
        let _ = writeln!(text, "\nWhat would change it:");
        for change in self.changes(choice) {
            let _ = writeln!(text, "- {change}.");
        }
        text
    }

    /// How the database is opened as it was measured.
    fn opening(&self, choice: &Choice) -> String {
        let mut options = String::new();
        if choice.side == 1 {
            let cache = choice.cache.div_ceil(1 << 20);
            let _ = write!(options, ".backend(bifold::pool::Options::new().cache_size({cache} << 20))");
        }
        if let Some(Setup { delta_bytes, durability, .. }) = self.written_with() {
            if delta_bytes != DELTA {
                let _ = write!(options, ".delta_size({} << 20)", delta_bytes >> 20);
            }
            if durability == Durability::Unsynced {
                options.push_str(".durability(bifold::Durability::Buffered)");
            }
        }
        if options.is_empty() {
            return "bifold::Database::open(path)?".into();
        }
        format!("bifold::Database::builder(){options}.open(path)?")
    }

    /// How stores were opened, if there were writes.
    pub(super) fn written_with(&self) -> Option<Setup> {
        let Work::Run(roles) = &self.pattern.workload.work else { return None };
        let role = roles.iter().find(|role| role.writes())?;
        let config = self.plan.configs.first()?;
        Some(Setup { durability: role.durability, ..setup(self.facts, config) })
    }

    fn reason(&self, choice: &Choice) -> String {
        let (name, other) = (spoken(choice.side), spoken(1 - choice.side));
        let mut why = match choice.by {
            Some((measure, factor)) => {
                let even = match measure {
                    Measure::Rate => "",
                    _ if self.is_sure(Measure::Rate) => "both are as fast, and ",
                    _ => "the runs do not decide which is faster, but ",
                };
                format!("{even}{name} is {factor:.2} {} as {other} is here", better(measure))
            }
            None if choice.alone => format!("{other} came to no result"),
            None if self.is_sure(Measure::Rate) => {
                format!("the runs bear out no difference, and {name} has nothing to be set")
            }
            None => format!("the runs do not decide which is faster, and {name} has nothing to be set"),
        };
        if let Some(Standing::Wins { side, factor, .. }) = self.standing(Bound::Asked, false, Measure::P99)
            && side != choice.side
        {
            let _ = write!(why, "; but its p99 is {factor:.2} times as long");
        }
        if let Some(effect) = self.effect_of_writes() {
            let _ = write!(why, ". {effect}");
        }
        if self.measured.iter().all(|runs| runs.len() < 2) {
            why.push_str(". All this rests on one run of each (a longer --budget repeats them)");
        }
        why
    }

    fn write_basis(&self, text: &mut String) {
        let facts = self.facts;
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let _ = writeln!(
            text,
            "\nThe table {:?}: {} entries of {:.0}+{:.0} bytes, {:.1} MiB of pages of {} bytes ({:.1} MiB of branches), {} \
             levels, leaves {:.0} % full{}; the file has {:.1} MiB and {} table(s).",
            facts.table,
            facts.entries,
            facts.key_mean,
            facts.value_mean,
            mib(facts.table_bytes),
            facts.page_size,
            mib(facts.branch_bytes),
            facts.height,
            facts.leaf_fill * 100.0,
            if facts.large_values > 0 {
                format!(", {} large values", facts.large_values)
            } else {
                String::new()
            },
            mib(facts.file_bytes),
            facts.tables
        );
        let _ = writeln!(
            text,
            "The pattern: {} ({}), {} thread(s).",
            self.pattern.workload.about, self.pattern.origin, self.threads
        );
        let _ = writeln!(text, "{}", self.words_of_memory());
        if let Some(why) = self.unbounded {
            let _ = writeln!(
                text,
                "Memory could not be bounded, so what was measured had all of the machine's: {why}"
            );
        }
        let repeats = self.measured.iter().map(Vec::len).max().unwrap_or(0);
        let _ = writeln!(
            text,
            "{}, every value checked; {} of {:.1} s:",
            if self.pattern.workload.writes() {
                "Measured on a copy, which one run after the other changed, of either side; your file was only read"
            } else {
                "Measured on the file itself, which was only read"
            },
            if repeats == 1 { "one run each".to_owned() } else { format!("medians of {repeats} runs") },
            self.plan.seconds
        );
        self.write_table(text);
    }

    fn write_table(&self, text: &mut String) {
        let writes = self.pattern.workload.writes();
        let _ = write!(
            text,
            "  {:<6} {:>11} {:>11} {:>11} {:>10} {:>10} {:>10} {:>10}",
            "side", "memory", "cache", "ops/s", "p50 us", "p99 us", "cpu/op us", "rd B/op"
        );
        if writes {
            let _ = write!(text, " {:>10} {:>10} {:>10}", "wr B/op", "commit p50", "commit p99");
        }
        text.push('\n');
        for (index, config) in self.plan.configs.iter().enumerate() {
            let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / 1_048_576.0);
            let memory = config.memory.map_or_else(|| "-".into(), mib);
            let cache = if config.side == 1 { mib(config.cache) } else { "-".into() };
            let name = SIDES[config.side].trim_start_matches("bifold-");
            let _ = write!(text, "  {name:<6} {memory:>11} {cache:>11}");
            self.write_figures(text, index, writes);
            text.push_str(if config.reads_only { "   reads alone\n" } else { "\n" });
        }
        if writes {
            text.push_str(
                "  (us of the operation done most often; those of commits are for all of a commit's entries)\n",
            );
        }
    }

    fn write_figures(&self, text: &mut String, index: usize, writes: bool) {
        let show = |of: &dyn Fn(&Run) -> f64| {
            self.median(index, of).map_or_else(|| "-".into(), |value| format!("{value:.2}"))
        };
        let Some(rate) = self.rate(index) else {
            let died =
                self.measured.get(index).and_then(|runs| runs.iter().find_map(|run| run.as_ref().err()));
            let _ = write!(text, "  {}", died.map_or_else(|| "not run".into(), ToString::to_string));
            return;
        };
        let bytes = |of: &dyn Fn(&Run) -> Option<f64>| {
            let bytes = self.median(index, |run| of(run).unwrap_or(f64::NAN));
            bytes.map_or_else(|| "-".into(), |bytes| format!("{bytes:.0}"))
        };
        let _ = write!(
            text,
            " {rate:>11.0} {:>10} {:>10} {:>10} {:>10}",
            show(&|run| run.figures.p50_ns / 1e3),
            show(&|run| run.figures.p99_ns / 1e3),
            show(&|run| run.figures.cpu_ns / 1e3),
            bytes(&|run| run.figures.read_bytes),
        );
        if writes {
            let commit = |of: fn(&Latency) -> u64| {
                show(&|run| run.commits.as_ref().map_or(f64::NAN, |commits| of(commits) as f64 / 1e3))
            };
            let written = bytes(&|run| run.written_bytes);
            let _ = write!(text, " {written:>10} {:>10} {:>10}", commit(|l| l.p50), commit(|l| l.p99));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::{plan, tests::facts};
    use super::super::pattern::{Assume, Writes};
    use super::*;
    use crate::crossover::Figures;

    fn figures(rate: f64, cpu_ns: f64) -> Figures {
        Figures {
            rate,
            p50_ns: 1000.0,
            p99_ns: 2000.0,
            cpu_ns,
            soft_faults: 0.0,
            hard_faults: 0.0,
            read_bytes: Some(4096.0),
            operations: 1000,
        }
    }

    /// The choice and the text for such rates of mmap and pool, of the pool with half the cache, and of both with a
    /// quarter of the table in memory.
    fn advice(rates: [f64; 5], cpus: [f64; 2], memory: u64) -> (Choice, String) {
        advice_on(0.0, &rates, cpus, memory)
    }

    /// The same if such a share are writes: the rates of the reads alone are the third and the fourth then.
    fn advice_on(writes: f64, rates: &[f64], cpus: [f64; 2], memory: u64) -> (Choice, String) {
        advice_for(&Writes { share: writes, per_commit: 10, synced: true }, rates, cpus, memory)
    }

    fn advice_for(writes: &Writes, rates: &[f64], cpus: [f64; 2], memory: u64) -> (Choice, String) {
        let facts = facts();
        let pattern = Pattern::assumed(Assume::Zipfian, writes);
        let plan = plan(&facts, &pattern, memory, true, (120.0, 0.0)).unwrap();
        let runs = rates.iter().enumerate().map(|(index, rate)| {
            let run = |rate| Run {
                figures: figures(rate, cpus[index % 2]),
                commits: (writes.share > 0.0).then(Latency::default),
                written_bytes: Some(100.0),
            };
            let run = if *rate > 0.0 { Ok(run(*rate)) } else { Err(Died::ForMemory) };
            vec![run; 3]
        });
        let measured: Measured = runs.take(plan.configs.len()).collect();
        let basis = Basis {
            facts: &facts,
            pattern: &pattern,
            plan: &plan,
            measured: &measured,
            memory,
            memory_origin: "by --memory",
            unbounded: None,
            threads: 2,
        };
        let choice = basis.choose().unwrap();
        (choice, basis.text(&choice))
    }

    #[test]
    fn the_faster_side_is_advised_and_growth_is_told() {
        let (choice, text) = advice([2e6, 1e6, 1e6, 1e4, 3e4], [1.0, 1.0], 4 << 30);
        assert_eq!((choice.side, choice.by), (0, Some((Measure::Rate, 2.0))));
        assert!(text.starts_with("Build with mmap.\n"), "{text}");
        assert!(text.contains("features = [\"mmap\"]") && text.contains("Zipfian"), "{text}");
        let growth = "passes 4096 MiB of memory at about 32.0 million entries; with a quarter of it in memory the pool \
                      is 3.00 times as fast.";
        assert!(text.contains(growth), "{text}");
    }

    #[test]
    fn the_smallest_cache_that_does_is_advised() {
        let (choice, text) = advice([1e6, 2e6, 1.95e6, 1e4, 3e4], [1.0, 1.0], 4 << 30);
        assert_eq!((choice.side, choice.cache >> 20), (1, 578));
        assert!(text.contains("cache_size(578 << 20)") && text.contains("\"buffer-pool\""), "{text}");
        let (choice, text) = advice([1e4, 2e4, 1e4, 0.0, 0.0], [1.0, 1.0], 256 << 20);
        assert_eq!(choice.cache >> 20, 160);
        assert!(text.contains("from 1152 MiB on, all of the table fits"), "{text}");
        assert!(text.contains("160 MiB of it give 2.00 times the rate of 80 MiB"), "{text}");
    }

    #[test]
    fn ties_are_settled_by_processor_time_and_then_by_simplicity() {
        let (choice, text) = advice([1e6, 1e6, 1e6, 1e4, 1e4], [900.0, 300.0], 4 << 30);
        assert_eq!((choice.side, choice.by), (1, Some((Measure::Cpu, 3.0))));
        assert!(text.contains("both are as fast, and the pool is 3.00 times as cheap"), "{text}");
        let (choice, text) = advice([1e6, 1e6, 1e6, 1e4, 1e4], [1.0, 1.0], 4 << 30);
        assert_eq!((choice.side, choice.by), (0, None));
        assert!(text.contains("no difference, and mmap has nothing to be set"), "{text}");
    }

    #[test]
    fn a_side_that_dies_is_not_advised() {
        let (choice, text) = advice([0.0, 1e6, 1e6, 0.0, 1e4], [1.0, 1.0], 4 << 30);
        assert_eq!((choice.side, choice.alone), (1, true));
        assert!(text.contains("mmap came to no result") && text.contains("killed: out of memory"), "{text}");
    }

    #[test]
    fn what_was_measured_is_not_what_would_change_it() {
        let rates = [2e5, 1e5, 3e6, 1e6, 1e5, 1e3, 1e3];
        for (synced, is_said, is_not) in
            [(true, "wait for no sync", "wait for a sync"), (false, "wait for a sync", "wait for no sync")]
        {
            let writes = Writes { share: 0.1, per_commit: 10, synced };
            let (_, text) = advice_for(&writes, &rates, [1.0, 1.0], 1 << 30);
            let changes = text.lines().find(|line| line.contains("another share of writes")).unwrap();
            assert!(changes.contains(is_said) && !changes.contains(is_not), "{text}");
            assert_eq!(changes.contains("without --unsynced"), !synced, "{text}");
        }
    }

    #[test]
    fn what_writes_do_to_the_choice_is_said() {
        for (rates, wanted) in [
            ([2e5, 1e5, 3e6, 1e6], "By its reads alone mmap is 3.00 times as fast: the writes narrow that"),
            ([4e5, 1e5, 3e6, 1e6], "By its reads alone mmap is 3.00 times as fast: the writes widen that"),
            ([1e5, 2e5, 3e6, 1e6], "The writes turn it: by its reads alone mmap is 3.00 times as fast"),
            (
                [1e5, 1e5, 3e6, 1e6],
                "By its reads alone mmap is 3.00 times as fast; the writes take that away",
            ),
            (
                [2e5, 1e5, 1e6, 1e6],
                "It is the writes that decide: by its reads alone the runs bear out no difference",
            ),
            ([1e5, 1e5, 1e6, 1e6], "By its reads alone the runs bear out no difference either"),
        ] {
            let rates = [&rates[..], &[1e5, 1e3, 1e3]].concat();
            let (_, text) = advice_on(0.1, &rates, [1.0, 1.0], 1 << 30);
            assert!(text.contains(wanted), "{wanted}: {text}");
            assert!(text.contains("Measured on a copy") && text.contains("commit p99"), "{text}");
            assert_eq!(text.matches("reads alone\n").count(), 2, "{text}");
            // As it was measured: an eighth of the memory.
            assert!(text.contains(".delta_size(128 << 20)"), "{text}");
        }
    }
}
