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
    window: usize,
}

impl ReadAhead {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self { forward: true, run: 0, asked: 0, window: WINDOW_MIN }
    }

    /// Notes that the next leaf in a direction was entered. Whether it is time to [`ask`](Self::ask).
    pub(super) fn crossed(&mut self, forward: bool, same_parent: bool) -> bool {
        if forward != self.forward {
            *self = Self { forward, ..Self::new() };
        }
        self.run = self.run.saturating_add(1);
        self.asked = if same_parent { self.asked.saturating_sub(1) } else { 0 };
        self.run >= 2 && self.asked <= self.window / 2
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
            self.asked = until;
            self.window = (self.window * 2).min(WINDOW_MAX);
        }
        pages
    }
}
