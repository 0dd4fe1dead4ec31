//! A value as a stream: `Read` and `Seek` over a large value, a piece in memory at a time.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::extent;
use crate::tree::access::{Access, Alive};
use crate::value::{Large, Value};
use crate::walk::{Held, Store};
use bifold_page_source::{PageRef, PageSource};
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes read at a time: a few chunks of the extent.
const WINDOW: u64 = 256 * 1024;

/// A value to be read as a stream.
///
/// Memory is bounded by a window of 256 KiB, however long the value is; every chunk is verified before it is shown.
/// Errors of the database come as `io::Error` with the [`Error`](crate::Error) inside.
pub struct ValueReader<'t, S: PageSource + 't> {
    from: From<'t, S>,
    len: u64,
    at: u64,
    _alive: Alive<'t>,
}

enum From<'t, S: PageSource + 't> {
    /// A value that is in memory as a whole.
    Value(Value<'t, S>),
    /// An extent on file, and the part of it last read.
    Extent { store: &'t Store<S>, first: PageRef, window: Option<(u64, S::Span<'t>)> },
}

impl<'t, S: PageSource> ValueReader<'t, S> {
    pub(crate) fn of_entry<A: Access<'t, S>>(access: &A, leaf: Held<'t, S>, index: usize) -> Result<Self> {
        let node = leaf.node();
        let large = node.entry(index).is_some_and(|entry| entry.has_word);
        if large {
            let large = Large::parse(&node, index)?;
            if let Some(first) = access.with(|walk| walk.on_file(large.word))? {
                let from = From::Extent { store: access.store(), first, window: None };
                return Ok(Self { from, len: large.len, at: 0, _alive: access.alive() });
            }
        }
        let value = Value::of_entry(access, leaf, index)?;
        Ok(Self { len: value.len() as u64, from: From::Value(value), at: 0, _alive: access.alive() })
    }

    /// The value's length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes from the place on, as many as are at hand; empty at the end.
    fn rest(&mut self) -> Result<&[u8]> {
        let (at, len) = (self.at, self.len);
        if at >= len {
            return Ok(&[]);
        }
        match &mut self.from {
            From::Value(value) => Ok(value.get(at as usize..).unwrap_or(&[])),
            From::Extent { store, first, window } => {
                let start = at / WINDOW * WINDOW;
                if window.as_ref().is_none_or(|(begins, _)| *begins != start) {
                    *window = None;
                    let range = start..(start + WINDOW).min(len);
                    let span =
                        extent::read_span(&store.source, store.file_id, store.page_size, *first, len, range)?;
                    *window = Some((start, span));
                }
                let (begins, span) = window.as_ref().ok_or(Error::Internal("a window vanished"))?;
                Ok(span.get((at - begins) as usize..).unwrap_or(&[]))
            }
        }
    }
}

impl<S: PageSource> Read for ValueReader<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.rest().map_err(io::Error::other)?;
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl<S: PageSource> Seek for ValueReader<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the beginning"))?;
        Ok(self.at)
    }
}

impl<S: PageSource> fmt::Debug for ValueReader<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueReader").field("len", &self.len).field("at", &self.at).finish_non_exhaustive()
    }
}
