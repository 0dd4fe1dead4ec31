//! Deterministic runs of a database, recorded: everything that a commit, a checkpoint, opening and closing can do to
//! the files, at sizes at which it happens often.

use super::model::{Change, State, after, difference};
use super::{DB, Setup, TestSource, stepper};
use bifold::{CommitTicket, Db, Durability, Error, ReadTxn};
use bifold_page_source::testing::pages::Rng;
use bifold_page_source::testing::{Image, Op, RecordingFs};
use bifold_page_source::{Access, FileSystem, MemFs};
use std::sync::Arc;
use std::time::Duration;

/// A commit was begun: its number.
pub(crate) const STARTED: &str = "started";
/// A commit returned `Ok`: its number.
pub(crate) const ACKED: &str = "acked";
/// The database is open: the number of the newest commit that it shows.
pub(crate) const OPENED: &str = "opened";
/// The database was closed: the newest commit's number.
pub(crate) const CLOSED: &str = "closed";

/// A compaction makes no more commits than this.
pub(crate) const COMPACTION_MOST: u64 = 1000;

/// One step of a run.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Commit(Vec<Change>),
    /// Commits with this durability and does not wait.
    CommitAs(Vec<Change>, Durability),
    /// Makes all commits durable.
    Sync,
    /// Does so many steps of background work.
    Background(u64),
    /// Moves the clock by so many milliseconds.
    Wait(u64),
    /// Makes changes, and drops them without a commit.
    Abort(Vec<Change>),
    /// Commits the first changes; the second are made after a savepoint and rolled back.
    Rollback(Vec<Change>, Vec<Change>),
    Checkpoint,
    /// Compacts the file in place, by commits that change nothing.
    Compact,
    /// Begins to read; the reader stays until the database is closed, and then still sees what it saw.
    Hold,
    /// Closes and opens.
    Reopen,
}

/// Text that only commit `n` writes. Written three times over, as a sector's end may split one of them.
pub(crate) fn needle(n: u64) -> Vec<u8> {
    format!("<commit {n:08}>").into_bytes()
}

/// The changes of commit `n`: some small ones always, and everything else now and then.
pub(crate) fn changes(n: u64, rng: &mut Rng) -> Vec<Change> {
    let mut changes = vec![Change::put("commits", n.to_be_bytes(), needle(n).repeat(3))];
    if n > 20 {
        changes.push(Change::Remove("commits", (n - 20).to_be_bytes().to_vec()));
    }
    let key = |rng: &mut Rng| format!("key {:04}", rng.below(300)).into_bytes();
    let bytes = |rng: &mut Rng, len: u64| vec![rng.below(256) as u8; len as usize];
    for _ in 0..6 + rng.below(8) {
        let (key, len) = (key(rng), 5 + rng.below(70));
        changes.push(Change::put("t", key, bytes(rng, len)));
    }
    changes.push(Change::Remove("t", key(rng)));
    if n % 5 == 3 {
        // Too long for a leaf of small pages, too short to be written before the commit.
        let len = 600 + rng.below(4000);
        changes.push(Change::put("big", format!("medium {}", rng.below(5)), bytes(rng, len)));
    }
    if n % 6 == 4 {
        let len = 65_537 + rng.below(3000);
        changes.push(Change::put("big", format!("large {}", rng.below(2)), bytes(rng, len)));
    }
    if n % 11 == 6 {
        let from = rng.below(250);
        let (from, to) = (format!("key {from:04}"), format!("key {:04}", from + 50));
        changes.push(Change::RemoveRange("t", from.into(), to.into()));
    }
    if n % 12 == 2 {
        changes.extend((0..60).map(|i| Change::put("gone", format!("{i:03}"), bytes(rng, 60))));
        changes.push(Change::put("gone", "large", bytes(rng, 66_000)));
    }
    if n % 12 == 9 {
        changes.push(Change::Drop("gone"));
    }
    if n % 16 == 7 {
        // Longer than the log: the same keys again and again, so that the delta stays small.
        changes.extend((0..80).map(|i| Change::put("loud", format!("{:02}", i % 10), bytes(rng, 250))));
    }
    changes
}

/// A run that holds everything: see the test that says so.
pub(crate) fn script(commits: u64, seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut steps = Vec::new();
    for n in 1..=commits {
        if n % 7 == 5 {
            let mut changes = changes(n + 1000, &mut rng);
            changes.push(Change::put("big", "large 0", vec![9; 70_000]));
            steps.push(Step::Abort(changes));
        }
        steps.push(Step::Commit(changes(n, &mut rng)));
        if n % 15 == 14 {
            steps.push(Step::Checkpoint);
        }
        if n % 22 == 21 {
            steps.push(Step::Reopen);
        }
    }
    steps
}

/// A run whose background work is stepped by hand, between commits of every durability.
pub(crate) fn script_by_steps(commits: u64, seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut steps = Vec::new();
    for n in 1..=commits {
        let changes = changes(n, &mut rng);
        steps.push(match rng.below(6) {
            0 => Step::CommitAs(changes, Durability::Deferred),
            1 => Step::CommitAs(changes, Durability::Buffered),
            2 => Step::CommitAs(changes, Durability::Sync),
            _ => Step::Commit(changes),
        });
        if rng.below(5) < 4 {
            steps.push(Step::Background(1 + rng.below(4)));
        }
        match rng.below(24) {
            0 => steps.push(Step::Sync),
            1 => steps.push(Step::Checkpoint),
            2 | 3 => steps.push(Step::Hold),
            4 => steps.push(Step::Wait(600)),
            5 => steps.push(Step::Reopen),
            6 => steps.push(Step::Background(60)),
            7 => steps.push(Step::Compact),
            _ => {}
        }
    }
    steps
}

/// What was done, and what the file system saw of it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) setup: Setup,
    pub(crate) ops: Vec<Op>,
    /// The state after each commit, the empty one first.
    pub(crate) history: Vec<State>,
    pub(crate) checkpoints: u64,
}

/// A recorded file system with these files. All are met at once: a crash does not lose what was not yet opened.
pub(crate) fn recording(image: Image) -> RecordingFs {
    let paths: Vec<_> = image.iter().map(|(path, _)| path.clone()).collect();
    let fs = RecordingFs::new(Arc::new(MemFs::from_files(image).unwrap()));
    for path in paths {
        fs.open(&path, Access::ReadOnly).unwrap();
    }
    fs
}

/// Runs `script` on a new database, which is closed at the end, and records what it does to the files.
pub(crate) fn record<S: TestSource>(setup: Setup, script: &[Step]) -> Result<Recorded, Error> {
    let fs = recording(Vec::new());
    let mut history = vec![State::new()];
    let db = setup.builder::<S>(Arc::new(fs.clone())).open(DB)?;
    fs.mark(OPENED, 0);
    let checkpoints = go_on(&fs, setup, db, &mut history, script)?;
    Ok(Recorded { setup, ops: fs.ops(), history, checkpoints })
}

/// Runs `script` on a database that shows the newest state of `history`, and closes it. Returns how many checkpoints
/// there were.
pub(crate) fn go_on<S: TestSource>(
    fs: &RecordingFs,
    setup: Setup,
    mut db: Db<S>,
    history: &mut Vec<State>,
    script: &[Step],
) -> Result<u64, Error> {
    let mut checkpoints = 0;
    let mut readers = Vec::new();
    let mut tickets: Vec<CommitTicket> = Vec::new();
    for step in script {
        // The newest that is durable now was so before whatever comes next.
        let durable = tickets.iter().filter(|ticket| ticket.is_durable()).map(CommitTicket::commit_number);
        if let Some(durable) = durable.max() {
            fs.mark(ACKED, durable);
            tickets.retain(|ticket| ticket.commit_number() > durable);
        }
        let newest = history.len() as u64 - 1;
        match step {
            Step::Commit(changes) => attempt(fs, history, changes, || commit(&db, changes))?,
            Step::CommitAs(changes, durability) => {
                let number = newest + 1;
                fs.mark(STARTED, number);
                history.push(after(&history[newest as usize], changes));
                let txn = db.write()?;
                txn.set_durability(*durability);
                changes.iter().try_for_each(|change| change.perform(&txn))?;
                tickets.push(txn.commit_nowait()?);
            }
            Step::Sync => {
                db.sync()?;
                fs.mark(ACKED, newest);
                tickets.clear();
            }
            Step::Background(steps) => {
                for _ in 0..*steps {
                    stepper().step();
                }
            }
            Step::Wait(millis) => stepper().advance(Duration::from_millis(*millis)),
            Step::Rollback(changes, more) => {
                attempt(fs, history, changes, || commit_part(&db, changes, more))?;
            }
            Step::Abort(changes) => {
                let txn = db.write()?;
                changes.iter().try_for_each(|change| change.perform(&txn))?;
            }
            Step::Checkpoint => db.checkpoint()?,
            Step::Compact => {
                fs.mark(STARTED, newest + COMPACTION_MOST);
                db.compact()?;
                let now = db.read()?.commit_number();
                assert!(now <= newest + COMPACTION_MOST, "{now} commits, {newest} before");
                history.resize(now as usize + 1, history[newest as usize].clone());
                fs.mark(STARTED, now);
                fs.mark(ACKED, now);
                tickets.clear();
            }
            Step::Hold => readers.push(db.read_owned()?),
            Step::Reopen => {
                checkpoints += db.stats().checkpoints;
                release(&mut readers, history)?;
                tickets.clear();
                db.close()?;
                fs.mark(CLOSED, newest);
                db = setup.builder(Arc::new(fs.clone())).open(DB)?;
                fs.mark(OPENED, newest);
            }
        }
    }
    checkpoints += db.stats().checkpoints;
    release(&mut readers, history)?;
    drop(tickets);
    db.close()?;
    fs.mark(CLOSED, history.len() as u64 - 1);
    Ok(checkpoints)
}

/// Makes the next commit, between its marks.
fn attempt(
    fs: &RecordingFs,
    history: &mut Vec<State>,
    changes: &[Change],
    commit: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let number = history.len() as u64;
    fs.mark(STARTED, number);
    // Before the attempt: a crash may show it though it failed.
    history.push(after(&history[number as usize - 1], changes));
    commit()?;
    fs.mark(ACKED, number);
    Ok(())
}

/// Ends read transactions, each of which still sees what it saw when it began.
fn release<S: TestSource>(readers: &mut Vec<ReadTxn<'static, S>>, history: &[State]) -> Result<(), Error> {
    for reader in readers.drain(..) {
        let number = reader.commit_number();
        assert_eq!(difference(&reader, &history[number as usize])?, None, "a reader of commit {number}");
    }
    Ok(())
}

/// Makes the changes in one transaction.
pub(crate) fn commit<S: TestSource>(db: &Db<S>, changes: &[Change]) -> Result<(), Error> {
    let txn = db.write()?;
    changes.iter().try_for_each(|change| change.perform(&txn))?;
    txn.commit()
}

/// Makes the changes, and more which are rolled back, in one transaction.
fn commit_part<S: TestSource>(db: &Db<S>, changes: &[Change], more: &[Change]) -> Result<(), Error> {
    let txn = db.write()?;
    let half = changes.len() / 2;
    changes[..half].iter().try_for_each(|change| change.perform(&txn))?;
    let savepoint = txn.savepoint()?;
    more.iter().try_for_each(|change| change.perform(&txn))?;
    txn.rollback_to(&savepoint)?;
    changes[half..].iter().try_for_each(|change| change.perform(&txn))?;
    txn.commit()
}
