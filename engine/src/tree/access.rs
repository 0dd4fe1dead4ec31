//! How a reader of a tree reaches its transaction: what it walks through, and from which root.
//!
//! A read transaction's root never changes. A write transaction's does with each of its own changes, and its pages
//! come first on every walk; it implements [`Access`] beside its own state.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::root::TreeRoot;
use crate::trace::Op;
use crate::trace::calls::TableCalls;
use crate::walk::{Store, Walk};
use bifold_page_source::PageSource;
use crossbeam_utils::CachePadded;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The way from a cursor to its transaction. Private, so that cursors and scans are made by transactions alone.
pub(crate) trait Access<'t, S: PageSource + 't> {
    /// Runs one walk. `f` calls nothing of this access, and no code of the user's.
    fn with<R>(&self, f: impl FnOnce(&mut Walk<'_, 't, S>) -> R) -> R;

    /// What all walks read from.
    fn store(&self) -> &'t Store<S>;

    /// The tree as it is now.
    ///
    /// # Errors
    /// In a write transaction: if it has failed, or the table is gone.
    fn root(&self) -> Result<TreeRoot>;

    /// A number that differs from what it was whenever entries may have moved or references may have become stale
    /// since. Constant in a read transaction.
    fn version(&self) -> u64;

    /// The part of a new guard or cursor that says how long it lives. A read transaction has its snapshot and counts
    /// none. Not to be asked for within [`with`](Self::with).
    #[inline]
    fn alive(&self) -> Alive<'t> {
        Alive(None)
    }

    /// What records the calls on this table, if anything does.
    #[inline]
    fn calls(&self) -> Option<TableCalls<'t>> {
        None
    }

    /// Makes a call of the user's, and records it if calls are recorded and it does not fail.
    #[inline]
    fn call<'a, R>(&self, call: impl FnOnce() -> Result<R>, op: impl FnOnce(u64, &R) -> Op<'a>) -> Result<R> {
        match self.calls() {
            None => call(),
            Some(calls) => calls.call(call, op),
        }
    }
}

/// How many guards and cursors of the open write transaction are alive. They may be dropped by other threads.
///
/// One that is forgotten (`mem::forget`) stays counted until the next write transaction begins.
#[derive(Debug, Default)]
pub(crate) struct Guards(CachePadded<AtomicUsize>);

impl Guards {
    /// Whether one is alive. If not, whatever was read through those before has been read.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        // Acquire, after the release of each drop.
        self.0.load(Ordering::Acquire) > 0
    }

    /// Counts one more.
    #[inline]
    pub(crate) fn count(&self) -> Alive<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Alive(Some(self))
    }

    /// A write transaction begins: all that were counted for the one before are dropped or forgotten.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Part of every guard and cursor: what `'t` borrows is in use until it is dropped, and a write transaction counts it.
///
/// A guard of the mapping is a plain reference, which the borrow checker would let go of after its last use, and one
/// of the pool is not; so a guard left in scope at a commit would compile under one backend only.
pub(crate) struct Alive<'t>(Option<&'t Guards>);

impl Clone for Alive<'_> {
    #[inline]
    fn clone(&self) -> Self {
        match self.0 {
            Some(guards) => guards.count(),
            None => Self(None),
        }
    }
}

impl Drop for Alive<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(guards) = self.0 {
            guards.0.fetch_sub(1, Ordering::Release);
        }
    }
}

/// A tree as one snapshot shows it.
pub struct ReadAccess<'t, S: PageSource> {
    store: &'t Store<S>,
    root: TreeRoot,
    /// The number under which the table's calls are recorded; 0 if they are not.
    table: u64,
}

impl<'t, S: PageSource> ReadAccess<'t, S> {
    /// The tree below `root`, in a store where that root is kept from being reused for `'t`.
    pub(crate) fn new(store: &'t Store<S>, root: TreeRoot) -> Self {
        Self { store, root, table: 0 }
    }

    /// The same, with its calls recorded as those of opening `table` unless that is 0.
    pub(crate) fn recorded_as(self, table: u64) -> Self {
        Self { table, ..self }
    }
}

impl<S: PageSource> Clone for ReadAccess<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: PageSource> Copy for ReadAccess<'_, S> {}

impl<S: PageSource> fmt::Debug for ReadAccess<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadAccess").field(&self.root).finish()
    }
}

impl<'t, S: PageSource> Access<'t, S> for ReadAccess<'t, S> {
    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut Walk<'_, 't, S>) -> R) -> R {
        f(&mut Walk::new(self.store, None))
    }

    #[inline]
    fn store(&self) -> &'t Store<S> {
        self.store
    }

    #[inline]
    fn root(&self) -> Result<TreeRoot> {
        Ok(self.root)
    }

    #[inline]
    fn version(&self) -> u64 {
        0
    }

    #[inline]
    fn calls(&self) -> Option<TableCalls<'t>> {
        if self.table == 0 {
            return None;
        }
        self.store.trace.as_ref().map(|recorder| TableCalls { recorder, table: self.table })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_are_counted_and_so_are_their_copies() {
        let guards = Guards::default();
        assert!(!guards.any());
        let first = guards.count();
        let copy = first.clone();
        drop(first);
        assert!(guards.any(), "the copy is alive");
        std::thread::scope(|scope| scope.spawn(move || drop(copy)).join()).unwrap();
        assert!(!guards.any());
        drop(Alive(None).clone());
        std::mem::forget(guards.count());
        assert!(guards.any());
        guards.reset();
        assert!(!guards.any());
    }
}
