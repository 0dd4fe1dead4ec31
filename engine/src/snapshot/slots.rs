//! The readers' slots: one word each on cache lines of its own, in chunks that are added and never moved or freed.
//!
//! A word is null when the slot is free, otherwise the pointer that its holder protects. Pointers are stored and
//! compared here, never followed.
#![forbid(unsafe_code)]

use bifold_page_source::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use bifold_page_source::sync::{Mutex, thread};
use crossbeam_utils::CachePadded;
use std::ptr;
use std::sync::OnceLock;

/// Slots of the first chunk, as a power of two; each further chunk has twice the slots of the one before.
const FIRST_BITS: u32 = if cfg!(loom) { 0 } else { 6 };

/// Chunks that there can be: their slots just fit a `u32`, and no machine's memory.
const CHUNKS: usize = (u32::BITS - FIRST_BITS) as usize;

type Chunk<T> = Box<[CachePadded<AtomicPtr<T>>]>;

/// The slots of one registry.
pub(super) struct Slots<T> {
    chunks: [OnceLock<Chunk<T>>; CHUNKS],
    /// Chunks in use. Raised after the chunk is there; part of the registry's argument of order, hence `SeqCst`.
    grown: AtomicUsize,
    /// Held while a chunk is added.
    growth: Mutex<()>,
}

impl<T> Slots<T> {
    /// The first chunk, all free.
    pub(super) fn new() -> Self {
        let chunks = [const { OnceLock::new() }; CHUNKS];
        chunks[0].get_or_init(|| chunk(0));
        Self { chunks, grown: AtomicUsize::new(1), growth: Mutex::new(()) }
    }

    /// Claims a free slot for `root`, which is not null, and tries `first` first. Lock-free, except where a chunk is
    /// added; a success is a `SeqCst` read-modify-write of the slot.
    #[inline]
    pub(super) fn claim(&self, first: u32, root: *mut T) -> u32 {
        debug_assert!(!root.is_null(), "null means free");
        match self.get(first) {
            Some(slot) if try_claim(slot, root) => first,
            _ => self.search(first, root),
        }
    }

    /// The slot `index`, if there is such a one.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&AtomicPtr<T>> {
        let (chunk, offset) = place(index);
        Some(self.chunks.get(chunk)?.get()?.get(offset)?)
    }

    /// All that is protected now, sorted; perhaps with pointers whose holders are not sure of them yet. Reads every
    /// slot with `SeqCst`.
    pub(super) fn protected(&self) -> Vec<*mut T> {
        let grown = self.grown.load(Ordering::SeqCst);
        let slots = self.chunks[..grown].iter().filter_map(OnceLock::get).flatten();
        let mut roots: Vec<*mut T> =
            slots.map(|slot| slot.load(Ordering::SeqCst)).filter(|root| !root.is_null()).collect();
        roots.sort_unstable();
        roots
    }

    #[cold]
    fn search(&self, first: u32, root: *mut T) -> u32 {
        loop {
            let grown = self.grown.load(Ordering::SeqCst);
            let len = len_of(grown);
            let mut index = first;
            for _ in 0..len {
                index = if index < len - 1 { index + 1 } else { 0 };
                if self.get(index).is_some_and(|slot| try_claim(slot, root)) {
                    return index;
                }
            }
            self.grow(grown);
        }
    }

    /// Adds a chunk, unless somebody has since there were `seen`.
    fn grow(&self, seen: usize) {
        let _growing = self.growth.lock();
        if seen == CHUNKS {
            // 2^32 slots in use fill more memory than there is. Wait for one of them.
            thread::yield_now();
        } else if self.grown.load(Ordering::SeqCst) == seen {
            self.chunks[seen].get_or_init(|| chunk(seen));
            self.grown.store(seen + 1, Ordering::SeqCst);
        }
    }
}

/// Chunk number `chunk`, all free.
fn chunk<T>(chunk: usize) -> Chunk<T> {
    (0..chunk_len(chunk)).map(|_| CachePadded::new(AtomicPtr::new(ptr::null_mut()))).collect()
}

/// Claims `slot` if it is free. The load spares the line's owner the loss of it if it is not.
#[inline]
fn try_claim<T>(slot: &AtomicPtr<T>, root: *mut T) -> bool {
    slot.load(Ordering::Relaxed).is_null()
        && slot.compare_exchange(ptr::null_mut(), root, Ordering::SeqCst, Ordering::Relaxed).is_ok()
}

/// The chunk of a slot, and its place there.
#[inline]
fn place(index: u32) -> (usize, usize) {
    // Shifted by the first chunk's length, slots of chunk `i` are those with `FIRST_BITS + i + 1` significant bits.
    let shifted = u64::from(index) + (1 << FIRST_BITS);
    let bits = shifted.ilog2();
    ((bits - FIRST_BITS) as usize, (shifted - (1 << bits)) as usize)
}

/// Slots of a chunk.
fn chunk_len(chunk: usize) -> usize {
    1 << (FIRST_BITS as usize + chunk)
}

/// Slots of the first `chunks` chunks.
fn len_of(chunks: usize) -> u32 {
    (((1_u64 << chunks) - 1) << FIRST_BITS) as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn slots_fill_chunks_without_gaps() {
        let mut expected = (0, 0);
        for index in 0..1 << 14 {
            assert_eq!(place(index), expected, "slot {index}");
            expected.1 += 1;
            if expected.1 == chunk_len(expected.0) {
                expected = (expected.0 + 1, 0);
                assert_eq!(len_of(expected.0), index + 1);
            }
        }
        assert_eq!(u64::from(len_of(CHUNKS)), (1 << 32) - (1 << FIRST_BITS));
    }

    #[test]
    fn a_slot_has_one_holder_until_it_is_freed() {
        let slots = Slots::new();
        let mut roots = [0_u8; 200];
        let mut held: Vec<u32> = roots.iter_mut().map(|root| slots.claim(0, root)).collect();
        assert_eq!(slots.protected().len(), 200);
        held.sort_unstable();
        held.dedup();
        assert_eq!(held.len(), 200);
        assert_eq!(slots.grown.load(Ordering::SeqCst), 3);
        slots.get(130).unwrap().store(ptr::null_mut(), Ordering::Release);
        assert_eq!(slots.protected().len(), 199);
        assert_eq!(slots.claim(130, &raw mut roots[0]), 130);
        assert!(slots.get(u32::MAX).is_none());
    }
}
