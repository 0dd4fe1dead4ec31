//! Writing: pages and extents in few calls, and the cache put right afterwards.
//!
//! What is cached of a written place is dropped after the write, whether it succeeded or not, and loads in flight
//! are doomed: they may have read what was there before. Nobody looks at those places meanwhile, which is the
//! caller's promise (`PageSource::write`); only read-ahead and discards may blunder into them.
//!
//! Then the pages are put where they will be looked for. A page that replaces a cached one takes over its heat; any
//! other goes to the probationary queue as one that nobody has looked at yet.
#![forbid(unsafe_code)]

use crate::clock::Heat;
use crate::io::{Buffer, Op, Queue, Request, Sink};
use crate::shared::Shared;
use crate::staging::Staged;
use crate::ticket::{LoadingFrame, Ticket};
use crate::word::Begin;
use bifold_page_source::{Error, PageId, PageWrite, Result};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The longest single transfer, in bytes; a multiple of every page size.
const REQUEST_BYTES: usize = 1 << 20;

/// A transfer of so many bytes keeps a disk busy by itself. Its writer does it: to have several done at a time it would
/// wake threads, each of which takes a processor from whoever reads there, for longer than many gets take.
const LARGE: usize = 256 << 10;

/// Bytes for one place in the file, contiguous there but not in memory.
struct Stretch<'a> {
    offset: u64,
    parts: Vec<&'a [u8]>,
    len: usize,
}

/// What a page takes over from the one that it replaces.
#[derive(Clone, Copy, Debug)]
struct Legacy {
    heat: Heat,
    /// Used lately.
    used: bool,
    /// Nobody has looked at it yet.
    fresh: bool,
}

impl Legacy {
    /// Of a page that replaces none that was cached.
    const NEW: Self = Self { heat: Heat::Cold, used: false, fresh: true };
}

impl Shared {
    /// Writes pages, neighbours in one call, and keeps them in frames.
    ///
    /// # Errors
    /// I/O errors; nothing is retried.
    pub(crate) fn write_pages(self: &Arc<Self>, writes: &[PageWrite<'_>]) -> Result<()> {
        let size = self.page_bytes();
        for write in writes {
            self.check_place(write.at.page(), 1, write.bytes.len() == size)?;
        }
        let mut order: Vec<&PageWrite<'_>> = writes.iter().collect();
        order.sort_by_key(|write| write.at.page());
        let limit = self.longest_write();
        let mut stretches: Vec<Stretch<'_>> = Vec::new();
        for write in &order {
            let offset = self.offset(write.at.page());
            match stretches.last_mut() {
                Some(last) if last.offset + last.len as u64 == offset && last.len + size <= limit => {
                    last.parts.push(write.bytes);
                    last.len += size;
                }
                _ => stretches.push(Stretch { offset, parts: vec![write.bytes], len: size }),
            }
        }
        let result = self.transfer(&stretches);
        let (written, mut kept) = (result.is_ok(), 0);
        for write in order {
            let legacy = write.replaces.filter(|_| written).and_then(|page| self.bequeath(page));
            self.drop_cached(write.at.page());
            if written && self.keep(write, legacy) {
                kept += 1;
            }
        }
        self.counts.pages_kept.fetch_add(kept, Ordering::Relaxed);
        if written {
            self.counts.pages_written.fetch_add(writes.len() as u64, Ordering::Relaxed);
        }
        result
    }

    /// Writes whole pages of an extent from `at` on.
    ///
    /// # Errors
    /// As [`write_pages`](Self::write_pages).
    pub(crate) fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()> {
        let pages = (bytes.len() / self.page_bytes()) as u64;
        self.check_place(at, pages, bytes.len().is_multiple_of(self.page_bytes()))?;
        let limit = self.longest_write();
        let offsets = (self.offset(at)..).step_by(limit);
        let stretches: Vec<_> = offsets
            .zip(bytes.chunks(limit))
            .map(|(offset, part)| Stretch { offset, parts: vec![part], len: part.len() })
            .collect();
        let result = self.transfer(&stretches);
        self.memory.words.used(at..at.plus(pages)).for_each(|page| self.drop_cached(page));
        if result.is_ok() {
            self.counts.pages_written.fetch_add(pages, Ordering::Relaxed);
        }
        result
    }

    /// The longest single transfer in bytes, whole pages: past the page cache it needs a buffer.
    fn longest_write(&self) -> usize {
        if !self.device.is_direct() {
            return REQUEST_BYTES;
        }
        // Room for another writer's; a page always fits.
        let size = self.page_bytes();
        (REQUEST_BYTES.min(self.write_share / 2) / size * size).max(size)
    }

    /// Refuses what does not lie within the file, whole pages.
    fn check_place(&self, page: PageId, pages: u64, whole: bool) -> Result<()> {
        let end = page.get().saturating_add(pages);
        let what = if !whole {
            "not whole pages"
        } else if end > self.len.load(Ordering::Acquire) {
            "beyond the end of the file"
        } else {
            return Ok(());
        };
        Err(Error::io("write", self.offset(page), io::Error::new(io::ErrorKind::InvalidInput, what)))
    }

    /// Moves the bytes: through the page cache without copying, past it from aligned buffers, several transfers at
    /// a time.
    fn transfer(&self, stretches: &[Stretch<'_>]) -> Result<()> {
        if !self.device.is_direct() {
            for stretch in stretches {
                let parts: Vec<_> = stretch.parts.iter().map(|part| IoSlice::new(part)).collect();
                let written = self.device.write_buffered(&parts, stretch.offset);
                written.map_err(|e| Error::io("write", stretch.offset, e))?;
            }
            return Ok(());
        }
        let mut rest = stretches;
        while let Some(first) = rest.first() {
            let requests = self.stage(rest);
            if requests.is_empty() {
                return Err(Error::io("write", first.offset, io::ErrorKind::OutOfMemory.into()));
            }
            rest = &rest[requests.len()..];
            self.write_all(requests)?;
        }
        Ok(())
    }

    /// Copies the first few stretches into transfer buffers: one at least, for which it waits until other writers'
    /// transfers have ended, and as many more as there is room for. None only if a stretch is longer than all there is.
    fn stage(&self, stretches: &[Stretch<'_>]) -> Vec<Request> {
        let turn = self.staging_turn.lock();
        let mut staged = Vec::new();
        for stretch in stretches {
            let buffer = if staged.is_empty() {
                self.write_staging.wait_for(stretch.len)
            } else {
                self.write_staging.take(stretch.len)
            };
            let Some(buffer) = buffer else { break };
            staged.push((stretch, buffer));
        }
        drop(turn);
        let fill = |(stretch, mut buffer): (&Stretch<'_>, Staged)| {
            let mut rest = buffer.bytes_mut();
            for part in &stretch.parts {
                let (to, behind) = rest.split_at_mut(part.len());
                to.copy_from_slice(part);
                rest = behind;
            }
            Request { op: Op::Write, offset: stretch.offset, buffer: Buffer::Staged(buffer) }
        };
        staged.into_iter().map(fill).collect()
    }

    fn write_all(&self, mut requests: Vec<Request>) -> Result<()> {
        let error = |offset, e| Error::io("write", offset, e);
        let large = requests.extract_if(.., |request| request.buffer.bytes_mut().len() >= LARGE);
        let mut alone: Vec<_> = large.collect();
        if requests.len() == 1 {
            alone.append(&mut requests);
        }
        for request in alone {
            let completion = self.io.run(request);
            completion.result.map_err(|e| error(completion.offset, e))?;
        }
        if requests.is_empty() {
            return Ok(());
        }
        let (queue, count) = (Arc::new(Queue::default()), requests.len());
        let sink: Arc<dyn Sink> = Arc::<Queue>::clone(&queue);
        self.io.start(requests, &sink);
        let mut outcome = Ok(());
        for _ in 0..count {
            let completion = self.io.reap(&queue, Op::Write);
            outcome = outcome.and(completion.result.map_err(|e| error(completion.offset, e)));
        }
        outcome
    }

    /// What a page leaves to its successor, if it is cached. It is the next to go.
    fn bequeath(&self, page: PageId) -> Option<Legacy> {
        let word = self.memory.words.get(page)?.load();
        if !word.is_resident() {
            return None;
        }
        let mut clock = self.clock.lock();
        let heat = clock.heat(page, word.frame())?;
        clock.demote(&self.memory, page, word.frame());
        Some(Legacy { heat, used: word.is_used(), fresh: word.is_fresh() })
    }

    /// Keeps a page that was just written, if a frame is to be had. For the words of pages that nobody has asked for
    /// yet no more is given than a twentieth of the budget.
    fn keep(self: &Arc<Self>, write: &PageWrite<'_>, legacy: Option<Legacy>) -> bool {
        let page = write.at.page();
        let most = self.plan.translation.max(self.budget / 20);
        if legacy.is_none() && !self.memory.words.has_room_for(page, most) {
            return false;
        }
        let Ok(cell) = self.cell(page) else { return false };
        if !matches!(cell.begin_load(), Begin::Mine(_)) {
            return false;
        }
        let legacy = legacy.unwrap_or(Legacy::NEW);
        let mut ticket = Ticket::new(Arc::clone(self), write.at);
        let Some(frame) = self.clock.lock().take_for(&self.memory, page, legacy.heat) else { return false };
        ticket.fill(LoadingFrame::new(frame));
        ticket.bytes_mut().copy_from_slice(write.bytes);
        let kept = ticket.publish_as(legacy.fresh).is_some();
        if kept && legacy.used {
            cell.warm();
        }
        kept
    }

    /// Forgets what is cached of a place, and dooms a load of it.
    fn drop_cached(&self, page: PageId) {
        self.copies.forget(page);
        let Some(cell) = self.memory.words.get(page) else { return };
        if cell.doom() {
            return;
        }
        if let Some(before) = cell.detach() {
            let mut clock = self.clock.lock();
            if before.pins() == 0 {
                clock.drop_resident(before.frame());
            } else {
                // Only a pin that was leaked can be left here; its frame stays as it is for ever.
                clock.lose(before.frame());
            }
        }
        cell.forget();
    }

    /// Says that nobody will ask for these pages again. Pinned ones stay until they are unpinned.
    pub(crate) fn discard(&self, pages: Range<PageId>) {
        let end = pages.end.min(PageId::new(self.len.load(Ordering::Acquire)).unwrap_or(PageId::MAX));
        for page in self.memory.words.used(pages.start..end) {
            self.copies.forget(page);
            let Some(cell) = self.memory.words.get(page) else { continue };
            let word = cell.load();
            if word.is_resident() && (word.pins() > 0 || !cell.evict(word, 0)) {
                self.clock.lock().demote(&self.memory, page, word.frame());
            } else if word.is_resident() {
                self.clock.lock().drop_resident(word.frame());
            } else if !cell.doom() {
                cell.forget();
            }
        }
    }

    /// Makes the file at least `pages` pages long.
    ///
    /// # Errors
    /// `StorageFull`; `FileTooLarge` beyond what the translation was reserved for.
    pub(crate) fn grow(&self, pages: u64) -> Result<()> {
        if pages <= self.len.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one_at_a_time = self.resizing.lock();
        let now = self.len.load(Ordering::Acquire);
        if pages <= now {
            return Ok(());
        }
        let (shift, error) = (self.config.page_size.shift(), |offset, e| Error::io("grow", offset, e));
        let offset = now << shift;
        if pages > self.memory.words.capacity() {
            return Err(error(offset, io::ErrorKind::FileTooLarge.into()));
        }
        self.device.file().allocate(offset, (pages - now) << shift).map_err(|e| error(offset, e))?;
        self.len.store(pages, Ordering::Release);
        Ok(())
    }

    /// Cuts the file to `pages` pages and forgets those beyond.
    ///
    /// # Errors
    /// I/O errors; the length is then as it was.
    pub(crate) fn shrink(&self, pages: u64) -> Result<()> {
        let _one_at_a_time = self.resizing.lock();
        let now = self.len.load(Ordering::Acquire);
        if pages >= now {
            return Ok(());
        }
        self.len.store(pages, Ordering::Release);
        let offset = pages << self.config.page_size.shift();
        if let Err(e) = self.device.file().set_len(offset) {
            self.len.store(now, Ordering::Release);
            return Err(Error::io("shrink", offset, e));
        }
        if let Some(first) = PageId::new(pages) {
            self.memory.words.used(first..first.plus(now - pages)).for_each(|page| self.drop_cached(page));
        }
        Ok(())
    }
}
