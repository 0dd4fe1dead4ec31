//! The bytes of a trace around its events: the head of the file, and the heads of blocks. See `docs/trace-format.md`.
#![forbid(unsafe_code)]

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of the file's head.
pub(super) const HEAD: usize = 64;
/// Bytes of a block's head.
pub(super) const BLOCK_HEAD: usize = 32;
/// Bytes of events from which on a block is written.
pub(super) const BLOCK_FULL: usize = 32 << 10;
/// Bytes of events that a block may have at most: a full one less a byte, and two keys of the greatest length.
pub(super) const BLOCK_MAX: usize = 128 << 10;

const MAGIC: &[u8; 8] = b"BIFOLDTR";
/// The format's version that is written.
pub(super) const VERSION: u32 = 2;
/// The least version that is read: it has no event for a table that is renamed, and nothing else is different.
const VERSION_LEAST: u32 = 1;
/// Keys are hidden.
const HIDDEN: u32 = 1;
/// An odd constant (2^64 divided by the golden ratio) that spreads small numbers over a seed's bits.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// What the file's head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// The format's version.
    pub(super) version: u32,
    /// The recording's id, the seed of its checksums.
    pub(super) id: u64,
    /// When it began, in microseconds since 1970.
    pub(super) began: u64,
    /// The database's page size.
    pub(super) page_size: u32,
    /// Whether keys are hidden.
    pub(super) hidden: bool,
}

/// Why a head is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadHead {
    Magic,
    Version(u32),
    Checksum,
    Flags,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

fn half(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&(if self.hidden { HIDDEN } else { 0 }).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.began.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.page_size.to_le_bytes());
        let sum = xxh3_64_with_seed(&bytes[..HEAD - 8], 0);
        bytes[HEAD - 8..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEAD]) -> Result<Self, BadHead> {
        if bytes[..8] != *MAGIC {
            return Err(BadHead::Magic);
        }
        // Of another version nothing else is known, its checksum included.
        let version = half(bytes, 8);
        if !(VERSION_LEAST..=VERSION).contains(&version) {
            return Err(BadHead::Version(version));
        }
        if word(bytes, HEAD - 8) != xxh3_64_with_seed(&bytes[..HEAD - 8], 0) {
            return Err(BadHead::Checksum);
        }
        let flags = half(bytes, 12);
        if flags & !HIDDEN != 0 {
            return Err(BadHead::Flags);
        }
        Ok(Self {
            version,
            id: word(bytes, 16),
            began: word(bytes, 24),
            page_size: half(bytes, 32),
            hidden: flags & HIDDEN != 0,
        })
    }
}

/// What a block's head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockHead {
    pub(super) checksum: u64,
    /// Bytes of events.
    pub(super) len: u32,
    /// Whose they are.
    pub(super) thread: u32,
    /// Microseconds from the beginning of the recording to the block's first event.
    pub(super) began: u64,
    /// How many events.
    pub(super) events: u32,
}

impl BlockHead {
    /// Fills the head of `block`, whose events are there; `number` counts the blocks of the file from 0.
    pub(super) fn seal(id: u64, number: u64, block: &mut [u8], thread: u32, began: u64, events: u32) {
        let len = (block.len() - BLOCK_HEAD) as u32;
        block[8..12].copy_from_slice(&len.to_le_bytes());
        block[12..16].copy_from_slice(&thread.to_le_bytes());
        block[16..24].copy_from_slice(&began.to_le_bytes());
        block[24..28].copy_from_slice(&events.to_le_bytes());
        block[28..32].fill(0);
        let sum = checksum(id, number, block);
        block[..8].copy_from_slice(&sum.to_le_bytes());
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        Self {
            checksum: word(bytes, 0),
            len: half(bytes, 8),
            thread: half(bytes, 12),
            began: word(bytes, 16),
            events: half(bytes, 24),
        }
    }
}

/// The checksum that a block, head included, must carry as block `number` of the file.
pub(super) fn checksum(id: u64, number: u64, block: &[u8]) -> u64 {
    let seed = id ^ number.wrapping_add(1).wrapping_mul(SPREAD);
    xxh3_64_with_seed(block.get(8..).unwrap_or(&[]), seed)
}
