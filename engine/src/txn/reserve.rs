//! Room on file before it is needed: a full disk is met by the transaction that would fill it, and by nobody later.
//!
//! Before a commit's record goes to the log, the file holds free pages for all that the next checkpoint must write (and
//! for two, while one has begun and has no places yet), with runs long enough for all large values of the delta, so that
//! any order of placing them succeeds. What is acknowledged therefore never waits for room.
//!
//! **The reserve.** Beyond that some free pages stay: an eighth of the file, but no more than 1 MiB or a hundredth of
//! it, whichever is larger, and at least [`RESERVE_MIN`] pages. A transaction that inserts is refused if it would leave
//! fewer. One that only removes may use them: it needs new pages too, as nothing is changed in place, but gives back
//! as many at the next checkpoint. So space can be made on a full disk. The reserve is a number of free pages rather
//! than certain ones: removing needs single pages, and what is contiguous is seen to above.
//!
//! **Before a disk is called full** everything is freed that can be: what readers held and have let go, and, by a
//! checkpoint in the middle of the transaction, what only the checkpoint before still needs.
#![forbid(unsafe_code)]

use super::state::WriteState;
use super::writer::{Counts, Writer};
use crate::checkpoint::{chain_capacity, discard, walk_cut_subtrees};
use crate::db::shared::{Mode, Shared};
use crate::error::{Error, Result};
use crate::free::{FreeSpace, Run, Use};
use bifold_page_source::{PageSize, PageSource};

/// Pages that the reserve has at least: enough for one removal from a table of any height, and its checkpoint.
const RESERVE_MIN: u64 = 32;
/// Bytes that the reserve of a middling file has.
const RESERVE_BYTES: u64 = 1 << 20;
/// How often room is made for one step: each time something was freed, and yet not enough.
const ROUNDS: usize = 8;
/// Pages below cuts that are read to find free pages, each time. One of them may name some hundred.
const WALK: usize = 1024;
/// Runs that are released in one step.
const RELEASE: usize = 4096;

/// Free pages that the next checkpoints need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needed {
    /// All of them.
    pub(crate) pages: u64,
    /// Those of them that are wanted in contiguous pieces, and those taken before the last of these.
    values: u64,
    /// The longest piece.
    longest: u64,
}

/// What is about to be added to what the next checkpoint writes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct More {
    /// Pages.
    pub(crate) counts: Counts,
    /// Pages for the catalog, in all checkpoints that are due.
    pub(crate) catalog: u64,
    /// Runs dropped, reached, or given back.
    pub(crate) runs: u64,
}

impl Writer {
    /// What must be free so that the next checkpoint, and the one before it if that has no places yet, grow the file by
    /// nothing. Constant time.
    pub(crate) fn needed(&mut self, page_size: PageSize, more: &More) -> Result<Needed> {
        let counts = self.unplaced().plus(more.counts);
        let rounds = if self.is_unplaced() { 2 } else { 1 };
        let dropped = self.under_way.as_ref().map_or(0, |job| job.dropped.len() as u64);
        let nodes = counts.nodes + more.catalog;
        // Each page may come to lie in a run of its own, and each of the catalog's replaces one.
        let runs = nodes + counts.values + more.catalog + more.runs + dropped;
        let chain = self.space()?.upper_bound_pages(chain_capacity(page_size), runs);
        let Counts { values, longest, .. } = counts;
        // Between the values of the checkpoint that has no places yet and those of the next, all else that it writes
        // goes to the same runs.
        let between = match &self.under_way {
            Some(job) if !job.placed && self.delta.values + more.counts.values > 0 => {
                job.written.nodes + more.catalog + chain
            }
            _ => 0,
        };
        Ok(Needed { pages: nodes + values + rounds * chain, values: values + between, longest })
    }

    /// By how many pages the file is too short for `needed`, and `reserve` pages more.
    fn shortfall(&mut self, needed: &Needed, reserve: u64) -> Result<u64> {
        let space = self.space()?;
        let pieces = space.shortfall_pieces(needed.values, needed.longest);
        Ok(space.shortfall(needed.pages + reserve).max(pieces))
    }

    /// Whether all that is committed has its room.
    pub(crate) fn has_room(&mut self, page_size: PageSize) -> Result<bool> {
        let catalog = self.catalog_bound(page_size, &self.newest.tables);
        let needed = self.needed(page_size, &More { catalog, ..More::default() })?;
        Ok(self.shortfall(&needed, 0)? == 0)
    }

    /// Whether the free map has room for what one more page below a cut may name. Otherwise a checkpoint comes first:
    /// it frees what was found so far.
    pub(crate) fn has_room_to_walk(&mut self, page_size: PageSize) -> Result<bool> {
        /// Bytes that an entry of a branch takes at least.
        const ENTRY: usize = 16;
        let catalog = self.catalog_bound(page_size, &self.newest.tables);
        let runs = (page_size.bytes() / ENTRY) as u64;
        let needed = self.needed(page_size, &More { catalog, runs, ..More::default() })?;
        Ok(self.space()?.shortfall(needed.pages) == 0)
    }

    /// Grows the file by `short` pages, and by some more if the disk has them, so that not every commit does.
    fn grow<S: PageSource>(&mut self, shared: &Shared<S>, short: u64, needed: u64) -> Result<()> {
        let end = self.space()?.end();
        let slack = slack(self.space()?, needed, shared.store.page_size);
        if shared.grow_file(end + short + slack).is_err() {
            shared.grow_file(end + short)?;
        }
        let grown = shared.store.source.len_pages().saturating_sub(end);
        self.grown = true;
        self.space()?.extend(grown)
    }

    /// Pages that are kept for removals.
    fn reserve<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<u64> {
        Ok(match shared.mode {
            Mode::Ephemeral => 0,
            _ => reserve_pages(self.space()?.end(), shared.store.page_size),
        })
    }

    /// Whether `nodes` pages, and `values` contiguous ones, can be taken from what is set aside for nothing. Grows the
    /// file for them, if the disk has room.
    ///
    /// # Errors
    /// I/O errors of growth other than a full disk.
    pub(crate) fn can_spare<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        nodes: u64,
        values: u64,
    ) -> Result<bool> {
        let page_size = shared.store.page_size;
        let catalog = self.catalog_bound(page_size, &self.newest.tables);
        let counts = Counts { bytes: 0, nodes, values, longest: values };
        // Each may come to lie in a run of its own, which is given back one day.
        let mut needed = self.needed(page_size, &More { counts, catalog, runs: nodes })?;
        if needed.values > 0 {
            // They come first, and break up the runs that values count on.
            needed.values += nodes;
        }
        let reserve = self.reserve(shared)?;
        match self.shortfall(&needed, reserve)? {
            0 => Ok(true),
            short => match self.grow(shared, short, 0) {
                Err(Error::DiskFull { .. }) => Ok(false),
                grown => grown.map(|()| true),
            },
        }
    }

    /// The free pages that are to stay when the end of the file is given back: all, and how many of them at that end.
    /// What is committed then still has its room.
    pub(crate) fn room_to_keep<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<(u64, u64)> {
        let page_size = shared.store.page_size;
        let catalog = self.catalog_bound(page_size, &self.newest.tables);
        let needed = self.needed(page_size, &More { catalog, ..More::default() })?;
        Ok((needed.pages + self.reserve(shared)?, needed.values))
    }

    /// Makes everything free that no checkpoint and no reader needs any more.
    fn release_all<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        loop {
            let (runs, more) = self.release_pages(&shared.registry, &shared.group, RELEASE)?;
            for run in runs {
                discard(shared, run);
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// By how many pages more the file grows than it must, so that not every commit grows it: a share of what it has, or of
/// the pages `needed`, but a small file does not double for it. None while the file is being made shorter.
fn slack(space: &FreeSpace, needed: u64, page_size: PageSize) -> u64 {
    /// The least, in pages.
    const LEAST: u64 = 64;
    if space.places_lowest() {
        return 0;
    }
    let end = space.end();
    let mebibyte = (1 << 20) >> page_size.shift();
    (end / 64).max(needed / 4).max(mebibyte.min(end / 16)).max(LEAST)
}

/// The pages that are kept for removals in a file of `end` pages.
fn reserve_pages(end: u64, page_size: PageSize) -> u64 {
    let bytes = RESERVE_BYTES / page_size.bytes() as u64;
    (end / 8).min(bytes.max(end / 100)).max(RESERVE_MIN)
}

impl WriteState {
    /// Makes sure that the file has room for all that the next checkpoint will write. A full disk is met here, where the
    /// transaction can still be aborted.
    ///
    /// # Errors
    /// `DiskFull`; I/O errors of growth, which leave the file as it was or longer; what a checkpoint poisons with.
    pub(super) fn reserve<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        self.with_room(shared, |state| state.have_room(shared))
    }

    fn have_room<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        let page_size = shared.store.page_size;
        let mut more = More::default();
        for id in self.changes.pages.ids() {
            more.counts.add(0, self.writer.descriptors.places(id));
        }
        more.catalog = self.catalog_pages(shared);
        more.runs = (self.changes.dropped.len() + self.undone.len()) as u64 + self.early.runs();
        let writer = &mut self.writer;
        let needed = writer.needed(page_size, &more)?;
        let kept = writer.reserve(shared)?;
        let inserts = !self.log.only_removes();
        let short = writer.shortfall(&needed, if inserts { kept } else { 0 })?;
        if short > 0 {
            writer.grow(shared, short, needed.pages).inspect_err(|error| {
                if matches!(error, Error::DiskFull { .. }) && !std::mem::replace(&mut self.writer.full, true)
                {
                    tracing::warn!(pages = kept, "the disk is full: what is left is kept for removals");
                }
            })?;
        }
        self.writer.full &= !inserts;
        Ok(())
    }

    /// Runs `step`; where the disk has no room for it, makes some, and runs it again.
    ///
    /// # Errors
    /// `DiskFull` if there was none to be made, and all other errors of `step`; what a checkpoint poisons with.
    pub(super) fn with_room<S: PageSource, R>(
        &mut self,
        shared: &Shared<S>,
        mut step: impl FnMut(&mut Self) -> Result<R>,
    ) -> Result<R> {
        for _ in 0..ROUNDS {
            match step(self) {
                Err(full @ Error::DiskFull { .. }) => {
                    if !self.make_room(shared)? {
                        return Err(full);
                    }
                }
                other => return other,
            }
        }
        step(self)
    }

    /// Frees what can be freed without this transaction's end; whether anything was.
    pub(super) fn make_room<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<bool> {
        let before = self.writer.space()?.free_pages();
        self.reclaim(shared)?;
        self.writer.sweep_retired(&shared.store.slab, &shared.registry, true)?;
        self.writer.release_all(shared)?;
        let space = self.writer.space()?;
        if space.free_pages() > before {
            return Ok(true);
        }
        self.reclaim_beyond(shared, 0)?;
        let space = self.writer.space()?;
        if space.free_pages() > before {
            return Ok(true);
        }
        let waiting = space.awaiting_pages() > 0 || space.next_to_walk(u64::MAX).is_some();
        if !waiting && shared.job.lock().is_idle() {
            return Ok(false);
        }
        let made = self.checkpoint_beneath(shared).and_then(|()| {
            walk_cut_subtrees(shared, &mut self.writer, WALK).unwrap_or_else(|error| {
                tracing::warn!(%error, "a subtree that was cut off cannot be walked");
                false
            });
            // What was found is free only once a checkpoint has said so.
            if self.writer.space()?.awaiting_pages() > 0 { self.checkpoint_beneath(shared) } else { Ok(()) }
        });
        if let Err(error) = made {
            shared.check_poison()?;
            tracing::warn!(%error, "a checkpoint that was to make room failed");
        }
        Ok(self.writer.space()?.free_pages() > before)
    }

    /// Takes `pages` contiguous pages that are written at once.
    ///
    /// # Errors
    /// `DiskFull`, I/O errors of growth: nothing has changed.
    pub(super) fn take_extent<S: PageSource>(&mut self, shared: &Shared<S>, pages: u64) -> Result<Run> {
        let space = self.writer.space()?;
        let grant = space.allocate_contiguous(pages, Use::Early)?;
        if let Err(error) = shared.grow_file(space.end()) {
            space.revoke(&grant)?;
            return Err(error);
        }
        grant.runs.first().copied().ok_or(Error::Internal("an extent has no place"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::Stepper;
    use crate::db::Db;
    use crate::gate::Wait;
    use bifold_page_source::{MemFs, MemSource};
    use std::sync::Arc;

    /// One long free run, and single pages that are free: leaves of one checkpoint go to the run before the values of
    /// the next one do.
    #[test]
    fn leaves_of_the_checkpoint_under_way_do_not_take_what_the_next_ones_values_count_on() {
        let stepper = Stepper::new();
        let builder = Db::<MemSource>::builder().page_size(512).background(stepper.clone());
        let db = builder.file_system(Arc::new(MemFs::new())).open("/db").unwrap();
        let fill = |name: &str, count: u32, len| {
            db.update(|txn| {
                let table = txn.table(name)?;
                (0..count).try_for_each(|n| table.insert(n.to_be_bytes(), vec![7; len]))
            })
            .unwrap();
        };
        fill("t", 600, 40);
        fill("gone", 18_000, 60);
        db.checkpoint().unwrap();
        db.update(|txn| txn.drop_table("gone").map(drop)).unwrap();
        (0..4).for_each(|_| {
            db.checkpoint().unwrap();
            stepper.run();
        });
        let shared = db.shared();
        let end = shared
            .with_writer(Wait::No, |writer| {
                let space = writer.space()?;
                let runs: Vec<Run> = space.free_runs().collect();
                for run in runs {
                    assert!(space.allocate_below(run.len, run.end())?.is_some());
                    let single = run.start + 200..run.end();
                    if run.len > 2000 {
                        space.give_back(Run::new(run.start + 20, 150))?;
                        single.step_by(2).try_for_each(|page| space.give_back(Run::new(page, 1)))?;
                    }
                }
                Ok(space.end())
            })
            .unwrap();
        // What the first checkpoint replaces is not to be had.
        let reader = db.read().unwrap();
        fill("t", 600, 41);
        let under_way = || shared.with_writer(Wait::No, |writer| Ok(writer.is_unplaced())).unwrap();
        stepper.advance(std::time::Duration::from_hours(1));
        while !under_way() {
            assert!(stepper.step(), "none is due");
        }
        // Seven pages each.
        fill("values", 15, 3000);
        // That what is committed waits for no room is asserted where places are taken.
        (0..2).for_each(|_| db.checkpoint().unwrap());
        let now = shared.with_writer(Wait::No, |writer| Ok(writer.space()?.end())).unwrap();
        assert!(now > end, "the commit made no room: this tests nothing");
        drop(reader);
    }

    #[test]
    fn the_reserve_follows_the_file() {
        let pages = |bytes| PageSize::new(bytes).unwrap();
        let kept = |end| reserve_pages(end, pages(4096));
        assert_eq!(kept(8), RESERVE_MIN);
        assert_eq!(kept(800), 100, "an eighth of a small file");
        assert_eq!(kept(10_000), 256, "1 MiB");
        assert_eq!(kept(1_000_000), 10_000, "a hundredth of a large one");
        assert_eq!(reserve_pages(100_000, pages(512)), 2048);
        assert_eq!(reserve_pages(100, pages(65_536)), RESERVE_MIN);
    }
}
