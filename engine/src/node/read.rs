//! Reading a node: every offset taken from the page is checked where it is used, so that a page that rots after it
//! was validated gives `None` (the caller reports damage) and never undefined behaviour.
#![forbid(unsafe_code)]

use super::layout::{
    AT_COUNT, AT_DEAD, AT_HEAP, AT_PREFIX, BRANCH_FIXED, HEADER, HINT, KIND_BRANCH, KIND_LEAF, LEAF_FIXED,
    birth_of, get_u16, get_u64, get_varint, hint_of, kind_of, level_of,
};
use crate::word::Word;
use bifold_page_source::prefetch_line;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::{self, AtomicU64};

/// Bit 63 of a branch's entry count: extents may hang below that child.
const EXTENTS_BELOW: u64 = 1 << 63;

/// A page of the tree, to be read. References come from the page, or from the words beside it if it is in the delta.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    bytes: &'a [u8],
    words: Option<&'a [AtomicU64]>,
}

/// One entry of a node.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// Length of the key behind the prefix.
    pub(super) suffix_len: usize,
    /// The key's first bytes behind the prefix, padded.
    pub(super) hint: u32,
    /// The key behind prefix and hint.
    pub(super) rest: &'a [u8],
    /// Whether the value begins with a reference.
    pub(crate) has_word: bool,
    /// Where the value lies in the page.
    pub(crate) value: Range<usize>,
}

impl<'a> Node<'a> {
    /// A page on file.
    pub(crate) fn file(bytes: &'a [u8]) -> Self {
        Self { bytes, words: None }
    }

    /// A page of the delta, whose references are beside it.
    pub(crate) fn delta(bytes: &'a [u8], words: &'a [AtomicU64]) -> Self {
        Self { bytes, words: Some(words) }
    }

    /// The page's bytes.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many entries the node has.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        get_u16(self.bytes, AT_COUNT)
    }

    /// Whether this is a leaf.
    pub(crate) fn is_leaf(&self) -> bool {
        kind_of(self.bytes) == KIND_LEAF
    }

    /// Whether this is a branch.
    pub(crate) fn is_branch(&self) -> bool {
        kind_of(self.bytes) == KIND_BRANCH
    }

    /// The page's own number; 0 for one that has no place on file yet.
    pub(crate) fn own_number(&self) -> u64 {
        get_u64(self.bytes, 8) & 0xFF_FFFF_FFFF
    }

    /// Height above the leaves.
    pub(crate) fn level(&self) -> u8 {
        level_of(self.bytes)
    }

    /// The checkpoint at or before the commit that made the page.
    pub(crate) fn birth(&self) -> u64 {
        birth_of(self.bytes)
    }

    #[inline]
    pub(crate) fn prefix_len(&self) -> usize {
        get_u16(self.bytes, AT_PREFIX)
    }

    pub(super) fn fixed(&self) -> usize {
        if self.is_leaf() { LEAF_FIXED } else { BRANCH_FIXED }
    }

    /// What all keys of the node begin with.
    pub(crate) fn prefix(&self) -> Option<&'a [u8]> {
        self.bytes.get(self.bytes.len().checked_sub(self.prefix_len())?..)
    }

    /// Bytes that are in use: header, entries, prefix; dead ones not counted.
    pub(crate) fn used(&self) -> usize {
        let heap = get_u16(self.bytes, AT_HEAP).saturating_sub(get_u16(self.bytes, AT_DEAD));
        HEADER + self.count() * self.fixed() + heap + self.prefix_len()
    }

    #[inline]
    pub(super) fn hints(&self, count: usize) -> Option<&'a [[u8; HINT]]> {
        Some(self.bytes.get(HEADER..HEADER + count * HINT)?.as_chunks::<HINT>().0)
    }

    #[inline]
    pub(super) fn slots(&self, count: usize) -> Option<&'a [[u8; 2]]> {
        let at = HEADER + count * HINT;
        Some(self.bytes.get(at..at + count * 2)?.as_chunks::<2>().0)
    }

    #[inline]
    fn hint(&self, index: usize) -> Option<u32> {
        let at = HEADER + index * HINT;
        Some(u32::from_be_bytes(self.bytes.get(at..at + HINT)?.try_into().ok()?))
    }

    #[inline]
    pub(super) fn slot(&self, count: usize, index: usize) -> Option<usize> {
        let at = HEADER + count * HINT + index * 2;
        let b = self.bytes.get(at..at + 2)?;
        Some(usize::from(u16::from_le_bytes([b[0], b[1]])))
    }

    /// Entry `index`. `None` if there is none, or its bytes lie outside the page.
    #[expect(
        clippy::inline_always,
        reason = "returned through memory, an entry costs a cursor half its speed"
    )]
    #[inline(always)]
    pub(crate) fn entry(&self, index: usize) -> Option<Entry<'a>> {
        let count = self.count();
        if index >= count {
            return None;
        }
        let at = self.slot(count, index)?;
        let hint = self.hint(index)?;
        // Its beginning says where the value lies, and is waited for: a value of a hundred bytes lies in the next two.
        prefetch_line(self.bytes, at + 64);
        prefetch_line(self.bytes, at + 128);
        if self.is_leaf() {
            let (head, at) = get_varint(self.bytes, at)?;
            let (value_len, at) = get_varint(self.bytes, at)?;
            let suffix_len = head >> 1;
            let value_at = at + suffix_len.saturating_sub(HINT);
            let rest = self.bytes.get(at..value_at)?;
            let value = value_at..value_at + value_len;
            self.bytes.get(value.clone())?;
            Some(Entry { suffix_len, hint, rest, has_word: head & 1 == 1, value })
        } else {
            let (suffix_len, at) = get_varint(self.bytes, at)?;
            let end = at + suffix_len.saturating_sub(HINT);
            let rest = self.bytes.get(at..end)?;
            Some(Entry { suffix_len, hint, rest, has_word: true, value: end..end })
        }
    }

    /// Compares entry `index` with a key whose first bytes behind the prefix equal the entry's hint.
    #[inline]
    fn compare_behind_hint(&self, index: usize, suffix: &[u8]) -> Option<Ordering> {
        let entry = self.entry(index)?;
        Some(if entry.suffix_len < HINT || suffix.len() < HINT {
            entry.suffix_len.min(HINT).cmp(&suffix.len().min(HINT))
        } else {
            entry.rest.cmp(&suffix[HINT..])
        })
    }

    /// Where `key`, which must lie between the page's separators, is (`Ok`) or belongs (`Err`). `None` if it does not
    /// lie there, or the page makes no sense.
    #[inline]
    pub(crate) fn search(&self, key: &[u8]) -> Option<Result<usize, usize>> {
        // A sound tree brings a key only to pages whose separators it lies between; a crafted file may not.
        let suffix = key.strip_prefix(self.prefix()?)?;
        let hint = hint_of(suffix);
        let hints = self.hints(self.count())?;
        let mut low = lower_bound(hints, hint);
        let mut high = low;
        while high < hints.len() && u32::from_be_bytes(hints[high]) == hint {
            if high - low == 8 {
                high = low + hints[low..].partition_point(|h| u32::from_be_bytes(*h) <= hint);
                break;
            }
            high += 1;
        }
        while low < high {
            let middle = low.midpoint(high);
            match self.compare_behind_hint(middle, suffix)? {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(Ok(middle)),
                Ordering::Greater => high = middle,
            }
        }
        Some(Err(low))
    }

    /// Whether `key`'s first bytes tell already that it lies between the page's separators and below entry `index`, or
    /// there is no such entry.
    #[inline]
    pub(crate) fn is_surely_below(&self, key: &[u8], index: usize) -> bool {
        let suffix = self.prefix().and_then(|prefix| key.strip_prefix(prefix));
        let limit = self.hints(self.count()).map(|hints| hints.get(index));
        match (suffix, limit) {
            (Some(suffix), Some(Some(limit))) => hint_of(suffix) < u32::from_be_bytes(*limit),
            (Some(_), Some(None)) => true,
            _ => false,
        }
    }

    /// The child whose range holds `key`.
    #[inline]
    pub(crate) fn child_index(&self, key: &[u8]) -> Option<usize> {
        match self.search(key)? {
            Ok(index) => Some(index),
            Err(index) => index.checked_sub(1),
        }
    }

    /// The reference to child `index` of a branch.
    #[inline]
    pub(crate) fn child(&self, index: usize) -> Option<Word> {
        let count = self.count();
        if index >= count {
            return None;
        }
        let bits = match self.words {
            Some(words) => words.get(index)?.load(atomic::Ordering::Acquire),
            None => get_u64(self.bytes, HEADER + count * LEAF_FIXED + index * 8),
        };
        Some(Word::from_bits(bits))
    }

    fn count_field(&self, index: usize) -> Option<u64> {
        let count = self.count();
        if index >= count || !self.is_branch() {
            return None;
        }
        let at = HEADER + count * (LEAF_FIXED + 8) + index * 8;
        Some(u64::from_le_bytes(self.bytes.get(at..at + 8)?.try_into().ok()?))
    }

    /// How many entries lie below child `index` of a branch.
    pub(crate) fn count_below(&self, index: usize) -> Option<u64> {
        Some(self.count_field(index)? & !EXTENTS_BELOW)
    }

    /// Whether extents may hang below child `index` of a branch.
    pub(crate) fn extents_below(&self, index: usize) -> Option<bool> {
        Some(self.count_field(index)? & EXTENTS_BELOW != 0)
    }

    /// Number of entries of the table below this node, and whether extents may hang below it.
    pub(crate) fn totals(&self) -> Option<(u64, bool)> {
        if self.is_leaf() {
            let mut extents = false;
            for index in 0..self.count() {
                extents |= self.entry(index)?.has_word;
            }
            return Some((self.count() as u64, extents));
        }
        let mut total = 0u64;
        let mut extents = false;
        for index in 0..self.count() {
            total = total.checked_add(self.count_below(index)?)?;
            extents |= self.extents_below(index)?;
        }
        Some((total, extents))
    }

    /// The value's bytes.
    pub(crate) fn value(&self, entry: &Entry<'_>) -> Option<&'a [u8]> {
        self.bytes.get(entry.value.clone())
    }

    /// The reference that a leaf entry's value begins with, and what follows it.
    pub(crate) fn value_word(&self, entry: &Entry<'_>) -> Option<(Word, &'a [u8])> {
        if !entry.has_word {
            return None;
        }
        let (word, rest) = self.value(entry)?.split_first_chunk::<8>()?;
        let stored = u64::from_le_bytes(*word);
        let bits = match self.words {
            Some(words) => words.get(usize::try_from(stored).ok()?)?.load(atomic::Ordering::Acquire),
            None => stored,
        };
        Some((Word::from_bits(bits), rest))
    }

    /// Appends the whole key of entry `index` to `key`.
    pub(crate) fn push_key(&self, index: usize, key: &mut Vec<u8>) -> Option<()> {
        let entry = self.entry(index)?;
        key.extend_from_slice(self.prefix()?);
        key.extend_from_slice(&entry.hint.to_be_bytes()[..entry.suffix_len.min(HINT)]);
        key.extend_from_slice(entry.rest);
        Some(())
    }

    /// The whole key of entry `index`.
    pub(crate) fn key(&self, index: usize) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        self.push_key(index, &mut key)?;
        Some(key)
    }

    /// The two varints that a leaf entry begins with, and where they end.
    #[inline]
    pub(super) fn leaf_head(&self, at: usize) -> Option<(usize, usize, usize)> {
        if let Some(&[head, value_len]) = self.bytes.get(at..at + 2)
            && (head | value_len) < 0x80
        {
            return Some((usize::from(head), usize::from(value_len), at + 2));
        }
        let (head, at) = get_varint(self.bytes, at)?;
        let (value_len, at) = get_varint(self.bytes, at)?;
        Some((head, value_len, at))
    }
}

/// The first of the sorted `hints` that is not below `hint`. Without branches that depend on the data.
#[inline]
fn lower_bound(hints: &[[u8; HINT]], hint: u32) -> usize {
    let mut base = 0;
    let mut size = hints.len();
    while size > 1 {
        let half = size / 2;
        let probe = u32::from_be_bytes(hints[base + half - 1]);
        base = if probe < hint { base + half } else { base };
        size -= half;
    }
    base + usize::from(size == 1 && u32::from_be_bytes(hints[base]) < hint)
}

/// Sets or clears the mark of extents in a branch's count.
pub(super) const fn count_bits(count: u64, extents: bool) -> u64 {
    if extents { count | EXTENTS_BELOW } else { count }
}
