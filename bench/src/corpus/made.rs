//! Made data: entries that look random, and can each be computed from a number, or checked from what was read.
//!
//! Entry `n` of the `entries` that are loaded is the `n`th in the order of keys: its key begins with a number of 64 bits,
//! big-endian, which grows with `n` and lies at a random place within the `n`th of equal steps. So neither loading in
//! order nor in a random one needs a table or a sort. Entries that are inserted later, from number `entries` on, have
//! keys that lie anywhere between; they are odd where those that are loaded are even, so that no two are the same.
//!
//! A value begins with its *version*, and all else follows from that and from the key. A reader therefore can tell that
//! every byte is one that was written to this key, without knowing which write was the last.
#![forbid(unsafe_code)]

use super::{Sizes, mix};
use serde::{Deserialize, Serialize};

/// Bytes of a key that tell entries apart: the least that a key has.
pub const KEY_LEAST: u32 = 8;
/// Bytes of the least value: the version, and something to check.
pub const VALUE_LEAST: u32 = 8;

/// What the entries are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Made {
    /// How many are loaded.
    pub entries: u64,
    /// Bytes of keys; at least [`KEY_LEAST`].
    pub keys: Sizes,
    /// Bytes of values; at least [`VALUE_LEAST`], or it is that many.
    pub values: Sizes,
    /// Other ones for each seed.
    pub seed: u64,
}

impl Made {
    /// The number that tells entry `number` from others, and orders those that are loaded.
    #[inline]
    fn id(&self, number: u64) -> u64 {
        if number < self.entries {
            // Even: two numbers make up the least step.
            let step = (u64::MAX / self.entries).max(2) & !1;
            let within = (u128::from(mix(number ^ self.seed)) * u128::from(step / 2)) >> 64;
            number * step + 2 * within as u64
        } else {
            // Odd, and a bijection of what is left: multiplied by an odd number and mixed within 63 bits.
            let mut bits = (number - self.entries).wrapping_add(self.seed) & (u64::MAX >> 1);
            for _ in 0..2 {
                bits = bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) & (u64::MAX >> 1);
                bits ^= bits >> 32;
            }
            bits << 1 | 1
        }
    }

    /// Bytes of all keys and values that are loaded, about.
    pub fn bytes(&self) -> u64 {
        let key = self.keys.mean().max(f64::from(KEY_LEAST));
        let value = self.values.mean().max(f64::from(VALUE_LEAST));
        (self.entries as f64 * (key + value)) as u64
    }

    /// Writes the key of entry `number` over `key`.
    #[inline]
    pub fn key(&self, number: u64, key: &mut Vec<u8>) {
        let id = self.id(number);
        key.clear();
        key.extend_from_slice(&id.to_be_bytes());
        fill(key, self.keys.of(id).max(KEY_LEAST as usize), mix(!id));
    }

    /// Writes the value that the entry with `key` has in `version` over `value`.
    #[inline]
    pub fn value(&self, key: &[u8], version: u32, value: &mut Vec<u8>) {
        value.clear();
        value.extend_from_slice(&version.to_le_bytes());
        let state = state(key, version);
        fill(value, self.values.of(state).max(VALUE_LEAST as usize), state);
    }

    /// The version of the entry with `key` that has this `value`; nothing if none has.
    #[inline]
    pub fn version(&self, key: &[u8], value: &[u8]) -> Option<u32> {
        let (version, rest) = value.split_first_chunk::<4>()?;
        let version = u32::from_le_bytes(*version);
        let state = state(key, version);
        if value.len() != self.values.of(state).max(VALUE_LEAST as usize) {
            return None;
        }
        let mut now = state;
        let (words, last) = rest.as_chunks::<8>();
        let mut same = true;
        for word in words {
            now = mix(now);
            same &= *word == now.to_le_bytes();
        }
        (same && *last == mix(now).to_le_bytes()[..last.len()]).then_some(version)
    }
}

/// What tells a key from others, mixed.
#[inline]
pub(super) fn tag(key: &[u8]) -> u64 {
    mix(key.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first)))
}

/// What the bytes of a value follow from.
#[inline]
fn state(key: &[u8], version: u32) -> u64 {
    tag(key) ^ u64::from(version).rotate_left(32)
}

/// Appends bytes that follow from `state`, until there are `len`.
#[inline]
fn fill(bytes: &mut Vec<u8>, len: usize, mut state: u64) {
    while bytes.len() < len {
        state = mix(state);
        let word = state.to_le_bytes();
        let more = (len - bytes.len()).min(8);
        bytes.extend_from_slice(&word[..more]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(entries: u64) -> Made {
        Made { entries, keys: Sizes::Fixed(16), values: Sizes::Fixed(100), seed: 3 }
    }

    fn key(made: &Made, number: u64) -> Vec<u8> {
        let mut key = Vec::new();
        made.key(number, &mut key);
        key
    }

    #[test]
    fn loaded_keys_are_in_order_and_inserted_ones_are_others() {
        for entries in [1, 2, 1000, 100_000] {
            let made = made(entries);
            let mut keys: Vec<Vec<u8>> = (0..entries).map(|n| key(&made, n)).collect();
            assert!(keys.is_sorted_by(|a, b| a < b), "{entries}");
            assert!(keys.iter().all(|key| key.len() == 16));
            keys.extend((entries..entries + 10_000).map(|n| key(&made, n)));
            keys.sort_unstable();
            assert!(keys.is_sorted_by(|a, b| a < b), "{entries}: all differ");
        }
    }

    #[test]
    fn inserted_keys_lie_everywhere() {
        let made = made(100);
        let mut places = [0u32; 16];
        for number in 100..100 + 16_000 {
            places[usize::from(key(&made, number)[0] >> 4)] += 1;
        }
        assert!(places.iter().all(|count| (500..1500).contains(count)), "{places:?}");
    }

    #[test]
    fn a_value_is_checked_to_the_last_bit() {
        for values in [Sizes::Fixed(1), Sizes::Fixed(100), Sizes::Fixed(101), Sizes::Uniform(8, 60)] {
            let made = Made { values, ..made(1000) };
            let (a, b) = (key(&made, 5), key(&made, 6));
            let mut value = Vec::new();
            for version in [0, 1, u32::MAX] {
                made.value(&a, version, &mut value);
                assert_eq!(made.version(&a, &value), Some(version));
                assert!(value.len() >= 8 && made.version(&b, &value).is_none());
                assert!(made.version(&a, &value[..value.len() - 1]).is_none());
                for bit in 0..value.len() * 8 {
                    value[bit / 8] ^= 1 << (bit % 8);
                    assert!(made.version(&a, &value).is_none(), "{values}: bit {bit}");
                    value[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
        assert!(made(10).version(&[0; 16], &[]).is_none());
    }

    #[test]
    fn sizes_follow_the_recipe() {
        let made = Made { keys: Sizes::Uniform(4, 40), ..made(1000) };
        let lens: Vec<usize> = (0..1000).map(|n| key(&made, n).len()).collect();
        assert_eq!((lens.iter().min(), lens.iter().max()), (Some(&8), Some(&40)));
    }
}
