//! A set of page runs to allocate from: [`Runs`] with an index by length.
//!
//! Allocation is deterministic: it depends on the set alone. It is best fit, lowest place first among equals, so
//! that long runs stay whole for extents and checkpoints.
#![forbid(unsafe_code)]

use super::runs::{Run, Runs};
use crate::error::Result;
use std::collections::BTreeSet;

/// A set of page runs that can be searched by length.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct RunSet {
    runs: Runs,
    /// Every run as (length, start).
    by_len: BTreeSet<(u64, u64)>,
}

impl RunSet {
    /// The set as runs ordered by place.
    pub(crate) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// How many pages are in the set.
    pub(crate) fn pages(&self) -> u64 {
        self.runs.pages()
    }

    /// The runs, lowest first.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter()
    }

    /// Whether a page is in the set.
    #[cfg(test)]
    pub(crate) fn contains(&self, page: u64) -> bool {
        self.runs.contains(page)
    }

    /// The longest run's length in pages; 0 if the set is empty.
    pub(crate) fn longest(&self) -> u64 {
        self.by_len.last().map_or(0, |&(len, _)| len)
    }

    /// Adds a run.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if a page of it is in the set; nothing has changed.
    pub(crate) fn insert(&mut self, run: Run) -> Result<()> {
        let joined = self.runs.join(run)?;
        for gone in [joined.left, joined.right].into_iter().flatten() {
            self.by_len.remove(&(gone.len, gone.start));
        }
        self.by_len.insert((joined.whole.len, joined.whole.start));
        Ok(())
    }

    /// Removes a run that is wholly in the set.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if a page of it is not in the set; nothing has changed.
    pub(crate) fn remove(&mut self, run: Run) -> Result<()> {
        let cut = self.runs.cut(run)?;
        self.by_len.remove(&(cut.whole.len, cut.whole.start));
        for left in [cut.left, cut.right].into_iter().flatten() {
            self.by_len.insert((left.len, left.start));
        }
        Ok(())
    }

    /// Takes `pages` contiguous pages: the front of the shortest run that holds them, the lowest of several.
    /// `None` if no run does. One search, whatever the size of the set.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if the set contradicts itself.
    pub(crate) fn allocate_exact(&mut self, pages: u64) -> Result<Option<Run>> {
        if pages == 0 {
            return Ok(None);
        }
        let Some(&(_, start)) = self.by_len.range((pages, 0)..).next() else { return Ok(None) };
        let run = Run::new(start, pages);
        self.remove(run)?;
        Ok(Some(run))
    }

    /// Takes `pages` pages in few, long runs, ordered by place: the shortest run that holds all that is wanted, or
    /// else the longest runs first (the lowest of several) and the shortest that holds the rest. Takes the whole
    /// set if it has fewer, and no more than the first `max_runs` runs of these.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if the set contradicts itself.
    pub(crate) fn allocate_some(&mut self, pages: u64, max_runs: usize) -> Result<Vec<Run>> {
        let mut taken = Vec::new();
        let mut wanted = pages;
        while wanted > 0 && taken.len() < max_runs {
            let longest = self.longest();
            let Some(run) = self.allocate_exact(wanted.min(longest))? else { break };
            wanted -= run.len;
            taken.push(run);
        }
        taken.sort_unstable();
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(runs: &[(u64, u64)]) -> RunSet {
        let mut set = RunSet::default();
        for &(start, len) in runs {
            set.insert(Run::new(start, len)).unwrap();
        }
        set
    }

    #[test]
    fn the_shortest_run_that_fits_is_taken_from_its_front() {
        let mut free = set(&[(10, 8), (30, 3), (40, 3), (50, 100)]);
        assert_eq!(free.allocate_exact(2).unwrap(), Some(Run::new(30, 2)));
        assert_eq!(free.allocate_exact(3).unwrap(), Some(Run::new(40, 3)));
        assert_eq!(free.allocate_exact(9).unwrap(), Some(Run::new(50, 9)));
        assert_eq!(free.allocate_exact(92).unwrap(), None);
        assert_eq!(free.allocate_exact(0).unwrap(), None);
        assert_eq!(free.longest(), 91);
    }

    #[test]
    fn many_pages_come_in_few_runs_in_order_of_place() {
        let mut free = set(&[(10, 8), (30, 3), (40, 3), (50, 10)]);
        assert_eq!(free.allocate_some(3, 9).unwrap(), [Run::new(30, 3)]);
        assert_eq!(free.allocate_some(13, 9).unwrap(), [Run::new(40, 3), Run::new(50, 10)]);
        assert_eq!(free.allocate_some(100, 9).unwrap(), [Run::new(10, 8)]);
        assert!(free.allocate_some(1, 9).unwrap().is_empty());
        assert_eq!(free, RunSet::default());
    }
}
