//! The real file system behind the file seam, through rustix: positioned I/O, flock, `O_TMPFILE`, `O_DIRECT`.
#![forbid(unsafe_code)]

use crate::file::{Access, DirectFile, File, FileIdentity, FileSystem, LockKind};
use rustix::fs::{AtFlags, CWD, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags, StatxFlags};
use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The kernel takes at most this many buffers in one vectored call (`UIO_MAXIOV`).
const BUFFERS_PER_CALL: usize = 1024;

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs;

/// A file of the operating system.
#[derive(Debug)]
pub(crate) struct OsFile {
    file: std::fs::File,
    /// The name it was given until it is published, where the file system knows no unnamed files.
    temporary: Option<PathBuf>,
    /// Whether this handle has locked the file.
    locked: AtomicBool,
}

impl OsFile {
    /// A file over an open descriptor.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { file: fd.into(), temporary: None, locked: AtomicBool::new(false) }
    }

    fn reopen(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// A second, independent handle on the same file.
    pub(crate) fn reopened(&self, access: Access) -> io::Result<Self> {
        self.reopen(flags(access)).map(Self::from_fd)
    }
}

impl Drop for OsFile {
    fn drop(&mut self) {
        if *self.locked.get_mut() {
            // Closing would do, were there no other descriptor: a child that another thread forked a moment ago, and
            // that has not come to its exec, has one, and would keep the lock.
            let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        }
        // Only a file that never got its name still has this one; a second removal finds nothing.
        if let Some(path) = &self.temporary {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn flags(access: Access) -> OFlags {
    match access {
        Access::ReadOnly => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
    }
}

fn short(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file ends within the bytes to {what}"))
}

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => short("read"),
            _ => e,
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let mut rest = bufs;
        while let Some(first) = rest.first() {
            let batch = &rest[..rest.len().min(BUFFERS_PER_CALL)];
            let mut written = match rustix::io::pwritev(&self.file, batch, offset) {
                Ok(0) if first.is_empty() => 0,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            };
            offset += written as u64;
            while let Some(buf) = rest.first() {
                if written < buf.len() {
                    break;
                }
                written -= buf.len();
                rest = &rest[1..];
            }
            if written > 0 {
                // A short write ended inside this buffer: finish it alone.
                let tail = &rest[0][written..];
                self.file.write_all_at(tail, offset)?;
                offset += tail.len() as u64;
                rest = &rest[1..];
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
                Err(e) => return Err(e.into()),
            }
        }
        if self.len()? < offset + len { self.set_len(offset + len) } else { Ok(()) }
    }

    fn lock(&self, kind: LockKind) -> io::Result<bool> {
        let op = match kind {
            LockKind::Shared => FlockOperation::NonBlockingLockShared,
            LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        match rustix::fs::flock(&self.file, op) {
            Ok(()) => {
                self.locked.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<()> {
        let len = std::num::NonZeroU64::new(len);
        match rustix::fs::fadvise(&self.file, offset, len, rustix::fs::Advice::DontNeed) {
            Ok(()) | Err(Errno::INVAL | Errno::NOSYS) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn direct(&self) -> io::Result<Option<DirectFile>> {
        let access = rustix::fs::fcntl_getfl(&self.file)? & OFlags::ACCMODE;
        let fd = match self.reopen(access | OFlags::DIRECT) {
            Ok(fd) => fd,
            Err(e) if matches!(e.raw_os_error(), Some(code) if code == Errno::INVAL.raw_os_error()) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let align = direct_alignment(fd.as_fd());
        Ok(Some(DirectFile { file: Arc::new(Self::from_fd(fd)), align }))
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        let stat = rustix::fs::fstat(&self.file)?;
        Ok(FileIdentity { device: stat.st_dev, inode: stat.st_ino })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// What the kernel says direct I/O on this file must be aligned to; 4 KiB where it does not say.
fn direct_alignment(fd: BorrowedFd<'_>) -> usize {
    const FALLBACK: usize = 4096;
    match rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(stat) if stat.stx_dio_offset_align > 0 => {
            stat.stx_dio_offset_align.max(stat.stx_dio_mem_align) as usize
        }
        _ => FALLBACK,
    }
}

impl FileSystem for OsFs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let fd = rustix::fs::open(path, flags(access) | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Arc::new(OsFile::from_fd(fd)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))?;
        Ok(Arc::new(OsFile::from_fd(fd)))
    }

    fn create_unnamed(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match rustix::fs::open(directory(path), flags, Mode::from_raw_mode(0o666)) {
            Ok(fd) => return Ok(Arc::new(OsFile::from_fd(fd))),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(e) => return Err(e.into()),
        }
        let temporary = temporary_name(path);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&temporary, flags, Mode::from_raw_mode(0o666))?;
        Ok(Arc::new(OsFile { file: fd.into(), temporary: Some(temporary), locked: AtomicBool::new(false) }))
    }

    fn publish(&self, file: &dyn File, path: &Path) -> io::Result<()> {
        let fd = file.fd().ok_or(io::ErrorKind::Unsupported)?;
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        match rustix::fs::linkat(CWD, &link, CWD, path, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(()),
            // A file that has a name cannot be linked this way on every file system: it is renamed below.
            Err(Errno::NOENT | Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
        let named = std::fs::read_link(&link)?;
        Ok(rustix::fs::renameat_with(CWD, named, CWD, path, RenameFlags::NOREPLACE)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(directory(path))?.sync_all()
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        match std::fs::canonicalize(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                Ok(std::fs::canonicalize(directory(path))?.join(name))
            }
            other => other,
        }
    }

    fn identity(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        match rustix::fs::stat(path) {
            Ok(stat) => Ok(Some(FileIdentity { device: stat.st_dev, inode: stat.st_ino })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// The directory a path lies in.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// A name beside `path` that no other creation in any process uses.
fn temporary_name(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}-{count}", std::process::id()));
    name.into()
}
