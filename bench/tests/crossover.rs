//! A sweep as its users run it: a tiny one, cut short, resumed, and refused.

#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod made;

use bifold_bench::cell::Died;
use bifold_bench::crossover::{Ended, Figures, Place, Sweep};
use bifold_bench::memory::Group;
use bifold_bench::workload::Op;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

/// The least in which both sides run.
const MEMORY: u64 = 16 << 20;
const TINY: [&str; 9] =
    ["crossover", "--memory", "16MiB", "--duration", "0.05", "--warmup", "0.01", "--json", "sweep.json"];

fn bench(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifold-bench"));
    command.args(args).current_dir(dir);
    command
}

/// Whether memory can be bounded here.
fn permitted() -> bool {
    match Group::create(MEMORY) {
        Ok(group) => group.remove().is_ok(),
        Err(refused) => {
            println!("skipped: {refused}");
            false
        }
    }
}

fn leaves_nothing(dir: &Path) {
    let left = dir.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.starts_with("bifold-bench-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_tiny_sweep_is_run_and_resumed() {
    if !permitted() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let args = ["--sizes", "2,0.5", "--threads", "2", "--budget", "1h", "--html", "map.html"];
    let output = bench(dir.path(), &[&TINY[..], &args].concat());
    let (text, errors) =
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("\nthroughput\n threads    0.5x      2x\n       2 "), "{text}");
    assert!(text.contains("2 of 2 cells were run") && text.contains("10 MiB are the cache"), "{text}");
    let file = dir.path().join("sweep.json");
    let mut sweep = Sweep::read(&file).unwrap();
    assert_eq!((sweep.ended, sweep.cells()), (Ended::Done, 2));
    for repeat in &sweep.repeats {
        for side in &repeat.sides {
            let figures = side.as_ref().unwrap();
            assert!(
                figures.operations > 0 && figures.rate > 0.0 && figures.p99_ns > 0.0 && figures.cpu_ns > 0.0
            );
        }
    }
    let page = std::fs::read_to_string(dir.path().join("map.html")).unwrap();
    assert_eq!((page.matches("<svg").count(), page.matches("<rect").count()), (3, 6));

    // What is there is kept, and the rest is run.
    sweep.repeats.truncate(1);
    sweep.ended = Ended::CutShort;
    sweep.write(&file).unwrap();
    let output = bench(dir.path(), &["crossover", "--resume", "sweep.json", "--budget", "1h"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let resumed = Sweep::read(&file).unwrap();
    assert_eq!(resumed.repeats[0], sweep.repeats[0]);
    assert_eq!((resumed.ended, resumed.cells()), (Ended::Done, 2));
    assert!(resumed.seconds > sweep.seconds);
    leaves_nothing(dir.path());
}

#[test]
fn a_load_is_swept_by_size_alone() {
    if !permitted() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let args = ["--workload", "load-sorted", "--sizes", "0.1", "--budget", "1h"];
    let output = bench(dir.path(), &[&TINY[..], &args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sweep = Sweep::read(&dir.path().join("sweep.json")).unwrap();
    assert_eq!((sweep.settings.grid.threads.as_slice(), sweep.cells()), (&[1][..], 1));
    assert!(sweep.repeats.iter().all(|r| r.place == Place { size: 0, threads: 0 } && r.sides[0].is_ok()));
    leaves_nothing(dir.path());
}

#[test]
fn what_was_done_before_ctrl_c_is_kept() {
    if !permitted() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // So long that it does not end by itself before anyone looks.
    let args = "crossover --memory 16MiB --duration 2 --warmup 0.01 --json sweep.json --sizes 0.5,1,2 --threads 1,2,4,8";
    let args: Vec<&str> = args.split(' ').collect();
    let mut child = command(dir.path(), &[&args[..], &["--budget", "1h"]].concat()).spawn().unwrap();
    let file = dir.path().join("sweep.json");
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Sweep::read(&file).is_ok_and(|sweep| !sweep.repeats.is_empty()) {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            break child.wait().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(1));
    let sweep = Sweep::read(&file).unwrap();
    assert_eq!(sweep.ended, Ended::CutShort);
    assert!(!sweep.repeats.is_empty() && sweep.cells() < sweep.settings.grid.len());
    leaves_nothing(dir.path());
}

#[test]
fn what_is_wrong_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("other.json"), "{\"version\": 1}").unwrap();
    for (args, wanted) in [
        (&["--sides", "mmap"][..], "two sides, not 1"),
        (&["--sides", "mmap,oracle"], "no side oracle"),
        (&["--workload", "ycsb-z"], "no workload is called ycsb-z"),
        (&["--sizes", "0,1"], "multiples of memory"),
        (&["--sizes", "1,1"], "each given once"),
        (&["--threads", "0"], "numbers from 1 to 1024"),
        (&["--values", "4"], "at least 8 bytes"),
        (&["--budget", "5d"], "no unit"),
        (&["--resume", "none.json"], "none.json"),
        (&["--resume", "other.json"], "no sweep"),
        (&["--resume", "other.json", "--memory", "1GiB"], "cannot be used with"),
        (&["--memory", "1KiB"], "no memory limit can be set"),
    ] {
        let output = bench(dir.path(), &[&["crossover"][..], args].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(wanted), "{args:?}: {error}");
    }
    if permitted() {
        for (args, wanted) in [
            (&["--memory", "1GiB", "--sizes", "1000000"][..], "multiples of memory"),
            (&["--memory", "16MiB", "--sizes", "8", "--duration", "1000", "--budget", "5s"], "the budget"),
        ] {
            let output = bench(dir.path(), &[&["crossover"][..], args].concat());
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
            assert!(error.contains(wanted), "{args:?}: {error}");
        }
    }
    leaves_nothing(dir.path());
}

#[test]
fn a_run_without_its_main_operation_has_figures_and_one_without_any_has_none() {
    let mut outcome = made::outcome("ycsb-b", 1000.0);
    assert_eq!(outcome.main, Op::Read);
    outcome.ops.retain(|done| done.op == Op::Update);
    let figures = Figures::of(&outcome).unwrap();
    assert_eq!(figures.p99_ns as u64, outcome.ops[0].latency.p99);
    assert_eq!(figures.operations, outcome.operations);
    outcome.ops.clear();
    outcome.operations = 0;
    assert_eq!(Figures::of(&outcome), Err(Died::Nothing));
}
