//! Transactions larger than memory: the pages of the open transaction go to the file before it commits.
//!
//! A page on file refers only to pages on file. So whatever others have committed goes first, by a checkpoint; after
//! that the transaction's own pages refer to the file and to each other. They are written in key order to places that
//! are in use in memory alone: in the persisted map they are free until a checkpoint reaches them, so a crash or an
//! abort leaves nothing behind. A transaction that has spilled commits by a checkpoint.
//!
//! Savepoints go on to work: what was made after one is written to runs of its own, which a rollback gives back.
//!
//! What an earlier spill wrote and the transaction has dropped since makes room for the next: see [`super::reuse`].
#![forbid(unsafe_code)]

use super::pages::TxnPages;
use super::state::{OpenTable, SavepointState, WriteState};
use crate::checkpoint::{
    Batch, Homes, Layout, LogAfter, Open, Places, drop_of_home, on_file_now, write_value_at,
};
use crate::db::counters::Counters;
use crate::db::shared::Shared;
use crate::delta::{Image, Slab};
use crate::error::{Error, Result};
use crate::extent::pages_for;
use crate::free::{Grant, Run, Use};
use crate::root::TreeRoot;
use crate::tree::change::{Changes, Descriptors, Dropped};
use crate::word::{Target, Word};
use bifold_page_source::{PageId, PageRef, PageSource};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The open transaction as a checkpoint meets it.
struct OpenTxn<'a> {
    changes: &'a mut Changes,
    tables: &'a mut [OpenTable],
    savepoints: &'a mut [SavepointState],
}

impl OpenTxn<'_> {
    /// The roots of all tables, now and at each savepoint.
    fn roots(&mut self) -> impl Iterator<Item = &mut TreeRoot> {
        let earlier = self.savepoints.iter_mut().flat_map(|savepoint| &mut savepoint.tables);
        self.tables.iter_mut().chain(earlier).filter_map(|table| table.root.as_mut())
    }
}

impl Open for OpenTxn<'_> {
    fn sweep(&mut self, slab: &Slab, descriptors: &Descriptors, before: u64) -> Result<()> {
        let own = &self.changes.pages;
        for image in own.ids().filter_map(|id| own.get(id)) {
            for word in image.words() {
                let bits = word.load(Ordering::Acquire);
                let now = turned(slab, own, bits);
                if now != bits {
                    word.store(now, Ordering::Release);
                }
            }
        }
        for dropped in &mut self.changes.dropped {
            on_file_now(slab, descriptors, before, dropped);
        }
        let savepoints = self.savepoints.iter_mut().flat_map(|savepoint| &mut savepoint.tables);
        for root in self.tables.iter_mut().chain(savepoints).filter_map(|table| table.root.as_mut()) {
            root.word = Word::from_bits(turned(slab, own, root.word.bits()));
        }
        Ok(())
    }
}

/// A word as it is now, if it names a page of the delta that has gone to the file.
fn turned(slab: &Slab, own: &TxnPages, bits: u64) -> u64 {
    match Word::from_bits(bits).target() {
        Target::Delta(id) if own.get(id).is_none() => match slab.home(id) {
            0 => bits,
            home => home,
        },
        _ => bits,
    }
}

/// Where pages go that were made between two savepoints.
#[derive(Default)]
struct Group {
    leaves: Places,
    branches: Places,
    runs: Vec<Run>,
}

impl WriteState {
    /// Writes all pages of the transaction to the file, so that they take no memory.
    ///
    /// # Errors
    /// `DiskFull`, I/O errors: the transaction has failed.
    pub(crate) fn spill<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        let span = tracing::debug_span!("spill", bytes = self.changes.pages.bytes());
        let _entered = span.enter();
        self.log.overflow();
        Counters::add(&shared.counters.spills, 1);
        if self.writer.delta_bytes() > 0 || self.writer.under_way.is_some() {
            self.checkpoint_beneath(shared)?;
        }
        self.reclaim(shared)?;
        let Self { changes, tables, savepoints, .. } = self;
        let mut open = OpenTxn { changes, tables, savepoints };
        let roots: Vec<TreeRoot> = open.roots().map(|root| *root).collect();
        let layout = Layout::collect_own(&open.changes.pages, &roots)?;
        let homes = self.write_own(shared, &layout)?;
        self.forget_own(shared, &homes)
    }

    /// Makes a checkpoint of everything committed, in the middle of this transaction.
    ///
    /// # Errors
    /// `DiskFull` and others that leave all as it was; those that poison.
    pub(super) fn checkpoint_beneath<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        let Self { writer, changes, tables, savepoints, .. } = self;
        let mut open = OpenTxn { changes, tables, savepoints };
        let made = shared.checkpoint_with(writer, LogAfter::Live, Some(&mut open));
        // Also if it failed: the one before it may have ended meanwhile.
        writer.first_birth = writer.first_birth.min(changes.birth);
        self.base = Arc::clone(&writer.newest);
        // Positions hold on to pages that may have gone to the file: they are to be sought again.
        changes.version += 1;
        changes.run = crate::tree::change::Run::default();
        made
    }

    /// How many savepoints are older than page `id`.
    fn depth(&self, id: u32) -> usize {
        let made = self.changes.pages.made_at(id);
        self.savepoints.partition_point(|savepoint| savepoint.made <= made)
    }

    /// Writes the pages of `layout` to places of their own.
    fn write_own<S: PageSource>(&mut self, shared: &Shared<S>, layout: &Layout) -> Result<Homes> {
        let (mut groups, values) = self.with_room(shared, |state| state.take_groups(shared, layout))?;
        let written = self.write_groups(shared, layout, &mut groups, &values);
        // Whatever became of it, they are the transaction's now: as old as what was made first of what lies in them.
        for (depth, group) in groups.into_iter().enumerate() {
            group.runs.into_iter().try_for_each(|run| self.early.add(depth, run))?;
        }
        written
    }

    /// Takes places for everything of `layout`; one for each large value, in their order.
    fn take_groups<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        layout: &Layout,
    ) -> Result<(Vec<Group>, Vec<Run>)> {
        let mut wanted = vec![[0u64; 2]; self.savepoints.len() + 1];
        for (level, ids) in layout.tables.iter().enumerate() {
            for &id in ids {
                wanted[self.depth(id)][level.min(1)] += 1;
            }
        }
        let mut grants = Vec::new();
        if let Err(error) = self.take_grants(shared, layout, &wanted, &mut grants) {
            for grant in grants.iter().rev() {
                self.writer.space()?.revoke(grant)?;
            }
            return Err(error);
        }
        let values: Vec<Run> = grants.drain(2 * wanted.len()..).flat_map(|grant| grant.runs).collect();
        let group = |pair: &[Grant]| {
            let runs = |grant: Option<&Grant>| grant.map_or(Vec::new(), |g| g.runs.clone());
            let (leaves, branches) = (runs(pair.first()), runs(pair.get(1)));
            let all = leaves.iter().chain(&branches).copied().collect();
            Group { leaves: Places::new(leaves), branches: Places::new(branches), runs: all }
        };
        let mut groups: Vec<Group> = grants.chunks(2).map(group).collect();
        for (value, &run) in layout.values.iter().zip(&values) {
            groups[self.depth(value.id)].runs.push(run);
        }
        Ok((groups, values))
    }

    /// Takes leaves and branches of each depth, then the values, and grows the file. What was taken before an error is
    /// in `grants`.
    fn take_grants<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        layout: &Layout,
        wanted: &[[u64; 2]],
        grants: &mut Vec<Grant>,
    ) -> Result<()> {
        let space = self.writer.space()?;
        for pages in wanted.iter().flatten() {
            grants.push(space.allocate(*pages, Use::Early)?);
        }
        for value in &layout.values {
            let (header, data) = pages_for(value.len, shared.store.page_size);
            grants.push(space.allocate_contiguous(header + data, Use::Early)?);
        }
        shared.grow_file(space.end())
    }

    fn write_groups<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        layout: &Layout,
        groups: &mut [Group],
        values: &[Run],
    ) -> Result<Homes> {
        let mut homes = Homes::default();
        for (value, run) in layout.values.iter().zip(values) {
            let first = PageId::new(run.start).ok_or(Error::Internal("a place beyond the largest page"))?;
            let image = self.own_image(value.id)?;
            let written = write_value_at(shared, first, self.changes.birth, image.bytes());
            homes.set(value.id, written.inspect_err(|error| shared.poison(error))?.bits());
        }
        let mut buffer = Vec::new();
        for (level, ids) in layout.tables.iter().enumerate() {
            let mut done = 0;
            while done < ids.len() {
                let image = |id: u32| self.own_image(id);
                let batch = Batch { shared, homes: &mut homes, buffer: &mut buffer, image: &image };
                let place = &mut |id: u32| {
                    let group = groups.get_mut(self.depth(id))?;
                    if level == 0 { group.leaves.next() } else { group.branches.next() }
                };
                let written = batch.write(&ids[done..], place);
                done += written.inspect_err(|error| shared.poison(error))?;
            }
        }
        Ok(homes)
    }

    fn own_image(&self, id: u32) -> Result<Arc<Image>> {
        let image = self.changes.pages.get(id);
        image.cloned().ok_or(Error::Internal("a page to spill is not the transaction's"))
    }

    /// All pages are on file: roots and drops name them there, and memory lets them go.
    fn forget_own<S: PageSource>(&mut self, shared: &Shared<S>, homes: &Homes) -> Result<()> {
        let Self { writer, changes, tables, savepoints, .. } = self;
        let birth = changes.birth;
        for dropped in &mut changes.dropped {
            if let Dropped::Delta(id) = *dropped
                && changes.pages.get(id).is_some()
            {
                let home = homes.get(id).and_then(PageRef::from_bits);
                let home = home.ok_or(Error::Internal("a page that was dropped is of no savepoint"))?;
                *dropped = drop_of_home(&writer.descriptors, id, home, birth);
            }
        }
        let mut open = OpenTxn { changes, tables, savepoints };
        for root in open.roots() {
            *root = homes.settle(*root)?;
        }
        for savepoint in open.savepoints.iter_mut() {
            savepoint.made = 0;
        }
        changes.pages.freeze(0);
        changes.pages.rollback(&mut writer.descriptors.ids, &shared.store.slab, 0);
        // Positions hold on to pages that are no longer the transaction's: they are to be sought again.
        changes.version += 1;
        changes.run = crate::tree::change::Run::default();
        Ok(())
    }
}
