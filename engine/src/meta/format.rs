//! One meta: what a checkpoint, or a change of the log's state, leaves in the file's head, as one 512-byte sector.
//!
//! All integers are little-endian; bytes not named are zero.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `42 69 66 6F 6C 64 1A 0A` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | page size in bytes |
//! | 16 | 8 | incompatible features: who does not know a bit opens nothing |
//! | 24 | 8 | read-only compatible features: who does not know a bit only reads |
//! | 32 | 8 | file id, the seed of the page checksums |
//! | 40 | 8 | meta number, raised by each meta written; the highest is the newest |
//! | 48 | 8 | checkpoint number |
//! | 56 | 8 | number of the last commit that the checkpoint holds |
//! | 64 | 8 | catalog root: reference to a page, 0 if the catalog is empty |
//! | 72 | 8 | entries in the catalog |
//! | 80 | 1 | catalog's levels above its leaves |
//! | 81 | 1 | bit 0: extents may hang below the catalog |
//! | 88 | 8 | length of the file in pages, as the checkpoint needs it |
//! | 96 | 8 | free map: reference to the newest page of its chain, 0 if there is none |
//! | 104 | 8 | pages in that chain |
//! | 112 | 8 | pages that could be written at once when it was made; for information |
//! | 120 | 4 | log: 0 closed, 1 live |
//! | 124 | 4 | live log: lap of the position at which replay begins |
//! | 128 | 8 | live log: its id |
//! | 136 | 8 | live log: sector of that position |
//! | 144 | 8 | live log: chain value that the first record there continues |
//! | 504 | 8 | checksum: XXH3-64 of bytes 0 to 503, seed `6D65746120736C6F` (hexadecimal) + number of the slot |
//!
//! The seed makes a sector written to another slot than its own fail like any other damage. The drop list (cut
//! subtrees still to be walked) is part of the free map's chain and has no field here.
#![forbid(unsafe_code)]

use crate::error::{Error, Place, Result};
use crate::meta::head::head_pages;
use crate::root::TreeRoot;
use crate::wal::LogStart;
use crate::word::{Target, Word};
use bifold_page_source::{PageId, PageRef, PageSize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of a meta: one sector, the unit that a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

/// The first bytes of every meta. The control byte and the line feed betray transfers that change text, an idea of
/// the PNG format.
pub(super) const MAGIC: [u8; 8] = *b"Bifold\x1A\n";

/// The format this version reads and writes.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Incompatible features this version knows.
const INCOMPATIBLE: u64 = 0;
/// Read-only compatible features this version knows.
const READ_ONLY_COMPATIBLE: u64 = 0;

/// Numbers that only grow (metas, checkpoints, commits) end here, so that nothing the file says can overflow.
const NUMBER_MAX: u64 = 1 << 62;
/// More levels than any tree of 2^40 pages has.
const HEIGHT_MAX: u8 = 64;

const AT_VERSION: usize = 8;
const AT_PAGE_SIZE: usize = 12;
const AT_INCOMPATIBLE: usize = 16;
const AT_READ_ONLY_COMPATIBLE: usize = 24;
const AT_FILE_ID: usize = 32;
const AT_NUMBER: usize = 40;
const AT_CHECKPOINT: usize = 48;
const AT_SEQ: usize = 56;
const AT_CATALOG_WORD: usize = 64;
const AT_CATALOG_LEN: usize = 72;
const AT_CATALOG_HEIGHT: usize = 80;
const AT_CATALOG_FLAGS: usize = 81;
const AT_END: usize = 88;
const AT_FREE_HEAD: usize = 96;
const AT_FREE_CHAIN: usize = 104;
const AT_FREE_PAGES: usize = 112;
const AT_LOG_STATE: usize = 120;
const AT_LOG_LAP: usize = 124;
const AT_LOG_ID: usize = 128;
const AT_LOG_SECTOR: usize = 136;
const AT_LOG_CHAIN: usize = 144;
const AT_CHECKSUM: usize = 504;

const FLAG_EXTENTS: u8 = 1;
const LOG_CLOSED: u32 = 0;
const LOG_LIVE: u32 = 1;

/// Where the persisted free map begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct FreeMapRoot {
    /// The newest page of the chain; `None` if there is no chain, as in a new file.
    pub(crate) head: Option<PageRef>,
    /// Pages in the chain: how far following it may go.
    pub(crate) chain_pages: u64,
    /// Free pages according to the map.
    pub(crate) free_pages: u64,
}

/// What the file knows of its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogState {
    /// All commits are in the checkpoint; a log found beside the file holds nothing that is needed.
    Closed,
    /// Commits after the checkpoint are in this log, and without it the file must not be opened.
    Live(LogStart),
}

/// The state of the file at one moment: a checkpoint, and where the commits after it are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    /// Incompatible features of the file; all are known, or it could not have been decoded.
    pub(crate) incompatible: u64,
    /// Read-only compatible features; see [`check_writable`](Self::check_writable).
    pub(crate) read_only_compatible: u64,
    /// The file's page size.
    pub(crate) page_size: PageSize,
    /// The file's id.
    pub(crate) file_id: u64,
    /// The meta's own number.
    pub(crate) number: u64,
    /// The checkpoint's number; 0 in a new file.
    pub(crate) checkpoint: u64,
    /// The last commit that the checkpoint holds; 0 in a new file.
    pub(crate) seq: u64,
    /// The catalog's root; it names pages on file only.
    pub(crate) catalog: TreeRoot,
    /// The file's length in pages that the checkpoint needs. The file may be longer.
    pub(crate) end: u64,
    /// Where the free map begins.
    pub(crate) free_map: FreeMapRoot,
    /// What the file knows of its log.
    pub(crate) log: LogState,
}

impl Meta {
    /// The meta `number` of a file that was just made: nothing in it, closed.
    pub(crate) fn initial(page_size: PageSize, file_id: u64, number: u64) -> Self {
        Self {
            incompatible: 0,
            read_only_compatible: 0,
            page_size,
            file_id,
            number,
            checkpoint: 0,
            seq: 0,
            catalog: TreeRoot::EMPTY,
            end: head_pages(page_size),
            free_map: FreeMapRoot::default(),
            log: LogState::Closed,
        }
    }

    /// The same state under the next number, to be changed and written. A number beyond what the format allows is
    /// refused by [`write`](super::write).
    #[must_use]
    pub(crate) fn next(&self) -> Self {
        Self { number: self.number.saturating_add(1), ..self.clone() }
    }

    /// Whether this version may write to the file.
    ///
    /// # Errors
    /// `UnsupportedFeature` with the bits it does not know.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.read_only_compatible & !READ_ONLY_COMPATIBLE {
            0 => Ok(()),
            unknown => Err(Error::UnsupportedFeature(unknown)),
        }
    }

    /// The sector for slot `slot`.
    pub(crate) fn encode(&self, slot: u64) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(AT_VERSION, &FORMAT_VERSION.to_le_bytes());
        put(AT_PAGE_SIZE, &(self.page_size.bytes() as u32).to_le_bytes());
        put(AT_INCOMPATIBLE, &self.incompatible.to_le_bytes());
        put(AT_READ_ONLY_COMPATIBLE, &self.read_only_compatible.to_le_bytes());
        put(AT_FILE_ID, &self.file_id.to_le_bytes());
        put(AT_NUMBER, &self.number.to_le_bytes());
        put(AT_CHECKPOINT, &self.checkpoint.to_le_bytes());
        put(AT_SEQ, &self.seq.to_le_bytes());
        put(AT_CATALOG_WORD, &self.catalog.word.bits().to_le_bytes());
        put(AT_CATALOG_LEN, &self.catalog.len.to_le_bytes());
        put(AT_CATALOG_HEIGHT, &[self.catalog.height]);
        put(AT_CATALOG_FLAGS, &[if self.catalog.extents { FLAG_EXTENTS } else { 0 }]);
        put(AT_END, &self.end.to_le_bytes());
        put(AT_FREE_HEAD, &self.free_map.head.map_or(0, PageRef::bits).to_le_bytes());
        put(AT_FREE_CHAIN, &self.free_map.chain_pages.to_le_bytes());
        put(AT_FREE_PAGES, &self.free_map.free_pages.to_le_bytes());
        if let LogState::Live(LogStart { log_id, lap, sector, chain }) = self.log {
            put(AT_LOG_STATE, &LOG_LIVE.to_le_bytes());
            put(AT_LOG_LAP, &lap.to_le_bytes());
            put(AT_LOG_ID, &log_id.to_le_bytes());
            put(AT_LOG_SECTOR, &sector.to_le_bytes());
            put(AT_LOG_CHAIN, &chain.to_le_bytes());
        }
        let sum = checksum(slot, &out);
        out[AT_CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads the sector of slot `slot`.
    ///
    /// # Errors
    /// `Corrupt`, naming the slot, if the checksum or a field is wrong; `NotADatabase`, `UnsupportedVersion`,
    /// `UnsupportedFeature` for what another program or version wrote.
    pub(crate) fn decode(slot: u64, sector: &[u8; SECTOR]) -> Result<Self> {
        if !is_sealed(slot, sector) {
            return Err(damaged(slot, "its checksum does not match its bytes"));
        }
        check_identity(sector)?;
        let unknown = u64_at(sector, AT_INCOMPATIBLE) & !INCOMPATIBLE;
        if unknown != 0 {
            return Err(Error::UnsupportedFeature(unknown));
        }
        let meta = decode_fields(sector).map_err(|what| damaged(slot, what))?;
        meta.check().map_err(|what| damaged(slot, what))?;
        Ok(meta)
    }

    /// The rules between the fields.
    fn check(&self) -> Result<(), &'static str> {
        let head = head_pages(self.page_size);
        let within = |page: PageRef| (head..self.end).contains(&page.page().get());
        if self.number.max(self.checkpoint).max(self.seq).max(self.catalog.len) > NUMBER_MAX {
            return Err("a number in it is impossibly large");
        }
        if self.end < head || self.end > PageId::MAX.get() + 1 {
            return Err("the file's length in it is impossible");
        }
        match self.catalog.word.target() {
            Target::Null if self.catalog.len == 0 && self.catalog.height == 0 => {}
            Target::File(page) if within(page) && self.catalog.height <= HEIGHT_MAX => {}
            _ => return Err("its catalog root is impossible"),
        }
        let FreeMapRoot { head: free_head, chain_pages, free_pages } = self.free_map;
        let free_map_fits = match free_head {
            None => chain_pages == 0 && free_pages == 0,
            Some(page) => {
                within(page) && chain_pages > 0 && chain_pages <= self.end && free_pages <= self.end
            }
        };
        if free_map_fits { Ok(()) } else { Err("its free map is impossible") }
    }
}

/// Whether a sector carries the checksum of its bytes and its slot.
pub(super) fn is_sealed(slot: u64, sector: &[u8; SECTOR]) -> bool {
    u64_at(sector, AT_CHECKSUM) == checksum(slot, sector)
}

/// The number of the meta in a sealed sector of this format version.
pub(super) fn number_of(sector: &[u8; SECTOR]) -> u64 {
    u64_at(sector, AT_NUMBER)
}

/// The sector without its checksum: what the copies of one meta have in common.
pub(super) fn content_of(sector: &[u8; SECTOR]) -> &[u8] {
    &sector[..AT_CHECKSUM]
}

/// Checks what must be known before any other field of a sealed sector means anything: magic and version.
pub(super) fn check_identity(sector: &[u8; SECTOR]) -> Result<()> {
    if sector[..MAGIC.len()] != MAGIC {
        return Err(Error::NotADatabase("it does not begin as one"));
    }
    match u32_at(sector, AT_VERSION) {
        FORMAT_VERSION => Ok(()),
        other => Err(Error::UnsupportedVersion(other)),
    }
}

/// Damage found in a slot.
pub(super) fn damaged(slot: u64, what: &'static str) -> Error {
    Error::Corrupt { place: Place::Meta(slot), what }
}

fn decode_fields(sector: &[u8; SECTOR]) -> Result<Meta, &'static str> {
    let flags = sector[AT_CATALOG_FLAGS];
    if flags & !FLAG_EXTENTS != 0 {
        return Err("its catalog flags are impossible");
    }
    let free_head = match u64_at(sector, AT_FREE_HEAD) {
        0 => None,
        bits => Some(PageRef::from_bits(bits).ok_or("its free map is impossible")?),
    };
    let log = match u32_at(sector, AT_LOG_STATE) {
        LOG_CLOSED => LogState::Closed,
        LOG_LIVE => LogState::Live(LogStart {
            log_id: u64_at(sector, AT_LOG_ID),
            lap: u32_at(sector, AT_LOG_LAP),
            sector: u64_at(sector, AT_LOG_SECTOR),
            chain: u64_at(sector, AT_LOG_CHAIN),
        }),
        _ => return Err("its log state is impossible"),
    };
    Ok(Meta {
        incompatible: u64_at(sector, AT_INCOMPATIBLE),
        read_only_compatible: u64_at(sector, AT_READ_ONLY_COMPATIBLE),
        page_size: PageSize::new(u32_at(sector, AT_PAGE_SIZE)).ok_or("its page size is impossible")?,
        file_id: u64_at(sector, AT_FILE_ID),
        number: u64_at(sector, AT_NUMBER),
        checkpoint: u64_at(sector, AT_CHECKPOINT),
        seq: u64_at(sector, AT_SEQ),
        catalog: TreeRoot {
            word: Word::from_bits(u64_at(sector, AT_CATALOG_WORD)),
            height: sector[AT_CATALOG_HEIGHT],
            len: u64_at(sector, AT_CATALOG_LEN),
            extents: flags & FLAG_EXTENTS != 0,
        },
        end: u64_at(sector, AT_END),
        free_map: FreeMapRoot {
            head: free_head,
            chain_pages: u64_at(sector, AT_FREE_CHAIN),
            free_pages: u64_at(sector, AT_FREE_PAGES),
        },
        log,
    })
}

fn checksum(slot: u64, sector: &[u8; SECTOR]) -> u64 {
    /// Any constant does, as long as no other part of the format uses it for its checksums.
    const SEED: u64 = 0x6D65_7461_2073_6C6F;
    xxh3_64_with_seed(content_of(sector), SEED.wrapping_add(slot))
}

fn u32_at(sector: &[u8; SECTOR], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&sector[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(sector: &[u8; SECTOR], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&sector[at..at + 8]);
    u64::from_le_bytes(word)
}
