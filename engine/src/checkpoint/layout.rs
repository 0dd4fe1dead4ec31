//! What a checkpoint writes, in which order, and where: the delta below one catalog root.
//!
//! A page can be sealed only after its children, whose checksums its references carry. So pages go out in stages:
//! large values, then the tables' leaves, their branches level by level, then the catalog the same way. Within a
//! stage they are in key order, and places are given in that order: leaves in extents of their own, branches in others.
#![forbid(unsafe_code)]

use crate::delta::{Entry, EpochGuard, Image};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::root::TreeRoot;
use crate::txn::pages::TxnPages;
use crate::walk::{Store, damaged};
use crate::word::{Target, Word};
use std::collections::HashSet;

/// One large value of the delta that is to become an extent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) id: u32,
    pub(crate) len: u64,
}

/// The delta pages below a root, by stage.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Large values that have no place yet, in key order.
    pub(crate) values: Vec<Value>,
    /// The tables' pages, by level.
    pub(crate) tables: Vec<Vec<u32>>,
    /// The catalog's pages, by level.
    pub(crate) catalog: Vec<Vec<u32>>,
}

impl Layout {
    /// Collects what hangs below the catalog's root and is in the delta.
    pub(super) fn collect<S>(store: &Store<S>, catalog: Word) -> Result<Self> {
        // Nothing is read from disk on the way, so one epoch serves.
        let epoch = EpochGuard::enter();
        let find = |id: u32| match store.slab.get(id, &epoch) {
            Entry::Image(image) => Ok(Some(image)),
            Entry::Home(_) => Ok(None),
            Entry::Missing => Err(Error::Internal("a delta page is missing")),
        };
        let mut layout = Self::default();
        Collector { find: &find, layout: &mut layout, met: None }.visit(catalog, true, u8::MAX)?;
        Ok(layout)
    }

    /// Collects a transaction's own pages below the roots of trees; a page below several of them once.
    pub(crate) fn collect_own(pages: &TxnPages, roots: &[TreeRoot]) -> Result<Self> {
        let find = |id: u32| Ok(pages.get(id).map(|image| &**image));
        let mut layout = Self::default();
        let mut collector = Collector { find: &find, layout: &mut layout, met: Some(HashSet::new()) };
        for root in roots {
            collector.visit(root.word, false, u8::MAX)?;
        }
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

/// Finds the image of a page that is to be written; `None` for one that has its place.
type Find<'a> = &'a dyn Fn(u32) -> Result<Option<&'a Image>>;

struct Collector<'a> {
    find: Find<'a>,
    layout: &'a mut Layout,
    /// The pages met, if one may be met twice.
    met: Option<HashSet<u32>>,
}

impl Collector<'_> {
    /// Notes the page `word` and all below it that is in the delta. Levels fall from each page to its children, so the
    /// depth of the recursion is bounded.
    fn visit(&mut self, word: Word, catalog: bool, below: u8) -> Result<()> {
        let Target::Delta(id) = word.target() else { return Ok(()) };
        if self.met.as_mut().is_some_and(|met| !met.insert(id)) {
            return Ok(());
        }
        let Some(image) = (self.find)(id)? else { return Ok(()) };
        let node = Node::delta(image.bytes(), image.words());
        let level = node.level();
        if level >= below {
            return Err(damaged(word, "its level is not below its parent's"));
        }
        let broken = || damaged(word, "an entry lies outside it");
        // Most leaves refer to nothing.
        let entries = if image.words().is_empty() { 0 } else { node.count() };
        for index in 0..entries {
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
            Target::Delta(id) => {
                if self.met.as_mut().is_none_or(|met| met.insert(id))
                    && let Some(image) = (self.find)(id)?
                {
                    self.layout.values.push(Value { id, len: image.bytes().len() as u64 });
                }
                Ok(())
            }
            Target::File(_) => Ok(()),
            Target::Null | Target::Bad => Err(Error::Internal("a large value is nowhere")),
        }
    }
}
