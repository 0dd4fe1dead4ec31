//! TSV as `load` reads it: lines of bytes, in memory one at a time, and which columns of them are key and value.
#![forbid(unsafe_code)]

use crate::escape::{BadEscape, unescape};
use std::io::{self, BufRead, Read};
use std::ops::Range;

/// The lines of an input.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// The bytes that `line` took, if it is still to be given.
    peeked: Option<usize>,
    number: u64,
    /// The longest line, in bytes.
    max: u64,
}

/// What can be wrong with an input.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// It cannot be read.
    Read(io::Error),
    /// The line is not what it should be.
    Line(String),
}

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`, none of them longer than `max` bytes.
    pub(crate) fn new(reader: R, max: u64) -> Self {
        Self { reader, line: Vec::new(), peeked: None, number: 0, max }
    }

    /// The next line without the line feed that ends it, and how many bytes it took; `None` at the end. The last line
    /// needs no line feed.
    pub(crate) fn next(&mut self) -> Result<Option<(&[u8], u64)>, Wrong> {
        let read = match self.peeked.take() {
            Some(read) => read,
            None => self.read()?,
        };
        Ok(if read == 0 { None } else { Some((&self.line, read as u64)) })
    }

    /// The line that [`next`](Self::next) will give.
    pub(crate) fn peek(&mut self) -> Result<Option<&[u8]>, Wrong> {
        let read = match self.peeked {
            Some(read) => read,
            None => self.read()?,
        };
        self.peeked = Some(read);
        Ok(if read == 0 { None } else { Some(&self.line) })
    }

    /// Reads a line; the bytes that it took, none at the end.
    fn read(&mut self) -> Result<usize, Wrong> {
        self.line.clear();
        self.number += 1;
        let mut part = (&mut self.reader).take(self.max.saturating_add(1));
        let read = part.read_until(b'\n', &mut self.line).map_err(Wrong::Read)?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if read as u64 > self.max {
            let max = indicatif::BinaryBytes(self.max);
            return Err(Wrong::Line(format!("it is longer than {max}, which --delta sets")));
        }
        Ok(read)
    }

    /// The number of the line that [`next`](Self::next) or [`peek`](Self::peek) gave or failed on, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

/// Which columns, counted from 1, are the key and the value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// The key's.
    pub(crate) key: usize,
    /// The value's; all but the key's, with the tabs between them, if `None`.
    pub(crate) value: Option<usize>,
}

/// An entry taken from a line; the buffers are used again for the next.
#[derive(Default, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Columns {
    /// Takes key and value out of `line`; the error says what is wrong with it.
    pub(crate) fn take(self, line: &[u8], entry: &mut Entry) -> Result<(), String> {
        entry.key.clear();
        entry.value.clear();
        if line.is_empty() {
            return Err("it is empty".into());
        }
        let key = column(line, self.key).ok_or_else(|| lacks(line, "key", self.key))?;
        put(line, key.clone(), &mut entry.key)?;
        if let Some(value) = self.value {
            let value = column(line, value).ok_or_else(|| lacks(line, "value", value))?;
            return put(line, value, &mut entry.value);
        }
        let (before, after) = (key.start.checked_sub(1), key.end + 1);
        match before {
            // A single column.
            None if after > line.len() => Err("it has no tab, so no value".into()),
            None => put(line, after..line.len(), &mut entry.value),
            Some(end) => {
                put(line, 0..end, &mut entry.value)?;
                put(line, key.end..line.len(), &mut entry.value)
            }
        }
    }
}

/// Where column `number` of `line` lies.
fn column(line: &[u8], number: usize) -> Option<Range<usize>> {
    let tab = |from: usize| line[from..].iter().position(|byte| *byte == b'\t').map(|at| from + at);
    let mut start = 0;
    for _ in 1..number {
        start = tab(start)? + 1;
    }
    Some(start..tab(start).unwrap_or(line.len()))
}

fn lacks(line: &[u8], what: &str, wanted: usize) -> String {
    let columns = line.split(|byte| *byte == b'\t').count();
    let s = if columns == 1 { "" } else { "s" };
    format!("it has {columns} column{s}, and the {what} is to be column {wanted}")
}

/// Appends what a part of `line` stands for.
fn put(line: &[u8], part: Range<usize>, to: &mut Vec<u8>) -> Result<(), String> {
    let start = part.start;
    unescape(&line[part], to).map_err(|bad| misplaced(line, start, &bad))
}

fn misplaced(line: &[u8], start: usize, bad: &BadEscape) -> String {
    let at = start + bad.at;
    let column = line[..at].split(|byte| *byte == b'\t').count();
    format!("column {column}, byte {} of the line: {bad}", at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::{Tab, escape};
    use proptest::prelude::*;

    const PLAIN: Columns = Columns { key: 1, value: None };

    fn take(columns: Columns, line: &str) -> Result<(String, String), String> {
        let mut entry = Entry::default();
        columns.take(line.as_bytes(), &mut entry)?;
        Ok((String::from_utf8(entry.key).unwrap(), String::from_utf8(entry.value).unwrap()))
    }

    #[test]
    fn columns_by_example() {
        let cases = [
            (1, None, "k\tv", "k", "v"),
            (1, None, "k\tv\tw\tx", "k", "v\tw\tx"),
            (1, None, "\t", "", ""),
            (1, None, "\tv", "", "v"),
            (1, None, "k\\tk\tv\\n", "k\tk", "v\n"),
            (1, None, "k\tv\r", "k", "v\r"),
            (2, None, "a\tb\tc", "b", "a\tc"),
            (3, None, "a\tb\tc", "c", "a\tb"),
            (2, None, "a\tb", "b", "a"),
            (2, Some(1), "a\tb\tc", "b", "a"),
            (1, Some(3), "a\tb\tc", "a", "c"),
            (1, Some(1), "a", "a", "a"),
            (1, Some(3), "a\tb\t", "a", ""),
        ];
        for (key, value, line, k, v) in cases {
            let got = take(Columns { key, value }, line).unwrap();
            assert_eq!(got, (k.into(), v.into()), "{key} {value:?} {line:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            (1, None, "", "empty"),
            (1, None, "key", "no tab"),
            (2, None, "key", "it has 1 column, and the key is to be column 2"),
            (1, Some(4), "a\tb\tc", "it has 3 columns, and the value is to be column 4"),
            (1, None, "a\tb\tc\\q", r"column 3, byte 6 of the line: there is no escape \q"),
            (1, None, "a\\\tb", r"column 1, byte 2 of the line: a backslash at the end"),
            (1, None, "a\tb\\\tc", r"column 2, byte 4 of the line: there is no escape"),
        ];
        for (key, value, line, what) in cases {
            let error = take(Columns { key, value }, line).unwrap_err();
            assert!(error.contains(what), "{line:?}: {error}");
        }
    }

    #[test]
    fn lines_are_counted_and_bounded() {
        let mut lines = Lines::new(&b"a\n\nabcd\nlast"[..], 4);
        let mut next = || lines.next().map(|found| found.map(|(line, read)| (line.to_vec(), read)));
        assert_eq!(next().unwrap(), Some((b"a".to_vec(), 2)));
        assert_eq!(next().unwrap(), Some((Vec::new(), 1)));
        assert_eq!(next().unwrap(), Some((b"abcd".to_vec(), 5)));
        assert_eq!(next().unwrap(), Some((b"last".to_vec(), 4)));
        assert_eq!(next().unwrap(), None);
        let mut lines = Lines::new(&b"a\nb\n"[..], 4);
        assert_eq!(lines.peek().unwrap(), Some(&b"a"[..]));
        assert_eq!(lines.peek().unwrap(), Some(&b"a"[..]));
        assert_eq!((lines.number(), lines.next().unwrap()), (1, Some((&b"a"[..], 2))));
        assert_eq!(lines.next().unwrap(), Some((&b"b"[..], 2)));
        assert_eq!((lines.number(), lines.peek().unwrap()), (2, None));
        assert_eq!(lines.next().unwrap(), None);
        let mut lines = Lines::new(&b"a\nabcde"[..], 4);
        assert!(lines.next().is_ok());
        assert!(matches!(lines.next(), Err(Wrong::Line(_))));
        assert_eq!(lines.number(), 2);
    }

    proptest! {
        /// What `scan` prints, `load` takes back.
        #[test]
        fn an_entry_survives(key in proptest::collection::vec(any::<u8>(), 0..40),
                             value in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\t'), Just(b'\n')], 0..80)) {
            let mut text = Vec::new();
            escape(&key, Tab::Escaped, &mut text);
            text.push(b'\t');
            escape(&value, Tab::Plain, &mut text);
            text.push(b'\n');
            let mut lines = Lines::new(&text[..], 4096);
            let mut entry = Entry::default();
            PLAIN.take(lines.next().unwrap().unwrap().0, &mut entry).unwrap();
            prop_assert_eq!((&entry.key, &entry.value), (&key, &value));
            prop_assert!(lines.next().unwrap().is_none());
        }

        #[test]
        fn nothing_panics(line in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\t'), Just(b'\\')], 0..40),
                          key in 1..5_usize, value in proptest::option::of(1..5_usize)) {
            let _ = Columns { key, value }.take(&line, &mut Entry::default());
        }
    }
}
