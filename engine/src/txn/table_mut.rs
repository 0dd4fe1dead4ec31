//! Changing a table.
#![forbid(unsafe_code)]

use super::access::WriteAccess;
use super::bulk::BulkLoad;
use super::state::{VALUE_MAX, WriteState};
use super::table::{Entry, Table, owned_bounds};
use crate::error::{Error, Result};
use crate::node::key_max;
use crate::trace::Op;
use crate::trace::calls::borrowed;
use crate::tree::access::Access;
use crate::tree::cursor::Cursor;
use crate::value::Value;
use crate::walk::damaged;
use bifold_page_source::PageSource;
use std::borrow::Cow;
use std::fmt;
use std::ops::{Bound, Deref, RangeBounds};

/// A table in the write transaction: everything that [`Table`] can, and changes.
///
/// Two handles on one table are harmless: each sees what the other does. A value read before a change keeps showing
/// what it showed.
pub struct TableMut<'t, S: PageSource> {
    table: Table<'t, S, WriteAccess<'t, S>>,
}

impl<S: PageSource> Clone for TableMut<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: PageSource> Copy for TableMut<'_, S> {}

impl<S: PageSource> fmt::Debug for TableMut<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableMut").field(&self.table).finish()
    }
}

impl<'t, S: PageSource> Deref for TableMut<'t, S> {
    type Target = Table<'t, S, WriteAccess<'t, S>>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

impl<'t, S: PageSource> TableMut<'t, S> {
    pub(crate) fn new(table: Table<'t, S, WriteAccess<'t, S>>) -> Self {
        Self { table }
    }

    /// Checks the arguments, then runs a step that fails the transaction if it fails.
    fn change<R>(
        &self,
        key: &[u8],
        value: &[u8],
        step: impl FnOnce(&mut WriteState) -> Result<R>,
    ) -> Result<R> {
        let access = self.table.access();
        let max = key_max(access.shared.store.page_size);
        if key.len() > max {
            return Err(Error::KeyTooLong { len: key.len(), max });
        }
        if value.len() as u64 > VALUE_MAX {
            return Err(Error::ValueTooLong { len: value.len() as u64, max: VALUE_MAX });
        }
        let mut state = access.state.borrow_mut();
        if state.failed {
            return Err(Error::TransactionFailed);
        }
        state.root(access.number)?;
        state.attempt(step)
    }

    /// Sets the value of `key`, whether it had one or not. What it replaces is not read. Key and value may be empty.
    ///
    /// # Errors
    /// [`Error::KeyTooLong`] beyond a quarter page, [`Error::ValueTooLong`] beyond 4 GiB;
    /// [`Error::DiskFull`], damage and I/O errors, which fail the transaction.
    pub fn insert(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        let access = *self.table.access();
        access.call(
            || {
                self.change(key, value, |state| state.insert(access.shared, access.number, key, value))
                    .map(drop)
            },
            |table, ()| Op::Insert { table, key: Cow::Borrowed(key), value_len: value.len() as u64 },
        )
    }

    /// Sets the value of `key` and returns the one it had.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn replace(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Option<Value<'t, S>>> {
        let before = self.table.get(&key)?;
        self.insert(key, value)?;
        Ok(before)
    }

    /// Sets the value of `key` if it has none; whether it did.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_new(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool> {
        if self.table.contains_key(&key)? {
            return Ok(false);
        }
        self.insert(key, value)?;
        Ok(true)
    }

    /// Adds an entry behind all others.
    ///
    /// # Errors
    /// [`Error::NotInOrder`] if `key` is not greater than the last; otherwise as [`insert`](Self::insert).
    pub fn append(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let mut cursor = self.table.cursor();
        if cursor.last()?.is_some_and(|(last, _)| last >= key.as_ref()) {
            return Err(Error::NotInOrder);
        }
        drop(cursor);
        self.insert(key, value)
    }

    /// Begins to load many entries in key order behind all that are there: the fastest way to fill a table. Nothing is
    /// changed before [`BulkLoad::finish`].
    ///
    /// # Errors
    /// [`Error::TransactionFailed`]; if the table was dropped, [`Error::NoSuchTable`] or [`Error::SavepointInvalid`].
    pub fn bulk_load(&self) -> Result<BulkLoad<'t, S>> {
        BulkLoad::new(*self.table.access())
    }

    /// Removes `key`; whether it was there.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let access = *self.table.access();
        let key = key.as_ref();
        access.call(
            || {
                if key.len() > key_max(access.shared.store.page_size) {
                    return Ok(false);
                }
                self.change(key, &[], |state| state.remove(access.shared, access.number, key))
            },
            |table, found| Op::Remove { table, key: Cow::Borrowed(key), found: *found },
        )
    }

    /// Removes `key` and returns the value it had.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn take(&self, key: impl AsRef<[u8]>) -> Result<Option<Value<'t, S>>> {
        let before = self.table.get(&key)?;
        if before.is_some() {
            self.remove(key)?;
        }
        Ok(before)
    }

    /// Removes all entries of `range`; how many there were. Pages that lie wholly inside are not read.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64> {
        let (lower, upper) = owned_bounds(&range);
        let from = match lower {
            Bound::Unbounded => None,
            Bound::Included(key) => Some(key),
            Bound::Excluded(key) => Some(successor(key)),
        };
        let to = match upper {
            Bound::Unbounded => None,
            Bound::Excluded(key) => Some(key),
            Bound::Included(key) => Some(successor(key)),
        };
        let access = *self.table.access();
        access.call(
            || {
                self.change(&[], &[], |state| {
                    state.remove_range(access.shared, access.number, from.as_deref(), to.as_deref())
                })
            },
            |table, removed| {
                let (lower, upper) = borrowed(&range);
                Op::RemoveRange { table, lower, upper, removed: *removed }
            },
        )
    }

    /// Removes all entries.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn clear(&self) -> Result<()> {
        self.remove_range::<&[u8]>(..)?;
        Ok(())
    }

    /// Removes the entry with the least key and returns it.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn pop_first(&self) -> Result<Option<Entry<'t, S>>> {
        let entry = self.table.first()?;
        self.pop(entry)
    }

    /// Removes the entry with the greatest key and returns it.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn pop_last(&self) -> Result<Option<Entry<'t, S>>> {
        let entry = self.table.last()?;
        self.pop(entry)
    }

    fn pop(&self, entry: Option<Entry<'t, S>>) -> Result<Option<Entry<'t, S>>> {
        if let Some((key, _)) = &entry
            && !self.remove(key)?
        {
            // Seen where it stands, and not found by its key: a page does not keep to its separators.
            let root = self.table.access().root()?;
            return Err(damaged(root.word, "an entry below it is not where its key belongs"));
        }
        Ok(entry)
    }

    /// A cursor that can change what it stands on. It stands before the first entry.
    pub fn cursor_mut(&self) -> CursorMut<'t, S> {
        CursorMut { cursor: self.table.cursor(), table: *self }
    }
}

/// The least key above `key`.
fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// A cursor of a write transaction, with which entries can be changed where it stands.
///
/// It moves like a [`Cursor`], and keeps its place when entries are changed through it or beside it.
pub struct CursorMut<'t, S: PageSource + 't> {
    cursor: Cursor<'t, S, WriteAccess<'t, S>>,
    table: TableMut<'t, S>,
}

impl<S: PageSource> CursorMut<'_, S> {
    /// Puts an entry in, or replaces the value of its key, and stands on it.
    ///
    /// # Errors
    /// As [`TableMut::insert`].
    pub fn insert(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.table.insert(&key, value)?;
        self.cursor.seek_exact(key)?;
        Ok(())
    }

    /// Replaces the value of the entry it stands on; `false` if it stands on none, or on one that is gone.
    ///
    /// # Errors
    /// As [`TableMut::insert`].
    pub fn replace(&mut self, value: impl AsRef<[u8]>) -> Result<bool> {
        let Some((key, _)) = self.cursor.current()? else { return Ok(false) };
        let key = key.to_vec();
        self.table.insert(&key, value)?;
        Ok(true)
    }

    /// Removes the entry it stands on; `false` if it stands on none. It then stands between the neighbours: `next`
    /// goes to the one behind, `prev` to the one before.
    ///
    /// # Errors
    /// As [`TableMut::insert`].
    pub fn remove(&mut self) -> Result<bool> {
        let Some((key, _)) = self.cursor.current()? else { return Ok(false) };
        let key = key.to_vec();
        self.table.remove(&key)
    }
}

impl<'t, S: PageSource> Deref for CursorMut<'t, S> {
    type Target = Cursor<'t, S, WriteAccess<'t, S>>;

    fn deref(&self) -> &Self::Target {
        &self.cursor
    }
}

impl<S: PageSource> std::ops::DerefMut for CursorMut<'_, S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.cursor
    }
}

impl<S: PageSource> fmt::Debug for CursorMut<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorMut").field("key", &self.cursor.key()).finish_non_exhaustive()
    }
}
