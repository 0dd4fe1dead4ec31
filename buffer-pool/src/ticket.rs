//! A load in flight: the right and the duty to end it.
//!
//! Between `begin_load` and its end a page is in state *loading* and others may be parked on it. A ticket ends the
//! load whatever happens: published, or, when it is dropped (an error, a panic, a pool shut down), abandoned.
#![forbid(unsafe_code)]

use crate::access::{self, Seen};
use crate::epoch::Participant;
use crate::shared::Shared;
use bifold_page_source::PageRef;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A frame taken for a load and visible to nobody else.
#[derive(Debug)]
pub(crate) struct LoadingFrame(u32);

impl LoadingFrame {
    /// `frame` comes from the clock, just taken.
    pub(crate) const fn new(frame: u32) -> Self {
        Self(frame)
    }

    pub(crate) const fn number(&self) -> u32 {
        self.0
    }
}

/// The load of one page.
#[derive(Debug)]
pub(crate) struct Ticket {
    shared: Arc<Shared>,
    at: PageRef,
    /// `None` until a frame was found, and after the load has ended.
    frame: Option<LoadingFrame>,
    ended: bool,
    /// Whether this counts as a read-ahead in flight.
    ahead: bool,
}

impl Ticket {
    /// A ticket for a load that the caller has just begun.
    pub(crate) fn new(shared: Arc<Shared>, at: PageRef) -> Self {
        Self { shared, at, frame: None, ended: false, ahead: false }
    }

    /// Gives it the frame to fill.
    pub(crate) fn fill(&mut self, frame: LoadingFrame) {
        debug_assert!(self.frame.is_none(), "one frame for a load");
        self.frame = Some(frame);
    }

    /// Makes it count as a read-ahead; the caller has counted it.
    pub(crate) fn is_ahead(&mut self) {
        self.ahead = true;
    }

    /// The page that is loaded.
    pub(crate) fn at(&self) -> PageRef {
        self.at
    }

    /// The frame's bytes; none before there is a frame.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.frame {
            Some(frame) => access::loading(&self.shared.memory, frame),
            None => &mut [],
        }
    }

    /// Makes the page visible. `None` if the load was doomed: it is abandoned, and the page to be looked for anew.
    /// Being inside before it is visible, the caller certainly sees it.
    pub(crate) fn publish(self, inside: &Participant<'_>) -> Option<Seen> {
        self.publish_as(false).map(|frame| access::just_published(frame, inside))
    }

    /// As [`publish`](Self::publish), for a page that nobody has asked for yet if `fresh`.
    pub(crate) fn publish_as(mut self, fresh: bool) -> Option<u32> {
        let branch = is_branch(self.bytes_mut());
        let number = self.frame.as_ref()?.number();
        let memory = &self.shared.memory;
        if let Some(flag) = memory.branches.get(number as usize) {
            flag.store(u8::from(branch), Ordering::Relaxed);
        }
        let before = memory.words.get(self.at.page())?.publish(number, fresh, 0)?;
        self.ended = true;
        self.frame = None;
        if before.is_waited() {
            self.shared.parking.wake(self.at.page());
        }
        Some(number)
    }
}

/// Whether a page is a branch: its level, in the header's byte 14, is above zero.
fn is_branch(page: &[u8]) -> bool {
    page.get(14).is_some_and(|&level| level > 0)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.ahead {
            self.shared.ahead.fetch_sub(1, Ordering::Relaxed);
        }
        if self.ended {
            return;
        }
        if let Some(frame) = self.frame.take() {
            self.shared.clock.lock().put_back(&self.shared.memory, frame.number());
        }
        let page = self.at.page();
        if let Some(cell) = self.shared.memory.words.get(page)
            && cell.abandon().is_waited()
        {
            self.shared.parking.wake(page);
        }
    }
}
