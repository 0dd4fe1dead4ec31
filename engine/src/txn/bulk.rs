//! Loading sorted entries: full pages are built bottom-up and written as they fill, so that a load of any size takes
//! little memory, and each page is written once.
//!
//! Nothing of it is reached from the table before [`BulkLoad::finish`]. A load that stays small is kept in memory until
//! then and inserted one by one: it shares leaves with what is there, and its commit goes to the log as any other.
#![forbid(unsafe_code)]

use super::access::WriteAccess;
use super::bulk_pages::{BulkPages, BulkWrite};
use super::state::{EARLY_VALUE, VALUE_MAX, WriteState};
use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::node::{inline_max, key_max};
use crate::trace::calls::LoadCalls;
use crate::tree::access::{Access, Alive};
use crate::tree::bulk::Builder;
use crate::value::Large;
use crate::word::Word;
use bifold_page_source::{PageRef, PageSource};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// The most bytes of keys and values that are kept to be inserted one by one.
const SMALL_MAX: u64 = 256 << 10;

/// A load of sorted entries into a table, behind all that it has; see [`TableMut::bulk_load`](crate::TableMut::bulk_load).
///
/// Entries come by [`push`](Self::push) in strictly ascending order of keys. The table changes at
/// [`finish`](Self::finish), and not at all if the load is dropped before; until then it may be read and changed as
/// long as no key is put where the load's keys go.
///
/// Pages are packed full and written to the file as they fill. In memory are only the page being filled on each level
/// of the tree and some MiB on their way to the file, so the option `delta_size` bounds neither entries nor bytes.
/// A transaction with a load of more than some hundred KiB commits by a checkpoint instead of a record in the log.
///
/// ```
/// # #[cfg(not(any(feature = "mmap", feature = "buffer-pool")))] fn main() {}
/// # #[cfg(any(feature = "mmap", feature = "buffer-pool"))]
/// # fn main() -> bifold::Result<()> {
/// let db = bifold::Database::in_memory()?;
/// let txn = db.write()?;
/// let squares = txn.table("squares")?;
/// let mut load = squares.bulk_load()?;
/// for n in 0..100_000u32 {
///     load.push(n.to_be_bytes(), u64::from(n).pow(2).to_be_bytes())?;
/// }
/// assert_eq!(load.finish()?, 100_000);
/// txn.commit()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is loaded before `finish`"]
pub struct BulkLoad<'t, S: PageSource> {
    access: WriteAccess<'t, S>,
    first: Vec<u8>,
    last: Vec<u8>,
    len: u64,
    stage: Stage,
    pages: BulkPages,
    /// What records it, if anything does.
    calls: Option<Box<LoadCalls>>,
    _alive: Alive<'t>,
}

/// How far a load has come.
enum Stage {
    /// Small enough to be inserted one by one.
    Small(Staged),
    /// On its way to the file.
    Large(Builder),
}

/// Entries kept in memory.
#[derive(Debug, Default)]
struct Staged {
    bytes: Vec<u8>,
    /// Where each key lies in `bytes`, and its value.
    entries: Vec<(Range<usize>, StagedValue)>,
}

/// A value kept in memory, or where it lies on file.
#[derive(Clone, Debug)]
enum StagedValue {
    Bytes(Range<usize>),
    Extent(PageRef, u64),
}

impl Staged {
    /// Bytes of memory that it takes, about.
    fn len(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<(Range<usize>, StagedValue)>()
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

impl<'t, S: PageSource> BulkLoad<'t, S> {
    pub(super) fn new(access: WriteAccess<'t, S>) -> Result<Self> {
        let mut load = Self {
            access,
            first: Vec::new(),
            last: Vec::new(),
            len: 0,
            stage: Stage::Small(Staged::default()),
            pages: BulkPages::new(access.shared.store.page_size.bytes()),
            calls: None,
            _alive: access.alive(),
        };
        load.check_usable()?;
        load.calls = access.calls().map(|calls| Box::new(LoadCalls::new(calls)));
        Ok(load)
    }

    /// Whether the transaction has not failed, and the table is there.
    fn check_usable(&self) -> Result<()> {
        let state = self.access.state.borrow();
        if state.failed {
            return Err(Error::TransactionFailed);
        }
        state.root(self.access.number).map(drop)
    }

    /// Whether `key` is beyond all keys of the table as it is now.
    fn is_behind_table(&self, key: &[u8]) -> Result<bool> {
        let mut state = self.access.state.borrow_mut();
        let root = state.root(self.access.number)?;
        let last = state.edit(&self.access.shared.store).last_key(&root)?;
        Ok(last.is_none_or(|last| last.as_slice() < key))
    }

    /// Adds an entry. Its key must be greater than the one before it, and than all keys of the table.
    ///
    /// # Errors
    /// [`Error::NotInOrder`], [`Error::KeyTooLong`], [`Error::ValueTooLong`]: the entry is not taken, and the load is as
    /// it was before, to be gone on with or finished. [`Error::DiskFull`] and I/O errors, which fail the transaction.
    pub fn push(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        let max = key_max(self.access.shared.store.page_size);
        if key.len() > max {
            return Err(Error::KeyTooLong { len: key.len(), max });
        }
        if value.len() as u64 > VALUE_MAX {
            return Err(Error::ValueTooLong { len: value.len() as u64, max: VALUE_MAX });
        }
        self.check_usable()?;
        let in_order = if self.len == 0 { self.is_behind_table(key)? } else { key > self.last.as_slice() };
        if !in_order {
            return Err(Error::NotInOrder);
        }
        let access = self.access;
        access.state.borrow_mut().attempt(|state| self.take(state, key, value))?;
        if self.len == 0 {
            self.first.extend_from_slice(key);
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.len += 1;
        if let Some(calls) = &self.calls {
            calls.pushed(key, value.len() as u64);
        }
        Ok(())
    }

    fn take(&mut self, state: &mut WriteState, key: &[u8], value: &[u8]) -> Result<()> {
        let shared = self.access.shared;
        let mut write = BulkWrite { shared, state, pages: &mut self.pages };
        match &mut self.stage {
            Stage::Large(builder) => put(builder, &mut write, key, value),
            Stage::Small(staged) => {
                let at = staged.keep(key);
                let kept = if value.len() > EARLY_VALUE {
                    StagedValue::Extent(write.value(value)?, value.len() as u64)
                } else {
                    StagedValue::Bytes(staged.keep(value))
                };
                staged.entries.push((at, kept));
                if staged.len() as u64 <= small_max(shared) {
                    return Ok(());
                }
                let staged = std::mem::take(staged);
                let mut builder = Builder::new(shared.store.page_size.bytes(), write.state.changes.birth);
                for (key, value) in staged.entries {
                    let key = &staged.bytes[key];
                    match value {
                        StagedValue::Bytes(at) => put(&mut builder, &mut write, key, &staged.bytes[at])?,
                        StagedValue::Extent(first, len) => {
                            put_large(&mut builder, &mut write, key, first, len)?;
                        }
                    }
                }
                self.stage = Stage::Large(builder);
                Ok(())
            }
        }
    }

    /// Makes all that was pushed part of the table; returns how many entries that is. They are seen in this transaction
    /// from now on, and by others once it is committed.
    ///
    /// # Errors
    /// [`Error::NotInOrder`] if the table has got a key since that is not below the load's first: nothing is loaded. What
    /// [`push`](Self::push) may say of a disk, which fails the transaction.
    pub fn finish(mut self) -> Result<u64> {
        self.check_usable()?;
        if self.len > 0 {
            if !self.is_behind_table(&self.first)? {
                return Err(Error::NotInOrder);
            }
            let access = self.access;
            access.state.borrow_mut().attempt(|state| self.settle(state))?;
        }
        if let Some(calls) = &mut self.calls {
            calls.finished = true;
        }
        Ok(self.len)
    }

    fn settle(&mut self, state: &mut WriteState) -> Result<()> {
        let WriteAccess { shared, number, .. } = self.access;
        let mut write = BulkWrite { shared, state, pages: &mut self.pages };
        match std::mem::replace(&mut self.stage, Stage::Small(Staged::default())) {
            Stage::Small(staged) => {
                write.settle()?;
                insert_all(state, shared, number, &staged)
            }
            Stage::Large(builder) => {
                let tree = builder.finish(&mut write)?;
                write.settle()?;
                let mut root = state.root(number)?;
                state.edit(&shared.store).append_tree(&mut root, tree, &self.first)?;
                state.set_root(number, root);
                let name = Arc::clone(&state.tables[number].name);
                // That something was done to it; what, no record could say.
                state.log.fill_table(number, &name);
                state.log.overflow();
                state.check_size(shared)
            }
        }
    }
}

/// The most bytes that a load inserted one by one has: not much of what delta and log may hold.
fn small_max<S: PageSource>(shared: &Shared<S>) -> u64 {
    SMALL_MAX.min(shared.limits.delta_bytes / 16).min(shared.limits.log_bytes / 4)
}

/// Adds an entry to the tree, and its value to the file if it does not fit a leaf.
fn put<S: PageSource>(
    builder: &mut Builder,
    write: &mut BulkWrite<'_, S>,
    key: &[u8],
    value: &[u8],
) -> Result<()> {
    if key.len() + value.len() <= inline_max(write.shared.store.page_size) {
        return builder.push(write, key, value, None);
    }
    let first = write.value(value)?;
    put_large(builder, write, key, first, value.len() as u64)
}

/// Adds an entry whose value of `len` bytes lies in the extent at `first`.
fn put_large<S: PageSource>(
    builder: &mut Builder,
    write: &mut BulkWrite<'_, S>,
    key: &[u8],
    first: PageRef,
    len: u64,
) -> Result<()> {
    let payload = Large::payload(len, write.state.changes.birth);
    builder.push(write, key, &payload, Some(Word::file(first)))
}

/// Inserts the entries one by one.
fn insert_all<S: PageSource>(
    state: &mut WriteState,
    shared: &Shared<S>,
    number: usize,
    staged: &Staged,
) -> Result<()> {
    for (key, value) in &staged.entries {
        let key = &staged.bytes[key.clone()];
        match value {
            StagedValue::Bytes(at) => {
                state.insert(shared, number, key, &staged.bytes[at.clone()])?;
            }
            StagedValue::Extent(first, len) => {
                let name = Arc::clone(&state.tables[number].name);
                let birth = state.changes.birth;
                state.log.table(number, &name);
                state.log.extent(key, *first, *len, birth);
                state.insert_extent(&shared.store, number, key, *first, (*len, birth))?;
                state.check_size(shared)?;
            }
        }
    }
    Ok(())
}

impl<S: PageSource> fmt::Debug for BulkLoad<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkLoad").field("entries", &self.len).finish_non_exhaustive()
    }
}
