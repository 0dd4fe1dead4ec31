//! From frame numbers to bytes: the three moments at which a frame may be looked at or written.
//!
//! 1. *Seen in an epoch*: a word showed the page in the frame while this participant was inside. Whoever evicts the
//!    page leaves the frame alone until the participant has left (`epoch.rs`, `Clock::reclaim`).
//! 2. *Pinned*: the word counts the pin, and a pinned page is not evicted; one detached all the same loses its frame
//!    for ever (`Clock::lose`).
//! 3. *Loading*: the frame was taken from the clock and not yet published: it is its ticket's alone.
#![expect(unsafe_code, reason = "frames as slices, by the rules above")]

use crate::clock::Memory;
use crate::epoch::Participant;
use crate::pin::FramePin;
use crate::ticket::LoadingFrame;
use crate::word::Word;
use bifold_page_source::PageId;

/// A frame that was seen to hold a page, inside an epoch that has not been left since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(u32);

impl Seen {
    pub(crate) const fn frame(self) -> u32 {
        self.0
    }
}

/// Looks a page up.
#[inline]
pub(crate) fn find(memory: &Memory, page: PageId, _inside: &Participant<'_>) -> Option<(Seen, Word)> {
    let word = memory.words.get(page)?.load();
    word.is_resident().then(|| (Seen(word.frame()), word))
}

/// What [`find`] found, again: a page that the caller has just published from inside `_inside`.
pub(crate) const fn just_published(frame: u32, _inside: &Participant<'_>) -> Seen {
    Seen(frame)
}

/// The bytes of a page seen from `inside`, good until it is left.
#[inline]
pub(crate) fn seen<'v>(memory: &Memory, seen: Seen, _inside: &'v Participant<'_>) -> &'v [u8] {
    // SAFETY: moment 1. Suspending takes `&mut Participant`, so a `Seen` from before a suspension is not used here:
    // its users (`visit.rs`, `batch.rs`) look up and show within one borrow of the participant.
    unsafe { memory.arena.bytes(seen.0) }
}

/// The bytes of a pinned frame.
#[inline]
pub(crate) fn pinned<'p>(memory: &Memory, pin: &'p FramePin<'_>) -> &'p [u8] {
    // SAFETY: moment 2: the pin lives as long as the borrow of it.
    unsafe { memory.arena.bytes(pin.frame()) }
}

/// The bytes of a frame that is being filled.
pub(crate) fn loading<'t>(memory: &Memory, frame: &'t mut LoadingFrame) -> &'t mut [u8] {
    // SAFETY: moment 3: there is one `LoadingFrame` for a frame, it cannot be cloned, and it is given up before the
    // frame is published or put back.
    unsafe { memory.arena.bytes_mut(frame.number()) }
}
