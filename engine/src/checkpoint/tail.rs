//! Space at the end of the file that nothing needs: left out by a checkpoint, and cut off once that is durable.
//!
//! Where a file shrinks and when is `FreeSpace`'s to say ([`end_to_keep`](crate::free::FreeSpace::end_to_keep)). The
//! order is what keeps a crash harmless (rule R8): first the meta that does without these pages, then the cut. In
//! between the file is merely longer than its meta says. Readers may go on: free pages are seen by nobody.
#![forbid(unsafe_code)]

use super::write::shrink;
use crate::db::shared::Shared;
use crate::error::Result;
use crate::txn::writer::Writer;
use bifold_page_source::PageSource;

/// Bytes cut off in one step, as file systems take their time to free many.
const BYTES_PER_STEP: u64 = 256 << 20;

/// Takes the pages out of the free space that are not needed, before the checkpoint's map is sealed. The next
/// checkpoint is taken to need `wanted` pages.
pub(super) fn leave_out<S: PageSource>(shared: &Shared<S>, writer: &mut Writer, wanted: u64) -> Result<()> {
    let (keep, at_end) = writer.room_to_keep(shared)?;
    let space = writer.space()?;
    if let Some(end) = space.end_to_keep(keep.max(wanted), at_end) {
        tracing::debug!(from = space.end(), to = end, "the file's end is given back");
        space.shorten(end)?;
    }
    Ok(())
}

/// Once the checkpoint counts: cuts the pages off, some in each call; whether there are more. Pages that a writer
/// has taken back meanwhile stay. What a crash has left there, between a meta and its cut, goes too. The gate is
/// held, so nobody grows the file. An error changes nothing: the file stays longer than it need be.
pub(super) fn cut_off<S: PageSource>(shared: &Shared<S>, writer: &mut Writer) -> Result<bool> {
    let end = writer.space()?.end().max(writer.meta.end);
    let source = &shared.store.source;
    let len = source.len_pages();
    if len <= end {
        return Ok(false);
    }
    let step = BYTES_PER_STEP >> shared.store.page_size.shift();
    let to = end.max(len.saturating_sub(step));
    if let Err(error) = shrink(source, to) {
        tracing::warn!(%error, "the file's end cannot be cut off");
        return Ok(false);
    }
    Ok(to > end)
}
