//! Checkpoints: what the delta holds goes to the file, a new meta page names it, and the log may be forgotten.
//!
//! Order is everything: pages, sync, meta, sync; only then does memory follow. Until the meta is written nothing on
//! file refers to what was written before it, so a crash or an error leaves the last checkpoint as it was. Space is
//! taken, and the file grown, before the first page is written: a full disk is met while the checkpoint can still be
//! refused.
//!
//! A checkpoint is a [`Job`], done in short steps while readers and writers go on: see [`job`] for what happens in
//! which order, and [`drive`] for who does it and how fast.

pub(crate) mod catalog;
mod cut_walk;
pub(crate) mod drive;
mod free_map;
mod job;
mod kept;
mod layout;
mod places;
mod stages;
mod sweep;
mod tables;
mod tail;
pub(crate) mod write;

pub(crate) use cut_walk::walk_cut_subtrees;
pub(crate) use free_map::{capacity as chain_capacity, load as load_free_map};
pub(crate) use job::mark_reached;
pub(crate) use layout::Layout;
pub(crate) use stages::{Batch, Homes, Places, write_value_at};
pub(crate) use sweep::{Open, OpenCommit, drop_of_home, on_file_now};

use crate::db::shared::Shared;
use crate::error::{Error, Result};
use crate::free::Run;
use crate::meta::{self, Meta};
use crate::root::{TableMap, TreeRoot};
use bifold_page_source::{PageId, PageSource};

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
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: u64,
    /// The catalog as of the last checkpoint.
    pub(crate) catalog: TreeRoot,
    /// The tables that differ from it.
    pub(crate) tables: TableMap,
    /// How many drops and extents of it will be noted once its places are taken.
    pub(crate) unnoted: usize,
}

/// What becomes of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogAfter {
    /// It goes on.
    Live,
    /// The database is closed, and the log removed.
    Closed,
}

/// Writes a meta and makes it durable.
pub(crate) fn write_meta<S: PageSource>(shared: &Shared<S>, meta: &Meta) -> Result<()> {
    meta::write(&*shared.file, meta)?;
    shared.sync_file()
}

/// Tells the source that nobody will ask for these pages before they are written again.
pub(crate) fn discard<S: PageSource>(shared: &Shared<S>, run: Run) {
    if let (Some(start), Some(end)) = (PageId::new(run.start), PageId::new(run.end())) {
        shared.store.source.discard(start..end);
    }
}
