//! Keys that nobody is to see: each is replaced by another one of the same length.
//!
//! A Feistel network over the two halves of a key (Luby and Rackoff 1988), with `SipHash`, keyed by the operating
//! system's randomness, as the round function: different keys stay different, equal ones equal, and nothing is kept
//! with which the way back could be found. What goes is order. A key of one byte has no halves: it is only xored.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher, Hasher, RandomState};

const ROUNDS: u8 = 4;

/// The means to hide keys; forgotten with the recording.
#[derive(Debug)]
pub(super) struct Veil(RandomState);

impl Veil {
    /// One that differs from every other.
    pub(super) fn new() -> Self {
        Self(RandomState::new())
    }

    /// Replaces a key.
    pub(super) fn hide(&self, key: &mut [u8]) {
        if key.len() < 2 {
            self.blend(key, &[], 0);
            return;
        }
        for round in 0..ROUNDS {
            let (left, right) = key.split_at_mut(key.len() / 2);
            let (to, from) = if round % 2 == 0 { (left, right) } else { (right, left) };
            self.blend(to, from, round);
        }
    }

    /// Xors `to` with as many bytes as it has, which depend on `from` and `round`.
    fn blend(&self, to: &mut [u8], from: &[u8], round: u8) {
        for (number, part) in to.chunks_mut(8).enumerate() {
            let mut hasher = self.0.build_hasher();
            hasher.write_u8(round);
            hasher.write_usize(number);
            hasher.write(from);
            let mask = hasher.finish().to_le_bytes();
            part.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn different_keys_stay_different_and_no_longer() {
        let veil = Veil::new();
        let hidden = |key: &[u8]| {
            let mut key = key.to_vec();
            veil.hide(&mut key);
            key
        };
        assert_eq!(hidden(b""), b"");
        for len in [1, 2] {
            let all: HashSet<_> = (0..=255u8).map(|byte| hidden(&vec![byte; len])).collect();
            assert!(all.len() == 256 && all.iter().all(|key| key.len() == len));
        }
        let all: HashSet<_> = (0..=u16::MAX).map(|n| hidden(&n.to_be_bytes())).collect();
        assert_eq!(all.len(), 65_536);
        let long = vec![7; 1001];
        assert_eq!(hidden(&long), hidden(&long));
        assert_ne!(hidden(&long), long);
        let mut other = long.clone();
        other[1000] ^= 1;
        let same = hidden(&long).iter().zip(&hidden(&other)).filter(|(a, b)| a == b).count();
        assert!(same < 100, "{same} of 1001 bytes alike: a change of one byte goes everywhere");
        let mut elsewhere = long.clone();
        Veil::new().hide(&mut elsewhere);
        assert_ne!(elsewhere, hidden(&long), "under another key");
    }
}
