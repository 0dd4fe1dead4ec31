//! Processes killed while they write: what they had reported as committed is there afterwards, and nothing but whole
//! commits is.
//!
//! The test starts itself as the process to be killed: `CHILD` names the backend, and then the test of that name is the
//! writer and reports on its standard output.
#![cfg(all(feature = "testing", any(feature = "mmap", feature = "buffer-pool")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::Db;
use bifold_page_source::OsFs;
use bifold_page_source::testing::pages::Rng;
use common::model::{State, after};
use common::run::{changes, commit};
use common::verify::{Allowed, check_at, is_clean};
use common::{Setup, TestSource};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Tells the child what it is, and where the database lies.
const CHILD: &str = "BIFOLD_TEST_WRITER";
/// What a line of the child begins with; the test harness prints lines as well.
const SAYS: &str = "committed ";

const SETUP: Setup = Setup::SMALL;

/// What commit `n` changes, in whichever process.
fn changes_of(n: u64) -> Vec<common::model::Change> {
    changes(n, &mut Rng::new(n))
}

/// The writer: commits until it is killed.
fn write_for_ever<S: TestSource>(path: &Path) {
    let db: Db<S> = SETUP.plain_builder().open(path).unwrap();
    let mut n = db.read().unwrap().commit_number();
    let mut out = std::io::stdout();
    loop {
        n += 1;
        commit(&db, &changes_of(n)).unwrap();
        if n.is_multiple_of(40) {
            db.checkpoint().unwrap();
        }
        if writeln!(out, "\n{SAYS}{n}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

fn start(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the writer some time after it has reported `wait_for` commits; returns the last that it has reported.
fn kill_after(mut child: Child, wait_for: u64, pause: Duration) -> u64 {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut acked, mut count) = (0, 0);
    let mut note = |line: String| {
        if let Some(n) = line.strip_prefix(SAYS).and_then(|n| n.parse().ok()) {
            (acked, count) = (n, count + 1);
        }
        count
    };
    while let Some(Ok(line)) = lines.next() {
        if note(line) >= wait_for {
            break;
        }
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it reported before it died is in the pipe. The last line may be cut short.
    lines.map_while(Result::ok).for_each(|line| {
        note(line);
    });
    acked
}

fn kills<S: TestSource>(test: &str, rounds: u64) {
    if let Some(path) = std::env::var_os(CHILD) {
        return write_for_ever::<S>(&PathBuf::from(path));
    }
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let mut rng = Rng::new(0x4B11);
    let mut history = vec![State::new()];
    let mut reported = 0;
    for round in 0..rounds {
        if round % 10 == 0 {
            // A new file now and then: creation is killed too.
            for name in ["db", "db-log"] {
                let _ = std::fs::remove_file(file(name));
            }
            history.truncate(1);
        }
        let before = history.len() as u64 - 1;
        let child = start(test, &file("db"));
        let (wait_for, pause) = match round % 5 {
            // While the database is created, opened or recovered.
            0 => (0, Duration::from_micros(rng.below(30_000))),
            _ => (rng.below(40), Duration::from_micros(rng.below(3_000))),
        };
        let acked = kill_after(child, wait_for, pause).max(before);
        reported += acked - before;
        // One commit may have been made and not yet been reported.
        for n in before + 1..=acked + 1 {
            history.push(after(&history[n as usize - 1], &changes_of(n)));
        }
        // Every other time the next process finds what the killed one left: what is checked is a copy.
        let path = if round % 2 == 0 { file("db") } else { copy(dir.path()) };
        let allowed = Allowed { commits: acked..=acked + 1, absent: acked == 0 };
        let opened = check_at::<S>(SETUP, Arc::new(OsFs), &path, &history, &allowed);
        let number = match opened {
            Ok(Some((db, number))) => is_clean(&db).map(|()| number),
            Ok(None) => Ok(0),
            Err(what) => Err(what),
        };
        let number = number.unwrap_or_else(|what| panic!("{}, round {round}: {what}", S::NAME));
        history.truncate(number as usize + 1);
    }
    assert!(reported > 5 * rounds, "{reported} commits were reported in all");
}

/// Copies the database and its log, as far as they are there; returns where the copy lies.
fn copy(dir: &Path) -> PathBuf {
    for name in ["", "-log"] {
        let (from, to) = (dir.join(format!("db{name}")), dir.join(format!("copy{name}")));
        let _ = std::fs::remove_file(&to);
        if from.exists() {
            std::fs::copy(from, to).unwrap();
        }
    }
    dir.join("copy")
}

#[cfg(feature = "mmap")]
#[test]
fn kills_under_mmap() {
    kills::<bifold::mmap::Source>("kills_under_mmap", 50);
}

#[cfg(feature = "buffer-pool")]
#[test]
fn kills_under_the_pool() {
    kills::<bifold::pool::Source>("kills_under_the_pool", 50);
}
