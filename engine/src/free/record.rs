//! The persisted form of the free map: records, and their bytes.
//!
//! The map is a chain of pages; each page's payload is a sequence of whole records, ended by the payload's end or a
//! zero byte, after which all is zero. Numbers are LEB128: seven bits a byte, the lowest first, the top bit set on
//! all but the last.
//!
//! | kind (1 byte) | name | then | means |
//! | --- | --- | --- | --- |
//! | 0 | end | zeros | nothing more in this payload |
//! | 1 | free | start, length | these pages are free from here on |
//! | 2 | alloc | start, length | these pages are free no longer (in use, or no longer part of the file) |
//! | 3 | subtree | reference (8 bytes, little-endian), level (1), flags (1), cut at | a subtree cut off, yet to be walked |
//! | 4 | subtree done | reference (8 bytes) | that subtree is no longer to be walked |
//! | 5 | kept | | reserved for pages kept by named snapshots |
#![forbid(unsafe_code)]

use super::runs::{PAGE_LIMIT, Run};
use crate::error::{Error, Result};
use bifold_page_source::{PageId, PageRef};

const END: u8 = 0;
const FREE: u8 = 1;
const ALLOC: u8 = 2;
const SUBTREE: u8 = 3;
const SUBTREE_DONE: u8 = 4;

/// The most bytes a run's record takes: a kind and two numbers of at most 41 bits.
pub(super) const RUN_BYTES_MAX: usize = 1 + 2 * 6;
/// The most bytes any record takes: a subtree's kind, reference, level, flags and a number of 64 bits.
pub(super) const RECORD_BYTES_MAX: usize = 1 + 8 + 1 + 1 + 10;

/// A subtree that was cut off whole (a range deleted, a table dropped), yet to be walked for its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Subtree {
    /// Its root.
    pub(crate) root: PageRef,
    /// The root's level; 0 is a leaf.
    pub(crate) level: u8,
    /// What the tree says of it, such as whether extents hang below. Not interpreted here.
    pub(crate) flags: u8,
    /// The first checkpoint that does not refer to it.
    pub(crate) cut_at: u64,
}

/// One change of the persisted map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Record {
    /// The pages are free from here on.
    Free(Run),
    /// The pages are free no longer.
    Alloc(Run),
    /// The subtree is to be walked.
    Subtree(Subtree),
    /// The subtree with this root is to be walked no longer.
    SubtreeDone(PageRef),
}

/// Why a stored map cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The bytes are damaged, or say what cannot be.
    Damaged(&'static str),
    /// A kind of record that a later version may have written.
    UnknownKind(u8),
}

impl Fault {
    /// The error for a fault found in a page of the chain.
    pub(crate) fn at(self, page: PageId) -> Error {
        match self {
            Self::Damaged(what) => Error::page(page, what),
            Self::UnknownKind(kind) => Error::UnsupportedFeature(1 << kind.min(63)),
        }
    }
}

/// How many bytes a number takes.
pub(super) fn number_bytes(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()).div_ceil(7).max(1) as usize
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Record {
    /// Appends the record to the last payload, or in a new one if that has no room for it.
    pub(super) fn append(&self, payloads: &mut Vec<Vec<u8>>, capacity: usize) {
        let Some(last) = payloads.last_mut() else {
            let mut payload = Vec::with_capacity(capacity);
            self.put(&mut payload);
            payloads.push(payload);
            return;
        };
        let before = last.len();
        self.put(last);
        debug_assert!(last.len() - before <= RECORD_BYTES_MAX);
        if last.len() > capacity {
            let mut payload = Vec::with_capacity(capacity);
            payload.extend_from_slice(&last[before..]);
            last.truncate(before);
            payloads.push(payload);
        }
    }

    /// How many bytes the record takes.
    fn bytes(&self) -> usize {
        match self {
            Self::Free(run) | Self::Alloc(run) => 1 + number_bytes(run.start) + number_bytes(run.len),
            Self::Subtree(subtree) => 11 + number_bytes(subtree.cut_at),
            Self::SubtreeDone(_) => 9,
        }
    }

    /// Appends the record's bytes, at most [`RECORD_BYTES_MAX`].
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Free(run) | Self::Alloc(run) => {
                out.push(if matches!(self, Self::Free(_)) { FREE } else { ALLOC });
                put_number(out, run.start);
                put_number(out, run.len);
            }
            Self::Subtree(subtree) => {
                out.push(SUBTREE);
                out.extend_from_slice(&subtree.root.bits().to_le_bytes());
                out.extend_from_slice(&[subtree.level, subtree.flags]);
                put_number(out, subtree.cut_at);
            }
            Self::SubtreeDone(root) => {
                out.push(SUBTREE_DONE);
                out.extend_from_slice(&root.bits().to_le_bytes());
            }
        }
    }
}

/// Lays records out in payloads of at most `capacity` bytes; none straddles two. No records give no payload.
///
/// # Errors
/// [`Error::Internal`] if `capacity` is smaller than a record can be.
pub(super) fn encode(records: impl Iterator<Item = Record>, capacity: usize) -> Result<Vec<Vec<u8>>> {
    if capacity < RECORD_BYTES_MAX {
        return Err(Error::Internal("a page too small for a record of the free map"));
    }
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for record in records {
        record.append(&mut payloads, capacity);
    }
    Ok(payloads)
}

/// How many payloads there would be if `records` were appended.
pub(super) fn payload_count(
    payloads: &[Vec<u8>],
    records: impl Iterator<Item = Record>,
    capacity: usize,
) -> usize {
    let mut count = payloads.len();
    let mut len = payloads.last().map_or(capacity, Vec::len);
    for record in records {
        len += record.bytes();
        if len > capacity {
            count += 1;
            len = record.bytes();
        }
    }
    count
}

/// What is left of a payload that is being read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Fault> {
        let (&first, rest) =
            self.0.split_first().ok_or(Fault::Damaged("a record of the free map is cut off"))?;
        self.0 = rest;
        Ok(first)
    }

    fn number(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Damaged("a number in the free map is too large"))
    }

    fn run(&mut self) -> Result<Run, Fault> {
        let run = Run { start: self.number()?, len: self.number()? };
        if run.is_valid() { Ok(run) } else { Err(Fault::Damaged("a run of the free map is out of bounds")) }
    }

    fn reference(&mut self) -> Result<PageRef, Fault> {
        let mut bits = [0; 8];
        for byte in &mut bits {
            *byte = self.byte()?;
        }
        PageRef::from_bits(u64::from_le_bytes(bits))
            .ok_or(Fault::Damaged("a cut subtree's root is no page reference"))
    }
}

/// Reads a payload. Allocates at most a small multiple of its length.
///
/// # Errors
/// [`Fault::Damaged`] if the bytes are no records, [`Fault::UnknownKind`] if a later version wrote them.
pub(crate) fn decode(payload: &[u8]) -> Result<Vec<Record>, Fault> {
    let mut records = Vec::new();
    let mut reader = Reader(payload);
    while !reader.0.is_empty() {
        records.push(match reader.byte()? {
            END if reader.0.iter().all(|&byte| byte == 0) => break,
            END => return Err(Fault::Damaged("bytes behind the end of the free map's records")),
            FREE => Record::Free(reader.run()?),
            ALLOC => Record::Alloc(reader.run()?),
            SUBTREE => Record::Subtree(Subtree {
                root: reader.reference()?,
                level: reader.byte()?,
                flags: reader.byte()?,
                cut_at: reader.number()?,
            }),
            SUBTREE_DONE => Record::SubtreeDone(reader.reference()?),
            kind => return Err(Fault::UnknownKind(kind)),
        });
    }
    Ok(records)
}

const _: () = assert!(PAGE_LIMIT < 1 << (7 * 6), "a page number fits six bytes");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let run = (0..PAGE_LIMIT).prop_flat_map(|start| (Just(start), 1..=PAGE_LIMIT - start));
        let run = run.prop_map(|(start, len)| Run { start, len });
        let root =
            (0..PAGE_LIMIT, any::<u64>()).prop_map(|(n, sum)| PageRef::new(PageId::new(n).unwrap(), sum));
        prop_oneof![
            run.clone().prop_map(Record::Free),
            run.prop_map(Record::Alloc),
            (root.clone(), any::<(u8, u8, u64)>()).prop_map(|(root, (level, flags, cut_at))| {
                Record::Subtree(Subtree { root, level, flags, cut_at })
            }),
            root.prop_map(Record::SubtreeDone),
        ]
    }

    proptest! {
        #[test]
        fn records_round_trip(records in proptest::collection::vec(record(), 0..60), capacity in 21usize..200) {
            let (first, rest) = records.split_at(records.len() / 2);
            let some = encode(first.iter().copied(), capacity).unwrap();
            let count = payload_count(&some, rest.iter().copied(), capacity);
            let payloads = encode(records.iter().copied(), capacity).unwrap();
            prop_assert_eq!(count, payloads.len());
            let mut back = Vec::new();
            for mut payload in payloads {
                prop_assert!(!payload.is_empty() && payload.len() <= capacity);
                payload.resize(capacity, 0);
                back.extend(decode(&payload).unwrap());
            }
            prop_assert_eq!(back, records);
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..200)) {
            if let Ok(records) = decode(&bytes) {
                for record in records {
                    if let Record::Free(run) | Record::Alloc(run) = record {
                        prop_assert!(run.is_valid());
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(decode(&[5, 1, 1]), Err(Fault::UnknownKind(5)));
        assert!(matches!(Fault::UnknownKind(5).at(PageId::default()), Error::UnsupportedFeature(0x20)));
        for bad in [
            &[FREE][..],
            &[FREE, 3],
            &[FREE, 3, 0],
            &[FREE, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 1],
            &[ALLOC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 1],
            &[END, 0, 1],
            &[SUBTREE, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[SUBTREE_DONE, 1, 0, 0],
        ] {
            assert!(matches!(decode(bad), Err(Fault::Damaged(_))), "{bad:?}");
        }
        assert!(encode(std::iter::empty(), RECORD_BYTES_MAX - 1).is_err());
    }
}
