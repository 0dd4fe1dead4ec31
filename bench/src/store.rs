//! What every store can do, as far as the benchmarks ask for it.
#![forbid(unsafe_code)]

use crate::Result;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How a store is opened.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Bytes of cache, for stores that have one of their own.
    pub cache_bytes: u64,
    /// Bytes that changes may take in memory, for stores that bound them; they begin to write them out at half.
    pub delta_bytes: u64,
    /// Bytes of keys and values in the largest transaction, for stores that need to know.
    pub transaction_bytes: u64,
    /// What the commits are.
    pub durability: Durability,
    /// The most bytes that the store may take on disk, for stores that must know beforehand.
    pub file_bytes_max: u64,
    /// Whether the data fit in memory and are to be brought there at opening, where the store can.
    pub populate: bool,
    /// Whether the kernel may read ahead in a mapped file, for stores that let it by default: of use to long scans, and to
    /// data that fit in memory, and ruin to random reads and short scans of others.
    pub read_ahead: bool,
    /// Threads that read at once, for stores that give each a cache of its own.
    #[serde(default = "one")]
    pub readers: u64,
    /// How it is broken on purpose, with the feature `testing`.
    pub sabotage: Option<Sabotage>,
}

const fn one() -> u64 {
    1
}

/// A way to break a side of Bifold's, so that a test can see it noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sabotage {
    /// One byte of a value in a hundred is another.
    WrongByte,
    /// Each read of the file takes so many milliseconds longer.
    SlowReads(u64),
    /// One put of an entry in fifty is acknowledged and not done.
    LostUpdates,
    /// One time in ten, an entry that was put again is shown as it was before.
    StaleReads,
}

impl Setup {
    /// For `bytes` bytes of data that fit in memory: a cache that holds the whole file, a delta that holds a load in
    /// one transaction, and durable commits.
    pub const fn in_memory(bytes: u64) -> Self {
        let room = bytes * 2 + (64 << 20);
        let delta = if room > 2 << 30 { room } else { 2 << 30 };
        Self {
            cache_bytes: room,
            delta_bytes: delta,
            transaction_bytes: 0,
            durability: Durability::Synced,
            file_bytes_max: bytes * 8 + (1 << 30),
            populate: true,
            read_ahead: true,
            readers: 1,
            sabotage: None,
        }
    }
}

/// What a commit is worth when it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It outlasts a power failure.
    Synced,
    /// It waits for no sync: what the store calls so ([`Store::UNSYNCED`]).
    Unsynced,
}

/// What a store says it did since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Counters {
    /// Commits.
    pub commits: u64,
    /// Bytes appended to its log.
    pub log_bytes: u64,
    /// Syncs of the log.
    pub log_syncs: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Pages that the checkpoints wrote.
    pub checkpoint_pages: u64,
}

/// The order in which entries come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// By key, and behind all that is there.
    Sorted,
    /// Any.
    Random,
}

/// Gets the value of a key in a snapshot that is held, and shows it. Returns whether it was there.
pub type GetHeld<'a> = dyn FnMut(&[u8], &mut dyn FnMut(&[u8])) -> Result<bool> + 'a;

/// A store under measurement.
///
/// Visitors are handed bytes where the store keeps them; a store that must copy to show a value is measured with the
/// copy.
///
/// Threads share a store: each method may be called from several at once.
pub trait Store: Sized + Sync {
    /// A name for reports.
    const NAME: &'static str;
    /// What a durable commit calls; nothing if the store has no commit that outlasts a power failure.
    const SYNCED: Option<&'static str>;
    /// What an unsynced commit is here; nothing if the store has only durable ones, which it then makes instead.
    const UNSYNCED: Option<&'static str>;
    /// Whether durable commits leave work behind for [`finish`](Self::finish), as a checkpoint or a compaction.
    const CHECKPOINTS: bool;

    /// Opens the store in the directory `dir`, which exists, or creates it there.
    ///
    /// # Errors
    /// Whatever the store says; so everywhere.
    fn open(dir: &Path, setup: &Setup) -> Result<Self>;

    /// Opens the user's own `file` for reading its `table`, and changes nothing.
    ///
    /// # Errors
    /// If the store knows no such files; and see [`open`](Self::open).
    fn open_read_only(file: &Path, table: &str, setup: &Setup) -> Result<Self> {
        let _ = (table, setup);
        Err(format!("{} cannot read {}", Self::NAME, file.display()).into())
    }

    /// Puts entries in one transaction, and commits it as `open` was told. Keys must differ. A store that has another
    /// way in for entries in order may take that, which need not be one transaction.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>;

    /// Deletes the entries of `keys`, which differ, in one transaction, and commits it as `open` was told.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>;

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

    /// Gets the values of all `keys` in one read transaction, by the means that the store has for many at once. Shows each
    /// with the index of its key, in any order. Returns how many were there.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn get_many<K>(&self, keys: &[K], mut visit: impl FnMut(usize, &[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let at = Cell::new(0);
        let asked = keys.iter().enumerate().map(|(index, key)| {
            at.set(index);
            key
        });
        self.gets(asked, |value| visit(at.get(), value))
    }

    /// Shows the last `limit` entries up to `from`, itself included, against the order of keys. Returns how many there
    /// were.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn scan_back(&self, from: &[u8], limit: u64, visit: impl FnMut(&[u8], &[u8])) -> Result<u64>;

    /// Does `work` while a snapshot of the store, taken before it, is held by this thread. What it is given reads there,
    /// whatever is committed meanwhile.
    ///
    /// # Errors
    /// Those of `work`; if the store has no snapshots; and see [`open`](Self::open).
    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R>;

    /// Has the store check itself, if it can. Returns how many entries it counted.
    ///
    /// # Errors
    /// If it found something wrong; and see [`open`](Self::open).
    fn check(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Does all that commits have put off: syncs, checkpoints, flushes of tables in memory, compactions.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn finish(&self) -> Result<()>;

    /// A checkpoint as the store makes them by itself, paced if it paces them; returns when it is done.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn checkpoint(&self) -> Result<()> {
        self.finish()
    }

    /// What the store counts, if it does.
    fn counters(&self) -> Option<Counters> {
        None
    }

    /// Closes the store: nothing is left to do in the background afterwards.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn close(self) -> Result<()>;
}

/// Bytes that the files in `dir` and below it take on disk: holes do not count, nor what a preallocation holds beyond
/// the end of a file.
///
/// # Errors
/// I/O errors.
pub fn file_bytes(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in dir.read_dir()? {
        let (entry, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        total +=
            if metadata.is_dir() { file_bytes(&entry)? } else { metadata.len().min(metadata.blocks() * 512) };
    }
    Ok(total)
}
