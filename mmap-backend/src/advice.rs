//! Telling the kernel which pages will be wanted, when that is worth a system call.
//!
//! `POSIX_FADV_WILLNEED` on the file does what `MADV_WILLNEED` does on a map, without an address or the lock on the
//! address space. It costs most of a microsecond for each page that is resident already, so it is given only when
//! pages are probably cold. To find out, one page of a batch is asked for with a one-byte `preadv2(RWF_NOWAIT)`,
//! which fails on what is not resident; it also marks the page as used, which touches through a map advised to be
//! random do not. A page found cold makes the next batches be taken for cold too: with a share `p` of cold pages,
//! a batch then goes unadvised only while `p` is so small that this is cheaper. After many batches in a row whose
//! probes were resident, only some of the small ones are probed, as a probe costs more than it could spare them.
#![forbid(unsafe_code)]

use bifold_page_source::{File, PageRef, PageSize};
use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// The kernel cuts one advice to its read-ahead window, whose default this is, so longer ranges are said in pieces.
const STEP: u64 = 128 * 1024;
/// After so many batches in a row that were probed and not taken for cold, few pages are cold, and a batch of at most [`SMALL`] has
/// seldom two of them to overlap: then one small batch in four is probed.
const SURE: u32 = 64;
/// See [`SURE`]. A probe costs most of a microsecond, which is little beside a larger batch.
const SMALL: usize = 16;
/// How many batches after a cold page are taken for cold.
const SUSPICION: u32 = 16;

/// What is known of the residency of the file's pages.
#[derive(Debug, Default)]
pub(crate) struct Advisor {
    /// Batches still to be taken for cold. Races lose a count, which costs a probe.
    suspicion: AtomicU32,
    /// Batches of pages in a row that were probed and not taken for cold. Races lose some.
    resident: AtomicU32,
    /// Moves the probe through the batches.
    turn: AtomicU32,
}

impl Advisor {
    /// Starts to read `pages` if they are probably cold. `touched` tells whether a page has been looked at since
    /// the file was opened; it decides where the kernel cannot say what is resident.
    pub(crate) fn warm_pages(
        &self,
        file: &dyn File,
        size: PageSize,
        pages: &[PageRef],
        touched: impl Fn(PageRef) -> bool,
    ) {
        let (Some(fd), false) = (file.fd(), pages.is_empty()) else { return };
        let Some(probe) = self.probe(pages.len()) else { return };
        let offset = pages[probe].page().offset(size);
        let cold = self.cold(fd, offset, || pages.iter().all(|page| touched(*page)));
        let row = if cold { 0 } else { self.resident.load(Ordering::Relaxed).saturating_add(1) };
        self.resident.store(row, Ordering::Relaxed);
        if !cold {
            return;
        }
        let mut numbers: Vec<u64> = pages.iter().map(|page| page.page().get()).collect();
        numbers.sort_unstable();
        for run in numbers.chunk_by(|a, b| b - a <= 1) {
            let (first, last) = (run[0], run[run.len() - 1]);
            will_need(fd, first << size.shift()..(last + 1) << size.shift());
        }
    }

    /// Starts to read a range of bytes if its beginning is probably cold.
    pub(crate) fn warm_bytes(&self, file: &dyn File, range: Range<u64>) {
        if let Some(fd) = file.fd()
            && self.cold(fd, range.start, || false)
        {
            will_need(fd, range);
        }
    }

    /// Which page of a batch of `len` to probe, if any.
    fn probe(&self, len: usize) -> Option<usize> {
        // Mixed by the golden ratio (Knuth, "The Art of Computer Programming", 6.4), so that whatever alternates, as
        // the levels of a tree do, none is left out for long.
        let mixed = self.turn.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9);
        if len <= SMALL && mixed >> 30 != 0 && self.resident.load(Ordering::Relaxed) >= SURE {
            return None;
        }
        Some((mixed >> 8) as usize % len.max(1))
    }

    fn cold(&self, fd: BorrowedFd<'_>, offset: u64, otherwise_warm: impl Fn() -> bool) -> bool {
        let suspicion = self.suspicion.load(Ordering::Relaxed);
        match resident(fd, offset) {
            Some(true) => {
                if suspicion > 0 {
                    self.suspicion.store(suspicion - 1, Ordering::Relaxed);
                }
                suspicion > 0
            }
            Some(false) => {
                self.suspicion.store(SUSPICION, Ordering::Relaxed);
                true
            }
            None => !otherwise_warm(),
        }
    }
}

/// Whether the page at `offset` is in memory; `None` where the kernel does not say.
fn resident(fd: BorrowedFd<'_>, offset: u64) -> Option<bool> {
    let mut byte = [0];
    match rustix::io::preadv2(fd, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
        Ok(_) => Some(true),
        Err(Errno::AGAIN) => Some(false),
        Err(_) => None,
    }
}

/// Advice may be refused; what it was about is then read when it is touched.
fn will_need(fd: BorrowedFd<'_>, range: Range<u64>) {
    let mut at = range.start;
    while let Some(len) = NonZeroU64::new(STEP.min(range.end.saturating_sub(at))) {
        if rustix::fs::fadvise(fd, at, Some(len), Advice::WillNeed).is_err() {
            return;
        }
        at += len.get();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold_page_source::{Access, FileSystem, OsFs, PageId};

    #[test]
    fn pages_dropped_from_memory_are_found_cold_and_make_the_next_batches_suspect() {
        const AT: u64 = 3 << 20;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 4 << 20]).unwrap();
        let file = OsFs.open(&path, Access::ReadWrite).unwrap();
        file.sync().unwrap();
        let advisor = Advisor::default();
        let fd = file.fd().unwrap();
        if resident(fd, AT) != Some(true) {
            println!("skipped: this file system does not tell what is resident");
            return;
        }
        assert!(!advisor.cold(fd, AT, || false), "just written");
        file.drop_cache(0, 0).unwrap();
        if resident(fd, AT) != Some(false) {
            println!("skipped: this file system keeps everything in memory");
            return;
        }
        file.drop_cache(0, 0).unwrap();
        assert!(advisor.cold(fd, AT, || true));
        let mut byte = [0];
        file.read_at(&mut byte, AT).unwrap();
        for left in (0..SUSPICION).rev() {
            assert!(advisor.cold(fd, AT, || true), "{left} batches more are taken for cold");
        }
        assert!(!advisor.cold(fd, AT, || false));
    }

    #[test]
    fn who_is_sure_probes_one_small_batch_in_four_and_none_of_those_that_alternate_is_left_out() {
        let advisor = Advisor::default();
        let probed = |lens: &[usize], turns: usize| {
            let mut probed = vec![0; lens.len()];
            for turn in 0..turns {
                probed[turn % lens.len()] += usize::from(advisor.probe(lens[turn % lens.len()]).is_some());
            }
            probed
        };
        assert_eq!(probed(&[8], 1000), [1000], "nothing is sure yet");
        advisor.resident.store(SURE, Ordering::Relaxed);
        for levels in 1..9 {
            for (level, probed) in probed(&vec![8; levels], 1000 * levels).into_iter().enumerate() {
                assert!((150..350).contains(&probed), "{probed} of 1000, level {level} of {levels}");
            }
        }
        assert_eq!(probed(&[SMALL + 1, 1000], 2000), [1000, 1000], "a large batch is worth a probe");
        for len in 1..=SMALL {
            let mut seen = vec![false; len];
            (0..4000).filter_map(|_| advisor.probe(len)).for_each(|at| seen[at] = true);
            assert!(seen.iter().all(|seen| *seen), "each of {len} is probed at some time: {seen:?}");
        }
        advisor.turn.store(u32::MAX, Ordering::Relaxed);
        assert!((0..8).any(|_| advisor.probe(4).is_some()), "turns may wrap");
    }

    #[test]
    fn a_cold_page_ends_being_sure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 4 << 20]).unwrap();
        let file = OsFs.open(&path, Access::ReadWrite).unwrap();
        file.sync().unwrap();
        let (fd, size) = (file.fd().unwrap(), PageSize::new(4096).unwrap());
        let pages = [PageRef::unchecked(PageId::new(700).unwrap())];
        let offset = pages[0].page().offset(size);
        if resident(fd, offset) != Some(true) {
            println!("skipped: this file system does not tell what is resident");
            return;
        }
        let advisor = Advisor::default();
        let warm = || advisor.warm_pages(&*file, size, &pages, |_| false);
        (0..SURE).for_each(|_| warm());
        assert_eq!(advisor.resident.load(Ordering::Relaxed), SURE);
        file.drop_cache(0, 0).unwrap();
        if resident(fd, offset) != Some(false) {
            println!("skipped: this file system keeps everything in memory");
            return;
        }
        file.drop_cache(0, 0).unwrap();
        (0..16).for_each(|_| warm());
        // What the first probe began to read may be there when the next one looks.
        let (suspicion, sure) = (&advisor.suspicion, &advisor.resident);
        assert!(suspicion.load(Ordering::Relaxed) > 0 && sure.load(Ordering::Relaxed) < SURE);
    }

    #[test]
    fn hints_about_places_beyond_the_file_are_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 8192]).unwrap();
        let file = OsFs.open(&path, Access::ReadOnly).unwrap();
        let advisor = Advisor::default();
        let far = [1, 7, 1 << 20, (1 << 40) - 1].map(|n| PageRef::unchecked(PageId::new(n).unwrap()));
        for _ in 0..far.len() {
            advisor.warm_pages(&*file, PageSize::MAX, &far, |_| false);
        }
        advisor.warm_pages(&*file, PageSize::MIN, &[], |_| false);
        advisor.warm_bytes(&*file, 1 << 40..(1 << 40) + STEP);
        assert_eq!(file.len().unwrap(), 8192);
    }
}
