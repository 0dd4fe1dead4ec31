//! Splits, merges and redistribution: where the tree changes its shape.
//!
//! All of them are one operation: some neighbouring children of a branch are replaced by others. Where the branch then
//! overflows, it is itself replaced by several, and so on upwards.
#![forbid(unsafe_code)]

use super::change::{Path, TreeEdit, internal};
use crate::error::{Error, Result};
use crate::node::{EditError, Items, Packing, pack};
use crate::root::TreeRoot;
use crate::word::Word;
use bifold_page_source::PageSource;
use std::ops::Range;

/// A page about to become a child of a branch.
#[derive(Debug)]
pub(super) struct Child {
    /// The separator below it; `None` at the lower end of the key space.
    pub(super) separator: Option<Vec<u8>>,
    pub(super) word: Word,
    pub(super) count: u64,
    pub(super) extents: bool,
}

/// More rounds than any tree needs to be put in order: its height is bounded by the page numbers' 40 bits.
const ROUNDS_MAX: usize = 1000;

impl<S: PageSource> TreeEdit<'_, S> {
    /// Makes the pages of `packings`. The first takes the place of page `first`, if given.
    pub(super) fn make_children(
        &mut self,
        items: &Items,
        packings: &[Packing],
        level: u8,
        first: Option<u32>,
    ) -> Result<Vec<Child>> {
        let mut reuse = first;
        let mut children = Vec::with_capacity(packings.len());
        for packing in packings {
            let image = self.build(items, packing, level)?;
            let id = match reuse.take() {
                Some(id) => {
                    self.changes.pages.replace(id, image)?;
                    id
                }
                None => self.add(image)?,
            };
            let (count, extents) = items.totals(packing.range.clone(), level);
            children.push(Child { separator: packing.lower.clone(), word: Word::delta(id), count, extents });
        }
        Ok(children)
    }

    /// Puts `children` in place of the page at `depth` of `path`.
    pub(super) fn replace_child(
        &mut self,
        tree: &mut TreeRoot,
        path: &Path,
        depth: usize,
        children: Vec<Child>,
        ordered: bool,
    ) -> Result<()> {
        let Some(above) = depth.checked_sub(1) else {
            return self.grow_root(tree, children);
        };
        let index = path.steps[above].1;
        self.splice(tree, path, above, index..index + 1, &children, ordered)
    }

    /// Puts `children` in place of the children `range` of the branch at `depth` of `path`.
    fn splice(
        &mut self,
        tree: &mut TreeRoot,
        path: &Path,
        depth: usize,
        range: Range<usize>,
        children: &[Child],
        ordered: bool,
    ) -> Result<()> {
        let parent = path.steps[depth].0;
        if range.len() == 1 && self.splice_in_place(parent, range.start, children)? {
            return Ok(());
        }
        let level = self.own_node(parent)?.level();
        let (lower, upper) = self.fences(path, depth)?;
        let mut items = Items::default();
        let node = self.own_node(parent)?;
        items.gather(&node, lower.as_deref()).ok_or(Error::Internal("a branch makes no sense"))?;
        items.remove(range.clone());
        for (offset, child) in children.iter().enumerate() {
            let separator = child.separator.as_deref().unwrap_or(&[]);
            items.insert_child(range.start + offset, separator, child.word, child.count, child.extents);
        }
        // An ordered load leaves the left branch full, but for the two children that the right one needs.
        let cut = (ordered && range.end + 1 >= items.len()).then(|| items.len().saturating_sub(2));
        let pages = pack(&items, level, self.page_len(), lower.as_deref(), upper.as_deref(), cut)
            .ok_or(Error::Internal("a separator fits no page"))?;
        let made = self.make_children(&items, &pages, level, Some(parent))?;
        if made.len() > 1 {
            return self.replace_child(tree, path, depth, made, ordered);
        }
        Ok(())
    }

    /// The common case without rebuilding: one child becomes one or two, and there is room. False if there is none.
    fn splice_in_place(&mut self, parent: u32, index: usize, children: &[Child]) -> Result<bool> {
        let (first, second) = match children {
            [first] => (first, None),
            [first, second] => (first, Some(second)),
            _ => return Ok(false),
        };
        let mut node = self.own_node_mut(parent)?;
        if let Some(child) = second {
            let key = child.separator.as_deref().unwrap_or(&[]);
            match node.insert_child(index + 1, key, child.word, child.count, child.extents) {
                Ok(()) => {}
                Err(EditError::Full) => return Ok(false),
                Err(error) => return Err(internal(error)),
            }
        }
        node.set_child(index, first.word).map_err(internal)?;
        node.set_count(index, first.count, first.extents).map_err(internal)?;
        Ok(true)
    }

    /// Makes `children` the whole tree, with a branch above them if they are several.
    fn grow_root(&mut self, tree: &mut TreeRoot, mut children: Vec<Child>) -> Result<()> {
        while children.len() > 1 {
            let mut items = Items::default();
            for (index, child) in children.iter().enumerate() {
                let separator = child.separator.as_deref().unwrap_or(&[]);
                items.insert_child(index, separator, child.word, child.count, child.extents);
            }
            tree.height = tree.height.checked_add(1).ok_or(Error::Internal("a tree is too high"))?;
            let pages = pack(&items, tree.height, self.page_len(), None, None, None)
                .ok_or(Error::Internal("a separator fits no page"))?;
            children = self.make_children(&items, &pages, tree.height, None)?;
        }
        let root = children.first().ok_or(Error::Internal("a tree without a root"))?;
        tree.word = root.word;
        Ok(())
    }

    /// Whether a page has so little in it that it should be merged with a neighbour.
    pub(super) fn is_underfull(&self, id: u32) -> Result<bool> {
        let node = self.own_node(id)?;
        Ok(self.is_degenerate(id)? || node.used() < self.page_len() / 3)
    }

    /// Whether a page must not stay as it is: a leaf without entries, a branch with fewer than two children.
    fn is_degenerate(&self, id: u32) -> Result<bool> {
        let node = self.own_node(id)?;
        Ok(node.count() < if node.is_leaf() { 1 } else { 2 })
    }

    /// Puts the pages on the way to `key` in order: merges what is underfull with a neighbour, from the leaf upwards,
    /// and lets the root shrink. A page that is alone below its branch waits until that branch has been merged.
    pub(super) fn repair(&mut self, tree: &mut TreeRoot, key: &[u8]) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            self.shrink_root(tree)?;
            if tree.word.is_null() {
                return Ok(());
            }
            let path = self.path_to(tree, key)?;
            let mut changed = false;
            for depth in (1..=path.steps.len()).rev() {
                let (parent, index) = path.steps[depth - 1];
                if self.is_underfull(path.at(depth))? && self.own_node(parent)?.count() > 1 {
                    changed = self.rebalance(tree, &path, depth, index)?;
                    if changed {
                        break;
                    }
                }
            }
            if !changed {
                return Ok(());
            }
        }
        Err(Error::Internal("a tree cannot be put in order"))
    }

    /// While the root has one child, that child is the root; a leaf without entries is no tree.
    fn shrink_root(&mut self, tree: &mut TreeRoot) -> Result<()> {
        if tree.word.is_null() {
            return Ok(());
        }
        loop {
            let id = self.own(tree.word)?;
            tree.word = Word::delta(id);
            let node = self.own_node(id)?;
            match (node.is_leaf(), node.count()) {
                (true, 0) => *tree = TreeRoot::EMPTY,
                (false, 1) => {
                    tree.word = node.child(0).ok_or(Error::Internal("a branch makes no sense"))?;
                    tree.height -= 1;
                }
                _ => return Ok(()),
            }
            self.drop_delta(id);
            if tree.word.is_null() {
                return Ok(());
            }
        }
    }

    /// Merges the page at `depth` with a neighbour, or evens the two out. False if neither is worth it.
    fn rebalance(&mut self, tree: &mut TreeRoot, path: &Path, depth: usize, index: usize) -> Result<bool> {
        let count = self.own_node(path.steps[depth - 1].0)?.count();
        if index > 0 && self.join(tree, path, depth, index - 1)? {
            return Ok(true);
        }
        if index + 1 < count { self.join(tree, path, depth, index) } else { Ok(false) }
    }

    /// Merges or evens out the children `left` and `left + 1` of the branch above `depth`.
    pub(super) fn join(
        &mut self,
        tree: &mut TreeRoot,
        path: &Path,
        depth: usize,
        left: usize,
    ) -> Result<bool> {
        let broken = || Error::Internal("a branch makes no sense");
        let parent = path.steps[depth - 1].0;
        let (parent_lower, parent_upper) = self.fences(path, depth - 1)?;
        let node = self.own_node(parent)?;
        let lower = if left > 0 { Some(node.key(left).ok_or_else(broken)?) } else { parent_lower };
        let middle = node.key(left + 1).ok_or_else(broken)?;
        let upper =
            if left + 2 < node.count() { Some(node.key(left + 2).ok_or_else(broken)?) } else { parent_upper };
        let words = [node.child(left).ok_or_else(broken)?, node.child(left + 1).ok_or_else(broken)?];
        let level = node.level() - 1;
        let mut items = Items::default();
        let mut degenerate = false;
        for (word, lower) in [(words[0], lower.as_deref()), (words[1], Some(&middle[..]))] {
            let held = self.walk().hold(word)?;
            let node = held.node();
            if node.level() != level {
                return Err(crate::walk::damaged(word, "its level is not the one its parent expects"));
            }
            degenerate |= node.count() < if level == 0 { 1 } else { 2 };
            items
                .gather(&node, lower)
                .ok_or_else(|| crate::walk::damaged(word, "an entry lies outside it"))?;
        }
        let page_len = self.page_len();
        let pages = pack(&items, level, page_len, lower.as_deref(), upper.as_deref(), None)
            .ok_or(Error::Internal("an entry fits no page"))?;
        let worth = match pages.len() {
            1 => true,
            2 => pages.iter().all(|p| p.used(&items, level) >= page_len / 3),
            _ => false,
        };
        if !worth && !degenerate {
            return Ok(false);
        }
        // Each is taken over before its entries move, so that what it was copied from is dropped.
        let first = self.own(words[0])?;
        let second = self.own(words[1])?;
        self.drop_delta(second);
        let children = self.make_children(&items, &pages, level, Some(first))?;
        self.splice(tree, path, depth - 1, left..left + 2, &children, false)?;
        Ok(true)
    }
}
