//! Power cuts during creation, meta writes and the healing after them: what was durable or shown stays.
#![forbid(unsafe_code)]

use super::*;
use crate::meta::{self, LogState, Meta};
use bifold_page_source::testing::{CrashPlan, Crashes, Image, Op, RecordingFs, sync_points};
use bifold_page_source::{File, MemFs};
use std::sync::Arc;

const DB: &str = "db";
const DURABLE: &str = "durable";
/// Metas that the recorded run writes: the newest of a new file is 1.
const METAS: std::ops::RangeInclusive<u64> = 2..=6;

fn meta_of(number: u64) -> Meta {
    let meta = Meta::initial(PageSize::MIN, 7, number);
    let log = LogState::Live(crate::wal::LogStart { log_id: number, lap: 1, sector: number, chain: number });
    if number < 2 { meta } else { Meta { seq: number, log, ..meta } }
}

fn recording(files: Image) -> RecordingFs {
    RecordingFs::new(Arc::new(MemFs::from_files(files).unwrap()))
}

fn write_durably(fs: &RecordingFs, file: &dyn File, number: u64) {
    meta::write(file, &meta_of(number)).unwrap();
    file.sync().unwrap();
    fs.mark(DURABLE, number);
}

/// Creates a database and writes some metas.
fn recorded_run() -> Vec<Op> {
    let fs = recording(Vec::new());
    create(&fs, Path::new(DB), PageSize::MIN, Some(7)).unwrap();
    fs.mark(DURABLE, 1);
    let locked = open_locked(&fs, Path::new(DB), Access::ReadWrite).unwrap();
    assert_eq!(settle_head(&fs, &locked).unwrap(), meta_of(1));
    for number in METAS {
        write_durably(&fs, &*locked.file, number);
    }
    fs.ops()
}

/// All crashes at the position of `crashes` that differ in one thing, and `seeds` at random.
fn plans(crashes: &Crashes<'_>, seeds: u64) -> Vec<CrashPlan> {
    let choices = crashes.choices();
    let mut plans = vec![CrashPlan::AllDropped, CrashPlan::AllKept];
    plans.extend((0..choices).flat_map(|i| [CrashPlan::DropOne(i), CrashPlan::KeepOne(i)]));
    plans.extend((0..seeds).map(CrashPlan::random));
    plans
}

/// The number of the meta that a disk opens to; `None` if there is no file. Anything else is an error.
fn opened(fs: &dyn FileSystem, access: Access) -> Result<Option<u64>> {
    let locked = match open_locked(fs, Path::new(DB), access) {
        Err(e) if is_kind(&e, ErrorKind::NotFound) => return Ok(None),
        other => other?,
    };
    let meta = settle_head(fs, &locked)?;
    assert_eq!(meta, meta_of(meta.number));
    Ok(Some(meta.number))
}

/// Crashes a run at every position, and what recovers from that at every position again; says what went wrong first.
fn crash_everywhere(ops: &[Op], ignored: Option<usize>) -> Result<usize, String> {
    let mut crashes = Crashes::ignoring(ops, |at, _| Some(at) == ignored);
    let (mut durable, mut images) = (0, 0);
    while let Some(op) = crashes.advance() {
        if let Op::Mark { what: DURABLE, number } = op {
            durable = *number;
        }
        for plan in plans(&crashes, 20) {
            let fs = recording(crashes.image(&plan));
            let at = crashes.position();
            let fault = |what| format!("at {at}, {plan:?}: {what}");
            let shown = opened(&fs, Access::ReadWrite).map_err(|e| fault(e.to_string()))?;
            let allowed = durable.max(1)..=durable + 1;
            if !shown.map_or(durable == 0, |n| allowed.contains(&n)) {
                return Err(fault(format!("{shown:?} after {durable}")));
            }
            fs.mark("shown", 0);
            images += 1;
            if let Some(shown) = shown {
                crash_again(&fs.ops(), shown).map_err(fault)?;
            }
        }
    }
    Ok(images)
}

/// Crashes a recovery at every position. Before its end, it shows no less than a second try would; after it, what it
/// has shown.
fn crash_again(ops: &[Op], shown: u64) -> Result<(), String> {
    let mut crashes = Crashes::new(ops);
    while let Some(op) = crashes.advance() {
        if matches!(op, Op::Exists { .. }) {
            continue;
        }
        for plan in [CrashPlan::AllDropped, CrashPlan::KeepOne(0), CrashPlan::random(3)] {
            let fs = MemFs::from_files(crashes.image(&plan)).map_err(|e| e.to_string())?;
            let again = opened(&fs, Access::ReadOnly).map_err(|e| e.to_string())?;
            if again != Some(shown) {
                return Err(format!("{shown} was shown, then {again:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn after_a_crash_anywhere_the_file_is_absent_or_opens_to_what_was_durable_or_begun() {
    let ops = recorded_run();
    let images = crash_everywhere(&ops, None).unwrap();
    assert!(images > 500, "{images} images");
}

#[test]
fn no_sync_of_creation_or_of_a_meta_can_be_left_out() {
    let ops = recorded_run();
    let opening = ops.iter().position(|op| matches!(op, Op::Mark { number: 1, .. })).unwrap();
    // Two writes, a sync that begins and ends, and a mark for each meta.
    let first_meta = ops.len() - 5 * METAS.count();
    for sync in sync_points(&ops) {
        // Opening a new file for the first time finds nothing that its syncs could be needed for.
        if sync < opening || sync >= first_meta {
            assert!(crash_everywhere(&ops, Some(sync)).is_err(), "without {:?} at {sync}", ops[sync]);
        }
    }
}

#[test]
fn what_is_shown_after_a_failed_sync_is_durable() {
    let fs = recording(Vec::new());
    create(&fs, Path::new(DB), PageSize::MIN, Some(7)).unwrap();
    let locked = open_locked(&fs, Path::new(DB), Access::ReadWrite).unwrap();
    for number in METAS {
        write_durably(&fs, &*locked.file, number);
    }
    drop(locked);
    let failed = fs.position() - 2;
    assert_eq!(opened(&fs, Access::ReadWrite).unwrap(), Some(*METAS.end()));
    let mut ops = fs.ops();
    let Op::SyncEnd { ok, .. } = &mut ops[failed] else { panic!("{:?}", ops[failed]) };
    *ok = false;
    let mut crashes = Crashes::new(&ops);
    crashes.advance_to(ops.len());
    for plan in plans(&crashes, 50) {
        let fs = recording(crashes.image(&plan));
        assert_eq!(opened(&fs, Access::ReadWrite).unwrap(), Some(*METAS.end()), "{plan:?}");
    }
}
