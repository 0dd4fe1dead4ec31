//! The pages an open write transaction has made: its own until it commits.
//!
//! A page is changed in place only by the transaction that made it, since its last savepoint, and only while nobody
//! pins it. The first two are kept by the order in which pages were made, the third by `Arc`: an image that a guard
//! still holds is copied (`Arc::make_mut`), and the guard keeps the old one.
#![forbid(unsafe_code)]

use crate::delta::{Image, Slab, SlabWriter};
use crate::error::{Error, Result};
use crate::node::NodeMut;
use std::sync::Arc;

const NOT_MADE: u32 = u32::MAX;

/// The pages of one write transaction, by descriptor.
#[derive(Debug, Default)]
pub(crate) struct TxnPages {
    images: Vec<Option<Arc<Image>>>,
    /// For each descriptor, its place in `made`.
    made_at: Vec<u32>,
    /// Descriptors in the order they were made; one that was freed since is no longer at its place.
    made: Vec<u32>,
    /// Places in `made` before this belong to before the last savepoint.
    frozen: u32,
    /// Bytes of all images.
    bytes: u64,
}

impl TxnPages {
    /// The image of `id`, if this transaction made it.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Arc<Image>> {
        self.images.get(id as usize)?.as_ref()
    }

    /// Whether `id` may be changed in place.
    pub(crate) fn is_mutable(&self, id: u32) -> bool {
        let at = id as usize;
        self.images.get(at).is_some_and(Option::is_some) && self.made_at[at] >= self.frozen
    }

    /// Takes a new page in.
    pub(crate) fn add(&mut self, ids: &mut SlabWriter, image: Arc<Image>) -> Result<u32> {
        let id = ids.allocate().filter(|id| *id != NOT_MADE).ok_or(Error::Internal("no free descriptors"))?;
        let at = id as usize;
        if self.images.len() <= at {
            self.images.resize(at + 1, None);
            self.made_at.resize(at + 1, NOT_MADE);
        }
        debug_assert!(self.images[at].is_none());
        self.bytes += image.bytes().len() as u64;
        self.images[at] = Some(image);
        self.made_at[at] = self.made.len() as u32;
        self.made.push(id);
        Ok(id)
    }

    /// The node of `id`, to change it.
    pub(crate) fn node_mut(&mut self, id: u32) -> Result<NodeMut<'_>> {
        debug_assert!(self.is_mutable(id), "page {id} is changed in place but shared");
        let image = self.images.get_mut(id as usize).and_then(Option::as_mut);
        let image = Arc::make_mut(image.ok_or(Error::Internal("a page to change is not the transaction's"))?);
        let (bytes, words) = image.parts_mut();
        Ok(NodeMut::new(bytes, words))
    }

    /// Puts another image in place of a page's.
    pub(crate) fn replace(&mut self, id: u32, mut image: Arc<Image>) -> Result<()> {
        debug_assert!(self.is_mutable(id));
        let slot = self.images.get_mut(id as usize).and_then(Option::as_mut);
        let slot = slot.ok_or(Error::Internal("a page to replace is not the transaction's"))?;
        self.bytes = self.bytes - slot.bytes().len() as u64 + image.bytes().len() as u64;
        let new = Arc::get_mut(&mut image).ok_or(Error::Internal("a page just made is shared"))?;
        new.set_replaces(slot.replaces());
        *slot = image;
        Ok(())
    }

    /// Lets a page go that nothing refers to any more.
    pub(crate) fn free(&mut self, ids: &mut SlabWriter, slab: &Slab, id: u32) {
        if let Some(image) = self.images.get_mut(id as usize).and_then(Option::take) {
            self.bytes -= image.bytes().len() as u64;
            self.made_at[id as usize] = NOT_MADE;
            ids.free(slab, id);
        }
    }

    /// How many pages were made before `id`.
    pub(crate) fn made_at(&self, id: u32) -> u32 {
        self.made_at.get(id as usize).copied().unwrap_or(NOT_MADE)
    }

    /// How many pages were made so far: a mark for [`rollback`](Self::rollback).
    pub(crate) fn mark(&self) -> u32 {
        self.made.len() as u32
    }

    /// Forbids changing in place what was made before `mark`.
    pub(crate) fn freeze(&mut self, mark: u32) {
        self.frozen = mark;
    }

    /// Frees every page made since `mark`.
    pub(crate) fn rollback(&mut self, ids: &mut SlabWriter, slab: &Slab, mark: u32) {
        for place in (mark as usize..self.made.len()).rev() {
            let id = self.made[place];
            if self.made_at[id as usize] == place as u32 {
                self.free(ids, slab, id);
            }
        }
        self.made.truncate(mark as usize);
    }

    /// Gives all pages up, each with its descriptor, in the order they were made.
    pub(crate) fn take(&mut self) -> Vec<(u32, Arc<Image>)> {
        let mut pages = Vec::new();
        for (place, id) in std::mem::take(&mut self.made).into_iter().enumerate() {
            if self.made_at[id as usize] == place as u32 {
                self.made_at[id as usize] = NOT_MADE;
                pages.extend(self.images[id as usize].take().map(|image| (id, image)));
            }
        }
        (self.frozen, self.bytes) = (0, 0);
        pages
    }

    /// The descriptors of all pages, in the order they were made.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        let there = |(place, id): (usize, &u32)| (self.made_at[*id as usize] == place as u32).then_some(*id);
        self.made.iter().enumerate().filter_map(there)
    }

    /// Bytes of all images.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
