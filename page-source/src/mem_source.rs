//! `MemSource`: the simplest correct page source, over any file. Tests hold the others against it.
//!
//! A page is read with one `read_at`, verified, and kept for ever as shared bytes; nothing is evicted, nothing read
//! ahead. So it needs no descriptor, no budget and no `unsafe` block; only the trait's unsafe methods are unsafe.

use crate::sync::Mutex;
use crate::{
    CHUNK_SIZE, ChunkCheck, Error, File, PageId, PageRef, PageSource, PageWrite, Result, SourceConfig,
    SourceStats, Visit, verify_page, write_pages,
};
use std::collections::HashMap;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

const BEYOND: &str = "it lies beyond the end of the file";

/// A page source that reads each page once and keeps it on the heap; without a bound, so for tests and small files.
#[derive(Debug)]
pub struct MemSource {
    file: Arc<dyn File>,
    config: SourceConfig,
    /// Never held over a call of the file.
    state: Mutex<State>,
    /// Held while the file grows or is cut, over the call; taken before `state`.
    resizing: Mutex<()>,
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
        let corrupt = |what| Error::Corrupt { page, what };
        let generation = {
            let state = self.state.lock();
            if page.get() >= state.len_pages {
                return Err(corrupt(BEYOND));
            }
            if let Some(bytes) = state.pages.get(&page) {
                let stored = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                if at.matches(stored) {
                    return Ok(Arc::clone(bytes));
                }
                return Err(corrupt("it is not the version its parent refers to"));
            }
            state.generation
        };
        let mut bytes = vec![0; self.config.page_size.bytes()];
        self.read(page, 0, &mut bytes)?;
        verify_page(self.config.file_id, at, &bytes)?;
        (self.config.validate)(&bytes).map_err(corrupt)?;
        let bytes: Arc<[u8]> = bytes.into();
        let mut state = self.state.lock();
        state.stats.pages_read += 1;
        state.stats.pages_verified += 1;
        if state.generation == generation {
            state.pages.insert(page, Arc::clone(&bytes));
        }
        Ok(bytes)
    }

    /// Fills `buf` from `skip` bytes behind the beginning of `page`. A file that ends there is damage.
    fn read(&self, page: PageId, skip: u64, buf: &mut [u8]) -> Result<()> {
        let offset = page.offset(self.config.page_size) + skip;
        self.file.read_at(buf, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::Corrupt { page, what: BEYOND },
            _ => Error::io("read", offset, e),
        })?;
        let mut state = self.state.lock();
        state.stats.reads += 1;
        state.stats.bytes_read += buf.len() as u64;
        Ok(())
    }

    /// What `range` of an extent may be read: an error unless all of it lies within the file.
    fn check_extent(&self, first: PageId, len: u64, range: &Range<u64>) -> Result<()> {
        let corrupt = |what| Err(Error::Corrupt { page: first, what });
        if range.start > range.end || range.end > len {
            return corrupt("a range beyond its extent was asked for");
        }
        let end = first.get().checked_add(self.config.page_size.pages_for(len));
        match end {
            Some(end) if end <= self.len_pages() => Ok(()),
            _ => corrupt("its extent lies beyond the end of the file"),
        }
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
                state.stats.bytes_written += self.config.page_size.bytes() as u64;
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
        let len = file.len().map_err(|e| Error::io("open", 0, e))?;
        let state = State { len_pages: len >> config.page_size.shift(), ..State::default() };
        Ok(Self { file, config, state: Mutex::new(state), resizing: Mutex::new(()) })
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
        self.check_extent(first, len, &range)?;
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
        let outcome = write_pages(&*self.file, self.config.page_size, writes);
        self.wrote(writes.iter().map(|w| w.at.page()), outcome)
    }

    unsafe fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()> {
        let offset = at.offset(self.config.page_size);
        let count = self.config.page_size.pages_for(bytes.len() as u64);
        debug_assert_eq!(bytes.len() % self.config.page_size.bytes(), 0, "an extent is whole pages");
        let outcome =
            self.file.write_at(bytes, offset).map(|()| 1).map_err(|e| Error::io("write", offset, e));
        self.wrote((0..count).map(|i| at.plus(i)), outcome)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|e| Error::io("sync", 0, e))?;
        self.state.lock().stats.syncs += 1;
        Ok(())
    }

    fn grow(&self, pages: u64) -> Result<()> {
        if pages <= self.len_pages() {
            return Ok(());
        }
        let _one_at_a_time = self.resizing.lock();
        let (now, shift) = (self.len_pages(), self.config.page_size.shift());
        if pages <= now {
            return Ok(());
        }
        let from = now << shift;
        if pages > PageId::MAX.get() + 1 {
            return Err(Error::io("grow", from, io::ErrorKind::FileTooLarge.into()));
        }
        let grown = self.file.allocate(from, (pages - now) << shift);
        // After a failure the file may be longer than before; what counts is what it says.
        if let Ok(len) = self.file.len() {
            let mut state = self.state.lock();
            state.len_pages = state.len_pages.max(len >> shift);
        }
        grown.map_err(|e| Error::io("grow", from, e))
    }

    unsafe fn shrink(&self, pages: u64) -> Result<()> {
        let _one_at_a_time = self.resizing.lock();
        if pages >= self.len_pages() {
            return Ok(());
        }
        let len = pages << self.config.page_size.shift();
        self.file.set_len(len).map_err(|e| Error::io("shrink", len, e))?;
        let mut state = self.state.lock();
        state.len_pages = pages;
        state.generation += 1;
        state.pages.retain(|page, _| page.get() < pages);
        Ok(())
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
            used_bytes: (state.pages.len() * self.config.page_size.bytes()) as u64,
            pages_pinned: pinned as u64,
            ..state.stats
        }
    }
}
