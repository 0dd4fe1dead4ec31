//! Group commit: who waits for the log, who syncs it, and when readers see a commit.
//!
//! A commit appends its record to the log's buffer while it holds the writer's gate, so the order of records is the
//! order of commits. It waits for the disk after it has let the gate go: meanwhile the next writer works. One of those
//! who wait syncs for all (the *leader*); whoever comes while a sync is under way is covered by the next one.
//!
//! **What readers see.** A commit is published when it, and every commit before it, has reached the durability it asked
//! for. Until then its root waits in `pending`. After a failed sync nothing waiting is ever published: readers stay
//! where they are.
//!
//! The leader and its followers are an old idea (Gawlick and Kinkade, "Varieties of Concurrency Control in IMS/VS Fast
//! Path", 1985); one file for it is canopydb's.
#![forbid(unsafe_code)]

use crate::background::{Next, Task};
use crate::db::counters::Counters;
use crate::db::shared::Shared;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::root::Root;
use crate::snapshot::Registry;
use crate::wal::{Appended, LogStart, PendingSync, Wal};
use bifold_page_source::PageSource;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How long a commit that nobody waits for may go without a sync. The promise is a second; this leaves time for the
/// sync itself.
const UNSYNCED_MAX: Duration = Duration::from_millis(500);
/// A buffer longer than this, in bytes, is handed to the operating system whatever its commits asked for.
const BUFFER_MAX: u64 = 1 << 20;

/// The log, and the commits that wait for it.
#[derive(Debug)]
pub(crate) struct Group {
    inner: Mutex<Inner>,
    /// `durable` has grown, or `failed` is set.
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    /// Made at the first commit that needs it.
    wal: Option<Wal>,
    /// Commits that readers do not see yet, oldest first.
    pending: VecDeque<Pending>,
    /// The newest commit of all.
    appended: u64,
    /// The newest that survives the process.
    handed_over: u64,
    /// The newest that survives everything.
    durable: u64,
    /// A sync is under way.
    syncing: bool,
    /// Why nothing more becomes durable.
    failed: Option<Arc<Error>>,
    /// Tasks to be woken when `durable` grows.
    wakers: Vec<Waker>,
    /// When the oldest commit that is not durable was appended.
    unsynced_since: Option<Duration>,
    /// The background will look after it in time.
    scheduled: bool,
    /// Bytes of records since the buffer was last handed over.
    buffered: u64,
    /// The background was told that the log is about to grow.
    asked_to_lengthen: bool,
}

#[derive(Debug)]
struct Pending {
    root: Arc<Root>,
    durability: Durability,
}

impl Group {
    /// No log yet; everything up to commit `seq` is durable.
    pub(crate) fn new(seq: u64) -> Self {
        let inner = Inner {
            wal: None,
            pending: VecDeque::new(),
            appended: seq,
            handed_over: seq,
            durable: seq,
            syncing: false,
            failed: None,
            wakers: Vec::new(),
            unsynced_since: None,
            scheduled: false,
            buffered: 0,
            asked_to_lengthen: false,
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Takes in a log that was made or recovered.
    pub(crate) fn start(&self, wal: Wal) {
        self.inner.lock().wal = Some(wal);
    }

    /// Gives the log up, if there is one: it is about to be removed.
    pub(crate) fn take_wal(&self) -> Option<Wal> {
        self.inner.lock().wal.take()
    }

    /// How the log is synced; `None` without a log, and while that is being tried.
    pub(crate) fn sync_method(&self) -> Option<&'static str> {
        self.inner.lock().wal.as_ref().and_then(Wal::sync_method)
    }

    /// Whether there is a log.
    pub(crate) fn has_wal(&self) -> bool {
        self.inner.lock().wal.is_some()
    }

    /// Bytes of the log that recovery would read, and bytes written to it so far.
    pub(crate) fn log_bytes(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        inner.wal.as_ref().map_or((0, 0), |wal| (wal.live_bytes(), wal.written_bytes()))
    }

    /// Where the record after the newest commit will lie; `None` without a log.
    ///
    /// # Errors
    /// Those of writing the log's buffer.
    pub(crate) fn position(&self) -> Result<Option<LogStart>> {
        let mut inner = self.inner.lock();
        let position = inner.wal.as_mut().map(Wal::position).transpose();
        inner.buffered = 0;
        position
    }

    /// The bases of the roots that readers may be given yet, beside the published one's.
    pub(crate) fn pending_bases(&self, bases: &mut Vec<u64>) {
        bases.extend(self.inner.lock().pending.iter().map(|pending| pending.root.base));
    }

    /// Whether commit `seq` survives everything.
    pub(crate) fn is_durable(&self, seq: u64) -> bool {
        self.inner.lock().durable >= seq
    }

    /// Commit `root`, which no log holds: in memory, or replayed from the log.
    pub(crate) fn publish_unlogged(&self, registry: &Registry<Root>, root: Arc<Root>) {
        let mut inner = self.inner.lock();
        debug_assert!(inner.pending.is_empty(), "a commit without log overtakes one that waits for it");
        inner.set_all(root.seq);
        registry.publish(root);
    }

    /// A checkpoint of commit `seq` is durable, and with it every commit before; the log from `start` on is what it
    /// lacks.
    ///
    /// # Errors
    /// `Internal` if the log has no such place.
    pub(crate) fn checkpointed(
        &self,
        registry: &Registry<Root>,
        seq: u64,
        start: Option<&LogStart>,
    ) -> Result<()> {
        let mut inner = self.inner.lock();
        if let (Some(wal), Some(start)) = (&mut inner.wal, start) {
            wal.retire_to(start)?;
        }
        inner.appended = inner.appended.max(seq);
        inner.grow_durable(seq);
        inner.publish_what_may_be(registry);
        self.tell(inner);
        Ok(())
    }

    /// Puts `root` in place of the newest commit's, which it equals but for where its pages are found.
    pub(crate) fn rebase(&self, registry: &Registry<Root>, root: Arc<Root>) {
        let mut inner = self.inner.lock();
        match inner.pending.back_mut() {
            Some(newest) => {
                debug_assert_eq!(newest.root.seq, root.seq, "rebased is the newest commit");
                newest.root = root;
            }
            None => registry.publish(root),
        }
    }

    /// Lets go of the lock, and wakes everyone who waits.
    fn tell(&self, mut inner: MutexGuard<'_, Inner>) {
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        self.changed.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Inner {
    fn set_all(&mut self, seq: u64) {
        (self.appended, self.handed_over, self.durable) = (seq, seq, seq);
    }

    fn grow_durable(&mut self, seq: u64) {
        self.durable = self.durable.max(seq);
        self.handed_over = self.handed_over.max(self.durable);
        if self.durable >= self.appended {
            self.unsynced_since = None;
        }
    }

    /// Publishes the newest root that readers may see.
    fn publish_what_may_be(&mut self, registry: &Registry<Root>) {
        let mut newest = None;
        while let Some(first) = self.pending.front() {
            let reached = match first.durability {
                Durability::Deferred => u64::MAX,
                Durability::Buffered => self.handed_over,
                Durability::Sync => self.durable,
            };
            if first.root.seq > reached {
                break;
            }
            newest = self.pending.pop_front();
        }
        if let Some(newest) = newest {
            registry.publish(newest.root);
        }
    }

    /// Hands the buffer to the operating system.
    fn hand_over(&mut self) -> Result<()> {
        if let Some(wal) = &mut self.wal {
            wal.write()?;
            self.handed_over = wal.handed_over().map_or(self.handed_over, |seq| seq.max(self.handed_over));
        }
        self.buffered = 0;
        Ok(())
    }

    fn begin_sync(&mut self) -> Result<PendingSync> {
        let wal = self.wal.as_mut().ok_or(Error::Internal("a commit waits for a log that is not there"))?;
        self.buffered = 0;
        wal.begin_sync()
    }

    fn end_sync(&mut self, pending: PendingSync, result: Result<()>, took: Duration) -> Result<()> {
        match &mut self.wal {
            Some(wal) => {
                wal.end_sync(pending, result, Some(took))?;
                self.handed_over =
                    wal.handed_over().map_or(self.handed_over, |seq| seq.max(self.handed_over));
                Ok(())
            }
            None => result,
        }
    }

    fn fail(&mut self, error: &Error) {
        self.failed.get_or_insert_with(|| Arc::new(error.clone()));
    }

    fn outcome_unknown(&self) -> Option<Error> {
        self.failed.as_ref().map(|error| Error::OutcomeUnknown(Arc::clone(error)))
    }
}

/// What appending a commit came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Logged {
    /// It is in the log.
    Yes,
    /// There is no room for it; nothing has changed.
    Full,
}

impl<S: PageSource> Shared<S> {
    /// Appends a commit to the log, and publishes its root as soon as it may be seen. Whether it has reached
    /// `durability` is to be [waited for](Self::wait_reached).
    ///
    /// # Errors
    /// Any error means that the outcome is unknown, and that nothing more can be written.
    pub(crate) fn log_commit(
        &self,
        root: &Arc<Root>,
        record: &[u8],
        durability: Durability,
    ) -> Result<Logged> {
        let group = &self.group;
        let mut inner = group.inner.lock();
        let len = record.len() as u64;
        while inner.failed.is_none() && inner.wal.as_ref().is_some_and(|wal| wal.waits_for_piece(len)) {
            group.changed.wait(&mut inner);
        }
        let Some(wal) = &mut inner.wal else { return Ok(Logged::Full) };
        match wal.append(root.seq, &[record]) {
            Ok(Appended::Yes) => {}
            // No room, or none to grow on the disk: a checkpoint takes less.
            Ok(Appended::Full) | Err(Error::DiskFull { .. }) => return Ok(Logged::Full),
            Err(error) => {
                inner.fail(&error);
                group.tell(inner);
                return Err(error);
            }
        }
        let lengthen = wal.wants_piece() && !std::mem::replace(&mut inner.asked_to_lengthen, true);
        Counters::add(&self.counters.log_bytes, len);
        inner.appended = root.seq;
        inner.buffered += len;
        inner.unsynced_since.get_or_insert_with(|| self.background.now());
        inner.pending.push_back(Pending { root: Arc::clone(root), durability });
        if (durability == Durability::Buffered || inner.buffered > BUFFER_MAX)
            && let Err(error) = inner.hand_over()
        {
            inner.fail(&error);
            group.tell(inner);
            return Err(error);
        }
        inner.publish_what_may_be(&self.registry);
        drop(inner);
        if lengthen {
            // If nobody comes, the log grows when it must.
            self.log_worker.wake();
        }
        Ok(Logged::Yes)
    }

    /// Waits until commit `seq` has reached `durability`.
    ///
    /// # Errors
    /// `OutcomeUnknown` if a sync failed that it needed.
    pub(crate) fn wait_reached(&self, seq: u64, durability: Durability) -> Result<()> {
        let mut inner = self.group.inner.lock();
        loop {
            let reached = match durability {
                Durability::Deferred => return Ok(()),
                Durability::Buffered => inner.handed_over,
                Durability::Sync => inner.durable,
            };
            if reached >= seq {
                return Ok(());
            }
            if let Some(error) = inner.outcome_unknown() {
                return Err(error);
            }
            if inner.appended < seq {
                return Err(Error::Internal("a commit is waited for that was not made"));
            }
            if inner.syncing {
                self.group.changed.wait(&mut inner);
            } else {
                self.lead(inner);
                inner = self.group.inner.lock();
            }
        }
    }

    /// Waits until commit `seq` survives everything: syncs for all who wait, or waits for whoever does.
    ///
    /// # Errors
    /// `OutcomeUnknown` if the sync failed.
    pub(crate) fn wait_durable(&self, seq: u64) -> Result<()> {
        self.wait_reached(seq, Durability::Sync)
    }

    /// The same without waiting: `waker` is woken when there is news, and the background hurries.
    pub(crate) fn poll_durable(&self, seq: u64, waker: &Waker) -> Poll<Result<()>> {
        let mut inner = self.group.inner.lock();
        if inner.durable >= seq {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = inner.outcome_unknown() {
            return Poll::Ready(Err(error));
        }
        if !inner.wakers.iter().any(|known| known.will_wake(waker)) {
            inner.wakers.push(waker.clone());
        }
        inner.scheduled = true;
        drop(inner);
        if self.log_worker.wake() {
            return Poll::Pending;
        }
        // There is no thread that would do it.
        Poll::Ready(self.wait_durable(seq))
    }

    /// Makes every commit so far durable.
    ///
    /// # Errors
    /// As [`wait_durable`](Self::wait_durable).
    pub(crate) fn sync_commits(&self) -> Result<()> {
        let appended = self.group.inner.lock().appended;
        self.wait_durable(appended)
    }

    /// Sees to it that a commit nobody waits for is synced in time.
    pub(crate) fn schedule_sync(&self) {
        let mut inner = self.group.inner.lock();
        if inner.appended > inner.durable && !std::mem::replace(&mut inner.scheduled, true) {
            drop(inner);
            if !self.log_worker.wake() {
                // No thread will come: better slow than not at all. An error is told to whoever writes next.
                let _ = self.sync_commits();
            }
        }
    }

    /// Syncs everything appended so far, for all who wait.
    fn lead(&self, inner: MutexGuard<'_, Inner>) {
        // By the time it is dropped, a panic has let go of the lock.
        let broken = Broken { shared: self };
        self.sync_appended(inner);
        std::mem::forget(broken);
    }

    fn sync_appended(&self, mut inner: MutexGuard<'_, Inner>) {
        let group = &self.group;
        inner.syncing = true;
        let target = inner.appended;
        let commits = target - inner.durable;
        let pending = match inner.begin_sync() {
            Ok(pending) => pending,
            Err(error) => return self.sync_failed(inner, &error),
        };
        drop(inner);
        let span = tracing::trace_span!("log_sync", commits).entered();
        let begun = self.background.now();
        let result = pending.run();
        let ended = self.background.now();
        drop(span);
        let took = ended.saturating_sub(begun);
        let mut inner = group.inner.lock();
        if let Err(error) = inner.end_sync(pending, result, took) {
            return self.sync_failed(inner, &error);
        }
        inner.syncing = false;
        inner.grow_durable(target);
        if inner.appended > target {
            // No commit after the target is older than the sync.
            inner.unsynced_since = Some(begun);
        }
        inner.publish_what_may_be(&self.registry);
        self.counters.log_synced(took, commits);
        let more = !inner.wakers.is_empty() && inner.appended > target;
        group.tell(inner);
        if more {
            self.log_worker.wake();
        }
    }

    /// Writes a piece of what the log will grow by, if it is about to; whether there was one.
    fn lengthen_log(&self) -> bool {
        let mut inner = self.group.inner.lock();
        inner.asked_to_lengthen = false;
        let Some(piece) = inner.wal.as_mut().and_then(Wal::begin_piece) else { return false };
        drop(inner);
        let broken = Broken { shared: self };
        let result = piece.run();
        std::mem::forget(broken);
        let mut inner = self.group.inner.lock();
        let ended = inner.wal.as_mut().map_or(Ok(()), |wal| wal.end_piece(&piece, result));
        match ended {
            Ok(()) => self.group.tell(inner),
            Err(error) => self.sync_failed(inner, &error),
        }
        true
    }

    fn sync_failed(&self, mut inner: MutexGuard<'_, Inner>, error: &Error) {
        inner.syncing = false;
        inner.fail(error);
        self.poison(error);
        self.group.tell(inner);
    }
}

/// A leader that panics must not leave its followers waiting.
struct Broken<'a, S: PageSource> {
    shared: &'a Shared<S>,
}

impl<S: PageSource> Drop for Broken<'_, S> {
    fn drop(&mut self) {
        let error = Error::Internal("a sync of the log was broken off by a panic");
        self.shared.sync_failed(self.shared.group.inner.lock(), &error);
    }
}

/// The background's part: syncs what nobody waits for, hurries for those who poll, and lengthens the log in time.
pub(crate) struct LogTask<S: PageSource>(pub(crate) Arc<Shared<S>>);

impl<S: PageSource> Task for LogTask<S> {
    fn step(&mut self) -> Next {
        match self.sync_what_is_due() {
            Next::Again => Next::Again,
            _ if self.0.lengthen_log() => Next::Again,
            later => later,
        }
    }
}

impl<S: PageSource> LogTask<S> {
    fn sync_what_is_due(&self) -> Next {
        let shared = &*self.0;
        let mut inner = shared.group.inner.lock();
        inner.scheduled = false;
        if inner.failed.is_some() || inner.appended <= inner.durable {
            return Next::WhenWoken;
        }
        inner.scheduled = true;
        if inner.syncing {
            // What comes after it may be due as well.
            return Next::After(Duration::from_millis(1));
        }
        let due = inner.unsynced_since.unwrap_or_default() + UNSYNCED_MAX;
        let now = shared.background.now();
        if inner.wakers.is_empty() && now < due {
            return Next::After(due.saturating_sub(now));
        }
        shared.lead(inner);
        Next::Again
    }
}
