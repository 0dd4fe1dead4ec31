//! Dropped pages that may not be written yet, and when they may.
//!
//! The rule of births and drops: a page born at checkpoint A and dropped at checkpoint B may be written again once
//! B is durable (a crash then never goes back to a checkpoint that refers to it) and no live snapshot has its base
//! in [A, B) (such a snapshot sees it). So a snapshot that lives for hours holds back what it can see, and nothing
//! else. A page whose freeing is recorded later than B, because it was found by walking a cut subtree, also waits
//! for the checkpoint that records it: until then a crash would walk that subtree again.
//!
//! Cost: pages wait in groups of equal (recorded, B, A), where births before the oldest live base count as equal. Once a group's checkpoint is durable, it is either due or
//! parked under one live base that holds it, and is not looked at again before that base is gone. What is due stays
//! so, as no older base can appear, and becomes free a bounded number of runs at a time.
//!
//! Until its checkpoint is sealed, a group also knows how many of its runs were noted for the persisted map.
#![forbid(unsafe_code)]

use super::page_set::PageSet;
use super::runs::{Run, coalesce};
use crate::error::Result;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

/// When a page was born and dropped, in checkpoint numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Life {
    dropped: u64,
    birth: u64,
}

impl Life {
    /// The oldest live base that sees pages of this life. `live` is sorted.
    fn holder(self, live: &[u64]) -> Option<u64> {
        let at = live.partition_point(|&base| base < self.birth);
        live.get(at).copied().filter(|&base| base < self.dropped)
    }
}

/// Runs of one life, while they wait those that one checkpoint records.
#[derive(Clone, Default, Debug)]
struct Group {
    runs: Vec<Run>,
    pages: u64,
    /// How many of the runs, from the first, the free map's record has taken in.
    noted: usize,
}

/// The set of withheld pages.
#[derive(Clone, Default, Debug)]
pub(super) struct Withheld {
    /// Groups that wait for a checkpoint to become durable, by that checkpoint's number.
    waiting: BTreeMap<u64, BTreeMap<Life, Group>>,
    /// Groups whose checkpoint is durable, by the live base that holds them.
    parked: BTreeMap<u64, BTreeMap<Life, Group>>,
    /// What nothing holds back any more.
    due: Vec<Vec<Run>>,
    /// No live snapshot has an older base, and none will have.
    oldest: u64,
    /// All of them, so that a page dropped twice is noticed.
    all: PageSet,
    parked_pages: u64,
    /// How many runs there are in all groups.
    runs: usize,
    /// How many of them are yet to be noted.
    unnoted: usize,
}

impl Withheld {
    /// All withheld pages.
    pub(super) fn all(&self) -> &PageSet {
        &self.all
    }

    /// How many runs the withheld pages form, groups counted apart.
    pub(super) fn run_count(&self) -> usize {
        self.runs
    }

    /// How many of these runs are yet to be noted.
    pub(super) fn unnoted(&self) -> usize {
        self.unnoted
    }

    /// Pages that only a live snapshot holds back.
    pub(super) fn parked_pages(&self) -> u64 {
        self.parked_pages
    }

    /// Withholds a run born at `birth` and dropped at `dropped`, whose freeing checkpoint `recorded` (`dropped` or
    /// later, and not sealed) makes known on file.
    pub(super) fn drop_run(&mut self, run: Run, birth: u64, dropped: u64, recorded: u64) -> Result<()> {
        debug_assert!(recorded >= dropped && dropped >= birth);
        let group = self.add(run, birth, dropped, recorded)?;
        let fresh = group.runs.len() > group.noted;
        match group.runs.last_mut() {
            Some(last) if fresh && last.end() == run.start => last.len += run.len,
            _ => {
                group.runs.push(run);
                self.runs += 1;
                self.unnoted += 1;
            }
        }
        Ok(())
    }

    /// Withholds a run of which the free map needs no record any more. All that waits for checkpoint `dropped` must be
    /// noted.
    pub(super) fn drop_noted(&mut self, run: Run, birth: u64, dropped: u64) -> Result<()> {
        let group = self.add(run, birth, dropped, dropped)?;
        debug_assert_eq!(group.noted, group.runs.len());
        group.runs.push(run);
        group.noted += 1;
        self.runs += 1;
        Ok(())
    }

    /// Withholds the pages of a run; returns the group for it.
    fn add(&mut self, run: Run, birth: u64, dropped: u64, recorded: u64) -> Result<&mut Group> {
        self.all.insert(run)?;
        let birth = birth.max(self.oldest.min(dropped));
        let group = self.waiting.entry(recorded).or_default().entry(Life { dropped, birth }).or_default();
        group.pages += run.len;
        Ok(group)
    }

    /// The next runs, at most `max`, whose freeing the checkpoints after `after` and up to `upto` record and that were
    /// not returned before, and whether there are more. They count as noted.
    pub(super) fn take_unnoted(&mut self, after: u64, upto: u64, max: usize) -> (Vec<Run>, bool) {
        let mut taken = Vec::new();
        let checkpoints = self.waiting.range_mut((Excluded(after), Included(upto.max(after))));
        for group in checkpoints.flat_map(|(_, groups)| groups.values_mut()) {
            let fresh = group.runs.get(group.noted..).unwrap_or_default();
            let some = fresh.get(..max - taken.len()).unwrap_or(fresh);
            taken.extend_from_slice(some);
            group.noted += some.len();
            self.unnoted -= some.len();
            if group.noted < group.runs.len() {
                return (taken, true);
            }
        }
        (taken, false)
    }

    /// The pages that are free in the persisted map of checkpoint `upto`, the next to be recorded. Its cost follows what
    /// was dropped to be recorded later.
    pub(super) fn recorded_by(&self, upto: u64) -> Result<Cow<'_, PageSet>> {
        let mut pages = Cow::Borrowed(&self.all);
        let later = self.waiting.range((Excluded(upto), Unbounded)).flat_map(|(_, groups)| groups.values());
        for &run in later.flat_map(|group| &group.runs) {
            pages.to_mut().remove(run)?;
        }
        Ok(pages)
    }

    /// Takes out what has become reusable with `durable`, which is sealed, as newest durable checkpoint and `live` as
    /// the sorted bases of live snapshots: at most `max_runs` runs (one, if that is zero), lowest first and neighbours
    /// merged. Tells whether there is more.
    pub(super) fn release(
        &mut self,
        durable: u64,
        live: &[u64],
        max_runs: usize,
    ) -> Result<(Vec<Run>, bool)> {
        debug_assert!(live.is_sorted());
        self.oldest = live.first().map_or(durable, |&base| base.min(durable));
        let max_runs = max_runs.max(1);
        let unsorted = self.sort_out(durable, live, max_runs);
        let mut free = Vec::new();
        while free.len() < max_runs
            && let Some(runs) = self.due.last_mut()
        {
            let left = runs.len().saturating_sub(max_runs - free.len());
            free.extend(runs.drain(left..));
            if left == 0 {
                self.due.pop();
            }
        }
        self.runs -= free.len();
        coalesce(&mut free);
        for &run in &free {
            self.all.remove(run)?;
        }
        Ok((free, unsorted || !self.due.is_empty()))
    }

    /// Moves up to `max_groups` groups to where they belong now; tells whether there are more. Groups of a base that is
    /// gone are due or go to another base.
    fn sort_out(&mut self, durable: u64, live: &[u64], max_groups: usize) -> bool {
        let mut left = max_groups;
        while let Some(mut entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= durable) {
            let Some((life, group)) = entry.get_mut().pop_first() else {
                entry.remove();
                continue;
            };
            debug_assert_eq!(group.noted, group.runs.len(), "a sealed checkpoint has noted its groups");
            self.place(life, group, live);
            left -= 1;
            if left == 0 {
                return true;
            }
        }
        let gone: Vec<u64> =
            self.parked.keys().copied().filter(|base| live.binary_search(base).is_err()).collect();
        for base in gone {
            while let Some((life, group)) = self.parked.get_mut(&base).and_then(BTreeMap::pop_first) {
                self.parked_pages -= group.pages;
                self.place(life, group, live);
                left -= 1;
                if left == 0 {
                    return true;
                }
            }
            self.parked.remove(&base);
        }
        false
    }

    /// Puts a group where it belongs whose checkpoint is durable.
    fn place(&mut self, life: Life, mut group: Group, live: &[u64]) {
        let Some(base) = life.holder(live) else { return self.due.push(group.runs) };
        self.parked_pages += group.pages;
        let there = self.parked.entry(base).or_default().entry(life).or_default();
        // The shorter one moves.
        if there.runs.len() < group.runs.len() {
            std::mem::swap(there, &mut group);
        }
        there.runs.append(&mut group.runs);
        there.pages += group.pages;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(n: u64) -> Run {
        Run::new(n, 1)
    }

    fn drop_all(held: &mut Withheld, pages: impl IntoIterator<Item = (u64, u64, u64, u64)>) {
        for (n, birth, dropped, recorded) in pages {
            held.drop_run(page(n), birth, dropped, recorded).unwrap();
        }
        let _ = held.take_unnoted(0, u64::MAX, usize::MAX);
    }

    fn release(held: &mut Withheld, durable: u64, live: &[u64]) -> Vec<Run> {
        let (free, more) = held.release(durable, live, usize::MAX).unwrap();
        assert!(!more);
        free
    }

    #[test]
    fn a_page_waits_for_its_checkpoint_and_for_those_who_see_it() {
        let mut held = Withheld::default();
        drop_all(&mut held, [(1, 3, 5, 5), (12, 4, 5, 5), (14, 5, 5, 5), (16, 1, 2, 5)]);
        assert!(release(&mut held, 4, &[]).is_empty(), "checkpoint 5 is not durable");
        assert_eq!(held.parked_pages(), 0);
        assert_eq!(release(&mut held, 5, &[3]), [page(12), page(14), page(16)]);
        assert_eq!(held.parked_pages(), 1);
        assert!(release(&mut held, 6, &[3, 6]).is_empty());
        assert_eq!(release(&mut held, 6, &[6]), [page(1)]);
        assert!(held.all().is_empty());
        assert_eq!((held.run_count(), held.unnoted(), held.parked_pages()), (0, 0, 0));
    }

    #[test]
    fn a_group_moves_from_one_holder_to_the_next() {
        let mut held = Withheld::default();
        drop_all(&mut held, [(1, 2, 8, 8)]);
        assert!(release(&mut held, 8, &[1, 2, 5, 8]).is_empty());
        assert!(release(&mut held, 8, &[5, 8]).is_empty());
        assert_eq!(held.parked_pages(), 1);
        assert_eq!(release(&mut held, 8, &[1, 8]), [page(1)]);
    }

    #[test]
    fn a_page_dropped_twice_is_noticed() {
        let mut held = Withheld::default();
        held.drop_run(Run::new(4, 4), 1, 2, 2).unwrap();
        assert!(held.drop_run(page(6), 1, 3, 3).is_err());
    }

    #[test]
    fn runs_are_noted_once_and_never_joined_to_noted_ones() {
        let mut held = Withheld::default();
        for n in [1, 2, 3, 10] {
            held.drop_run(page(n), 1, 4, 4).unwrap();
        }
        held.drop_run(page(20), 1, 5, 5).unwrap();
        assert_eq!(held.take_unnoted(3, 4, 1), (vec![Run::new(1, 3)], true));
        assert_eq!(held.take_unnoted(3, 4, 1), (vec![page(10)], false));
        held.drop_run(page(11), 1, 4, 4).unwrap();
        assert_eq!(held.take_unnoted(3, 4, 5), (vec![page(11)], false));
        assert_eq!(held.unnoted(), 1);
        assert_eq!(held.take_unnoted(3, 9, 5), (vec![page(20)], false));
        assert_eq!(held.take_unnoted(3, 9, 5), (vec![], false));
        assert_eq!(
            held.recorded_by(4).unwrap().iter().collect::<Vec<_>>(),
            [Run::new(1, 3), Run::new(10, 2)]
        );
    }

    #[test]
    fn what_is_due_comes_in_pieces_and_stays_due() {
        let mut held = Withheld::default();
        drop_all(&mut held, (0..10).map(|n| (2 * n, 1, 4, 4)));
        drop_all(&mut held, [(30, 2, 4, 4), (31, 1, 3, 3)]);
        let mut seen = Vec::new();
        // A group of which a part has become free, and bases that come and go.
        for live in [&[5][..], &[5, 6], &[2, 5], &[6]] {
            let (free, more) = held.release(4, live, 2).unwrap();
            assert!(free.len() <= 2 && more);
            seen.extend(free);
            assert_eq!(
                held.recorded_by(4).unwrap().pages(),
                12 - seen.iter().map(|run| run.len).sum::<u64>()
            );
        }
        loop {
            let (free, more) = held.release(4, &[6], 3).unwrap();
            seen.extend(free);
            if !more {
                break;
            }
        }
        let mut pages: Vec<u64> = seen.iter().flat_map(|run| run.start..run.end()).collect();
        pages.sort_unstable();
        let expected: Vec<u64> = (0..10).map(|n| 2 * n).chain([30, 31]).collect();
        assert_eq!(pages, expected);
        assert!(held.all().is_empty());
    }

    #[test]
    fn a_million_held_pages_cost_a_release_nothing() {
        let mut held = Withheld::default();
        drop_all(&mut held, (0..1_000_000u64).map(|n| (2 * n, 0, 2 + n % 50, 2 + n % 50)));
        assert!(release(&mut held, 60, &[1]).is_empty());
        // Would take minutes if each release looked at each page, or at each group of a page.
        for durable in 61..20_000 {
            assert!(release(&mut held, durable, &[1, durable]).is_empty());
        }
        assert_eq!(release(&mut held, 20_000, &[20_000]).len(), 1_000_000);
    }
}
