//! What the threads of a run share: whether it goes on, what is left to do, and which entries are there.
#![forbid(unsafe_code)]

use super::history::History;
use super::{Pace, Until};
use crate::memory::limit_here;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Operations that a thread takes at a time of those that are left, unless they are due one by one, or a transaction has
/// more.
pub(super) const PART: u64 = 256;

/// The state of a run.
pub(super) struct Shared {
    stop: AtomicBool,
    measuring: AtomicBool,
    start: OnceLock<Instant>,
    /// Operations that no thread has taken yet; without bound if the run ends by the clock.
    left: Option<AtomicU64>,
    /// The number of the next entry to be inserted.
    next: AtomicU64,
    /// For each thread, the number of the entry that it inserts, or `u64::MAX`.
    inserting: Vec<AtomicU64>,
    /// What readers may be shown; nothing if nobody writes.
    history: Option<History>,
}

impl Shared {
    /// `written`: how many entries may be written, if anybody writes.
    pub(super) fn new(entries: u64, threads: u64, pace: &Pace, written: Option<u64>) -> Self {
        let left = match pace.until {
            Until::Operations(operations) => Some(AtomicU64::new(operations)),
            Until::Seconds(_) => None,
        };
        Self {
            stop: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
            start: OnceLock::new(),
            left,
            next: AtomicU64::new(entries),
            inserting: (0..threads).map(|_| AtomicU64::new(u64::MAX)).collect(),
            history: written.map(|entries| History::new(entries, limit_here(), pace.seed)),
        }
    }

    /// What readers may be shown, if anybody writes.
    #[inline]
    pub(super) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// The same, when the run is over.
    pub(super) fn into_history(self) -> Option<History> {
        self.history
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// From `start` on, what is done counts.
    pub(super) fn measure(&self, start: Instant) {
        let _ = self.start.set(start);
        self.measuring.store(true, Ordering::Release);
    }

    /// When measuring began, if it has.
    #[inline]
    pub(super) fn measured_since(&self) -> Option<Instant> {
        if !self.measuring.load(Ordering::Acquire) {
            return None;
        }
        self.start.get().copied()
    }

    /// Takes at most `most` of the operations that are left; how many, 0 at the end.
    pub(super) fn take(&self, most: u64) -> u64 {
        let Some(left) = &self.left else { return u64::MAX };
        let mut now = left.load(Ordering::Relaxed);
        loop {
            let taken = now.min(most);
            match left.compare_exchange_weak(now, now - taken, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(other) => now = other,
            }
        }
    }

    /// Whether no operation is left to be taken.
    pub(super) fn all_taken(&self) -> bool {
        self.left.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0)
    }

    /// Reserves the next entry for `thread`, which is about to insert it.
    pub(super) fn begin_insert(&self, thread: usize) -> u64 {
        // Said before the number is known: no number from here on is there for readers until it is exact.
        self.inserting[thread].store(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        self.inserting[thread].store(number, Ordering::SeqCst);
        number
    }

    /// The entry of `thread` is there.
    pub(super) fn end_insert(&self, thread: usize) {
        self.inserting[thread].store(u64::MAX, Ordering::SeqCst);
    }

    /// All entries below this number are there. (YCSB's acknowledged counter.)
    #[inline]
    pub(super) fn there(&self) -> u64 {
        let next = self.next.load(Ordering::SeqCst);
        self.inserting.iter().fold(next, |least, number| least.min(number.load(Ordering::SeqCst)))
    }

    /// Entries after the run.
    pub(super) fn entries(&self) -> u64 {
        self.next.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_when_all_before_it_are() {
        let pace = Pace { threads: 2, warmup: 0.0, until: Until::Operations(600), rate: None, seed: 1 };
        let shared = Shared::new(100, 2, &pace, None);
        assert_eq!(shared.there(), 100);
        assert_eq!((shared.begin_insert(0), shared.begin_insert(1)), (100, 101));
        shared.end_insert(1);
        assert_eq!(shared.there(), 100);
        shared.end_insert(0);
        assert_eq!((shared.there(), shared.entries()), (102, 102));
        assert!(!shared.all_taken());
        assert_eq!([(); 4].map(|()| shared.take(PART)), [256, 256, 88, 0]);
        assert!(shared.all_taken());
    }
}
