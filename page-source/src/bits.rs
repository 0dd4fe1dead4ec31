//! A set of page numbers that readers test without a lock: one bit a page, in memory that follows the numbers in use.
//!
//! Bucket `k` holds `2^(15 + k)` bits and comes into being at its first insertion; buckets never move, so a test is
//! a bit scan and two loads. (The shape of a thread-local registry: geometric buckets behind once-cells.)
#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Binary logarithm of the first bucket's size in bits: 4 KiB of memory, 128 MiB of file at 4 KiB a page.
const FIRST: u32 = 15;
/// Enough for every page number, which has 40 bits.
const BUCKETS: usize = 26;

/// A concurrent set of numbers below 2^40, such as the pages that have been found whole.
#[derive(Debug, Default)]
pub struct Bits {
    buckets: [OnceLock<Box<[AtomicU64]>>; BUCKETS],
}

/// Where a number's bit is: bucket, word, bit.
#[inline]
fn place(number: u64) -> (usize, usize, u32) {
    let shifted = number + (1 << FIRST);
    let log = shifted.ilog2();
    let within = shifted - (1 << log);
    ((log - FIRST) as usize, (within / 64) as usize, (within % 64) as u32)
}

impl Bits {
    /// Whether `number` is in the set. A relaxed load: whoever may ask about a place already knows, through what
    /// led it there, of everything that was done to it.
    #[inline]
    pub fn contains(&self, number: u64) -> bool {
        let (bucket, word, bit) = place(number);
        let Some(words) = self.buckets.get(bucket).and_then(OnceLock::get) else { return false };
        words.get(word).is_some_and(|w| w.load(Ordering::Relaxed) >> bit & 1 == 1)
    }

    /// Adds `number`. Numbers from 2^40 on are left out.
    pub fn insert(&self, number: u64) {
        let (bucket, word, bit) = place(number);
        let Some(cell) = self.buckets.get(bucket) else { return };
        let words = cell.get_or_init(|| {
            let count = 1usize << (FIRST - 6 + bucket as u32);
            (0..count).map(|_| AtomicU64::new(0)).collect()
        });
        words[word].fetch_or(1 << bit, Ordering::Relaxed);
    }

    /// Takes a range of numbers out: one step for each 64 of them, none where nothing was ever inserted.
    pub fn remove(&self, range: Range<u64>) {
        let mut next = range.start;
        while next < range.end {
            let (bucket, word, bit) = place(next);
            let Some(cell) = self.buckets.get(bucket) else { return };
            let Some(words) = cell.get() else {
                next = (1 << (FIRST + bucket as u32 + 1)) - (1 << FIRST);
                continue;
            };
            let count = (64 - u64::from(bit)).min(range.end - next);
            let mask = (u64::MAX >> (64 - count)) << bit;
            words[word].fetch_and(!mask, Ordering::Relaxed);
            next += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: [u64; 8] = [0, 63, 64, 32_767, 32_768, 98_303, 98_304, 1_000_003];

    #[test]
    fn numbers_go_in_and_out_alone() {
        let bits = Bits::default();
        for n in FAR {
            assert!(!bits.contains(n));
            bits.insert(n);
            assert!(bits.contains(n));
        }
        for n in FAR {
            bits.remove(n..n + 1);
            assert!(!bits.contains(n), "{n}");
        }
    }

    #[test]
    fn a_range_is_removed_exactly() {
        for (from, to) in [(10, 10), (10, 11), (60, 70), (64, 128), (32_700, 32_800), (5, 98_400)] {
            let bits = Bits::default();
            (0..98_500).for_each(|n| bits.insert(n));
            bits.remove(from..to);
            for n in 0..98_500 {
                assert_eq!(bits.contains(n), !(from..to).contains(&n), "{n} of {from}..{to}");
            }
        }
    }

    #[test]
    fn removing_what_was_never_there_is_quick_and_the_largest_numbers_have_a_place() {
        let bits = Bits::default();
        bits.remove(0..1 << 40);
        bits.insert(7);
        bits.remove(8..1 << 40);
        assert!(bits.contains(7));
        assert!(!bits.contains((1 << 40) - 1));
        let (bucket, _, _) = place((1 << 40) - 1);
        assert!(bucket < BUCKETS);
    }
}
