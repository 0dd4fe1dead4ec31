//! The one place that writes to the database file's pages.
//!
//! A page source asks of its caller that no view, pin or span of the places written is alive. Here that promise is
//! made for the whole engine.
#![expect(unsafe_code, reason = "the promise that page sources ask for is made here, for all of the engine")]

use crate::error::Result;
use crate::walk::Store;
use bifold_page_source::{PageId, PageSource, PageWrite};
use std::sync::atomic::Ordering;

/// Writes pages to places that the free space has given.
pub(crate) fn write_pages<S: PageSource>(store: &Store<S>, writes: &[PageWrite<'_>]) -> Result<()> {
    let bytes: usize = writes.iter().map(|write| write.bytes.len()).sum();
    // Every place comes from `FreeSpace`, which hands a page out only if it was never in use, or was born at checkpoint A
    // and dropped at B with B durable and no live snapshot between: no snapshot's walk can come to it, and views, pins and
    // spans live within walks and snapshots. What was handed out is not handed out again, but for what the open
    // transaction itself wrote there and dropped or undid again.
    // SAFETY: so nobody can hold a view, pin or span of these places; neither can the open transaction, of what it uses
    // again: that was given back while no guard or cursor of it was alive, or after a time at which none was
    // (`txn::reuse`), and between its calls it has no walk.
    unsafe { store.source.write(writes)? };
    store.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    Ok(())
}

/// Writes whole pages of an extent that the free space has given.
pub(crate) fn write_extent<S: PageSource>(store: &Store<S>, at: PageId, bytes: &[u8]) -> Result<()> {
    // SAFETY: as in `write_pages`; an extent's pages are named by a leaf only after this has returned.
    unsafe { store.source.write_extent(at, bytes)? };
    store.written_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// Cuts free pages off the end of the file.
pub(crate) fn shrink<S: PageSource>(source: &S, pages: u64) -> Result<()> {
    // SAFETY: the pages beyond are free in the durable checkpoint and in `FreeSpace`: see `write_pages`.
    unsafe { source.shrink(pages)? };
    Ok(())
}
