//! Reports as tables for a terminal.
#![forbid(unsafe_code)]

use super::{Part, Report, Row, Summary, share};
use crate::cell::{Outcome, REPLAY};
use crate::limits::Limits;
use crate::usage::Transfers;
use crate::workload::Op;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Columns of a side's name, and of the figures behind it.
const SIDE: usize = 13;
const SPEED: [usize; 7] = [7, 15, 5, 8, 8, 8, 8];
const COSTS: [usize; 7] = [8, 10, 10, 8, 8, 8, 6];

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
        "checking a value takes {:.0} ns, on every side; figures are {}, ratios are to {}",
        part.check_nanos,
        of_rounds(part.rounds),
        part.baseline
    );
}

/// A workload in two blocks, each of no more than 80 columns: how fast the sides are, and what an operation costs.
fn one(text: &mut String, summary: &Summary<'_>, limits: Option<&Limits>) {
    let _ = writeln!(text, "\n{}: {}", summary.workload, summary.about);
    let speeds = summary.rows.iter().map(|row| speed(row).unwrap_or_else(|how| [how].into()));
    let heads = ["ops/s", "least-most", "ratio", "p50", "p99", "p99.9", "max"].map(str::to_owned);
    block(text, ("side", &heads, &SPEED), summary.rows.iter().map(|row| row.side).zip(speeds));
    let ran: Vec<_> = summary.rows.iter().filter(|row| row.rate.is_some()).collect();
    if !ran.is_empty() {
        let heads =
            ["cpu/op", "disk rd/op", "disk wr/op", "syscalls", "faults", "hard", "space"].map(str::to_owned);
        let costs = ran.iter().map(|row| (row.side, costs(row, summary.part)));
        block(text, ("", &heads, &COSTS), costs);
    }
    beside(text, summary);
    let kept = |row: &Row<'_>| Some(format!("{} {}", row.side, percent(row.kept()?.median)));
    let kept: Vec<String> = summary.rows.iter().filter_map(kept).collect();
    if !kept.is_empty() {
        let _ = writeln!(text, "{}: {}", summary.kept_of(), kept.join(", "));
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

/// A line of heads, and one for each side. What has no column of its own stands behind them, as it is.
fn block<'r>(
    text: &mut String,
    (first, heads, widths): (&'r str, &[String], &[usize]),
    rows: impl Iterator<Item = (&'r str, Vec<String>)>,
) {
    for (name, cells) in std::iter::once((first, heads.to_vec())).chain(rows) {
        let mut line = format!("{name:<SIDE$}");
        for (at, cell) in cells.iter().enumerate() {
            let width = if cells.len() > 1 { widths.get(at).copied().unwrap_or(0) } else { 0 };
            let _ = write!(line, " {cell:>width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// How fast a side is; or else what became of it.
fn speed(row: &Row<'_>) -> Result<Vec<String>, String> {
    let Some(rate) = row.rate else {
        return Err(row.died.first().map_or_else(|| "not run".into(), ToString::to_string));
    };
    let latency = |of_main: &dyn Fn(&crate::cell::Latency) -> u64| {
        let value =
            row.value(|outcome| outcome.main().map_or(f64::NAN, |done| of_main(&done.latency) as f64));
        value.map_or_else(|| "-".into(), |value| nanos(value.median))
    };
    let mut cells = vec![
        short(rate.median),
        format!("{}-{}", short(rate.least), short(rate.most)),
        row.ratio.map_or_else(|| "-".into(), |ratio| format!("{:.2}", ratio.median)),
        latency(&|l| l.p50),
        latency(&|l| l.p99),
        latency(&|l| l.p999),
        latency(&|l| l.max),
    ];
    if let Some(died) = row.died.first() {
        cells.push(format!(" {} died: {died}", row.died.len()));
    }
    Ok(cells)
}

/// What an operation of a side costs the machine.
fn costs(row: &Row<'_>, part: &Part) -> Vec<String> {
    let shown = |show: fn(f64) -> String, of: &dyn Fn(&Outcome) -> f64| {
        row.value(of).map_or_else(|| "-".into(), |value| show(value.median))
    };
    let per_op = |count: &dyn Fn(&Outcome) -> u64| {
        shown(short, &|outcome| count(outcome) as f64 / outcome.operations.max(1) as f64)
    };
    let disk = |count: &dyn Fn(&Transfers) -> u64| {
        shown(bytes, &|outcome| {
            let all = outcome.disk.as_ref().map_or(f64::NAN, |disk| count(disk) as f64);
            all / outcome.operations.max(1) as f64
        })
    };
    vec![
        shown(nanos, &|outcome| outcome.cpu_per_op() * 1e9),
        disk(&|d| d.read_bytes),
        disk(&|d| d.written_bytes),
        per_op(&|outcome| outcome.usage.system_calls.map_or(0, |calls| calls.count)),
        per_op(&|outcome| outcome.usage.soft_faults),
        per_op(&|outcome| outcome.usage.hard_faults),
        shown(|space| format!("{space:.2}"), &|outcome| part.space(outcome)),
    ]
}

/// What figures are, of so many rounds.
pub(crate) fn of_rounds(rounds: u64) -> String {
    if rounds == 1 { "those of one round".into() } else { format!("medians of {rounds} rounds") }
}

/// So many of what is called `one`, and with an s if they are more or none.
pub(crate) fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
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

/// A size of data in words, in MiB unless it is less than one.
pub(crate) fn size(value: u64) -> String {
    if value < 1 << 20 { bytes(value as f64) } else { format!("{} MiB", value >> 20) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_a_unit_that_shows_them() {
        assert_eq!([size(0), size(2000), size(700 << 10)], ["0 B", "2000 B", "700 KiB"]);
        assert_eq!([size(1 << 20), size(64 << 20), size(5 << 30)], ["1 MiB", "64 MiB", "5120 MiB"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!([of_rounds(1), of_rounds(3)], ["those of one round", "medians of 3 rounds"]);
        assert_eq!([0, 1, 2].map(|count| counted(count, "run")), ["0 runs", "1 run", "2 runs"]);
    }

    #[test]
    fn columns_fit_a_terminal() {
        let wide = |widths: &[usize]| SIDE + widths.iter().map(|width| width + 1).sum::<usize>();
        assert!(wide(&SPEED) <= 80 && wide(&COSTS) <= 80);
        let mut text = String::new();
        let heads = ["a", "b"].map(str::to_owned);
        let rows = [
            ("one", vec!["1".into(), "2".into(), "3".into()]),
            ("two", vec!["killed: out of memory".into()]),
        ];
        block(&mut text, ("side", &heads, &[4, 4]), rows.into_iter());
        let wanted =
            "side             a    b\none              1    2 3\ntwo           killed: out of memory\n";
        assert_eq!(text, wanted);
    }

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
