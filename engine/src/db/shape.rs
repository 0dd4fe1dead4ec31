//! What a database's pages are used for.
#![forbid(unsafe_code)]

use super::Db;
use crate::error::{Error, Result};
use bifold_page_source::PageSource;

/// What the pages of a database file are used for; see [`Db::shape`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Shape {
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages of the file. All of them are one of: head, free, pending, free map, in use by a tree.
    pub file_pages: u64,
    /// Pages of the file's head.
    pub head_pages: u64,
    /// Pages that can be written now.
    pub free_pages: u64,
    /// Pages that are no longer in use and cannot be written yet: they wait for a checkpoint, for read transactions
    /// that see them, or to be found below what was cut off.
    pub pending_pages: u64,
    /// Pages that the map of free space takes itself.
    pub free_map_pages: u64,
    /// The tree of tables.
    pub catalog: TableShape,
    /// The tables, by name.
    pub tables: Vec<TableShape>,
}

/// What one table consists of. Pages changed since the last checkpoint count as well, though they are in memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TableShape {
    /// The table's name; empty for the catalog.
    pub name: String,
    /// Its entries.
    pub entries: u64,
    /// Levels of pages: 0 for an empty table, 1 for a single leaf.
    pub height: u8,
    /// Leaves.
    pub leaf_pages: u64,
    /// Branches.
    pub branch_pages: u64,
    /// Pages of large values on file.
    pub extent_pages: u64,
    /// Bytes in use in the leaves, headers included.
    pub leaf_bytes_used: u64,
    /// Bytes in use in the branches, headers included.
    pub branch_bytes_used: u64,
    /// Values that do not lie in the leaves.
    pub large_values: u64,
    /// Their bytes.
    pub large_value_bytes: u64,
    /// Bytes of a page.
    pub page_size: u64,
}

impl TableShape {
    /// The part of the leaves' bytes that is in use, from 0 to 1; 0 without leaves.
    pub fn leaf_fill(&self) -> f64 {
        let bytes = self.leaf_pages * self.page_size;
        if bytes == 0 { 0.0 } else { self.leaf_bytes_used as f64 / bytes as f64 }
    }
}

impl<S: PageSource> Db<S> {
    /// What the pages of the file are used for, as of the newest commit. Reads every page of every tree, but not the
    /// large values.
    ///
    /// # Errors
    /// As [`check`](Self::check); and [`Error::Corrupt`] for the first damage met.
    pub fn shape(&self) -> Result<Shape> {
        let inspection = self.inspect(false)?;
        if let Some(fault) = inspection.faults.first() {
            return Err(match fault.place {
                Some(place) => {
                    Error::Corrupt { place, what: "the database's shape cannot be told; check it" }
                }
                None => Error::Internal("the database's shape cannot be told; check it"),
            });
        }
        let pages = inspection.pages;
        let known = pages.head + pages.free + pages.free_map + pages.reached;
        Ok(Shape {
            page_size: self.page_size() as u64,
            file_pages: pages.file,
            head_pages: pages.head,
            free_pages: pages.free,
            pending_pages: pages.file.saturating_sub(known),
            free_map_pages: pages.free_map,
            catalog: inspection.catalog,
            tables: inspection.tables,
        })
    }
}
