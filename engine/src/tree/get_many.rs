//! Many lookups at once: all keys go down together, level by level, so that what a level waits for is waited for
//! once.
//!
//! The keys are sorted; each page then has one run of them, and its children have runs of that run. A level's pages
//! on file are asked for in one call, which overlaps their misses.
#![forbid(unsafe_code)]

use super::access::Access;
use super::gap::{check_branch, check_leaf, child_at, child_for, search};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::value::Value;
use crate::word::{Target, Word};
use bifold_page_source::{Error as SourceError, PageRef, PageSource};
use std::ops::Range;

/// A page, and the run of sorted keys that lie in its range.
#[derive(Clone, Debug)]
struct Run {
    word: Word,
    keys: Range<usize>,
}

/// A key's entry in a leaf.
#[derive(Clone, Copy, Debug)]
struct Hit {
    /// The run whose page is the leaf.
    run: usize,
    /// The key's place among the caller's.
    key: usize,
    /// The entry's number in the leaf.
    index: usize,
}

/// The values of many keys, in the order of the keys. Keys may repeat.
///
/// # Errors
/// I/O errors and damage; there is no partial answer.
pub(crate) fn get_many<'t, S, A, K>(access: &A, keys: &[K]) -> Result<Vec<Option<Value<'t, S>>>>
where
    S: PageSource,
    A: Access<'t, S>,
    K: AsRef<[u8]>,
{
    let mut values: Vec<_> = keys.iter().map(|_| None).collect();
    let tree = access.root()?;
    if tree.word.is_null() || keys.is_empty() {
        return Ok(values);
    }
    // The slices are taken once: no code of the caller's runs within a walk.
    let sorted = sort(keys);
    let mut runs = vec![Run { word: tree.word, keys: 0..keys.len() }];
    for level in (1..=tree.height).rev() {
        let mut below = Vec::with_capacity(runs.len());
        view_runs(access, &runs, |run, node| part(&sorted, &runs[run], node, level, &mut below))?;
        below.sort_unstable_by_key(|run| run.keys.start);
        runs = below;
    }
    let mut hits = Vec::with_capacity(keys.len());
    view_runs(access, &runs, |run, node| find(&sorted, run, &runs[run], node, &mut hits))?;
    hits.sort_unstable_by_key(|hit| hit.run);
    for group in hits.chunk_by(|a, b| a.run == b.run) {
        let leaf = access.with(|walk| walk.hold(runs[group[0].run].word))?;
        for hit in group {
            values[hit.key] = Some(Value::of_entry(access, leaf.clone(), hit.index)?);
        }
    }
    Ok(values)
}

/// The keys in order, each with its place among the caller's.
fn sort<K: AsRef<[u8]>>(keys: &[K]) -> Vec<(&[u8], usize)> {
    let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
    // By their first bytes as numbers, which order as they do, and by all only among equal ones.
    let mut order: Vec<(u64, usize)> = keys.iter().map(|key| head(key)).zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys[a.1].cmp(keys[b.1])));
    order.into_iter().map(|(_, place)| (keys[place], place)).collect()
}

/// A key's first eight bytes, padded with zeros, as a number.
fn head(key: &[u8]) -> u64 {
    if let Some(bytes) = key.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}

/// Shows the page of each run to `f`: those of the delta one by one, those on file in one call, in any order.
fn view_runs<'t, S, A>(
    access: &A,
    runs: &[Run],
    mut f: impl FnMut(usize, &Node<'_>) -> Result<()>,
) -> Result<()>
where
    S: PageSource,
    A: Access<'t, S>,
{
    let mut pages: Vec<PageRef> = Vec::with_capacity(runs.len());
    let mut of_page: Vec<usize> = Vec::with_capacity(runs.len());
    access.with(|walk| {
        for (run, Run { word, .. }) in runs.iter().enumerate() {
            let place = match word.target() {
                Target::File(page) => Some(page),
                _ => walk.on_file(*word)?,
            };
            if let Some(page) = place {
                pages.push(page);
                of_page.push(run);
            } else {
                f(run, &walk.node(*word)?)?;
            }
        }
        Ok::<_, Error>(())
    })?;
    if pages.is_empty() {
        return Ok(());
    }
    let mut failed = None;
    let outcome = access.store().source.view_each(&pages, &mut |at, bytes| {
        f(of_page[at], &Node::file(bytes)).map_err(|error| {
            failed = Some(error);
            SourceError::Corrupt { page: pages[at].page(), what: "a lookup could not go on from it" }
        })
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(outcome?),
    }
}

/// Parts a run among the children of its branch.
fn part(keys: &[(&[u8], usize)], run: &Run, node: &Node<'_>, level: u8, below: &mut Vec<Run>) -> Result<()> {
    check_branch(node, run.word, level)?;
    let mut last = None;
    for place in run.keys.clone() {
        let key = keys[place].0;
        // Keys ascend: the next one's child is the same unless it reaches the next separator.
        let child = match last {
            Some(child) if node.is_surely_below(key, child + 1) => child,
            _ => child_for(node, run.word, key)?,
        };
        match below.last_mut() {
            Some(open) if last == Some(child) => open.keys.end = place + 1,
            _ => below.push(Run { word: child_at(node, run.word, child)?, keys: place..place + 1 }),
        }
        last = Some(child);
    }
    Ok(())
}

/// Finds the keys of run number `at` in its leaf.
fn find(keys: &[(&[u8], usize)], at: usize, run: &Run, node: &Node<'_>, hits: &mut Vec<Hit>) -> Result<()> {
    check_leaf(node, run.word)?;
    for (bytes, key) in &keys[run.keys.clone()] {
        if let Ok(index) = search(node, run.word, bytes)? {
            hits.push(Hit { run: at, key: *key, index });
        }
    }
    Ok(())
}
