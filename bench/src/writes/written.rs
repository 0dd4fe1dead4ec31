//! What a store was given: for every entry the version of its newest value.
#![forbid(unsafe_code)]

use crate::data::{Numbers, Seed};
use crate::{Result, Store};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One thread's share of the entries: those whose number is `index` modulo `of`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) index: u64,
    pub(super) of: u64,
}

/// The versions of all entries. Threads write to shares that do not meet, so that a version is counted before its
/// commit without a lock.
#[derive(Debug)]
pub(super) struct Written {
    /// The entry's version in the lower half; in the upper one the draw that it was last part of.
    slots: Vec<AtomicU64>,
    draws: AtomicU32,
}

impl Written {
    /// Entries `0..entries`, each at version 0.
    pub(super) fn new(entries: u64) -> Self {
        Self { slots: (0..entries).map(|_| AtomicU64::new(0)).collect(), draws: AtomicU32::new(0) }
    }

    pub(super) const fn entries(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Chooses `count` different entries of `share` at random, and their next versions: fewer if the share has not
    /// twice as many.
    pub(super) fn draw(&self, numbers: &mut Numbers, share: Share, count: u64, drawn: &mut Vec<(Seed, u32)>) {
        drawn.clear();
        let draw = self.draws.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let entries = self.entries() / share.of;
        let count = count.min(entries / 2).max(1) as usize;
        while drawn.len() < count {
            let number = numbers.below(entries) * share.of + share.index;
            let slot = &self.slots[number as usize];
            let was = slot.load(Ordering::Relaxed);
            if (was >> 32) as u32 != draw {
                let version = (was as u32).wrapping_add(1);
                slot.store(u64::from(draw) << 32 | u64::from(version), Ordering::Relaxed);
                drawn.push((Seed::new(number), version));
            }
        }
    }

    /// Gets `count` random entries and compares them with what was written.
    ///
    /// # Errors
    /// If one is missing or holds another value; and the store's.
    pub(super) fn spot_check<S: Store>(&self, store: &S, count: u64, stream: u64) -> Result<()> {
        let mut numbers = Numbers::new(stream);
        let picks: Vec<u64> = (0..count).map(|_| numbers.below(self.entries())).collect();
        for part in picks.chunks(1000) {
            let version = |number: u64| self.slots[number as usize].load(Ordering::Relaxed) as u32;
            let mut expected = part.iter().map(|number| Seed::new(*number).value_at(version(*number)));
            let mut wrong = 0u64;
            let found = store.gets(part.iter().map(|number| Seed::new(*number).key()), |value| {
                wrong += u64::from(expected.next().is_none_or(|expected| expected != value));
            })?;
            if found != part.len() as u64 || wrong != 0 {
                let asked = part.len();
                return Err(
                    format!("{}: of {asked} entries {found} are there and {wrong} wrong", S::NAME).into()
                );
            }
        }
        Ok(())
    }

    /// Scans the whole store and counts its entries.
    ///
    /// # Errors
    /// If there are more or fewer than there should be; and the store's.
    pub(super) fn count<S: Store>(&self, store: &S) -> Result<()> {
        let seen = store.scan(&[], u64::MAX, |_, _| ())?;
        if seen == self.entries() {
            Ok(())
        } else {
            Err(format!("{}: {seen} entries instead of {}", S::NAME, self.entries()).into())
        }
    }
}
