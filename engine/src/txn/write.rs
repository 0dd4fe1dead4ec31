//! The write transaction.
#![forbid(unsafe_code)]

use super::access::WriteAccess;
use super::commit::AfterCommit;
use super::read::list_tables;
use super::state::WriteState;
use super::table::Table;
use super::table_mut::TableMut;
use super::ticket::CommitTicket;
use super::writer::Writer;
use crate::db::counters::{Counters, nanos};
use crate::db::shared::Shared;
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::trace::Op;
use crate::trace::calls::TxnCalls;
use bifold_page_source::PageSource;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// The write transaction. There is one at a time; readers do not see what it does before it commits.
///
/// It ends by [`commit`](Self::commit), or without effect by being dropped. It stays on its thread. All methods take
/// `&self`, so several tables can be used side by side; a guard or cursor alive at `commit` is a compile error.
///
/// A call that fails half-way, by an I/O error or because the disk is full, fails the
/// transaction: everything after it gives [`Error::TransactionFailed`], and only dropping it is left. Errors that name
/// a wrong argument (a key too long, a table that is not there) change nothing and fail nothing.
///
/// Forgotten (`mem::forget`), it keeps the writer for as long as the database is open: [`try_write`](crate::Db::try_write)
/// and [`write_timeout`](crate::Db::write_timeout) then say [`Error::WriterBusy`], and `write` waits for ever (on the
/// same thread it says [`Error::WriterHeldHere`]).
pub struct WriteTxn<'db, S: PageSource> {
    shared: &'db Arc<Shared<S>>,
    state: RefCell<WriteState>,
    durability: Cell<Durability>,
    /// Whether the writer still has to be given back.
    open: bool,
    /// Whether a commit is under way: seen set when dropped, it did not come to its end.
    committing: bool,
    /// What records it, if anything does.
    calls: Option<Box<TxnCalls>>,
    /// The gate knows its holder by thread.
    _not_send: PhantomData<*const ()>,
}

/// A point in a write transaction to go back to; see [`WriteTxn::savepoint`].
#[derive(Clone, Debug)]
pub struct Savepoint {
    id: u64,
    /// Which transaction it belongs to.
    owner: u64,
}

impl<'db, S: PageSource> WriteTxn<'db, S> {
    pub(crate) fn new(shared: &'db Arc<Shared<S>>, writer: Box<Writer>) -> Self {
        let state = RefCell::new(WriteState::new(shared, writer));
        let durability = Cell::new(shared.limits.durability);
        Self { shared, state, durability, open: true, committing: false, calls: None, _not_send: PhantomData }
    }

    /// The same, recorded by `calls`.
    pub(crate) fn recorded(mut self, calls: Option<Box<TxnCalls>>) -> Self {
        self.calls = calls;
        self
    }

    /// When a call began, if it is recorded.
    fn now(&self) -> u64 {
        self.calls.as_deref().map_or(0, TxnCalls::now)
    }

    /// Records a call that began `at`, if calls are.
    fn record<'a>(&self, at: u64, op: impl FnOnce(u64) -> Op<'a>) {
        if let Some(calls) = &self.calls {
            calls.record(at, op);
        }
    }

    /// Chooses what the commit must have survived before it counts; otherwise that is what the database was opened with
    /// ([`Builder::durability`](crate::Builder::durability)).
    pub fn set_durability(&self, durability: Durability) {
        self.durability.set(durability);
    }

    /// The table with this name, which is created if it is not there. The name is at most a quarter page long.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`] for a name too long; damage and I/O errors met on the way.
    pub fn table(&self, name: &str) -> Result<TableMut<'_, S>> {
        match self.find(name)? {
            (at, Some(number)) => Ok(self.opened(at, name, number)),
            (at, None) => self.create(at, name),
        }
    }

    /// The table with this name, or `None` if there is none.
    ///
    /// # Errors
    /// Damage and I/O errors met on the way.
    pub fn find_table(&self, name: &str) -> Result<Option<TableMut<'_, S>>> {
        let (at, number) = self.find(name)?;
        if let (None, Some(calls)) = (number, &self.calls) {
            calls.open_table(at, name, false);
        }
        Ok(number.map(|number| self.opened(at, name, number)))
    }

    /// Creates a table that must not be there yet.
    ///
    /// # Errors
    /// [`Error::TableExists`]; [`Error::KeyTooLong`] for a name too long; damage and I/O errors met on the way.
    pub fn create_table(&self, name: &str) -> Result<TableMut<'_, S>> {
        match self.find(name)? {
            (_, Some(_)) => Err(Error::TableExists(Arc::from(name))),
            (at, None) => self.create(at, name),
        }
    }

    /// When it was looked for, if that is recorded, and the table's number if it is there.
    fn find(&self, name: &str) -> Result<(u64, Option<usize>)> {
        let at = self.now();
        Ok((at, self.usable()?.find_table(&self.shared.store, name)?))
    }

    fn create(&self, at: u64, name: &str) -> Result<TableMut<'_, S>> {
        let number = self.usable()?.create_table(&self.shared.store, name)?;
        Ok(self.handle(number, self.calls.as_ref().map_or(0, |calls| calls.create_table(at, name))))
    }

    fn opened(&self, at: u64, name: &str, number: usize) -> TableMut<'_, S> {
        self.handle(number, self.calls.as_ref().map_or(0, |calls| calls.open_table(at, name, true)))
    }

    /// Drops a table with all its entries; whether there was one. Takes no longer for a large table: its pages are
    /// found after later commits, some thousand at a time.
    ///
    /// # Errors
    /// Damage and I/O errors met on the way.
    pub fn drop_table(&self, name: &str) -> Result<bool> {
        let (at, number) = self.find(name)?;
        if let Some(number) = number {
            self.attempt(|state| state.drop_table(&self.shared.store, number))?;
        }
        let found = number.is_some();
        self.record(at, |txn| Op::DropTable { txn, name: Cow::Borrowed(name), found });
        Ok(found)
    }

    /// Gives the table `name` the name `new`, which no table may have, and which is at most a quarter page long. Takes no
    /// longer for a large table, as its pages stay as they are. Handles on the table give [`Error::NoSuchTable`] from
    /// then on, as those of a dropped one do: open it by its new name.
    ///
    /// # Errors
    /// [`Error::NoSuchTable`] if there is no table `name`; [`Error::TableExists`] if there is one that is named `new`,
    /// which it is itself if both names are the same; [`Error::KeyTooLong`] for a new name too long; damage and I/O
    /// errors met on the way.
    pub fn rename_table(&self, name: &str, new: &str) -> Result<()> {
        let at = self.now();
        let mut state = self.usable()?;
        let store = &self.shared.store;
        let number = state.find_table(store, name)?.ok_or_else(|| Error::NoSuchTable(Arc::from(name)))?;
        if state.find_table(store, new)?.is_some() {
            return Err(Error::TableExists(Arc::from(new)));
        }
        state.rename_table(store, number, new)?;
        self.record(at, |txn| Op::RenameTable { txn, name: Cow::Borrowed(name), new: Cow::Borrowed(new) });
        Ok(())
    }

    /// The names of all tables as this transaction sees them, in order.
    ///
    /// # Errors
    /// Damage and I/O errors met on the way.
    pub fn tables(&self) -> Result<Vec<String>> {
        let state = self.usable()?;
        self.record(self.now(), |txn| Op::ListTables { txn });
        let mut names: BTreeSet<String> = list_tables(self.shared, &state.base)?.into_iter().collect();
        for (name, table) in state.known_tables() {
            if table.root.is_some() {
                names.insert(name.to_string());
            } else {
                names.remove(&**name);
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Notes the state now. It costs little, but pages changed before it are copied when they change again.
    ///
    /// # Errors
    /// [`Error::TransactionFailed`].
    pub fn savepoint(&self) -> Result<Savepoint> {
        let mut state = self.usable()?;
        let id = state.savepoint();
        let owner = state.number;
        self.record(self.now(), |txn| Op::Savepoint { txn, savepoint: id });
        Ok(Savepoint { id, owner })
    }

    /// Goes back to a savepoint, which stays valid; later ones do not. Tables opened since are no longer open: their
    /// handles give [`Error::SavepointInvalid`].
    ///
    /// # Errors
    /// [`Error::SavepointInvalid`] for one of another transaction, or one that a rollback has passed.
    pub fn rollback_to(&self, savepoint: &Savepoint) -> Result<()> {
        let mut state = self.usable()?;
        if state.number != savepoint.owner {
            return Err(Error::SavepointInvalid);
        }
        let at = self.now();
        state.rollback_to(&self.shared.store, savepoint.id)?;
        self.record(at, |txn| Op::Rollback { txn, savepoint: savepoint.id });
        Ok(())
    }

    /// Commits. On `Ok` the transaction has the durability that it, or the database, asks for: by default it survives
    /// the death of the process, of the system, and of the power. A transaction that changed nothing writes nothing and
    /// takes no commit number.
    ///
    /// While this waits for the disk, the next writer works: threads that commit at the same time share a sync.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if writing or syncing the log failed: after reopening, the transaction is there as a
    /// whole or not at all. Any other error means that it is *not* committed: [`Error::DiskFull`],
    /// [`Error::TransactionFailed`], [`Error::Poisoned`], I/O errors.
    pub fn commit(mut self) -> Result<()> {
        let (at, durability, calls) = (self.now(), self.durability.get(), self.calls.take());
        let committed = self.commit_and_wait();
        if let Some(calls) = calls {
            calls.commit(at, durability, true, committed.as_ref().ok().copied());
        }
        committed.map(drop)
    }

    /// Commits and waits for its durability; the commit's number.
    fn commit_and_wait(self) -> Result<u64> {
        let (shared, durability) = (self.shared, self.durability.get());
        let done = self.end(durability)?;
        let begun = shared.background.now();
        let reached = shared.wait_reached(done.seq, durability);
        let waited = shared.background.now().saturating_sub(begun);
        Counters::add(&shared.counters.wait_nanos, nanos(waited));
        if durability != Durability::Sync {
            shared.schedule_sync();
        }
        done.wake(shared);
        reached.map(|()| done.seq)
    }

    /// Commits without waiting for the disk. The ticket tells when the commit is durable, and can be waited for, by a
    /// thread or as a future. With [`Durability::Sync`], readers see the commit when it is durable; the next write
    /// transaction starts from it at once.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), but for errors of the sync, which the ticket returns.
    pub fn commit_nowait(mut self) -> Result<CommitTicket> {
        let (shared, durability) = (self.shared, self.durability.get());
        let (at, calls) = (self.now(), self.calls.take());
        let done = self.end(durability);
        if let Some(calls) = calls {
            calls.commit(at, durability, false, done.as_ref().ok().map(|done| done.seq));
        }
        let done = done?;
        shared.schedule_sync();
        done.wake(shared);
        Ok(CommitTicket::new(shared, done.seq))
    }

    /// Makes the transaction the newest commit, and gives the writer on.
    fn end(mut self, durability: Durability) -> Result<AfterCommit> {
        self.committing = true;
        let state = self.state.get_mut();
        let result = self.shared.check_poison().and_then(|()| state.commit(self.shared, durability));
        self.committing = false;
        drop(self);
        result
    }

    /// Runs a step of the engine's own that, if it fails, fails the transaction.
    pub(crate) fn attempt<R>(&self, step: impl FnOnce(&mut WriteState) -> Result<R>) -> Result<R> {
        self.usable()?.attempt(step)
    }

    /// The number of the commit that this transaction starts from.
    pub fn commit_number(&self) -> u64 {
        self.state.borrow().base.seq
    }

    fn usable(&self) -> Result<std::cell::RefMut<'_, WriteState>> {
        let state = self.state.borrow_mut();
        if state.failed { Err(Error::TransactionFailed) } else { Ok(state) }
    }

    fn handle(&self, number: usize, table: u64) -> TableMut<'_, S> {
        TableMut::new(Table::new(WriteAccess { shared: self.shared, state: &self.state, number, table }))
    }
}

impl WriteState {
    /// Runs a step that, if it fails, fails the transaction.
    pub(crate) fn attempt<R>(&mut self, step: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        if self.failed {
            return Err(Error::TransactionFailed);
        }
        // Set meanwhile, so that a panic fails the transaction too, even if it is caught.
        (self.failed, self.within) = (true, true);
        let result = step(self);
        self.within = false;
        self.failed = result.is_err();
        result
    }
}

impl<S: PageSource> Drop for WriteTxn<'_, S> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        self.open = false;
        let state = self.state.get_mut();
        // A panic came through what changes the writer's state: what that is now, nobody knows.
        if self.committing {
            self.shared.poison(&Error::Internal("a commit was broken off by a panic"));
        } else if state.within {
            self.shared.poison(&Error::Internal("a change was broken off by a panic"));
        }
        if let Err(error) = state.abort(&self.shared.store) {
            self.shared.poison(&error);
        }
        let Writer { meta, newest, .. } = &*state.writer;
        let vacant = Box::new(Writer::new(meta.clone(), Arc::clone(newest)));
        self.shared.gate.release(std::mem::replace(&mut state.writer, vacant));
    }
}

impl<S: PageSource> fmt::Debug for WriteTxn<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteTxn").field("starts_from", &self.commit_number()).finish_non_exhaustive()
    }
}
