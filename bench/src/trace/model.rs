//! What a trace shows of the keys it names: which were there at the beginning, and which are at the end.
#![forbid(unsafe_code)]

use super::{Changes, Expected, Span};
use std::collections::BTreeMap;

/// What is known of a key.
#[derive(Clone, Copy, Default, Debug)]
struct Known {
    /// When it was found for the first time.
    found: Option<u64>,
    /// Bytes of the value it had before anything was put.
    len: Option<u64>,
    /// When something was put for the first time, and how long that was.
    put: Option<(u64, u64)>,
    /// Whether it has a value by now.
    live: bool,
}

impl Known {
    /// Whether it was found before anything was put.
    fn was_there(&self) -> bool {
        self.found.is_some_and(|found| self.put.is_none_or(|(put, _)| found < put))
    }
}

/// The keys of a trace. Takes memory for each of them.
///
/// Times are the numbers of events where these are in order, or else microseconds.
#[derive(Default, Debug)]
pub(super) struct Model {
    keys: BTreeMap<Vec<u8>, Known>,
    /// Ranges were removed, of which other keys may have been than are known.
    cleared: bool,
    /// A key was found in an old snapshot, and whether it is there now is unknown.
    unsure: bool,
    /// Bytes of keys and values of the largest transaction.
    pub(super) largest: u64,
    /// Transactions that both put and delete.
    pub(super) mixed: u64,
}

impl Model {
    /// A key had a value, which no change of the same transaction had put there. Not `fresh`: in an older snapshot.
    pub(super) fn read(&mut self, key: &[u8], expected: Expected, time: u64, fresh: bool) {
        let len = match expected {
            Expected::Missing => return,
            Expected::There => None,
            Expected::Value(len) => Some(len),
        };
        let new = !self.keys.contains_key(key);
        self.unsure |= new && !fresh && self.cleared;
        let known = if new {
            self.keys.entry(key.to_vec()).or_insert(Known { live: true, ..Known::default() })
        } else {
            self.keys.entry(key.to_vec()).or_default()
        };
        known.found = Some(known.found.map_or(time, |found| found.min(time)));
        if known.put.is_none_or(|(put, _)| time < put) {
            known.len = known.len.or(len);
        }
    }

    /// The keys in a range that have values now.
    pub(super) fn clear(&mut self, span: &Span) -> Vec<Vec<u8>> {
        self.cleared = true;
        let from = self.keys.range(span.first()..).take_while(|(key, _)| span.contains(key));
        from.filter(|(_, known)| known.live).map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn commit(&mut self, changes: Changes, time: u64) {
        let (puts, deletes) = changes.into_parts();
        self.mixed += u64::from(!puts.is_empty() && !deletes.is_empty());
        let mut bytes = 0;
        for (key, len) in puts {
            bytes += key.len() as u64 + len;
            let known = self.keys.entry(key).or_default();
            if known.put.is_none_or(|(put, _)| time < put) {
                known.put = Some((time, len));
            }
            known.live = true;
        }
        for key in deletes {
            bytes += key.len() as u64;
            self.keys.entry(key).or_default().live = false;
        }
        self.largest = self.largest.max(bytes);
    }

    /// The keys that were there before anything was put, with the lengths of their values as far as they are known.
    pub(super) fn initial(&self) -> impl Iterator<Item = (&[u8], Option<u64>)> + Clone {
        self.keys.iter().filter(|(_, known)| known.was_there()).map(|(key, known)| (&key[..], known.len))
    }

    /// How many bytes of keys and values are put under keys of which `there` says that they were not there before.
    pub(super) fn added_bytes(&self, mut there: impl FnMut(&[u8]) -> bool) -> u64 {
        let put = self.keys.iter().filter_map(|(key, known)| Some((key, known.put?.1)));
        put.filter(|(key, _)| !there(key)).map(|(key, len)| key.len() as u64 + len).sum()
    }

    /// How many keys are put or removed, as far as it names them.
    pub(super) fn changed(&self) -> u64 {
        self.keys.values().filter(|known| known.put.is_some() || !known.live).count() as u64
    }

    /// How many entries there are at the end if there were `entries` at the beginning, and of those that the trace names
    /// the ones that `there` says; `None` if that cannot be known. For events in order.
    pub(super) fn entries_at_end(&self, entries: u64, mut there: impl FnMut(&[u8]) -> bool) -> Option<u64> {
        if self.unsure {
            return None;
        }
        let before = self.keys.keys().filter(|key| there(key)).count() as u64;
        let live = self.keys.values().filter(|known| known.live).count() as u64;
        (entries + live).checked_sub(before)
    }

    /// Whether ranges were removed.
    pub(super) fn cleared(&self) -> bool {
        self.cleared
    }
}
