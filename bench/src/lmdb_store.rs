//! LMDB, through heed.
#![expect(
    unsafe_code,
    reason = "opening an LMDB environment is unsafe: its map must not be changed by others"
)]

use crate::{Order, Result, Setup, Store};
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, PutFlags};
use std::ops::Bound;
use std::path::Path;

/// An LMDB environment with one unnamed database: read-only map, durable commits, the kernel's read-ahead on.
#[derive(Debug)]
pub struct Lmdb {
    env: Env,
    db: Database<'static, Bytes, Bytes>,
}

impl Store for Lmdb {
    const NAME: &'static str = "lmdb";

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let mut options = EnvOpenOptions::new();
        // A multiple of every system page size, as LMDB wants it.
        options.map_size((setup.file_bytes_max as usize).next_multiple_of(1 << 20));
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

    fn check(&self) -> Result<Option<u64>> {
        Ok(None)
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
