//! The map itself: the one place of this crate that makes references out of addresses.
//!
//! Invariants. (1) Every mapping starts at the file's first byte, is shared and read-only, and lives as long as the
//! [`Map`]: an address once given never moves. (2) `len` never exceeds the file's length nor what the mapping at
//! `base` covers; `base` is published before a `len` that needs it. So whoever reads `len`, then `base`, and stays
//! below `len`, touches bytes of the file and not the void behind it, where a touch would raise `SIGBUS`.
//! (3) The bytes behind a reference do not change: that is the promise of [`PageSource`](bifold_page_source::PageSource)'s
//! callers (its unsafe methods), and of the file's owner that nobody else writes to it.
//!
//! A forked child keeps the mapping (no `MADV_DONTFORK`): it is read-only and costs the fork nothing, and a handle
//! that the child inherits keeps reading instead of crashing. It is left out of core dumps.
#![expect(unsafe_code, reason = "turning mapped addresses into slices")]

use bifold_page_source::File;
use bifold_page_source::sync::Mutex;
use memmap2::{Advice, MmapOptions, MmapRaw};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// A mapping is a multiple of this: the largest page size, and of the system's page size everywhere.
const GRAIN: u64 = 64 * 1024;
/// How much is populated by one call, so that none takes long or evicts what the one before it brought.
const POPULATE_STEP: usize = 16 << 20;

/// A file, mapped.
#[derive(Debug)]
pub(crate) struct Map {
    base: AtomicPtr<u8>,
    /// Bytes from `base` on that may be touched.
    len: AtomicU64,
    mappings: Mutex<Mappings>,
    reserve: u64,
}

/// All mappings ever made; the last is the one at `base`.
#[derive(Debug, Default)]
struct Mappings {
    all: Vec<MmapRaw>,
    /// Length of the last.
    covered: u64,
    /// Whether the kernel's read-ahead is off, and is to be for mappings to come.
    random: bool,
}

impl Map {
    /// Maps all of `file`, and room for it to grow to `reserve` bytes (or four times its length). With `populate`
    /// everything is read at once; `random` turns the kernel's read-ahead off (afterwards).
    ///
    /// # Errors
    /// `Unsupported` if the file has no descriptor; otherwise what the system says.
    pub(crate) fn new(file: &dyn File, reserve: u64, populate: bool, random: bool) -> io::Result<Self> {
        let map = Self {
            base: AtomicPtr::new(std::ptr::null_mut()),
            len: AtomicU64::new(0),
            mappings: Mutex::new(Mappings::default()),
            reserve,
        };
        map.follow(file)?;
        let mut mappings = map.mappings.lock();
        if populate {
            mappings.populate(map.len() as usize);
        }
        if random {
            mappings.all.iter().for_each(|mapping| advise(mapping, Advice::Random));
            mappings.random = true;
        }
        drop(mappings);
        Ok(map)
    }

    /// How many bytes may be touched.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// The bytes of a range, or `None` if some lie beyond the file.
    #[inline]
    pub(crate) fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        if offset.checked_add(len as u64)? > self.len() {
            return None;
        }
        let base = self.base.load(Ordering::Acquire);
        // SAFETY: the range lies below `len`, which was read first, so by invariant (2) it lies within the mapping
        // at `base` and within the file; by (1) that mapping outlives `&self`; by (3) nobody writes to the bytes.
        // They are initialised: they are a file's. `base` is not null, as a range below `len` needed a mapping, and
        // an empty one is asked of a map whose `new` has returned.
        Some(unsafe { std::slice::from_raw_parts(base.add(offset as usize), len) })
    }

    /// Makes all of the file, as long as it is now, readable. A file that was extended goes through here before
    /// its new bytes are touched.
    ///
    /// # Errors
    /// When the file's length cannot be had, or no mapping of that length.
    pub(crate) fn follow(&self, file: &dyn File) -> io::Result<()> {
        self.follow_locked(&mut self.mappings.lock(), file)
    }

    fn follow_locked(&self, mappings: &mut Mappings, file: &dyn File) -> io::Result<()> {
        let len = file.len()?;
        if len > mappings.covered || mappings.all.is_empty() {
            let fd = file.fd().ok_or(io::ErrorKind::Unsupported)?;
            let (mapping, covered) = map_at_least(fd, len, self.reserve)?;
            advise(&mapping, Advice::DontDump);
            if mappings.random {
                advise(&mapping, Advice::Random);
            }
            self.base.store(mapping.as_mut_ptr(), Ordering::Release);
            mappings.all.push(mapping);
            mappings.covered = covered;
        }
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    /// Cuts the file to `len` bytes.
    ///
    /// # Safety
    /// No reference into what lies beyond is alive or comes into being.
    ///
    /// # Errors
    /// Whatever the system says; then everything that the file holds stays readable.
    pub(crate) unsafe fn shorten(&self, file: &dyn File, len: u64) -> io::Result<()> {
        let mut mappings = self.mappings.lock();
        self.len.fetch_min(len, Ordering::AcqRel);
        let cut = file.set_len(len);
        self.follow_locked(&mut mappings, file)?;
        cut
    }

    /// How many mappings there are.
    #[cfg(test)]
    pub(crate) fn mappings(&self) -> usize {
        self.mappings.lock().all.len()
    }
}

impl Mappings {
    /// Reads `len` bytes into memory and the page tables. A hint: where the kernel refuses, it ends. (By read-ahead
    /// of the kernel's, so it goes before the advice that turns that off.)
    fn populate(&self, len: usize) {
        let Some(mapping) = self.all.last() else { return };
        for offset in (0..len).step_by(POPULATE_STEP) {
            let step = POPULATE_STEP.min(len - offset);
            if let Err(error) = mapping.advise_range(Advice::PopulateRead, offset, step) {
                tracing::warn!(%error, offset, "populating the map stopped");
                return;
            }
        }
    }
}

/// Advice is only advice: a kernel that refuses it is not an error.
fn advise(mapping: &MmapRaw, advice: Advice) {
    if let Err(error) = mapping.advise(advice) {
        tracing::debug!(%error, ?advice, "advice refused");
    }
}

/// A mapping of at least `len` bytes, of `reserve` or four times `len` if the system grants that, and its length.
fn map_at_least(fd: BorrowedFd<'_>, len: u64, reserve: u64) -> io::Result<(MmapRaw, u64)> {
    let least = len.max(1).checked_next_multiple_of(GRAIN).ok_or(io::ErrorKind::FileTooLarge)?;
    let wish = reserve.max(len.saturating_mul(4)).min(1 << 62);
    let mut size = wish.checked_next_multiple_of(GRAIN).unwrap_or(least).max(least);
    loop {
        let bytes = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match MmapOptions::new().len(bytes).map_raw_read_only(&fd) {
            Ok(mapping) => return Ok((mapping, size)),
            Err(e) if size == least => return Err(e),
            Err(_) => size = ((size / 2) & !(GRAIN - 1)).max(least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold_page_source::{FileSystem, MemFs, OsFs};
    use std::path::Path;
    use std::sync::Arc;

    fn file(len: u64) -> Arc<dyn File> {
        let file = MemFs::new().create_unnamed(Path::new("x")).unwrap();
        file.set_len(len).unwrap();
        file
    }

    #[test]
    fn an_outgrown_mapping_gets_a_successor_and_stays_where_it_was() {
        let file = file(GRAIN);
        file.write_at(&[7; 512], 0).unwrap();
        let map = Map::new(&*file, GRAIN, false, true).unwrap();
        let old = map.slice(0, 512).unwrap();
        assert_eq!(map.mappings(), 1);
        for len in [2 * GRAIN, 4 * GRAIN, 5 * GRAIN, 64 * GRAIN] {
            assert!(map.slice(len - 1, 1).is_none(), "not yet there");
            file.set_len(len).unwrap();
            file.write_at(&[9], len - 1).unwrap();
            map.follow(&*file).unwrap();
            assert_eq!(map.slice(len - 1, 1), Some(&[9][..]));
            assert_eq!(map.slice(0, 512), Some(&[7; 512][..]));
        }
        // 4 times the first length, then 4 times the 5 grains that did not fit, then 4 times 64.
        assert_eq!(map.mappings(), 3);
        assert_eq!(old, &[7; 512], "an address once given never moves");
    }

    #[test]
    fn nothing_beyond_the_file_is_ever_given() {
        let file = file(1000);
        let map = Map::new(&*file, 1 << 30, true, false).unwrap();
        assert_eq!(map.slice(1000, 0), Some(&[][..]));
        assert_eq!(map.slice(999, 1), Some(&[0][..]));
        for (offset, len) in [(999, 2), (1001, 0), (1 << 40, 1), (u64::MAX, 1), (0, usize::MAX)] {
            assert_eq!(map.slice(offset, len), None, "{offset} {len}");
        }
        // SAFETY: no reference into the file is alive.
        unsafe { map.shorten(&*file, 10) }.unwrap();
        assert_eq!(map.slice(9, 2), None);
        assert_eq!(file.len().unwrap(), 10);
    }

    #[test]
    fn an_empty_file_and_one_that_wants_more_room_than_there_is_are_mapped() {
        let file = file(0);
        for reserve in [0, 1, u64::MAX] {
            let map = Map::new(&*file, reserve, false, true).unwrap();
            assert_eq!(map.slice(0, 0), Some(&[][..]));
            assert_eq!(map.slice(0, 1), None);
        }
    }

    #[test]
    fn a_file_on_disk_is_populated_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = OsFs.create_new(&dir.path().join("f")).unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        file.write_at(&bytes, 0).unwrap();
        let map = Map::new(&*file, 1 << 40, true, true).unwrap();
        assert_eq!(map.slice(0, bytes.len()), Some(&bytes[..]));
    }
}
