//! Memory that is mapped to be touched: anonymous, of small pages or of huge ones, and a file's.
//!
//! A file's bytes are read one word at a time and never lent as a slice, as the kernel may write to them. A disk that
//! fails under a mapped file ends the process with `SIGBUS`; that is how mappings are, and one of the things to know
//! of them.
#![expect(unsafe_code, reason = "mapping a file, and giving mapped pages back to the kernel")]

use super::file::PAGE;
use crate::Result;
use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw, UncheckedAdvice};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a huge page.
pub(super) const HUGE: usize = 2 << 20;

/// The pages that anonymous memory is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// Of 4 KiB, or whatever the system's are.
    Small,
    /// Of 2 MiB, where the system has them.
    Huge,
}

impl Pages {
    /// Bytes of one.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Small => PAGE,
            Self::Huge => HUGE,
        }
    }
}

/// Anonymous memory that begins where a huge page may.
#[derive(Debug)]
pub(super) struct Anonymous {
    map: MmapMut,
    start: usize,
    len: usize,
}

impl Anonymous {
    /// `len` bytes, rounded up to whole huge pages. None of them is touched yet.
    ///
    /// # Errors
    /// If the system has not that much address space, or no such pages.
    pub(super) fn new(len: usize, pages: Pages) -> Result<Self> {
        let len = len.max(1).next_multiple_of(HUGE);
        let map = MmapMut::map_anon(len + HUGE)?;
        let start = map.as_ptr().align_offset(HUGE);
        if start > HUGE {
            return Err("no address of a huge page in a mapping".into());
        }
        let advice = if pages == Pages::Huge { Advice::HugePage } else { Advice::NoHugePage };
        match map.advise(advice) {
            // A kernel without huge pages need not be told to use none.
            Err(error) if pages == Pages::Huge => Err(format!("huge pages are refused: {error}").into()),
            _ => Ok(Self { map, start, len }),
        }
    }

    /// The memory.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map[self.start..self.start + self.len]
    }

    /// The memory.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map[self.start..self.start + self.len]
    }

    /// Gives all pages back, so that the next touch of each is a fault and finds zeros.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn forget(&mut self) -> Result<()> {
        // SAFETY: the mapping is private, anonymous and all of it is ours; its bytes become zeros, which are bytes,
        // and `&mut self` says that nobody holds a reference to them.
        unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, self.start, self.len)? };
        Ok(())
    }

    /// How many of its bytes lie in huge pages, as the kernel says; `None` if it does not.
    pub(super) fn huge_bytes(&self) -> Option<u64> {
        let (from, to) = (self.bytes().as_ptr() as u64, self.bytes().as_ptr() as u64 + self.len as u64);
        let (mut within, mut kib) = (false, None);
        for line in fs::read_to_string("/proc/self/smaps").ok()?.lines() {
            let first = line.split_ascii_whitespace().next().unwrap_or_default();
            if let Some((begin, end)) = first.split_once('-') {
                let parse = |hex| u64::from_str_radix(hex, 16).ok();
                within = matches!((parse(begin), parse(end)), (Some(begin), Some(end)) if begin < to && end > from);
            } else if let Some(rest) = line.strip_prefix("AnonHugePages:").filter(|_| within) {
                let here: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
                kib = Some(kib.unwrap_or(0) + here);
            }
        }
        // Mappings of one kind that touch are one to the kernel, so a neighbour's pages may be among them.
        kib.map(|kib| (kib << 10).min(self.len as u64))
    }
}

/// A file's first bytes, mapped shared to be read.
#[derive(Debug)]
pub(super) struct FileMap {
    map: MmapRaw,
    pages: u64,
}

impl FileMap {
    /// Maps `pages` pages of `file`, which has them. With `random` the kernel reads no page that was not asked for.
    ///
    /// # Errors
    /// If the file is shorter; what the system says.
    pub(super) fn new(file: &File, pages: u64, random: bool) -> Result<Self> {
        let len = pages * PAGE as u64;
        if len == 0 || file.metadata()?.len() < len {
            return Err("a file is shorter than what is to be mapped of it".into());
        }
        let map = MmapOptions::new().len(usize::try_from(len)?).map_raw_read_only(file)?;
        if random {
            map.advise(Advice::Random)?;
        }
        Ok(Self { map, pages })
    }

    /// Pages mapped.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// Touches a page and returns its first word, if it is mapped.
    #[expect(clippy::cast_ptr_alignment, reason = "a page's first byte is aligned for any word")]
    #[inline]
    pub(super) fn touch(&self, page: u64) -> Option<u64> {
        if page >= self.pages {
            return None;
        }
        // SAFETY: the word lies within the mapping, which is `pages` pages long, and is aligned as a page is. The
        // file was that long when it was mapped, has no name and is never shortened, so the word is a file's byte
        // and not the void behind its end. No reference is made, and the read is volatile, so it does not matter that
        // the kernel may write there; any bytes are a `u64`.
        Some(unsafe { self.map.as_ptr().add(page as usize * PAGE).cast::<u64>().read_volatile() })
    }

    /// Unmaps all pages, so that the next touch of each is a fault; what is in the page cache stays there.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn forget(&self) -> Result<()> {
        // SAFETY: the mapping is of a file, shared and never written to, so its bytes are the same afterwards, and
        // nobody holds a reference to them.
        unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed)? };
        Ok(())
    }
}

/// A file without a name in `dir`, of so many bytes, all of which are written and durable.
///
/// # Errors
/// What the system says.
pub(crate) fn filled(dir: &Path, bytes: u64) -> Result<File> {
    let file = tempfile::tempfile_in(dir)?;
    let block = vec![1; 1 << 20];
    for at in (0..bytes).step_by(block.len()) {
        let len = block.len().min((bytes - at) as usize);
        file.write_all_at(&block[..len], at)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// A file's bytes, mapped shared to be written: what a store that writes through its mapping does.
#[derive(Debug)]
pub(crate) struct WrittenMap(MmapMut);

impl WrittenMap {
    /// Maps a new file in `dir`, of so many bytes, all of which are written and durable.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn new(dir: &Path, bytes: u64) -> Result<Self> {
        let file = filled(dir, bytes)?;
        // SAFETY: the file has no name, and its only descriptor is closed at the end of this function, so that nobody
        // writes to it or shortens it but through this mapping.
        Ok(Self(unsafe { MmapMut::map_mut(&file)? }))
    }

    /// Writes a page; `false` if it lies beyond the file.
    pub(crate) fn write(&mut self, page: u64, bytes: &[u8; PAGE]) -> bool {
        let at = page as usize * PAGE;
        self.0.get_mut(at..at + PAGE).is_some_and(|to| {
            to.copy_from_slice(bytes);
            true
        })
    }

    /// Makes all of it durable (`msync` with `MS_SYNC`).
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn sync(&self) -> Result<()> {
        Ok(self.0.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_memory_is_zero_and_begins_at_a_huge_page() {
        let mut memory = Anonymous::new(1, Pages::Small).unwrap();
        assert_eq!((memory.bytes().len(), memory.bytes().as_ptr().align_offset(HUGE)), (HUGE, 0));
        memory.bytes_mut().fill(7);
        memory.forget().unwrap();
        assert!(memory.bytes().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn small_pages_are_not_huge() {
        let mut memory = Anonymous::new(2 * HUGE, Pages::Small).unwrap();
        memory.bytes_mut().fill(7);
        assert_eq!(memory.huge_bytes(), Some(0));
    }

    #[test]
    fn a_mapping_ends_where_its_file_does() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 * PAGE as u64).unwrap();
        let map = FileMap::new(&file, 2, true).unwrap();
        assert_eq!((map.touch(1), map.touch(2), map.touch(u64::MAX)), (Some(0), None, None));
        map.forget().unwrap();
        assert_eq!(map.touch(0), Some(0));
        assert!(FileMap::new(&file, 3, false).is_err());
        assert!(FileMap::new(&file, 0, false).is_err());
    }
}
