//! Creating a database: written and synced without its name, then linked under it, then the directory synced.
//!
//! So after a crash at any moment the path is absent or a complete, empty database (rules R8, P4), and of several
//! creators exactly one succeeds.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::meta::{head_pages, initial_head};
use bifold_page_source::{FileSystem, PageSize};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

/// Creates an empty, closed database at `path`, durable when this returns. `file_id` seeds its checksums; `None`
/// chooses one at random.
///
/// # Errors
/// An `Io` error of kind `AlreadyExists` if something bears the name; `DiskFull`; other I/O errors. Nothing bears
/// the name after an error, but for one: when only the directory's sync failed, there is a complete database there.
pub(crate) fn create(
    fs: &dyn FileSystem,
    path: &Path,
    page_size: PageSize,
    file_id: Option<u64>,
) -> Result<()> {
    let failed = |e| Error::io("create", 0, e);
    let path = fs.canonicalize(path).map_err(failed)?;
    if fs.identity(&path).map_err(failed)?.is_some() {
        return Err(failed(ErrorKind::AlreadyExists.into()));
    }
    let len = head_pages(page_size) * page_size.bytes() as u64;
    let no_room = |op, e: io::Error| match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull { wanted: len },
        _ => Error::io(op, 0, e),
    };
    let file = fs.create_unnamed(&path).map_err(|e| no_room("create", e))?;
    file.allocate(0, len).map_err(|e| no_room("grow", e))?;
    let head = initial_head(page_size, file_id.unwrap_or_else(random_file_id));
    file.write_at(&head, 0).map_err(|e| no_room("write", e))?;
    file.sync().map_err(|e| Error::io("sync", 0, e))?;
    fs.publish(&*file, &path).map_err(|e| no_room("create", e))?;
    fs.sync_dir(&path).map_err(|e| Error::io("sync directory", 0, e))
}

/// A number that no other file or log has: from the randomness the system gives every process for its hash tables,
/// mixed with time, process and thread. It keeps pages of different files apart and is no secret.
pub(crate) fn random_file_id() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    SystemTime::now().hash(&mut hasher);
    std::process::id().hash(&mut hasher);
    std::thread::current().id().hash(&mut hasher);
    hasher.finish()
}
