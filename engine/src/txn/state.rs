//! The state of the open write transaction, and the steps that its public methods are made of.
#![forbid(unsafe_code)]

use super::log_ops::{LogBuffer, LogMark};
use super::reuse::{Looked, OwnPlaces};
use super::writer::Writer;
use crate::checkpoint::catalog;
use crate::checkpoint::write_value_at;
use crate::db::shared::{Mode, Shared};
use crate::error::{Error, Result};
use crate::free::Run;
use crate::node::{inline_max, key_max};
use crate::root::{Root, TableState, TreeRoot};
use crate::tree::change::{Changes, TreeEdit};
use crate::value::Large;
use crate::walk::{Store, Walk, damaged_node};
use crate::word::Word;
use bifold_page_source::{PageId, PageRef, PageSource};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The longest value: 4 GiB less one byte.
pub(crate) const VALUE_MAX: u64 = u32::MAX as u64;
/// Values longer than this go to extents on file at once; shorter ones that do not fit a leaf wait in the delta.
pub(crate) const EARLY_VALUE: usize = 64 * 1024;

/// The number of the next transaction, of whatever database.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A table that the transaction has opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenTable {
    pub(crate) name: Arc<str>,
    /// `None` once it is dropped.
    pub(crate) root: Option<TreeRoot>,
    pub(crate) changed: bool,
    /// A rollback went back to before it was opened. Its number is never given to another.
    stale: bool,
}

/// What a savepoint goes back to.
#[derive(Clone, Debug)]
pub(super) struct SavepointState {
    id: u64,
    /// Pages made before it.
    pub(super) made: u32,
    /// Drops noted before it.
    pub(super) dropped: usize,
    log: LogMark,
    pub(super) tables: Vec<OpenTable>,
    by_name: HashMap<Arc<str>, usize>,
}

/// Everything an open write transaction owns.
#[derive(Debug)]
pub(crate) struct WriteState {
    pub(crate) writer: Box<Writer>,
    pub(crate) changes: Changes,
    pub(crate) tables: Vec<OpenTable>,
    by_name: HashMap<Arc<str>, usize>,
    pub(crate) log: LogBuffer,
    /// What this transaction wrote to the file: extents and spilled pages.
    pub(crate) early: OwnPlaces,
    /// What a rollback has undone of it, and what bulk loads have taken that have not ended: guards may show it.
    pub(crate) undone: Vec<Run>,
    pub(super) looked: Looked,
    pub(super) savepoints: Vec<SavepointState>,
    next_savepoint: u64,
    /// Which transaction of this process this is.
    pub(crate) number: u64,
    /// Recovery: what was committed once is not too large now.
    pub(crate) unbounded: bool,
    /// A call failed half-way.
    pub(crate) failed: bool,
    /// A call is under way; if that is so at the end, a panic came through it.
    pub(super) within: bool,
    /// The newest commit: where this transaction starts from.
    pub(crate) base: Arc<Root>,
}

impl WriteState {
    /// A transaction on the newest commit.
    pub(crate) fn new<S: PageSource>(shared: &Shared<S>, mut writer: Box<Writer>) -> Self {
        let max = if shared.mode == Mode::Ephemeral { 0 } else { shared.limits.log_bytes as usize };
        shared.guards.reset();
        let changes = Changes::new(writer.newest.base, std::mem::take(&mut writer.spare_pages));
        Self {
            base: Arc::clone(&writer.newest),
            writer,
            changes,
            tables: Vec::new(),
            by_name: HashMap::new(),
            log: LogBuffer::new(max),
            early: OwnPlaces::default(),
            undone: Vec::new(),
            looked: Looked::default(),
            savepoints: Vec::new(),
            next_savepoint: 0,
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            unbounded: false,
            failed: false,
            within: false,
        }
    }

    /// The transaction's number for a table, if the table is there.
    pub(crate) fn find_table<S: PageSource>(
        &mut self,
        store: &Store<S>,
        name: &str,
    ) -> Result<Option<usize>> {
        if let Some(&number) = self.by_name.get(name) {
            return Ok(self.tables[number].root.is_some().then_some(number));
        }
        match lookup_table(store, &self.base, name)? {
            Some(root) => Ok(Some(self.add_table(name, root, false))),
            None => Ok(None),
        }
    }

    fn add_table(&mut self, name: &str, root: TreeRoot, changed: bool) -> usize {
        let name: Arc<str> = Arc::from(name);
        let number = self.tables.len();
        self.by_name.insert(Arc::clone(&name), number);
        self.tables.push(OpenTable { name, root: Some(root), changed, stale: false });
        number
    }

    /// Makes a table that is not there.
    pub(crate) fn create_table<S: PageSource>(&mut self, store: &Store<S>, name: &str) -> Result<usize> {
        let (len, max) = (name.len(), key_max(store.page_size));
        if len > max {
            return Err(Error::KeyTooLong { len, max });
        }
        let number = self.add_table(name, TreeRoot::EMPTY, true);
        self.log.fill_table(number, name);
        Ok(number)
    }

    /// Drops a table with all its entries.
    pub(crate) fn drop_table<S: PageSource>(&mut self, store: &Store<S>, number: usize) -> Result<()> {
        let root = self.root(number)?;
        let name = Arc::clone(&self.tables[number].name);
        if !root.word.is_null() {
            self.edit(store).drop_subtree(root.word, root.height, root.extents)?;
        }
        self.changes.version += 1;
        let table = &mut self.tables[number];
        (table.root, table.changed) = (None, true);
        self.log.drop_table(&name);
        Ok(())
    }

    /// Gives a table a name that no table has. Its tree stays as it is: only the catalog will say something else.
    pub(crate) fn rename_table<S: PageSource>(
        &mut self,
        store: &Store<S>,
        number: usize,
        new: &str,
    ) -> Result<()> {
        let (len, max) = (new.len(), key_max(store.page_size));
        if len > max {
            return Err(Error::KeyTooLong { len, max });
        }
        let root = self.root(number)?;
        let name = Arc::clone(&self.tables[number].name);
        self.changes.version += 1;
        let table = &mut self.tables[number];
        (table.root, table.changed) = (None, true);
        // Behind all others, so that it counts and not what bore the name before.
        self.add_table(new, root, true);
        self.log.rename_table(&name, new);
        Ok(())
    }

    /// The names of the tables opened or made, and whether each is there.
    pub(crate) fn known_tables(&self) -> impl Iterator<Item = (&Arc<str>, &OpenTable)> {
        self.by_name.iter().map(|(name, number)| (name, &self.tables[*number]))
    }

    /// The root of an open table.
    pub(crate) fn root(&self, number: usize) -> Result<TreeRoot> {
        let table = self.tables.get(number).filter(|t| !t.stale).ok_or(Error::SavepointInvalid)?;
        table.root.ok_or_else(|| Error::NoSuchTable(Arc::clone(&table.name)))
    }

    /// The means to change trees.
    pub(crate) fn edit<'a, S>(&'a mut self, store: &'a Store<S>) -> TreeEdit<'a, S> {
        TreeEdit { store, descriptors: &mut self.writer.descriptors, changes: &mut self.changes }
    }

    /// A walk that sees the transaction's own pages.
    pub(crate) fn walk<'t, S: PageSource>(&self, store: &'t Store<S>) -> Walk<'_, 't, S> {
        Walk::new(store, Some(&self.changes.pages))
    }

    pub(crate) fn set_root(&mut self, number: usize, root: TreeRoot) {
        let table = &mut self.tables[number];
        (table.root, table.changed) = (Some(root), true);
    }

    /// Inserts or replaces; whether the key was there.
    pub(crate) fn insert<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        number: usize,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool> {
        let store = &shared.store;
        let early = if value.len() > EARLY_VALUE { Some(self.write_early(shared, value)?) } else { None };
        // After that: writing a value may have made a checkpoint, and roots are elsewhere.
        let mut root = self.root(number)?;
        let name = Arc::clone(&self.tables[number].name);
        self.log.table(number, &name);
        let replaced = if key.len() + value.len() <= inline_max(store.page_size) {
            self.log.put(key, value);
            self.edit(store).insert(&mut root, key, value, None)?
        } else {
            let word = if let Some(reference) = early {
                self.log.extent(key, reference, value.len() as u64, self.changes.birth);
                Word::file(reference)
            } else {
                self.log.put(key, value);
                Word::delta(self.edit(store).add_value(value)?)
            };
            let payload = Large::payload(value.len() as u64, self.changes.birth);
            self.edit(store).insert(&mut root, key, &payload, Some(word))?
        };
        self.set_root(number, root);
        self.check_size(shared)?;
        Ok(replaced)
    }

    /// Inserts a value that lies in an extent already: recovery's part of [`insert`](Self::insert).
    pub(crate) fn insert_extent<S: PageSource>(
        &mut self,
        store: &Store<S>,
        number: usize,
        key: &[u8],
        first: PageRef,
        fields: (u64, u64),
    ) -> Result<()> {
        let mut root = self.root(number)?;
        let payload = Large::payload(fields.0, fields.1);
        self.edit(store).insert(&mut root, key, &payload, Some(Word::file(first)))?;
        self.set_root(number, root);
        Ok(())
    }

    /// Writes a large value to a free extent at once.
    fn write_early<S: PageSource>(&mut self, shared: &Shared<S>, value: &[u8]) -> Result<PageRef> {
        let (header, data) = crate::extent::pages_for(value.len() as u64, shared.store.page_size);
        self.reclaim(shared)?;
        let run = self.with_room(shared, |state| state.take_extent(shared, header + data))?;
        self.early.add_newest(run)?;
        let first = PageId::new(run.start).ok_or(Error::Internal("a place beyond the largest page"))?;
        write_value_at(shared, first, self.changes.birth, value).inspect_err(|error| shared.poison(error))
    }

    /// Removes; whether the key was there.
    pub(crate) fn remove<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        number: usize,
        key: &[u8],
    ) -> Result<bool> {
        let mut root = self.root(number)?;
        let removed = self.edit(&shared.store).remove(&mut root, key)?;
        if removed {
            let name = Arc::clone(&self.tables[number].name);
            self.log.table(number, &name);
            self.log.delete(key);
            self.set_root(number, root);
            self.check_size(shared)?;
        }
        Ok(removed)
    }

    /// Removes `from <= key < to`; how many there were.
    pub(crate) fn remove_range<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        number: usize,
        from: Option<&[u8]>,
        to: Option<&[u8]>,
    ) -> Result<u64> {
        let mut root = self.root(number)?;
        let removed = self.edit(&shared.store).delete_range(&mut root, from, to)?;
        self.set_root(number, root);
        if removed > 0 {
            let name = Arc::clone(&self.tables[number].name);
            self.log.table(number, &name);
            self.log.delete_range(from, to);
        }
        self.check_size(shared)?;
        Ok(removed)
    }

    /// After a change: what does not fit the delta goes to the file.
    pub(super) fn check_size<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        let images = shared.store.slab.image_bytes();
        let needed = images + self.changes.pages.bytes() + self.log.len() as u64;
        if needed > shared.limits.delta_bytes && !self.unbounded { self.spill(shared) } else { Ok(()) }
    }

    /// Notes the state now; returns the savepoint's id.
    pub(crate) fn savepoint(&mut self) -> u64 {
        let id = self.next_savepoint;
        self.next_savepoint += 1;
        let made = self.changes.pages.mark();
        self.changes.pages.freeze(made);
        self.early.push_savepoint();
        self.savepoints.push(SavepointState {
            id,
            made,
            dropped: self.changes.dropped.len(),
            log: self.log.mark(),
            tables: self.tables.clone(),
            by_name: self.by_name.clone(),
        });
        id
    }

    /// Goes back to a savepoint, which stays.
    pub(crate) fn rollback_to<S: PageSource>(&mut self, store: &Store<S>, id: u64) -> Result<()> {
        let at = self.savepoints.iter().position(|s| s.id == id).ok_or(Error::SavepointInvalid)?;
        self.savepoints.truncate(at + 1);
        let state = self.savepoints[at].clone();
        self.changes.pages.rollback(&mut self.writer.descriptors.ids, &store.slab, state.made);
        self.changes.pages.freeze(state.made);
        self.changes.dropped.truncate(state.dropped);
        self.changes.version += 1;
        self.looked.truncate(state.dropped);
        self.undone.extend(self.early.rollback(at + 1));
        self.log.rollback(state.log);
        let opened_since = self.tables.drain(state.tables.len()..);
        let stale = opened_since.map(|t| OpenTable { root: None, changed: false, stale: true, ..t });
        let tables = state.tables.into_iter().chain(stale).collect();
        (self.tables, self.by_name) = (tables, state.by_name);
        Ok(())
    }

    /// Gives all that the transaction made back.
    pub(crate) fn abort<S: PageSource>(&mut self, store: &Store<S>) -> Result<()> {
        self.changes.pages.freeze(0);
        self.changes.pages.rollback(&mut self.writer.descriptors.ids, &store.slab, 0);
        self.writer.spare_pages = std::mem::take(&mut self.changes.pages);
        let runs = self.early.take().into_iter().chain(std::mem::take(&mut self.undone));
        for run in runs {
            self.writer.space()?.give_back(run)?;
        }
        Ok(())
    }
}

/// The root of a table as `root` has it.
pub(crate) fn lookup_table<S: PageSource>(
    store: &Store<S>,
    root: &Root,
    name: &str,
) -> Result<Option<TreeRoot>> {
    match root.tables.get(name) {
        Some(TableState::Clean(tree) | TableState::Changed(tree)) => return Ok(Some(tree)),
        Some(TableState::Dropped) => return Ok(None),
        None => {}
    }
    let Some(leaf) = Walk::new(store, None).leaf_for(&root.catalog, name.as_bytes())? else {
        return Ok(None);
    };
    let node = leaf.node();
    let broken = || damaged_node(&node, "an entry lies outside it");
    let Ok(index) = node.search(name.as_bytes()).ok_or_else(broken)? else { return Ok(None) };
    let entry = node.entry(index).ok_or_else(broken)?;
    let (word, fields) = node.value_word(&entry).ok_or_else(broken)?;
    let tree = catalog::decode(word, fields)?;
    Ok(Some(tree.ok_or_else(|| damaged_node(&node, "a table's entry makes no sense"))?))
}
