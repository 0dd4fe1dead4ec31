//! Steps in one hand, and waiting in another.

use super::*;
use crate::background::Stepper;
use crate::db::Db;
use crate::root::Root;
use bifold_page_source::testing::{Fault, FaultFs, OpKind};
use bifold_page_source::{MemFs, MemSource};

/// A database with some commits that no checkpoint holds, on a file system that can fail.
fn with_commits() -> (Db<MemSource>, FaultFs) {
    let faults = FaultFs::new(Arc::new(MemFs::new())).without_descriptors();
    let builder = Db::<MemSource>::builder().page_size(512).background(Stepper::new());
    let db = builder.file_system(Arc::new(faults.clone())).open("/db").unwrap();
    for n in 0..20u32 {
        db.update(|txn| txn.table("t")?.insert(n.to_be_bytes(), vec![0; 3000])).unwrap();
    }
    (db, faults)
}

/// Steps as the background does them, until one fails.
fn fail_in_the_background(shared: &Shared<MemSource>, faults: &FaultFs, kind: OpKind) {
    faults.fail(Fault::new(kind).on("/db"));
    while let Ok(step) = shared.step_outside(Wait::No) {
        assert!(!matches!(step, Step::None | Step::Busy), "nothing has failed");
    }
    assert_eq!(faults.fired(), 1);
}

#[test]
fn a_commit_by_checkpoint_hears_of_a_step_that_failed_in_the_background() {
    for kind in [OpKind::Write, OpKind::Sync] {
        let (db, faults) = with_commits();
        let shared = db.shared();
        let mut writer = shared.gate.acquire(Wait::No).unwrap();
        let Root { seq, catalog, ref tables, .. } = *writer.newest;
        let candidate = Candidate { seq, catalog, tables: tables.clone(), unnoted: 0 };
        shared.begin_candidate(&mut writer, candidate).unwrap();
        // To where the next step without the writer is to fail.
        while kind == OpKind::Sync && shared.step_job(None, None).unwrap() != Step::Busy {}
        while kind == OpKind::Sync && shared.job.lock().job.as_ref().unwrap().needs_writer() {
            shared.step_job(Some(&mut writer), None).unwrap();
        }
        faults.fail(Fault::new(kind).on("/db"));
        while shared.step_job(None, None).is_ok() {}
        assert_eq!(faults.fired(), 1);
        let finished = shared.finish_candidate(&mut writer);
        assert!(matches!(finished, Err(Failure::Fatal(Error::Poisoned(_)))), "{finished:?}");
        assert!(shared.finish_job(&mut writer, None).is_err());
        shared.gate.release(writer);
    }
}

#[test]
fn whoever_asks_for_a_checkpoint_hears_of_a_step_that_failed_in_the_background() {
    for kind in [OpKind::Write, OpKind::Sync] {
        let (db, faults) = with_commits();
        let shared = db.shared();
        let begin = |writer: &mut Writer| shared.begin_checkpoint(writer, LogAfter::Live);
        let number = shared.with_writer(Wait::No, begin).unwrap();
        fail_in_the_background(shared, &faults, kind);
        shared.see_ended(number).unwrap_err();
        shared.checkpoint_outside().unwrap_err();
    }
}

#[test]
fn a_checkpoint_counts_also_if_a_later_one_is_under_way_or_has_failed() {
    let (db, faults) = with_commits();
    let shared = db.shared();
    let begin = |writer: &mut Writer| shared.begin_checkpoint(writer, LogAfter::Live);
    let number = shared.with_writer(Wait::No, begin).unwrap();
    while shared.step_outside(Wait::No).unwrap() != Step::None {}
    db.update(|txn| txn.table("t")?.insert("a", vec![0; 3000])).unwrap();
    let later = shared.with_writer(Wait::No, begin).unwrap();
    assert!(later > number);
    shared.see_ended(number).unwrap();
    assert!(shared.job.lock().job.is_some(), "it was not waited for");
    fail_in_the_background(shared, &faults, OpKind::Write);
    shared.see_ended(number).unwrap();
    shared.see_ended(later).unwrap_err();
}

/// A failure elsewhere, while the meta is on the disk: the commit is there, and must not be called aborted.
#[test]
fn a_commit_by_checkpoint_whose_meta_is_written_is_not_called_aborted() {
    let (db, _) = with_commits();
    let shared = db.shared();
    let mut writer = shared.gate.acquire(Wait::No).unwrap();
    let Root { seq, catalog, ref tables, .. } = *writer.newest;
    let candidate = Candidate { seq, catalog, tables: tables.clone(), unnoted: 0 };
    shared.begin_candidate(&mut writer, candidate).unwrap();
    while writer.meta.checkpoint != writer.begun {
        shared.step_job(Some(&mut writer), None).unwrap();
    }
    shared.poison(&Error::Internal("elsewhere"));
    let finished = shared.finish_candidate(&mut writer);
    assert!(matches!(finished, Err(Failure::Unknown(Error::Poisoned(_)))), "{finished:?}");
    shared.gate.release(writer);
}

/// Subtrees are not walked beside a checkpoint: its record of what is free would miss what is found.
#[test]
fn nothing_is_walked_beside_a_checkpoint() {
    let (db, _) = with_commits();
    db.checkpoint().unwrap();
    db.update(|txn| txn.drop_table("t").map(drop)).unwrap();
    db.checkpoint().unwrap();
    let shared = db.shared();
    let subtrees = |writer: &mut Writer| Ok(writer.space()?.subtrees().count());
    let before = shared.with_writer(Wait::No, subtrees).unwrap();
    assert!(before > 0);
    shared.schedule.lock().cuts = true;
    let begin = |writer: &mut Writer| shared.begin_checkpoint(writer, LogAfter::Live);
    let number = shared.with_writer(Wait::No, begin).unwrap();
    // As one that looked for a job before this one was begun.
    Steps { shared, paced: true }.begin_what_is_due(Wait::No);
    assert_eq!(shared.with_writer(Wait::No, subtrees).unwrap(), before);
    shared.see_ended(number).unwrap();
    Steps { shared, paced: true }.begin_what_is_due(Wait::No);
    assert!(shared.with_writer(Wait::No, subtrees).unwrap() < before);
    assert!(db.check().unwrap().is_clean());
}

/// Where a checkpoint is refused, time brings the next attempt, if commits do not.
#[test]
fn a_refused_checkpoint_is_tried_again_in_time() {
    let (db, _) = with_commits();
    let shared = db.shared();
    let interval = shared.limits.checkpoint_interval.unwrap();
    let mut steps = Steps { shared, paced: true };
    assert_eq!(steps.step(), Next::After(interval));
    shared.background.sleep(interval);
    assert_eq!(steps.step(), Next::Again);
    assert!(shared.job.lock().job.is_some());
    // As a full disk makes it end.
    shared
        .with_writer(Wait::No, |writer| {
            let mut slot = shared.job.lock();
            slot.job.take().unwrap().refuse(shared, writer)
        })
        .unwrap();
    shared.failed(Failure::Refused(Error::DiskFull { wanted: 1 }));
    assert_eq!(steps.step(), Next::After(interval));
    shared.background.sleep(interval);
    assert_eq!(steps.step(), Next::Again);
    while steps.step() == Next::Again {}
    assert_eq!(db.stats().checkpoints, 1);
}
