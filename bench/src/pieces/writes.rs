//! Writing: commits that wait for no sync, and checkpoints.
#![forbid(unsafe_code)]

use super::world::{Conditions, Place, Side, TABLE, World};
use super::{Piece, Ring};
use crate::Result;
use crate::data::{Key, Seed, Value, picks, sorted};
use bifold::Durability;

/// Entries from one that is changed to the next: more than a full leaf of 4 KiB has, so that no two lie in one leaf.
const APART: u64 = 35;

/// A write transaction that puts random entries over others, begun and committed.
#[derive(Debug)]
pub(super) struct Commit<S: Side> {
    world: World<S>,
    puts: u64,
    entries: Ring<(Key, Value)>,
}

impl<S: Side> Commit<S> {
    pub(super) fn new(conditions: &Conditions, puts: u64, durability: Durability) -> Result<Self> {
        let place = Place::of(conditions)?;
        let seeds = picks(conditions.entries, 1 << 14, 3);
        let entries = seeds.iter().map(|seed| (seed.key(), seed.value_at(1))).collect();
        let world = World::new(conditions, place, conditions.entries, durability)?;
        Ok(Self { world, puts, entries: Ring::new(entries)? })
    }
}

impl<S: Side> Piece for Commit<S> {
    /// Empties the log's buffer, which deferred commits fill and hand over a mebibyte at a time: else those of an earlier
    /// run would be handed over, and paid for, in this one.
    fn prepare(&mut self) -> Result<()> {
        Ok(self.world.db.sync()?)
    }

    fn run(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            let txn = self.world.db.write()?;
            let table = txn.table(TABLE)?;
            for _ in 0..self.puts {
                let (key, value) = self.entries.next();
                table.insert(key, value)?;
            }
            txn.commit()?;
        }
        Ok(())
    }
}

/// A checkpoint of leaves that were changed all over the tree, one entry in each, and of the branches above them.
#[derive(Debug)]
pub(super) struct Checkpoint<S: Side> {
    world: World<S>,
    /// One entry of each leaf that is changed.
    changed: Vec<Seed>,
    version: u32,
    written: (u64, u64),
}

impl<S: Side> Checkpoint<S> {
    /// With the file in memory: what the engine does.
    pub(super) fn in_memory(conditions: &Conditions) -> Result<Self> {
        Self::new(conditions, Place::in_memory())
    }

    /// With the file in the directory for temporary files: the disk's work and syncs are part of it.
    pub(super) fn on_disk(conditions: &Conditions) -> Result<Self> {
        Self::new(conditions, Place::on_disk()?)
    }

    fn new(conditions: &Conditions, place: Place) -> Result<Self> {
        let entries = conditions.leaves * APART;
        let changed = sorted(entries).into_iter().step_by(APART as usize).collect();
        let world = World::new(conditions, place, entries, Durability::Buffered)?;
        Ok(Self { world, changed, version: 0, written: (0, 0) })
    }
}

impl<S: Side> Piece for Checkpoint<S> {
    fn prepare(&mut self) -> Result<()> {
        self.version += 1;
        let txn = self.world.db.write()?;
        let table = txn.table(TABLE)?;
        for seed in &self.changed {
            table.insert(seed.key(), seed.value_at(self.version))?;
        }
        txn.commit()?;
        // What the log has to do is not the checkpoint's.
        Ok(self.world.db.sync()?)
    }

    /// The second of two checkpoints in a row would have nothing to write.
    fn run(&mut self, times: u64) -> Result<()> {
        let before = self.world.db.stats();
        for _ in 0..times {
            self.world.db.checkpoint()?;
        }
        let after = self.world.db.stats();
        let pages = after.checkpoint_pages - before.checkpoint_pages;
        self.written = (pages, after.checkpoint_bytes - before.checkpoint_bytes);
        if pages < self.changed.len() as u64 {
            return Err(format!("the checkpoint wrote {pages} pages of {}", self.changed.len()).into());
        }
        Ok(())
    }

    fn written(&self) -> Option<(u64, u64)> {
        Some(self.written)
    }
}
