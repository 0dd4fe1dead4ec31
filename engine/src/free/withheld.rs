//! Dropped pages that may not be written yet, and when they may.
//!
//! The rule of births and drops: a page born at checkpoint A and dropped at checkpoint B may be written again once
//! B is durable (a crash then never goes back to a checkpoint that refers to it) and no live snapshot has its base
//! in [A, B) (such a snapshot sees it). So a snapshot that lives for hours holds back what it can see, and nothing
//! else. A page whose freeing is recorded later than B, because it was found by walking a cut subtree, also waits
//! for the checkpoint that records it: until then a crash would walk that subtree again.
//!
//! Cost: pages wait in groups of equal (recorded, B, A). Once a group's checkpoint is durable, it is either free or
//! parked under one live base that holds it, and is not looked at again before that base is gone.
#![forbid(unsafe_code)]

use super::runs::{Run, Runs};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};

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

type Groups = BTreeMap<Life, Vec<Run>>;

/// The set of withheld pages.
#[derive(Clone, Default, Debug)]
pub(super) struct Withheld {
    /// Groups that wait for a checkpoint to become durable, by that checkpoint's number.
    waiting: BTreeMap<u64, Groups>,
    /// Groups whose checkpoint is durable, by the live base that holds them.
    parked: BTreeMap<u64, Groups>,
    /// All of them, so that a page dropped twice is noticed.
    all: Runs,
    parked_pages: u64,
    /// How many runs the groups hold.
    runs: usize,
}

impl Withheld {
    /// All withheld pages.
    pub(super) fn all(&self) -> &Runs {
        &self.all
    }

    /// How many runs the withheld pages form, groups counted apart.
    pub(super) fn run_count(&self) -> usize {
        self.runs
    }

    /// Pages that only a live snapshot holds back.
    pub(super) fn parked_pages(&self) -> u64 {
        self.parked_pages
    }

    /// Withholds a run born at `birth` and dropped at `dropped`, whose freeing checkpoint `recorded` (`dropped` or
    /// later) makes known on file.
    pub(super) fn drop_run(&mut self, run: Run, birth: u64, dropped: u64, recorded: u64) -> Result<()> {
        debug_assert!(recorded >= dropped);
        if birth > dropped {
            return Err(Error::Internal("a page dropped before its birth"));
        }
        self.all.insert(run)?;
        let group = self.waiting.entry(recorded).or_default().entry(Life { dropped, birth }).or_default();
        match group.last_mut() {
            Some(last) if last.end() == run.start => last.len += run.len,
            _ => {
                group.push(run);
                self.runs += 1;
            }
        }
        Ok(())
    }

    /// The runs whose freeing the checkpoints after `after` and up to `upto` record.
    pub(super) fn recorded_between(&self, after: u64, upto: u64) -> impl Iterator<Item = Run> + '_ {
        let checkpoints = self.waiting.range((Excluded(after), Included(upto.max(after))));
        checkpoints.flat_map(|(_, groups)| groups.values().flatten().copied())
    }

    /// The runs that are free in the persisted map of checkpoint `upto`, the next to be recorded.
    pub(super) fn recorded_by(&self, upto: u64) -> impl Iterator<Item = Run> + '_ {
        let waiting = self.waiting.range(..=upto).flat_map(|(_, groups)| groups.values());
        waiting.chain(self.parked.values().flat_map(BTreeMap::values)).flatten().copied()
    }

    /// Takes out what has become reusable with `durable` as newest durable checkpoint and `live` as the sorted
    /// bases of live snapshots.
    pub(super) fn release(&mut self, durable: u64, live: &[u64]) -> Result<Vec<Run>> {
        debug_assert!(live.is_sorted());
        let mut due = Vec::new();
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > durable {
                break;
            }
            due.extend(entry.remove());
        }
        let gone: Vec<u64> =
            self.parked.keys().copied().filter(|base| live.binary_search(base).is_err()).collect();
        for base in gone {
            for (life, runs) in self.parked.remove(&base).unwrap_or_default() {
                self.parked_pages -= runs.iter().map(|run| run.len).sum::<u64>();
                due.push((life, runs));
            }
        }
        let mut free = Vec::new();
        for (life, runs) in due {
            if let Some(base) = life.holder(live) {
                self.parked_pages += runs.iter().map(|run| run.len).sum::<u64>();
                self.parked.entry(base).or_default().entry(life).or_default().extend(runs);
            } else {
                self.runs -= runs.len();
                for run in runs {
                    self.all.remove(run)?;
                    free.push(run);
                }
            }
        }
        free.sort_unstable();
        Ok(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(n: u64) -> Run {
        Run::new(n, 1)
    }

    #[test]
    fn a_page_waits_for_its_checkpoint_and_for_those_who_see_it() {
        let mut held = Withheld::default();
        held.drop_run(page(1), 3, 5, 5).unwrap();
        held.drop_run(page(2), 4, 5, 5).unwrap();
        held.drop_run(page(3), 5, 5, 5).unwrap();
        held.drop_run(page(4), 1, 2, 5).unwrap();
        assert!(held.release(4, &[]).unwrap().is_empty(), "checkpoint 5 is not durable");
        assert_eq!(held.parked_pages(), 0);
        assert_eq!(held.release(5, &[3]).unwrap(), [page(2), page(3), page(4)]);
        assert_eq!(held.parked_pages(), 1);
        assert!(held.release(6, &[3, 6]).unwrap().is_empty());
        assert_eq!(held.release(6, &[6]).unwrap(), [page(1)]);
        assert!(held.all().is_empty());
    }

    #[test]
    fn a_group_moves_from_one_holder_to_the_next() {
        let mut held = Withheld::default();
        held.drop_run(page(1), 2, 8, 8).unwrap();
        assert!(held.release(8, &[1, 2, 5, 8]).unwrap().is_empty());
        assert!(held.release(8, &[5, 8]).unwrap().is_empty());
        assert_eq!(held.parked_pages(), 1);
        assert_eq!(held.release(8, &[1, 8]).unwrap(), [page(1)]);
    }

    #[test]
    fn a_page_dropped_twice_is_noticed() {
        let mut held = Withheld::default();
        held.drop_run(Run::new(4, 4), 1, 2, 2).unwrap();
        assert!(held.drop_run(page(6), 1, 3, 3).is_err());
        assert!(held.drop_run(page(9), 4, 3, 3).is_err());
    }

    #[test]
    fn a_million_held_pages_cost_a_release_nothing() {
        let mut held = Withheld::default();
        for n in 0..1_000_000u64 {
            held.drop_run(page(2 * n), 0, 2 + n % 50, 2 + n % 50).unwrap();
        }
        assert!(held.release(60, &[1]).unwrap().is_empty());
        // Would take minutes if each release looked at each page, or at each group of a page.
        for durable in 61..20_000 {
            assert!(held.release(durable, &[1, durable]).unwrap().is_empty());
        }
        assert_eq!(held.release(20_000, &[20_000]).unwrap().len(), 1_000_000);
    }
}
