//! How many frames may be pinned: half of them, counted without one line that every thread writes.
//!
//! A frame's first pin takes a credit and its last one gives it back. Credits lie in stripes by thread and move
//! between stripes and a common store in small lots; whoever finds neither takes from another stripe, so the count
//! is exact.
#![forbid(unsafe_code)]

use crate::epoch::thread_hint;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicI64, Ordering};

const STRIPES: usize = 8;

/// The credits of one pool.
#[derive(Debug)]
pub(crate) struct Credits {
    /// Negative after credits were taken away that somebody still held.
    common: CachePadded<AtomicI64>,
    stripes: [CachePadded<AtomicI64>; STRIPES],
    total: AtomicI64,
    lot: i64,
}

fn take_up_to(store: &AtomicI64, want: i64) -> i64 {
    let taken = store
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| (have > 0).then(|| have - want.min(have)));
    taken.map_or(0, |have| want.min(have))
}

impl Credits {
    /// `total` credits.
    pub(crate) fn new(total: u32) -> Self {
        Self {
            common: CachePadded::new(AtomicI64::new(i64::from(total))),
            stripes: Default::default(),
            total: AtomicI64::new(i64::from(total)),
            lot: i64::from(total / 256).clamp(1, 32),
        }
    }

    fn stripe(&self) -> &AtomicI64 {
        &self.stripes[thread_hint() % STRIPES]
    }

    /// Takes a credit. `false` if all are taken.
    pub(crate) fn take(&self) -> bool {
        let own = self.stripe();
        if take_up_to(own, 1) == 1 {
            return true;
        }
        let lot = take_up_to(&self.common, self.lot);
        if lot > 0 {
            own.fetch_add(lot - 1, Ordering::Relaxed);
            return true;
        }
        self.stripes.iter().any(|stripe| take_up_to(stripe, 1) == 1)
    }

    /// Gives a credit back.
    pub(crate) fn give(&self) {
        if self.common.load(Ordering::Relaxed) < 0 {
            self.common.fetch_add(1, Ordering::Relaxed); // a debt of `reduce` comes first
            return;
        }
        let own = self.stripe();
        if own.fetch_add(1, Ordering::Relaxed) >= 2 * self.lot {
            let lot = take_up_to(own, self.lot);
            self.common.fetch_add(lot, Ordering::Relaxed);
        }
    }

    /// Takes `count` credits away for good; those that are out count when they come back.
    pub(crate) fn reduce(&self, count: u32) {
        self.total.fetch_sub(i64::from(count), Ordering::Relaxed);
        self.common.fetch_sub(i64::from(count), Ordering::Relaxed);
        for stripe in &self.stripes {
            let lot = take_up_to(stripe, i64::MAX);
            self.common.fetch_add(lot, Ordering::Relaxed);
        }
    }

    /// How many credits are out.
    pub(crate) fn taken(&self) -> u64 {
        let stripes: i64 = self.stripes.iter().map(|s| s.load(Ordering::Relaxed)).sum();
        let left = self.common.load(Ordering::Relaxed) + stripes;
        u64::try_from(self.total.load(Ordering::Relaxed) - left).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_exact_over_threads() {
        for total in [1, 32, 5000] {
            let credits = Credits::new(total);
            let taken: usize = std::thread::scope(|s| {
                let workers: Vec<_> =
                    (0..6).map(|_| s.spawn(|| (0..2000).filter(|_| credits.take()).count())).collect();
                workers.into_iter().map(|w| w.join().unwrap()).sum()
            });
            assert_eq!(taken, (total as usize).min(12_000));
            assert_eq!(credits.taken(), taken as u64);
            (0..taken).for_each(|_| credits.give());
            assert_eq!(credits.taken(), 0);
            assert_eq!((0..total * 2).filter(|_| credits.take()).count(), total as usize);
        }
    }

    #[test]
    fn credits_taken_away_stay_away() {
        let credits = Credits::new(10);
        (0..8).for_each(|_| assert!(credits.take()));
        credits.reduce(5);
        assert!(!credits.take());
        assert_eq!(credits.taken(), 8);
        (0..4).for_each(|_| credits.give());
        assert!(credits.take());
        assert!(!credits.take());
    }
}
