//! The tables of a run, for people and as JSON.
#![forbid(unsafe_code)]

use super::Options;
use super::contest::Outcome;
use super::drive::{self, Latencies};
use super::run::{Row, Table};
use super::workload::{Kind, Workload};
use crate::{Durability, data};
use serde_json::{Value, json};
use std::time::Duration;

/// Checkpoints that a run of unsynced overwrites should span.
const CHECKPOINTS: u64 = 10;

/// Prints `table`.
pub(super) fn print(options: &Options, table: &Table) {
    println!("\n{}: {}", table.workload.name, table.workload.describe());
    match table.workload.kind {
        Kind::ReaderBeside => print_reader(options, table),
        Kind::CommitsDuringCheckpoint | Kind::GetsDuringCheckpoint => print_checkpoint(table),
        _ => print_rates(options, table),
    }
    for row in &table.rows {
        if let Some(failure) = &row.failure {
            println!("  failed: {failure}");
        }
    }
}

fn name(row: &Row) -> String {
    format!("{}{}", row.name, if row.only_durable { "*" } else { "" })
}

fn print_rates(options: &Options, table: &Table) {
    let unit = if table.workload.in_commits() { "commits/s" } else { "entries/s" };
    println!(
        "{:<12} {unit:>11} {:>19} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>6}",
        "store",
        "least-most",
        "ratio",
        "p50",
        "p99",
        "p99.9",
        "max",
        "finish",
        "disk/put",
        "self/put",
        "space"
    );
    let baseline = baseline(options, table);
    for row in table.rows.iter().filter(|row| !row.rounds.is_empty()) {
        let rate = |outcome: &Outcome| rate(&table.workload, outcome);
        let (least, most) = spread(row, rate);
        let commits = merged(row, |outcome| Some(&outcome.latency));
        println!(
            "{:<12} {:>11.0} {:>19} {:>7} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8} {:>6}",
            name(row),
            median(row, rate),
            format!("{least:.0}-{most:.0}"),
            ratio(row, baseline, rate),
            percentile(&commits, 0.5),
            percentile(&commits, 0.99),
            percentile(&commits, 0.999),
            percentile(&commits, 1.0),
            nanos(median(row, |outcome| outcome.finish.as_nanos() as f64)),
            whole(median_of(row, |outcome| Some(outcome.written.device? as f64 / outcome.puts as f64))),
            whole(median_of(row, |outcome| Some(outcome.written.process? as f64 / outcome.puts as f64))),
            format!("{:.2}", median(row, |o| o.file_bytes as f64) / data::bytes(options.entries) as f64),
        );
        print_counters(table, row);
    }
}

/// What only Bifold counts.
fn print_counters(table: &Table, row: &Row) {
    let Some(fewest) = row.rounds.iter().filter_map(|o| o.counters).map(|c| c.checkpoints).min() else {
        return;
    };
    let counted =
        |of: fn(&crate::Counters) -> f64| median_of(row, |o| o.counters.as_ref().map(of)).unwrap_or(0.0);
    println!(
        "{:<12} {:.0} log bytes a commit, {:.2} commits a sync, {:.0} checkpoints of {:.0} pages",
        "",
        counted(|c| c.log_bytes as f64 / c.commits.max(1) as f64),
        counted(|c| c.commits as f64 / c.log_syncs.max(1) as f64),
        counted(|c| c.checkpoints as f64),
        counted(|c| c.checkpoint_pages as f64 / c.checkpoints.max(1) as f64),
    );
    let w = table.workload;
    if w.kind == Kind::Overwrite && w.durability == Durability::Unsynced && fewest < CHECKPOINTS {
        println!("{:<12} only {fewest} checkpoints in a round: raise --seconds", "");
    }
}

fn print_reader(options: &Options, table: &Table) {
    println!(
        "{:<12} {:>12} {:>13} {:>6} {:>7} {:>11} {:>7} {:>9} {:>9} {:>8}",
        "store",
        "gets/s alone",
        "gets/s beside",
        "kept",
        "ratio",
        "puts/s",
        "ratio",
        "p99.9",
        "max",
        "finish"
    );
    let baseline = baseline(options, table);
    let puts = |outcome: &Outcome| rate(&table.workload, outcome);
    let beside = |outcome: &Outcome| outcome.reads.map_or(0.0, |reads| reads.1);
    for row in table.rows.iter().filter(|row| !row.rounds.is_empty()) {
        let commits = merged(row, |outcome| Some(&outcome.latency));
        println!(
            "{:<12} {:>12.0} {:>13.0} {:>5.0}% {:>7} {:>11.0} {:>7} {:>9} {:>9} {:>8}",
            name(row),
            median(row, |outcome| outcome.reads.map_or(0.0, |reads| reads.0)),
            median(row, beside),
            100.0 * median(row, |outcome| outcome.reads.map_or(0.0, |(alone, beside)| beside / alone)),
            ratio(row, baseline, beside),
            median(row, puts),
            ratio(row, baseline, puts),
            percentile(&commits, 0.999),
            percentile(&commits, 1.0),
            nanos(median(row, |outcome| outcome.finish.as_nanos() as f64)),
        );
    }
}

fn print_checkpoint(table: &Table) {
    println!(
        "{:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11}",
        "store", "quiet: n", "p50", "p99.9", "during: n", "p50", "p99.9", "max", "p99.9 ratio"
    );
    for row in table.rows.iter().filter(|row| !row.rounds.is_empty()) {
        let quiet = merged(row, |outcome| outcome.quiet.as_ref());
        let during = merged(row, |outcome| Some(&outcome.latency));
        let tail = |latencies: &Latencies| latencies.value_at_quantile(0.999) as f64;
        println!(
            "{:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>11.2}",
            name(row),
            quiet.len(),
            percentile(&quiet, 0.5),
            percentile(&quiet, 0.999),
            during.len(),
            percentile(&during, 0.5),
            percentile(&during, 0.999),
            percentile(&during, 1.0),
            if during.is_empty() { f64::NAN } else { tail(&during) / tail(&quiet) },
        );
    }
}

/// Commits a second while they were made; or, of work without syncs, entries a second with all that was put off.
fn rate(workload: &Workload, outcome: &Outcome) -> f64 {
    match workload.durability {
        Durability::Synced => outcome.commits as f64 / outcome.run.as_secs_f64(),
        Durability::Unsynced => outcome.puts as f64 / (outcome.run + outcome.finish).as_secs_f64(),
    }
}

fn baseline<'t>(options: &Options, table: &'t Table) -> Option<&'t Row> {
    let mut rows = table.rows.iter().filter(|row| !row.rounds.is_empty());
    rows.clone().find(|row| row.name == options.baseline).or_else(|| rows.next())
}

/// The median over the rounds of `of` divided by the baseline's in the same round.
fn ratio(row: &Row, baseline: Option<&Row>, of: impl Fn(&Outcome) -> f64) -> String {
    let Some(baseline) = baseline else { return "-".into() };
    let ratios = row.rounds.iter().zip(&baseline.rounds).map(|(a, b)| of(a) / of(b)).collect();
    middle(ratios).map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"))
}

fn median(row: &Row, of: impl Fn(&Outcome) -> f64) -> f64 {
    middle(row.rounds.iter().map(of).collect()).unwrap_or(f64::NAN)
}

fn median_of(row: &Row, of: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
    middle(row.rounds.iter().filter_map(of).collect())
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn spread(row: &Row, of: impl Fn(&Outcome) -> f64) -> (f64, f64) {
    row.rounds.iter().map(of).fold((f64::INFINITY, 0.0), |(least, most), v| (v.min(least), v.max(most)))
}

fn merged<'r>(row: &'r Row, of: impl Fn(&'r Outcome) -> Option<&'r Latencies>) -> Latencies {
    let mut all = drive::latencies();
    for latencies in row.rounds.iter().filter_map(of) {
        // All have the same bounds, so nothing is lost.
        let _ = all.add(latencies);
    }
    all
}

fn percentile(latencies: &Latencies, quantile: f64) -> String {
    if latencies.is_empty() { "-".into() } else { nanos(latencies.value_at_quantile(quantile) as f64) }
}

fn nanos(nanos: f64) -> String {
    format!("{:.1?}", Duration::from_nanos(nanos as u64))
}

fn whole(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.0}"))
}

/// All tables with every round's figures.
pub(super) fn json(options: &Options, tables: &[Table]) -> Value {
    let tables: Vec<Value> = tables.iter().map(table_json).collect();
    json!({
        "entries": options.entries,
        "entry_bytes": data::bytes(1),
        "seconds": options.seconds,
        "memory": options.memory_rule(),
        "workloads": tables,
    })
}

fn table_json(table: &Table) -> Value {
    let w = &table.workload;
    let rows: Vec<Value> = table.rows.iter().map(|row| row_json(w, row)).collect();
    json!({
        "name": w.name,
        "what": w.describe(),
        "threads": w.threads,
        "batch": if w.kind == Kind::Load { Value::Null } else { w.batch.into() },
        "durable": w.durability == Durability::Synced,
        "stores": rows,
    })
}

fn row_json(workload: &Workload, row: &Row) -> Value {
    let rounds: Vec<Value> = row.rounds.iter().map(|outcome| outcome_json(workload, outcome)).collect();
    json!({ "name": row.name, "only_durable": row.only_durable, "failure": row.failure, "rounds": rounds })
}

fn outcome_json(workload: &Workload, outcome: &Outcome) -> Value {
    let latencies = |l: &Latencies| {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| l.value_at_quantile(quantile));
        json!({ "count": l.len(), "p50_ns": p50, "p99_ns": p99, "p99.9_ns": p999, "max_ns": l.max() })
    };
    json!({
        "rate": rate(workload, outcome),
        "puts": outcome.puts,
        "commits": outcome.commits,
        "run_s": outcome.run.as_secs_f64(),
        "finish_s": outcome.finish.as_secs_f64(),
        "latency": latencies(&outcome.latency),
        "latency_quiet": outcome.quiet.as_ref().map(latencies),
        "gets_alone": outcome.reads.map(|reads| reads.0),
        "gets_beside": outcome.reads.map(|reads| reads.1),
        "device_bytes": outcome.written.device,
        "process_bytes": outcome.written.process,
        "file_bytes": outcome.file_bytes,
        "counters": outcome.counters.map(|c| json!({
            "commits": c.commits,
            "log_bytes": c.log_bytes,
            "log_syncs": c.log_syncs,
            "checkpoints": c.checkpoints,
            "checkpoint_pages": c.checkpoint_pages,
        })),
    })
}
