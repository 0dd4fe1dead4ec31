//! The pool's one shared state, and the way of a single miss.
#![forbid(unsafe_code)]

use crate::access::{self, Seen};
use crate::aligned::AlignedBuf;
use crate::clock::{Clock, Memory};
use crate::copies::Copies;
use crate::credits::Credits;
use crate::device::{ALIGN, Device};
use crate::epoch::{Participant, thread_hint};
use crate::io::{BatchIo, Buffer, Op, Request};
use crate::options::{MIN_FRAMES, Plan};
use crate::parking::Parking;
use crate::staging::Staging;
use crate::ticket::{LoadingFrame, Ticket};
use crate::word::{Begin, Cell};
use bifold_page_source::sync::Mutex;
use bifold_page_source::{Error, PageId, PageRef, Result, SourceConfig, verify_page};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How often a miss is tried before the page is served from a copy of its own.
const ROUNDS: usize = 16;
/// How long a miss waits for a frame that is still in somebody's sight: turns given away, then naps.
const YIELDS: usize = 32;
const NAPS: usize = 16;
const NAP: Duration = Duration::from_micros(50);

/// Counts that are not the device's.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) pages_read: AtomicU64,
    pub(crate) pages_verified: AtomicU64,
    pub(crate) pages_written: AtomicU64,
    pub(crate) pages_kept: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) bytes_copied_out: AtomicU64,
}

/// Everything a visit, a pin or a load in flight may need.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) memory: Memory,
    pub(crate) clock: Mutex<Clock>,
    pub(crate) parking: Parking,
    pub(crate) credits: Credits,
    pub(crate) copies: Copies,
    pub(crate) device: Arc<Device>,
    pub(crate) io: Box<dyn BatchIo>,
    pub(crate) config: SourceConfig,
    pub(crate) plan: Plan,
    pub(crate) budget: u64,
    /// All frames have had their memory since the opening.
    pub(crate) populated: bool,
    /// The file's length in pages.
    pub(crate) len: AtomicU64,
    /// Held while the file's length changes, over the call; no reader and no writer takes it.
    pub(crate) resizing: Mutex<()>,
    /// Transfer buffers of reads, and of writes. Who writes has them in turn, for one round of transfers each.
    pub(crate) read_staging: Staging,
    pub(crate) write_staging: Staging,
    pub(crate) read_share: usize,
    pub(crate) write_share: usize,
    /// Held by the writer who takes transfer buffers, and while it waits for one; never over a transfer of its own.
    pub(crate) staging_turn: Mutex<()>,
    /// Pages being read ahead.
    pub(crate) ahead: AtomicUsize,
    pub(crate) counts: Counts,
    pub(crate) said_too_small: AtomicBool,
    /// The oldest epoch at which a miss last waited for a frame in vain.
    pub(crate) in_vain: AtomicU64,
}

/// Where a page is, after a miss.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// In a frame, seen from inside.
    Seen(Seen),
    /// In a copy, as no frame could be had.
    Copy(AlignedBuf),
}

impl Shared {
    /// The offset of a page in the file.
    pub(crate) fn offset(&self, page: PageId) -> u64 {
        page.offset(self.config.page_size)
    }

    pub(crate) fn page_bytes(&self) -> usize {
        self.config.page_size.bytes()
    }

    /// Begins a visit's epoch.
    #[inline]
    pub(crate) fn participate(&self) -> Participant<'_> {
        self.memory.epochs.participate(thread_hint())
    }

    /// The word of a page that is to be loaded; room for it is found within the budget.
    ///
    /// # Errors
    /// `Corrupt` if the page lies beyond the file.
    pub(crate) fn cell(&self, page: PageId) -> Result<Cell<'_>> {
        let beyond = Error::Corrupt { page, what: "it lies beyond the end of the file" };
        if page.get() >= self.len.load(Ordering::Acquire) {
            return Err(beyond);
        }
        let cell = self.memory.words.get(page).ok_or(beyond)?;
        if self.memory.words.touch(page) {
            self.make_room_for_words();
        }
        Ok(cell)
    }

    /// Gives frames up for what the translation has come to take.
    fn make_room_for_words(&self) {
        let over = self.memory.words.bytes_touched().saturating_sub(self.plan.translation);
        if over == 0 {
            return;
        }
        let granule = u64::from(self.memory.arena.frames_per_granule());
        let floor = u64::from(MIN_FRAMES.min(self.plan.frames));
        let lost = over.div_ceil(self.page_bytes() as u64);
        let left = u64::from(self.plan.frames).saturating_sub(lost) / granule * granule;
        if left < floor && !self.said_too_small.swap(true, Ordering::Relaxed) {
            tracing::warn!(cache_size = self.budget, "the cache is too small for a file of this size");
        }
        let left = left.max(floor) as u32;
        let mut clock = self.clock.lock();
        let before = clock.limit();
        if left < before {
            clock.shrink(&self.memory, left);
            drop(clock);
            self.credits.reduce(before / 2 - left / 2);
        }
    }

    /// Takes the load of a page and a frame for it. `Err` is why not: the frame is wanting (`None`), or the page
    /// is loading or resident already.
    pub(crate) fn begin(
        self: &Arc<Self>,
        at: PageRef,
        cell: Cell<'_>,
        wait: bool,
    ) -> Result<Ticket, Option<Begin>> {
        match cell.begin_load() {
            Begin::Mine(ghost) => {
                let mut ticket = Ticket::new(Arc::clone(self), at);
                let frame = self.frame(at.page(), ghost, wait).ok_or(None)?;
                ticket.fill(LoadingFrame::new(frame));
                Ok(ticket)
            }
            other => Err(Some(other)),
        }
    }

    /// A frame for a page, waiting a bounded time for what is still in somebody's sight; but not twice for the same
    /// participant.
    fn frame(&self, page: PageId, ghost: u32, wait: bool) -> Option<u32> {
        let rounds = if wait { YIELDS + NAPS } else { 0 };
        for round in 0..=rounds {
            if let Some(frame) = self.clock.lock().take(&self.memory, page, ghost) {
                return Some(frame);
            }
            if round == rounds || self.memory.epochs.oldest() == self.in_vain.load(Ordering::Relaxed) {
                break;
            }
            if round < YIELDS { std::thread::yield_now() } else { std::thread::sleep(NAP) }
        }
        let oldest = self.memory.epochs.oldest();
        if wait && oldest != u64::MAX {
            self.in_vain.store(oldest, Ordering::Relaxed);
        }
        None
    }

    /// Brings a page that was not resident. Leaves the epoch for as long as that takes, so nothing seen before is
    /// good afterwards; what is returned is seen from the epoch entered last.
    ///
    /// # Errors
    /// I/O errors; `Corrupt`.
    pub(crate) fn load(self: &Arc<Self>, at: PageRef, inside: &mut Participant<'_>) -> Result<Loaded> {
        let page = at.page();
        let cell = self.cell(page)?;
        for _ in 0..ROUNDS {
            if let Some((seen, _)) = access::find(&self.memory, page, inside) {
                return Ok(Loaded::Seen(seen));
            }
            let outside = inside.suspend();
            match self.begin(at, cell, true) {
                Ok(ticket) => {
                    let ticket = self.read_one(ticket)?;
                    drop(outside);
                    if let Some(seen) = ticket.publish(inside) {
                        return Ok(Loaded::Seen(seen));
                    }
                }
                Err(Some(Begin::Busy)) => self.parking.wait(page, cell),
                Err(Some(_)) => {}
                Err(None) => break,
            }
        }
        let _outside = inside.suspend();
        self.read_copy(at).map(Loaded::Copy)
    }

    /// Reads the page of one ticket in the calling thread, and verifies it.
    fn read_one(&self, ticket: Ticket) -> Result<Ticket> {
        let at = ticket.at();
        let offset = self.offset(at.page());
        let request = Request { op: Op::Read, offset, buffer: Buffer::Page(ticket) };
        let completion = self.io.run(request);
        completion.result.map_err(|e| read_error(at.page(), offset, e))?;
        let Buffer::Page(mut ticket) = completion.buffer else { return Err(foreign(offset)) };
        self.verify(at, ticket.bytes_mut())?;
        Ok(ticket)
    }

    /// Reads and verifies a page past the frames.
    fn read_copy(&self, at: PageRef) -> Result<AlignedBuf> {
        let offset = self.offset(at.page());
        let buf = AlignedBuf::new(self.page_bytes(), ALIGN).map_err(|e| Error::io("read", offset, e))?;
        let completion = self.io.run(Request { op: Op::Read, offset, buffer: Buffer::Owned(buf) });
        completion.result.map_err(|e| read_error(at.page(), offset, e))?;
        let Buffer::Owned(copy) = completion.buffer else { return Err(foreign(offset)) };
        self.verify(at, &copy)?;
        Ok(copy)
    }

    /// Checks what was read before anyone sees it.
    pub(crate) fn verify(&self, at: PageRef, bytes: &[u8]) -> Result<()> {
        self.counts.pages_read.fetch_add(1, Ordering::Relaxed);
        verify_page(self.config.file_id, at, bytes)?;
        (self.config.validate)(bytes).map_err(|what| Error::Corrupt { page: at.page(), what })?;
        self.counts.pages_verified.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A completion that is not of the request it was asked for: a mistake of the pool's own.
pub(crate) fn foreign(offset: u64) -> Error {
    debug_assert!(false, "a request comes back with its own buffer");
    Error::io("read", offset, io::Error::other("the completion of another request"))
}

/// The error of a failed read: a file that ends too early is damage.
pub(crate) fn read_error(page: PageId, offset: u64, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::Corrupt { page, what: "the file ends before it does" };
    }
    Error::io("read", offset, error)
}

/// Checks a page that was verified before against what this parent expects of it.
#[inline]
pub(crate) fn matches(at: PageRef, bytes: &[u8]) -> Result<()> {
    let stored = bytes.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    if at.matches(stored) {
        return Ok(());
    }
    Err(Error::Corrupt { page: at.page(), what: "it is not the version its parent refers to" })
}
