//! What a database that opened has shown is there after the next crash too: recovery is crashed, syncs fail, processes
//! die before the power does.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::Error;
use bifold_page_source::testing::pages::Rng;
use bifold_page_source::testing::{CrashPlan, Crashes, Fault, FaultFs, FileId, Op, OpKind, RecordingFs};
use bifold_page_source::{MemFs, MemSource};
use common::crashes::{Bounds, check_image, plans, walk};
use common::model::State;
use common::run::{OPENED, Recorded, Step, changes, go_on, record, recording, script};
use common::verify::check;
use common::{DB, Setup, TestSource};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

static RUN: LazyLock<Recorded> = LazyLock::new(|| record::<MemSource>(Setup::SMALL, &script(44, 1)).unwrap());

/// A few commits more, of all kinds.
fn more(number: u64, count: u64, rng: &mut Rng) -> Vec<Step> {
    (number + 1..=number + count).map(|n| Step::Commit(changes(n, rng))).collect()
}

/// Crashes a second run of which `bounds` says what it began with.
fn crash_again<S: TestSource>(
    ops: &[Op],
    from: usize,
    bounds: Bounds,
    history: &[State],
    random: u64,
) -> Result<u64, String> {
    let mut images = 0;
    walk(ops, bounds, &[], &mut |crashes, bounds| {
        if crashes.position() <= from {
            return Ok(());
        }
        for plan in plans(crashes, random, 0) {
            check_image::<S>(Setup::SMALL, crashes, &plan, history, &bounds.allowed())?;
            images += 1;
        }
        Ok(())
    })?;
    Ok(images)
}

/// Recovers from an image, goes on for a while, and crashes all of that: until the end of recovery another recovery
/// finds the same, and afterwards no less.
fn recover_and_crash<S: TestSource>(
    crashes: &Crashes<'_>,
    plan: &CrashPlan,
    bounds: &Bounds,
) -> Result<u64, String> {
    let image = crashes.image(plan);
    let met = image.len();
    let fs = recording(image);
    let opened = check::<S>(RUN.setup, Arc::new(fs.clone()), &RUN.history, &bounds.allowed())?;
    let Some((db, number)) = opened else { return Ok(0) };
    fs.mark(OPENED, number);
    let mut history = RUN.history[..=number as usize].to_vec();
    let steps = more(number, 3, &mut Rng::new(crashes.position() as u64));
    go_on(&fs, RUN.setup, db, &mut history, &steps).map_err(|e| format!("going on: {e}"))?;
    crash_again::<S>(&fs.ops(), met, Bounds::new(Some(number)), &history, 1)
        .map_err(|e| format!("{plan:?}, then {e}"))
}

fn crash_recovery<S: TestSource>(first: usize, every: usize) {
    let mut images = 0;
    walk(&RUN.ops, Bounds::new(None), &[], &mut |crashes, bounds| {
        if crashes.position() % every == first {
            images += recover_and_crash::<S>(crashes, &CrashPlan::random(crashes.position() as u64), bounds)?;
        }
        Ok(())
    })
    .unwrap_or_else(|what| panic!("{}: {what}", S::NAME));
    assert!(images > 300, "{images} images");
}

#[test]
fn what_a_recovery_has_shown_survives_a_second_crash() {
    crash_recovery::<MemSource>(3, 16);
    #[cfg(feature = "mmap")]
    crash_recovery::<bifold::mmap::Source>(7, 85);
    #[cfg(feature = "buffer-pool")]
    crash_recovery::<bifold::pool::Source>(29, 85);
}

/// Lets one call of a run fail. The process gives up, another one opens what the page cache shows, goes on, and only then
/// the power fails. `None` if the run ends before that call.
fn fail_call(fault: Fault) -> Result<Option<u64>, String> {
    let faults = FaultFs::new(Arc::new(MemFs::new()));
    let fs = RecordingFs::new(Arc::new(faults.clone()));
    faults.fail(fault);
    let mut history = vec![State::new()];
    let setup = Setup::SMALL;
    let seam = || Arc::new(fs.clone());
    let failed = match setup.builder::<MemSource>(seam()).open(DB) {
        Ok(db) => {
            fs.mark(OPENED, 0);
            go_on(&fs, setup, db, &mut history, &script(26, 3)).err()
        }
        Err(error) => Some(error),
    };
    if faults.fired() == 0 {
        assert!(failed.is_none(), "{failed:?}");
        return Ok(None);
    }
    // The error may have been only logged, then by closing or by the next write.
    if let Some(error) = failed {
        let expected = matches!(error, Error::Io { .. } | Error::OutcomeUnknown(_) | Error::Poisoned(_));
        assert!(expected, "{error}");
    }
    faults.heal();

    let mut bounds = Bounds::new(None);
    let ops = fs.ops();
    for op in &ops {
        bounds.note(op);
    }
    let from = ops.len();
    let opened = check::<MemSource>(setup, seam(), &history, &bounds.allowed())?;
    let Some((db, number)) = opened else { return Ok(Some(0)) };
    fs.mark(OPENED, number);
    history.truncate(number as usize + 1);
    let steps = more(number, 2, &mut Rng::new(from as u64));
    go_on(&fs, setup, db, &mut history, &steps).map_err(|e| format!("going on: {e}"))?;
    let ops = fs.ops();
    let shown = ops.iter().rposition(|op| matches!(op, Op::Mark { what: OPENED, .. })).unwrap();
    crash_again::<MemSource>(&ops, shown.max(from), Bounds::new(None), &history, 1).map(Some)
}

/// Lets the calls of a kind fail, one in each run.
fn fail_each(stride: usize, fault: impl Fn(u64) -> Fault) {
    let mut images = 0;
    for k in (0..).step_by(stride) {
        match fail_call(fault(k)) {
            Ok(Some(more)) => images += more,
            Ok(None) => break,
            Err(what) => panic!("{:?}: {what}", fault(k)),
        }
    }
    assert!(images > 500, "{images} images");
}

#[test]
fn a_sync_that_failed_once_loses_nothing_that_is_shown_later() {
    fail_each(1, |k| Fault::new(OpKind::Sync).after(k));
}

#[test]
fn a_write_that_was_torn_loses_nothing_that_is_shown_later() {
    fail_each(7, |k| Fault::new(OpKind::Write).after(k).torn_after(k % 3));
}

/// The log of a run that ended at an entry by the death of its process, with what another did afterwards to the same
/// files: nothing that was not synced has become durable in between.
fn splice(before: &[Op], later: &[Op]) -> Vec<Op> {
    let mut names: HashMap<PathBuf, FileId> = HashMap::new();
    for op in before {
        match op {
            Op::Create { file, path: Some(path) } | Op::Publish { file, path } => {
                names.insert(path.clone(), *file);
            }
            Op::Unlink { path } => {
                names.remove(path);
            }
            _ => {}
        }
    }
    let mut ids: HashMap<FileId, FileId> = HashMap::new();
    let mut ops = before.to_vec();
    for op in later {
        let mut op = op.clone();
        match &mut op {
            Op::Exists { file, path, .. } => {
                ids.insert(*file, names[path]);
                continue;
            }
            Op::Create { file, .. }
            | Op::Publish { file, .. }
            | Op::Rename { file, .. }
            | Op::Write { file, .. }
            | Op::SetLen { file, .. } => map(&ids, file),
            Op::SyncBegin { file, sync } | Op::SyncEnd { file, sync, .. } => {
                map(&ids, file);
                *sync += 1_000_000;
            }
            Op::SyncDir { .. } | Op::Unlink { .. } | Op::Mark { .. } => {}
        }
        ops.push(op);
    }
    ops
}

/// A file of the later run is one of the earlier, or a new one.
fn map(ids: &HashMap<FileId, FileId>, file: &mut FileId) {
    *file = ids.get(file).copied().unwrap_or(FileId(file.0 + 1_000_000));
}

#[test]
fn what_is_shown_after_a_kill_survives_a_power_cut() {
    let mut images = 0;
    walk(&RUN.ops, Bounds::new(None), &[], &mut |crashes, bounds| {
        let at = crashes.position();
        if at % 8 != 2 {
            return Ok(());
        }
        let fs = recording(crashes.image(&CrashPlan::AllKept));
        let opened = check::<MemSource>(RUN.setup, Arc::new(fs.clone()), &RUN.history, &bounds.allowed())?;
        let Some((db, number)) = opened else { return Ok(()) };
        fs.mark(OPENED, number);
        let mut history = RUN.history[..=number as usize].to_vec();
        let steps = more(number, 1, &mut Rng::new(at as u64));
        go_on(&fs, RUN.setup, db, &mut history, &steps).map_err(|e| format!("going on: {e}"))?;
        let ops = splice(&RUN.ops[..at], &fs.ops());
        // What may have been before the kill and was never shown may go again, so the old states count as well.
        if history.len() <= RUN.history.len() {
            let shown = ops.iter().rposition(|op| matches!(op, Op::Mark { what: OPENED, .. })).unwrap();
            images += crash_again::<MemSource>(&ops, shown, Bounds::new(None), &history, 1)?;
        }
        Ok(())
    })
    .unwrap();
    assert!(images > 1000, "{images} images");
}
