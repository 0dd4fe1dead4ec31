//! Reading a table, in a read transaction or in the one that writes.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::root::TreeRoot;
use crate::trace::Op;
use crate::trace::calls::borrowed;
use crate::tree::access::Access;
use crate::tree::cursor::Cursor;
use crate::tree::gap::Gap;
use crate::tree::scan::{Scan, prefix_upper};
use crate::tree::{get, get_many};
use crate::txn::reader::ValueReader;
use crate::value::Value;
use crate::walk::Walk;
use bifold_page_source::PageSource;
use std::borrow::Cow;
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// A table, to be read.
///
/// A handle is a name looked up once: small, without a `Drop`, and free to stay in scope when its transaction ends.
pub struct Table<'t, S: PageSource, A> {
    access: A,
    _transaction: std::marker::PhantomData<&'t S>,
}

impl<S: PageSource, A: Clone> Clone for Table<'_, S, A> {
    fn clone(&self) -> Self {
        Self::new(self.access.clone())
    }
}

impl<S: PageSource, A: Copy> Copy for Table<'_, S, A> {}

impl<S: PageSource, A: fmt::Debug> fmt::Debug for Table<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.access).finish()
    }
}

/// A key and its value.
pub type Entry<'t, S> = (Vec<u8>, Value<'t, S>);

impl<S: PageSource, A> Table<'_, S, A> {
    pub(crate) fn new(access: A) -> Self {
        Self { access, _transaction: std::marker::PhantomData }
    }

    pub(crate) fn access(&self) -> &A {
        &self.access
    }
}

/// The length of a value that is there.
fn len(value: Option<&[u8]>) -> Option<u64> {
    value.map(|value| value.len() as u64)
}

/// Bounds of a range, as owned keys.
pub(crate) fn owned_bounds<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
    (own(range.start_bound()), own(range.end_bound()))
}

#[expect(private_bounds, reason = "only transactions make one, and they know how to be reached")]
impl<'t, S: PageSource, A: Access<'t, S> + Clone> Table<'t, S, A> {
    /// The value of `key`, if there is one: a guard on the bytes where they lie, without a copy.
    ///
    /// # Errors
    /// Damage and I/O errors met on the way; in a write transaction, [`TransactionFailed`](crate::Error::TransactionFailed).
    #[inline]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value<'t, S>>> {
        let key = key.as_ref();
        self.access.call(
            || {
                let root = self.access.root()?;
                match self.access.with(|walk| get::get(walk, &root, key))? {
                    Some((leaf, index)) => Value::of_entry(&self.access, leaf, index).map(Some),
                    None => Ok(None),
                }
            },
            |table, value| Op::Get { table, key: Cow::Borrowed(key), value_len: len(value.as_deref()) },
        )
    }

    /// Whether `key` has a value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        self.access.call(
            || {
                let root = self.access.root()?;
                Ok(self.access.with(|walk| get::get(walk, &root, key))?.is_some())
            },
            |table, found| Op::Contains { table, key: Cow::Borrowed(key), found: *found },
        )
    }

    /// The values of many keys, in the order of the keys. Pages that are not in memory are read together, level by
    /// level.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value<'t, S>>>> {
        let Some(calls) = self.access.calls() else { return get_many::get_many(&self.access, keys) };
        let at = calls.recorder.now();
        let values = get_many::get_many(&self.access, keys)?;
        let each = keys.iter().zip(&values);
        calls.get_many(at, each.map(|(key, value)| (key.as_ref(), len(value.as_deref()))));
        Ok(values)
    }

    /// The value of `key` as a stream, which takes little memory however long the value is.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn reader(&self, key: impl AsRef<[u8]>) -> Result<Option<ValueReader<'t, S>>> {
        let key = key.as_ref();
        self.access.call(
            || {
                let root = self.access.root()?;
                match self.access.with(|walk| get::get(walk, &root, key))? {
                    Some((leaf, index)) => ValueReader::of_entry(&self.access, leaf, index).map(Some),
                    None => Ok(None),
                }
            },
            |table, reader: &Option<ValueReader<'t, S>>| {
                let value_len = reader.as_ref().map(ValueReader::len);
                Op::Stream { table, key: Cow::Borrowed(key), value_len }
            },
        )
    }

    /// How many entries the table has. Costs nothing.
    ///
    /// # Errors
    /// In a write transaction, if it has failed or the table was dropped in it.
    pub fn len(&self) -> Result<u64> {
        Ok(self.access.root()?.len)
    }

    /// Whether the table has no entries.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// The entry with the least key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn first(&self) -> Result<Option<Entry<'t, S>>> {
        self.entry(|walk, root| get::first(walk, root), |table, value_len| Op::First { table, value_len })
    }

    /// The entry with the greatest key.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn last(&self) -> Result<Option<Entry<'t, S>>> {
        self.entry(|walk, root| get::last(walk, root), |table, value_len| Op::Last { table, value_len })
    }

    /// The entry with `n` entries before it. Takes one descent.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn nth(&self, n: u64) -> Result<Option<Entry<'t, S>>> {
        self.entry(|walk, root| get::nth(walk, root, n), |table, value_len| Op::Nth { table, n, value_len })
    }

    /// Key and value of the entry that `find` finds; `op` is the call.
    fn entry(
        &self,
        find: impl FnOnce(&mut Walk<'_, 't, S>, &TreeRoot) -> Result<Option<get::Found<'t, S>>>,
        op: impl FnOnce(u64, Option<u64>) -> Op<'static>,
    ) -> Result<Option<Entry<'t, S>>> {
        self.access.call(
            || self.found(find),
            |table, entry| op(table, entry.as_ref().map(|(_, value)| value.len() as u64)),
        )
    }

    fn found(
        &self,
        find: impl FnOnce(&mut Walk<'_, 't, S>, &TreeRoot) -> Result<Option<get::Found<'t, S>>>,
    ) -> Result<Option<Entry<'t, S>>> {
        let root = self.access.root()?;
        let Some((leaf, index)) = self.access.with(|walk| find(walk, &root))? else { return Ok(None) };
        let key = leaf.node().key(index);
        let key = key.ok_or_else(|| crate::walk::damaged_node(&leaf.node(), "an entry lies outside it"))?;
        Ok(Some((key, Value::of_entry(&self.access, leaf, index)?)))
    }

    /// How many entries have keys below `key`. Takes one descent.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn rank(&self, key: impl AsRef<[u8]>) -> Result<u64> {
        let key = key.as_ref();
        self.access.call(
            || {
                let root = self.access.root()?;
                self.access.with(|walk| get::rank(walk, &root, Gap::Before(key)))
            },
            |table, rank| Op::Rank { table, key: Cow::Borrowed(key), rank: *rank },
        )
    }

    /// How many entries `range` has, exactly. Takes two descents, whatever the range.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn count<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<u64> {
        self.access.call(
            || {
                let root = self.access.root()?;
                let (lower, upper) = (range.start_bound(), range.end_bound());
                self.access.with(|walk| get::count_range(walk, &root, Gap::lower(lower), Gap::upper(upper)))
            },
            |table, entries| {
                let (lower, upper) = borrowed(&range);
                Op::Count { table, lower, upper, entries: *entries }
            },
        )
    }

    /// The entries of `range` in key order; `.rev()` gives them backwards. A range whose end lies before its start is
    /// empty.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Scan<'t, S, A> {
        let (lower, upper) = owned_bounds(&range);
        Scan::new(self.access.clone(), lower, upper)
    }

    /// The entries whose keys begin with `prefix`, in key order.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan<'t, S, A> {
        let prefix = prefix.as_ref();
        Scan::new(self.access.clone(), Bound::Included(prefix.to_vec()), prefix_upper(prefix))
    }

    /// All entries, in key order.
    pub fn iter(&self) -> Scan<'t, S, A> {
        Scan::new(self.access.clone(), Bound::Unbounded, Bound::Unbounded)
    }

    /// A cursor, which stands before the first entry. It lends entries instead of owning them: the fastest way to see
    /// many.
    pub fn cursor(&self) -> Cursor<'t, S, A> {
        Cursor::new(self.access.clone())
    }
}

impl<'t, S: PageSource, A: Access<'t, S> + Clone> IntoIterator for &Table<'t, S, A> {
    type Item = Result<Entry<'t, S>>;
    type IntoIter = Scan<'t, S, A>;

    fn into_iter(self) -> Scan<'t, S, A> {
        self.iter()
    }
}
