//! What a write transaction has changed and not committed yet.
#![forbid(unsafe_code)]

use super::Span;
use std::collections::{BTreeMap, HashMap};

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Change {
    /// Changes are applied in this order.
    order: u64,
    /// Bytes of its value; `None` if it is deleted.
    len: Option<u64>,
}

/// The changes of a write transaction: for each key what became of it last. Takes memory for the keys, not for values.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    by_key: BTreeMap<Vec<u8>, Change>,
    /// What changes took the place of, since the first savepoint.
    undo: Vec<(Vec<u8>, Option<Change>)>,
    /// For each savepoint, the length of `undo`.
    savepoints: HashMap<u64, usize>,
    next: u64,
}

impl Changes {
    fn change(&mut self, key: Vec<u8>, len: Option<u64>) {
        self.next += 1;
        let change = Change { order: self.next, len };
        if self.savepoints.is_empty() {
            self.by_key.insert(key, change);
        } else {
            let before = self.by_key.insert(key.clone(), change);
            self.undo.push((key, before));
        }
    }

    /// `key` has a value of `len` bytes.
    pub fn put(&mut self, key: Vec<u8>, len: u64) {
        self.change(key, Some(len));
    }

    /// `key` has no value.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.change(key, None);
    }

    /// Whether it was changed.
    pub fn has(&self, key: &[u8]) -> bool {
        self.by_key.contains_key(key)
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The keys that have values, of those in `span`.
    pub fn put_in(&self, span: &Span) -> Vec<Vec<u8>> {
        let from = self.by_key.range(span.first()..);
        let within = from.take_while(|(key, _)| span.contains(key));
        within.filter(|(_, change)| change.len.is_some()).map(|(key, _)| key.clone()).collect()
    }

    /// Sets a savepoint.
    pub fn save(&mut self, savepoint: u64) {
        self.savepoints.insert(savepoint, self.undo.len());
    }

    /// Goes back to a savepoint; one that was not set changes nothing.
    pub fn roll_back(&mut self, savepoint: u64) {
        let Some(kept) = self.savepoints.get(&savepoint).copied() else { return };
        while self.undo.len() > kept {
            match self.undo.pop() {
                Some((key, Some(before))) => self.by_key.insert(key, before),
                Some((key, None)) => self.by_key.remove(&key),
                None => None,
            };
        }
    }

    /// Keys and the lengths of their values, in the order in which they were put; then the keys that are deleted.
    #[expect(clippy::type_complexity, reason = "two lists")]
    pub fn into_parts(self) -> (Vec<(Vec<u8>, u64)>, Vec<Vec<u8>>) {
        let mut all: Vec<(Vec<u8>, Change)> = self.by_key.into_iter().collect();
        all.sort_unstable_by_key(|(_, change)| change.order);
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for (key, change) in all {
            match change.len {
                Some(len) => puts.push((key, len)),
                None => deletes.push(key),
            }
        }
        (puts, deletes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Bound;

    fn key(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[test]
    fn the_last_change_of_a_key_counts_and_savepoints_undo() {
        let mut changes = Changes::default();
        changes.put(key("b"), 1);
        changes.put(key("a"), 2);
        changes.save(7);
        changes.put(key("b"), 3);
        changes.delete(key("a"));
        changes.save(8);
        changes.put(key("c"), 4);
        changes.roll_back(8);
        assert!(!changes.has(b"c") && changes.has(b"a"));
        let span = Span { lower: Bound::Included(key("a")), upper: Bound::Excluded(key("c")) };
        assert_eq!(changes.put_in(&span), [key("b")]);
        changes.roll_back(9);
        assert_eq!(changes.clone().into_parts(), (vec![(key("b"), 3)], vec![key("a")]));
        changes.put(key("d"), 1);
        changes.roll_back(7);
        assert_eq!(changes.into_parts(), (vec![(key("b"), 1), (key("a"), 2)], vec![]));
    }
}
