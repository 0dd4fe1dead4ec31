//! Sides that lose updates, or show earlier states, are noticed while they replay a trace, though every value that they
//! show was once written and has the right length.

#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use bifold::mmap::Database;
use bifold_bench::cell::Died;
use bifold_bench::report::Report;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// Entries that all threads read and write.
const KEYS: usize = 60;

fn key(number: usize) -> String {
    format!("key {:03}", number % KEYS)
}

/// The length of its values, always: of some too few bytes to say a version.
fn len(number: usize) -> usize {
    if number.is_multiple_of(10) { 5 } else { 60 }
}

/// Records what `threads` threads do to a database that has all entries.
fn record(dir: &Path, threads: usize) {
    let (own, trace) = (dir.join("own.bifold"), dir.join("calls.trace"));
    for old in [&own, &trace] {
        let _ = fs::remove_file(old);
    }
    let db = Database::builder().page_size(512).open(&own).unwrap();
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..KEYS).try_for_each(|n| table.insert(key(n), vec![7; len(n)]).map(drop))
    })
    .unwrap();
    db.close().unwrap();
    let db = Database::builder().record_trace(&trace).open(&own).unwrap();
    let work = |thread: usize| -> bifold::Result<()> {
        for turn in 0..100 {
            let numbers = [0, 1, 2].map(|more| thread * 17 + turn * 3 + more);
            let txn = db.read()?;
            let table = txn.table("t")?;
            numbers.iter().try_for_each(|n| table.get(key(*n)).map(drop))?;
            table.get_many(&numbers.map(key)).map(drop)?;
            drop(txn);
            db.update(|txn| {
                let table = txn.table("t")?;
                if turn % 10 == 9 {
                    table.remove(key(numbers[0]))?;
                    return table.remove_range(key(30)..key(33)).map(drop);
                }
                numbers.iter().try_for_each(|n| table.insert(key(*n), vec![1; len(*n)]).map(drop))
            })?;
            let txn = db.read()?;
            let table = txn.table("t")?;
            numbers.iter().try_for_each(|n| table.get(key(*n)).map(drop))?;
            assert!(table.range(key(numbers[0])..).take(5).count() <= 5);
        }
        Ok(())
    };
    thread::scope(|scope| (0..threads).for_each(|thread| drop(scope.spawn(move || work(thread).unwrap()))));
    db.close().unwrap();
}

/// Replays it; of each cell its side, and how it failed.
fn replay(dir: &Path, args: &[&str]) -> Vec<(String, Option<String>)> {
    let output = Command::new(env!("CARGO_BIN_EXE_bifold-bench"))
        .args(["compare", "--trace", "calls.trace", "--json", "report.json"])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let report = Report::read(&dir.join("report.json"));
    let report = report.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let cells = report.cells.iter().map(|cell| match &cell.result {
        Ok(_) => (cell.side.clone(), None),
        Err(Died::Failed(error)) => (cell.side.clone(), Some(error.clone())),
        Err(died) => panic!("{}: {died}", cell.side),
    });
    let cells: Vec<_> = cells.collect();
    assert_eq!(output.status.success(), cells.iter().all(|(_, error)| error.is_none()));
    cells
}

#[test]
fn lost_updates_and_earlier_states_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    for threads in [1, 4] {
        record(dir.path(), threads);
        for (how, what) in [
            ("lost-updates", &["is lost", "an earlier value", "has no value", "has nothing, and had"][..]),
            ("stale-reads", &["an earlier value"]),
        ] {
            let sabotage = format!("bifold-pool={how}");
            let cells =
                replay(dir.path(), &["--sides", "mmap,pool", "--rounds", "2", "--sabotage", &sabotage]);
            assert_eq!(cells.len(), 4);
            for (side, error) in cells {
                let told = error.as_ref().filter(|error| what.iter().any(|what| error.contains(what)));
                assert_eq!(
                    told.is_some(),
                    side == "bifold-pool",
                    "{how}, {threads} threads: {side}: {error:?}"
                );
                assert_eq!(
                    error.is_some(),
                    side == "bifold-pool",
                    "{how}, {threads} threads: {side}: {error:?}"
                );
            }
        }
    }
}

#[test]
fn no_side_is_accused_that_shows_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    for threads in [1, 2, 6] {
        record(dir.path(), threads);
        let cells = replay(dir.path(), &["--sides", "all", "--rounds", "3"]);
        assert!(cells.iter().all(|(_, error)| error.is_none()), "{threads} threads: {cells:?}");
    }
}

/// So many gets take longer than the ten milliseconds that a replay of no time at all is allowed.
#[test]
fn what_part_of_the_pace_was_kept_is_told() {
    const GETS: usize = 50_000;
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), 1);
    let (own, trace) = (dir.path().join("own.bifold"), dir.path().join("calls.trace"));
    fs::remove_file(&trace).unwrap();
    let db = Database::builder().record_trace(&trace).open(&own).unwrap();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    (0..GETS).for_each(|n| drop(table.get(key(n)).unwrap()));
    drop(txn);
    db.close().unwrap();
    for (speed, kept) in [("1000000", Some(false)), ("0.5", None)] {
        let output = Command::new(env!("CARGO_BIN_EXE_bifold-bench"))
            .args(["compare", "--trace", "calls.trace", "--json", "report.json", "--trace-speed", speed])
            .args(["--sides", "mmap", "--rounds", "1"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(
            text.contains("of the calls that were due, begun in the recorded time: bifold-mmap"),
            "{text}"
        );
        let report = Report::read(&dir.path().join("report.json")).unwrap();
        let open_loop = report.cells[0].result.as_ref().unwrap().open_loop.unwrap();
        assert_eq!(open_loop.due, GETS as u64);
        // Whether a machine keeps half of the pace is not known here.
        if kept == Some(false) {
            assert!(open_loop.begun < open_loop.due, "{open_loop:?}");
        }
        assert_eq!(text.contains("NOT KEPT UP"), open_loop.kept() < 0.99, "{text}");
    }
}
