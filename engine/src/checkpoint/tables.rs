//! Writing the tables that changed into the catalog: the first thing a checkpoint does.
#![forbid(unsafe_code)]

use super::{Candidate, catalog};
use crate::db::shared::Shared;
use crate::error::Result;
use crate::root::{TableState, TreeRoot};
use crate::tree::change::{Changes, Dropped, TreeEdit};
use crate::txn::writer::Writer;
use bifold_page_source::PageSource;

/// The catalog with the tables that changed.
#[derive(Debug)]
pub(super) struct NewCatalog {
    pub(super) root: TreeRoot,
    /// Descriptors of the pages made.
    pub(super) made: Vec<u32>,
    pub(super) dropped: Vec<Dropped>,
}

/// Writes the tables that changed into the catalog, in the delta. If that fails, nothing is left of it.
pub(super) fn update_catalog<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    candidate: &Candidate,
) -> Result<NewCatalog> {
    let mut changes = Changes::new(writer.newest.base, std::mem::take(&mut writer.spare_pages));
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
        writer.descriptors.born[id as usize] = candidate.seq;
        shared.store.slab.publish(id, image);
        made.push(id);
    }
    debug_assert!(
        made.len() as u64 <= writer.catalog_bound(shared.store.page_size, &candidate.tables),
        "commits have reserved too few pages for the catalog"
    );
    writer.spare_pages = changes.pages;
    Ok(NewCatalog { root, made, dropped: changes.dropped })
}
