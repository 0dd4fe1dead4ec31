//! Work in the background, interleaved by hand with everything that writers, readers and closing do beside it: at every
//! step of a checkpoint, and where a step fails in another's hands.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::{CommitTicket, Db, Durability, Error, ReadTxn, WriteTxn};
use bifold_page_source::testing::{Fault, FaultFs, OpKind};
use bifold_page_source::{MemFs, MemSource};
use common::model::{Change, State, after, difference};
use common::verify::{Allowed, check, is_clean, shown};
use common::{DB, Setup, step_by_hand, stepper};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

const CHECKPOINTER: &str = "bifold-checkpoint";
/// Some commits fit delta and log, and one that is a little larger spills.
const SETUP: Setup = Setup { page: 512, delta: 64 << 10, log: 64 << 10 };

/// A database whose background work is stepped by hand, and what it should hold.
struct Bed {
    fs: MemFs,
    db: Db<MemSource>,
    /// The state after each commit, the empty one first.
    history: Vec<State>,
    /// The newest commit that must survive everything.
    durable: u64,
    tickets: Vec<CommitTicket>,
    readers: Vec<ReadTxn<'static, MemSource>>,
}

fn key(n: u64) -> Vec<u8> {
    format!("key {n:04}").into_bytes()
}

fn puts(table: &'static str, keys: std::ops::Range<u64>, len: usize, salt: u8) -> Vec<Change> {
    keys.map(|n| Change::put(table, key(n), vec![salt; len])).collect()
}

/// A copy of all files, as they would be after the process died.
fn copy(fs: &MemFs) -> MemFs {
    let files: Vec<_> = fs.paths().into_iter().map(|p| (p.clone(), fs.read_file(&p).unwrap())).collect();
    MemFs::from_files(files).unwrap()
}

impl Bed {
    /// Some commits on file, some in the delta; if `hold`, with a reader of each.
    fn new(hold: bool) -> Self {
        step_by_hand();
        let fs = MemFs::new();
        let db = SETUP.builder::<MemSource>(Arc::new(fs.clone())).open(DB).unwrap();
        let (history, tickets, readers) = (vec![State::new()], Vec::new(), Vec::new());
        let mut bed = Self { fs, db, history, durable: 0, tickets, readers };
        let mut filled = puts("t", 0..200, 40, 1);
        filled.extend(puts("gone", 0..100, 40, 1));
        filled.push(Change::put("gone", "large", vec![1; 70_000]));
        filled.push(Change::put("gone", "medium", vec![1; 900]));
        filled.push(Change::put("big", "large", vec![1; 66_000]));
        bed.commit(&filled, Durability::Sync);
        bed.db.checkpoint().unwrap();
        for n in 0..4 {
            let mut changes = puts("t", n * 17..n * 17 + 25, 50, n as u8 + 2);
            changes.push(Change::put(
                "big",
                format!("medium {}", n % 2),
                vec![n as u8; 700 + 900 * n as usize],
            ));
            changes.push(Change::Remove("t", key(150 + n)));
            changes.push(Change::put("new", key(n), "new"));
            bed.commit(&changes, [Durability::Sync, Durability::Deferred][n as usize % 2]);
            if hold {
                bed.readers.push(bed.db.read_owned().unwrap());
            }
        }
        bed
    }

    fn newest(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    /// Runs a transaction that is expected to commit; `inside` is done half-way through its changes.
    fn transact(
        &mut self,
        changes: &[Change],
        durability: Durability,
        inside: impl FnOnce(&WriteTxn<'_, MemSource>),
    ) {
        let txn = self.db.write().unwrap();
        txn.set_durability(durability);
        let (first, second) = changes.split_at(changes.len() / 2);
        first.iter().try_for_each(|change| change.perform(&txn)).unwrap();
        inside(&txn);
        second.iter().try_for_each(|change| change.perform(&txn)).unwrap();
        let ticket = txn.commit_nowait().unwrap();
        self.history.push(after(self.history.last().unwrap(), changes));
        assert_eq!(ticket.commit_number(), self.newest());
        if durability == Durability::Sync {
            ticket.wait().unwrap();
            self.durable = self.newest();
        }
        self.tickets.push(ticket);
    }

    fn commit(&mut self, changes: &[Change], durability: Durability) {
        self.transact(changes, durability, |_| ());
    }

    /// Readers see what they may, and what a death of the process leaves opens to what it may.
    fn verify(&mut self) -> Result<(), String> {
        let seen = shown(&self.db, &self.history)?;
        if seen < self.durable {
            return Err(format!("commit {seen} is shown, and {} is durable", self.durable));
        }
        for reader in &self.readers {
            let number = reader.commit_number();
            let wrong = difference(reader, &self.history[number as usize]).map_err(|e| e.to_string())?;
            if let Some(wrong) = wrong {
                return Err(format!("a reader of commit {number}: {wrong}"));
            }
        }
        let durable = self.tickets.iter().filter(|ticket| ticket.is_durable());
        let durable = durable.map(CommitTicket::commit_number).max().unwrap_or(0).max(self.durable);
        let allowed = Allowed { commits: durable..=self.newest(), absent: false };
        let crashed = check::<MemSource>(SETUP, Arc::new(copy(&self.fs)), &self.history, &allowed)?;
        crashed.map_or(Ok(()), |(db, _)| is_clean(&db))
    }

    /// Goes on to the end: nothing is lost, nothing is kept that nobody needs.
    fn finish(mut self) -> Result<(), String> {
        self.verify()?;
        self.commit(&puts("t", 20..40, 30, 77), Durability::Sync);
        self.verify()?;
        stepper().advance(Duration::from_mins(1));
        stepper().run();
        self.verify()?;
        is_clean(&self.db)?;
        self.commit(&puts("t", 30..50, 30, 78), Durability::Sync);
        self.readers.clear();
        for _ in 0..3 {
            self.db.checkpoint().map_err(|e| e.to_string())?;
            stepper().run();
        }
        self.verify()?;
        is_clean(&self.db)?;
        let stats = self.db.stats();
        if (stats.pinned_pages, stats.delta_bytes) != (0, 0) {
            return Err(format!("something is kept for nobody: {stats:?}"));
        }
        let Self { fs, db, history, tickets, .. } = self;
        drop(tickets);
        db.close().map_err(|e| e.to_string())?;
        let newest = history.len() as u64 - 1;
        let allowed = Allowed { commits: newest..=newest, absent: false };
        let reopened = check::<MemSource>(SETUP, Arc::new(fs), &history, &allowed)?;
        reopened.map_or(Ok(()), |(db, _)| is_clean(&db))
    }
}

/// For every `k`, does `act` after `k` steps of a checkpoint, and sees that all is well then and at the end.
fn at_every_step(name: &str, act: impl Fn(&mut Bed)) {
    for hold in [false, true] {
        let mut k = 0;
        loop {
            let mut bed = Bed::new(hold);
            let begun = bed.db.stats().checkpoints;
            stepper().advance(Duration::from_mins(1));
            let more = (0..k).all(|_| stepper().step_task(CHECKPOINTER));
            act(&mut bed);
            let fine = bed.verify().and_then(|()| bed.finish());
            fine.unwrap_or_else(|what| panic!("{name} after {k} steps, readers: {hold}: {what}"));
            if !more {
                assert!(k > 12, "{name}: a checkpoint of {k} steps ({begun} before)");
                break;
            }
            k += 1;
        }
    }
}

fn steps(count: usize) {
    // While a transaction is open here, only those are done that need no writer.
    for _ in 0..count {
        stepper().advance(Duration::from_millis(50));
        stepper().step_task(CHECKPOINTER);
    }
}

/// Changes of every kind.
fn mixed() -> Vec<Change> {
    let mut changes = puts("t", 5..30, 60, 9);
    changes.push(Change::put("big", "medium 0", vec![9; 3000]));
    changes.push(Change::put("big", "large", vec![9; 66_500]));
    changes.push(Change::RemoveRange("t", key(60), key(120)));
    changes.push(Change::put("big", "medium 1", vec![9; 10]));
    changes.push(Change::Drop("new"));
    changes.push(Change::Drop("gone"));
    changes.push(Change::put("gone", key(1), "again"));
    changes
}

#[test]
fn commits_at_every_step() {
    for durability in [Durability::Sync, Durability::Deferred] {
        for inside in [0, 9] {
            at_every_step("commit", |bed| bed.transact(&mixed(), durability, |_| steps(inside)));
        }
    }
}

#[test]
fn spills_at_every_step() {
    let mut changes = mixed();
    changes.splice(3..3, puts("t", 0..900, 60, 11));
    changes.extend(puts("t", 300..500, 60, 12));
    for inside in [0, 9] {
        at_every_step("spill", |bed| {
            bed.transact(&changes, Durability::Sync, |_| steps(inside));
            assert!(bed.db.stats().spills > 0);
        });
    }
}

#[test]
fn rollbacks_at_every_step() {
    // What is rolled back spills, or not.
    for count in [30, 900] {
        at_every_step("rollback", |bed| {
            let undone = puts("t", 0..count, 60, 13);
            bed.transact(&mixed(), Durability::Sync, |txn| {
                let savepoint = txn.savepoint().unwrap();
                steps(3);
                undone.iter().chain(&mixed()).try_for_each(|change| change.perform(txn)).unwrap();
                steps(9);
                txn.rollback_to(&savepoint).unwrap();
            });
        });
    }
}

#[test]
fn aborted_transactions_at_every_step() {
    for count in [30, 900] {
        at_every_step("abort", |bed| {
            let txn = bed.db.write().unwrap();
            let changes = puts("t", 0..count, 60, 13);
            changes.iter().chain(&mixed()).try_for_each(|change| change.perform(&txn)).unwrap();
            steps(9);
        });
    }
}

#[test]
fn transactions_larger_than_the_log_at_every_step() {
    // The same keys again and again: the log overflows, and the delta does not.
    let changes: Vec<Change> =
        (0..400).map(|n| Change::put("t", key(n % 20), vec![n as u8; 120])).chain(mixed()).collect();
    at_every_step("commit by checkpoint", |bed| {
        bed.transact(&changes, Durability::Deferred, |_| steps(5));
        assert!(bed.tickets.last().unwrap().is_durable());
    });
}

#[test]
fn bulk_loads_at_every_step() {
    at_every_step("bulk load", |bed| {
        let loaded = puts("loaded", 0..800, 50, 5);
        let txn = bed.db.write().unwrap();
        let table = txn.table("loaded").unwrap();
        let mut load = table.bulk_load().unwrap();
        for change in &loaded {
            if let Change::Put(_, key, value) = change {
                load.push(key, value).unwrap();
            }
        }
        steps(9);
        load.finish().unwrap();
        txn.commit().unwrap();
        bed.history.push(after(bed.history.last().unwrap(), &loaded));
        bed.durable = bed.newest();
    });
}

#[test]
fn checkpoints_checks_and_readers_at_every_step() {
    at_every_step("checkpoint", |bed| bed.db.checkpoint().unwrap());
    at_every_step("check", |bed| is_clean(&bed.db).unwrap());
    at_every_step("shape", |bed| _ = bed.db.shape().unwrap());
    at_every_step("sync", |bed| {
        bed.db.sync().unwrap();
        bed.durable = bed.newest();
    });
    at_every_step("readers that come and go", |bed| {
        bed.readers.push(bed.db.read_owned().unwrap());
        bed.commit(&mixed(), Durability::Deferred);
        bed.readers.remove(0);
        bed.readers.push(bed.db.read_owned().unwrap());
    });
}

#[test]
fn closing_at_every_step() {
    for more in [false, true] {
        for k in 0..40 {
            let mut bed = Bed::new(k % 2 == 0);
            stepper().advance(Duration::from_mins(1));
            (0..k).for_each(|_| _ = stepper().step_task(CHECKPOINTER));
            if more {
                bed.commit(&mixed(), Durability::Deferred);
            }
            let Bed { fs, db, history, tickets, readers, .. } = bed;
            db.close().unwrap();
            assert!(tickets.iter().all(CommitTicket::is_durable));
            // Each keeps the file open.
            drop(tickets);
            for reader in readers {
                let number = reader.commit_number() as usize;
                assert_eq!(difference(&reader, &history[number]).unwrap(), None);
            }
            let newest = history.len() as u64 - 1;
            let allowed = Allowed { commits: newest..=newest, absent: false };
            let (db, _) = check::<MemSource>(SETUP, Arc::new(fs), &history, &allowed).unwrap().unwrap();
            is_clean(&db).unwrap();
        }
    }
}

/// A checkpoint that begins before there is a log, and ends when there is one: the log must not be forgotten.
#[test]
fn a_log_made_beside_a_checkpoint_stays_live() {
    step_by_hand();
    let disk = MemFs::new();
    let faults = FaultFs::new(Arc::new(disk.clone()));
    let db = SETUP.builder::<MemSource>(Arc::new(faults.clone())).open(DB).unwrap();
    let gate = faults.gate(OpKind::Sync, 0..u64::MAX);
    thread::scope(|scope| {
        let checkpoint = scope.spawn(|| db.checkpoint());
        gate.wait_for(1);
        let commit = scope.spawn(|| db.update(|txn| txn.table("t")?.insert("a", "1")));
        // It has the writer now, and makes the log.
        gate.wait_for(2);
        gate.open();
        checkpoint.join().unwrap().unwrap();
        commit.join().unwrap().unwrap();
    });
    let left = SETUP.builder::<MemSource>(Arc::new(copy(&disk))).open(DB).unwrap();
    let txn = left.read().unwrap();
    assert_eq!(txn.table("t").unwrap().get("a").unwrap().as_deref(), Some(&b"1"[..]));
}

/// Values each of which takes a step of a checkpoint, and three writes.
fn values(count: u32, txn: &WriteTxn<'_, MemSource>) -> Result<(), Error> {
    (0..count).try_for_each(|n| txn.table("t")?.insert(n.to_be_bytes(), vec![n as u8; 6000]))
}

#[test]
fn a_checkpoint_that_was_asked_for_comes_whatever_is_committed_meanwhile() {
    let mut bed = Bed::new(false);
    let before = bed.db.stats().checkpoints;
    bed.db.begin_checkpoint().unwrap();
    bed.commit(&puts("t", 0..3, 20, 5), Durability::Deferred);
    assert_eq!(bed.db.stats().checkpoints, before, "it is left to the background");
    stepper().run();
    assert_eq!(bed.db.stats().checkpoints, before + 1);
    assert_eq!(bed.db.stats().delta_bytes, 0);
    stepper().run();
    assert_eq!(bed.db.stats().checkpoints, before + 1, "once");
    bed.finish().unwrap();
}

/// What the checkpoint would write for readers is gone when they are, and its descriptors are another's.
#[test]
fn readers_that_end_while_their_pages_are_written() {
    let setup = Setup { page: 512, delta: 10 << 20, log: 32 << 20 };
    for k in 0..24 {
        step_by_hand();
        let disk = MemFs::new();
        let db = setup.builder::<MemSource>(Arc::new(disk.clone())).open(DB).unwrap();
        let mut history = vec![State::new()];
        let commit = |history: &mut Vec<State>, salt: u8| {
            let changes = puts("t", 0..6000, 100, salt);
            let txn = db.write().unwrap();
            changes.iter().try_for_each(|change| change.perform(&txn)).unwrap();
            txn.commit().unwrap();
            history.push(after(history.last().unwrap(), &changes));
        };
        commit(&mut history, 1);
        let mut readers = vec![db.read().unwrap()];
        commit(&mut history, 2);
        readers.push(db.read().unwrap());
        commit(&mut history, 3);
        stepper().advance(Duration::from_mins(1));
        (0..k).for_each(|_| _ = stepper().step_task(CHECKPOINTER));
        readers.remove(k % 2);
        commit(&mut history, 4);
        commit(&mut history, 5);
        drop(readers);
        commit(&mut history, 6);
        commit(&mut history, 7);
        stepper().run();
        assert_eq!(shown(&db, &history), Ok(7), "after {k} steps");
        is_clean(&db).unwrap();
        db.checkpoint().unwrap();
        assert_eq!(db.stats().pinned_pages, 0);
        let allowed = Allowed { commits: 7..=7, absent: false };
        let (left, _) =
            check::<MemSource>(setup, Arc::new(copy(&disk)), &history, &allowed).unwrap().unwrap();
        is_clean(&left).unwrap();
    }
}

/// A panic with the writer in hand leaves nobody waiting for it.
#[test]
fn a_checkpoint_broken_off_by_a_panic_closes_no_gate() {
    for syncs in 0..3 {
        step_by_hand();
        let disk = MemFs::new();
        let faults = FaultFs::new(Arc::new(disk.clone())).without_descriptors();
        let db = SETUP.builder::<MemSource>(Arc::new(faults.clone())).open(DB).unwrap();
        db.update(|txn| values(2, txn)).unwrap();
        faults.fail(Fault::new(OpKind::Sync).on(DB).after(syncs).panics());
        let panicked = catch_unwind(AssertUnwindSafe(|| db.checkpoint()));
        assert_eq!(panicked.is_err(), syncs < 2, "pages and meta are synced");
        faults.heal();
        match db.try_write() {
            Ok(txn) => assert!(syncs == 2 && txn.commit_number() == 1),
            Err(error) => assert!(syncs < 2 && matches!(error, Error::Poisoned(_)), "{syncs}: {error}"),
        }
        assert_eq!(db.close().is_err(), syncs < 2);
        let left = SETUP.builder::<MemSource>(Arc::new(disk)).open(DB).unwrap();
        assert_eq!(left.read().unwrap().table("t").unwrap().len().unwrap(), 2);
        is_clean(&left).unwrap();
    }
}

/// Closing that fails still syncs what no disk has seen, and whoever waits for it hears so.
#[test]
fn closing_beside_a_forgotten_transaction_loses_no_commit() {
    step_by_hand();
    let disk = MemFs::new();
    let db = SETUP.builder::<MemSource>(Arc::new(disk.clone())).open(DB).unwrap();
    let txn = db.write().unwrap();
    values(1, &txn).unwrap();
    txn.set_durability(Durability::Deferred);
    let ticket = txn.commit_nowait().unwrap();
    std::mem::forget(db.write().unwrap());
    assert!(matches!(db.close().unwrap_err(), Error::WriterHeldHere));
    let polled = pin!(ticket).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
    // The forgotten transaction keeps the file locked: another file system.
    let left = SETUP.builder::<MemSource>(Arc::new(copy(&disk))).open(DB).unwrap();
    assert_eq!(left.read().unwrap().table("t").unwrap().len().unwrap(), 1);
}

#[test]
fn an_interval_that_no_clock_reaches_is_no_interval() {
    step_by_hand();
    let builder = SETUP.builder::<MemSource>(Arc::new(MemFs::new()));
    let db = builder.checkpoint_interval(Some(Duration::MAX)).open(DB).unwrap();
    stepper().advance(Duration::from_secs(1));
    db.update(|txn| values(1, txn)).unwrap();
    stepper().run();
    stepper().advance(Duration::from_secs(1_000_000));
    stepper().run();
    assert_eq!(db.stats().checkpoints, 0);
    db.close().unwrap();
}
