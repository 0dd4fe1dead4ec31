//! Reports as tables for a terminal.
#![forbid(unsafe_code)]

use super::{Part, Report, Row, Summary, Value, share};
use crate::cell::{Outcome, REPLAY};
use crate::limits::Limits;
use crate::usage::Transfers;
use crate::workload::Op;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A table of all that a report holds.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    for line in report.environment.lines() {
        let _ = writeln!(text, "{line}");
    }
    let mut part = None;
    for summary in Summary::all(report) {
        if part != Some(&raw const *summary.part) {
            part = Some(&raw const *summary.part);
            heading(&mut text, &summary);
        }
        one(&mut text, &summary, report.limits.as_ref());
        for note in noted(&summary) {
            let _ = writeln!(text, "note: {}", note.strip_prefix(REPLAY).unwrap_or(note));
        }
    }
    if let Some(cut) = report.cut("here") {
        let _ = writeln!(text, "\n{cut}");
    }
    text
}

/// What could not be done or counted, each once.
fn noted<'r>(summary: &Summary<'r>) -> BTreeSet<&'r str> {
    let outcomes = summary.rows.iter().flat_map(|row| row.outcomes.values());
    outcomes.flat_map(|outcome| &outcome.notes).map(String::as_str).collect()
}

fn heading(text: &mut String, summary: &Summary<'_>) {
    let part = summary.part;
    let _ = writeln!(text, "\n== {} ==", part.title);
    for note in &part.notes {
        let _ = writeln!(text, "{note}");
    }
    let _ = writeln!(
        text,
        "checking a value takes {:.0} ns, on every side; figures are medians of {} rounds, ratios are to {}",
        part.check_nanos, part.rounds, part.baseline
    );
}

fn one(text: &mut String, summary: &Summary<'_>, limits: Option<&Limits>) {
    let _ = writeln!(text, "\n{}: {}", summary.workload, summary.about);
    let _ = writeln!(
        text,
        "{:<18} {:>9} {:>15} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8} {:>8} {:>6}",
        "side",
        "ops/s",
        "least-most",
        "ratio",
        "p50",
        "p99",
        "p99.9",
        "max",
        "cpu/op",
        "disk rd/op",
        "disk wr/op",
        "syscalls",
        "faults",
        "hard",
        "space"
    );
    for row in &summary.rows {
        let _ = writeln!(text, "{}", line(row, summary.part));
    }
    beside(text, summary);
    let kept = |row: &Row<'_>| Some(format!("{} {}", row.side, percent(row.kept()?.median)));
    let kept: Vec<String> = summary.rows.iter().filter_map(kept).collect();
    if !kept.is_empty() {
        let _ = writeln!(text, "of the operations that were due, begun: {}", kept.join(", "));
    }
    let limits = limits.filter(|_| summary.rows.iter().any(|row| row.rate.is_some()));
    let shares = summary.rows.iter().filter_map(|row| {
        let (share, of) = share(row, summary.part, summary.workload, limits?)?;
        Some(format!("{} {:.0} % of {of}", row.side, share * 100.0))
    });
    let shares: Vec<String> = shares.collect();
    if !shares.is_empty() {
        let _ = writeln!(text, "of this machine's limits: {}", shares.join(", "));
    }
}

/// What was done beside what is measured.
fn beside(text: &mut String, summary: &Summary<'_>) {
    let ops: BTreeSet<Op> = summary.rows.iter().flat_map(Row::beside).collect();
    for op in ops {
        let of = |row: &Row<'_>| {
            let rate = short(row.beside_rate(op)?.median);
            let (p50, p99) = (row.beside_latency(op, |l| l.p50)?, row.beside_latency(op, |l| l.p99)?);
            Some(format!("{} {rate}/s (p50 {}, p99 {})", row.side, nanos(p50.median), nanos(p99.median)))
        };
        let sides: Vec<String> = summary.rows.iter().filter_map(of).collect();
        if !sides.is_empty() {
            let _ = writeln!(text, "beside that, {}: {}", op.name(), sides.join(", "));
        }
    }
}

fn line(row: &Row<'_>, part: &Part) -> String {
    let Some(rate) = row.rate else {
        let how = row.died.first().map_or_else(|| "not run".into(), ToString::to_string);
        return format!("{:<18} {how}", row.side);
    };
    let of = |value: &dyn Fn(&Outcome) -> f64| row.value(value).map_or(f64::NAN, |value| value.median);
    let per_op = |count: &dyn Fn(&Outcome) -> u64| {
        let value = row.value(|outcome| count(outcome) as f64 / outcome.operations.max(1) as f64);
        value.map_or_else(|| "-".into(), |value| short(value.median))
    };
    let disk = |count: &dyn Fn(&Transfers) -> u64| {
        let value = row.value(|outcome| {
            outcome
                .disk
                .as_ref()
                .map_or(f64::NAN, |disk| count(disk) as f64 / outcome.operations.max(1) as f64)
        });
        value.map_or_else(|| "-".into(), |value: Value| bytes(value.median))
    };
    let latency = |of_main: &dyn Fn(&crate::cell::Latency) -> u64| {
        let value =
            row.value(|outcome| outcome.main().map_or(f64::NAN, |done| of_main(&done.latency) as f64));
        value.map_or_else(|| "-".into(), |value| nanos(value.median))
    };
    let died = if row.died.is_empty() {
        String::new()
    } else {
        format!("  {} died: {}", row.died.len(), row.died[0])
    };
    format!(
        "{:<18} {:>9} {:>15} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8} {:>8} {:>6}{died}",
        row.side,
        short(rate.median),
        format!("{}-{}", short(rate.least), short(rate.most)),
        row.ratio.map_or_else(|| "-".into(), |ratio| format!("{:.2}", ratio.median)),
        latency(&|l| l.p50),
        latency(&|l| l.p99),
        latency(&|l| l.p999),
        latency(&|l| l.max),
        nanos(of(&|outcome| outcome.cpu_per_op() * 1e9)),
        disk(&|d| d.read_bytes),
        disk(&|d| d.written_bytes),
        per_op(&|outcome| outcome.usage.system_calls.map_or(0, |calls| calls.count)),
        per_op(&|outcome| outcome.usage.soft_faults),
        per_op(&|outcome| outcome.usage.hard_faults),
        format!("{:.2}", of(&|outcome| part.space(outcome))),
    )
}

/// A count in few characters.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e9 => format!("{:.2} G", value / 1e9),
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e4 => format!("{:.1} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        v if v >= 0.001 => format!("{value:.3}"),
        0.0 => "0".into(),
        _ => format!("{value:.0e}"),
    }
}

/// A share in percent; one that is not all is not called so.
pub(crate) fn percent(share: f64) -> String {
    let tenths = (share * 1000.0).floor() / 10.0;
    if tenths >= 99.0 && share < 1.0 { format!("{tenths:.1} %") } else { format!("{:.0} %", share * 100.0) }
}

/// A time in nanoseconds, in few characters.
pub(crate) fn nanos(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".into(),
        v if v >= 1e9 => format!("{:.2} s", v / 1e9),
        v if v >= 1e6 => format!("{:.1} ms", v / 1e6),
        v if v >= 1e4 => format!("{:.0} us", v / 1e3),
        v if v >= 1e3 => format!("{:.1} us", v / 1e3),
        v => format!("{v:.0} ns"),
    }
}

/// A number of bytes, in few characters.
pub(crate) fn bytes(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".into(),
        v if v >= 1024.0 * 1024.0 * 1024.0 => format!("{:.1} GiB", v / (1024.0 * 1024.0 * 1024.0)),
        v if v >= 1024.0 * 1024.0 => format!("{:.1} MiB", v / (1024.0 * 1024.0)),
        v if v >= 10240.0 => format!("{:.0} KiB", v / 1024.0),
        v => format!("{v:.0} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            [0.0, 0.01, 5.25, 123.4, 12_345.0, 2.5e6, 3e9].map(short),
            ["0", "0.010", "5.2", "123", "12.3 k", "2.50 M", "3.00 G"]
        );
        assert_eq!(
            [5.0, 1500.0, 15_000.0, 2.5e6, 3e9].map(nanos),
            ["5 ns", "1.5 us", "15 us", "2.5 ms", "3.00 s"]
        );
        assert_eq!(
            [0.0, 0.614, 0.9896, 0.99999, 1.0].map(percent),
            ["0 %", "61 %", "99 %", "99.9 %", "100 %"]
        );
        assert_eq!([5.0, 20480.0, 3_145_728.0].map(bytes), ["5 B", "20 KiB", "3.0 MiB"]);
    }
}
