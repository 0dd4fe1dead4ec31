//! LMDB 0.9.70, through heed, with a read-only map (its default) and with a writable one.
#![expect(
    unsafe_code,
    reason = "opening an LMDB environment is unsafe: its map must not be changed by others, and some flags give up safety"
)]

use crate::store::GetHeld;
use crate::{Durability, Order, Result, Setup, Store};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, PutFlags};
use std::ops::Bound;
use std::path::Path;

/// An LMDB environment with one unnamed database; the kernel's read-ahead is on. With `WRITE_MAP`, changed pages are
/// written through the map instead of by `pwrite`.
#[derive(Debug)]
pub struct Lmdb<const WRITE_MAP: bool> {
    env: Env,
    db: Database<'static, Bytes, Bytes>,
}

impl<const WRITE_MAP: bool> Store for Lmdb<WRITE_MAP> {
    const NAME: &'static str = if WRITE_MAP { "lmdb-wmap" } else { "lmdb" };
    const SYNCED: Option<&'static str> = Some(if WRITE_MAP {
        "msync(MS_SYNC) of the map, then of the meta page"
    } else {
        "fdatasync, then a write of the meta page through a descriptor with O_DSYNC"
    });
    const UNSYNCED: Option<&'static str> = Some("MDB_NOSYNC: a crash of the system may corrupt the database");
    const CHECKPOINTS: bool = false;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let mut options = EnvOpenOptions::new();
        // A multiple of every system page size, as LMDB wants it.
        options.map_size((setup.file_bytes_max as usize).next_multiple_of(1 << 20));
        let mut flags = EnvFlags::empty();
        flags.set(EnvFlags::WRITE_MAP, WRITE_MAP);
        flags.set(EnvFlags::NO_READ_AHEAD, !setup.read_ahead);
        flags.set(EnvFlags::NO_SYNC, setup.durability == Durability::Unsynced);
        // SAFETY: NO_SYNC risks the benchmark's own data when the system crashes, and WRITE_MAP when this process
        // writes where it must not: neither is kept beyond the run.
        unsafe { options.flags(flags) };
        // SAFETY: the directory is the benchmark's own; nobody else opens or changes what lies in it.
        let env = unsafe { options.open(dir)? };
        let created = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
            opener.create_database(txn, None).map(CommitOrAbort::<_, ()>::Commit)
        });
        let db = created?.unwrap_commit();
        Ok(Self { env, db })
    }

    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let flags = if order == Order::Sorted { PutFlags::APPEND } else { PutFlags::empty() };
        let mut txn = self.env.write_txn()?;
        for (key, value) in entries {
            self.db.put_with_flags(&mut txn, flags, key.as_ref(), value.as_ref())?;
        }
        Ok(txn.commit()?)
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        let mut txn = self.env.write_txn()?;
        for key in keys {
            self.db.delete(&mut txn, key.as_ref())?;
        }
        Ok(txn.commit()?)
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.env.read_txn()?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = self.db.get(&txn, key.as_ref())? {
                visit(value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.env.read_txn()?;
        // LMDB takes no empty key, not even as a bound.
        if from.is_empty() {
            show(self.db.iter(&txn)?, limit, visit)
        } else {
            show(self.db.range(&txn, &(Bound::Included(from), Bound::Unbounded))?, limit, visit)
        }
    }

    fn scan_back(&self, from: &[u8], limit: u64, visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.env.read_txn()?;
        show(self.db.rev_range(&txn, &(Bound::Unbounded, Bound::Included(from)))?, limit, visit)
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        let txn = self.env.read_txn()?;
        work(&mut |key, visit| Ok(self.db.get(&txn, key)?.map(visit).is_some()))
    }

    fn finish(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

/// Shows the first `limit` of `entries`; how many there were.
fn show<'t>(
    entries: impl Iterator<Item = heed::Result<(&'t [u8], &'t [u8])>>,
    limit: u64,
    mut visit: impl FnMut(&[u8], &[u8]),
) -> Result<u64> {
    let mut seen = 0;
    for entry in entries.take(usize::try_from(limit).unwrap_or(usize::MAX)) {
        let (key, value) = entry?;
        visit(key, value);
        seen += 1;
    }
    Ok(seen)
}
