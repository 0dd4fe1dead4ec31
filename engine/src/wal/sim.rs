//! A file system in memory that remembers every write, for crash tests of the log.
//!
//! Its crash model: a sector of 512 bytes holds its value at the last completed sync or after any one of the later
//! writes to it, each sector for itself; the length is any the file has had since that sync. A durable write is a
//! write and then a sync of its own sectors; between the two it is in flight. Names are durable at once: what the
//! log does about names is tested by the order of calls.
#![forbid(unsafe_code)]

use super::format::SECTOR;
use bifold_page_source::{Access, DirectFile, File, FileIdentity, FileSystem, LockKind};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was done to a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    Len(u64),
    Sync,
    /// A sync of the sectors that the write before it has written.
    SyncOfWrite,
}

/// Which call fails, and how; all after it fail too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The write so many writes from now, which writes so many sectors before it fails.
    Write { after: usize, sectors: usize },
    /// The sync so many syncs from now, those of durable writes included.
    Sync { after: usize },
}

#[derive(Default, Debug)]
struct State {
    bytes: Vec<u8>,
    ops: Vec<Op>,
    fault: Option<Fault>,
    /// The length up to which there is room.
    room: Option<u64>,
    /// What the page cache shows instead of `bytes`, since a sync failed.
    cache: Option<Vec<u8>>,
}

/// A file.
#[derive(Default, Debug)]
pub(super) struct SimFile(Mutex<State>);

fn broken() -> io::Error {
    io::Error::other("injected")
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    if bytes.len() < offset + new.len() {
        bytes.resize(offset + new.len(), 0);
    }
    bytes[offset..offset + new.len()].copy_from_slice(new);
}

/// The sectors of a write, each with its place.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bytes.chunks(SECTOR).enumerate().map(move |(index, sector)| (offset as usize + index * SECTOR, sector))
}

impl State {
    /// What a sync does before it counts.
    fn try_sync(&mut self) -> io::Result<()> {
        match &mut self.fault {
            Some(Fault::Sync { after: 0 }) => return Err(broken()),
            Some(Fault::Sync { after }) => *after -= 1,
            _ => {}
        }
        Ok(())
    }
}

impl SimFile {
    pub(super) fn ops(&self) -> Vec<Op> {
        self.0.lock().ops.clone()
    }

    pub(super) fn op_count(&self) -> usize {
        self.0.lock().ops.len()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().bytes.clone()
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.0.lock().fault = fault;
    }

    /// Lets the page cache show `bytes`, which the disk does not hold, until it is dropped behind a sync.
    pub(super) fn set_cache(&self, bytes: Vec<u8>) {
        self.0.lock().cache = Some(bytes);
    }

    pub(super) fn set_room(&self, room: u64) {
        self.0.lock().room = Some(room);
    }

    /// What the disk may hold after a crash behind the first `upto` operations, on a file that began as `base`.
    /// `choose(n)` picks one of `n` possibilities, the first being the oldest.
    pub(super) fn after_crash(
        &self,
        base: &[u8],
        upto: usize,
        choose: &mut dyn FnMut(usize) -> usize,
    ) -> Vec<u8> {
        let ops = &self.0.lock().ops[..upto];
        let mut bytes = base.to_vec();
        let mut lens = vec![bytes.len()];
        let mut pending: BTreeMap<usize, Vec<&[u8]>> = BTreeMap::new();
        for (index, op) in ops.iter().enumerate() {
            match op {
                Op::Write { offset, bytes: new } => {
                    assert!(offset.is_multiple_of(SECTOR as u64) && new.len().is_multiple_of(SECTOR));
                    for (at, sector) in sectors(*offset, new) {
                        pending.entry(at).or_default().push(sector);
                    }
                    lens.push((*offset as usize + new.len()).max(lens[lens.len() - 1]));
                }
                Op::Len(len) => lens.push(*len as usize),
                Op::Sync => {
                    for (at, versions) in std::mem::take(&mut pending) {
                        put(&mut bytes, at, versions[versions.len() - 1]);
                    }
                    lens.drain(..lens.len() - 1);
                }
                Op::SyncOfWrite => {
                    let Op::Write { offset, bytes: new } = &ops[index - 1] else {
                        panic!("no write before it")
                    };
                    for (at, sector) in sectors(*offset, new) {
                        pending.remove(&at);
                        put(&mut bytes, at, sector);
                    }
                    assert!(
                        lens.iter().all(|len| *len >= *offset as usize + new.len()),
                        "the log never extends so"
                    );
                }
            }
        }
        for (at, versions) in pending {
            let chosen = choose(versions.len() + 1);
            if chosen > 0 {
                put(&mut bytes, at, versions[chosen - 1]);
            }
        }
        bytes.resize(lens[choose(lens.len())], 0);
        bytes
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.0.lock();
        let shown = state.cache.as_ref().unwrap_or(&state.bytes);
        let from = shown.get(offset as usize..offset as usize + buf.len());
        buf.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        let mut written = buf;
        match &mut state.fault {
            Some(Fault::Write { after: 0, sectors }) => written = &buf[..(*sectors * SECTOR).min(buf.len())],
            Some(Fault::Write { after, .. }) => *after -= 1,
            _ => {}
        }
        put(&mut state.bytes, offset as usize, written);
        state.ops.push(Op::Write { offset, bytes: written.to_vec() });
        if matches!(state.fault, Some(Fault::Write { after: 0, .. })) && written.len() < buf.len() {
            return Err(broken());
        }
        Ok(())
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.write_at(&bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.try_sync()?;
        state.ops.push(Op::Sync);
        Ok(())
    }

    fn write_at_durably(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(buf, offset)?;
        let mut state = self.0.lock();
        state.try_sync()?;
        state.ops.push(Op::SyncOfWrite);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.bytes.resize(len as usize, 0);
        state.ops.push(Op::Len(len));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.0.lock().room.is_some_and(|room| offset + len > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.set_len(self.len()?.max(offset + len))
    }

    fn lock(&self, _: LockKind) -> io::Result<bool> {
        Ok(true)
    }

    fn drop_cache(&self, _: u64, _: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        // Pages that may be dirty are not dropped.
        if state.ops.last() == Some(&Op::Sync) {
            state.cache = None;
        }
        Ok(())
    }

    fn direct(&self) -> io::Result<Option<DirectFile>> {
        Ok(None)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        Ok(FileIdentity { device: 0, inode: 0 })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A file system.
#[derive(Default, Debug)]
pub(super) struct SimFs {
    files: Mutex<HashMap<PathBuf, Arc<SimFile>>>,
    /// What was done to names.
    pub(super) calls: Mutex<Vec<&'static str>>,
    /// Of files created here: see [`SimFile::set_room`] and [`SimFile::set_fault`].
    pub(super) room: Option<u64>,
    pub(super) fault: Option<Fault>,
}

impl SimFs {
    /// One that holds one file.
    pub(super) fn with_file(path: &Path, bytes: Vec<u8>) -> Self {
        let fs = Self::default();
        let file = SimFile(Mutex::new(State { bytes, ..State::default() }));
        fs.files.lock().insert(path.to_path_buf(), Arc::new(file));
        fs
    }

    pub(super) fn file(&self, path: &Path) -> Arc<SimFile> {
        self.files.lock()[path].clone()
    }
}

impl FileSystem for SimFs {
    fn open(&self, path: &Path, _: Access) -> io::Result<Arc<dyn File>> {
        self.calls.lock().push("open");
        match self.files.lock().get(path) {
            Some(file) => Ok(file.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if self.files.lock().contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.calls.lock().push("create");
        let state = State { room: self.room, fault: self.fault, ..State::default() };
        let file = Arc::new(SimFile(Mutex::new(state)));
        self.files.lock().insert(path.to_path_buf(), file.clone());
        Ok(file)
    }

    fn create_unnamed(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn publish(&self, _: &dyn File, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.calls.lock().push("unlink");
        self.files.lock().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.calls.lock().push("sync_dir");
        if let Some(file) = self.files.lock().get(path) {
            let clean = file.ops().last().is_none_or(|op| *op == Op::Sync);
            assert!(clean, "the name is made durable before what it names");
        }
        Ok(())
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }

    fn identity(&self, _: &Path) -> io::Result<Option<FileIdentity>> {
        Ok(None)
    }
}

/// A small generator of pseudo-random numbers (xorshift64*), so that a seed names a crash.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}
