//! Deleting a range: whole subtrees are cut without reading their leaves.
//!
//! What lies wholly inside the range is replaced by one leaf without entries (below as many branches as its place
//! needs), so that no neighbour's range changes. The ordinary repair then merges that leaf away, which rebuilds the
//! neighbour that inherits its range with the prefix its new separators share.
#![forbid(unsafe_code)]

use super::change::{TreeEdit, internal};
use crate::error::{Error, Result};
use crate::node::Items;
use crate::root::TreeRoot;
use crate::walk::damaged;
use crate::word::Word;
use bifold_page_source::PageSource;

/// Bounds of the keys to delete within one page: from the first not below `from` to before `to`.
#[derive(Clone, Copy)]
struct Span<'k> {
    from: Option<&'k [u8]>,
    to: Option<&'k [u8]>,
    /// The separator below the page; empty at the lower end of the key space.
    lower: &'k [u8],
}

impl<S: PageSource> TreeEdit<'_, S> {
    /// Deletes all entries whose keys are not below `from` and below `to`; how many there were.
    pub(crate) fn delete_range(
        &mut self,
        tree: &mut TreeRoot,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
    ) -> Result<u64> {
        if tree.word.is_null() || matches!((from, to), (Some(from), Some(to)) if from >= to) {
            return Ok(0);
        }
        self.changes.version += 1;
        let before = tree.len;
        if from.is_none() && to.is_none() {
            self.drop_subtree(tree.word, tree.height, tree.extents)?;
            *tree = TreeRoot::EMPTY;
            return Ok(before);
        }
        let mut holes = Vec::new();
        let (id, left) = self.cut(tree.word, tree.height, Span { from, to, lower: &[] }, &mut holes)?;
        tree.word = Word::delta(id);
        tree.len = left;
        for key in [from, to].into_iter().flatten() {
            self.repair(tree, key)?;
        }
        for key in holes {
            self.repair(tree, &key)?;
        }
        before.checked_sub(tree.len).ok_or(Error::Internal("a deletion made entries"))
    }

    /// Cuts `span` out of the page `word` and what is below it, which is not wholly inside. Returns the page's
    /// descriptor and how many entries are left below; notes a key in each hole.
    fn cut(&mut self, word: Word, level: u8, span: Span<'_>, holes: &mut Vec<Vec<u8>>) -> Result<(u32, u64)> {
        let id = self.own(word)?;
        if self.own_node(id)?.level() != level {
            return Err(damaged(word, "its level is not the one its parent expects"));
        }
        if level == 0 { self.cut_leaf(id, span) } else { self.cut_branch(id, level, span, holes) }
    }

    fn cut_leaf(&mut self, id: u32, span: Span<'_>) -> Result<(u32, u64)> {
        let broken = || Error::Internal("a leaf makes no sense");
        let node = self.own_node(id)?;
        let place = |key: Option<&[u8]>, default: usize| match key {
            None => Ok(default),
            Some(key) => match node.search(key).ok_or_else(broken)? {
                Ok(index) | Err(index) => Ok::<_, Error>(index),
            },
        };
        let (start, end) = (place(span.from, 0)?, place(span.to, node.count())?);
        let mut values = Vec::new();
        for index in start..end {
            let entry = node.entry(index).ok_or_else(broken)?;
            values.extend(node.value_word(&entry).map(|(word, payload)| (word, payload.to_vec())));
        }
        for (word, payload) in values {
            self.drop_value(word, &payload)?;
        }
        let mut node = self.own_node_mut(id)?;
        for index in (start..end).rev() {
            node.remove(index).map_err(internal)?;
        }
        Ok((id, self.own_node(id)?.count() as u64))
    }

    fn cut_branch(
        &mut self,
        id: u32,
        level: u8,
        span: Span<'_>,
        holes: &mut Vec<Vec<u8>>,
    ) -> Result<(u32, u64)> {
        let broken = || Error::Internal("a branch makes no sense");
        let node = self.own_node(id)?;
        let count = node.count();
        // The first and the last child that the range touches, and whether it holds all of them.
        let (first, first_whole) = match span.from {
            None => (0, true),
            Some(key) => match node.search(key).ok_or_else(broken)? {
                Ok(index) => (index, index > 0),
                Err(index) => (index.checked_sub(1).ok_or_else(broken)?, false),
            },
        };
        let (last, last_whole) = match span.to {
            None => (count - 1, true),
            Some(key) => match node.search(key).ok_or_else(broken)? {
                Ok(0) | Err(0) => (0, false),
                Ok(index) => (index - 1, true),
                Err(index) => (index - 1, false),
            },
        };
        if first == last && !(first_whole && last_whole) {
            let inner = Span {
                from: span.from.filter(|_| !first_whole),
                to: span.to.filter(|_| !last_whole),
                ..span
            };
            self.cut_child(id, level, first, inner, holes)?;
        } else if first <= last {
            if !first_whole {
                self.cut_child(id, level, first, Span { to: None, ..span }, holes)?;
            }
            if !last_whole {
                self.cut_child(id, level, last, Span { from: None, ..span }, holes)?;
            }
            let whole = first + usize::from(!first_whole)..last + usize::from(last_whole);
            if !whole.is_empty() {
                self.cut_children(id, level, whole, span.lower, holes)?;
            }
        }
        let (left, _) = self.own_node(id)?.totals().ok_or_else(broken)?;
        Ok((id, left))
    }

    /// Cuts within one child.
    fn cut_child(
        &mut self,
        id: u32,
        level: u8,
        index: usize,
        span: Span<'_>,
        holes: &mut Vec<Vec<u8>>,
    ) -> Result<()> {
        let node = self.own_node(id)?;
        let (child, extents) = node
            .child(index)
            .zip(node.extents_below(index))
            .ok_or(Error::Internal("a branch makes no sense"))?;
        let own_lower = if index > 0 { node.key(index) } else { None };
        let lower = own_lower.as_deref().unwrap_or(span.lower);
        let (below, left) = self.cut(child, level - 1, Span { lower, ..span }, holes)?;
        let mut node = self.own_node_mut(id)?;
        node.set_child(index, Word::delta(below)).map_err(internal)?;
        node.set_count(index, left, extents).map_err(internal)
    }

    /// Cuts whole children off a branch and leaves a hole in their place.
    fn cut_children(
        &mut self,
        id: u32,
        level: u8,
        whole: std::ops::Range<usize>,
        lower: &[u8],
        holes: &mut Vec<Vec<u8>>,
    ) -> Result<()> {
        let broken = || Error::Internal("a branch makes no sense");
        for index in whole.clone() {
            let node = self.own_node(id)?;
            let child = node.child(index).ok_or_else(broken)?;
            let extents = node.extents_below(index).ok_or_else(broken)?;
            self.drop_subtree(child, level - 1, extents)?;
        }
        let hole = self.hole(level - 1)?;
        let node = self.own_node(id)?;
        let prefix_len = node.prefix().ok_or_else(broken)?.len();
        let mut items = Items::default();
        items.gather(&node, None).ok_or_else(broken)?;
        let key = items.key(whole.start).to_vec();
        items.remove(whole.clone());
        items.insert_child(whole.start, &key, Word::delta(hole), 0, false);
        // The first child has no key of its own: its range begins where the page's does.
        holes.push(if whole.start > 0 { key } else { lower.to_vec() });
        let image = self.build(&items, &items.whole(prefix_len), level)?;
        self.changes.pages.replace(id, image)
    }

    /// A leaf without entries below as many branches as make it a page of `level`.
    fn hole(&mut self, level: u8) -> Result<u32> {
        let mut id = self.empty_leaf()?;
        for level in 1..=level {
            let mut items = Items::default();
            items.insert_child(0, &[], Word::delta(id), 0, false);
            let image = self.build(&items, &items.whole(0), level)?;
            id = self.add(image)?;
        }
        Ok(id)
    }
}
