//! How many pages of the catalog the next checkpoint writes, at most, from what a commit knows: which tables changed,
//! and how long their names are.
//!
//! Two bounds, of which the lower one counts. *By change*: one change leaves at most three new pages at each level (a
//! page split, or two evened out, and one to spare). *By size*: what is written are pages of the catalog as it was, each
//! copied once and, as pages part in halves and an entry takes a quarter page or little more, split into no more than
//! four; and pages for what is new, which is at least a third of each. The pages at each level are counted once for each
//! catalog on file, and only when many tables change: that reads the branches and no leaf.
#![forbid(unsafe_code)]

use super::state::WriteState;
use super::writer::Writer;
use crate::db::shared::Shared;
use crate::error::Result;
use crate::root::{TableMap, TreeRoot};
use crate::walk::{Store, Walk, damaged};
use crate::word::Word;
use bifold_page_source::{PageSize, PageSource};

/// New pages at one level for one change.
const PER_CHANGE: u64 = 3;
/// New pages for one page of the catalog as it was.
const PER_PAGE: u64 = 4;
/// What an entry takes beside the table's name, in bytes.
const ENTRY: u64 = 48;
/// As long as the bound by change is no more pages than this, the catalog's pages are not counted.
const FEW: u64 = 64;

/// The pages of one catalog at each level, the root's first; none known if they could not be read.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    root: Word,
    levels: Vec<u64>,
}

impl Shape {
    fn count<S: PageSource>(store: &Store<S>, catalog: &TreeRoot) -> Result<Self> {
        let (mut words, mut levels) = (vec![catalog.word], vec![1]);
        let mut walk = Walk::new(store, None);
        for level in (1..=catalog.height).rev() {
            let (mut count, mut below) = (0, Vec::new());
            for &word in &words {
                let node = walk.node(word)?;
                if node.level() != level {
                    return Err(damaged(word, "its level is not the one its parent expects"));
                }
                count += node.count() as u64;
                for index in 0..if level > 1 { node.count() } else { 0 } {
                    below.push(node.child(index).ok_or_else(|| damaged(word, "an entry lies outside it"))?);
                }
            }
            levels.push(count);
            words = below;
        }
        Ok(Self { root: catalog.word, levels })
    }
}

/// Tables that differ from the catalog.
#[derive(Clone, Copy, Debug)]
struct Changed {
    tables: u64,
    /// Bytes of their names.
    bytes: u64,
}

/// The bound for a catalog of `height` levels below its root whose pages at each level are `levels`, if known.
fn bound(changed: Changed, page_size: PageSize, height: u8, levels: Option<&[u64]>) -> u64 {
    if changed.tables == 0 {
        return 0;
    }
    let by_change = PER_CHANGE * changed.tables;
    let taken_over = match levels {
        None => by_change * (u64::from(height) + 1),
        Some(levels) => levels.iter().map(|pages| by_change.min(PER_PAGE * (pages + 1))).sum(),
    };
    // A new tree's branches are no more than half as many as its leaves.
    let new = 3 * (changed.bytes + changed.tables * ENTRY) / page_size.bytes() as u64 + 2;
    taken_over + 2 * new + PER_CHANGE
}

impl WriteState {
    /// At most how many pages of the catalog the checkpoints that are due will write once this transaction is committed.
    /// Costs what the transaction's own tables do, however many others changed.
    pub(super) fn catalog_pages<S: PageSource>(&mut self, shared: &Shared<S>) -> u64 {
        let before = &self.base.tables;
        let (mut tables, mut bytes) = (before.changed(), before.changed_bytes());
        for table in self.tables.iter().filter(|t| t.changed) {
            if !before.is_changed(&table.name) {
                tables += 1;
                bytes += table.name.len();
            }
        }
        let changed = Changed { tables: tables as u64, bytes: bytes as u64 };
        self.writer.count_catalog(shared, changed);
        self.writer.catalog_bound_of(shared.store.page_size, changed)
    }
}

impl Writer {
    /// The same, where `tables` are committed.
    pub(crate) fn catalog_bound(&self, page_size: PageSize, tables: &TableMap) -> u64 {
        let changed = Changed { tables: tables.changed() as u64, bytes: tables.changed_bytes() as u64 };
        self.catalog_bound_of(page_size, changed)
    }

    fn catalog_bound_of(&self, page_size: PageSize, changed: Changed) -> u64 {
        let catalog = &self.newest.catalog;
        let counted = self.catalog_shape.as_ref().filter(|shape| shape.root == catalog.word);
        let levels = match counted {
            _ if catalog.word.is_null() => Some(&[][..]),
            Some(shape) if !shape.levels.is_empty() => Some(&shape.levels[..]),
            _ => None,
        };
        let first = bound(changed, page_size, catalog.height, levels);
        if !self.is_unplaced() {
            return first;
        }
        // Another checkpoint follows, on the catalog that the first one writes.
        let levels = levels.map(|levels| vec![levels.iter().sum::<u64>() + first; levels.len() + 1]);
        first + bound(changed, page_size, catalog.height.saturating_add(1), levels.as_deref())
    }

    /// Counts the catalog's pages, if they have not been and it matters.
    fn count_catalog<S: PageSource>(&mut self, shared: &Shared<S>, changed: Changed) {
        let catalog = self.newest.catalog;
        let known = self.catalog_shape.as_ref().is_some_and(|shape| shape.root == catalog.word);
        let few = PER_CHANGE * changed.tables * (u64::from(catalog.height) + 1) <= FEW;
        if known || few || catalog.word.is_null() {
            return;
        }
        // What cannot be read is told to whoever needs it; the bound by change holds.
        let unknown = |_| Shape { root: catalog.word, levels: Vec::new() };
        self.catalog_shape = Some(Shape::count(&shared.store, &catalog).unwrap_or_else(unknown));
    }
}
