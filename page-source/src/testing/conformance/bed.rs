//! The bed a conformance test lies on: a source over a fresh file, and the calls whose safety is the test's to keep.
#![expect(unsafe_code, reason = "calls the source's unsafe methods for tests that keep their promise")]

use crate::testing::pages;
use crate::{Error, File, PageId, PageRef, PageSize, PageSource, PageWrite, Result, Visit};
use std::fmt::Debug;
use std::sync::Arc;

/// What a conformance test is run with.
#[derive(Clone, Copy)]
pub struct Setup<'a, S: PageSource> {
    /// The source's options.
    pub options: &'a S::Options,
    /// The page size.
    pub size: PageSize,
    /// Makes an empty file of its own for each call.
    pub file: &'a dyn Fn() -> Arc<dyn File>,
}

impl<S: PageSource> Debug for Setup<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("source", &S::NAME).field("size", &self.size).finish_non_exhaustive()
    }
}

/// A source over a file that the test can also reach beneath it.
pub(super) struct Bed<'a, S: PageSource> {
    pub(super) setup: &'a Setup<'a, S>,
    pub(super) file: Arc<dyn File>,
    pub(super) source: S,
}

impl<'a, S: PageSource> Bed<'a, S> {
    /// A source over a file of `pages` pages of zeros.
    pub(super) fn new(setup: &'a Setup<'a, S>, pages: u64) -> Self {
        let file = (setup.file)();
        let source = S::open(Arc::clone(&file), pages::config(setup.size), setup.options).unwrap();
        source.grow(pages).unwrap();
        assert_eq!(source.len_pages(), pages);
        Self { setup, file, source }
    }

    /// A bed whose pages from 1 on hold version 0, and the references to all of them by page number (page 0's is
    /// meaningless).
    pub(super) fn filled(setup: &'a Setup<'a, S>, pages: u64) -> (Self, Vec<PageRef>) {
        let bed = Self::new(setup, pages);
        let mut references = vec![PageRef::unchecked(pages::id(0))];
        let numbers: Vec<u64> = (1..pages).collect();
        for batch in numbers.chunks(50) {
            references.extend(bed.write(batch, 0));
        }
        (bed, references)
    }

    /// Another source over the same file, which has seen nothing yet; the old one is gone.
    pub(super) fn reopened(self) -> Self {
        drop(self.source);
        let source =
            S::open(Arc::clone(&self.file), pages::config(self.setup.size), self.setup.options).unwrap();
        Self { source, ..self }
    }

    /// Writes a version of some pages in one call. No view or pin of them may be alive.
    pub(super) fn write(&self, numbers: &[u64], version: u64) -> Vec<PageRef> {
        let made: Vec<_> = numbers.iter().map(|n| pages::page(self.setup.size, *n, version)).collect();
        let writes: Vec<_> =
            made.iter().map(|(at, bytes)| PageWrite { at: *at, replaces: None, bytes }).collect();
        self.try_write(&writes).unwrap();
        made.into_iter().map(|(at, _)| at).collect()
    }

    /// Writes pages. No view or pin of them may be alive.
    pub(super) fn try_write(&self, writes: &[PageWrite<'_>]) -> Result<()> {
        try_write(&self.source, writes)
    }

    /// Writes an extent's bytes. No span of them may be alive.
    pub(super) fn write_extent(&self, at: u64, bytes: &[u8]) {
        write_extent(&self.source, at, bytes);
    }

    /// Cuts the file. No view, pin or span of what lies beyond may be alive.
    pub(super) fn shrink(&self, pages: u64) {
        // SAFETY: every test of this suite has let go of the pages that it cuts off.
        unsafe { self.source.shrink(pages) }.unwrap();
    }

    /// Writes bytes beneath the source, to pages that it has not looked at yet.
    pub(super) fn plant(&self, page: u64, bytes: &[u8]) {
        self.file.write_at(bytes, pages::id(page).offset(self.setup.size)).unwrap();
    }

    /// Views a page, as pressure on a cache.
    pub(super) fn touch(&self, at: PageRef) {
        assert_eq!(self.source.visit().view(at).unwrap().len(), self.setup.size.bytes());
    }

    /// Checks that a page is readable, by all ways to read one, and holds a version.
    pub(super) fn expect(&self, at: PageRef, version: u64) {
        let (_, expected) = pages::page(self.setup.size, at.page().get(), version);
        let mut visit = self.source.visit();
        assert_same(visit.view(at).unwrap(), &expected, at.page());
        assert_same(&visit.hold(at).unwrap(), &expected, at.page());
        drop(visit);
        let mut shown = 0;
        self.source
            .view_each(&[at], &mut |index, bytes| {
                assert_eq!(index, 0);
                assert_same(bytes, &expected, at.page());
                shown += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(shown, 1);
    }

    /// Checks that a page is refused, by all ways to read one, with an error that names it.
    pub(super) fn expect_corrupt(&self, at: PageRef, why: &str) {
        let check = |outcome: Result<()>| match outcome {
            Err(Error::Corrupt { page, .. }) => assert_eq!(page, at.page(), "{why}: another page is blamed"),
            other => panic!("{why}: {other:?} for {:?}", at.page()),
        };
        check(self.source.visit().view(at).map(drop));
        check(self.source.visit().hold(at).map(drop));
        check(self.source.view_each(&[at], &mut |_, _| panic!("{why}: shown")));
    }
}

/// Writes pages, for threads that have no bed. No view or pin of them may be alive.
pub(super) fn try_write<S: PageSource>(source: &S, writes: &[PageWrite<'_>]) -> Result<()> {
    // SAFETY: every test of this suite has let go of the pages that it writes.
    unsafe { source.write(writes) }
}

/// Writes an extent's bytes, for threads that have no bed. No span of them may be alive.
pub(super) fn write_extent<S: PageSource>(source: &S, at: u64, bytes: &[u8]) {
    // SAFETY: every test of this suite has let go of the extents that it writes.
    unsafe { source.write_extent(pages::id(at), bytes) }.unwrap();
}

/// Like `assert_eq`, without printing pages.
pub(super) fn assert_same(got: &[u8], expected: &[u8], page: PageId) {
    if got != expected {
        let at = got.iter().zip(expected).position(|(a, b)| a != b);
        panic!(
            "{page:?} is not what it should be: {} bytes for {}, first difference at {at:?}",
            got.len(),
            expected.len()
        );
    }
}
