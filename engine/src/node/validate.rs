//! The structure of a page, checked once when it first comes from the file: lengths, offsets, order, kinds.
//!
//! Afterwards readers skip the checks of order; they never skip those of bounds.
#![forbid(unsafe_code)]

use super::layout::{
    AT_DEAD, AT_HEAP, HEADER, HINT, KIND_BRANCH, KIND_EXTENT, KIND_FREE_MAP, KIND_LEAF, branch_entry_len,
    get_u16, kind_of, leaf_entry_len, level_of,
};
use super::read::{Entry, Node};
use crate::word::Target;
use std::cmp::Ordering;

/// Checks a page of any kind; the error says what is wrong.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), &'static str> {
    match kind_of(bytes) {
        KIND_LEAF if level_of(bytes) == 0 => validate_node(bytes),
        KIND_BRANCH if level_of(bytes) > 0 => validate_node(bytes),
        KIND_LEAF | KIND_BRANCH => Err("its level does not fit its kind"),
        KIND_EXTENT | KIND_FREE_MAP => Ok(()),
        _ => Err("it is of no known kind"),
    }
}

fn validate_node(bytes: &[u8]) -> Result<(), &'static str> {
    let node = Node::file(bytes);
    let count = node.count();
    let heap = get_u16(bytes, AT_HEAP);
    let total = HEADER + count * node.fixed() + heap + node.prefix_len();
    if total > bytes.len() || get_u16(bytes, AT_DEAD) > heap {
        return Err("its entries do not fit it");
    }
    if node.is_branch() && count == 0 {
        return Err("it is a branch without children");
    }
    let heap_start = bytes.len() - node.prefix_len() - heap;
    let heap_end = bytes.len() - node.prefix_len();
    let mut live = 0;
    let mut before: Option<Entry<'_>> = None;
    for index in 0..count {
        let slot = node.slot(count, index).ok_or("a slot lies outside it")?;
        let entry = node.entry(index).ok_or("an entry lies outside it")?;
        if slot < heap_start || entry.value.end > heap_end {
            return Err("an entry lies outside its heap");
        }
        if entry.suffix_len < HINT && entry.hint.to_be_bytes()[entry.suffix_len..].iter().any(|b| *b != 0) {
            return Err("a key's hint is longer than the key");
        }
        let len = if node.is_leaf() {
            leaf_entry_len(entry.suffix_len, entry.value.len())
        } else {
            branch_entry_len(entry.suffix_len)
        };
        if entry.value.end - slot != len {
            return Err("an entry's lengths are not written the one way they may be");
        }
        live += len;
        if before.is_some_and(|b| order(&b, &entry) != Ordering::Less) {
            return Err("its keys are not in order");
        }
        validate_reference(&node, index, &entry)?;
        before = Some(entry);
    }
    if live + get_u16(bytes, AT_DEAD) != heap {
        return Err("its heap is not what its entries take");
    }
    Ok(())
}

fn validate_reference(node: &Node<'_>, index: usize, entry: &Entry<'_>) -> Result<(), &'static str> {
    let word = if node.is_branch() {
        if index == 0 && entry.suffix_len != 0 {
            return Err("a branch's first key is not empty");
        }
        node.count_below(index).ok_or("a count lies outside it")?;
        node.child(index).ok_or("a reference lies outside it")?
    } else if entry.has_word {
        node.value_word(entry).ok_or("a reference lies outside it")?.0
    } else {
        return Ok(());
    };
    match word.target() {
        Target::File(_) => Ok(()),
        // An empty table has no root.
        Target::Null if node.is_leaf() => Ok(()),
        _ => Err("a reference leads nowhere"),
    }
}

/// How two keys of one node compare.
fn order(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    a.hint.cmp(&b.hint).then_with(|| {
        if a.suffix_len < HINT || b.suffix_len < HINT {
            a.suffix_len.min(HINT).cmp(&b.suffix_len.min(HINT))
        } else {
            a.rest.cmp(b.rest)
        }
    })
}
