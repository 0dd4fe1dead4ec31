//! The plots of a workload: rates, latencies, and throughput over time.
#![forbid(unsafe_code)]

use super::html::escape;
use super::svg::{self, Plot, Scale, WIDTH, open};
use super::{Sides, rate, shown};
use crate::cell::Outcome;
use crate::report::{Row, Summary, Unit, Value, latency_of, of_rounds};
use crate::workload::Op;
use std::fmt::Write;

/// The most points of a line over time: what is more is too fine to be seen, and makes the page large.
const POINTS: usize = 60;
/// The height of a plot with two axes.
const HEIGHT: f64 = 260.0;

/// Bars of the rates, with the rounds' spread.
pub(super) fn rates(id: &str, summary: &Summary<'_>, sides: &Sides<'_>) -> String {
    const ROW: f64 = 42.0;
    const WIDE: f64 = WIDTH - 8.0;
    let title = format!("{}: operations a second", summary.workload);
    let mut about = String::new();
    let mut bars = String::new();
    let most = summary.rows.iter().filter_map(|row| row.rate).map(|rate| rate.most).fold(0.0, f64::max);
    let scale = if most > 0.0 { WIDE / most } else { 0.0 };
    let mut y = 4.0;
    for row in &summary.rows {
        let side = sides.index(row.side);
        let said = row.rate.map_or_else(|| super::ended(row), |value| rate(&value));
        let _ = write!(about, "{}: {said}. ", row.side);
        let _ = write!(
            bars,
            "<text x=\"4\" y=\"{:.0}\">{}</text><text class=\"n\" x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            y + 12.0,
            escape(row.side),
            WIDTH - 4.0,
            y + 12.0,
            escape(&shortened(&said))
        );
        if let Some(value) = row.rate {
            let (at, end) = (4.0 + value.least * scale, 4.0 + value.most * scale);
            let _ = write!(
                bars,
                "<rect class=\"f s{side}\" x=\"4\" y=\"{:.0}\" width=\"{:.1}\" height=\"12\" rx=\"2\"/>\
                 <path class=\"w\" d=\"M{at:.1} {mid:.0}H{end:.1}M{at:.1} {top:.0}v8M{end:.1} {top:.0}v8\"/>",
                y + 18.0,
                value.median * scale,
                mid = y + 24.0,
                top = y + 20.0
            );
        }
        y += ROW;
    }
    format!("{}{bars}</svg>", open(id, &title, about.trim_end(), (WIDTH, y + 2.0)))
}

/// What goes beside a name, in one line.
fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}

/// The median over rounds of the latency at each quantile that all of them know; the longest stands where the number
/// of measurements puts it.
fn curve(row: &Row<'_>, op: Op) -> Vec<(f64, f64)> {
    let latencies: Vec<_> = row.outcomes.values().filter_map(|outcome| latency_of(outcome, op)).collect();
    let Some(first) = latencies.first() else { return Vec::new() };
    let mut points = Vec::new();
    for (quantile, _) in &first.curve {
        let of = |latency: &&crate::cell::Latency| {
            let found = latency.curve.iter().find(|(other, _)| other.total_cmp(quantile).is_eq());
            found.map_or(f64::NAN, |(_, nanos)| *nanos as f64)
        };
        let Some(value) = Value::of(latencies.iter().map(of)) else { continue };
        let rare = if *quantile < 1.0 {
            1.0 / (1.0 - quantile)
        } else {
            Value::of(latencies.iter().map(|latency| latency.count as f64)).map_or(1.0, |count| count.median)
        };
        if value.rounds == latencies.len() && rare.is_finite() && rare >= 1.0 {
            points.push((rare, value.median.max(1.0)));
        }
    }
    // The longest does not stand before what is less rare.
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// Latency curves: how long the slowest share of operations took, one line a side.
pub(super) fn latencies(id: &str, summary: &Summary<'_>, sides: &Sides<'_>, op: Op) -> Option<String> {
    let curves: Vec<_> = summary.rows.iter().map(|row| (row, curve(row, op))).collect();
    let all = || curves.iter().flat_map(|(_, points)| points);
    let most = all().map(|(_, nanos)| *nanos).fold(0.0, f64::max);
    let least = all().map(|(_, nanos)| *nanos).fold(f64::INFINITY, f64::min);
    let rarest = all().map(|(rare, _)| *rare).fold(0.0, f64::max);
    if all().count() < 2 {
        return None;
    }
    let mut about = match summary.part.rounds {
        1 => String::new(),
        rounds => format!("Figures are {}. ", of_rounds(rounds)),
    };
    for (row, _) in &curves {
        let at = |of: fn(&crate::cell::Latency) -> u64| {
            let value = row.value(|outcome| latency_of(outcome, op).map_or(f64::NAN, |l| of(l) as f64));
            value.map_or_else(|| "-".into(), |value| shown(Unit::Nanos, value.median))
        };
        if row.rate.is_some() {
            let _ = write!(about, "{}: half within {}, ", row.side, at(|l| l.p50));
            let _ = write!(about, "99 % within {}, longest {}. ", at(|l| l.p99), at(|l| l.max));
        }
    }
    let x = Scale::Log { least: 1.0, most: rarest.max(10.0) };
    let title = format!("{}: latency of {}", summary.workload, op.name());
    let mut plot = Plot::new(id, &title, about.trim_end(), HEIGHT, x, Scale::decades(least, most));
    plot.upright("no more than", |nanos| shown(Unit::Nanos, nanos).replace(".0 ", " ").replace(".00 ", " "));
    let names = ["0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %", "99.99999 %"];
    let decades = rarest.log10();
    let every = if decades > 4.6 { 2 } else { 1 };
    let ticks =
        names.iter().enumerate().step_by(every).map(|(i, name)| (10f64.powi(i as i32), (*name).to_owned()));
    let ticks: Vec<_> = ticks.filter(|(rare, _)| *rare <= rarest.max(10.0)).collect();
    plot.level("of the operations", &ticks);
    for (row, points) in curves {
        plot.line(sides.index(row.side), points);
    }
    Some(plot.end())
}

/// The outcome of the round in the middle: by rate, of two the slower.
fn middle<'r>(row: &Row<'r>) -> Option<&'r Outcome> {
    let mut outcomes: Vec<&Outcome> = row.outcomes.values().copied().collect();
    outcomes.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    outcomes.get(outcomes.len().checked_sub(1)? / 2).copied()
}

/// Operations a second in each whole step of an outcome, at its middle in seconds; neighbours are taken together where
/// there are too many.
fn steps(outcome: &Outcome) -> Vec<(f64, f64)> {
    let step = outcome.step_ms.max(1) as f64 / 1000.0;
    // The last is hardly ever whole.
    let whole = ((outcome.seconds / step + 1e-6) as usize).min(outcome.series.len());
    let together = whole.div_ceil(POINTS).max(1);
    let steps = outcome.series.get(..whole).unwrap_or_default().chunks(together).enumerate();
    let point = |(index, chunk): (usize, &[u64])| {
        let (begin, width) = ((index * together) as f64 * step, chunk.len() as f64 * step);
        (begin + width / 2.0, chunk.iter().map(|count| *count as f64).sum::<f64>() / width)
    };
    steps.map(point).collect()
}

/// Operations a second over the time of the round in the middle, with checkpoints below; `None` if there was too little
/// time for a line.
pub(super) fn over_time(id: &str, summary: &Summary<'_>, sides: &Sides<'_>) -> Option<(String, bool)> {
    let rows = summary.rows.iter().filter_map(|row| Some((row, middle(row)?)));
    let rows: Vec<_> = rows.map(|(row, outcome)| (row, outcome, steps(outcome))).collect();
    if rows.iter().all(|(_, _, steps)| steps.len() < 3) {
        return None;
    }
    let most = rows.iter().flat_map(|(_, _, steps)| steps).map(|(_, rate)| *rate).fold(0.0, f64::max);
    let seconds = rows.iter().map(|(_, outcome, _)| outcome.seconds).fold(0.0, f64::max);
    let mut about = String::from("The round in the middle of each side. ");
    for (row, outcome, steps) in &rows {
        if let Some(rates) = Value::of(steps.iter().map(|(_, rate)| *rate)) {
            let _ = write!(
                about,
                "{}: from {} to {} a second, {} checkpoints. ",
                row.side,
                crate::report::short(rates.least),
                crate::report::short(rates.most),
                outcome.checkpoints.len()
            );
        }
    }
    let x = Scale::Linear { least: 0.0, most: seconds };
    let title = format!("{}: operations a second over time", summary.workload);
    let mut plot = Plot::new(id, &title, about.trim_end(), HEIGHT, x, Scale::from_zero(most));
    plot.upright("operations a second", svg::count);
    let ticks: Vec<_> = x.ticks().into_iter().map(|tick| (tick, svg::count(tick))).collect();
    plot.level("seconds", &ticks);
    let mut lane = 0;
    for (row, outcome, steps) in rows {
        let side = sides.index(row.side);
        plot.line(side, steps);
        if !outcome.checkpoints.is_empty() {
            plot.strokes(side, lane, outcome.checkpoints.iter().copied());
            lane += 1;
        }
    }
    Some((plot.end(), lane > 0))
}
