//! The harness as its users run it: the program, its exit codes, and what it notices.

#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use bifold_bench::cell::Died;
use bifold_bench::report::{Report, Summary};
use bifold_bench::workload::Op;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `bifold-bench` with stores and results in `dir`.
fn bench(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bifold-bench")).args(args).current_dir(dir).output().unwrap()
}

/// A comparison on few entries; its report.
fn compare(dir: &Path, args: &[&str]) -> (Output, Report) {
    let mut all = vec!["compare", "--json", "report.json", "--rounds", "2", "--warmup", "0"];
    all.extend(args);
    let output = bench(dir, &all);
    let report = Report::read(&dir.join("report.json"));
    let report = report.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (output, report)
}

fn leaves_nothing(dir: &Path) {
    let left = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.starts_with("bifold-bench-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_workload_runs_on_every_side_and_its_answers_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = bifold_bench::workload::names();
    let all = names.join(",");
    let args =
        ["--entries", "5000", "--operations", "300", "--threads", "2", "--sides", "all", "--workloads", &all];
    let (output, report) = compare(dir.path(), &args);
    assert!(report.complete);
    let sides = &report.parts[0].sides;
    // One thing that one side cannot do fails it, and so the whole.
    let failed = i32::from(sides.iter().any(|side| side == "sled"));
    assert_eq!(output.status.code(), Some(failed), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report.cells.len(), names.len() * sides.len() * 2);
    for cell in &report.cells {
        let named = format!("{} {} {}", cell.side, cell.workload, cell.round);
        let outcome = match &cell.result {
            Ok(outcome) => outcome,
            Err(Died::Failed(error)) if cell.side == "sled" && cell.workload == "long-reader" => {
                assert!(error.contains("no snapshots"), "{error}");
                continue;
            }
            Err(died) => panic!("{named}: {died}"),
        };
        assert!(outcome.operations > 0 && outcome.seconds > 0.0, "{named}");
        let workload = report.parts[0].workloads.iter().find(|w| w.name == cell.workload).unwrap();
        assert!(outcome.entries_read > 0 || workload.writes() || cell.workload == "get-missing", "{named}");
        assert_eq!(outcome.entries_written > 0, workload.writes() && cell.workload != "mixed", "{named}");
        assert_eq!(outcome.entries > 5000, workload.inserts() || outcome.entries != 5000, "{named}");
        assert!(outcome.file_bytes > 5000 * 50 && outcome.main().unwrap().latency.max > 0, "{named}");
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(names.iter().all(|name| text.contains(&format!("\n{name}: "))), "{text}");
    leaves_nothing(dir.path());
}

#[test]
fn a_wrong_byte_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    for workload in ["get", "get-many", "scan", "scan-back", "full-scan", "ycsb-a"] {
        let args = ["--entries", "2000", "--operations", "2000", "--workloads", workload];
        let sabotage = ["--sabotage", "bifold-pool=wrong-byte"];
        let (output, report) = compare(dir.path(), &[&args[..], &sabotage].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for cell in &report.cells {
            match (&cell.result, cell.side.as_str()) {
                (Ok(_), "bifold-pool") => panic!("{workload}: nothing was noticed"),
                (Err(Died::Failed(error)), "bifold-pool") => assert!(error.contains("is wrong"), "{error}"),
                (result, _) => assert!(result.is_ok(), "{result:?}"),
            }
        }
        assert!(text.contains("is wrong"), "{text}");
        assert_eq!(output.status.code(), Some(1), "a side without a result is a failure");
    }
}

/// The one timed test: a side whose every read takes 50 ms longer.
#[test]
fn a_slow_side_is_slow_in_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--entries", "20000", "--operations", "40", "--workloads", "get-txn", "--sides", "pool,mmap"];
    let cold = ["--cold", "--cache", "256KiB", "--sabotage", "bifold-pool=slow-reads:50"];
    let (_, report) = compare(dir.path(), &[&args[..], &cold].concat());
    let summary = Summary::of(&report, 0, 0).unwrap();
    let rate = |side: &str| summary.row(side).unwrap().rate.unwrap().median;
    assert!(rate("bifold-mmap") > 10.0 * rate("bifold-pool"), "{summary:?}");
    assert!(
        summary.row("bifold-pool").unwrap().value(|o| o.main().unwrap().latency.p50 as f64).unwrap().median
            > 50e6
    );
}

#[test]
fn what_is_wrong_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cut.dump"), "VERSION=3\nHEADER=END\n 61\n 31\n").unwrap();
    for (args, wanted) in [
        (&["--workloads", "ycsb-z"][..], "no workload is called ycsb-z"),
        (&["--sides", "oracle"], "has no side oracle"),
        (&["--sides", "mmap", "--baseline", "pread"], "is none of the sides"),
        (&["--values", "4"], "at least 8 bytes"),
        (&["--data", "4x"], "goes with --memory"),
        (&["--data", "900TiB"], "on disk"),
        (&["--from", "none.bifold"], "none.bifold"),
        (&["--from", "cut.dump"], "cut.dump: line 5: the input ends before DATA=END"),
        (&["--ycsb", "none"], "none"),
        (&["--entries", "1000", "--workloads", "load-sorted", "--rate", "5"], "no --rate"),
        (&["--rate", "5", "--per-txn", "100"], "cannot be used with"),
        (&["--budget", "5d"], "'d' is no unit"),
        (&["--data", "1MiB", "--trace-speed", "2"], "--trace-speed goes with --trace"),
        (&["--data", "1MiB", "--table", "x"], "--table goes with --from"),
        (&["--dir", "no-directory"], "there is no such directory"),
    ] {
        let output = bench(dir.path(), &[&["compare"][..], args].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(wanted), "{args:?}: {error}");
    }
    leaves_nothing(dir.path());
}

#[test]
fn ycsb_files_files_of_the_user_and_open_loops_run() {
    let dir = tempfile::tempdir().unwrap();
    let properties = "recordcount=1000\noperationcount=500\nreadproportion=0.5\nupdateproportion=0.5\nthreadcount=3\n\
                      fieldcount=1\nfieldlength=40\nrequestdistribution=zipfian\n";
    std::fs::write(dir.path().join("mine"), properties).unwrap();
    let (_, report) = compare(dir.path(), &["--ycsb", "mine", "--sides", "mmap"]);
    assert_eq!((report.parts[0].entries, report.parts[0].pace.threads), (1000, 3));
    assert!(report.cells.iter().all(|cell| cell.result.as_ref().unwrap().operations == 500));

    let db = bifold::mmap::Database::open(dir.path().join("own.bifold")).unwrap();
    db.update(|txn| {
        let table = txn.create_table("t")?;
        (0..3000).try_for_each(|n| table.insert(format!("key {n:05}"), format!("value of {n}")).map(drop))
    })
    .unwrap();
    db.close().unwrap();
    // The same in no order, behind another table that has less.
    let head = |table| format!("VERSION=3\nformat=print\ndatabase={table}\nHEADER=END\n");
    let mut entries = String::new();
    for n in (0..3000).rev() {
        writeln!(entries, " key {n:05}\n value of {n}").unwrap();
    }
    let dump = format!("{} a\n 1\nDATA=END\n{}{entries}DATA=END\n", head("less"), head("t"));
    std::fs::write(dir.path().join("own.dump"), dump).unwrap();
    for file in ["own.bifold", "own.dump"] {
        let workloads = "get,scan,ycsb-a,full-scan,get-missing";
        let args = ["--from", file, "--operations", "200", "--workloads", workloads];
        let (output, report) = compare(dir.path(), &args);
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(report.cells.iter().all(|cell| cell.result.is_ok()), "{file}");
        assert_eq!(report.parts[0].entries, 3000, "{file}");
    }

    let rate = [
        "--entries",
        "1000",
        "--duration",
        "0.5",
        "--rate",
        "400",
        "--workloads",
        "get,commit-1",
        "--sides",
        "mmap",
    ];
    let (output, report) = compare(dir.path(), &rate);
    for cell in &report.cells {
        // No more than were due; the machine may be slow.
        let outcome = cell.result.as_ref().unwrap();
        let open_loop = outcome.open_loop.unwrap();
        assert_eq!((open_loop.due, open_loop.begun), (200, outcome.operations), "{cell:?}");
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("of the operations that were due, begun: bifold-mmap "), "{text}");
}

#[test]
fn every_round_begins_with_what_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    for aged in ["0", "0.5"] {
        // The last one follows those that insert; the deletes put back what they delete.
        let workloads = "delete,ycsb-d,get,ycsb-e,scan";
        let args = ["--entries", "5000", "--operations", "1000", "--threads", "2", "--workloads", workloads];
        let (output, report) = compare(dir.path(), &[&args[..], &["--aged", aged]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(report.cells.len(), 5 * 3 * 2);
        for cell in &report.cells {
            let outcome = cell.result.as_ref().unwrap();
            assert_eq!(outcome.entries_before, Some(5000), "{cell:?}");
            let inserts = ["ycsb-d", "ycsb-e"].contains(&cell.workload.as_str());
            assert_eq!(outcome.entries > 5000, inserts, "{cell:?}");
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("each round of ycsb-d, of ycsb-e, which inserts, and what follows"), "{text}");
    }
}

#[test]
fn a_held_snapshot_is_read_beside_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    // What is read beside the writer before it has ended is up to the scheduler: at the latest in a long run it is some.
    let (output, report) = ["0.5", "10"]
        .into_iter()
        .map(|seconds| {
            let args = ["--entries", "5000", "--workloads", "long-reader", "--sides", "all"];
            compare(dir.path(), &[&args[..], &["--duration", seconds]].concat())
        })
        .find(|(_, report)| {
            let mut done = report.cells.iter().filter_map(|cell| cell.result.as_ref().ok());
            done.all(|outcome| outcome.beside.rate(Op::Read).is_some_and(|rate| rate > 0.0))
        })
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for cell in &report.cells {
        match &cell.result {
            Ok(outcome) => {
                let (mine, beside) = (&outcome.ops, &outcome.beside);
                assert!(mine.iter().all(|done| done.op == Op::Update) && outcome.operations > 0, "{cell:?}");
                assert!(beside.ops.iter().all(|done| done.op == Op::Read), "{cell:?}");
            }
            Err(Died::Failed(error)) if cell.side == "sled" => assert!(error.contains("no snapshots")),
            Err(died) => panic!("{}: {died}", cell.side),
        }
    }
    assert!(text.contains("\nbeside that, read: bifold-mmap "), "{text}");
}

#[test]
fn what_takes_longer_than_its_budget_is_refused_or_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--entries", "20000", "--workloads", "get-txn", "--sides", "mmap,pool"];
    let long = ["compare", "--warmup", "0", "--duration", "5", "--rounds", "3", "--budget", "25"];
    let output = bench(dir.path(), &[&long[..], &args].concat());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("the budget is 25 s: what fits: --rounds 2; or --duration 3."), "{error}");

    // Each read of the pool takes so long that its first round takes longer than the whole was estimated to.
    let slow =
        ["--operations", "80", "--cold", "--cache", "256KiB", "--sabotage", "bifold-pool=slow-reads:50"];
    let (output, report) = compare(dir.path(), &[&args[..], &slow, &["--budget", "3s"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!report.complete && report.cells.iter().all(|cell| cell.round == 0), "{text}");
    let cut = report.cut_short.unwrap();
    assert!(cut.starts_with("the budget of 3 s was spent; not run: get-txn"), "{cut}");
    assert!(text.contains(&cut), "{text}");
    leaves_nothing(dir.path());
}

/// Whether memory groups can be made here; says so if not.
fn has_groups() -> bool {
    match bifold_bench::memory::Group::create(64 << 20) {
        Ok(_) => true,
        Err(refused) => {
            println!("skipped: {refused}");
            false
        }
    }
}

#[test]
fn memory_bounds_a_side_and_one_that_takes_more_is_killed_and_told() {
    if !has_groups() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "--memory",
        "32MiB",
        "--data",
        "3x",
        "--operations",
        "20000",
        "--workloads",
        "get",
        "--threads",
        "4",
    ];
    let (output, report) = compare(dir.path(), &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    for cell in &report.cells {
        let outcome = cell.result.as_ref().unwrap();
        let read = outcome.usage.io.unwrap().read_from_disk;
        assert!(read > 5_000 * 4096, "{}: the data are three times its memory: {read}", cell.side);
    }
    let (output, report) =
        compare(dir.path(), &[&args[..], &["--cache", "512MiB", "--sides", "pool"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(report.cells.iter().all(|cell| cell.result == Err(Died::ForMemory)), "{text}");
    assert!(output.status.success() && text.contains("out of memory"), "a result as any other: {text}");
    leaves_nothing(dir.path());
}

#[test]
fn ctrl_c_keeps_what_is_done_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let grouped = has_groups();
    let mut args = vec![
        "compare",
        "--json",
        "report.json",
        "--html",
        "page.html",
        "--entries",
        "20000",
        "--rounds",
        "50",
    ];
    args.extend(["--duration", "0.2", "--warmup", "0", "--workloads", "get,commit-1"]);
    if grouped {
        args.extend(["--memory", "32MiB"]);
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_bifold-bench"))
        .args(&args)
        .current_dir(dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let path = dir.path().join("report.json");
    while Report::read(&path).map_or(0, |report| report.cells.len()) < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("cut short (it was interrupted; not run: "), "{text}");
    let report = Report::read(&path).unwrap();
    assert!(!report.complete && report.cells.len() >= 3);
    assert!(std::fs::read_to_string(dir.path().join("page.html")).unwrap().contains('<'));
    leaves_nothing(dir.path());
    // What others on this machine have left is none of it.
    let groups = format!("bifold-bench-{}-", pid.as_raw_nonzero());
    let of_it = |group: &&PathBuf| group.file_name().unwrap().to_string_lossy().starts_with(&groups);
    let left = bifold_bench::memory::remove_leftovers();
    assert_eq!(left.iter().find(of_it), None);
}
