//! Scans: the entries of a range as an iterator, from both ends.
#![forbid(unsafe_code)]

use super::access::Access;
use super::gap::Gap;
use super::position::Position;
use crate::error::Result;
use crate::trace::calls::ScanCalls;
use crate::value::{Large, Value};
use bifold_page_source::PageSource;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Bound;

/// The entries of a range in key order, or from the end with [`rev`](Iterator::rev).
///
/// Each item is a key and a [`Value`] to keep, or an error; after an error there are no more items. Both ends may be
/// used in turn, and each entry comes once. In a write transaction changes of the table beyond the entries already
/// given are seen.
pub struct Scan<'t, S: PageSource + 't, A> {
    range: Entries<'t, S, A>,
}

/// The keys of a range, as [`Scan`] gives entries. Large values are not read.
pub struct Keys<'t, S: PageSource + 't, A> {
    range: Entries<'t, S, A>,
}

/// What both iterate over.
struct Entries<'t, S: PageSource + 't, A> {
    access: A,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    front: Position<'t, S>,
    back: Position<'t, S>,
    done: bool,
    /// What records it, if anything does.
    calls: Option<Box<ScanCalls>>,
}

#[expect(private_bounds, reason = "only transactions make one, and they know how to be reached")]
impl<'t, S: PageSource, A: Access<'t, S>> Scan<'t, S, A> {
    /// The entries between two bounds; none if they are the wrong way round.
    pub(crate) fn new(access: A, lower: Bound<Vec<u8>>, upper: Bound<Vec<u8>>) -> Self {
        let (front, back) = (Position::new(&access), Position::new(&access));
        let calls = access.calls().map(|calls| Box::new(ScanCalls::new(calls, &lower, &upper)));
        Self { range: Entries { access, lower, upper, front, back, done: false, calls } }
    }

    /// The keys alone, of what has not been given yet.
    pub fn keys(mut self) -> Keys<'t, S, A> {
        if let Some(calls) = &mut self.range.calls {
            calls.keys = true;
        }
        Keys { range: self.range }
    }
}

impl<'t, S: PageSource, A: Access<'t, S>> Entries<'t, S, A> {
    /// Moves one end inwards. `false` when the ends have met.
    fn step(&mut self, forward: bool) -> Result<bool> {
        if self.done {
            return Ok(false);
        }
        let moved = if forward { self.step_front() } else { self.step_back() };
        self.done = !matches!(moved, Ok(true));
        if let (Some(calls), false) = (&mut self.calls, self.done) {
            calls.stepped(forward);
        }
        moved
    }

    fn step_front(&mut self) -> Result<bool> {
        if self.front.is_fresh() {
            self.front.seek(&self.access, Gap::lower(self.lower.as_ref()))?;
        }
        if !self.front.next(&self.access)? {
            return Ok(false);
        }
        let limit = self.back.key().map_or(Gap::upper(self.upper.as_ref()), Gap::Before);
        Ok(self.front.key().is_some_and(|key| limit.is_behind(key)))
    }

    fn step_back(&mut self) -> Result<bool> {
        if self.back.is_fresh() {
            self.back.seek(&self.access, Gap::upper(self.upper.as_ref()))?;
        }
        if !self.back.prev(&self.access)? {
            return Ok(false);
        }
        let limit = self.front.key().map_or(Gap::lower(self.lower.as_ref()), Gap::After);
        Ok(self.back.key().is_some_and(|key| !limit.is_behind(key)))
    }

    fn entry(&mut self, forward: bool) -> Option<Result<(Vec<u8>, Value<'t, S>)>> {
        match self.step(forward) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => return Some(Err(error)),
        }
        let current = if forward { self.front.current() } else { self.back.current() }?;
        let value = if current.has_word {
            Large::parse(&current.leaf.node(), current.index)
                .and_then(|large| Value::large(&self.access, large))
        } else {
            Value::in_leaf(&self.access, current.leaf.clone(), current.range)
        };
        let item = value.map(|value| (current.key.to_vec(), value));
        self.done |= item.is_err();
        Some(item)
    }

    fn key(&mut self, forward: bool) -> Option<Result<Vec<u8>>> {
        match self.step(forward) {
            Ok(false) => None,
            Ok(true) => {
                let end = if forward { &self.front } else { &self.back };
                end.key().map(|key| Ok(key.to_vec()))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl<'t, S: PageSource, A: Access<'t, S>> Iterator for Scan<'t, S, A> {
    type Item = Result<(Vec<u8>, Value<'t, S>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.range.entry(true)
    }
}

impl<'t, S: PageSource, A: Access<'t, S>> DoubleEndedIterator for Scan<'t, S, A> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.range.entry(false)
    }
}

impl<'t, S: PageSource, A: Access<'t, S>> FusedIterator for Scan<'t, S, A> {}

impl<'t, S: PageSource, A: Access<'t, S>> Iterator for Keys<'t, S, A> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.range.key(true)
    }
}

impl<'t, S: PageSource, A: Access<'t, S>> DoubleEndedIterator for Keys<'t, S, A> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.range.key(false)
    }
}

impl<'t, S: PageSource, A: Access<'t, S>> FusedIterator for Keys<'t, S, A> {}

impl<S: PageSource, A> fmt::Debug for Scan<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.range.describe(f, "Scan")
    }
}

impl<S: PageSource, A> fmt::Debug for Keys<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.range.describe(f, "Keys")
    }
}

impl<S: PageSource, A> Entries<'_, S, A> {
    fn describe(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name)
            .field("lower", &self.lower)
            .field("upper", &self.upper)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

/// Where the keys that begin with `prefix` end: the bound behind the last of them.
pub(crate) fn prefix_upper(prefix: &[u8]) -> Bound<Vec<u8>> {
    let Some(last) = prefix.iter().rposition(|byte| *byte != u8::MAX) else { return Bound::Unbounded };
    let mut upper = prefix[..=last].to_vec();
    upper[last] += 1;
    Bound::Excluded(upper)
}
