//! The database that a piece works on.
#![forbid(unsafe_code)]

use crate::Result;
use crate::data::{Seed, bytes, sorted};
use crate::stores::bifold::Backend;
use crate::{Setup, small};
use bifold::testing::Stepper;
use bifold::{Builder, Db, Durability, mmap, pool};
use bifold_page_source::{FileSystem, MemFs, OsFs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// The one table.
pub(super) const TABLE: &str = "bench";
/// The id of the file, so that it is the same each time.
pub(super) const FILE_ID: u64 = 0xB1F0;

/// How pieces are set up.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Entries of 16+100 bytes in the database.
    pub entries: u64,
    /// Leaves that have been changed when a checkpoint begins.
    pub leaves: u64,
    /// Whether two runs are to do the same in every detail: files in memory, no thread beside this one, and no work in
    /// the background.
    pub steady: bool,
}

impl Conditions {
    /// To be timed.
    pub const TIMED: Self = Self { entries: small::ENTRIES, leaves: 10_000, steady: false };
    /// To be counted.
    pub const COUNTED: Self = Self { entries: small::ENTRIES, leaves: 1000, steady: true };
}

/// A backend that can do without what is not the same each time.
pub(super) trait Side: Backend {
    /// The same options, with no threads, and no more address space than callgrind can give.
    fn steady(options: Self::Options) -> Self::Options;
}

impl Side for mmap::Source {
    fn steady(options: mmap::Options) -> mmap::Options {
        options.reserve_bytes(1 << 30)
    }
}

impl Side for pool::Source {
    fn steady(options: pool::Options) -> pool::Options {
        options.io_threads(0)
    }
}

/// A file system, and a directory in it that goes when this does.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) files: Arc<dyn FileSystem>,
    pub(super) path: PathBuf,
    _dir: Option<TempDir>,
}

impl Place {
    /// A place that lives in memory.
    pub(super) fn in_memory() -> Self {
        Self { files: Arc::new(MemFs::new()), path: PathBuf::from("/data.bifold"), _dir: None }
    }

    /// A place in the directory for temporary files.
    pub(super) fn on_disk() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        Ok(Self { files: Arc::new(OsFs), path: dir.path().join("data.bifold"), _dir: Some(dir) })
    }

    /// In memory if the conditions are to be steady.
    pub(super) fn of(conditions: &Conditions) -> Result<Self> {
        if conditions.steady { Ok(Self::in_memory()) } else { Self::on_disk() }
    }
}

/// A database, and where it lies.
#[derive(Debug)]
pub(super) struct World<S: Side> {
    pub(super) db: Db<S>,
    // Dropped behind the database that lies there.
    pub(super) _place: Place,
}

/// The backend's options: everything fits, and is there.
pub(super) fn options<S: Side>(conditions: &Conditions, entries: u64) -> S::Options {
    let options = S::options(&Setup::in_memory(bytes(entries)));
    if conditions.steady { S::steady(options) } else { options }
}

fn builder<S: Side>(
    conditions: &Conditions,
    place: &Place,
    entries: u64,
    durability: Durability,
) -> Builder<S> {
    let builder = Builder::new()
        .file_system(Arc::clone(&place.files))
        .file_id(FILE_ID)
        .backend(options::<S>(conditions, entries))
        .durability(durability)
        .checkpoint_interval(None)
        .log_size(256 << 20)
        .delta_size(1 << 30);
    if conditions.steady { builder.background(Stepper::new()) } else { builder }
}

impl<S: Side> World<S> {
    /// A database of `entries` entries at `place`, loaded in order, closed and opened again, whose commits are as durable
    /// as said.
    pub(super) fn new(
        conditions: &Conditions,
        place: Place,
        entries: u64,
        durability: Durability,
    ) -> Result<Self> {
        let builder = builder::<S>(conditions, &place, entries, durability);
        load(&builder, &place.path, &sorted(entries))?;
        let db = builder.open(&place.path)?;
        Ok(Self { db, _place: place })
    }
}

/// Makes the file and closes it.
fn load<S: Side>(builder: &Builder<S>, path: &Path, seeds: &[Seed]) -> Result<()> {
    let db = builder.open(path)?;
    let txn = db.write()?;
    let mut load = txn.table(TABLE)?.bulk_load()?;
    for seed in seeds {
        load.push(seed.key(), seed.value())?;
    }
    load.finish()?;
    txn.commit()?;
    Ok(db.close()?)
}

/// A loaded file at `place`, closed.
pub(super) fn loaded_file<S: Side>(conditions: &Conditions, place: &Place) -> Result<()> {
    let builder = builder::<S>(conditions, place, conditions.entries, Durability::Buffered);
    load(&builder, &place.path, &sorted(conditions.entries))
}
