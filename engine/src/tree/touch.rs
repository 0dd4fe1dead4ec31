//! Rewriting pages of a tree for the sake of where they lie: which leaves there are, and taking them over unchanged.
#![forbid(unsafe_code)]

use super::change::TreeEdit;
use super::gap::OUTSIDE;
use crate::error::{Error, Result};
use crate::root::TreeRoot;
use crate::walk::{Walk, damaged};
use crate::word::Word;
use bifold_page_source::PageSource;

/// A leaf, as the branch above it shows it.
#[derive(Clone, Debug)]
pub(crate) struct LeafSeen {
    /// A key in its range.
    pub(crate) key: Vec<u8>,
    pub(crate) word: Word,
    /// Its page on file; `None` if it has no place yet.
    pub(crate) place: Option<u64>,
    /// Whether extents may hang below.
    pub(crate) extents: bool,
}

/// The leaves below one branch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) leaves: Vec<LeafSeen>,
    /// The highest page on file of the branches on the way; 0 if none has one.
    pub(crate) branches: u64,
    /// The first key behind them; `None` at the end of the tree.
    pub(crate) next: Option<Vec<u8>>,
}

/// The leaves below the branch in whose range `key` lies; none if the tree is empty.
///
/// # Errors
/// I/O errors and damage.
pub(crate) fn group_at<S: PageSource>(
    walk: &mut Walk<'_, '_, S>,
    tree: &TreeRoot,
    key: &[u8],
) -> Result<Group> {
    let mut group = Group::default();
    if tree.word.is_null() {
        return Ok(group);
    }
    let (mut word, mut lower, mut words) = (tree.word, Vec::new(), Vec::new());
    if tree.height == 0 {
        words.push((Vec::new(), word, tree.extents));
    }
    for level in (1..=tree.height).rev() {
        let broken = || damaged(word, OUTSIDE);
        let node = walk.node(word)?;
        if node.level() != level {
            return Err(damaged(word, "its level is not the one its parent expects"));
        }
        group.branches = group.branches.max(node.own_number());
        if level == 1 {
            for index in 0..node.count() {
                let key = if index == 0 { lower.clone() } else { node.key(index).ok_or_else(broken)? };
                let child = node.child(index).ok_or_else(broken)?;
                words.push((key, child, node.extents_below(index).ok_or_else(broken)?));
            }
            break;
        }
        let index = node.child_index(key).ok_or_else(broken)?;
        if index > 0 {
            lower = node.key(index).ok_or_else(broken)?;
        }
        if index + 1 < node.count() {
            group.next = Some(node.key(index + 1).ok_or_else(broken)?);
        }
        word = node.child(index).ok_or_else(broken)?;
    }
    for (key, word, extents) in words {
        let place = walk.on_file(word)?.map(|page| page.page().get());
        group.leaves.push(LeafSeen { key, word, place, extents });
    }
    Ok(group)
}

impl<S: PageSource> TreeEdit<'_, S> {
    /// Makes the pages on the way to `key` the transaction's own, which therefore get new places. The tree is not empty.
    ///
    /// # Errors
    /// I/O errors and damage.
    pub(crate) fn touch(&mut self, tree: &mut TreeRoot, key: &[u8]) -> Result<()> {
        self.changes.version += 1;
        self.path_to(tree, key).map(drop)
    }

    /// Merges the leaf in whose range `key` lies with its right neighbour below the same branch, if the two fit a page.
    /// Branches may have too few children afterwards: [`tidy_branches`](Self::tidy_branches) is due.
    ///
    /// # Errors
    /// I/O errors and damage.
    pub(crate) fn merge_right(&mut self, tree: &mut TreeRoot, key: &[u8]) -> Result<bool> {
        self.changes.version += 1;
        let path = self.path_to(tree, key)?;
        let Some(&(parent, index)) = path.steps.last() else { return Ok(false) };
        let node = self.own_node(parent)?;
        if index + 1 >= node.count() {
            return Ok(false);
        }
        let right = node.child(index + 1).ok_or(Error::Internal("a branch makes no sense"))?;
        let used = self.walk().hold(right)?.node().used() + self.own_node(path.leaf)?.used();
        if used > self.page_len() {
            return Ok(false);
        }
        let before = self.own_node(parent)?.count();
        self.join(tree, &path, path.steps.len(), index)?;
        // The branch itself stays, with fewer children or as many.
        Ok(self.own_node(parent)?.count() < before)
    }

    /// Puts the branches on the way to `key` in order after leaves were merged.
    ///
    /// # Errors
    /// I/O errors and damage.
    pub(crate) fn tidy_branches(&mut self, tree: &mut TreeRoot, key: &[u8]) -> Result<()> {
        self.changes.version += 1;
        self.repair(tree, key)
    }
}
