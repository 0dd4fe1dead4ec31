//! [`PoolSource`]: the pool as a page source.
#![expect(unsafe_code, reason = "the trait's promises about immutable pages are `unsafe fn`s")]

use crate::arena::Arena;
use crate::clock::{Clock, Memory};
use crate::copies::Copies;
use crate::credits::Credits;
use crate::device::Device;
use crate::epoch::Domain;
use crate::io_pread::PreadIo;
use crate::options::{Options, Plan};
use crate::parking::Parking;
use crate::pin::PoolPin;
use crate::shared::{Counts, Shared};
use crate::staging::{Staging, UNIT};
use crate::translation::Translation;
use crate::visit::PoolVisit;
use bifold_page_source::sync::Mutex;
use bifold_page_source::{
    ChunkCheck, Error, File, PageId, PageRef, PageSource, PageWrite, Result, SourceConfig, SourceStats,
};
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// A buffer pool over one file: its own page cache, within a budget of memory.
#[derive(Debug)]
pub struct PoolSource {
    shared: Arc<Shared>,
}

fn open(file: Arc<dyn File>, config: SourceConfig, options: &Options) -> io::Result<Shared> {
    let len = file.len()? >> config.page_size.shift();
    let plan = Plan::new(options, config.page_size, len)?;
    let device = Arc::new(Device::new(file, options.direct, config.page_size)?);
    let mut arena = Arena::new(plan.frames, config.page_size)?;
    if options.populate {
        arena.populate();
    }
    let memory = Memory {
        words: Translation::new(len)?,
        arena,
        epochs: Domain::new(plan.slots),
        branches: (0..plan.frames).map(|_| AtomicU8::new(0)).collect(),
        evictions: AtomicU64::new(0),
    };
    // One page must always fit, so that a write can proceed.
    let size = config.page_size.bytes() as u64;
    let write_share = (plan.staging / 2).max(size).next_multiple_of(UNIT as u64).min(plan.staging);
    Ok(Shared {
        memory,
        clock: Mutex::new(Clock::new(plan.frames)),
        parking: Parking::default(),
        credits: Credits::new(plan.frames / 2),
        copies: Copies::default(),
        io: Box::new(PreadIo::new(Arc::clone(&device), options.io_threads)),
        device,
        config,
        plan,
        budget: options.cache_size,
        populated: options.populate,
        len: AtomicU64::new(len),
        resizing: Mutex::new(()),
        read_staging: Staging::new((plan.staging - write_share) as usize)?,
        write_staging: Staging::new(write_share as usize)?,
        read_share: (plan.staging - write_share) as usize,
        write_share: write_share as usize,
        staging_turn: Mutex::new(()),
        ahead: AtomicUsize::new(0),
        counts: Counts::default(),
        said_too_small: AtomicBool::new(false),
        in_vain: AtomicU64::new(0),
    })
}

impl PageSource for PoolSource {
    type Options = Options;
    type Pin<'s> = PoolPin<'s>;
    type Span<'s> = Bytes;
    type Visit<'s> = PoolVisit<'s>;

    const NAME: &'static str = "pool";

    fn open(file: Arc<dyn File>, config: SourceConfig, options: &Options) -> Result<Self> {
        let shared = open(file, config, options).map_err(|e| Error::io("open", 0, e))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    #[inline]
    fn visit(&self) -> PoolVisit<'_> {
        PoolVisit::new(&self.shared)
    }

    fn view_each(&self, pages: &[PageRef], f: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        self.shared.view_each(pages, f)
    }

    fn prefetch(&self, pages: &[PageRef]) {
        self.shared.prefetch(pages);
    }

    fn extent(&self, first: PageId, len: u64, range: Range<u64>, check: ChunkCheck<'_>) -> Result<Bytes> {
        self.shared.extent(first, len, range, check)
    }

    unsafe fn write(&self, writes: &[PageWrite<'_>]) -> Result<()> {
        self.shared.write_pages(writes)
    }

    unsafe fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()> {
        self.shared.write_extent(at, bytes)
    }

    fn sync(&self) -> Result<()> {
        self.shared.device.file().sync().map_err(|e| Error::io("sync", 0, e))?;
        self.shared.counts.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn grow(&self, pages: u64) -> Result<()> {
        self.shared.grow(pages)
    }

    unsafe fn shrink(&self, pages: u64) -> Result<()> {
        self.shared.shrink(pages)
    }

    fn len_pages(&self) -> u64 {
        self.shared.len.load(Ordering::Acquire)
    }

    fn discard(&self, pages: Range<PageId>) {
        self.shared.discard(pages);
    }

    fn stats(&self) -> SourceStats {
        let (shared, io) = (&self.shared, &self.shared.device.counts);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let populated = {
            let clock = shared.clock.lock();
            u64::from(if shared.populated { clock.kept(shared.plan.frames) } else { clock.populated() })
        };
        let mut stats = SourceStats::default();
        stats.pages_read = read(&shared.counts.pages_read);
        stats.bytes_read = read(&io.bytes_read);
        stats.reads = read(&io.reads);
        stats.pages_verified = read(&shared.counts.pages_verified);
        stats.pages_written = read(&shared.counts.pages_written);
        stats.pages_kept = read(&shared.counts.pages_kept);
        stats.bytes_written = read(&io.bytes_written);
        stats.writes = read(&io.writes);
        stats.syncs = read(&shared.counts.syncs);
        stats.evictions = read(&shared.memory.evictions);
        stats.budget_bytes = shared.budget;
        stats.used_bytes =
            shared.plan.fixed + shared.memory.words.bytes_touched() + populated * shared.page_bytes() as u64;
        stats.pages_pinned = shared.credits.taken();
        stats.bytes_copied_out = read(&shared.counts.bytes_copied_out);
        stats.direct = shared.device.is_direct();
        stats
    }
}

impl Drop for PoolSource {
    fn drop(&mut self) {
        // No call is under way any more; only reads ahead are, and they hold the shared state.
        self.shared.io.shut_down();
    }
}
