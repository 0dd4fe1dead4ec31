//! What a transaction wrote to the file and dropped again, or undid, is free for what it writes next.
//!
//! Such a place (a spilled page, an extent) was never named by a checkpoint, so nobody but the transaction itself can
//! come to it, in one of three ways:
//! - Through a guard or a cursor, which shows the bytes where they lie. These are counted; and what was dropped while
//!   none was alive can be shown by none that came later ([`note_quiet`](WriteState::note_quiet)).
//! - By a rollback. A place made before a savepoint that still stands and dropped after it waits on the drop list. What
//!   was dropped after `d` savepoints can only be free if it was made after all `d` of them too.
//! - Through its log record, which names extents. So extents are used again only by a transaction that commits by a
//!   checkpoint. One that drops more bytes of its own than the delta may hold becomes one; and so does one that the disk
//!   has no room for.
//!
//! A subtree that is cut off is walked here as far as the transaction made it. Pages that it did not make stay cut.
#![forbid(unsafe_code)]

use super::state::WriteState;
use crate::checkpoint::discard;
use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::extent::pages_for;
use crate::free::{PageSet, Run};
use crate::tree::change::Dropped;
use crate::value::Large;
use crate::walk::Walk;
use crate::word::Word;
use bifold_page_source::{PageRef, PageSize, PageSource};

/// Pages of cut subtrees that are read each time, at least. They name far more pages than that.
const WALK_MIN: u64 = 1024;

/// The places on file that are the transaction's own, by the savepoints that were there when what lies in them was made.
#[derive(Debug)]
pub(crate) struct OwnPlaces {
    /// For 0, 1, 2 … savepoints; never empty.
    by_depth: Vec<PageSet>,
}

impl Default for OwnPlaces {
    fn default() -> Self {
        Self { by_depth: vec![PageSet::default()] }
    }
}

impl OwnPlaces {
    /// Takes a run in, for something that was made when there were `depth` savepoints.
    ///
    /// # Errors
    /// `Internal` if it is there already.
    pub(super) fn add(&mut self, depth: usize, run: Run) -> Result<()> {
        let set = self.by_depth.get_mut(depth);
        set.ok_or(Error::Internal("a place of a savepoint that there is not"))?.insert(run)
    }

    /// Takes a run in, for something that was made since the last savepoint.
    ///
    /// # Errors
    /// `Internal` if it is there already.
    pub(crate) fn add_newest(&mut self, run: Run) -> Result<()> {
        self.add(self.by_depth.len() - 1, run)
    }

    /// What is made from now on was made after one more savepoint.
    pub(super) fn push_savepoint(&mut self) {
        self.by_depth.push(PageSet::default());
    }

    /// Goes back to `count` savepoints, the last of which was made just now; what was made since is handed out.
    pub(super) fn rollback(&mut self, count: usize) -> Vec<Run> {
        let undone: Vec<Run> = self.by_depth.iter().skip(count).flat_map(PageSet::iter).collect();
        self.by_depth.truncate(count);
        self.by_depth.push(PageSet::default());
        undone
    }

    /// Hands everything out.
    pub(super) fn take(&mut self) -> Vec<Run> {
        let all = self.by_depth.iter().flat_map(PageSet::iter).collect();
        *self = Self::default();
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_depth.iter().all(PageSet::is_empty)
    }

    /// How many runs they form, at most.
    pub(super) fn runs(&self) -> u64 {
        self.by_depth.iter().map(|set| set.count() as u64).sum()
    }

    /// The set that holds all of `run`, of what was made when there were `depth` savepoints.
    fn holder(&mut self, depth: usize, run: Run) -> Option<&mut PageSet> {
        let set = self.by_depth.get_mut(depth)?;
        (run.is_valid() && set.span(run.start, run.end()) == (true, run.end())).then_some(set)
    }
}

/// How far the transaction's drops and undone places have been looked through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looked {
    /// Drops before this were there when no guard was alive.
    quiet: usize,
    /// Undone runs before this were there when no guard was alive.
    quiet_undone: usize,
    /// Of the drops before this none will ever be free before the transaction ends.
    kept: usize,
    /// Drops before this are weighed.
    weighed: usize,
    /// Pages of the transaction's own extents among those that are weighed and not kept.
    weight: u64,
}

impl Looked {
    /// The list of drops was cut to `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        self.quiet = self.quiet.min(len);
        self.kept = self.kept.min(len);
        self.weighed = self.weighed.min(len);
    }
}

impl WriteState {
    /// No guard or cursor of the transaction is alive: what is dropped or undone by now, none will ever show.
    pub(crate) fn note_quiet(&mut self) {
        self.looked.quiet = self.changes.dropped.len();
        self.looked.quiet_undone = self.undone.len();
    }

    /// Makes places free that the transaction wrote and no longer needs: all that can be while it commits as it would
    /// have, and the rest if that has become much.
    ///
    /// # Errors
    /// `Internal`.
    pub(super) fn reclaim<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        let most = shared.limits.delta_bytes >> shared.store.page_size.shift();
        self.reclaim_beyond(shared, most)
    }

    /// The same; a transaction that has dropped more than `most` pages of its own extents commits by a checkpoint, so
    /// that they can be free as well.
    ///
    /// # Errors
    /// `Internal`.
    pub(super) fn reclaim_beyond<S: PageSource>(&mut self, shared: &Shared<S>, most: u64) -> Result<()> {
        if !shared.guards.any() {
            self.note_quiet();
        }
        let undone = std::mem::take(&mut self.looked.quiet_undone);
        for run in self.undone.drain(..undone) {
            self.writer.space()?.give_back(run)?;
            discard(shared, run);
        }
        if self.log.record().is_some() {
            self.weigh(shared.store.page_size);
            if self.looked.weight <= most {
                return Ok(());
            }
            self.log.overflow();
        }
        if self.looked.kept < self.looked.quiet { self.sift(shared) } else { Ok(()) }
    }

    /// How many savepoints there were when drop number `at` was noted.
    fn savepoints_before(&self, at: usize) -> usize {
        self.savepoints.partition_point(|savepoint| savepoint.dropped <= at)
    }

    /// Adds up the transaction's own extents among the drops that may be looked through.
    fn weigh(&mut self, page_size: PageSize) {
        let from = self.looked.weighed.max(self.looked.kept);
        for at in from..self.looked.quiet {
            if let Dropped::Extent(first, len, _) = self.changes.dropped[at] {
                let depth = self.savepoints_before(at);
                let run = extent_run(first.get(), len, page_size);
                if self.early.holder(depth, run).is_some() {
                    self.looked.weight += run.len;
                }
            }
        }
        self.looked.weighed = self.looked.quiet.max(from);
    }

    /// Looks through the drops that no guard can show, and takes those out that nothing else needs either.
    fn sift<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        let from = self.looked.kept;
        let mut quiet = self.looked.quiet - from;
        let mut depth = self.savepoints_before(from);
        let page_size = shared.store.page_size;
        let mut sieve = Sieve {
            early: &mut self.early,
            page_size,
            kept: Vec::new(),
            freed: PageSet::default(),
            to_read: WALK_MIN.max(shared.limits.delta_bytes >> page_size.shift() >> 3),
        };
        let mut looked = None;
        let drops = self.changes.dropped.split_off(from);
        for (at, dropped) in drops.into_iter().enumerate() {
            // Savepoints count the drops before them.
            while let Some(savepoint) = self.savepoints.get_mut(depth).filter(|s| s.dropped <= from + at) {
                savepoint.dropped = from + sieve.kept.len();
                depth += 1;
            }
            if at < quiet && sieve.to_read == 0 {
                quiet = at;
            }
            if at >= quiet {
                looked.get_or_insert(sieve.kept.len());
                sieve.kept.push(dropped);
                continue;
            }
            let before = sieve.kept.len();
            if !sieve.pass(shared, depth, dropped)? {
                looked = Some(before);
                quiet = at;
            }
        }
        let Sieve { mut kept, freed, .. } = sieve;
        for savepoint in self.savepoints.iter_mut().skip(depth) {
            savepoint.dropped = from + kept.len();
        }
        self.looked.kept = from + looked.unwrap_or(kept.len());
        self.looked.quiet = self.looked.kept;
        (self.looked.weighed, self.looked.weight) = (self.looked.kept, 0);
        self.changes.dropped.append(&mut kept);
        for run in freed.iter() {
            self.writer.space()?.give_back(run)?;
            discard(shared, run);
        }
        Ok(())
    }
}

fn extent_run(first: u64, len: u64, page_size: PageSize) -> Run {
    let (header, data) = pages_for(len, page_size);
    Run::new(first, header + data)
}

/// Parts drops into those that wait and places that are free.
struct Sieve<'a> {
    early: &'a mut OwnPlaces,
    page_size: PageSize,
    kept: Vec<Dropped>,
    freed: PageSet,
    /// Pages of subtrees that may yet be read.
    to_read: u64,
}

impl Sieve<'_> {
    /// Whether all of `run` was made after exactly `depth` savepoints; if so, it is free now.
    fn free(&mut self, depth: usize, run: Run) -> Result<bool> {
        let Some(own) = self.early.holder(depth, run) else { return Ok(false) };
        own.remove(run)?;
        self.freed.insert(run)?;
        Ok(true)
    }

    /// Looks at one drop, made after `depth` savepoints. `false` if what it has kept of it is to be looked at again.
    fn pass<S: PageSource>(&mut self, shared: &Shared<S>, depth: usize, dropped: Dropped) -> Result<bool> {
        let run = match dropped {
            Dropped::Delta(_) => None,
            Dropped::Page(page, _) => Some(Run::new(page.get(), 1)),
            Dropped::Extent(first, len, _) => Some(extent_run(first.get(), len, self.page_size)),
            Dropped::Subtree { root, level, extents } => {
                return self.pass_subtree(shared, depth, root, level, extents);
            }
        };
        let freed = match run {
            Some(run) => self.free(depth, run)?,
            None => false,
        };
        if !freed {
            self.kept.push(dropped);
        }
        Ok(true)
    }

    /// Looks at a subtree: down to the pages that the transaction did not make.
    fn pass_subtree<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        depth: usize,
        root: PageRef,
        level: u8,
        extents: bool,
    ) -> Result<bool> {
        let mut stack = vec![(root, level, extents)];
        while let Some((root, level, extents)) = stack.pop() {
            let (dropped, run) = (Dropped::Subtree { root, level, extents }, Run::new(root.page().get(), 1));
            if self.early.holder(depth, run).is_none() {
                self.kept.push(dropped);
                continue;
            }
            if level > 0 || extents {
                if self.to_read == 0 {
                    // The rest another time; looking again at what else was kept of it does no harm.
                    let rest = stack.drain(..).map(|(root, level, extents)| Dropped::Subtree {
                        root,
                        level,
                        extents,
                    });
                    self.kept.extend(rest.chain([dropped]));
                    return Ok(false);
                }
                self.to_read -= 1;
                match Below::read(shared, root, level) {
                    Ok(below) => self.pass_values(&mut stack, depth, level, below)?,
                    Err(error) => {
                        // Whoever walks it after the commit will meet this again, and leave it alone.
                        tracing::warn!(%error, "a subtree that was cut off cannot be walked");
                        self.kept.push(dropped);
                        continue;
                    }
                }
            }
            self.free(depth, run)?;
        }
        Ok(true)
    }

    /// Passes the large values of a page that is free, and puts its children on the stack.
    fn pass_values(
        &mut self,
        stack: &mut Vec<(PageRef, u8, bool)>,
        depth: usize,
        level: u8,
        below: Below,
    ) -> Result<()> {
        stack.extend(below.children.into_iter().map(|(child, extents)| (child, level - 1, extents)));
        for (first, len, birth) in below.values {
            if !self.free(depth, extent_run(first.page().get(), len, self.page_size))? {
                self.kept.push(Dropped::Extent(first.page(), len, birth));
            }
        }
        Ok(())
    }
}

/// What hangs below a page of a cut subtree.
struct Below {
    /// Its children, and whether extents may hang below each.
    children: Vec<(PageRef, bool)>,
    /// Its large values: first page, length, birth.
    values: Vec<(PageRef, u64, u64)>,
}

impl Below {
    fn read<S: PageSource>(shared: &Shared<S>, root: PageRef, level: u8) -> Result<Self> {
        let broken = || Error::page(root.page(), "an entry lies outside it");
        let mut walk = Walk::new(&shared.store, None);
        let node = walk.node(Word::file(root))?;
        if node.level() != level {
            return Err(Error::page(root.page(), "its level is not the one its parent expects"));
        }
        let mut below = Self { children: Vec::new(), values: Vec::new() };
        for index in 0..node.count() {
            if level > 0 {
                let word = node.child(index).ok_or_else(broken)?;
                let extents = node.extents_below(index).ok_or_else(broken)?;
                below.children.push((PageRef::from_bits(word.bits()).ok_or_else(broken)?, extents));
                continue;
            }
            let entry = node.entry(index).ok_or_else(broken)?;
            if let Some((word, payload)) = node.value_word(&entry) {
                let large = Large::from_fields(word, payload).ok_or_else(broken)?;
                let first = PageRef::from_bits(word.bits()).ok_or_else(broken)?;
                below.values.push((first, large.len, large.birth));
            }
        }
        Ok(below)
    }
}
