//! The translation word of one page: a short state machine in 64 bits, changed only by compare-and-swap.
//!
//! ```text
//! absent --begin_load--> loading --publish--> resident --evict (no pins)--> absent
//!                        loading --abandon--> absent    resident --detach--> absent
//!                        loading --doom--> loading, doomed: only `abandon` is left
//! ```
//! All zero means absent, so an array of words costs nothing until touched. An absent word may remember when its
//! page was evicted (the ghost entry of S3-FIFO, Yang et al., SOSP 2023, kept without memory of its own).
//!
//! | bits | meaning |
//! | --- | --- |
//! | 0-31 | resident: the frame; absent: the ghost stamp, 0 for none |
//! | 32-33 | state: 0 absent, 1 loading, 2 resident |
//! | 34 | used: touched again since the clock last passed |
//! | 35 | fresh: brought by a read-ahead, nobody has looked yet |
//! | 36 | doomed: what the load brings is to be dropped |
//! | 37 | waited: someone is parked on the load |
//! | 40-63 | pins |
//!
//! `loom_tests.rs` explores these transitions together with the epoch.
#![forbid(unsafe_code)]

use bifold_page_source::sync::atomic::{AtomicU64, Ordering};

const LOW: u64 = (1 << 32) - 1;
const STATE: u64 = 3 << 32;
const LOADING: u64 = 1 << 32;
const RESIDENT: u64 = 2 << 32;
const USED: u64 = 1 << 34;
const FRESH: u64 = 1 << 35;
const DOOMED: u64 = 1 << 36;
const WAITED: u64 = 1 << 37;
const PIN: u64 = 1 << 40;
/// A page pinned this often is not pinned again.
const PINS_MAX: u64 = (1 << 24) - 1;

/// The value of a word at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word(u64);

impl Word {
    const fn state(self) -> u64 {
        self.0 & STATE
    }

    pub(crate) const fn is_absent(self) -> bool {
        self.state() == 0
    }

    pub(crate) const fn is_loading(self) -> bool {
        self.state() == LOADING
    }

    pub(crate) const fn is_resident(self) -> bool {
        self.state() == RESIDENT
    }

    /// Whether the page is resident in this very frame.
    pub(crate) const fn shows(self, frame: u32) -> bool {
        self.is_resident() && self.frame() == frame
    }

    /// The frame; meaningful only while resident.
    pub(crate) const fn frame(self) -> u32 {
        (self.0 & LOW) as u32
    }

    pub(crate) const fn is_used(self) -> bool {
        self.0 & USED != 0
    }

    pub(crate) const fn is_fresh(self) -> bool {
        self.0 & FRESH != 0
    }

    pub(crate) const fn is_waited(self) -> bool {
        self.0 & WAITED != 0
    }

    pub(crate) const fn pins(self) -> u64 {
        self.0 / PIN
    }

    pub(crate) const fn is_pinnable(self) -> bool {
        self.is_resident() && self.pins() < PINS_MAX
    }

    /// The ghost stamp of an absent page, 0 for none.
    pub(crate) const fn ghost(self) -> u32 {
        if self.is_absent() { (self.0 & LOW) as u32 } else { 0 }
    }

    /// The first touch of a read-ahead page only takes `fresh` away: a page that a scan passes once stays cold.
    const fn touched(self) -> Self {
        if self.0 & FRESH != 0 { Self(self.0 & !FRESH) } else { Self(self.0 | USED) }
    }
}

/// What a loader found in the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    /// The page is resident in this frame.
    Resident(u32),
    /// Another thread is loading it.
    Busy,
    /// The load is the caller's: it must end in `publish` or `abandon`. Holds the ghost stamp found.
    Mine(u32),
}

/// One word in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell<'a>(&'a AtomicU64);

impl<'a> Cell<'a> {
    pub(crate) const fn new(word: &'a AtomicU64) -> Self {
        Self(word)
    }

    /// Sequentially consistent: together with the epoch's entry it forms the store-load pair that lets an evictor
    /// know who may still look (see `epoch.rs`). On x86 a plain load.
    #[inline]
    pub(crate) fn load(self) -> Word {
        Word(self.0.load(Ordering::SeqCst))
    }

    fn swap_if(self, old: Word, new: Word) -> bool {
        self.0.compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Applies `change` until it takes or refuses. Returns the word it was applied to.
    fn update(self, change: impl Fn(Word) -> Option<Word>) -> Option<Word> {
        let mut word = self.load();
        loop {
            let new = change(word)?;
            match self.0.compare_exchange_weak(word.0, new.0, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Some(word),
                Err(now) => word = Word(now),
            }
        }
    }

    /// Takes the load of an absent page.
    pub(crate) fn begin_load(self) -> Begin {
        loop {
            let word = self.load();
            if word.is_resident() {
                return Begin::Resident(word.frame());
            } else if word.is_loading() {
                return Begin::Busy;
            } else if self.swap_if(word, Word(LOADING)) {
                return Begin::Mine(word.ghost());
            }
        }
    }

    /// Ends the caller's load: the page becomes visible in `frame`, with `pins` pins. `None` if the load was
    /// doomed, and the word is as it was. Otherwise the word before, which says whether someone is parked.
    pub(crate) fn publish(self, frame: u32, fresh: bool, pins: u64) -> Option<Word> {
        let new = RESIDENT | u64::from(frame) | if fresh { FRESH } else { 0 } | (pins * PIN);
        self.update(|word| {
            debug_assert!(word.is_loading(), "only the loader ends a load");
            (word.0 & DOOMED == 0).then_some(Word(new))
        })
    }

    /// Ends the caller's load without a page. Returns the word before.
    pub(crate) fn abandon(self) -> Word {
        let before = Word(self.0.swap(0, Ordering::SeqCst));
        debug_assert!(before.is_loading(), "only the loader ends a load");
        before
    }

    /// Dooms a load in flight. `false` if there is none.
    pub(crate) fn doom(self) -> bool {
        self.update(|word| word.is_loading().then_some(Word(word.0 | DOOMED))).is_some()
    }

    /// Says that the caller is going to park. `false` if the load has ended.
    pub(crate) fn announce_wait(self) -> bool {
        self.update(|word| word.is_loading().then_some(Word(word.0 | WAITED))).is_some()
    }

    /// Evicts an unpinned resident page, unless anything happened to the word since `seen`.
    pub(crate) fn evict(self, seen: Word, ghost: u32) -> bool {
        debug_assert!(seen.is_resident() && seen.pins() == 0, "a pinned page is never evicted");
        self.swap_if(seen, Word(u64::from(ghost)))
    }

    /// Drops a resident page whatever pins it. Returns the word before, if it was resident.
    pub(crate) fn detach(self) -> Option<Word> {
        self.update(|word| word.is_resident().then_some(Word(0)))
    }

    /// Forgets a ghost.
    pub(crate) fn forget(self) {
        let word = self.load();
        if word.ghost() != 0 {
            self.swap_if(word, Word(0));
        }
    }

    /// Marks a use; called only when `seen` does not carry the mark yet. Losing a race loses nothing that matters.
    #[inline]
    pub(crate) fn touch(self, seen: Word) {
        debug_assert!(seen.is_resident(), "only a resident page is used");
        self.swap_if(seen, seen.touched());
    }

    /// Takes the mark of use away. `false` if the word has changed since `seen`.
    pub(crate) fn cool(self, seen: Word) -> bool {
        self.swap_if(seen, Word(seen.0 & !USED))
    }

    /// Marks a use that another page's heat is the reason for.
    pub(crate) fn warm(self) {
        self.update(|word| word.is_resident().then_some(Word(word.0 | USED)));
    }

    /// Adds a pin to what `seen` shows. `false` if the word has changed meanwhile.
    pub(crate) fn pin(self, seen: Word, touch: bool) -> bool {
        debug_assert!(seen.is_pinnable(), "the caller looked");
        let pinned = Word(seen.0 + PIN);
        self.swap_if(seen, if touch { pinned.touched() } else { pinned })
    }

    /// Takes a pin of `frame` away. Returns how many are left, or `None` if the page was detached: the frame then
    /// belongs to nobody and is never used again.
    pub(crate) fn unpin(self, frame: u32) -> Option<u64> {
        let before =
            self.update(|word| (word.shows(frame) && word.pins() > 0).then_some(Word(word.0 - PIN)))?;
        Some(before.pins() - 1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_round_its_states() {
        let word = AtomicU64::new(0);
        let cell = Cell::new(&word);
        assert_eq!(cell.begin_load(), Begin::Mine(0));
        assert_eq!(cell.begin_load(), Begin::Busy);
        assert!(cell.publish(7, false, 0).is_some());
        assert_eq!(cell.begin_load(), Begin::Resident(7));
        let seen = cell.load();
        assert!(cell.pin(seen, false));
        assert!(!cell.evict(seen, 3), "the word has changed");
        assert_eq!(cell.unpin(7), Some(0));
        assert!(cell.evict(cell.load(), 3));
        assert_eq!(cell.begin_load(), Begin::Mine(3), "the ghost is remembered");
    }

    #[test]
    fn a_doomed_load_publishes_nothing() {
        let word = AtomicU64::new(0);
        let cell = Cell::new(&word);
        assert!(!cell.doom());
        cell.begin_load();
        assert!(cell.announce_wait());
        assert!(cell.doom());
        assert!(cell.publish(1, false, 0).is_none());
        assert!(cell.abandon().is_waited());
        assert!(cell.load().is_absent());
    }

    #[test]
    fn the_first_touch_of_a_page_read_ahead_leaves_it_cold() {
        let word = AtomicU64::new(0);
        let cell = Cell::new(&word);
        cell.begin_load();
        cell.publish(1, true, 0);
        cell.touch(cell.load());
        assert!(!cell.load().is_used());
        cell.touch(cell.load());
        assert!(cell.load().is_used());
    }

    #[test]
    fn a_pin_of_a_detached_page_changes_nothing() {
        let word = AtomicU64::new(0);
        let cell = Cell::new(&word);
        cell.begin_load();
        cell.publish(5, false, 1);
        assert!(cell.detach().is_some_and(|w| w.pins() == 1));
        cell.begin_load();
        cell.publish(6, false, 1);
        assert_eq!(cell.unpin(5), None);
        assert_eq!(cell.load().pins(), 1);
    }

    #[test]
    fn pins_saturate() {
        let word = AtomicU64::new(RESIDENT | ((PINS_MAX - 1) * PIN));
        let cell = Cell::new(&word);
        assert!(cell.load().is_pinnable());
        assert!(cell.pin(cell.load(), true));
        assert!(!cell.load().is_pinnable());
    }
}
