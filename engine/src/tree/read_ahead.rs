//! Which leaves a scan should ask for before it comes to them. There are no sibling links in a copy-on-write tree:
//! the branch above names the leaves to come, and where it ends, the branch beside it.
//!
//! The window grows while the scan goes on, as a kernel's does, so that a short scan asks for little and a long one
//! keeps the disk busy. The branch beside is itself asked for some time before its leaves are, so that looking at it
//! seldom waits. It ends where the branch two levels above the leaves ends, and begins anew there: once in as many leaves
//! as two levels of branches name.
#![forbid(unsafe_code)]

use crate::node::Node;
use crate::word::{Target, Word};
use bifold_page_source::PageRef;

/// Leaves asked for at first.
const WINDOW_MIN: usize = 4;
/// The most leaves to be ahead.
const WINDOW_MAX: usize = 128;

/// What is known of how a position moves from leaf to leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadAhead {
    forward: bool,
    /// Leaves entered one after another in this direction.
    run: u32,
    /// Leaves of this branch asked for already, from the next one on.
    asked: usize,
    /// The branch beside this one, if it was asked for.
    beside: Option<Word>,
    /// Its leaves asked for already, from the near one on.
    beyond: usize,
    /// Its leaves that the window has room for.
    room: usize,
    /// With so many left of all that was asked for, it is time to ask for more.
    low: usize,
    window: usize,
}

impl ReadAhead {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self { forward: true, run: 0, asked: 0, beside: None, beyond: 0, room: 0, low: 0, window: WINDOW_MIN }
    }

    /// Notes that the next leaf in a direction was entered, of the same branch or of the one beside it. Whether it is
    /// time to [`ask`](Self::ask).
    pub(super) fn crossed(&mut self, forward: bool, same_parent: bool) -> bool {
        if forward != self.forward {
            *self = Self { forward, ..Self::new() };
        }
        self.run = self.run.saturating_add(1);
        if !same_parent {
            (self.asked, self.beyond, self.beside) = (self.beyond, 0, None);
        }
        self.asked = self.asked.saturating_sub(1);
        self.run >= 2 && self.asked + self.beyond <= self.low
    }

    /// Adds the leaves of `parent` to ask for now, the position being at its child `index`. Whether the branch beside
    /// it is to be [asked](Self::ask_beside), too.
    pub(super) fn ask(&mut self, parent: &Node<'_>, index: usize, pages: &mut Vec<PageRef>) -> bool {
        let left = if self.forward { parent.count().saturating_sub(index + 1) } else { index };
        let until = self.window.min(left);
        let child = |ahead: usize| if self.forward { index + ahead } else { index - ahead };
        pages.extend((self.asked + 1..=until).filter_map(|ahead| file_page(parent.child(child(ahead))?)));
        self.asked = self.asked.max(until);
        self.room = self.window - until;
        let goes_on = self.room > 0 || self.window == WINDOW_MAX;
        self.low = if self.room == 0 { self.window / 2 } else { 0 };
        self.window = (self.window * 2).min(WINDOW_MAX);
        goes_on
    }

    /// The branch beside child `index` of `grandparent`, which names this one.
    pub(super) fn beside(&self, grandparent: &Node<'_>, index: usize) -> Option<Word> {
        let next = if self.forward { index.checked_add(1) } else { index.checked_sub(1) };
        grandparent.child(next?)
    }

    /// Adds the branch beside this one if it was not asked for. Whether it was, and its leaves are to be asked for now.
    pub(super) fn is_due(&mut self, branch: Word, pages: &mut Vec<PageRef>) -> bool {
        let met = self.beside == Some(branch);
        if !met {
            self.beside = Some(branch);
            pages.extend(file_page(branch));
            // What is left of this branch is time enough to read it.
            self.low = self.low.max(self.asked / 2);
        }
        met && self.room > 0
    }

    /// Adds the leaves of the branch beside to ask for now.
    pub(super) fn ask_beside(&mut self, branch: &Node<'_>, pages: &mut Vec<PageRef>) {
        let count = branch.count();
        let until = self.room.min(count);
        let child = |nth: usize| if self.forward { nth - 1 } else { count - nth };
        pages.extend((self.beyond + 1..=until).filter_map(|nth| file_page(branch.child(child(nth))?)));
        self.beyond = self.beyond.max(until);
        let ahead = self.asked + self.beyond;
        self.low = ahead / 2;
    }
}

fn file_page(word: Word) -> Option<PageRef> {
    match word.target() {
        Target::File(page) => Some(page),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Items, pack};
    use bifold_page_source::PageId;

    const CHILDREN: usize = 140;
    const BRANCHES: usize = 4;
    /// In place of this leaf there is a page of the delta.
    const DELTA: usize = 50;
    /// Pages from here on are branches.
    const BRANCH: u64 = 10_000;

    fn word(page: u64) -> Word {
        let page = PageId::new(page).unwrap();
        if page.get() == DELTA as u64 { Word::delta(9) } else { Word::file(PageRef::new(page, 1 << 50)) }
    }

    /// A branch whose children are these pages.
    fn with_branch<R>(children: std::ops::Range<u64>, level: u8, look: impl FnOnce(&Node<'_>) -> R) -> R {
        let mut items = Items::default();
        for (nth, child) in children.enumerate() {
            items.insert_child(nth, &child.to_be_bytes(), word(child), 1, false);
        }
        let packed = pack(&items, level, 8192, None, None, None).unwrap();
        let (bytes, words) = items.build(&packed[0], level, 0, 8192);
        look(&Node::delta(&bytes, &words))
    }

    fn leaves_of(branch: usize) -> std::ops::Range<u64> {
        (branch * CHILDREN) as u64..((branch + 1) * CHILDREN) as u64
    }

    /// What a walk over all leaves asks for, by the number of the leaf at which it asks, from where it begins.
    fn asked(forward: bool) -> Vec<(usize, Vec<u64>)> {
        let mut ahead = ReadAhead::new();
        let mut asked = Vec::new();
        for step in 1..CHILDREN * BRANCHES {
            let leaf = if forward { step } else { CHILDREN * BRANCHES - 1 - step };
            let (branch, index) = (leaf / CHILDREN, leaf % CHILDREN);
            if !ahead.crossed(forward, step % CHILDREN != 0) {
                continue;
            }
            let mut pages = Vec::new();
            let goes_on = with_branch(leaves_of(branch), 1, |node| ahead.ask(node, index, &mut pages));
            let grandparent = BRANCH..BRANCH + BRANCHES as u64;
            let beside = with_branch(grandparent, 2, |node| ahead.beside(node, branch)).filter(|_| goes_on);
            if let Some(beside) = beside
                && ahead.is_due(beside, &mut pages)
            {
                let number = (file_page(beside).unwrap().page().get() - BRANCH) as usize;
                with_branch(leaves_of(number), 1, |node| ahead.ask_beside(node, &mut pages));
            }
            asked.push((step, pages.iter().map(|page| page.page().get()).collect()));
        }
        asked
    }

    #[test]
    fn every_leaf_to_come_is_asked_for_once_in_order_and_in_time() {
        let all = (CHILDREN * BRANCHES) as u64;
        for forward in [true, false] {
            let asked = asked(forward);
            assert_eq!(asked[0].0, 2, "not at the first crossing");
            let of =
                |pages: &[u64]| -> Vec<u64> { pages.iter().copied().filter(|page| *page < BRANCH).collect() };
            let leaves: Vec<u64> = asked.iter().flat_map(|(_, pages)| of(pages)).collect();
            let mut due: Vec<u64> = if forward { (3..all).collect() } else { (0..all - 3).rev().collect() };
            due.retain(|page| *page != DELTA as u64);
            assert_eq!(leaves, due);
            let mut last = 0;
            for (step, pages) in &asked {
                let here = if forward { *step as u64 } else { all - 1 - *step as u64 };
                assert!(of(pages).iter().all(|page| page.abs_diff(here) <= WINDOW_MAX as u64));
                last = of(pages).iter().map(|page| page.abs_diff(here) as usize + step).max().unwrap_or(last);
                // But for those of the delta, and the last ones, what comes next was asked for.
                assert!(last > *step || *step + 2 >= all as usize, "nothing is ahead at {step}");
            }
        }
    }

    #[test]
    fn a_branch_is_asked_for_once_and_before_its_leaves() {
        for forward in [true, false] {
            let asked = asked(forward);
            let at = |page: u64| -> Vec<usize> {
                asked.iter().filter(|(_, pages)| pages.contains(&page)).map(|(step, _)| *step).collect()
            };
            for branch in 1..BRANCHES {
                let number = if forward { branch } else { BRANCHES - 1 - branch };
                let begun = at(BRANCH + number as u64);
                let leaves = leaves_of(number);
                let first = at(if forward { leaves.start } else { leaves.end - 1 });
                assert_eq!((begun.len(), first.len()), (1, 1));
                assert!(begun[0] + 4 <= first[0], "{begun:?} {first:?}");
                assert!(first[0] + 16 <= branch * CHILDREN, "asked for in time: {first:?}");
            }
        }
    }

    #[test]
    fn it_is_asked_seldom() {
        // Near the end of all there is nothing to ask for, and it is not tried at every leaf.
        assert!(asked(true).len() < 40, "{}", asked(true).len());
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
