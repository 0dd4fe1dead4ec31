//! Which figures of two reports belong together.
#![forbid(unsafe_code)]

use super::change::{Better, Change, Judged};
use super::conditions::warnings;
use crate::cell::{Died, Latency, Outcome};
use crate::report::{Figure, Report, Row, Summary, Unit, Value, counted, latency_of, ops_of};
use serde::Serialize;

/// Bytes an operation that other processes may as well have read and written.
const DISK_BYTES: u32 = 16;

/// How rounds ended that have no outcome, in either report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Ending {
    /// How, and how often, in the first.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
    /// Worse if only the second has such rounds, better if only the first has.
    pub judged: Judged,
}

/// A side's work on one workload in both reports.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Line {
    /// The part's heading, in the second report.
    pub part: String,
    /// The workload.
    pub workload: String,
    /// The side.
    pub side: String,
    /// Rounds without an outcome, if there are any.
    pub ending: Option<Ending>,
    /// Rate, processor time and bytes from and to the disk.
    pub figures: Vec<Change>,
    /// Latencies by kind of operation: p50, p99, p99.9.
    pub latencies: Vec<(String, Vec<Change>)>,
}

impl Line {
    /// All its figures.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.figures.iter().chain(self.latencies.iter().flat_map(|(_, changes)| changes))
    }
}

/// What two reports differ in.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Diff {
    /// Conditions that are not the same.
    pub warnings: Vec<String>,
    /// What changes by less is the same, as a share.
    pub threshold: f64,
    /// What both reports have.
    pub lines: Vec<Line>,
    /// What only one has, in words.
    pub missing: Vec<String>,
    /// Figures that may be worse by chance alone.
    pub by_chance: f64,
}

/// The parts of two reports that belong together: those with the same title, then the rest in their order.
fn parts(a: &Report, b: &Report) -> Vec<(usize, usize)> {
    let mut left: Vec<usize> = (0..b.parts.len()).collect();
    let mut pairs = Vec::new();
    let mut alone = Vec::new();
    for (index, part) in a.parts.iter().enumerate() {
        match left.iter().position(|other| b.parts.get(*other).is_some_and(|b| b.title == part.title)) {
            Some(at) => pairs.push((index, left.remove(at))),
            None => alone.push(index),
        }
    }
    pairs.extend(alone.into_iter().zip(left));
    pairs.sort_unstable();
    pairs
}

impl Diff {
    /// Of `b` against `a`.
    pub fn of(a: &Report, b: &Report, threshold: f64) -> Self {
        let pairs = parts(a, b);
        let mut diff = Self {
            warnings: warnings(a, b, &pairs),
            threshold,
            lines: Vec::new(),
            missing: Vec::new(),
            by_chance: 0.0,
        };
        for (index, part) in a.parts.iter().enumerate() {
            if !pairs.iter().any(|(a, _)| *a == index) {
                diff.missing.push(format!("{}: only in the first report", part.title));
            }
        }
        for (index, part) in b.parts.iter().enumerate() {
            if !pairs.iter().any(|(_, b)| *b == index) {
                diff.missing.push(format!("{}: only in the second report", part.title));
            }
        }
        for (in_a, in_b) in pairs {
            diff.part(&summaries(a, in_a), &summaries(b, in_b));
        }
        diff.by_chance = diff.lines.iter().flat_map(Line::changes).map(Change::chance).sum();
        diff
    }

    /// How many figures, or endings, are so.
    pub fn count(&self, judged: Judged) -> usize {
        let endings = self.lines.iter().filter_map(|line| line.ending.as_ref()).map(|ending| ending.judged);
        let figures = self.lines.iter().flat_map(Line::changes).map(|change| change.judged);
        endings.chain(figures).filter(|other| *other == judged).count()
    }

    fn part(&mut self, a: &[Summary<'_>], b: &[Summary<'_>]) {
        for summary in a {
            let Some(other) = b.iter().find(|other| other.workload == summary.workload) else {
                self.alone(summary, None, "first");
                continue;
            };
            let all =
                [summary, other].into_iter().flat_map(|s| &s.rows).flat_map(|row| row.outcomes.values());
            let ops = ops_of(all.copied());
            for row in &summary.rows {
                match other.row(row.side) {
                    Some(second) if has_cells(row) && has_cells(second) => {
                        let line = line(other, row, second, &ops, self.threshold);
                        self.lines.push(line);
                    }
                    Some(second) if !has_cells(row) && !has_cells(second) => {}
                    Some(_) if !has_cells(row) => self.alone(summary, Some(row.side), "second"),
                    _ => self.alone(summary, Some(row.side), "first"),
                }
            }
            for row in other.rows.iter().filter(|row| summary.row(row.side).is_none()) {
                self.alone(other, Some(row.side), "second");
            }
        }
        for summary in b.iter().filter(|s| a.iter().all(|other| other.workload != s.workload)) {
            self.alone(summary, None, "second");
        }
    }

    fn alone(&mut self, summary: &Summary<'_>, side: Option<&str>, which: &str) {
        let side = side.map_or_else(String::new, |side| format!(", {side}"));
        let (part, workload) = (&summary.part.title, summary.workload);
        self.missing.push(format!("{part}, {workload}{side}: only in the {which} report"));
    }
}

fn summaries(report: &Report, part: usize) -> Vec<Summary<'_>> {
    let workloads = report.parts.get(part).map_or(0, |part| part.workloads.len());
    (0..workloads).filter_map(|workload| Summary::of(report, part, workload)).collect()
}

/// What the user ended is as good as not begun.
fn deaths<'r>(row: &Row<'r>) -> Vec<&'r Died> {
    row.died.iter().copied().filter(|died| **died != Died::Interrupted).collect()
}

fn has_cells(row: &Row<'_>) -> bool {
    !row.outcomes.is_empty() || !deaths(row).is_empty()
}

fn ending(a: &Row<'_>, b: &Row<'_>) -> Option<Ending> {
    let words = |row: &Row<'_>| {
        let deaths = deaths(row);
        let first = deaths.first()?;
        let rounds = counted((deaths.len() + row.outcomes.len()) as u64, "round");
        Some(format!("{} of {rounds}: {first}", deaths.len()))
    };
    let (a, b) = (words(a), words(b));
    let judged = match (&a, &b) {
        (None, None) => return None,
        (None, Some(_)) => Judged::Worse,
        (Some(_), None) => Judged::Better,
        (Some(_), Some(_)) => Judged::Same,
    };
    Some(Ending { a, b, judged })
}

fn line(
    summary: &Summary<'_>,
    a: &Row<'_>,
    b: &Row<'_>,
    ops: &[crate::workload::Op],
    threshold: f64,
) -> Line {
    let both = |of: &dyn Fn(&Row<'_>) -> Option<Value>| (of(a), of(b));
    let rate = both(&|row| row.rate);
    let mut figures = vec![Change::of("rate".into(), Unit::Number, Better::More, rate, threshold)];
    for (figure, than) in [(Figure::CPU, 0), (Figure::DISK, DISK_BYTES)] {
        let values = both(&|row| row.value(figure.of));
        figures.push(Change::of(figure.name.into(), figure.unit, Better::Less { than }, values, threshold));
    }
    let latency = |op, name: &str, at: fn(&Latency) -> u64| {
        let of = |outcome: &Outcome| latency_of(outcome, op).map_or(f64::NAN, |latency| at(latency) as f64);
        let values = both(&|row| row.value(of));
        Change::of(name.to_owned(), Unit::Nanos, Better::Less { than: 0 }, values, threshold)
    };
    let latencies = ops.iter().map(|op| {
        let changes = vec![
            latency(*op, "p50", |latency| latency.p50),
            latency(*op, "p99", |latency| latency.p99),
            latency(*op, "p99.9", |latency| latency.p999),
        ];
        (op.name().to_owned(), changes)
    });
    Line {
        part: summary.part.title.clone(),
        workload: summary.workload.to_owned(),
        side: a.side.to_owned(),
        ending: ending(a, b),
        figures,
        latencies: latencies.collect(),
    }
}
