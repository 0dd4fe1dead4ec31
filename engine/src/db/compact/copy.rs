//! Compaction into a new file: a snapshot's tables, loaded in key order into a database that gets its name at the end.
#![forbid(unsafe_code)]

use super::CompactReport;
use crate::db::shared::Mode;
use crate::db::{Builder, Db};
use crate::error::{Error, Result};
use crate::open;
use bifold_page_source::PageSource;
use std::path::Path;

impl<S: PageSource> Db<S> {
    /// Copies the newest commit into a new database at `path`, with pages of the same size: packed full, in key order,
    /// without unused space. Readers and writers go on meanwhile. It is durable when this returns. The file bears its
    /// name only when it is complete: a crash or an error before leaves nothing of that name. (Where the file system
    /// has no files without names, a crash may leave one with a name of its own.) A database in memory is written to
    /// disk.
    ///
    /// Memory: some MiB, and the largest value under a backend that reads values into memory.
    ///
    /// # Errors
    /// An I/O error of kind `AlreadyExists` if something bears the name; [`Error::DiskFull`]; damage, and other I/O
    /// errors.
    pub fn compact_into(&self, path: impl AsRef<Path>) -> Result<CompactReport> {
        let shared = self.shared();
        let mut options = Builder::new().page_size(shared.store.page_size.bytes());
        if shared.mode != Mode::Ephemeral {
            options = options.over(&shared.fs);
        }
        self.compact_into_with(path, &options)
    }

    /// The same, with options of its own: those that a database is created with, and the backend's.
    ///
    /// # Errors
    /// As [`compact_into`](Self::compact_into); [`Error::InvalidOption`]; [`Error::KeyTooLong`] if a key does not fit
    /// the page size chosen.
    pub fn compact_into_with(&self, path: impl AsRef<Path>, options: &Builder<S>) -> Result<CompactReport> {
        let mut report = CompactReport { bytes_before: self.file_bytes(), ..CompactReport::default() };
        let (target, unnamed) = options.create_unnamed(path.as_ref())?;
        report.entries = self.copy_to(&target)?;
        target.close()?;
        report.bytes_after = unnamed.file().len().map_err(|e| Error::io("length", 0, e))?;
        unnamed.publish()?;
        Ok(report)
    }

    /// Loads all tables into `target`, in one transaction; how many entries.
    fn copy_to(&self, target: &Self) -> Result<u64> {
        let snapshot = self.read_own();
        let txn = target.write()?;
        let mut entries = 0;
        for name in snapshot.tables()? {
            let from = snapshot.table(&name)?;
            let table = txn.table(&name)?;
            let mut load = table.bulk_load()?;
            for entry in &from {
                let (key, value) = entry?;
                load.push(key, &value)?;
            }
            entries += load.finish()?;
        }
        // There is no name yet, beside which a log could lie.
        txn.attempt(|state| {
            state.log.overflow();
            Ok(())
        })?;
        txn.commit()?;
        Ok(entries)
    }

    /// Bytes of the file.
    pub(super) fn file_bytes(&self) -> u64 {
        let store = &self.shared().store;
        store.source.len_pages() << store.page_size.shift()
    }
}

impl<S: PageSource> Builder<S> {
    /// Makes a database for `path`, which does not have that name yet, nor any other.
    fn create_unnamed(&self, path: &Path) -> Result<(Db<S>, open::Unnamed)> {
        let unnamed = self.make_unnamed(path)?;
        let db = self.open_unnamed(&unnamed)?;
        Ok((db, unnamed))
    }
}
