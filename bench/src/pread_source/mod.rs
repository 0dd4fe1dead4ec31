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
    CHUNK_SIZE, ChunkCheck, Error, File, PageFile, PageId, PageRef, PageWrite, Result, SourceConfig,
    Verified, Visit,
};
use count::Count;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A page source without memory.
#[derive(Debug)]
pub struct PreadSource {
    file: PageFile,
    /// The file's length in whole pages.
    len: AtomicU64,
    verified: Verified,
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
        PageBuf::take(self.file.page_size().bytes())
    }

    /// Reads a page, and verifies it if nobody has yet.
    fn read_page(&self, at: PageRef, buf: &mut PageBuf) -> Result<()> {
        let page = at.page();
        if page.get() >= self.len_pages() {
            return Err(PageFile::beyond(page));
        }
        let bytes = buf.bytes_mut();
        self.file.read(page, 0, bytes)?;
        self.pages_read.up();
        if self.verified.has(at, bytes) { Ok(()) } else { self.verify(at, bytes) }
    }

    #[cold]
    fn verify(&self, at: PageRef, bytes: &[u8]) -> Result<()> {
        self.file.verify(at, bytes)?;
        self.verified.page(at.page());
        self.counts.pages_verified.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The chunks of an extent that `range` touches and that nobody has checked yet.
    fn unchecked_chunks(&self, first: PageId, range: &Range<u64>) -> Vec<u64> {
        let chunk_size = CHUNK_SIZE as u64;
        let chunks = range.start / chunk_size..range.end.div_ceil(chunk_size);
        chunks.filter(|chunk| !self.verified.has_chunk(self.file.page_size(), first, *chunk)).collect()
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
        let file = PageFile::new(file, config);
        let len = file.len_pages().map_err(|e| Error::io("open", 0, e))?;
        Ok(Self {
            file,
            len: AtomicU64::new(len),
            verified: Verified::default(),
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
        self.file.check_extent(first, len, &range, self.len_pages())?;
        if range.is_empty() {
            return Ok(PreadSpan { bytes: Vec::new(), range: 0..0 });
        }
        let (unchecked, chunk_size) = (self.unchecked_chunks(first, &range), CHUNK_SIZE as u64);
        let read = if unchecked.is_empty() {
            range.clone()
        } else {
            range.start / chunk_size * chunk_size..range.end.next_multiple_of(chunk_size).min(len)
        };
        let (count, offset) = ((read.end - read.start) as usize, first.offset(self.file.page_size()));
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(count)
            .map_err(|_| Error::io("read", offset, io::ErrorKind::OutOfMemory.into()))?;
        bytes.resize(count, 0);
        self.file.read(first, read.start, &mut bytes)?;
        self.counts.extent_reads.fetch_add(1, Ordering::Relaxed);
        self.counts.extent_bytes.fetch_add(count as u64, Ordering::Relaxed);
        for chunk in unchecked {
            let start = (chunk * chunk_size - read.start) as usize;
            check(chunk, &bytes[start..(start + CHUNK_SIZE).min(count)])?;
            self.verified.chunk(self.file.page_size(), first, chunk);
        }
        let range = (range.start - read.start) as usize..(range.end - read.start) as usize;
        Ok(PreadSpan { bytes, range })
    }

    unsafe fn write(&self, writes: &[PageWrite<'_>]) -> Result<()> {
        let mut end = 0;
        for write in writes {
            let page = write.at.page().get();
            self.verified.forget(page..page + 1);
            end = end.max(page + 1);
        }
        let calls = self.file.write_pages(writes)?;
        self.wrote(writes.len() as u64, end, calls);
        Ok(())
    }

    unsafe fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()> {
        let pages = at.get()..at.get() + self.file.page_size().pages_for(bytes.len() as u64);
        self.verified.forget(pages.clone());
        let calls = self.file.write_extent(at, bytes, |_| {})?;
        self.wrote(pages.end - pages.start, pages.end, calls);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()?;
        self.counts.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn grow(&self, pages: u64) -> Result<()> {
        let follow = |_: &dyn File| {
            self.len.fetch_max(self.file.len_pages()?, Ordering::AcqRel);
            Ok(())
        };
        self.file.grow(pages, || self.len_pages(), follow)
    }

    unsafe fn shrink(&self, pages: u64) -> Result<()> {
        let cut = |file: &dyn File, gone: Range<u64>, bytes| {
            self.verified.forget(gone);
            file.set_len(bytes)?;
            self.len.store(pages, Ordering::Release);
            Ok(())
        };
        self.file.shrink(pages, || self.len_pages(), cut)
    }

    #[inline]
    fn len_pages(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    fn discard(&self, pages: Range<PageId>) {
        self.verified.forget(pages.start.get()..pages.end.get());
    }

    fn stats(&self) -> SourceStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (counts, size) = (&self.counts, self.file.page_size().bytes() as u64);
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
