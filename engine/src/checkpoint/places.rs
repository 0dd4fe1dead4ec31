//! Taking the places for everything that a checkpoint writes, a bounded number of runs at a time.
#![forbid(unsafe_code)]

use super::chain_capacity;
use super::layout::Layout;
use super::stages::{PageWriter, Places};
use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::free::{FreeSpace, Grant, Run, Use};
use crate::txn::writer::Writer;
use bifold_page_source::PageSource;

/// Runs taken in one step: as many as take about a millisecond in the sets of free space.
const RUNS_PER_STEP: usize = 512;

/// The places taken so far.
#[derive(Debug, Default)]
pub(super) struct Taking {
    /// One for each large value.
    values: Vec<Grant>,
    leaves: Vec<Grant>,
    branches: Vec<Grant>,
    /// Pages for the free map's chain; taken last.
    pub(super) chain: Option<Grant>,
    /// The file's length in pages before.
    old_end: Option<u64>,
}

impl Taking {
    /// Takes some more; whether all is taken, and the file long enough for it. `unnoted` drops are still to be noted.
    ///
    /// # Errors
    /// `DiskFull`, I/O errors of growth: then [`give_back`](Self::give_back) is due.
    pub(super) fn take<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        writer: &mut Writer,
        layout: &Layout,
        unnoted: u64,
    ) -> Result<bool> {
        let page_size = shared.store.page_size;
        let space = writer.space()?;
        self.old_end.get_or_insert(space.end());
        for value in layout.values.iter().skip(self.values.len()).take(RUNS_PER_STEP) {
            let (header, data) = crate::extent::pages_for(value.len, page_size);
            self.values.push(space.allocate_contiguous(header + data, Use::Checkpoint)?);
        }
        if self.values.len() < layout.values.len() {
            return Ok(false);
        }
        for (grants, wanted) in [(&mut self.leaves, layout.leaves()), (&mut self.branches, layout.branches())]
        {
            let wanted = wanted - pages(grants);
            if wanted > 0 {
                let (grant, rest) = space.allocate_bounded(wanted, Use::Checkpoint, RUNS_PER_STEP)?;
                grants.push(grant);
                if rest > 0 {
                    return Ok(false);
                }
            }
        }
        if self.chain.is_none() {
            self.chain = Some(space.reserve_chain(chain_capacity(page_size), unnoted)?);
        }
        shared.grow_file(space.end())?;
        Ok(true)
    }

    /// Whether the file had to grow for what was taken so far.
    pub(super) fn grows(&self, writer: &Writer) -> bool {
        let end = writer.space.as_ref().map(FreeSpace::end);
        self.old_end.is_some_and(|before| end.is_some_and(|now| now > before))
    }

    /// Gives everything back: the checkpoint is refused.
    pub(super) fn give_back(&mut self, writer: &mut Writer) -> Result<()> {
        let space = writer.space()?;
        let grants = self.chain.iter().chain(self.branches.iter().rev()).chain(self.leaves.iter().rev());
        for grant in grants.chain(self.values.iter().rev()) {
            space.revoke(grant)?;
        }
        *self = Self::default();
        Ok(())
    }

    /// The means to write to these places.
    pub(super) fn page_writer(&self) -> Result<PageWriter> {
        let first = |grant: &Grant| grant.runs.first().copied();
        let values: Option<Vec<Run>> = self.values.iter().map(first).collect();
        let values = values.ok_or(Error::Internal("a large value has no place"))?;
        Ok(PageWriter::new(values, in_order(&self.leaves), in_order(&self.branches)))
    }
}

fn pages(grants: &[Grant]) -> u64 {
    grants.iter().flat_map(|grant| &grant.runs).map(|run| run.len).sum()
}

/// All runs, the lowest place first.
fn in_order(grants: &[Grant]) -> Places {
    let mut runs: Vec<Run> = grants.iter().flat_map(|grant| &grant.runs).copied().collect();
    runs.sort_unstable();
    Places::new(runs)
}
