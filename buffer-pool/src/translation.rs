//! Translation: one word for each page of the file, in an array that never moves.
//!
//! Address space for every page a file may come to have is reserved at opening; memory is taken when a word is
//! first written. A bitmap knows which system pages of the array that has happened to, so that the budget can be
//! kept and a range can be walked without touching what was never used.
#![expect(unsafe_code, reason = "zeroed anonymous memory as an array of atomic words")]

use crate::arena::reserve;
use crate::word::Cell;
use bifold_page_source::PageId;
use memmap2::MmapRaw;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Words reserved where the system lets us: 2^35 pages, 128 TiB of file at 4 KiB.
const WORDS_WANTED: u64 = 1 << 35;
/// Bytes that the bitmap counts as one; not less than a system page is wrong only in stating too little.
const BLOCK: u64 = 4096;
const WORDS_PER_BLOCK: u64 = BLOCK / 8;

/// The words of all pages.
#[derive(Debug)]
pub(crate) struct Translation {
    words: MmapRaw,
    touched: MmapRaw,
    capacity: u64,
    touched_blocks: AtomicUsize,
}

impl Translation {
    /// An array for at least `pages` pages.
    ///
    /// # Errors
    /// When the address space cannot be had, or no file can be that long.
    pub(crate) fn new(pages: u64) -> io::Result<Self> {
        let mut capacity = WORDS_WANTED.max(pages.next_power_of_two());
        loop {
            match Self::with_capacity(capacity) {
                Ok(translation) => return Ok(translation),
                // Limits on address space or on overcommitment: a smaller reservation limits the file's growth.
                Err(_) if capacity / 2 >= pages.max(1 << 20) => capacity /= 2,
                Err(e) => return Err(e),
            }
        }
    }

    fn with_capacity(capacity: u64) -> io::Result<Self> {
        let too_long = || io::Error::from(io::ErrorKind::FileTooLarge);
        let bytes = capacity.checked_mul(8).and_then(|n| usize::try_from(n).ok()).ok_or_else(too_long)?;
        let words = reserve(bytes)?;
        let touched = reserve(usize::try_from(capacity / WORDS_PER_BLOCK / 8).unwrap_or(0).max(8))?;
        Ok(Self { words, touched, capacity, touched_blocks: AtomicUsize::new(0) })
    }

    /// How many pages there are words for.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Memory taken by words so far, in bytes.
    pub(crate) fn bytes_touched(&self) -> u64 {
        self.touched_blocks.load(Ordering::Relaxed) as u64 * BLOCK
    }

    /// Bytes of translation for a file of `pages` pages, all of them used.
    pub(crate) const fn bytes_for(pages: u64) -> u64 {
        pages.div_ceil(WORDS_PER_BLOCK) * BLOCK
    }

    /// The word of a page, or `None` if there is no room for one.
    #[inline]
    pub(crate) fn get(&self, page: PageId) -> Option<Cell<'_>> {
        (page.get() < self.capacity).then(|| Cell::new(Self::atomic(&self.words, page.get())))
    }

    /// Notes that a page's word is about to be written for the first time. Returns whether that takes more memory.
    pub(crate) fn touch(&self, page: PageId) -> bool {
        let (bits, mask) = self.bit(page.get() / WORDS_PER_BLOCK);
        if bits.load(Ordering::Relaxed) & mask != 0 || bits.fetch_or(mask, Ordering::Relaxed) & mask != 0 {
            return false;
        }
        self.touched_blocks.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Whether the page's word may be written without taking more memory than `limit` bytes in all.
    pub(crate) fn has_room_for(&self, page: PageId, limit: u64) -> bool {
        if page.get() >= self.capacity {
            return false;
        }
        let (bits, mask) = self.bit(page.get() / WORDS_PER_BLOCK);
        bits.load(Ordering::Relaxed) & mask != 0 || self.bytes_touched() + BLOCK <= limit
    }

    /// The pages of `range` whose words may be other than zero, as ranges.
    pub(crate) fn used(&self, range: Range<PageId>) -> impl Iterator<Item = PageId> {
        let (start, end) = (range.start.get(), range.end.get().min(self.capacity));
        let blocks = start / WORDS_PER_BLOCK..end.div_ceil(WORDS_PER_BLOCK);
        let blocks = blocks.filter(|&block| {
            let (bits, mask) = self.bit(block);
            bits.load(Ordering::Relaxed) & mask != 0
        });
        blocks
            .flat_map(move |block| {
                let first = block * WORDS_PER_BLOCK;
                first.max(start)..(first + WORDS_PER_BLOCK).min(end)
            })
            .filter_map(PageId::new)
    }

    fn bit(&self, block: u64) -> (&AtomicU64, u64) {
        (Self::atomic(&self.touched, block / 64), 1 << (block % 64))
    }

    #[inline]
    #[expect(clippy::cast_ptr_alignment, reason = "mappings are aligned to a system page")]
    fn atomic(map: &MmapRaw, index: u64) -> &AtomicU64 {
        debug_assert!((index as usize) < map.len() / 8, "within the mapping");
        // SAFETY: callers keep `index` within the mapping (`get` by `capacity`; blocks follow from pages); mappings
        // are aligned to a system page, zeroed, live as long as `map`, and are only ever used as atomic words.
        unsafe { &*map.as_ptr().cast::<AtomicU64>().add(index as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cost_memory_only_once_touched() {
        let words = Translation::new(10).unwrap();
        assert!(words.capacity() >= 1 << 20);
        let far = PageId::new(words.capacity() - 1).unwrap();
        assert!(words.get(far).unwrap().load().is_absent());
        assert_eq!(words.bytes_touched(), 0);
        assert!(words.touch(far));
        assert!(!words.touch(far));
        assert_eq!(words.bytes_touched(), BLOCK);
        assert!(words.get(PageId::MAX).is_none());
        let other = PageId::new(0).unwrap();
        assert!(words.has_room_for(far, 0) && !words.has_room_for(other, 2 * BLOCK - 1));
        assert!(words.has_room_for(other, 2 * BLOCK) && !words.has_room_for(PageId::MAX, u64::MAX));
    }

    #[test]
    fn only_used_words_are_walked() {
        let words = Translation::new(10).unwrap();
        let page = |n| PageId::new(n).unwrap();
        words.touch(page(5000));
        assert_eq!(words.used(page(0)..page(4000)).count(), 0);
        let used: Vec<_> = words.used(page(0)..PageId::MAX).collect();
        assert_eq!(used.len() as u64, WORDS_PER_BLOCK);
        assert!(used.contains(&page(5000)));
        assert_eq!(words.used(page(5000)..page(5003)).count(), 3);
    }
}
