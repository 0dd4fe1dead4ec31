//! The database handle: opening, transactions, closing.
#![forbid(unsafe_code)]

mod backup;
mod builder;
pub(crate) mod check;
pub(crate) mod compact;

pub(crate) mod counters;
pub(crate) mod inspect;
mod recover;
pub(crate) mod shape;
pub(crate) mod shared;
pub(crate) mod stats;

pub use builder::Builder;

use crate::checkpoint::drive::CheckpointTask;
use crate::checkpoint::{LogAfter, load_free_map, walk_cut_subtrees, write};
use crate::error::{Error, Result};
use crate::gate::Wait;
use crate::group::LogTask;
use crate::trace::Op;
use crate::trace::calls::TxnCalls;
use crate::txn::read::{Owner, ReadTxn};
use crate::txn::write::WriteTxn;
use crate::txn::writer::Writer;
use bifold_page_source::PageSource;
use shared::{Mode, Shared};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Pages below cuts that closing reads; the rest is for the next opening.
const WALK_AT_CLOSE: usize = 1024;

/// An open database over page source `S`.
///
/// You rarely name this type: [`bifold::Database`](crate::Database) is the one whose backend the build chose, and
/// `bifold::mmap::Database` and `bifold::pool::Database` are the two.
///
/// A database is shared by reference or in an `Arc`; any number of threads read while one writes. The file must not be
/// changed by anybody else while it is open, which a lock on it sees to as far as others respect locks.
///
/// Dropping it closes it: what the log holds is checkpointed, and the log removed, so that a closed database is one
/// file. An error of that is only traced; [`close`](Self::close) returns it.
pub struct Db<S: PageSource> {
    shared: Arc<Shared<S>>,
    /// Set when it has been closed.
    finished: bool,
}

impl<S: PageSource> Db<S> {
    /// Opens the database at `path` with the default options, after creating it if there is none.
    ///
    /// If it was not closed the last time, this recovers it, which takes as long as replaying the log does.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open elsewhere; [`Error::NotADatabase`], [`Error::Corrupt`],
    /// [`Error::UnsupportedVersion`] and others for what the file holds; I/O errors.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Options to open a database with.
    pub fn builder() -> Builder<S> {
        Builder::new()
    }

    /// A new database in memory, which is gone when it is dropped. It has the same type as one on disk.
    ///
    /// # Errors
    /// If the memory cannot be had.
    pub fn in_memory() -> Result<Self> {
        Self::builder().in_memory()
    }

    pub(crate) fn from_shared(shared: Arc<Shared<S>>) -> Self {
        Self { shared, finished: false }
    }

    pub(crate) fn shared(&self) -> &Shared<S> {
        &self.shared
    }

    /// Begins a read transaction on the newest commit. It neither waits nor fails for want of anything.
    ///
    /// # Errors
    /// None today; a `Result` so that reading from other processes can be added.
    #[inline]
    pub fn read(&self) -> Result<ReadTxn<'_, S>> {
        Ok(self.read_own().recorded())
    }

    /// The same, for a transaction that keeps the database open by itself and so goes anywhere.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_owned(&self) -> Result<ReadTxn<'static, S>> {
        Ok(ReadTxn::new(Owner::Held(Arc::clone(&self.shared))).recorded())
    }

    /// The engine's own read transaction, which is never recorded.
    #[inline]
    pub(crate) fn read_own(&self) -> ReadTxn<'_, S> {
        ReadTxn::new(Owner::Borrowed(&self.shared))
    }

    /// Begins the write transaction, after waiting for its turn: threads come in the order they asked.
    ///
    /// # Errors
    /// [`Error::WriterHeldHere`] if this thread holds it already; [`Error::ReadOnly`]; [`Error::Poisoned`] after an
    /// earlier failure; damage and I/O errors.
    pub fn write(&self) -> Result<WriteTxn<'_, S>> {
        self.begin(Wait::Ever)
    }

    /// Begins the write transaction if nobody holds it or waits for it.
    ///
    /// # Errors
    /// [`Error::WriterBusy`]; otherwise as [`write`](Self::write).
    pub fn try_write(&self) -> Result<WriteTxn<'_, S>> {
        self.begin(Wait::No)
    }

    /// Begins the write transaction, after waiting for its turn for at most `timeout`.
    ///
    /// # Errors
    /// [`Error::WriterBusy`]; otherwise as [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Result<WriteTxn<'_, S>> {
        self.begin(Wait::For(timeout))
    }

    fn begin(&self, wait: Wait) -> Result<WriteTxn<'_, S>> {
        let recorder = self.shared.store.trace.as_ref();
        let at = recorder.map_or(0, |recorder| recorder.now());
        let txn = self.write_own(wait)?;
        Ok(txn.recorded(recorder.map(|recorder| Box::new(TxnCalls::write(recorder, at)))))
    }

    /// The engine's own write transaction, which is never recorded.
    pub(crate) fn write_own(&self, wait: Wait) -> Result<WriteTxn<'_, S>> {
        let writer = self.take_writer(wait)?;
        Ok(WriteTxn::new(&self.shared, writer))
    }

    /// Makes a call, and records it as `op` if calls are recorded and it does not fail.
    fn call<R>(&self, op: &Op<'_>, call: impl FnOnce() -> Result<R>) -> Result<R> {
        let Some(recorder) = &self.shared.store.trace else { return call() };
        let at = recorder.now();
        let result = call()?;
        recorder.record(at, op);
        Ok(result)
    }

    /// The writer's state, ready to be used.
    pub(crate) fn take_writer(&self, wait: Wait) -> Result<Box<Writer>> {
        let shared = &*self.shared;
        if shared.mode == Mode::ReadOnly {
            return Err(Error::ReadOnly);
        }
        shared.check_poison()?;
        self.start_background();
        if wait == Wait::Ever {
            shared.slow_down();
        }
        let mut writer = shared.gate.acquire(wait)?;
        let ready = shared.check_poison().and_then(|()| ensure_space(shared, &mut writer));
        match ready {
            Ok(()) => Ok(writer),
            Err(error) => {
                shared.gate.release(writer);
                Err(error)
            }
        }
    }

    /// Background work begins with the first write.
    fn start_background(&self) {
        let shared = &self.shared;
        if shared.checkpoint_worker.is_started() {
            return;
        }
        if shared.mode == Mode::Durable {
            shared.log_worker.start(&shared.background, "bifold-log", LogTask(Arc::clone(shared)));
        }
        let task = CheckpointTask(Arc::clone(shared));
        shared.checkpoint_worker.start(&shared.background, "bifold-checkpoint", task);
    }

    /// Runs `f` in a read transaction.
    ///
    /// # Errors
    /// Those of [`read`](Self::read) and of `f`.
    pub fn view<R>(&self, f: impl FnOnce(&ReadTxn<'_, S>) -> Result<R>) -> Result<R> {
        f(&self.read()?)
    }

    /// Runs `f` in the write transaction and commits; without effect if `f` fails. (The error is Bifold's, so that
    /// closures need no type annotations; with an error of your own, use [`write`](Self::write).)
    ///
    /// # Errors
    /// Those of [`write`](Self::write), of `f`, and of [`commit`](WriteTxn::commit).
    pub fn update<R>(&self, f: impl FnOnce(&WriteTxn<'_, S>) -> Result<R>) -> Result<R> {
        let txn = self.write()?;
        let result = f(&txn)?;
        txn.commit()?;
        Ok(result)
    }

    /// Makes every commit so far durable, whatever durability it asked for.
    ///
    /// # Errors
    /// [`Error::ReadOnly`]; [`Error::OutcomeUnknown`] if the sync failed, now or earlier.
    pub fn sync(&self) -> Result<()> {
        self.call(&Op::Sync, || match self.shared.mode {
            Mode::ReadOnly => Err(Error::ReadOnly),
            Mode::Ephemeral => Ok(()),
            Mode::Durable => self.shared.sync_commits(),
        })
    }

    /// Writes everything committed so far to the file, as fast as the disk takes it, so that recovery has nothing to do.
    /// Readers and writers go on meanwhile, and wait for the disk like it; the parts of it that change the writer's state
    /// wait for the write transaction.
    ///
    /// # Errors
    /// As [`write`](Self::write); [`Error::DiskFull`], after which nothing has changed.
    pub fn checkpoint(&self) -> Result<()> {
        self.call(&Op::Checkpoint { waited: true }, || self.checkpoint_own())
    }

    /// A checkpoint of the engine's own, which is never recorded.
    pub(crate) fn checkpoint_own(&self) -> Result<()> {
        // Sees to it that the free map is read.
        let writer = self.take_writer(Wait::Ever)?;
        self.shared.gate.release(writer);
        self.shared.checkpoint_outside()?;
        self.shared.wake_checkpointer();
        Ok(())
    }

    /// Asks for a checkpoint in the background, and does not wait for it. It takes its time, so that commits and reads
    /// hardly notice, as those do that come by themselves; one that is under way already is not followed by another.
    /// `stats().checkpoints` tells when it is done.
    ///
    /// # Errors
    /// As [`write`](Self::write). What the background meets, it traces.
    pub fn begin_checkpoint(&self) -> Result<()> {
        // Sees to it that the free map is read.
        self.call(&Op::Checkpoint { waited: false }, || {
            let writer = self.take_writer(Wait::Ever)?;
            self.shared.gate.release(writer);
            self.shared.ask_for_checkpoint();
            Ok(())
        })
    }

    /// Closes the database: checkpoints what the log holds and removes the log. Dropping does the same without
    /// telling of errors.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint). Nothing committed is lost: it is synced in the log, and opening recovers it.
    /// [`Error::OutcomeUnknown`] if that sync failed too.
    pub fn close(mut self) -> Result<()> {
        self.finish()
    }

    /// The end of writing. Later calls do nothing.
    fn finish(&mut self) -> Result<()> {
        let shared = &*self.shared;
        if shared.mode == Mode::ReadOnly || std::mem::replace(&mut self.finished, true) {
            return Ok(());
        }
        shared.log_worker.stop();
        shared.checkpoint_worker.stop();
        if shared.mode == Mode::Ephemeral {
            return Ok(());
        }
        let poisoned = shared.check_poison();
        // A forgotten write transaction keeps the writer: the log stays, and opening recovers.
        let closed = poisoned.and_then(|()| shared.with_writer(Wait::No, |writer| self.finish_with(writer)));
        closed.map_err(|error| {
            // What is in the log's buffer alone would be gone with the process, and nobody is left who syncs it. A log
            // that has failed says so to whoever holds a ticket.
            match shared.sync_commits() {
                Err(lost) if !matches!(error, Error::Poisoned(_)) => lost,
                _ => error,
            }
        })
    }

    fn finish_with(&self, writer: &mut Writer) -> Result<()> {
        let shared = &*self.shared;
        if !shared.group.has_wal() && writer.seq == writer.meta.seq && !shared.written() {
            return Ok(());
        }
        ensure_space(shared, writer)?;
        // A first checkpoint empties the delta, and frees what only the one before it needed; the second can then
        // leave out what is free at the end of the file.
        shared.checkpoint_inside(writer, LogAfter::Closed)?;
        if let Err(error) = walk_cut_subtrees(shared, writer, WALK_AT_CLOSE) {
            tracing::warn!(%error, "a subtree that was cut off cannot be walked");
        }
        // What was found below the cuts is free only once a checkpoint has said so.
        if writer.space()?.awaiting_pages() > 0 {
            shared.checkpoint_inside(writer, LogAfter::Closed)?;
        }
        let trailing = writer.space()?.trailing_free();
        let alone = Arc::strong_count(&self.shared) == 1;
        if alone && trailing > 0 {
            let end = writer.space()?.end() - trailing;
            writer.space()?.shorten(end)?;
            shared.checkpoint_inside(writer, LogAfter::Closed)?;
            let end = writer.meta.end;
            write::shrink(&shared.store.source, end)?;
            shared.sync_file()?;
        }
        Ok(())
    }

    /// Where the database lies.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Bytes of a page, chosen at creation.
    pub fn page_size(&self) -> usize {
        self.shared.store.page_size.bytes()
    }

    /// The longest key in bytes: a quarter page.
    pub fn key_max(&self) -> usize {
        crate::node::key_max(self.shared.store.page_size)
    }
}

/// Reads the free map, at the first write.
pub(crate) fn ensure_space<S: PageSource>(shared: &Shared<S>, writer: &mut Writer) -> Result<()> {
    if writer.space.is_none() {
        writer.space = Some(load_free_map(&shared.store.source, &writer.meta)?);
    }
    Ok(())
}

impl<S: PageSource> Drop for Db<S> {
    fn drop(&mut self) {
        match self.finish() {
            Ok(()) | Err(Error::Poisoned(_)) => {}
            Err(error) => tracing::error!(%error, "closing failed; the next opening recovers from the log"),
        }
        if let Some(recorder) = &self.shared.store.trace {
            recorder.flush();
        }
    }
}

impl<S: PageSource> fmt::Debug for Db<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("source", &S::NAME)
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}
