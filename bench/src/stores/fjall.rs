//! fjall: a log-structured merge tree.
#![forbid(unsafe_code)]

use crate::store::GetHeld;
use crate::{Durability, Order, Result, Setup, Store, poll};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use std::path::Path;

/// A fjall database with one keyspace, without compression. Entries in order go in by its ingestion.
pub struct Fjall {
    db: Database,
    keyspace: Keyspace,
    persist: Option<PersistMode>,
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";
    const SYNCED: Option<&'static str> = Some("fdatasync of its journal (PersistMode::SyncData)");
    const UNSYNCED: Option<&'static str> =
        Some("the journal is written to the system's buffers at each commit");
    const CHECKPOINTS: bool = true;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let db = Database::builder(dir).cache_size(setup.cache_bytes).open()?;
        // Kept from the first opening on.
        let options = || KeyspaceCreateOptions::default().max_memtable_size(setup.delta_bytes / 2);
        let keyspace = db.keyspace("bench", options)?;
        let persist = match setup.durability {
            Durability::Synced => Some(PersistMode::SyncData),
            Durability::Unsynced => Some(PersistMode::Buffer),
        };
        Ok(Self { db, keyspace, persist })
    }

    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        if order == Order::Sorted {
            let mut ingestion = self.keyspace.start_ingestion()?;
            for (key, value) in entries {
                ingestion.write(key.as_ref(), value.as_ref())?;
            }
            return Ok(ingestion.finish()?);
        }
        let mut batch = self.db.batch().durability(self.persist);
        for (key, value) in entries {
            batch.insert(&self.keyspace, key.as_ref(), value.as_ref());
        }
        Ok(batch.commit()?)
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        let mut batch = self.db.batch().durability(self.persist);
        for key in keys {
            batch.remove(&self.keyspace, key.as_ref());
        }
        Ok(batch.commit()?)
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let snapshot = self.db.snapshot();
        let mut found = 0;
        for key in keys {
            if let Some(value) = snapshot.get(&self.keyspace, key)? {
                visit(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let mut seen = 0;
        let entries = self.db.snapshot().range(&self.keyspace, from..);
        for entry in entries.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn scan_back(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let entries = self.db.snapshot().range(&self.keyspace, ..=from);
        let mut seen = 0;
        for entry in entries.rev().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        let snapshot = self.db.snapshot();
        work(&mut |key, visit| {
            let value = snapshot.get(&self.keyspace, key)?;
            Ok(value.map(|value| visit(&value)).is_some())
        })
    }

    fn finish(&self) -> Result<()> {
        self.db.persist(PersistMode::SyncAll)?;
        self.keyspace.rotate_memtable_and_wait()?;
        // A compaction that is queued but not begun does not show, so what is seen must last.
        poll::until_quiet(|| Ok(self.db.outstanding_flushes() == 0 && self.db.active_compactions() == 0))
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}
