//! Walking through the crashes of a recorded run, and what may open after each.

use super::model::State;
use super::run::{ACKED, CLOSED, OPENED, Recorded, STARTED};
use super::verify::{Allowed, check};
use super::{Setup, TestSource};
use bifold_page_source::MemFs;
use bifold_page_source::testing::{CrashPlan, Crashes, Op};
use std::sync::Arc;

/// What an image may be at one position of a run, from the marks before it.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    acked: u64,
    started: u64,
    there: bool,
}

impl Bounds {
    /// At the beginning of a run on what was durable before: commit `first`, or nothing.
    pub(crate) fn new(first: Option<u64>) -> Self {
        let number = first.unwrap_or(0);
        Self { acked: number, started: number, there: first.is_some() }
    }

    pub(crate) fn note(&mut self, op: &Op) {
        let Op::Mark { what, number } = op else { return };
        match *what {
            STARTED => self.started = *number,
            ACKED => self.acked = *number,
            OPENED | CLOSED => (self.acked, self.started, self.there) = (*number, *number, true),
            _ => {}
        }
    }

    pub(crate) fn allowed(&self) -> Allowed {
        Allowed { commits: self.acked..=self.started, absent: !self.there }
    }
}

/// An entry of the log in few words.
pub(crate) fn brief(op: &Op) -> String {
    match op {
        Op::Write { file, offset, bytes } => {
            format!("a write of {} bytes at {offset} of {file:?}", bytes.len())
        }
        Op::Exists { file, .. } => format!("{file:?} being there"),
        other => format!("{other:?}"),
    }
}

/// Lets a run happen, on a disk that ignores some syncs, and calls `visit` after every entry, with what may be there.
///
/// # Errors
/// What `visit` says, with the position.
pub(crate) fn walk(
    ops: &[Op],
    mut bounds: Bounds,
    ignored: &[usize],
    visit: &mut dyn FnMut(&Crashes<'_>, &Bounds) -> Result<(), String>,
) -> Result<(), String> {
    let mut crashes = Crashes::ignoring(ops, |at, _| ignored.contains(&at));
    while let Some(op) = crashes.advance() {
        bounds.note(op);
        visit(&crashes, &bounds)
            .map_err(|what| format!("crash at entry {}, after {}: {what}", crashes.position(), brief(op)))?;
    }
    Ok(())
}

/// A file system with what a crash may leave.
pub(crate) fn disk(crashes: &Crashes<'_>, plan: &CrashPlan) -> Arc<MemFs> {
    Arc::new(MemFs::from_files(crashes.image(plan)).unwrap())
}

/// All kept, all dropped, `random` at random, and `single` that differ in one thing from either.
pub(crate) fn plans(crashes: &Crashes<'_>, random: u64, single: u64) -> Vec<CrashPlan> {
    let seed = crashes.position() as u64 * 1000;
    let mut plans = vec![CrashPlan::AllDropped, CrashPlan::AllKept];
    plans.extend((0..random).map(|i| CrashPlan::random(seed + i)));
    let choices = crashes.choices();
    if choices > 0 {
        let one = |i: u64| ((seed / 1000 + i) as usize).wrapping_mul(7919) % choices;
        plans.extend((0..single).flat_map(|i| [CrashPlan::DropOne(one(i)), CrashPlan::KeepOne(one(i))]));
    }
    plans
}

/// Opens one image and compares.
///
/// # Errors
/// How it breaks a promise.
pub(crate) fn check_image<S: TestSource>(
    setup: Setup,
    crashes: &Crashes<'_>,
    plan: &CrashPlan,
    history: &[State],
    allowed: &Allowed,
) -> Result<Option<u64>, String> {
    match check::<S>(setup, disk(crashes, plan), history, allowed) {
        Ok(opened) => Ok(opened.map(|(_, number)| number)),
        Err(what) => Err(format!("{plan:?}: {what}")),
    }
}
