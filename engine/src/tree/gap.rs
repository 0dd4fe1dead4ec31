//! Gaps between entries, which bounds of ranges and searches come down to, and the checked steps of a descent.
//!
//! Every step checks what one page cannot know of another: the level, and that the key lies where the separators
//! above say. A crafted file whose pages are each well formed gives an error here, not a wrong answer.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::node::Node;
use crate::walk::damaged;
use crate::word::Word;
use std::ops::Bound;

/// A place between two neighbouring entries of a table, or at one of its ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gap<'k> {
    /// Before the first entry.
    Start,
    /// In front of this key, whether or not it has an entry.
    Before(&'k [u8]),
    /// Behind this key, whether or not it has an entry.
    After(&'k [u8]),
    /// Behind the last entry.
    End,
}

impl<'k> Gap<'k> {
    /// Where a range with this lower bound begins.
    pub(crate) fn lower<K: AsRef<[u8]> + ?Sized>(bound: Bound<&'k K>) -> Self {
        match bound {
            Bound::Included(key) => Self::Before(key.as_ref()),
            Bound::Excluded(key) => Self::After(key.as_ref()),
            Bound::Unbounded => Self::Start,
        }
    }

    /// Where a range with this upper bound ends.
    pub(crate) fn upper<K: AsRef<[u8]> + ?Sized>(bound: Bound<&'k K>) -> Self {
        match bound {
            Bound::Included(key) => Self::After(key.as_ref()),
            Bound::Excluded(key) => Self::Before(key.as_ref()),
            Bound::Unbounded => Self::End,
        }
    }

    /// Whether `key` lies before this gap.
    #[inline]
    pub(crate) fn is_behind(self, key: &[u8]) -> bool {
        match self {
            Self::Start => false,
            Self::Before(limit) => key < limit,
            Self::After(limit) => key <= limit,
            Self::End => true,
        }
    }
}

/// Checks that the node of `word` is a branch of `level`.
#[inline]
pub(super) fn check_branch(node: &Node<'_>, word: Word, level: u8) -> Result<()> {
    if node.is_branch() && node.level() == level {
        return Ok(());
    }
    Err(damaged(word, "its level is not the one its parent expects"))
}

/// Checks that the node of `word` is a leaf.
#[inline]
pub(super) fn check_leaf(node: &Node<'_>, word: Word) -> Result<()> {
    if node.is_leaf() && node.level() == 0 {
        return Ok(());
    }
    Err(damaged(word, "it is not the leaf it should be"))
}

/// Where `key` is (`Ok`) or belongs (`Err`) in the node of `word`.
#[inline]
pub(super) fn search(node: &Node<'_>, word: Word, key: &[u8]) -> Result<std::result::Result<usize, usize>> {
    node.search(key).ok_or_else(|| damaged(word, OUTSIDE))
}

/// The child of the branch of `word` whose range holds `key`.
#[inline]
pub(super) fn child_for(node: &Node<'_>, word: Word, key: &[u8]) -> Result<usize> {
    match search(node, word, key)? {
        Ok(index) => Ok(index),
        Err(index) => index.checked_sub(1).ok_or_else(|| damaged(word, "a key lies before its first child")),
    }
}

/// The reference to child `index` of the branch of `word`.
#[inline]
pub(super) fn child_at(node: &Node<'_>, word: Word, index: usize) -> Result<Word> {
    node.child(index).ok_or_else(|| damaged(word, OUTSIDE))
}

/// What is said of a page whose offsets lead out of it.
pub(crate) const OUTSIDE: &str = "an entry lies outside it";
