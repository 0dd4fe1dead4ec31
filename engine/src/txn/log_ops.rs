//! Logical redo records: what a transaction did to its tables, as bytes in the log.
//!
//! A record is the operations of one commit, in order. Numbers are LEB128, byte strings are preceded by their length.
//!
//! | kind (1 byte) | then | means |
//! | --- | --- | --- |
//! | 1 table | name | what follows is done to this table, which is made if it is not there |
//! | 2 put | key, value | insert or replace |
//! | 3 delete | key | remove |
//! | 4 delete range | flags (1), from if bit 0, to if bit 1 | remove `from <= key < to` |
//! | 5 drop | name | drop this table |
//! | 6 extent | key, reference (8), length (8), birth (8) | insert or replace by a value that lies in an extent |
//! | 7 rename | name, new name | give this table a name that no table has |
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use bifold_page_source::PageRef;

const TABLE: u8 = 1;
const PUT: u8 = 2;
const DELETE: u8 = 3;
const DELETE_RANGE: u8 = 4;
const DROP: u8 = 5;
const EXTENT: u8 = 6;
const RENAME: u8 = 7;

/// One operation read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op<'a> {
    /// The table that what follows is done to.
    Table(&'a str),
    /// Insert or replace.
    Put(&'a [u8], &'a [u8]),
    /// Remove.
    Delete(&'a [u8]),
    /// Remove from (inclusive) to (exclusive).
    DeleteRange(Option<&'a [u8]>, Option<&'a [u8]>),
    /// Drop a table.
    Drop(&'a str),
    /// Insert or replace by an extent: its first page, the value's length, its birth.
    Extent(&'a [u8], PageRef, u64, u64),
    /// Give a table, the first, a new name, the second.
    Rename(&'a str, &'a str),
}

/// The operations of the open transaction, as long as they fit the log.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    bytes: Vec<u8>,
    /// The table, by the transaction's number for it, that the last operation was done to.
    table: Option<usize>,
    max_bytes: usize,
    /// The transaction is too large for the log and commits by a checkpoint; nothing is kept.
    overflowed: bool,
    changed: bool,
    /// Something was inserted or made.
    inserts: bool,
    /// Bytes of keys and values put, and of keys deleted.
    put_bytes: u64,
}

/// A state of the buffer to return to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogMark {
    len: usize,
    table: Option<usize>,
    changed: bool,
    inserts: bool,
    put_bytes: u64,
}

impl LogBuffer {
    /// A buffer for at most `max_bytes` bytes.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            table: None,
            max_bytes,
            overflowed: false,
            changed: false,
            put_bytes: 0,
            inserts: false,
        }
    }

    /// The record, or `None` if it is too large for the log.
    pub(crate) fn record(&self) -> Option<&[u8]> {
        if self.overflowed { None } else { Some(&self.bytes) }
    }

    /// Whether the transaction did anything.
    pub(crate) fn has_changes(&self) -> bool {
        self.changed
    }

    /// Whether the transaction made the database smaller, if anything: no entry was inserted and no table made.
    pub(crate) fn only_removes(&self) -> bool {
        !self.inserts
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A mark of the state now.
    pub(crate) fn mark(&self) -> LogMark {
        LogMark {
            len: self.bytes.len(),
            table: self.table,
            changed: self.changed,
            put_bytes: self.put_bytes,
            inserts: self.inserts,
        }
    }

    /// Forgets what came after `mark`.
    pub(crate) fn rollback(&mut self, mark: LogMark) {
        self.bytes.truncate(mark.len);
        self.table = mark.table;
        self.changed = mark.changed;
        self.inserts = mark.inserts;
        self.put_bytes = mark.put_bytes;
    }

    /// Bytes of keys and values put, and of keys deleted.
    pub(crate) fn put_bytes(&self) -> u64 {
        self.put_bytes
    }

    /// Makes sure that the table with this number and name is there, and that what follows is done to it.
    pub(crate) fn table(&mut self, number: usize, name: &str) {
        if self.table != Some(number) {
            self.table = Some(number);
            self.push(TABLE, &[name.as_bytes()], &[]);
        }
    }

    /// The same, where the table is made or filled.
    pub(crate) fn fill_table(&mut self, number: usize, name: &str) {
        self.inserts = true;
        self.table(number, name);
    }

    /// Notes an insert.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.inserts = true;
        self.put_bytes += (key.len() + value.len()) as u64;
        self.push(PUT, &[key, value], &[]);
    }

    /// Notes a removal.
    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.put_bytes += key.len() as u64;
        self.push(DELETE, &[key], &[]);
    }

    /// Notes the removal of a range.
    pub(crate) fn delete_range(&mut self, from: Option<&[u8]>, to: Option<&[u8]>) {
        let flags = u8::from(from.is_some()) | u8::from(to.is_some()) << 1;
        self.changed = true;
        if !self.overflowed {
            self.bytes.extend_from_slice(&[DELETE_RANGE, flags]);
            for key in [from, to].into_iter().flatten() {
                self.push_string(key);
            }
            self.check_size();
        }
    }

    /// Notes that a table was dropped.
    pub(crate) fn drop_table(&mut self, name: &str) {
        self.table = None;
        self.push(DROP, &[name.as_bytes()], &[]);
    }

    /// Notes that a table was given a new name, which the catalog may need more room for.
    pub(crate) fn rename_table(&mut self, name: &str, new: &str) {
        self.inserts = true;
        self.table = None;
        self.push(RENAME, &[name.as_bytes(), new.as_bytes()], &[]);
    }

    /// Notes an insert of a value that was written to an extent.
    pub(crate) fn extent(&mut self, key: &[u8], first: PageRef, len: u64, birth: u64) {
        self.inserts = true;
        self.put_bytes += key.len() as u64 + len;
        self.push(EXTENT, &[key], &[first.bits(), len, birth]);
    }

    fn push(&mut self, kind: u8, strings: &[&[u8]], fixed: &[u64]) {
        self.changed = true;
        if self.overflowed {
            return;
        }
        self.bytes.push(kind);
        for string in strings {
            self.push_string(string);
        }
        for number in fixed {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.check_size();
    }

    fn push_string(&mut self, string: &[u8]) {
        let mut len = string.len() as u64;
        while len >= 0x80 {
            self.bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        self.bytes.push(len as u8);
        self.bytes.extend_from_slice(string);
    }

    fn check_size(&mut self) {
        if self.bytes.len() > self.max_bytes {
            self.overflow();
        }
    }

    /// Keeps nothing from now on: the transaction commits by a checkpoint.
    pub(crate) fn overflow(&mut self) {
        self.overflowed = true;
        self.bytes = Vec::new();
    }
}

/// Reads a record back, operation by operation.
pub(crate) struct Ops<'a> {
    rest: &'a [u8],
}

impl<'a> Ops<'a> {
    /// The operations of `record`.
    pub(crate) fn new(record: &'a [u8]) -> Self {
        Self { rest: record }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let mut len = 0usize;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            len |= usize::from(byte & 0x7F).checked_shl(shift)?;
            if byte < 0x80 {
                return self.bytes(len);
            }
        }
        None
    }

    fn name(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.string()?).ok()
    }

    fn op(&mut self, kind: u8) -> Option<Op<'a>> {
        Some(match kind {
            TABLE => Op::Table(self.name()?),
            PUT => Op::Put(self.string()?, self.string()?),
            DELETE => Op::Delete(self.string()?),
            DELETE_RANGE => {
                let flags = self.byte().filter(|f| *f < 4)?;
                let from = if flags & 1 != 0 { Some(self.string()?) } else { None };
                let to = if flags & 2 != 0 { Some(self.string()?) } else { None };
                Op::DeleteRange(from, to)
            }
            DROP => Op::Drop(self.name()?),
            RENAME => Op::Rename(self.name()?, self.name()?),
            EXTENT => Op::Extent(
                self.string()?,
                PageRef::from_bits(self.number()?)?,
                self.number()?,
                self.number()?,
            ),
            _ => return None,
        })
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.byte()?;
        Some(self.op(kind).ok_or_else(|| {
            self.rest = &[];
            Error::log(0, "a record whose checksum is right makes no sense")
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold_page_source::PageId;

    #[test]
    fn operations_round_trip() {
        let page = PageRef::new(PageId::new(77).unwrap(), u64::MAX);
        let long = vec![9u8; 20_000];
        let mut log = LogBuffer::new(1 << 20);
        log.table(3, "größe");
        log.table(3, "größe");
        log.put(b"", b"");
        log.put(b"key", &long);
        log.delete(b"key");
        let mark = log.mark();
        log.drop_table("größe");
        log.rollback(mark);
        log.delete_range(Some(b"a"), None);
        log.delete_range(None, Some(&long));
        log.drop_table("x");
        log.extent(b"k", page, 5, 6);
        log.rename_table("größe", "");
        let ops: Vec<_> = Ops::new(log.record().unwrap()).map(Result::unwrap).collect();
        let expected = [
            Op::Table("größe"),
            Op::Put(b"", b""),
            Op::Put(b"key", &long),
            Op::Delete(b"key"),
            Op::DeleteRange(Some(b"a"), None),
            Op::DeleteRange(None, Some(&long)),
            Op::Drop("x"),
            Op::Extent(b"k", page, 5, 6),
            Op::Rename("größe", ""),
        ];
        assert_eq!(ops, expected);
    }

    #[test]
    fn a_cut_record_is_an_error_and_never_a_panic() {
        let mut log = LogBuffer::new(1 << 20);
        log.table(0, "t");
        log.put(b"some key", b"some value");
        log.delete_range(Some(b"a"), Some(b"b"));
        let record = log.record().unwrap();
        for len in 0..record.len() {
            let _ = Ops::new(&record[..len]).collect::<Vec<_>>();
        }
        assert!(Ops::new(&[PUT, 0xFF]).any(|op| op.is_err()));
        assert!(Ops::new(&[99]).any(|op| op.is_err()));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let mut log = LogBuffer::new(100);
        log.put(b"k", &[0; 200]);
        assert!(log.record().is_none() && log.has_changes() && log.len() == 0);
    }
}
