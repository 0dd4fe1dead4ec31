//! Opening an existing file and locking it against other handles, of this process or another.
//!
//! The lock is `flock`'s and belongs to the handle: exclusive to write, shared to read. It says something of the
//! file and not of its name, so once it is held, the name must still be this file's: whoever replaces a database
//! by renaming another over it could otherwise leave two writers, each alone in its file.
#![forbid(unsafe_code)]

use super::ATTEMPTS;
use crate::error::{Error, Result};
use bifold_page_source::{Access, File, FileSystem, LockKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open database file, locked for as long as this handle (or a clone of its `Arc`) lives.
#[derive(Clone, Debug)]
pub(crate) struct LockedFile {
    /// The file.
    pub(crate) file: Arc<dyn File>,
    /// Its path with links resolved; the log lies beside it.
    pub(crate) path: PathBuf,
    /// What it was opened for, and so how it is locked.
    pub(crate) access: Access,
}

/// Where the log of the database at `canonical` lies: beside it, with `-log` added to the name.
pub(crate) fn log_path(canonical: &Path) -> PathBuf {
    let mut name = canonical.as_os_str().to_owned();
    name.push("-log");
    name.into()
}

/// Opens and locks the file at `path`. To write, its name is made durable as well: the file may have been created
/// or copied there a moment ago by someone who has not come to it yet, and commits in a file without a name are lost.
///
/// # Errors
/// `Locked` if another handle is in the way, or the path names another file each time it is looked at; I/O errors,
/// among them one of kind `NotFound`.
pub(crate) fn open_locked(fs: &dyn FileSystem, path: &Path, access: Access) -> Result<LockedFile> {
    let kind = match access {
        Access::ReadOnly => LockKind::Shared,
        Access::ReadWrite => LockKind::Exclusive,
    };
    for _ in 0..ATTEMPTS {
        let path = fs.canonicalize(path).map_err(|e| Error::io("open", 0, e))?;
        let file = fs.open(&path, access).map_err(|e| Error::io("open", 0, e))?;
        let locked = file.lock(kind).map_err(|e| Error::io("lock", 0, e))?;
        let own = file.identity().map_err(|e| Error::io("identity", 0, e))?;
        let named = fs.identity(&path).map_err(|e| Error::io("identity", 0, e))?;
        if named != Some(own) {
            continue;
        }
        if !locked {
            return Err(Error::Locked);
        }
        if access == Access::ReadWrite {
            fs.sync_dir(&path).map_err(|e| Error::io("sync directory", 0, e))?;
        }
        return Ok(LockedFile { file, path, access });
    }
    Err(Error::Locked)
}
