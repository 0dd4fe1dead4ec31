//! Entries of a leaf, decoded a few ahead of a position that moves over it.
//!
//! A step to an entry that is decoded already copies a few words. Decoding early takes a few instructions more, and keeps
//! the processor busy: whoever loads a key that was put together a moment ago, by stores of which none
//! covers what is loaded, waits until they have left the store buffer, which they do in order, and so until all work
//! before them has been done. (Intel, *Optimization Reference Manual*, "Store Forwarding".) What is read of entries to
//! come also begins to bring their lines in.
//!
//! It begins with one entry, so that who wants but one pays for little more than one.
#![forbid(unsafe_code)]

use super::layout::HINT;
use super::read::Node;
use bifold_page_source::prefetch_line;
use std::ops::Range;

/// Rooms for decoded entries, a power of two: the present one, some behind or before it, and those to come.
const ROOMS: usize = 8;
/// Entries decoded together at most.
const TOGETHER: usize = 4;
/// With so many decoded entries to come, the next are decoded.
const LOW: usize = 3;
/// How many entries ahead of what is decoded lines are asked for.
const FAR: usize = 6;
/// Bytes behind its hint that a key has at most if it is decoded ahead. They are copied as one array whatever their
/// number.
const WIDE: usize = 32;
/// Strides are multiples of this.
const ALIGN: usize = 16;

const _: () = assert!(1 + LOW + TOGETHER <= ROOMS, "what is decoded ahead leaves the present entry alone");

/// What is known of an entry, but for its key's bytes.
#[derive(Clone, Copy, Default, Debug)]
struct Place {
    key_len: u32,
    value_start: u32,
    value_end: u32,
    has_word: bool,
}

/// Some neighbouring entries of one leaf, and the one among them that its position stands on, if it does.
#[derive(Debug, Default)]
pub(crate) struct LeafBatch {
    /// Rooms of `stride` bytes, a key and bytes without meaning in each: entry `n`'s is number `n % ROOMS`.
    keys: Vec<u8>,
    places: [Place; ROOMS],
    stride: usize,
    /// Bytes of the leaf's prefix.
    prefix_len: usize,
    /// The rooms that begin with that prefix, a bit for each.
    prefixed: u8,
    /// The entries decoded: number of the first in the leaf, and how many.
    first: usize,
    len: usize,
    /// Entries to decode next, if the way goes on in this direction.
    want: usize,
    forward: bool,
    /// Whether the prefix is this leaf's.
    entered: bool,
    /// Whether this leaf has entries that are not to be decoded ahead.
    single: bool,
    /// The present entry, and where its room begins.
    here: Place,
    room: usize,
}

impl LeafBatch {
    /// Nothing is decoded, and `key` is the key.
    pub(crate) fn set(&mut self, key: &[u8]) {
        self.leave();
        self.make_room(key.len());
        self.keys[..key.len()].copy_from_slice(key);
        (self.prefixed, self.want, self.room) = (0, 1, 0);
        self.here = Place { key_len: key.len() as u32, ..Place::default() };
    }

    /// What was decoded is of a leaf that is left. The key stays.
    pub(crate) fn leave(&mut self) {
        (self.len, self.entered, self.single) = (0, false, false);
    }

    /// The key of the present entry, or the one that was set.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        // In bounds always: rooms are never cut.
        self.keys.get(self.room..self.room + self.here.key_len as usize).unwrap_or_default()
    }

    /// Where the present entry's value lies in the leaf.
    #[inline]
    pub(crate) fn value(&self) -> Range<usize> {
        self.here.value_start as usize..self.here.value_end as usize
    }

    /// Whether the present entry's value begins with a reference.
    #[inline]
    pub(crate) fn has_word(&self) -> bool {
        self.here.has_word
    }

    /// Goes to entry `index` of the leaf if it is decoded.
    #[inline]
    pub(crate) fn step(&mut self, index: usize) -> bool {
        let decoded = index.wrapping_sub(self.first) < self.len;
        if decoded {
            let room = index % ROOMS;
            (self.here, self.room) = (self.places[room], room * self.stride);
        }
        decoded
    }

    /// Whether entry `index` of the leaf is decoded, and its value does not begin with a reference.
    #[inline]
    pub(crate) fn is_plain(&self, index: usize) -> bool {
        index.wrapping_sub(self.first) < self.len && !self.places[index % ROOMS].has_word
    }

    /// Whether [`ahead`](Self::ahead) is of use, the position being on entry `index` of `count`, on its way forward.
    #[inline]
    pub(crate) fn is_low(&self, index: usize, count: usize) -> bool {
        let end = self.first + self.len;
        index + LOW + 1 >= end && end < count && self.want == TOGETHER
    }

    /// Decodes entries of `leaf`, which has `count`, behind those that are decoded.
    pub(crate) fn ahead(&mut self, leaf: &Node<'_>, count: usize) {
        let (first, end) = (self.first, self.first + self.len);
        let upto = (end + self.want).min(count);
        // Those whose rooms they do not take stay; also if one is damaged, which whoever comes to it will see.
        let first = first.max(upto.saturating_sub(ROOMS));
        let decoded = !self.single && self.decode(leaf, count, end..upto).is_some();
        self.want = if decoded { TOGETHER } else { 1 };
        (self.first, self.len) = (first, if decoded { upto } else { end } - first);
    }

    /// Decodes entry `index` of `leaf`, which has `count`, and some to come in the direction of the way, and goes to
    /// it. `None` if it makes no sense.
    pub(crate) fn load(&mut self, leaf: &Node<'_>, count: usize, index: usize, forward: bool) -> Option<()> {
        if !self.entered {
            self.enter(leaf.prefix()?);
        }
        let most = if self.single || forward != self.forward { 1 } else { self.want.max(1) };
        self.forward = forward;
        let range = if forward {
            index..(index + most).min(count)
        } else {
            (index + 1).saturating_sub(most)..index + 1
        };
        self.want = (most * 2).min(TOGETHER);
        if self.single || self.decode(leaf, count, range).is_none() {
            // One of them is too long, or damaged: whoever comes to that one will see.
            self.single = true;
            self.decode_one(leaf, count, index)?;
        }
        self.step(index).then_some(())
    }

    /// Makes rooms for keys with this prefix. Neighbouring leaves mostly share theirs: then all is there.
    fn enter(&mut self, prefix: &[u8]) {
        self.entered = true;
        let room = self.prefixed.trailing_zeros() as usize * self.stride;
        if self.prefixed != 0
            && self.prefix_len == prefix.len()
            && self.keys.get(room..).is_some_and(|room| room.starts_with(prefix))
        {
            return;
        }
        (self.prefix_len, self.prefixed) = (prefix.len(), 0);
        self.stride = (prefix.len() + HINT + WIDE).next_multiple_of(ALIGN);
    }

    /// Decodes the entries of `range`, which are at most [`TOGETHER`], and no others are decoded then.
    fn decode(&mut self, leaf: &Node<'_>, count: usize, range: Range<usize>) -> Option<()> {
        let (hints, slots) = (leaf.hints(count)?.get(range.clone())?, leaf.slots(count)?.get(range.clone())?);
        self.len = 0;
        if self.prefixed != u8::MAX {
            self.write_prefix(leaf, range.clone())?;
        }
        let (bytes, prefix_len, all) = (leaf.bytes(), self.prefix_len, leaf.slots(count)?);
        for ((hint, slot), index) in hints.iter().zip(slots).zip(range.clone()) {
            let far = if self.forward { index + FAR } else { index.wrapping_sub(FAR) };
            if let Some(slot) = all.get(far) {
                let at = usize::from(u16::from_le_bytes(*slot));
                prefetch_line(bytes, at);
                prefetch_line(bytes, at + 64);
            }
            let (place, at) = locate(leaf, prefix_len, *slot)?;
            if place.key_len as usize > prefix_len + HINT + WIDE {
                return None;
            }
            let room = index % ROOMS;
            let begin = room * self.stride + prefix_len;
            let suffix = self.keys.get_mut(begin..)?.first_chunk_mut::<{ HINT + WIDE }>()?;
            // Lengths that the compiler knows: two stores in place of a call.
            suffix[..HINT].copy_from_slice(hint);
            if let Some(rest) = bytes.get(at..)?.first_chunk::<WIDE>() {
                suffix[HINT..].copy_from_slice(rest);
            } else {
                copy_short(&mut suffix[HINT..], bytes.get(at..)?);
            }
            self.places[room] = place;
        }
        (self.first, self.len) = (range.start, hints.len());
        Some(())
    }

    /// Decodes entry `index`, however long its key is.
    #[inline(never)]
    fn decode_one(&mut self, leaf: &Node<'_>, count: usize, index: usize) -> Option<()> {
        self.len = 0;
        let (hint, slot) = (leaf.hints(count)?.get(index)?, leaf.slots(count)?.get(index)?);
        let (place, at) = locate(leaf, self.prefix_len, *slot)?;
        let suffix_len = place.key_len as usize - self.prefix_len;
        let rest = leaf.bytes().get(at..at + suffix_len.saturating_sub(HINT))?;
        let prefix = self.prefix_of(leaf)?;
        // The key may reach into rooms behind its own.
        self.prefixed = 0;
        let room = index % ROOMS;
        let begin = room * self.stride;
        self.make_room(begin + place.key_len as usize);
        let (to_prefix, to) = self.keys.get_mut(begin..)?.split_at_mut_checked(prefix.len())?;
        let (to_hint, to_rest) = to.split_at_mut_checked(suffix_len.min(HINT))?;
        to_prefix.copy_from_slice(prefix);
        to_hint.copy_from_slice(&hint[..suffix_len.min(HINT)]);
        to_rest.get_mut(..rest.len())?.copy_from_slice(rest);
        self.places[room] = place;
        (self.first, self.len) = (index, 1);
        Some(())
    }

    /// Begins the rooms of the entries of `range` with the prefix.
    #[inline(never)]
    fn write_prefix(&mut self, leaf: &Node<'_>, range: Range<usize>) -> Option<()> {
        let prefix = self.prefix_of(leaf)?;
        self.make_room(ROOMS * self.stride);
        for room in range.map(|index| index % ROOMS) {
            if self.prefixed & (1 << room) == 0 {
                self.keys.get_mut(room * self.stride..)?.get_mut(..prefix.len())?.copy_from_slice(prefix);
                self.prefixed |= 1 << room;
            }
        }
        Some(())
    }

    /// The leaf's prefix, if it is still as long as when the leaf was entered: a mapped page may rot meanwhile.
    fn prefix_of<'n>(&self, leaf: &Node<'n>) -> Option<&'n [u8]> {
        leaf.prefix().filter(|prefix| prefix.len() == self.prefix_len)
    }

    /// Has at least so many bytes for keys.
    fn make_room(&mut self, bytes: usize) {
        if self.keys.len() < bytes {
            self.keys.resize(bytes, 0);
        }
    }
}

/// Copies what there is of `rest` where a page ends soon behind it.
#[cold]
fn copy_short(to: &mut [u8], rest: &[u8]) {
    to.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
}

/// What is known of the entry at `slot`, and where its key's bytes behind prefix and hint lie.
#[inline]
fn locate(leaf: &Node<'_>, prefix_len: usize, slot: [u8; 2]) -> Option<(Place, usize)> {
    let (head, value_len, at) = leaf.leaf_head(usize::from(u16::from_le_bytes(slot)))?;
    let suffix_len = head >> 1;
    let value_start = at + suffix_len.saturating_sub(HINT);
    let value_end = value_start + value_len;
    if value_end > leaf.bytes().len() {
        return None;
    }
    let place = Place {
        key_len: (prefix_len + suffix_len) as u32,
        value_start: value_start as u32,
        value_end: value_end as u32,
        has_word: head & 1 == 1,
    };
    Some((place, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Items, pack};
    use crate::word::Word;

    const PAGE: usize = 4096;

    /// A leaf of these entries, whose keys begin with `prefix`.
    fn leaf(prefix: &[u8], entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut items = Items::default();
        for (index, (key, value)) in entries.iter().enumerate() {
            items.insert_entry(index, key, value, word_of(index));
        }
        let (lower, upper) = (prefix.to_vec(), [prefix, &[u8::MAX]].concat());
        let packed = pack(&items, 0, PAGE, Some(&lower), Some(&upper), None).unwrap();
        assert_eq!(packed.len(), 1, "all fit one leaf");
        let bytes = items.build(&packed[0], 0, 0, PAGE).0;
        assert_eq!(Node::file(&bytes).prefix(), Some(prefix));
        bytes
    }

    /// Each fifth entry's value begins with a reference.
    fn word_of(index: usize) -> Option<Word> {
        index.is_multiple_of(5).then(|| Word::from_bits((1 << 40) | (index as u64 + 1)))
    }

    /// What a leaf that was just built has as an entry's value: for a reference, its number among them.
    fn stored(index: usize, value: &[u8]) -> Vec<u8> {
        let mut value = value.to_vec();
        if word_of(index).is_some() {
            value[..8].copy_from_slice(&(index as u64 / 5).to_le_bytes());
        }
        value
    }

    fn entries(prefix: usize, longest: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entry = |n: usize| {
            let mut key = vec![b'p'; prefix];
            key.push(n as u8);
            key.extend((0..n * 7 % (longest + 1)).map(|at| at as u8));
            (key, vec![n as u8; n * 11 % 40 + if word_of(n - 1).is_some() { 8 } else { 0 }])
        };
        (1..40).map(entry).collect()
    }

    /// Goes to entry `index` as a position does.
    fn go(batch: &mut LeafBatch, leaf: &Node<'_>, index: usize, forward: bool) -> Option<()> {
        let count = leaf.count();
        if !batch.step(index) {
            return batch.load(leaf, count, index, forward);
        }
        if forward && batch.is_low(index, count) {
            batch.ahead(leaf, count);
        }
        Some(())
    }

    /// Ways of all lengths up to 12 in one direction and then the other, all over a leaf whose last entry is `last`.
    fn stretches(last: usize) -> Vec<(usize, bool)> {
        let mut at = last / 2;
        let mut steps = vec![(at, true)];
        for turn in 0..150 {
            let (len, forward) = (1 + turn * 5 % 12, turn % 2 == 0 || at < 13);
            for _ in 0..len {
                let next = if forward { (at + 1).min(last) } else { at.saturating_sub(1) };
                if next != at {
                    steps.push((next, forward));
                }
                at = next;
            }
        }
        steps
    }

    #[test]
    fn entries_of_every_length_are_decoded_whichever_way_one_goes() {
        let mut batch = LeafBatch::default();
        for (prefix, longest) in [(0, 0), (0, 3), (3, 12), (40, 35), (2, 60), (100, 40)] {
            let entries = entries(prefix, longest);
            let bytes = leaf(&vec![b'p'; prefix], &entries);
            let node = Node::file(&bytes);
            let last = entries.len() - 1;
            batch.set(b"a key that was sought");
            assert_eq!(batch.key(), b"a key that was sought");
            // To the end and back; then two forward and one back.
            let there = (0..=last).map(|at| (at, true)).chain((0..last).rev().map(|at| (at, false)));
            let dance = (1..last - 1).flat_map(|at| [(at, true), (at + 1, true), (at, false)]);
            for (at, forward) in there.chain(dance).chain(stretches(last)) {
                go(&mut batch, &node, at, forward).unwrap();
                let (key, value) = &entries[at];
                assert_eq!(
                    (batch.key(), &bytes[batch.value()]),
                    (&key[..], &stored(at, value)[..]),
                    "{prefix} {longest} {at}"
                );
                let has_word = word_of(at).is_some();
                assert_eq!((batch.has_word(), batch.is_plain(at)), (has_word, !has_word), "{at}");
            }
            go(&mut batch, &node, last - 2, true).unwrap();
            batch.leave();
            assert_eq!(batch.key(), entries[last - 2].0, "the key stays");
            assert!(!batch.step(last - 2));
        }
    }

    #[test]
    fn a_prefix_that_rots_is_no_key() {
        let entries = entries(40, 60);
        let bytes = leaf(&[b'p'; 40], &entries);
        let longer = leaf(&[b'p'; 48], &self::entries(48, 60));
        for first in 0..entries.len() - 1 {
            let mut batch = LeafBatch::default();
            batch.set(b"");
            go(&mut batch, &Node::file(&bytes), first, true).unwrap();
            for index in first + 1..entries.len() {
                if !batch.step(index) {
                    let node = Node::file(&longer);
                    batch.prefixed = 0;
                    assert_eq!(batch.load(&node, node.count(), index, true), None, "{first} {index}");
                    break;
                }
            }
        }
    }

    #[test]
    fn an_entry_that_lies_outside_is_met_by_who_comes_to_it() {
        let entries = entries(3, 12);
        let whole = leaf(b"ppp", &entries);
        for bad in 0..entries.len() {
            let mut bytes = whole.clone();
            let slot = super::super::layout::HEADER + entries.len() * HINT + bad * 2;
            bytes[slot..slot + 2].copy_from_slice(&(PAGE as u16 - 1).to_le_bytes());
            let node = Node::file(&bytes);
            for forward in [true, false] {
                let mut batch = LeafBatch::default();
                batch.set(b"");
                let way = if forward { 0..bad } else { bad + 1..entries.len() };
                let mut way: Vec<usize> = way.collect();
                if !forward {
                    way.reverse();
                }
                let there = way.iter().map(|at| (*at, forward));
                let back = way.iter().rev().map(|at| (*at, !forward));
                for (at, forward) in there.clone().chain(back).chain(there) {
                    go(&mut batch, &node, at, forward).unwrap();
                    assert_eq!(batch.key(), entries[at].0, "{bad} {at}");
                }
                assert_eq!(go(&mut batch, &node, bad, forward), None, "{bad}");
            }
        }
    }
}
