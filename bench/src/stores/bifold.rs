//! Bifold, on either backend.
#![forbid(unsafe_code)]

use crate::{Counters, Durability, Order, Result, Setup, Store};
use bifold::{Db, PageSource, mmap, pool};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Bifold over a mapping.
pub type Mmap = Bifold<mmap::Source>;
/// Bifold over its buffer pool.
pub type Pool = Bifold<pool::Source>;

/// Bifold over page source `S`.
#[derive(Debug)]
pub struct Bifold<S: PageSource> {
    db: Db<S>,
}

/// What the two backends are told, each in its own terms.
pub trait Backend: PageSource {
    /// The name of Bifold on this backend.
    const STORE: &'static str;

    /// The backend's options for `setup`.
    fn options(setup: &Setup) -> Self::Options;
}

impl Backend for mmap::Source {
    const STORE: &'static str = "bifold-mmap";

    fn options(setup: &Setup) -> mmap::Options {
        let mut options = mmap::Options::default();
        options.populate = setup.populate;
        options
    }
}

impl Backend for pool::Source {
    const STORE: &'static str = "bifold-pool";

    fn options(setup: &Setup) -> pool::Options {
        pool::Options::new().cache_size(setup.cache_bytes).populate(setup.populate)
    }
}

/// The one table.
const TABLE: &str = "bench";

impl<S: Backend> Store for Bifold<S> {
    const NAME: &'static str = S::STORE;
    const SYNCED: Option<&'static str> = Some("fdatasync of its log");
    const UNSYNCED: Option<&'static str> = Some("the log handed to the system");
    const CHECKPOINTS: bool = true;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let durability = match setup.durability {
            Durability::Synced => bifold::Durability::Sync,
            Durability::Unsynced => bifold::Durability::Buffered,
        };
        let builder = Db::builder().delta_size(setup.delta_bytes).durability(durability);
        let builder = builder.backend(S::options(setup));
        Ok(Self { db: builder.open(dir.join("data.bifold"))? })
    }

    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let txn = self.db.write()?;
        let table = txn.table(TABLE)?;
        if order == Order::Sorted {
            let mut load = table.bulk_load()?;
            for (key, value) in entries {
                load.push(key, value)?;
            }
            load.finish()?;
        } else {
            for (key, value) in entries {
                table.insert(key, value)?;
            }
        }
        Ok(txn.commit()?)
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.db.write()?;
        let table = txn.table(TABLE)?;
        for key in keys {
            table.remove(key)?;
        }
        Ok(txn.commit()?)
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.db.read()?;
        let table = txn.table(TABLE)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = table.get(key)? {
                visit(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.db.read()?;
        let mut cursor = txn.table(TABLE)?.cursor();
        let mut seen = 0;
        let mut entry = cursor.seek(from)?;
        while let Some((key, value)) = entry.filter(|_| seen < limit) {
            visit(key, value);
            seen += 1;
            entry = cursor.next()?;
        }
        Ok(seen)
    }

    fn check(&self) -> Result<Option<u64>> {
        let report = self.db.check()?;
        if let Some(fault) = report.faults.first() {
            let more = report.faults.len() as u64 + report.faults_omitted - 1;
            return Err(format!("{}: {fault}, and {more} faults more", S::STORE).into());
        }
        Ok(Some(report.entries))
    }

    fn finish(&self) -> Result<()> {
        Ok(self.db.checkpoint()?)
    }

    fn checkpoint(&self) -> Result<()> {
        let (before, begun) = (self.db.stats().checkpoints, Instant::now());
        self.db.begin_checkpoint()?;
        while self.db.stats().checkpoints == before {
            if begun.elapsed() > Duration::from_mins(5) {
                return Err("the checkpoint comes to no end".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn counters(&self) -> Option<Counters> {
        let stats = self.db.stats();
        Some(Counters {
            commits: stats.commits,
            log_bytes: stats.log_bytes,
            log_syncs: stats.log_syncs,
            checkpoints: stats.checkpoints,
            checkpoint_pages: stats.checkpoint_pages,
        })
    }

    fn close(self) -> Result<()> {
        Ok(self.db.close()?)
    }
}
