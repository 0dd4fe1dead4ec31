//! Creating a database: written and synced without its name, then linked under it, then the directory synced.
//!
//! So after a crash at any moment the path is absent or a complete, empty database (rules R8, P4), and of several
//! creators exactly one succeeds.
#![forbid(unsafe_code)]

use super::lock::LockedFile;
use crate::error::{Error, Result};
use crate::meta::{head_pages, initial_head};
use bifold_page_source::{Access, File, FileSystem, PageSize};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A database that does not have its name yet. It is gone when this and all handles on it are dropped.
#[derive(Debug)]
pub(crate) struct Unnamed {
    fs: Arc<dyn FileSystem>,
    file: Arc<dyn File>,
    /// The name it is made for.
    path: PathBuf,
}

/// Makes an empty, closed database that is to become `path`. `file_id` seeds its checksums; `None` chooses one at
/// random.
///
/// # Errors
/// An `Io` error of kind `AlreadyExists` if something bears the name; `DiskFull`; other I/O errors.
pub(crate) fn create_unnamed(
    fs: &Arc<dyn FileSystem>,
    path: &Path,
    page_size: PageSize,
    file_id: Option<u64>,
) -> Result<Unnamed> {
    let (file, path) = write_head(&**fs, path, page_size, file_id)?;
    Ok(Unnamed { fs: Arc::clone(fs), file, path })
}

impl Unnamed {
    /// The file.
    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// The file as one that was opened. Nobody else can open it, so it needs no lock.
    pub(crate) fn locked(&self) -> LockedFile {
        LockedFile { file: Arc::clone(&self.file), path: self.path.clone(), access: Access::ReadWrite }
    }

    /// Makes what was written durable, and gives it its name, which is durable too when this returns.
    ///
    /// # Errors
    /// As [`create`].
    pub(crate) fn publish(self) -> Result<()> {
        publish(&*self.fs, &*self.file, &self.path)
    }
}

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
    let (file, path) = write_head(fs, path, page_size, file_id)?;
    publish(fs, &*file, &path)
}

/// Writes the head of an empty database to a file without a name; returns it, and the name it is to have.
fn write_head(
    fs: &dyn FileSystem,
    path: &Path,
    page_size: PageSize,
    file_id: Option<u64>,
) -> Result<(Arc<dyn File>, PathBuf)> {
    let failed = |e| Error::io("create", 0, e);
    let path = fs.canonicalize(path).map_err(failed)?;
    if fs.identity(&path).map_err(failed)?.is_some() {
        return Err(failed(ErrorKind::AlreadyExists.into()));
    }
    let len = head_pages(page_size) * page_size.bytes() as u64;
    let file = fs.create_unnamed(&path).map_err(|e| no_room("create", len, e))?;
    file.allocate(0, len).map_err(|e| no_room("grow", len, e))?;
    let head = initial_head(page_size, file_id.unwrap_or_else(random_file_id));
    file.write_at(&head, 0).map_err(|e| no_room("write", len, e))?;
    Ok((file, path))
}

/// Syncs a file, gives it its name, and makes that durable.
fn publish(fs: &dyn FileSystem, file: &dyn File, path: &Path) -> Result<()> {
    file.sync().map_err(|e| Error::io("sync", 0, e))?;
    fs.publish(file, path).map_err(|e| no_room("create", 0, e))?;
    fs.sync_dir(path).map_err(|e| Error::io("sync directory", 0, e))
}

fn no_room(op: &'static str, wanted: u64, e: io::Error) -> Error {
    match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::DiskFull { wanted },
        _ => Error::io(op, 0, e),
    }
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
