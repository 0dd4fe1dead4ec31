//! The one place that writes to the database file's pages.
//!
//! A page source asks of its caller that no view, pin or span of the places written is alive. Here that promise is
//! made for the whole engine.
#![expect(unsafe_code, reason = "the promise that page sources ask for is made here, for all of the engine")]

use crate::error::Result;
use bifold_page_source::{PageId, PageSource, PageWrite};

/// Writes pages to places that the free space has given.
pub(crate) fn write_pages<S: PageSource>(source: &S, writes: &[PageWrite<'_>]) -> Result<()> {
    // SAFETY: every place comes from `FreeSpace`, which hands a page out only if it was never in use, or was born at
    // checkpoint A and dropped at B with B durable and no live snapshot between; so no snapshot's walk can come to it,
    // and views, pins and spans live within walks and snapshots. What has been handed out is not handed out again.
    unsafe { source.write(writes)? };
    Ok(())
}

/// Writes whole pages of an extent that the free space has given.
pub(crate) fn write_extent<S: PageSource>(source: &S, at: PageId, bytes: &[u8]) -> Result<()> {
    // SAFETY: as in `write_pages`; an extent's pages are named by a leaf only after this has returned.
    unsafe { source.write_extent(at, bytes)? };
    Ok(())
}

/// Cuts free pages off the end of the file.
pub(crate) fn shrink<S: PageSource>(source: &S, pages: u64) -> Result<()> {
    // SAFETY: the pages beyond are free in the durable checkpoint and in `FreeSpace`: see `write_pages`.
    unsafe { source.shrink(pages)? };
    Ok(())
}
