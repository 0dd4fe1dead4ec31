//! The newest meta of a file that was just opened, as the disk has it (rule R2).
//!
//! Whoever had the file open before may have met a failed sync. The kernel then holds bytes for clean that never
//! reached the disk, and shows them to every reader until memory runs short. So first comes a sync, then a read
//! past the page cache, then, to write, what heals the head. Pages that a meta names need none of this: they were
//! synced before the meta was written.
#![forbid(unsafe_code)]

use super::lock::{LockedFile, log_path};
use crate::error::{Error, Result};
use crate::meta::{HEAD_LEN, Head, LogState, Meta};
use bifold_page_source::{Access, DirectFile, File, FileSystem};
use std::io::{self, ErrorKind};

/// What is dropped from the cache: the head, and as much more as takes whole pages on kernels with large ones.
const CACHE_RANGE: u64 = 64 * 1024;

/// The newest meta of a locked file, durable. To write, the head is healed first; see [`crate::meta::Head`].
///
/// # Errors
/// As [`Head::read`]; to write, `UnsupportedFeature` too if the file has features this version may only read; I/O
/// errors, after which nothing is known of the file.
pub(crate) fn settle_head(fs: &dyn FileSystem, locked: &LockedFile) -> Result<Meta> {
    let file = &*locked.file;
    let writing = locked.access == Access::ReadWrite;
    match file.sync() {
        // Nothing can be pending on a file system that takes no writes.
        Err(e) if !writing && e.kind() == ErrorKind::ReadOnlyFilesystem => {}
        other => other.map_err(|e| Error::io("sync", 0, e))?,
    }
    let head = read_past_cache(file)?;
    if writing {
        head.newest.check_writable()?;
        if was_closed(fs, locked, &head.newest)? {
            head.heal(file)?;
        } else {
            head.renew(file)?;
        }
    }
    Ok(head.newest)
}

/// Whether the file was closed without an error: its log is removed only after the meta that says *closed* was
/// synced.
fn was_closed(fs: &dyn FileSystem, locked: &LockedFile, newest: &Meta) -> Result<bool> {
    let log = fs.identity(&log_path(&locked.path)).map_err(|e| Error::io("identity", 0, e))?;
    Ok(newest.log == LogState::Closed && log.is_none())
}

/// Reads the head from the disk. Dropping the cache alone does not do: the kernel keeps pages that someone has
/// mapped, and folios that reach beyond the range.
fn read_past_cache(file: &dyn File) -> Result<Head> {
    let failed = |e| Error::io("read", 0, e);
    file.drop_cache(0, CACHE_RANGE).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    // Where there is no such handle, be it for want of `/proc`, the dropped cache has to do.
    if len >= HEAD_LEN
        && let Ok(Some(direct)) = file.direct()
    {
        match read_direct(&direct) {
            Ok(bytes) => return Head::parse(&bytes, len),
            Err(e) if e.kind() == ErrorKind::InvalidInput => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Head::read(file)
}

/// The first [`HEAD_LEN`] bytes by direct I/O. `InvalidInput` if they cannot be aligned as it wants them.
fn read_direct(direct: &DirectFile) -> io::Result<Vec<u8>> {
    let align = direct.align.max(1);
    let len = HEAD_LEN as usize;
    if !len.is_multiple_of(align) {
        return Err(ErrorKind::InvalidInput.into());
    }
    let mut buffer = vec![0; len + align];
    let start = (align - buffer.as_ptr().addr() % align) % align;
    direct.file.read_at(&mut buffer[start..start + len], 0)?;
    Ok(buffer[start..start + len].to_vec())
}
