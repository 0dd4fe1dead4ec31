//! I/O errors at every call: each is an error of a named class, never a panic; after one that leaves the outcome open
//! nothing more is written, readers go on, and reopening shows what was acknowledged, or the commit whose outcome was
//! said to be unknown. A full disk aborts one transaction and nothing else.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::{Db, Error};
use bifold_page_source::testing::{Fault, FaultFs, OpKind};
use bifold_page_source::{MemFs, MemSource};
use common::model::{Change, State, after};
use common::run::{Step, commit, script};
use common::verify::{Allowed, check, is_clean, is_named, shown};
use common::{DB, Setup, TestSource, stepper};
use std::sync::Arc;

/// A database on a file system with faults, and what it should hold.
struct Bed<S: TestSource> {
    setup: Setup,
    disk: MemFs,
    faults: FaultFs,
    db: Option<Db<S>>,
    /// What was acknowledged, the empty state first.
    history: Vec<State>,
    /// The state after a commit whose outcome is unknown.
    unknown: Option<State>,
    /// All errors met.
    errors: Vec<Error>,
}

impl<S: TestSource> Bed<S> {
    fn new(setup: Setup) -> Self {
        let disk = MemFs::new();
        let mut faults = FaultFs::new(Arc::new(disk.clone()));
        // A map needs a descriptor, and reads through it; nothing else goes past the faults.
        if S::NAME != "mmap" {
            faults = faults.without_descriptors();
        }
        let history = vec![State::new()];
        Self { setup, disk, faults, db: None, history, unknown: None, errors: Vec::new() }
    }

    fn newest(&self) -> u64 {
        self.history.len() as u64 - 1
    }

    fn open(&mut self) {
        match self.setup.builder::<S>(Arc::new(self.faults.clone())).open(DB) {
            Ok(db) => self.db = Some(db),
            Err(error) => self.errors.push(error),
        }
    }

    /// Does one step; if it fails, readers still see what was acknowledged. Opens the database first if it is not open.
    fn step(&mut self, step: &Step) -> Result<(), String> {
        if self.db.is_none() {
            self.open();
        }
        let Some(db) = self.db.take() else { return Ok(()) };
        let mut again = false;
        let result = match step {
            Step::Commit(changes) => self.commit(&db, changes),
            Step::Abort(changes) => {
                db.write().and_then(|txn| changes.iter().try_for_each(|c| c.perform(&txn)))
            }
            Step::Checkpoint => db.checkpoint(),
            Step::Reopen => {
                again = true;
                Ok(())
            }
            Step::Background(steps) => {
                (0..*steps).for_each(|_| _ = stepper().step());
                Ok(())
            }
            Step::Rollback(..)
            | Step::Compact
            | Step::Hold
            | Step::CommitAs(..)
            | Step::Sync
            | Step::Wait(_) => Ok(()),
        };
        if again {
            self.errors.extend(db.close().err());
            self.open();
            return Ok(());
        }
        if let Err(error) = result {
            self.errors.push(error);
            // A fault that came once may come to this reader.
            let fired = self.faults.fired();
            match shown(&db, &self.history) {
                Ok(number) if number == self.newest() => {}
                Err(_) if self.faults.fired() > fired => {}
                other => return Err(format!("after {:?}, readers see {other:?}", self.errors)),
            }
        }
        self.db = Some(db);
        Ok(())
    }

    fn commit(&mut self, db: &Db<S>, changes: &[Change]) -> Result<(), Error> {
        let state = after(&self.history[self.history.len() - 1], changes);
        let result = commit(db, changes);
        match &result {
            Ok(()) => self.history.push(state),
            Err(Error::OutcomeUnknown(_)) => self.unknown = Some(state),
            Err(_) => {}
        }
        result
    }

    fn is_poisoned(&self) -> bool {
        self.db.as_ref().is_some_and(|db| matches!(db.write(), Err(Error::Poisoned(_))))
    }

    /// Nothing can be written any more, and all ways to try say so.
    fn check_poisoned(&self) -> Result<(), String> {
        let Some(db) = &self.db else { return Ok(()) };
        for result in [db.checkpoint(), db.try_write().map(drop), db.update(|_| Ok(()))] {
            if !matches!(result, Err(Error::Poisoned(_))) {
                return Err(format!("a poisoned database said {result:?}"));
            }
        }
        match shown(db, &self.history) {
            Ok(number) if number == self.newest() => Ok(()),
            other => Err(format!("readers of a poisoned database see {other:?}")),
        }
    }

    /// The process ends; another opens the file on a disk without faults.
    fn reopen(mut self, least: u64) -> Result<(), String> {
        drop(self.db.take());
        let mut most = self.newest();
        if let Some(state) = self.unknown.take() {
            self.history.push(state);
            most += 1;
        }
        let allowed = Allowed { commits: least..=most, absent: most == 0 };
        let errors = self.errors;
        let opened = check::<S>(self.setup, Arc::new(self.disk), &self.history, &allowed);
        let opened = opened.map_err(|what| format!("{what} (after {errors:?})"))?;
        opened.map_or(Ok(()), |(db, _)| is_clean(&db).map_err(|what| format!("{what} (after {errors:?})")))
    }
}

/// Runs a script with one fault. Whether the fault was met.
fn run_with<S: TestSource>(fault: &Fault, kind: OpKind) -> Result<bool, String> {
    let mut bed = Bed::<S>::new(Setup::SMALL);
    bed.faults.fail(fault.clone());
    for step in script(24, 5) {
        let (fired, opened) = (bed.faults.fired(), bed.db.is_some());
        bed.step(&step)?;
        if bed.faults.fired() > fired && opened && kind == OpKind::Sync && bed.db.is_some() {
            let reopened = matches!(step, Step::Reopen);
            if !bed.is_poisoned() && !reopened {
                return Err(format!("a sync failed, and the database takes writes ({:?})", bed.errors));
            }
        }
        if bed.unknown.is_some() && !bed.is_poisoned() {
            return Err(format!("the outcome is unknown, and the database takes writes ({:?})", bed.errors));
        }
        if bed.is_poisoned() {
            bed.check_poisoned()?;
            break;
        }
    }
    if let Some(error) = bed.errors.iter().find(|error| !is_named(error)) {
        return Err(format!("an I/O error became {error:?}"));
    }
    let met = bed.faults.fired() > 0;
    let least = bed.newest();
    bed.reopen(least)?;
    Ok(met)
}

/// A fault at every call of a kind, the later ones at larger and larger distances.
fn at_every_call<S: TestSource>(kind: OpKind, shape: fn(Fault) -> Fault, dense: u64) -> u64 {
    let (mut k, mut runs) = (0, 0);
    loop {
        let fault = shape(Fault::new(kind).after(k));
        match run_with::<S>(&fault, kind) {
            Ok(false) => return runs,
            Ok(true) => runs += 1,
            Err(what) => panic!("{}: {kind:?} number {k} failed: {what}", S::NAME),
        }
        k += 1 + k / dense;
    }
}

#[test]
fn errors_of_reading_are_errors_and_pass() {
    assert!(at_every_call::<MemSource>(OpKind::Read, |f| f, 20) > 20);
}

#[test]
fn errors_of_writing_are_named() {
    assert!(at_every_call::<MemSource>(OpKind::Write, |f| f, 40) > 50);
    at_every_call::<MemSource>(OpKind::Write, |f| f.torn_after(1), 20);
    at_every_call::<MemSource>(OpKind::Write, Fault::after_the_work, 20);
    at_every_call::<MemSource>(OpKind::Write, Fault::forever, 20);
}

#[test]
fn a_sync_that_fails_poisons() {
    assert!(at_every_call::<MemSource>(OpKind::Sync, |f| f, 40) > 40);
    at_every_call::<MemSource>(OpKind::Sync, Fault::after_the_work, 20);
    at_every_call::<MemSource>(OpKind::Sync, Fault::forever, 10);
}

#[test]
fn a_disk_that_is_full_when_written_to_is_an_error_like_others() {
    // Where space is not kept for what was allocated: file systems that copy on write, thin volumes.
    at_every_call::<MemSource>(OpKind::Write, |fault| fault.raw_error(28), 30);
    at_every_call::<MemSource>(OpKind::Write, |fault| fault.raw_error(28).torn_after(1), 10);
    at_every_call::<MemSource>(OpKind::Sync, |fault| fault.raw_error(28), 20);
    at_every_call::<MemSource>(OpKind::Create, |fault| fault.raw_error(28), 20);
}

#[test]
fn errors_of_growing_and_cutting_are_named() {
    assert!(at_every_call::<MemSource>(OpKind::Allocate, |f| f, 100) > 2);
    at_every_call::<MemSource>(OpKind::SetLen, |f| f, 100);
}

#[test]
fn errors_with_names_and_locks_are_named() {
    use OpKind::{Create, Lock, Open, Publish, Rename, SyncDir, Unlink};
    for kind in [Create, Lock, Open, Publish, Rename, SyncDir, Unlink] {
        at_every_call::<MemSource>(kind, |f| f, 100);
        at_every_call::<MemSource>(kind, Fault::after_the_work, 100);
    }
}

#[cfg(feature = "mmap")]
#[test]
fn errors_under_mmap_are_named() {
    for kind in [OpKind::Read, OpKind::Write, OpKind::Sync, OpKind::Allocate] {
        assert!(at_every_call::<bifold::mmap::Source>(kind, |f| f, 8) > 1, "{kind:?}");
    }
}

#[cfg(feature = "buffer-pool")]
#[test]
fn errors_under_the_pool_are_named() {
    for kind in [OpKind::Read, OpKind::Write, OpKind::Sync, OpKind::Allocate] {
        assert!(at_every_call::<bifold::pool::Source>(kind, |f| f, 8) > 1, "{kind:?}");
    }
}

/// Fills a disk of `capacity` bytes until `failures` steps have failed, and then makes room.
fn fill<S: TestSource>(capacity: u64, failures: usize) -> Result<usize, String> {
    let mut bed = Bed::<S>::new(Setup::SMALL);
    bed.faults.set_capacity(Some(capacity));
    for step in script(40, 9) {
        bed.step(&step)?;
        if let Some(error) = bed.errors.iter().find(|error| !matches!(error, Error::DiskFull { .. })) {
            return Err(format!("a full disk became {error:?}, after {} errors", bed.errors.len()));
        }
        if bed.errors.len() >= failures {
            bed.faults.set_capacity(None);
        }
        if bed.errors.len() > failures + 1 {
            return Err("there is room again, and yet the disk is full".into());
        }
    }
    let full = bed.errors.len();
    let newest = bed.newest();
    bed.reopen(newest)?;
    Ok(full)
}

fn full_disks<S: TestSource>(step: usize) {
    let mut met = 0;
    for capacity in (8_000..1_200_000).step_by(step) {
        for failures in [1, 3, 1000] {
            met += fill::<S>(capacity, failures)
                .unwrap_or_else(|what| panic!("{}: a disk of {capacity}: {what}", S::NAME));
        }
    }
    assert!(met > 100, "the disk was full {met} times");
}

#[test]
fn a_full_disk_aborts_one_transaction() {
    full_disks::<MemSource>(14_000);
    #[cfg(feature = "mmap")]
    full_disks::<bifold::mmap::Source>(91_000);
    #[cfg(feature = "buffer-pool")]
    full_disks::<bifold::pool::Source>(93_000);
}
