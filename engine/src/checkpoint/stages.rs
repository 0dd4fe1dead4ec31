//! Sealing and writing the pages of a checkpoint, stage by stage.
#![forbid(unsafe_code)]

use super::layout::Layout;
use super::write::{write_extent, write_pages};
use crate::db::shared::Shared;
use crate::delta::{EpochGuard, Image};
use crate::error::{Error, Result};
use crate::free::{Grant, Run};
use crate::node::NodeMut;
use crate::root::TreeRoot;
use crate::tree::change::Descriptors;
use crate::word::{Target, Word};
use bifold_page_source::{PageId, PageRef, PageSource, PageWrite, seal_page};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes handed to the source in one go. In a long run each batch but the first begins at a multiple of this in the
/// file: what is written by one aligned call the kernel's cache keeps in one piece, and pieces of 2 MiB are what the
/// processor can map by one entry of a page table (for random reads of a mapping in memory that is worth a third).
const BATCH: usize = 2 << 20;

/// Where each delta page has gone.
#[derive(Debug, Default)]
pub(super) struct Homes {
    by_id: HashMap<u32, u64>,
}

impl Homes {
    /// How many pages and values have a home.
    pub(super) fn count(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// All of them: descriptor, and bits of the reference.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        self.by_id.iter().map(|(id, home)| (*id, *home))
    }

    /// A word as it may be stored: what it names has been written.
    fn resolve(&self, word: Word) -> Option<Word> {
        match word.target() {
            Target::Null | Target::File(_) => Some(word),
            Target::Delta(id) => self.by_id.get(&id).map(|bits| Word::from_bits(*bits)),
            Target::Bad => None,
        }
    }

    /// A root as it may be stored.
    pub(super) fn settle(&self, root: TreeRoot) -> Result<TreeRoot> {
        let word = self.resolve(root.word).ok_or(Error::Internal("a root was not written"))?;
        Ok(TreeRoot { word, ..root })
    }
}

/// The means to write one checkpoint.
pub(super) struct Stages<'a, S> {
    pub(super) shared: &'a Shared<S>,
    pub(super) descriptors: &'a Descriptors,
    pub(super) birth: u64,
    pub(super) homes: &'a mut Homes,
}

impl<S: PageSource> Stages<'_, S> {
    /// Writes everything in `layout` to the places given.
    pub(super) fn write(
        &mut self,
        layout: &Layout,
        values: &[Grant],
        leaves: &Grant,
        branches: &Grant,
    ) -> Result<()> {
        for (value, grant) in layout.values.iter().zip(values) {
            let run = grant.runs.first().ok_or(Error::Internal("a large value has no place"))?;
            self.write_value(value.id, *run)?;
        }
        let mut leaf_places = places(&leaves.runs);
        let mut branch_places = places(&branches.runs);
        let mut stages = layout.tables.iter();
        if let Some(ids) = stages.next() {
            self.write_stage(ids, &mut leaf_places)?;
        }
        for ids in stages.chain(&layout.catalog) {
            self.write_stage(ids, &mut branch_places)?;
        }
        Ok(())
    }

    fn image(&self, id: u32) -> Result<Arc<Image>> {
        let image = self.shared.store.slab.pin(id, &EpochGuard::enter());
        image.ok_or(Error::Internal("a page to write is not in the delta"))
    }

    fn write_value(&mut self, id: u32, run: Run) -> Result<()> {
        let image = self.image(id)?;
        let first = PageId::new(run.start).ok_or(Error::Internal("a place beyond the largest page"))?;
        let home = write_value_at(self.shared, first, self.birth, image.bytes())?;
        self.homes.by_id.insert(id, home.bits());
        Ok(())
    }

    /// Writes pages to the next places, in batches.
    fn write_stage(&mut self, ids: &[u32], places: &mut dyn Iterator<Item = PageId>) -> Result<()> {
        let page_len = self.shared.store.page_size.bytes();
        let mut buffer = Vec::with_capacity(BATCH.min(ids.len() * page_len));
        let per_batch = (BATCH / page_len).max(1);
        let mut ids = ids.iter();
        while !ids.as_slice().is_empty() {
            buffer.clear();
            let mut sealed: Vec<(PageRef, _)> = Vec::with_capacity(per_batch.min(ids.len()));
            let ends = |at: PageId| (at.get() + 1).is_multiple_of(per_batch as u64);
            while sealed.len() < per_batch && !sealed.last().is_some_and(|(home, _)| ends(home.page())) {
                let Some(&id) = ids.next() else { break };
                let at = places.next().ok_or(Error::Internal("fewer places than pages"))?;
                let start = buffer.len();
                let image = self.image(id)?;
                buffer.extend_from_slice(image.bytes());
                let mut words = Image::clone(&image).into_words();
                NodeMut::new(&mut buffer[start..], &mut words)
                    .settle(&mut |word| self.homes.resolve(word))
                    .map_err(|_| Error::Internal("a page of the delta cannot be stored"))?;
                let home = seal_page(self.shared.store.file_id, at, &mut buffer[start..]);
                self.homes.by_id.insert(id, home.bits());
                sealed.push((home, self.descriptors.replaces(id)));
            }
            let writes: Vec<PageWrite<'_>> = sealed
                .iter()
                .zip(buffer.chunks(page_len))
                .map(|(&(at, replaces), bytes)| PageWrite { at, replaces, bytes })
                .collect();
            write_pages(&self.shared.store.source, &writes)?;
        }
        Ok(())
    }
}

/// The pages of `runs`, in order.
fn places(runs: &[Run]) -> impl Iterator<Item = PageId> {
    runs.iter().flat_map(|run| run.start..run.end()).filter_map(PageId::new)
}

/// Writes a large value as an extent that begins at page `first`; returns the reference to it.
pub(crate) fn write_value_at<S: PageSource>(
    shared: &Shared<S>,
    first: PageId,
    birth: u64,
    value: &[u8],
) -> Result<PageRef> {
    let (file_id, page_size) = (shared.store.file_id, shared.store.page_size);
    let source = &shared.store.source;
    let (header_pages, _) = crate::extent::pages_for(value.len() as u64, page_size);
    let (header, reference) = crate::extent::build_header(file_id, first, birth, value, page_size)?;
    write_extent(source, first, &header)?;
    let mut at = first.plus(header_pages);
    for part in value.chunks(BATCH) {
        let whole = part.len() / page_size.bytes() * page_size.bytes();
        if whole > 0 {
            write_extent(source, at, &part[..whole])?;
        }
        at = at.plus((whole / page_size.bytes()) as u64);
        if whole < part.len() {
            let mut last = part[whole..].to_vec();
            last.resize(page_size.bytes(), 0);
            write_extent(source, at, &last)?;
        }
    }
    Ok(reference)
}
