//! What whoever holds the writer's gate owns: all state that only writing needs.
#![forbid(unsafe_code)]

use crate::delta::{EpochGuard, Slab};
use crate::error::{Error, Result};
use crate::free::{FreeSpace, Run};
use crate::meta::Meta;
use crate::root::Root;
use crate::snapshot::Registry;
use crate::tree::change::{Descriptors, Dropped};
use crate::txn::pages::TxnPages;
use crate::wal::Wal;
use std::collections::BTreeMap;

/// A delta page that no newer root reaches: who may still see it.
#[derive(Clone, Copy, Debug)]
struct Retired {
    id: u32,
    /// The commit that published it.
    born: u64,
    /// The first commit that does not reach it.
    died: u64,
}

/// Commits after which old roots are let go of, if nothing else was due.
const ROOTS_KEPT: u32 = 64;

/// The writer's state.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) descriptors: Descriptors,
    /// Those of them that have an image.
    retired: Vec<Retired>,
    /// Those that have a home instead, and cost only their descriptor.
    homed: Vec<Retired>,
    /// How long `retired` was after it was last looked through.
    retired_kept: usize,
    /// Sweeps that were not due since the last one that was.
    skipped: u32,
    /// The memory of the last transaction's pages, to be used again.
    pub(crate) spare_pages: TxnPages,
    /// Commits to make before a checkpoint that was refused is tried again.
    pub(crate) patience: u32,
    /// Bytes of the delta pages that the newest root reaches.
    pub(crate) delta_bytes: u64,
    /// Pages that those of them will take that are nodes.
    pub(crate) delta_pages: u64,
    /// Pages that those will take that are large values.
    pub(crate) value_pages: u64,
    /// Read at the first write.
    pub(crate) space: Option<FreeSpace>,
    /// Extents that commits since the last checkpoint refer to, by first page.
    pub(crate) early: BTreeMap<u64, Run>,
    /// Made at the first commit that needs it.
    pub(crate) wal: Option<Wal>,
    /// The newest meta.
    pub(crate) meta: Meta,
    /// The newest commit.
    pub(crate) seq: u64,
}

impl Writer {
    /// The state after opening at `meta`.
    pub(crate) fn new(meta: Meta) -> Self {
        Self {
            descriptors: Descriptors::default(),
            retired: Vec::new(),
            homed: Vec::new(),
            retired_kept: 0,
            skipped: 0,
            spare_pages: TxnPages::default(),
            patience: 0,
            delta_bytes: 0,
            delta_pages: 0,
            value_pages: 0,
            space: None,
            early: BTreeMap::new(),
            wal: None,
            seq: meta.seq,
            meta,
        }
    }

    /// The free space, which writing has loaded.
    pub(crate) fn space(&mut self) -> Result<&mut FreeSpace> {
        self.space.as_mut().ok_or(Error::Internal("free space is used before it was read"))
    }

    /// A delta page of an earlier commit is out of reach from commit `died` on.
    pub(crate) fn retire(&mut self, slab_bytes: u64, id: u32, died: u64) {
        let born = self.descriptors.born.get(id as usize).copied().unwrap_or(0);
        self.delta_bytes = self.delta_bytes.saturating_sub(slab_bytes);
        match self.descriptors.places(id) {
            1 => self.delta_pages = self.delta_pages.saturating_sub(1),
            places => self.value_pages = self.value_pages.saturating_sub(places),
        }
        self.retired.push(Retired { id, born, died });
    }

    /// A descriptor whose page has a home: snapshots up to commit `seq` may still come to it.
    pub(crate) fn retire_homed(&mut self, id: u32, seq: u64) {
        let born = self.descriptors.born.get(id as usize).copied().unwrap_or(0);
        self.homed.push(Retired { id, born, died: seq + 1 });
    }

    /// What `dropped` means for the free space, once the commit is published: the next checkpoint is the first that
    /// does not reach it.
    pub(crate) fn drop_on_file(&mut self, dropped: &Dropped) -> Result<()> {
        let page_size = self.meta.page_size;
        let cut_at = self.meta.checkpoint + 1;
        let early = &mut self.early;
        let space = self.space.as_mut().ok_or(Error::Internal("free space is used before it was read"))?;
        match *dropped {
            Dropped::Delta(_) => Ok(()),
            Dropped::Page(page, birth) => space.drop_run(Run::new(page.get(), 1), birth, cut_at),
            Dropped::Extent(first, len, birth) => {
                early.remove(&first.get());
                let (header, data) = crate::extent::pages_for(len, page_size);
                space.drop_run(Run::new(first.get(), header + data), birth, cut_at)
            }
            Dropped::Subtree { root, level, extents } => {
                let flags = u8::from(extents);
                space.cut_subtree(crate::free::Subtree { root, level, flags, cut_at })
            }
        }
    }

    /// Frees descriptors and images that no live snapshot can see. Looks through them only when those with an image
    /// have doubled, or when told to; lets go of old roots more often.
    pub(crate) fn sweep_retired(&mut self, slab: &Slab, registry: &Registry<Root>, now: bool) {
        if !now && self.retired.len() < 2 * self.retired_kept + 64 {
            self.skipped += 1;
            if self.skipped >= ROOTS_KEPT {
                self.skipped = 0;
                registry.collect();
            }
            return;
        }
        self.skipped = 0;
        registry.collect();
        let mut live = Vec::new();
        registry.live(&mut |root| live.push(root.seq));
        live.sort_unstable();
        let ids = &mut self.descriptors.ids;
        let mut seen = |page: &Retired| {
            let first = live.partition_point(|seq| *seq < page.born);
            let seen = live.get(first).is_some_and(|seq| *seq < page.died);
            if !seen {
                ids.free(slab, page.id);
            }
            seen
        };
        self.retired.retain(&mut seen);
        self.homed.retain(&mut seen);
        self.retired_kept = self.retired.len();
        EpochGuard::enter().flush();
    }

    /// Makes pages free that no live snapshot can see any more; returns them.
    pub(crate) fn release_pages(&mut self, registry: &Registry<Root>) -> Result<Vec<Run>> {
        registry.collect();
        let mut bases = Vec::new();
        registry.live(&mut |root| bases.push(root.base));
        bases.sort_unstable();
        bases.dedup();
        let durable = self.meta.checkpoint;
        self.space()?.release(durable, &bases)
    }
}
