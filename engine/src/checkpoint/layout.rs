//! What a checkpoint writes, in which order, and where: the delta below one catalog root.
//!
//! A page can be sealed only after its children, whose checksums its references carry. So pages go out in stages:
//! large values, then the tables' leaves, their branches level by level, then the catalog the same way. Within a
//! stage they are in key order, and places are given in that order: leaves in extents of their own, branches in others.
#![forbid(unsafe_code)]

use crate::delta::EpochGuard;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::walk::{Store, damaged};
use crate::word::{Target, Word};

/// One large value of the delta that is to become an extent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) id: u32,
    pub(super) len: u64,
}

/// The delta pages below a root, by stage.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Large values that have no place yet, in key order.
    pub(super) values: Vec<Value>,
    /// The tables' pages, by level.
    pub(super) tables: Vec<Vec<u32>>,
    /// The catalog's pages, by level.
    pub(super) catalog: Vec<Vec<u32>>,
    /// First pages of extents on file that a page of the delta refers to.
    pub(super) extents: Vec<u64>,
}

impl Layout {
    /// Collects what hangs below the catalog's root and is in the delta.
    pub(super) fn collect<S>(store: &Store<S>, catalog: Word) -> Result<Self> {
        let mut layout = Self::default();
        // Nothing is read from disk on the way, so one epoch serves.
        let epoch = EpochGuard::enter();
        let mut collector = Collector { store, epoch: &epoch, layout: &mut layout };
        collector.visit(catalog, true, u8::MAX)?;
        Ok(layout)
    }

    /// Leaves of tables.
    pub(super) fn leaves(&self) -> u64 {
        self.tables.first().map_or(0, |ids| ids.len() as u64)
    }

    /// Everything above them, and the catalog.
    pub(super) fn branches(&self) -> u64 {
        let above = self.tables.iter().skip(1).chain(&self.catalog);
        above.map(|ids| ids.len() as u64).sum()
    }

    /// All pages, children before their parents.
    pub(super) fn stages(&self) -> impl Iterator<Item = &Vec<u32>> {
        self.tables.iter().chain(&self.catalog)
    }
}

struct Collector<'a, S> {
    store: &'a Store<S>,
    epoch: &'a EpochGuard,
    layout: &'a mut Layout,
}

impl<S> Collector<'_, S> {
    /// Notes the page `word` and all below it that is in the delta. Levels fall from each page to its children, so the
    /// depth of the recursion is bounded.
    fn visit(&mut self, word: Word, catalog: bool, below: u8) -> Result<()> {
        let Target::Delta(id) = word.target() else { return Ok(()) };
        let image = match self.store.slab.get(id, self.epoch) {
            crate::delta::Entry::Image(image) => image,
            crate::delta::Entry::Home(_) => return Ok(()),
            crate::delta::Entry::Missing => return Err(Error::Internal("a delta page is missing")),
        };
        let node = Node::delta(image.bytes(), image.words());
        let level = node.level();
        if level >= below {
            return Err(damaged(word, "its level is not below its parent's"));
        }
        let broken = || damaged(word, "an entry lies outside it");
        for index in 0..node.count() {
            if node.is_branch() {
                self.visit(node.child(index).ok_or_else(broken)?, catalog, level)?;
                continue;
            }
            let entry = node.entry(index).ok_or_else(broken)?;
            let Some((value, _)) = node.value_word(&entry) else { continue };
            if catalog {
                self.visit(value, false, u8::MAX)?;
            } else {
                self.note_value(value)?;
            }
        }
        let stages = if catalog { &mut self.layout.catalog } else { &mut self.layout.tables };
        if stages.len() <= usize::from(level) {
            stages.resize(usize::from(level) + 1, Vec::new());
        }
        stages[usize::from(level)].push(id);
        Ok(())
    }

    fn note_value(&mut self, value: Word) -> Result<()> {
        match value.target() {
            Target::Delta(id) => match self.store.slab.get(id, self.epoch) {
                crate::delta::Entry::Image(image) => {
                    self.layout.values.push(Value { id, len: image.bytes().len() as u64 });
                    Ok(())
                }
                crate::delta::Entry::Home(_) => Ok(()),
                crate::delta::Entry::Missing => Err(Error::Internal("a large value is missing")),
            },
            Target::File(page) => {
                self.layout.extents.push(page.page().get());
                Ok(())
            }
            Target::Null | Target::Bad => Err(Error::Internal("a large value is nowhere")),
        }
    }
}
