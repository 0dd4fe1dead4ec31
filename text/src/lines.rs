//! An input as lines of bytes, in memory one at a time and of bounded length.
#![forbid(unsafe_code)]

use crate::{Error, Result};
use std::io::{BufRead, Read};

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

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`, none of them longer than `max` bytes.
    pub(crate) fn new(reader: R, max: u64) -> Self {
        Self { reader, line: Vec::new(), peeked: None, number: 0, max }
    }

    /// The next line without the line feed that ends it, and how many bytes it took; `None` at the end. The last line
    /// needs no line feed.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::TooLong`].
    pub(crate) fn next(&mut self) -> Result<Option<(&[u8], u64)>> {
        let read = match self.peeked.take() {
            Some(read) => read,
            None => self.read()?,
        };
        Ok(if read == 0 { None } else { Some((&self.line, read as u64)) })
    }

    /// The line that [`next`](Self::next) will give.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub(crate) fn peek(&mut self) -> Result<Option<&[u8]>> {
        let read = match self.peeked {
            Some(read) => read,
            None => self.read()?,
        };
        self.peeked = Some(read);
        Ok(if read == 0 { None } else { Some(&self.line) })
    }

    /// Reads a line; the bytes that it took, none at the end.
    fn read(&mut self) -> Result<usize> {
        self.line.clear();
        self.number += 1;
        let mut part = (&mut self.reader).take(self.max.saturating_add(1));
        let read = part.read_until(b'\n', &mut self.line)?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if read as u64 > self.max {
            return Err(Error::TooLong { line: self.number, max: self.max });
        }
        Ok(read)
    }

    /// The number of the line that [`next`](Self::next) or [`peek`](Self::peek) gave or failed on, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(matches!(lines.next(), Err(Error::TooLong { line: 2, max: 4 })));
        assert_eq!(lines.number(), 2);
    }
}
