//! One figure in two reports.
#![forbid(unsafe_code)]

use crate::report::{Unit, Value};
use serde::Serialize;

/// Rounds of each report from which something can be said.
const ROUNDS: usize = 3;

/// Which way a figure is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    /// More of it.
    More,
    /// Less of it; differences of less than this are none.
    Less {
        /// In the figure's unit.
        than: u32,
    },
}

/// What can be said of a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// Every round of the second report is better than every one of the first, and the medians differ by more than the
    /// threshold.
    Better,
    /// The same the other way.
    Worse,
    /// The medians differ by no more than the threshold.
    Same,
    /// The rounds of one lie among those of the other.
    Noise,
    /// There are fewer than three rounds on either side.
    TooFew,
    /// One of them, or both, have not counted it.
    Unknown,
}

/// One figure of a side and a workload in both reports.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    /// Its name.
    pub figure: String,
    /// What it counts: times are in nanoseconds.
    pub unit: Unit,
    /// In the first report.
    pub a: Option<Value>,
    /// In the second.
    pub b: Option<Value>,
    /// The second's median is so much more than the first's, as a share of that; `None` if that is not known, or 0.
    pub change: Option<f64>,
    /// What can be said.
    pub judged: Judged,
}

impl Change {
    /// Between `a` and `b`.
    pub fn of(
        figure: String,
        unit: Unit,
        better: Better,
        (a, b): (Option<Value>, Option<Value>),
        threshold: f64,
    ) -> Self {
        let (change, judged) = match a.zip(b) {
            None => (None, Judged::Unknown),
            Some((a, b)) => {
                let difference = b.median - a.median;
                // Of nothing in nothing, nothing has changed.
                let change = if difference.abs() > 0.0 { difference / a.median } else { 0.0 };
                (Some(change).filter(|change| change.is_finite()), judge(&a, &b, change, better, threshold))
            }
        };
        Self { figure, unit, a, b, change, judged }
    }

    /// How probable it is that rounds of sides that are equal fall apart for the worse: one of all the orders in which
    /// they can fall. 0 where nothing is judged.
    pub fn chance(&self) -> f64 {
        match self.a.zip(self.b) {
            Some((a, b)) if a.rounds >= ROUNDS && b.rounds >= ROUNDS => {
                // One over the ways to choose the first report's rounds from all.
                (1..=a.rounds).map(|i| i as f64 / (b.rounds + i) as f64).product()
            }
            _ => 0.0,
        }
    }

    /// Both medians, and the change, in words.
    pub fn words(&self) -> String {
        let show = |value: Option<Value>| value.map_or_else(|| "-".into(), |v| self.unit.show(v.median));
        let change = match self.change {
            Some(change) => format!(" ({})", percent(change)),
            None => String::new(),
        };
        format!("{} -> {}{change}", show(self.a), show(self.b))
    }
}

/// A share in percent, with its sign.
pub(super) fn percent(change: f64) -> String {
    match change * 100.0 {
        p if p.abs() < 0.05 => "0%".into(),
        p if p.abs() < 10.0 => format!("{p:+.1}%"),
        p if p < 1000.0 => format!("{p:+.0}%"),
        p => format!("x{:.0}", p / 100.0 + 1.0),
    }
}

fn judge(a: &Value, b: &Value, change: f64, better: Better, threshold: f64) -> Judged {
    if a.rounds < ROUNDS || b.rounds < ROUNDS {
        return Judged::TooFew;
    }
    let difference = (b.median - a.median).abs();
    let small = match better {
        Better::More => 0.0,
        Better::Less { than } => f64::from(than),
    };
    // A change from 0 is infinite, and not small.
    if change.abs() <= threshold || difference <= small {
        return Judged::Same;
    }
    let (more, less) = (b.least > a.most, b.most < a.least);
    match (better, more, less) {
        (Better::More, true, _) | (Better::Less { .. }, _, true) => Judged::Better,
        (Better::More, _, true) | (Better::Less { .. }, true, _) => Judged::Worse,
        _ => Judged::Noise,
    }
}
