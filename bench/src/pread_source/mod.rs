//! `PreadSource`: a page source that reads every page each time it is looked at, with one buffered `pread`, which is
//! one copy out of the kernel's page cache. It has no cache of its own: it is what a mapping saves, and what a pool
//! saves too, and so the side that both are to be held against.
//!
//! Like the mapping it verifies a page at its first reading and remembers so in one bit. To verify every copy would
//! be another promise than either backend gives for a page in memory, and most of its time would be spent on
//! checksums rather than on what is to be compared, the call and the copy.
//!
//! Otherwise it does what is simplest. It asks for nothing ahead, so that the kernel's own read-ahead is all there is,
//! and many pages are read one after the other. Each visit reads into a buffer that its thread keeps; a pin is a
//! counted copy of its own.
#![expect(unsafe_code, reason = "the trait's unsafe methods; nothing here relies on the caller's promise")]

mod buffer;
mod count;

pub use buffer::PageBuf;

use bifold::{PageSource, SourceStats};
use bifold_page_source::{
    Bits, CHUNK_SIZE, ChunkCheck, Error, File, PageId, PageRef, PageWrite, Result, SourceConfig, Visit,
    verify_page, write_pages,
};
use count::Count;
use std::io;
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const BEYOND: &str = "it lies beyond the end of the file";

/// A page source without memory.
#[derive(Debug)]
pub struct PreadSource {
    file: Arc<dyn File>,
    config: SourceConfig,
    /// The file's length in whole pages.
    len: AtomicU64,
    /// Pages found whole.
    pages: Bits,
    /// Chunks of extents found whole, each by its first page: a page that a damaged reference takes for an extent is
    /// still checked as one.
    chunks: Bits,
    /// Held while the file grows or is cut, over the calls; no reader and no write takes it.
    resizing: Mutex<()>,
    pages_read: Count,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    pages_verified: AtomicU64,
    extent_reads: AtomicU64,
    extent_bytes: AtomicU64,
    pages_written: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
}

/// A visit to a [`PreadSource`]: the page it looks at, copied.
#[derive(Debug)]
pub struct PreadVisit<'s> {
    source: &'s PreadSource,
    current: Option<PageBuf>,
}

impl Visit for PreadVisit<'_> {
    type Pin = PageBuf;

    fn view(&mut self, page: PageRef) -> Result<&[u8]> {
        let buf = self.current.get_or_insert_with(|| self.source.buffer());
        self.source.read_page(page, buf)?;
        Ok(buf)
    }

    fn hold(&mut self, page: PageRef) -> Result<PageBuf> {
        let mut buf = self.source.buffer();
        self.source.read_page(page, &mut buf)?;
        Ok(buf)
    }
}

/// Bytes of an extent, copied.
#[derive(Debug)]
pub struct PreadSpan {
    bytes: Vec<u8>,
    range: Range<usize>,
}

impl Deref for PreadSpan {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

impl PreadSource {
    fn buffer(&self) -> PageBuf {
        PageBuf::take(self.config.page_size.bytes())
    }

    /// Reads a page, and verifies it if nobody has yet.
    fn read_page(&self, at: PageRef, buf: &mut PageBuf) -> Result<()> {
        let page = at.page();
        if page.get() >= self.len_pages() {
            return Err(Error::Corrupt { page, what: BEYOND });
        }
        let bytes = buf.bytes_mut();
        self.read(page, page.offset(self.config.page_size), bytes)?;
        self.pages_read.up();
        let stored = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        if self.pages.contains(page.get()) && at.matches(stored) {
            return Ok(());
        }
        self.verify(at, bytes)
    }

    #[cold]
    fn verify(&self, at: PageRef, bytes: &[u8]) -> Result<()> {
        verify_page(self.config.file_id, at, bytes)?;
        (self.config.validate)(bytes).map_err(|what| Error::Corrupt { page: at.page(), what })?;
        self.pages.insert(at.page().get());
        self.counts.pages_verified.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Fills `buf` from `offset`. A file that ends there is damage in `page`.
    fn read(&self, page: PageId, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_at(buf, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::Corrupt { page, what: BEYOND },
            _ => Error::io("read", offset, e),
        })
    }

    /// The chunks of an extent that `range` touches and that nobody has checked yet.
    fn unchecked_chunks(&self, first: PageId, range: &Range<u64>) -> Vec<u64> {
        let chunk_size = CHUNK_SIZE as u64;
        let chunks = range.start / chunk_size..range.end.div_ceil(chunk_size);
        chunks.filter(|chunk| !self.chunks.contains(self.chunk_page(first, *chunk))).collect()
    }

    /// The page at which a chunk of an extent begins.
    fn chunk_page(&self, first: PageId, chunk: u64) -> u64 {
        first.get() + chunk * self.config.page_size.pages_for(CHUNK_SIZE as u64)
    }

    /// Forgets that pages were found whole.
    fn forget(&self, pages: Range<u64>) {
        self.pages.remove(pages.clone());
        self.chunks.remove(pages);
    }

    /// Accounts for a write that has ended, up to page `end`.
    fn wrote(&self, pages: u64, end: u64, calls: u64) {
        self.len.fetch_max(end, Ordering::AcqRel);
        self.counts.pages_written.fetch_add(pages, Ordering::Relaxed);
        self.counts.writes.fetch_add(calls, Ordering::Relaxed);
    }
}

impl PageSource for PreadSource {
    type Options = ();
    type Pin<'s> = PageBuf;
    type Span<'s> = PreadSpan;
    type Visit<'s> = PreadVisit<'s>;

    const NAME: &'static str = "pread";

    fn open(file: Arc<dyn File>, config: SourceConfig, (): &()) -> Result<Self> {
        let len = file.len().map_err(|e| Error::io("open", 0, e))? >> config.page_size.shift();
        Ok(Self {
            file,
            config,
            len: AtomicU64::new(len),
            pages: Bits::default(),
            chunks: Bits::default(),
            resizing: Mutex::new(()),
            pages_read: Count::default(),
            counts: Counts::default(),
        })
    }

    #[inline]
    fn visit(&self) -> PreadVisit<'_> {
        PreadVisit { source: self, current: None }
    }

    /// One page after the other.
    fn view_each(&self, pages: &[PageRef], f: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let mut visit = self.visit();
        pages.iter().enumerate().try_for_each(|(i, page)| f(i, visit.view(*page)?))
    }

    /// Does nothing: there is nowhere to keep what would be read.
    fn prefetch(&self, _pages: &[PageRef]) {}

    /// One read: of the range, or of all chunks it touches if one of them is still to be checked.
    fn extent(&self, first: PageId, len: u64, range: Range<u64>, check: ChunkCheck<'_>) -> Result<PreadSpan> {
        let corrupt = |what| Error::Corrupt { page: first, what };
        if range.start > range.end || range.end > len {
            return Err(corrupt("a range beyond its extent was asked for"));
        }
        let end = first.get().checked_add(self.config.page_size.pages_for(len));
        if end.is_none_or(|end| end > self.len_pages()) {
            return Err(corrupt("its extent lies beyond the end of the file"));
        }
        if range.is_empty() {
            return Ok(PreadSpan { bytes: Vec::new(), range: 0..0 });
        }
        let (unchecked, chunk_size) = (self.unchecked_chunks(first, &range), CHUNK_SIZE as u64);
        let read = if unchecked.is_empty() {
            range.clone()
        } else {
            range.start / chunk_size * chunk_size..range.end.next_multiple_of(chunk_size).min(len)
        };
        let (count, offset) = ((read.end - read.start) as usize, first.offset(self.config.page_size));
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(count)
            .map_err(|_| Error::io("read", offset, io::ErrorKind::OutOfMemory.into()))?;
        bytes.resize(count, 0);
        self.read(first, offset + read.start, &mut bytes)?;
        self.counts.extent_reads.fetch_add(1, Ordering::Relaxed);
        self.counts.extent_bytes.fetch_add(count as u64, Ordering::Relaxed);
        for chunk in unchecked {
            let start = (chunk * chunk_size - read.start) as usize;
            check(chunk, &bytes[start..(start + CHUNK_SIZE).min(count)])?;
            self.chunks.insert(self.chunk_page(first, chunk));
        }
        let range = (range.start - read.start) as usize..(range.end - read.start) as usize;
        Ok(PreadSpan { bytes, range })
    }

    unsafe fn write(&self, writes: &[PageWrite<'_>]) -> Result<()> {
        let mut end = 0;
        for write in writes {
            let page = write.at.page().get();
            self.forget(page..page + 1);
            end = end.max(page + 1);
        }
        let calls = write_pages(&*self.file, self.config.page_size, writes)?;
        self.wrote(writes.len() as u64, end, calls);
        Ok(())
    }

    unsafe fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()> {
        let offset = at.offset(self.config.page_size);
        let count = self.config.page_size.pages_for(bytes.len() as u64);
        debug_assert_eq!(bytes.len() % self.config.page_size.bytes(), 0, "an extent is whole pages");
        self.forget(at.get()..at.get() + count);
        self.file.write_at(bytes, offset).map_err(|e| Error::io("write", offset, e))?;
        self.wrote(count, at.get() + count, 1);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|e| Error::io("sync", 0, e))?;
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn grow(&self, pages: u64) -> Result<()> {
        if pages <= self.len_pages() {
            return Ok(());
        }
        let _one_at_a_time = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, shift) = (self.len_pages(), self.config.page_size.shift());
        if pages <= now {
            return Ok(());
        }
        let from = now << shift;
        if pages > PageId::MAX.get() + 1 {
            return Err(Error::io("grow", from, io::ErrorKind::FileTooLarge.into()));
        }
        let grown = self.file.allocate(from, (pages - now) << shift);
        // Also after a failure the file may be longer than before; what counts is what it says.
        if let Ok(len) = self.file.len() {
            self.len.fetch_max(len >> shift, Ordering::AcqRel);
        }
        grown.map_err(|e| Error::io("grow", from, e))
    }

    unsafe fn shrink(&self, pages: u64) -> Result<()> {
        let _one_at_a_time = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.len_pages();
        if pages >= before {
            return Ok(());
        }
        self.forget(pages..before);
        let len = pages << self.config.page_size.shift();
        self.file.set_len(len).map_err(|e| Error::io("shrink", len, e))?;
        self.len.store(pages, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn len_pages(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    fn discard(&self, pages: Range<PageId>) {
        self.forget(pages.start.get()..pages.end.get());
    }

    fn stats(&self) -> SourceStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (counts, size) = (&self.counts, self.config.page_size.bytes() as u64);
        let mut stats = SourceStats::default();
        stats.pages_read = self.pages_read.get();
        stats.bytes_read = stats.pages_read * size + read(&counts.extent_bytes);
        stats.reads = stats.pages_read + read(&counts.extent_reads);
        stats.pages_verified = read(&counts.pages_verified);
        stats.pages_written = read(&counts.pages_written);
        stats.bytes_written = stats.pages_written * size;
        stats.writes = read(&counts.writes);
        stats.syncs = read(&counts.syncs);
        stats
    }
}
