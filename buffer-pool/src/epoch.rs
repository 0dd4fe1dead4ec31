//! Epochs: how an evictor knows that nobody looks at a frame any more.
//!
//! A participant writes the present epoch into a slot of its own, once per visit, and then reads translation words
//! freely. An evictor first makes words absent, then closes the epoch they were evicted in (its *tag*) and waits
//! until no slot holds an epoch at or before the tag. Entry writes the slot and then reads words; eviction writes
//! words and then reads slots; all four accesses are sequentially consistent, so at least one side sees the other:
//! a participant whose slot was overlooked finds the word absent. (After Fraser, *Practical lock-freedom*, 2004,
//! reduced to what one kind of object needs.) A participant never does I/O or waits: it suspends itself for that.
#![forbid(unsafe_code)]

use bifold_page_source::sync::atomic::{AtomicU64, Ordering, fence};
use crossbeam_utils::CachePadded;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// The slot belongs to nobody.
const FREE: u64 = 0;
/// The slot belongs to a participant that looks at nothing now.
const IDLE: u64 = 1;
const FIRST_EPOCH: u64 = 2;

/// The epochs of one pool.
#[derive(Debug)]
pub(crate) struct Domain {
    now: CachePadded<AtomicU64>,
    slots: Chunk,
}

/// A list of slot arrays, longer by one whenever all slots are taken; never shorter.
#[derive(Debug)]
struct Chunk {
    slots: Box<[CachePadded<AtomicU64>]>,
    next: OnceLock<Box<Self>>,
}

impl Chunk {
    fn new(slots: usize) -> Self {
        let slots = (0..slots).map(|_| CachePadded::new(AtomicU64::new(FREE))).collect();
        Self { slots, next: OnceLock::new() }
    }
}

/// Loom knows sequential consistency only of fences.
#[inline]
fn order_with_evictors() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

impl Domain {
    /// Epochs with room for `slots` participants at once before more is allocated.
    pub(crate) fn new(slots: usize) -> Self {
        Self { now: CachePadded::new(AtomicU64::new(FIRST_EPOCH)), slots: Chunk::new(slots) }
    }

    /// Bytes that a domain of `slots` slots takes.
    pub(crate) const fn bytes(slots: usize) -> usize {
        slots * size_of::<CachePadded<AtomicU64>>()
    }

    /// Enters the present epoch. `hint` is where the thread found a free slot last time, or any number.
    #[inline]
    pub(crate) fn participate(&self, hint: usize) -> Participant<'_> {
        let now = self.now.load(Ordering::SeqCst);
        let at = hint & (self.slots.slots.len() - 1);
        let slot = &self.slots.slots[at];
        let free = slot.compare_exchange(FREE, now, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        let slot = if free { slot } else { self.search(at, now) };
        order_with_evictors();
        Participant { domain: self, slot, thread_bound: PhantomData }
    }

    /// Takes the next free slot behind `from`.
    #[cold]
    fn search(&self, from: usize, now: u64) -> &AtomicU64 {
        let mut chunk = &self.slots;
        loop {
            for i in 0..chunk.slots.len() {
                let slot = &chunk.slots[(from + i) & (chunk.slots.len() - 1)];
                if slot.load(Ordering::Relaxed) == FREE
                    && slot.compare_exchange(FREE, now, Ordering::SeqCst, Ordering::Relaxed).is_ok()
                {
                    return slot;
                }
            }
            chunk = chunk.next.get_or_init(|| Box::new(Chunk::new(chunk.slots.len())));
        }
    }

    /// Closes the present epoch: what was evicted before this call may be reused once [`oldest`](Self::oldest)
    /// is beyond the returned tag.
    pub(crate) fn close(&self) -> u64 {
        self.now.fetch_add(1, Ordering::SeqCst)
    }

    /// The oldest epoch that a participant is in, or `u64::MAX` if there is none. Call it after
    /// [`close`](Self::close).
    pub(crate) fn oldest(&self) -> u64 {
        fence(Ordering::SeqCst);
        let mut oldest = u64::MAX;
        let mut chunk = Some(&self.slots);
        while let Some(c) = chunk {
            for slot in &c.slots {
                let epoch = slot.load(Ordering::SeqCst);
                if epoch > IDLE {
                    oldest = oldest.min(epoch);
                }
            }
            chunk = c.next.get().map(AsRef::as_ref);
        }
        oldest
    }
}

/// A scope within which frames that were seen resident keep their bytes.
#[derive(Debug)]
pub(crate) struct Participant<'d> {
    domain: &'d Domain,
    slot: &'d AtomicU64,
    /// Whoever is inside must not be parked on another thread's whim; so it stays where it is.
    thread_bound: PhantomData<*const ()>,
}

impl<'d> Participant<'d> {
    /// Leaves until the returned guard is dropped, which enters the epoch of that moment. Nothing seen before
    /// is good afterwards, which the borrow of `self` enforces.
    pub(crate) fn suspend(&mut self) -> Suspended<'_, 'd> {
        self.slot.store(IDLE, Ordering::Release);
        Suspended { participant: self }
    }
}

impl Drop for Participant<'_> {
    #[inline]
    fn drop(&mut self) {
        self.slot.store(FREE, Ordering::Release);
    }
}

/// A participant that looks at nothing.
#[derive(Debug)]
pub(crate) struct Suspended<'p, 'd> {
    participant: &'p mut Participant<'d>,
}

impl Drop for Suspended<'_, '_> {
    fn drop(&mut self) {
        let now = self.participant.domain.now.load(Ordering::SeqCst);
        self.participant.slot.swap(now, Ordering::SeqCst);
        order_with_evictors();
    }
}

/// A number that differs between threads as long as there are few of them: where to look for a slot first.
#[cfg(not(loom))]
#[inline]
pub(crate) fn thread_hint() -> usize {
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static HINT: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    HINT.with(|hint| {
        if hint.get() == usize::MAX {
            hint.set(THREADS.fetch_add(1, Ordering::Relaxed) & 0xFFFF);
        }
        hint.get()
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_participant_holds_back_what_is_evicted_after_it_entered() {
        let domain = Domain::new(4);
        let mut inside = domain.participate(0);
        let tag = domain.close();
        assert!(domain.oldest() <= tag);
        let suspended = inside.suspend();
        assert_eq!(domain.oldest(), u64::MAX);
        drop(suspended);
        assert!(domain.oldest() > tag, "it has entered a later epoch");
        drop(inside);
        assert_eq!(domain.oldest(), u64::MAX);
    }

    #[test]
    fn participants_beyond_the_first_slots_count_too() {
        let domain = Domain::new(2);
        let many: Vec<_> = (0..9).map(|_| domain.participate(1)).collect();
        let tag = domain.close();
        for inside in many {
            assert!(domain.oldest() <= tag);
            drop(inside);
        }
        assert!(domain.oldest() > tag);
    }

    #[test]
    fn threads_get_hints_of_their_own() {
        let here = thread_hint();
        assert_eq!(here, thread_hint());
        assert_ne!(here, std::thread::spawn(thread_hint).join().unwrap());
    }
}
