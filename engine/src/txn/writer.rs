//! What whoever holds the writer's gate owns: all state that only writing needs.
#![forbid(unsafe_code)]

use crate::delta::Slab;
use crate::error::{Error, Result};
use crate::free::{FreeSpace, Run};
use crate::group::Group;
use crate::meta::Meta;
use crate::root::Root;
use crate::snapshot::Registry;
use crate::tree::change::{Descriptors, Dropped};
use crate::txn::catalog_bound::Shape;
use crate::txn::pages::TxnPages;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A delta page that no newer root reaches: who may still see it.
#[derive(Clone, Copy, Debug)]
struct Retired {
    id: u32,
    /// The commit that published it.
    born: u64,
    /// The first commit that does not reach it.
    died: u64,
    /// Where a checkpoint wrote it for those who still see it.
    place: Option<Run>,
}

/// Commits after which old roots are let go of, if nothing else was due.
const ROOTS_KEPT: u32 = 64;

/// Pages of the delta, added up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Counts {
    /// Bytes of their images.
    pub(crate) bytes: u64,
    /// Pages on file that those of them will take that are nodes.
    pub(crate) nodes: u64,
    /// Pages that those will take that are large values.
    pub(crate) values: u64,
    /// At least as many pages as the longest of those takes.
    pub(crate) longest: u64,
}

impl Counts {
    /// Adds a page of `bytes` bytes that will take `places` pages on file.
    pub(crate) fn add(&mut self, bytes: u64, places: u64) {
        self.bytes += bytes;
        match places {
            1 => self.nodes += 1,
            places => {
                self.values += places;
                self.longest = self.longest.max(places);
            }
        }
    }

    fn subtract(&mut self, bytes: u64, places: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        match places {
            1 => self.nodes = self.nodes.saturating_sub(1),
            places => self.values = self.values.saturating_sub(places),
        }
    }

    /// These without `other`.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            nodes: self.nodes.saturating_sub(other.nodes),
            values: self.values.saturating_sub(other.values),
            longest: self.longest,
        }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            nodes: self.nodes + other.nodes,
            values: self.values + other.values,
            longest: self.longest.max(other.longest),
        }
    }
}

/// What the writer keeps in mind of the checkpoint under way.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// The commit that it writes. Its pages are kept as if a reader saw them.
    pub(crate) seq: u64,
    /// Those of its pages that the newest root still reaches.
    pub(crate) counts: Counts,
    /// All of its pages, but for those of the catalog.
    pub(crate) written: Counts,
    /// It has taken its places on file: no more need be reserved for it.
    pub(crate) placed: bool,
    /// Its pages that commits since have dropped: they get a place on file, and it is dropped as soon as it counts.
    pub(crate) dropped: Vec<u32>,
}

/// The writer's state.
#[derive(Debug)]
pub(crate) struct Writer {
    /// The newest commit, whether readers see it yet or not.
    pub(crate) newest: Arc<Root>,
    pub(crate) descriptors: Descriptors,
    /// Those of them that have an image.
    retired: Vec<Retired>,
    /// Those that have a home instead, and cost only their descriptor.
    homed: Vec<Retired>,
    /// Pages on file that were written for readers alone.
    pub(crate) kept_pages: u64,
    /// How long `retired` was after it was last looked through.
    retired_kept: usize,
    /// Sweeps that were not due since the last one that was.
    skipped: u32,
    /// The memory of the last transaction's pages, to be used again.
    pub(crate) spare_pages: TxnPages,
    /// The delta pages that the newest root reaches, but for those of the checkpoint under way.
    pub(crate) delta: Counts,
    /// The checkpoint under way.
    pub(crate) under_way: Option<UnderWay>,
    /// No page of the delta was born earlier, but for those of the checkpoint under way.
    pub(crate) first_birth: u64,
    /// The number of the last checkpoint that was begun. One that was refused leaves its number unused.
    pub(crate) begun: u64,
    /// Read at the first write.
    pub(crate) space: Option<FreeSpace>,
    /// Extents that commits since the last checkpoint refer to, by first page.
    pub(crate) early: BTreeMap<u64, Run>,
    /// The newest meta.
    pub(crate) meta: Meta,
    /// The newest commit.
    pub(crate) seq: u64,
    /// The file has grown since it was last synced for a record that counts on it.
    pub(crate) grown: bool,
    /// An insert was refused for want of room, and none has been made since.
    pub(crate) full: bool,
    /// The pages of the catalog on file, if they were counted.
    pub(crate) catalog_shape: Option<Shape>,
}

impl Writer {
    /// The state after opening at `meta`, whose root is `newest`.
    pub(crate) fn new(meta: Meta, newest: Arc<Root>) -> Self {
        Self {
            newest,
            descriptors: Descriptors::default(),
            retired: Vec::new(),
            homed: Vec::new(),
            kept_pages: 0,
            retired_kept: 0,
            skipped: 0,
            spare_pages: TxnPages::default(),
            delta: Counts::default(),
            under_way: None,
            first_birth: meta.checkpoint,
            begun: meta.checkpoint,
            space: None,
            early: BTreeMap::new(),
            seq: meta.seq,
            meta,
            grown: false,
            full: false,
            catalog_shape: None,
        }
    }

    /// The free space, which writing has loaded.
    pub(crate) fn space(&mut self) -> Result<&mut FreeSpace> {
        self.space.as_mut().ok_or(Error::Internal("free space is used before it was read"))
    }

    /// Bytes of the delta pages that the newest root reaches.
    pub(crate) fn delta_bytes(&self) -> u64 {
        self.delta.bytes + self.under_way.as_ref().map_or(0, |job| job.counts.bytes)
    }

    /// What the pages of these descriptors add up to.
    pub(crate) fn sum(&self, ids: &[u32]) -> Counts {
        let mut sum = Counts::default();
        for &id in ids {
            sum.add(self.descriptors.bytes(id), self.descriptors.places(id));
        }
        sum
    }

    /// The delta pages that have no place on file yet.
    pub(crate) fn unplaced(&self) -> Counts {
        match &self.under_way {
            // What later commits have dropped of it is written all the same.
            Some(job) if !job.placed => self.delta.plus(job.written),
            _ => self.delta,
        }
    }

    /// Whether a checkpoint is under way that has no places yet.
    pub(crate) fn is_unplaced(&self) -> bool {
        self.under_way.as_ref().is_some_and(|job| !job.placed)
    }

    /// A delta page of an earlier commit is out of reach from commit `died` on.
    pub(crate) fn retire(&mut self, id: u32, died: u64) {
        let born = self.descriptors.born.get(id as usize).copied().unwrap_or(0);
        let (bytes, places) = (self.descriptors.bytes(id), self.descriptors.places(id));
        match &mut self.under_way {
            Some(job) if born <= job.seq => {
                job.counts.subtract(bytes, places);
                // What the very commit drops that is being written, it does not reach.
                if died > job.seq {
                    job.dropped.push(id);
                }
            }
            _ => self.delta.subtract(bytes, places),
        }
        self.retired.push(Retired { id, born, died, place: None });
    }

    /// A descriptor whose page has a home: snapshots up to commit `seq` may still come to it.
    pub(crate) fn retire_homed(&mut self, id: u32, seq: u64) {
        let born = self.descriptors.born.get(id as usize).copied().unwrap_or(0);
        self.homed.push(Retired { id, born, died: seq + 1, place: None });
    }

    /// What `dropped` means for the free space, once the commit is made: checkpoint `cut_at` is the first that does not
    /// reach it.
    pub(crate) fn drop_on_file(&mut self, dropped: &Dropped, cut_at: u64) -> Result<()> {
        let page_size = self.meta.page_size;
        let space = self.space.as_mut().ok_or(Error::Internal("free space is used before it was read"))?;
        match *dropped {
            Dropped::Delta(_) => Ok(()),
            Dropped::Page(page, birth) => space.drop_run_at(Run::new(page.get(), 1), birth, cut_at, cut_at),
            Dropped::Extent(first, len, birth) => {
                let (header, data) = crate::extent::pages_for(len, page_size);
                space.drop_run_at(Run::new(first.get(), header + data), birth, cut_at, cut_at)
            }
            Dropped::Subtree { root, level, extents } => {
                let flags = u8::from(extents);
                space.cut_subtree(crate::free::Subtree { root, level, flags, cut_at })
            }
        }
    }

    /// Frees descriptors and images that no live snapshot can see. Looks through them only when those with an image
    /// have doubled, or when told to; lets go of old roots more often.
    ///
    /// # Errors
    /// `Internal` if the free space contradicts itself.
    pub(crate) fn sweep_retired(&mut self, slab: &Slab, registry: &Registry<Root>, now: bool) -> Result<()> {
        if !now && self.retired.len() < 2 * self.retired_kept + 64 {
            self.skipped += 1;
            if self.skipped >= ROOTS_KEPT {
                self.skipped = 0;
                registry.collect();
            }
            return Ok(());
        }
        self.skipped = 0;
        registry.collect();
        // Roots newer than this may yet be shown to readers, and with them all that any of them reaches. Looked at before
        // the readers: others publish meanwhile, and what is published in between may have readers that were not met.
        let published = registry.current().seq;
        let mut live = Vec::new();
        registry.live(&mut |root| live.push(root.seq));
        live.extend(self.under_way.as_ref().map(|job| job.seq));
        live.sort_unstable();
        let busy = self.under_way.is_some();
        let ids = &mut self.descriptors.ids;
        let mut places = Vec::new();
        let mut seen = |page: &Retired| {
            let first = live.partition_point(|seq| *seq < page.born);
            // What the checkpoint under way writes for readers is not given to others meanwhile.
            let seen = busy && page.place.is_some()
                || page.died > published
                || live.get(first).is_some_and(|seq| *seq < page.died);
            if !seen {
                ids.free(slab, page.id);
                places.extend(page.place);
            }
            seen
        };
        self.retired.retain(&mut seen);
        self.homed.retain(&mut seen);
        self.retired_kept = self.retired.len();
        slab.flush();
        self.kept_pages -= places.iter().map(|run| run.len).sum::<u64>();
        places.into_iter().try_for_each(|run| self.space()?.give_back(run))
    }

    /// Descriptors of pages that neither the checkpoint under way nor a newer commit reaches, and that have no place on
    /// file: only readers see them.
    pub(crate) fn kept_for_readers(&self, slab: &Slab) -> Vec<u32> {
        let Some(job) = &self.under_way else { return Vec::new() };
        let only_readers = |page: &&Retired| page.died <= job.seq && slab.home(page.id) == 0;
        self.retired.iter().filter(only_readers).map(|page| page.id).collect()
    }

    /// These pages were given places on file, for as long as readers see them.
    pub(crate) fn keep_at(&mut self, places: &HashMap<u32, Run>) {
        for page in &mut self.retired {
            if let Some(&run) = places.get(&page.id) {
                page.place = Some(run);
                self.kept_pages += run.len;
            }
        }
    }

    /// Where pages lie that only readers see.
    pub(crate) fn places_for_readers(&self) -> impl Iterator<Item = Run> + '_ {
        self.retired.iter().filter_map(|page| page.place)
    }

    /// Makes at most `max_runs` runs of pages free that nobody can see any more; returns them, and whether there are
    /// more.
    pub(crate) fn release_pages(
        &mut self,
        registry: &Registry<Root>,
        group: &Group,
        max_runs: usize,
    ) -> Result<(Vec<Run>, bool)> {
        registry.collect();
        let mut bases = Vec::new();
        // First those who will be shown, then those who are: a root that moves from here to there is found once.
        group.pending_bases(&mut bases);
        registry.live(&mut |root| bases.push(root.base));
        bases.sort_unstable();
        bases.dedup();
        let durable = self.meta.checkpoint;
        self.space()?.release(durable, &bases, max_runs)
    }
}
