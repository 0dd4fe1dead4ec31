//! Where a bulk load's pages go: places from free space, and the batches in which they are written.
//!
//! Leaves get places of their own and so do branches. Both take them in runs that double in length, so that a small
//! load leaves no large hole and a large one asks for space seldom. All that is taken is noted among the runs that the
//! transaction gives back at its end, until the load is finished.
#![forbid(unsafe_code)]

use super::state::WriteState;
use crate::checkpoint::write::write_pages;
use crate::checkpoint::write_value_at;
use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::free::{Run, Use};
use crate::tree::bulk::PageSink;
use bifold_page_source::{PageId, PageRef, PageSource, PageWrite, seal_page};
use std::collections::VecDeque;

/// Bytes written in one go. A batch ends at a multiple of this in the file, as those of a checkpoint do.
const BATCH: usize = 2 << 20;
/// Bytes of the first run that is taken.
const FIRST_RUN: u64 = 64 << 10;
/// Bytes of the longest run of leaves that is taken.
const LEAF_RUN_MAX: u64 = 16 << 20;
/// Bytes of the longest run of branches that is taken.
const BRANCH_RUN_MAX: u64 = 1 << 20;
/// Bytes that the file grows by beyond what is wanted, at most; otherwise an eighth of what has been taken.
const AHEAD_MAX: u64 = 16 << 20;

/// What one bulk load has taken and not yet written.
#[derive(Debug)]
pub(super) struct BulkPages {
    leaves: Batch,
    branches: Batch,
    /// All runs taken, in that order; those of `WriteState::undone` that are this load's.
    runs: Vec<Run>,
    /// Pages in them.
    taken: u64,
}

/// Pages on their way to the file.
#[derive(Debug)]
struct Batch {
    /// Places taken, the next first.
    places: VecDeque<Run>,
    /// Pages to take next.
    want: u64,
    want_max: u64,
    /// Sealed pages, and where each belongs.
    bytes: Vec<u8>,
    homes: Vec<PageRef>,
}

impl Batch {
    fn new(page_len: u64, max: u64) -> Self {
        let want = (FIRST_RUN / page_len).max(1);
        Self {
            places: VecDeque::new(),
            want,
            want_max: (max / page_len).max(1),
            bytes: Vec::new(),
            homes: Vec::new(),
        }
    }

    /// The next place; `None` if none is left.
    fn place(&mut self) -> Option<u64> {
        let run = self.places.front_mut()?;
        let page = run.start;
        *run = Run::new(page + 1, run.len - 1);
        if run.len == 0 {
            self.places.pop_front();
        }
        Some(page)
    }

    fn write<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        let pages = self.bytes.chunks(shared.store.page_size.bytes());
        let writes: Vec<PageWrite<'_>> = self
            .homes
            .iter()
            .zip(pages)
            .map(|(&at, bytes)| PageWrite { at, replaces: None, bytes })
            .collect();
        write_pages(&shared.store, &writes).inspect_err(|error| shared.poison(error))?;
        self.bytes.clear();
        self.homes.clear();
        Ok(())
    }
}

impl BulkPages {
    /// Nothing yet.
    pub(super) fn new(page_len: usize) -> Self {
        let page_len = page_len as u64;
        let leaves = Batch::new(page_len, LEAF_RUN_MAX);
        let branches = Batch::new(page_len, BRANCH_RUN_MAX);
        Self { leaves, branches, runs: Vec::new(), taken: 0 }
    }
}

/// The means to write a bulk load's pages, borrowed for one call.
pub(super) struct BulkWrite<'a, S> {
    pub(super) shared: &'a Shared<S>,
    pub(super) state: &'a mut WriteState,
    pub(super) pages: &'a mut BulkPages,
}

impl<S: PageSource> BulkWrite<'_, S> {
    /// Takes places for `pages` pages; in one run if `contiguous`.
    ///
    /// # Errors
    /// `Poisoned`, `DiskFull`, I/O errors of growing the file; nothing has been taken.
    fn take(&mut self, pages: u64, contiguous: bool) -> Result<Vec<Run>> {
        self.shared.check_poison()?;
        let space = self.state.writer.space()?;
        let short = if contiguous { space.shortfall_contiguous(pages) } else { space.shortfall(pages) };
        if short > 0 {
            let ahead = (self.pages.taken / 8).min(AHEAD_MAX >> self.shared.store.page_size.shift());
            let end = space.end();
            match self.shared.grow_file(end + short + ahead) {
                Err(Error::DiskFull { .. }) if ahead > 0 => self.shared.grow_file(end + short)?,
                grown => grown?,
            }
            let grown = self.shared.store.source.len_pages().saturating_sub(end);
            space.extend(grown)?;
        }
        let grant = if contiguous {
            space.allocate_contiguous(pages, Use::Early)?
        } else {
            space.allocate(pages, Use::Early)?
        };
        self.state.undone.extend_from_slice(&grant.runs);
        self.pages.runs.extend_from_slice(&grant.runs);
        self.pages.taken += pages;
        Ok(grant.runs)
    }

    /// Takes `pages` contiguous pages, after making room for them if need be.
    fn take_contiguous(&mut self, pages: u64) -> Result<Vec<Run>> {
        loop {
            match self.take(pages, true) {
                Err(full @ Error::DiskFull { .. }) => {
                    if !self.state.make_room(self.shared)? {
                        return Err(full);
                    }
                }
                taken => return taken,
            }
        }
    }

    /// Takes places for some more pages of a level: as many as are due, or as there is room for.
    fn take_more(&mut self, leaves: bool) -> Result<()> {
        let batch = if leaves { &self.pages.leaves } else { &self.pages.branches };
        let mut want = batch.want;
        let runs = loop {
            match self.take(want, false) {
                Err(Error::DiskFull { .. }) if want > 1 => {
                    let free = self.state.writer.space()?.free_pages();
                    want = if (1..want).contains(&free) { free } else { want / 2 };
                }
                Err(full @ Error::DiskFull { .. }) => {
                    if !self.state.make_room(self.shared)? {
                        return Err(full);
                    }
                }
                taken => break taken?,
            }
        };
        let batch = if leaves { &mut self.pages.leaves } else { &mut self.pages.branches };
        batch.places.extend(runs);
        batch.want = (batch.want * 2).min(batch.want_max);
        Ok(())
    }

    /// Writes a large value to places of its own.
    ///
    /// # Errors
    /// `DiskFull` and other errors of growing the file; I/O errors of writing, which poison the database.
    pub(super) fn value(&mut self, value: &[u8]) -> Result<PageRef> {
        let (header, data) = crate::extent::pages_for(value.len() as u64, self.shared.store.page_size);
        let runs = self.take_contiguous(header + data)?;
        let run = runs.first().ok_or(Error::Internal("an extent has no place"))?;
        let first = PageId::new(run.start).ok_or(Error::Internal("a place beyond the largest page"))?;
        let written = write_value_at(self.shared, first, self.state.changes.birth, value);
        written.inspect_err(|error| self.shared.poison(error))
    }

    /// Writes what waits, gives back what was taken and not needed, and makes the rest the transaction's own.
    ///
    /// # Errors
    /// I/O errors, which poison the database.
    pub(super) fn settle(&mut self) -> Result<()> {
        let BulkPages { leaves, branches, runs, .. } = &mut *self.pages;
        leaves.write(self.shared)?;
        branches.write(self.shared)?;
        let mut mine = runs.iter().peekable();
        // Both lists are in the order in which the runs were taken.
        self.state.undone.retain(|run| mine.next_if(|next| *next == run).is_none());
        if mine.next().is_some() {
            return Err(Error::Internal("a run of a bulk load is no longer its own"));
        }
        for left in leaves.places.drain(..).chain(branches.places.drain(..)) {
            let whole = runs.iter().rposition(|run| run.start <= left.start && left.end() == run.end());
            let whole = whole.ok_or(Error::Internal("a place of a bulk load was never taken"))?;
            runs[whole] = Run::new(runs[whole].start, runs[whole].len - left.len);
            self.state.writer.space()?.give_back(left)?;
        }
        let mut left = runs.drain(..).filter(|run| run.len > 0);
        left.try_for_each(|run| self.state.early.add_newest(run))
    }
}

impl<S: PageSource> PageSink for BulkWrite<'_, S> {
    fn page(&mut self, level: u8, bytes: &[u8]) -> Result<PageRef> {
        let leaf = level == 0;
        if (if leaf { &self.pages.leaves } else { &self.pages.branches }).places.is_empty() {
            self.take_more(leaf)?;
        }
        let batch = if leaf { &mut self.pages.leaves } else { &mut self.pages.branches };
        let place = batch.place().ok_or(Error::Internal("space was taken and is not there"))?;
        let at = PageId::new(place).ok_or(Error::Internal("a place beyond the largest page"))?;
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(bytes);
        let home = seal_page(self.shared.store.file_id, at, &mut batch.bytes[start..]);
        batch.homes.push(home);
        let per_batch = (BATCH >> self.shared.store.page_size.shift()) as u64;
        if batch.bytes.len() >= BATCH || (place + 1).is_multiple_of(per_batch) {
            batch.write(self.shared)?;
        }
        Ok(home)
    }
}
