//! `MemSource`: the simplest correct page source, over any file. Tests hold the others against it.
//!
//! A page is read with one `read_at`, verified, and kept for ever as shared bytes; nothing is evicted, nothing read
//! ahead. So it needs no descriptor, no budget and no `unsafe` block; only the trait's unsafe methods are unsafe.

use crate::sync::Mutex;
use crate::{
    CHUNK_SIZE, ChunkCheck, Error, File, PageFile, PageId, PageRef, PageSource, PageWrite, Result,
    SourceConfig, SourceStats, Visit,
};
use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A page source that reads each page once and keeps it on the heap; without a bound, so for tests and small files.
#[derive(Debug)]
pub struct MemSource {
    file: PageFile,
    /// Never held over a call of the file.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pages: HashMap<PageId, Arc<[u8]>>,
    /// Counts everything that may doom a load in flight. A load that began under another count is not kept.
    generation: u64,
    len_pages: u64,
    stats: SourceStats,
}

/// A page or the bytes of an extent, kept.
#[derive(Clone, Debug)]
pub struct MemPin(Arc<[u8]>);

impl Deref for MemPin {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A visit to a [`MemSource`].
#[derive(Debug)]
pub struct MemVisit<'s> {
    source: &'s MemSource,
    current: Option<Arc<[u8]>>,
}

impl Visit for MemVisit<'_> {
    type Pin = MemPin;

    fn view(&mut self, page: PageRef) -> Result<&[u8]> {
        Ok(self.current.insert(self.source.page(page)?))
    }

    fn hold(&mut self, page: PageRef) -> Result<MemPin> {
        self.source.page(page).map(MemPin)
    }
}

impl MemSource {
    fn page(&self, at: PageRef) -> Result<Arc<[u8]>> {
        let page = at.page();
        let generation = {
            let state = self.state.lock();
            if page.get() >= state.len_pages {
                return Err(PageFile::beyond(page));
            }
            if let Some(bytes) = state.pages.get(&page) {
                let stored = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                if at.matches(stored) {
                    return Ok(Arc::clone(bytes));
                }
                return Err(Error::Corrupt { page, what: "it is not the version its parent refers to" });
            }
            state.generation
        };
        let mut bytes = vec![0; self.file.page_size().bytes()];
        self.read(page, 0, &mut bytes)?;
        self.file.verify(at, &bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        let mut state = self.state.lock();
        state.stats.pages_read += 1;
        state.stats.pages_verified += 1;
        if state.generation == generation {
            state.pages.insert(page, Arc::clone(&bytes));
        }
        Ok(bytes)
    }

    /// Fills `buf` from `skip` bytes behind the beginning of `page`, and counts it.
    fn read(&self, page: PageId, skip: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read(page, skip, buf)?;
        let mut state = self.state.lock();
        state.stats.reads += 1;
        state.stats.bytes_read += buf.len() as u64;
        Ok(())
    }

    /// Ends a write to `pages`: drops what was cached of them and dooms what is being read. Loads that begin later
    /// see what was written, so doing this once, at the end, is enough.
    fn wrote(&self, pages: impl Iterator<Item = PageId>, outcome: Result<u64>) -> Result<()> {
        let mut state = self.state.lock();
        state.generation += 1;
        for page in pages {
            state.pages.remove(&page);
            if outcome.is_ok() {
                state.len_pages = state.len_pages.max(page.get() + 1);
                state.stats.pages_written += 1;
                state.stats.bytes_written += self.file.page_size().bytes() as u64;
            }
        }
        state.stats.writes += outcome?;
        Ok(())
    }
}

#[expect(unsafe_code, reason = "the trait's unsafe methods; nothing here relies on the caller's promise")]
impl PageSource for MemSource {
    type Options = ();
    type Pin<'s> = MemPin;
    type Span<'s> = MemPin;
    type Visit<'s> = MemVisit<'s>;

    const NAME: &'static str = "memory";

    fn open(file: Arc<dyn File>, config: SourceConfig, (): &()) -> Result<Self> {
        let file = PageFile::new(file, config);
        let len_pages = file.len_pages().map_err(|e| Error::io("open", 0, e))?;
        Ok(Self { file, state: Mutex::new(State { len_pages, ..State::default() }) })
    }

    fn visit(&self) -> MemVisit<'_> {
        MemVisit { source: self, current: None }
    }

    fn view_each(&self, pages: &[PageRef], f: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        pages.iter().enumerate().try_for_each(|(i, page)| f(i, &self.page(*page)?))
    }

    /// Does nothing: nothing here reads in the background.
    fn prefetch(&self, _pages: &[PageRef]) {}

    fn extent(&self, first: PageId, len: u64, range: Range<u64>, check: ChunkCheck<'_>) -> Result<MemPin> {
        self.file.check_extent(first, len, &range, self.len_pages())?;
        let mut out = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let chunk = at / CHUNK_SIZE as u64;
            let start = chunk * CHUNK_SIZE as u64;
            let mut bytes = vec![0; (len - start).min(CHUNK_SIZE as u64) as usize];
            self.read(first, start, &mut bytes)?;
            check(chunk, &bytes)?;
            let end = (start + bytes.len() as u64).min(range.end);
            out.extend_from_slice(&bytes[(at - start) as usize..(end - start) as usize]);
            at = end;
        }
        Ok(MemPin(out.into()))
    }

    unsafe fn write(&self, writes: &[PageWrite<'_>]) -> Result<()> {
        let outcome = self.file.write_pages(writes);
        self.wrote(writes.iter().map(|w| w.at.page()), outcome)
    }

    unsafe fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()> {
        let count = self.file.page_size().pages_for(bytes.len() as u64);
        let outcome = self.file.write_extent(at, bytes, |_| {});
        self.wrote((0..count).map(|i| at.plus(i)), outcome)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()?;
        self.state.lock().stats.syncs += 1;
        Ok(())
    }

    fn grow(&self, pages: u64) -> Result<()> {
        let follow = |_: &dyn File| {
            let len = self.file.len_pages()?;
            let mut state = self.state.lock();
            state.len_pages = state.len_pages.max(len);
            Ok(())
        };
        self.file.grow(pages, || self.len_pages(), follow)
    }

    unsafe fn shrink(&self, pages: u64) -> Result<()> {
        let cut = |file: &dyn File, _: Range<u64>, bytes| {
            file.set_len(bytes)?;
            let mut state = self.state.lock();
            state.len_pages = pages;
            state.generation += 1;
            state.pages.retain(|page, _| page.get() < pages);
            Ok(())
        };
        self.file.shrink(pages, || self.len_pages(), cut)
    }

    fn len_pages(&self) -> u64 {
        self.state.lock().len_pages
    }

    fn discard(&self, pages: Range<PageId>) {
        let mut state = self.state.lock();
        state.generation += 1;
        let end = pages.end.get().min(state.len_pages);
        for number in pages.start.get()..end {
            state.pages.remove(&pages.start.plus(number - pages.start.get()));
        }
    }

    fn stats(&self) -> SourceStats {
        let state = self.state.lock();
        let pinned = state.pages.values().filter(|bytes| Arc::strong_count(bytes) > 1).count();
        SourceStats {
            used_bytes: (state.pages.len() * self.file.page_size().bytes()) as u64,
            pages_pinned: pinned as u64,
            ..state.stats
        }
    }
}
