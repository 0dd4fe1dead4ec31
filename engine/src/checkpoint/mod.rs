//! Checkpoints: what the delta holds goes to the file, a new meta page names it, and the log may be forgotten.
//!
//! Order is everything: pages, sync, meta, sync; only then does memory follow. Until the meta is written nothing on
//! file refers to what was written before it, so a crash or an error leaves the last checkpoint as it was. Space is
//! taken, and the file grown, before the first page is written: a full disk is met while the checkpoint can still be
//! refused.

pub(crate) mod catalog;
mod free_map;
mod layout;
mod stages;
pub(crate) mod write;

pub(crate) use free_map::{capacity as chain_capacity, load as load_free_map};
pub(crate) use stages::write_value_at;

use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::free::{Grant, Run, Subtree, Use};
use crate::meta::{self, FreeMapRoot, LogState, Meta};
use crate::root::{Root, TableMap, TableState, TreeRoot};
use crate::tree::change::{Changes, Dropped, TreeEdit};
use crate::txn::writer::Writer;
use crate::value::Large;
use crate::wal::Wal;
use crate::walk::Walk;
use crate::word::Word;
use bifold_page_source::{PageRef, PageSource};
use layout::Layout;
use stages::{Homes, Stages};
use std::sync::Arc;

/// Why a checkpoint was not made.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was written; all is as before.
    Refused(Error),
    /// Something was written or synced that failed, and no meta names it: the writer must be poisoned.
    Fatal(Error),
    /// Writing or syncing the meta failed, or something after it: reopening may find the checkpoint or the one before.
    Unknown(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Fatal(error)
    }
}

impl From<bifold_page_source::Error> for Failure {
    fn from(error: bifold_page_source::Error) -> Self {
        Self::Fatal(error.into())
    }
}

/// The committed state to checkpoint. Its delta pages are in the slab.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: u64,
    pub(crate) catalog: TreeRoot,
    pub(crate) tables: TableMap,
    /// How many drops `ready` will note.
    pub(crate) dropped: usize,
}

/// What becomes of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogAfter {
    /// It goes on.
    Live,
    /// The database is closed, and the log removed.
    Closed,
}

/// Tables that the map keeps beyond a checkpoint, to spare their readers a descent of the catalog.
const TABLES_KEPT: usize = 1024;

/// Makes a checkpoint of `candidate` and publishes it. `ready` is called when all places are taken, so that a full
/// disk is no more to be feared, and before the first page is written.
pub(crate) fn run<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    candidate: &Candidate,
    log_after: LogAfter,
    ready: &mut dyn FnMut(&mut Writer) -> Result<()>,
) -> Result<(), Failure> {
    let started = std::time::Instant::now();
    let catalog = update_catalog(shared, writer, candidate).map_err(Failure::Refused)?;
    let layout = Layout::collect(&shared.store, catalog.root.word);
    let drops = (catalog.dropped.len() + candidate.dropped) as u64;
    let prepared = layout.and_then(|layout| Ok((take_places(shared, writer, &layout, drops)?, layout)));
    let (places, layout) = prepared.map_err(|error| {
        // The catalog's new pages are nobody's.
        for id in catalog.made {
            writer.descriptors.ids.free(&shared.store.slab, id);
        }
        Failure::Refused(error)
    })?;
    ready(writer)?;
    for dropped in catalog.dropped {
        writer.drop_on_file(&dropped)?;
    }
    for first in &layout.extents {
        if let Some(run) = writer.early.remove(first) {
            writer.space()?.reached(run)?;
        }
    }
    let number = writer.meta.checkpoint + 1;
    let mut homes = Homes::default();
    Stages { shared, descriptors: &writer.descriptors, birth: writer.meta.checkpoint, homes: &mut homes }
        .write(&layout, &places.values, &places.leaves, &places.branches)?;
    let free_map = free_map::append(shared, writer, number)?;
    shared.store.source.sync()?;
    let root = homes.settle(catalog.root)?;
    let meta = next_meta(writer, candidate, number, root, free_map, log_after)?;
    write_meta(shared, &meta).map_err(Failure::Unknown)?;
    after(shared, writer, candidate, meta, &homes, &layout, log_after).map_err(Failure::Unknown)?;
    let pages = homes.count();
    shared.counters.checkpoint(pages, started.elapsed());
    tracing::debug!(checkpoint = number, pages, "checkpoint");
    Ok(())
}

/// The catalog with the tables that changed.
struct NewCatalog {
    root: TreeRoot,
    /// Descriptors of the pages made.
    made: Vec<u32>,
    dropped: Vec<Dropped>,
}

/// Writes the tables that changed into the catalog. If that fails, nothing is left of it.
fn update_catalog<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    candidate: &Candidate,
) -> Result<NewCatalog> {
    let mut changes = Changes::new(writer.meta.checkpoint, std::mem::take(&mut writer.spare_pages));
    changes.values_are_trees = true;
    let mut root = candidate.catalog;
    let mut tables: Vec<_> = candidate.tables.iter().collect();
    tables.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut edit =
        TreeEdit { store: &shared.store, descriptors: &mut writer.descriptors, changes: &mut changes };
    let edited = tables.into_iter().try_for_each(|(name, state)| {
        match state {
            TableState::Clean(_) => {}
            TableState::Changed(table) => {
                edit.insert(&mut root, name.as_bytes(), &catalog::encode(table), Some(table.word))?;
            }
            TableState::Dropped => {
                edit.remove(&mut root, name.as_bytes())?;
            }
        }
        Ok(())
    });
    if let Err(error) = edited {
        changes.pages.rollback(&mut writer.descriptors.ids, &shared.store.slab, 0);
        writer.spare_pages = changes.pages;
        return Err(error);
    }
    let mut made = Vec::new();
    for (id, image) in changes.pages.take() {
        shared.store.slab.publish(id, image);
        made.push(id);
    }
    writer.spare_pages = changes.pages;
    Ok(NewCatalog { root, made, dropped: changes.dropped })
}

/// The places for everything a checkpoint writes but the free map.
struct Places {
    values: Vec<Grant>,
    leaves: Grant,
    branches: Grant,
}

/// Takes all places, and grows the file for them and for the free map. If that fails, nothing is taken.
fn take_places<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    layout: &Layout,
    drops: u64,
) -> Result<Places> {
    let page_size = shared.store.page_size;
    let old_end = writer.space()?.end();
    let mut grants = Vec::new();
    let mut take = |writer: &mut Writer| -> Result<()> {
        for value in &layout.values {
            let (header, data) = crate::extent::pages_for(value.len, page_size);
            grants.push(writer.space()?.allocate_contiguous(header + data, Use::Checkpoint)?);
        }
        grants.push(writer.space()?.allocate(layout.leaves(), Use::Checkpoint)?);
        grants.push(writer.space()?.allocate(layout.branches(), Use::Checkpoint)?);
        let drops = drops + layout.leaves() + layout.branches();
        let chain = writer.space()?.upper_bound_pages(chain_capacity(page_size), drops);
        let space = writer.space()?;
        let short = space.shortfall(chain);
        space.extend(short)?;
        shared.grow_file(space.end())
    };
    let taken = take(writer);
    let space = writer.space()?;
    if let Err(error) = taken {
        for grant in grants.iter().rev() {
            space.revoke(grant)?;
        }
        // The file may not have grown as far as was meant.
        space.shorten(old_end)?;
        return Err(error);
    }
    let (Some(branches), Some(leaves)) = (grants.pop(), grants.pop()) else {
        return Err(Error::Internal("places were not taken"));
    };
    Ok(Places { values: grants, leaves, branches })
}

fn next_meta(
    writer: &mut Writer,
    candidate: &Candidate,
    checkpoint: u64,
    catalog: TreeRoot,
    free_map: FreeMapRoot,
    log_after: LogAfter,
) -> Result<Meta> {
    let end = writer.space()?.end();
    let log = match (&mut writer.wal, log_after) {
        (Some(wal), LogAfter::Live) => LogState::Live(wal.position()?),
        _ => LogState::Closed,
    };
    Ok(Meta { checkpoint, seq: candidate.seq, catalog, end, free_map, log, ..writer.meta.next() })
}

/// Writes a meta and makes it durable.
pub(crate) fn write_meta<S: PageSource>(shared: &Shared<S>, meta: &Meta) -> Result<()> {
    meta::write(&*shared.file, meta)?;
    shared.sync_file()
}

/// After the meta is durable: memory follows. Descriptors get their homes, readers the new root.
fn after<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    candidate: &Candidate,
    meta: Meta,
    homes: &Homes,
    layout: &Layout,
    log_after: LogAfter,
) -> Result<()> {
    let slab = &shared.store.slab;
    let (seq, base) = (meta.seq, meta.checkpoint);
    let mut tables = TableMap::default();
    let keep = candidate.tables.len() <= TABLES_KEPT;
    for (name, state) in candidate.tables.iter() {
        if let (true, TableState::Clean(root) | TableState::Changed(root)) = (keep, state) {
            tables.set(name, TableState::Clean(homes.settle(*root)?));
        }
    }
    for (id, home) in homes.iter() {
        slab.set_home(id, home);
    }
    shared.registry.publish(Arc::new(Root { seq, base, catalog: meta.catalog, tables }));
    let values = layout.values.iter().map(|v| v.id);
    for id in layout.stages().flatten().copied().chain(values) {
        slab.retire_image(id);
        writer.retire_homed(id, seq);
    }
    (writer.delta_bytes, writer.delta_pages, writer.value_pages) = (0, 0, 0);
    writer.seq = seq;
    writer.meta = meta;
    if let (Some(wal), LogAfter::Live) = (&mut writer.wal, log_after) {
        let position = wal.position()?;
        wal.retire_to(&position)?;
    }
    if log_after == LogAfter::Closed && writer.wal.take().is_some() {
        Wal::remove(&*shared.fs, &shared.log_path())?;
    }
    writer.sweep_retired(slab, &shared.registry, true);
    for run in writer.release_pages(&shared.registry)? {
        discard(shared, run);
    }
    Ok(())
}

/// Tells the source that nobody will ask for these pages before they are written again.
pub(crate) fn discard<S: PageSource>(shared: &Shared<S>, run: Run) {
    use bifold_page_source::PageId;
    if let (Some(start), Some(end)) = (PageId::new(run.start), PageId::new(run.end())) {
        shared.store.source.discard(start..end);
    }
}

/// Pages of cut subtrees that are read in one go.
const WALK_MAX: usize = 1024;

/// Walks subtrees that were cut off, and drops their pages; a bounded number in one go, the rest another time. A leaf is
/// read only if extents hang below it, or if a snapshot older than the cut lives: only then does its birth matter.
///
/// # Errors
/// I/O errors and damage. A subtree that cannot be walked is left alone until the database is opened again.
pub(crate) fn walk_cut_subtrees<S: PageSource>(shared: &Shared<S>, writer: &mut Writer) -> Result<()> {
    let current = writer.meta.checkpoint;
    let mut live_before = None;
    for _ in 0..WALK_MAX {
        let Some(subtree) = writer.space()?.next_to_walk(current) else { return Ok(()) };
        let live_before = *live_before.get_or_insert_with(|| {
            let mut older = false;
            shared.registry.collect();
            shared.registry.live(&mut |root| older |= root.base < current);
            older
        });
        let found = match Below::read(shared, &subtree, live_before) {
            Ok(found) => found,
            Err(error) => {
                writer.space()?.set_aside(&subtree);
                return Err(error);
            }
        };
        let noted = found.note(shared, writer, &subtree, live_before);
        noted.inspect_err(|error| shared.poison(error))?;
    }
    Ok(())
}

/// What hangs below the topmost page of a cut subtree.
struct Below {
    /// The page's birth.
    birth: u64,
    /// Its children, and whether extents may hang below each.
    children: Vec<(PageRef, bool)>,
    /// Its large values: first page, length, birth.
    values: Vec<(PageRef, u64, u64)>,
}

impl Below {
    /// Reads the page, if it has to be read, and checks all that it says.
    fn read<S: PageSource>(shared: &Shared<S>, subtree: &Subtree, births_matter: bool) -> Result<Self> {
        let page = subtree.root.page();
        let broken = || Error::page(page, "an entry lies outside it");
        // Where births do not matter, any birth from which no snapshot lives will do: that of the cut itself.
        let mut found = Self { birth: subtree.cut_at, children: Vec::new(), values: Vec::new() };
        let extents = subtree.flags & 1 != 0;
        if subtree.level == 0 && !extents && !births_matter {
            return Ok(found);
        }
        let mut walk = Walk::new(&shared.store, None);
        let node = walk.node(Word::file(subtree.root))?;
        if node.level() != subtree.level {
            return Err(Error::page(page, "its level is not the one its parent expects"));
        }
        found.birth = node.birth();
        for index in 0..node.count() {
            if node.is_branch() {
                let word = node.child(index).ok_or_else(broken)?;
                let below = node.extents_below(index).ok_or_else(broken)?;
                found.children.push((PageRef::from_bits(word.bits()).ok_or_else(broken)?, below));
                continue;
            }
            let entry = node.entry(index).ok_or_else(broken)?;
            if let Some((word, payload)) = node.value_word(&entry) {
                let large = Large::from_fields(word, payload).ok_or_else(broken)?;
                let first = PageRef::from_bits(word.bits()).ok_or_else(broken)?;
                found.values.push((first, large.len, large.birth));
            }
        }
        let births = found.values.iter().map(|(_, _, birth)| *birth).chain([found.birth]);
        if births.max().is_some_and(|birth| birth > subtree.cut_at) {
            return Err(Error::page(page, "it was born after it was cut off"));
        }
        Ok(found)
    }

    /// Notes the page as dropped, with its values; its children are subtrees to walk, or leaves to drop unread.
    fn note<S: PageSource>(
        self,
        shared: &Shared<S>,
        writer: &mut Writer,
        subtree: &Subtree,
        births_matter: bool,
    ) -> Result<()> {
        let cut_at = subtree.cut_at;
        let space = writer.space()?;
        space.subtree_done(subtree.root)?;
        space.drop_run(Run::new(subtree.root.page().get(), 1), self.birth, cut_at)?;
        for (first, len, born) in self.values {
            let (header, data) = crate::extent::pages_for(len, shared.store.page_size);
            space.drop_run(Run::new(first.page().get(), header + data), born, cut_at)?;
        }
        let mut to_read = Vec::new();
        for (root, below) in self.children {
            let level = subtree.level - 1;
            if level == 0 && !below && !births_matter {
                space.drop_run(Run::new(root.page().get(), 1), cut_at, cut_at)?;
            } else {
                space.cut_subtree(Subtree { root, level, flags: u8::from(below), cut_at })?;
                to_read.push(root);
            }
        }
        shared.store.source.prefetch(&to_read);
        Ok(())
    }
}
