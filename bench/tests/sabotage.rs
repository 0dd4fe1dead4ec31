//! Sides that lose updates, or show earlier states, are noticed, and told with the key.

#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use bifold_bench::cell::Died;
use bifold_bench::report::Report;
use std::process::Command;

/// What is said of `bifold-pool`, broken like that; the other side must be none the worse.
fn broken(how: &str, workload: &str, threads: &str, (entries, operations): (&str, &str)) -> String {
    let said = run(how, workload, threads, (entries, operations));
    said.unwrap_or_else(|| panic!("{how}, {workload}, {threads} threads: nothing was noticed"))
}

/// The same; nothing, if nothing was noticed.
fn run(how: &str, workload: &str, threads: &str, (entries, operations): (&str, &str)) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bifold-bench"))
        .args(["compare", "--json", "report.json", "--rounds", "1", "--warmup", "0", "--entries", entries])
        .args(["--sides", "mmap,pool", "--sabotage", &format!("bifold-pool={how}")])
        .args(["--workloads", workload, "--threads", threads, "--operations", operations])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let report = Report::read(&dir.path().join("report.json"));
    let report = report.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut said = None;
    for cell in &report.cells {
        match (&cell.result, cell.side.as_str()) {
            (Ok(_), "bifold-pool") => return None,
            (Err(Died::Failed(error)), "bifold-pool") => said = Some(error.clone()),
            (result, _) => assert!(result.is_ok(), "{how}, {workload}, {threads} threads: {result:?}"),
        }
    }
    assert_eq!(output.status.code(), Some(1), "a side without a result is a failure: {text}");
    assert!(text.contains("FAILED"), "{text}");
    assert!(said.is_some(), "{text}");
    said
}

/// Fails unless a message says one of these, and of which key.
fn names_a_key(error: &str, what: &[&str]) {
    let key = error.split("key ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    assert!(key.len() == 32 && key.bytes().all(|digit| digit.is_ascii_hexdigit()), "{error}");
    assert!(what.iter().any(|what| error.contains(what)), "{error}");
}

const EARLIER: &str = "has an earlier value";
/// What is said of a read of an earlier state: a lone writer reads its last values again, and may be shown others.
const STALE: [&str; 2] = [EARLIER, "the last value written to key"];
/// What is said of a lost update: by a read that comes later, or by those when all is over.
const LOST: [&str; 3] = ["is lost", EARLIER, "the last value written to key"];

#[test]
fn lost_updates_are_noticed() {
    for (workload, how_much) in [
        ("ycsb-a", ("1500", "5000")),
        ("ycsb-f", ("1500", "5000")),
        // Commits of a thousand. Of those made side by side no one can tell which came last: most entries are to be in no
        // two of them.
        ("overwrite", ("20000", "20000")),
        ("delete", ("20000", "20000")),
        // Commits of one wait for the disk.
        ("commit-1", ("1500", "300")),
        ("commit-100", ("1500", "3000")),
    ] {
        for threads in ["1", "4"] {
            names_a_key(&broken("lost-updates", workload, threads, how_much), &LOST);
        }
    }
}

#[test]
fn reads_of_earlier_states_are_noticed() {
    for workload in ["ycsb-a", "ycsb-f"] {
        for threads in ["1", "4"] {
            names_a_key(&broken("stale-reads", workload, threads, ("1500", "5000")), &STALE);
        }
    }
}

#[test]
fn both_are_noticed_by_readers_beside_a_writer() {
    // How much is written until the readers are done is up to the scheduler: in a long run it is enough.
    let noticed = |how, threads| {
        let soon = run(how, "mixed", threads, ("1500", "100000"));
        soon.unwrap_or_else(|| broken(how, "mixed", threads, ("1500", "3000000")))
    };
    for threads in ["1", "4"] {
        names_a_key(&noticed("lost-updates", threads), &LOST);
        names_a_key(&noticed("stale-reads", threads), &STALE);
    }
}
