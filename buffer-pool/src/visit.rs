//! Visits: the scope of one operation, one epoch entry long.
#![forbid(unsafe_code)]

use crate::access::{self, Seen};
use crate::aligned::AlignedBuf;
use crate::epoch::Participant;
use crate::pin::{FramePin, PoolPin};
use crate::shared::{Loaded, Shared, matches};
use crate::word::Word;
use bifold_page_source::{
    Error, PageId, PageRef, Result, Visit, prefetch_ends, prefetch_held, prefetch_viewed,
};
use std::sync::Arc;

/// One operation's scope. A resident page costs a load of its word and no atomic read-modify-write; a miss leaves
/// the epoch for as long as it reads.
#[derive(Debug)]
pub struct PoolVisit<'s> {
    shared: &'s Arc<Shared>,
    inside: Participant<'s>,
    /// The page shown last, if no frame could be had for it.
    copy: Option<AlignedBuf>,
    /// The page that this visit was the first to look at: looking again within the visit is not a second use.
    first_look: Option<PageId>,
}

/// What became of an attempt to pin.
enum Pinning<'s> {
    Pinned(FramePin<'s>),
    /// Resident, but not to be pinned.
    Full(Seen),
    Absent,
}

impl<'s> PoolVisit<'s> {
    #[inline]
    pub(crate) fn new(shared: &'s Arc<Shared>) -> Self {
        Self { shared, inside: shared.participate(), copy: None, first_look: None }
    }

    /// Marks a page used that does not carry the mark.
    #[cold]
    fn touch(&mut self, page: PageId, word: Word) {
        if self.first_look != Some(page)
            && let Some(cell) = self.shared.memory.words.get(page)
        {
            if word.is_fresh() {
                self.first_look = Some(page);
            }
            cell.touch(word);
        }
    }

    #[cold]
    fn load(&mut self, at: PageRef) -> Result<Loaded> {
        self.first_look = Some(at.page());
        self.shared.load(at, &mut self.inside)
    }

    /// Adds a pin to a resident page.
    fn pin(&self, page: PageId) -> Pinning<'s> {
        let (shared, mut credit) = (self.shared.as_ref(), false);
        let pinned = loop {
            let Some((seen, word)) = access::find(&shared.memory, page, &self.inside) else {
                break Pinning::Absent;
            };
            // Before the count goes up: no load overtakes that.
            prefetch_held(access::seen(&shared.memory, seen, &self.inside));
            if word.pins() == 0 && !credit {
                credit = shared.credits.take();
            }
            let Some(cell) = shared.memory.words.get(page) else { break Pinning::Absent };
            if !word.is_pinnable() || (word.pins() == 0 && !credit) {
                break Pinning::Full(seen);
            }
            if cell.pin(word, self.first_look != Some(page)) {
                // The credit belongs to the frame's first pin.
                credit &= word.pins() > 0;
                break Pinning::Pinned(FramePin::new(shared, page, seen.frame()));
            }
        };
        if credit {
            shared.credits.give();
        }
        pinned
    }

    /// A copy of a page that is in sight, for the user.
    fn copy_out(&self, at: PageRef, seen: Seen) -> Result<PoolPin<'s>> {
        let bytes = access::seen(&self.shared.memory, seen, &self.inside);
        matches(at, bytes)?;
        let copy = self.shared.copy_out(at.page(), bytes);
        copy.map(PoolPin::of_copy).map_err(|e| Error::io("copy", self.shared.offset(at.page()), e))
    }
}

impl<'s> Visit for PoolVisit<'s> {
    type Pin = PoolPin<'s>;

    #[inline]
    fn view(&mut self, at: PageRef) -> Result<&[u8]> {
        let seen = match access::find(&self.shared.memory, at.page(), &self.inside) {
            Some((seen, word)) => {
                if !word.is_used() {
                    self.touch(at.page(), word);
                }
                seen
            }
            None => match self.load(at)? {
                Loaded::Seen(seen) => seen,
                Loaded::Copy(copy) => return Ok(self.copy.insert(copy)),
            },
        };
        let bytes = access::seen(&self.shared.memory, seen, &self.inside);
        prefetch_viewed(bytes);
        matches(at, bytes)?;
        Ok(bytes)
    }

    #[inline]
    fn soon(&mut self, at: PageRef) {
        if let Some((seen, _)) = access::find(&self.shared.memory, at.page(), &self.inside) {
            prefetch_ends(access::seen(&self.shared.memory, seen, &self.inside));
        }
    }

    fn hold(&mut self, at: PageRef) -> Result<PoolPin<'s>> {
        let page = at.page();
        let mut seen = None;
        loop {
            match (self.pin(page), seen) {
                (Pinning::Pinned(pin), _) => {
                    let pin = PoolPin::of_frame(pin);
                    return matches(at, &pin).map(|()| pin);
                }
                (Pinning::Full(seen), _) | (Pinning::Absent, Some(seen)) => return self.copy_out(at, seen),
                (Pinning::Absent, None) => {}
            }
            if let Some(copy) = self.shared.copies.get(page) {
                return matches(at, &copy).map(|()| PoolPin::of_copy(copy));
            }
            match self.load(at)? {
                Loaded::Seen(loaded) => seen = Some(loaded),
                Loaded::Copy(copy) => return Ok(PoolPin::of_copy(self.shared.share_copy(page, copy))),
            }
        }
    }
}
