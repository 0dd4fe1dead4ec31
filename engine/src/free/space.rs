//! [`FreeSpace`]: the state of every page of the file that is not simply in use, and what the next checkpoint must
//! record of it.
//!
//! The persisted map is never held twice. `to_alloc` and `to_free` are what the next record adds to the newest one:
//! pages that it calls free and that will not be, and the other way round. A change and its opposite within one
//! interval cancel out.
#![forbid(unsafe_code)]

use super::page_set::PageSet;
use super::placing::Placing;
use super::record::{Fault, Subtree};
use super::replay::Map;
use super::run_set::RunSet;
use super::runs::{PAGE_LIMIT, Run};
use super::withheld::Withheld;
use crate::error::{Error, Result};
use bifold_page_source::{PageRef, PageSize};
use std::collections::{BTreeMap, BTreeSet};

/// What pages are wanted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// The checkpoint that is recorded next refers to them.
    Checkpoint,
    /// They are written before a checkpoint refers to them: until [`FreeSpace::reached`] they are in use in memory
    /// only, and free in every persisted map.
    Early,
}

/// Pages handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) struct Grant {
    /// The pages, lowest first.
    pub(crate) runs: Vec<Run>,
    /// The file's length in pages before.
    old_end: u64,
    /// The file's length in pages now.
    new_end: u64,
}

impl Grant {
    /// The length in pages that the file must be grown to before the pages are written, if it must.
    #[cfg(test)]
    pub(crate) fn grow_to(&self) -> Option<u64> {
        (self.new_end > self.old_end).then_some(self.new_end)
    }
}

/// All free space of one file. Owned by whoever holds the writer's lock.
#[derive(Clone, Debug)]
pub(crate) struct FreeSpace {
    /// Pages before this one are the file's head.
    head: u64,
    /// The file's length in pages.
    pub(super) end: u64,
    pub(super) page_size: PageSize,
    pub(super) placing: Placing,
    /// May be handed out.
    pub(super) free: RunSet,
    /// Free in the persisted map, but handed out (the pages reserved for the chain among them); or dropped again since,
    /// until that is noted.
    pub(super) early: PageSet,
    pub(super) withheld: Withheld,
    pub(super) to_alloc: PageSet,
    pub(super) to_free: PageSet,
    /// The newest recorded checkpoint.
    pub(super) recorded: u64,
    /// The newest checkpoint begun.
    pub(super) begun: u64,
    /// Whether a checkpoint was refused since the chain was last written anew.
    pub(super) frugal: bool,
    /// The pages of the chain.
    pub(super) chain: Vec<Run>,
    /// Subtrees yet to be walked, by the word that refers to their root.
    pub(super) subtrees: BTreeMap<u64, Subtree>,
    /// Those of them that are still to be tried, the earliest cut first.
    to_walk: BTreeSet<(u64, u64)>,
    /// Those of them that the persisted map names, or did until they were walked.
    pub(super) recorded_subtrees: BTreeSet<u64>,
}

impl FreeSpace {
    /// The free space of a file as of its newest checkpoint: `end` pages long, the first `head` of them its head.
    /// `map` was read from the pages `chain`; a new file has neither.
    pub(crate) fn new(
        head: u64,
        end: u64,
        page_size: PageSize,
        checkpoint: u64,
        map: Map,
        chain: Vec<Run>,
    ) -> Self {
        debug_assert!(head <= end && end <= PAGE_LIMIT);
        Self {
            head,
            end,
            page_size,
            placing: Placing::default(),
            free: map.free,
            early: PageSet::default(),
            withheld: Withheld::default(),
            to_alloc: PageSet::default(),
            to_free: PageSet::default(),
            recorded: checkpoint,
            begun: checkpoint,
            frugal: false,
            chain,
            recorded_subtrees: map.subtrees.keys().copied().collect(),
            to_walk: map.subtrees.values().map(|s| (s.cut_at, s.root.bits())).collect(),
            subtrees: map.subtrees,
        }
    }

    /// The file's length in pages, which the next meta page states.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Pages that may be handed out without growing the file.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free.pages()
    }

    /// Whether a page may be handed out.
    #[cfg(test)]
    pub(crate) fn is_free(&self, page: u64) -> bool {
        self.free.contains(page)
    }

    /// Free pages at the end of the file, which [`shorten`](Self::shorten) could give back.
    pub(crate) fn trailing_free(&self) -> u64 {
        let last = self.end.checked_sub(1).and_then(|page| self.free.all().run_at(page));
        last.map_or(0, |run| run.len)
    }

    /// Pages that only live snapshots hold back.
    pub(crate) fn pinned_pages(&self) -> u64 {
        self.withheld.parked_pages()
    }

    /// Dropped pages that wait for a checkpoint to be durable (and may be held by snapshots besides).
    pub(crate) fn awaiting_pages(&self) -> u64 {
        self.withheld.all().pages() - self.withheld.parked_pages()
    }

    /// The free runs, lowest first.
    pub(crate) fn free_runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.free.all().iter()
    }

    /// Runs of dropped pages that wait for a checkpoint or for snapshots, lowest first.
    pub(crate) fn withheld_runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.withheld.all().iter()
    }

    /// The pages of the persisted map's chain.
    pub(crate) fn chain(&self) -> &[Run] {
        &self.chain
    }

    /// By how many pages the file must grow before `pages` pages can be handed out.
    pub(crate) fn shortfall(&self, pages: u64) -> u64 {
        pages.saturating_sub(self.free.pages())
    }

    /// By how many pages the file must grow before `pages` contiguous pages can be handed out.
    pub(crate) fn shortfall_contiguous(&self, pages: u64) -> u64 {
        if self.free.longest() >= pages { 0 } else { pages - self.trailing_free() }
    }

    /// Adds `pages` free pages at the end.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if the file would have more than 2^40 pages.
    pub(crate) fn extend(&mut self, pages: u64) -> Result<()> {
        if pages > PAGE_LIMIT - self.end {
            return Err(Error::DiskFull { wanted: pages.saturating_mul(self.page_size.bytes() as u64) });
        }
        if pages > 0 {
            let run = Run::new(self.end, pages);
            self.note_free(run)?;
            self.free.insert(run)?;
            self.end += pages;
        }
        Ok(())
    }

    /// Takes the free pages from `new_end` on out of the file. The file itself may be shortened once the next
    /// checkpoint is durable, unless it has grown again.
    ///
    /// # Errors
    /// [`Error::Internal`] if one of them is not free; nothing has changed.
    pub(crate) fn shorten(&mut self, new_end: u64) -> Result<()> {
        if new_end < self.end {
            let run = Run::between(new_end, self.end);
            self.free.remove(run)?;
            self.note_alloc(run)?;
            self.end = new_end;
        }
        Ok(())
    }

    /// Hands out `pages` pages in few runs, growing the file where free space does not suffice.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if the file would have more than 2^40 pages; nothing has changed.
    pub(crate) fn allocate(&mut self, pages: u64, purpose: Use) -> Result<Grant> {
        Ok(self.allocate_bounded(pages, purpose, usize::MAX)?.0)
    }

    /// [`allocate`](Self::allocate) in steps: hands out at most `max_runs` runs (one, if that is zero), and tells how
    /// many pages are still wanted. The first step grows the file by what is short for all of them. Called again for
    /// the rest, with nothing between, it hands out the same runs as one call would. Grants are revoked one by one,
    /// the last one first.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub(crate) fn allocate_bounded(
        &mut self,
        pages: u64,
        purpose: Use,
        max_runs: usize,
    ) -> Result<(Grant, u64)> {
        let old_end = self.end;
        self.extend(self.shortfall(pages))?;
        let runs = self.take_some(pages, max_runs.max(1))?;
        let taken: u64 = runs.iter().map(|run| run.len).sum();
        Ok((self.grant(runs, old_end, purpose)?, pages - taken))
    }

    /// Hands out `pages` contiguous pages, growing the file where no free run suffices.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub(crate) fn allocate_contiguous(&mut self, pages: u64, purpose: Use) -> Result<Grant> {
        let old_end = self.end;
        self.extend(self.shortfall_contiguous(pages))?;
        let runs = self.take_contiguous(pages)?.into_iter().collect();
        self.grant(runs, old_end, purpose)
    }

    fn grant(&mut self, runs: Vec<Run>, old_end: u64, purpose: Use) -> Result<Grant> {
        for &run in &runs {
            self.placing.note_used(run.end());
            match purpose {
                Use::Checkpoint => self.note_alloc(run)?,
                Use::Early => self.early.insert(run)?,
            }
        }
        Ok(Grant { runs, old_end, new_end: self.end })
    }

    /// Undoes a grant whose pages were not written, the file's growth included (where nothing grew it further).
    ///
    /// # Errors
    /// [`Error::Internal`] if the pages are not in use.
    pub(crate) fn revoke(&mut self, grant: &Grant) -> Result<()> {
        for &run in &grant.runs {
            self.give_back(run)?;
        }
        let grown = grant.new_end - grant.old_end;
        if grown > 0 && self.end == grant.new_end && self.trailing_free() >= grown {
            self.shorten(grant.old_end)?;
        }
        Ok(())
    }

    /// Makes pages free at once that were handed out and that neither a checkpoint, nor the log, nor a reader
    /// refers to: written by a transaction that is given up, or not needed after all.
    ///
    /// # Errors
    /// [`Error::Internal`] if one of them is free or withheld, or lies outside the file.
    pub(crate) fn give_back(&mut self, run: Run) -> Result<()> {
        self.check_in_use(run)?;
        let Self { early, to_alloc, to_free, .. } = self;
        early.take(run, |other| to_alloc.take(other, |rest| to_free.insert(rest)))?;
        self.free.insert(run)
    }

    /// Tells that the checkpoint begun, or about to be, refers to pages that were handed out as [`Use::Early`]. Parts
    /// that were dropped since may be among them: if their drop is recorded by that same checkpoint, its map calls
    /// them free, and otherwise not yet. Comes before the first [`prepare`](Self::prepare) of the checkpoint.
    ///
    /// # Errors
    /// [`Error::Internal`] if one of them is not early (any more: its drop may have been noted); nothing has changed.
    pub(crate) fn reached(&mut self, run: Run) -> Result<()> {
        self.early.remove(run)?;
        self.note_alloc(run)
    }

    /// Takes pages that the log names out of free space, as [`Use::Early`]. For recovery, before anything is
    /// handed out; the file is taken to be at least that long.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if they are not free.
    pub(crate) fn claim(&mut self, run: Run) -> Result<(), Fault> {
        const WHAT: Fault = Fault::Damaged("the log names an extent that lies on pages in use");
        if !run.is_valid() || run.start < self.head {
            return Err(WHAT);
        }
        self.extend(run.end().saturating_sub(self.end)).map_err(|_| WHAT)?;
        self.free.remove(run).map_err(|_| WHAT)?;
        self.placing.note_used(run.end());
        self.early.insert(run).map_err(|_| WHAT)
    }

    /// Drops pages born at checkpoint `birth`, to which checkpoint `dropped` is the first not to refer. Equal
    /// numbers mean that no snapshot can see them (the map's own pages).
    ///
    /// The first checkpoint after the one [begun](Self::begin) last, or `dropped` if that is later, records it. That
    /// holds too for pages that a checkpoint already recorded as in use after `dropped`, because they were part of a
    /// cut subtree.
    ///
    /// # Errors
    /// [`Error::Internal`] if one of them is free or dropped already, or lies outside the file.
    pub(crate) fn drop_run(&mut self, run: Run, birth: u64, dropped: u64) -> Result<()> {
        self.drop_run_at(run, birth, dropped, dropped.max(self.begun + 1))
    }

    /// [`drop_run`](Self::drop_run) for what checkpoint `recorded` itself drops after it was begun, and for what the
    /// transaction drops that commits by it. That checkpoint, or a later one, records it.
    ///
    /// # Errors
    /// As [`drop_run`](Self::drop_run); [`Error::Internal`] also if `recorded` is before `dropped`, or is recorded
    /// already.
    pub(crate) fn drop_run_at(&mut self, run: Run, birth: u64, dropped: u64, recorded: u64) -> Result<()> {
        self.check_in_use(run)?;
        if recorded <= self.recorded || recorded < dropped || birth > dropped {
            return Err(Error::Internal("a drop that is recorded too early, or before a birth"));
        }
        let parts: Vec<(bool, Run)> = self.early.parts(run).collect();
        for (early, part) in parts {
            // Every persisted map calls an early page free.
            match (early, dropped > self.recorded) {
                (false, _) => self.withheld.drop_run(part, birth, dropped, recorded)?,
                (true, true) => self.withheld.drop_run(part, birth, dropped, dropped)?,
                (true, false) => {
                    self.early.remove(part)?;
                    self.withheld.drop_noted(part, birth, dropped)?;
                }
            }
        }
        Ok(())
    }

    /// Makes free what may be, in steps of at most `max_runs` runs (one, if that is zero): `durable` is the newest
    /// durable checkpoint, `live_bases` the sorted bases (the last checkpoint at or before it) of all live snapshots,
    /// of the root that a new reader would get, and of the root being checkpointed. A base that is not among them may
    /// later appear only if it is `durable` or newer. Returns the pages, lowest first, and whether more is due; both
    /// arguments may differ at the next step.
    ///
    /// # Errors
    /// [`Error::Internal`] if the state contradicts itself.
    pub(crate) fn release(
        &mut self,
        durable: u64,
        live_bases: &[u64],
        max_runs: usize,
    ) -> Result<(Vec<Run>, bool)> {
        let (released, more) = self.withheld.release(durable.min(self.recorded), live_bases, max_runs)?;
        for &run in &released {
            debug_assert!(!self.early.overlaps(run), "a drop was not noted");
            self.free.insert(run)?;
        }
        Ok((released, more))
    }

    /// Adds a subtree that was cut off and is yet to be walked. Its root must be a page that the checkpoint before
    /// `cut_at` refers to: early pages that no checkpoint will reach are free in the persisted map, so the cut
    /// walks through those at once and adds what hangs below them.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is there already.
    pub(crate) fn cut_subtree(&mut self, subtree: Subtree) -> Result<()> {
        self.to_walk.insert((subtree.cut_at, subtree.root.bits()));
        match self.subtrees.insert(subtree.root.bits(), subtree) {
            None => Ok(()),
            Some(_) => Err(Error::Internal("a subtree was cut twice")),
        }
    }

    /// Removes a subtree whose root has been walked. The drops of that page and of whatever else was found, and
    /// the children yet to be walked, must be told before the next checkpoint is begun. No subtree is walked between a
    /// checkpoint's [`begin`](Self::begin) and its [`seal`](Self::seal): its record would miss those drops.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no such subtree.
    pub(crate) fn subtree_done(&mut self, root: PageRef) -> Result<()> {
        match self.subtrees.remove(&root.bits()) {
            Some(subtree) => {
                self.to_walk.remove(&(subtree.cut_at, root.bits()));
                Ok(())
            }
            None => Err(Error::Internal("a subtree was finished that was not cut")),
        }
    }

    /// The subtree to be walked next, of those that `checkpoint` does not refer to.
    pub(crate) fn next_to_walk(&self, checkpoint: u64) -> Option<Subtree> {
        let (cut_at, root) = self.to_walk.first()?;
        if *cut_at <= checkpoint { self.subtrees.get(root).copied() } else { None }
    }

    /// Leaves a subtree alone that cannot be walked: it stays cut, and is tried again when the file is opened again.
    pub(crate) fn set_aside(&mut self, subtree: &Subtree) {
        self.to_walk.remove(&(subtree.cut_at, subtree.root.bits()));
    }

    /// The subtrees yet to be walked, in the order of their roots' words.
    pub(crate) fn subtrees(&self) -> impl Iterator<Item = &Subtree> {
        self.subtrees.values()
    }

    /// Records that pages the persisted map does not call free will be.
    pub(super) fn note_free(&mut self, run: Run) -> Result<()> {
        let Self { to_alloc, to_free, .. } = self;
        to_alloc.take(run, |rest| to_free.insert(rest))
    }

    /// Records that pages the persisted map calls free will not be.
    fn note_alloc(&mut self, run: Run) -> Result<()> {
        let Self { to_alloc, to_free, .. } = self;
        to_free.take(run, |rest| to_alloc.insert(rest))
    }

    /// Whether pages are in use, so that they can be dropped.
    pub(crate) fn is_in_use(&self, run: Run) -> bool {
        self.check_in_use(run).is_ok()
    }

    /// Whether a subtree with this root was cut already.
    pub(crate) fn is_cut(&self, root: PageRef) -> bool {
        self.subtrees.contains_key(&root.bits())
    }

    fn check_in_use(&self, run: Run) -> Result<()> {
        let inside = run.is_valid() && run.start >= self.head && run.end() <= self.end;
        if !inside || self.free.all().overlaps(run) || self.withheld.all().overlaps(run) {
            return Err(Error::Internal("pages given up that are not in use"));
        }
        Ok(())
    }
}
