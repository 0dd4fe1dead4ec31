//! A place in a tree that can move: the branches above it by reference, the leaf kept, the key in a buffer.
//!
//! A step within a leaf touches nothing but the leaf. A step out of it views the branches above again, from the
//! lowest up, until one has a next child, and goes down from there. Whatever goes wrong on the way, the position
//! stays failed with that error until it is sought anew, so no subtree is ever skipped.
#![forbid(unsafe_code)]

use super::access::{Access, Alive};
use super::gap::{Gap, OUTSIDE, check_branch, check_leaf, child_at, child_for, search};
use super::read_ahead::ReadAhead;
use crate::error::{Error, Result};
use crate::node::LeafBatch;
use crate::walk::{Held, Walk, damaged, damaged_node};
use crate::word::Word;
use bifold_page_source::{PageRef, PageSource};
use std::ops::Range;

/// One branch on the way down, and the child taken.
#[derive(Clone, Copy, Debug)]
struct Step {
    word: Word,
    index: usize,
}

/// Where a position stands. All but the first two refer to its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stand {
    /// Nowhere yet: the next entry is the first, the previous one the last.
    Fresh,
    /// Before the first entry.
    Start,
    /// In front of where the key is or would be.
    Before,
    /// On the key's entry.
    On,
    /// Behind where the key is or was.
    After,
    /// Behind the last entry.
    End,
}

/// An entry of the leaf that a position stands on.
pub(crate) struct Current<'p, 't, S: PageSource> {
    /// The whole key.
    pub(crate) key: &'p [u8],
    /// The leaf.
    pub(crate) leaf: &'p Held<'t, S>,
    /// The entry's number in the leaf.
    pub(crate) index: usize,
    /// Whether the value begins with a reference.
    pub(crate) has_word: bool,
    /// The value, as it lies in the leaf.
    pub(crate) value: &'p [u8],
    /// Where it lies there.
    pub(crate) range: Range<usize>,
}

/// A place in a tree, which moves by entries.
pub(crate) struct Position<'t, S: PageSource> {
    /// The branches above the leaf, the root first.
    path: Vec<Step>,
    /// None if the tree is empty or the position fresh.
    leaf: Option<Held<'t, S>>,
    /// Entries of the leaf.
    count: usize,
    /// On an entry, its number in the leaf; in a gap, that of the entry behind.
    index: usize,
    stand: Stand,
    /// The key; and on an entry that entry, with some beside it.
    batch: LeafBatch,
    /// The access's version when the place was found.
    version: u64,
    failed: Option<Error>,
    ahead: ReadAhead,
    _alive: Alive<'t>,
}

impl<'t, S: PageSource> Position<'t, S> {
    /// A position that stands nowhere yet.
    pub(crate) fn new<A: Access<'t, S>>(access: &A) -> Self {
        Self {
            path: Vec::new(),
            leaf: None,
            count: 0,
            index: 0,
            stand: Stand::Fresh,
            batch: LeafBatch::default(),
            version: 0,
            failed: None,
            ahead: ReadAhead::new(),
            _alive: access.alive(),
        }
    }

    /// Whether it has neither been sought nor moved.
    pub(crate) fn is_fresh(&self) -> bool {
        self.stand == Stand::Fresh
    }

    /// The key of the entry it stands on. After a change of the tree the entry may be gone.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        if self.stand == Stand::On && self.failed.is_none() { Some(self.batch.key()) } else { None }
    }

    /// The entry it stands on.
    #[inline]
    pub(crate) fn current(&self) -> Option<Current<'_, 't, S>> {
        let leaf = self.leaf.as_ref()?;
        if self.stand != Stand::On {
            return None;
        }
        let range = self.batch.value();
        let value = leaf.bytes().get(range.clone())?;
        let (key, has_word) = (self.batch.key(), self.batch.has_word());
        Some(Current { key, leaf, index: self.index, has_word, value, range })
    }

    /// Key and value of the entry it stands on after a [`step`](Self::step_next), the value as it lies in the leaf.
    #[inline]
    pub(crate) fn entry(&self) -> Option<(&[u8], &[u8])> {
        let value = self.leaf.as_ref()?.bytes().get(self.batch.value())?;
        Some((self.batch.key(), value))
    }

    /// Moves to the next entry if that is decoded and its value lies in the leaf. If not, nothing has changed.
    #[inline]
    pub(crate) fn step_next<A: Access<'t, S>>(&mut self, access: &A) -> bool {
        self.batch.is_plain(self.index + 1) && self.next_decoded(access)
    }

    /// As [`step_next`](Self::step_next), to the previous entry.
    #[inline]
    pub(crate) fn step_prev<A: Access<'t, S>>(&mut self, access: &A) -> bool {
        let index = self.index.wrapping_sub(1);
        self.batch.is_plain(index) && self.step(access, index)
    }

    /// Whether it stands on an entry whose value begins with a reference.
    #[inline]
    pub(crate) fn on_word(&self) -> bool {
        self.stand == Stand::On && self.batch.has_word() && self.failed.is_none()
    }

    /// Fails the position: every step gives `error` until it is sought anew.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failed = Some(error.clone());
        self.leaf = None;
        self.batch.leave();
    }

    /// Goes to a gap, also if the position has failed. Whether the gap's key has an entry.
    ///
    /// # Errors
    /// I/O errors and damage, as for every method here; the access's own.
    pub(crate) fn seek<A: Access<'t, S>>(&mut self, access: &A, gap: Gap<'_>) -> Result<bool> {
        self.failed = None;
        self.ahead = ReadAhead::new();
        let (stand, key) = match gap {
            Gap::Start => (Stand::Start, &[][..]),
            Gap::Before(key) => (Stand::Before, key),
            Gap::After(key) => (Stand::After, key),
            Gap::End => (Stand::End, &[][..]),
        };
        self.stand = stand;
        self.batch.set(key);
        let outcome = self.find(access, gap);
        self.keep(outcome)
    }

    /// Finds its place again if the tree has changed since.
    pub(crate) fn refresh<A: Access<'t, S>>(&mut self, access: &A) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.version == access.version() || self.stand == Stand::Fresh {
            return Ok(());
        }
        let outcome = self.find_again(access);
        self.keep(outcome)
    }

    /// Moves to the next entry; `false` if there is none, and then the position is behind the last.
    #[inline]
    pub(crate) fn next<A: Access<'t, S>>(&mut self, access: &A) -> Result<bool> {
        if self.next_decoded(access) { Ok(true) } else { self.load_next(access) }
    }

    #[inline]
    fn next_decoded<A: Access<'t, S>>(&mut self, access: &A) -> bool {
        let done = self.step(access, self.index + 1);
        if done && self.batch.is_low(self.index, self.count) {
            self.decode_ahead();
        }
        done
    }

    /// Moves to the previous entry; `false` if there is none, and then the position is before the first.
    #[inline]
    pub(crate) fn prev<A: Access<'t, S>>(&mut self, access: &A) -> Result<bool> {
        if self.step(access, self.index.wrapping_sub(1)) { Ok(true) } else { self.load_prev(access) }
    }

    /// Goes to entry `index` of the leaf if nothing stands in the way: the position is on an entry, has not failed, and
    /// is up to date, and that entry is decoded.
    #[inline]
    fn step<A: Access<'t, S>>(&mut self, access: &A, index: usize) -> bool {
        let done = self.version == access.version() && self.batch.step(index);
        if done {
            debug_assert!(
                self.stand == Stand::On && self.failed.is_none(),
                "nothing is decoded off an entry"
            );
            self.index = index;
        }
        done
    }

    #[inline(never)]
    fn decode_ahead(&mut self) {
        if let Some(leaf) = &self.leaf {
            self.batch.ahead(&leaf.node(), self.count);
        }
    }

    #[inline(never)]
    fn load_next<A: Access<'t, S>>(&mut self, access: &A) -> Result<bool> {
        self.ready(access, Gap::Start)?;
        let index = self.index + usize::from(self.stand == Stand::On);
        if index < self.count { self.load(index, true) } else { self.leave_forward(access) }
    }

    #[inline(never)]
    fn load_prev<A: Access<'t, S>>(&mut self, access: &A) -> Result<bool> {
        self.ready(access, Gap::End)?;
        if self.index > 0 { self.load(self.index - 1, false) } else { self.leave_backward(access) }
    }

    /// Before each step: the place must be found, and up to date.
    fn ready<A: Access<'t, S>>(&mut self, access: &A, from: Gap<'_>) -> Result<()> {
        if self.stand == Stand::Fresh && self.failed.is_none() {
            self.seek(access, from)?;
        }
        self.refresh(access)
    }

    fn leave_forward<A: Access<'t, S>>(&mut self, access: &A) -> Result<bool> {
        while self.cross(access, true)? {
            if self.count > 0 {
                return self.load(0, true);
            }
        }
        self.index = self.count;
        self.batch.leave();
        if self.stand == Stand::On {
            self.stand = Stand::After;
        }
        Ok(false)
    }

    fn leave_backward<A: Access<'t, S>>(&mut self, access: &A) -> Result<bool> {
        while self.cross(access, false)? {
            if self.count > 0 {
                return self.load(self.count - 1, false);
            }
        }
        self.index = 0;
        self.batch.leave();
        if self.stand == Stand::On {
            self.stand = Stand::Before;
        }
        Ok(false)
    }

    /// Stands on entry `index` of the leaf, from where it will go on in this direction.
    fn load(&mut self, index: usize, forward: bool) -> Result<bool> {
        let Some(leaf) = &self.leaf else { return Ok(false) };
        let node = leaf.node();
        if self.batch.load(&node, self.count, index, forward).is_some() {
            (self.index, self.stand) = (index, Stand::On);
            return Ok(true);
        }
        let error = damaged_node(&node, OUTSIDE);
        self.fail(&error);
        Err(error)
    }

    fn keep<T>(&mut self, outcome: Result<T>) -> Result<T> {
        outcome.inspect_err(|error| self.fail(error))
    }

    /// Finds its place by its key.
    #[cold]
    fn find_again<A: Access<'t, S>>(&mut self, access: &A) -> Result<()> {
        self.ahead = ReadAhead::new();
        let batch = std::mem::take(&mut self.batch);
        let key = batch.key();
        let gap = match self.stand {
            Stand::Fresh | Stand::Start => Gap::Start,
            Stand::Before | Stand::On => Gap::Before(key),
            Stand::After => Gap::After(key),
            Stand::End => Gap::End,
        };
        let found = self.find(access, gap);
        self.batch = batch;
        self.batch.leave();
        let found = found?;
        if self.stand == Stand::On {
            if found {
                return self.load(self.index, true).map(drop);
            }
            self.stand = Stand::Before;
        }
        Ok(())
    }

    /// Descends to `gap`. Whether its key has an entry.
    fn find<A: Access<'t, S>>(&mut self, access: &A, gap: Gap<'_>) -> Result<bool> {
        self.version = access.version();
        let tree = access.root()?;
        self.path.clear();
        self.leaf = None;
        (self.count, self.index) = (0, 0);
        if tree.word.is_null() {
            return Ok(false);
        }
        let path = &mut self.path;
        let (leaf, word) = access.with(|walk| descend(walk, path, tree.word, tree.height, gap))?;
        let node = leaf.node();
        let place = match gap {
            Gap::Start => Err(0),
            Gap::Before(key) => search(&node, word, key)?,
            Gap::After(key) => search(&node, word, key)?.map(|index| index + 1),
            Gap::End => Err(node.count()),
        };
        self.enter(leaf);
        let (Ok(index) | Err(index)) = place;
        self.index = index;
        Ok(place.is_ok())
    }

    fn enter(&mut self, leaf: Held<'t, S>) {
        self.count = leaf.node().count();
        self.batch.leave();
        self.leaf = Some(leaf);
    }

    /// Goes to the gap at the near end of the neighbouring leaf; `false` if there is none. The key stays, and where
    /// the position stands is for the caller to say.
    fn cross<A: Access<'t, S>>(&mut self, access: &A, forward: bool) -> Result<bool> {
        let (path, ahead) = (&mut self.path, &mut self.ahead);
        let outcome = access.with(|walk| neighbour(walk, path, ahead, forward));
        let Some((leaf, coming)) = self.keep(outcome)? else { return Ok(false) };
        if !coming.is_empty() {
            access.store().source.prefetch(&coming);
        }
        self.enter(leaf);
        self.index = if forward { 0 } else { self.count };
        Ok(true)
    }
}

/// Goes down from `word`, a page of `level`, to the leaf that holds `gap`, noting the way.
fn descend<'t, S: PageSource>(
    walk: &mut Walk<'_, 't, S>,
    path: &mut Vec<Step>,
    mut word: Word,
    level: u8,
    gap: Gap<'_>,
) -> Result<(Held<'t, S>, Word)> {
    for level in (1..=level).rev() {
        let node = walk.node(word)?;
        check_branch(&node, word, level)?;
        let index = match gap {
            Gap::Start => 0,
            Gap::Before(key) | Gap::After(key) => child_for(&node, word, key)?,
            Gap::End => node.count().checked_sub(1).ok_or_else(|| damaged(word, "it has no children"))?,
        };
        let child = child_at(&node, word, index)?;
        path.push(Step { word, index });
        word = child;
    }
    let leaf = walk.hold(word)?;
    check_leaf(&leaf.node(), word)?;
    Ok((leaf, word))
}

/// The leaf beside the one that `path` leads to, and the leaves that should be read ahead.
fn neighbour<'t, S: PageSource>(
    walk: &mut Walk<'_, 't, S>,
    path: &mut Vec<Step>,
    ahead: &mut ReadAhead,
    forward: bool,
) -> Result<Option<(Held<'t, S>, Vec<PageRef>)>> {
    let height = path.len();
    for depth in (0..height).rev() {
        let Step { word, index } = path[depth];
        let node = walk.node(word)?;
        let level = (height - depth) as u8;
        check_branch(&node, word, level)?;
        let next = if forward { Some(index + 1) } else { index.checked_sub(1) };
        let Some(next) = next.filter(|next| *next < node.count()) else { continue };
        let child = child_at(&node, word, next)?;
        let behind =
            if forward { node.child(next + 1) } else { next.checked_sub(1).and_then(|at| node.child(at)) };
        if level == 1
            && let Some(behind) = behind
        {
            walk.soon(behind);
        }
        path[depth].index = next;
        path.truncate(depth + 1);
        let near = if forward { Gap::Start } else { Gap::End };
        let (leaf, _) = descend(walk, path, child, level - 1, near)?;
        let mut coming = Vec::new();
        if ahead.crossed(forward, level == 1) {
            ask_ahead(walk, path, ahead, &mut coming)?;
        }
        return Ok(Some((leaf, coming)));
    }
    Ok(None)
}

/// Adds the leaves to come: those that the branch above names, and where they are too few, those of the branch beside
/// it. Whatever is wrong with that one is said when the position comes to it.
fn ask_ahead<S: PageSource>(
    walk: &mut Walk<'_, '_, S>,
    path: &[Step],
    ahead: &mut ReadAhead,
    pages: &mut Vec<PageRef>,
) -> Result<()> {
    let Some((parent, above)) = path.split_last() else { return Ok(()) };
    let goes_on = ahead.ask(&walk.node(parent.word)?, parent.index, pages);
    let Some(grandparent) = above.last().filter(|_| goes_on) else { return Ok(()) };
    let beside = ahead.beside(&walk.node(grandparent.word)?, grandparent.index);
    if let Some(branch) = beside.filter(|branch| ahead.is_due(*branch, pages))
        && let Ok(node) = walk.node(branch)
        && check_branch(&node, branch, 1).is_ok()
    {
        ahead.ask_beside(&node, pages);
    }
    Ok(())
}
