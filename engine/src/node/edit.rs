//! Changing a node in place: only ever a page of the delta that the open transaction made itself.
#![forbid(unsafe_code)]

use super::layout::{
    AT_COUNT, AT_DEAD, AT_HEAP, AT_PREFIX, BRANCH_FIXED, HEADER, HINT, KIND_LEAF, LEAF_FIXED,
    branch_entry_len, get_u16, get_u64, hint_of, kind_of, leaf_entry_len, put_u16, put_u64, put_varint,
};
use super::read::{Node, count_bits};
use crate::word::Word;
use std::sync::atomic::AtomicU64;

/// Why an edit was not made; the node is then as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EditError {
    /// There is no room: the node must be split.
    Full,
    /// The node's bytes make no sense.
    Damaged,
}

type Result<T> = std::result::Result<T, EditError>;

/// A node that may be changed, with the references beside it.
pub(crate) struct NodeMut<'a> {
    bytes: &'a mut [u8],
    words: &'a mut Vec<AtomicU64>,
}

impl<'a> NodeMut<'a> {
    /// The node in `bytes`, whose references are in `words`.
    pub(crate) fn new(bytes: &'a mut [u8], words: &'a mut Vec<AtomicU64>) -> Self {
        Self { bytes, words }
    }

    /// The node, to be read.
    pub(crate) fn node(&self) -> Node<'_> {
        Node::delta(self.bytes, self.words)
    }

    /// After the bytes were copied from a page on file: takes the references out of them.
    pub(crate) fn adopt_file_words(&mut self) -> Result<()> {
        debug_assert!(self.words.is_empty());
        let count = self.node().count();
        if kind_of(self.bytes) == KIND_LEAF {
            for index in 0..count {
                let node = self.node();
                let entry = node.entry(index).ok_or(EditError::Damaged)?;
                if entry.has_word {
                    if entry.value.len() < 8 {
                        return Err(EditError::Damaged);
                    }
                    let at = entry.value.start;
                    let stored = get_u64(self.bytes, at);
                    put_u64(self.bytes, at, self.words.len() as u64);
                    self.words.push(AtomicU64::new(stored));
                }
            }
            return Ok(());
        }
        let at = HEADER + count * LEAF_FIXED;
        let area = self.bytes.get_mut(at..at + count * 8).ok_or(EditError::Damaged)?;
        for word in area.as_chunks_mut::<8>().0 {
            self.words.push(AtomicU64::new(u64::from_le_bytes(*word)));
            *word = [0; 8];
        }
        Ok(())
    }

    /// Inserts an entry into a leaf. `value` begins with eight bytes for the reference if there is one.
    pub(crate) fn insert(
        &mut self,
        index: usize,
        key: &[u8],
        value: &[u8],
        word: Option<Word>,
    ) -> Result<()> {
        let suffix = key.get(self.node().prefix_len()..).ok_or(EditError::Damaged)?;
        let need = leaf_entry_len(suffix.len(), value.len());
        self.make_room(need + LEAF_FIXED)?;
        let at = self.take_heap(need);
        self.write_leaf_entry(at, suffix, value, word);
        self.open_fixed(index, suffix, at);
        Ok(())
    }

    /// Gives entry `index` of a leaf another value.
    pub(crate) fn replace(
        &mut self,
        index: usize,
        key: &[u8],
        value: &[u8],
        word: Option<Word>,
    ) -> Result<()> {
        let entry = self.node().entry(index).ok_or(EditError::Damaged)?;
        let same_place = entry.value.clone();
        if word.is_none() && !entry.has_word && same_place.len() == value.len() {
            self.bytes[same_place].copy_from_slice(value);
            return Ok(());
        }
        if let Some(word) = word.filter(|_| entry.has_word && same_place.len() == value.len()) {
            let place = get_u64(self.bytes, same_place.start) as usize;
            *self.words.get_mut(place).ok_or(EditError::Damaged)?.get_mut() = word.bits();
            self.bytes[same_place.start + 8..same_place.end].copy_from_slice(&value[8..]);
            return Ok(());
        }
        let suffix = key.get(self.node().prefix_len()..).ok_or(EditError::Damaged)?;
        let old = leaf_entry_len(entry.suffix_len, entry.value.len());
        let need = leaf_entry_len(suffix.len(), value.len());
        if self.gap() + self.dead() + old < need {
            return Err(EditError::Full);
        }
        self.close_fixed(index, old)?;
        self.insert(index, key, value, word)
    }

    /// Removes entry `index` of a leaf.
    pub(crate) fn remove(&mut self, index: usize) -> Result<()> {
        let entry = self.node().entry(index).ok_or(EditError::Damaged)?;
        self.close_fixed(index, leaf_entry_len(entry.suffix_len, entry.value.len()))
    }

    /// Inserts a child into a branch, behind its first.
    pub(crate) fn insert_child(
        &mut self,
        index: usize,
        key: &[u8],
        word: Word,
        count: u64,
        extents: bool,
    ) -> Result<()> {
        debug_assert!(index > 0, "the first child has no key");
        let suffix = key.get(self.node().prefix_len()..).ok_or(EditError::Damaged)?;
        let need = branch_entry_len(suffix.len());
        self.make_room(need + BRANCH_FIXED)?;
        let at = self.take_heap(need);
        let rest = put_varint(self.bytes, at, suffix.len());
        let tail = suffix.get(HINT..).unwrap_or(&[]);
        self.bytes[rest..rest + tail.len()].copy_from_slice(tail);
        self.open_fixed(index, suffix, at);
        self.words.insert(index, AtomicU64::new(word.bits()));
        self.set_count(index, count, extents)
    }

    /// Makes child `index` refer to another page.
    pub(crate) fn set_child(&mut self, index: usize, word: Word) -> Result<()> {
        *self.words.get_mut(index).ok_or(EditError::Damaged)?.get_mut() = word.bits();
        Ok(())
    }

    /// Says how many entries lie below child `index` and whether extents may.
    pub(crate) fn set_count(&mut self, index: usize, count: u64, extents: bool) -> Result<()> {
        let entries = self.node().count();
        let at = HEADER + entries * (LEAF_FIXED + 8) + index * 8;
        if index >= entries || at + 8 > self.bytes.len() {
            return Err(EditError::Damaged);
        }
        put_u64(self.bytes, at, count_bits(count, extents));
        Ok(())
    }

    /// Adds `change` to the count below child `index`, and marks it if `extents`.
    pub(crate) fn add_count(&mut self, index: usize, change: i64, extents: bool) -> Result<()> {
        let node = self.node();
        let count = node.count_below(index).ok_or(EditError::Damaged)?;
        let extents = extents || node.extents_below(index).ok_or(EditError::Damaged)?;
        let count = count.checked_add_signed(change).ok_or(EditError::Damaged)?;
        self.set_count(index, count, extents)
    }

    /// Bytes between the arrays and the heap.
    fn gap(&self) -> usize {
        let node = self.node();
        let arrays = HEADER + node.count() * node.fixed();
        self.heap_top().saturating_sub(arrays)
    }

    fn dead(&self) -> usize {
        get_u16(self.bytes, AT_DEAD)
    }

    fn heap_top(&self) -> usize {
        self.bytes.len().saturating_sub(get_u16(self.bytes, AT_PREFIX) + get_u16(self.bytes, AT_HEAP))
    }

    fn make_room(&mut self, need: usize) -> Result<()> {
        if self.gap() >= need {
            return Ok(());
        }
        if self.gap() + self.dead() < need {
            return Err(EditError::Full);
        }
        self.compact()?;
        if self.gap() >= need { Ok(()) } else { Err(EditError::Damaged) }
    }

    /// Takes `need` bytes off the gap and returns where they begin.
    fn take_heap(&mut self, need: usize) -> usize {
        let heap = get_u16(self.bytes, AT_HEAP) + need;
        put_u16(self.bytes, AT_HEAP, heap);
        self.heap_top()
    }

    fn write_leaf_entry(&mut self, at: usize, suffix: &[u8], value: &[u8], word: Option<Word>) {
        let at = put_varint(self.bytes, at, suffix.len() * 2 + usize::from(word.is_some()));
        let at = put_varint(self.bytes, at, value.len());
        let rest = suffix.get(HINT..).unwrap_or(&[]);
        let value_at = at + rest.len();
        self.bytes[at..value_at].copy_from_slice(rest);
        self.bytes[value_at..value_at + value.len()].copy_from_slice(value);
        if let Some(word) = word {
            put_u64(self.bytes, value_at, self.words.len() as u64);
            self.words.push(AtomicU64::new(word.bits()));
        }
    }

    /// The widths of the arrays between header and heap.
    fn widths(&self) -> &'static [usize] {
        if kind_of(self.bytes) == KIND_LEAF { &[HINT, 2] } else { &[HINT, 2, 8, 8] }
    }

    /// Opens a place at `index` in each array and fills hint and slot.
    fn open_fixed(&mut self, index: usize, suffix: &[u8], slot: usize) {
        let count = self.node().count();
        let widths = self.widths();
        let mut before: usize = widths.iter().sum();
        for width in widths.iter().rev() {
            before -= width;
            let old = HEADER + before * count;
            let new = HEADER + before * (count + 1);
            self.bytes.copy_within(old + index * width..old + count * width, new + (index + 1) * width);
            self.bytes.copy_within(old..old + index * width, new);
        }
        put_u16(self.bytes, AT_COUNT, count + 1);
        let at = HEADER + index * HINT;
        self.bytes[at..at + HINT].copy_from_slice(&hint_of(suffix).to_be_bytes());
        put_u16(self.bytes, HEADER + (count + 1) * HINT + index * 2, slot);
    }

    /// Closes the place at `index` of a leaf's arrays and gives its `freed` bytes of heap up.
    fn close_fixed(&mut self, index: usize, freed: usize) -> Result<()> {
        let count = self.node().count();
        if index >= count || kind_of(self.bytes) != KIND_LEAF {
            return Err(EditError::Damaged);
        }
        let slot = self.node().slot(count, index).ok_or(EditError::Damaged)?;
        let mut before = 0;
        for width in self.widths() {
            let old = HEADER + before * count;
            let new = HEADER + before * (count - 1);
            self.bytes.copy_within(old..old + index * width, new);
            self.bytes.copy_within(old + (index + 1) * width..old + count * width, new + index * width);
            before += width;
        }
        put_u16(self.bytes, AT_COUNT, count - 1);
        if slot == self.heap_top() {
            put_u16(self.bytes, AT_HEAP, get_u16(self.bytes, AT_HEAP) - freed);
        } else {
            put_u16(self.bytes, AT_DEAD, self.dead() + freed);
        }
        Ok(())
    }

    /// Moves the live entries together, so that all free bytes are one gap.
    fn compact(&mut self) -> Result<()> {
        let old = self.bytes.to_vec();
        let old_words = std::mem::take(self.words);
        let node = Node::delta(&old, &old_words);
        let is_leaf = node.is_leaf();
        let count = node.count();
        let mut top = self.bytes.len() - node.prefix_len();
        for index in 0..count {
            let entry = node.entry(index).ok_or(EditError::Damaged)?;
            let slot = node.slot(count, index).ok_or(EditError::Damaged)?;
            let len = if is_leaf {
                leaf_entry_len(entry.suffix_len, entry.value.len())
            } else {
                branch_entry_len(entry.suffix_len)
            };
            top -= len;
            self.bytes[top..top + len].copy_from_slice(&old[slot..slot + len]);
            put_u16(self.bytes, HEADER + count * HINT + index * 2, top);
            if let Some((word, _)) = is_leaf.then(|| node.value_word(&entry)).flatten() {
                let at = top + entry.value.start - slot;
                put_u64(self.bytes, at, self.words.len() as u64);
                self.words.push(AtomicU64::new(word.bits()));
            }
        }
        let heap = self.bytes.len() - node.prefix_len() - top;
        put_u16(self.bytes, AT_HEAP, heap);
        put_u16(self.bytes, AT_DEAD, 0);
        if !is_leaf {
            *self.words = old_words;
        }
        Ok(())
    }

    /// Turns the image into what goes to the file: references back into the bytes, unused bytes zero.
    /// `resolve` turns a word into one that may be stored; `None` is reported as damage.
    pub(crate) fn settle(&mut self, resolve: &mut dyn FnMut(Word) -> Option<Word>) -> Result<()> {
        if self.dead() > 0 {
            self.compact()?;
        }
        let gap = self.heap_top() - self.gap()..self.heap_top();
        self.bytes[gap].fill(0);
        let count = self.node().count();
        if kind_of(self.bytes) != KIND_LEAF {
            for index in 0..count {
                let word = self.node().child(index).and_then(&mut *resolve).ok_or(EditError::Damaged)?;
                put_u64(self.bytes, HEADER + count * LEAF_FIXED + index * 8, word.bits());
            }
            return Ok(());
        }
        for index in 0..count {
            let node = self.node();
            let entry = node.entry(index).ok_or(EditError::Damaged)?;
            if entry.has_word {
                let (word, _) = node.value_word(&entry).ok_or(EditError::Damaged)?;
                let word = resolve(word).ok_or(EditError::Damaged)?;
                put_u64(self.bytes, entry.value.start, word.bits());
            }
        }
        Ok(())
    }
}
