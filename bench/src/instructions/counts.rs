//! Counts as text: what a run writes, and a later one compares itself with.
//!
//! Lines beginning with `#` say where the counts come from; each other line is a piece's name and its instructions an
//! operation, with a tab between them.
#![forbid(unsafe_code)]

use crate::Result;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The first line: what this is, and the version of the format.
const HEAD: &str = "# bifold instruction counts 1";

/// Instructions an operation, by the piece's name, and where they come from.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Counts {
    /// What the counts depend on beside the code: `commit`, `rustc`, `valgrind`.
    pub origin: BTreeMap<String, String>,
    /// Instructions an operation.
    pub pieces: BTreeMap<String, f64>,
}

impl Counts {
    /// The same without the pieces that `wanted` refuses.
    #[must_use]
    pub fn only(mut self, wanted: impl Fn(&str) -> bool) -> Self {
        self.pieces.retain(|name, _| wanted(name));
        self
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}")?;
        for (name, value) in &self.origin {
            writeln!(f, "# {name}: {value}")?;
        }
        for (name, count) in &self.pieces {
            writeln!(f, "{name}\t{count:.2}")?;
        }
        Ok(())
    }
}

impl FromStr for Counts {
    type Err = Box<dyn std::error::Error + Send + Sync>;

    /// # Errors
    /// The line that makes no sense.
    fn from_str(text: &str) -> Result<Self> {
        if text.lines().next() != Some(HEAD) {
            return Err(format!("these are no instruction counts: the first line is not \"{HEAD}\"").into());
        }
        let mut counts = Self::default();
        for (number, line) in text.lines().enumerate().skip(1) {
            if let Some(said) = line.strip_prefix('#') {
                if let Some((name, value)) = said.split_once(':') {
                    counts.origin.insert(name.trim().to_owned(), value.trim().to_owned());
                }
                continue;
            }
            let count =
                line.split_once('\t').and_then(|(name, count)| Some((name, count.parse::<f64>().ok()?)));
            let Some((name, count)) = count.filter(|(_, count)| count.is_finite() && *count > 0.0) else {
                return Err(format!("line {} is no name and count: \"{line}\"", number + 1).into());
            };
            if counts.pieces.insert(name.to_owned(), count).is_some() {
                return Err(format!("line {} counts {name} again", number + 1).into());
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut counts = Counts::default();
        counts.origin.insert("rustc".to_owned(), "rustc 1.95.0 (abc: d)".to_owned());
        counts.pieces.insert("mmap/get".to_owned(), 912.25);
        counts.pieces.insert("node/leaf-hit".to_owned(), 61.0);
        let read: Counts = counts.to_string().parse().unwrap();
        assert_eq!(read, counts);
        assert_eq!(read.only(|name| name.starts_with("mmap")).pieces.len(), 1);
    }

    #[test]
    fn what_is_no_count_is_refused_with_its_line() {
        for (line, says) in [
            ("mmap/get 912", "line 2"),
            ("mmap/get\tmany", "line 2"),
            ("mmap/get\t0", "line 2"),
            ("mmap/get\tNaN", "line 2"),
            ("a\t1\na\t2", "line 3 counts a again"),
        ] {
            let error = format!("{HEAD}\n{line}\n").parse::<Counts>().unwrap_err().to_string();
            assert!(error.contains(says), "{line:?}: {error}");
        }
        assert!("mmap/get\t912\n".parse::<Counts>().is_err());
        assert!("".parse::<Counts>().is_err());
    }
}
