//! Memory for the bytes of page images: frames of one page each, side by side in large regions.
//!
//! A page on file lies on one page of memory. So does an image here, which the general allocator would lay across two;
//! and where the system has huge pages, many images share one. A search of the delta therefore misses the processor's
//! table of addresses no more often than one of the file. The lowest region with a free frame is used first, so that
//! higher ones fall empty; those are given back to the system, but for one.
//!
//! The first touch of a huge page is slow: the system clears it, 0.2 ms, and a virtual machine whose host has to find
//! the memory stops for 5 ms. So when a region is half used and no other is empty, the background is told to get the next one ready
//! ([`Frames::prepare`]), and commits seldom meet that.
#![expect(
    unsafe_code,
    reason = "allocation with an alignment, and frames of a region that have owners of their own"
)]

use bifold_page_source::advise_huge_pages;
use parking_lot::Mutex;
use std::alloc::{self, Layout};
use std::collections::BTreeSet;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a huge page, and of the largest region.
const HUGE: usize = 2 << 20;
/// Bytes of the least page of memory: touched once, it is there.
const TOUCH: usize = 4096;

/// Where frames of one length come from.
pub(crate) struct Frames {
    frame_len: usize,
    region: Layout,
    state: Mutex<State>,
    /// A region was half used while no other was empty: soon an image would wait for one.
    wanted: AtomicBool,
}

#[derive(Default)]
struct State {
    regions: Vec<Option<Region>>,
    /// Those of `regions` that are there and have a free frame.
    roomy: BTreeSet<u32>,
    /// How many of these have no other.
    empty: u32,
}

/// Some frames in a row.
struct Region {
    start: NonNull<u8>,
    /// Places of free frames.
    free: Vec<u32>,
}

// SAFETY: a region's memory is reached only through frames that own their parts of it, and freed when none is left.
unsafe impl Send for Region {}

impl Frames {
    /// Frames of `frame_len` bytes, a power of two, for images of `bound` bytes in all: that decides how many are asked
    /// for at once.
    pub(crate) fn new(frame_len: usize, bound: u64) -> Option<Arc<Self>> {
        let part = usize::try_from(bound / 32).unwrap_or(HUGE).min(HUGE);
        let len = if part == 0 { 0 } else { (1 << part.ilog2()).max(frame_len) };
        let region = Layout::from_size_align(len, len.min(HUGE)).ok()?;
        let whole = frame_len.is_power_of_two() && len > 0 && len.is_multiple_of(frame_len);
        whole.then(|| {
            Arc::new(Self { frame_len, region, state: Mutex::default(), wanted: AtomicBool::new(false) })
        })
    }

    /// A frame that holds `bytes`, which are as many as it takes.
    pub(crate) fn frame(self: &Arc<Self>, bytes: &[u8]) -> Frame {
        if bytes.len() != self.frame_len {
            return Frame::from(Box::from(bytes));
        }
        let Some((region, start)) = self.take() else { return Frame::from(Box::from(bytes)) };
        // SAFETY: `take` gives this frame to nobody else before it is given back: it is `frame_len` bytes of ours, and
        // overlaps nothing that can be borrowed.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), self.frame_len) };
        Frame { start, len: self.frame_len, origin: Some((Arc::clone(self), region)) }
    }

    /// A free frame, and its region; `None` only if the books were wrong.
    fn take(&self) -> Option<(u32, NonNull<u8>)> {
        let mut state = self.state.lock();
        let index = match state.roomy.first() {
            Some(&index) => index,
            None => state.add(self.region(), self.frames()),
        };
        let State { regions, roomy, empty } = &mut *state;
        let region = regions.get_mut(index as usize)?.as_mut()?;
        let was_empty = region.free.len() == self.frames() as usize;
        let place = region.free.pop()?;
        *empty -= u32::from(was_empty);
        // In a small database half a region is never used up.
        if *empty == 0 && region.free.len() == self.frames() as usize / 2 && self.region.size() == HUGE {
            self.wanted.store(true, Ordering::Relaxed);
        }
        if region.free.is_empty() {
            roomy.remove(&index);
        }
        // SAFETY: places are below the number of frames in a region, so the address lies in it.
        let start = unsafe { region.start.add(place as usize * self.frame_len) };
        Some((index, start))
    }

    /// Frames in a region.
    fn frames(&self) -> u32 {
        (self.region.size() / self.frame_len) as u32
    }

    /// Memory for a region.
    fn region(&self) -> NonNull<u8> {
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc::alloc(self.region) };
        let Some(start) = NonNull::new(start) else { alloc::handle_alloc_error(self.region) };
        if self.region.size() == HUGE {
            // SAFETY: the region was allocated just now, with this length, and nobody else knows it.
            advise_huge_pages(unsafe {
                slice::from_raw_parts_mut(start.as_ptr().cast::<MaybeUninit<u8>>(), HUGE)
            });
        }
        start
    }

    /// Whether there is something to [`prepare`](Self::prepare).
    pub(crate) fn wants_region(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Gets a region ready before it is needed, if none is empty: its memory is there, not only promised. To be called
    /// by a thread that has time.
    pub(crate) fn prepare(&self) {
        if !self.wanted.swap(false, Ordering::Relaxed) || self.state.lock().empty > 0 {
            return;
        }
        let start = self.region();
        for offset in (0..self.region.size()).step_by(TOUCH) {
            // SAFETY: within the region, which was allocated just now and which nobody else knows.
            unsafe { start.add(offset).write_volatile(0) };
        }
        self.state.lock().add(start, self.frames());
    }

    /// Takes a frame of region `index` back.
    fn give_back(&self, index: u32, start: NonNull<u8>) {
        let mut state = self.state.lock();
        let State { regions, roomy, empty } = &mut *state;
        let slot = &mut regions[index as usize];
        let Some(region) = slot.as_mut() else { return };
        let place = (start.as_ptr().addr() - region.start.as_ptr().addr()) / self.frame_len;
        region.free.push(place as u32);
        if region.free.len() == 1 {
            roomy.insert(index);
        }
        if region.free.len() == self.frames() as usize {
            if *empty == 0 {
                *empty = 1;
                return;
            }
            roomy.remove(&index);
            let start = region.start;
            *slot = None;
            // SAFETY: allocated in `region` with this layout; all its frames are back, and it is known no more.
            unsafe { alloc::dealloc(start.as_ptr(), self.region) };
        }
    }

    /// Regions that are held.
    #[cfg(test)]
    fn regions(&self) -> usize {
        self.state.lock().regions.iter().flatten().count()
    }
}

impl State {
    /// Adds a region of so many frames, all free; its index.
    fn add(&mut self, start: NonNull<u8>, frames: u32) -> u32 {
        let region = Region { start, free: (0..frames).rev().collect() };
        let gap = self.regions.iter().position(Option::is_none);
        let index = gap.unwrap_or(self.regions.len());
        if index == self.regions.len() {
            self.regions.push(None);
        }
        self.regions[index] = Some(region);
        self.roomy.insert(index as u32);
        self.empty += 1;
        index as u32
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        for region in self.state.get_mut().regions.drain(..).flatten() {
            // SAFETY: allocated in `region` with this layout; every frame holds a count of `self`, so none is left.
            unsafe { alloc::dealloc(region.start.as_ptr(), self.region) };
        }
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("frame_len", &self.frame_len).finish_non_exhaustive()
    }
}

/// Bytes of an image: a frame, or a buffer of its own where there are no frames of its length.
#[repr(C)]
pub(crate) struct Frame {
    start: NonNull<u8>,
    len: usize,
    /// Whom the frame is given back to, and its region there. `None` if the bytes are a `Box`'s.
    origin: Option<(Arc<Frames>, u32)>,
}

// SAFETY: the bytes are the frame's own, and are handed out by the rules of `&` and `&mut` only.
unsafe impl Send for Frame {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for Frame {}

impl From<Box<[u8]>> for Frame {
    fn from(bytes: Box<[u8]>) -> Self {
        let len = bytes.len();
        // A box is never null.
        let start = NonNull::from(Box::leak(bytes)).cast();
        Self { start, len, origin: None }
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is the beginning of `len` initialised bytes that are this frame's until it is dropped.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Frame {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` excludes every other reference.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        match &self.origin {
            Some((frames, _)) => frames.frame(self),
            None => Self::from(Box::from(&**self)),
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some((frames, region)) = self.origin.take() {
            frames.give_back(region, self.start);
            return;
        }
        let bytes = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
        // SAFETY: without an origin the bytes come from a box of this length, leaked in `from`.
        drop(unsafe { Box::from_raw(bytes) });
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn frames_lie_apart_keep_their_bytes_and_come_back() {
        const LEN: usize = 512;
        let frames = Frames::new(LEN, 32 * 8 * LEN as u64).unwrap();
        let mut all: Vec<Frame> = (0..100).map(|fill| frames.frame(&[fill; LEN])).collect();
        assert_eq!(frames.regions(), 13);
        for (fill, frame) in all.iter().enumerate() {
            assert_eq!(**frame, [fill as u8; LEN]);
            assert!(frame.as_ptr().addr().is_multiple_of(LEN));
        }
        let mut starts: Vec<usize> = all.iter().map(|frame| frame.as_ptr().addr()).collect();
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= LEN));
        let copy = all[7].clone();
        all[7][0] = 99;
        assert_eq!(*copy, [7; LEN]);
        drop(all);
        // The copy's, and one that is kept.
        assert_eq!(frames.regions(), 2);
        let again: Vec<Frame> = (0..15).map(|_| frames.frame(&[1; LEN])).collect();
        assert_eq!(frames.regions(), 2);
        assert_eq!(*copy, [7; LEN]);
        drop((again, copy));
        assert_eq!(frames.regions(), 1);
    }

    #[test]
    fn other_lengths_and_small_bounds_do_without() {
        let frames = Frames::new(4096, 64 * 1024).unwrap();
        let odd = frames.frame(&[3; 100]);
        assert_eq!(frames.regions(), 0);
        assert_eq!(*odd.clone(), [3; 100]);
        let page = frames.frame(&[4; 4096]);
        drop(frames);
        assert_eq!((page.len(), page[4095]), (4096, 4));
        assert!(Frames::new(4096, 0).is_none());
        assert!(Frames::new(0, 1 << 30).is_none());
        assert!(Frame::from(Box::<[u8]>::default()).is_empty());
    }

    #[test]
    fn a_region_is_prepared_when_one_is_half_used() {
        const LEN: usize = 1 << 19;
        let frames = Frames::new(LEN, 1 << 30).unwrap();
        let first = frames.frame(&vec![1; LEN]);
        frames.prepare();
        assert_eq!((frames.regions(), frames.wants_region()), (1, false));
        let mut more = vec![frames.frame(&vec![2; LEN])];
        assert!(frames.wants_region());
        frames.prepare();
        assert_eq!((frames.regions(), frames.wants_region()), (2, false));
        more.extend((3..7).map(|fill| frames.frame(&vec![fill; LEN])));
        assert_eq!((frames.regions(), frames.wants_region()), (2, true));
        assert_eq!((first[LEN - 1], more[0][0], more[4][LEN - 1]), (1, 2, 6));
        drop(more);
        frames.prepare();
        assert_eq!(frames.regions(), 2, "an empty one is there already");
        let small = Frames::new(512, 1 << 20).unwrap();
        let _half: Vec<Frame> = (0..40).map(|_| small.frame(&[1; 512])).collect();
        assert!(!small.wants_region(), "small regions cost nothing");
    }

    #[test]
    fn threads_share_frames() {
        let frames = Frames::new(512, 1 << 20).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let frames = &frames;
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..5_000_usize {
                        held.push(frames.frame(&[thread; 512]));
                        if round % 3 == 0 {
                            let frame: Frame = held.swap_remove(round % held.len());
                            assert_eq!(*frame, [thread; 512]);
                        }
                        if held.len() > 200 {
                            held.clear();
                        }
                    }
                });
            }
        });
        assert_eq!(frames.regions(), 1);
    }
}
