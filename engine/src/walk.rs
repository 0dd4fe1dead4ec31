//! A walk: one operation's way from a root down, through the delta and then the page source.
//!
//! The delta is closed upwards, so a walk begins in it, if at all, and leaves it for good; the engine's epoch is held
//! only until then. In a write transaction the pages it made itself come first.
#![forbid(unsafe_code)]

use crate::delta::{Entry, EpochGuard, Image, Slab};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::root::TreeRoot;
use crate::trace::Recorder;
use crate::txn::pages::TxnPages;
use crate::word::{Target, Word};
use bifold_page_source::{PageId, PageRef, PageSize, PageSource, Visit};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What every walk reads from.
#[derive(Debug)]
pub(crate) struct Store<S> {
    pub(crate) source: S,
    pub(crate) slab: Slab,
    /// The file's id, the seed of its checksums.
    pub(crate) file_id: u64,
    pub(crate) page_size: PageSize,
    /// Bytes written to the file's pages since it was opened.
    pub(crate) written_bytes: AtomicU64,
    /// What records the calls made through this handle, if anything does.
    pub(crate) trace: Option<Arc<Recorder>>,
}

impl<S> Store<S> {
    /// A store over `source`, of a file with this id and page size.
    pub(crate) fn new(source: S, slab: Slab, file_id: u64, page_size: PageSize) -> Self {
        Self { source, slab, file_id, page_size, written_bytes: AtomicU64::new(0), trace: None }
    }
}

/// A page kept beyond its walk.
pub(crate) enum Held<'t, S: PageSource + 't> {
    /// A page on file.
    File(S::Pin<'t>),
    /// A page of the delta, or a value that has no place on file yet.
    Delta(Arc<Image>),
}

impl<S: PageSource> Held<'_, S> {
    /// The page, as a node.
    #[inline]
    pub(crate) fn node(&self) -> Node<'_> {
        match self {
            Self::File(pin) => Node::file(pin),
            Self::Delta(image) => Node::delta(image.bytes(), image.words()),
        }
    }

    /// The page's bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::File(pin) => pin,
            Self::Delta(image) => image.bytes(),
        }
    }
}

impl<'t, S: PageSource + 't> Clone for Held<'t, S> {
    fn clone(&self) -> Self {
        match self {
            Self::File(pin) => Self::File(pin.clone()),
            Self::Delta(image) => Self::Delta(Arc::clone(image)),
        }
    }
}

/// One operation's way through the tree.
pub(crate) struct Walk<'w, 't, S: PageSource + 't> {
    slab: &'t Slab,
    visit: S::Visit<'t>,
    epoch: Option<EpochGuard>,
    own: Option<&'w TxnPages>,
}

impl<'w, 't, S: PageSource> Walk<'w, 't, S> {
    /// Begins a walk; `own` are the pages of the write transaction whose walk it is.
    #[inline]
    pub(crate) fn new(store: &'t Store<S>, own: Option<&'w TxnPages>) -> Self {
        Self { slab: &store.slab, visit: store.source.visit(), epoch: None, own }
    }

    /// The node that `word` names, readable until the next call.
    ///
    /// # Errors
    /// I/O errors, damage, and `Internal` for a word that names nothing.
    #[inline]
    pub(crate) fn node(&mut self, word: Word) -> Result<Node<'_>> {
        match word.target() {
            Target::File(page) => {
                self.epoch = None;
                Ok(Node::file(self.visit.view(page)?))
            }
            Target::Delta(id) => self.delta_node(id),
            Target::Null | Target::Bad => Err(Error::Internal("a reference leads nowhere")),
        }
    }

    /// Says that the leaf that `word` names will be walked over soon.
    #[inline]
    pub(crate) fn soon(&mut self, word: Word) {
        match word.target() {
            Target::File(page) => self.visit.soon(page),
            // A write transaction's own pages, which it has just written, are near.
            Target::Delta(id) => self.slab.prefetch_held(id),
            Target::Null | Target::Bad => {}
        }
    }

    fn delta_node(&mut self, id: u32) -> Result<Node<'_>> {
        if let Some(image) = self.own.and_then(|own| own.get(id)) {
            return Ok(Node::delta(image.bytes(), image.words()));
        }
        self.slab.prefetch_viewed(id);
        let known = self.slab.home(id);
        if known != 0 {
            self.epoch = None;
            return Ok(Node::file(self.visit.view(home(known)?)?));
        }
        let epoch = self.epoch.get_or_insert_with(EpochGuard::enter);
        match self.slab.get(id, epoch) {
            Entry::Image(image) => Ok(Node::delta(image.bytes(), image.words())),
            // Homed between the two looks: rare enough to read the page inside the epoch.
            Entry::Home(bits) => Ok(Node::file(self.visit.view(home(bits)?)?)),
            Entry::Missing => Err(Error::Internal("a reference names no page of the delta")),
        }
    }

    /// Keeps the page that `word` names.
    ///
    /// # Errors
    /// As [`node`](Self::node).
    #[inline]
    pub(crate) fn hold(&mut self, word: Word) -> Result<Held<'t, S>> {
        let page = match word.target() {
            Target::File(page) => page,
            Target::Delta(id) => match self.hold_delta(id)? {
                Ok(image) => return Ok(Held::Delta(image)),
                Err(page) => page,
            },
            Target::Null | Target::Bad => return Err(Error::Internal("a reference leads nowhere")),
        };
        self.epoch = None;
        Ok(Held::File(self.visit.hold(page)?))
    }

    /// The image of a delta page, or where it has gone.
    fn hold_delta(&mut self, id: u32) -> Result<Result<Arc<Image>, PageRef>> {
        if let Some(image) = self.own.and_then(|own| own.get(id)) {
            return Ok(Ok(Arc::clone(image)));
        }
        self.slab.prefetch_held(id);
        let epoch = self.epoch.get_or_insert_with(EpochGuard::enter);
        if let Some(image) = self.slab.pin(id, epoch) {
            return Ok(Ok(image));
        }
        match self.slab.get(id, epoch) {
            Entry::Home(bits) => Ok(Err(home(bits)?)),
            _ => Err(Error::Internal("a reference names no page of the delta")),
        }
    }

    /// Where `word`'s page lies on file, if it does.
    pub(crate) fn on_file(&mut self, word: Word) -> Result<Option<PageRef>> {
        match word.target() {
            Target::File(page) => Ok(Some(page)),
            Target::Delta(id) => match self.hold_delta(id)? {
                Ok(_) => Ok(None),
                Err(page) => Ok(Some(page)),
            },
            Target::Null | Target::Bad => Err(Error::Internal("a reference leads nowhere")),
        }
    }

    /// The leaf of `tree` in whose range `key` lies, kept. `None` if the tree is empty.
    ///
    /// # Errors
    /// As [`node`](Self::node).
    #[inline]
    pub(crate) fn leaf_for(&mut self, tree: &TreeRoot, key: &[u8]) -> Result<Option<Held<'t, S>>> {
        if tree.word.is_null() {
            return Ok(None);
        }
        let mut word = tree.word;
        for level in (1..=tree.height).rev() {
            let node = self.node(word)?;
            if node.level() != level {
                return Err(damaged(word, "its level is not the one its parent expects"));
            }
            let child = node.child_index(key).and_then(|index| node.child(index));
            word = child.ok_or_else(|| damaged(word, "an entry lies outside it"))?;
        }
        let leaf = self.hold(word)?;
        if leaf.node().is_leaf() {
            Ok(Some(leaf))
        } else {
            Err(damaged(word, "it is not the leaf it should be"))
        }
    }
}

fn home(bits: u64) -> Result<PageRef> {
    PageRef::from_bits(bits).ok_or(Error::Internal("a home is no reference"))
}

/// The error for a node that makes no sense: damage if it lies on file, our own fault otherwise.
#[cold]
pub(crate) fn damaged(word: Word, what: &'static str) -> Error {
    match word.target() {
        Target::File(page) => Error::page(page.page(), what),
        _ => Error::Internal(what),
    }
}

/// The error for a held page that makes no sense.
#[cold]
pub(crate) fn damaged_node(node: &Node<'_>, what: &'static str) -> Error {
    match PageId::new(node.own_number()) {
        Some(page) if page.get() > 0 => Error::page(page, what),
        _ => Error::Internal(what),
    }
}
