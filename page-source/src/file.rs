//! The file seam: every call that touches the file system, as two traits that tests can stand in for.
//!
//! Offsets and lengths are bytes. Reads and writes are whole or an error: a short read is `UnexpectedEof`, a short
//! write is continued or fails. Nothing here retries a failed sync.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Only to read; works on a read-only file system.
    ReadOnly,
    /// To read and write.
    ReadWrite,
}

/// How a file is locked against other openers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockKind {
    /// With other shared locks.
    Shared,
    /// Alone.
    Exclusive,
}

/// Which file this is, whatever its name: device and inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileIdentity {
    /// The device that holds the file.
    pub device: u64,
    /// The inode within the device.
    pub inode: u64,
}

/// A second handle on a file, which bypasses the page cache.
#[derive(Clone, Debug)]
pub struct DirectFile {
    /// The handle.
    pub file: Arc<dyn File>,
    /// What buffers, offsets and lengths must be multiples of, in bytes.
    pub align: usize,
}

/// An open file.
pub trait File: Send + Sync + Debug {
    /// Fills `buf` from `offset`. `UnexpectedEof` if the file ends before.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset`.
    ///
    /// # Errors
    /// Whatever the operating system says; how much was written is then unknown.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Writes all buffers one behind the other from `offset` on, in as few calls as possible.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Makes what was written before durable, with the length needed to read it (`fdatasync`).
    ///
    /// # Errors
    /// What was pending is then old or new on the disk, and stays unknown: it is not to be tried again.
    fn sync(&self) -> io::Result<()>;

    /// Writes all of `buf` at `offset` and returns when exactly these bytes are durable, with the length needed to
    /// read them. Of what was written before, it says nothing. Where there is no such call, it is a write and a
    /// [`sync`](Self::sync), which covers more.
    ///
    /// # Errors
    /// Whatever the operating system says. Each sector is then old or new on the disk, and stays unknown: it is not
    /// to be tried again.
    fn write_at_durably(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(buf, offset)?;
        self.sync()
    }

    /// Lets the system begin to write a range (to the end of the file if `len` is 0) to the disk, so that a later
    /// [`sync`](Self::sync) finds less to do. A hint: nothing is waited for and nothing is promised, and what goes
    /// wrong is the next sync's error.
    fn start_writeback(&self, _offset: u64, _len: u64) {}

    /// The file's length in bytes.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends the file (with zeros, without reserving space).
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves disk space for a range and extends the file to its end if shorter. Where the file system cannot
    /// reserve, only extends.
    ///
    /// # Errors
    /// `StorageFull` if there is no room.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Tries to lock the file for as long as the handle lives. `false` if another holder is in the way.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn lock(&self, kind: LockKind) -> io::Result<bool>;

    /// Forgets clean cached pages of a range (to the end of the file if `len` is 0), so that the next read comes
    /// from the disk.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<()>;

    /// A second handle that bypasses the page cache, or `None` where the file system has no such thing.
    ///
    /// # Errors
    /// Whatever the operating system says, other than "not supported".
    fn direct(&self) -> io::Result<Option<DirectFile>>;

    /// Which file this is.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn identity(&self) -> io::Result<FileIdentity>;

    /// The descriptor, for what only a descriptor can do (mapping); `None` if there is none behind this file.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// What is done to names rather than to open files.
pub trait FileSystem: Send + Sync + Debug {
    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound` among others.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>>;

    /// Creates an empty file under its final name. `AlreadyExists` if there is one.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates an empty file that is to become `path`, without that name yet.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn create_unnamed(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Gives a file made by [`create_unnamed`](Self::create_unnamed) the name it was made for, unless that name is
    /// taken.
    ///
    /// # Errors
    /// `AlreadyExists` if it is taken.
    fn publish(&self, file: &dyn File, path: &Path) -> io::Result<()>;

    /// Renames a file, replacing what bore the new name.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// `NotFound` among others.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in the directory of `path` durable.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The path with links resolved; the file itself need not exist, its directory must.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;

    /// Which file bears this name now; `None` if there is none.
    ///
    /// # Errors
    /// Whatever the operating system says, other than "not found".
    fn identity(&self, path: &Path) -> io::Result<Option<FileIdentity>>;
}
