//! The engine's error: what happened, and where.
#![forbid(unsafe_code)]

use bifold_page_source::PageId;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in the database's files something was found to be wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Place {
    /// A page of the database file.
    Page(PageId),
    /// One of the four slots of the database file's head, by its number.
    Meta(u64),
    /// A 512-byte sector of the log file, by its number.
    Log(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(page) => write!(f, "page {page}"),
            Self::Meta(slot) => write!(f, "slot {slot} of the file's head"),
            Self::Log(sector) => write!(f, "sector {sector} of the log"),
        }
    }
}

/// Everything that can go wrong.
///
/// An error of a commit means *not committed*, with one exception: [`Error::OutcomeUnknown`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call.
    #[error("{op} at byte {offset}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// Where in the file, in bytes.
        offset: u64,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The file is damaged. Nothing read from the damaged place was returned.
    #[error("{place} is damaged: {what}")]
    Corrupt {
        /// The damaged place.
        place: Place,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The disk is full. The transaction that met it is aborted; everything else goes on.
    #[error("the disk is full (wanted {wanted} more bytes)")]
    DiskFull {
        /// How many bytes the file was to grow by.
        wanted: u64,
    },
    /// Another handle, in this process or another, has the file open in a way that excludes this one.
    #[error("the database is open elsewhere")]
    Locked,
    /// The file is not a Bifold database.
    #[error("not a Bifold database: {0}")]
    NotADatabase(&'static str),
    /// The file was written by a version with features this one does not know.
    #[error("the file needs features this version does not know (bits {0:#x})")]
    UnsupportedFeature(u64),
    /// The file's format version is not one this version reads.
    #[error("the file's format version is {0}")]
    UnsupportedVersion(u32),
    /// The database was not closed and its log is gone; without it, commits would be lost in silence.
    #[error("the database was not closed, and its log {0} is missing or belongs to another file")]
    LogMissing(Arc<str>),
    /// The database was not closed; opening it for reading only would need a recovery that cannot be done.
    #[error("the database needs recovery, which opening for reading only could not do: {0}")]
    NeedsRecovery(&'static str),
    /// No table of this name.
    #[error("no table named {0:?}")]
    NoSuchTable(Arc<str>),
    /// A table of this name is there already.
    #[error("a table named {0:?} exists")]
    TableExists(Arc<str>),
    /// A key longer than the page size allows.
    #[error("a key of {len} bytes; the limit for this page size is {max}")]
    KeyTooLong {
        /// The key's length in bytes.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A value longer than the format allows.
    #[error("a value of {len} bytes; the limit is {max}")]
    ValueTooLong {
        /// The value's length in bytes.
        len: u64,
        /// The longest allowed.
        max: u64,
    },
    /// `append`, or a bulk load, was given a key that is not beyond the last.
    #[error("the appended key is not greater than the last key")]
    NotInOrder,
    /// A call that changes something failed half-way earlier; the transaction can only be dropped.
    #[error("an earlier call of this transaction failed; it can only be dropped")]
    TransactionFailed,
    /// An earlier write or sync failed; the database can be read but not written until it is opened again.
    #[error("the database takes no more writes since: {0}")]
    Poisoned(Arc<Error>),
    /// The commit's sync failed: after reopening, the transaction is there or not.
    #[error("whether the commit is durable is unknown: {0}")]
    OutcomeUnknown(Arc<Error>),
    /// The database was opened for reading only.
    #[error("the database is open for reading only")]
    ReadOnly,
    /// This thread holds the write transaction already; waiting for it would never end.
    #[error("this thread holds the write transaction already")]
    WriterHeldHere,
    /// Another write transaction is open.
    #[error("another write transaction was still open after {waited:?}")]
    WriterBusy {
        /// How long was waited.
        waited: Duration,
    },
    /// The savepoint belongs to another transaction or was rolled back.
    #[error("the savepoint is no longer valid")]
    SavepointInvalid,
    /// An option has a value that cannot be used.
    #[error("option {option}: {what}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// What is wrong with its value.
        what: &'static str,
    },
    /// A fault in Bifold itself. Nothing more is written.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Error {
    /// An I/O error of a call on a file.
    pub(crate) fn io(op: &'static str, offset: u64, source: io::Error) -> Self {
        Self::Io { op, offset, source: Arc::new(source) }
    }

    /// Whether an error of the operating system says that there is no room.
    pub(crate) fn is_full(error: &io::Error) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }

    /// Damage found in the log.
    pub(crate) fn log(sector: u64, what: &'static str) -> Self {
        Self::Corrupt { place: Place::Log(sector), what }
    }

    /// Damage found in a page.
    pub(crate) fn page(page: PageId, what: &'static str) -> Self {
        Self::Corrupt { place: Place::Page(page), what }
    }
}

impl From<bifold_page_source::Error> for Error {
    fn from(error: bifold_page_source::Error) -> Self {
        match error {
            bifold_page_source::Error::Corrupt { page, what } => Self::page(page, what),
            bifold_page_source::Error::Io { op, offset, source } => Self::io(op, offset, source),
            _ => Self::Internal("an unknown kind of source error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_small() {
        assert!(size_of::<Error>() <= 40, "{} bytes", size_of::<Error>());
    }
}
