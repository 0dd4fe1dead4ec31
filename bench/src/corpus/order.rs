//! Orders of the numbers below a bound that look random and take no memory.
//!
//! A Feistel network permutes the numbers below the next power of four; what falls beyond the bound is permuted again
//! until it does not ("cycle walking": Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). So every
//! number comes once, whatever the bound, and a process that is measured holds no table of them.
#![forbid(unsafe_code)]

use super::mix;

/// Rounds of the network: four make a permutation that looks random (Luby and Rackoff, 1988).
const ROUNDS: u64 = 4;

/// A permutation of the numbers below a bound.
#[derive(Clone, Copy, Debug)]
pub struct Shuffle {
    bound: u64,
    half_bits: u32,
    seed: u64,
}

impl Shuffle {
    /// One of the numbers below `bound`, another for each seed.
    pub fn new(bound: u64, seed: u64) -> Self {
        let bits = u64::BITS - bound.saturating_sub(1).leading_zeros();
        Self { bound, half_bits: bits.div_ceil(2).max(1), seed: mix(seed) }
    }

    /// The number at `place`, which is below the bound; as is what is returned.
    #[inline]
    pub fn at(&self, place: u64) -> u64 {
        debug_assert!(place < self.bound, "a place beyond the bound");
        let mut number = place;
        loop {
            number = self.permuted(number);
            if number < self.bound {
                return number;
            }
        }
    }

    #[inline]
    fn permuted(&self, number: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (mix(right ^ self.seed.wrapping_add(round << 56)) & mask));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once() {
        for bound in [1, 2, 3, 4, 5, 17, 64, 1000, 4097] {
            let shuffle = Shuffle::new(bound, 7);
            let mut all: Vec<u64> = (0..bound).map(|place| shuffle.at(place)).collect();
            if bound > 100 {
                assert!(!all.is_sorted());
                assert_ne!(all[..20], (0..20).map(|p| Shuffle::new(bound, 8).at(p)).collect::<Vec<_>>());
            }
            all.sort_unstable();
            assert_eq!(all, (0..bound).collect::<Vec<_>>());
        }
        let _ = Shuffle::new(u64::MAX, 1).at(u64::MAX - 1);
    }
}
