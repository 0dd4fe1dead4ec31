//! Values as the user holds them: bytes that stay where they are.
//!
//! A small value lies in its leaf, and the guard keeps that page. A large one lies in an extent, and the leaf keeps
//! only where: the guard keeps the extent's bytes, or the image of one that has no place on file yet.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::extent;
use crate::node::Node;
use crate::tree::access::{Access, Alive};
use crate::tree::gap::OUTSIDE;
use crate::walk::{Held, damaged_node};
use crate::word::{Target, Word};
use bifold_page_source::PageSource;
use std::fmt;
use std::ops::{Deref, Range};

/// A value, readable without a copy for as long as its transaction lives.
///
/// It dereferences to the value's bytes. While one is held, its page stays in memory, and nothing else does: many
/// held values cost memory, never progress. In a write transaction it shows the value as it was when it was read,
/// whatever is changed later.
pub struct Value<'t, S: PageSource + 't> {
    bytes: Bytes<'t, S>,
    alive: Alive<'t>,
}

enum Bytes<'t, S: PageSource + 't> {
    /// Part of a leaf.
    Leaf(Held<'t, S>, Range<usize>),
    /// An extent on file.
    Span(S::Span<'t>),
    /// A whole image of the delta.
    Image(Held<'t, S>),
}

impl<'t, S: PageSource> Value<'t, S> {
    fn new<A: Access<'t, S>>(access: &A, bytes: Bytes<'t, S>) -> Self {
        Self { bytes, alive: access.alive() }
    }

    /// The value of entry `index` of `leaf`, wherever it lies.
    pub(crate) fn of_entry<A: Access<'t, S>>(access: &A, leaf: Held<'t, S>, index: usize) -> Result<Self> {
        let node = leaf.node();
        let entry = node.entry(index).ok_or_else(|| damaged_node(&node, OUTSIDE))?;
        if entry.has_word {
            let large = Large::parse(&node, index)?;
            return Self::large(access, large);
        }
        let range = entry.value;
        Self::in_leaf(access, leaf, range)
    }

    /// The value that lies at `range` of `leaf`.
    pub(crate) fn in_leaf<A: Access<'t, S>>(
        access: &A,
        leaf: Held<'t, S>,
        range: Range<usize>,
    ) -> Result<Self> {
        if leaf.bytes().get(range.clone()).is_none() {
            return Err(damaged_node(&leaf.node(), OUTSIDE));
        }
        Ok(Self::new(access, Bytes::Leaf(leaf, range)))
    }

    /// A large value.
    ///
    /// # Errors
    /// I/O errors and damage: nothing of a damaged extent is ever shown.
    pub(crate) fn large<A: Access<'t, S>>(access: &A, large: Large) -> Result<Self> {
        let (mut page, mut image) = (None, None);
        // Twice at most: an image that is gone when we come to hold it has a place on file for good.
        for _ in 0..2 {
            page = access.with(|walk| walk.on_file(large.word))?;
            if page.is_some() {
                break;
            }
            match access.with(|walk| walk.hold(large.word))? {
                Held::File(_) => {}
                held @ Held::Delta(_) => {
                    image = Some(held);
                    break;
                }
            }
        }
        if let Some(image) = image {
            if image.bytes().len() as u64 != large.len {
                return Err(Error::Internal("a large value is not as long as its leaf says"));
            }
            return Ok(Self::new(access, Bytes::Image(image)));
        }
        let first = page.ok_or(Error::Internal("a large value is nowhere"))?;
        let store = access.store();
        let span =
            extent::read_span(&store.source, store.file_id, store.page_size, first, large.len, 0..large.len)?;
        Ok(Self::new(access, Bytes::Span(span)))
    }
}

/// Bytes that a leaf keeps of a large value: reference, length, birth.
const LARGE_LEN: usize = 24;

/// What a leaf says of a large value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Large {
    /// The extent's first page, or an image of the delta that is the value.
    pub(crate) word: Word,
    /// The value's length in bytes.
    pub(crate) len: u64,
    /// The last checkpoint at or before the commit that wrote the value.
    pub(crate) birth: u64,
}

impl Large {
    /// What entry `index` of the leaf `node` says.
    ///
    /// # Errors
    /// Damage, if it says nothing of the kind.
    pub(crate) fn parse(node: &Node<'_>, index: usize) -> Result<Self> {
        let parse = || {
            let (word, fields) = node.value_word(&node.entry(index)?)?;
            Self::from_fields(word, fields)
        };
        parse()
            .filter(|large| matches!(large.word.target(), Target::File(_) | Target::Delta(_)))
            .ok_or_else(|| damaged_node(node, "a large value's reference makes no sense"))
    }

    /// What a leaf says by a reference and the fields behind it.
    pub(crate) fn from_fields(word: Word, fields: &[u8]) -> Option<Self> {
        let (len, rest) = fields.split_first_chunk::<8>()?;
        let birth: [u8; 8] = rest.try_into().ok()?;
        Some(Self { word, len: u64::from_le_bytes(*len), birth: u64::from_le_bytes(birth) })
    }

    /// What the leaf keeps, but for the reference: eight zero bytes, to be replaced by it, then length and birth.
    pub(crate) fn payload(len: u64, birth: u64) -> [u8; LARGE_LEN] {
        let mut payload = [0; LARGE_LEN];
        payload[8..16].copy_from_slice(&len.to_le_bytes());
        payload[16..].copy_from_slice(&birth.to_le_bytes());
        payload
    }
}

impl<S: PageSource> Deref for Value<'_, S> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            // In bounds since it was made: neither a page's length nor the range ever changes.
            Bytes::Leaf(leaf, range) => leaf.bytes().get(range.clone()).unwrap_or_default(),
            Bytes::Span(span) => span,
            Bytes::Image(image) => image.bytes(),
        }
    }
}

impl<S: PageSource> AsRef<[u8]> for Value<'_, S> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<'t, S: PageSource + 't> Clone for Value<'t, S>
where
    S::Span<'t>: Clone,
{
    fn clone(&self) -> Self {
        let bytes = match &self.bytes {
            Bytes::Leaf(leaf, range) => Bytes::Leaf(leaf.clone(), range.clone()),
            Bytes::Span(span) => Bytes::Span(span.clone()),
            Bytes::Image(image) => Bytes::Image(image.clone()),
        };
        Self { bytes, alive: self.alive.clone() }
    }
}

/// Bytes that [`Debug`](fmt::Debug) shows.
const SHOWN: usize = 32;

impl<S: PageSource> fmt::Debug for Value<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.get(..SHOWN).unwrap_or(self);
        write!(f, "b\"{}\"", shown.escape_ascii())?;
        if self.len() > SHOWN { write!(f, "… ({} bytes)", self.len()) } else { Ok(()) }
    }
}

impl<S: PageSource> Eq for Value<'_, S> {}

impl<S: PageSource> PartialEq for Value<'_, S> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<S: PageSource> PartialEq<[u8]> for Value<'_, S> {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl<S: PageSource> PartialEq<&[u8]> for Value<'_, S> {
    fn eq(&self, other: &&[u8]) -> bool {
        **self == **other
    }
}

impl<const N: usize, S: PageSource> PartialEq<[u8; N]> for Value<'_, S> {
    fn eq(&self, other: &[u8; N]) -> bool {
        **self == *other
    }
}

impl<const N: usize, S: PageSource> PartialEq<&[u8; N]> for Value<'_, S> {
    fn eq(&self, other: &&[u8; N]) -> bool {
        **self == **other
    }
}

impl<S: PageSource> PartialEq<Vec<u8>> for Value<'_, S> {
    fn eq(&self, other: &Vec<u8>) -> bool {
        **self == **other
    }
}

impl<S: PageSource> PartialEq<str> for Value<'_, S> {
    fn eq(&self, other: &str) -> bool {
        **self == *other.as_bytes()
    }
}

impl<S: PageSource> PartialEq<&str> for Value<'_, S> {
    fn eq(&self, other: &&str) -> bool {
        **self == *other.as_bytes()
    }
}
