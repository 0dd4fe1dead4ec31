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

/// A set of pages as disjoint runs that do not touch. All operations are logarithmic in the number of runs, plus
/// the number of runs they touch.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Runs {
    by_start: BTreeMap<u64, u64>,
}

impl Runs {
    /// The runs, lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        self.by_start.iter().map(|(&start, &len)| Run { start, len })
    }

    /// The run with the highest place.
    pub(crate) fn last(&self) -> Option<Run> {
        self.by_start.last_key_value().map(|(&start, &len)| Run { start, len })
    }

    /// The run with the lowest place.
    pub(super) fn first(&self) -> Option<Run> {
        self.by_start.first_key_value().map(|(&start, &len)| Run { start, len })
    }

    /// The runs as lengths by place.
    pub(super) fn by_start(&self) -> &BTreeMap<u64, u64> {
        &self.by_start
    }

    /// The run that begins at `page` or is the nearest behind it.
    pub(super) fn at_or_after(&self, page: u64) -> Option<Run> {
        self.by_start.range(page..).next().map(|(&start, &len)| Run { start, len })
    }

    /// The run that holds a page.
    pub(super) fn holder(&self, page: u64) -> Option<Run> {
        self.at_or_before(page).filter(|run| page < run.end())
    }

    /// The run that begins at `page` or is the nearest before it.
    fn at_or_before(&self, page: u64) -> Option<Run> {
        self.by_start.range(..=page).next_back().map(|(&start, &len)| Run { start, len })
    }

    /// Whether a page is in the set.
    pub(crate) fn contains(&self, page: u64) -> bool {
        self.holder(page).is_some()
    }

    /// Whether any page of `run` is in the set.
    pub(crate) fn overlaps(&self, run: Run) -> bool {
        // Of the runs that begin before its end, the last reaches furthest.
        run.len > 0 && self.at_or_before(run.end() - 1).is_some_and(|last| last.end() > run.start)
    }

    /// Adds a run.
    ///
    /// # Errors
    /// [`Error::Internal`] if a page of it is in the set already, or it is not a valid run; nothing has changed.
    pub(crate) fn insert(&mut self, run: Run) -> Result<()> {
        if !run.is_valid() {
            return Err(Error::Internal("a run of pages that no file can have"));
        }
        if self.overlaps(run) {
            return Err(Error::Internal("a page was added to a set that holds it"));
        }
        let joined = self.by_start.remove(&run.end()).unwrap_or(0);
        match self.by_start.range_mut(..run.start).next_back() {
            Some((start, len)) if *start + *len == run.start => *len += run.len + joined,
            _ => {
                self.by_start.insert(run.start, run.len + joined);
            }
        }
        Ok(())
    }

    /// Removes a run that is wholly in the set.
    ///
    /// # Errors
    /// [`Error::Internal`] if a page of it is not in the set, or it is not a valid run; nothing has changed.
    pub(crate) fn remove(&mut self, run: Run) -> Result<()> {
        let holder = self.at_or_before(run.start).filter(|h| run.is_valid() && run.end() <= h.end());
        let Some(whole) = holder else {
            return Err(Error::Internal("a page was taken from a set that does not hold it"));
        };
        if whole.start < run.start {
            self.by_start.insert(whole.start, run.start - whole.start);
        } else {
            self.by_start.remove(&whole.start);
        }
        if run.end() < whole.end() {
            self.by_start.insert(run.end(), whole.end() - run.end());
        }
        Ok(())
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
    fn a_run_is_found_from_either_side() {
        let runs = set(&[(10, 5), (20, 5)]);
        assert!(!runs.overlaps(Run::new(15, 5)) && runs.overlaps(Run::new(15, 6)));
        assert!(runs.overlaps(Run::new(9, 2)) && !runs.overlaps(Run::new(5, 5)));
        assert!(runs.overlaps(Run::new(11, 1)) && runs.overlaps(Run::new(0, 100)));
        assert_eq!((runs.first(), runs.last()), (Some(Run::new(10, 5)), Some(Run::new(20, 5))));
        assert_eq!((runs.holder(14), runs.holder(15)), (Some(Run::new(10, 5)), None));
        assert_eq!((runs.at_or_after(11), runs.at_or_after(21)), (Some(Run::new(20, 5)), None));
    }

    #[test]
    fn the_first_pages_of_runs() {
        let runs = [Run::new(10, 3), Run::new(20, 2)];
        assert_eq!(first_pages(&runs, 0), Some(vec![]));
        assert_eq!(first_pages(&runs, 4), Some(vec![Run::new(10, 3), Run::new(20, 1)]));
        assert_eq!(first_pages(&runs, 6), None);
        let mut runs =
            vec![Run::new(20, 2), Run::new(10, 3), Run::new(12, 1), Run::new(13, 2), Run::new(16, 4)];
        coalesce(&mut runs);
        assert_eq!(runs, [Run::new(10, 5), Run::new(16, 6)]);
    }
}
