//! Many tables in one: each key begins with the number of its table.
#![forbid(unsafe_code)]

use super::Renames;
use crate::Result;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::{Bound, RangeBounds};

/// The most tables that a trace may have.
const MOST: usize = 65_535;

/// The tables of a trace, and how their keys lie in a store's one table.
///
/// A single table's keys are as they are. Of several, each key has its table's number before it, in a byte or in two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    names: Vec<String>,
    renames: Renames,
    numbers: HashMap<String, u32>,
    /// Bytes of the longest key.
    longest: usize,
    /// Bytes of a table's number.
    width: usize,
}

/// A range of keys as a store has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// Where it begins; never unbounded.
    pub lower: Bound<Vec<u8>>,
    /// Where it ends.
    pub upper: Bound<Vec<u8>>,
}

impl Span {
    /// Whether a key lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        let range: (Bound<&[u8]>, Bound<&[u8]>) =
            (self.lower.as_ref().map(Vec::as_slice), self.upper.as_ref().map(Vec::as_slice));
        RangeBounds::<[u8]>::contains(&range, key)
    }

    /// The least key that may lie in it.
    pub fn first(&self) -> Vec<u8> {
        match &self.lower {
            Bound::Included(key) => key.clone(),
            Bound::Excluded(key) => after(key),
            Bound::Unbounded => Vec::new(),
        }
    }
}

/// The least key above `key`.
pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    let mut after = key.to_vec();
    after.push(0);
    after
}

impl Tables {
    /// Of these names, which are renamed so, and whose keys have at most `longest` bytes.
    ///
    /// # Errors
    /// If there are more than 65,535.
    pub fn new(names: Vec<String>, renames: Renames, longest: usize) -> Result<Self> {
        let width = match names.len() {
            0..=1 => 0,
            2..=255 => 1,
            256..=MOST => 2,
            more => return Err(format!("the trace has {more} tables; {MOST} can be replayed").into()),
        };
        let numbers = names.iter().zip(0..).map(|(name, number)| (name.clone(), number)).collect();
        Ok(Self { names, renames, numbers, longest, width })
    }

    /// How they are renamed.
    pub fn renames(&self) -> &Renames {
        &self.renames
    }

    /// Their names, by number: those that they had in the beginning.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Bytes of the longest key of any table.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The number of the table that had this name in the beginning, or would have had it.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    fn prefix(&self, table: u32) -> Vec<u8> {
        let bytes = table.to_be_bytes();
        bytes[bytes.len() - self.width..].to_vec()
    }

    /// The key of an entry of `table`.
    pub fn key(&self, table: u32, key: &[u8]) -> Vec<u8> {
        let mut whole = self.prefix(table);
        whole.extend_from_slice(key);
        whole
    }

    /// A range of keys of `table`.
    pub fn span(&self, table: u32, lower: &Bound<Cow<'_, [u8]>>, upper: &Bound<Cow<'_, [u8]>>) -> Span {
        let lower = match lower {
            Bound::Included(key) => Bound::Included(self.key(table, key)),
            Bound::Excluded(key) => Bound::Excluded(self.key(table, key)),
            Bound::Unbounded => Bound::Included(self.prefix(table)),
        };
        let upper = match upper {
            Bound::Included(key) => Bound::Included(self.key(table, key)),
            Bound::Excluded(key) => Bound::Excluded(self.key(table, key)),
            Bound::Unbounded if self.width == 0 => Bound::Unbounded,
            // No overflow: there are fewer tables than prefixes.
            Bound::Unbounded => Bound::Excluded(self.prefix(table + 1)),
        };
        Span { lower, upper }
    }

    /// All of a table.
    pub fn whole(&self, table: u32) -> Span {
        self.span(table, &Bound::Unbounded, &Bound::Unbounded)
    }

    /// A key from which a scan back shows the last entry of `span` first, or behind at most one that is not of it.
    pub fn last(&self, span: &Span) -> Vec<u8> {
        match &span.upper {
            Bound::Included(key) | Bound::Excluded(key) => key.clone(),
            Bound::Unbounded => vec![0xff; self.longest.max(1)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(count: usize) -> Tables {
        Tables::new((0..count).map(|n| format!("t{n}")).collect(), Renames::default(), 4).unwrap()
    }

    #[test]
    fn tables_lie_side_by_side() {
        for count in [1, 2, 255, 256, 300] {
            let tables = tables(count);
            let numbers = [0, count as u32 / 2, count as u32 - 1];
            for table in numbers {
                let span = tables.whole(table);
                for other in numbers {
                    for key in [&b""[..], b"\0", b"k", b"\xff\xff\xff\xff"] {
                        let key = tables.key(other, key);
                        assert_eq!(span.contains(&key), table == other, "{count} {table} {other}");
                        assert!(table != other || (key >= span.first() && key <= tables.last(&span)));
                    }
                }
            }
        }
        assert!(Tables::new(vec![String::new(); 65_536], Renames::default(), 1).is_err());
    }

    #[test]
    fn ranges_keep_their_bounds() {
        let tables = tables(2);
        let key = |text: &'static str| Cow::Borrowed(text.as_bytes());
        let span = tables.span(1, &Bound::Excluded(key("b")), &Bound::Included(key("d")));
        let inside = |text: &str| span.contains(&tables.key(1, text.as_bytes()));
        assert!(!inside("b") && inside("b\0") && inside("d") && !inside("d\0"));
        assert_eq!(span.first(), b"\x01b\0");
        assert_eq!(tables.last(&span), b"\x01d");
        assert_eq!((tables.number("t1"), tables.number("t2")), (Some(1), None));
    }
}
