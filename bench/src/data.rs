//! What the stores hold: entries that look random and can all be computed again from their numbers.
//!
//! Entry `n` has a 16-byte key and a 100-byte value, neither of which compresses. Keys order as the *seeds* they are
//! made of, so that a data set is sorted or shuffled as a vector of numbers.
#![forbid(unsafe_code)]

use crate::corpus::mix;

/// Bytes of a key.
pub const KEY_LEN: usize = 16;
/// Bytes of a value.
pub const VALUE_LEN: usize = 100;

/// A key.
pub type Key = [u8; KEY_LEN];
/// A value.
pub type Value = [u8; VALUE_LEN];

/// What an entry is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seed(u64);

impl Seed {
    /// The seed of entry `number`: another for each number.
    #[inline]
    pub const fn new(number: u64) -> Self {
        Self(mix(number))
    }

    /// The entry's key.
    #[inline]
    pub fn key(self) -> Key {
        let mut key = [0; KEY_LEN];
        key[..8].copy_from_slice(&self.0.to_be_bytes());
        key[8..].copy_from_slice(&mix(!self.0).to_be_bytes());
        key
    }

    /// The entry's value.
    pub fn value(self) -> Value {
        self.value_at(0)
    }

    /// The entry's value after `version` overwrites.
    pub fn value_at(self, version: u32) -> Value {
        let mut value = [0; VALUE_LEN];
        let mut state = self.0 ^ (u64::from(version) << 32);
        for chunk in value.chunks_mut(8) {
            state = mix(state);
            chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
        }
        value
    }
}

/// The seeds of entries `0..count`, in the order of their numbers, which is a random order of their keys.
pub fn shuffled(count: u64) -> Vec<Seed> {
    (0..count).map(Seed::new).collect()
}

/// The same in the order of their keys.
pub fn sorted(count: u64) -> Vec<Seed> {
    let mut seeds = shuffled(count);
    seeds.sort_unstable();
    seeds
}

/// Numbers chosen at random, the same ones for the same stream.
#[derive(Clone, Debug)]
pub struct Numbers {
    stream: u64,
    drawn: u64,
}

impl Numbers {
    /// The numbers of `stream`.
    pub const fn new(stream: u64) -> Self {
        Self { stream: mix(!stream), drawn: 0 }
    }

    /// The next number, which is below `count`.
    #[inline]
    pub fn below(&mut self, count: u64) -> u64 {
        let drawn = mix(self.stream.wrapping_add(self.drawn));
        self.drawn += 1;
        ((u128::from(drawn) * u128::from(count)) >> 64) as u64
    }
}

/// `picks` seeds of entries below `count`, each chosen at random; other ones for each `round`.
pub fn picks(count: u64, picks: u64, round: u64) -> Vec<Seed> {
    let mut numbers = Numbers::new(round);
    (0..picks).map(|_| Seed::new(numbers.below(count))).collect()
}

/// Reads every byte of a value. Sums of these over a set of entries say whether a store returned them all, whatever
/// their order.
#[inline]
pub fn digest(value: &[u8]) -> u64 {
    let (words, rest) = value.as_chunks::<8>();
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

/// What [`digest`] must sum up to over the values of `seeds`.
pub fn expected(seeds: &[Seed]) -> u64 {
    seeds.iter().fold(0, |sum, seed| sum.wrapping_add(digest(&seed.value())))
}

/// Bytes of keys and values of `entries` entries.
pub const fn bytes(entries: u64) -> u64 {
    entries * (KEY_LEN + VALUE_LEN) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_their_seeds_and_differ() {
        let keys: Vec<Key> = sorted(10_000).into_iter().map(Seed::key).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn picks_are_entries_and_change_with_the_round() {
        let all = sorted(100);
        let (a, b) = (picks(100, 1000, 1), picks(100, 1000, 2));
        assert!(a.iter().all(|seed| all.binary_search(seed).is_ok()));
        assert_ne!(a, b);
        let mut seen = a;
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 95, "all are picked: {}", seen.len());
    }

    #[test]
    fn versions_of_a_value_differ() {
        let (a, b) = (Seed::new(7), Seed::new(8));
        assert_eq!(a.value(), a.value_at(0));
        assert!(
            a.value_at(1) != a.value_at(0)
                && a.value_at(1) != a.value_at(2)
                && a.value_at(1) != b.value_at(1)
        );
    }

    #[test]
    fn a_digest_depends_on_every_byte() {
        let value = Seed::new(1).value();
        for at in 0..VALUE_LEN {
            let mut other = value;
            other[at] ^= 1;
            assert_ne!(digest(&value), digest(&other), "byte {at}");
        }
    }
}
