//! The file as the pool uses it: past the page cache where that works, with every call counted.
#![forbid(unsafe_code)]

use bifold_page_source::{File, PageSize};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Alignment of transfer buffers: enough for every device seen so far, and for `O_DIRECT`'s strictest rule.
pub(crate) const ALIGN: usize = 4096;

/// Counts of the calls made.
#[derive(Debug, Default)]
pub(crate) struct IoCounts {
    pub(crate) reads: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

/// The file and, maybe, a second handle on it that bypasses the page cache.
#[derive(Debug)]
pub(crate) struct Device {
    file: Arc<dyn File>,
    direct: Option<Arc<dyn File>>,
    /// Cleared for good when the file system refuses a direct call after all.
    use_direct: AtomicBool,
    pub(crate) counts: IoCounts,
}

impl Device {
    /// Opens the second handle if `direct` is wished for, possible, and fits the page size.
    ///
    /// # Errors
    /// Whatever the operating system says, other than "not supported".
    pub(crate) fn new(file: Arc<dyn File>, direct: bool, page_size: PageSize) -> io::Result<Self> {
        let handle = if direct { file.direct()? } else { None };
        let fitting = handle.filter(|d| {
            d.align > 0 && page_size.bytes().is_multiple_of(d.align) && ALIGN.is_multiple_of(d.align)
        });
        if direct && fitting.is_none() {
            tracing::warn!("direct I/O is not possible on this file; reading through the page cache");
        }
        let direct = fitting.map(|d| d.file);
        let use_direct = AtomicBool::new(direct.is_some());
        Ok(Self { file, direct, use_direct, counts: IoCounts::default() })
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Whether calls bypass the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.use_direct.load(Ordering::Relaxed)
    }

    fn direct(&self) -> Option<&dyn File> {
        self.direct.as_deref().filter(|_| self.is_direct())
    }

    /// A direct call was refused: the file system said yes too early.
    fn refused(&self, error: &io::Error) -> bool {
        let refused = matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported);
        if refused && self.use_direct.swap(false, Ordering::Relaxed) {
            tracing::warn!(%error, "direct I/O was refused; going on through the page cache");
        }
        refused
    }

    /// Fills `buf`, whose address and length are aligned, from `offset`.
    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes_read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        if let Some(direct) = self.direct() {
            match direct.read_at(buf, offset) {
                Err(e) if self.refused(&e) => {}
                other => return other,
            }
        }
        self.file.read_at(buf, offset)
    }

    /// Writes `buf`, whose address and length are aligned, at `offset`.
    pub(crate) fn write(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.count_write(buf.len());
        if let Some(direct) = self.direct() {
            match direct.write_at(buf, offset) {
                // Nothing was written; this is not a second try of a write that may have happened.
                Err(e) if self.refused(&e) => {}
                other => return other,
            }
        }
        self.file.write_at(buf, offset)
    }

    /// Writes buffers at any addresses, one behind the other, through the page cache.
    pub(crate) fn write_buffered(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.count_write(bufs.iter().map(|b| b.len()).sum());
        self.file.write_vectored_at(bufs, offset)
    }

    fn count_write(&self, bytes: usize) {
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
