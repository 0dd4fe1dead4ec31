//! Building a tree from sorted entries, bottom-up and in one pass, and putting it behind the entries of another.
//!
//! One page is open on each level. It is closed, full, when the entry that comes does not fit it any more, and becomes
//! a child of the page open above; so only the open pages are in memory. What is built has no prefix along its left
//! edge, as nothing is known of the separator that will lie before it: such a tree can be put behind any other whose
//! keys all come before its own, whatever they are by then.
#![forbid(unsafe_code)]

use super::change::{Path, TreeEdit, internal};
use super::get;
use super::restructure::Child;
use crate::error::{Error, Result};
use crate::node::{Items, NodeMut, Packing, pack, separator, shared_prefix};
use crate::root::TreeRoot;
use crate::walk::{damaged, damaged_node};
use crate::word::Word;
use bifold_page_source::{PageRef, PageSource};
use std::sync::atomic::AtomicU64;

/// Where the pages of a tree being built go.
pub(crate) trait PageSink {
    /// Takes a finished page of `level`, not yet sealed; returns where it lies, or will once the sink is flushed.
    ///
    /// # Errors
    /// Those of finding a place and of writing.
    fn page(&mut self, level: u8, bytes: &[u8]) -> Result<PageRef>;
}

/// A tree in the making.
#[derive(Debug)]
pub(crate) struct Builder {
    /// The open page of each level, the leaf first.
    levels: Vec<Open>,
    page_len: usize,
    birth: u64,
    /// Memory to build a page in.
    page: Vec<u8>,
    words: Vec<AtomicU64>,
}

/// The open page of one level.
#[derive(Debug)]
struct Open {
    level: u8,
    items: Items,
    /// The separator below it; `None` on the left edge.
    lower: Option<Vec<u8>>,
    /// Bytes that the first `counted` items take behind a prefix of `prefix_len` bytes.
    used: usize,
    counted: usize,
    prefix_len: usize,
    /// The prefix of a page of all items but the last, which is known to fit.
    fitting: usize,
    /// Whether a page of this level was closed before.
    follows: bool,
}

/// A page that has been given to the sink.
struct Built {
    separator: Option<Vec<u8>>,
    at: PageRef,
    count: u64,
    extents: bool,
}

impl Open {
    fn new(level: u8) -> Self {
        let (items, lower) = (Items::default(), None);
        Self { level, items, lower, used: 0, counted: 0, prefix_len: 0, fitting: 0, follows: false }
    }

    /// Whether all items so far fit a page behind which `next` comes: a leaf's next key, a branch's next separator.
    fn fits(&mut self, next: &[u8], page_len: usize) -> bool {
        let count = self.items.len();
        let prefix_len = match (&self.lower, count.checked_sub(1)) {
            (Some(lower), Some(last)) if self.level == 0 => {
                // What `lower` shares with the separator of the last key and the next.
                shared_prefix(lower, next).min(shared_prefix(self.items.key(last), next) + 1)
            }
            (Some(lower), _) => shared_prefix(lower, next),
            (None, _) => 0,
        };
        if self.counted == 0 || prefix_len != self.prefix_len {
            self.used = self.items.page_len(0..count, self.level, prefix_len);
        } else {
            let more = self.counted..count;
            let len = |index| self.items.entry_len(index, false, self.level, prefix_len);
            self.used += more.map(len).sum::<usize>();
        }
        (self.counted, self.prefix_len) = (count, prefix_len);
        let fits = self.used <= page_len;
        if fits {
            self.fitting = prefix_len;
        }
        fits
    }

    /// Removes the first `count` items, which have become a page, and not all.
    fn go_on_behind(&mut self, count: usize) {
        let items = &self.items;
        let parting = match self.level {
            0 => separator(items.key(count - 1), items.key(count)),
            _ => items.key(count).to_vec(),
        };
        self.items.remove_front(count);
        self.lower = Some(parting);
        (self.counted, self.follows) = (0, true);
    }
}

impl Builder {
    /// An empty tree of pages of `page_len` bytes, born at checkpoint `birth`.
    pub(crate) fn new(page_len: usize, birth: u64) -> Self {
        Self { levels: Vec::new(), page_len, birth, page: Vec::new(), words: Vec::new() }
    }

    /// Adds an entry behind all others; that it belongs there is the caller's to see to. `payload` is the value as the
    /// leaf holds it; with a `word`, its first eight bytes are for the reference.
    ///
    /// # Errors
    /// The sink's. The tree is then lost.
    pub(crate) fn push(
        &mut self,
        sink: &mut impl PageSink,
        key: &[u8],
        payload: &[u8],
        word: Option<Word>,
    ) -> Result<()> {
        self.make_room(sink, 0, key)?;
        let items = &mut self.levels[0].items;
        items.insert_entry(items.len(), key, payload, word);
        Ok(())
    }

    /// Closes the open page of `level` if it is full and `key` comes next.
    fn make_room(&mut self, sink: &mut impl PageSink, level: usize, key: &[u8]) -> Result<()> {
        if self.levels.len() == level {
            let number = u8::try_from(level).map_err(|_| Error::Internal("a tree is too high"))?;
            self.levels.push(Open::new(number));
        }
        let page_len = self.page_len;
        let open = &mut self.levels[level];
        if open.items.len() == 0 || open.fits(key, page_len) {
            return Ok(());
        }
        // It did fit before the last item came, which begins the next page.
        let count = open.items.len() - 1;
        if count == 0 {
            return Err(Error::Internal("an entry fits no page"));
        }
        let packing = open.items.front(count, open.lower.clone(), open.fitting);
        let built = self.close(sink, level, &packing)?;
        let open = &mut self.levels[level];
        open.go_on_behind(count);
        if !open.fits(key, page_len) {
            return Err(Error::Internal("an entry fits no page"));
        }
        self.add_child(sink, level + 1, &built)
    }

    /// Builds a page of the open items of `level` and gives it to the sink.
    fn close(&mut self, sink: &mut impl PageSink, level: usize, packing: &Packing) -> Result<Built> {
        let open = &self.levels[level];
        self.page.clear();
        self.page.resize(self.page_len, 0);
        self.words.clear();
        open.items.build_in(packing, open.level, self.birth, &mut self.page, &mut self.words);
        if !self.words.is_empty() {
            NodeMut::new(&mut self.page, &mut self.words).settle(&mut Some).map_err(internal)?;
        }
        let at = sink.page(open.level, &self.page)?;
        let (count, extents) = open.items.totals(packing.range.clone(), open.level);
        Ok(Built { separator: packing.lower.clone(), at, count, extents })
    }

    fn add_child(&mut self, sink: &mut impl PageSink, level: usize, built: &Built) -> Result<()> {
        let separator = built.separator.as_deref().unwrap_or_default();
        self.make_room(sink, level, separator)?;
        let items = &mut self.levels[level].items;
        items.insert_child(items.len(), separator, Word::file(built.at), built.count, built.extents);
        Ok(())
    }

    /// Closes all open pages and returns the tree. The sink is yet to be flushed.
    ///
    /// # Errors
    /// The sink's.
    pub(crate) fn finish(mut self, sink: &mut impl PageSink) -> Result<TreeRoot> {
        let mut level = 0;
        let mut below = None;
        while let Some(open) = self.levels.get(level) {
            if let (Some(built), false, 1) = (&below, open.follows, open.items.len()) {
                return root(built, level);
            }
            // Nothing comes behind, so nothing is known of what the keys to come share: no prefix.
            let cut = open.items.len().saturating_sub(1);
            let pages = pack(&open.items, open.level, self.page_len, open.lower.as_deref(), None, Some(cut));
            for packing in pages.ok_or(Error::Internal("an entry fits no page"))? {
                let built = self.close(sink, level, &packing)?;
                self.add_child(sink, level + 1, &built)?;
                below = Some(built);
            }
            level += 1;
        }
        Ok(TreeRoot::EMPTY)
    }
}

/// The tree whose root is `built`, a page of the level below `level`.
fn root(built: &Built, level: usize) -> Result<TreeRoot> {
    let height = level.checked_sub(1).and_then(|height| u8::try_from(height).ok());
    let height = height.ok_or(Error::Internal("a tree is too high"))?;
    Ok(TreeRoot { word: Word::file(built.at), height, len: built.count, extents: built.extents })
}

impl<S: PageSource> TreeEdit<'_, S> {
    /// Puts all of the tree `more`, whose least key is `first`, behind the entries of `tree`. Only the pages along one
    /// edge of the higher of the two are copied.
    ///
    /// # Errors
    /// [`Error::NotInOrder`] if `first` is not beyond the last key of `tree`; nothing has changed. I/O errors, damage.
    pub(crate) fn append_tree(&mut self, tree: &mut TreeRoot, more: TreeRoot, first: &[u8]) -> Result<()> {
        let Some(last) = self.last_key(tree)? else {
            self.changes.version += 1;
            if !tree.word.is_null() {
                // Never ours: a table without entries has no pages.
                self.drop_subtree(tree.word, tree.height, tree.extents)?;
            }
            *tree = more;
            return Ok(());
        };
        if last.as_slice() >= first {
            return Err(Error::NotInOrder);
        }
        self.changes.version += 1;
        let parting = Some(separator(&last, first));
        let right = tree.height >= more.height;
        let (mut high, low) = if right { (*tree, more) } else { (more, *tree) };
        let path = self.edge_to(&mut high, low.height, right)?;
        let depth = path.steps.len();
        let (lower, _) = self.fences(&path, depth)?;
        let broken = || Error::Internal("a branch makes no sense");
        let (word, count, extents) = match path.steps.last() {
            None => (high.word, high.len, high.extents),
            Some(&(id, index)) => {
                let node = self.own_node(id)?;
                let (count, extents) = (node.count_below(index), node.extents_below(index));
                let word = node.child(index).ok_or_else(broken)?;
                (word, count.ok_or_else(broken)?, extents.ok_or_else(broken)?)
            }
        };
        let edge = |separator| Child { separator, word, count, extents };
        let added = |separator| Child { separator, word: low.word, count: low.len, extents: low.extents };
        let children =
            if right { vec![edge(lower), added(parting)] } else { vec![added(None), edge(parting)] };
        let miscounted = || damaged(low.word, "its table's number of entries is wrong");
        let change = i64::try_from(low.len).map_err(|_| miscounted())?;
        self.count_path(&path, change, low.extents)?;
        self.replace_child(&mut high, &path, depth, children, right)?;
        high.len = high.len.checked_add(low.len).ok_or_else(miscounted)?;
        high.extents |= low.extents;
        *tree = high;
        Ok(())
    }

    /// The last key of a tree.
    pub(crate) fn last_key(&self, tree: &TreeRoot) -> Result<Option<Vec<u8>>> {
        let Some((leaf, index)) = get::last(&mut self.walk(), tree)? else { return Ok(None) };
        let node = leaf.node();
        Ok(Some(node.key(index).ok_or_else(|| damaged_node(&node, "an entry lies outside it"))?))
    }

    /// Makes the branches along one edge of a tree the transaction's own, down to the level above `level`. The way has
    /// no leaf.
    fn edge_to(&mut self, tree: &mut TreeRoot, level: u8, right: bool) -> Result<Path> {
        let mut steps: Vec<(u32, usize)> = Vec::new();
        let mut word = tree.word;
        for level in (level + 1..=tree.height).rev() {
            let id = self.own(word)?;
            match steps.last() {
                None => tree.word = Word::delta(id),
                Some(&(above, index)) => {
                    self.own_node_mut(above)?.set_child(index, Word::delta(id)).map_err(internal)?;
                }
            }
            let node = self.own_node(id)?;
            if node.level() != level || node.prefix_len() > 0 {
                return Err(damaged(word, "its level or its prefix is not what its place expects"));
            }
            let index = if right { node.count().checked_sub(1) } else { Some(0) };
            let child = index.and_then(|index| Some((index, node.child(index)?)));
            let (index, child) = child.ok_or_else(|| damaged(word, "it has no children"))?;
            steps.push((id, index));
            word = child;
        }
        Ok(Path { steps, leaf: u32::MAX })
    }
}
