//! I/O errors at every call once more, with commits of every durability and background work that the test steps by
//! hand: between any two steps of a checkpoint there are commits, and between a commit and its sync there are others.
//!
//! A ticket whose sync failed says that the outcome is unknown; readers stay where they were; nothing more is written,
//! and the error says why; reopening shows a prefix of the commits with everything that was said to be durable. A full
//! disk never poisons.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::{CommitTicket, Db, Durability, Error, ReadTxn};
use bifold_page_source::testing::{Fault, FaultFs, OpKind};
use bifold_page_source::{MemFs, MemSource};
use common::model::{Change, State, after, difference};
use common::run::{COMPACTION_MOST, Step, script_by_steps};
use common::verify::{Allowed, check, is_clean, is_named, shown};
use common::{DB, LOG, Setup, TestSource, step_by_hand, stepper};
use std::sync::Arc;
use std::time::Duration;

/// A database on a file system with faults, and what it should hold.
struct Bed<S: TestSource> {
    disk: MemFs,
    faults: FaultFs,
    db: Option<Db<S>>,
    /// The states after the commits that were made or may have been, the empty state first.
    history: Vec<State>,
    /// The outcome of the last of them is unknown.
    unknown: bool,
    /// The newest that was said to be durable.
    durable: u64,
    /// The newest that readers have seen.
    seen: u64,
    tickets: Vec<CommitTicket>,
    readers: Vec<ReadTxn<'static, S>>,
    /// All errors met.
    errors: Vec<Error>,
}

impl<S: TestSource> Bed<S> {
    fn new() -> Self {
        step_by_hand();
        let disk = MemFs::new();
        let mut faults = FaultFs::new(Arc::new(disk.clone()));
        // A map needs a descriptor, and reads through it; nothing else goes past the faults.
        if S::NAME != "mmap" {
            faults = faults.without_descriptors();
        }
        Self {
            disk,
            faults,
            db: None,
            history: vec![State::new()],
            unknown: false,
            durable: 0,
            seen: 0,
            tickets: Vec::new(),
            readers: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn newest(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    /// What opening shows is so from now on.
    fn open(&mut self) -> Result<(), String> {
        let db = match Setup::SMALL.builder::<S>(Arc::new(self.faults.clone())).open(DB) {
            Ok(db) => db,
            Err(error) => {
                self.errors.push(error);
                return Ok(());
            }
        };
        let number = db.read().unwrap().commit_number();
        if !(self.durable..=self.newest()).contains(&number) {
            return Err(format!("opened at commit {number}, not {}..={}", self.durable, self.newest()));
        }
        self.history.truncate(number as usize + 1);
        (self.durable, self.seen, self.unknown) = (number, number, false);
        self.db = Some(db);
        Ok(())
    }

    /// Begins a commit, which counts as made unless it was refused for sure.
    fn commit(
        &mut self,
        db: &Db<S>,
        changes: &[Change],
        durability: Option<Durability>,
    ) -> Result<(), Error> {
        let state = after(&self.history[self.history.len() - 1], changes);
        let result = (|| {
            let txn = db.write()?;
            changes.iter().try_for_each(|change| change.perform(&txn))?;
            let Some(durability) = durability else { return txn.commit().map(|()| None) };
            txn.set_durability(durability);
            txn.commit_nowait().map(Some)
        })();
        match result {
            Ok(ticket) => {
                self.history.push(state);
                if ticket.is_none() {
                    self.durable = self.newest();
                }
                self.tickets.extend(ticket);
                Ok(())
            }
            Err(error) => {
                if matches!(error, Error::OutcomeUnknown(_)) {
                    self.history.push(state);
                    self.unknown = true;
                }
                Err(error)
            }
        }
    }

    /// Readers end, each having seen all the time what it saw at first.
    fn release(&mut self) -> Result<(), String> {
        for reader in self.readers.drain(..) {
            let number = reader.commit_number();
            match difference(&reader, &self.history[number as usize]) {
                Ok(None) => {}
                // A fault that came once may come to this reader.
                Err(error) if is_named(&error) => {}
                other => return Err(format!("a reader of commit {number} sees {other:?}")),
            }
        }
        Ok(())
    }

    fn close(&mut self, db: Db<S>) -> Result<(), String> {
        self.release()?;
        self.tickets.clear();
        match db.close() {
            Ok(()) => self.durable = self.newest(),
            Err(error) => self.errors.push(error),
        }
        self.open()
    }

    /// Does one step; opens the database first if it is not open.
    fn step(&mut self, step: &Step) -> Result<(), String> {
        if self.db.is_none() {
            self.open()?;
        }
        let Some(db) = self.db.take() else { return Ok(()) };
        let result = match step {
            Step::Commit(changes) => self.commit(&db, changes, None),
            Step::CommitAs(changes, durability) => self.commit(&db, changes, Some(*durability)),
            Step::Sync => db.sync().map(|()| self.durable = self.newest()),
            Step::Checkpoint => db.checkpoint().map(|()| self.durable = self.newest()),
            Step::Reopen => return self.close(db),
            Step::Background(steps) => {
                (0..*steps).for_each(|_| _ = stepper().step());
                Ok(())
            }
            Step::Wait(millis) => {
                stepper().advance(Duration::from_millis(*millis));
                Ok(())
            }
            Step::Hold => {
                self.readers.push(db.read_owned().unwrap());
                Ok(())
            }
            Step::Compact => self.compact(&db),
            Step::Abort(_) | Step::Rollback(..) => Ok(()),
        };
        self.errors.extend(result.err());
        let durable = self.tickets.iter().filter(|t| t.is_durable()).map(CommitTicket::commit_number);
        self.durable = self.durable.max(durable.max().unwrap_or(0));
        let looked = self.look(&db);
        self.db = Some(db);
        looked
    }

    /// Compacts: its commits change nothing, however far it came.
    fn compact(&mut self, db: &Db<S>) -> Result<(), Error> {
        let newest = self.newest();
        let result = db.compact().map(drop);
        // Where nobody can write any more, it does not matter how many commits there were.
        let now = db.write().map_or(newest + COMPACTION_MOST, |txn| txn.commit_number());
        self.history.resize(now as usize + 1, self.history[newest as usize].clone());
        if result.is_ok() {
            self.durable = now;
        }
        result
    }

    /// Readers see a commit that was made, and never go back.
    fn look(&mut self, db: &Db<S>) -> Result<(), String> {
        let fired = self.faults.fired();
        match shown(db, &self.history) {
            Ok(number) if (self.seen..=self.newest()).contains(&number) => {
                self.seen = number;
                Ok(())
            }
            // A fault that came once may come to this reader.
            Err(_) if self.faults.fired() > fired => Ok(()),
            other => Err(format!("after {:?}, readers at {} see {other:?}", self.errors, self.seen)),
        }
    }

    fn is_poisoned(&self) -> bool {
        self.db.as_ref().is_some_and(|db| matches!(db.write(), Err(Error::Poisoned(_))))
    }

    /// Nothing can be written any more, and all ways to try say so. `log_failed`: it was a sync of the log that failed.
    fn check_poisoned(&mut self, log_failed: bool) -> Result<(), String> {
        let Some(db) = self.db.take() else { return Ok(()) };
        let waiting = std::mem::take(&mut self.tickets);
        for ticket in waiting {
            let number = ticket.commit_number();
            let durable = ticket.is_durable();
            match ticket.wait() {
                Ok(()) if durable || !log_failed => self.durable = self.durable.max(number),
                Err(Error::OutcomeUnknown(cause)) if !durable && is_named(&cause) => {}
                other => return Err(format!("the ticket of commit {number} ({durable}) said {other:?}")),
            }
        }
        self.look(&db)?;
        for result in [db.checkpoint(), db.try_write().map(drop), db.update(|_| Ok(()))] {
            match result {
                Err(Error::Poisoned(cause)) if is_named(&cause) => {}
                other => return Err(format!("a poisoned database said {other:?}")),
            }
        }
        let seen = self.seen;
        // Not even later: there is nothing in the background that goes on.
        stepper().advance(Duration::from_secs(2));
        (0..50).for_each(|_| _ = stepper().step());
        self.look(&db)?;
        if log_failed && self.seen != seen {
            return Err(format!("readers of a poisoned database went from {seen} to {}", self.seen));
        }
        self.db = Some(db);
        Ok(())
    }

    /// The process ends; another opens the file on a disk without faults.
    fn reopen(mut self) -> Result<(), String> {
        self.release()?;
        self.tickets.clear();
        drop(self.db.take());
        let newest = self.newest();
        let allowed = Allowed { commits: self.durable..=newest, absent: newest == 0 };
        let errors = self.errors;
        let opened = check::<S>(Setup::SMALL, Arc::new(self.disk), &self.history, &allowed);
        let clean = opened.and_then(|opened| opened.map_or(Ok(()), |(db, _)| is_clean(&db)));
        clean.map_err(|what| format!("{what} (after {errors:?})"))
    }
}

/// One way to fail.
#[derive(Clone, Copy)]
struct How {
    kind: OpKind,
    shape: fn(Fault) -> Fault,
    /// Only the log's calls.
    log: bool,
}

impl How {
    fn new(kind: OpKind, shape: fn(Fault) -> Fault) -> Self {
        Self { kind, shape, log: false }
    }

    fn on_log(kind: OpKind, shape: fn(Fault) -> Fault) -> Self {
        Self { kind, shape, log: true }
    }
}

/// Runs a script with one fault. Whether the fault was met.
fn run_with<S: TestSource>(how: How, skip: u64, seed: u64) -> Result<bool, String> {
    let mut bed = Bed::<S>::new();
    let fault = (how.shape)(Fault::new(how.kind).after(skip));
    bed.faults.fail(if how.log { fault.on(LOG) } else { fault });
    for step in script_by_steps(40, seed) {
        let (fired, opened) = (bed.faults.fired(), bed.db.is_some());
        bed.step(&step)?;
        let failed = bed.faults.fired() > fired && opened && !matches!(step, Step::Reopen);
        let poisoned = bed.is_poisoned();
        if (failed && how.kind == OpKind::Sync || bed.unknown) && bed.db.is_some() && !poisoned {
            return Err(format!("the outcome is open, and the database takes writes ({:?})", bed.errors));
        }
        if poisoned {
            bed.check_poisoned(how.log && how.kind == OpKind::Sync)?;
            break;
        }
    }
    if let Some(error) = bed.errors.iter().find(|error| !is_named(error)) {
        return Err(format!("an I/O error became {error:?}"));
    }
    let met = bed.faults.fired() > 0;
    bed.reopen()?;
    Ok(met)
}

/// A fault at every call of a kind, the later ones at larger and larger distances.
fn at_every_call<S: TestSource>(how: How, dense: u64) -> u64 {
    let (mut k, mut runs) = (0, 0);
    loop {
        match run_with::<S>(how, k, 5) {
            Ok(false) => return runs,
            Ok(true) => runs += 1,
            Err(what) => panic!("{}: {:?} number {k} failed: {what}", S::NAME, how.kind),
        }
        k += 1 + k / dense;
    }
}

#[test]
fn errors_of_writing() {
    assert!(at_every_call::<MemSource>(How::new(OpKind::Write, |f| f), 30) > 50);
    at_every_call::<MemSource>(How::new(OpKind::Write, |f| f.torn_after(1)), 12);
    at_every_call::<MemSource>(How::new(OpKind::Write, Fault::after_the_work), 12);
    at_every_call::<MemSource>(How::new(OpKind::Write, Fault::forever), 12);
    at_every_call::<MemSource>(How::new(OpKind::Write, |f| f.raw_error(28)), 12);
    assert!(at_every_call::<MemSource>(How::on_log(OpKind::Write, |f| f), 12) > 15);
}

#[test]
fn errors_of_syncing() {
    assert!(at_every_call::<MemSource>(How::new(OpKind::Sync, |f| f), 30) > 40);
    at_every_call::<MemSource>(How::new(OpKind::Sync, Fault::after_the_work), 12);
    at_every_call::<MemSource>(How::new(OpKind::Sync, |f| f.raw_error(28)), 12);
    assert!(at_every_call::<MemSource>(How::on_log(OpKind::Sync, |f| f), 20) > 15);
    at_every_call::<MemSource>(How::on_log(OpKind::Sync, Fault::after_the_work), 12);
}

#[test]
fn errors_of_growing_and_making() {
    assert!(at_every_call::<MemSource>(How::new(OpKind::Allocate, |f| f), 100) > 2);
    for kind in [OpKind::Create, OpKind::SyncDir, OpKind::Unlink, OpKind::SetLen] {
        at_every_call::<MemSource>(How::new(kind, |f| f), 100);
    }
}

#[cfg(any(feature = "mmap", feature = "buffer-pool"))]
fn on_backend<S: TestSource>() {
    for kind in [OpKind::Write, OpKind::Sync, OpKind::Allocate] {
        assert!(at_every_call::<S>(How::new(kind, |f| f), 4) > 1, "{kind:?}");
    }
    at_every_call::<S>(How::on_log(OpKind::Sync, |f| f), 4);
}

#[cfg(feature = "mmap")]
#[test]
fn errors_under_mmap() {
    on_backend::<bifold::mmap::Source>();
}

#[cfg(feature = "buffer-pool")]
#[test]
fn errors_under_the_pool() {
    on_backend::<bifold::pool::Source>();
}

/// Files grow no more from some call on: that refuses transactions, and nothing else, whatever the durability.
fn without_growth<S: TestSource>(skip: u64) -> Result<(usize, bool), String> {
    let mut bed = Bed::<S>::new();
    bed.faults.fail(Fault::new(OpKind::Allocate).raw_error(28).after(skip).forever());
    for step in script_by_steps(30, skip) {
        bed.step(&step)?;
        if let Some(error) = bed.errors.iter().find(|error| !matches!(error, Error::DiskFull { .. })) {
            return Err(format!("a full disk became {error:?}"));
        }
    }
    let refused = bed.errors.len();
    bed.faults.heal();
    bed.step(&Step::Commit(vec![Change::put("t", "room", "again")]))?;
    bed.step(&Step::Checkpoint)?;
    if bed.errors.len() > refused || bed.durable < bed.newest() {
        return Err(format!("there is room again, and yet {:?}", bed.errors.last()));
    }
    let met = bed.faults.fired() > 0;
    bed.reopen()?;
    Ok((refused, met))
}

#[test]
fn a_file_that_cannot_grow_poisons_nothing() {
    let mut refused = 0;
    for skip in 0.. {
        match without_growth::<MemSource>(skip) {
            Ok((_, false)) => break,
            Ok((some, true)) => refused += some,
            Err(what) => panic!("after {skip} growths: {what}"),
        }
    }
    assert!(refused > 20, "{refused} transactions were refused");
}

/// Fills a disk of `capacity` bytes; whenever that refuses a transaction, removals are not refused. How often it did.
fn fill<S: TestSource>(capacity: u64, seed: u64) -> Result<usize, String> {
    let mut bed = Bed::<S>::new();
    bed.faults.set_capacity(Some(capacity));
    let mut committed = 0;
    for step in script_by_steps(60, seed) {
        if matches!(step, Step::Hold | Step::Reopen) {
            // A reader keeps what it sees, and a database just opened has reserved nothing yet.
            continue;
        }
        let (before, newest) = (bed.errors.len(), bed.newest());
        bed.step(&step)?;
        committed += bed.newest() - newest;
        if let Some(error) = bed.errors.iter().find(|error| !matches!(error, Error::DiskFull { .. })) {
            return Err(format!("a full disk became {error:?}"));
        }
        if bed.errors.len() > before && committed > 0 {
            let refused = bed.errors.len();
            let state = bed.history[bed.newest() as usize].clone();
            for key in state.get("t").into_iter().flat_map(|rows| rows.keys()).step_by(40) {
                bed.step(&Step::Commit(vec![Change::Remove("t", key.clone())]))?;
            }
            // A transaction that changes nothing would take no number.
            if state.contains_key("big") {
                bed.step(&Step::CommitAs(vec![Change::Drop("big")], Durability::Deferred))?;
            }
            bed.step(&Step::Checkpoint)?;
            if bed.errors.len() > refused {
                return Err(format!("a removal was refused: {:?}", bed.errors.last()));
            }
        }
    }
    let full = bed.errors.len();
    bed.reopen()?;
    Ok(full)
}

fn full_disks<S: TestSource>(step: usize) {
    let mut met = 0;
    for capacity in (60_000..900_000).step_by(step) {
        met += fill::<S>(capacity, capacity / 1000)
            .unwrap_or_else(|what| panic!("{}: a disk of {capacity}: {what}", S::NAME));
    }
    assert!(met > 10, "the disk was full {met} times");
}

#[test]
fn a_full_disk_refuses_no_removal() {
    full_disks::<MemSource>(17_000);
    #[cfg(feature = "mmap")]
    full_disks::<bifold::mmap::Source>(91_000);
    #[cfg(feature = "buffer-pool")]
    full_disks::<bifold::pool::Source>(93_000);
}
