//! What can go wrong beneath the engine: an I/O call, or bytes that are not what was written.
#![forbid(unsafe_code)]

use crate::PageId;
use std::io;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a page source or of the file beneath it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the operating system failed.
    #[error("{op} at byte {offset}: {source}")]
    Io {
        /// What was being done: `read`, `write`, `sync`, `grow`, …
        op: &'static str,
        /// Where in the file, in bytes; 0 where the call has no place.
        offset: u64,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// A page does not hold what was written to it.
    #[error("page {page} is damaged: {what}")]
    Corrupt {
        /// The page.
        page: PageId,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Error {
    /// Wraps an I/O error with the call and the place it came from.
    pub fn io(op: &'static str, offset: u64, source: io::Error) -> Self {
        Self::Io { op, offset, source }
    }
}
