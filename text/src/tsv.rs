//! TSV: an entry on each line, escaped, and which columns of it are key and value.
#![forbid(unsafe_code)]

use crate::Entry;
use crate::error::Wrong;
use crate::escape::{BadEscape, Tab, escape, unescape};
use std::ops::Range;

/// Appends an entry as a line: the key, a tab, the value, a line feed.
pub fn write_entry(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    escape(key, Tab::Escaped, out);
    out.push(b'\t');
    escape(value, Tab::Plain, out);
    out.push(b'\n');
}

/// Which columns, counted from 1, are the key and the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Columns {
    /// The key's.
    pub key: usize,
    /// The value's; all but the key's, with the tabs between them, if `None`.
    pub value: Option<usize>,
}

impl Default for Columns {
    /// As [`write_entry`] writes them: the key, and behind it the value.
    fn default() -> Self {
        Self { key: 1, value: None }
    }
}

impl Columns {
    /// Takes key and value out of `line`; the error says what is wrong with it.
    pub(crate) fn take(self, line: &[u8], entry: &mut Entry) -> Result<(), Wrong> {
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
fn put(line: &[u8], part: Range<usize>, to: &mut Vec<u8>) -> Result<(), Wrong> {
    let start = part.start;
    unescape(&line[part], to).map_err(|bad| misplaced(line, start, &bad))
}

fn misplaced(line: &[u8], start: usize, bad: &BadEscape) -> Wrong {
    let at = start + bad.at;
    let column = line[..at].split(|byte| *byte == b'\t').count();
    Wrong::at(at, format!("column {column}: {bad}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Lines;
    use proptest::prelude::*;

    fn take(columns: Columns, line: &str) -> Result<(String, String), String> {
        let mut entry = Entry::default();
        columns.take(line.as_bytes(), &mut entry).map_err(|wrong| wrong.to_string())?;
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
            (1, None, "a\tb\tc\\q", r"byte 6: column 3: there is no escape \q"),
            (1, None, "a\\\tb", r"byte 2: column 1: a backslash at the end"),
            (1, None, "a\tb\\\tc", r"byte 4: column 2: there is no escape"),
        ];
        for (key, value, line, what) in cases {
            let error = take(Columns { key, value }, line).unwrap_err();
            assert!(error.contains(what), "{line:?}: {error}");
        }
    }

    proptest! {
        /// What is written is taken back.
        #[test]
        fn an_entry_survives(key in proptest::collection::vec(any::<u8>(), 0..40),
                             value in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\t'), Just(b'\n')], 0..80)) {
            let mut text = Vec::new();
            write_entry(&key, &value, &mut text);
            let mut lines = Lines::new(&text[..], 4096);
            let mut entry = Entry::default();
            Columns::default().take(lines.next().unwrap().unwrap().0, &mut entry).unwrap();
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
