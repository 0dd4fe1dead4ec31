//! A set of pages as disjoint runs, ordered by place; neighbours merge.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use bifold_page_source::PageId;
use std::collections::BTreeMap;

/// One past the largest page number a file can have.
pub(crate) const PAGE_LIMIT: u64 = PageId::MAX.get() + 1;

/// Consecutive pages: the first one's number and how many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Run {
    /// The first page's number.
    pub(crate) start: u64,
    /// How many pages; never zero in a set.
    pub(crate) len: u64,
}

impl Run {
    /// The run of `len` pages from `start` on.
    pub(crate) const fn new(start: u64, len: u64) -> Self {
        Self { start, len }
    }

    /// The pages from `start` up to, not including, `end`.
    pub(crate) const fn between(start: u64, end: u64) -> Self {
        Self { start, len: end.saturating_sub(start) }
    }

    /// The number behind the last page's.
    pub(crate) const fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether the run has pages, and all of them have numbers a file can have.
    pub(crate) const fn is_valid(self) -> bool {
        self.len > 0 && self.start < PAGE_LIMIT && self.len <= PAGE_LIMIT - self.start
    }
}

/// The first `pages` pages of `runs`; `None` if they have fewer.
pub(super) fn first_pages(runs: &[Run], pages: u64) -> Option<Vec<Run>> {
    let mut first = Vec::new();
    let mut wanted = pages;
    for run in runs {
        if wanted == 0 {
            break;
        }
        let len = run.len.min(wanted);
        first.push(Run::new(run.start, len));
        wanted -= len;
    }
    (wanted == 0).then_some(first)
}

/// Sorts runs by place and merges those that touch or overlap.
pub(super) fn coalesce(runs: &mut Vec<Run>) {
    runs.sort_unstable();
    runs.dedup_by(|next, last| {
        let merges = next.start <= last.end();
        if merges {
            last.len = next.end().max(last.end()) - last.start;
        }
        merges
    });
}

/// What inserting a run did to its neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    /// The run that ended where the inserted one begins, now part of `whole`.
    pub(super) left: Option<Run>,
    /// The run that began where the inserted one ends, now part of `whole`.
    pub(super) right: Option<Run>,
    /// What lies there now.
    pub(super) whole: Run,
}

/// What removing a run left of the one that held it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The run that was there.
    pub(super) whole: Run,
    /// What is left before the removed pages.
    pub(super) left: Option<Run>,
    /// What is left behind the removed pages.
    pub(super) right: Option<Run>,
}

/// A set of pages as disjoint runs that do not touch. All operations are logarithmic in the number of runs, plus
/// the number of runs they touch.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Runs {
    by_start: BTreeMap<u64, u64>,
    pages: u64,
}

impl Runs {
    /// How many pages are in the set.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// How many runs they form.
    pub(crate) fn count(&self) -> usize {
        self.by_start.len()
    }

    /// Whether there is no page in the set.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// The runs, lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        self.by_start.iter().map(|(&start, &len)| Run { start, len })
    }

    /// The run with the highest place.
    pub(crate) fn last(&self) -> Option<Run> {
        self.by_start.last_key_value().map(|(&start, &len)| Run { start, len })
    }

    /// The run that begins at `page` or is the nearest before it.
    fn at_or_before(&self, page: u64) -> Option<Run> {
        self.by_start.range(..=page).next_back().map(|(&start, &len)| Run { start, len })
    }

    /// Whether a page is in the set.
    pub(crate) fn contains(&self, page: u64) -> bool {
        self.at_or_before(page).is_some_and(|run| page < run.end())
    }

    /// Whether any page of `run` is in the set.
    pub(crate) fn overlaps(&self, run: Run) -> bool {
        // Of the runs that begin before its end, the last reaches furthest.
        run.len > 0 && self.at_or_before(run.end() - 1).is_some_and(|last| last.end() > run.start)
    }

    /// The parts of `run` that are in the set, lowest first.
    pub(crate) fn overlapping(&self, run: Run) -> impl Iterator<Item = Run> + '_ {
        let reaching_in = self.at_or_before(run.start).filter(|r| r.start < run.start && run.start < r.end());
        // Bounded below by the end, as a range must not begin behind its end.
        let inside = self.by_start.range(run.start..run.end().max(run.start));
        reaching_in
            .into_iter()
            .chain(inside.map(|(&start, &len)| Run { start, len }))
            .map(move |r| Run::between(r.start.max(run.start), r.end().min(run.end())))
            .filter(|r| r.len > 0)
    }

    /// The parts of `run` that are not in the set, lowest first.
    pub(crate) fn missing(&self, run: Run) -> Vec<Run> {
        let mut gaps = Vec::new();
        let mut at = run.start;
        for part in self.overlapping(run) {
            if part.start > at {
                gaps.push(Run::between(at, part.start));
            }
            at = part.end();
        }
        if at < run.end() {
            gaps.push(Run::between(at, run.end()));
        }
        gaps
    }

    /// Adds a run.
    ///
    /// # Errors
    /// [`Error::Internal`] if a page of it is in the set already, or it is not a valid run; nothing has changed.
    pub(crate) fn insert(&mut self, run: Run) -> Result<()> {
        self.join(run).map(drop)
    }

    /// Removes a run that is wholly in the set.
    ///
    /// # Errors
    /// [`Error::Internal`] if a page of it is not in the set, or it is not a valid run; nothing has changed.
    pub(crate) fn remove(&mut self, run: Run) -> Result<()> {
        self.cut(run).map(drop)
    }

    /// Removes the pages of `run` that are in the set, whichever they are, and returns them.
    pub(crate) fn remove_any(&mut self, run: Run) -> Result<Vec<Run>> {
        let parts: Vec<Run> = self.overlapping(run).collect();
        for &part in &parts {
            self.remove(part)?;
        }
        Ok(parts)
    }

    /// [`insert`](Self::insert), telling what was merged.
    pub(super) fn join(&mut self, run: Run) -> Result<Joined> {
        if !run.is_valid() {
            return Err(Error::Internal("a run of pages that no file can have"));
        }
        let before = self.at_or_before(run.start);
        let after = self.by_start.range(run.start..).next().map(|(&start, &len)| Run { start, len });
        if before.is_some_and(|b| b.end() > run.start) || after.is_some_and(|a| a.start < run.end()) {
            return Err(Error::Internal("a page was added to a set that holds it"));
        }
        let left = before.filter(|b| b.end() == run.start);
        let right = after.filter(|a| a.start == run.end());
        if let Some(right) = right {
            self.by_start.remove(&right.start);
        }
        let start = left.map_or(run.start, |l| l.start);
        let whole = Run::between(start, right.map_or(run.end(), Run::end));
        self.by_start.insert(whole.start, whole.len);
        self.pages += run.len;
        Ok(Joined { left, right, whole })
    }

    /// [`remove`](Self::remove), telling what is left.
    pub(super) fn cut(&mut self, run: Run) -> Result<Cut> {
        let holder = self.at_or_before(run.start).filter(|h| run.is_valid() && run.end() <= h.end());
        let Some(whole) = holder else {
            return Err(Error::Internal("a page was taken from a set that does not hold it"));
        };
        let left = Some(Run::between(whole.start, run.start)).filter(|r| r.len > 0);
        let right = Some(Run::between(run.end(), whole.end())).filter(|r| r.len > 0);
        match left {
            Some(left) => self.by_start.insert(left.start, left.len),
            None => self.by_start.remove(&whole.start),
        };
        if let Some(right) = right {
            self.by_start.insert(right.start, right.len);
        }
        self.pages -= run.len;
        Ok(Cut { whole, left, right })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(runs: &[(u64, u64)]) -> Runs {
        let mut set = Runs::default();
        for &(start, len) in runs {
            set.insert(Run { start, len }).unwrap();
        }
        set
    }

    #[test]
    fn neighbours_merge_and_splits_keep_both_sides() {
        let mut runs = set(&[(10, 5), (20, 5), (15, 5)]);
        assert_eq!(runs.iter().collect::<Vec<_>>(), [Run::new(10, 15)]);
        runs.remove(Run::new(12, 3)).unwrap();
        assert_eq!(runs.iter().collect::<Vec<_>>(), [Run::new(10, 2), Run::new(15, 10)]);
        assert_eq!(runs.pages(), 12);
    }

    #[test]
    fn overlaps_and_foreign_pages_are_refused_and_change_nothing() {
        let mut runs = set(&[(10, 5), (20, 5)]);
        let before = runs.clone();
        for bad in [(10, 1), (9, 2), (14, 1), (5, 30), (0, 0), (PAGE_LIMIT, 1), (1, u64::MAX)] {
            assert!(runs.insert(Run::new(bad.0, bad.1)).is_err(), "{bad:?}");
        }
        for bad in [(9, 1), (9, 2), (14, 2), (10, 15), (16, 1), (10, 0)] {
            assert!(runs.remove(Run::new(bad.0, bad.1)).is_err(), "{bad:?}");
        }
        assert_eq!(runs, before);
    }

    #[test]
    fn a_run_is_told_apart_into_what_is_in_the_set_and_what_is_not() {
        let runs = set(&[(10, 5), (20, 5)]);
        let all = Run::new(8, 20);
        let inside: Vec<_> = runs.overlapping(all).collect();
        assert_eq!(inside, [Run::new(10, 5), Run::new(20, 5)]);
        assert_eq!(runs.missing(all), [Run::new(8, 2), Run::new(15, 5), Run::new(25, 3)]);
        assert_eq!(runs.overlapping(Run::new(12, 9)).collect::<Vec<_>>(), [Run::new(12, 3), Run::new(20, 1)]);
        assert!(runs.missing(Run::new(21, 2)).is_empty());
        assert!(!runs.overlaps(Run::new(15, 5)) && runs.overlaps(Run::new(15, 6)));
    }
}
