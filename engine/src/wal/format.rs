//! The bytes of the log file. All integers are little-endian; the unit is the sector of 512 bytes.
//!
//! | sectors | what |
//! | --- | --- |
//! | 0, 1 | the head and its copy |
//! | 2 to `end` - 1 | the ring |
//!
//! The head (the rest of its sector is zero):
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | checksum: XXH3-64 of bytes 8..512, seeded with the sector's number |
//! | 8..16 | magic, `BIFOLDLG` |
//! | 16..20 | format version, 2; 1 lacks renamed tables |
//! | 20..24 | zero |
//! | 24..32 | log id |
//! | 32..40 | `end`, the number of sectors of the file that are in use, head included |
//!
//! A sector of the ring:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | checksum: XXH3-64 of bytes 8..512, seeded with log id and sector number |
//! | 8..12 | lap: 0 if never used, else how often the log had come round when it was written, from 1 |
//! | 12..14 | used: how many bytes of the payload count; 0 only in lap 0 |
//! | 14..16 | back: every sector written before the one that lies so many back was durable when this one was written; 65535 if that is not known |
//! | 16..512 | payload; unused bytes are zero |
//!
//! The used payloads, one behind the other, are a stream of records:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | length of the payload |
//! | 4..8 | kind, 1: a commit |
//! | 8..16 | sequence number, one more than the record's before |
//! | 16..24 | chain: XXH3-64 of the chain value before, bytes 0..16, and the payload |
//! | 24.. | payload |
#![forbid(unsafe_code)]

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// The unit of writing: what a disk keeps whole.
pub(super) const SECTOR: usize = 512;
/// Bytes of a sector before its payload.
pub(super) const SECTOR_HEADER: usize = 16;
/// Bytes of the stream in a full sector.
pub(super) const PAYLOAD: usize = SECTOR - SECTOR_HEADER;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEADER: usize = 24;
/// The kind of record that there is.
pub(super) const KIND_COMMIT: u32 = 1;
/// The format's version: 2 since records may rename tables.
pub(super) const VERSION: u32 = 2;
/// The oldest version that can be read.
pub(super) const VERSION_OLDEST: u32 = 1;
/// `back` where nothing is known.
pub(super) const BACK_UNKNOWN: u16 = u16::MAX;

const MAGIC: &[u8; 8] = b"BIFOLDLG";
/// An odd constant (2^64 divided by the golden ratio) that spreads small numbers over a seed's bits.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// One sector's bytes.
pub(super) type SectorBytes = [u8; SECTOR];

fn u16_at(bytes: &SectorBytes, at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
}

fn checksum(bytes: &SectorBytes, log_id: u64, number: u64) -> u64 {
    let seed = log_id ^ number.wrapping_add(1).wrapping_mul(SPREAD);
    xxh3_64_with_seed(&bytes[8..], seed)
}

/// What the head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// The format's version.
    pub(super) version: u32,
    /// Which log this is.
    pub(super) log_id: u64,
    /// How many sectors of the file are in use, head included.
    pub(super) end: u64,
}

impl Head {
    /// The head as the bytes of sector `number` (0 or 1).
    pub(super) fn encode(self, number: u64) -> SectorBytes {
        let mut bytes = [0; SECTOR];
        bytes[8..16].copy_from_slice(MAGIC);
        bytes[16..20].copy_from_slice(&self.version.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.log_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.end.to_le_bytes());
        let sum = checksum(&bytes, 0, number);
        bytes[..8].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads sector `number`; `None` if it is not a whole head.
    pub(super) fn decode(bytes: &SectorBytes, number: u64) -> Option<Self> {
        let whole = u64_at(bytes, 0) == checksum(bytes, 0, number) && bytes[8..16] == *MAGIC;
        whole.then(|| Self { version: u32_at(bytes, 16), log_id: u64_at(bytes, 24), end: u64_at(bytes, 32) })
    }
}

/// What a sector of the ring says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sector<'a> {
    /// When it was written; 0 if never.
    pub(super) lap: u32,
    /// How many sectors back the durable part ended at that time.
    pub(super) back: u16,
    /// Its part of the stream.
    pub(super) payload: &'a [u8],
}

/// Completes a sector whose payload is in place: header and checksum.
pub(super) fn seal_sector(
    bytes: &mut SectorBytes,
    log_id: u64,
    number: u64,
    lap: u32,
    used: usize,
    back: u16,
) {
    debug_assert!(used <= PAYLOAD && bytes[SECTOR_HEADER + used..].iter().all(|&byte| byte == 0));
    bytes[8..12].copy_from_slice(&lap.to_le_bytes());
    bytes[12..14].copy_from_slice(&(used as u16).to_le_bytes());
    bytes[14..16].copy_from_slice(&back.to_le_bytes());
    let sum = checksum(bytes, log_id, number);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
}

/// Reads a sector of the ring; `None` if it is damaged.
pub(super) fn open_sector(bytes: &SectorBytes, log_id: u64, number: u64) -> Option<Sector<'_>> {
    if u64_at(bytes, 0) != checksum(bytes, log_id, number) {
        return None;
    }
    let lap = u32_at(bytes, 8);
    let (payload, unused) = bytes[SECTOR_HEADER..].split_at_checked(usize::from(u16_at(bytes, 12)))?;
    // The writer leaves no sector empty and no unused byte set: anything else was not written by it.
    if payload.is_empty() != (lap == 0) || unused.iter().any(|&byte| byte != 0) {
        return None;
    }
    Some(Sector { lap, back: u16_at(bytes, 14), payload })
}

/// A record's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordHeader {
    /// The payload's length in bytes.
    pub(super) len: u32,
    /// What kind of record it is.
    pub(super) kind: u32,
    /// Its sequence number.
    pub(super) seq: u64,
    /// Its chain value.
    pub(super) chain: u64,
}

impl RecordHeader {
    /// The header of a commit's record whose predecessor's chain value is `before`.
    pub(super) fn commit(len: u32, seq: u64, before: u64, payload: &[&[u8]]) -> Self {
        let mut header = Self { len, kind: KIND_COMMIT, seq, chain: 0 };
        header.chain = header.chain_after(before, payload);
        header
    }

    /// The chain value the record must have behind one with `before`.
    pub(super) fn chain_after(&self, before: u64, payload: &[&[u8]]) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.update(&before.to_le_bytes());
        hasher.update(&self.encode()[..16]);
        for part in payload {
            hasher.update(part);
        }
        hasher.digest()
    }

    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..].copy_from_slice(&self.chain.to_le_bytes());
        bytes
    }

    /// Reads a header.
    pub(super) fn decode(bytes: &[u8; RECORD_HEADER]) -> Self {
        Self {
            len: u32_at(bytes, 0),
            kind: u32_at(bytes, 4),
            seq: u64_at(bytes, 8),
            chain: u64_at(bytes, 16),
        }
    }
}

/// The chain value before the first record from a position on, for a log that is new or was recovered. `last` is
/// the chain value before it, so that each recovery starts another chain.
pub(super) fn chain_seed(log_id: u64, lap: u32, sector: u64, last: u64) -> u64 {
    let mut bytes = [0; 28];
    bytes[..8].copy_from_slice(&log_id.to_le_bytes());
    bytes[8..12].copy_from_slice(&lap.to_le_bytes());
    bytes[12..20].copy_from_slice(&sector.to_le_bytes());
    bytes[20..].copy_from_slice(&last.to_le_bytes());
    xxh3_64_with_seed(&bytes, SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_is_whole_only_in_its_place_and_its_log() {
        let mut bytes = [0; SECTOR];
        bytes[SECTOR_HEADER..SECTOR_HEADER + 3].copy_from_slice(b"abc");
        seal_sector(&mut bytes, 7, 5, 9, 3, 2);
        assert_eq!(open_sector(&bytes, 7, 5), Some(Sector { lap: 9, back: 2, payload: b"abc" }));
        assert_eq!(open_sector(&bytes, 7, 6), None);
        assert_eq!(open_sector(&bytes, 8, 5), None);
        for bit in 0..SECTOR * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_sector(&flipped, 7, 5), None, "bit {bit}");
        }
        assert_eq!(open_sector(&[0; SECTOR], 7, 5), None, "zeros are damage, not an unused sector");
    }

    #[test]
    fn a_head_is_whole_only_in_its_place() {
        let head = Head { version: VERSION, log_id: 3, end: 40 };
        assert_eq!(Head::decode(&head.encode(1), 1), Some(head));
        assert_eq!(Head::decode(&head.encode(1), 0), None);
        for bit in 0..SECTOR * 8 {
            let mut flipped = head.encode(0);
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&flipped, 0), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_header_round_trips_and_chains() {
        let header = RecordHeader::commit(3, 8, 99, &[b"a", b"bc"]);
        assert_eq!(RecordHeader::decode(&header.encode()), header);
        assert_eq!(header.chain_after(99, &[b"abc"]), header.chain);
        assert_ne!(header.chain_after(98, &[b"abc"]), header.chain);
        assert_ne!(header.chain_after(99, &[b"abd"]), header.chain);
    }
}
