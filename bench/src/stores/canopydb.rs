//! canopydb: a copy-on-write B+tree behind a write-ahead log.
#![forbid(unsafe_code)]

use crate::store::GetHeld;
use crate::{Durability, Order, Result, Setup, Store};
use canopydb::{Database, DbOptions, EnvOptions};
use std::path::Path;

/// The one tree.
const TREE: &[u8] = b"bench";

/// A canopydb database with its write-ahead log on; checksums of pages are off, as by default. Its write transactions
/// are exclusive: concurrent ones hold the same lock while they sync, and may conflict.
#[derive(Debug)]
pub struct Canopy {
    db: Database,
    sync: bool,
}

impl Store for Canopy {
    const NAME: &'static str = "canopydb";
    const SYNCED: Option<&'static str> = Some("fdatasync of its write-ahead log (commit_with(true))");
    const UNSYNCED: Option<&'static str> = Some("the log is written to the system's buffers at each commit");
    const CHECKPOINTS: bool = true;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let mut env = EnvOptions::new(dir);
        env.page_cache_size = setup.cache_bytes as usize;
        let mut options = DbOptions::default();
        options.checkpoint_target_size = (setup.delta_bytes / 2) as usize;
        options.throttle_memory_limit = setup.delta_bytes as usize;
        options.stall_memory_limit = setup.delta_bytes as usize;
        let db = Database::with_options(env, options)?;
        let txn = db.begin_write()?;
        txn.get_or_create_tree(TREE)?;
        txn.commit_with(true)?;
        Ok(Self { db, sync: setup.durability == Durability::Synced })
    }

    fn put<K, V>(&self, _order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let txn = self.db.begin_write()?;
        let mut tree = txn.get_or_create_tree(TREE)?;
        for (key, value) in entries {
            tree.insert(key.as_ref(), value.as_ref())?;
        }
        drop(tree);
        txn.commit_with(self.sync)?;
        Ok(())
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.db.begin_write()?;
        let mut tree = txn.get_or_create_tree(TREE)?;
        for key in keys {
            tree.delete(key.as_ref())?;
        }
        drop(tree);
        txn.commit_with(self.sync)?;
        Ok(())
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.db.begin_read()?;
        let tree = txn.get_tree(TREE)?.ok_or("canopydb lost its tree")?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = tree.get(key.as_ref())? {
                visit(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.db.begin_read()?;
        let tree = txn.get_tree(TREE)?.ok_or("canopydb lost its tree")?;
        let mut seen = 0;
        for entry in tree.range(from..)?.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = entry?;
            visit(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn scan_back(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.db.begin_read()?;
        let tree = txn.get_tree(TREE)?.ok_or("canopydb lost its tree")?;
        let mut seen = 0;
        for entry in tree.range(..=from)?.rev().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = entry?;
            visit(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        let txn = self.db.begin_read()?;
        let tree = txn.get_tree(TREE)?.ok_or("canopydb lost its tree")?;
        work(&mut |key, visit| {
            let value = tree.get(key)?;
            Ok(value.map(|value| visit(&value)).is_some())
        })
    }

    fn finish(&self) -> Result<()> {
        self.db.sync()?;
        Ok(self.db.checkpoint()?)
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}
