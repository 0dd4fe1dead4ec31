//! `StaleViewSource`: a source that catches whoever breaks the promise of immutable pages.
//!
//! What it shows are copies. A view's copy is overwritten with [`POISON`] when the visit moves on or ends, and kept
//! allocated for a while, so that whoever held on to it reads nonsense instead of luck. Places that someone is
//! looking at are known, and writing to one, or cutting it off, panics with its number: that would be a write beneath
//! a reader. So are places that someone is writing, for as long as the call lasts: looking at one panics, and so does
//! a second write. When a pin is let go of, the place beneath it must still hold what it held.

use crate::sync::Mutex;
use crate::{
    ChunkCheck, File, PageId, PageRef, PageSize, PageSource, PageWrite, Result, SourceConfig, SourceStats,
    Visit,
};
use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// What stale copies are overwritten with.
pub const POISON: u8 = 0xDB;

/// How many stale copies are kept allocated.
const GRAVES: usize = 256;

/// A source that behaves like `S` and panics where its user breaks a promise.
#[derive(Debug)]
pub struct StaleViewSource<S> {
    inner: S,
    size: PageSize,
    uses: Mutex<Uses>,
    graves: Mutex<VecDeque<Box<[u8]>>>,
}

/// The places in use, by token.
#[derive(Debug, Default)]
struct Uses {
    looks: HashMap<u64, (Range<u64>, &'static str)>,
    writes: HashMap<u64, (Range<u64>, &'static str)>,
    next: u64,
}

/// Places that are in use for as long as this lives.
#[derive(Debug)]
struct Use<'s> {
    uses: &'s Mutex<Uses>,
    token: u64,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let mut uses = self.uses.lock();
        if uses.looks.remove(&self.token).is_none() {
            uses.writes.remove(&self.token);
        }
    }
}

/// A use of one of these pages, if there is one: the first page of both, and what the use is.
fn found(
    among: &HashMap<u64, (Range<u64>, &'static str)>,
    pages: &Range<u64>,
) -> Option<(u64, &'static str)> {
    let (at, how) = among.values().find(|(at, _)| at.start < pages.end && pages.start < at.end)?;
    Some((at.start.max(pages.start), how))
}

impl<S> StaleViewSource<S> {
    /// Notes that someone looks at these pages; panics if one is being written.
    fn look(&self, pages: Range<u64>, what: &'static str) -> Use<'_> {
        let mut uses = self.uses.lock();
        if let Some((page, how)) = found(&uses.writes, &pages) {
            drop(uses);
            panic!("a {what} of page {page} comes into being while it is {how}");
        }
        let token = uses.next;
        uses.next += 1;
        uses.looks.insert(token, (pages, what));
        Use { uses: &self.uses, token }
    }

    /// Notes that these pages are being written; panics if someone looks at one, or writes one.
    fn change(&self, pages: Range<u64>, what: &'static str) -> Use<'_> {
        let mut uses = self.uses.lock();
        if let Some((page, how)) = found(&uses.looks, &pages) {
            drop(uses);
            panic!("page {page} is {what} while a {how} of it is alive");
        }
        if let Some((page, how)) = found(&uses.writes, &pages) {
            drop(uses);
            panic!("page {page} is {what} while it is {how}");
        }
        let token = uses.next;
        uses.next += 1;
        uses.writes.insert(token, (pages, what));
        Use { uses: &self.uses, token }
    }

    fn bury(&self, mut bytes: Box<[u8]>) {
        bytes.fill(POISON);
        let mut graves = self.graves.lock();
        if graves.len() == GRAVES {
            graves.pop_front();
        }
        graves.push_back(bytes);
    }
}

/// A visit whose views turn to poison.
#[derive(Debug)]
pub struct StaleVisit<'s, S: PageSource> {
    inner: S::Visit<'s>,
    source: &'s StaleViewSource<S>,
    current: Option<(Box<[u8]>, Use<'s>)>,
}

impl<S: PageSource> StaleVisit<'_, S> {
    fn move_on(&mut self) {
        if let Some((bytes, _look)) = self.current.take() {
            self.source.bury(bytes);
        }
    }
}

impl<S: PageSource> Drop for StaleVisit<'_, S> {
    fn drop(&mut self) {
        self.move_on();
    }
}

impl<'s, S: PageSource> Visit for StaleVisit<'s, S> {
    type Pin = StalePin<'s, S>;

    fn view(&mut self, page: PageRef) -> Result<&[u8]> {
        self.move_on();
        let number = page.page().get();
        let look = self.source.look(number..number + 1, "view");
        let bytes = self.inner.view(page)?.into();
        Ok(&self.current.insert((bytes, look)).0)
    }

    fn soon(&mut self, page: PageRef) {
        self.inner.soon(page);
    }

    fn hold(&mut self, page: PageRef) -> Result<StalePin<'s, S>> {
        self.move_on();
        let number = page.page().get();
        let look = self.source.look(number..number + 1, "pin");
        let inner = self.inner.hold(page)?;
        let bytes = Some(inner[..].into());
        Ok(StalePin(Arc::new(Held { inner, bytes, source: self.source, page: page.page(), _look: look })))
    }
}

/// A pin that is checked when it is let go of.
#[derive(Debug)]
pub struct StalePin<'s, S: PageSource>(Arc<Held<'s, S, S::Pin<'s>>>);

/// A span that is checked when it is let go of.
#[derive(Debug)]
pub struct StaleSpan<'s, S: PageSource>(Held<'s, S, S::Span<'s>>);

#[derive(Debug)]
struct Held<'s, S, P: Deref<Target = [u8]>> {
    inner: P,
    /// Always there until the drop takes it.
    bytes: Option<Box<[u8]>>,
    source: &'s StaleViewSource<S>,
    page: PageId,
    _look: Use<'s>,
}

impl<S, P: Deref<Target = [u8]>> Held<'_, S, P> {
    fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(&[])
    }
}

impl<S, P: Deref<Target = [u8]>> Drop for Held<'_, S, P> {
    fn drop(&mut self) {
        let same = self.inner[..] == *self.bytes();
        if let Some(bytes) = self.bytes.take() {
            self.source.bury(bytes);
        }
        assert!(same || std::thread::panicking(), "{:?} has changed while it was held", self.page);
    }
}

impl<S: PageSource> Clone for StalePin<'_, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: PageSource> Deref for StalePin<'_, S> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl<S: PageSource> Deref for StaleSpan<'_, S> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

#[expect(
    unsafe_code,
    reason = "the trait's unsafe methods, passed on with their condition, after checking it"
)]
impl<S: PageSource> PageSource for StaleViewSource<S> {
    type Options = S::Options;
    type Pin<'s> = StalePin<'s, S>;
    type Span<'s> = StaleSpan<'s, S>;
    type Visit<'s> = StaleVisit<'s, S>;

    const NAME: &'static str = S::NAME;

    fn open(file: Arc<dyn File>, config: SourceConfig, options: &S::Options) -> Result<Self> {
        let inner = S::open(file, config, options)?;
        Ok(Self { inner, size: config.page_size, uses: Mutex::default(), graves: Mutex::default() })
    }

    fn visit(&self) -> StaleVisit<'_, S> {
        StaleVisit { inner: self.inner.visit(), source: self, current: None }
    }

    fn view_each(&self, pages: &[PageRef], f: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        let _looks: Vec<_> =
            pages.iter().map(|page| self.look(page.page().get()..page.page().get() + 1, "view")).collect();
        self.inner.view_each(pages, &mut |index, bytes| {
            let copy: Box<[u8]> = bytes.into();
            let outcome = f(index, &copy);
            self.bury(copy);
            outcome
        })
    }

    fn prefetch(&self, pages: &[PageRef]) {
        self.inner.prefetch(pages);
    }

    fn extent(
        &self,
        first: PageId,
        len: u64,
        range: Range<u64>,
        check: ChunkCheck<'_>,
    ) -> Result<StaleSpan<'_, S>> {
        let shift = self.size.shift();
        let from = first.get().saturating_add(range.start >> shift);
        let to = first.get().saturating_add(self.size.pages_for(range.end));
        let look = self.look(from..to, "span");
        let inner = self.inner.extent(first, len, range, check)?;
        let bytes = Some(inner[..].into());
        Ok(StaleSpan(Held { inner, bytes, source: self, page: first, _look: look }))
    }

    unsafe fn write(&self, writes: &[PageWrite<'_>]) -> Result<()> {
        let runs = writes.chunk_by(|a, b| a.at.page().plus(1) == b.at.page());
        let _changes: Vec<_> = runs
            .map(|run| {
                let first = run[0].at.page().get();
                self.change(first..first + run.len() as u64, "written")
            })
            .collect();
        // SAFETY: our caller's promise is the same.
        unsafe { self.inner.write(writes) }
    }

    unsafe fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()> {
        let pages = self.size.pages_for(bytes.len() as u64);
        let _change = self.change(at.get()..at.get() + pages, "written");
        // SAFETY: our caller's promise is the same.
        unsafe { self.inner.write_extent(at, bytes) }
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn grow(&self, pages: u64) -> Result<()> {
        self.inner.grow(pages)
    }

    unsafe fn shrink(&self, pages: u64) -> Result<()> {
        let _change = self.change(pages..self.inner.len_pages().max(pages), "cut off");
        // SAFETY: our caller's promise is the same.
        unsafe { self.inner.shrink(pages) }
    }

    fn len_pages(&self) -> u64 {
        self.inner.len_pages()
    }

    fn discard(&self, pages: Range<PageId>) {
        self.inner.discard(pages);
    }

    fn stats(&self) -> SourceStats {
        self.inner.stats()
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "breaks the promise on purpose, over a source that does not need it")]
mod tests {
    use super::*;
    use crate::testing::pages::{config, id, page};
    use crate::{FileSystem, MemFs, MemSource};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    const SIZE: PageSize = PageSize::MIN;

    fn source() -> (StaleViewSource<MemSource>, Vec<PageRef>, Arc<dyn File>) {
        let file = MemFs::new().create_unnamed(Path::new("x")).unwrap();
        let source = StaleViewSource::open(Arc::clone(&file), config(SIZE), &()).unwrap();
        source.grow(8).unwrap();
        let references = (0..8).map(|n| write(&source, n)).collect();
        (source, references, file)
    }

    fn write(source: &StaleViewSource<MemSource>, n: u64) -> PageRef {
        let (at, bytes) = page(SIZE, n, 0);
        // SAFETY: the memory source hands out shared copies and relies on no promise.
        unsafe { source.write(&[PageWrite { at, replaces: None, bytes: &bytes }]) }.unwrap();
        at
    }

    fn panic_of(f: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("it was not noticed");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn stale_copies_are_poisoned() {
        let (source, at, _) = source();
        let mut visit = source.visit();
        visit.view(at[1]).unwrap();
        assert!(source.graves.lock().is_empty());
        visit.view(at[2]).unwrap();
        assert_eq!(source.graves.lock().len(), 1);
        drop(visit);
        drop(source.visit().hold(at[3]).unwrap());
        source.view_each(&at, &mut |_, _| Ok(())).unwrap();
        let graves = source.graves.lock();
        assert_eq!(graves.len(), 3 + at.len());
        assert!(graves.iter().all(|bytes| bytes.len() == 512 && bytes.iter().all(|b| *b == POISON)));
        assert!(source.uses.lock().looks.is_empty());
    }

    #[test]
    fn a_write_beneath_a_view_a_pin_or_a_span_is_a_panic_that_names_the_page() {
        let (source, at, _) = source();
        let mut visit = source.visit();
        visit.view(at[5]).unwrap();
        assert_eq!(
            panic_of(|| assert_eq!(write(&source, 5), at[5])),
            "page 5 is written while a view of it is alive"
        );
        visit.view(at[6]).unwrap();
        write(&source, 5);
        drop(visit);
        let pin = source.visit().hold(at[5]).unwrap();
        let twin = pin.clone();
        drop(pin);
        assert_eq!(
            panic_of(|| assert_eq!(write(&source, 5), at[5])),
            "page 5 is written while a pin of it is alive"
        );
        source.discard(id(5)..id(6));
        write(&source, 4);
        drop(twin);
        write(&source, 5);
        let span = source.extent(id(2), 2048, 600..1200, &|_, _| Ok(())).unwrap();
        write(&source, 2);
        write(&source, 5);
        let bytes = [0; 512];
        let beneath = panic_of(|| {
            // SAFETY: as in `write`.
            let _ = unsafe { source.write_extent(id(4), &bytes) };
        });
        assert_eq!(beneath, "page 4 is written while a span of it is alive");
        // SAFETY: as in `write`.
        let cut = panic_of(|| drop(unsafe { source.shrink(1) }));
        assert!(cut.contains("is cut off while a span of it is alive"), "{cut}");
        drop(span);
        // SAFETY: as in `write`.
        unsafe { source.shrink(1) }.unwrap();
    }

    #[test]
    fn a_look_or_a_write_beneath_a_write_is_a_panic_that_names_the_page() {
        let (source, at, _) = source();
        let change = source.change(3..6, "written");
        let looked = panic_of(|| drop(source.visit().hold(at[5])));
        assert_eq!(looked, "a pin of page 5 comes into being while it is written");
        let spanned = panic_of(|| drop(source.extent(id(1), 2048, 600..2000, &|_, _| Ok(()))));
        assert_eq!(spanned, "a span of page 3 comes into being while it is written");
        assert_eq!(
            panic_of(|| assert_eq!(write(&source, 4), at[4])),
            "page 4 is written while it is written"
        );
        source.visit().view(at[6]).unwrap();
        source.prefetch(&at);
        source.discard(id(0)..id(8));
        drop(change);
        source.visit().view(at[5]).unwrap();
        assert!(source.uses.lock().looks.is_empty() && source.uses.lock().writes.is_empty());
    }
}
