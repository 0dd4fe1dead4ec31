//! `RecordingFs`: a file system that writes down, in order, everything that changes what a disk would hold.
//!
//! The log is what [`Crashes`](crate::testing::Crashes) makes its images from. A change and its entry happen under
//! one lock, so the log's order is the order of events; a sync has two entries, because others may write while it
//! runs, and what they write then is not covered by it. Reads and locks are passed on and not recorded.
#![forbid(unsafe_code)]

use crate::file::{Access, DirectFile, File, FileIdentity, FileSystem, LockKind};
use crate::sync::Mutex;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of a log, whatever its name: it survives renames and is never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u32);

/// One entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A file that was there, durable, when the recording first met it.
    Exists {
        /// The file.
        file: FileId,
        /// Its name.
        path: PathBuf,
        /// Its content.
        bytes: Arc<[u8]>,
    },
    /// An empty file came into being, with a name or without.
    Create {
        /// The file.
        file: FileId,
        /// Its name, if it has one.
        path: Option<PathBuf>,
    },
    /// Bytes were written; the file is longer afterwards if they end behind its end.
    Write {
        /// The file.
        file: FileId,
        /// Where, in bytes.
        offset: u64,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// The file got a length, by being cut, extended or allocated.
    SetLen {
        /// The file.
        file: FileId,
        /// Its length from now on, in bytes.
        len: u64,
    },
    /// A sync began: it covers what was written before this entry.
    SyncBegin {
        /// The file.
        file: FileId,
        /// Which sync of the log.
        sync: u64,
    },
    /// The sync with that number returned.
    SyncEnd {
        /// The file.
        file: FileId,
        /// Which sync of the log.
        sync: u64,
        /// Whether it succeeded.
        ok: bool,
        /// The bytes it covers, if it is the end of a write that is durable by itself; otherwise all.
        only: Option<Range<u64>>,
    },
    /// The names in a directory became durable.
    SyncDir {
        /// The directory.
        dir: PathBuf,
    },
    /// A nameless file got a name.
    Publish {
        /// The file.
        file: FileId,
        /// The name.
        path: PathBuf,
    },
    /// A file changed its name; what bore the new one lost it.
    Rename {
        /// The file.
        file: FileId,
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
    },
    /// A name was removed.
    Unlink {
        /// The name.
        path: PathBuf,
    },
    /// Something that the test wants to find again, such as "commit 17 acknowledged".
    Mark {
        /// What.
        what: &'static str,
        /// Which.
        number: u64,
    },
}

/// A file system that records what is done to another. A clone shares the log.
#[derive(Clone, Debug)]
pub struct RecordingFs {
    inner: Arc<dyn FileSystem>,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    ops: Vec<Op>,
    /// By device and inode.
    files: HashMap<(u64, u64), FileId>,
    next_file: u32,
    next_sync: u64,
}

impl Log {
    fn new_file(&mut self, identity: FileIdentity) -> FileId {
        let id = FileId(self.next_file);
        self.next_file += 1;
        // A system may give the identity of a removed file to a new one.
        self.files.insert((identity.device, identity.inode), id);
        id
    }

    fn begin_sync(&mut self, file: FileId) -> u64 {
        let sync = self.next_sync;
        self.next_sync += 1;
        self.ops.push(Op::SyncBegin { file, sync });
        sync
    }
}

impl RecordingFs {
    /// A recorder of what is done to `inner`, with an empty log.
    pub fn new(inner: Arc<dyn FileSystem>) -> Self {
        Self { inner, log: Arc::default() }
    }

    /// Adds an entry of the test's own.
    pub fn mark(&self, what: &'static str, number: u64) {
        self.log.lock().ops.push(Op::Mark { what, number });
    }

    /// The log so far. (Bytes are shared, not copied.)
    pub fn ops(&self) -> Vec<Op> {
        self.log.lock().ops.clone()
    }

    /// How many entries the log has.
    pub fn position(&self) -> usize {
        self.log.lock().ops.len()
    }

    /// Files are known by one spelling of their path.
    fn path(&self, path: &Path) -> PathBuf {
        self.inner.canonicalize(path).unwrap_or_else(|_| path.to_owned())
    }

    fn wrap(&self, inner: Arc<dyn File>, id: FileId) -> Arc<dyn File> {
        let buffered = Arc::clone(&inner);
        Arc::new(RecordingFile { inner, buffered, id, log: Arc::clone(&self.log) })
    }

    /// The id of a file that has one, or a new one, with an entry for what it holds.
    fn known(&self, log: &mut Log, file: &dyn File, path: &Path) -> io::Result<FileId> {
        let identity = file.identity()?;
        if let Some(id) = log.files.get(&(identity.device, identity.inode)) {
            return Ok(*id);
        }
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_at(&mut bytes, 0)?;
        let id = log.new_file(identity);
        log.ops.push(Op::Exists { file: id, path: self.path(path), bytes: bytes.into() });
        Ok(id)
    }
}

impl FileSystem for RecordingFs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let mut log = self.log.lock();
        let file = self.inner.open(path, access)?;
        let id = self.known(&mut log, &*file, path)?;
        Ok(self.wrap(file, id))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut log = self.log.lock();
        let file = self.inner.create_new(path)?;
        let id = log.new_file(file.identity()?);
        log.ops.push(Op::Create { file: id, path: Some(self.path(path)) });
        Ok(self.wrap(file, id))
    }

    fn create_unnamed(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut log = self.log.lock();
        let file = self.inner.create_unnamed(path)?;
        let id = log.new_file(file.identity()?);
        log.ops.push(Op::Create { file: id, path: None });
        Ok(self.wrap(file, id))
    }

    fn publish(&self, file: &dyn File, path: &Path) -> io::Result<()> {
        let mut log = self.log.lock();
        self.inner.publish(file, path)?;
        let file = self.known(&mut log, file, path)?;
        log.ops.push(Op::Publish { file, path: self.path(path) });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut log = self.log.lock();
        let source = self.inner.open(from, Access::ReadOnly)?;
        let file = self.known(&mut log, &*source, from)?;
        let op = Op::Rename { file, from: self.path(from), to: self.path(to) };
        self.inner.rename(from, to)?;
        log.ops.push(op);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut log = self.log.lock();
        let op = Op::Unlink { path: self.path(path) };
        self.inner.unlink(path)?;
        log.ops.push(op);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut log = self.log.lock();
        self.inner.sync_dir(path)?;
        let path = self.path(path);
        log.ops.push(Op::SyncDir { dir: path.parent().unwrap_or(Path::new("")).to_owned() });
        Ok(())
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonicalize(path)
    }

    fn identity(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        self.inner.identity(path)
    }
}

/// A handle whose changes are recorded; a second handle that bypasses the cache records as the same file.
#[derive(Debug)]
struct RecordingFile {
    inner: Arc<dyn File>,
    /// `inner`, or beneath a direct handle the buffered one: what a failed write left is read without alignment.
    buffered: Arc<dyn File>,
    id: FileId,
    log: Arc<Mutex<Log>>,
}

impl RecordingFile {
    /// Does a write and records it. One that fails may have happened in part: then what the range holds now is
    /// recorded.
    fn record(
        &self,
        mut bytes: Vec<u8>,
        offset: u64,
        write: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut log = self.log.lock();
        let outcome = write();
        if outcome.is_err() {
            match self.left_behind(bytes, offset) {
                Some(left) => bytes = left,
                None => return outcome,
            }
        }
        if !bytes.is_empty() {
            log.ops.push(Op::Write { file: self.id, offset, bytes: bytes.into() });
        }
        outcome
    }

    /// What a range holds of which a write has failed: as much as `bytes` takes and the file has.
    fn left_behind(&self, mut bytes: Vec<u8>, offset: u64) -> Option<Vec<u8>> {
        let len = self.inner.len().unwrap_or(0).saturating_sub(offset).min(bytes.len() as u64);
        bytes.truncate(len as usize);
        self.buffered.read_at(&mut bytes, offset).ok().map(|()| bytes)
    }

    /// Does what may change the length and records the new one.
    fn resize(&self, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut log = self.log.lock();
        let before = self.inner.len()?;
        let outcome = change();
        let len = self.inner.len()?;
        if len != before {
            log.ops.push(Op::SetLen { file: self.id, len });
        }
        outcome
    }
}

impl File for RecordingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.record(buf.to_vec(), offset, || self.inner.write_at(buf, offset))
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.record(bytes, offset, || self.inner.write_vectored_at(bufs, offset))
    }

    fn sync(&self) -> io::Result<()> {
        let sync = self.log.lock().begin_sync(self.id);
        let outcome = self.inner.sync();
        self.log.lock().ops.push(Op::SyncEnd { file: self.id, sync, ok: outcome.is_ok(), only: None });
        outcome
    }

    /// Recorded as a write, the beginning of a sync, and that sync's end. Others go on meanwhile, so the write comes
    /// before it happens; what else writes to its range in that time is recorded in some order.
    fn write_at_durably(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let sync = {
            let mut log = self.log.lock();
            log.ops.push(Op::Write { file: self.id, offset, bytes: buf.into() });
            log.begin_sync(self.id)
        };
        let outcome = self.inner.write_at_durably(buf, offset);
        let mut log = self.log.lock();
        if outcome.is_err()
            && let Some(bytes) = self.left_behind(vec![0; buf.len()], offset)
        {
            log.ops.push(Op::Write { file: self.id, offset, bytes: bytes.into() });
        }
        let only = Some(offset..offset + buf.len() as u64);
        log.ops.push(Op::SyncEnd { file: self.id, sync, ok: outcome.is_ok(), only });
        outcome
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(|| self.inner.set_len(len))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.resize(|| self.inner.allocate(offset, len))
    }

    fn lock(&self, kind: LockKind) -> io::Result<bool> {
        self.inner.lock(kind)
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.drop_cache(offset, len)
    }

    fn direct(&self) -> io::Result<Option<DirectFile>> {
        let Some(DirectFile { file, align }) = self.inner.direct()? else { return Ok(None) };
        let buffered = Arc::clone(&self.buffered);
        let file = Self { inner: file, buffered, id: self.id, log: Arc::clone(&self.log) };
        Ok(Some(DirectFile { file: Arc::new(file), align }))
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.inner.identity()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
}
