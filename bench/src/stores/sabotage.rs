//! A side of Bifold's that is broken on purpose, with the feature `testing`: what a store would do that loses updates or
//! shows wrong ones.
#![forbid(unsafe_code)]

use crate::Sabotage;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How it is broken, and how often that could have been seen.
#[derive(Debug)]
pub(super) struct Broken {
    how: Sabotage,
    count: AtomicU64,
    /// The values that entries had before the last update.
    earlier: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Broken {
    /// If `how` is about what is shown or put.
    pub(super) fn new(how: Sabotage) -> Option<Self> {
        let here = matches!(how, Sabotage::WrongByte | Sabotage::LostUpdates | Sabotage::StaleReads);
        here.then(|| Self { how, count: AtomicU64::new(0), earlier: Mutex::default() })
    }

    /// Whether it happens this time: one time in so many.
    fn one_in(&self, times: u64) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) % times == times - 1
    }

    fn earlier(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Vec<u8>>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an entry is not put, and nobody told.
    pub(super) fn drops(&self) -> bool {
        self.how == Sabotage::LostUpdates && self.one_in(50)
    }

    /// Whether it wants to know what an entry has before it is put.
    pub(super) fn remembers(&self) -> bool {
        self.how == Sabotage::StaleReads
    }

    /// An entry that is about to be put has this value.
    pub(super) fn remember(&self, key: &[u8], value: &[u8]) {
        self.earlier().insert(key.to_vec(), value.to_vec());
    }

    /// Shows an entry's value, or what is shown in its place.
    #[cold]
    pub(super) fn show(&self, key: &[u8], value: &[u8], visit: impl FnOnce(&[u8])) {
        match self.how {
            Sabotage::WrongByte => {
                let mut value = value.to_vec();
                if self.one_in(100)
                    && let Some(last) = value.last_mut()
                {
                    *last ^= 1;
                }
                visit(&value);
            }
            Sabotage::StaleReads => {
                let earlier = self.earlier().get(key).filter(|_| self.one_in(10)).cloned();
                visit(earlier.as_deref().unwrap_or(value));
            }
            _ => visit(value),
        }
    }
}
