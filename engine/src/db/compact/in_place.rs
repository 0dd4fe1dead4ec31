//! Compaction in place: pages are rewritten in key order into the lowest free places, and the free end is cut off.
//!
//! A page is rewritten by taking it over into a transaction and changing nothing. Such a transaction has nothing to say
//! in the log but its number: after a crash, what the checkpoint before had is as good. So a compaction is a row of
//! ordinary transactions and checkpoints, each bounded; others write between them, and their pages go to low places as
//! well. A first pass brings leaves in order; further ones move what still lies beyond the place where the file could
//! end. In between, leaves that fit a page together are merged.
#![forbid(unsafe_code)]

use super::CompactReport;
use super::survey::{Goal, to_rewrite};
use super::values::Far;
use crate::checkpoint::walk_cut_subtrees;
use crate::db::Db;
use crate::db::counters::Counters;
use crate::db::shared::Mode;
use crate::durability::Durability;
use crate::error::Result;
use crate::gate::Wait;
use crate::root::TreeRoot;
use crate::tree::touch::{Group, LeafSeen, group_at};
use crate::txn::state::WriteState;
use crate::txn::write::WriteTxn;
use crate::value::Large;
use crate::walk::{Store, damaged_node};
use bifold_page_source::{PageRef, PageSource};
use std::sync::Arc;

/// Branches whose leaves one transaction looks at.
const GROUPS_PER_STEP: usize = 4;
/// Pages below cuts that are read in one go.
const WALK_PER_STEP: usize = 64;
/// The part of the delta's bound, as a divisor, that is rewritten before a checkpoint.
const DELTA_SHARE: u64 = 4;
/// The part of the pages in use, as a divisor, that is rewritten before a checkpoint: the file grows by no more.
const USED_SHARE: u64 = 8;
/// The least number of pages that is.
const CHUNK_MIN: u64 = 64;
/// Passes after the first one.
const SHORTENINGS: usize = 3;

/// How far a pass has come.
#[derive(Clone, Debug, Default)]
struct Position {
    /// The number of the table, of those there were at the beginning.
    table: usize,
    /// The key in it that comes next.
    key: Vec<u8>,
}

/// What a step found.
#[derive(Debug, Default)]
struct Found {
    far: Vec<Far>,
    /// Pages have been taken over.
    touched: bool,
}

/// A compaction under way.
struct Compaction<'a, S: PageSource> {
    db: &'a Db<S>,
    tables: Vec<Arc<str>>,
    goal: Goal,
    /// Where the file could end.
    limit: u64,
    /// Bytes to rewrite before a checkpoint.
    chunk: u64,
    /// The file's length in pages at the beginning.
    end: u64,
    report: CompactReport,
}

/// Commits a transaction that nobody needs to be durable.
pub(super) fn commit<S: PageSource>(txn: WriteTxn<'_, S>) -> Result<()> {
    txn.set_durability(Durability::Deferred);
    txn.commit_nowait().map(drop)
}

impl<S: PageSource> Db<S> {
    /// Makes the file as short as its content allows, and brings its pages in key order, as far as about one rewriting
    /// of each page does. Readers and writers go on: it is a row of write transactions, each with at most a quarter of
    /// [`delta_size`](crate::Builder::delta_size) to write, and of checkpoints. Meanwhile the file may grow by an eighth. A
    /// crash at any time leaves the content as it is.
    ///
    /// It ends early where read transactions that began before it hold what it would give back, and tells so.
    ///
    /// # Errors
    /// As [`write`](Self::write) and [`checkpoint`](Self::checkpoint). What was done so far stays.
    pub fn compact(&self) -> Result<CompactReport> {
        let shared = self.shared();
        let before = self.file_bytes();
        // Whoever has a transaction open is told so. In the queue of compactions it would wait for one that waits for it.
        shared.gate.release(self.take_writer(Wait::Ever)?);
        // One at a time: what it asks of the free space is asked of all.
        let _compacting = shared.compacting.lock();
        self.find_what_was_cut()?;
        let pages = Counters::get(&shared.counters.checkpoint_pages);
        let mut compaction = Compaction {
            db: self,
            tables: self.read_own().tables()?.into_iter().map(Arc::from).collect(),
            goal: Goal::Order,
            limit: 0,
            chunk: 0,
            end: 0,
            report: CompactReport { bytes_before: before, ..CompactReport::default() },
        };
        let done = compaction.run();
        let mut report = compaction.report;
        // Whatever came of it, pages go to where they fit best again.
        if let Ok(mut writer) = shared.gate.acquire(Wait::Ever) {
            let placed = writer.space().map(|space| {
                space.place_lowest(None);
                report.pinned_pages = space.pinned_pages();
            });
            shared.gate.release(writer);
            placed?;
        }
        done?;
        report.pages_written = Counters::get(&shared.counters.checkpoint_pages).saturating_sub(pages);
        report.bytes_after = self.file_bytes();
        Ok(report)
    }

    /// Walks all that was cut off, and makes what is found free.
    fn find_what_was_cut(&self) -> Result<()> {
        self.checkpoint_own()?;
        if self.walk_what_was_cut()? { self.checkpoint_own() } else { Ok(()) }
    }

    /// Walks it; whether a checkpoint makes pages free that were found.
    fn walk_what_was_cut(&self) -> Result<bool> {
        let mut found = false;
        loop {
            let mut writer = self.take_writer(Wait::Ever)?;
            if writer.under_way.is_some() {
                // Nothing is walked while a checkpoint is: it would record half of what is found.
                self.shared().gate.release(writer);
                self.shared().checkpoint_outside()?;
                continue;
            }
            let more = walk_cut_subtrees(self.shared(), &mut writer, WALK_PER_STEP);
            found |= writer.space.as_ref().is_some_and(|space| space.awaiting_pages() > 0);
            self.shared().gate.release(writer);
            if !more? {
                return Ok(found);
            }
        }
    }
}

impl<S: PageSource> Compaction<'_, S> {
    fn run(&mut self) -> Result<()> {
        let mut goes_on = self.pass()?;
        self.goal = Goal::Short;
        for _ in 0..SHORTENINGS {
            let moved = self.report.values_moved;
            let before = Counters::get(&self.db.shared().counters.checkpoint_pages);
            if !goes_on {
                break;
            }
            goes_on = self.pass()?;
            let written = Counters::get(&self.db.shared().counters.checkpoint_pages) - before;
            if written == 0 && self.report.values_moved == moved {
                break;
            }
        }
        self.give_back()
    }

    /// Goes once through all tables; `false` if readers hold too much.
    fn pass(&mut self) -> Result<bool> {
        let mut at = Position::default();
        while at.table < self.tables.len() {
            if !self.step(&mut at)? {
                return Ok(false);
            }
        }
        self.checkpoint()?;
        Ok(true)
    }

    /// One transaction, and a checkpoint if it is time; `false` if readers hold too much.
    fn step(&mut self, at: &mut Position) -> Result<bool> {
        let txn = self.db.write_own(Wait::Ever)?;
        let mut found = Found::default();
        let goes_on = txn.attempt(|state| {
            if !self.prepare(state)? {
                return Ok(false);
            }
            let mut groups = 0;
            while at.table < self.tables.len()
                && groups < GROUPS_PER_STEP
                && state.changes.pages.bytes() < self.chunk
            {
                self.group(state, at, &mut found)?;
                groups += 1;
            }
            Ok(true)
        })?;
        if found.touched {
            commit(txn)?;
        } else {
            drop(txn);
        }
        if Counters::get(&self.db.shared().counters.delta_bytes) >= self.chunk {
            self.checkpoint()?;
        }
        if !found.far.is_empty() {
            // What the pages have left behind may be where values find room.
            self.checkpoint()?;
            let moved = self.db.move_values(&found.far)?;
            self.report.values_moved += moved;
        }
        Ok(goes_on)
    }

    /// Reckons anew where the file could end, and has pages go to low places; `false` if readers hold too much.
    fn prepare(&mut self, state: &mut WriteState) -> Result<bool> {
        let shared = self.db.shared();
        let space = state.writer.space()?;
        let used = space.used_pages();
        let chunk = (used / USED_SHARE).max(CHUNK_MIN) << shared.store.page_size.shift();
        self.chunk = chunk.min(shared.limits.delta_bytes / DELTA_SHARE);
        self.limit = used + used / 64 + 1;
        if self.end == 0 {
            self.end = space.end();
        }
        space.place_lowest(Some(self.limit));
        let pinned = space.pinned_pages();
        let grown = space.end().saturating_sub(self.end) << shared.store.page_size.shift();
        Ok(pinned == 0 || grown <= self.chunk)
    }

    fn checkpoint(&self) -> Result<()> {
        let shared = self.db.shared();
        // A database in memory has no log, and nothing to be lost.
        if Counters::get(&shared.counters.delta_bytes) > 0 || shared.mode == Mode::Ephemeral {
            shared.checkpoint_outside()?;
        }
        Ok(())
    }

    /// Deals with the leaves of one branch, and goes on behind them.
    fn group(&self, state: &mut WriteState, at: &mut Position, found: &mut Found) -> Result<()> {
        let store = &self.db.shared().store;
        let name = &self.tables[at.table];
        let Some(number) = state.find_table(store, name)? else {
            *at = Position { table: at.table + 1, key: Vec::new() };
            return Ok(());
        };
        let mut root = state.root(number)?;
        if at.key.is_empty() && self.catalog_lies_far(state, store, name)? {
            state.log.table(number, name);
            state.set_root(number, root);
            found.touched = true;
        }
        let mut group = group_at(&mut state.walk(store), &root, &at.key)?;
        // Those before were dealt with by the transaction that stopped here.
        let done = group.leaves.iter().skip(1).take_while(|leaf| leaf.key <= at.key).count();
        group.leaves.drain(..done);
        let far = far_values(state, store, &group, name, self.limit)?;
        let (touched, rest) = self.rewrite(state, store, &mut root, &group)?;
        found.far.extend(far.into_iter().filter(|far| rest.as_ref().is_none_or(|rest| far.key < *rest)));
        if touched {
            state.log.table(number, name);
            state.set_root(number, root);
            found.touched = true;
        }
        *at = match rest.or(group.next) {
            Some(key) => Position { key, ..*at },
            None => Position { table: at.table + 1, key: Vec::new() },
        };
        Ok(())
    }

    /// Whether the catalog's pages on the way to a table's entry lie beyond the limit. (They are rewritten whenever a
    /// table changes.)
    fn catalog_lies_far(&self, state: &WriteState, store: &Store<S>, name: &str) -> Result<bool> {
        let catalog = state.base.catalog;
        let group = group_at(&mut state.walk(store), &catalog, name.as_bytes())?;
        let leaf = state.walk(store).leaf_for(&catalog, name.as_bytes())?;
        let leaf = leaf.map_or(0, |leaf| leaf.node().own_number());
        Ok(group.branches.max(leaf) >= self.limit)
    }

    /// Takes over the leaves of a branch that lie badly, and merges what fits a page; whether it did anything. Where
    /// that comes to more than one transaction is to write, it stops, and returns the first key of the rest: large
    /// pages have thousands of children.
    fn rewrite(
        &self,
        state: &mut WriteState,
        store: &Store<S>,
        root: &mut TreeRoot,
        group: &Group,
    ) -> Result<(bool, Option<Vec<u8>>)> {
        let leaves = &group.leaves;
        let mut chosen = to_rewrite(leaves, self.goal, self.limit);
        if let Some(first) = chosen.first_mut() {
            *first |= group.branches >= self.limit;
        }
        let used = if self.goal == Goal::Order { fill(state, store, leaves)? } else { Vec::new() };
        let (mut touched, mut merged, mut at) = (false, false, 0);
        while let Some(leaf) = leaves.get(at) {
            let mut next = at + 1;
            let mut full = used.get(at).copied().unwrap_or(usize::MAX);
            // To the left-most of several, as long as they fit.
            while let Some(more) = used.get(next).filter(|more| full + **more <= store.page_size.bytes()) {
                touched = true;
                if !state.edit(store).merge_right(root, &leaf.key)? {
                    break;
                }
                (full, merged, next) = (full + more, true, next + 1);
            }
            if chosen[at] {
                state.edit(store).touch(root, &leaf.key)?;
                touched = true;
            }
            at = next;
            if state.changes.pages.bytes() >= self.chunk {
                break;
            }
        }
        if merged && let Some(first) = leaves.first() {
            state.edit(store).tidy_branches(root, &first.key)?;
        }
        Ok((touched, leaves.get(at).map(|leaf| leaf.key.clone())))
    }

    /// Cuts off the free end of the file. First the free map's chain moves to low places, then what it left is free.
    fn give_back(&self) -> Result<()> {
        let mut writer = self.db.take_writer(Wait::Ever)?;
        let result = writer.space().map(|space| {
            space.place_lowest(Some(0));
            space.renew_chain();
        });
        self.db.shared().gate.release(writer);
        result?;
        for _ in 0..3 {
            self.db.shared().checkpoint_outside()?;
        }
        Ok(())
    }
}

/// How many bytes are in use in each leaf.
fn fill<S: PageSource>(state: &WriteState, store: &Store<S>, leaves: &[LeafSeen]) -> Result<Vec<usize>> {
    let pages: Vec<_> = leaves.iter().filter_map(|leaf| PageRef::from_bits(leaf.word.bits())).collect();
    store.source.prefetch(&pages);
    let mut walk = state.walk(store);
    leaves.iter().map(|leaf| Ok(walk.node(leaf.word)?.used())).collect()
}

/// The large values below `group` that reach beyond page `limit`.
fn far_values<S: PageSource>(
    state: &WriteState,
    store: &Store<S>,
    group: &Group,
    table: &Arc<str>,
    limit: u64,
) -> Result<Vec<Far>> {
    let mut far = Vec::new();
    for leaf in group.leaves.iter().filter(|leaf| leaf.extents) {
        let held = state.walk(store).hold(leaf.word)?;
        let node = held.node();
        for index in 0..node.count() {
            let broken = || damaged_node(&node, "an entry lies outside it");
            if !node.entry(index).ok_or_else(broken)?.has_word {
                continue;
            }
            let large = Large::parse(&node, index)?;
            let Some(first) = state.walk(store).on_file(large.word)? else { continue };
            let (header, data) = crate::extent::pages_for(large.len, store.page_size);
            if first.page().get() + header + data > limit {
                let key = node.key(index).ok_or_else(broken)?;
                far.push(Far { table: Arc::clone(table), key, first, len: large.len });
            }
        }
    }
    Ok(far)
}

#[cfg(test)]
#[path = "in_place_tests.rs"]
mod tests;
