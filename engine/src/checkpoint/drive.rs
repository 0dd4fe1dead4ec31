//! Who does a checkpoint's steps, when, and how fast.
//!
//! The job belongs to nobody: it lies in a slot of its own, and whoever does a step locks the slot. Mostly that is the
//! background thread, which takes the writer's gate for the steps that need it, and paces itself. A thread that wants
//! the checkpoint done (`Db::checkpoint`, a writer at the delta's bound) does the steps itself, as fast as it can. A
//! commit that needs a checkpoint does them while it holds the gate. The order of locks is gate, then slot.
#![forbid(unsafe_code)]

use super::job::{Job, Progress};
use super::{Candidate, Failure, LogAfter, Open, walk_cut_subtrees};
use crate::background::{Next, Task};
use crate::db::counters::Counters;
use crate::db::shared::{BrokenOff, Shared};
use crate::error::{Error, Result};
use crate::gate::Wait;
use crate::txn::writer::Writer;
use bifold_page_source::PageSource;
use std::sync::Arc;
use std::time::Duration;

/// What a paced checkpoint writes at least, in bytes a second: it is done in seconds even if nobody writes.
const PACE_MIN: u64 = 64 << 20;
/// How long the background waits for the gate before it looks whether it is to stop.
const GATE_WAIT: Duration = Duration::from_millis(50);
/// Pages below cuts that are read in one go while the gate is held.
const WALK_PER_STEP: usize = 16;
/// How long writers have the gate to themselves after that.
const WALK_PAUSE: Duration = Duration::from_micros(500);
/// Commits to make before a checkpoint that was refused is tried again.
const PATIENCE: u32 = 64;
/// The least time to the next attempt, if there are none.
const RETRY: Duration = Duration::from_secs(1);
/// Full, in the measure of [`Shared::fullness`].
pub(crate) const FULL: u64 = 1024;
/// Where writers are slowed.
const SLOW_FROM: u64 = FULL / 4 * 3;
/// Where a writer helps with the checkpoint before it begins.
const HELP_FROM: u64 = FULL / 16 * 15;
/// The longest that a writer is made to wait before it begins, short of helping.
const SLOW_MAX: Duration = Duration::from_millis(40);
/// What a writer waits at least where the next would help, however small its transactions are.
const SLOW_MIN: Duration = Duration::from_millis(4);
/// Bytes a second that a checkpoint is taken to write until it is known.
const RATE: u64 = 256 << 20;

/// What the background is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// A checkpoint is due.
    due: bool,
    /// One was asked for.
    asked: bool,
    /// When the oldest commit was made that no checkpoint holds.
    dirty_since: Option<Duration>,
    /// Subtrees were cut off that can be walked.
    cuts: bool,
    /// Commits to make before a checkpoint that was refused is due again.
    patience: u32,
    /// Bytes a second that checkpoints write of late, when they do not wait.
    rate: u64,
    /// Bytes of images that the last commit added.
    transaction: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            due: false,
            asked: false,
            dirty_since: None,
            cuts: false,
            patience: 0,
            rate: RATE,
            transaction: 0,
        }
    }
}

/// The checkpoint under way, and what came of those before.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    job: Option<Job>,
    /// The last that was done.
    done: u64,
    /// The last that failed, and why.
    failed: Option<(u64, Error)>,
}

impl Slot {
    /// Whether no checkpoint is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.job.is_none()
    }

    /// What came of checkpoint `number`, which is not under way: if it failed, a later one makes up for it.
    fn outcome(&self, number: u64) -> Result<()> {
        match &self.failed {
            _ if self.done >= number => Ok(()),
            Some((failed, error)) if *failed >= number => Err(error.clone()),
            _ => Err(Error::Internal("a checkpoint has come to no end")),
        }
    }
}

/// What came of an attempt at a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// There is no job.
    None,
    /// It was done.
    Did(Progress),
    /// It needs the gate, which was not to be had.
    Busy,
}

impl<S: PageSource> Shared<S> {
    /// How full the delta (with what is kept for readers) or the log is, whichever is fuller, in 1024ths.
    pub(crate) fn fullness(&self) -> u64 {
        let part = |gauge, bound: u64| Counters::get(gauge).saturating_mul(FULL) / bound.max(1);
        let images = self.store.slab.image_bytes().saturating_mul(FULL) / self.limits.delta_bytes.max(1);
        images.max(part(&self.counters.log_live_bytes, self.limits.log_bytes))
    }

    /// After a commit that added `bytes` to the delta, with the gate still held: notes what is due. Returns whether the background is to be woken.
    pub(crate) fn note_commit(&self, writer: &Writer, bytes: u64) -> bool {
        let log_live = Counters::get(&self.counters.log_live_bytes);
        // Space that only a checkpoint can free.
        let (waiting, end) = writer.space.as_ref().map_or((0, 0), |s| (s.awaiting_pages(), s.end()));
        let waiting_bytes = waiting * self.store.page_size.bytes() as u64;
        let idle = writer.under_way.is_none();
        // Images that only readers keep count as well: a checkpoint writes them too.
        let images = self.store.slab.image_bytes();
        let due = writer.delta.bytes >= self.limits.delta_bytes / 2
            || idle && images >= self.limits.delta_bytes / 8 * 5
            || idle && log_live >= self.limits.log_bytes / 2
            || idle && waiting_bytes > self.limits.delta_bytes && waiting > end / 8;
        let cuts = writer.space.as_ref().is_some_and(|s| s.next_to_walk(writer.meta.checkpoint).is_some());
        let mut schedule = self.schedule.lock();
        let was = *schedule;
        schedule.patience = was.patience.saturating_sub(1);
        schedule.due = due && schedule.patience == 0;
        schedule.cuts = cuts;
        schedule.transaction = bytes;
        let first = writer.seq > writer.meta.seq && was.dirty_since.is_none();
        if first {
            schedule.dirty_since = Some(self.background.now());
        }
        first || schedule.due || schedule.cuts || !idle || self.store.slab.wants_frames()
    }

    /// After a checkpoint: what it found cut off can be walked.
    pub(super) fn note_cuts(&self, writer: &Writer) {
        let cuts = writer.space.as_ref().is_some_and(|s| s.next_to_walk(writer.meta.checkpoint).is_some());
        self.schedule.lock().cuts = cuts;
    }

    /// What was found below cuts is to be made free before more is looked for. (If nothing was, a commit tells when
    /// there is more room.)
    pub(super) fn note_crowded(&self, writer: &Writer) {
        let waiting = writer.space.as_ref().is_some_and(|s| s.awaiting_pages() > 0);
        let mut schedule = self.schedule.lock();
        schedule.due |= waiting && schedule.patience == 0;
    }

    /// Asks the background for a checkpoint, whether or not one is due.
    pub(crate) fn ask_for_checkpoint(&self) {
        self.schedule.lock().asked = true;
        self.wake_checkpointer();
    }

    /// Has the background do what is due, or does it here where there is no background. No gate is held.
    pub(crate) fn wake_checkpointer(&self) {
        if self.checkpoint_worker.wake() {
            return;
        }
        // Until nothing is due but what the clock says.
        let mut steps = Steps { shared: self, paced: false };
        while matches!(steps.step(), Next::Again) {}
    }

    /// Begins a checkpoint of the newest commit, unless one is under way; returns the number of the one or the other.
    fn begin_checkpoint(&self, writer: &mut Writer, log_after: LogAfter) -> Result<u64> {
        let mut slot = self.job.lock();
        if let Some(job) = &slot.job {
            return Ok(job.number());
        }
        self.check_poison()?;
        let newest = &writer.newest;
        let candidate =
            Candidate { seq: newest.seq, catalog: newest.catalog, tables: newest.tables.clone(), unnoted: 0 };
        let job = self.begin_job(writer, candidate, log_after).map_err(|f| self.failed(f))?;
        Ok(slot.job.insert(job).number())
    }

    fn begin_job(
        &self,
        writer: &mut Writer,
        candidate: Candidate,
        log_after: LogAfter,
    ) -> Result<Job, Failure> {
        let mut schedule = self.schedule.lock();
        (schedule.due, schedule.asked, schedule.dirty_since) = (false, false, None);
        drop(schedule);
        let broken = BrokenOff(self);
        let job = Job::begin(self, writer, candidate, log_after);
        std::mem::forget(broken);
        job
    }

    /// A step of a checkpoint wrote so many bytes in this time.
    fn note_rate(&self, bytes: u64, took: Duration) {
        let rate = u128::from(bytes) * 1_000_000_000 / took.as_nanos().max(1);
        let mut schedule = self.schedule.lock();
        schedule.rate = u64::try_from((u128::from(schedule.rate) * 7 + rate) / 8).unwrap_or(u64::MAX);
    }

    /// One step of the job under way.
    fn step_job(&self, writer: Option<&mut Writer>, open: Option<&mut dyn Open>) -> Result<Step, Failure> {
        let mut slot = self.job.lock();
        let Some(job) = slot.job.as_mut() else { return Ok(Step::None) };
        if writer.is_none() && job.needs_writer() {
            return Ok(Step::Busy);
        }
        let number = job.number();
        // After a failure elsewhere nothing more is written.
        let failure = if job.counts() { Failure::Unknown } else { Failure::Fatal };
        let goes_on = self.check_poison().map_err(failure);
        // A panic leaves a job that nobody can trust.
        let broken = BrokenOff(self);
        let begun = self.background.now();
        let stepped = goes_on.and_then(|()| job.step(self, writer, open));
        std::mem::forget(broken);
        if let Ok(Progress::Wrote(bytes)) = stepped {
            self.note_rate(bytes, self.background.now().saturating_sub(begun));
        }
        if let Err(Failure::Fatal(error) | Failure::Unknown(error)) = &stepped {
            self.poison(error);
        }
        match &stepped {
            Ok(Progress::More | Progress::Wrote(_)) => {}
            Ok(Progress::Done) => (slot.job, slot.done) = (None, number),
            Err(Failure::Refused(error) | Failure::Fatal(error) | Failure::Unknown(error)) => {
                // Whoever waits for it is told, if it is another who does this step.
                (slot.job, slot.failed) = (None, Some((number, error.clone())));
            }
        }
        stepped.map(Step::Did)
    }

    /// What a failure means for the database: after some, nothing more is written.
    fn failed(&self, failure: Failure) -> Error {
        match failure {
            Failure::Refused(error) => {
                let mut schedule = self.schedule.lock();
                schedule.patience = PATIENCE;
                // However few commits there are, it is tried again when the time has passed once more.
                schedule.dirty_since.get_or_insert_with(|| self.background.now());
                drop(schedule);
                error
            }
            Failure::Fatal(error) | Failure::Unknown(error) => {
                self.poison(&error);
                error
            }
        }
    }

    /// One step by someone who does not hold the gate, and waits for it so long.
    fn step_outside(&self, wait: Wait) -> Result<Step> {
        match self.step_job(None, None).map_err(|f| self.failed(f))? {
            Step::Busy => {}
            step => return Ok(step),
        }
        let stepped = self.with_writer(wait, |writer| {
            let stepped = self.step_job(Some(writer), None);
            crate::txn::commit::gauges(self, writer);
            stepped.map_err(|f| self.failed(f))
        });
        match stepped {
            Err(Error::WriterBusy { .. }) => Ok(Step::Busy),
            stepped => stepped,
        }
    }

    /// Makes a checkpoint of everything committed so far, while others go on. No gate is held.
    ///
    /// # Errors
    /// `DiskFull` and others that leave all as it was; those that poison.
    pub(crate) fn checkpoint_outside(&self) -> Result<()> {
        // One that is under way may be older than what is asked for. If it fails, that is not what is asked either.
        let older = self.job.lock().job.as_ref().map(Job::number);
        if let Some(older) = older
            && let Err(error @ Error::WriterHeldHere) = self.see_ended(older)
        {
            return Err(error);
        }
        let number = self.with_writer(Wait::Ever, |writer| {
            self.check_poison()?;
            self.begin_checkpoint(writer, LogAfter::Live)
        })?;
        self.see_ended(number)
    }

    /// Does checkpoint `number` to its end, unless others do; returns what came of it. Later ones are not waited for.
    fn see_ended(&self, number: u64) -> Result<()> {
        loop {
            let mut slot = self.job.lock();
            if slot.job.as_ref().is_none_or(|job| job.number() > number) {
                return slot.outcome(number);
            }
            if let Some(job) = &mut slot.job {
                job.be_gentle(false);
            }
            drop(slot);
            self.step_outside(Wait::Ever)?;
        }
    }

    /// Makes a checkpoint of everything committed, with the gate held.
    ///
    /// # Errors
    /// As [`checkpoint_outside`](Self::checkpoint_outside).
    pub(crate) fn checkpoint_inside(&self, writer: &mut Writer, log_after: LogAfter) -> Result<()> {
        self.checkpoint_with(writer, log_after, None)
    }

    /// The same, while a transaction is open.
    ///
    /// # Errors
    /// As [`checkpoint_outside`](Self::checkpoint_outside).
    pub(crate) fn checkpoint_with(
        &self,
        writer: &mut Writer,
        log_after: LogAfter,
        mut open: Option<&mut dyn Open>,
    ) -> Result<()> {
        self.check_poison()?;
        self.finish_job(writer, open.as_mut().map(|open| &mut **open as &mut dyn Open))?;
        self.begin_checkpoint(writer, log_after)?;
        self.finish_job(writer, open)
    }

    /// Does the job under way to its end, if there is one, with the gate held.
    ///
    /// # Errors
    /// As [`checkpoint_outside`](Self::checkpoint_outside).
    pub(crate) fn finish_job(&self, writer: &mut Writer, mut open: Option<&mut dyn Open>) -> Result<()> {
        loop {
            let open = open.as_mut().map(|open| &mut **open as &mut dyn Open);
            let step = self.step_job(Some(writer), open);
            if step.map_err(|f| self.failed(f))? == Step::None {
                crate::txn::commit::gauges(self, writer);
                // One that failed in another's hands is gone from the slot, and has poisoned.
                return if writer.under_way.is_none() { Ok(()) } else { self.check_poison() };
            }
        }
    }

    /// Begins a checkpoint of `candidate`, a commit that is not published yet, and takes its places: from then on it
    /// will not be refused. With the gate held, and no job under way.
    pub(crate) fn begin_candidate(&self, writer: &mut Writer, candidate: Candidate) -> Result<(), Failure> {
        let job = self.begin_job(writer, candidate, LogAfter::Live)?;
        self.job.lock().job = Some(job);
        while self.job.lock().job.as_ref().is_some_and(|job| !job.has_places()) {
            self.step_job(Some(writer), None)?;
        }
        // Also if a step failed in the background's hands.
        self.check_poison().map_err(Failure::Fatal)
    }

    /// Finishes what [`begin_candidate`](Self::begin_candidate) began.
    pub(crate) fn finish_candidate(&self, writer: &mut Writer) -> Result<(), Failure> {
        let ended = loop {
            match self.step_job(Some(writer), None) {
                Ok(Step::None) => break Ok(()),
                Ok(_) => {}
                Err(failure) => break Err(failure),
            }
        };
        if writer.under_way.is_none() {
            // It is swept in: what failed after that is the next writer's error.
            return Ok(());
        }
        ended?;
        // A step failed in the background's hands.
        let error = self.check_poison().err().unwrap_or(Error::Internal("a checkpoint has vanished"));
        Err(if writer.meta.checkpoint == writer.begun {
            Failure::Unknown(error)
        } else {
            Failure::Fatal(error)
        })
    }

    /// Before a transaction begins: slows it if checkpoints cannot follow, a little at first; near the bounds it helps.
    pub(crate) fn slow_down(&self) {
        let full = self.fullness();
        if full < SLOW_FROM {
            return;
        }
        let begun = self.background.now();
        if full >= HELP_FROM {
            self.help();
        } else if self.job.try_lock().is_none_or(|slot| slot.job.is_some()) {
            let over = (full - SLOW_FROM) as f64 / (HELP_FROM - SLOW_FROM) as f64;
            let Schedule { rate, transaction, .. } = *self.schedule.lock();
            // At half the way such transactions come as fast as the checkpoint writes.
            let even = transaction as f64 / rate.max(1) as f64;
            let wait = 2.0 * over * even + over * over * SLOW_MIN.as_secs_f64();
            self.background.sleep(Duration::from_secs_f64(wait).min(SLOW_MAX));
        }
        self.counters.stalled(self.background.now().saturating_sub(begun));
    }

    /// Does what makes room in delta and log, until there is some. If that fails, as on a full disk, the transaction
    /// that is about to begin finds out for itself.
    fn help(&self) {
        let mut begun = false;
        while self.fullness() >= HELP_FROM {
            match self.step_outside(Wait::Ever) {
                Ok(Step::None) if begun => return,
                Ok(Step::None) => begun = true,
                Ok(_) => continue,
                Err(_) => return,
            }
            let began = self.with_writer(Wait::Ever, |writer| self.begin_checkpoint(writer, LogAfter::Live));
            if began.is_err() {
                return;
            }
        }
    }
}

/// The background's part: checkpoints when they are due, walks of what was cut off, and memory for the delta.
pub(crate) struct CheckpointTask<S: PageSource>(pub(crate) Arc<Shared<S>>);

impl<S: PageSource> Task for CheckpointTask<S> {
    fn step(&mut self) -> Next {
        self.0.store.slab.prepare_frames();
        Steps { shared: &self.0, paced: true }.step()
    }
}

impl<S: PageSource> Drop for CheckpointTask<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(&Error::Internal("background work was broken off by a panic"));
        }
    }
}

/// What there is to do, a step at a time.
struct Steps<'a, S> {
    shared: &'a Shared<S>,
    paced: bool,
}

impl<S: PageSource> Steps<'_, S> {
    fn step(&mut self) -> Next {
        let shared = self.shared;
        if shared.check_poison().is_err() {
            return Next::WhenWoken;
        }
        let wait = if self.paced { Wait::For(GATE_WAIT) } else { Wait::Ever };
        self.look_at_pace();
        match shared.step_outside(wait) {
            Ok(Step::Did(Progress::Wrote(bytes))) => self.pace(bytes),
            Ok(Step::Did(_) | Step::Busy) => Next::Again,
            Ok(Step::None) => self.begin_what_is_due(wait),
            // This very thread has a transaction open: only in tests, which step in their own thread.
            Err(Error::WriterHeldHere) => Next::After(GATE_WAIT),
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed");
                self.until_late()
            }
        }
    }

    /// When a commit will have gone long enough without a checkpoint.
    fn deadline(&self) -> Option<Duration> {
        let since = self.shared.schedule.lock().dirty_since?;
        since.checked_add(self.shared.limits.checkpoint_interval?)
    }

    /// Nothing is to be done before that.
    fn until_late(&self) -> Next {
        let now = self.shared.background.now();
        self.deadline().map_or(Next::WhenWoken, |at| Next::After(at.saturating_sub(now).max(RETRY)))
    }

    /// Whether there is time: writers come no nearer to the bounds than the checkpoint to its end. It begins with the
    /// bounds half full, and is to be done before writers are slowed.
    fn has_time(&self, progress: u64) -> bool {
        let used = self.shared.fullness().saturating_sub(FULL / 2) * FULL / (SLOW_FROM - FULL / 2);
        self.paced && used < progress
    }

    /// Has the job write little at a time where there is time.
    fn look_at_pace(&self) {
        if let Some(job) = &mut self.shared.job.lock().job {
            let gentle = self.has_time(job.progress().max(1));
            job.be_gentle(gentle);
        }
    }

    /// Waits after a batch of `bytes` where there is time.
    fn pace(&self, bytes: u64) -> Next {
        let progress = self.shared.job.lock().job.as_ref().map(Job::progress);
        if progress.is_some_and(|progress| self.has_time(progress)) {
            let time = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / PACE_MIN);
            self.shared.background.sleep(time);
        }
        Next::Again
    }

    fn begin_what_is_due(&mut self, wait: Wait) -> Next {
        let shared = self.shared;
        let now = shared.background.now();
        let schedule = *shared.schedule.lock();
        let deadline = self.deadline();
        let late = deadline.is_some_and(|at| at <= now);
        let begins = schedule.due || schedule.asked || late;
        if !(begins || schedule.cuts) {
            return deadline.map_or(Next::WhenWoken, |at| Next::After(at.saturating_sub(now)));
        }
        let result = shared.with_writer(wait, |writer| {
            // Since it was looked for, another may have begun one.
            if begins && writer.under_way.is_none() {
                shared.begin_checkpoint(writer, LogAfter::Live)?;
            } else if writer.under_way.is_none() {
                walk_some(shared, writer);
            }
            crate::txn::commit::gauges(shared, writer);
            Ok(())
        });
        match result {
            Ok(()) => {
                if self.paced && !begins {
                    shared.background.sleep(WALK_PAUSE);
                }
                Next::Again
            }
            Err(Error::WriterBusy { .. }) => Next::Again,
            Err(Error::WriterHeldHere) => Next::After(GATE_WAIT),
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed");
                let mut schedule = shared.schedule.lock();
                (schedule.due, schedule.asked) = (false, false);
                drop(schedule);
                self.until_late()
            }
        }
    }
}

/// Walks some of what was cut off.
fn walk_some<S: PageSource>(shared: &Shared<S>, writer: &mut Writer) {
    let more = walk_cut_subtrees(shared, writer, WALK_PER_STEP).unwrap_or_else(|error| {
        // A damaged page below a cut: its space stays unused, and nothing else is wrong.
        tracing::warn!(%error, "a subtree that was cut off cannot be walked");
        writer.space.as_ref().is_some_and(|s| s.next_to_walk(writer.meta.checkpoint).is_some())
    });
    shared.schedule.lock().cuts = more;
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
