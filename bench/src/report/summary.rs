//! Medians, spreads and ratios of what the rounds came to.
//!
//! A figure is the median of its rounds. A ratio is the median of the ratios within each round, so that what the machine
//! did in one round does not pass for a difference between sides.
#![forbid(unsafe_code)]

use super::{Part, Report};
use crate::cell::{Died, Latency, Outcome};
use crate::workload::Op;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A figure over several rounds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Value {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// Of how many.
    pub rounds: usize,
}

impl Value {
    /// Of these; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_unstable_by(f64::total_cmp);
        Some(Self {
            median: median(&values)?,
            least: *values.first()?,
            most: *values.last()?,
            rounds: values.len(),
        })
    }
}

/// The median of numbers in order; of two in the middle, their mean.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => sorted.get(middle).copied(),
        _ => Some(f64::midpoint(*sorted.get(middle - 1)?, *sorted.get(middle)?)),
    }
}

/// One side's row for one workload.
#[derive(Clone, Debug)]
pub struct Row<'r> {
    /// The side.
    pub side: &'r str,
    /// Outcomes by round.
    pub outcomes: BTreeMap<u64, &'r Outcome>,
    /// How rounds ended that have no outcome.
    pub died: Vec<&'r Died>,
    /// Operations a second.
    pub rate: Option<Value>,
    /// That, to the baseline's in the same round.
    pub ratio: Option<Value>,
}

impl Row<'_> {
    /// The median over the rounds of what `of` tells of an outcome.
    pub fn value(&self, of: impl Fn(&Outcome) -> f64) -> Option<Value> {
        Value::of(self.outcomes.values().map(|outcome| of(outcome)))
    }

    /// The share of the rate that was kept, if one was set.
    pub fn kept(&self) -> Option<Value> {
        self.value(|outcome| outcome.open_loop.map_or(f64::NAN, |open_loop| open_loop.kept()))
    }

    /// The kinds of operation that were done beside what is measured.
    pub fn beside(&self) -> impl Iterator<Item = Op> {
        let dones = self.outcomes.values().flat_map(|outcome| &outcome.beside.ops);
        dones.map(|done| done.op).collect::<BTreeSet<_>>().into_iter()
    }

    /// How many of `op` were done a second beside what is measured.
    pub fn beside_rate(&self, op: Op) -> Option<Value> {
        self.value(|outcome| outcome.beside.rate(op).unwrap_or(f64::NAN))
    }

    /// A latency of `op` where it was done beside what is measured, in nanoseconds.
    pub fn beside_latency(&self, op: Op, at: impl Fn(&Latency) -> u64) -> Option<Value> {
        self.value(|outcome| {
            let done = outcome.beside.ops.iter().find(|done| done.op == op);
            done.map_or(f64::NAN, |done| at(&done.latency) as f64)
        })
    }
}

/// All rows of a workload.
#[derive(Clone, Debug)]
pub struct Summary<'r> {
    /// Its part.
    pub part: &'r Part,
    /// The workload's name, and what it does.
    pub workload: &'r str,
    /// What it does.
    pub about: &'r str,
    /// The sides' rows, in the part's order.
    pub rows: Vec<Row<'r>>,
}

impl<'r> Summary<'r> {
    /// What [`Row::kept`] is a share of, in words. Where no rate was set, it is a replay that has a pace.
    pub fn kept_of(&self) -> &'static str {
        match self.part.pace.rate {
            Some(_) => "of the operations that were due, begun",
            None => "of the calls that were due, begun in the recorded time",
        }
    }

    /// Of a workload in a part of a report.
    pub fn of(report: &'r Report, part: usize, workload: usize) -> Option<Self> {
        let described = report.parts.get(part)?;
        let workload = described.workloads.get(workload)?;
        let outcomes = |side: &'r str| -> BTreeMap<u64, &'r Outcome> {
            let cells = report.cells_of(part, side, &workload.name);
            cells.filter_map(|cell| Some((cell.round, cell.result.as_ref().ok()?))).collect()
        };
        let baseline = outcomes(&described.baseline);
        let rows = described.sides.iter().map(|side| {
            let mine = outcomes(side);
            let ratios = mine.iter().filter_map(|(round, outcome)| {
                let base = baseline.get(round)?.rate();
                (base > 0.0).then(|| outcome.rate() / base)
            });
            Row {
                side,
                died: report
                    .cells_of(part, side, &workload.name)
                    .filter_map(|cell| cell.result.as_ref().err())
                    .collect(),
                rate: Value::of(mine.values().map(|outcome| outcome.rate())),
                ratio: Value::of(ratios),
                outcomes: mine,
            }
        });
        Some(Self { part: described, workload: &workload.name, about: &workload.about, rows: rows.collect() })
    }

    /// All of a report, in its order.
    pub fn all(report: &'r Report) -> Vec<Self> {
        let parts = report.parts.iter().enumerate();
        let all = parts.flat_map(|(part, described)| (0..described.workloads.len()).map(move |w| (part, w)));
        all.filter_map(|(part, workload)| Self::of(report, part, workload)).collect()
    }

    /// The row of a side.
    pub fn row(&self, side: &str) -> Option<&Row<'r>> {
        self.rows.iter().find(|row| row.side == side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        let value = Value::of([5.0, f64::NAN, 1.0, 2.0]).unwrap();
        assert_eq!((value.median, value.least, value.most, value.rounds), (2.0, 1.0, 5.0, 3));
        assert_eq!(Value::of([f64::INFINITY]), None);
    }
}
