//! Transfer buffers, within their share of the budget: ranges of one region that is reserved at opening.
//!
//! Not the heap, which would keep what is freed beyond any count of ours. On huge pages where it has whole ones: a
//! direct transfer pins its buffer page by page, and unpins it in the interrupt that ends it.
#![expect(unsafe_code, reason = "disjoint ranges of one mapping as mutable slices")]

use crate::arena::reserve_huge;
use bifold_page_source::sync::{Condvar, Mutex};
use memmap2::MmapRaw;
use std::io;
use std::sync::Arc;

/// What ranges are multiples of: the alignment of transfer buffers (enough for every rule of `O_DIRECT`).
pub(crate) const UNIT: usize = 4096;

#[derive(Debug)]
struct Region {
    map: MmapRaw,
    /// Where it begins within the mapping.
    start: usize,
    /// Free ranges (start, length), in order, never touching each other.
    free: Mutex<Vec<(usize, usize)>>,
    /// Told whenever a range comes back.
    freed: Condvar,
    len: usize,
}

/// A share of the budget for transfer buffers.
#[derive(Debug)]
pub(crate) struct Staging {
    region: Arc<Region>,
}

impl Staging {
    /// A share of `bytes` bytes, rounded up to 4 KiB; takes memory only as it is used.
    ///
    /// # Errors
    /// When the address space cannot be had.
    pub(crate) fn new(bytes: usize) -> io::Result<Self> {
        let len = bytes.next_multiple_of(UNIT);
        let (map, start) = reserve_huge(len)?;
        let free = if len == 0 { Vec::new() } else { vec![(0, len)] };
        let region = Region { map, start, free: Mutex::new(free), freed: Condvar::new(), len };
        Ok(Self { region: Arc::new(region) })
    }

    /// A buffer of `len` bytes, the first place that fits, if there is one. What it holds is left over.
    pub(crate) fn take(&self, len: usize) -> Option<Staged> {
        self.take_from(&mut self.region.free.lock(), len)
    }

    /// As [`take`](Self::take), but waits until there is a place. `None` only if the share is smaller. Whoever calls
    /// it holds no buffer, so those that are out come back.
    pub(crate) fn wait_for(&self, len: usize) -> Option<Staged> {
        if len > self.region.len {
            return None;
        }
        let mut free = self.region.free.lock();
        loop {
            if let Some(staged) = self.take_from(&mut free, len) {
                return Some(staged);
            }
            self.region.freed.wait(&mut free);
        }
    }

    fn take_from(&self, free: &mut Vec<(usize, usize)>, len: usize) -> Option<Staged> {
        let room = len.next_multiple_of(UNIT);
        let place = free.iter().position(|&(_, have)| have >= room)?;
        let (at, have) = free[place];
        if have == room {
            free.remove(place);
        } else {
            free[place] = (at + room, have - room);
        }
        Some(Staged { region: Arc::clone(&self.region), at, len, room })
    }
}

/// A transfer buffer; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Staged {
    region: Arc<Region>,
    at: usize,
    len: usize,
    room: usize,
}

impl Staged {
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the range lies within the mapping, is always initialised (anonymous memory), and belongs to this
        // `Staged` alone: it was taken off the free list and comes back when `self` is dropped.
        unsafe {
            std::slice::from_raw_parts(self.region.map.as_ptr().add(self.region.start + self.at), self.len)
        }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` excludes every other reference.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.region.map.as_mut_ptr().add(self.region.start + self.at),
                self.len,
            )
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let mut free = self.region.free.lock();
        let place = free.partition_point(|&(at, _)| at < self.at);
        let (mut at, mut room) = (self.at, self.room);
        let mut replaced = place..place;
        if let Some(&(next, len)) = free.get(place)
            && next == at + room
        {
            room += len;
            replaced.end += 1;
        }
        if let Some(before) = place.checked_sub(1)
            && free[before].0 + free[before].1 == at
        {
            at = free[before].0;
            room += free[before].1;
            replaced.start -= 1;
        }
        free.splice(replaced, [(at, room)]);
        drop(free);
        self.region.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_passed() {
        let staging = Staging::new(5 * UNIT).unwrap();
        let first = staging.take(3 * UNIT - 100).unwrap();
        assert!(staging.take(3 * UNIT).is_none());
        drop(first);
        assert_eq!(staging.take(5 * UNIT).unwrap().bytes().len(), 5 * UNIT);
        assert!(staging.take(5 * UNIT + 1).is_none());
        assert!(staging.wait_for(5 * UNIT + 1).is_none(), "that would be for ever");
        assert!(Staging::new(0).unwrap().take(1).is_none());
    }

    #[test]
    fn two_that_wait_for_all_of_it_take_turns() {
        let staging = Staging::new(4 * UNIT).unwrap();
        std::thread::scope(|s| {
            for mark in 1..4 {
                let staging = &staging;
                s.spawn(move || {
                    for len in (1..=4 * UNIT).step_by(777).cycle().take(300) {
                        let mut staged = staging.wait_for(len).unwrap();
                        staged.bytes_mut().fill(mark);
                        std::thread::yield_now();
                        assert!(staged.bytes().iter().all(|&b| b == mark));
                    }
                });
            }
        });
        assert!(staging.take(4 * UNIT).is_some());
    }

    #[test]
    fn ranges_do_not_overlap_and_grow_together_again() {
        let staging = Staging::new(64 * UNIT).unwrap();
        let mut random = bifold_page_source::testing::pages::Rng::new(3);
        let mut held: Vec<Option<(Staged, u8)>> = (0..12).map(|_| None).collect();
        for round in 0..5000 {
            let slot = random.below(12) as usize;
            if let Some((staged, mark)) = held[slot].take() {
                assert!(staged.bytes().iter().all(|&b| b == mark));
            } else if let Some(mut staged) = staging.take(1 + random.below(12 * UNIT as u64) as usize) {
                staged.bytes_mut().fill(round as u8);
                held[slot] = Some((staged, round as u8));
            }
        }
        held.clear();
        assert!(staging.take(64 * UNIT).is_some());
    }
}
