//! What one commit publishes: the catalog, the tables changed since the last checkpoint, and some others, to spare
//! their readers a descent of the catalog.
//!
//! A commit changes a few tables and leaves the catalog alone; the checkpoint writes the changed tables into it. So
//! the map of tables is persistent in the functional sense: the next root shares all buckets but those it changed.
#![forbid(unsafe_code)]

use crate::word::Word;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The root of one tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TreeRoot {
    /// The root page; null if the tree is empty.
    pub(crate) word: Word,
    /// Levels below the root: 0 if it is a leaf.
    pub(crate) height: u8,
    /// Entries in the tree.
    pub(crate) len: u64,
    /// Whether extents may hang below.
    pub(crate) extents: bool,
}

impl TreeRoot {
    /// No entries, no page.
    pub(crate) const EMPTY: Self = Self { word: Word::NULL, height: 0, len: 0, extents: false };
}

/// What is known of one table beyond the catalog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TableState {
    /// As the catalog has it; kept to spare the descent.
    Clean(TreeRoot),
    /// Changed or created since the last checkpoint.
    Changed(TreeRoot),
    /// Dropped since the last checkpoint, if the catalog has it at all.
    Dropped,
}

impl TableState {
    fn is_clean(self) -> bool {
        matches!(self, Self::Clean(_))
    }
}

/// A published state of the database.
#[derive(Debug)]
pub(crate) struct Root {
    /// The number of the commit that made it.
    pub(crate) seq: u64,
    /// The last checkpoint at or before that commit.
    pub(crate) base: u64,
    /// The catalog as of the last checkpoint.
    pub(crate) catalog: TreeRoot,
    /// Tables that differ from it.
    pub(crate) tables: TableMap,
}

type Bucket = Arc<Vec<(Arc<str>, TableState)>>;

/// Names to states: an array of shared buckets, found by hash. Cloning shares them all.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableMap {
    buckets: Vec<Bucket>,
    len: usize,
    /// How many of them differ from the catalog.
    changed: usize,
    /// Bytes of their names.
    changed_bytes: usize,
}

/// Entries a bucket holds on average before the number of buckets doubles.
const PER_BUCKET: usize = 32;

impl TableMap {
    fn bucket_of(&self, name: &str) -> Option<usize> {
        let count = self.buckets.len();
        if count == 0 { None } else { Some(xxh3_64(name.as_bytes()) as usize & (count - 1)) }
    }

    /// What is known of a table.
    pub(crate) fn get(&self, name: &str) -> Option<TableState> {
        let bucket = &self.buckets[self.bucket_of(name)?];
        bucket.iter().find(|(n, _)| &**n == name).map(|(_, state)| *state)
    }

    /// Sets what is known of a table.
    pub(crate) fn set(&mut self, name: &Arc<str>, state: TableState) {
        if self.len >= self.buckets.len() * PER_BUCKET {
            self.widen();
        }
        if let Some(before) = self.get(name) {
            self.note_changed(name, before, false);
        }
        let Some(at) = self.bucket_of(name) else { return };
        self.note_changed(name, state, true);
        let bucket = Arc::make_mut(&mut self.buckets[at]);
        if let Some(entry) = bucket.iter_mut().find(|(n, _)| n == name) {
            entry.1 = state;
        } else {
            bucket.push((name.clone(), state));
            self.len += 1;
        }
    }

    /// All tables of the map, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Arc<str>, TableState)> {
        self.buckets.iter().flat_map(|b| b.iter())
    }

    fn note_changed(&mut self, name: &str, state: TableState, more: bool) {
        if !state.is_clean() {
            let (by, bytes) = (1, name.len());
            self.changed = if more { self.changed + by } else { self.changed - by };
            self.changed_bytes = if more { self.changed_bytes + bytes } else { self.changed_bytes - bytes };
        }
    }

    /// Whether a table of the map differs from the catalog.
    pub(crate) fn is_changed(&self, name: &str) -> bool {
        self.get(name).is_some_and(|state| !state.is_clean())
    }

    /// Bytes of the names of the tables that differ from the catalog.
    pub(crate) fn changed_bytes(&self) -> usize {
        self.changed_bytes
    }

    /// How many tables of the map differ from the catalog.
    pub(crate) fn changed(&self) -> usize {
        self.changed
    }

    /// How many tables the map knows.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn widen(&mut self) {
        let count = (self.buckets.len() * 2).max(1);
        let mut buckets = vec![Vec::new(); count];
        for (name, state) in self.iter() {
            buckets[xxh3_64(name.as_bytes()) as usize & (count - 1)].push((name.clone(), *state));
        }
        self.buckets = buckets.into_iter().map(Arc::new).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keeps_the_last_state_of_each_table_and_clones_are_independent() {
        let mut map = TableMap::default();
        let names: Vec<Arc<str>> = (0..1000).map(|i| Arc::from(format!("table {i}"))).collect();
        for (i, name) in names.iter().enumerate() {
            map.set(name, TableState::Changed(TreeRoot { len: i as u64, ..TreeRoot::EMPTY }));
        }
        let before = map.clone();
        map.set(&names[7], TableState::Dropped);
        assert_eq!(map.get("table 7"), Some(TableState::Dropped));
        assert!(matches!(before.get("table 7"), Some(TableState::Changed(r)) if r.len == 7));
        assert_eq!((map.len(), map.changed()), (1000, 1000));
        map.set(&names[8], TableState::Clean(TreeRoot::EMPTY));
        assert_eq!((map.len(), map.changed()), (1000, 999));
        assert_eq!(map.iter().count(), 1000);
        assert_eq!(map.get("table 1000"), None);
    }
}
