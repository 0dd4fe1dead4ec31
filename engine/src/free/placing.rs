//! Where pages go, and how long the file needs to be: what keeps it short without growing it again and again.
//!
//! Free pages are mostly handed out by best fit. While the database is compacted, or most of the file is free, they come
//! from the lowest places instead, so that the end of the file falls free. What is free there is given back with a checkpoint, but for what
//! the last intervals have used: a file that shrinks must not grow again at the next checkpoint.
#![forbid(unsafe_code)]

use super::runs::Run;
use super::space::FreeSpace;
use crate::error::Result;

/// Runs that a search looks at, at most.
const SEARCH_MAX: usize = 4096;

/// The part of the file, as a divisor, that is worth giving back.
const WORTH: u64 = 8;
/// The least that is worth giving back, in bytes.
const WORTH_BYTES: u64 = 1 << 20;

/// How places are chosen, and how much of the file has been in use lately.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Placing {
    /// Pages go to the lowest places, and to long runs as far as these suffice before this page.
    lowest: Option<u64>,
    /// The same, as most of the file was free when the last checkpoint began.
    roomy: Option<u64>,
    /// The chain of the free map is to be written anew.
    pub(super) whole_chain: bool,
    /// No page from here on was in use since the last mark, and since the one before.
    used: [u64; 2],
}

impl Placing {
    /// Pages up to `end` are in use.
    pub(super) fn note_used(&mut self, end: u64) {
        self.used[0] = self.used[0].max(end);
    }
}

impl FreeSpace {
    /// From now on pages go to the lowest places: to long runs as far as these suffice before page `limit`, or else to
    /// whatever comes first. With `None`, to where they fit best.
    pub(crate) fn place_lowest(&mut self, limit: Option<u64>) {
        self.placing.lowest = limit;
    }

    /// Whether pages go to the lowest places.
    pub(crate) fn places_lowest(&self) -> bool {
        self.placing.lowest.is_some()
    }

    /// The next checkpoint writes the chain of the free map anew, if there is room.
    pub(crate) fn renew_chain(&mut self) {
        self.placing.whole_chain = true;
    }

    /// Before which page places are to be found, if pages go to the lowest ones: also where most of the file is free.
    fn limit(&self) -> Option<u64> {
        self.placing.lowest.or(self.placing.roomy)
    }

    /// Whether free pages go to where they fit best.
    #[cfg(test)]
    pub(super) fn places_best_fit(&self) -> bool {
        self.limit().is_none()
    }

    /// A checkpoint begins: if most of the file is free then, its pages go to the lowest places.
    pub(super) fn note_room(&mut self) {
        let free = self.free.pages();
        self.placing.roomy = (free > self.end / 2).then(|| self.end - free / 4 * 3);
    }

    /// Whether the chain of the free map keeps the end of the file from falling free.
    pub(super) fn chain_lies_far(&self) -> bool {
        self.limit().is_some_and(|limit| self.chain.iter().any(|run| run.start >= limit))
    }

    /// Pages that hold something, the head's and the chain's among them.
    pub(crate) fn used_pages(&self) -> u64 {
        self.end - self.free.pages() - self.withheld.all().pages()
    }

    /// Takes the lowest free run of `pages` pages that ends before page `before`, as [`Use::Early`](super::Use).
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if the state contradicts itself.
    pub(crate) fn allocate_below(&mut self, pages: u64, before: u64) -> Result<Option<Run>> {
        let found = self.lowest_run(pages).filter(|run| run.end() <= before);
        if let Some(run) = found {
            self.free.remove(run)?;
            self.early.insert(run)?;
            self.placing.note_used(run.end());
        }
        Ok(found)
    }

    /// The lowest free run of `pages` pages, of those that a bounded search finds.
    fn lowest_run(&self, pages: u64) -> Option<Run> {
        let fits = |run: &Run| run.len >= pages;
        let lowest = self.free.all().iter().take(SEARCH_MAX).find(fits);
        let first = lowest.or_else(|| self.free.at_least(pages).take(SEARCH_MAX).min_by_key(|run| run.start));
        first.filter(|_| pages > 0).map(|run| Run::new(run.start, pages))
    }

    /// Takes `pages` contiguous pages, where there are some.
    pub(super) fn take_contiguous(&mut self, pages: u64) -> Result<Option<Run>> {
        if self.limit().is_none() {
            return self.free.allocate_exact(pages);
        }
        let found = self.lowest_run(pages);
        found.map_or(Ok(()), |run| self.free.remove(run))?;
        Ok(found)
    }

    /// Takes `pages` pages, or all there are, in at most `max_runs` runs.
    pub(super) fn take_some(&mut self, pages: u64, max_runs: usize) -> Result<Vec<Run>> {
        let Some(limit) = self.limit() else { return self.free.allocate_some(pages, max_runs) };
        let mut least = self.length_to_take(pages, limit);
        let (mut taken, mut wanted, mut from) = (Vec::new(), pages, 0);
        while wanted > 0 && taken.len() < max_runs {
            let fits = |run: &Run| run.len >= least.min(wanted);
            let rest = Run::between(from, self.end);
            let Some(run) = self.free.all().overlapping(rest).take(SEARCH_MAX).find(fits) else {
                if least == 1 {
                    break;
                }
                (least, from) = (1, 0);
                continue;
            };
            let run = Run::new(run.start, run.len.min(wanted));
            self.free.remove(run)?;
            (wanted, from) = (wanted - run.len, run.end());
            taken.push(run);
        }
        taken.sort_unstable();
        Ok(taken)
    }

    /// Runs of which length suffice for `pages` pages before page `limit`: the longest that do.
    fn length_to_take(&self, pages: u64, limit: u64) -> u64 {
        let suffices = |least: &u64| {
            let mut found = 0;
            let long = self.free.at_least(*least).take(SEARCH_MAX).filter(|run| run.end() <= limit);
            long.map(|run| run.len).any(|len| {
                found += len;
                found >= pages
            })
        };
        [256, 64, 16, 4].into_iter().find(suffices).unwrap_or(1)
    }

    /// By how many pages the file must grow before `pages` pages can be handed out in pieces, each contiguous and of at
    /// most `longest` pages, whatever their lengths and order. Looks at some of the longest free runs only.
    pub(crate) fn shortfall_pieces(&self, pages: u64, longest: u64) -> u64 {
        /// Free runs looked at.
        const RUNS: usize = 64;
        // A run is of no more use only when less than a piece is left of it. So pieces can fail to find places only if
        // all but `waste` pages of each run have been handed out.
        let waste = longest.min(pages).saturating_sub(1);
        let trailing = self.trailing_free();
        let before_end = self.free.longest_first().filter(|run| run.end() != self.end);
        let good: u64 = before_end.take(RUNS).map(|run| run.len.saturating_sub(waste)).sum();
        match pages.saturating_sub(good) {
            0 => 0,
            more => (more + waste).saturating_sub(trailing),
        }
    }

    /// Where the file can end from now on, if that is worth it: free pages at its end that were not in use in the last
    /// two intervals, one of which ends now. At least `keep` pages stay free, and `contiguous` ones at the end. While
    /// pages go to the lowest places, all others at the end go.
    pub(crate) fn end_to_keep(&mut self, keep: u64, contiguous: u64) -> Option<u64> {
        let used = self.end - self.trailing_free();
        let lately = self.placing.used.into_iter().fold(used, u64::max);
        self.placing.used = [used, self.placing.used[0]];
        let spare = self.free.pages().saturating_sub(keep);
        let (least, worth) = match self.placing.lowest {
            Some(_) => (used, 1),
            None => (lately, (self.end / WORTH).max(WORTH_BYTES / self.page_size.bytes() as u64)),
        };
        let end = least.max(used + contiguous).max(self.end - spare.min(self.end));
        (self.end.saturating_sub(end) >= worth).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::space::Use;
    use super::*;
    use crate::free::Map;
    use bifold_page_source::PageSize;

    /// A file of `end` pages, of which these runs are free.
    fn space(end: u64, free: &[(u64, u64)]) -> FreeSpace {
        let mut space = FreeSpace::new(8, end, PageSize::MIN, 0, Map::default(), Vec::new());
        for &(start, len) in free {
            space.give_back(Run::new(start, len)).unwrap();
        }
        space
    }

    #[test]
    fn lowest_places_come_first_and_long_runs_where_they_suffice() {
        let mut space = space(100, &[(10, 1), (12, 2), (20, 4), (30, 3), (40, 8), (90, 10)]);
        let runs = |space: &mut FreeSpace, pages| space.allocate(pages, Use::Checkpoint).unwrap().runs;
        space.place_lowest(Some(60));
        assert_eq!(runs(&mut space, 10), [Run::new(20, 4), Run::new(40, 6)]);
        // No longer enough of four and more below 60.
        assert_eq!(runs(&mut space, 5), [Run::new(10, 1), Run::new(12, 2), Run::new(30, 2)]);
        assert_eq!(space.allocate_contiguous(2, Use::Early).unwrap().runs, [Run::new(46, 2)]);
        assert_eq!(space.allocate_below(1, 90).unwrap(), Some(Run::new(32, 1)));
        assert_eq!(space.allocate_below(1, 90).unwrap(), None);
        space.place_lowest(None);
        assert_eq!(runs(&mut space, 3), [Run::new(90, 3)]);
    }

    #[test]
    fn pieces_find_their_places_in_what_was_said_to_suffice() {
        let free = [(10, 3), (20, 6), (30, 9), (50, 5)];
        for total in 1..40u64 {
            for longest in 1..=7 {
                let mut space = space(60, &free);
                let short = space.shortfall_pieces(total, longest);
                space.extend(short).unwrap();
                let end = space.end();
                let (mut left, mut round) = (total, total * 31 + longest);
                while left > 0 {
                    round = round * 13 % 1009;
                    let piece = (1 + round % longest).min(left);
                    let _ = space.allocate_contiguous(piece, Use::Checkpoint).unwrap();
                    left -= piece;
                }
                assert_eq!(space.end(), end, "{total} pages in pieces of up to {longest}");
            }
        }
        assert_eq!(space(60, &free).shortfall_pieces(11, 4), 0);
        assert_eq!(space(60, &free).shortfall_pieces(12, 4), 4);
    }

    #[test]
    fn what_was_used_lately_stays() {
        const MIB: u64 = (1 << 20) / 512;
        let mut space = space(100, &[]);
        assert_eq!(space.end_to_keep(0, 0), None);
        space.extend(3 * MIB).unwrap();
        let grant = space.allocate(MIB, Use::Checkpoint).unwrap();
        space.revoke(&grant).unwrap();
        assert_eq!(space.end_to_keep(0, 0), Some(100 + MIB));
        assert_eq!(space.end_to_keep(0, 0), Some(100 + MIB), "used in the interval before");
        assert_eq!(space.end_to_keep(0, 0), Some(100));
        assert_eq!(space.end_to_keep(MIB / 2, 0), Some(100 + MIB / 2));
        assert_eq!(space.end_to_keep(3 * MIB - 5, 0), None);
        space.place_lowest(Some(0));
        assert_eq!(space.end_to_keep(3 * MIB - 5, 0), Some(100 + 3 * MIB - 5));
    }
}
