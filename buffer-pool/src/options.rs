//! What a pool can be told, and how a budget is divided.
#![forbid(unsafe_code)]

use crate::epoch::Domain;
use crate::staging::UNIT as STAGING_UNIT;
use crate::translation::Translation;
use bifold_page_source::PageSize;
use std::io;

/// The least number of frames a pool works with.
pub(crate) const MIN_FRAMES: u32 = 32;
/// The pool's own records of a frame, in bytes: who is in it, its class, and its places in the lists.
pub(crate) const BYTES_PER_FRAME: u64 = 32;
/// Parking places, pin credits, counters, and the like.
const FIXED: u64 = 4096;

/// Options of the buffer pool.
///
/// ```
/// let options = bifold_pool::Options::new().cache_size(64 << 20).io_threads(8);
/// assert_eq!(options.cache_size, 64 << 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The memory budget in bytes: frames, translation and bookkeeping stay within it, whatever the workload.
    /// Default: 256 MiB. As large as the machine can spare; what does not fit is read from the disk each time.
    ///
    /// The table that finds a page costs 8 bytes for each page of the file that was ever used (0.2 % at 4 KiB);
    /// frames are given up for it. Only a budget below about 0.3 % of the file cannot hold both a table and frames
    /// enough to work with, and is then exceeded by the table (said once through `tracing`).
    pub cache_size: u64,
    /// Whether reads and writes bypass the kernel's page cache (`O_DIRECT`), so that a page is not kept in memory
    /// twice. Default: true; where the file system refuses, the pool works without (said once through `tracing`).
    /// Turn it off when `cache_size` is small on purpose and the kernel's cache should serve the rest.
    pub direct: bool,
    /// Threads that read and write when more than one page is wanted at a time: the queue depth the disk sees.
    /// Default: 4, started when first needed; at most 256. More for disks that do better at greater depth. With 0,
    /// batches run in the calling thread and read-ahead does nothing.
    pub io_threads: usize,
    /// Takes the memory of the whole cache from the system at opening, instead of as it fills. Default: false. Opening
    /// takes 0.1 s a GiB, and many times that in a virtual machine whose host has to find the memory; later no visit,
    /// and no checkpoint, waits for that. Until the cache has filled once, this keeps the tail of latencies short.
    pub populate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_size: 256 << 20, direct: true, io_threads: 4, populate: false }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`cache_size`](Self::cache_size).
    #[must_use]
    pub fn cache_size(mut self, bytes: u64) -> Self {
        self.cache_size = bytes;
        self
    }

    /// Sets [`direct`](Self::direct).
    #[must_use]
    pub fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// Sets [`io_threads`](Self::io_threads).
    #[must_use]
    pub fn io_threads(mut self, threads: usize) -> Self {
        self.io_threads = threads;
        self
    }

    /// Sets [`populate`](Self::populate).
    #[must_use]
    pub fn populate(mut self, populate: bool) -> Self {
        self.populate = populate;
        self
    }

    /// Sets the budget to what just `frames` frames (at least 32) need for a file of few pages: for tests.
    #[must_use]
    pub fn frames(self, frames: u32, page_size: PageSize) -> Self {
        let size = page_size.bytes() as u64;
        let frames = u64::from(frames.max(MIN_FRAMES));
        let least = frames * (size + BYTES_PER_FRAME) + FIXED + Translation::bytes_for(1);
        let net = least + slots_bytes(least);
        // The staging share (1/64, at least a page) is part of the whole.
        let staging = staging(net / 63 + 1, size);
        self.cache_size(net + staging)
    }
}

/// How a budget is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) frames: u32,
    /// Epoch slots before more are allocated.
    pub(crate) slots: usize,
    /// Bytes of translation that frames need not be given up for.
    pub(crate) translation: u64,
    /// Bytes of transfer buffers that may exist at a time.
    pub(crate) staging: u64,
    /// Everything but frames and translation.
    pub(crate) fixed: u64,
}

/// Visits that run at once without a search: few in a pool too small for many threads.
const fn slots(cache_size: u64) -> usize {
    if cache_size >= 8 << 20 { 256 } else { 16 }
}

const fn slots_bytes(cache_size: u64) -> u64 {
    Domain::bytes(slots(cache_size)) as u64
}

/// Transfer buffers: whole units, and one page at least.
fn staging(share: u64, page: u64) -> u64 {
    share.clamp(page, 4 << 20).next_multiple_of(STAGING_UNIT as u64)
}

impl Plan {
    /// Divides the budget of `options` for a file of `pages` pages.
    ///
    /// # Errors
    /// `InvalidInput` for a budget or a number of threads that cannot work.
    pub(crate) fn new(options: &Options, page_size: PageSize, pages: u64) -> io::Result<Self> {
        let invalid = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if options.io_threads > 256 {
            return invalid(format!("{} I/O threads are more than 256", options.io_threads));
        }
        let (budget, size) = (options.cache_size, page_size.bytes() as u64);
        let staging = staging(budget / 64, size);
        let overhead = FIXED + slots_bytes(budget) + staging;
        // A small file's table is set aside whole; of a large one's, a twentieth of the budget.
        let translation =
            Translation::bytes_for(pages).clamp(Translation::bytes_for(1), (budget / 20).max(4096));
        let for_frames = budget.saturating_sub(overhead + translation);
        let frames = for_frames / (size + BYTES_PER_FRAME);
        let Ok(frames) = u32::try_from(frames) else {
            return invalid(format!("a cache of {budget} bytes has more frames than can be counted"));
        };
        if frames < MIN_FRAMES {
            return invalid(format!(
                "a cache of {budget} bytes holds {frames} pages of {size} bytes, and needs {MIN_FRAMES}"
            ));
        }
        let fixed = overhead + u64::from(frames) * BYTES_PER_FRAME;
        Ok(Self { frames, slots: slots(budget), translation, staging, fixed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_stays_within_its_budget() {
        for size in [512, 4096, 65536] {
            let page_size = PageSize::new(size).unwrap();
            for budget in [4u64 << 20, 16 << 20, 256 << 20, 16 << 30] {
                for pages in [0, 1000, 1 << 20, 1 << 30] {
                    let plan = Plan::new(&Options::new().cache_size(budget), page_size, pages).unwrap();
                    let total = plan.fixed + plan.translation + u64::from(plan.frames) * u64::from(size);
                    assert!(total <= budget, "{size} {budget} {pages}: {plan:?}");
                    assert!(total > budget * 9 / 10, "{size} {budget} {pages}: {plan:?}");
                }
            }
        }
    }

    #[test]
    fn a_number_of_frames_gives_that_many() {
        for size in [512, 4096, 65536] {
            let page_size = PageSize::new(size).unwrap();
            for frames in [32, 64, 100, 5000] {
                let plan = Plan::new(&Options::new().frames(frames, page_size), page_size, 100).unwrap();
                assert!((frames..frames + frames / 64 + 2).contains(&plan.frames), "{size}: {plan:?}");
            }
        }
    }

    #[test]
    fn budgets_that_cannot_work_are_refused() {
        for budget in [0, 4096, 100_000, u64::MAX] {
            let options = Options::new().cache_size(budget);
            assert!(Plan::new(&options, PageSize::DEFAULT, 1000).is_err(), "{budget}");
        }
        assert!(Plan::new(&Options::new().io_threads(1000), PageSize::DEFAULT, 0).is_err());
    }

    #[test]
    fn sixty_four_small_pages_of_memory_work() {
        let options = Options::new().cache_size(64 * 512);
        assert!(Plan::new(&options, PageSize::MIN, 1000).unwrap().frames >= MIN_FRAMES);
    }
}
