//! What every store can do, as far as the benchmarks ask for it.
#![forbid(unsafe_code)]

use crate::Result;
use std::path::Path;

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Bytes of cache, for stores that have one of their own.
    pub cache_bytes: u64,
    /// Bytes that changes may take in memory, for stores that bound them.
    pub delta_bytes: u64,
    /// The most bytes that the store may take on disk, for stores that must know beforehand.
    pub file_bytes_max: u64,
    /// Whether the data fit in memory and are to be brought there at opening, where the store can.
    pub populate: bool,
}

impl Setup {
    /// For `bytes` bytes of data that fit in memory: a cache that holds the whole file, and a delta that holds a load
    /// in one transaction.
    pub const fn in_memory(bytes: u64) -> Self {
        let room = bytes * 2 + (64 << 20);
        let delta = if room > 2 << 30 { room } else { 2 << 30 };
        Self { cache_bytes: room, delta_bytes: delta, file_bytes_max: bytes * 8 + (1 << 30), populate: true }
    }
}

/// The order in which entries come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// By key, and behind all that is there.
    Sorted,
    /// Any.
    Random,
}

/// A store under measurement.
///
/// Visitors are handed bytes where the store keeps them; a store that must copy to show a value is measured with the
/// copy.
pub trait Store: Sized {
    /// A name for reports.
    const NAME: &'static str;

    /// Opens the store in the directory `dir`, which exists, or creates it there.
    ///
    /// # Errors
    /// Whatever the store says; so everywhere.
    fn open(dir: &Path, setup: &Setup) -> Result<Self>;

    /// Puts entries in one transaction, and commits it durably.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>;

    /// Gets the values of `keys`, one after the other, in one read transaction. Returns how many were there.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn gets<K>(&self, keys: impl Iterator<Item = K>, visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>;

    /// Shows the first `limit` entries from `from` on, in key order. Returns how many there were.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn scan(&self, from: &[u8], limit: u64, visit: impl FnMut(&[u8], &[u8])) -> Result<u64>;

    /// Has the store check itself, if it can. Returns how many entries it counted.
    ///
    /// # Errors
    /// If it found something wrong; and see [`open`](Self::open).
    fn check(&self) -> Result<Option<u64>>;

    /// Closes the store: nothing is left to do in the background afterwards.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn close(self) -> Result<()>;

    /// Bytes that the store in `dir` takes, by the lengths of its files.
    ///
    /// # Errors
    /// I/O errors.
    fn file_bytes(dir: &Path) -> Result<u64> {
        let mut total = 0;
        for entry in dir.read_dir()? {
            total += entry?.metadata()?.len();
        }
        Ok(total)
    }
}
