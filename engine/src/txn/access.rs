//! How a table, a cursor or a scan of the write transaction reaches it: through its state, anew at each step.
#![forbid(unsafe_code)]

use super::state::WriteState;
use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::root::TreeRoot;
use crate::trace::calls::TableCalls;
use crate::tree::access::{Access, Alive};
use crate::walk::{Store, Walk};
use bifold_page_source::PageSource;
use std::cell::RefCell;
use std::fmt;

/// A table as the open write transaction has it.
pub struct WriteAccess<'t, S: PageSource> {
    pub(crate) shared: &'t Shared<S>,
    pub(crate) state: &'t RefCell<WriteState>,
    pub(crate) number: usize,
    /// The number under which the table's calls are recorded; 0 if they are not.
    pub(crate) table: u64,
}

impl<S: PageSource> Clone for WriteAccess<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: PageSource> Copy for WriteAccess<'_, S> {}

impl<S: PageSource> fmt::Debug for WriteAccess<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteAccess").field(&self.number).finish()
    }
}

impl<'t, S: PageSource> Access<'t, S> for WriteAccess<'t, S> {
    fn with<R>(&self, f: impl FnOnce(&mut Walk<'_, 't, S>) -> R) -> R {
        let state = self.state.borrow();
        let mut walk = state.walk(&self.shared.store);
        f(&mut walk)
    }

    fn store(&self) -> &'t Store<S> {
        &self.shared.store
    }

    fn root(&self) -> Result<TreeRoot> {
        let state = self.state.borrow();
        if state.failed { Err(Error::TransactionFailed) } else { state.root(self.number) }
    }

    fn version(&self) -> u64 {
        self.state.borrow().changes.version
    }

    fn alive(&self) -> Alive<'t> {
        let guards = &self.shared.guards;
        if !guards.any() {
            self.state.borrow_mut().note_quiet();
        }
        guards.count()
    }

    #[inline]
    fn calls(&self) -> Option<TableCalls<'t>> {
        if self.table == 0 {
            return None;
        }
        self.shared.store.trace.as_ref().map(|recorder| TableCalls { recorder, table: self.table })
    }
}
