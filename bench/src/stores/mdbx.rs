//! libmdbx, through signet-libmdbx, which bundles it.
#![forbid(unsafe_code)]

use crate::store::GetHeld;
use crate::{Durability, Order, Result, Setup, Store};
use signet_libmdbx::sys::EnvironmentKind;
use signet_libmdbx::{
    Database, DatabaseFlags, Environment, EnvironmentFlags, Geometry, Mode, SyncMode, WriteFlags,
};
use std::borrow::Cow;
use std::path::Path;

/// A key and its value.
type Entry<'t> = (Cow<'t, [u8]>, Cow<'t, [u8]>);

/// A libmdbx environment with its main database: read-only map, the kernel's read-ahead on.
#[derive(Debug)]
pub struct Mdbx {
    env: Environment,
    db: Database,
    durability: Durability,
}

impl Store for Mdbx {
    const NAME: &'static str = "mdbx";
    const SYNCED: Option<&'static str> =
        Some("fdatasync of the data and of the meta page (MDBX_SYNC_DURABLE)");
    const UNSYNCED: Option<&'static str> = Some(
        "MDBX_SAFE_NOSYNC: pages freed since its last sync are not used again; it syncs by itself now and then",
    );
    const CHECKPOINTS: bool = false;

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let sync_mode = match setup.durability {
            Durability::Synced => SyncMode::Durable,
            Durability::Unsynced => SyncMode::SafeNoSync,
        };
        let mut builder = Environment::builder();
        builder
            .set_kind(EnvironmentKind::Default)
            .set_flags(EnvironmentFlags {
                no_rdahead: !setup.read_ahead,
                ..EnvironmentFlags::from(Mode::ReadWrite { sync_mode })
            })
            .set_geometry(Geometry { size: Some(..setup.file_bytes_max as usize), ..Geometry::default() });
        if setup.durability == Durability::Unsynced {
            // Without this it syncs whenever the file as it is has no room left.
            builder.set_sync_bytes((setup.delta_bytes / 2) as usize);
        }
        let env = builder.open(dir)?;
        let txn = env.begin_rw_unsync()?;
        let db = txn.create_db(None, DatabaseFlags::empty())?;
        txn.commit()?;
        Ok(Self { env, db, durability: setup.durability })
    }

    fn put<K, V>(&self, order: Order, entries: impl Iterator<Item = (K, V)>) -> Result<()>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let flags = if order == Order::Sorted { WriteFlags::APPEND } else { WriteFlags::empty() };
        let txn = self.env.begin_rw_unsync()?;
        for (key, value) in entries {
            txn.put(self.db, key, value, flags)?;
        }
        Ok(txn.commit()?)
    }

    fn delete<K>(&self, keys: impl Iterator<Item = K>) -> Result<()>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.env.begin_rw_unsync()?;
        for key in keys {
            txn.del(self.db, key, None)?;
        }
        Ok(txn.commit()?)
    }

    fn gets<K>(&self, keys: impl Iterator<Item = K>, mut visit: impl FnMut(&[u8])) -> Result<u64>
    where
        K: AsRef<[u8]>,
    {
        let txn = self.env.begin_ro_unsync()?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = txn.get::<Cow<'_, [u8]>>(self.db.dbi(), key.as_ref())? {
                visit(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.env.begin_ro_unsync()?;
        let mut cursor = txn.cursor(self.db)?;
        let mut seen = 0;
        let mut entry = if from.is_empty() { cursor.first()? } else { cursor.set_range(from)? };
        while let Some((key, value)) = entry.filter(|_| seen < limit) {
            let (key, value): (Cow<'_, [u8]>, Cow<'_, [u8]>) = (key, value);
            visit(&key, &value);
            seen += 1;
            entry = cursor.next()?;
        }
        Ok(seen)
    }

    fn scan_back(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let txn = self.env.begin_ro_unsync()?;
        let mut cursor = txn.cursor(self.db)?;
        let mut seen = 0;
        let mut entry: Option<Entry<'_>> = match cursor.set_range(from)? {
            Some((key, value)) if AsRef::<[u8]>::as_ref(&key) == from => Some((key, value)),
            Some(_) => cursor.prev()?,
            None => cursor.last()?,
        };
        while let Some((key, value)) = entry.filter(|_| seen < limit) {
            visit(&key, &value);
            seen += 1;
            entry = cursor.prev()?;
        }
        Ok(seen)
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        let txn = self.env.begin_ro_unsync()?;
        work(&mut |key, visit| {
            let value = txn.get::<Cow<'_, [u8]>>(self.db.dbi(), key)?;
            Ok(value.map(|value| visit(&value)).is_some())
        })
    }

    fn finish(&self) -> Result<()> {
        // Durable commits leave nothing; and a sync by force beside a writer ends in a failed assertion of libmdbx.
        if self.durability == Durability::Unsynced {
            self.env.sync(true)?;
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}
