//! Made-up reports.
#![allow(dead_code, reason = "each test takes what it needs")]

use bifold_bench::cell::{Beside, Done, Latency, Outcome, Source};
use bifold_bench::corpus::{Made, Sizes};
use bifold_bench::drive::{Pace, Until};
use bifold_bench::report::{Cell, Environment, Part, Report, VERSION};
use bifold_bench::usage::{Resident, SystemCalls, Transfers, Usage};
use bifold_bench::workload::{self, Op, Work};
use bifold_bench::{Durability, Setup};

/// Seconds of a run.
const SECONDS: u64 = 30;

/// The kinds of operation of a workload that is measured.
fn ops(workload: &str) -> Vec<Op> {
    match workload::find(workload).unwrap().work {
        Work::Load { .. } | Work::Replay(_) => vec![Op::Insert],
        Work::Run(roles) => {
            let measured = roles.iter().filter(|role| role.measured);
            measured.flat_map(|role| role.mix.iter().map(|(op, _)| *op)).collect()
        }
    }
}

fn latency(count: u64, nanos: f64) -> Latency {
    let at = |quantile: f64| (nanos * (1.0 / (1.0 - quantile.min(1.0 - 1e-6))).powf(0.6)) as u64;
    let quantiles = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999];
    let curve = quantiles.into_iter().chain([0.9999, 0.99999, 1.0]);
    Latency {
        count,
        mean: nanos,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        curve: curve.map(|quantile| (quantile, at(quantile))).collect(),
    }
}

/// What comes of a run at so many operations a second.
pub(crate) fn outcome(workload: &str, rate: f64) -> Outcome {
    let operations = (rate * SECONDS as f64) as u64;
    let kinds = ops(workload);
    let share = operations / kinds.len() as u64;
    let done = |op: &Op| Done { op: *op, count: share, latency: latency(share, 0.7e9 / rate) };
    let cpu = (SECONDS as f64 * 0.9e9) as u64;
    let usage = Usage {
        user_ns: cpu / 10 * 7,
        system_ns: cpu / 10 * 3,
        soft_faults: operations / 20,
        hard_faults: operations / 3000,
        voluntary_switches: operations / 100,
        involuntary_switches: 17,
        system_calls: Some(SystemCalls { count: operations / 7, all: true }),
        memory: Some(Resident { peak: 90 << 20, ..Resident::default() }),
        ..Usage::default()
    };
    let steps = SECONDS * 10;
    let step = |n: u64| (rate / 10.0 * (1.0 + 0.2 * (n as f64 / 7.0).sin())) as u64;
    Outcome {
        main: kinds[0],
        operations,
        seconds: SECONDS as f64,
        ops: kinds.iter().map(done).collect(),
        beside: Beside::default(),
        entries_read: operations,
        bytes_read: operations * 116,
        entries_written: operations / 2,
        bytes_written: operations / 2 * 116,
        usage,
        disk: Some(Transfers {
            reads: operations / 3,
            read_bytes: operations * 1400,
            written_bytes: operations * 900,
            ..Transfers::default()
        }),
        series: (0..steps).map(step).collect(),
        step_ms: 100,
        checkpoints: (0..SECONDS * 3).map(|n| n as f64 / 3.0).collect(),
        file_bytes: 90 << 20,
        entries_before: Some(578_524),
        entries: 578_524,
        open_loop: None,
        counters: None,
        open_seconds: 0.01,
        close_seconds: 0.1,
        cold: None,
        notes: vec!["the disk is a <virtual> one".into()],
    }
}

/// A report of one part in which `rate` says how many operations a second a side does of a workload in a round.
pub(crate) fn report(
    workloads: &[&str],
    sides: &[&str],
    rounds: u64,
    rate: impl Fn(&str, &str, u64) -> f64,
) -> Report {
    let mut cells = Vec::new();
    for workload in workloads {
        for round in 0..rounds {
            for side in sides {
                let result = Ok(outcome(workload, rate(workload, side, round)));
                let (side, workload) = ((*side).to_owned(), (*workload).to_owned());
                cells.push(Cell { part: 0, side, workload, round, result });
            }
        }
    }
    let made = Made { entries: 578_524, keys: Sizes::Fixed(16), values: Sizes::Fixed(100), seed: 1 };
    let part = Part {
        title: "64 MiB of data".into(),
        sides: sides.iter().map(ToString::to_string).collect(),
        baseline: sides[0].into(),
        workloads: workloads.iter().map(|name| workload::find(name).unwrap()).collect(),
        source: Source::Made(made),
        data_bytes: 64 << 20,
        entries: made.entries,
        rounds,
        pace: Pace { threads: 1, warmup: 1.0, until: Until::Seconds(SECONDS as f64), rate: None, seed: 1 },
        setup: Setup { durability: Durability::Unsynced, ..Setup::in_memory(64 << 20) },
        fits: true,
        memory: None,
        notes: vec!["memory is not bounded".into()],
        check_nanos: 37.0,
    };
    Report {
        version: VERSION,
        environment: environment(),
        command: vec!["bifold-bench".into(), "compare".into(), "--dir".into(), "a directory".into()],
        complete: true,
        cut_short: None,
        limits: None,
        article: None,
        parts: vec![part],
        cells,
    }
}

/// A machine.
pub(crate) fn environment() -> Environment {
    Environment {
        made: 1_790_000_000,
        version: "0.1.0".into(),
        kernel: Some("6.12.1".into()),
        cpu: Some("A processor".into()),
        processors: 8,
        memory_bytes: Some(16 << 30),
        ..Environment::default()
    }
}

/// A factor that differs a little from round to round.
pub(crate) fn jitter(round: u64) -> f64 {
    [1.0, 0.98, 1.02, 0.99, 1.01][(round % 5) as usize]
}
