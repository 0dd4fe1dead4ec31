//! A set of pages for tens of thousands of single ones in no order: bits in blocks, and whole blocks as runs.
//!
//! Freed space is mostly scattered pages, and a map of runs then pays several searches and a node's upkeep for each.
//! Here a page is a bit; a search finds its block of 512, which is one cache line. Blocks that are wholly in the set
//! are kept as runs of block numbers, so that an extent, or a file's unused end, costs no more than its ends (Roaring
//! bitmaps choose per block in the same way).
#![forbid(unsafe_code)]

use super::bits::{BLOCK, Bits};
use super::page_iter::Iter;
use super::runs::{PAGE_LIMIT, Run, Runs};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, btree_map};

/// A set of pages.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct PageSet {
    /// The blocks that are partly in the set, by block number.
    blocks: BTreeMap<u64, Bits>,
    /// The blocks that are wholly in the set, as runs of block numbers.
    full: Runs,
    pages: u64,
    /// How many runs the pages form.
    runs: usize,
}

/// A run's pages by block: the part of its first block, the blocks that it covers wholly, the part of its last block.
/// A run within one block is all `head`.
struct Split {
    head: Option<(u64, usize, usize)>,
    middle: Run,
    tail: Option<(u64, usize, usize)>,
}

impl Split {
    fn of(run: Run) -> Self {
        let at = |page: u64| (page % BLOCK) as usize;
        let (first, last) = (run.start.div_ceil(BLOCK), run.end() / BLOCK);
        if first > last {
            return Self {
                head: Some((last, at(run.start), at(run.end()))),
                middle: Run::new(0, 0),
                tail: None,
            };
        }
        let head = (at(run.start) > 0).then_some((run.start / BLOCK, at(run.start), BLOCK as usize));
        let tail = (at(run.end()) > 0).then_some((last, 0, at(run.end())));
        let (head, tail) = if head.is_none() && first == last { (tail, None) } else { (head, tail) };
        Self { head, middle: Run::between(first, last), tail }
    }

    fn is_one_piece(&self) -> bool {
        self.middle.len == 0 && self.tail.is_none()
    }
}

impl PageSet {
    /// How many pages are in the set.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// How many runs they form.
    pub(crate) fn count(&self) -> usize {
        self.runs
    }

    /// Whether there is no page in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.pages == 0
    }

    /// Whether a page is in the set.
    pub(crate) fn contains(&self, page: u64) -> bool {
        match self.blocks.get(&(page / BLOCK)) {
            Some(bits) => bits.has((page % BLOCK) as usize),
            None => self.full.contains(page / BLOCK),
        }
    }

    /// The lowest page.
    pub(crate) fn first(&self) -> Option<u64> {
        let part =
            self.blocks.first_key_value().map(|(block, bits)| block * BLOCK + bits.next(0, true) as u64);
        let full = self.full.first().map(|run| run.start * BLOCK);
        part.into_iter().chain(full).min()
    }

    /// Whether any page of `run` is in the set.
    pub(crate) fn overlaps(&self, run: Run) -> bool {
        run.len > 0 && self.span(run.start, run.end()) != (false, run.end())
    }

    /// Whether the page `at` is in the set, and up to which one, `end` at most, it is the same with those behind it.
    pub(crate) fn span(&self, at: u64, end: u64) -> (bool, u64) {
        let inside = self.contains(at);
        let mut page = at;
        while page < end {
            let block = page / BLOCK;
            if let Some(bits) = self.blocks.get(&block) {
                let changes = bits.next((page % BLOCK) as usize, !inside);
                page = block * BLOCK + changes as u64;
                if changes < BLOCK as usize {
                    break;
                }
            } else if let Some(run) = self.full.holder(block) {
                if !inside {
                    break;
                }
                page = run.end() * BLOCK;
            } else if inside {
                break;
            } else {
                let part = self.blocks.range(block..).next().map(|(block, _)| *block);
                let full = self.full.at_or_after(block).map(|run| run.start);
                let next = part.into_iter().chain(full).min();
                page = next.map_or(end, |block| block * BLOCK);
            }
        }
        (inside, page.min(end))
    }

    /// The longest run in the set that the page `at` is part of.
    pub(crate) fn run_at(&self, at: u64) -> Option<Run> {
        let (inside, end) = self.span(at, PAGE_LIMIT);
        if !inside {
            return None;
        }
        // `start` is in the set.
        let mut start = at;
        loop {
            let block = start / BLOCK;
            start = match self.blocks.get(&block) {
                Some(bits) => block * BLOCK + bits.start_of((start % BLOCK) as usize) as u64,
                None => self.full.holder(block).map_or(start, |run| run.start * BLOCK),
            };
            if !start.is_multiple_of(BLOCK) || start == 0 || !self.contains(start - 1) {
                return Some(Run::between(start, end));
            }
            start -= 1;
        }
    }

    /// The parts of `run` that are in the set (`true`) and that are not, lowest first.
    pub(crate) fn parts(&self, run: Run) -> impl Iterator<Item = (bool, Run)> + '_ {
        let mut at = run.start;
        std::iter::from_fn(move || {
            (at < run.end()).then(|| {
                let (inside, end) = self.span(at, run.end());
                let part = Run::between(at, end);
                at = end;
                (inside, part)
            })
        })
    }

    /// The parts of `run` that are in the set, lowest first.
    pub(crate) fn overlapping(&self, run: Run) -> impl Iterator<Item = Run> + '_ {
        self.parts(run).filter_map(|(inside, part)| inside.then_some(part))
    }

    /// Adds a run.
    ///
    /// # Errors
    /// [`Error::Internal`] if a page of it is in the set already, or it is not a valid run; nothing has changed.
    pub(crate) fn insert(&mut self, run: Run) -> Result<()> {
        const WHAT: Error = Error::Internal("a page was added to a set that holds it");
        if !run.is_valid() {
            return Err(Error::Internal("a run of pages that no file can have"));
        }
        let split = Split::of(run);
        if !split.is_one_piece() && self.overlaps(run) {
            return Err(WHAT);
        }
        let mut joins = 0;
        for (block, from, to) in [split.head, split.tail].into_iter().flatten() {
            joins += self.set(block, from, to).ok_or(WHAT)?;
        }
        if split.middle.len > 0 {
            self.full.insert(split.middle)?;
        }
        self.pages += run.len;
        self.runs = self.runs + 1 - joins - self.beyond(run);
        Ok(())
    }

    /// Removes a run that is wholly in the set.
    ///
    /// # Errors
    /// [`Error::Internal`] if a page of it is not in the set, or it is not a valid run; nothing has changed.
    pub(crate) fn remove(&mut self, run: Run) -> Result<()> {
        const WHAT: Error = Error::Internal("a page was taken from a set that does not hold it");
        let split = Split::of(run);
        if !run.is_valid() || !split.is_one_piece() && self.span(run.start, run.end()) != (true, run.end()) {
            return Err(WHAT);
        }
        let mut splits = 0;
        for (block, from, to) in [split.head, split.tail].into_iter().flatten() {
            splits += self.clear(block, from, to).ok_or(WHAT)?;
        }
        if split.middle.len > 0 {
            self.full.remove(split.middle)?;
        }
        self.pages -= run.len;
        self.runs = self.runs + splits + self.beyond(run) - 1;
        Ok(())
    }

    /// Removes the pages of `run` that are in the set; `missing` gets the parts that are not, lowest first.
    ///
    /// # Errors
    /// Those of `missing`; [`Error::Internal`] if it is not a valid run.
    pub(crate) fn take(&mut self, run: Run, mut missing: impl FnMut(Run) -> Result<()>) -> Result<()> {
        let mut at = run.start;
        while at < run.end() {
            let (inside, end) = self.span(at, run.end());
            let part = Run::between(at, end);
            if inside {
                self.remove(part)?;
            } else {
                missing(part)?;
            }
            at = end;
        }
        Ok(())
    }

    /// How many of the two pages beside `run` are in the set and in other blocks than its first and last page.
    fn beyond(&self, run: Run) -> usize {
        let before = run.start.is_multiple_of(BLOCK) && run.start > 0 && self.contains(run.start - 1);
        let behind = run.end().is_multiple_of(BLOCK) && self.contains(run.end());
        usize::from(before) + usize::from(behind)
    }

    /// Adds pages of one block, not all of it; tells how many of the two beside them in the block are in the set.
    /// `None`, and nothing has changed, if one of them is in the set.
    fn set(&mut self, block: u64, from: usize, to: usize) -> Option<usize> {
        let bits = match self.blocks.entry(block) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(_) if self.full.contains(block) => return None,
            btree_map::Entry::Vacant(entry) => entry.insert(Bits::default()),
        };
        if bits.next(from, true) < to {
            return None;
        }
        bits.flip(from, to);
        let beside = bits.beside(from, to);
        if bits.is_full() {
            self.blocks.remove(&block);
            self.full.insert(Run::new(block, 1)).ok()?;
        }
        Some(beside)
    }

    /// Removes pages of one block, not all of it; tells how many of the two beside them in the block are in the set.
    /// `None`, and nothing has changed, if one of them is not in the set.
    fn clear(&mut self, block: u64, from: usize, to: usize) -> Option<usize> {
        let bits = match self.blocks.entry(block) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) => {
                self.full.remove(Run::new(block, 1)).ok()?;
                entry.insert(Bits::FULL)
            }
        };
        if bits.next(from, false) < to {
            return None;
        }
        bits.flip(from, to);
        let beside = bits.beside(from, to);
        if bits.is_empty() {
            self.blocks.remove(&block);
        }
        Some(beside)
    }

    /// The runs, lowest first.
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter::new(&self.blocks, &self.full)
    }
}

#[cfg(test)]
#[path = "page_set_tests.rs"]
mod tests;
