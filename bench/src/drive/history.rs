//! Which writes of an entry a reader may be shown: updates that are lost and reads of an earlier state are noticed.
//!
//! Some entries are *followed*. A clock counts what happens to them: a write takes a time before its transaction begins
//! (the time makes the version that its value says), and another when its commit was acknowledged. A read takes the time
//! before its transaction begins. Write `w` was *surely overwritten* for a read if another write began after `w` was
//! acknowledged, and was itself acknowledged before the read began. No store may show it then, whatever its commits are
//! worth after a crash; and whatever is not so may be shown, by a store whose commits come one after the other in some
//! order. So no such store is ever accused, by however many threads it is written, and one writer's lost update is
//! always seen by who reads the entry next. (The check of a register for atomicity: Gibbons and Korach, "Testing shared
//! memories", 1997; here only its rule that needs no search.)
//!
//! What is kept of an entry are the writes that may still be shown, and some that may not; when there are too many,
//! those are forgotten, and reads that had begun before are not judged by them. What an entry had before its first write
//! here is learnt from the first read that may be shown it. Memory is bounded by [`MOST`], and to a small part of what
//! the process may have.
#![forbid(unsafe_code)]

use crate::corpus::VERSIONED;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Entries that are followed, at most.
const MOST: u64 = 1 << 16;
/// One entry of so many is followed, if there are enough,
const EVERY: u64 = 64;
/// of which at least about this many are.
const LEAST: u64 = 1 << 10;
/// Bytes that an entry takes here, about, and what part of the process's memory all of them may.
const ENTRY: u64 = 300;
const PART: u64 = 64;
/// Parts that are locked by themselves.
const STRIPES: usize = 64;
/// Writes of an entry that are kept, unless more of them may be shown.
const WRITES: usize = 8;
/// The time of what was not acknowledged yet.
const UNDER_WAY: u64 = u64::MAX;

/// What a key has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// No value.
    Nothing,
    /// The value of this version.
    Version(u32),
    /// A value of so many bytes, too few to say a version.
    Short(usize),
}

impl Content {
    /// What a value of `len` bytes is that says this version, or says none.
    pub(super) fn of(version: u32, len: usize) -> Self {
        if len < VERSIONED { Self::Short(len) } else { Self::Version(version) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Written {
    begun: u64,
    acknowledged: u64,
    content: Content,
}

/// What is known of an entry that was written.
#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    /// What it had before the first write, as soon as that was read.
    first: Option<Content>,
    writes: Vec<Written>,
    /// For reads that begin later, all writes that were forgotten are surely overwritten; 0 if none was.
    forgotten: u64,
}

impl Entry {
    /// Drops what is surely overwritten for all reads that begin from now on.
    fn forget(&mut self) {
        let done = self.writes.iter().filter(|write| write.acknowledged != UNDER_WAY);
        let Some(last) = done.max_by_key(|write| write.begun).copied() else { return };
        self.writes.retain(|write| write.acknowledged >= last.begun);
        // It is kept itself: acknowledged after it began.
        self.forgotten = self.forgotten.max(last.acknowledged);
    }

    /// Whether a read that began at `since` may have been shown `content`.
    fn may_show(&mut self, content: Content, since: u64) -> bool {
        let before = self.writes.iter().filter(|write| write.acknowledged < since);
        let floor = before.map(|write| write.begun).max().unwrap_or(0);
        if self.writes.iter().any(|write| write.content == content && write.acknowledged >= floor) {
            return true;
        }
        if floor == 0 && self.forgotten == 0 {
            return *self.first.get_or_insert(content) == content;
        }
        since <= self.forgotten
    }
}

/// The entries of a transaction that are followed, from before it begins until it is acknowledged.
#[derive(Default, Debug)]
pub(super) struct Batch {
    begun: u64,
    tags: Vec<u64>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Clock(AtomicU64);

/// What is known of the entries followed.
#[derive(Debug)]
pub(super) struct History {
    clock: Clock,
    /// Those are followed whose tag has none of these bits.
    mask: u64,
    /// Entries that are followed, at most.
    most: u64,
    /// Version of time 0: another one in each run, so that what was there before is mostly told from what is written.
    base: u32,
    stripes: Vec<Mutex<HashMap<u64, Entry>>>,
}

/// Of so many entries that may be written one in how many is followed, and how many are at the most.
fn sampled(entries: u64, memory: Option<u64>) -> (u64, u64) {
    let most = memory.map_or(MOST, |memory| (memory / PART / ENTRY).clamp(1, MOST));
    // Rounded so that there are enough of them, but never too many.
    let enough = 1 << (entries / LEAST).clamp(1, EVERY).ilog2();
    ((entries / most).next_power_of_two().max(enough), most)
}

/// How many of `entries` are followed, about, in a process that has so many bytes of `memory`, if it is bounded.
pub(crate) fn followed(entries: u64, memory: Option<u64>) -> u64 {
    let (every, most) = sampled(entries, memory);
    entries.div_ceil(every).min(most)
}

impl History {
    /// Of a run that may write about `entries` entries, in a process with so many bytes of `memory`, if it is bounded.
    pub(super) fn new(entries: u64, memory: Option<u64>, seed: u64) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let run = u64::from(std::process::id()) << 16 | RUNS.fetch_add(1, Ordering::Relaxed);
        let (every, most) = sampled(entries, memory);
        Self {
            clock: Clock(AtomicU64::new(1)),
            mask: every - 1,
            most,
            base: crate::corpus::mix(seed ^ run.rotate_left(24)) as u32,
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Whether the entry whose key has this tag is followed. Tags are 64 bits that look random, the same ones for the same
    /// key.
    #[inline]
    pub(super) fn follows(&self, tag: u64) -> bool {
        tag & self.mask == 0
    }

    /// The time, for a read that is about to begin.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        // With the writers' `AcqRel`: what they had done before a time that is seen here, they did before the read.
        self.clock.0.load(Ordering::Acquire)
    }

    fn tick(&self) -> u64 {
        self.clock.0.fetch_add(1, Ordering::AcqRel)
    }

    fn stripe(&self, tag: u64) -> MutexGuard<'_, HashMap<u64, Entry>> {
        let stripe = &self.stripes[(tag >> 32) as usize % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction is about to put these keys, or to delete them; with each its tag. Returns the version that its values
    /// must have, if any of them is followed.
    pub(super) fn begin<'k>(
        &self,
        keys: impl Iterator<Item = (u64, &'k [u8])>,
        puts: bool,
        batch: &mut Batch,
    ) -> Option<u32> {
        let content = (!puts).then_some(Content::Nothing);
        self.begin_each(keys.map(|(tag, key)| (tag, key, content)), batch)
    }

    /// The same of keys with each what it will have, if that is not a value of the version returned.
    pub(super) fn begin_each<'k>(
        &self,
        keys: impl Iterator<Item = (u64, &'k [u8], Option<Content>)>,
        batch: &mut Batch,
    ) -> Option<u32> {
        batch.tags.clear();
        for (tag, key, content) in keys.filter(|(tag, ..)| self.follows(*tag)) {
            if batch.tags.is_empty() {
                batch.begun = self.tick();
            }
            batch.tags.push(tag);
            let content = content.unwrap_or(Content::Version(self.version(batch.begun)));
            self.note(tag, key, Written { begun: batch.begun, acknowledged: UNDER_WAY, content });
        }
        (!batch.tags.is_empty()).then(|| self.version(batch.begun))
    }

    fn version(&self, begun: u64) -> u32 {
        self.base.wrapping_add(begun as u32)
    }

    fn note(&self, tag: u64, key: &[u8], write: Written) {
        let mut stripe = self.stripe(tag);
        let room = (stripe.len() as u64) < (self.most / STRIPES as u64).max(1);
        if let Some(entry) = stripe.get_mut(&tag) {
            // Of two keys with the same tag, the second is not followed.
            if *entry.key == *key {
                if entry.writes.len() >= WRITES {
                    entry.forget();
                }
                entry.writes.push(write);
            }
        } else if room {
            let entry = Entry { key: key.into(), first: None, writes: vec![write], forgotten: 0 };
            stripe.insert(tag, entry);
        }
    }

    /// The transaction was acknowledged.
    pub(super) fn acknowledge(&self, batch: &mut Batch) {
        if batch.tags.is_empty() {
            return;
        }
        let now = self.tick();
        for tag in batch.tags.drain(..) {
            let mut stripe = self.stripe(tag);
            let writes = stripe.get_mut(&tag).map(|entry| &mut entry.writes);
            if let Some(write) =
                writes.and_then(|writes| writes.iter_mut().find(|write| write.begun == batch.begun))
            {
                write.acknowledged = now;
            }
        }
    }

    /// Whether a read that took the time `since` before it began may have been shown `content` for a key that is followed.
    pub(super) fn may_show(&self, tag: u64, key: &[u8], content: Content, since: u64) -> bool {
        let mut stripe = self.stripe(tag);
        let entry = stripe.get_mut(&tag).filter(|entry| *entry.key == *key);
        entry.is_none_or(|entry| entry.may_show(content, since))
    }

    /// The keys that were written and are followed, in no order, with their tags.
    pub(super) fn keys(&self) -> Vec<(u64, Box<[u8]>)> {
        let mut keys = Vec::new();
        for stripe in &self.stripes {
            let stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            keys.extend(stripe.iter().map(|(tag, entry)| (*tag, entry.key.clone())));
        }
        keys
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
