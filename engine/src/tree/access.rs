//! How a reader of a tree reaches its transaction: what it walks through, and from which root.
//!
//! A read transaction's root never changes. A write transaction's does with each of its own changes, and its pages
//! come first on every walk; it implements [`Access`] beside its own state.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::root::TreeRoot;
use crate::walk::{Store, Walk};
use bifold_page_source::PageSource;
use std::fmt;
use std::marker::PhantomData;

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
}

/// Part of every guard and cursor: what `'t` borrows is in use until it is dropped.
///
/// A guard of the mapping is a plain reference, which the borrow checker would let go of after its last use, and one
/// of the pool is not; so a guard left in scope at a commit would compile under one backend only.
#[derive(Clone)]
pub(crate) struct Alive<'t>(PhantomData<&'t ()>);

impl Alive<'_> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl Drop for Alive<'_> {
    #[inline]
    fn drop(&mut self) {}
}

/// A tree as one snapshot shows it.
pub struct ReadAccess<'t, S: PageSource> {
    store: &'t Store<S>,
    root: TreeRoot,
}

impl<'t, S: PageSource> ReadAccess<'t, S> {
    /// The tree below `root`, in a store where that root is kept from being reused for `'t`.
    pub(crate) fn new(store: &'t Store<S>, root: TreeRoot) -> Self {
        Self { store, root }
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
}
