//! Which leaves a scan should ask for before it comes to them. There are no sibling links in a copy-on-write tree:
//! the branch above names the leaves to come.
//!
//! The window grows while the scan goes on, as a kernel's does, so that a short scan asks for little and a long one
//! keeps the disk busy. It ends where the branch ends.
#![forbid(unsafe_code)]

use crate::node::Node;
use crate::word::Target;
use bifold_page_source::PageRef;

/// Leaves asked for at first.
const WINDOW_MIN: usize = 8;
/// The most leaves to be ahead.
const WINDOW_MAX: usize = 64;

/// What is known of how a position moves from leaf to leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadAhead {
    forward: bool,
    /// Leaves entered one after another in this direction.
    run: u32,
    /// Leaves asked for already, from the next one on.
    asked: usize,
    /// With so many of those left, it is time to ask for more: half of what was asked for last.
    low: usize,
    window: usize,
}

impl ReadAhead {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self { forward: true, run: 0, asked: 0, low: 0, window: WINDOW_MIN }
    }

    /// Notes that the next leaf in a direction was entered. Whether it is time to [`ask`](Self::ask).
    pub(super) fn crossed(&mut self, forward: bool, same_parent: bool) -> bool {
        if forward != self.forward {
            *self = Self { forward, ..Self::new() };
        }
        self.run = self.run.saturating_add(1);
        self.asked = if same_parent { self.asked.saturating_sub(1) } else { 0 };
        self.run >= 2 && self.asked <= self.low
    }

    /// The leaves to ask for now, the position being at child `index` of `parent`.
    pub(super) fn ask(&mut self, parent: &Node<'_>, index: usize) -> Vec<PageRef> {
        let left = if self.forward { parent.count().saturating_sub(index + 1) } else { index };
        let until = self.window.min(left);
        let file_page = |ahead: usize| {
            let child = if self.forward { index + ahead } else { index - ahead };
            match parent.child(child)?.target() {
                Target::File(page) => Some(page),
                _ => None,
            }
        };
        let pages = (self.asked + 1..=until).filter_map(file_page).collect();
        if until > self.asked {
            (self.asked, self.low) = (until, self.window / 2);
            self.window = (self.window * 2).min(WINDOW_MAX);
        }
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Items, pack};
    use crate::word::Word;
    use bifold_page_source::PageId;

    const CHILDREN: usize = 140;

    /// What a walk over one branch's children asks for, by the child at which it asks.
    fn asked(forward: bool) -> Vec<(usize, Vec<u64>)> {
        let mut items = Items::default();
        for child in 0..CHILDREN {
            let page = PageId::new(child as u64).unwrap();
            let word = if child == 50 { Word::delta(9) } else { Word::file(PageRef::new(page, 1 << 50)) };
            items.insert_child(child, &(child as u32).to_be_bytes(), word, 1, false);
        }
        let packed = pack(&items, 1, 8192, None, None, None).unwrap();
        let (bytes, words) = items.build(&packed[0], 1, 0, 8192);
        let branch = Node::delta(&bytes, &words);
        assert_eq!(branch.count(), CHILDREN);
        let mut ahead = ReadAhead::new();
        let mut asked = Vec::new();
        for step in 1..CHILDREN {
            let index = if forward { step } else { CHILDREN - 1 - step };
            if ahead.crossed(forward, true) {
                let pages = ahead.ask(&branch, index);
                asked.push((step, pages.iter().map(|page| page.page().get()).collect()));
            }
        }
        asked
    }

    #[test]
    fn every_leaf_to_come_is_asked_for_once_in_order_and_in_time() {
        for forward in [true, false] {
            let asked = asked(forward);
            assert_eq!(asked[0].0, 2, "not at the first crossing");
            let pages: Vec<u64> = asked.iter().flat_map(|(_, pages)| pages.clone()).collect();
            let mut due: Vec<u64> = if forward {
                (3..CHILDREN as u64).collect()
            } else {
                (0..CHILDREN as u64 - 3).rev().collect()
            };
            due.retain(|page| *page != 50);
            assert_eq!(pages, due);
            for (step, pages) in asked {
                let here = if forward { step } else { CHILDREN - 1 - step } as u64;
                assert!(pages.iter().all(|page| page.abs_diff(here) <= WINDOW_MAX as u64));
            }
        }
    }

    #[test]
    fn turning_round_begins_anew() {
        let mut ahead = ReadAhead::new();
        assert!(!ahead.crossed(true, true));
        assert!(ahead.crossed(true, true));
        assert!(!ahead.crossed(false, true));
        assert!(ahead.crossed(false, false));
    }
}
