//! The file's head: four slots in its first 16 KiB, at 0, 4, 8 and 12 KiB whatever the page size.
//!
//! Slots 0 and 1 are pair A, 2 and 3 pair B; meta `n` goes to both slots of pair `n % 2`, so the meta before it
//! stays where it is. The rest of the head is zero.
//!
//! **What a crash can leave.** Meta `n` is written when everything it names is durable, and the next one is not begun
//! before both copies of `n` are durable too. So the other pair holds `n - 1` twice, and a sector is never torn: pair `n % 2` holds,
//! in each slot on its own, `n` or what was there before, `n - 2`. One copy of `n` is therefore enough to open as
//! `n`: its pages are durable, and the log that `n - 1` begins with is retired only after both copies of `n` are.
//!
//! **What is damage.** No crash leaves a slot whose checksum fails. One such slot is borne: if its copy holds the
//! newest meta, nothing is missing; if its copy is older than the other pair, then it held that older meta too, or a
//! meta whose write never finished, and opening as the other pair loses nothing acknowledged. Two in one pair may
//! have been the newest meta, so that is [`Error::Corrupt`], and never a reason to open as the other pair in silence
//! (rule R1): that would roll commits back.
//!
//! **Healing.** These arguments need both copies of the newest meta to be there before the next one is written, and
//! before its log is used. So whoever opens to write rewrites slots that failed or were left behind, and syncs,
//! before anything is shown ([`Head::heal`]); and if the file was not closed, both copies of the newest meta
//! whatever they look like ([`Head::renew`]): a sync that failed may have left the page cache and the disk apart,
//! and only a new write brings them together (Rebello et al., "Can applications recover from fsync failures?",
//! 2020). A reader needs no healing: what it saw was read from the disk, where a crash does not change it.
#![forbid(unsafe_code)]

use super::format::{MAGIC, Meta, SECTOR, check_identity, content_of, damaged, is_sealed, number_of};
use crate::error::{Error, Result};
use bifold_page_source::{File, PageId, PageSize};

/// Bytes of the head.
pub(crate) const HEAD_LEN: u64 = 16 * 1024;
/// Bytes from one slot to the next.
const STRIDE: u64 = 4096;
const SLOTS: u64 = 4;

/// How many pages the head takes: the first page that may hold anything else.
pub(crate) const fn head_pages(page_size: PageSize) -> u64 {
    page_size.pages_for(HEAD_LEN)
}

/// The first of the two slots that meta `number` goes to; the copy is in the next one.
const fn first_slot(number: u64) -> u64 {
    number % 2 * 2
}

/// The head of a new, empty database: metas 0 and 1, which say the same.
pub(crate) fn initial_head(page_size: PageSize, file_id: u64) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_LEN as usize];
    for slot in 0..SLOTS {
        let at = (slot * STRIDE) as usize;
        let sector = Meta::initial(page_size, file_id, slot / 2).encode(slot);
        bytes[at..at + SECTOR].copy_from_slice(&sector);
    }
    bytes
}

/// Writes both copies of a meta over the meta before last. What it names must be durable already; the caller syncs,
/// and does nothing that depends on it before.
///
/// # Errors
/// I/O errors: the pair then holds the old meta or the new one, and the file must be opened anew. `Internal`, before
/// anything is written, if the meta could not be read back.
pub(crate) fn write(file: &dyn File, meta: &Meta) -> Result<()> {
    let first = first_slot(meta.number);
    let copies = [first, first + 1].map(|slot| (slot, meta.encode(slot)));
    for (slot, sector) in &copies {
        if Meta::decode(*slot, sector).ok().as_ref() != Some(meta) {
            return Err(Error::Internal("a meta that could not be read back"));
        }
    }
    for (slot, sector) in &copies {
        write_slot(file, *slot, sector)?;
    }
    Ok(())
}

/// A head as it was read.
#[derive(Debug)]
pub(crate) struct Head {
    /// The newest meta: the state of the database.
    pub(crate) newest: Meta,
    /// Slots that are not what they should be, with what belongs there.
    repairs: Vec<(u64, Meta)>,
}

impl Head {
    /// Reads all four slots. What the page cache may hold is the caller's business.
    ///
    /// # Errors
    /// `NotADatabase`, `UnsupportedVersion`, `UnsupportedFeature`; `Corrupt` if both copies of a meta are damaged, if
    /// metas contradict each other, or if the file is shorter than the newest one says; I/O errors.
    pub(crate) fn read(file: &dyn File) -> Result<Self> {
        let len = file.len().map_err(|e| Error::io("length", 0, e))?;
        let mut bytes = vec![0; len.min(HEAD_LEN) as usize];
        file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", 0, e))?;
        Self::parse(&bytes, len)
    }

    /// The head in `bytes`, the first 16 KiB (or all, if there is less) of a file that is `file_len` bytes long.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn parse(bytes: &[u8], file_len: u64) -> Result<Self> {
        if (bytes.len() as u64) < HEAD_LEN {
            return Err(too_short(bytes));
        }
        let mut slots = Vec::with_capacity(SLOTS as usize);
        for slot in 0..SLOTS {
            slots.push(Slot::parse(slot, bytes)?);
        }
        if slots.iter().all(|s| s.number.is_none()) {
            return Err(nothing_valid(bytes));
        }
        let [a, b] = [newer_of(&slots[..2])?, newer_of(&slots[2..])?];
        let newest = if a.number > b.number { a } else { b }.decode()?;
        let mut repairs = Vec::new();
        for pair in slots.chunks_exact(2) {
            // Another version's meta in the older pair is left alone: it is of no use here, and no harm.
            let Ok(meta) = newer_of(pair)?.decode() else { continue };
            if (meta.file_id, meta.page_size) != (newest.file_id, newest.page_size) {
                return Err(damaged(pair[0].index, "it belongs to another file"));
            }
            let behind = pair.iter().filter(|s| s.number != Some(meta.number));
            repairs.extend(behind.map(|s| (s.index, meta.clone())));
        }
        check_length(&newest, file_len)?;
        Ok(Self { newest, repairs })
    }

    /// Whether all four slots are what they should be.
    pub(crate) fn is_whole(&self) -> bool {
        self.repairs.is_empty()
    }

    /// Rewrites the slots that are not what they should be, and makes them durable. Does nothing to a whole head.
    ///
    /// # Errors
    /// I/O errors; the file is then as good as it was, and must be opened anew.
    pub(crate) fn heal(&self, file: &dyn File) -> Result<()> {
        if self.is_whole() {
            return Ok(());
        }
        self.rewrite(file)?;
        sync(file)
    }

    /// Heals the head, rewrites both copies of the newest meta even if they look right, and makes all durable.
    ///
    /// # Errors
    /// As [`heal`](Self::heal).
    pub(crate) fn renew(&self, file: &dyn File) -> Result<()> {
        self.rewrite(file)?;
        write(file, &self.newest)?;
        sync(file)
    }

    fn rewrite(&self, file: &dyn File) -> Result<()> {
        for (slot, meta) in &self.repairs {
            tracing::warn!(
                slot,
                meta = meta.number,
                "rewriting a copy of a meta that was damaged or left behind"
            );
            write_slot(file, *slot, &meta.encode(*slot))?;
        }
        Ok(())
    }
}

/// One slot of a head.
struct Slot<'a> {
    index: u64,
    sector: &'a [u8; SECTOR],
    /// The number of the meta in it; `None` if the slot is damaged.
    number: Option<u64>,
}

impl<'a> Slot<'a> {
    /// Looks at a slot of a whole head. The number is known without the other fields, as a meta of unknown features
    /// must be seen to be the newest.
    fn parse(slot: u64, bytes: &'a [u8]) -> Result<Self> {
        let sector = bytes[(slot * STRIDE) as usize..]
            .first_chunk()
            .ok_or_else(|| damaged(slot, "the file ends within its head"))?;
        if !is_sealed(slot, sector) {
            return Ok(Self { index: slot, sector, number: None });
        }
        check_identity(sector)?;
        let number = number_of(sector);
        if first_slot(number) != slot & !1 {
            return Err(damaged(slot, "its number belongs in another slot"));
        }
        Ok(Self { index: slot, sector, number: Some(number) })
    }

    fn decode(&self) -> Result<Meta> {
        Meta::decode(self.index, self.sector)
    }
}

/// The newer of a pair's slots.
fn newer_of<'s, 'a>(pair: &'s [Slot<'a>]) -> Result<&'s Slot<'a>> {
    let [first, copy] = pair else { return Err(Error::Internal("a pair is two slots")) };
    match (first.number, copy.number) {
        (None, None) => Err(damaged(first.index, "it and its copy do not match their checksums")),
        (Some(a), Some(b)) if a == b && content_of(first.sector) != content_of(copy.sector) => {
            Err(damaged(first.index, "it and its copy differ"))
        }
        (a, b) => Ok(if a >= b { first } else { copy }),
    }
}

/// Growth is durable before a meta depends on it, so a shorter file has been cut.
fn check_length(newest: &Meta, file_len: u64) -> Result<()> {
    let pages = file_len >> newest.page_size.shift();
    if pages >= newest.end {
        return Ok(());
    }
    // Below `end`, so below 2^40.
    let missing = PageId::new(pages).unwrap_or(PageId::MAX);
    Err(Error::page(missing, "the file ends before it"))
}

/// Why a file shorter than a head cannot be opened.
fn too_short(bytes: &[u8]) -> Error {
    if bytes.is_empty() {
        Error::NotADatabase("it is empty")
    } else if bytes.starts_with(&MAGIC) {
        damaged(bytes.len() as u64 / STRIDE, "the file ends within its head")
    } else {
        Error::NotADatabase("it is shorter than the head of one")
    }
}

/// Why a head without any valid slot cannot be opened.
fn nothing_valid(bytes: &[u8]) -> Error {
    let magic_at = |slot: &u64| bytes[(slot * STRIDE) as usize..].starts_with(&MAGIC);
    if let Some(slot) = (0..SLOTS).find(magic_at) {
        damaged(slot, "no meta in the file's head matches its checksum")
    } else if bytes.iter().all(|&b| b == 0) {
        Error::NotADatabase("its first 16 KiB are zero")
    } else {
        Error::NotADatabase("it does not begin as one")
    }
}

fn write_slot(file: &dyn File, slot: u64, sector: &[u8; SECTOR]) -> Result<()> {
    let at = slot * STRIDE;
    file.write_at(sector, at).map_err(|e| Error::io("write", at, e))
}

fn sync(file: &dyn File) -> Result<()> {
    file.sync().map_err(|e| Error::io("sync", 0, e))
}
