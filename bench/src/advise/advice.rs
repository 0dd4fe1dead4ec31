//! The advice: which side, with which cache, why, and what would change it.
#![forbid(unsafe_code)]

use super::facts::Facts;
use super::measure::{Bound, Measured, Plan, SIDES};
use super::pattern::Pattern;
use crate::crossover::{Figures, Measure, Place, Repeat, Standing};
use crate::report::median;
use std::fmt::Write;

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
    let pair = |(a, b): (&Result<Figures, _>, &Result<Figures, _>)| Repeat {
        place: Place { size: 0, threads: 0 },
        sides: [a.clone(), b.clone()],
    };
    first.iter().zip(second).map(pair).collect()
}

impl Basis<'_> {
    /// The runs of a side under a bound, the largest cache first.
    fn configs(&self, side: usize, bound: Bound) -> Vec<usize> {
        let configs = self.plan.configs.iter().enumerate();
        let mut found: Vec<(usize, u64)> =
            configs.filter(|(_, c)| c.side == side && c.bound == bound).map(|(i, c)| (i, c.cache)).collect();
        found.sort_unstable_by_key(|(_, cache)| std::cmp::Reverse(*cache));
        found.into_iter().map(|(index, _)| index).collect()
    }

    fn rate(&self, config: usize) -> Option<f64> {
        let runs = self.measured.get(config)?;
        let mut rates: Vec<f64> = runs.iter().flatten().map(|figures| figures.rate).collect();
        rates.sort_unstable_by(f64::total_cmp);
        median(&rates)
    }

    fn standing(&self, bound: Bound, measure: Measure) -> Option<Standing> {
        let (mmap, pool) = (self.configs(0, bound), self.configs(1, bound));
        let pairs = pairs(self.measured, *mmap.first()?, *pool.first()?);
        (!pairs.is_empty()).then(|| Standing::of(&pairs, measure))
    }

    /// The smallest cache that is nearly as fast as the largest.
    fn cache(&self) -> u64 {
        let pools = self.configs(1, Bound::Asked);
        let most = pools.first().and_then(|config| self.rate(*config)).unwrap_or(0.0);
        let enough = pools.iter().filter(|c| self.rate(**c).is_some_and(|rate| rate >= NEARLY * most));
        let cache = enough.filter_map(|config| self.plan.configs.get(*config)).map(|c| c.cache).min();
        cache.or_else(|| Some(self.plan.configs.get(*pools.first()?)?.cache)).unwrap_or(0)
    }

    /// The choice; `None` if neither side came to a result.
    pub(super) fn choose(&self) -> Option<Choice> {
        let cache = self.cache();
        for measure in [Measure::Rate, Measure::Cpu] {
            match self.standing(Bound::Asked, measure)? {
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
        let (cargo, options) = if choice.side == 0 {
            ("mmap", "bifold::Database::open(path)?".to_owned())
        } else {
            let options = format!(
                "bifold::Database::builder().backend(bifold::pool::Options::new().cache_size({cache} << 20)).open(path)?"
            );
            ("buffer-pool", options)
        };
        let _ = writeln!(
            text,
            "  Cargo.toml   bifold = {{ version = \"{}\", default-features = false, features = [\"{cargo}\"] }}",
            env!("CARGO_PKG_VERSION")
        );
        let _ = writeln!(text, "  opening      {options}\n\nWhy: {}.", self.reason(choice));
        self.write_basis(&mut text);
        let _ = writeln!(text, "\nWhat would change it:");
        for change in self.changes(choice) {
            let _ = writeln!(text, "- {change}.");
        }
        text
    }

    fn reason(&self, choice: &Choice) -> String {
        let (name, other) = (spoken(choice.side), spoken(1 - choice.side));
        let mut why = match choice.by {
            Some((measure, factor)) => {
                let even = if measure == Measure::Rate { "" } else { "both are as fast, and " };
                format!("{even}{name} is {factor:.2} {} as {other} is here", better(measure))
            }
            None if choice.alone => format!("{other} came to no result"),
            None => format!("the runs bear out no difference, and {name} has nothing to be set"),
        };
        if let Some(Standing::Wins { side, factor, .. }) = self.standing(Bound::Asked, Measure::P99)
            && side != choice.side
        {
            let _ = write!(why, "; but its p99 is {factor:.2} times as long");
        }
        why
    }

    fn write_basis(&self, text: &mut String) {
        let facts = self.facts;
        let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
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
        let _ = writeln!(
            text,
            "Memory: {:.0} MiB, {}; the table is {:.2} times that.",
            mib(self.memory),
            self.memory_origin,
            facts.table_bytes as f64 / self.memory as f64
        );
        if let Some(why) = self.unbounded {
            let _ = writeln!(
                text,
                "Memory could not be bounded, so what was measured had all of the machine's: {why}"
            );
        }
        let repeats = self.measured.iter().map(Vec::len).max().unwrap_or(0);
        let _ = writeln!(
            text,
            "Measured on the file itself, every value checked; medians of {repeats} runs of {:.1} s:",
            self.plan.seconds
        );
        let _ = writeln!(
            text,
            "  {:<6} {:>11} {:>11} {:>12} {:>10} {:>10} {:>10} {:>10}",
            "side", "memory", "cache", "ops/s", "p50 us", "p99 us", "cpu/op us", "disk B/op"
        );
        for (index, config) in self.plan.configs.iter().enumerate() {
            let memory = config.memory.map_or_else(|| "-".into(), |m| format!("{:.0} MiB", mib(m)));
            let cache = if config.side == 1 { format!("{:.0} MiB", mib(config.cache)) } else { "-".into() };
            let name = SIDES[config.side].trim_start_matches("bifold-");
            let _ = write!(text, "  {name:<6} {memory:>11} {cache:>11}");
            self.write_figures(text, index);
        }
    }

    fn write_figures(&self, text: &mut String, index: usize) {
        let runs = self.measured.get(index).map(Vec::as_slice).unwrap_or_default();
        let of = |of: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = runs.iter().flatten().map(of).filter(|v| v.is_finite()).collect();
            values.sort_unstable_by(f64::total_cmp);
            median(&values)
        };
        let Some(rate) = of(|f| f.rate) else {
            let died = runs.iter().find_map(|run| run.as_ref().err());
            let _ = writeln!(text, "  {}", died.map_or_else(|| "not run".into(), ToString::to_string));
            return;
        };
        let show = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.2}"));
        let read = of(|f| f.read_bytes.unwrap_or(f64::NAN));
        let _ = writeln!(
            text,
            " {rate:>12.0} {:>10} {:>10} {:>10} {:>10}",
            show(of(|f| f.p50_ns / 1e3)),
            show(of(|f| f.p99_ns / 1e3)),
            show(of(|f| f.cpu_ns / 1e3)),
            read.map_or_else(|| "-".into(), |bytes| format!("{bytes:.0}"))
        );
    }

    fn changes(&self, choice: &Choice) -> Vec<String> {
        let mut changes = Vec::new();
        let (table, memory) = (self.facts.table_bytes, self.memory);
        let name = spoken(choice.side);
        let per_entry = table as f64 / self.facts.entries as f64;
        let entries = memory as f64 / per_entry.max(1.0);
        let tight = self.standing(Bound::Tight, Measure::Rate);
        let fits = table <= memory;
        if fits {
            let beyond = format!(
                "growth: the table passes {} MiB of memory at about {} entries",
                memory >> 20,
                round(entries)
            );
            changes.push(match tight {
                Some(Standing::Wins { side, factor, .. }) if side == choice.side => {
                    format!("{beyond}; but with a quarter of the table in memory {name} wins too, {factor:.2} times as fast")
                }
                Some(Standing::Wins { side, factor, .. }) => format!(
                    "{beyond}; with a quarter of it in memory {} is {factor:.2} times as fast",
                    spoken(side)
                ),
                Some(Standing::Alone { side }) => {
                    format!("{beyond}; with a quarter of it in memory only {} came to a result", spoken(side))
                }
                Some(Standing::Even { .. }) => {
                    format!("{beyond}; with a quarter of it in memory the runs bear out no difference")
                }
                _ => format!("{beyond}; what is best then was not measured (--memory asks)"),
            });
        } else {
            changes.push(format!(
                "more memory: from {} MiB on, all of the table fits (--memory asks what is best then)",
                (table / 8 * 9) >> 20
            ));
        }
        if choice.side == 1 {
            let sizes: Vec<(u64, f64)> = self
                .configs(1, Bound::Asked)
                .into_iter()
                .filter_map(|config| Some((self.plan.configs.get(config)?.cache, self.rate(config)?)))
                .collect();
            if let [(large, fast), (small, slow), ..] = sizes.as_slice() {
                changes.push(format!(
                    "the cache: {} MiB of it give {:.2} times the rate of {} MiB",
                    large >> 20,
                    fast / slow.max(1e-9),
                    small >> 20
                ));
            }
        }
        changes.push("another pattern (--assume), or another number of threads (--threads)".into());
        changes.push(
            "writing: only reads were measured; `bifold-bench compare --from` measures commits too".into(),
        );
        changes
    }
}

/// A side as one speaks of it.
fn spoken(side: usize) -> &'static str {
    if side == 0 { "mmap" } else { "the pool" }
}

fn better(measure: Measure) -> &'static str {
    match measure {
        Measure::Rate => "times as fast",
        Measure::P99 => "times as quick in p99",
        Measure::Cpu => "times as cheap in processor time",
    }
}

/// A number to two digits, in words that are read at a glance.
fn round(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.1} billion", v / 1e9),
        v if v >= 1e6 => format!("{:.1} million", v / 1e6),
        v => format!("{:.0}", v),
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::{plan, tests::facts};
    use super::super::pattern::Assume;
    use super::*;
    use crate::cell::Died;

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
        let (facts, pattern) = (facts(), Pattern::assumed(Assume::Zipfian));
        let plan = plan(&facts, memory, true, 60.0).unwrap();
        let runs = rates.iter().enumerate().map(|(index, rate)| {
            let run = if *rate > 0.0 { Ok(figures(*rate, cpus[index % 2])) } else { Err(Died::ForMemory) };
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
}
