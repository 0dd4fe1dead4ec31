//! The free map on file: a chain of pages, each naming the one before it, the newest named by the meta page.
//!
//! A page of the chain is the common header (kind 4), the reference to the page before it (8 bytes at 32, zero in the
//! oldest), then records to the end of the page; see `free::record`.
#![forbid(unsafe_code)]

use super::write::write_pages;
use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::free::{FreeSpace, Grant, Replay, Run, decode};
use crate::meta::{FreeMapRoot, Meta, head_pages};
use crate::node::{HEADER, KIND_FREE_MAP, kind_of, set_header};
use crate::txn::writer::Writer;
use crate::walk::Store;
use bifold_page_source::{PageId, PageRef, PageSize, PageSource, PageWrite, Visit, seal_page};

const AT_BEFORE: usize = HEADER;
const AT_RECORDS: usize = HEADER + 8;

/// Bytes for records in a page of the chain.
pub(crate) const fn capacity(page_size: PageSize) -> usize {
    page_size.bytes() - AT_RECORDS
}

/// The newest pages of the chain, sealed and ready to be written.
#[derive(Debug)]
pub(super) struct SealedMap {
    /// What the meta says of the map.
    pub(super) root: FreeMapRoot,
    /// The file's length in pages, as the map has it.
    pub(super) end: u64,
    pages: Vec<(PageRef, Vec<u8>)>,
}

/// Settles what the chain says of checkpoint `number`, whose pages for that are `reserved`.
pub(super) fn seal<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    number: u64,
    reserved: Grant,
) -> Result<SealedMap> {
    let page_size = shared.store.page_size;
    let birth = writer.meta.checkpoint;
    let before = writer.meta.free_map;
    let space = writer.space()?;
    let sealed = space.seal(number, capacity(page_size), reserved)?;
    let mut head = if sealed.rewritten { None } else { before.head };
    let mut pages = Vec::new();
    let places = sealed.pages.iter().flat_map(|run| run.start..run.end()).filter_map(PageId::new);
    for (at, payload) in places.zip(&sealed.payloads) {
        let mut bytes = vec![0; page_size.bytes()];
        set_header(&mut bytes, KIND_FREE_MAP, 0, birth);
        bytes[AT_BEFORE..AT_RECORDS].copy_from_slice(&head.map_or(0, PageRef::bits).to_le_bytes());
        bytes[AT_RECORDS..AT_RECORDS + payload.len()].copy_from_slice(payload);
        let reference = seal_page(shared.store.file_id, at, &mut bytes);
        head = Some(reference);
        pages.push((reference, bytes));
    }
    let chain_pages = space.chain().iter().map(|run| run.len).sum();
    let root = FreeMapRoot { head, chain_pages, free_pages: space.free_pages() };
    Ok(SealedMap { root, end: sealed.end, pages })
}

impl SealedMap {
    /// Writes the pages.
    pub(super) fn write<S: PageSource>(&self, store: &Store<S>) -> Result<()> {
        let writes: Vec<_> =
            self.pages.iter().map(|(at, bytes)| PageWrite { at: *at, replaces: None, bytes }).collect();
        write_pages(store, &writes)
    }
}

/// Reads the free space of the checkpoint that `meta` names.
///
/// # Errors
/// I/O errors; `Corrupt` if the chain is damaged, too long, or contradicts itself.
pub(crate) fn load<S: PageSource>(source: &S, meta: &Meta) -> Result<FreeSpace> {
    let page_size = meta.page_size;
    let mut pages: Vec<(PageId, Vec<u8>)> = Vec::new();
    let mut next = meta.free_map.head;
    while let Some(reference) = next {
        let page = reference.page();
        if pages.len() as u64 >= meta.free_map.chain_pages {
            return Err(Error::page(page, "the free map's chain is longer than it should be"));
        }
        let mut visit = source.visit();
        let bytes = visit.view(reference)?;
        let (Some(before), Some(records)) = (bytes.get(AT_BEFORE..AT_RECORDS), bytes.get(AT_RECORDS..))
        else {
            return Err(Error::page(page, "it is too short"));
        };
        if kind_of(bytes) != KIND_FREE_MAP {
            return Err(Error::page(page, "it is no page of the free map"));
        }
        let bits = before.try_into().map_or(0, u64::from_le_bytes);
        next = match (bits, PageRef::from_bits(bits)) {
            (0, _) => None,
            (_, Some(before)) => Some(before),
            (_, None) => return Err(Error::page(page, "the reference to the page before leads nowhere")),
        };
        pages.push((page, records.to_vec()));
    }
    let mut replay = Replay::new();
    for (page, records) in pages.iter().rev() {
        for record in decode(records).map_err(|fault| fault.at(*page))? {
            replay.apply(&record).map_err(|fault| fault.at(*page))?;
        }
    }
    let chain: Vec<Run> = pages.iter().rev().map(|(page, _)| Run::new(page.get(), 1)).collect();
    let head = head_pages(page_size);
    let newest = pages.first().map_or(PageId::default(), |(page, _)| *page);
    let map = if pages.is_empty() {
        crate::free::Map::default()
    } else {
        replay.finish(head, meta.end, &chain).map_err(|fault| fault.at(newest))?
    };
    Ok(FreeSpace::new(head, meta.end, page_size, meta.checkpoint, map, chain))
}
