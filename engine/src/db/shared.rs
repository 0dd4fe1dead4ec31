//! What every handle, transaction and guard of one open database shares.
#![forbid(unsafe_code)]

use super::counters::Counters;
use crate::background::{Background, Worker};
use crate::checkpoint::drive::{Schedule, Slot};
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::gate::{Gate, Wait};
use crate::group::Group;
use crate::open::log_path;
use crate::root::Root;
use crate::snapshot::Registry;
use crate::tree::access::Guards;
use crate::txn::writer::Writer;
use crate::wal::SyncMethod;
use crate::walk::Store;
use bifold_page_source::{File, FileSystem, PageSource};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How the database may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Read and written, with a log.
    Durable,
    /// Read and written, and gone when it is closed: no log.
    Ephemeral,
    /// Only read.
    ReadOnly,
}

/// What the options set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes that the pages changed since the last checkpoint may take.
    pub(crate) delta_bytes: u64,
    /// Bytes that the log may grow to.
    pub(crate) log_bytes: u64,
    /// How long a commit may go without a checkpoint.
    pub(crate) checkpoint_interval: Option<Duration>,
    /// What a transaction's commit waits for, unless it says otherwise.
    pub(crate) durability: Durability,
    /// How the log is synced.
    pub(crate) sync_method: SyncMethod,
}

/// An open database.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    pub(crate) store: Store<S>,
    pub(crate) registry: Registry<Root>,
    pub(crate) gate: Gate<Writer>,
    /// The log, and who waits for it.
    pub(crate) group: Group,
    /// The checkpoint under way. Locked after the gate, if both are.
    pub(crate) job: Mutex<Slot>,
    /// Held by the compaction in place that is under way. Locked before everything else.
    pub(crate) compacting: Mutex<()>,
    /// What the background is to do. Locked last.
    pub(crate) schedule: Mutex<Schedule>,
    pub(crate) background: Arc<dyn Background>,
    /// Syncs what nobody waits for.
    pub(crate) log_worker: Worker,
    /// Makes checkpoints.
    pub(crate) checkpoint_worker: Worker,
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) file: Arc<dyn File>,
    /// The file's canonical path.
    pub(crate) path: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) mode: Mode,
    pub(crate) counters: Counters,
    /// Guards and cursors of the open write transaction.
    pub(crate) guards: Guards,
    /// Why nothing more may be written.
    pub(crate) poison: OnceLock<Arc<Error>>,
}

impl<S: PageSource> Shared<S> {
    /// Whether anything was written since opening.
    pub(crate) fn written(&self) -> bool {
        Counters::get(&self.counters.checkpoints) + Counters::get(&self.counters.commits) > 0
    }

    /// Where the log lies.
    pub(crate) fn log_path(&self) -> PathBuf {
        log_path(&self.path)
    }

    /// From now on nothing is written any more, because of `cause`.
    pub(crate) fn poison(&self, cause: &Error) {
        if self.poison.set(Arc::new(cause.clone())).is_ok() {
            tracing::error!(%cause, "the database takes no more writes");
        }
    }

    /// An error if nothing may be written any more.
    pub(crate) fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            Some(cause) => Err(Error::Poisoned(Arc::clone(cause))),
            None => Ok(()),
        }
    }

    /// Does some work on the writer's state, with the gate held.
    ///
    /// # Errors
    /// Those of `work`; `WriterHeldHere`, `WriterBusy`.
    pub(crate) fn with_writer<R>(
        &self,
        wait: Wait,
        work: impl FnOnce(&mut Writer) -> Result<R>,
    ) -> Result<R> {
        let mut turn = Turn { gate: &self.gate, writer: Some(self.gate.acquire(wait)?) };
        let Some(writer) = &mut turn.writer else { return Err(Error::Internal("a turn without the writer")) };
        let broken = BrokenOff(self);
        let result = work(writer);
        std::mem::forget(broken);
        result
    }

    /// Makes what was written through the file itself durable.
    pub(crate) fn sync_file(&self) -> Result<()> {
        self.file.sync().map_err(|e| Error::io("sync", 0, e))
    }

    /// Makes the file at least `pages` pages long.
    ///
    /// # Errors
    /// `DiskFull`, I/O errors.
    pub(crate) fn grow_file(&self, pages: u64) -> Result<()> {
        let len = self.store.source.len_pages();
        if pages <= len {
            return Ok(());
        }
        let wanted = (pages - len) * self.store.page_size.bytes() as u64;
        self.store.source.grow(pages).map_err(|error| match error {
            bifold_page_source::Error::Io { source, .. } if Error::is_full(&source) => {
                Error::DiskFull { wanted }
            }
            other => other.into(),
        })
    }
}

/// A turn at the writer's state. A panic on the way ends it too: a gate that stays closed would make all others wait
/// for ever.
struct Turn<'a> {
    gate: &'a Gate<Writer>,
    writer: Option<Box<Writer>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.gate.release(writer);
        }
    }
}

/// Dropped by a panic, and forgotten otherwise: what the panic left behind is not written.
pub(crate) struct BrokenOff<'a, S: PageSource>(pub(crate) &'a Shared<S>);

impl<S: PageSource> Drop for BrokenOff<'_, S> {
    fn drop(&mut self) {
        self.0.poison(&Error::Internal("work on the database was broken off by a panic"));
    }
}
