//! `PageSource`: a read cache over immutable pages, plus a bulk writer.
//!
//! A page that a published checkpoint reaches never changes in place, so a source needs no latches, no dirty bits
//! and no versions: evicting is forgetting. The trait lets each source say what a view and a pin *are* (for mmap a
//! plain reference, for the pool an epoch entry and a pin count), so that choosing one costs nothing for the
//! existence of the other.

use crate::{File, PageId, PageRef, PageSize, Result, SourceStats};
use std::fmt::Debug;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The unit in which the bytes of an extent are checksummed.
pub const CHUNK_SIZE: usize = 64 * 1024;

/// Checks one chunk of an extent: its number within the extent, counted from 0, and its bytes.
pub type ChunkCheck<'a> = &'a dyn Fn(u64, &[u8]) -> Result<()>;

/// What a source must know of the file it reads.
#[derive(Clone, Copy, Debug)]
pub struct SourceConfig {
    /// The file's page size.
    pub page_size: PageSize,
    /// The file's id, the seed of its checksums.
    pub file_id: u64,
    /// Checks the inner structure of a page whose checksum is right, when it is first met. The error says what is
    /// wrong; it becomes [`Error::Corrupt`](crate::Error::Corrupt).
    pub validate: fn(&[u8]) -> Result<(), &'static str>,
}

/// One page to write.
#[derive(Clone, Copy, Debug)]
pub struct PageWrite<'a> {
    /// Where it goes, and its checksum's bits. The bytes are sealed already.
    pub at: PageRef,
    /// The page on file whose successor this is, if any: a cache may pass that page's heat on.
    pub replaces: Option<PageId>,
    /// The whole page.
    pub bytes: &'a [u8],
}

/// A way to reach the pages of one open file.
///
/// Pages on file are immutable while anyone may look at them; the three `unsafe` methods are where the caller
/// promises so. *Looking* is to view, pin or span. Reading ahead is not: a hint may name any page at any time.
///
/// # What may run at the same time
/// All methods may be called from any thread, and every two calls may overlap, a checkpoint's `write` and `sync` with
/// a transaction's `write_extent`, `grow` and `discard` among them. What the caller keeps apart is places (a page
/// that one call names must not be touched by the other, from the one's beginning to its return):
///
/// | call | beside it, in the same place |
/// | --- | --- |
/// | `write`, `write_extent` | read-ahead and `discard`, nothing else: nobody looks, nobody else writes |
/// | `shrink`, of all places beyond the cut | the same, and no `grow` |
/// | reads, `discard`, `grow`, `sync`, `len_pages`, `stats` | each other, and writes of other places |
///
/// What one may rely on in return:
/// - No call waits for another one's I/O but for a bounded share of it: a writer waits for a writer's present
///   transfers where they share buffers, and a `sync` may wait for the `sync` before it. Looking at a page and
///   growing the file never wait for a whole `write`, or for a `sync`, as far as it is the source's to say (a file
///   system may have locks of its own).
/// - `grow` has made room for every page below the number asked for when it returns, whoever else grows. A page may
///   be written once a `grow` beyond it has returned.
/// - `sync` covers every write that returned before it was called, whichever thread made it, and none that returned
///   later. When one fails, any other one that was under way may have failed with it.
pub trait PageSource: Debug + Send + Sync + Sized + 'static {
    /// What only this source can be told.
    type Options: Clone + Debug + Default + Send + Sync + 'static;

    /// A page kept beyond a visit; cheap to clone.
    type Pin<'s>: Deref<Target = [u8]> + Clone + Send + Sync
    where
        Self: 's;

    /// Contiguous bytes of an extent, kept like a pin.
    type Span<'s>: Deref<Target = [u8]> + Send + Sync
    where
        Self: 's;

    /// One operation's scope; see [`Visit`].
    type Visit<'s>: Visit<Pin = Self::Pin<'s>>
    where
        Self: 's;

    /// A name for messages and statistics: `mmap`, `pool`, `memory`.
    const NAME: &'static str;

    /// A source over `file`.
    ///
    /// # Errors
    /// When the file cannot be mapped or the budget cannot be had.
    fn open(file: Arc<dyn File>, config: SourceConfig, options: &Self::Options) -> Result<Self>;

    /// Begins a visit. Costs nothing for mmap and one epoch entry for a pool. Visits may nest.
    fn visit(&self) -> Self::Visit<'_>;

    /// Shows many pages to `f`, each with its index in `pages`, in any order, with all misses overlapped. A page
    /// named twice is shown twice. Stops at the first error, its own or `f`'s. `f` must not use the source.
    ///
    /// # Errors
    /// As [`Visit::view`], or whatever `f` returns.
    fn view_each(&self, pages: &[PageRef], f: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()>;

    /// Starts to read pages that will be wanted soon, and does not wait. A hint: what is wrong with a page is said
    /// when it is viewed.
    fn prefetch(&self, pages: &[PageRef]);

    /// The bytes `range` of an extent's data, which begins at page `first` and is `len` bytes long. `check` is
    /// asked about every chunk the range touches before anyone sees it (a source that maps may remember that a
    /// chunk was found good).
    ///
    /// # Errors
    /// I/O errors, `check`'s, and `Corrupt` if the range or the extent lies beyond the file.
    fn extent(
        &self,
        first: PageId,
        len: u64,
        range: Range<u64>,
        check: ChunkCheck<'_>,
    ) -> Result<Self::Span<'_>>;

    /// Writes pages, neighbours in one call. A load in flight of the same page is doomed: what it brings is
    /// dropped. The source may keep what it was handed: the heat of a page that is replaced passes to its
    /// successor, and the others are kept as if just loaded, as far as that drives out nothing that is used more.
    ///
    /// # Safety
    /// No view, pin or span of those places is alive or comes into being before the call returns, and no other call
    /// writes them.
    ///
    /// # Errors
    /// I/O errors; which pages were written is then unknown. Nothing is retried.
    #[expect(unsafe_code, reason = "the contract of immutable pages is the caller's promise")]
    unsafe fn write(&self, writes: &[PageWrite<'_>]) -> Result<()>;

    /// Writes bytes of an extent from the beginning of page `at` on; `bytes` is whole pages. They are forgotten
    /// wherever they were cached.
    ///
    /// # Safety
    /// As [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    #[expect(unsafe_code, reason = "the contract of immutable pages is the caller's promise")]
    unsafe fn write_extent(&self, at: PageId, bytes: &[u8]) -> Result<()>;

    /// Makes all writes that returned before durable, those of other threads too.
    ///
    /// # Errors
    /// After one, nothing written since the last sync can be relied on, in whatever thread. Nothing is retried.
    fn sync(&self) -> Result<()>;

    /// Makes the file at least `pages` pages long, with disk space reserved. Not durable before the next
    /// [`sync`](Self::sync).
    ///
    /// # Errors
    /// `StorageFull` if the disk is full; the file may then be longer than before.
    fn grow(&self, pages: u64) -> Result<()>;

    /// Cuts the file to `pages` pages.
    ///
    /// # Safety
    /// No view, pin or span of a page beyond lives or comes into being, and nobody writes one, or grows the file,
    /// before the call returns.
    ///
    /// # Errors
    /// I/O errors; the file is then as it was.
    #[expect(unsafe_code, reason = "the contract of immutable pages is the caller's promise")]
    unsafe fn shrink(&self, pages: u64) -> Result<()>;

    /// The file's length in whole pages.
    fn len_pages(&self) -> u64;

    /// Says that nobody will ask for these pages again until they are rewritten: the best victims there are. A
    /// load in flight of one is doomed as by [`write`](Self::write). What is pinned stays readable. Of
    /// a page that was written meanwhile it forgets no more than what was kept in memory.
    fn discard(&self, pages: Range<PageId>);

    /// What the source has done so far.
    fn stats(&self) -> SourceStats;
}

/// One operation's scope: a page viewed in it stays readable until the next call that may leave the scope, which
/// the borrow checker enforces by `&mut self`.
///
/// A visit stays on its thread and is short: it is never kept across user code.
pub trait Visit {
    /// A page kept beyond the visit.
    type Pin;

    /// Shows a page, reading it if need be.
    ///
    /// # Errors
    /// I/O errors; `Corrupt`, naming the page, if it lies beyond the file, or is not what `page` refers to.
    fn view(&mut self, page: PageRef) -> Result<&[u8]>;

    /// Brings what a walk over a page's entries needs first nearer to the processor, if the page is in memory: a hint
    /// that neither reads from the disk nor waits. The page is one that may be viewed.
    fn soon(&mut self, _page: PageRef) {}

    /// Keeps a page for as long as the source lives. What is held never stops eviction of anything else: when too
    /// much is held, the pin owns a copy.
    ///
    /// # Errors
    /// As [`view`](Self::view).
    fn hold(&mut self, page: PageRef) -> Result<Self::Pin>;
}
