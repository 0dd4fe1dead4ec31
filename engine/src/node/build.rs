//! Building nodes from entries: splits, merges and redistribution all gather entries, choose cuts, and build anew.
//!
//! One function, [`pack`], decides how many pages a run of entries takes and where they part, so that no caller
//! needs to know whether a shorter prefix makes two pages out of one.
#![forbid(unsafe_code)]

use super::layout::{
    AT_COUNT, AT_HEAP, AT_PREFIX, BRANCH_FIXED, HEADER, HINT, KIND_BRANCH, KIND_LEAF, LEAF_FIXED,
    branch_entry_len, hint_of, leaf_entry_len, put_u16, put_u64, put_varint, set_header, shared_prefix,
};
use super::read::{Node, count_bits};
use crate::word::Word;
use std::ops::Range;
use std::sync::atomic::AtomicU64;

/// One entry on its way from one node to another.
#[derive(Clone, Debug)]
struct Item {
    key: Range<usize>,
    value: Range<usize>,
    /// A branch's child, or the reference a leaf's value begins with.
    word: Option<Word>,
    /// Entries below, in a branch.
    count: u64,
    /// Whether extents may hang below, in a branch.
    extents: bool,
}

/// Entries in key order, with their bytes in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Items {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

/// A page to build.
#[derive(Debug)]
pub(crate) struct Packing {
    /// Which items go into it.
    pub(crate) range: Range<usize>,
    /// The separator below it; `None` where nothing is below.
    pub(crate) lower: Option<Vec<u8>>,
    /// Bytes of prefix its keys share.
    prefix_len: usize,
}

impl Items {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// The key of item `index`.
    pub(crate) fn key(&self, index: usize) -> &[u8] {
        &self.bytes[self.items[index].key.clone()]
    }

    /// One page of all items, whose keys share `prefix_len` bytes.
    pub(crate) fn whole(&self, prefix_len: usize) -> Packing {
        // An only child's key counts for nothing and may be missing.
        let prefix_len =
            if self.items.last().is_some_and(|i| i.key.len() >= prefix_len) { prefix_len } else { 0 };
        Packing { range: 0..self.items.len(), lower: None, prefix_len }
    }

    /// One page of the first `count` items, above the separator `lower`, whose keys share `prefix_len` bytes.
    pub(crate) fn front(&self, count: usize, lower: Option<Vec<u8>>, prefix_len: usize) -> Packing {
        debug_assert!(count <= self.items.len());
        Packing { range: 0..count, lower, prefix_len }
    }

    /// Removes the first `count` items, of which each was added behind the one before it, with their bytes.
    pub(crate) fn remove_front(&mut self, count: usize) {
        let bytes = self.items.get(count).map_or(self.bytes.len(), |item| item.key.start);
        self.items.drain(..count);
        self.bytes.drain(..bytes);
        for item in &mut self.items {
            debug_assert!(item.key.start >= bytes && item.value.start >= bytes);
            item.key = item.key.start - bytes..item.key.end - bytes;
            item.value = item.value.start - bytes..item.value.end - bytes;
        }
    }

    /// Removes a range of items.
    pub(crate) fn remove(&mut self, range: Range<usize>) {
        self.items.drain(range);
    }

    /// Adds all entries of `node`. A branch's first key becomes `lower`, the separator below the node.
    /// `None` if the node is damaged.
    pub(crate) fn gather(&mut self, node: &Node<'_>, lower: Option<&[u8]>) -> Option<()> {
        let leaf = node.is_leaf();
        for index in 0..node.count() {
            let entry = node.entry(index)?;
            let key_at = self.bytes.len();
            match lower {
                Some(lower) if index == 0 && !leaf => self.bytes.extend_from_slice(lower),
                None if index == 0 && !leaf => {}
                _ => node.push_key(index, &mut self.bytes)?,
            }
            let key = key_at..self.bytes.len();
            let item = if leaf {
                let word = if entry.has_word { Some(node.value_word(&entry)?.0) } else { None };
                self.bytes.extend_from_slice(node.value(&entry)?);
                Item { value: key.end..self.bytes.len(), key, word, count: 0, extents: false }
            } else {
                Item {
                    value: key.end..key.end,
                    key,
                    word: Some(node.child(index)?),
                    count: node.count_below(index)?,
                    extents: node.extents_below(index)?,
                }
            };
            self.items.push(item);
        }
        Some(())
    }

    /// Inserts a leaf's entry. `value` begins with eight bytes for the reference if there is one.
    pub(crate) fn insert_entry(&mut self, index: usize, key: &[u8], value: &[u8], word: Option<Word>) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let middle = at + key.len();
        let item =
            Item { key: at..middle, value: middle..middle + value.len(), word, count: 0, extents: false };
        self.items.insert(index, item);
    }

    /// Inserts a branch's child.
    pub(crate) fn insert_child(&mut self, index: usize, key: &[u8], word: Word, count: u64, extents: bool) {
        self.insert_entry(index, key, &[], Some(word));
        let item = &mut self.items[index];
        (item.count, item.extents) = (count, extents);
    }

    /// Bytes that `range` takes in a page whose prefix has `prefix_len` bytes.
    pub(crate) fn page_len(&self, range: Range<usize>, level: u8, prefix_len: usize) -> usize {
        let start = range.start;
        let entries: usize =
            range.map(|index| self.entry_len(index, index == start, level, prefix_len)).sum();
        HEADER + prefix_len + entries
    }

    /// Bytes that item `index` takes in a page whose prefix has `prefix_len` bytes; whether it is the `first` there
    /// counts in a branch.
    pub(crate) fn entry_len(&self, index: usize, first: bool, level: u8, prefix_len: usize) -> usize {
        let item = &self.items[index];
        let suffix = item.key.len().saturating_sub(prefix_len);
        match level {
            0 => LEAF_FIXED + leaf_entry_len(suffix, item.value.len()),
            _ if first => BRANCH_FIXED + branch_entry_len(0),
            _ => BRANCH_FIXED + branch_entry_len(suffix),
        }
    }

    /// Number of table entries in or below `range`, and whether extents may hang below.
    pub(crate) fn totals(&self, range: Range<usize>, level: u8) -> (u64, bool) {
        let items = &self.items[range];
        if level == 0 {
            return (items.len() as u64, items.iter().any(|i| i.word.is_some()));
        }
        (items.iter().map(|i| i.count).sum(), items.iter().any(|i| i.extents))
    }

    /// The page that `packing` describes: its bytes, and its references.
    pub(crate) fn build(
        &self,
        packing: &Packing,
        level: u8,
        birth: u64,
        page_len: usize,
    ) -> (Vec<u8>, Vec<AtomicU64>) {
        let (mut bytes, mut words) = (vec![0; page_len], Vec::new());
        self.build_in(packing, level, birth, &mut bytes, &mut words);
        (bytes, words)
    }

    /// The same in memory that is there: `bytes` is a whole page of zeros, `words` is empty.
    pub(crate) fn build_in(
        &self,
        packing: &Packing,
        level: u8,
        birth: u64,
        bytes: &mut [u8],
        words: &mut Vec<AtomicU64>,
    ) {
        let items = &self.items[packing.range.clone()];
        let page_len = bytes.len();
        set_header(bytes, if level == 0 { KIND_LEAF } else { KIND_BRANCH }, level, birth);
        // The last key has the prefix, since only a branch's first may be empty; without any, the separator has it.
        let like = items.last().map(|item| &self.bytes[item.key.clone()]);
        let like = like.or(packing.lower.as_deref()).unwrap_or_default();
        let prefix_len = packing.prefix_len.min(like.len());
        bytes[page_len - prefix_len..].copy_from_slice(&like[..prefix_len]);
        put_u16(bytes, AT_PREFIX, prefix_len);
        put_u16(bytes, AT_COUNT, items.len());
        let mut top = page_len - prefix_len;
        for (index, item) in items.iter().enumerate() {
            let key = &self.bytes[item.key.clone()];
            let suffix = if level > 0 && index == 0 { &[][..] } else { &key[prefix_len..] };
            let value = &self.bytes[item.value.clone()];
            let rest = suffix.get(HINT..).unwrap_or(&[]);
            if level == 0 {
                top -= leaf_entry_len(suffix.len(), value.len());
                let at = put_varint(bytes, top, suffix.len() * 2 + usize::from(item.word.is_some()));
                let at = put_varint(bytes, at, value.len());
                bytes[at..at + rest.len()].copy_from_slice(rest);
                let at = at + rest.len();
                bytes[at..at + value.len()].copy_from_slice(value);
                if let Some(word) = item.word {
                    put_u64(bytes, at, words.len() as u64);
                    words.push(AtomicU64::new(word.bits()));
                }
            } else {
                top -= branch_entry_len(suffix.len());
                let at = put_varint(bytes, top, suffix.len());
                bytes[at..at + rest.len()].copy_from_slice(rest);
                let field = HEADER + items.len() * (LEAF_FIXED + 8) + index * 8;
                put_u64(bytes, field, count_bits(item.count, item.extents));
                words.push(AtomicU64::new(item.word.unwrap_or(Word::NULL).bits()));
            }
            let hint = HEADER + index * HINT;
            bytes[hint..hint + HINT].copy_from_slice(&hint_of(suffix).to_be_bytes());
            put_u16(bytes, HEADER + items.len() * HINT + index * 2, top);
        }
        put_u16(bytes, AT_HEAP, page_len - prefix_len - top);
    }
}

impl Packing {
    /// Bytes the page will use.
    pub(crate) fn used(&self, items: &Items, level: u8) -> usize {
        items.page_len(self.range.clone(), level, self.prefix_len)
    }
}

/// The shortest byte string above `left` and not above `right`.
pub(crate) fn separator(left: &[u8], right: &[u8]) -> Vec<u8> {
    debug_assert!(left < right);
    right[..(shared_prefix(left, right) + 1).min(right.len())].to_vec()
}

/// Parts all of `items` into pages of `page_len` bytes between the separators `lower` and `upper`. The first cut is
/// made before item `cut` if that is given, else where it halves the bytes. `None` if an entry fits no page.
pub(crate) fn pack(
    items: &Items,
    level: u8,
    page_len: usize,
    lower: Option<&[u8]>,
    upper: Option<&[u8]>,
    cut: Option<usize>,
) -> Option<Vec<Packing>> {
    let mut pages = Vec::new();
    let packer = Packer { items, level, page_len };
    packer.pack(0..items.len(), lower, upper, cut, &mut pages)?;
    Some(pages)
}

struct Packer<'a> {
    items: &'a Items,
    level: u8,
    page_len: usize,
}

impl Packer<'_> {
    /// Recursion ends because each half has fewer items; its depth is at most the number of pages.
    fn pack(
        &self,
        range: Range<usize>,
        lower: Option<&[u8]>,
        upper: Option<&[u8]>,
        cut: Option<usize>,
        pages: &mut Vec<Packing>,
    ) -> Option<()> {
        let prefix_len = match (lower, upper) {
            (Some(lower), Some(upper)) => shared_prefix(lower, upper),
            _ => 0,
        };
        // Holds by construction; a crafted file could have it otherwise.
        let prefix = &lower.unwrap_or(&[])[..prefix_len];
        if range.clone().any(|index| !self.items.key(index).starts_with(prefix)) {
            return None;
        }
        if self.items.page_len(range.clone(), self.level, prefix_len) <= self.page_len {
            pages.push(Packing { range, lower: lower.map(<[u8]>::to_vec), prefix_len });
            return Some(());
        }
        let cut = match cut {
            Some(cut) => self.filling(&range, lower, self.clamp(cut, &range)?),
            None => self.clamp(self.halfway(range.clone()), &range)?,
        };
        let parting = self.parting(cut);
        self.pack(range.start..cut, lower, Some(&parting), None, pages)?;
        self.pack(cut..range.end, Some(&parting), upper, None, pages)
    }

    /// The separator before item `cut`.
    fn parting(&self, cut: usize) -> Vec<u8> {
        if self.level == 0 {
            separator(self.items.key(cut - 1), self.items.key(cut))
        } else {
            self.items.key(cut).to_vec()
        }
    }

    /// `cut`, or the nearest place before it where the left part fits a page: a page that was full may not fit with
    /// the longer prefix that its new upper separator gives it, as short keys save nothing by it.
    fn filling(&self, range: &Range<usize>, lower: Option<&[u8]>, cut: usize) -> usize {
        let fits = |cut: &usize| {
            let prefix_len = lower.map_or(0, |lower| shared_prefix(lower, &self.parting(*cut)));
            self.items.page_len(range.start..*cut, self.level, prefix_len) <= self.page_len
        };
        let least = self.clamp(range.start, range).unwrap_or(cut);
        (least..=cut).rev().take(8).find(fits).unwrap_or(cut)
    }

    /// Leaves at least one entry, in a branch two where there are enough, on each side.
    fn clamp(&self, cut: usize, range: &Range<usize>) -> Option<usize> {
        let least = if self.level > 0 && range.len() >= 4 { 2 } else { 1 };
        if range.len() < 2 { None } else { Some(cut.clamp(range.start + least, range.end - least)) }
    }

    /// The cut that parts the bytes most evenly.
    fn halfway(&self, range: Range<usize>) -> usize {
        let size = |item: &Item| item.key.len() + item.value.len() + BRANCH_FIXED;
        let items = &self.items.items[range.clone()];
        let total: usize = items.iter().map(size).sum();
        let mut left = 0;
        for (index, item) in items.iter().enumerate() {
            let with = left + size(item);
            if with * 2 >= total {
                // Before or behind this item, whichever is more even.
                let behind = with * 2 - total < total - left * 2;
                return range.start + index + usize::from(behind);
            }
            left = with;
        }
        range.end
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeMut, validate};
    use super::*;
    use proptest::prelude::*;

    fn items(keys: &[Vec<u8>], value: usize) -> Items {
        let mut items = Items::default();
        for (index, key) in keys.iter().enumerate() {
            items.insert_entry(index, key, &vec![7; value], None);
        }
        items
    }

    #[test]
    fn separators_are_as_short_as_they_can_be() {
        assert_eq!(separator(b"abc", b"abd"), b"abd");
        assert_eq!(separator(b"abc", b"b"), b"b");
        assert_eq!(separator(b"a", b"abc"), b"ab");
        assert_eq!(separator(b"", b"\0\0"), b"\0");
    }

    #[test]
    fn thirty_three_entries_of_16_and_100_bytes_fill_a_leaf() {
        let keys: Vec<_> = (0..33u64).map(|i| format!("{:016x}", i * 7919).into_bytes()).collect();
        let packed = pack(&items(&keys, 100), 0, 4096, Some(b"0000"), Some(b"0001"), None).unwrap();
        assert_eq!(packed.len(), 1);
    }

    /// All keys of up to two bytes among 0, 1 and 255, and some around the length of a hint, sorted.
    fn short_keys() -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = vec![vec![]];
        for first in [0, 1, 255u8] {
            keys.push(vec![first]);
            keys.extend([0, 1, 255].map(|second| vec![first, second]));
            let tails: [&[u8]; 5] = [&[0], &[1], &[0, 0], &[0, 1], &[255, 255]];
            keys.extend(tails.map(|tail| [&[first, 7, 7][..], tail].concat()));
        }
        keys.sort();
        keys
    }

    #[test]
    fn a_key_surely_below_a_separator_has_the_child_of_the_one_before() {
        let keys = short_keys();
        let (mut sure, mut same) = (0, 0);
        for chosen in 1..1u32 << 6 {
            // Other separators each time, also such as differ behind the hint only.
            let separators = (0..keys.len()).filter(|at| chosen >> (at * 5 % 6) & 1 == 1).map(|at| &keys[at]);
            let mut items = Items::default();
            items.insert_child(0, b"", Word::from_bits(1), 1, false);
            for (index, separator) in separators.filter(|key| !key.is_empty()).enumerate() {
                items.insert_child(index + 1, separator, Word::from_bits(1), 1, false);
            }
            let packed = pack(&items, 1, 4096, None, None, None).unwrap();
            let (bytes, words) = items.build(&packed[0], 1, 0, 4096);
            let node = Node::delta(&bytes, &words);
            for (at, first) in keys.iter().enumerate() {
                let child = node.child_index(first).unwrap();
                for key in &keys[at..] {
                    let is_same = node.child_index(key) == Some(child);
                    let is_sure = node.is_surely_below(key, child + 1);
                    assert!(is_same || !is_sure, "{first:?}, {key:?}, child {child}");
                    sure += u32::from(is_sure);
                    same += u32::from(is_same);
                }
            }
        }
        assert!(sure * 2 > same, "mostly the first bytes tell: {sure} of {same}");
    }

    proptest! {
        /// Whatever is packed fits, keeps every key in order, and is found again.
        #[test]
        fn packed_pages_hold_what_was_packed(
            mut keys in prop::collection::btree_set(prop::collection::vec(0u8..4, 0..100), 1..60),
            value in 0usize..28,
        ) {
            let keys: Vec<_> = std::mem::take(&mut keys).into_iter().collect();
            let items = items(&keys, value);
            let pages = pack(&items, 0, 512, None, None, None).unwrap();
            let mut seen = Vec::new();
            for page in &pages {
                let (bytes, mut words) = items.build(page, 0, 3, 512);
                prop_assert_eq!(validate(&bytes), Ok(()));
                let node = Node::delta(&bytes, &words);
                for index in 0..node.count() {
                    let key = node.key(index).unwrap();
                    prop_assert_eq!(node.search(&key), Some(Ok(index)));
                    seen.push(key);
                }
                let mut copy = bytes.clone();
                NodeMut::new(&mut copy, &mut words).settle(&mut |w| Some(w)).unwrap();
                prop_assert_eq!(copy, bytes);
            }
            prop_assert_eq!(seen, keys);
        }
    }
}
