//! Numbers in an order that neither a disk nor a processor foresees.
#![forbid(unsafe_code)]

/// A well mixed function of `n`: the finaliser of `SplitMix64` (Steele, Lea and Flood, 2014).
pub(super) fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Every number below `n` once, and again in the same order.
///
/// A linear congruential generator whose modulus is the next power of two has full period by the theorem of Hull and
/// Dobell; numbers not below `n` are passed over. The multiplier is Knuth's MMIX's.
#[derive(Debug, Clone)]
pub(super) struct Permutation {
    n: u64,
    state: u64,
    left: u64,
}

impl Permutation {
    /// An order of the numbers below `n`, which is at least one.
    pub(super) fn new(n: u64) -> Self {
        debug_assert!(n > 0, "nothing to permute");
        Self { n: n.max(1), state: 0, left: n.max(1) }
    }

    /// The next number, and whether it is the last of a round.
    #[inline]
    pub(super) fn next(&mut self) -> (u64, bool) {
        let number = self.state;
        loop {
            self.state = successor(self.state, self.n.next_power_of_two());
            if self.state < self.n {
                break;
            }
        }
        self.left -= 1;
        let last = self.left == 0;
        if last {
            self.left = self.n;
        }
        (number, last)
    }
}

/// What follows `x` in the cycle through all numbers below `modulus`, a power of two.
#[inline]
pub(super) fn successor(x: u64, modulus: u64) -> u64 {
    x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) & (modulus - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_a_round_and_rounds_end_where_they_say() {
        for n in [1u64, 2, 3, 5, 64, 1000] {
            let mut order = Permutation::new(n);
            for _ in 0..2 {
                let mut seen = vec![false; n as usize];
                for turn in 1..=n {
                    let (number, last) = order.next();
                    assert!(
                        !std::mem::replace(&mut seen[number as usize], true),
                        "{number} of {n} came twice"
                    );
                    assert_eq!(last, turn == n);
                }
            }
        }
    }
}
