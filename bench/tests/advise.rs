//! Advice as its users ask for it.

#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn advise(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifold-bench"));
    command.arg("advise").args(args).current_dir(dir).output().unwrap()
}

fn database(path: &Path) -> bifold::mmap::Database {
    let db = bifold::mmap::Database::open(path).unwrap();
    db.update(|txn| {
        txn.create_table("empty")?;
        let table = txn.create_table("cities")?;
        (0..20_000).try_for_each(|n| table.insert(format!("city {n:06}"), format!("{n}").repeat(9)).map(drop))
    })
    .unwrap();
    db
}

#[test]
fn an_advice_is_given_and_the_file_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bifold");
    database(&path).close().unwrap();
    // Nothing can write it, whatever the program may try; but for root.
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    let state = || (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    let before = state();
    for args in
        [&[][..], &["--assume", "zipfian", "--memory", "64MiB"], &["--assume", "scan", "--threads", "3"]]
    {
        let output = advise(dir.path(), &[&["a.bifold", "--budget", "6s"][..], args].concat());
        let (text, errors) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{args:?}: {text}{errors}");
        assert!(text.starts_with("Build with "), "{text}");
        for wanted in [
            "default-features = false",
            "bifold::Database::",
            "Why: ",
            "The table \"cities\": 20000 entries of 11+",
            "What would change it:",
            "growth: the table passes",
        ] {
            assert!(text.contains(wanted), "{args:?}: no '{wanted}' in {text}");
        }
        let measured = text.lines().filter(|line| line.starts_with("  mmap ") || line.starts_with("  pool "));
        assert!(measured.count() >= 2, "{text}");
    }
    assert!(state() == before, "the file was changed");
    assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn writes_are_measured_on_a_copy_which_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bifold");
    database(&path).close().unwrap();
    let traced = dir.path().join("b.bifold");
    fs::copy(&path, &traced).unwrap();
    let db = bifold::mmap::Database::builder().record_trace(dir.path().join("trace")).open(&traced).unwrap();
    for n in 0..200 {
        db.view(|txn| txn.table("cities")?.get(format!("city {n:06}")).map(drop)).unwrap();
        db.update(|txn| txn.table("cities")?.insert(format!("city {n:06}"), "less").map(drop)).unwrap();
    }
    db.close().unwrap();
    let state = || (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
    let before = state();
    for (args, wanted) in [
        (&["--writes", "0.5", "--per-txn", "10", "--unsynced"][..], "50 % overwrites"),
        (&["--writes", "1"], "100 % overwrites"),
        (&["--trace", "trace"], "200 inserts and 0 removals in 200 commits, 200 of them synced"),
    ] {
        let all = [&["a.bifold", "--budget", "25s", "--threads", "2"][..], args].concat();
        let output = advise(dir.path(), &all);
        let (text, errors) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{args:?}: {text}{errors}");
        for wanted in [wanted, "Measured on a copy", "commit p99", "your file was only read"] {
            assert!(text.contains(wanted), "{args:?}: no '{wanted}' in {text}");
        }
        let alone = text.lines().filter(|line| line.ends_with("reads alone")).count();
        assert_eq!(alone, if args.contains(&"1") { 0 } else { 2 }, "{text}");
        assert!(state() == before, "the file was changed");
        assert_eq!(dir.path().read_dir().unwrap().count(), 3, "the copy is left");
    }
    let output = advise(dir.path(), &["a.bifold", "--trace", "trace", "--reads-only", "--budget", "5s"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("its 200 writes were not measured") && text.contains("the file itself"), "{text}");
}

/// Whatever ends it, the copy goes.
#[test]
fn a_copy_goes_when_it_is_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    database(&dir.path().join("a.bifold")).close().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifold-bench"));
    let args = ["advise", "a.bifold", "--writes", "0.5", "--budget", "600s"];
    let child = command.args(args).current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let copies = || {
        let names = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("bifold-bench-")).count()
    };
    // Its handler is there before the copy is.
    let begun = Instant::now();
    while copies() == 0 {
        assert!(begun.elapsed() < Duration::from_mins(2), "no copy is made");
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(copies(), 0);
}

#[test]
fn what_stands_against_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("text"), "no database\n".repeat(1000)).unwrap();
    let db = database(&dir.path().join("open.bifold"));
    let closed = dir.path().join("a.bifold");
    database(&closed).close().unwrap();
    for (args, wanted) in [
        (&["none"][..], "none: it cannot be read"),
        (&["."], "it is not a file"),
        (&["text"], "not a Bifold database"),
        (&["open.bifold"], "it is open elsewhere"),
        (&["a.bifold", "--table", "rivers"], "no table named \"rivers\"; there are cities, empty"),
        (&["a.bifold", "--table", "empty"], "its table \"empty\" is empty"),
        (&["a.bifold", "--assume", "psychic"], "invalid value"),
        (&["a.bifold", "--budget", "1s"], "--budget of"),
        (&["a.bifold", "--writes", "1.5"], "not from 0 to 1"),
        (&["a.bifold", "--per-txn", "5"], "--writes"),
        (&["a.bifold", "--writes", "0.5", "--trace", "x"], "cannot be used with"),
        (&["a.bifold", "--reads-only"], "--trace"),
    ] {
        let output = advise(dir.path(), args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(wanted), "{args:?}: {error}");
    }
    db.close().unwrap();
}
