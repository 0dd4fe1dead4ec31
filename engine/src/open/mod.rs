//! From a path to a file that is locked, and whose newest meta can be believed.
//!
//! - [`create`]: an empty database that appears under its name complete, or not at all.
//! - [`lock`]: opened, locked against other handles, and still the file that bears the name.
//! - [`settle`]: the newest meta, as the disk has it and not as the page cache remembers it.
#![forbid(unsafe_code)]

#[cfg(test)]
mod crash_tests;
pub(crate) mod create;
mod lock;
mod settle;
#[cfg(test)]
mod tests;

pub(crate) use create::{Unnamed, create, create_unnamed};
pub(crate) use lock::{LockedFile, log_path, open_locked};
pub(crate) use settle::settle_head;

use crate::error::{Error, Result};
use bifold_page_source::{Access, FileSystem, PageSize};
use std::io::ErrorKind;
use std::path::Path;

/// How often names that change under us are followed.
const ATTEMPTS: usize = 16;

/// Opens the database at `path` to read and write, after creating it if there is none. Whoever loses a race of
/// creations opens what the winner made. `page_size` and `file_id` are only for a file created here.
///
/// # Errors
/// As [`create`] and [`open_locked`]; `Locked` among them if another handle was faster to lock the file.
pub(crate) fn open_or_create(
    fs: &dyn FileSystem,
    path: &Path,
    page_size: PageSize,
    file_id: Option<u64>,
) -> Result<LockedFile> {
    let mut last = Error::Locked;
    for _ in 0..ATTEMPTS {
        match open_locked(fs, path, Access::ReadWrite) {
            Err(e) if is_kind(&e, ErrorKind::NotFound) => last = e,
            other => return other,
        }
        match create(fs, path, page_size, file_id) {
            Err(e) if is_kind(&e, ErrorKind::AlreadyExists) => {}
            Err(e) => return Err(e),
            Ok(()) => {}
        }
    }
    Err(last)
}

/// Whether an error is the operating system's of this kind: `NotFound` from opening, `AlreadyExists` from creating.
pub(crate) fn is_kind(error: &Error, kind: ErrorKind) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == kind)
}
