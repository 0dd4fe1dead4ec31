//! Telling the kernel which pages will be wanted, when that is worth a system call.
//!
//! `POSIX_FADV_WILLNEED` on the file does what `MADV_WILLNEED` does on a map, without an address or the lock on the
//! address space. It costs most of a microsecond for each page that is resident already, so it is given only when
//! pages are probably cold. To find out, one page of a batch is asked for with a one-byte `preadv2(RWF_NOWAIT)`,
//! which fails on what is not resident; it also marks the page as used, which touches through a map advised to be
//! random do not. A page found cold makes the next batches be taken for cold too: with a share `p` of cold pages,
//! a batch then goes unadvised only while `p` is so small that this is cheaper.
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
/// After so many batches in a row whose probes were resident, cold pages are so rare that few batches have two of them
/// to overlap: then only every [`SKIP`]th batch is probed.
const SURE: u32 = 64;
/// See [`SURE`]: a probe costs most of a microsecond.
const SKIP: u32 = 4;
/// How many batches after a cold page are taken for cold.
const SUSPICION: u32 = 16;

/// What is known of the residency of the file's pages.
#[derive(Debug, Default)]
pub(crate) struct Advisor {
    /// Batches still to be taken for cold. Races lose a count, which costs a probe.
    suspicion: AtomicU32,
    /// Batches in a row whose probes were resident, as far as they are counted. Races lose some.
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
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if self.resident.load(Ordering::Relaxed) >= SURE && !turn.is_multiple_of(SKIP) {
            return;
        }
        let probe = pages[(turn / SKIP + turn) as usize % pages.len()];
        if !self.cold(fd, probe.page().offset(size), || pages.iter().all(|page| touched(*page))) {
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

    fn cold(&self, fd: BorrowedFd<'_>, offset: u64, otherwise_warm: impl Fn() -> bool) -> bool {
        let suspicion = self.suspicion.load(Ordering::Relaxed);
        match resident(fd, offset) {
            Some(true) => {
                if suspicion > 0 {
                    self.suspicion.store(suspicion - 1, Ordering::Relaxed);
                }
                let resident = self.resident.load(Ordering::Relaxed);
                if resident < SURE {
                    self.resident.store(resident + 1, Ordering::Relaxed);
                }
                suspicion > 0
            }
            Some(false) => {
                self.suspicion.store(SUSPICION, Ordering::Relaxed);
                self.resident.store(0, Ordering::Relaxed);
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
    fn who_is_sure_that_all_is_resident_probes_less_and_soon_finds_that_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![1; 4 << 20]).unwrap();
        let file = OsFs.open(&path, Access::ReadWrite).unwrap();
        file.sync().unwrap();
        let fd = file.fd().unwrap();
        let size = PageSize::new(4096).unwrap();
        let pages: Vec<PageRef> = (1..9).map(|n| PageRef::unchecked(PageId::new(n * 100).unwrap())).collect();
        let all_are = |wanted| pages.iter().all(|p| resident(fd, p.page().offset(size)) == Some(wanted));
        let advisor = Advisor::default();
        if !all_are(true) {
            println!("skipped: this file system does not tell what is resident");
            return;
        }
        let warm = || advisor.warm_pages(&*file, size, &pages, |_| false);
        (0..SURE).for_each(|_| warm());
        assert_eq!(advisor.resident.load(Ordering::Relaxed), SURE);
        assert_eq!(advisor.suspicion.load(Ordering::Relaxed), 0);
        // What a probe touches may come back, so twice.
        (0..2).for_each(|_| file.drop_cache(0, 0).unwrap());
        if !all_are(false) {
            println!("skipped: this file system keeps everything in memory");
            return;
        }
        file.drop_cache(0, 0).unwrap();
        (0..SKIP).for_each(|_| warm());
        assert!(advisor.suspicion.load(Ordering::Relaxed) > 0, "one of the next batches was probed");
        assert!(advisor.resident.load(Ordering::Relaxed) < SURE);
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
