//! Inserting and removing single entries.
#![forbid(unsafe_code)]

use super::change::{TreeEdit, internal};
use crate::error::{Error, Result};
use crate::node::{EditError, Items, pack};
use crate::root::TreeRoot;
use crate::walk::{damaged, damaged_node};
use crate::word::{Target, Word};
use bifold_page_source::PageSource;

impl<S: PageSource> TreeEdit<'_, S> {
    /// Puts an entry in, in place of the one with the same key if there is one; whether there was. `payload` is the
    /// value as the leaf holds it; with a `word`, its first eight bytes are for the reference.
    pub(crate) fn insert(
        &mut self,
        tree: &mut TreeRoot,
        key: &[u8],
        payload: &[u8],
        word: Option<Word>,
    ) -> Result<bool> {
        self.changes.version += 1;
        if tree.word.is_null() {
            *tree = TreeRoot { word: Word::delta(self.empty_leaf()?), ..TreeRoot::EMPTY };
        }
        let path = self.path_to(tree, key)?;
        let leaf = path.leaf;
        let found = self.own_node(leaf)?.search(key).ok_or(Error::Internal("a key does not fit its leaf"))?;
        tree.extents |= word.is_some();
        let (index, edited) = match found {
            Ok(index) => {
                self.drop_value_at(leaf, index)?;
                if word.is_some() {
                    self.count_path(&path, 0, true)?;
                }
                (index, self.own_node_mut(leaf)?.replace(index, key, payload, word))
            }
            Err(index) => {
                self.count_path(&path, 1, word.is_some())?;
                tree.len = tree.len.checked_add(1).ok_or_else(|| miscounted(tree))?;
                (index, self.own_node_mut(leaf)?.insert(index, key, payload, word))
            }
        };
        let ordered = found.is_err() && self.changes.run.note(leaf, index);
        match edited {
            Ok(()) => {}
            Err(EditError::Damaged) => return Err(internal(EditError::Damaged)),
            Err(EditError::Full) => {
                let (lower, upper) = self.fences(&path, path.steps.len())?;
                let mut items = Items::default();
                let node = self.own_node(leaf)?;
                items.gather(&node, lower.as_deref()).ok_or(Error::Internal("a leaf makes no sense"))?;
                if found.is_ok() {
                    items.remove(index..index + 1);
                }
                items.insert_entry(index, key, payload, word);
                // An ordered load leaves the left page full: it goes on behind the entry just inserted. So does one
                // of many transactions, which is known only by its going on at the end.
                let at_end = upper.is_none() && index + 1 == items.len();
                let ordered = ordered || (found.is_err() && at_end);
                let cut = ordered.then(|| if index + 1 == items.len() { index } else { index + 1 });
                let pages = pack(&items, 0, self.page_len(), lower.as_deref(), upper.as_deref(), cut)
                    .ok_or(Error::Internal("an entry fits no page"))?;
                let children = self.make_children(&items, &pages, 0, Some(leaf))?;
                if let Some(at) = pages.iter().position(|p| p.range.contains(&index))
                    && let Target::Delta(id) = children[at].word.target()
                {
                    self.changes.run.moved(id, index - pages[at].range.start + 1);
                }
                self.replace_child(tree, &path, path.steps.len(), children, ordered)?;
            }
        }
        Ok(found.is_ok())
    }

    /// Takes an entry out; whether there was one.
    pub(crate) fn remove(&mut self, tree: &mut TreeRoot, key: &[u8]) -> Result<bool> {
        // Look before copying: a key that is not there changes nothing.
        let Some(leaf) = self.walk().leaf_for(tree, key)? else { return Ok(false) };
        match leaf.node().search(key) {
            Some(Ok(_)) => {}
            Some(Err(_)) => return Ok(false),
            None => return Err(damaged_node(&leaf.node(), "its prefix does not fit its range")),
        }
        drop(leaf);
        self.changes.version += 1;
        let path = self.path_to(tree, key)?;
        let found = self.own_node(path.leaf)?.search(key);
        let Some(Ok(index)) = found else { return Err(Error::Internal("an entry vanished")) };
        self.drop_value_at(path.leaf, index)?;
        self.own_node_mut(path.leaf)?.remove(index).map_err(internal)?;
        self.count_path(&path, -1, false)?;
        tree.len = tree.len.checked_sub(1).ok_or_else(|| miscounted(tree))?;
        if self.is_underfull(path.leaf)? {
            self.repair(tree, key)?;
        }
        Ok(true)
    }

    /// Drops the large value of a leaf's entry, if it has one.
    fn drop_value_at(&mut self, leaf: u32, index: usize) -> Result<()> {
        let node = self.own_node(leaf)?;
        let entry = node.entry(index).ok_or(Error::Internal("a leaf makes no sense"))?;
        let Some((word, payload)) = node.value_word(&entry) else { return Ok(()) };
        let payload = payload.to_vec();
        self.drop_value(word, &payload)
    }

    /// A new leaf without entries.
    pub(super) fn empty_leaf(&mut self) -> Result<u32> {
        let items = Items::default();
        let pages = pack(&items, 0, self.page_len(), None, None, None);
        let page =
            pages.as_ref().and_then(|p| p.first()).ok_or(Error::Internal("an empty leaf fits no page"))?;
        let image = self.build(&items, page, 0)?;
        self.add(image)
    }
}

/// A table whose number of entries cannot be right.
#[cold]
fn miscounted(tree: &TreeRoot) -> Error {
    damaged(tree.word, "its table's number of entries is wrong")
}
