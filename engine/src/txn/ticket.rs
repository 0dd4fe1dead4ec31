//! A commit that is on its way to the disk.
#![forbid(unsafe_code)]

use crate::db::shared::Shared;
use crate::error::Result;
use bifold_page_source::PageSource;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A commit that was made but need not be durable yet; see [`WriteTxn::commit_nowait`](crate::WriteTxn::commit_nowait).
///
/// It is a [`Future`] that any runtime can wait for: Bifold's own background thread syncs for it. Dropping it changes
/// nothing: what nobody waits for is synced within a second. It keeps the database's file open for as long as it lives.
#[derive(Clone)]
#[must_use = "whether the commit has become durable is known only by asking"]
pub struct CommitTicket {
    seq: u64,
    waits: Arc<dyn Waits>,
}

/// What a ticket asks of its database, whatever its backend.
trait Waits: Send + Sync {
    fn is_durable(&self, seq: u64) -> bool;
    fn wait(&self, seq: u64) -> Result<()>;
    fn poll(&self, seq: u64, waker: &Waker) -> Poll<Result<()>>;
}

impl<S: PageSource> Waits for Shared<S> {
    fn is_durable(&self, seq: u64) -> bool {
        self.group.is_durable(seq)
    }

    fn wait(&self, seq: u64) -> Result<()> {
        self.wait_durable(seq)
    }

    fn poll(&self, seq: u64, waker: &Waker) -> Poll<Result<()>> {
        self.poll_durable(seq, waker)
    }
}

impl CommitTicket {
    pub(crate) fn new<S: PageSource>(shared: &Arc<Shared<S>>, seq: u64) -> Self {
        let waits: Arc<dyn Waits> = Arc::clone(shared) as Arc<dyn Waits>;
        Self { seq, waits }
    }

    /// The commit's number. (That of the newest commit, if the transaction had changed nothing.)
    pub fn commit_number(&self) -> u64 {
        self.seq
    }

    /// Whether the commit would survive a power cut now. In a database in memory, which survives nothing, `true`.
    pub fn is_durable(&self) -> bool {
        self.waits.is_durable(self.seq)
    }

    /// Waits until the commit is durable, whatever durability its transaction asked for. This thread may do the sync,
    /// for all who wait.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown) if it failed: after reopening, the commit is there as a
    /// whole or not at all.
    pub fn wait(&self) -> Result<()> {
        self.waits.wait(self.seq)
    }
}

impl Future for CommitTicket {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.waits.poll(self.seq, context.waker())
    }
}

impl fmt::Debug for CommitTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitTicket").field("commit", &self.seq).finish_non_exhaustive()
    }
}
