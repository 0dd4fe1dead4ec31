//! A block of pages as bits: one cache line.
#![forbid(unsafe_code)]

/// Pages in a block.
pub(super) const BLOCK: u64 = 512;
const WORD: usize = u64::BITS as usize;
const WORDS: usize = BLOCK as usize / WORD;

/// Which pages of a block are in a set; the lowest is the lowest bit of the first word. Positions are below
/// [`BLOCK`], ends up to it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Bits([u64; WORDS]);

impl Bits {
    /// All of them.
    pub(super) const FULL: Self = Self([u64::MAX; WORDS]);

    /// Whether none is in the set.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all are.
    pub(super) fn is_full(&self) -> bool {
        *self == Self::FULL
    }

    /// Whether the page at `at` is.
    pub(super) fn has(&self, at: usize) -> bool {
        self.0.get(at / WORD).is_some_and(|word| word >> (at % WORD) & 1 == 1)
    }

    /// The first position, `from` or behind it, whose page is in the set (or is not, if not `inside`); the block's end
    /// if there is none.
    pub(super) fn next(&self, from: usize, inside: bool) -> usize {
        let flip = if inside { 0 } else { u64::MAX };
        let mut mask = u64::MAX << (from % WORD);
        for (index, word) in self.0.iter().enumerate().skip(from / WORD) {
            let found = (word ^ flip) & mask;
            if found != 0 {
                return index * WORD + found.trailing_zeros() as usize;
            }
            mask = u64::MAX;
        }
        BLOCK as usize
    }

    /// The first page of those that are in the set without a gap up to the one at `at`, which is.
    pub(super) fn start_of(&self, at: usize) -> usize {
        let mut mask = u64::MAX >> (WORD - 1 - at % WORD);
        for index in (0..=(at / WORD).min(WORDS - 1)).rev() {
            let gaps = !self.0[index] & mask;
            if gaps != 0 {
                return (index + 1) * WORD - gaps.leading_zeros() as usize;
            }
            mask = u64::MAX;
        }
        0
    }

    /// Changes the pages from `from` up to `to` to the other state.
    pub(super) fn flip(&mut self, from: usize, to: usize) {
        for (index, word) in self.0.iter_mut().enumerate().take(to.div_ceil(WORD)).skip(from / WORD) {
            let start = index * WORD;
            let low = from.saturating_sub(start);
            let high = (to - start).min(WORD);
            *word ^= u64::MAX >> (WORD - (high - low)) << low;
        }
    }

    /// How many of the two pages beside those from `from` up to `to` are in the block and in the set.
    pub(super) fn beside(&self, from: usize, to: usize) -> usize {
        usize::from(from > 0 && self.has(from - 1)) + usize::from(self.has(to))
    }
}
