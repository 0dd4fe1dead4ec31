//! Which leaves are to be rewritten: those that lie too far behind, those that are out of order, and those that are
//! so empty that they fit a page together with a neighbour.
#![forbid(unsafe_code)]

use crate::tree::touch::LeafSeen;

/// Leaves in a row, in key order and side by side in the file, that are left as they are.
const GOOD_RUN: usize = 16;

/// What is wanted of the places of leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Goal {
    /// Long runs in key order, before the limit.
    Order,
    /// Places before the limit.
    Short,
}

/// For each leaf of a branch whether it is to be rewritten, so that it comes to lie before page `limit`.
pub(super) fn to_rewrite(leaves: &[LeafSeen], goal: Goal, limit: u64) -> Vec<bool> {
    let mut rewrite: Vec<bool> = leaves.iter().map(|leaf| leaf.place.is_some_and(|p| p >= limit)).collect();
    if goal == Goal::Short {
        return rewrite;
    }
    let least = GOOD_RUN.min(leaves.len() / 2).max(1);
    let mut start = 0;
    while let Some(leaf) = leaves.get(start) {
        let Some(place) = leaf.place else {
            start += 1;
            continue;
        };
        let follows = |(offset, leaf): (u64, &LeafSeen)| leaf.place == Some(place + offset);
        let len = (0..).zip(&leaves[start..]).take_while(|pair| follows(*pair)).count();
        if len < least {
            rewrite[start..start + len].fill(true);
        }
        start += len;
    }
    rewrite
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word::Word;

    fn rewritten(places: &[u64], goal: Goal, limit: u64) -> Vec<usize> {
        let leaf = |&place: &u64| LeafSeen {
            key: Vec::new(),
            word: Word::delta(1),
            place: Some(place).filter(|place| *place > 0),
            extents: false,
        };
        let leaves: Vec<_> = places.iter().map(leaf).collect();
        let chosen = to_rewrite(&leaves, goal, limit);
        (0..places.len()).filter(|&at| chosen[at]).collect()
    }

    #[test]
    fn what_lies_well_stays() {
        let run: Vec<u64> = (10..50).collect();
        assert!(rewritten(&run, Goal::Order, 100).is_empty());
        assert_eq!(rewritten(&run, Goal::Short, 48), [38, 39]);
        assert_eq!(rewritten(&run, Goal::Order, 48), [38, 39]);
        // Two leaves apart, one of them without a place yet.
        let places: Vec<u64> = (10..30).chain([90, 0]).chain(31..50).collect();
        assert_eq!(rewritten(&places, Goal::Order, 100), [20]);
        assert_eq!(rewritten(&[7], Goal::Order, 100), [0usize; 0]);
        assert_eq!(rewritten(&[7], Goal::Order, 7), [0]);
        let backwards: Vec<u64> = (10..50).rev().collect();
        assert_eq!(rewritten(&backwards, Goal::Order, 100).len(), 40);
        assert!(rewritten(&backwards, Goal::Short, 100).is_empty());
    }
}
