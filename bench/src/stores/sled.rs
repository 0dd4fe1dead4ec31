//! sled.
#![forbid(unsafe_code)]

use crate::store::GetHeld;
use crate::{Order, Result, Setup, Store};
use sled::{Batch, Config, Db, Mode};
use std::path::Path;

/// Entries a batch when they come in order and all at once: sled holds a batch in memory twice.
const SORTED_BATCH: usize = 10_000;

/// A sled database in its high-throughput mode.
#[derive(Debug)]
pub struct Sled {
    db: Db,
}

impl Store for Sled {
    const NAME: &'static str = "sled";
    // Its flush is sync_file_range, which leaves the disk's cache alone.
    const SYNCED: Option<&'static str> = None;
    const UNSYNCED: Option<&'static str> =
        Some("its log is written in the background, at least every 500 ms");
    const CHECKPOINTS: bool = false;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let config = Config::new().path(dir).cache_capacity(setup.cache_bytes).mode(Mode::HighThroughput);
        Ok(Self { db: config.open()? })
    }

    fn put<K, V>(&self, order: Order, mut entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let limit = if order == Order::Sorted { SORTED_BATCH } else { usize::MAX };
        loop {
            let (mut batch, mut count) = (Batch::default(), 0);
            for (key, value) in entries.by_ref().take(limit) {
                batch.insert(key.as_ref(), value.as_ref());
                count += 1;
            }
            self.db.apply_batch(batch)?;
            if count < limit {
                return Ok(());
            }
        }
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        let mut batch = Batch::default();
        for key in keys {
            batch.remove(key.as_ref());
        }
        Ok(self.db.apply_batch(batch)?)
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let mut found = 0;
        for key in keys {
            if let Some(value) = self.db.get(key)? {
                visit(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut seen = 0;
        for entry in self.db.range(from..).take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = entry?;
            visit(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn scan_back(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut seen = 0;
        for entry in self.db.range(..=from).rev().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = entry?;
            visit(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn hold<R>(&self, _work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        Err("sled has no snapshots".into())
    }

    fn finish(&self) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}
