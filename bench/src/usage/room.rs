//! How much room a disk has left.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;

/// Bytes that a user without privileges can still write to the file system of `dir`.
///
/// # Errors
/// Those of `statvfs`.
pub(crate) fn free_space(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
