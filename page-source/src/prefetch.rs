//! Hints to the processor: which cache lines of a page will be wanted first.
//!
//! A page that is not in the processor's caches is waited for line by line, as one line says where to look next. The
//! lines that every search of it reads are known beforehand, so they are asked for together.
#![expect(unsafe_code, reason = "prefetching takes an address; it reads nothing and cannot fault")]

/// Bytes of a cache line; some processors have longer ones, which are then asked for twice.
const LINE: usize = 64;
/// Lines of a leaf that its header, hints and slots take: 33 entries of 6 bytes behind 32 bytes.
const LEAF: usize = 4;
/// Lines of a branch that its header and hints take: 160 children of 4 bytes behind 32 bytes.
const BRANCH: usize = 11;

/// Asks for the lines by which a page is searched that is only looked at: most often a branch.
#[inline]
pub fn prefetch_viewed(page: &[u8]) {
    prefetch_viewed_at(page.as_ptr());
}

/// Asks for the lines by which a page is searched that is kept: most often a leaf. Its last line holds its prefix.
#[inline]
pub fn prefetch_held(page: &[u8]) {
    prefetch_held_at(page.as_ptr(), page.len());
}

/// As [`prefetch_viewed`], of a page that may not be there any more: then it is of no use and does no harm.
#[inline]
pub fn prefetch_viewed_at(page: *const u8) {
    (0..BRANCH).for_each(|line| ask(page.wrapping_add(line * LINE)));
}

/// As [`prefetch_held`], of a page of `len` bytes that may not be there any more: then it is of no use and does no harm.
#[inline]
pub fn prefetch_held_at(page: *const u8, len: usize) {
    (0..LEAF).for_each(|line| ask(page.wrapping_add(line * LINE)));
    ask(page.wrapping_add(len.saturating_sub(LINE)));
}

/// Asks for the lines at both ends of a page that a walk over all its entries will come to: those by which it is
/// searched, and those where its first entries lie if it was written as one.
#[inline]
pub fn prefetch_ends(page: &[u8]) {
    let page_end = page.as_ptr().wrapping_add(page.len());
    (0..LEAF).for_each(|line| ask(page.as_ptr().wrapping_add(line * LINE)));
    (1..=LEAF).for_each(|line| ask(page_end.wrapping_sub(line * LINE)));
}

/// Asks for the line at `at`, which may lie outside the page: then it is of no use and does no harm.
#[inline]
pub fn prefetch_line(page: &[u8], at: usize) {
    ask(page.as_ptr().wrapping_add(at));
}

#[inline]
fn ask(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the processor drops a prefetch of an address that cannot be read; nothing is read or written.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
