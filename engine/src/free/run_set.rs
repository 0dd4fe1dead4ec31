//! A set of page runs to allocate from: [`PageSet`] with an index by length.
//!
//! Allocation is deterministic: it depends on the set alone. It is best fit, lowest place first among equals, so
//! that long runs stay whole for extents and checkpoints.
#![forbid(unsafe_code)]

use super::page_set::PageSet;
use super::runs::Run;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// A set of page runs that can be searched by length.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct RunSet {
    pages: PageSet,
    /// The first pages of all runs of a length, by length.
    by_len: BTreeMap<u64, PageSet>,
}

impl RunSet {
    /// The set as pages.
    pub(super) fn all(&self) -> &PageSet {
        &self.pages
    }

    /// How many pages are in the set.
    pub(crate) fn pages(&self) -> u64 {
        self.pages.pages()
    }

    /// The runs, lowest first.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        self.pages.iter()
    }

    /// Whether a page is in the set.
    #[cfg(test)]
    pub(crate) fn contains(&self, page: u64) -> bool {
        self.pages.contains(page)
    }

    /// The longest run's length in pages; 0 if the set is empty.
    pub(crate) fn longest(&self) -> u64 {
        self.by_len.last_key_value().map_or(0, |(&len, _)| len)
    }

    fn index(&mut self, run: Run) -> Result<()> {
        if run.len == 0 {
            return Ok(());
        }
        self.by_len.entry(run.len).or_default().insert(Run::new(run.start, 1))
    }

    fn unindex(&mut self, run: Run) -> Result<()> {
        if run.len == 0 {
            return Ok(());
        }
        let starts = self.by_len.get_mut(&run.len);
        let starts = starts.ok_or(Error::Internal("a free run's length is not known"))?;
        starts.remove(Run::new(run.start, 1))?;
        if starts.is_empty() {
            self.by_len.remove(&run.len);
        }
        Ok(())
    }

    /// The runs of at least `len` pages, the shortest first, the lowest first among equals.
    pub(crate) fn at_least(&self, len: u64) -> impl Iterator<Item = Run> + '_ {
        let lengths = self.by_len.range(len..);
        lengths.flat_map(|(&len, starts)| starts.iter().map(move |first| Run::new(first.start, len)))
    }

    /// The runs, the longest first.
    pub(crate) fn longest_first(&self) -> impl Iterator<Item = Run> + '_ {
        let lengths = self.by_len.iter().rev();
        lengths.flat_map(|(&len, starts)| starts.iter().map(move |first| Run::new(first.start, len)))
    }

    /// Adds a run.
    ///
    /// # Errors
    /// [`Error::Internal`] if a page of it is in the set; nothing has changed.
    pub(crate) fn insert(&mut self, run: Run) -> Result<()> {
        let left = run.start.checked_sub(1).and_then(|page| self.pages.run_at(page));
        let right = self.pages.run_at(run.end());
        self.pages.insert(run)?;
        for gone in [left, right].into_iter().flatten() {
            self.unindex(gone)?;
        }
        let start = left.map_or(run.start, |left| left.start);
        self.index(Run::between(start, right.map_or(run.end(), Run::end)))
    }

    /// Removes a run that is wholly in the set.
    ///
    /// # Errors
    /// [`Error::Internal`] if a page of it is not in the set; nothing has changed.
    pub(crate) fn remove(&mut self, run: Run) -> Result<()> {
        let whole =
            self.pages.run_at(run.start).ok_or(Error::Internal("a page that is not free was taken"))?;
        self.remove_from(whole, run)
    }

    /// Removes a run that is part of the set's run `whole`.
    fn remove_from(&mut self, whole: Run, run: Run) -> Result<()> {
        self.pages.remove(run)?;
        self.unindex(whole)?;
        self.index(Run::between(whole.start, run.start))?;
        self.index(Run::between(run.end(), whole.end()))
    }

    /// Takes `pages` contiguous pages: the front of the shortest run that holds them, the lowest of several.
    /// `None` if no run does. One search, whatever the size of the set.
    ///
    /// # Errors
    /// [`Error::Internal`] if the set contradicts itself.
    pub(crate) fn allocate_exact(&mut self, pages: u64) -> Result<Option<Run>> {
        if pages == 0 {
            return Ok(None);
        }
        let shortest = self.by_len.range(pages..).next();
        let Some((len, start)) = shortest.and_then(|(&len, starts)| Some((len, starts.first()?))) else {
            return Ok(None);
        };
        let run = Run::new(start, pages);
        self.remove_from(Run::new(start, len), run)?;
        Ok(Some(run))
    }

    /// Takes `pages` pages in few, long runs, ordered by place: the shortest run that holds all that is wanted, or
    /// else the longest runs first (the lowest of several) and the shortest that holds the rest. Takes the whole
    /// set if it has fewer, and no more than the first `max_runs` runs of these.
    ///
    /// # Errors
    /// [`Error::Internal`] if the set contradicts itself.
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
