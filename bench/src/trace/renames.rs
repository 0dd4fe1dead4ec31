//! Tables that are given other names: which table a name meant, for whom and when.
//!
//! A store has one table here, in which each of a trace's has a place of its own. A table that is renamed stays where it
//! is, as it does in the engine: its new name's place, which is empty since no table had that name, becomes the old
//! name's. So a renaming changes the places of two names and moves no entry.
#![forbid(unsafe_code)]

use bifold::trace::Op;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Two names that changed places.
type Swap = (String, String);

/// The renamings of one transaction that was committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Renamed {
    /// The commit's number.
    pub commit: u64,
    /// The thread that made it, and which of its commits it was, from 1.
    pub thread: u32,
    /// See `thread`.
    pub nth: u64,
    /// When the commit was asked for, in microseconds since the recording began.
    pub micros: u64,
    /// What was renamed, in order.
    pub swaps: Vec<Swap>,
}

/// All renamings of a trace, and the places of names between them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Renames {
    /// In the order of commits.
    all: Vec<Renamed>,
    /// For each name that changed its place: after how many of `all`, and whose first place it then had.
    places: HashMap<String, Vec<(usize, String)>>,
}

impl Renames {
    /// Of these, in any order.
    pub fn new(mut all: Vec<Renamed>) -> Self {
        all.sort_by_key(|renamed| renamed.commit);
        let mut places: HashMap<String, Vec<(usize, String)>> = HashMap::new();
        for (renamed, count) in all.iter().zip(1..) {
            for (first, second) in &renamed.swaps {
                let now = |name: &String| {
                    let last = places.get(name).and_then(|places| places.last());
                    last.map_or_else(|| name.clone(), |(_, place)| place.clone())
                };
                let (of_first, of_second) = (now(first), now(second));
                places.entry(first.clone()).or_default().push((count, of_second));
                places.entry(second.clone()).or_default().push((count, of_first));
            }
        }
        Self { all, places }
    }

    /// In the order of commits.
    pub fn all(&self) -> &[Renamed] {
        &self.all
    }

    /// The name that had the place of `name` in the beginning, after so many.
    fn first<'n>(&'n self, name: &'n str, count: usize) -> &'n str {
        let Some(places) = self.places.get(name) else { return name };
        let before = places.partition_point(|(after, _)| *after <= count);
        before.checked_sub(1).and_then(|at| places.get(at)).map_or(name, |(_, first)| first)
    }
}

/// What a transaction has renamed itself, to be gone back to savepoints.
#[derive(Clone, Default, Debug)]
pub(super) struct Own {
    swaps: Vec<Swap>,
    savepoints: HashMap<u64, usize>,
}

impl Own {
    /// Takes note of an event of the transaction.
    pub(super) fn see(&mut self, op: &Op<'_>) {
        match op {
            Op::RenameTable { name, new, .. } => self.swaps.push((name.to_string(), new.to_string())),
            Op::Savepoint { savepoint, .. } => {
                self.savepoints.insert(*savepoint, self.swaps.len());
            }
            Op::Rollback { savepoint, .. } => {
                let kept = self.savepoints.get(savepoint).copied();
                self.swaps.truncate(kept.unwrap_or(usize::MAX));
            }
            _ => {}
        }
    }

    /// What it has renamed.
    pub(super) fn into_swaps(self) -> Vec<Swap> {
        self.swaps
    }

    /// The name that had the place of `name` when the transaction began.
    fn before<'n>(&'n self, name: &'n str) -> &'n str {
        self.swaps.iter().rev().fold(name, |name, (first, second)| match name {
            name if name == first => second,
            name if name == second => first,
            name => name,
        })
    }
}

/// Follows one thread, and tells what names mean to its transactions.
///
/// A reader sees what was committed when it began: its thread's commits in their order, those of others by the clock, to
/// the microsecond. A commit that was just being waited for may so be taken for one that it saw. A writer sees all
/// commits that were asked for before it looks up a table, since it had the turn then.
#[derive(Clone, Debug)]
pub struct Follower<'r> {
    renames: &'r Renames,
    thread: u32,
    commits: u64,
    reads: HashMap<u64, usize>,
    writes: HashMap<u64, Own>,
}

impl<'r> Follower<'r> {
    /// Of `thread`, of which nothing is known yet.
    pub fn new(renames: &'r Renames, thread: u32) -> Self {
        Self { renames, thread, commits: 0, reads: HashMap::new(), writes: HashMap::new() }
    }

    /// Takes note of the thread's next event.
    pub fn see(&mut self, micros: u64, op: &Op<'_>) {
        if self.renames.all.is_empty() {
            return;
        }
        match op {
            Op::ReadBegin { txn } => {
                self.reads.insert(*txn, self.seen(micros));
            }
            Op::ReadEnd { txn } => {
                self.reads.remove(txn);
            }
            Op::WriteBegin { txn } => {
                self.writes.insert(*txn, Own::default());
            }
            Op::Commit { txn, number, .. } => {
                self.writes.remove(txn);
                self.commits += u64::from(number.is_some());
            }
            Op::Abort { txn } => {
                self.writes.remove(txn);
            }
            Op::Savepoint { txn, .. } | Op::Rollback { txn, .. } | Op::RenameTable { txn, .. } => {
                if let Some(own) = self.writes.get_mut(txn) {
                    own.see(op);
                }
            }
            _ => {}
        }
    }

    /// How many renamings are seen at a time.
    fn seen(&self, micros: u64) -> usize {
        self.renames.all.partition_point(|renamed| {
            if renamed.thread == self.thread { renamed.nth <= self.commits } else { renamed.micros <= micros }
        })
    }

    /// Whose place in the beginning `name` has, as `txn` of this thread has it at a time.
    pub fn first<'n>(&'n self, micros: u64, txn: u64, name: &'n str) -> &'n str {
        if self.renames.all.is_empty() {
            return name;
        }
        let (name, count) = match self.writes.get(&txn) {
            Some(own) => (own.before(name), self.seen(micros)),
            None => (name, self.reads.get(&txn).copied().unwrap_or_else(|| self.seen(micros))),
        };
        self.renames.first(name, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(commit: u64, thread: u32, nth: u64, micros: u64, swaps: &[(&str, &str)]) -> Renamed {
        let swaps = swaps.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Renamed { commit, thread, nth, micros, swaps }
    }

    fn rename(txn: u64, name: &'static str, new: &'static str) -> Op<'static> {
        Op::RenameTable { txn, name: name.into(), new: new.into() }
    }

    fn commit(txn: u64, number: Option<u64>) -> Op<'static> {
        Op::Commit { txn, durability: bifold::Durability::Sync, waited: true, number }
    }

    /// A new version of a table is built beside it and takes its name, twice.
    #[test]
    fn names_change_places() {
        let renames = Renames::new(vec![
            renamed(5, 1, 2, 50, &[("live", "old"), ("built", "live")]),
            renamed(3, 1, 1, 30, &[("live", "old"), ("built", "live")]),
        ]);
        assert!(renames.all().is_sorted_by_key(|renamed| renamed.commit));
        let first = |count: usize| ["live", "old", "built"].map(|name| renames.first(name, count).to_owned());
        assert_eq!(first(0), ["live", "old", "built"]);
        // Each place is one name's; the table that was dropped before the second leaves an empty one.
        assert_eq!(first(1), ["built", "live", "old"]);
        assert_eq!(first(2), ["old", "built", "live"]);
        assert_eq!(renames.first("another", 2), "another");
    }

    #[test]
    fn each_transaction_has_its_names() {
        let renames =
            Renames::new(vec![renamed(1, 1, 1, 30, &[("a", "b")]), renamed(2, 2, 1, 60, &[("b", "c")])]);
        let mut one = Follower::new(&renames, 1);
        one.see(10, &Op::ReadBegin { txn: 7 });
        one.see(11, &Op::WriteBegin { txn: 8 });
        one.see(12, &Op::Savepoint { txn: 8, savepoint: 0 });
        one.see(13, &rename(8, "a", "wrong"));
        assert_eq!(one.first(13, 8, "wrong"), "a");
        one.see(14, &Op::Rollback { txn: 8, savepoint: 0 });
        one.see(15, &Op::Rollback { txn: 8, savepoint: 9 });
        assert_eq!((one.first(15, 8, "wrong"), one.first(15, 8, "a")), ("wrong", "a"));
        one.see(16, &rename(8, "a", "b"));
        assert_eq!((one.first(17, 8, "b"), one.first(17, 8, "a")), ("a", "b"), "its own, before the commit");
        assert_eq!(one.first(17, 7, "a"), "a", "the snapshot's");
        // In its own order, even if the clock did not move on.
        one.see(30, &Op::ReadBegin { txn: 9 });
        assert_eq!(one.first(30, 9, "a"), "a");
        one.see(30, &commit(8, Some(1)));
        one.see(30, &Op::ReadBegin { txn: 10 });
        assert_eq!((one.first(70, 10, "b"), one.first(70, 7, "a")), ("a", "a"));
        one.see(60, &Op::ReadBegin { txn: 11 });
        assert_eq!(one.first(70, 11, "c"), "a", "another thread's, by the clock");

        let mut two = Follower::new(&renames, 2);
        two.see(5, &Op::WriteBegin { txn: 12 });
        assert_eq!(two.first(31, 12, "b"), "a", "it had waited for its turn");
        two.see(32, &commit(12, None));
        two.see(33, &Op::WriteBegin { txn: 13 });
        two.see(34, &rename(13, "b", "lost"));
        two.see(35, &Op::Abort { txn: 13 });
        two.see(36, &Op::WriteBegin { txn: 14 });
        assert_eq!(two.first(37, 14, "b"), "a");
    }
}
