//! What changing a tree works with: the transaction's pages, and what it has dropped.
#![forbid(unsafe_code)]

use crate::delta::{Image, SlabWriter};
use crate::error::{Error, Result};
use crate::node::{EditError, Items, Node, NodeMut, Packing, clear_place, set_birth};
use crate::root::TreeRoot;
use crate::txn::pages::TxnPages;
use crate::value::Large;
use crate::walk::{Store, Walk, damaged};
use crate::word::{Target, Word};
use bifold_page_source::{PageId, PageRef, PageSource};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Something that the transaction's newest state no longer reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dropped {
    /// A page of the delta.
    Delta(u32),
    /// A page on file, with its birth.
    Page(PageId, u64),
    /// An extent on file: first page, length of the value in bytes, birth.
    Extent(PageId, u64, u64),
    /// A page on file and everything below it.
    Subtree {
        /// Its topmost page.
        root: PageRef,
        /// That page's level.
        level: u8,
        /// Whether extents may hang below.
        extents: bool,
    },
}

/// Descriptors of delta pages, and what the writer knows of each.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    pub(crate) ids: SlabWriter,
    /// For each descriptor the commit that published it.
    pub(crate) born: Vec<u64>,
    sizes: Vec<Size>,
}

/// What a delta page takes.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Bytes of its image.
    bytes: u32,
    /// Pages on file that it will take: one for a node, more for a large value.
    places: u32,
}

impl Descriptors {
    /// The pages on file that `id` will take.
    pub(crate) fn places(&self, id: u32) -> u64 {
        self.sizes.get(id as usize).map_or(1, |size| u64::from(size.places))
    }

    /// Bytes of `id`'s image.
    pub(crate) fn bytes(&self, id: u32) -> u64 {
        self.sizes.get(id as usize).map_or(0, |size| u64::from(size.bytes))
    }

    fn describe(&mut self, id: u32, bytes: usize, places: u32) {
        let at = id as usize;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.sizes.len() <= at {
            self.sizes.resize(at + 1, Size { bytes: 0, places: 1 });
            self.born.resize(at + 1, 0);
        }
        self.sizes[at] = Size { bytes, places };
    }
}

/// How the last inserts ran, to tell an ordered load from a random one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    leaf: u32,
    next: usize,
    length: u32,
}

/// Inserts in a row, each right behind the one before, that make an ordered load.
const ORDERED: u32 = 3;

impl Run {
    /// Notes an insert into `leaf` at `index`; whether it goes on with an ordered load.
    pub(super) fn note(&mut self, leaf: u32, index: usize) -> bool {
        let follows = self.leaf == leaf && self.next == index;
        self.length = if follows { self.length.saturating_add(1) } else { 0 };
        (self.leaf, self.next) = (leaf, index + 1);
        self.length >= ORDERED
    }

    /// After a split: where the entry inserted last went.
    pub(super) fn moved(&mut self, leaf: u32, next: usize) {
        (self.leaf, self.next) = (leaf, next);
    }
}

/// Everything one transaction has changed so far.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) pages: TxnPages,
    pub(crate) dropped: Vec<Dropped>,
    /// The last checkpoint: the birth of the pages made now.
    pub(crate) birth: u64,
    /// Grows with every change: positions taken before are to be sought again.
    pub(crate) version: u64,
    /// The tree is the catalog: what its values refer to are tables' roots, which are not dropped with them.
    pub(crate) values_are_trees: bool,
    pub(crate) run: Run,
}

impl Changes {
    /// No changes yet, since checkpoint `birth`. `pages` has none, and may bring memory along.
    pub(crate) fn new(birth: u64, pages: TxnPages) -> Self {
        debug_assert_eq!(pages.bytes(), 0);
        Self { pages, birth, ..Self::default() }
    }
}

/// The means to change trees, borrowed from a transaction for one call.
pub(crate) struct TreeEdit<'a, S> {
    pub(crate) store: &'a Store<S>,
    pub(crate) descriptors: &'a mut Descriptors,
    pub(crate) changes: &'a mut Changes,
}

/// The way from a root to a leaf, every page of it the transaction's own.
#[derive(Debug)]
pub(super) struct Path {
    /// Branches from the root down, each with the index of the child taken.
    pub(super) steps: Vec<(u32, usize)>,
    pub(super) leaf: u32,
}

impl Path {
    /// The page at `depth`; the root has depth 0.
    pub(super) fn at(&self, depth: usize) -> u32 {
        self.steps.get(depth).map_or(self.leaf, |step| step.0)
    }
}

impl<'a, S: PageSource> TreeEdit<'a, S> {
    /// The page size in bytes.
    pub(super) fn page_len(&self) -> usize {
        self.store.page_size.bytes()
    }

    /// A walk that sees the transaction's own pages.
    pub(crate) fn walk(&self) -> Walk<'_, 'a, S> {
        Walk::new(self.store, Some(&self.changes.pages))
    }

    /// The node of one of the transaction's own pages.
    pub(super) fn own_node(&self, id: u32) -> Result<Node<'_>> {
        let image = self.changes.pages.get(id).ok_or(Error::Internal("a page of the path is not its own"))?;
        Ok(Node::delta(image.bytes(), image.words()))
    }

    /// The same, to change it.
    pub(super) fn own_node_mut(&mut self, id: u32) -> Result<NodeMut<'_>> {
        self.changes.pages.node_mut(id)
    }

    /// Adds a page to the transaction's own.
    pub(crate) fn add(&mut self, image: Arc<Image>) -> Result<u32> {
        let bytes = image.bytes().len();
        let id = self.changes.pages.add(&mut self.descriptors.ids, image)?;
        self.descriptors.describe(id, bytes, 1);
        Ok(id)
    }

    /// Adds a large value that gets its place at the next checkpoint.
    pub(crate) fn add_value(&mut self, value: &[u8]) -> Result<u32> {
        let (header, data) = crate::extent::pages_for(value.len() as u64, self.store.page_size);
        let id = self.changes.pages.add(&mut self.descriptors.ids, Arc::new(Image::new(value.into())))?;
        self.descriptors.describe(id, value.len(), u32::try_from(header + data).unwrap_or(u32::MAX));
        Ok(id)
    }

    /// Builds the page that `packing` describes.
    pub(super) fn build(&mut self, items: &Items, packing: &Packing, level: u8) -> Result<Arc<Image>> {
        let (bytes, words) = items.build(packing, level, self.changes.birth, self.page_len());
        let mut image = self.descriptors.ids.image_of(&self.store.slab, &bytes, false);
        unshared(&mut image)?.set_words(words);
        Ok(image)
    }

    /// The page that `word` names as a page that may be changed in place: itself, or a copy.
    pub(super) fn own(&mut self, word: Word) -> Result<u32> {
        let mut image = match word.target() {
            Target::Delta(id) if self.changes.pages.is_mutable(id) => return Ok(id),
            Target::Null | Target::Bad => return Err(Error::Internal("a reference leads nowhere")),
            _ => self.copy(word)?,
        };
        set_birth(unshared(&mut image)?.bytes_mut(), self.changes.birth);
        self.add(image)
    }

    /// A copy of a page that is not this transaction's to change, which is thereby dropped. Nobody else has it.
    fn copy(&mut self, word: Word) -> Result<Arc<Image>> {
        let held = self.walk().hold(word)?;
        if let crate::walk::Held::Delta(image) = &held {
            let Target::Delta(id) = word.target() else {
                return Err(Error::Internal("a page on file has an image"));
            };
            let copy = self.descriptors.ids.copy_of(&self.store.slab, image);
            self.drop_delta(id);
            return Ok(copy);
        }
        let node = held.node();
        let page = PageId::new(node.own_number()).ok_or(Error::Internal("a page has no number"))?;
        let birth = node.birth();
        if birth > self.changes.birth {
            return Err(damaged(word, "it was born later than it can have been"));
        }
        let with_words = node.is_branch();
        let mut copy = self.descriptors.ids.image_of(&self.store.slab, node.bytes(), with_words);
        let image = unshared(&mut copy)?;
        image.set_replaces(Some(page));
        clear_place(image.bytes_mut());
        let (bytes, words) = image.parts_mut();
        NodeMut::new(bytes, words).adopt_file_words().map_err(|e| edit_error(e, word))?;
        if node.is_leaf() && !self.changes.values_are_trees {
            // Only a table can be empty; a large value that is nowhere could never be stored again.
            let nowhere = image.words().iter().any(|w| w.load(Ordering::Relaxed) == 0);
            if nowhere {
                return Err(damaged(word, "a large value's reference leads nowhere"));
            }
        }
        self.changes.dropped.push(Dropped::Page(page, birth));
        Ok(copy)
    }

    /// Drops a delta page: at once if nobody else can know it.
    pub(super) fn drop_delta(&mut self, id: u32) {
        if self.changes.pages.is_mutable(id) {
            self.changes.pages.free(&mut self.descriptors.ids, &self.store.slab, id);
        } else {
            self.changes.dropped.push(Dropped::Delta(id));
        }
    }

    /// Drops the large value that a leaf entry's `payload` describes.
    pub(super) fn drop_value(&mut self, word: Word, payload: &[u8]) -> Result<()> {
        if self.changes.values_are_trees {
            return Ok(());
        }
        match self.walk().on_file(word)? {
            None => {
                if let Target::Delta(id) = word.target() {
                    self.drop_delta(id);
                }
            }
            Some(first) => {
                let large = Large::from_fields(word, payload);
                let Large { len, birth, .. } =
                    large.ok_or_else(|| damaged(word, "a large value has no length"))?;
                if birth > self.changes.birth {
                    return Err(damaged(word, "a large value was born later than it can have been"));
                }
                self.changes.dropped.push(Dropped::Extent(first.page(), len, birth));
            }
        }
        Ok(())
    }

    /// Drops everything that hangs below `word`. What is in the delta is walked, what is on file is noted.
    pub(crate) fn drop_subtree(&mut self, word: Word, level: u8, extents: bool) -> Result<()> {
        if let Some(root) = self.walk().on_file(word)? {
            self.changes.dropped.push(Dropped::Subtree { root, level, extents });
            return Ok(());
        }
        let held = self.walk().hold(word)?;
        let node = held.node();
        if node.level() != level {
            return Err(damaged(word, "its level is not the one its parent expects"));
        }
        let broken = || damaged(word, "an entry lies outside it");
        for index in 0..node.count() {
            if level > 0 {
                let child = node.child(index).ok_or_else(broken)?;
                let extents = node.extents_below(index).ok_or_else(broken)?;
                self.drop_subtree(child, level - 1, extents)?;
            } else {
                let entry = node.entry(index).ok_or_else(broken)?;
                if let Some((value, payload)) = node.value_word(&entry) {
                    self.drop_value(value, payload)?;
                }
            }
        }
        if let Target::Delta(id) = word.target() {
            self.drop_delta(id);
        }
        Ok(())
    }

    /// Makes every page on the way to `key`'s leaf the transaction's own. The tree is not empty.
    pub(super) fn path_to(&mut self, tree: &mut TreeRoot, key: &[u8]) -> Result<Path> {
        let mut steps = Vec::with_capacity(usize::from(tree.height));
        let mut id = self.own(tree.word)?;
        tree.word = Word::delta(id);
        for level in (1..=tree.height).rev() {
            let node = self.own_node(id)?;
            if node.level() != level {
                return Err(Error::Internal("a branch's level is not the one its parent expects"));
            }
            let index = node.child_index(key);
            let child = index.and_then(|i| node.child(i));
            let (Some(index), Some(child)) = (index, child) else {
                return Err(Error::Internal("a branch has no child for a key"));
            };
            steps.push((id, index));
            let below = self.own(child)?;
            if Word::delta(below) != child {
                self.own_node_mut(id)?.set_child(index, Word::delta(below)).map_err(internal)?;
            }
            id = below;
        }
        if self.own_node(id)?.is_leaf() {
            Ok(Path { steps, leaf: id })
        } else {
            Err(Error::Internal("a page at level 0 is no leaf"))
        }
    }

    /// The separators around the page at `depth` of `path`; `None` where nothing is beyond.
    #[expect(clippy::type_complexity, reason = "a pair of optional keys, used at once")]
    pub(super) fn fences(&self, path: &Path, depth: usize) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>)> {
        let (mut lower, mut upper) = (None, None);
        for &(id, index) in path.steps[..depth].iter().rev() {
            let node = self.own_node(id)?;
            let broken = Error::Internal("a separator lies outside its branch");
            if lower.is_none() && index > 0 {
                lower = Some(node.key(index).ok_or(broken.clone())?);
            }
            if upper.is_none() && index + 1 < node.count() {
                upper = Some(node.key(index + 1).ok_or(broken)?);
            }
        }
        Ok((lower, upper))
    }

    /// Adds `change` to the counts along `path`, and marks extents.
    pub(super) fn count_path(&mut self, path: &Path, change: i64, extents: bool) -> Result<()> {
        for &(id, index) in &path.steps {
            self.own_node_mut(id)?.add_count(index, change, extents).map_err(internal)?;
        }
        Ok(())
    }
}

/// An image that nobody else has yet, to change it.
fn unshared(image: &mut Arc<Image>) -> Result<&mut Image> {
    Arc::get_mut(image).ok_or(Error::Internal("a page just copied is shared"))
}

/// An edit of one of the transaction's own pages that cannot fail but did.
pub(super) fn internal(error: EditError) -> Error {
    match error {
        EditError::Full => Error::Internal("a page has no room for what was made for it"),
        EditError::Damaged => Error::Internal("a page of the transaction makes no sense"),
    }
}

fn edit_error(error: EditError, word: Word) -> Error {
    match error {
        EditError::Full => internal(error),
        EditError::Damaged => damaged(word, "an entry lies outside it"),
    }
}
