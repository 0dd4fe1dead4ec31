//! Bifold, on either backend.
#![forbid(unsafe_code)]

use super::sabotage::Broken;
use crate::store::GetHeld;
use crate::{Counters, Durability, Order, Result, Setup, Store};
use bifold::{Builder, Db, PageSource, mmap, pool};
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
    table: String,
    /// How it is broken, if it is to be.
    broken: Option<Broken>,
}

impl<S: PageSource> Bifold<S> {
    /// Shows a value.
    #[inline]
    fn show(&self, key: &[u8], value: &[u8], visit: impl FnOnce(&[u8])) {
        match &self.broken {
            None => visit(value),
            Some(broken) => broken.show(key, value, visit),
        }
    }
}

/// The same builder over slow files, if that is wanted.
#[cfg(feature = "testing")]
#[expect(clippy::unnecessary_wraps, reason = "other builds refuse")]
fn sabotaged<S: PageSource>(builder: Builder<S>, setup: &Setup) -> Result<Builder<S>> {
    Ok(match setup.sabotage {
        Some(crate::Sabotage::SlowReads(ms)) => {
            use bifold_page_source::{OsFs, testing::FaultFs};
            let slow = FaultFs::new(std::sync::Arc::new(OsFs));
            slow.delay_reads(Duration::from_millis(ms));
            builder.file_system(std::sync::Arc::new(slow))
        }
        _ => builder,
    })
}

#[cfg(not(feature = "testing"))]
fn sabotaged<S: PageSource>(builder: Builder<S>, setup: &Setup) -> Result<Builder<S>> {
    match setup.sabotage {
        Some(_) => Err("this build can break no side on purpose: it lacks the feature `testing`".into()),
        None => Ok(builder),
    }
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
pub(crate) const TABLE: &str = "bench";
/// The file, in the store's directory.
pub(crate) const FILE: &str = "data.bifold";

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
        let builder = sabotaged(builder.backend(S::options(setup)), setup)?;
        let db = builder.open(dir.join(FILE))?;
        Ok(Self { db, table: TABLE.into(), broken: setup.sabotage.and_then(Broken::new) })
    }

    fn open_read_only(file: &Path, table: &str, setup: &Setup) -> Result<Self> {
        let db = Db::builder().backend(S::options(setup)).read_only().open(file)?;
        Ok(Self { db, table: table.into(), broken: None })
    }

    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let txn = self.db.write()?;
        let table = txn.table(&self.table)?;
        if order == Order::Sorted {
            let mut load = table.bulk_load()?;
            for (key, value) in entries {
                load.push(key, value)?;
            }
            load.finish()?;
        } else {
            for (key, value) in entries {
                if let Some(broken) = &self.broken {
                    if broken.remembers()
                        && let Some(before) = table.get(key.as_ref())?
                    {
                        broken.remember(key.as_ref(), &before);
                    }
                    if broken.drops() {
                        continue;
                    }
                }
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
        let table = txn.table(&self.table)?;
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
        let table = txn.table(&self.table)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = table.get(key.as_ref())? {
                self.show(key.as_ref(), &value, &mut visit);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.db.read()?;
        let mut cursor = txn.table(&self.table)?.cursor();
        let mut seen = 0;
        let mut entry = cursor.seek(from)?;
        while let Some((key, value)) = entry.filter(|_| seen < limit) {
            self.show(key, value, |value| visit(key, value));
            seen += 1;
            entry = cursor.next()?;
        }
        Ok(seen)
    }

    fn get_many<K>(&self, keys: &[K], mut visit: impl FnMut(usize, &[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.db.read()?;
        let mut found = 0;
        for ((index, key), value) in
            keys.iter().enumerate().zip(txn.table(&self.table)?.get_many(keys)?.iter())
        {
            if let Some(value) = value {
                self.show(key.as_ref(), value, |value| visit(index, value));
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan_back(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.db.read()?;
        let mut cursor = txn.table(&self.table)?.cursor();
        let mut seen = 0;
        let at = cursor.seek(from)?.map(|(key, _)| key == from);
        let mut entry = match at {
            Some(true) => cursor.current()?,
            Some(false) => cursor.prev()?,
            None => cursor.last()?,
        };
        while let Some((key, value)) = entry.filter(|_| seen < limit) {
            self.show(key, value, |value| visit(key, value));
            seen += 1;
            entry = cursor.prev()?;
        }
        Ok(seen)
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        let txn = self.db.read()?;
        let table = txn.table(&self.table)?;
        work(&mut |key, visit| {
            let value = table.get(key)?;
            if let Some(value) = &value {
                self.show(key, value, visit);
            }
            Ok(value.is_some())
        })
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
