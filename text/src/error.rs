//! What can be wrong with an input, and where.
#![forbid(unsafe_code)]

use std::io;

/// Why an input gives no more entries. Lines, and bytes within one, are counted from 1.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// A line is not what its format demands.
    #[error("line {line}: {}{what}", at(*byte))]
    Line {
        /// Which.
        line: u64,
        /// The byte of it that is wrong, where it is a single one.
        byte: Option<u64>,
        /// What is wrong, in words.
        what: String,
    },
    /// A line has more bytes than [`How::line_max`](crate::How::line_max).
    #[error("line {line}: it is longer than {max} bytes")]
    TooLong {
        /// Which.
        line: u64,
        /// The most bytes that were allowed.
        max: u64,
    },
    /// A second table begins in an input that is read as [one](crate::Tables::One).
    #[error("line {line}: {what}")]
    AnotherTable {
        /// Where.
        line: u64,
        /// How it shows.
        what: String,
    },
    /// Entries of no table in an input that is to [name](crate::Tables::Named) them.
    #[error("line {line}: {what}")]
    NoTable {
        /// Where.
        line: u64,
        /// What is missing.
        what: &'static str,
    },
    /// Columns were chosen, and the input is no TSV.
    #[error("columns can be chosen of TSV only, which it is not")]
    NotTsv,
    /// The input is to name its tables, and is TSV, which cannot.
    #[error("it is TSV, which names no tables")]
    TsvNamesNone,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn at(byte: Option<u64>) -> String {
    byte.map(|byte| format!("byte {byte}: ")).unwrap_or_default()
}

/// What is wrong with a line, said by what does not know which line it is.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Wrong {
    /// Counted from 1.
    pub(crate) byte: Option<u64>,
    pub(crate) what: String,
}

impl Wrong {
    /// What is wrong with the byte at `offset`, counted from 0.
    pub(crate) fn at(offset: usize, what: impl Into<String>) -> Self {
        Self { byte: Some(offset as u64 + 1), what: what.into() }
    }

    /// The error that it is, as the line's number is known.
    pub(crate) fn on(self, line: u64) -> Error {
        Error::Line { line, byte: self.byte, what: self.what }
    }
}

impl<S: Into<String>> From<S> for Wrong {
    fn from(what: S) -> Self {
        Self { byte: None, what: what.into() }
    }
}

#[cfg(test)]
impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", at(self.byte), self.what)
    }
}
