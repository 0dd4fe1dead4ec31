//! Names of pages: where one lies (`PageId`), what a parent remembers of it (`PageRef`), how large it is.
#![forbid(unsafe_code)]

use std::fmt;

const PAGE_BITS: u32 = 40;
const PAGE_MASK: u64 = (1 << PAGE_BITS) - 1;
const TAG_MASK: u64 = (1 << 23) - 1;

/// A page's number: its offset in the file divided by the page size. At most 2^40 - 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PageId(u64);

impl PageId {
    /// The largest page number a file can have.
    pub const MAX: Self = Self(PAGE_MASK);

    /// The page with this number, or `None` beyond [`PageId::MAX`].
    pub const fn new(number: u64) -> Option<Self> {
        if number <= PAGE_MASK { Some(Self(number)) } else { None }
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The page `count` places further on. Saturates at [`PageId::MAX`].
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        let sum = self.0.saturating_add(count);
        Self(if sum > PAGE_MASK { PAGE_MASK } else { sum })
    }

    /// Where the page begins in the file, in bytes.
    pub const fn offset(self, size: PageSize) -> u64 {
        self.0 << size.shift()
    }
}

impl fmt::Debug for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}", self.0)
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A reference to a page on file: its number and 23 bits of its checksum, as a parent stores it.
///
/// The bits of the checksum let a reader notice a lost or misplaced write even when the stale page is well
/// formed. Bit 63 is always zero here; the engine uses it to mark words that name pages not yet on file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PageRef(u64);

impl PageRef {
    /// A reference to `page`, whose header holds `checksum`.
    pub const fn new(page: PageId, checksum: u64) -> Self {
        Self(page.0 | (Self::tag_of(checksum) << PAGE_BITS))
    }

    /// A reference that expects nothing of the page's checksum beyond its being right. Never stored in a file.
    pub const fn unchecked(page: PageId) -> Self {
        Self(page.0)
    }

    /// Reads a stored word. `None` if it is not a checked reference to a page (bit 63 set, no checksum bits).
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits >> 63 == 0 && (bits >> PAGE_BITS) & TAG_MASK != 0 { Some(Self(bits)) } else { None }
    }

    /// The word to store.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The page referred to.
    pub const fn page(self) -> PageId {
        PageId(self.0 & PAGE_MASK)
    }

    /// Whether a page with this checksum is the one that was meant.
    pub const fn matches(self, checksum: u64) -> bool {
        let tag = (self.0 >> PAGE_BITS) & TAG_MASK;
        tag == 0 || tag == Self::tag_of(checksum)
    }

    /// The checksum's top 23 bits, with zero, which means "unchecked", moved to one.
    const fn tag_of(checksum: u64) -> u64 {
        let tag = checksum >> 41;
        if tag == 0 { 1 } else { tag }
    }
}

/// A page size: a power of two from 512 bytes (tests) to 64 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageSize(u32);

impl PageSize {
    /// The smallest size, for tests: deep trees from few keys.
    pub const MIN: Self = Self(512);
    /// The largest size.
    pub const MAX: Self = Self(65536);
    /// 4 KiB, the default.
    pub const DEFAULT: Self = Self(4096);

    /// A size in bytes, or `None` if it is not a power of two within the bounds.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= 512 && bytes <= 65536 { Some(Self(bytes)) } else { None }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        self.0 as usize
    }

    /// The binary logarithm of the size.
    pub const fn shift(self) -> u32 {
        self.0.trailing_zeros()
    }

    /// How many pages hold `bytes` bytes, rounded up.
    pub const fn pages_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.0 as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_round_trips_and_knows_its_checksum() {
        let page = PageId::new(0xAB_CDEF_0123).unwrap();
        let r = PageRef::new(page, 0xFFFF_0000_1234_5678);
        assert_eq!(r.page(), page);
        assert_eq!(PageRef::from_bits(r.bits()), Some(r));
        assert!(r.matches(0xFFFF_0000_1234_5678));
        assert!(!r.matches(0x0FFF_0000_1234_5678));
    }

    #[test]
    fn a_checksum_whose_top_bits_are_zero_is_still_checked() {
        let r = PageRef::new(PageId::new(7).unwrap(), 5);
        assert!(PageRef::from_bits(r.bits()).is_some());
        assert!(r.matches(5));
        assert!(!r.matches(u64::MAX));
    }

    #[test]
    fn words_that_are_no_reference_are_refused() {
        assert_eq!(PageRef::from_bits(0), None);
        assert_eq!(PageRef::from_bits(5), None);
        assert_eq!(PageRef::from_bits(1 << 63 | 1 << 41), None);
        assert_eq!(PageId::new(1 << 40), None);
    }

    #[test]
    fn page_sizes_are_powers_of_two_within_bounds() {
        assert_eq!(PageSize::new(4096).map(PageSize::shift), Some(12));
        for bad in [0, 256, 1000, 131_072] {
            assert_eq!(PageSize::new(bad), None);
        }
        assert_eq!(PageSize::DEFAULT.pages_for(4097), 2);
    }
}
