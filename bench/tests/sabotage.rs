//! Sides that lose updates, or show earlier states, are noticed, and told with the key.

#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use bifold_bench::cell::Died;
use bifold_bench::report::Report;
use std::process::Command;

/// What became of `bifold-pool`, broken like that, in each round; the other side must be none the worse.
fn broken(how: &str, args: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let sabotage = format!("bifold-pool={how}");
    let mut all =
        vec!["compare", "--json", "report.json", "--rounds", "2", "--warmup", "0", "--entries", "3000"];
    all.extend(["--sides", "mmap,pool", "--sabotage", &sabotage]);
    all.extend(args);
    let output =
        Command::new(env!("CARGO_BIN_EXE_bifold-bench")).args(&all).current_dir(dir.path()).output().unwrap();
    let report = Report::read(&dir.path().join("report.json"));
    let report = report.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    assert!(report.complete);
    let mut errors = Vec::new();
    for cell in &report.cells {
        let named = format!("{how} {} {} {}", cell.side, cell.workload, cell.round);
        match (&cell.result, cell.side.as_str()) {
            (Ok(_), "bifold-pool") => panic!("{named}: nothing was noticed"),
            (Err(Died::Failed(error)), "bifold-pool") => errors.push(error.clone()),
            (result, _) => assert!(result.is_ok(), "{named}: {result:?}"),
        }
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "a side without a result is a failure: {text}");
    assert!(text.contains("FAILED"), "{text}");
    errors
}

/// Whether a message says what is wrong, and with which key.
fn names_a_key(error: &str, what: &[&str]) -> bool {
    let key = error.split("key ").nth(1).and_then(|rest| rest.split(' ').next());
    key.is_some_and(|key| key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit()))
        && what.iter().any(|what| error.contains(what))
}

#[test]
fn lost_updates_are_noticed() {
    let told = ["is lost", "has an earlier value", "last value written"];
    for workload in ["ycsb-a", "ycsb-f", "overwrite", "commit-1", "commit-100", "delete"] {
        for threads in ["1", "4"] {
            let args = ["--workloads", workload, "--threads", threads, "--operations", "6000"];
            for error in broken("lost-updates", &args) {
                // What was deleted and not put back may be missed by the commit that deletes it again.
                assert!(names_a_key(&error, &told), "{workload} {threads}: {error}");
            }
        }
    }
}

#[test]
fn stale_reads_are_noticed() {
    for workload in ["ycsb-a", "ycsb-f"] {
        for threads in ["1", "4"] {
            let args = ["--workloads", workload, "--threads", threads, "--operations", "6000"];
            for error in broken("stale-reads", &args) {
                assert!(names_a_key(&error, &["has an earlier value"]), "{workload} {threads}: {error}");
            }
        }
    }
}

#[test]
fn both_are_noticed_by_readers_beside_a_writer() {
    for threads in ["1", "4"] {
        for how in ["lost-updates", "stale-reads"] {
            let args = ["--workloads", "mixed", "--threads", threads, "--operations", "100000"];
            for error in broken(how, &args) {
                assert!(
                    names_a_key(&error, &["has an earlier value", "is lost", "last value written"]),
                    "{error}"
                );
            }
        }
    }
}
