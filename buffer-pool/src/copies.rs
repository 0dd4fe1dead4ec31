//! Owned copies of pages, for pins beyond half of the frames: one copy of a page serves everyone who holds it.
#![forbid(unsafe_code)]

use crate::aligned::AlignedBuf;
use bifold_page_source::PageId;
use bifold_page_source::sync::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

const SHARDS: usize = 8;
/// A shard is tidied when it has grown to twice what was alive the last time, and to this many at least.
const TIDY_AT_LEAST: usize = 64;

#[derive(Debug, Default)]
struct Shard {
    pages: HashMap<u64, Weak<AlignedBuf>>,
    tidy_at: usize,
}

/// The copies that are alive, found by page.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    shards: [Mutex<Shard>; SHARDS],
    /// Entries, dead ones included; lets the usual case, none, pass without a lock.
    entries: AtomicUsize,
}

impl Copies {
    fn shard(&self, page: PageId) -> &Mutex<Shard> {
        &self.shards[page.get() as usize % SHARDS]
    }

    fn is_empty(&self) -> bool {
        self.entries.load(Ordering::Acquire) == 0
    }

    /// The copy of a page, if someone holds one.
    pub(crate) fn get(&self, page: PageId) -> Option<Arc<AlignedBuf>> {
        if self.is_empty() {
            return None;
        }
        self.shard(page).lock().pages.get(&page.get())?.upgrade()
    }

    /// Makes `copy` the one to share, unless there is one. Returns the one to hold, and whether it is `copy`.
    pub(crate) fn share(&self, page: PageId, copy: AlignedBuf) -> (Arc<AlignedBuf>, bool) {
        let mut shard = self.shard(page).lock();
        if let Some(other) = shard.pages.get(&page.get()).and_then(Weak::upgrade) {
            return (other, false);
        }
        if shard.pages.len() >= shard.tidy_at.max(TIDY_AT_LEAST) {
            let before = shard.pages.len();
            shard.pages.retain(|_, copy| copy.strong_count() > 0);
            shard.tidy_at = shard.pages.len() * 2;
            self.entries.fetch_sub(before - shard.pages.len(), Ordering::Release);
        }
        let copy = Arc::new(copy);
        if shard.pages.insert(page.get(), Arc::downgrade(&copy)).is_none() {
            self.entries.fetch_add(1, Ordering::Release);
        }
        (copy, true)
    }

    /// Forgets the copy of a page that is written anew; who holds it keeps it.
    pub(crate) fn forget(&self, page: PageId) {
        if !self.is_empty() && self.shard(page).lock().pages.remove(&page.get()).is_some() {
            self.entries.fetch_sub(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(of: u8) -> AlignedBuf {
        let mut buf = AlignedBuf::new(16, 16).unwrap();
        buf.fill(of);
        buf
    }

    #[test]
    fn a_copy_is_shared_while_it_lives() {
        let (copies, page) = (Copies::default(), PageId::default());
        assert!(copies.get(page).is_none());
        let (first, new) = copies.share(page, copy(1));
        assert!(new);
        let (second, new) = copies.share(page, copy(2));
        assert!(!new && second[0] == 1);
        assert!(copies.get(page).is_some());
        drop((first, second));
        assert!(copies.get(page).is_none());
        let (_third, new) = copies.share(page, copy(3));
        assert!(new);
        copies.forget(page);
        assert!(copies.get(page).is_none() && copies.is_empty());
    }

    #[test]
    fn dead_entries_do_not_pile_up() {
        let copies = Copies::default();
        for n in 0..100_000 {
            copies.share(PageId::new(n).unwrap(), copy(0));
        }
        assert!(copies.entries.load(Ordering::Relaxed) <= SHARDS * TIDY_AT_LEAST);
    }
}
