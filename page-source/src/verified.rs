//! What of a file was found whole: for sources that check a page, or a chunk of an extent, at its first reading only.
#![forbid(unsafe_code)]

use crate::{Bits, CHUNK_SIZE, PageId, PageRef, PageSize};
use std::ops::Range;

/// Pages and chunks of extents that were found whole since the file was opened or their place was written anew.
///
/// Chunks are kept apart, each by its first page: a page that a damaged reference takes for an extent is still checked
/// as one. Of two threads that check one place at once, both find the same.
#[derive(Debug, Default)]
pub struct Verified {
    pages: Bits,
    chunks: Bits,
}

/// The page at which chunk `chunk` of an extent that begins at `first` begins.
const fn chunk_page(size: PageSize, first: PageId, chunk: u64) -> u64 {
    first.get() + chunk * size.pages_for(CHUNK_SIZE as u64)
}

impl Verified {
    /// Whether `bytes`, the page at the place of `at`, need no check: the page was found whole, and it is the version
    /// that `at` refers to.
    #[inline]
    pub fn has(&self, at: PageRef, bytes: &[u8]) -> bool {
        let stored = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        self.has_page(at.page()) && at.matches(stored)
    }

    /// Whether some version of a page was found whole.
    #[inline]
    pub fn has_page(&self, page: PageId) -> bool {
        self.pages.contains(page.get())
    }

    /// A page was found whole.
    pub fn page(&self, page: PageId) {
        self.pages.insert(page.get());
    }

    /// Whether a chunk, counted from 0, of the extent from page `first` on was found whole.
    pub fn has_chunk(&self, size: PageSize, first: PageId, chunk: u64) -> bool {
        self.chunks.contains(chunk_page(size, first, chunk))
    }

    /// A chunk was found whole.
    pub fn chunk(&self, size: PageSize, first: PageId, chunk: u64) {
        self.chunks.insert(chunk_page(size, first, chunk));
    }

    /// Forgets all that begins in these pages.
    pub fn forget(&self, pages: Range<u64>) {
        self.pages.remove(pages.clone());
        self.chunks.remove(pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_in_one_version_and_no_chunk_by_it() {
        let (verified, page) = (Verified::default(), PageId::new(128).unwrap());
        let size = PageSize::new(512).unwrap();
        // A reference has the upper bits of a checksum.
        let (sum, other) = (77 << 50, 78 << 50);
        let bytes = u64::to_le_bytes(sum);
        let at = PageRef::new(page, sum);
        assert!(!verified.has(at, &bytes) && !verified.has_page(page));
        verified.page(page);
        assert!(verified.has(at, &bytes) && verified.has_page(page));
        assert!(!verified.has(PageRef::new(page, other), &bytes), "another version");
        assert!(!verified.has(at, &[]), "too short to have a checksum");
        assert!(!verified.has_chunk(size, page, 0), "an extent is checked as one");

        // Chunk 1 of an extent from page 0 on begins where the page is.
        verified.chunk(size, PageId::new(0).unwrap(), 1);
        assert!(verified.has_chunk(size, page, 0));
        verified.forget(127..128);
        assert!(verified.has_page(page) && verified.has_chunk(size, page, 0));
        verified.forget(128..129);
        assert!(!verified.has_page(page) && !verified.has_chunk(size, page, 0));
    }
}
