//! Advice as its users ask for it.

#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

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
    ] {
        let output = advise(dir.path(), args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(wanted), "{args:?}: {error}");
    }
    db.close().unwrap();
}
