//! Two reports against each other: what is said, and the exit code.

#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod made;

use bifold_bench::cell::Died;
use bifold_bench::diff::{Diff, Judged};
use bifold_bench::report::{Cell, Report};
use made::{jitter, report};
use std::process::{Command, Output};

const SIDES: [&str; 2] = ["bifold-mmap", "bifold-pool"];

/// A report in which a side does `pool` times as much as usual.
fn with_pool(rounds: u64, pool: f64) -> Report {
    report(&["get", "ycsb-a"], &SIDES, rounds, |_, side, round| {
        let side = if side == "bifold-pool" { pool } else { 1.0 };
        100_000.0 * side * jitter(round)
    })
}

fn diff(a: &Report, b: &Report, options: &[&str]) -> (Output, String) {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("a.json"), dir.path().join("b.json"));
    a.write(&first).unwrap();
    b.write(&second).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bifold-bench"))
        .arg("diff")
        .args([&first, &second])
        .args(options)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

fn judged(diff: &Diff, workload: &str, side: &str, figure: &str) -> Judged {
    let line = diff.lines.iter().find(|line| line.workload == workload && line.side == side).unwrap();
    line.changes().find(|change| change.figure == figure).unwrap().judged
}

#[test]
fn the_same_twice_is_the_same() {
    let a = with_pool(3, 1.0);
    let (output, text) = diff(&a, &a, &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("0 worse, 0 better") && !text.contains("Not made alike"), "{text}");
}

#[test]
fn what_is_worse_in_every_round_fails() {
    let (a, b) = (with_pool(3, 1.0), with_pool(3, 0.8));
    let (output, text) = diff(&a, &b, &[]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("- 64 MiB of data, get, bifold-pool: rate 100.0 k -> 80.0 k (-20%)"), "{text}");
    assert!(text.contains("fall apart by chance"), "{text}");
    let found = Diff::of(&a, &b, 0.05);
    for figure in ["rate", "p50", "p99", "p99.9", "processor time per operation"] {
        assert_eq!(judged(&found, "get", "bifold-pool", figure), Judged::Worse, "{figure}");
        assert_eq!(judged(&found, "get", "bifold-mmap", figure), Judged::Same, "{figure}");
    }
    // Of ycsb-a there are two kinds of latencies: 5 figures of get are worse, and 8 of ycsb-a.
    assert_eq!((found.count(Judged::Worse), found.count(Judged::Better)), (13, 0));
    // 1 of 20 orders of three and three; 6 figures of get and 9 of ycsb-a, on two sides.
    assert!((found.by_chance - 30.0 / 20.0).abs() < 1e-9, "{}", found.by_chance);
    // The other way round it is better, and no failure.
    let (output, text) = diff(&b, &a, &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("0 worse, 13 better") && text.contains("80.0 k -> 100.0 k (+25%)"), "{text}");
    // And it is the same to who asks for more.
    let (output, text) = diff(&a, &b, &["--threshold", "40%"]);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn noise_is_called_noise() {
    let a = with_pool(3, 1.0);
    // 12 % slower in the middle, and one round as fast as before.
    let b =
        report(&["get", "ycsb-a"], &SIDES, 3, |_, _, round| [88_000.0, 100_000.0, 80_000.0][round as usize]);
    let (output, text) = diff(&a, &b, &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(judged(&Diff::of(&a, &b, 0.05), "get", "bifold-mmap", "rate"), Judged::Noise);
}

#[test]
fn of_two_rounds_nothing_is_said() {
    let (output, text) = diff(&with_pool(3, 1.0), &with_pool(2, 0.1), &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("0 worse, 0 better") && text.contains("30 with too few rounds"), "{text}");
    assert!(text.contains("rounds: 3 in the first report, 2 in the second"), "{text}");
}

#[test]
fn what_one_report_lacks_is_told() {
    let a = with_pool(3, 1.0);
    let mut b = with_pool(3, 1.0);
    b.parts[0].sides.remove(1);
    b.cells.retain(|cell| cell.side == "bifold-mmap" && cell.workload == "get");
    b.complete = false;
    let (output, text) = diff(&a, &b, &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("- 64 MiB of data, get, bifold-pool: only in the first report"), "{text}");
    assert!(text.contains("- 64 MiB of data, ycsb-a, bifold-mmap: only in the first report"), "{text}");
    assert!(text.contains("the second report was cut short"), "{text}");
    // Nothing in common is an error, not a success.
    b.cells.clear();
    let (output, _) = diff(&a, &b, &[]);
    assert_eq!(output.status.code(), Some(2));
}

fn kill(report: &mut Report, died: &Died, rounds: u64) {
    let mine = |cell: &&mut Cell| cell.side == "bifold-pool" && cell.workload == "get" && cell.round < rounds;
    report.cells.iter_mut().filter(mine).for_each(|cell| cell.result = Err(died.clone()));
}

#[test]
fn a_side_that_dies_is_worse() {
    let a = with_pool(3, 1.0);
    for rounds in [1, 3] {
        let mut b = a.clone();
        kill(&mut b, &Died::ForMemory, rounds);
        let (output, text) = diff(&a, &b, &[]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("now: {rounds} of 3 rounds: killed: out of memory")), "{text}");
        let (output, text) = diff(&b, &a, &[]);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("Better:") && text.contains("without a result before"), "{text}");
        // As before is no news.
        assert_eq!(diff(&b, &b, &[]).0.status.code(), Some(0));
    }
    // What the user ended is not what the side did.
    let mut b = a.clone();
    kill(&mut b, &Died::Interrupted, 3);
    let (output, text) = diff(&a, &b, &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("get, bifold-pool: only in the first report"), "{text}");
}

#[test]
fn other_conditions_are_told() {
    let a = with_pool(3, 1.0);
    let mut b = a.clone();
    b.environment.kernel = Some("7.0".into());
    b.environment.commit = Some("of no account".into());
    b.parts[0].setup.cache_bytes /= 2;
    b.parts[0].pace.threads = 4;
    b.parts[0].memory = Some(1 << 30);
    b.parts[0].title = "64 MiB of data, 1024 MiB of memory".into();
    let (output, text) = diff(&a, &b, &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for wanted in [
        "kernel: 6.12.1 in the first report, 7.0 in the second",
        "options, cache bytes: ",
        "runs, threads: 1 in the first report, 4 in the second",
        "memory: not known or not set in the first report, 1073741824 in the second",
        "is compared with \"64 MiB of data, 1024 MiB of memory\"",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("of no account"), "{text}");
    let mut b = a.clone();
    b.parts[0].notes.push("each run begins with empty caches".into());
    assert!(diff(&a, &b, &[]).1.contains("only in the second report: each run begins with empty caches"));
}

#[test]
fn bytes_from_nothing_are_worse_and_a_few_are_not() {
    let mut a = with_pool(3, 1.0);
    let disk = |report: &mut Report, per_op: u64| {
        for outcome in report.cells.iter_mut().filter_map(|cell| cell.result.as_mut().ok()) {
            let operations = outcome.operations;
            let disk = outcome.disk.as_mut().unwrap();
            (disk.read_bytes, disk.written_bytes) = (0, per_op * operations);
        }
    };
    disk(&mut a, 0);
    let name = "bytes read from and written to disk per operation";
    for (per_op, wanted) in [(0, Judged::Same), (10, Judged::Same), (100, Judged::Worse)] {
        let mut b = a.clone();
        disk(&mut b, per_op);
        assert_eq!(judged(&Diff::of(&a, &b, 0.05), "get", "bifold-mmap", name), wanted, "{per_op}");
    }
    let mut b = a.clone();
    b.cells.iter_mut().filter_map(|cell| cell.result.as_mut().ok()).for_each(|outcome| outcome.disk = None);
    assert_eq!(judged(&Diff::of(&a, &b, 0.05), "get", "bifold-mmap", name), Judged::Unknown);
}

#[test]
fn json_holds_all_figures() {
    let (output, text) = diff(&with_pool(3, 1.0), &with_pool(3, 0.8), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let lines = value["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 4);
    let pool = lines.iter().find(|line| line["side"] == "bifold-pool" && line["workload"] == "get").unwrap();
    let rate = &pool["figures"][0];
    assert_eq!((&rate["figure"], &rate["judged"]), (&"rate".into(), &"worse".into()));
    assert!((rate["change"].as_f64().unwrap() + 0.2).abs() < 1e-3, "{rate}");
    assert_eq!(rate["a"]["rounds"], 3);
}

#[test]
fn what_is_no_report_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.json");
    for (text, wanted) in [
        ("", "is no report"),
        ("{}", "it has no version"),
        ("[1]", "it has no version"),
        ("{\"version\": 99}", "is of version 99, and this program reads versions 1 to 2"),
        ("{\"version\": 1}", "is of version 1, and lacks what this program, of version 2, needs"),
        ("{\"version\": 2}", "is no report: missing field"),
        ("{\"version\": 2, \"kind\": \"crossover\"}", "it says that it is one of `crossover`"),
    ] {
        std::fs::write(&path, text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_bifold-bench")).arg("diff").args([&path, &path]).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("x.json") && error.contains(wanted), "{text}: {error}");
    }
    for threshold in ["x", "-1%", "NaN", "2000%"] {
        let output = Command::new(env!("CARGO_BIN_EXE_bifold-bench"))
            .arg("diff")
            .args([&path, &path])
            .arg(format!("--threshold={threshold}"))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("--threshold"), "{error}");
    }
}
