//! Sealing and writing the pages of a checkpoint, stage by stage.
#![forbid(unsafe_code)]

use super::layout::Layout;
use super::write::{write_extent, write_pages};
use crate::db::shared::Shared;
use crate::delta::{Image, Slab};
use crate::error::{Error, Result};
use crate::free::Run;
use crate::node::NodeMut;
use crate::root::TreeRoot;
use crate::word::{Target, Word};
use bifold_page_source::{PageId, PageRef, PageSource, PageWrite, seal_page};
use std::sync::Arc;

/// Bytes handed to the source in one go. In a long run each batch but the first begins at a multiple of this in the
/// file: what is written by one aligned call the kernel's cache keeps in one piece, and pieces of 2 MiB are what the
/// processor can map by one entry of a page table (for random reads of a mapping in memory that is worth a third).
const BATCH: usize = 2 << 20;

/// Where each delta page has gone.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    /// For each descriptor the bits of the reference to its place; 0 for none.
    by_id: Vec<u64>,
    /// The descriptors that have one, in the order they were written.
    ids: Vec<u32>,
}

impl Homes {
    /// The descriptors that have a home, in the order they were written.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The bits of the reference to `id`'s place, if it was written.
    pub(crate) fn get(&self, id: u32) -> Option<u64> {
        self.by_id.get(id as usize).copied().filter(|bits| *bits != 0)
    }

    /// `id`'s page was written.
    pub(crate) fn set(&mut self, id: u32, bits: u64) {
        let at = id as usize;
        if self.by_id.len() <= at {
            self.by_id.resize(at + 1, 0);
        }
        self.by_id[at] = bits;
        self.ids.push(id);
    }

    /// A word as it may be stored: what it names has been written.
    pub(crate) fn resolve(&self, word: Word) -> Option<Word> {
        match word.target() {
            Target::Null | Target::File(_) => Some(word),
            Target::Delta(id) => self.get(id).map(Word::from_bits),
            Target::Bad => None,
        }
    }

    /// A root as it may be stored.
    pub(crate) fn settle(&self, root: TreeRoot) -> Result<TreeRoot> {
        let word = self.resolve(root.word).ok_or(Error::Internal("a root was not written"))?;
        Ok(TreeRoot { word, ..root })
    }
}

/// Runs of pages, given out one page at a time.
#[derive(Debug, Default)]
pub(crate) struct Places {
    runs: Vec<Run>,
    /// The run at hand, and how many of its pages are gone.
    at: (usize, u64),
}

impl Places {
    /// The pages of `runs`, in their order.
    pub(crate) fn new(runs: Vec<Run>) -> Self {
        Self { runs, at: (0, 0) }
    }

    /// The next page.
    pub(crate) fn next(&mut self) -> Option<PageId> {
        let run = self.runs.get(self.at.0)?;
        let page = PageId::new(run.start + self.at.1)?;
        self.at.1 += 1;
        if self.at.1 == run.len {
            self.at = (self.at.0 + 1, 0);
        }
        Some(page)
    }
}

/// Writes the pages of a layout, a batch at a time.
#[derive(Debug, Default)]
pub(crate) struct PageWriter {
    values: Vec<Run>,
    leaves: Places,
    branches: Places,
    /// Values written.
    next_value: usize,
    /// The stage at hand, and how many of its pages are written.
    next_page: (usize, usize),
    buffer: Vec<u8>,
}

impl PageWriter {
    /// Writes to these places: one for each large value, those of the tables' leaves, and those of everything above.
    pub(crate) fn new(values: Vec<Run>, leaves: Places, branches: Places) -> Self {
        Self { values, leaves, branches, ..Self::default() }
    }

    /// Writes the next batch of at most `most` pages, or the next large value; the bytes written, or `None` if all is.
    /// `image` gives the image of a page; `birth` is that of large values.
    pub(crate) fn write_next<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        layout: &Layout,
        homes: &mut Homes,
        (birth, most): (u64, usize),
        image: &dyn Fn(u32) -> Result<Arc<Image>>,
    ) -> Result<Option<u64>> {
        if let Some(value) = layout.values.get(self.next_value) {
            let run =
                self.values.get(self.next_value).ok_or(Error::Internal("a large value has no place"))?;
            let first = PageId::new(run.start).ok_or(Error::Internal("a place beyond the largest page"))?;
            let home = write_value_at(shared, first, birth, image(value.id)?.bytes())?;
            homes.set(value.id, home.bits());
            self.next_value += 1;
            return Ok(Some(value.len));
        }
        loop {
            let (stage, done) = self.next_page;
            let Some(ids) = layout.stages().nth(stage) else { return Ok(None) };
            if done < ids.len() {
                // Leaves of tables are the first stage, if there are tables at all.
                let places = if stage == 0 && !layout.tables.is_empty() {
                    &mut self.leaves
                } else {
                    &mut self.branches
                };
                let place = &mut |_| places.next();
                let batch = Batch { shared, homes, buffer: &mut self.buffer, image };
                let end = ids.len().min(done.saturating_add(most));
                let written = batch.write(&ids[done..end], place)?;
                self.next_page.1 += written;
                return Ok(Some((written * shared.store.page_size.bytes()) as u64));
            }
            self.next_page = (stage + 1, 0);
        }
    }
}

/// The means to write some pages at once.
pub(crate) struct Batch<'a, S> {
    pub(crate) shared: &'a Shared<S>,
    pub(crate) homes: &'a mut Homes,
    /// Memory for the pages' bytes.
    pub(crate) buffer: &'a mut Vec<u8>,
    /// Gives the image of a page.
    pub(crate) image: &'a dyn Fn(u32) -> Result<Arc<Image>>,
}

impl<S: PageSource> Batch<'_, S> {
    /// Writes the first of `ids` to the places that `place` gives them; how many.
    pub(crate) fn write(self, ids: &[u32], place: &mut dyn FnMut(u32) -> Option<PageId>) -> Result<usize> {
        let page_len = self.shared.store.page_size.bytes();
        let per_batch = (BATCH / page_len).max(1);
        let buffer = self.buffer;
        buffer.clear();
        let mut sealed: Vec<(PageRef, _)> = Vec::with_capacity(per_batch.min(ids.len()));
        for &id in ids.iter().take(per_batch) {
            let at = place(id).ok_or(Error::Internal("fewer places than pages"))?;
            let start = buffer.len();
            let image = (self.image)(id)?;
            buffer.extend_from_slice(image.bytes());
            settle_words(&self.shared.store.slab, &image, &mut buffer[start..], self.homes)?;
            let home = seal_page(self.shared.store.file_id, at, &mut buffer[start..]);
            self.homes.set(id, home.bits());
            sealed.push((home, image.replaces()));
            if (at.get() + 1).is_multiple_of(per_batch as u64) {
                break;
            }
        }
        let writes: Vec<PageWrite<'_>> = sealed
            .iter()
            .zip(buffer.chunks(page_len))
            .map(|(&(at, replaces), bytes)| PageWrite { at, replaces, bytes })
            .collect();
        write_pages(&self.shared.store, &writes)?;
        Ok(sealed.len())
    }
}

/// Stores an image's words in the copy of its bytes that is to be written.
fn settle_words(slab: &Slab, image: &Image, bytes: &mut [u8], homes: &Homes) -> Result<()> {
    // A page that only readers see may name one that an earlier checkpoint wrote.
    let earlier = |word: Word| match word.target() {
        Target::Delta(id) => Some(slab.home(id)).filter(|home| *home != 0).map(Word::from_bits),
        _ => None,
    };
    let mut words = image.copy_words();
    NodeMut::new(bytes, &mut words)
        .settle(&mut |word| homes.resolve(word).or_else(|| earlier(word)))
        .map_err(|_| Error::Internal("a page of the delta cannot be stored"))
}

/// Writes a large value as an extent that begins at page `first`; returns the reference to it.
pub(crate) fn write_value_at<S: PageSource>(
    shared: &Shared<S>,
    first: PageId,
    birth: u64,
    value: &[u8],
) -> Result<PageRef> {
    let (file_id, page_size) = (shared.store.file_id, shared.store.page_size);
    let store = &shared.store;
    let (header_pages, _) = crate::extent::pages_for(value.len() as u64, page_size);
    let (header, reference) = crate::extent::build_header(file_id, first, birth, value, page_size)?;
    write_extent(store, first, &header)?;
    let mut at = first.plus(header_pages);
    for part in value.chunks(BATCH) {
        let whole = part.len() / page_size.bytes() * page_size.bytes();
        if whole > 0 {
            write_extent(store, at, &part[..whole])?;
        }
        at = at.plus((whole / page_size.bytes()) as u64);
        if whole < part.len() {
            let mut last = part[whole..].to_vec();
            last.resize(page_size.bytes(), 0);
            write_extent(store, at, &last)?;
        }
    }
    Ok(reference)
}
