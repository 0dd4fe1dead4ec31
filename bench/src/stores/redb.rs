//! redb.
#![forbid(unsafe_code)]

use crate::store::GetHeld;
use crate::{Durability, Order, Result, Setup, Store};
use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
use std::path::Path;

/// The one table.
const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("bench");

/// A redb database: its default one-phase commit with checksums, and no quick repair.
#[derive(Debug)]
pub struct Redb {
    db: Database,
    durability: redb::Durability,
}

impl Redb {
    fn begin(&self) -> Result<WriteTransaction> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(self.durability)?;
        Ok(txn)
    }
}

impl Store for Redb {
    const NAME: &'static str = "redb";
    const SYNCED: Option<&'static str> = Some("File::sync_data, which is fdatasync (Durability::Immediate)");
    const UNSYNCED: Option<&'static str> =
        Some("Durability::None: changed pages stay in memory or the page cache until a durable commit");
    const CHECKPOINTS: bool = false;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let db =
            Database::builder().set_cache_size(setup.cache_bytes as usize).create(dir.join("data.redb"))?;
        let txn = db.begin_write()?;
        txn.open_table(TABLE)?;
        txn.commit()?;
        let durability = match setup.durability {
            Durability::Synced => redb::Durability::Immediate,
            Durability::Unsynced => redb::Durability::None,
        };
        Ok(Self { db, durability })
    }

    fn put<K, V>(&self, _order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let txn = self.begin()?;
        let mut table = txn.open_table(TABLE)?;
        for (key, value) in entries {
            table.insert(key.as_ref(), value.as_ref())?;
        }
        drop(table);
        Ok(txn.commit()?)
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.begin()?;
        let mut table = txn.open_table(TABLE)?;
        for key in keys {
            table.remove(key.as_ref())?;
        }
        drop(table);
        Ok(txn.commit()?)
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(TABLE)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = table.get(key.as_ref())? {
                visit(value.value());
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(TABLE)?;
        let mut seen = 0;
        for entry in table.range(from..)?.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = entry?;
            visit(key.value(), value.value());
            seen += 1;
        }
        Ok(seen)
    }

    fn scan_back(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(TABLE)?;
        let mut seen = 0;
        for entry in table.range(..=from)?.rev().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
            let (key, value) = entry?;
            visit(key.value(), value.value());
            seen += 1;
        }
        Ok(seen)
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        let txn = self.db.begin_read()?;
        let table = txn.open_table(TABLE)?;
        work(&mut |key, visit| {
            let value = table.get(key)?;
            Ok(value.map(|value| visit(value.value())).is_some())
        })
    }

    fn finish(&self) -> Result<()> {
        // A durable commit makes all before it durable.
        Ok(self.db.begin_write()?.commit()?)
    }

    fn close(self) -> Result<()> {
        Ok(self.db.close()?)
    }
}
