//! What a checkpoint adds to the chain of the free map: begun, noted in steps, given its pages, sealed.
//!
//! The map that checkpoint N persists, M(N), is what is free or early or withheld with a record at N or before. Until
//! N is sealed, `to_alloc` and `to_free` become the difference between M(N) and the newest persisted map. What other
//! writers do meanwhile does not change M(N): what they hand out is early, what they drop is recorded later, and pages
//! that become free at once were early. Only growing and shortening the file does, at its end, which adds two records
//! at most. So the journal's length is known before the last step, and its pages are taken beforehand.
//!
//! Those pages are early until the seal, free in M(N) like all that no checkpoint refers to. The seal writes the
//! records without them, and then, for as many of them as it needs, that they are free no longer.
#![forbid(unsafe_code)]

use super::page_iter::union;
use super::page_set::PageSet;
use super::record::{RECORD_BYTES_MAX, RUN_BYTES_MAX, Record, Subtree, encode, number_bytes, payload_count};
use super::runs::{Run, first_pages};
use super::space::{FreeSpace, Grant, Use};
use crate::error::{Error, Result};
use bifold_page_source::PageRef;

/// What a typical run's record takes, for judging when a chain has grown too long.
const RUN_BYTES_TYPICAL: usize = 7;
/// The least room for records that a chain page may have, in bytes.
const CAPACITY_MIN: usize = 128;
/// A chain this many times as long as a whole new one may make the file grow for that.
const OVERDUE: u64 = 3;
/// Records of runs that growing and shortening the file may add to a journal, and some more.
const RUNS_AT_END: usize = 4;

/// What a checkpoint adds to the chain of the free map.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) struct Sealed {
    /// The pages to write, as many as payloads; payload `i` belongs to the `i`-th page. None if nothing changed.
    pub(crate) pages: Vec<Run>,
    /// Their records.
    pub(crate) payloads: Vec<Vec<u8>>,
    /// Whether these pages are the whole chain from now on, rather than its younger end.
    pub(crate) rewritten: bool,
    /// The file's length in pages that the checkpoint's meta page must state. It may grow further before that is
    /// written; those pages are the next checkpoint's.
    pub(crate) end: u64,
}

/// Records laid out with those of the pages that hold them.
struct Laid {
    pages: Vec<Run>,
    payloads: Vec<Vec<u8>>,
}

impl FreeSpace {
    /// The newest checkpoint that was begun; the newest recorded one, if none was begun since.
    #[cfg(test)]
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// Begins checkpoint `number`: the root that it will write has been taken. What [`drop_run`](Self::drop_run) is
    /// told of from now on is recorded by a later checkpoint. Numbers may have gaps: a checkpoint that is refused
    /// before its seal is left as it is (its grants are revoked), and the next one has a higher number and records
    /// what was to be recorded by both.
    ///
    /// # Errors
    /// [`Error::Internal`] if `number` is not higher than that of every checkpoint begun before.
    pub(crate) fn begin(&mut self, number: u64) -> Result<()> {
        if number <= self.begun {
            return Err(Error::Internal("a checkpoint was begun out of order"));
        }
        self.frugal |= self.begun > self.recorded;
        self.begun = number;
        self.note_room();
        Ok(())
    }

    /// Does a part of what [`seal`](Self::seal) would do: notes up to `max_runs` dropped runs (one, if that is zero) of
    /// those that checkpoint `number`, which was begun, is to record. Returns whether there are more. A run is noted
    /// once, also if the checkpoint is then refused and a later one records it. Comes after
    /// [`reached`](Self::reached) was told of all extents of which a part was dropped.
    ///
    /// # Errors
    /// [`Error::Internal`] if `number` is not the checkpoint begun last, or the state contradicts itself.
    pub(crate) fn prepare(&mut self, number: u64, max_runs: usize) -> Result<bool> {
        self.check_begun(number)?;
        let (runs, more) = self.withheld.take_unnoted(self.recorded, number, max_runs.max(1));
        for run in runs {
            // What is early is free in the persisted map already, and is withheld from now on and nothing else.
            let Self { early, to_alloc, to_free, .. } = self;
            early.take(run, |other| to_alloc.take(other, |rest| to_free.insert(rest)))?;
        }
        Ok(more)
    }

    /// Takes the pages for the records of the checkpoint that was begun, as many as they can need, each with room for
    /// `capacity` bytes of records. Comes after all places of the checkpoint were taken. Until
    /// [`seal`](Self::seal), at most `more` runs may be told to [`reached`](Self::reached),
    /// [`drop_run_at`](Self::drop_run_at) or [`cut_subtree`](Self::cut_subtree) (with the number begun) together; what
    /// other writers hand out, drop and give back, or grow the file by, does not count.
    ///
    /// The file grows by no more than [`upper_bound_pages`](Self::upper_bound_pages) needs, even if the chain is due for
    /// being written anew and that takes more pages: then free ones must suffice. Only for a chain that has become
    /// much too long the file grows, unless a checkpoint was refused since it was last written anew: the disk may be
    /// full.
    ///
    /// If the checkpoint is refused, the grant is to be revoked.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if the file would have more than 2^40 pages, nothing has changed; [`Error::Internal`] if no
    /// checkpoint is begun, or `capacity` is less than 128.
    pub(crate) fn reserve_chain(&mut self, capacity: usize, more: u64) -> Result<Grant> {
        self.check_begun(self.begun)?;
        if capacity < CAPACITY_MIN {
            return Err(Error::Internal("a page too small for records of the free map"));
        }
        let mut wanted = self.upper_bound_pages(capacity, more);
        if self.chain_is_long(capacity) {
            let whole = self.pages_for(self.whole_runs_bound(), more, capacity);
            let much_too_long = self.chain_pages() > OVERDUE * whole;
            if whole <= self.free_pages() || much_too_long && !self.frugal {
                wanted = wanted.max(whole);
            }
        }
        self.allocate(wanted, Use::Early)
    }

    /// How many free pages there must be so that the next [`reserve_chain`](Self::reserve_chain) need not grow the file,
    /// if until then no more than `more` runs are allocated for a checkpoint, dropped, reached, or given back, each
    /// wholly early or not at all, and each page has `capacity` bytes for records. Constant time.
    pub(crate) fn upper_bound_pages(&self, capacity: usize, more: u64) -> u64 {
        // A withheld run that was partly reached is recorded in as many parts as there are early runs in it, and one
        // more.
        let runs =
            self.to_alloc.count() + self.to_free.count() + self.withheld.unnoted() + self.early.count();
        self.pages_for(runs as u64, more, capacity)
    }

    /// How many pages `runs` records of runs, the subtrees, `more` changes and the chain's own pages can need.
    fn pages_for(&self, runs: u64, more: u64, capacity: usize) -> u64 {
        let subtrees = (self.subtrees.len() + self.recorded_subtrees.len()) as u64;
        let run_bytes = self.run_bytes_bound();
        // A change of one run adds two records at most: it splits one that was recorded whole.
        let change_bytes = (2 * run_bytes).max(RECORD_BYTES_MAX as u64);
        let at_end = (RUNS_AT_END * RUN_BYTES_MAX) as u64;
        let bytes = runs * run_bytes + more * change_bytes + at_end + subtrees * RECORD_BYTES_MAX as u64;
        // No record straddles two pages, and each page of the chain is itself a change.
        let room = capacity.saturating_sub(RECORD_BYTES_MAX - 1 + RUN_BYTES_MAX).max(1) as u64;
        bytes.div_ceil(room)
    }

    /// How many bytes the record of a run can take.
    fn run_bytes_bound(&self) -> u64 {
        // The file may grow meanwhile, and what lies beyond twice its length is a run or two.
        1 + 2 * number_bytes(self.end.saturating_mul(2)) as u64
    }

    /// At most how many runs the map of the next checkpoint has.
    fn whole_runs_bound(&self) -> u64 {
        let runs =
            self.free.all().count() + self.early.count() + self.withheld.run_count() + self.chain.len();
        runs as u64
    }

    fn chain_pages(&self) -> u64 {
        self.chain.iter().map(|run| run.len).sum()
    }

    /// How many pages the whole map will take, estimated: counting would cost as much as writing it.
    fn whole_estimate(&self, capacity: usize) -> u64 {
        let subtrees = (self.subtrees.len() * RECORD_BYTES_MAX) as u64;
        // No more than the bound of `pages_for`: what is granted by that is to suffice.
        let run = self.run_bytes_bound().min(RUN_BYTES_TYPICAL as u64);
        (self.whole_runs_bound() * run + subtrees).div_ceil(capacity as u64)
    }

    /// Whether the chain with the next records would be longer than twice a whole new one, and two pages; or is to be
    /// written anew because that was asked for, or because the file could be shorter.
    fn chain_is_long(&self, capacity: usize) -> bool {
        let changes = self.to_alloc.count() + self.to_free.count() + self.withheld.unnoted();
        let more = (changes * RUN_BYTES_TYPICAL).div_ceil(capacity).max(1) as u64;
        let moves = self.placing.whole_chain || self.chain_lies_far();
        moves || self.chain_pages() + more > 2 + 2 * self.whole_estimate(capacity)
    }

    /// Records checkpoint `number`, the one begun last, which refers to everything it will refer to. `grant` is what
    /// [`reserve_chain`](Self::reserve_chain) returned for it, with the same `capacity`; the records take the first of
    /// those pages, and the others are free again. The file never grows here. What [`prepare`](Self::prepare) has left
    /// is noted first. A chain that has grown to more than twice what a whole new one would need (and two pages) is
    /// replaced, if the pages suffice.
    ///
    /// # Errors
    /// [`Error::Internal`] if `number` is not the checkpoint begun, or was recorded already; nothing has changed.
    /// [`Error::Internal`] if the state contradicts itself, or was changed in ways that were not reckoned with and
    /// there are no free pages: it is then unusable, and nothing more may be written.
    pub(crate) fn seal(&mut self, number: u64, capacity: usize, mut grant: Grant) -> Result<Sealed> {
        self.check_begun(number)?;
        if capacity < CAPACITY_MIN {
            return Err(Error::Internal("a page too small for records of the free map"));
        }
        while self.prepare(number, usize::MAX)? {}
        if self.subtrees_at(number).any(|subtree| self.early.contains(subtree.root.page().get())) {
            return Err(Error::Internal("a cut subtree begins on a page that no checkpoint reached"));
        }
        let (laid, rewritten) = self.lay_out(number, capacity, &mut grant)?;
        for &run in &laid.pages {
            self.early.remove(run)?;
        }
        for run in grant.runs {
            let unused: Vec<Run> = self.early.overlapping(run).collect();
            unused.into_iter().try_for_each(|run| self.give_back(run))?;
        }
        if rewritten {
            self.placing.whole_chain = false;
            for run in std::mem::take(&mut self.chain) {
                self.withheld.drop_noted(run, number, number)?;
            }
            self.frugal = false;
        }
        self.to_alloc = PageSet::default();
        self.to_free = PageSet::default();
        self.recorded = number;
        self.recorded_subtrees = self.subtrees_at(number).map(|subtree| subtree.root.bits()).collect();
        self.chain.extend_from_slice(&laid.pages);
        Ok(Sealed { pages: laid.pages, payloads: laid.payloads, rewritten, end: self.end })
    }

    /// Lays out the whole map if the chain is long and the pages granted suffice, and else the journal; tells which.
    fn lay_out(&mut self, number: u64, capacity: usize, grant: &mut Grant) -> Result<(Laid, bool)> {
        let granted: u64 = grant.runs.iter().map(|run| run.len).sum();
        let due = self.chain_is_long(capacity) && self.whole_estimate(capacity) <= granted;
        // An interval without changes adds nothing, and replaces nothing.
        if due && (self.placing.whole_chain || self.journal(number).next().is_some()) {
            let whole = self.whole(number, capacity)?;
            if let Ok(laid) = with_own_pages(whole, &grant.runs, capacity) {
                return Ok((laid, true));
            }
        }
        let mut payloads = encode(self.journal(number), capacity)?;
        loop {
            match with_own_pages(payloads, &grant.runs, capacity) {
                Ok(laid) => return Ok((laid, false)),
                Err((back, wanted)) => {
                    payloads = back;
                    self.top_up(grant, wanted)?;
                }
            }
        }
    }

    /// Takes more free pages for a journal that is longer than was reckoned.
    fn top_up(&mut self, grant: &mut Grant, wanted: u64) -> Result<()> {
        let granted: u64 = grant.runs.iter().map(|run| run.len).sum();
        let short = wanted.saturating_sub(granted).max(1);
        if short > self.free_pages() {
            return Err(Error::Internal("the free map needs more pages than was reckoned"));
        }
        let more = self.allocate(short, Use::Early)?;
        grant.runs.extend(more.runs);
        Ok(())
    }

    /// What checkpoint `number` changes in the persisted map, but for the chain's new pages.
    fn journal(&self, number: u64) -> impl Iterator<Item = Record> {
        let done = self.recorded_subtrees.iter().filter(|root| !self.subtrees.contains_key(root));
        let done = done.filter_map(|&root| PageRef::from_bits(root)).map(Record::SubtreeDone);
        let cut = self.subtrees_at(number).filter(|s| !self.recorded_subtrees.contains(&s.root.bits()));
        let allocs = self.to_alloc.iter().map(Record::Alloc);
        let frees = self.to_free.iter().map(Record::Free);
        allocs.chain(done).chain(frees).chain(cut.map(|&subtree| Record::Subtree(subtree)))
    }

    /// The whole persisted map of checkpoint `number`, but for the chain's new pages.
    fn whole(&self, number: u64, capacity: usize) -> Result<Vec<Vec<u8>>> {
        let withheld = self.withheld.recorded_by(number)?;
        let mut chain = PageSet::default();
        self.chain.iter().try_for_each(|&run| chain.insert(run))?;
        let runs = union([self.free.all(), &self.early, &withheld, &chain]);
        let subtrees = self.subtrees_at(number).map(|&subtree| Record::Subtree(subtree));
        encode(runs.map(Record::Free).chain(subtrees), capacity)
    }

    /// The subtrees that `checkpoint` does not refer to.
    fn subtrees_at(&self, checkpoint: u64) -> impl Iterator<Item = &Subtree> {
        self.subtrees.values().filter(move |subtree| subtree.cut_at <= checkpoint)
    }

    fn check_begun(&self, number: u64) -> Result<()> {
        if number == self.begun && number > self.recorded {
            return Ok(());
        }
        Err(Error::Internal("a checkpoint goes on that was not begun, or is recorded"))
    }
}

/// Adds to `payloads` that the pages they are written to are free no longer: the first of `granted`, as many as it
/// takes. If those are too few, returns the payloads as they were, and how many pages it takes at least.
fn with_own_pages(
    mut payloads: Vec<Vec<u8>>,
    granted: &[Run],
    capacity: usize,
) -> std::result::Result<Laid, (Vec<Vec<u8>>, u64)> {
    let mut wanted = payloads.len();
    loop {
        let Some(pages) = first_pages(granted, wanted as u64) else {
            return Err((payloads, wanted as u64));
        };
        let count = payload_count(&payloads, pages.iter().map(|&run| Record::Alloc(run)), capacity);
        if count <= wanted {
            for &run in &pages {
                Record::Alloc(run).append(&mut payloads, capacity);
            }
            debug_assert_eq!(payloads.len(), wanted);
            return Ok(Laid { pages, payloads });
        }
        wanted = count;
    }
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
