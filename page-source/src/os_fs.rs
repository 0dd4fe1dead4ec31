//! The real file system behind the file seam, through rustix: positioned I/O, flock, `O_TMPFILE`, `O_DIRECT`.
#![forbid(unsafe_code)]

use crate::file::{Access, DirectFile, File, FileIdentity, FileSystem, LockKind};
use crate::sync::Mutex;
use crate::writeback;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags, StatxFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

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
    /// Whether a single write can be made durable here; asked for once.
    durable_writes: OnceLock<bool>,
    /// The error with which write-back was refused, for the next sync to return; 0 if there is none.
    writeback_error: AtomicI32,
    /// Held during a sync; whether one has failed. The kernel tells an error of write-back once to each open file
    /// (`errseq_t`): of two syncs at a time one would hear of it and the other succeed, and so would the next.
    sync_failed: Mutex<bool>,
}

impl OsFile {
    /// A file over an open descriptor.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self {
            file: fd.into(),
            temporary: None,
            locked: AtomicBool::new(false),
            durable_writes: OnceLock::new(),
            writeback_error: AtomicI32::new(0),
            sync_failed: Mutex::new(false),
        }
    }

    fn reopen(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// A second, independent handle on the same file.
    pub(crate) fn reopened(&self, access: Access) -> io::Result<Self> {
        self.reopen(flags(access)).map(Self::from_fd)
    }

    /// Writes with `RWF_DSYNC` and returns how much; all of it, unless the kernel does not know that flag.
    fn write_durably(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let rest = [IoSlice::new(&buf[done..])];
            match rustix::io::pwritev2(&self.file, &rest, offset + done as u64, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => break,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(done)
    }
}

/// Whether the file lies where `RWF_DSYNC` is known to be honoured. A file system that knows nothing of the flag may
/// ignore it (FUSE did, before Linux took care of it), which would make it look very fast: there one syncs instead.
fn honours_durable_writes(file: &std::fs::File) -> bool {
    /// The file system's number in `statfs(2)`: ext2 to ext4, XFS, btrfs, F2FS, and tmpfs, where nothing is durable.
    const KNOWN: [u32; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994];
    rustix::fs::fstatfs(file).is_ok_and(|stat| KNOWN.contains(&(stat.f_type as u32)))
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
        let mut failed = self.sync_failed.lock();
        if *failed {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        let synced = self.file.sync_data();
        let result = match self.writeback_error.swap(0, Ordering::Relaxed) {
            0 => synced,
            code => Err(io::Error::from_raw_os_error(code)),
        };
        *failed = result.is_err();
        result
    }

    fn write_at_durably(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let native = *self.durable_writes.get_or_init(|| honours_durable_writes(&self.file));
        let done = if native { self.write_durably(buf, offset)? } else { 0 };
        if done < buf.len() {
            self.write_at(&buf[done..], offset + done as u64)?;
            self.sync()?;
        }
        Ok(())
    }

    /// An error of the write-back itself waits in the kernel for the next sync: only a call that also *waits*
    /// (`SYNC_FILE_RANGE_WAIT_BEFORE`, `_AFTER`) takes it away from there. One that the call reports at once may be
    /// recorded nowhere; so it is kept here, and the next sync of this handle returns it.
    fn start_writeback(&self, offset: u64, len: u64) {
        if let Err(error) = writeback::start(self.file.as_fd(), offset, len) {
            self.writeback_error
                .store(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()), Ordering::Relaxed);
        }
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
        let mut file = OsFile::from_fd(fd);
        file.temporary = Some(temporary);
        Ok(Arc::new(file))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> OsFile {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        OsFile::from_fd(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).unwrap())
    }

    #[test]
    fn a_refused_write_back_is_the_next_syncs_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("file"));
        file.write_at(&[1; 10_000], 0).unwrap();
        file.start_writeback(0, 10_000);
        file.sync().unwrap();
        file.writeback_error.store(Errno::NOSPC.raw_os_error(), Ordering::Relaxed);
        assert_eq!(file.sync().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(file.sync().is_err(), "and none after it succeeds");
    }

    #[test]
    fn where_durable_writes_are_not_known_they_are_synced() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("file"));
        file.durable_writes.set(false).unwrap();
        file.write_at_durably(b"abc", 5).unwrap();
        let mut buf = [0; 3];
        file.read_at(&mut buf, 5).unwrap();
        assert_eq!(&buf, b"abc");
        file.writeback_error.store(Errno::IO.raw_os_error(), Ordering::Relaxed);
        assert!(file.write_at_durably(b"abc", 5).is_err(), "the sync's error");
    }
}
