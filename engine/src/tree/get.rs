//! Single answers from a tree: an entry by key or by number, and numbers of entries, all in one descent.
//!
//! Branches count the entries below each child, so an entry's number (its rank) and the length of a range cost
//! O(log n) pages, whatever lies between.
#![forbid(unsafe_code)]

use super::gap::{Gap, OUTSIDE, check_branch, check_leaf, child_at, child_for, search};
use crate::error::Result;
use crate::root::TreeRoot;
use crate::walk::{Held, Walk, damaged, damaged_node};
use crate::word::Word;
use bifold_page_source::PageSource;

const COUNTS: &str = "its counts of entries do not add up";

/// A leaf, kept, and the number of an entry in it.
pub(crate) type Found<'t, S> = (Held<'t, S>, usize);

/// The entry of `key`.
///
/// # Errors
/// I/O errors and damage, as for every function here.
#[inline]
pub(crate) fn get<'t, S: PageSource>(
    walk: &mut Walk<'_, 't, S>,
    tree: &TreeRoot,
    key: &[u8],
) -> Result<Option<Found<'t, S>>> {
    let Some(leaf) = walk.leaf_for(tree, key)? else { return Ok(None) };
    let node = leaf.node();
    match node.search(key) {
        Some(Ok(index)) => Ok(Some((leaf, index))),
        Some(Err(_)) => Ok(None),
        None => Err(damaged_node(&node, OUTSIDE)),
    }
}

/// The first entry.
pub(crate) fn first<'t, S: PageSource>(
    walk: &mut Walk<'_, 't, S>,
    tree: &TreeRoot,
) -> Result<Option<Found<'t, S>>> {
    select(walk, tree, 0, Counting::Forward)
}

/// The last entry.
pub(crate) fn last<'t, S: PageSource>(
    walk: &mut Walk<'_, 't, S>,
    tree: &TreeRoot,
) -> Result<Option<Found<'t, S>>> {
    select(walk, tree, 0, Counting::Backward)
}

/// Entry number `n`, counted from 0; `None` if the tree has no more than `n`.
pub(crate) fn nth<'t, S: PageSource>(
    walk: &mut Walk<'_, 't, S>,
    tree: &TreeRoot,
    n: u64,
) -> Result<Option<Found<'t, S>>> {
    select(walk, tree, n, Counting::Forward)
}

/// From which end entries are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counting {
    Forward,
    Backward,
}

impl Counting {
    /// Place `step` of `count`, seen from this end.
    fn place(self, step: usize, count: usize) -> usize {
        if self == Self::Forward { step } else { count - 1 - step }
    }
}

fn select<'t, S: PageSource>(
    walk: &mut Walk<'_, 't, S>,
    tree: &TreeRoot,
    mut n: u64,
    counting: Counting,
) -> Result<Option<Found<'t, S>>> {
    if tree.word.is_null() || n >= tree.len {
        return Ok(None);
    }
    let mut word = tree.word;
    'descent: for level in (1..=tree.height).rev() {
        let node = walk.node(word)?;
        check_branch(&node, word, level)?;
        let count = node.count();
        for step in 0..count {
            let index = counting.place(step, count);
            let below = node.count_below(index).ok_or_else(|| damaged(word, OUTSIDE))?;
            if n < below {
                word = child_at(&node, word, index)?;
                continue 'descent;
            }
            n -= below;
        }
        return Err(damaged(word, COUNTS));
    }
    let leaf = walk.hold(word)?;
    check_leaf(&leaf.node(), word)?;
    let count = leaf.node().count();
    match usize::try_from(n) {
        Ok(n) if n < count => Ok(Some((leaf, counting.place(n, count)))),
        _ => Err(damaged(word, COUNTS)),
    }
}

/// How many entries lie before `gap`.
pub(crate) fn rank<S: PageSource>(walk: &mut Walk<'_, '_, S>, tree: &TreeRoot, gap: Gap<'_>) -> Result<u64> {
    let (key, behind) = match gap {
        Gap::Start => return Ok(0),
        Gap::Before(key) => (key, 0),
        Gap::After(key) => (key, 1),
        Gap::End => return Ok(tree.len),
    };
    if tree.word.is_null() {
        return Ok(0);
    }
    let mut rank = 0u64;
    let mut word = tree.word;
    for level in (1..=tree.height).rev() {
        let node = walk.node(word)?;
        check_branch(&node, word, level)?;
        let index = child_for(&node, word, key)?;
        for before in 0..index {
            let below = node.count_below(before);
            rank = add(rank, below.ok_or_else(|| damaged(word, OUTSIDE))?, word)?;
        }
        word = child_at(&node, word, index)?;
    }
    let node = walk.node(word)?;
    check_leaf(&node, word)?;
    let in_leaf = match search(&node, word, key)? {
        Ok(index) => index + behind,
        Err(index) => index,
    };
    let rank = add(rank, in_leaf as u64, word)?;
    if rank > tree.len { Err(damaged(tree.word, COUNTS)) } else { Ok(rank) }
}

fn add(a: u64, b: u64, word: Word) -> Result<u64> {
    a.checked_add(b).ok_or_else(|| damaged(word, COUNTS))
}

/// How many entries lie between two gaps; 0 if `lower` is behind `upper`.
pub(crate) fn count_range<S: PageSource>(
    walk: &mut Walk<'_, '_, S>,
    tree: &TreeRoot,
    lower: Gap<'_>,
    upper: Gap<'_>,
) -> Result<u64> {
    let upper = rank(walk, tree, upper)?;
    if upper == 0 {
        return Ok(0);
    }
    Ok(upper.saturating_sub(rank(walk, tree, lower)?))
}
