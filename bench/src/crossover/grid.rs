//! The grid of a sweep, what was measured in its cells, and who wins each.
//!
//! A cell is a data size, as a multiple of memory, and a number of threads. In one repeat of it both sides run, one
//! straight after the other, and only such pairs are compared: what the machine did meanwhile met both.
#![forbid(unsafe_code)]

use crate::cell::{Died, Outcome};
use crate::report::median;
use serde::{Deserialize, Serialize};

/// Two sides within this factor are called equal: machines differ more from day to day.
pub const EQUAL: f64 = 1.05;

/// The sizes and the numbers of threads, each in rising order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Grid {
    /// Bytes of data, as multiples of memory.
    pub sizes: Vec<f64>,
    /// Threads.
    pub threads: Vec<u64>,
}

/// A cell of a [`Grid`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Index of its size.
    pub size: usize,
    /// Index of its number of threads.
    pub threads: usize,
}

impl Grid {
    /// All cells, by size and then by threads.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let of = |size| (0..self.threads.len()).map(move |threads| Place { size, threads });
        (0..self.sizes.len()).flat_map(of)
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.sizes.len() * self.threads.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A side's figures of one run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Operations a second.
    pub rate: f64,
    /// Latency that half of the operations do not exceed, in nanoseconds.
    pub p50_ns: f64,
    /// That 99 of 100 do not exceed.
    pub p99_ns: f64,
    /// Processor time of the whole process for an operation, in nanoseconds.
    pub cpu_ns: f64,
    /// Page faults for an operation that found the page in memory.
    pub soft_faults: f64,
    /// Page faults for an operation that waited for the disk.
    pub hard_faults: f64,
    /// Bytes for an operation that came from the disk, for whatever process; `None` where they cannot be counted.
    pub read_bytes: Option<f64>,
    /// Operations that all this was measured on.
    pub operations: u64,
}

impl Figures {
    /// Of what came of a cell. Latencies are those of what the workload is about; of what was done most often, if none of
    /// that was.
    ///
    /// # Errors
    /// [`Died::Nothing`] if no operation ended in it: then there is nothing to compare.
    pub fn of(outcome: &Outcome) -> Result<Self, Died> {
        let operations = outcome.operations.max(1) as f64;
        let most = || outcome.ops.iter().filter(|done| done.count > 0).max_by_key(|done| done.count);
        let main = outcome.main().filter(|done| done.count > 0).or_else(most);
        let latency = &main.ok_or(Died::Nothing)?.latency;
        Ok(Self {
            rate: outcome.rate(),
            p50_ns: latency.p50 as f64,
            p99_ns: latency.p99 as f64,
            cpu_ns: outcome.cpu_per_op() * 1e9,
            soft_faults: outcome.usage.soft_faults as f64 / operations,
            hard_faults: outcome.usage.hard_faults as f64 / operations,
            read_bytes: outcome.disk.map(|disk| disk.read_bytes as f64 / operations),
            operations: outcome.operations,
        })
    }
}

/// Both sides' runs of a cell, one straight after the other.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Repeat {
    /// The cell.
    pub place: Place,
    /// What came of each side.
    pub sides: [Result<Figures, Died>; 2],
}

impl Repeat {
    fn both(&self) -> Option<(&Figures, &Figures)> {
        match &self.sides {
            [Ok(a), Ok(b)] => Some((a, b)),
            _ => None,
        }
    }
}

/// What the sides are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// Operations a second: more is better.
    Rate,
    /// The 99th percentile of latencies: less is better.
    P99,
    /// Processor time for an operation: less is better.
    Cpu,
}

impl Measure {
    /// All of them, the most important first.
    pub const ALL: [Self; 3] = [Self::Rate, Self::P99, Self::Cpu];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "throughput",
            Self::P99 => "p99 latency",
            Self::Cpu => "processor time per operation",
        }
    }

    /// What a factor in favour of the winner is, in words that follow it: "2.0 times as fast".
    pub const fn better(self) -> &'static str {
        match self {
            Self::Rate => "times as fast",
            Self::P99 => "times lower in p99",
            Self::Cpu => "times cheaper in processor time",
        }
    }

    /// The figure.
    pub fn figure(self, figures: &Figures) -> f64 {
        match self {
            Self::Rate => figures.rate,
            Self::P99 => figures.p99_ns,
            Self::Cpu => figures.cpu_ns,
        }
    }

    /// By what factor `a` is better than `b`; below 1 if it is worse. `None` if a figure is missing.
    fn advantage(self, a: &Figures, b: &Figures) -> Option<f64> {
        let (a, b) = (self.figure(a), self.figure(b));
        let known = a.is_finite() && b.is_finite() && a > 0.0 && b > 0.0;
        known.then(|| if self == Self::Rate { a / b } else { b / a })
    }
}

/// Who wins a cell, by one measure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Standing {
    /// It was not run.
    NotRun,
    /// This side wins by this factor: the median over the repeats.
    Wins {
        /// Its index.
        side: usize,
        /// More than [`EQUAL`].
        factor: f64,
        /// Whether there were two repeats at least, and it won in every one.
        sure: bool,
    },
    /// Neither wins by more than [`EQUAL`], or not in every repeat.
    Even {
        /// The median factor in favour of the first side.
        factor: f64,
        /// Whether the repeats agree on that: more of them would hardly change it.
        sure: bool,
    },
    /// Only this side comes to a result.
    Alone {
        /// Its index.
        side: usize,
    },
    /// Neither side came to a result.
    Neither,
}

impl Standing {
    /// Of the repeats of one cell.
    pub fn of<'r>(repeats: impl IntoIterator<Item = &'r Repeat>, measure: Measure) -> Self {
        let mut seen = 0;
        let mut there = [false; 2];
        let mut factors = Vec::new();
        for repeat in repeats {
            seen += 1;
            for (there, side) in there.iter_mut().zip(&repeat.sides) {
                *there |= side.is_ok();
            }
            factors.extend(repeat.both().and_then(|(a, b)| measure.advantage(a, b)));
        }
        factors.sort_unstable_by(f64::total_cmp);
        let Some(factor) = median(&factors) else {
            return match (seen, there) {
                (0, _) => Self::NotRun,
                (_, [true, false]) => Self::Alone { side: 0 },
                (_, [false, true]) => Self::Alone { side: 1 },
                _ => Self::Neither,
            };
        };
        let several = factors.len() > 1;
        let all = |test: fn(f64) -> bool| factors.iter().all(|factor| test(*factor));
        if factor > EQUAL && all(|f| f > 1.0) {
            return Self::Wins { side: 0, factor, sure: several };
        }
        if factor < 1.0 / EQUAL && all(|f| f < 1.0) {
            return Self::Wins { side: 1, factor: 1.0 / factor, sure: several };
        }
        let near = (1.0 / EQUAL..=EQUAL).contains(&factor);
        let sure = several && near && all(|f| (1.0 / (EQUAL * EQUAL)..=EQUAL * EQUAL).contains(&f));
        Self::Even { factor, sure }
    }

    /// The side that wins, if one does.
    pub const fn winner(&self) -> Option<usize> {
        match self {
            Self::Wins { side, .. } | Self::Alone { side } => Some(*side),
            _ => None,
        }
    }

    /// Whether it was run and has a result.
    pub const fn known(&self) -> bool {
        !matches!(self, Self::NotRun | Self::Neither)
    }

    /// Whether more repeats could change it.
    pub const fn sure(&self) -> bool {
        match self {
            Self::Wins { sure, .. } | Self::Even { sure, .. } => *sure,
            Self::NotRun => false,
            Self::Alone { .. } | Self::Neither => true,
        }
    }
}

/// Who wins at `place`.
pub fn standing(repeats: &[Repeat], place: Place, measure: Measure) -> Standing {
    Standing::of(repeats.iter().filter(|repeat| repeat.place == place), measure)
}

/// The median over the repeats of what `of` tells of a side at `place`.
pub fn figure(repeats: &[Repeat], place: Place, side: usize, of: impl Fn(&Figures) -> f64) -> Option<f64> {
    let at = repeats.iter().filter(|repeat| repeat.place == place);
    let results = at.filter_map(|repeat| repeat.sides.get(side)?.as_ref().ok());
    let mut values: Vec<f64> = results.map(of).filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    median(&values)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A repeat in which the first side is `factor` times as fast, and its p99 as much lower.
    pub(in crate::crossover) fn repeat(size: usize, threads: usize, factor: f64) -> Repeat {
        let figures = |rate: f64| Figures {
            rate,
            p50_ns: 5e8 / rate,
            p99_ns: 1e9 / rate,
            cpu_ns: 1000.0,
            soft_faults: 0.0,
            hard_faults: 0.0,
            read_bytes: None,
            operations: 100,
        };
        Repeat { place: Place { size, threads }, sides: [Ok(figures(1000.0 * factor)), Ok(figures(1000.0))] }
    }

    #[test]
    fn a_winner_wins_every_repeat_by_more_than_nothing() {
        let of = |factors: &[f64]| {
            let repeats: Vec<Repeat> = factors.iter().map(|f| repeat(0, 0, *f)).collect();
            standing(&repeats, Place { size: 0, threads: 0 }, Measure::Rate)
        };
        assert_eq!(of(&[]), Standing::NotRun);
        assert_eq!(of(&[2.0]), Standing::Wins { side: 0, factor: 2.0, sure: false });
        assert_eq!(of(&[2.0, 4.0]), Standing::Wins { side: 0, factor: 3.0, sure: true });
        assert_eq!(of(&[0.5, 0.5]), Standing::Wins { side: 1, factor: 2.0, sure: true });
        assert_eq!(of(&[0.5, 2.0, 2.0]), Standing::Even { factor: 2.0, sure: false });
        assert_eq!(of(&[1.01, 1.02, 0.98]), Standing::Even { factor: 1.01, sure: true });
        // As near each other, and the median is not.
        assert_eq!(of(&[0.99, 1.06, 1.08]), Standing::Even { factor: 1.06, sure: false });
        assert_eq!(of(&[1.01]), Standing::Even { factor: 1.01, sure: false });
    }

    #[test]
    fn less_is_better_but_in_throughput() {
        let repeats = [repeat(1, 2, 4.0)];
        let place = Place { size: 1, threads: 2 };
        assert_eq!(standing(&repeats, place, Measure::P99).winner(), Some(0));
        assert_eq!(standing(&repeats, place, Measure::Cpu), Standing::Even { factor: 1.0, sure: false });
        assert_eq!(figure(&repeats, place, 1, |f| f.rate), Some(1000.0));
        assert_eq!(figure(&repeats, Place { size: 0, threads: 0 }, 1, |f| f.rate), None);
    }

    #[test]
    fn a_side_that_died_loses() {
        let place = Place { size: 0, threads: 0 };
        let mut one = repeat(0, 0, 1.0);
        one.sides[0] = Err(Died::ForMemory);
        assert_eq!(Standing::of([&one], Measure::Rate), Standing::Alone { side: 1 });
        // It got there another time.
        let both = [one.clone(), repeat(0, 0, 2.0)];
        assert_eq!(standing(&both, place, Measure::Rate).winner(), Some(0));
        one.sides[1] = Err(Died::ForMemory);
        assert_eq!(Standing::of([&one], Measure::Rate), Standing::Neither);
    }
}
