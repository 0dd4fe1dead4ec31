//! Extents: how a large value lies on file.
//!
//! Header pages come first, then, from the next page on, the value's bytes, raw and contiguous and padded with zeros
//! to a whole page; so a mapping shows a value of any size as one slice, and a reader verifies only the chunks it
//! touches.
//! ```text
//! 0        the common header of pages: kind 3, level 0, birth
//! 32       length of the value in bytes (8)
//! 40       index of this header page (4)
//! 44       number of header pages (4)
//! 48       checksums, one for each 64 KiB of the value (8 each), as many as fit the page
//! …        zero
//! ```
//! Integers are little-endian. A chunk's checksum is seeded by the file's id, the first *data* page and the chunk's
//! number. A leaf refers to the first header page; the others carry the same length, count and birth.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::node::{HEADER, KIND_EXTENT, birth_of, kind_of, set_header};
use bifold_page_source::{
    CHUNK_SIZE, Error as SourceError, PageId, PageRef, PageSize, PageSource, Visit, chunk_checksum, seal_page,
};
use std::ops::Range;

const AT_LEN: usize = HEADER;
const AT_INDEX: usize = HEADER + 8;
const AT_PAGES: usize = HEADER + 12;
const AT_SUMS: usize = HEADER + 16;
const SUM: usize = 8;
const CHUNK: u64 = CHUNK_SIZE as u64;

/// Checksums that one header page holds.
const fn sums_per_page(page_size: PageSize) -> u64 {
    ((page_size.bytes() - AT_SUMS) / SUM) as u64
}

/// How many header pages and how many data pages the extent of a value of `len` bytes takes. Even an empty value
/// has a header page.
pub(crate) fn pages_for(len: u64, page_size: PageSize) -> (u64, u64) {
    let headers = len.div_ceil(CHUNK).div_ceil(sums_per_page(page_size)).max(1);
    (headers, page_size.pages_for(len))
}

/// The header pages, sealed, of `value`'s extent that begins at page `first`, and the reference to it.
///
/// # Errors
/// `ValueTooLong` if the extent's pages cannot be numbered.
pub(crate) fn build_header(
    file_id: u64,
    first: PageId,
    birth: u64,
    value: &[u8],
    page_size: PageSize,
) -> Result<(Vec<u8>, PageRef)> {
    let len = value.len() as u64;
    let (headers, data) = pages_for(len, page_size);
    let limit = PageId::MAX.get() + 1 - first.get();
    let too_long = Error::ValueTooLong { len, max: limit << page_size.shift() };
    let Ok(count) = u32::try_from(headers) else { return Err(too_long) };
    if headers + data > limit {
        return Err(too_long);
    }
    let first_data = first.plus(headers);
    let mut bytes = vec![0; headers as usize * page_size.bytes()];
    let mut chunks = (0..).zip(value.chunks(CHUNK_SIZE));
    let mut reference = None;
    for (index, page) in (0..count).zip(bytes.chunks_exact_mut(page_size.bytes())) {
        set_header(page, KIND_EXTENT, 0, birth);
        page[AT_LEN..AT_LEN + 8].copy_from_slice(&len.to_le_bytes());
        page[AT_INDEX..AT_INDEX + 4].copy_from_slice(&index.to_le_bytes());
        page[AT_PAGES..AT_PAGES + 4].copy_from_slice(&count.to_le_bytes());
        let sums = page[AT_SUMS..].as_chunks_mut::<SUM>().0;
        for (sum, (chunk, bytes)) in
            sums.iter_mut().zip(chunks.by_ref().take(sums_per_page(page_size) as usize))
        {
            *sum = chunk_checksum(file_id, first_data, chunk, bytes).to_le_bytes();
        }
        let at = seal_page(file_id, first.plus(u64::from(index)), page);
        reference.get_or_insert(at);
    }
    Ok((bytes, reference.ok_or(Error::Internal("an extent without header pages"))?))
}

/// What every header page of one extent has in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head {
    len: u64,
    pages: u32,
    birth: u64,
}

/// The bytes `range` of the value of `len` bytes whose extent begins at `first`, each of their chunks verified.
///
/// # Errors
/// I/O errors, and damage: any difference between the leaf, the header pages and the data. Nothing is allocated
/// beyond what the file's length warrants.
pub(crate) fn read_span<S: PageSource>(
    source: &S,
    file_id: u64,
    page_size: PageSize,
    first: PageRef,
    len: u64,
    range: Range<u64>,
) -> Result<S::Span<'_>> {
    if range.start > range.end || range.end > len {
        return Err(Error::Internal("a range beyond its value was asked for"));
    }
    let page = first.page();
    let (headers, data) = pages_for(len, page_size);
    let end = headers.checked_add(data).and_then(|pages| page.get().checked_add(pages));
    if end.is_none_or(|end| end > source.len_pages()) {
        return Err(Error::page(page, "its extent lies beyond the end of the file"));
    }
    let chunks = if range.is_empty() { 0..0 } else { range.start / CHUNK..range.end.div_ceil(CHUNK) };
    let sums = read_sums(source, page_size, first, len, chunks.clone())?;
    let first_data = page.plus(headers);
    let check = |chunk: u64, bytes: &[u8]| {
        let what = match chunk.checked_sub(chunks.start).and_then(|at| sums.get(at as usize)) {
            Some(sum) if *sum == chunk_checksum(file_id, first_data, chunk, bytes) => return Ok(()),
            Some(_) => "a chunk of its value does not match its checksum",
            None => "a chunk nobody asked for was read",
        };
        let at = first_data.plus((chunk * CHUNK) >> page_size.shift());
        Err(SourceError::Corrupt { page: at, what })
    };
    Ok(source.extent(first_data, len, range, &check)?)
}

/// The checksums of `chunks`, from the header pages that hold them. The caller has checked that the extent lies
/// within the file.
fn read_sums<S: PageSource>(
    source: &S,
    page_size: PageSize,
    first: PageRef,
    len: u64,
    chunks: Range<u64>,
) -> Result<Vec<u64>> {
    let per_page = sums_per_page(page_size);
    let (headers, _) = pages_for(len, page_size);
    let mut sums = Vec::with_capacity((chunks.end - chunks.start) as usize);
    let mut visit = source.visit();
    let head = head_of(visit.view(first)?, first.page(), 0)?;
    if head.len != len || u64::from(head.pages) != headers {
        return Err(Error::page(first.page(), "its extent is not as long as its leaf says"));
    }
    let mut chunk = chunks.start;
    while chunk < chunks.end {
        let index = chunk / per_page;
        let page = first.page().plus(index);
        let at = if index == 0 { first } else { PageRef::unchecked(page) };
        let bytes = visit.view(at)?;
        if head_of(bytes, page, index)? != head {
            return Err(Error::page(page, "it belongs to another extent than the page before it"));
        }
        let until = chunks.end.min((index + 1) * per_page);
        let from = (chunk - index * per_page) as usize;
        let wanted = bytes.get(AT_SUMS..).map_or(&[][..], |bytes| bytes.as_chunks::<SUM>().0);
        let wanted = wanted.get(from..from + (until - chunk) as usize);
        let wanted = wanted.ok_or_else(|| Error::page(page, "its checksums lie outside it"))?;
        sums.extend(wanted.iter().map(|sum| u64::from_le_bytes(*sum)));
        chunk = until;
    }
    Ok(sums)
}

/// What header page number `index` of an extent says.
fn head_of(bytes: &[u8], page: PageId, index: u64) -> Result<Head> {
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let parse = || {
        let head = Head { len: u64_at(AT_LEN)?, pages: u32_at(AT_PAGES)?, birth: birth_of(bytes) };
        Some((head, u32_at(AT_INDEX)?))
    };
    match parse() {
        Some((head, own)) if kind_of(bytes) == KIND_EXTENT && u64::from(own) == index => Ok(head),
        _ => Err(Error::page(page, "it is not the header of an extent that it should be")),
    }
}
