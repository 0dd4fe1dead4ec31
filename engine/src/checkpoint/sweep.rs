//! After a checkpoint: words that name pages which have gone to the file are turned to where they are now.
//!
//! No parent is ever searched for. One sweep goes through the delta from the newest root and turns the words of
//! children that have a home; when it is done, nothing that the newest commit reaches names a descriptor of the
//! checkpoint's, and the descriptors are out of reach as of that commit. It runs while the writer's gate is held.
#![forbid(unsafe_code)]

use super::stages::Homes;
use crate::db::shared::Shared;
use crate::delta::{Entry, EpochGuard, Slab};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::root::{Root, TableMap, TableState, TreeRoot};
use crate::tree::change::{Descriptors, Dropped};
use crate::word::{Target, Word};
use bifold_page_source::{PageRef, PageSource};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A transaction that is open while a checkpoint ends, as it waits for it.
pub(crate) trait Open {
    /// Turns the transaction's words, and what it dropped of the delta that is now on file: no page of it was born
    /// earlier than `before`.
    ///
    /// # Errors
    /// `Internal` if a page is nowhere.
    fn sweep(&mut self, slab: &Slab, descriptors: &Descriptors, before: u64) -> Result<()>;
}

/// A transaction that waits in its commit. Its pages are in the slab.
#[derive(Debug)]
pub(crate) struct OpenCommit {
    /// The tables it changed.
    pub(crate) changed: Vec<(Arc<str>, TableState)>,
    /// What it dropped.
    pub(crate) dropped: Vec<Dropped>,
}

impl Open for OpenCommit {
    fn sweep(&mut self, slab: &Slab, descriptors: &Descriptors, before: u64) -> Result<()> {
        for (_, state) in &mut self.changed {
            if let TableState::Changed(root) = state {
                *root = swept(slab, *root)?;
            }
        }
        for dropped in &mut self.dropped {
            on_file_now(slab, descriptors, before, dropped);
        }
        Ok(())
    }
}

/// What a drop of a delta page means once that page is on file.
pub(crate) fn on_file_now(slab: &Slab, descriptors: &Descriptors, birth: u64, dropped: &mut Dropped) {
    if let Dropped::Delta(id) = *dropped
        && let Some(home) = PageRef::from_bits(slab.home(id))
    {
        *dropped = drop_of_home(descriptors, id, home, birth);
    }
}

/// The drop on file of a delta page that has a home.
pub(crate) fn drop_of_home(descriptors: &Descriptors, id: u32, home: PageRef, birth: u64) -> Dropped {
    match descriptors.places(id) {
        1 => Dropped::Page(home.page(), birth),
        _ => Dropped::Extent(home.page(), descriptors.bytes(id), birth),
    }
}

/// The newest root as it is after checkpoint `number`, whose tables were `written` and whose catalog is `catalog`.
pub(super) fn newest_root<S: PageSource>(
    shared: &Shared<S>,
    newest: &Root,
    written: &TableMap,
    homes: &Homes,
    number: u64,
    catalog: TreeRoot,
) -> Result<Root> {
    /// Tables that the map keeps beyond a checkpoint, to spare their readers a descent of the catalog.
    const TABLES_KEPT: usize = 1024;
    let mut tables = TableMap::default();
    let keep = newest.tables.len() <= TABLES_KEPT;
    for (name, state) in newest.tables.iter() {
        let same = written.get(name) == Some(*state);
        match (*state, same) {
            (TableState::Clean(root), _) | (TableState::Changed(root), true) => {
                if keep {
                    tables.set(name, TableState::Clean(homes.settle(root)?));
                }
            }
            (TableState::Dropped, true) => {}
            (TableState::Dropped, false) => tables.set(name, TableState::Dropped),
            (TableState::Changed(root), false) => {
                tables.set(name, TableState::Changed(swept(&shared.store.slab, root)?));
            }
        }
    }
    Ok(Root { seq: newest.seq, base: number, catalog, tables })
}

/// Turns the words below `root`, and its own.
fn swept(slab: &Slab, root: TreeRoot) -> Result<TreeRoot> {
    // Nothing is read from disk on the way, so one epoch serves.
    let epoch = EpochGuard::enter();
    let word = sweep_word(slab, &epoch, root.word, root.height, root.extents)?;
    Ok(TreeRoot { word, ..root })
}

/// `word` as it is now, with everything below it turned. The depth is bounded by the tree's height.
fn sweep_word(slab: &Slab, epoch: &EpochGuard, word: Word, level: u8, extents: bool) -> Result<Word> {
    let Target::Delta(id) = word.target() else { return Ok(word) };
    let image = match slab.get(id, epoch) {
        Entry::Image(image) => image,
        Entry::Home(bits) => return Ok(Word::from_bits(bits)),
        Entry::Missing => return Err(Error::Internal("a page to sweep is not in the delta")),
    };
    if level == 0 {
        if extents {
            for value in image.words() {
                let bits = value.load(Ordering::Acquire);
                if let Target::Delta(id) = Word::from_bits(bits).target() {
                    let home = slab.home(id);
                    if home != 0 {
                        value.store(home, Ordering::Release);
                    }
                }
            }
        }
        return Ok(word);
    }
    let node = Node::delta(image.bytes(), image.words());
    for (index, child) in image.words().iter().enumerate() {
        let before = Word::from_bits(child.load(Ordering::Acquire));
        let below = node.extents_below(index).ok_or(Error::Internal("a branch makes no sense"))?;
        // A leaf without large values refers to nothing: its descriptor tells all.
        let after = match before.target() {
            Target::Delta(id) if level == 1 && !below => match slab.home(id) {
                0 => before,
                home => Word::from_bits(home),
            },
            _ => sweep_word(slab, epoch, before, level - 1, below)?,
        };
        if after != before {
            child.store(after.bits(), Ordering::Release);
        }
    }
    Ok(word)
}
