//! What a query and a write cost by each way to reach the pages: the preset `article`, in words and figures.
#![forbid(unsafe_code)]

use super::table::{bytes, nanos, short};
use super::{Report, Row, Summary};
use crate::cell::Outcome;
use crate::limits::Limits;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Queries a second that figures are scaled to: the load of the article that asks when mmap is faster.
const QUERIES: f64 = 50_000.0;

/// One way to write pages and make them durable; medians.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Written {
    /// Microseconds a page until it is written.
    pub write_us: f64,
    /// Microseconds a page until all are durable.
    pub sync_us: f64,
    /// Bytes a page that reached the disk.
    pub disk_bytes: Option<f64>,
}

/// What writing costs either way.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Article {
    /// Pages of 4 KiB that were written before each sync, at random places.
    pub pages: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Through a mapping, and `msync`.
    pub mapped: Written,
    /// By `pwrite`, and `fdatasync`.
    pub called: Written,
}

/// The text, if the report is of that preset.
pub fn article(report: &Report) -> Option<String> {
    let written = report.article.as_ref()?;
    let mut text = String::new();
    for summary in Summary::all(report) {
        queries(&mut text, &summary, report.limits.as_ref());
    }
    let _ = writeln!(
        text,
        "\nwriting {} random pages of 4 KiB of a file of {} MiB, and making them durable, a page:",
        written.pages,
        written.file_bytes >> 20
    );
    for (way, side) in [("mapping, msync", &written.mapped), ("pwrite, fdatasync", &written.called)] {
        let disk = side.disk_bytes.map_or_else(|| "-".into(), bytes);
        let _ = writeln!(
            text,
            "{way:<18} {:>9} written  {:>9} synced  {disk:>9} on disk",
            nanos(side.write_us * 1e3),
            nanos(side.sync_us * 1e3)
        );
    }
    Some(text)
}

fn queries(text: &mut String, summary: &Summary<'_>, limits: Option<&Limits>) {
    let _ = writeln!(text, "\n{}: what a query costs, and 50,000 queries a second", summary.part.title);
    let _ = writeln!(
        text,
        "{:<14} {:>9} {:>11} {:>10} {:>11} {:>9} {:>9} {:>11} {:>9}",
        "side", "syscalls", "a second", "by calls", "a second", "soft", "hard", "in faults", "cpu cores"
    );
    for row in &summary.rows {
        let Some(line) = query(row, limits) else { continue };
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(
        text,
        "by calls: bytes that read calls brought, a copy each unless past the page cache; in faults: what the faults of a \
         query take by this machine's limits"
    );
}

fn query(row: &Row<'_>, limits: Option<&Limits>) -> Option<String> {
    let _ = row.rate?;
    let per_query = |of: &dyn Fn(&Outcome) -> f64| {
        row.value(|outcome| of(outcome) / outcome.operations.max(1) as f64)
            .map_or(f64::NAN, |value| value.median)
    };
    let calls = per_query(&|o| o.usage.system_calls.map_or(f64::NAN, |calls| calls.count as f64));
    let brought = per_query(&|o| o.usage.io.map_or(f64::NAN, |io| io.read_by_calls as f64));
    let (soft, hard) =
        (per_query(&|o| o.usage.soft_faults as f64), per_query(&|o| o.usage.hard_faults as f64));
    let limit =
        |name: &str| limits.and_then(|limits| limits.get(name)).map_or(f64::NAN, |figure| figure.median);
    // Nanoseconds and microseconds, as the figures say.
    let faults = soft * limit("fault-soft-alone") + hard * limit("fault-hard") * 1e3;
    let cores = per_query(&|o| o.usage.cpu_ns() as f64) * QUERIES / 1e9;
    Some(format!(
        "{:<14} {:>9} {:>11} {:>10} {:>11} {:>9} {:>9} {:>11} {:>9}",
        row.side,
        short(calls),
        short(calls * QUERIES),
        bytes(brought),
        bytes(brought * QUERIES),
        short(soft),
        short(hard),
        nanos(faults),
        short(cores),
    ))
}
