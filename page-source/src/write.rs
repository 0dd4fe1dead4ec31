//! Writing many pages in few calls, for sources that write through the file seam without a queue of their own.
#![forbid(unsafe_code)]

use crate::{Error, File, PageSize, PageWrite, Result};
use std::io::{self, IoSlice};

/// Writes pages through `file`, pages that follow one another (in the order given) in one vectored call. Returns
/// the number of calls.
///
/// # Errors
/// I/O errors, and `InvalidInput` if some `bytes` are not one whole page; nothing has been written then. After any
/// other error it is unknown which pages were.
pub fn write_pages(file: &dyn File, size: PageSize, writes: &[PageWrite<'_>]) -> Result<u64> {
    if let Some(bad) = writes.iter().find(|w| w.bytes.len() != size.bytes()) {
        let offset = bad.at.page().offset(size);
        return Err(Error::io("write", offset, io::ErrorKind::InvalidInput.into()));
    }
    let mut calls = 0;
    for run in writes.chunk_by(|a, b| a.at.page().plus(1) == b.at.page()) {
        let offset = run[0].at.page().offset(size);
        let done = match run {
            [one] => file.write_at(one.bytes, offset),
            many => {
                let bufs: Vec<_> = many.iter().map(|w| IoSlice::new(w.bytes)).collect();
                file.write_vectored_at(&bufs, offset)
            }
        };
        done.map_err(|e| Error::io("write", offset, e))?;
        calls += 1;
    }
    Ok(calls)
}
