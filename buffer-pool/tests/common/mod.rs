//! A file that counts, holds back, fails and panics as a test tells it, and files of sealed pages.
#![allow(dead_code, reason = "each test uses its part")]

use bifold_page_source::testing::pages;
use bifold_page_source::{
    DirectFile, File, FileIdentity, FileSystem, LockKind, MemFs, PageId, PageRef, PageSize, PageSource, Visit,
};
use bifold_pool::{Options, PoolSource};
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A file over memory that obeys a test.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn File>,
    /// How often each offset was read.
    pub(crate) reads: Mutex<HashMap<u64, usize>>,
    /// Reads wait while this is true.
    closed: Mutex<bool>,
    opened: Condvar,
    /// Reads that have begun.
    pub(crate) begun: AtomicUsize,
    /// Reads to fail, and to panic in, from now on.
    pub(crate) fail: AtomicUsize,
    pub(crate) panic: AtomicUsize,
    /// Whether there is a second handle.
    pub(crate) has_direct: AtomicBool,
    /// Direct calls refused with `InvalidInput`, as some file systems do only when it comes to reading.
    pub(crate) refuse: AtomicBool,
    pub(crate) writes: AtomicU64,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn File>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            reads: Mutex::default(),
            closed: Mutex::new(false),
            opened: Condvar::new(),
            begun: AtomicUsize::new(0),
            fail: AtomicUsize::new(0),
            panic: AtomicUsize::new(0),
            has_direct: AtomicBool::new(false),
            refuse: AtomicBool::new(false),
            writes: AtomicU64::new(0),
        })
    }

    /// Holds reads back from now on.
    pub(crate) fn close_gate(&self) {
        *self.closed.lock().unwrap() = true;
    }

    /// Lets reads pass.
    pub(crate) fn open_gate(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    /// Waits until `count` reads have begun.
    pub(crate) fn await_reads(&self, count: usize) {
        while self.begun.load(Ordering::SeqCst) < count {
            std::thread::yield_now();
        }
    }

    /// How often the page was read.
    pub(crate) fn reads_of(&self, at: PageRef, size: PageSize) -> usize {
        self.reads.lock().unwrap().get(&at.page().offset(size)).copied().unwrap_or(0)
    }

    pub(crate) fn total_reads(&self) -> usize {
        self.reads.lock().unwrap().values().sum()
    }
}

fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl File for Watched {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        *self.reads.lock().unwrap().entry(offset).or_default() += 1;
        self.begun.fetch_add(1, Ordering::SeqCst);
        let mut closed = self.closed.lock().unwrap();
        while *closed {
            closed = self.opened.wait(closed).unwrap();
        }
        drop(closed);
        assert!(!take_one(&self.panic), "a test's panic");
        if take_one(&self.fail) {
            return Err(io::Error::other("a test's failure"));
        }
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.write_at(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.write_vectored_at(bufs, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.allocate(offset, len)
    }

    fn lock(&self, kind: LockKind) -> io::Result<bool> {
        self.inner.lock(kind)
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.drop_cache(offset, len)
    }

    fn direct(&self) -> io::Result<Option<DirectFile>> {
        let refusing = self.refuse.load(Ordering::SeqCst);
        let file: Arc<dyn File> =
            if refusing { Arc::new(Refusing(Arc::clone(&self.inner))) } else { Arc::clone(&self.inner) };
        Ok(self.has_direct.load(Ordering::SeqCst).then_some(DirectFile { file, align: 512 }))
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.inner.identity()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A direct handle that can be opened and is then of no use.
#[derive(Debug)]
struct Refusing(Arc<dyn File>);

impl File for Refusing {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn write_vectored_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::InvalidInput.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }

    fn lock(&self, kind: LockKind) -> io::Result<bool> {
        self.0.lock(kind)
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.drop_cache(offset, len)
    }

    fn direct(&self) -> io::Result<Option<DirectFile>> {
        Ok(None)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.0.identity()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// An empty file in memory.
pub(crate) fn memory_file() -> Arc<dyn File> {
    MemFs::new().create_unnamed(Path::new("file")).unwrap()
}

/// Fills `file` with `count` sealed leaves and returns the references to them.
pub(crate) fn fill(file: &dyn File, size: PageSize, count: u64) -> Vec<PageRef> {
    let mut references = Vec::new();
    let mut chunk = Vec::new();
    file.set_len(count * size.bytes() as u64).unwrap();
    for number in 0..count {
        let (at, bytes) = leaf(size, number, 0);
        references.push(at);
        chunk.extend_from_slice(&bytes);
        if chunk.len() >= 1 << 20 || number + 1 == count {
            let offset = (number + 1) * size.bytes() as u64 - chunk.len() as u64;
            file.write_at(&chunk, offset).unwrap();
            chunk.clear();
        }
    }
    references
}

/// A sealed leaf that tells its number and version.
pub(crate) fn leaf(size: PageSize, number: u64, version: u64) -> (PageRef, Vec<u8>) {
    let mut bytes = vec![0; size.bytes()];
    bytes[16] = 1; // well formed, to the suite's `validate`
    bytes[24..32].copy_from_slice(&number.to_le_bytes());
    bytes[32..40].copy_from_slice(&version.to_le_bytes());
    let at = bifold_page_source::seal_page(pages::FILE_ID, PageId::new(number).unwrap(), &mut bytes);
    (at, bytes)
}

/// The number that a page's bytes tell.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[24..32].try_into().unwrap())
}

/// The version that a page's bytes tell.
pub(crate) fn version(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[32..40].try_into().unwrap())
}

pub(crate) fn open(file: Arc<dyn File>, size: PageSize, options: &Options) -> PoolSource {
    PoolSource::open(file, pages::config(size), options).unwrap()
}

/// Looks at a page in a visit of its own.
pub(crate) fn look(source: &PoolSource, at: PageRef) {
    assert_eq!(number(source.visit().view(at).unwrap()), at.page().get());
}
