//! Processes killed while they write: what they had reported as committed is there afterwards, and nothing but whole
//! commits is.
//!
//! The test starts itself as the process to be killed: `CHILD` says where the database lies, and then the test of that
//! name is the writer and reports on its standard output. How many processes each test kills is in `KILLS`.
#![cfg(all(feature = "testing", unix, any(feature = "mmap", feature = "buffer-pool")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::{Db, Durability, Error};
use bifold_page_source::OsFs;
use bifold_page_source::testing::pages::Rng;
use common::model::{Change, State, after};
use common::run::{changes, commit};
use common::verify::{Allowed, check_at, is_clean};
use common::{Setup, TestSource};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Tells the child what it is, and where the database lies.
const CHILD: &str = "BIFOLD_TEST_WRITER";
/// How many processes each test kills.
const KILLS: &str = "BIFOLD_TEST_KILLS";
/// What every line of the child begins with; the test harness prints lines as well.
const SAYS: &str = "bifold child: ";
/// The signal that nobody can catch.
const SIGKILL: i32 = 9;

const SETUP: Setup = Setup::SMALL;
/// Threads that write, in a process that has several.
const WRITERS: u64 = 3;

/// What the child reports.
#[derive(Clone, Copy, Debug)]
enum Report {
    /// It opens the database next.
    Opening,
    /// Commit `n` was made, and may be lost.
    Made(u64),
    /// Commit `n` and all before it have been promised to survive.
    Kept(u64),
    /// So many checkpoints were made, and transactions spilled.
    Work(u64, u64),
}

impl Report {
    /// Says it; false if nobody listens any more.
    fn say(self) -> bool {
        let text = match self {
            Self::Opening => "opening".to_owned(),
            Self::Made(n) => format!("made {n}"),
            Self::Kept(n) => format!("kept {n}"),
            Self::Work(checkpoints, spills) => format!("work {checkpoints} {spills}"),
        };
        // One call, so that threads do not mix their lines.
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\n{SAYS}{text}.\n").as_bytes()).and_then(|()| out.flush()).is_ok()
    }

    fn parse(line: &str) -> Option<Self> {
        // A line that was cut short has no full stop.
        let mut words = line.strip_prefix(SAYS)?.strip_suffix('.')?.split(' ');
        let what = words.next()?;
        let mut number = || words.next()?.parse().ok();
        Some(match what {
            "opening" => Self::Opening,
            "made" => Self::Made(number()?),
            "kept" => Self::Kept(number()?),
            "work" => Self::Work(number()?, number()?),
            _ => return None,
        })
    }
}

/// What commit `n` changes, in whichever process.
fn changes_of(n: u64) -> Vec<Change> {
    let mut rng = Rng::new(n);
    let mut changes = changes(n, &mut rng);
    if n % 13 == 5 {
        // Larger than the delta, so that it spills.
        changes.extend((0..900u32).map(|i| Change::put("spilled", i.to_be_bytes(), vec![n as u8; 90])));
    }
    if n % 13 == 9 {
        changes.push(Change::Drop("spilled"));
    }
    changes
}

/// One thread, all of whose commits are durable, and whose background work is done at fixed places of the run.
fn write_alone<S: TestSource>(path: &Path) {
    Report::Opening.say();
    let db: Db<S> = SETUP.plain_builder().open(path).unwrap();
    let mut n = db.read().unwrap().commit_number();
    loop {
        n += 1;
        commit(&db, &changes_of(n)).unwrap();
        if n.is_multiple_of(40) {
            db.checkpoint().unwrap();
        }
        if !Report::Kept(n).say() {
            return;
        }
    }
}

/// Threads that commit with every durability, with checkpoints in the background, checkpoints by hand, and readers that
/// stay for a while.
fn write_in_threads<S: TestSource>(path: &Path) {
    Report::Opening.say();
    let builder = Db::<S>::builder().page_size(SETUP.page).delta_size(SETUP.delta).log_size(SETUP.log);
    let db = builder.backend(S::options()).open(path).unwrap();
    thread::scope(|s| {
        for writer in 1..=WRITERS {
            let db = &db;
            s.spawn(move || {
                let mut rng = Rng::new(writer);
                while commit_mixed(db, &mut rng).unwrap() {}
            });
        }
        s.spawn(|| {
            let mut readers = Vec::new();
            for round in 0u64.. {
                readers.push(db.read().unwrap());
                if round % 7 == 6 {
                    readers.drain(..3);
                }
                if round % 3 == 2 {
                    db.checkpoint().unwrap();
                } else {
                    let number = readers[readers.len() - 1].commit_number();
                    db.sync().unwrap();
                    Report::Kept(number).say();
                }
                if !say_work(&db) {
                    return;
                }
                thread::sleep(Duration::from_millis(round % 5));
            }
        });
    });
}

fn say_work<S: TestSource>(db: &Db<S>) -> bool {
    let stats = db.stats();
    Report::Work(stats.checkpoints, stats.spills).say()
}

/// Makes the next commit. False if nobody listens any more.
fn commit_mixed<S: TestSource>(db: &Db<S>, rng: &mut Rng) -> Result<bool, Error> {
    let txn = db.write()?;
    let n = txn.commit_number() + 1;
    let durability = [Durability::Deferred, Durability::Buffered, Durability::Sync][rng.below(3) as usize];
    txn.set_durability(durability);
    changes_of(n).iter().try_for_each(|change| change.perform(&txn))?;
    if n.is_multiple_of(4) {
        say_work(db);
    }
    match rng.below(8) {
        0 => {
            // Dropped: nothing of it is ever seen.
            drop(txn);
            return Ok(true);
        }
        1 => drop(txn.commit_nowait()?),
        2 => {
            txn.commit_nowait()?.wait()?;
            return Ok(Report::Kept(n).say());
        }
        _ => {
            txn.commit()?;
            if durability != Durability::Deferred {
                return Ok(Report::Kept(n).say());
            }
        }
    }
    Ok(Report::Made(n).say())
}

fn start(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a process that was killed had reported.
#[derive(Clone, Copy, Default, Debug)]
struct Reported {
    /// The newest commit that must be there.
    kept: u64,
    /// The newest commit that may be there, but for those under way.
    made: u64,
    /// Lines of commits.
    commits: u64,
    checkpoints: u64,
    spills: u64,
}

impl Reported {
    fn note(&mut self, report: Report) {
        match report {
            Report::Opening => return,
            Report::Made(n) => self.made = self.made.max(n),
            Report::Kept(n) => (self.kept, self.made) = (self.kept.max(n), self.made.max(n)),
            Report::Work(checkpoints, spills) => {
                (self.checkpoints, self.spills) = (checkpoints, spills);
                return;
            }
        }
        self.commits += 1;
    }
}

/// When a process is killed: so long after it has said that it opens the database, or has reported so many commits.
#[derive(Clone, Copy, Debug)]
enum When {
    Opening(Duration),
    Commits(u64, Duration),
}

impl When {
    fn pick(rng: &mut Rng) -> Self {
        match rng.below(5) {
            // While the database is created, or opened and recovered.
            0 | 1 => Self::Opening(Duration::from_micros(rng.below(8000))),
            _ => Self::Commits(1 + rng.below(60), Duration::from_micros(rng.below(3000))),
        }
    }
}

/// Kills the writer at that time; returns what it has reported.
fn kill(mut child: Child, when: When) -> Reported {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut reports = lines.map_while(Result::ok).filter_map(|line| Report::parse(&line));
    let mut reported = Reported::default();
    for report in &mut reports {
        reported.note(report);
        let pause = match (when, report) {
            (When::Opening(pause), _) => pause,
            (When::Commits(count, pause), _) if reported.commits >= count => pause,
            _ => continue,
        };
        thread::sleep(pause);
        break;
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(SIGKILL), "the writer has ended by itself, with {status}");
    // What it reported before it died is in the pipe. The last line may be cut short.
    reports.for_each(|report| reported.note(report));
    reported
}

/// Kills `rounds` processes that run `write`, one after the other, on files that the next one finds as they were left.
/// `ahead` commits may be there that were not reported.
fn kills<S: TestSource>(test: &str, write: fn(&Path), ahead: u64) {
    if let Some(path) = std::env::var_os(CHILD) {
        return write(&PathBuf::from(path));
    }
    let rounds = std::env::var(KILLS).ok().and_then(|n| n.parse().ok()).unwrap_or(24);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let mut rng = Rng::new(0x4B11);
    let mut history = vec![State::new()];
    // What must be there, and what may be.
    let (mut kept, mut made) = (0, 0);
    let mut total = Reported::default();
    for round in 0..rounds {
        if round % 10 == 0 {
            // A new file now and then: creation is killed too.
            for name in ["db", "db-log"] {
                let _ = std::fs::remove_file(file(name));
            }
            history.truncate(1);
            (kept, made) = (0, 0);
        }
        let when = if round % 10 == 0 { When::Opening(Duration::ZERO) } else { When::pick(&mut rng) };
        let reported = kill(start(test, &file("db")), when);
        kept = kept.max(reported.kept);
        made = made.max(reported.made).max(history.len() as u64 - 1) + ahead;
        total.commits += reported.commits;
        total.checkpoints += reported.checkpoints;
        total.spills += reported.spills;
        while history.len() as u64 <= made {
            let n = history.len() as u64;
            history.push(after(&history[n as usize - 1], &changes_of(n)));
        }
        // Mostly the next process finds what the killed one left, and may be killed while it recovers: what is checked
        // is a copy.
        let here = rng.below(4) == 0;
        let path = if here { file("db") } else { copy(dir.path()) };
        let allowed = Allowed { commits: kept..=made, absent: kept == 0 };
        let opened = check_at::<S>(SETUP, Arc::new(OsFs), &path, &history, &allowed);
        let number = match opened {
            Ok(Some((db, number))) => is_clean(&db).map(|()| number),
            Ok(None) => Ok(0),
            Err(what) => Err(what),
        };
        let number = number
            .unwrap_or_else(|what| panic!("{}, round {round}, {when:?}, {reported:?}: {what}", S::NAME));
        // What is in the files after a kill stays there.
        kept = number;
        history.truncate(number as usize + 1);
        made = number;
    }
    assert!(total.commits > 5 * rounds, "{total:?}");
    if ahead > 1 {
        assert!(total.checkpoints > rounds && total.spills > rounds / 4, "{total:?}");
    }
    println!("{}: {rounds} kills, {total:?}", S::NAME);
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
    kills::<bifold::mmap::Source>("kills_under_mmap", write_alone::<bifold::mmap::Source>, 1);
}

#[cfg(feature = "buffer-pool")]
#[test]
fn kills_under_the_pool() {
    kills::<bifold::pool::Source>("kills_under_the_pool", write_alone::<bifold::pool::Source>, 1);
}

#[cfg(feature = "mmap")]
#[test]
fn kills_of_many_threads_under_mmap() {
    type Source = bifold::mmap::Source;
    kills::<Source>("kills_of_many_threads_under_mmap", write_in_threads::<Source>, WRITERS);
}

#[cfg(feature = "buffer-pool")]
#[test]
fn kills_of_many_threads_under_the_pool() {
    type Source = bifold::pool::Source;
    kills::<Source>("kills_of_many_threads_under_the_pool", write_in_threads::<Source>, WRITERS);
}
