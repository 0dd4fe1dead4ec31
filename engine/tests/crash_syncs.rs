//! Every sync of creation, of commits and of checkpoints is needed: on a disk that ignores it, some crash breaks a
//! promise. So these tests fail when such a sync is left out (there is none to ignore), and show that the crashes find
//! what they are there to find.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold_page_source::MemSource;
use bifold_page_source::testing::{CrashPlan, Op};
use common::Setup;
use common::crashes::{Bounds, check_image, plans, walk};
use common::run::{OPENED, Recorded, Step, record, script};
use common::syncs::{Sync, syncs};
use std::sync::LazyLock;

static RUN: LazyLock<Recorded> = LazyLock::new(|| {
    let mut steps = script(44, 1);
    // Only a compaction cuts off what the checkpoint before it still refers to.
    let middle = steps.len() / 2;
    steps.insert(middle, Step::Compact);
    steps.push(Step::Compact);
    record::<MemSource>(Setup::SMALL, &steps).unwrap()
});

/// Where the run syncs for that purpose.
fn positions(purpose: Sync) -> Vec<usize> {
    syncs(&RUN.ops).into_iter().filter(|(_, p)| *p == purpose).map(|(at, _)| at).collect()
}

/// The first promise broken on a disk that ignores some syncs. Not all crashes: those in which one thing alone became
/// durable, which are the worst for whoever relies on an order.
fn broken(ignored: &[usize], entries: usize) -> Option<String> {
    let run = &*RUN;
    let first = *ignored.first()?;
    let mut left = entries;
    walk(&run.ops, Bounds::new(None), ignored, &mut |crashes, bounds| {
        if crashes.position() <= first || left == 0 {
            return Ok(());
        }
        left -= 1;
        let choices = crashes.choices();
        let mut plans = plans(crashes, 4, 0);
        plans.extend((0..choices.min(4)).map(CrashPlan::DropOne));
        plans.extend((0..choices).step_by(choices / 12 + 1).map(CrashPlan::KeepOne));
        for plan in plans {
            check_image::<MemSource>(run.setup, crashes, &plan, &run.history, &bounds.allowed())?;
        }
        Ok(())
    })
    .err()
}

/// A promise is broken without all syncs for a purpose, and without single ones too: not without each, as some are
/// followed at once by another sync of the same file.
fn is_needed(purpose: Sync) {
    let all = positions(purpose);
    assert!(!all.is_empty(), "the run never syncs for {purpose:?}");
    assert!(broken(&all, 400).is_some(), "no sync for {purpose:?} is needed");
    let single = all.iter().rev().take(5).filter(|&&at| broken(&[at], 60).is_some()).count();
    assert!(single > 0, "no sync for {purpose:?} is needed alone");
}

#[test]
fn creation_syncs_the_file_before_it_has_a_name() {
    is_needed(Sync::Created);
}

#[test]
fn creation_syncs_the_directory() {
    // Twice: whoever creates the file does, and whoever opens it does again, who cannot know. Either is enough here.
    let opened = RUN.ops.iter().position(|op| matches!(op, Op::Mark { what: OPENED, .. })).unwrap();
    let both: Vec<usize> = positions(Sync::Named).into_iter().filter(|&at| at < opened).collect();
    assert_eq!(both.len(), 2);
    assert!(broken(&both, 100).is_some());
}

#[test]
fn a_new_log_is_synced() {
    is_needed(Sync::Log);
}

#[test]
fn a_new_logs_directory_is_synced() {
    is_needed(Sync::LogNamed);
}

#[test]
fn the_meta_that_names_the_log_is_synced() {
    is_needed(Sync::LogLive);
}

#[test]
fn a_commit_syncs_large_values_before_its_record() {
    is_needed(Sync::Extents);
}

#[test]
fn a_commit_syncs_its_record() {
    is_needed(Sync::Record);
}

#[test]
fn a_checkpoint_syncs_its_pages_before_its_meta() {
    is_needed(Sync::Pages);
}

#[test]
fn a_checkpoint_syncs_its_meta_before_space_is_used_again() {
    is_needed(Sync::Meta);
}

#[test]
fn closing_syncs_the_meta_before_the_log_is_removed() {
    is_needed(Sync::MetaClosed);
}

#[test]
fn the_meta_is_synced_before_the_file_is_cut() {
    is_needed(Sync::MetaTrimmed);
}

#[test]
fn what_closing_syncs_last_is_no_promise() {
    // A log that is still there is removed by the next opening, and space behind the end is used by the next growth.
    let mut last = positions(Sync::LogRemoved);
    last.extend(positions(Sync::Trimmed));
    assert!(last.len() >= 3);
    last.sort_unstable();
    assert_eq!(broken(&last, 150), None);
}
