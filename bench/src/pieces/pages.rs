//! A page visited and a page pinned, in a page source without an engine above it. The pages are in memory and verified.
#![forbid(unsafe_code)]

use super::world::{Conditions, FILE_ID, Place, Side, loaded_file, options};
use super::{Piece, Ring};
use crate::Result;
use crate::data::Numbers;
use bifold_page_source::{Access, PageId, PageRef, PageSize, SourceConfig, Visit, verify_page};
use std::hint::black_box;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages visited in turn: their number, and not their bytes, has to fit the processor's caches, as nothing is read.
const PAGES: usize = 1024;

/// How many entries a leaf or a branch says it has.
pub(super) fn number_of_entries(page: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([page[24], page[25]]))
}

/// The leaves (level 0) or branches of the closed file at `place`, which has pages of 4 KiB, with their bytes.
pub(super) fn file_pages(place: &Place, level: u8) -> Result<Vec<(PageRef, Vec<u8>)>> {
    let file = place.files.open(&place.path, Access::ReadOnly)?;
    let mut bytes = vec![0; PAGE];
    let mut pages = Vec::new();
    for number in 0..file.len()? / PAGE as u64 {
        let at = PageId::new(number).map(PageRef::unchecked).ok_or("the file is too long")?;
        file.read_at(&mut bytes, number * PAGE as u64)?;
        // Head and free map are told apart by their kind, free pages by their checksum.
        let tree_page = verify_page(FILE_ID, at, &bytes).is_ok() && matches!(bytes[13], 1 | 2);
        if tree_page && bytes[14] == level {
            pages.push((at, bytes.clone()));
        }
    }
    Ok(pages)
}

/// A source over a loaded file, and some of its leaves in a random order.
#[derive(Debug)]
struct Open<S> {
    source: S,
    leaves: Ring<PageRef>,
    // Dropped behind the source whose file lies there.
    _place: Place,
}

impl<S: Side> Open<S> {
    fn new(conditions: &Conditions) -> Result<Self> {
        let place = Place::of(conditions)?;
        loaded_file::<S>(conditions, &place)?;
        let leaves = file_pages(&place, 0)?;
        let mut numbers = Numbers::new(2);
        let some =
            (0..PAGES).map(|_| leaves.get(numbers.below(leaves.len() as u64) as usize).map(|(at, _)| *at));
        let some: Option<Vec<_>> = some.collect();
        let file = place.files.open(&place.path, Access::ReadWrite)?;
        let page_size = PageSize::new(PAGE as u32).ok_or("no size of a page")?;
        let config = SourceConfig { page_size, file_id: FILE_ID, validate: |_| Ok(()) };
        let source = S::open(file, config, &options::<S>(conditions, conditions.entries))?;
        for (at, bytes) in &leaves {
            if source.visit().view(*at)? != &bytes[..] {
                return Err("the source shows another page".into());
            }
        }
        Ok(Self { source, leaves: Ring::new(some.ok_or("the file has no leaves")?)?, _place: place })
    }
}

/// A visit of one page: begun, the page shown, ended.
#[derive(Debug)]
pub(super) struct Visiting<S>(Open<S>);

impl<S: Side> Visiting<S> {
    pub(super) fn new(conditions: &Conditions) -> Result<Self> {
        Ok(Self(Open::new(conditions)?))
    }
}

impl<S: Side> Piece for Visiting<S> {
    fn run(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            let mut visit = self.0.source.visit();
            black_box(visit.view(*self.0.leaves.next())?);
        }
        Ok(())
    }
}

/// A page kept beyond its visit, and let go.
#[derive(Debug)]
pub(super) struct Pinning<S>(Open<S>);

impl<S: Side> Pinning<S> {
    pub(super) fn new(conditions: &Conditions) -> Result<Self> {
        Ok(Self(Open::new(conditions)?))
    }
}

impl<S: Side> Piece for Pinning<S> {
    fn run(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            let pin = self.0.source.visit().hold(*self.0.leaves.next())?;
            black_box(&pin[..]);
        }
        Ok(())
    }
}
