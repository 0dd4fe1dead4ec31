//! The runs of a [`PageSet`] in order, and those of several.
#![forbid(unsafe_code)]

use super::bits::{BLOCK, Bits};
use super::page_set::PageSet;
use super::runs::{Run, Runs};
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;

/// The runs of a [`PageSet`], lowest first.
#[derive(Debug)]
pub(crate) struct Iter<'a> {
    blocks: Peekable<btree_map::Iter<'a, u64, Bits>>,
    full: Peekable<btree_map::Iter<'a, u64, u64>>,
    /// The first page of a block, the block, and up to which bit it was read.
    open: (u64, Bits, usize),
    /// The next run, as far as it is known.
    next: Option<Run>,
}

impl<'a> Iter<'a> {
    /// The runs of the pages in `blocks`, and in the blocks that `full` has the numbers of.
    pub(super) fn new(blocks: &'a BTreeMap<u64, Bits>, full: &'a Runs) -> Self {
        Self {
            blocks: blocks.iter().peekable(),
            full: full.by_start().iter().peekable(),
            open: (0, Bits::default(), BLOCK as usize),
            next: None,
        }
    }

    /// The next run that does not go on from one block to another.
    fn piece(&mut self) -> Option<Run> {
        loop {
            let (start, bits, at) = &mut self.open;
            let from = bits.next(*at, true);
            if from < BLOCK as usize {
                let to = bits.next(from, false);
                *at = to;
                return Some(Run::between(*start + from as u64, *start + to as u64));
            }
            let part = self.blocks.peek().map(|(block, _)| **block);
            let full = self.full.peek().map(|(block, _)| **block);
            if full.is_some_and(|full| part.is_none_or(|part| full < part)) {
                let (block, len) = self.full.next()?;
                return Some(Run::new(block * BLOCK, len * BLOCK));
            }
            let (block, bits) = self.blocks.next()?;
            self.open = (block * BLOCK, *bits, 0);
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let mut run = match self.next.take() {
            Some(run) => run,
            None => self.piece()?,
        };
        // A run that does not end with its block ends here.
        while run.end().is_multiple_of(BLOCK) {
            match self.piece() {
                Some(more) if more.start == run.end() => run.len += more.len,
                other => {
                    self.next = other;
                    break;
                }
            }
        }
        Some(run)
    }
}

/// The runs of all pages that are in any of `sets`, lowest first.
pub(super) fn union<const N: usize>(sets: [&PageSet; N]) -> impl Iterator<Item = Run> + '_ {
    /// Begins behind all runs.
    const NONE: Run = Run::new(u64::MAX, 0);
    let mut heads = sets.map(|set| {
        let mut runs = set.iter();
        (runs.next().unwrap_or(NONE), runs)
    });
    // The lowest run of those that begin at or before a page.
    let mut lowest = move |limit: u64| {
        let (head, rest) = heads.iter_mut().min_by_key(|(head, _)| head.start)?;
        if head.start > limit || head.len == 0 {
            return None;
        }
        Some(std::mem::replace(head, rest.next().unwrap_or(NONE)))
    };
    std::iter::from_fn(move || {
        let mut run = lowest(u64::MAX)?;
        while let Some(more) = lowest(run.end()) {
            run.len = run.end().max(more.end()) - run.start;
        }
        Some(run)
    })
}
