//! Pins: pages kept beyond a visit.
//!
//! A pin is one count in the page's word, which keeps its frame from eviction. Once half of the frames are pinned,
//! or one page's count is full, the pin owns a copy instead, shared by all who hold that page: what users hold
//! never stops eviction of anything else.
#![forbid(unsafe_code)]

use crate::access;
use crate::aligned::AlignedBuf;
use crate::device::ALIGN;
use crate::shared::Shared;
use bifold_page_source::PageId;
use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One pin count on one frame.
pub(crate) struct FramePin<'s> {
    shared: &'s Shared,
    page: PageId,
    frame: u32,
}

impl<'s> FramePin<'s> {
    /// Takes over a pin that was just counted.
    pub(crate) fn new(shared: &'s Shared, page: PageId, frame: u32) -> Self {
        Self { shared, page, frame }
    }

    pub(crate) fn frame(&self) -> u32 {
        self.frame
    }

    /// A second pin of the frame, or `None` if no more are counted.
    fn again(&self) -> Option<Self> {
        let cell = self.shared.memory.words.get(self.page)?;
        loop {
            let word = cell.load();
            if !(word.shows(self.frame) && word.is_pinnable()) {
                return None;
            }
            if cell.pin(word, false) {
                return Some(Self { ..*self });
            }
        }
    }
}

impl Drop for FramePin<'_> {
    fn drop(&mut self) {
        let cell = self.shared.memory.words.get(self.page);
        if cell.and_then(|cell| cell.unpin(self.frame)) == Some(0) {
            self.shared.credits.give();
        }
    }
}

/// A page kept beyond a visit. Cheap to clone; derefs to the whole page.
///
/// Leaking one (`mem::forget`) costs its frame and nothing else.
pub struct PoolPin<'s>(Kind<'s>);

enum Kind<'s> {
    Frame(FramePin<'s>),
    Copy(Arc<AlignedBuf>),
}

impl<'s> PoolPin<'s> {
    pub(crate) fn of_frame(pin: FramePin<'s>) -> Self {
        Self(Kind::Frame(pin))
    }

    pub(crate) fn of_copy(copy: Arc<AlignedBuf>) -> Self {
        Self(Kind::Copy(copy))
    }
}

impl Shared {
    /// Hands out a copy of a page, the one that others hold if there is one.
    pub(crate) fn share_copy(&self, page: PageId, copy: AlignedBuf) -> Arc<AlignedBuf> {
        let len = copy.len() as u64;
        let (copy, new) = self.copies.share(page, copy);
        if new {
            self.counts.bytes_copied_out.fetch_add(len, Ordering::Relaxed);
        }
        copy
    }

    /// Copies a page for a user to hold.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn copy_out(&self, page: PageId, bytes: &[u8]) -> io::Result<Arc<AlignedBuf>> {
        if let Some(copy) = self.copies.get(page) {
            return Ok(copy);
        }
        let mut copy = AlignedBuf::new(bytes.len(), ALIGN.min(bytes.len()))?;
        copy.copy_from_slice(bytes);
        Ok(self.share_copy(page, copy))
    }
}

impl Deref for PoolPin<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Frame(pin) => access::pinned(&pin.shared.memory, pin),
            Kind::Copy(copy) => copy,
        }
    }
}

impl Clone for PoolPin<'_> {
    fn clone(&self) -> Self {
        let pin = match &self.0 {
            Kind::Copy(copy) => return Self::of_copy(Arc::clone(copy)),
            Kind::Frame(pin) => pin,
        };
        if let Some(pin) = pin.again() {
            return Self::of_frame(pin);
        }
        match pin.shared.copy_out(pin.page, self) {
            Ok(copy) => Self::of_copy(copy),
            Err(_) => handle_alloc_error(Layout::for_value::<[u8]>(self)),
        }
    }
}

impl fmt::Debug for PoolPin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Frame(_) => "frame",
            Kind::Copy(_) => "copy",
        };
        f.debug_tuple("PoolPin").field(&kind).finish()
    }
}
