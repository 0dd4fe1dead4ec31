//! `MmapSource`: the page source over a map.
//!
//! A page is verified at its first touch since it was opened or rewritten, and one bit remembers that; after that a
//! view is a bounds check, a bit and a slice. Two threads may verify one page at once: both find the same.
//! Extents are checked once a chunk.

use crate::advice::Advisor;
use crate::faults::Faults;
use crate::map::Map;
use crate::options::Options;
use bifold_page_source::{
    CHUNK_SIZE, ChunkCheck, Error, File, PageFile, PageId, PageRef, PageSource, PageWrite, Result,
    SourceConfig, SourceStats, Verified, Visit, prefetch_ends, prefetch_held, prefetch_viewed,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far ahead of the check an extent is read.
const WINDOW: u64 = 4 << 20;
/// What is no longer than this is left to page faults.
const READ_AT_ONCE: u64 = 16 << 10;

/// The kernel is asked to write back pieces of this size, once all of one has been written.
const WRITE_BACK: u64 = 64 << 10;

/// A memory-mapped file of pages.
///
/// Nobody else may change the file while this lives. An I/O error of the disk beneath a page that is touched is the
/// signal `SIGBUS`, not an error value; a page beyond the end of the file is never touched.
#[derive(Debug)]
pub struct MmapSource {
    file: PageFile,
    map: Map,
    verified: Verified,
    advisor: Advisor,
    counts: Counts,
    faults_at_open: Faults,
}

#[derive(Debug, Default)]
struct Counts {
    pages_verified: AtomicU64,
    pages_written: AtomicU64,
    bytes_written: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
}

/// A visit to a [`MmapSource`]: nothing but a reference.
#[derive(Clone, Copy, Debug)]
pub struct MmapVisit<'s> {
    source: &'s MmapSource,
}

impl<'s> Visit for MmapVisit<'s> {
    type Pin = &'s [u8];

    #[inline]
    fn view(&mut self, page: PageRef) -> Result<&[u8]> {
        self.source.page(page, prefetch_viewed)
    }

    #[inline]
    fn soon(&mut self, page: PageRef) {
        let size = self.source.file.page_size();
        if let Some(bytes) = self.source.map.slice(page.page().offset(size), size.bytes()) {
            prefetch_ends(bytes);
        }
    }

    #[inline]
    fn hold(&mut self, page: PageRef) -> Result<&'s [u8]> {
        self.source.page(page, prefetch_held)
    }
}

impl MmapSource {
    #[inline]
    fn page(&self, at: PageRef, prefetch: impl FnOnce(&[u8])) -> Result<&[u8]> {
        let size = self.file.page_size();
        let Some(bytes) = self.map.slice(at.page().offset(size), size.bytes()) else {
            return Err(PageFile::beyond(at.page()));
        };
        prefetch(bytes);
        if self.verified.has(at, bytes) {
            return Ok(bytes);
        }
        self.verify(at, bytes)?;
        Ok(bytes)
    }

    #[cold]
    fn verify(&self, at: PageRef, bytes: &[u8]) -> Result<()> {
        self.file.verify(at, bytes)?;
        self.verified.page(at.page());
        self.counts.pages_verified.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Starts to read pages if they are probably cold.
    fn warm(&self, pages: &[PageRef]) {
        let touched = |page: PageRef| self.verified.has_page(page.page());
        self.advisor.warm_pages(self.file.file(), self.file.page_size(), pages, touched);
    }

    /// Checks the chunks that `range` touches, each at its first touch, reading ahead of the check.
    fn check_chunks(
        &self,
        first: PageId,
        data: &[u8],
        range: &Range<u64>,
        check: ChunkCheck<'_>,
    ) -> Result<()> {
        let (chunk_size, page_size) = (CHUNK_SIZE as u64, self.file.page_size());
        let base = first.offset(page_size);
        let mut warmed = range.start / chunk_size * chunk_size;
        for chunk in range.start / chunk_size..range.end.div_ceil(chunk_size) {
            let start = chunk * chunk_size;
            let good = self.verified.has_chunk(page_size, first, chunk);
            // What was checked before is read at the user's pace: only its beginning is read ahead.
            if start == warmed && (!good || start <= range.start) {
                warmed = (start + WINDOW).min(range.end);
                if warmed - start > READ_AT_ONCE {
                    self.advisor.warm_bytes(self.file.file(), base + start..base + warmed);
                }
            }
            if !good {
                let end = (start as usize + CHUNK_SIZE).min(data.len());
                check(chunk, &data[start as usize..end])?;
                self.verified.chunk(page_size, first, chunk);
            }
        }
        Ok(())
    }

    /// Has the kernel begin to write back what was just written, so that little is left for the sync to come, and
    /// other files' syncs do not find everything before them at once. What was written stays in the page cache.
    fn write_back(&self, written: Range<u64>) {
        let pieces = whole_pieces(&written);
        if !pieces.is_empty() {
            self.file.file().start_writeback(pieces.start, pieces.end - pieces.start);
        }
    }

    /// Accounts for a write that has ended, and lets what it added to the file be seen.
    fn wrote(&self, pages: u64, end: u64, calls: u64) -> Result<()> {
        if end > self.map.len() {
            self.map.follow(self.file.file()).map_err(|e| Error::io("map", end, e))?;
        }
        let bytes = pages << self.file.page_size().shift();
        self.counts.pages_written.fetch_add(pages, Ordering::Relaxed);
        self.counts.bytes_written.fetch_add(bytes, Ordering::Relaxed);
        self.counts.writes.fetch_add(calls, Ordering::Relaxed);
        Ok(())
    }
}

#[expect(unsafe_code, reason = "the trait's unsafe methods, and the map's, which has the same condition")]
impl PageSource for MmapSource {
    type Options = Options;
    type Pin<'s> = &'s [u8];
    type Span<'s> = &'s [u8];
    type Visit<'s> = MmapVisit<'s>;

    const NAME: &'static str = "mmap";

    fn open(file: Arc<dyn File>, config: SourceConfig, options: &Options) -> Result<Self> {
        let map = Map::new(&*file, options.reserve_bytes, options.populate, !options.read_ahead)
            .map_err(|e| Error::io("map", 0, e))?;
        Ok(Self {
            file: PageFile::new(file, config),
            map,
            verified: Verified::default(),
            advisor: Advisor::default(),
            counts: Counts::default(),
            faults_at_open: Faults::now(),
        })
    }

    #[inline]
    fn visit(&self) -> MmapVisit<'_> {
        MmapVisit { source: self }
    }

    /// One page after the other, with reads of all of them begun first if they are probably cold.
    fn view_each(&self, pages: &[PageRef], f: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        if pages.len() > 1 {
            self.warm(pages);
        }
        pages.iter().enumerate().try_for_each(|(i, page)| f(i, self.page(*page, prefetch_held)?))
    }

    fn prefetch(&self, pages: &[PageRef]) {
        self.warm(pages);
    }

    fn extent(&self, first: PageId, len: u64, range: Range<u64>, check: ChunkCheck<'_>) -> Result<&[u8]> {
        self.file.check_extent(first, len, &range, self.len_pages())?;
        let data = self.map.slice(first.offset(self.file.page_size()), len as usize);
        let data = data.ok_or_else(|| PageFile::beyond(first))?;
        if !range.is_empty() {
            self.check_chunks(first, data, &range, check)?;
        }
        Ok(&data[range.start as usize..range.end as usize])
    }

    unsafe fn write(&self, writes: &[PageWrite<'_>]) -> Result<()> {
        let (mut end, shift) = (0, self.file.page_size().shift());
        for write in writes {
            let page = write.at.page().get();
            self.verified.forget(page..page + 1);
            end = end.max((page + 1) << shift);
        }
        let calls = self.file.write_pages(writes)?;
        for run in writes.chunk_by(|a, b| a.at.page().plus(1) == b.at.page()) {
            let first = run[0].at.page().get();
            self.write_back(first << shift..(first + run.len() as u64) << shift);
        }
        self.wrote(writes.len() as u64, end, calls)
    }

    unsafe fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()> {
        let pages = at.get()..at.get() + self.file.page_size().pages_for(bytes.len() as u64);
        self.verified.forget(pages.clone());
        let calls = self.file.write_extent(at, bytes, |written| self.write_back(written))?;
        self.wrote(pages.end - pages.start, pages.end << self.file.page_size().shift(), calls)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()?;
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn grow(&self, pages: u64) -> Result<()> {
        self.file.grow(pages, || self.len_pages(), |file| self.map.follow(file))
    }

    unsafe fn shrink(&self, pages: u64) -> Result<()> {
        let cut = |file: &dyn File, gone: Range<u64>, bytes| {
            self.verified.forget(gone);
            // SAFETY: our caller promises of the pages beyond what the map asks of the bytes.
            unsafe { self.map.shorten(file, bytes) }
        };
        self.file.shrink(pages, || self.len_pages(), cut)
    }

    #[inline]
    fn len_pages(&self) -> u64 {
        self.map.len() >> self.file.page_size().shift()
    }

    fn discard(&self, pages: Range<PageId>) {
        self.verified.forget(pages.start.get()..pages.end.get());
    }

    fn stats(&self) -> SourceStats {
        let faults = Faults::now().since(self.faults_at_open);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut stats = SourceStats::default();
        stats.pages_verified = read(&self.counts.pages_verified);
        stats.pages_written = read(&self.counts.pages_written);
        stats.bytes_written = read(&self.counts.bytes_written);
        stats.writes = read(&self.counts.writes);
        stats.syncs = read(&self.counts.syncs);
        stats.major_faults = faults.major;
        stats.minor_faults = faults.minor;
        stats
    }
}

/// The pieces that writing `written` has ended, for someone who writes from front to back: what a call leaves of its
/// last piece goes with the next call, and is not written twice.
fn whole_pieces(written: &Range<u64>) -> Range<u64> {
    written.start / WRITE_BACK * WRITE_BACK..written.end / WRITE_BACK * WRITE_BACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_from_front_to_back_are_written_back_once_and_but_for_the_last_piece() {
        for step in [4096, WRITE_BACK - 512, WRITE_BACK, WRITE_BACK + 512, 5 * WRITE_BACK + 4096] {
            let mut upto = 3 * WRITE_BACK;
            let mut at = upto + 1024;
            for _ in 0..100 {
                let pieces = whole_pieces(&(at..at + step));
                if !pieces.is_empty() {
                    assert_eq!(pieces.start, upto, "steps of {step}");
                    upto = pieces.end;
                }
                at += step;
            }
            assert!(upto <= at && at - upto < WRITE_BACK, "steps of {step}");
        }
    }
}
