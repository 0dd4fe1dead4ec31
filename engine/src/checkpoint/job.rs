//! One checkpoint, as a state machine of short steps.
//!
//! | phase | what | holds the writer's gate |
//! | --- | --- | --- |
//! | begin | the newest commit is the one to write; the log's position behind it; changed tables into the catalog | yes |
//! | collect | what the delta holds below the new catalog, in key order | |
//! | places | free runs for all of it; the file grown | yes |
//! | pages | children before parents, a batch at a time | |
//! | kept, kept pages | pages that only readers still see, some at a time | yes, no |
//! | note | what was dropped goes into the free map | yes |
//! | seal | the free map's records are settled | yes |
//! | sync | they are written; everything is synced | |
//! | meta | the meta is written and synced: **the checkpoint counts**; the log's start moves | yes |
//! | homes | descriptors learn their places, and lose their images | |
//! | drops | places of pages that were dropped meanwhile are dropped on file too | yes |
//! | sweep | the newest root and the delta below it name places on file | yes |
//! | release | pages that nobody needs any more become free; the file's end is cut off if it is not needed | yes |
//!
//! Writers commit between the steps. What they change is copied, as ever, so the commit being written stays as it is;
//! the writer keeps its pages as if a reader saw them. A page dropped while the checkpoint is under way is still
//! reached by it: it is dropped as of the *next* number. A checkpoint that is refused leaves its number unused, so that
//! what was said of that number stays true of the next.
#![forbid(unsafe_code)]

use super::free_map::{self, SealedMap};
use super::kept::Kept;
use super::layout::Layout;
use super::places::Taking;
use super::stages::{Homes, PageWriter};
use super::sweep::{Open, newest_root};
use super::tables::{NewCatalog, update_catalog};
use super::tail;
use super::{Candidate, Failure, LogAfter, discard, write_meta};
use crate::db::shared::{Mode, Shared};
use crate::delta::{EpochGuard, Slab};
use crate::error::{Error, Result};
use crate::free::Run;
use crate::meta::{LogState, Meta};
use crate::txn::writer::{UnderWay, Writer};
use crate::wal::{LogStart, Wal};
use bifold_page_source::{PageRef, PageSource};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that are written at a time where there is time: as many as a commit's sync hardly notices before it.
const GENTLE_BYTES: usize = 256 << 10;
/// Runs of pages that one step notes, drops or releases: as many as take about a millisecond.
const RUNS_PER_STEP: usize = 512;
/// Descriptors that one step gives their homes.
const HOMES_PER_STEP: usize = 4096;

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Collect,
    Places,
    Pages,
    Kept,
    KeptPages,
    Note,
    Seal,
    Sync,
    Meta,
    Homes,
    Drops,
    Sweep,
    Release,
    Done,
}

/// A checkpoint under way.
#[derive(Debug)]
pub(crate) struct Job {
    phase: Phase,
    number: u64,
    /// No page that it writes was born earlier.
    before: u64,
    candidate: Candidate,
    log_after: LogAfter,
    /// Where the log begins that this checkpoint lacks.
    log_start: Option<LogStart>,
    catalog: NewCatalog,
    /// Why the layout could not be collected, to be told when the gate is held.
    refused: Option<Error>,
    layout: Layout,
    taking: Taking,
    writer: PageWriter,
    homes: Homes,
    /// How many of them the checkpoint itself refers to; the others are for readers.
    reached: usize,
    kept: Kept,
    map: Option<SealedMap>,
    /// Descriptors that have their home.
    homed: usize,
    /// Pages dropped meanwhile, and how many of them are dropped on file.
    dropped: (Vec<u32>, usize),
    /// The file was grown to so many pages for the checkpoint after this one: they may be used once that is durable.
    grown_to: u64,
    /// Writes little at a time.
    gentle: bool,
    begun: Duration,
    bytes_written: u64,
    bytes_total: u64,
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// There is more to do.
    More,
    /// It wrote so many bytes, and there is more to do.
    Wrote(u64),
    /// The checkpoint is done.
    Done,
}

impl Job {
    /// Begins a checkpoint of `candidate`, which the newest root (`writer.newest`) is, or which will be.
    pub(crate) fn begin<S: PageSource>(
        shared: &Shared<S>,
        writer: &mut Writer,
        candidate: Candidate,
        log_after: LogAfter,
    ) -> Result<Self, Failure> {
        debug_assert!(writer.under_way.is_none(), "one checkpoint at a time");
        let begun = shared.background.now();
        let log_start = match log_after {
            LogAfter::Live => shared.group.position()?,
            LogAfter::Closed => None,
        };
        let catalog = update_catalog(shared, writer, &candidate).map_err(Failure::Refused)?;
        let number = writer.begun + 1;
        writer.begun = number;
        writer.space()?.begin(number)?;
        mark_reached(writer)?;
        // Until this checkpoint is swept in, pages are born at the base there is now.
        let before = std::mem::replace(&mut writer.first_birth, writer.newest.base);
        let counts = std::mem::take(&mut writer.delta);
        let seq = candidate.seq;
        writer.under_way =
            Some(UnderWay { seq, counts, written: counts, placed: false, dropped: Vec::new() });
        tracing::debug!(checkpoint = number, commit = seq, bytes = counts.bytes, "checkpoint begins");
        Ok(Self {
            phase: Phase::Collect,
            number,
            before,
            candidate,
            log_after,
            log_start,
            catalog,
            refused: None,
            layout: Layout::default(),
            taking: Taking::default(),
            writer: PageWriter::default(),
            homes: Homes::default(),
            reached: 0,
            kept: Kept::default(),
            map: None,
            homed: 0,
            dropped: (Vec::new(), 0),
            grown_to: 0,
            gentle: false,
            begun,
            bytes_written: 0,
            bytes_total: counts.bytes,
        })
    }

    /// Whether the next step is to be given the writer.
    pub(crate) fn needs_writer(&self) -> bool {
        !self.goes_alone()
    }

    fn goes_alone(&self) -> bool {
        use Phase::{Collect, Homes, KeptPages, Pages, Sync};
        matches!(self.phase, Collect | Pages | KeptPages | Sync | Homes)
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether its meta is durable: then all it holds is.
    pub(crate) fn counts(&self) -> bool {
        use Phase::{Done, Drops, Homes, Release, Sweep};
        matches!(self.phase, Homes | Drops | Sweep | Release | Done)
    }

    /// Whether the checkpoint can no longer be refused.
    pub(crate) fn has_places(&self) -> bool {
        !matches!(self.phase, Phase::Collect | Phase::Places)
    }

    /// How much is written, in 1024ths.
    pub(crate) fn progress(&self) -> u64 {
        match self.phase {
            Phase::Collect | Phase::Places => 0,
            Phase::Pages => (self.bytes_written * 1024 / self.bytes_total.max(1)).min(1024),
            _ => 1024,
        }
    }

    /// Whether it is to write little at a time, so that a commit's sync finds little before it at the disk.
    pub(super) fn be_gentle(&mut self, gentle: bool) {
        self.gentle = gentle;
    }

    /// Does the next step. `open` is the transaction, if one is open, that waits for this in its commit.
    pub(crate) fn step<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        writer: Option<&mut Writer>,
        open: Option<&mut dyn Open>,
    ) -> Result<Progress, Failure> {
        let Some(writer) = writer else {
            debug_assert!(!self.needs_writer());
            return self.step_alone(shared);
        };
        if self.goes_alone() {
            return self.step_alone(shared);
        }
        match self.phase {
            Phase::Kept => {
                let image = |id: u32| image(&shared.store.slab, id);
                let more = self.kept.take(shared, writer, &image)?;
                self.phase = if more { Phase::KeptPages } else { Phase::Note };
            }
            Phase::Places => self.take_places(shared, writer, open.is_some())?,
            Phase::Note => {
                if !writer.space()?.prepare(self.number, RUNS_PER_STEP)? {
                    self.phase = Phase::Seal;
                }
            }
            Phase::Seal => {
                let reserved = self.taking.chain.take();
                let reserved = reserved.ok_or(Error::Internal("the free map has no places"))?;
                // A transaction that is open may count on more than what is committed needs.
                if open.is_none() {
                    tail::leave_out(shared, writer, self.bytes_total >> shared.store.page_size.shift())?;
                }
                self.map = Some(free_map::seal(shared, writer, self.number, reserved)?);
                self.phase = Phase::Sync;
            }
            Phase::Meta => self.write_meta(shared, writer).map_err(Failure::Unknown)?,
            Phase::Drops => self.drop_on_file(writer).map_err(Failure::Unknown)?,
            Phase::Sweep => self.sweep(shared, writer, open).map_err(Failure::Unknown)?,
            Phase::Release => return self.release(shared, writer).map_err(Failure::Unknown),
            _ => return Ok(Progress::Done),
        }
        Ok(Progress::More)
    }

    /// The steps that need no writer.
    fn step_alone<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<Progress, Failure> {
        match self.phase {
            Phase::Collect => {
                match Layout::collect(&shared.store, self.catalog.root.word) {
                    Ok(layout) => self.layout = layout,
                    Err(error) => self.refused = Some(error),
                }
                self.phase = Phase::Places;
            }
            Phase::Pages => {
                let image = |id: u32| image(&shared.store.slab, id);
                let (layout, homes) = (&self.layout, &mut self.homes);
                let most =
                    if self.gentle { GENTLE_BYTES >> shared.store.page_size.shift() } else { usize::MAX };
                let how = (self.before, most.max(1));
                let written = self.writer.write_next(shared, layout, homes, how, &image)?;
                if let Some(bytes) = written {
                    self.bytes_written += bytes;
                    return Ok(Progress::Wrote(bytes));
                }
                self.reached = self.homes.ids().len();
                self.phase = Phase::Kept;
            }
            Phase::KeptPages => {
                let image = |id: u32| image(&shared.store.slab, id);
                self.kept.write(shared, &mut self.homes, self.before, &image)?;
                self.phase = Phase::Kept;
            }
            Phase::Sync => {
                if let Some(map) = &self.map {
                    map.write(&shared.store)?;
                }
                shared.store.source.sync()?;
                self.phase = Phase::Meta;
            }
            Phase::Homes => {
                let slab = &shared.store.slab;
                for &id in self.homes.ids().iter().skip(self.homed).take(HOMES_PER_STEP) {
                    if let Some(home) = self.homes.get(id) {
                        slab.set_home(id, home);
                        slab.retire_image(id);
                    }
                    self.homed += 1;
                }
                if self.homed == self.homes.ids().len() {
                    slab.flush();
                    self.phase = Phase::Drops;
                }
            }
            _ => return Err(Failure::Fatal(Error::Internal("a checkpoint's step without the writer"))),
        }
        Ok(Progress::More)
    }

    /// `beneath` a transaction that may have taken, for the time being, what was kept for this.
    fn take_places<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        writer: &mut Writer,
        beneath: bool,
    ) -> Result<(), Failure> {
        let unnoted = self.candidate.unnoted + self.catalog.dropped.len();
        let taken = if let Some(error) = self.refused.take() {
            Err(error)
        } else {
            self.taking.take(shared, writer, &self.layout, unnoted as u64)
        };
        match taken {
            Ok(false) => Ok(()),
            Ok(true) => {
                debug_assert!(
                    self.log_after == LogAfter::Closed
                        || shared.mode != Mode::Durable
                        || beneath
                        || self.candidate.seq == writer.meta.seq
                        || !self.taking.grows(writer),
                    "what is committed waits for room on file"
                );
                let under_way = writer.under_way.as_mut();
                under_way.ok_or(Error::Internal("a checkpoint that nobody knows of"))?.placed = true;
                for dropped in std::mem::take(&mut self.catalog.dropped) {
                    writer.drop_on_file(&dropped, self.number)?;
                }
                self.writer = self.taking.page_writer()?;
                self.grow_ahead(shared, writer)?;
                self.phase = Phase::Pages;
                Ok(())
            }
            Err(error) => {
                self.refuse(shared, writer)?;
                Err(Failure::Refused(error))
            }
        }
    }

    /// Grows the file for the next checkpoint, if it is to be as large as this one: so that commits, which reserve its
    /// room, need not, and this checkpoint's sync makes the growth durable.
    fn grow_ahead<S: PageSource>(&mut self, shared: &Shared<S>, writer: &mut Writer) -> Result<()> {
        let wanted = self.bytes_total >> shared.store.page_size.shift();
        let space = writer.space()?;
        let short = wanted.saturating_sub(space.free_pages());
        if self.log_after == LogAfter::Live && short > 0 && !space.places_lowest() {
            let to = space.end() + short;
            // Where there is no room, a commit will meet that soon enough.
            if shared.grow_file(to).is_ok() {
                self.grown_to = to;
            }
        }
        Ok(())
    }

    /// All is as before the checkpoint, but for its number.
    pub(super) fn refuse<S: PageSource>(&mut self, shared: &Shared<S>, writer: &mut Writer) -> Result<()> {
        // The catalog's new pages are nobody's.
        for &id in &self.catalog.made {
            writer.descriptors.ids.free(&shared.store.slab, id);
        }
        self.taking.give_back(writer)?;
        writer.first_birth = self.before;
        if let Some(under_way) = writer.under_way.take() {
            writer.delta = writer.delta.plus(under_way.counts);
        }
        self.phase = Phase::Done;
        Ok(())
    }

    fn write_meta<S: PageSource>(&mut self, shared: &Shared<S>, writer: &mut Writer) -> Result<()> {
        let map = self.map.take().ok_or(Error::Internal("a meta before its free map"))?;
        let log = match (self.log_after, self.log_start) {
            (LogAfter::Closed, _) => LogState::Closed,
            (LogAfter::Live, Some(start)) => LogState::Live(start),
            // There was none when it began: one that was made since holds what came after, and only that.
            (LogAfter::Live, None) => writer.meta.log,
        };
        let meta = Meta {
            checkpoint: self.number,
            seq: self.candidate.seq,
            catalog: self.homes.settle(self.catalog.root)?,
            end: map.end,
            free_map: map.root,
            log,
            ..writer.meta.next()
        };
        write_meta(shared, &meta)?;
        writer.meta = meta;
        let space = writer.space()?;
        space.extend(self.grown_to.saturating_sub(space.end()))?;
        shared.group.checkpointed(&shared.registry, self.candidate.seq, self.log_start.as_ref())?;
        if self.log_after == LogAfter::Closed && shared.group.take_wal().is_some() {
            Wal::remove(&*shared.fs, &shared.log_path())?;
        }
        self.phase = Phase::Homes;
        Ok(())
    }

    /// Pages that were dropped after this checkpoint's commit have a place now, which only this checkpoint reaches.
    fn drop_on_file(&mut self, writer: &mut Writer) -> Result<()> {
        if let Some(under_way) = &mut writer.under_way {
            self.dropped.0.append(&mut under_way.dropped);
        }
        let (ids, done) = (&self.dropped.0, &mut self.dropped.1);
        for &id in ids.iter().skip(*done).take(RUNS_PER_STEP) {
            let home = self.homes.get(id).and_then(PageRef::from_bits);
            let home = home.ok_or(Error::Internal("a page of the checkpoint was not written"))?;
            let run = Run::new(home.page().get(), writer.descriptors.places(id));
            writer.space()?.drop_run(run, self.before, self.number + 1)?;
            *done += 1;
        }
        if *done == ids.len() {
            self.phase = Phase::Sweep;
        }
        Ok(())
    }

    fn sweep<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        writer: &mut Writer,
        open: Option<&mut dyn Open>,
    ) -> Result<()> {
        if writer.under_way.as_ref().is_some_and(|job| !job.dropped.is_empty()) {
            self.phase = Phase::Drops;
            return Ok(());
        }
        if let Some(open) = open {
            open.sweep(&shared.store.slab, &writer.descriptors, self.before)?;
        }
        let catalog = writer.meta.catalog;
        let tables = &self.candidate.tables;
        let root = newest_root(shared, &writer.newest, tables, &self.homes, self.number, catalog)?;
        let seq = root.seq;
        writer.newest = Arc::new(root);
        shared.group.rebase(&shared.registry, Arc::clone(&writer.newest));
        let dropped: HashSet<u32> = self.dropped.0.iter().copied().collect();
        let ids = self.homes.ids().iter().take(self.reached);
        for &id in ids.filter(|id| !dropped.contains(id)) {
            writer.retire_homed(id, seq);
        }
        writer.under_way = None;
        let pages = self.reached as u64;
        let took = shared.background.now().saturating_sub(self.begun);
        shared.counters.checkpoint(pages, self.bytes_written, took);
        tracing::debug!(checkpoint = self.number, pages, ?took, "checkpoint counts");
        self.phase = Phase::Release;
        writer.sweep_retired(&shared.store.slab, &shared.registry, true)
    }

    fn release<S: PageSource>(&mut self, shared: &Shared<S>, writer: &mut Writer) -> Result<Progress> {
        let (runs, more) = writer.release_pages(&shared.registry, &shared.group, RUNS_PER_STEP)?;
        for run in runs {
            discard(shared, run);
        }
        if more || tail::cut_off(shared, writer)? {
            return Ok(Progress::More);
        }
        shared.note_cuts(writer);
        self.phase = Phase::Done;
        Ok(Progress::Done)
    }
}

/// Tells the free space that the checkpoint just begun refers to all that was written early.
pub(crate) fn mark_reached(writer: &mut Writer) -> Result<()> {
    for (_, run) in std::mem::take(&mut writer.early) {
        writer.space()?.reached(run)?;
    }
    Ok(())
}

fn image(slab: &Slab, id: u32) -> Result<Arc<crate::delta::Image>> {
    let image = slab.pin(id, &EpochGuard::enter());
    image.ok_or(Error::Internal("a page to write is not in the delta"))
}
