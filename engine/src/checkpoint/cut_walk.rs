//! Walking subtrees that were cut off whole: finding the pages that nobody refers to any more.
//!
//! A range that is removed, or a table that is dropped, is cut off at its top and not read. What hangs below is found
//! here, page by page, and dropped as of the checkpoint at which it was cut.
#![forbid(unsafe_code)]

use crate::db::shared::{Mode, Shared};
use crate::error::{Error, Result};
use crate::free::{Run, Subtree};
use crate::txn::writer::Writer;
use crate::value::Large;
use crate::walk::Walk;
use crate::word::Word;
use bifold_page_source::{PageRef, PageSource};

/// Walks subtrees that were cut off, and drops their pages: at most `max` pages in one go, the rest another time. Returns
/// whether there is more that can be walked now: where the free map would have no room for what is found, a checkpoint
/// comes first. A leaf is read only if extents hang below it, or if a snapshot older than the cut lives: only
/// then does its birth matter.
///
/// # Errors
/// I/O errors and damage. A subtree that cannot be walked is left alone until the database is opened again.
pub(crate) fn walk_cut_subtrees<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    max: usize,
) -> Result<bool> {
    debug_assert!(writer.under_way.is_none(), "subtrees are walked between checkpoints");
    let current = writer.meta.checkpoint;
    let mut live_before = None;
    for _ in 0..max {
        let Some(subtree) = writer.space()?.next_to_walk(current) else { return Ok(false) };
        if shared.mode == Mode::Durable && !writer.has_room_to_walk(shared.store.page_size)? {
            shared.note_crowded(writer);
            return Ok(false);
        }
        let live_before = *live_before.get_or_insert_with(|| {
            let mut bases = Vec::new();
            shared.registry.collect();
            shared.group.pending_bases(&mut bases);
            shared.registry.live(&mut |root| bases.push(root.base));
            bases.iter().any(|base| *base < current)
        });
        let found = match Below::read(shared, &subtree, live_before) {
            Ok(found) => found,
            Err(error) => {
                writer.space()?.set_aside(&subtree);
                return Err(error);
            }
        };
        let noted = found.note(shared, writer, &subtree, live_before);
        noted.inspect_err(|error| shared.poison(error))?;
    }
    Ok(writer.space()?.next_to_walk(current).is_some())
}

/// What hangs below the topmost page of a cut subtree.
struct Below {
    /// The page's birth.
    birth: u64,
    /// Its children, and whether extents may hang below each.
    children: Vec<(PageRef, bool)>,
    /// Its large values: first page, length, birth.
    values: Vec<(PageRef, u64, u64)>,
}

impl Below {
    /// Reads the page, if it has to be read, and checks all that it says.
    fn read<S: PageSource>(shared: &Shared<S>, subtree: &Subtree, births_matter: bool) -> Result<Self> {
        let page = subtree.root.page();
        let broken = || Error::page(page, "an entry lies outside it");
        // Where births do not matter, any birth from which no snapshot lives will do: that of the cut itself.
        let mut found = Self { birth: subtree.cut_at, children: Vec::new(), values: Vec::new() };
        let extents = subtree.flags & 1 != 0;
        if subtree.level == 0 && !extents && !births_matter {
            return Ok(found);
        }
        let mut walk = Walk::new(&shared.store, None);
        let node = walk.node(Word::file(subtree.root))?;
        if node.level() != subtree.level {
            return Err(Error::page(page, "its level is not the one its parent expects"));
        }
        found.birth = node.birth();
        for index in 0..node.count() {
            if node.is_branch() {
                let word = node.child(index).ok_or_else(broken)?;
                let below = node.extents_below(index).ok_or_else(broken)?;
                found.children.push((PageRef::from_bits(word.bits()).ok_or_else(broken)?, below));
                continue;
            }
            let entry = node.entry(index).ok_or_else(broken)?;
            if let Some((word, payload)) = node.value_word(&entry) {
                let large = Large::from_fields(word, payload).ok_or_else(broken)?;
                let first = PageRef::from_bits(word.bits()).ok_or_else(broken)?;
                found.values.push((first, large.len, large.birth));
            }
        }
        let births = found.values.iter().map(|(_, _, birth)| *birth).chain([found.birth]);
        if births.max().is_some_and(|birth| birth > subtree.cut_at) {
            return Err(Error::page(page, "it was born after it was cut off"));
        }
        Ok(found)
    }

    /// Notes the page as dropped, with its values; its children are subtrees to walk, or leaves to drop unread.
    fn note<S: PageSource>(
        self,
        shared: &Shared<S>,
        writer: &mut Writer,
        subtree: &Subtree,
        births_matter: bool,
    ) -> Result<()> {
        let cut_at = subtree.cut_at;
        let space = writer.space()?;
        space.subtree_done(subtree.root)?;
        space.drop_run(Run::new(subtree.root.page().get(), 1), self.birth, cut_at)?;
        for (first, len, born) in self.values {
            let (header, data) = crate::extent::pages_for(len, shared.store.page_size);
            space.drop_run(Run::new(first.page().get(), header + data), born, cut_at)?;
        }
        let mut to_read = Vec::new();
        for (root, below) in self.children {
            let level = subtree.level - 1;
            if level == 0 && !below && !births_matter {
                space.drop_run(Run::new(root.page().get(), 1), cut_at, cut_at)?;
            } else {
                space.cut_subtree(Subtree { root, level, flags: u8::from(below), cut_at })?;
                to_read.push(root);
            }
        }
        shared.store.source.prefetch(&to_read);
        Ok(())
    }
}
