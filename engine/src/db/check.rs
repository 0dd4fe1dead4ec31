//! Checking a whole database.
#![forbid(unsafe_code)]

use super::Db;
use super::inspect::Fault;
use crate::error::Result;
use bifold_page_source::PageSource;

/// What [`Db::check`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Tables looked at.
    pub tables: u64,
    /// Entries in them.
    pub entries: u64,
    /// Pages looked at: of trees and of large values.
    pub pages: u64,
    /// Pages of the file that are free.
    pub free_pages: u64,
    /// What is wrong, in the order it was found; at most 1000.
    pub faults: Vec<Fault>,
    /// Faults beyond those.
    pub faults_omitted: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

impl<S: PageSource> Db<S> {
    /// Looks at everything the newest commit consists of, and says what is wrong.
    ///
    /// Every page of the catalog and of every table is read: its checksum, level, birth, the order of keys within and
    /// across pages, the counts that branches keep, and the bytes of all large values. Each page of the file must be
    /// exactly one of: head, in use, free, free map, or dropped and waiting for a checkpoint or for read transactions.
    /// A damaged page is one fault; what hangs below it is unknown then, and lost pages are not looked for.
    ///
    /// It waits for its turn like [`write`](Self::write). Writers wait until it is done, unless all that is committed
    /// has been checkpointed: then they go on while the tables are read. Readers never wait. Takes a bit of memory for
    /// each page of the file.
    ///
    /// # Errors
    /// I/O errors; [`Error::WriterHeldHere`](crate::Error::WriterHeldHere) if this thread has a write transaction;
    /// [`Error::UnsupportedFeature`](crate::Error::UnsupportedFeature) for a table of a kind this version does not
    /// know. Damage is no error but a fault.
    pub fn check(&self) -> Result<CheckReport> {
        let inspection = self.inspect(true)?;
        Ok(CheckReport {
            tables: inspection.tables.len() as u64,
            entries: inspection.tables.iter().map(|table| table.entries).sum(),
            pages: inspection.visited,
            free_pages: inspection.pages.free,
            faults: inspection.faults,
            faults_omitted: inspection.faults_omitted,
        })
    }
}
