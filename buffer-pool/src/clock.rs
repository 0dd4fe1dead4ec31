//! Which frame goes next: a probationary queue before a clock.
//!
//! A page first loaded is *cold* and waits in a queue; touched again before it comes to the queue's front it becomes
//! *hot*, otherwise it is evicted. While more than a tenth of the frames are cold only they are evicted, so a scan,
//! however long, passes through the queue and leaves the hot pages alone. Hot pages are aged by a clock with a few
//! lives each (GCLOCK; branches have more, and are never evicted from the queue untouched). A page that comes back
//! soon after its eviction is hot at once: its word remembers when it went. The queue and the ghosts are those of
//! S3-FIFO (Yang et al., SOSP 2023) and 2Q (Johnson and Shasha, VLDB 1994). A page kept when it was written is cold
//! too, so a checkpoint of any size passes like a scan.
//!
//! An evicted frame goes to *limbo*, and is free once everybody has left who may have seen its page.
//! Everything here happens under one lock, which is never held over I/O.
#![forbid(unsafe_code)]

use crate::arena::Arena;
use crate::epoch::Domain;
use crate::translation::Translation;
use crate::word::{Cell, Word};
use bifold_page_source::PageId;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Frames evicted at once; fewer in a pool of few frames.
const BATCH: usize = 64;
/// Frames looked at for each page to be evicted.
const STEPS: usize = 32;
const LEAF_LIVES: u8 = 1;
const BRANCH_LIVES: u8 = 6;

/// What the clock decides about: the frames' memory and who may look at it.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) words: Translation,
    pub(crate) arena: Arena,
    pub(crate) epochs: Domain,
    /// For each frame, whether its page is a branch; written before the page is published.
    pub(crate) branches: Box<[AtomicU8]>,
    /// Pages evicted to make room.
    pub(crate) evictions: AtomicU64,
}

impl Memory {
    fn lives(&self, frame: u32) -> u8 {
        let branch = self.branches.get(frame as usize).is_some_and(|b| b.load(Ordering::Relaxed) != 0);
        if branch { BRANCH_LIVES } else { LEAF_LIVES }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// Free, in limbo, or lost to a pin that was never dropped.
    Vacant,
    Cold,
    Hot,
    /// Given up: its memory is the system's again.
    Retired,
}

/// How often a page was used, as far as the clock knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heat {
    Cold,
    Hot,
}

/// What the clock spares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mercy {
    /// Used pages, and those with lives left.
    Lives,
    Branches,
    None,
}

#[derive(Clone, Copy, Debug)]
struct Meta {
    /// Whose page the frame holds or is to hold; meaningful while cold or hot.
    owner: PageId,
    class: Class,
    lives: u8,
    /// Whether the frame has an entry in the cold queue, maybe a stale one.
    queued: bool,
}

/// All frames, by what becomes of them.
#[derive(Debug)]
pub(crate) struct Clock {
    /// Of the frames used so far; frames are first used in order.
    frames: Vec<Meta>,
    free: Vec<u32>,
    cold: VecDeque<u32>,
    hot: usize,
    hand: u32,
    /// Evicted since the epoch was last closed.
    open: Vec<u32>,
    /// Evicted before, oldest first, and the tags and sizes of the batches they form.
    limbo: VecDeque<u32>,
    batches: VecDeque<(u64, usize)>,
    /// Frames from here on are given up, or about to be.
    limit: u32,
    retired: u32,
    batch: usize,
    /// Pages evicted that left a ghost: the ghosts' clock.
    ghosts: u64,
}

impl Clock {
    pub(crate) fn new(frames: u32) -> Self {
        Self {
            frames: Vec::with_capacity(frames as usize),
            free: Vec::new(),
            cold: VecDeque::new(),
            hot: 0,
            hand: 0,
            open: Vec::new(),
            limbo: VecDeque::new(),
            batches: VecDeque::new(),
            limit: frames,
            retired: 0,
            batch: BATCH.min(frames as usize / 8).max(1),
            ghosts: 0,
        }
    }

    /// Frames that hold memory now.
    pub(crate) fn populated(&self) -> u32 {
        self.frames.len() as u32 - self.retired
    }

    /// Those of `all` frames that were not given up.
    pub(crate) fn kept(&self, all: u32) -> u32 {
        all - self.retired
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// The ghost stamp of a page evicted now: time counted in eighths of the cache.
    fn stamp(&self) -> u32 {
        let age = self.ghosts / u64::from(self.limit / 8).max(1);
        (age % u64::from(u16::MAX)) as u32 + 1
    }

    /// Whether a page with this stamp was evicted no longer ago than it takes to fill the cache.
    fn is_recent(&self, stamp: u32) -> bool {
        let modulus = u32::from(u16::MAX);
        stamp != 0 && (self.stamp() + modulus - stamp) % modulus <= 8
    }

    /// Evicts an unpinned page from its frame. A page that nobody ever looked at (read ahead, or kept when it was
    /// written) leaves no ghost: its first look is not a return.
    fn let_go(&mut self, cell: Cell<'_>, word: Word, stamp: u32) -> bool {
        let gone = cell.evict(word, if word.is_fresh() { 0 } else { stamp });
        if gone {
            self.drop_resident(word.frame());
            self.ghosts += u64::from(!word.is_fresh());
        }
        gone
    }

    /// A frame for `page`, which the caller is loading; `ghost` is what its word remembered. `None` if none can
    /// be had now: all are pinned, loading, or still in somebody's sight.
    pub(crate) fn take(&mut self, memory: &Memory, page: PageId, ghost: u32) -> Option<u32> {
        let heat = if self.is_recent(ghost) { Heat::Hot } else { Heat::Cold };
        let frame = self.vacant(memory)?;
        self.occupy(frame, page, heat);
        Some(frame)
    }

    /// As [`take`](Self::take), for a page of known heat.
    pub(crate) fn take_for(&mut self, memory: &Memory, page: PageId, heat: Heat) -> Option<u32> {
        let frame = self.vacant(memory)?;
        self.occupy(frame, page, heat);
        Some(frame)
    }

    fn vacant(&mut self, memory: &Memory) -> Option<u32> {
        if self.free.is_empty() && (self.frames.len() as u32) < self.limit {
            let frame = self.frames.len() as u32;
            let class = Class::Vacant;
            self.frames.push(Meta { owner: PageId::default(), class, lives: 0, queued: false });
            return Some(frame);
        }
        // Evict ahead of need, so that limbo has passed when the frames are wanted; but not without end while
        // somebody holds the epoch back.
        let waiting = self.limbo.len() + self.open.len();
        if self.free.len() + waiting <= self.batch / 2 || (self.free.is_empty() && waiting <= 2 * self.batch)
        {
            self.evict(memory);
        }
        if self.free.is_empty() {
            self.reclaim(memory);
        }
        self.free.pop()
    }

    fn occupy(&mut self, frame: u32, page: PageId, heat: Heat) {
        let meta = &mut self.frames[frame as usize];
        debug_assert_eq!(meta.class, Class::Vacant, "a frame is taken once");
        meta.owner = page;
        match heat {
            Heat::Hot => {
                meta.class = Class::Hot;
                meta.lives = LEAF_LIVES; // what it is, is not known before it has come
                self.hot += 1;
            }
            Heat::Cold => {
                meta.class = Class::Cold;
                self.enqueue(frame);
            }
        }
    }

    fn enqueue(&mut self, frame: u32) {
        let meta = &mut self.frames[frame as usize];
        if !meta.queued {
            meta.queued = true;
            self.cold.push_back(frame);
        }
    }

    /// Empties the records of a frame whose page is gone.
    fn vacate(&mut self, frame: u32) {
        let meta = &mut self.frames[frame as usize];
        if meta.class == Class::Hot {
            self.hot -= 1;
        }
        meta.class = Class::Vacant;
    }

    /// Takes back a frame that nobody ever saw.
    pub(crate) fn put_back(&mut self, memory: &Memory, frame: u32) {
        self.vacate(frame);
        self.release(memory, frame);
    }

    /// Takes back a frame whose page was just made absent, and which others may still look at.
    pub(crate) fn drop_resident(&mut self, frame: u32) {
        self.vacate(frame);
        self.open.push(frame);
    }

    /// Writes a frame off: a pin on it was never dropped, and its page is another's now.
    pub(crate) fn lose(&mut self, frame: u32) {
        self.vacate(frame);
    }

    fn release(&mut self, memory: &Memory, frame: u32) {
        if frame < self.limit { self.free.push(frame) } else { self.retire(memory, frame) }
    }

    /// Frees what is in limbo as far as nobody can see it any more.
    fn reclaim(&mut self, memory: &Memory) {
        if !self.open.is_empty() {
            let tag = memory.epochs.close();
            self.batches.push_back((tag, self.open.len()));
            self.limbo.extend(self.open.drain(..));
        }
        if self.batches.is_empty() {
            return;
        }
        let oldest = memory.epochs.oldest();
        while self.batches.front().is_some_and(|&(tag, _)| tag < oldest) {
            let count = self.batches.pop_front().map_or(0, |(_, count)| count);
            for _ in 0..count {
                if let Some(frame) = self.limbo.pop_front() {
                    self.release(memory, frame);
                }
            }
        }
    }

    /// Evicts a batch: from the queue while it is longer than its share, else from the clock. How many frames are
    /// looked at is bounded, lest one miss pay for the ageing of a whole cache: when that does not yield a batch, the
    /// next leaves go however warm they are, then branches.
    fn evict(&mut self, memory: &Memory) {
        let (frames, share) = (self.frames.len(), self.limit as usize / 10);
        let mut rest = self.batch;
        let surplus = self.cold.len().saturating_sub(share);
        rest -= self.evict_cold(memory, rest.min(surplus), STEPS * self.batch);
        rest -= self.evict_hot(memory, rest, STEPS * self.batch, Mercy::Lives);
        rest -= self.evict_cold(memory, rest, STEPS * self.batch);
        rest -= self.evict_hot(memory, rest, frames, Mercy::Branches);
        rest -= self.evict_cold(memory, rest, self.cold.len());
        self.evict_hot(memory, rest, frames, Mercy::None);
    }

    /// Evicts up to `want` untouched pages from the front of the queue. Returns how many.
    fn evict_cold(&mut self, memory: &Memory, want: usize, steps: usize) -> usize {
        let stamp = self.stamp();
        let mut evicted = 0;
        for _ in 0..steps.min(self.cold.len()) {
            if evicted == want {
                break;
            }
            let Some(frame) = self.cold.pop_front() else { break };
            self.frames[frame as usize].queued = false;
            let meta = self.frames[frame as usize];
            if meta.class != Class::Cold {
                continue; // stale: the frame has changed hands
            }
            let Some((cell, word)) = resident(memory, meta.owner, frame).filter(|(_, w)| w.pins() == 0)
            else {
                self.enqueue(frame); // loading, or pinned
                continue;
            };
            let lives = memory.lives(frame);
            if frame < self.limit && (word.is_used() || lives > LEAF_LIVES) {
                // A branch that nobody touched again gets one round of the clock.
                let lives = if word.is_used() { lives } else { 1 };
                let meta = &mut self.frames[frame as usize];
                (meta.class, meta.lives) = (Class::Hot, lives);
                self.hot += 1;
                cell.cool(word);
            } else if self.let_go(cell, word, stamp) {
                evicted += 1;
            } else {
                self.enqueue(frame);
            }
        }
        memory.evictions.fetch_add(evicted as u64, Ordering::Relaxed);
        evicted
    }

    /// Turns the clock by up to `steps` frames, until `want` pages are evicted. Returns how many.
    fn evict_hot(&mut self, memory: &Memory, want: usize, mut steps: usize, mercy: Mercy) -> usize {
        let stamp = self.stamp();
        let mut evicted = 0;
        while evicted < want && self.hot > 0 && steps > 0 {
            steps -= 1;
            let frame = if (self.hand as usize) < self.frames.len() { self.hand } else { 0 };
            self.hand = frame + 1;
            let meta = self.frames[frame as usize];
            if meta.class != Class::Hot {
                continue;
            }
            let Some((cell, word)) = resident(memory, meta.owner, frame).filter(|(_, w)| w.pins() == 0)
            else {
                continue;
            };
            let spared = frame < self.limit
                && match mercy {
                    Mercy::Lives => word.is_used() || meta.lives > 0,
                    Mercy::Branches => memory.lives(frame) > LEAF_LIVES,
                    Mercy::None => false,
                };
            if spared && word.is_used() {
                if cell.cool(word) {
                    self.frames[frame as usize].lives = memory.lives(frame);
                }
            } else if spared {
                self.frames[frame as usize].lives = meta.lives.saturating_sub(1);
            } else if self.let_go(cell, word, stamp) {
                evicted += 1;
            }
        }
        memory.evictions.fetch_add(evicted as u64, Ordering::Relaxed);
        evicted
    }

    /// The heat of `page`, if it is resident in `frame`.
    pub(crate) fn heat(&self, page: PageId, frame: u32) -> Option<Heat> {
        let meta = self.frames.get(frame as usize).filter(|meta| meta.owner == page)?;
        match meta.class {
            Class::Cold => Some(Heat::Cold),
            Class::Hot => Some(Heat::Hot),
            Class::Vacant | Class::Retired => None,
        }
    }

    /// Makes a page that will not be asked for again the next to go.
    pub(crate) fn demote(&mut self, memory: &Memory, page: PageId, frame: u32) {
        if self.heat(page, frame).is_none() {
            return;
        }
        if self.frames[frame as usize].class == Class::Hot {
            self.frames[frame as usize].class = Class::Cold;
            self.hot -= 1;
        }
        if let Some((cell, word)) = resident(memory, page, frame) {
            cell.cool(word);
        }
        if let Some(branch) = memory.branches.get(frame as usize) {
            branch.store(0, Ordering::Relaxed);
        }
        if !self.frames[frame as usize].queued {
            self.frames[frame as usize].queued = true;
            self.cold.push_front(frame);
        }
    }

    /// Gives up all frames from `limit` on, those in use as soon as they can be had.
    pub(crate) fn shrink(&mut self, memory: &Memory, limit: u32) {
        let before = self.limit;
        self.limit = limit.min(before);
        for frame in self.limit..before.min(self.frames.len() as u32) {
            let meta = self.frames[frame as usize];
            if matches!(meta.class, Class::Cold | Class::Hot)
                && let Some((cell, word)) = resident(memory, meta.owner, frame)
                && word.pins() == 0
                && cell.evict(word, 0)
            {
                self.drop_resident(frame);
                memory.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (keep, free) = std::mem::take(&mut self.free).into_iter().partition(|&frame| frame < self.limit);
        self.free = keep;
        let free: Vec<u32> = free;
        for frame in free {
            self.retire(memory, frame);
        }
        self.reclaim(memory);
    }

    /// Gives a vacant frame's memory back, once its neighbours in the same system page are given up too.
    fn retire(&mut self, memory: &Memory, frame: u32) {
        self.frames[frame as usize].class = Class::Retired;
        self.retired += 1;
        let per = memory.arena.frames_per_granule();
        let first = frame / per * per;
        let all = (first..first + per)
            .all(|f| self.frames.get(f as usize).is_none_or(|meta| meta.class == Class::Retired));
        if all {
            memory.arena.give_back(first);
        }
    }
}

/// The word of `page` if it shows the page in `frame`.
fn resident(memory: &Memory, page: PageId, frame: u32) -> Option<(Cell<'_>, Word)> {
    let cell = memory.words.get(page)?;
    let word = cell.load();
    word.shows(frame).then_some((cell, word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold_page_source::PageSize;
    use std::sync::atomic::AtomicU64;

    fn memory(frames: u32) -> Memory {
        Memory {
            words: Translation::new(1 << 16).unwrap(),
            arena: Arena::new(frames, PageSize::MIN).unwrap(),
            epochs: Domain::new(4),
            branches: (0..frames).map(|_| AtomicU8::new(0)).collect(),
            evictions: AtomicU64::new(0),
        }
    }

    fn page(n: u64) -> PageId {
        PageId::new(n).unwrap()
    }

    /// Looks at a page, loading it if need be. Returns whether it was there.
    fn look(clock: &mut Clock, memory: &Memory, n: u64) -> bool {
        let cell = memory.words.get(page(n)).unwrap();
        match cell.begin_load() {
            crate::word::Begin::Resident(_) => {
                cell.touch(cell.load());
                true
            }
            crate::word::Begin::Busy => unreachable!("one thread"),
            crate::word::Begin::Mine(ghost) => {
                let frame = clock.take(memory, page(n), ghost).unwrap();
                memory.branches[frame as usize].store(u8::from(n >= 60_000), Ordering::Relaxed);
                cell.publish(frame, false, 0).unwrap();
                false
            }
        }
    }

    #[test]
    fn a_scan_leaves_the_hot_pages_alone() {
        let (memory, mut clock) = (memory(1000), Clock::new(1000));
        for _ in 0..3 {
            (0..300).for_each(|n| _ = look(&mut clock, &memory, n));
        }
        (1000..11_000).for_each(|n| _ = look(&mut clock, &memory, n));
        let hits = (0..300).filter(|&n| look(&mut clock, &memory, n)).count();
        assert!(hits >= 270, "{hits} of 300");
    }

    #[test]
    fn a_new_working_set_replaces_the_old_one() {
        let (memory, mut clock) = (memory(1000), Clock::new(1000));
        for _ in 0..3 {
            (0..900).for_each(|n| _ = look(&mut clock, &memory, n));
        }
        for _ in 0..20 {
            (2000..2900).for_each(|n| _ = look(&mut clock, &memory, n));
        }
        let hits = (2000..2900).filter(|&n| look(&mut clock, &memory, n)).count();
        assert!(hits >= 850, "{hits} of 900");
    }

    #[test]
    fn branches_outlive_leaves() {
        let (memory, mut clock) = (memory(1000), Clock::new(1000));
        for _ in 0..2 {
            (0..600).chain(60_000..60_300).for_each(|n| _ = look(&mut clock, &memory, n));
        }
        // New pages that are all used twice push the old ones out.
        for n in 1000..2200 {
            look(&mut clock, &memory, n);
            look(&mut clock, &memory, n);
        }
        let leaves = (0..600).filter(|&n| memory.words.get(page(n)).unwrap().load().is_resident()).count();
        let branches =
            (60_000..60_300).filter(|&n| memory.words.get(page(n)).unwrap().load().is_resident()).count();
        assert!(branches > 280 && leaves < 400, "{branches} of 300 branches, {leaves} of 600 leaves");
    }

    #[test]
    fn a_participant_in_sight_keeps_frames_from_reuse() {
        let (memory, mut clock) = (memory(64), Clock::new(64));
        (0..64).for_each(|n| _ = look(&mut clock, &memory, n));
        let inside = memory.epochs.participate(0);
        let taken = (100..300).filter(|&n| clock.take(&memory, page(n), 0).is_some()).count();
        assert_eq!(taken, 0);
        drop(inside);
        assert!(clock.take(&memory, page(300), 0).is_some());
    }

    #[test]
    fn pinned_pages_stay_and_do_not_stop_the_rest() {
        let (memory, mut clock) = (memory(64), Clock::new(64));
        for n in 0..32 {
            look(&mut clock, &memory, n);
            let cell = memory.words.get(page(n)).unwrap();
            assert!(cell.pin(cell.load(), false));
        }
        (100..1000).for_each(|n| _ = look(&mut clock, &memory, n));
        assert!((0..32).all(|n| look(&mut clock, &memory, n)));
    }

    #[test]
    fn frames_given_up_are_not_used_again() {
        let (memory, mut clock) = (memory(256), Clock::new(256));
        (0..256).for_each(|n| _ = look(&mut clock, &memory, n));
        clock.shrink(&memory, 100);
        (300..1000).for_each(|n| _ = look(&mut clock, &memory, n));
        assert_eq!(clock.populated(), 100);
        let high = (0..1000).filter_map(|n| {
            let word = memory.words.get(page(n)).unwrap().load();
            word.is_resident().then(|| word.frame())
        });
        assert!(high.max() < Some(100));
    }

    #[test]
    fn a_demoted_page_goes_first() {
        let (memory, mut clock) = (memory(64), Clock::new(64));
        for _ in 0..3 {
            (0..64).for_each(|n| _ = look(&mut clock, &memory, n));
        }
        look(&mut clock, &memory, 100); // the first eviction turns the queue into the clock
        let word = memory.words.get(page(63)).unwrap().load();
        if word.is_resident() {
            clock.demote(&memory, page(63), word.frame());
            (200..216).for_each(|n| _ = look(&mut clock, &memory, n));
            assert!(!memory.words.get(page(63)).unwrap().load().is_resident());
        }
    }
}
