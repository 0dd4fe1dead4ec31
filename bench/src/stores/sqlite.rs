//! `SQLite`, through rusqlite, which bundles it.
#![forbid(unsafe_code)]

use crate::store::GetHeld;
use crate::{Durability, Order, Result, Setup, Store};
use rusqlite::{Connection, OptionalExtension, Rows, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A `SQLite` database with one table `WITHOUT ROWID`, in WAL mode. Writers share one connection, one after the other;
/// a reader takes a connection of its own out of those that are idle.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    cache_kib: u64,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl Sqlite {
    /// Runs `work` in a transaction of the connection that writes.
    fn write(&self, work: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let txn = connection.transaction()?;
        work(&txn)?;
        Ok(txn.commit()?)
    }

    /// Runs `work` in a read transaction of an idle connection.
    fn read<R>(&self, work: impl FnOnce(&Connection) -> Result<R>) -> Result<R> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, self.cache_kib)?,
        };
        let txn = connection.transaction()?;
        let result = work(&txn)?;
        txn.commit()?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(result)
    }
}

fn connect(path: &Path, cache_kib: u64) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A negative number is one of KiB.
    connection.pragma_update(None, "cache_size", -i64::try_from(cache_kib)?)?;
    Ok(connection)
}

/// Shows the first `limit` entries of a query; how many there were.
fn show(mut rows: Rows<'_>, limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
    let mut seen = 0;
    while seen < limit
        && let Some(row) = rows.next()?
    {
        visit(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        seen += 1;
    }
    Ok(seen)
}

impl Store for Sqlite {
    const NAME: &'static str = "sqlite";
    const SYNCED: Option<&'static str> = Some("fdatasync of its WAL (synchronous=FULL)");
    const UNSYNCED: Option<&'static str> =
        Some("synchronous=NORMAL: syncs only when the WAL is checkpointed");
    const CHECKPOINTS: bool = true;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let path = dir.join("data.sqlite");
        // The writer's and the readers' caches make up what a store may have.
        let cache_kib = setup.cache_bytes / 1024 / setup.readers.saturating_add(1);
        let writer = connect(&path, cache_kib)?;
        let synchronous = match setup.durability {
            Durability::Synced => "FULL",
            Durability::Unsynced => "NORMAL",
        };
        writer.pragma_update(None, "synchronous", synchronous)?;
        writer.pragma_update(None, "wal_autocheckpoint", i64::try_from(setup.delta_bytes / 2 / 4096)?)?;
        writer.execute_batch(
            "CREATE TABLE IF NOT EXISTS bench (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
        )?;
        Ok(Self { path, cache_kib, writer: Mutex::new(writer), readers: Mutex::new(Vec::new()) })
    }

    fn put<K, V>(&self, _order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        self.write(|connection| {
            let mut put = connection.prepare_cached("INSERT OR REPLACE INTO bench VALUES (?1, ?2)")?;
            for (key, value) in entries {
                put.execute(params![key.as_ref(), value.as_ref()])?;
            }
            Ok(())
        })
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        self.write(|connection| {
            let mut delete = connection.prepare_cached("DELETE FROM bench WHERE k = ?1")?;
            for key in keys {
                delete.execute(params![key.as_ref()])?;
            }
            Ok(())
        })
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        self.read(|connection| {
            let mut get = connection.prepare_cached("SELECT v FROM bench WHERE k = ?1")?;
            let mut found = 0;
            for key in keys {
                let seen = get.query_row(params![key.as_ref()], |row| {
                    visit(row.get_ref(0)?.as_blob()?);
                    Ok(())
                });
                found += u64::from(seen.optional()?.is_some());
            }
            Ok(found)
        })
    }

    fn scan(&self, from: &[u8], limit: u64, visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        self.read(|connection| {
            let mut scan = connection.prepare_cached("SELECT k, v FROM bench WHERE k >= ?1 ORDER BY k")?;
            show(scan.query(params![from])?, limit, visit)
        })
    }

    fn scan_back(&self, from: &[u8], limit: u64, visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        self.read(|connection| {
            let mut scan =
                connection.prepare_cached("SELECT k, v FROM bench WHERE k <= ?1 ORDER BY k DESC")?;
            show(scan.query(params![from])?, limit, visit)
        })
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        self.read(|connection| {
            // The transaction sees what there is when it first reads.
            connection.query_row("SELECT count(*) FROM (SELECT 1 FROM bench LIMIT 1)", [], |_| Ok(()))?;
            let mut get = connection.prepare_cached("SELECT v FROM bench WHERE k = ?1")?;
            work(&mut |key, visit| {
                let seen = get.query_row(params![key], |row| {
                    visit(row.get_ref(0)?.as_blob()?);
                    Ok(())
                });
                Ok(seen.optional()?.is_some())
            })
        })
    }

    fn finish(&self) -> Result<()> {
        let connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 { Ok(()) } else { Err("SQLite's checkpoint met a reader".into()) }
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}
