//! The frames' memory: one anonymous mapping, taken from the system as it fills.
//!
//! Aligned to 2 MiB and advised to use huge pages, so that random visits spare the TLB; not inherited by children
//! and not part of core dumps. Only the whole 2 MiB blocks are advised: a huge page across the end would be memory
//! beyond the budget. Which frame may be read or written when is the business of `access.rs`.
#![expect(unsafe_code, reason = "advising a mapping to drop its pages, and frames as slices")]

use bifold_page_source::PageSize;
use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw, UncheckedAdvice};
use std::io;

const HUGE: usize = 2 << 20;

/// The memory of all frames.
#[derive(Debug)]
pub(crate) struct Arena {
    map: MmapRaw,
    /// Where the first frame begins within the mapping.
    start: usize,
    frames: u32,
    page_size: PageSize,
    /// The system's page size: the least that can be given back.
    granule: usize,
}

/// An anonymous mapping that costs nothing until touched.
pub(crate) fn reserve(len: usize) -> io::Result<MmapRaw> {
    let map: MmapMut = MmapOptions::new().len(len).no_reserve_swap().map_anon()?;
    let map = MmapRaw::from(map);
    // Kernels may lack either; the memory works all the same.
    let _ = map.advise(Advice::DontFork);
    let _ = map.advise(Advice::DontDump);
    Ok(map)
}

/// As [`reserve`], with `len` bytes that begin at the offset returned: the whole blocks of 2 MiB of them are advised to
/// be huge pages.
pub(crate) fn reserve_huge(len: usize) -> io::Result<(MmapRaw, usize)> {
    let map = reserve(len.checked_add(HUGE).ok_or(io::ErrorKind::OutOfMemory)?)?;
    let start = (map.as_ptr() as usize).next_multiple_of(HUGE) - map.as_ptr() as usize;
    let whole_blocks = len / HUGE * HUGE;
    if whole_blocks > 0 {
        let _ = map.advise_range(Advice::HugePage, start, whole_blocks);
    }
    Ok((map, start))
}

impl Arena {
    /// Room for `frames` frames.
    ///
    /// # Errors
    /// When the address space cannot be had.
    pub(crate) fn new(frames: u32, page_size: PageSize) -> io::Result<Self> {
        let len = frames as usize * page_size.bytes();
        let (map, start) = reserve_huge(len)?;
        Ok(Self { map, start, frames, page_size, granule: rustix::param::page_size() })
    }

    /// Takes the memory of all frames from the system. Nobody else knows the arena yet.
    pub(crate) fn populate(&mut self) {
        let len = self.frames as usize * self.page_size.bytes();
        for offset in (0..len).step_by(self.granule) {
            // SAFETY: the offset lies within the frames, which lie within the mapping, and `&mut self` excludes everybody
            // else.
            unsafe { self.at(0).add(offset).write_volatile(0) };
        }
    }

    /// Where a frame's bytes begin.
    #[inline]
    fn at(&self, frame: u32) -> *mut u8 {
        debug_assert!(frame < self.frames, "a frame of this arena");
        // `wrapping_add` keeps the pointer's provenance; the place lies within the mapping.
        self.map.as_mut_ptr().wrapping_add(self.start + ((frame as usize) << self.page_size.shift()))
    }

    /// A frame's bytes, to read.
    ///
    /// # Safety
    /// `frame` is below the number of frames, and nobody writes to it during `'a`.
    #[inline]
    pub(crate) unsafe fn bytes<'a>(&self, frame: u32) -> &'a [u8] {
        // SAFETY: the frame lies within the mapping, whose bytes are always initialised (anonymous memory); the
        // caller excludes writers.
        unsafe { std::slice::from_raw_parts(self.at(frame), self.page_size.bytes()) }
    }

    /// A frame's bytes, to write.
    ///
    /// # Safety
    /// `frame` is below the number of frames, and nobody else reads or writes it during `'a`.
    pub(crate) unsafe fn bytes_mut<'a>(&self, frame: u32) -> &'a mut [u8] {
        // SAFETY: as in `bytes`; the caller excludes everybody else.
        unsafe { std::slice::from_raw_parts_mut(self.at(frame), self.page_size.bytes()) }
    }

    /// How many frames make up the least memory that can be given back.
    pub(crate) fn frames_per_granule(&self) -> u32 {
        (self.granule >> self.page_size.shift()).max(1) as u32
    }

    /// Gives the memory of a granule's frames back to the system. They read as zeros afterwards, so this is
    /// harmless in itself; it is called for frames that are given up.
    pub(crate) fn give_back(&self, first: u32) {
        let per = self.frames_per_granule();
        let last = first.saturating_add(per).min(self.frames);
        if !first.is_multiple_of(per) || first >= last {
            return;
        }
        let at = self.start + ((first as usize) << self.page_size.shift());
        let len = ((last - first) as usize) << self.page_size.shift();
        // SAFETY: the range lies within the mapping (`advise_range` checks it too), and the frames are given up:
        // nobody holds a reference into them (`Clock::retire`).
        let _ = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, at, len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_aligned_separate_and_given_back() {
        let arena = Arena::new(16, PageSize::MIN).unwrap();
        assert_eq!(arena.at(0) as usize % HUGE, 0);
        for frame in 0..16 {
            // SAFETY: nobody else knows the arena.
            unsafe { arena.bytes_mut(frame) }.fill(frame as u8 + 1);
        }
        let per = arena.frames_per_granule();
        arena.give_back(per);
        for frame in 0..16 {
            let given_back = frame / per == 1;
            // SAFETY: nobody writes.
            let bytes = unsafe { arena.bytes(frame) };
            assert!(bytes.iter().all(|&b| b == if given_back { 0 } else { frame as u8 + 1 }), "{frame}");
        }
    }
}
