//! `MemFs`: a file system in memory, for in-memory databases and for tests.
//!
//! Every file is a memfd, so that what needs a descriptor (mapping, `flock` between handles) works as on a disk.
//! There are no directories: every directory exists, and names are compared after `.` and `..` are resolved by
//! text. Nothing is durable, so the syncs have nothing to do.
#![forbid(unsafe_code)]

use crate::file::{Access, File, FileIdentity, FileSystem};
use crate::os_fs::OsFile;
use crate::sync::Mutex;
use rustix::fs::MemfdFlags;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Weak};

/// A file system in memory. A clone is the same file system; the files go with the last clone and handle.
#[derive(Clone, Debug, Default)]
pub struct MemFs {
    inner: Arc<Mutex<Names>>,
}

/// What bears a name, and what may get one.
#[derive(Debug, Default)]
struct Names {
    /// The handles are the file system's own: handed out are reopened ones, because a `flock` belongs to a handle.
    named: HashMap<PathBuf, OsFile>,
    /// Made by `create_unnamed`, not published; each lives as long as its user's handle.
    unnamed: Vec<Weak<OsFile>>,
}

impl MemFs {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file system that holds these files; of two with one name, the later.
    ///
    /// # Errors
    /// When the system gives no memory or no descriptors.
    pub fn from_files(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> io::Result<Self> {
        let mut names = Names::default();
        for (path, bytes) in files {
            let file = new_file()?;
            file.write_at(&bytes, 0)?;
            names.named.insert(key(&path), file);
        }
        Ok(Self { inner: Arc::new(Mutex::new(names)) })
    }

    /// The whole content of a file.
    ///
    /// # Errors
    /// `NotFound` if nothing bears the name.
    pub fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, Access::ReadOnly)?;
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        file.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// All names, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.inner.lock().named.keys().cloned().collect();
        paths.sort();
        paths
    }
}

impl FileSystem for MemFs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let names = self.inner.lock();
        let file = names.named.get(&key(path)).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(file.reopened(access)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = new_file()?;
        let handle = file.reopened(Access::ReadWrite)?;
        self.inner.lock().name(path, file)?;
        Ok(Arc::new(handle))
    }

    fn create_unnamed(&self, _path: &Path) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(new_file()?);
        let mut names = self.inner.lock();
        names.unnamed.retain(|weak| weak.strong_count() > 0);
        names.unnamed.push(Arc::downgrade(&file));
        Ok(file)
    }

    fn publish(&self, file: &dyn File, path: &Path) -> io::Result<()> {
        let wanted = file.identity()?;
        let mut names = self.inner.lock();
        let mut found = None;
        for (at, weak) in names.unnamed.iter().enumerate() {
            if let Some(file) = weak.upgrade()
                && file.identity()? == wanted
            {
                found = Some((at, file.reopened(Access::ReadWrite)?));
            }
        }
        let (at, own) = found.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a file that waits for its name in this file system",
            )
        })?;
        names.name(path, own)?;
        names.unnamed.swap_remove(at);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.inner.lock();
        let file = names.named.remove(&key(from)).ok_or(io::ErrorKind::NotFound)?;
        names.named.insert(key(to), file);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let gone = self.inner.lock().named.remove(&key(path));
        gone.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(key(path))
    }

    fn identity(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        self.inner.lock().named.get(&key(path)).map(File::identity).transpose()
    }
}

impl Names {
    /// Gives `file` a name unless it is taken.
    fn name(&mut self, path: &Path, file: OsFile) -> io::Result<()> {
        match self.named.entry(key(path)) {
            Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Entry::Vacant(free) => {
                free.insert(file);
                Ok(())
            }
        }
    }
}

/// An empty file without a name.
fn new_file() -> io::Result<OsFile> {
    Ok(OsFile::from_fd(rustix::fs::memfd_create("bifold", MemfdFlags::CLOEXEC)?))
}

/// The one spelling under which a path is kept.
fn key(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            _ => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LockKind;

    #[test]
    fn files_are_kept_by_name_and_shared_by_clones() {
        let fs = MemFs::new();
        let path = Path::new("dir/a");
        let file = fs.create_new(path).unwrap();
        assert_eq!(fs.create_new(path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        file.write_at(b"hello", 3).unwrap();
        let again = fs.clone().open(Path::new("dir/x/.././a"), Access::ReadOnly).unwrap();
        let mut buf = [9; 8];
        again.read_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"\0\0\0hello");
        assert_eq!(again.read_at(&mut buf, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(again.write_at(b"x", 0).is_err(), "a handle opened for reading writes nothing");
        assert_eq!(again.identity().unwrap(), file.identity().unwrap());
        assert_eq!(FileSystem::identity(&fs, path).unwrap(), Some(file.identity().unwrap()));

        fs.rename(path, Path::new("b")).unwrap();
        assert_eq!(fs.open(path, Access::ReadOnly).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(fs.read_file(Path::new("b")).unwrap(), b"\0\0\0hello");
        fs.unlink(Path::new("b")).unwrap();
        assert_eq!(fs.unlink(Path::new("b")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(fs.paths().is_empty());
        again.read_at(&mut buf, 0).unwrap();
    }

    #[test]
    fn locks_stand_between_handles_and_end_with_them() {
        let fs = MemFs::from_files([(PathBuf::from("a"), vec![1, 2])]).unwrap();
        let one = fs.open(Path::new("a"), Access::ReadWrite).unwrap();
        let two = fs.open(Path::new("a"), Access::ReadOnly).unwrap();
        assert!(one.lock(LockKind::Exclusive).unwrap());
        assert!(!two.lock(LockKind::Shared).unwrap());
        drop(one);
        assert!(two.lock(LockKind::Shared).unwrap());
        let three = fs.open(Path::new("a"), Access::ReadOnly).unwrap();
        assert!(three.lock(LockKind::Shared).unwrap());
    }

    #[test]
    fn a_created_files_lock_ends_with_its_handle() {
        let fs = MemFs::new();
        let made = fs.create_new(Path::new("a")).unwrap();
        let unnamed = fs.create_unnamed(Path::new("b")).unwrap();
        fs.publish(&*unnamed, Path::new("b")).unwrap();
        for (path, handle) in [("a", made), ("b", unnamed)] {
            assert!(handle.lock(LockKind::Exclusive).unwrap());
            drop(handle);
            let again = fs.open(Path::new(path), Access::ReadWrite).unwrap();
            assert!(again.lock(LockKind::Exclusive).unwrap(), "{path}");
        }
    }

    #[test]
    fn publishing_names_its_own_file_once_and_never_replaces() {
        let fs = MemFs::new();
        let path = Path::new("db");
        let first = fs.create_unnamed(path).unwrap();
        let second = fs.create_unnamed(path).unwrap();
        first.write_at(b"first", 0).unwrap();
        assert!(fs.paths().is_empty());
        fs.publish(&*first, path).unwrap();
        assert_eq!(fs.publish(&*second, path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs.read_file(path).unwrap(), b"first");
        let stranger = MemFs::new().create_unnamed(path).unwrap();
        assert_eq!(fs.publish(&*stranger, Path::new("x")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
