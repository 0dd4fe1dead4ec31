//! `FaultFs`: a file system that fails when it is told to, fills up, counts its calls, and holds calls back.
//!
//! With a recorder, put it beneath: `RecordingFs::new(FaultFs::new(MemFs::new()))` sees what a failed write left
//! behind and which syncs failed, and so crashes as a disk would after them.
#![forbid(unsafe_code)]

use crate::file::{Access, DirectFile, File, FileIdentity, FileSystem, LockKind};
use crate::testing::crash::SECTOR;
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// How long a test waits for what must come before it is taken for hung.
const HUNG: Duration = Duration::from_mins(1);

/// A kind of call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OpKind {
    /// `read_at`.
    Read,
    /// `write_at`, `write_vectored_at`, and the first half of `write_at_durably`.
    Write,
    /// `sync`, and the second half of `write_at_durably`.
    Sync,
    /// `set_len`.
    SetLen,
    /// `allocate`.
    Allocate,
    /// `lock`.
    Lock,
    /// `open`.
    Open,
    /// `create_new` and `create_unnamed`.
    Create,
    /// `publish`.
    Publish,
    /// `rename`.
    Rename,
    /// `unlink`.
    Unlink,
    /// `sync_dir`.
    SyncDir,
}

impl OpKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Write,
        Self::Sync,
        Self::SetLen,
        Self::Allocate,
        Self::Lock,
        Self::Open,
        Self::Create,
        Self::Publish,
        Self::Rename,
        Self::Unlink,
        Self::SyncDir,
    ];
}

/// How much of a failing call happens all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Done {
    Nothing,
    Sectors(u64),
    Everything,
    /// Not even an error.
    Panic,
}

/// One scripted failure.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: OpKind,
    skip: u64,
    forever: bool,
    raw: i32,
    error: Option<io::ErrorKind>,
    path: Option<PathBuf>,
    done: Done,
}

impl Fault {
    /// The next call of a kind fails with `EIO` and does nothing.
    pub fn new(kind: OpKind) -> Self {
        Self { kind, skip: 0, forever: false, raw: EIO, error: None, path: None, done: Done::Nothing }
    }

    /// First lets this many calls (of the kind, on the path) succeed.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// And every later one fails too.
    #[must_use]
    pub fn forever(mut self) -> Self {
        self.forever = true;
        self
    }

    /// Fails with this error instead.
    #[must_use]
    pub fn error(mut self, error: io::ErrorKind) -> Self {
        self.error = Some(error);
        self
    }

    /// Fails with this error number of the operating system instead.
    #[must_use]
    pub fn raw_error(mut self, raw: i32) -> Self {
        (self.raw, self.error) = (raw, None);
        self
    }

    /// Only calls on the file that was opened, created or named by this path.
    #[must_use]
    pub fn on(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// A write is torn: the sectors it begins with are written, this many, counted from its offset.
    #[must_use]
    pub fn torn_after(mut self, sectors: u64) -> Self {
        self.done = Done::Sectors(sectors);
        self
    }

    /// The call does all its work and then fails.
    #[must_use]
    pub fn after_the_work(mut self) -> Self {
        self.done = Done::Everything;
        self
    }

    /// The call panics instead of failing.
    #[must_use]
    pub fn panics(mut self) -> Self {
        self.done = Done::Panic;
        self
    }

    fn to_error(&self) -> io::Error {
        self.error.map_or_else(|| io::Error::from_raw_os_error(self.raw), io::Error::from)
    }
}

/// A file system with scripted faults over another. A clone is the same one.
#[derive(Clone, Debug)]
pub struct FaultFs {
    inner: Arc<dyn FileSystem>,
    script: Arc<Script>,
}

#[derive(Debug, Default)]
struct Script {
    counts: [AtomicU64; OpKind::ALL.len()],
    fired: AtomicU64,
    faults: Mutex<Vec<Fault>>,
    disk: Mutex<Disk>,
    gates: Mutex<Vec<Arc<GateState>>>,
    plain: AtomicBool,
    /// Nanoseconds that each read takes longer.
    read_delay: AtomicU64,
}

/// Space in use, counted where files are written or allocated, as if from byte 0 without holes.
#[derive(Debug, Default)]
struct Disk {
    capacity: Option<u64>,
    used: HashMap<(u64, u64), u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    /// Counts a call and runs it, or lets it fail. `some` does the first so many sectors of it.
    fn run<T>(
        &self,
        kind: OpKind,
        path: &Path,
        all: impl FnOnce() -> io::Result<T>,
        some: impl FnOnce(u64) -> io::Result<()>,
    ) -> io::Result<T> {
        self.counts[kind as usize].fetch_add(1, Ordering::Relaxed);
        let Some(fault) = self.next_fault(kind, path) else { return all() };
        self.fired.fetch_add(1, Ordering::Relaxed);
        match fault.done {
            Done::Nothing => {}
            Done::Sectors(sectors) => some(sectors)?,
            Done::Everything => drop(all()?),
            Done::Panic => panic!("a test's panic"),
        }
        Err(fault.to_error())
    }

    /// As [`run`](Self::run), for calls that cannot be torn.
    fn run_whole<T>(&self, kind: OpKind, path: &Path, all: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.run(kind, path, all, |_| Ok(()))
    }

    /// Waits at the gates that hold back calls of this kind to these bytes.
    fn pass_gates(&self, kind: OpKind, bytes: &Range<u64>) {
        let gates = locked(&self.gates).clone();
        let touched = |gate: &GateState| gate.range.start < bytes.end && bytes.start < gate.range.end;
        gates.iter().filter(|gate| gate.kind == kind && touched(gate)).for_each(|gate| gate.pass());
    }

    fn next_fault(&self, kind: OpKind, path: &Path) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        let mut hit = None;
        for (at, fault) in faults.iter_mut().enumerate() {
            if fault.kind != kind || fault.path.as_deref().is_some_and(|only| only != path) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if hit.is_none() {
                hit = Some(at);
            }
        }
        let at = hit?;
        if faults[at].forever { Some(faults[at].clone()) } else { Some(faults.remove(at)) }
    }

    /// Takes space for a file up to byte `end`. Otherwise: up to where there is some.
    fn take_space(&self, file: &dyn File, end: u64) -> Result<(), u64> {
        let mut disk = locked(&self.disk);
        let Some(capacity) = disk.capacity else { return Ok(()) };
        let Ok(FileIdentity { device, inode }) = file.identity() else { return Ok(()) };
        let len = file.len().unwrap_or(0);
        let total: u64 = disk.used.values().sum();
        let own = *disk.used.entry((device, inode)).or_insert(len);
        let total = total.max(own);
        let room = own + capacity.saturating_sub(total);
        if end <= own {
            return Ok(());
        }
        disk.used.insert((device, inode), end.min(room));
        if end <= room { Ok(()) } else { Err(room) }
    }
}

impl FaultFs {
    /// A file system over `inner` that fails in nothing yet.
    pub fn new(inner: Arc<dyn FileSystem>) -> Self {
        Self { inner, script: Arc::default() }
    }

    /// Adds a fault to come. Of several that fit one call, the first added fires; all of them count it.
    pub fn fail(&self, fault: Fault) {
        locked(&self.script.faults).push(fault);
    }

    /// Takes back all faults that have not fired, and those that go on for ever.
    pub fn heal(&self) {
        locked(&self.script.faults).clear();
    }

    /// How many calls have failed by a fault.
    pub fn fired(&self) -> u64 {
        self.script.fired.load(Ordering::Relaxed)
    }

    /// How many calls of a kind there were, failed ones included.
    pub fn count(&self, kind: OpKind) -> u64 {
        self.script.counts[kind as usize].load(Ordering::Relaxed)
    }

    /// Gives the disk a size, in bytes, or none. Writing and allocating beyond it fails with `StorageFull`; a write
    /// is done as far as it fits. Files are counted from when they are next written to, as long as their names
    /// live.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        locked(&self.script.disk).capacity = bytes;
    }

    /// From now on files offer neither a descriptor nor direct handles, so that nothing goes past this.
    #[must_use]
    pub fn without_descriptors(self) -> Self {
        self.script.plain.store(true, Ordering::Relaxed);
        self
    }

    /// From now on each read takes so much longer.
    pub fn delay_reads(&self, by: Duration) {
        self.script.read_delay.store(by.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Holds back every read that touches a range of bytes, of any file, until the gate is opened or dropped.
    pub fn gate_reads(&self, range: Range<u64>) -> Gate {
        self.gate(OpKind::Read, range)
    }

    /// Holds back every call of a kind (`Read`, `Write` or `Sync`; others pass) that touches a range of bytes, of any
    /// file, until the gate is opened or dropped. A sync touches all bytes.
    pub fn gate(&self, kind: OpKind, range: Range<u64>) -> Gate {
        let state = Arc::new(GateState { kind, range, inside: Mutex::default(), changed: Condvar::new() });
        locked(&self.script.gates).push(Arc::clone(&state));
        Gate { state, script: Arc::clone(&self.script) }
    }

    fn wrap(&self, inner: Arc<dyn File>, path: &Path) -> Arc<dyn File> {
        let buffered = Arc::clone(&inner);
        Arc::new(FaultFile { inner, buffered, path: path.to_owned(), script: Arc::clone(&self.script) })
    }
}

/// Calls held back; see [`FaultFs::gate`]. Dropping it opens it.
#[derive(Debug)]
pub struct Gate {
    state: Arc<GateState>,
    script: Arc<Script>,
}

#[derive(Debug)]
struct GateState {
    kind: OpKind,
    range: Range<u64>,
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    open: bool,
    arrived: u64,
}

impl Gate {
    /// Waits until this many calls have come to the gate.
    ///
    /// # Panics
    /// If they do not come within a minute.
    pub fn wait_for(&self, calls: u64) {
        let inside = locked(&self.state.inside);
        let (inside, timeout) = self
            .state
            .changed
            .wait_timeout_while(inside, HUNG, |inside| inside.arrived < calls)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{} of {calls} calls came to the gate", inside.arrived);
    }

    /// How many calls have come to the gate so far.
    pub fn arrived(&self) -> u64 {
        locked(&self.state.inside).arrived
    }

    /// Lets all calls through, from now on.
    pub fn open(&self) {
        locked(&self.state.inside).open = true;
        self.state.changed.notify_all();
        locked(&self.script.gates).retain(|gate| !Arc::ptr_eq(gate, &self.state));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

impl GateState {
    fn pass(&self) {
        let mut inside = locked(&self.inside);
        inside.arrived += 1;
        self.changed.notify_all();
        while !inside.open {
            inside = self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl FileSystem for FaultFs {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = self.script.run_whole(OpKind::Open, path, || self.inner.open(path, access))?;
        Ok(self.wrap(file, path))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.script.run_whole(OpKind::Create, path, || self.inner.create_new(path))?;
        Ok(self.wrap(file, path))
    }

    fn create_unnamed(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.script.run_whole(OpKind::Create, path, || self.inner.create_unnamed(path))?;
        Ok(self.wrap(file, path))
    }

    fn publish(&self, file: &dyn File, path: &Path) -> io::Result<()> {
        self.script.run_whole(OpKind::Publish, path, || self.inner.publish(file, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.script.run_whole(OpKind::Rename, from, || self.inner.rename(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let identity = self.inner.identity(path)?;
        self.script.run_whole(OpKind::Unlink, path, || self.inner.unlink(path))?;
        if let Some(FileIdentity { device, inode }) = identity {
            locked(&self.script.disk).used.remove(&(device, inode));
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.script.run_whole(OpKind::SyncDir, path, || self.inner.sync_dir(path))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonicalize(path)
    }

    fn identity(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        self.inner.identity(path)
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn File>,
    /// `inner`, or beneath a direct handle the buffered one: parts of a write are not aligned.
    buffered: Arc<dyn File>,
    path: PathBuf,
    script: Arc<Script>,
}

impl FaultFile {
    /// Writes as much as the disk has room for.
    fn write(
        &self,
        offset: u64,
        len: u64,
        all: impl FnOnce() -> io::Result<()>,
        part: impl Fn(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let fitting = || match self.script.take_space(&*self.inner, offset + len) {
            Ok(()) => all(),
            Err(room) => {
                part(room.saturating_sub(offset).min(len))?;
                Err(io::Error::from_raw_os_error(ENOSPC))
            }
        };
        self.script.pass_gates(OpKind::Write, &(offset..offset + len));
        let torn = |sectors: u64| part(sectors.saturating_mul(SECTOR as u64).min(len));
        self.script.run(OpKind::Write, &self.path, fitting, torn)
    }
}

impl File for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let delay = self.script.read_delay.load(Ordering::Relaxed);
        if delay > 0 {
            thread::sleep(Duration::from_nanos(delay));
        }
        self.script.pass_gates(OpKind::Read, &(offset..offset + buf.len() as u64));
        self.script.run_whole(OpKind::Read, &self.path, || self.inner.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let part = |len: u64| self.buffered.write_at(&buf[..len as usize], offset);
        self.write(offset, buf.len() as u64, || self.inner.write_at(buf, offset), part)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let len = bufs.iter().map(|buf| buf.len() as u64).sum();
        let part = |len: u64| {
            let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(len as usize).collect();
            self.buffered.write_at(&bytes, offset)
        };
        self.write(offset, len, || self.inner.write_vectored_at(bufs, offset), part)
    }

    fn sync(&self) -> io::Result<()> {
        self.script.pass_gates(OpKind::Sync, &(0..u64::MAX));
        self.script.run_whole(OpKind::Sync, &self.path, || self.inner.sync())
    }

    fn write_at_durably(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let part = |len: u64| self.buffered.write_at(&buf[..len as usize], offset);
        let all = || {
            let written = Cell::new(false);
            let durably = || {
                written.set(true);
                self.inner.write_at_durably(buf, offset)
            };
            let outcome = self.script.run_whole(OpKind::Sync, &self.path, durably);
            if !written.get() {
                // What fails as a sync has been written.
                self.inner.write_at(buf, offset)?;
            }
            outcome
        };
        self.write(offset, buf.len() as u64, all, part)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.script.run_whole(OpKind::SetLen, &self.path, || {
            self.inner.set_len(len)?;
            let FileIdentity { device, inode } = self.inner.identity()?;
            if let Some(used) = locked(&self.script.disk).used.get_mut(&(device, inode)) {
                *used = len.min(*used);
            }
            Ok(())
        })
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.script.run_whole(OpKind::Allocate, &self.path, || {
            match self.script.take_space(&*self.inner, offset + len) {
                Ok(()) => self.inner.allocate(offset, len),
                Err(_) => Err(io::Error::from_raw_os_error(ENOSPC)),
            }
        })
    }

    fn lock(&self, kind: LockKind) -> io::Result<bool> {
        self.script.run_whole(OpKind::Lock, &self.path, || self.inner.lock(kind))
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.drop_cache(offset, len)
    }

    fn direct(&self) -> io::Result<Option<DirectFile>> {
        if self.script.plain.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(DirectFile { file, align }) = self.inner.direct()? else { return Ok(None) };
        let buffered = Arc::clone(&self.buffered);
        let file = Self { inner: file, buffered, path: self.path.clone(), script: Arc::clone(&self.script) };
        Ok(Some(DirectFile { file: Arc::new(file), align }))
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.inner.identity()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        if self.script.plain.load(Ordering::Relaxed) { None } else { self.inner.fd() }
    }
}
