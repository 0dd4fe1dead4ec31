//! Looking at every page of a database: what [`Db::check`](crate::Db::check) and [`Db::shape`](crate::Db::shape) share.
//!
//! The inspection sees one snapshot, and the free space as of the same moment; both are taken while the writer's gate
//! is held. If all of the snapshot is on file, the gate is let go of before the tables are walked, and writers wait
//! only for the free map and for subtrees that were cut off and are yet to be walked. Otherwise they wait to the end,
//! as a checkpoint would meanwhile give pages of the snapshot places that were free when it was taken. Every page of the file gets one bit: whoever claims a page that has
//! been claimed before has found a page used twice, and a page without claim at the end is lost.
//!
//! Damage is noted and walked around; recursion is bounded by the levels of a tree, which fall by one at each step.
#![forbid(unsafe_code)]

use super::shape::TableShape;
use super::shared::Mode;
use super::{Db, ensure_space};
use crate::checkpoint::catalog;
use crate::error::{Error, Place, Result};
use crate::extent::{pages_for, read_span};
use crate::free::{FreeSpace, Run, Subtree};
use crate::gate::Wait;
use crate::node::{Node, validate};
use crate::root::{TableState, TreeRoot};
use crate::txn::read::{Owner, ReadTxn};
use crate::value::Large;
use crate::walk::{Held, Store, Walk, damaged_node};
use crate::word::{Target, Word};
use bifold_page_source::{PageId, PageRef, PageSource, verify_page};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Faults that are listed; the rest is only counted.
const FAULTS_MAX: usize = 1000;
/// Children of a branch that are asked for ahead of the walk.
const AHEAD: usize = 64;
/// Bytes of a large value that are read at a time.
const PIECE: u64 = 4 << 20;

/// Something wrong that [`Db::check`](crate::Db::check) found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Fault {
    /// Where it lies; `None` for a page that is in memory only, or if no one place is wrong.
    pub place: Option<Place>,
    /// The table it belongs to; `None` for the catalog and for free space.
    pub table: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(table) = &self.table {
            write!(f, "table {table:?}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// What the file's pages are used for apart from the trees, in pages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pages {
    pub(super) head: u64,
    pub(super) file: u64,
    pub(super) free: u64,
    pub(super) free_map: u64,
    /// Reached on file by the snapshot's trees.
    pub(super) reached: u64,
}

/// One bit for each page of the file.
#[derive(Debug)]
struct Claims {
    bits: Vec<u64>,
    end: u64,
}

impl Claims {
    fn new(end: u64) -> Self {
        Self { bits: vec![0; end.div_ceil(64) as usize], end }
    }

    /// Claims a page; `false` if somebody has, or if the file has no such page.
    fn claim(&mut self, page: u64) -> bool {
        if page >= self.end {
            return false;
        }
        let (word, bit) = (&mut self.bits[(page / 64) as usize], 1 << (page % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// The runs of pages that nobody has claimed.
    fn unclaimed(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (at, word) in (0..).step_by(64).zip(&self.bits) {
            if *word == u64::MAX {
                continue;
            }
            for page in (at..(at + 64).min(self.end)).filter(|page| word & 1 << (page % 64) == 0) {
                match runs.last_mut() {
                    Some(last) if last.end() == page => last.len += 1,
                    _ => runs.push(Run::new(page, 1)),
                }
            }
        }
        runs
    }
}

/// What a page's parent says of it.
#[derive(Clone, Copy)]
struct Scope<'k> {
    level: u8,
    /// The separators around it.
    lower: &'k [u8],
    upper: Option<&'k [u8]>,
    /// The parent's birth: a child is never younger, as whoever changes it makes a new parent.
    birth: u64,
}

/// What was found below a page.
#[derive(Clone, Copy, Default)]
struct Below {
    entries: u64,
    extents: bool,
}

/// One look at a whole database.
pub(super) struct Inspection<'a, S: PageSource> {
    store: &'a Store<S>,
    /// Whether large values are read, and pages' checksums reckoned anew.
    thorough: bool,
    claims: Claims,
    /// Delta pages met.
    delta: HashSet<u32>,
    /// Tables found in the catalog.
    found: Option<BTreeMap<String, TreeRoot>>,
    shape: TableShape,
    /// Trees and free space are known completely, so that a page without claim is lost.
    complete: bool,
    pub(super) pages: Pages,
    /// Pages of trees and extents.
    pub(super) visited: u64,
    pub(super) catalog: TableShape,
    pub(super) tables: Vec<TableShape>,
    pub(super) faults: Vec<Fault>,
    pub(super) faults_omitted: u64,
}

impl<S: PageSource> Db<S> {
    /// Sees to it that readers see the newest commit.
    fn sync_for_readers(&self) -> Result<()> {
        if self.shared().mode == Mode::Durable { self.shared().sync_commits() } else { Ok(()) }
    }

    /// Looks at every page of the newest commit, and at the free space.
    pub(super) fn inspect(&self, thorough: bool) -> Result<Inspection<'_, S>> {
        let shared = self.shared();
        let mut writer = shared.gate.acquire(Wait::Ever)?;
        // A checkpoint under way has places that nothing refers to yet. And readers must be shown the newest commit: it
        // is what the free space is about.
        let finished = shared.finish_job(&mut writer, None).and_then(|()| self.sync_for_readers());
        let space = match (finished.and_then(|()| shared.check_poison()), ensure_space(shared, &mut writer)) {
            // After a failed write the books need not be right; nothing is written by them any more.
            (Err(_), _) => Ok(None),
            (Ok(()), Ok(())) => Ok(writer.space.as_ref()),
            (Ok(()), Err(error)) => Err(error),
        };
        let end = match &space {
            Ok(Some(space)) => space.end(),
            _ => shared.store.source.len_pages(),
        };
        let mut inspection = Inspection {
            store: &shared.store,
            thorough,
            claims: Claims::new(end),
            delta: HashSet::new(),
            found: None,
            shape: TableShape::default(),
            complete: matches!(space, Ok(Some(_))),
            pages: Pages::default(),
            visited: 0,
            catalog: TableShape::default(),
            tables: Vec::new(),
            faults: Vec::new(),
            faults_omitted: 0,
        };
        let head = crate::meta::head_pages(shared.store.page_size);
        let txn = ReadTxn::new(Owner::Borrowed(shared));
        let begun = inspection.sift(None, space).and_then(|space| match space.flatten() {
            Some(space) => inspection.space(space, head),
            None => Ok(()),
        });
        for run in writer.places_for_readers() {
            inspection.claim_run(run, "a page kept for a reader");
        }
        let in_delta = |(_, state): &(_, TableState)| matches!(state, TableState::Changed(_));
        if begun.is_ok() && txn.root().tables.iter().any(in_delta) {
            let walked = inspection.trees(&txn);
            shared.gate.release(writer);
            walked?;
        } else {
            shared.gate.release(writer);
            begun?;
            inspection.trees(&txn)?;
        }
        inspection.lost_pages();
        Ok(inspection)
    }
}

impl<'a, S: PageSource> Inspection<'a, S> {
    fn fault(&mut self, table: Option<&str>, place: Option<Place>, what: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { place, table: table.map(str::to_owned), what: what.into() });
        } else {
            self.faults_omitted += 1;
        }
    }

    /// Notes a fault of the page that `node` is.
    fn node_fault(&mut self, table: Option<&str>, node: &Node<'_>, what: impl Into<String>) {
        let place = PageId::new(node.own_number()).filter(|page| page.get() > 0).map(Place::Page);
        self.fault(table, place, what);
    }

    /// Turns damage into a fault, behind which nothing is known; other errors end the inspection.
    fn sift<T>(&mut self, table: Option<&str>, result: Result<T>) -> Result<Option<T>> {
        let (place, what) = match result {
            Ok(value) => return Ok(Some(value)),
            Err(Error::Corrupt { place, what }) => (Some(place), what),
            Err(Error::Internal(what)) => (None, what),
            Err(error) => return Err(error),
        };
        self.complete = false;
        self.fault(table, place, what);
        Ok(None)
    }

    /// Claims the pages that no tree of the snapshot refers to.
    fn space(&mut self, space: &FreeSpace, head: u64) -> Result<()> {
        self.pages.head = head;
        self.pages.file = space.end();
        self.pages.free = space.free_pages();
        self.pages.free_map = space.chain().iter().map(|run| run.len).sum();
        self.claim_run(Run::new(0, head), "the file's head");
        for run in space.chain() {
            self.claim_run(*run, "a page of the free map");
        }
        for run in space.free_runs() {
            self.claim_run(run, "a free page");
        }
        for run in space.withheld_runs() {
            self.claim_run(run, "a dropped page");
        }
        let mut cut: Vec<Subtree> = space.subtrees().copied().collect();
        while let Some(subtree) = cut.pop() {
            self.cut_subtree(subtree, &mut cut)?;
        }
        Ok(())
    }

    fn claim_run(&mut self, run: Run, what: &str) {
        for page in run.start..run.end() {
            if !self.claims.claim(page) {
                let place = PageId::new(page).map(Place::Page);
                self.fault(
                    None,
                    place,
                    format!("{what} is something else as well, or lies outside the file"),
                );
            }
        }
    }

    /// Claims the root of a subtree that was cut off, and notes what is below it.
    fn cut_subtree(&mut self, subtree: Subtree, cut: &mut Vec<Subtree>) -> Result<()> {
        let page = subtree.root.page();
        let extents = subtree.flags & 1 != 0;
        if !self.claims.claim(page.get()) {
            let what = "a page cut off is something else as well, or lies outside the file";
            self.fault(None, Some(Place::Page(page)), what);
            return Ok(());
        }
        if subtree.level == 0 && !extents {
            return Ok(());
        }
        let held = Walk::new(self.store, None).hold(Word::file(subtree.root));
        let Some(held) = self.sift(None, held)? else { return Ok(()) };
        let node = held.node();
        if node.level() != subtree.level {
            self.complete = false;
            self.node_fault(None, &node, "its level is not the one its parent expects");
            return Ok(());
        }
        for index in 0..node.count() {
            if node.is_branch() {
                let child = node.child(index).and_then(|word| PageRef::from_bits(word.bits()));
                let child = child.zip(node.extents_below(index));
                let child = child.ok_or_else(|| damaged_node(&node, "an entry lies outside it"));
                if let Some((root, below)) = self.sift(None, child)? {
                    let (level, flags) = (subtree.level - 1, u8::from(below));
                    cut.push(Subtree { root, level, flags, ..subtree });
                }
            } else if node.entry(index).is_some_and(|entry| entry.has_word)
                && let Some(large) = self.sift(None, Large::parse(&node, index))?
                && let Target::File(first) = large.word.target()
            {
                let (header, data) = pages_for(large.len, self.store.page_size);
                self.claim_run(Run::new(first.page().get(), header + data), "a page of a value cut off");
            }
        }
        Ok(())
    }

    /// Walks the catalog and every table of the snapshot.
    fn trees(&mut self, txn: &ReadTxn<'_, S>) -> Result<()> {
        let root = txn.root();
        self.found = Some(BTreeMap::new());
        self.catalog = self.tree(None, root.catalog, root.base)?;
        let mut tables = self.found.take().unwrap_or_default();
        for (name, state) in root.tables.iter() {
            match state {
                TableState::Dropped => drop(tables.remove(&**name)),
                TableState::Changed(changed) => drop(tables.insert(name.to_string(), *changed)),
                TableState::Clean(clean) => {
                    if self.complete && tables.get(&**name) != Some(clean) {
                        self.fault(Some(name), None, "what is known of it is not what the catalog says");
                    }
                }
            }
        }
        for (name, tree) in tables {
            let shape = self.tree(Some(&name), tree, root.base)?;
            self.tables.push(shape);
        }
        Ok(())
    }

    /// Walks one tree. `name` is `None` for the catalog.
    fn tree(&mut self, name: Option<&str>, tree: TreeRoot, birth: u64) -> Result<TableShape> {
        self.shape = TableShape {
            name: name.unwrap_or_default().to_owned(),
            page_size: self.store.page_size.bytes() as u64,
            ..TableShape::default()
        };
        if tree.word.is_null() {
            if tree.len != 0 || tree.height != 0 {
                self.fault(name, None, "it has entries but no root");
            }
            return Ok(std::mem::take(&mut self.shape));
        }
        self.shape.height = tree.height.saturating_add(1);
        let scope = Scope { level: tree.height, lower: &[], upper: None, birth };
        if let Some(below) = self.page(name, tree.word, scope)? {
            if below.entries != tree.len {
                let what = format!("it has {} entries, and its root says {}", below.entries, tree.len);
                self.fault(name, None, what);
            }
            if below.extents && !tree.extents {
                self.fault(name, None, "it has large values, and its root says that it has none");
            }
        }
        Ok(std::mem::take(&mut self.shape))
    }

    /// Walks the page that `word` names and all below it. `None` if not all of it could be seen.
    fn page(&mut self, table: Option<&str>, word: Word, scope: Scope<'_>) -> Result<Option<Below>> {
        let Some(held) = self.claim_page(table, word)? else { return Ok(None) };
        let node = held.node();
        self.visited += 1;
        let kind_fits = if scope.level == 0 { node.is_leaf() } else { node.is_branch() };
        if !kind_fits || node.level() != scope.level {
            self.complete = false;
            self.node_fault(table, &node, "its level is not the one its parent expects");
            return Ok(None);
        }
        if node.birth() > scope.birth {
            self.node_fault(table, &node, "it is younger than what refers to it");
        }
        let prefix = node.prefix().unwrap_or_default();
        let shared = scope.lower.starts_with(prefix) && scope.upper.is_some_and(|k| k.starts_with(prefix));
        if !prefix.is_empty() && !shared {
            self.node_fault(table, &node, "its prefix is not what its separators share");
        }
        if scope.level == 0 { self.leaf(table, &node, scope) } else { self.branch(table, &node, scope) }
    }

    /// Claims a page of a tree, and keeps it to be looked at.
    fn claim_page(&mut self, table: Option<&str>, word: Word) -> Result<Option<Held<'a, S>>> {
        let store = self.store;
        let on_file = Walk::new(store, None).on_file(word);
        let Some(on_file) = self.sift(table, on_file)? else { return Ok(None) };
        if let Some(page) = on_file {
            if !self.claims.claim(page.page().get()) {
                let what = "a page in use is something else as well, or lies outside the file";
                self.fault(table, Some(Place::Page(page.page())), what);
                self.complete = false;
                return Ok(None);
            }
            self.pages.reached += 1;
        } else if let Target::Delta(id) = word.target()
            && !self.delta.insert(id)
        {
            self.fault(table, None, "a page in memory is reached twice");
            return Ok(None);
        }
        let held = Walk::new(store, None).hold(word).and_then(|held| match on_file {
            Some(page) if self.thorough => {
                verify_page(store.file_id, page, held.bytes())?;
                match validate(held.bytes()) {
                    Ok(()) => Ok(held),
                    Err(what) => Err(Error::page(page.page(), what)),
                }
            }
            _ => Ok(held),
        });
        self.sift(table, held)
    }

    /// Looks at a key of a page: `key` must lie in `scope`, and behind `before`.
    fn key(
        &mut self,
        table: Option<&str>,
        node: &Node<'_>,
        key: &[u8],
        before: Option<&[u8]>,
        scope: &Scope<'_>,
    ) {
        if before.is_some_and(|before| before >= key) {
            self.node_fault(table, node, "its keys are not in order");
        }
        if key < scope.lower || scope.upper.is_some_and(|upper| key >= upper) {
            self.node_fault(table, node, "a key of it lies beyond its separators");
        }
    }

    fn leaf(&mut self, table: Option<&str>, node: &Node<'_>, scope: Scope<'_>) -> Result<Option<Below>> {
        let mut below = Below { entries: node.count() as u64, extents: false };
        self.shape.leaf_pages += 1;
        self.shape.leaf_bytes_used += node.used() as u64;
        self.shape.entries += below.entries;
        let (mut before, mut key) = (Vec::new(), Vec::new());
        for index in 0..node.count() {
            key.clear();
            let whole = node.push_key(index, &mut key).and_then(|()| node.entry(index));
            let whole = whole.ok_or_else(|| damaged_node(node, "an entry lies outside it"));
            let Some(entry) = self.sift(table, whole)? else { return Ok(None) };
            self.key(table, node, &key, (index > 0).then_some(&before[..]), &scope);
            std::mem::swap(&mut before, &mut key);
            if self.found.is_some() {
                self.catalog_entry(node, index, &before)?;
            } else if entry.has_word {
                below.extents = true;
                self.large_value(table, node, index)?;
            }
        }
        Ok(Some(below))
    }

    /// Notes the table that entry `index` of a leaf of the catalog describes.
    fn catalog_entry(&mut self, node: &Node<'_>, index: usize, key: &[u8]) -> Result<()> {
        let parse = || {
            let broken = || damaged_node(node, "a table's entry makes no sense");
            let name = std::str::from_utf8(key).map_err(|_| broken())?;
            let entry = node.entry(index).ok_or_else(broken)?;
            let (word, fields) = node.value_word(&entry).ok_or_else(broken)?;
            Ok((name.to_owned(), catalog::decode(word, fields)?.ok_or_else(broken)?))
        };
        let parsed = parse();
        if let Some((name, root)) = self.sift(None, parsed)?
            && let Some(found) = &mut self.found
        {
            found.insert(name, root);
        }
        Ok(())
    }

    fn large_value(&mut self, table: Option<&str>, node: &Node<'_>, index: usize) -> Result<()> {
        let Some(large) = self.sift(table, Large::parse(node, index))? else { return Ok(()) };
        self.shape.large_values += 1;
        self.shape.large_value_bytes += large.len;
        if large.birth > node.birth() {
            self.node_fault(table, node, "a large value is younger than the leaf that refers to it");
        }
        let store = self.store;
        let on_file = Walk::new(store, None).on_file(large.word);
        match self.sift(table, on_file)? {
            Some(Some(first)) => self.extent(table, first, large.len),
            Some(None) => {
                let held = Walk::new(store, None).hold(large.word);
                if let Some(held) = self.sift(table, held)?
                    && held.bytes().len() as u64 != large.len
                {
                    self.node_fault(table, node, "a large value in memory is not as long as its leaf says");
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Claims an extent and reads all of it.
    fn extent(&mut self, table: Option<&str>, first: PageRef, len: u64) -> Result<()> {
        let store = self.store;
        let (header, data) = pages_for(len, store.page_size);
        let run = Run::new(first.page().get(), header.saturating_add(data));
        if run.end() > self.claims.end {
            self.complete = false;
            self.fault(table, Some(Place::Page(first.page())), "its extent lies beyond the end of the file");
            return Ok(());
        }
        for page in run.start..run.end() {
            if !self.claims.claim(page) {
                let place = PageId::new(page).map(Place::Page);
                self.fault(table, place, "a page of a large value is something else as well");
            }
        }
        self.pages.reached += run.len;
        self.visited += run.len;
        self.shape.extent_pages += run.len;
        let mut at = 0;
        while self.thorough {
            let until = (at + PIECE).min(len);
            let span = read_span(&store.source, store.file_id, store.page_size, first, len, at..until);
            // The extent's pages are known, whatever they hold.
            let complete = self.complete;
            let read = self.sift(table, span.map(drop))?;
            self.complete = complete;
            if read.is_none() || until == len {
                break;
            }
            at = until;
        }
        Ok(())
    }

    fn branch(&mut self, table: Option<&str>, node: &Node<'_>, scope: Scope<'_>) -> Result<Option<Below>> {
        self.shape.branch_pages += 1;
        self.shape.branch_bytes_used += node.used() as u64;
        let mut keys = Vec::with_capacity(node.count());
        for index in 0..node.count() {
            let key = node.key(index).ok_or_else(|| damaged_node(node, "a separator lies outside it"));
            let Some(key) = self.sift(table, key)? else { return Ok(None) };
            if index > 0 {
                let before = (index > 1).then(|| keys.last()).flatten().map_or(scope.lower, Vec::as_slice);
                self.key(table, node, &key, Some(before), &scope);
            }
            keys.push(key);
        }
        let mut below = Some(Below::default());
        for index in 0..node.count() {
            if index % AHEAD == 0 {
                self.prefetch(node, index);
            }
            let says = node.child(index).zip(node.count_below(index)).zip(node.extents_below(index));
            let says = says.ok_or_else(|| damaged_node(node, "a reference lies outside it"));
            let Some(((child, entries), extents)) = self.sift(table, says)? else { return Ok(None) };
            let lower = if index > 0 { &keys[index][..] } else { scope.lower };
            let upper = keys.get(index + 1).map(Vec::as_slice).or(scope.upper);
            let inner = Scope { level: scope.level - 1, lower, upper, birth: node.birth() };
            let seen = self.page(table, child, inner)?;
            if let Some(seen) = seen {
                if seen.entries != entries {
                    let what = format!("child {index} has {} entries and not {entries}", seen.entries);
                    self.node_fault(table, node, what);
                }
                if seen.extents && !extents {
                    let what = format!("child {index} has large values, which it does not say");
                    self.node_fault(table, node, what);
                }
            }
            below = below.zip(seen).map(|(all, seen)| Below {
                entries: all.entries.saturating_add(seen.entries),
                extents: all.extents || seen.extents,
            });
        }
        Ok(below)
    }

    fn prefetch(&self, node: &Node<'_>, from: usize) {
        let children = (from..node.count().min(from + AHEAD)).filter_map(|index| node.child(index));
        let pages: Vec<PageRef> = children
            .filter_map(|word| match word.target() {
                Target::File(page) => Some(page),
                _ => None,
            })
            .collect();
        self.store.source.prefetch(&pages);
    }

    /// Pages that nobody has claimed. Where something could not be read, they may hang below it.
    fn lost_pages(&mut self) {
        if !self.complete {
            return;
        }
        for run in self.claims.unclaimed() {
            let place = PageId::new(run.start).map(Place::Page);
            let what = format!("{} pages from here on are neither in use nor free", run.len);
            self.fault(None, place, what);
        }
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
