//! Reading: a transaction's begin and end, gets, many gets, a cursor's step.
#![forbid(unsafe_code)]

use super::world::{Conditions, Place, Side, TABLE, World};
use super::{Piece, Ring};
use crate::Result;
use crate::data::{Key, Seed, VALUE_LEN, picks};
use bifold::Durability;
use std::hint::black_box;

/// Keys asked for in turn.
const KEYS: u64 = 1 << 14;
/// Keys of one `get_many`.
const MANY: usize = 64;

fn world<S: Side>(conditions: &Conditions) -> Result<World<S>> {
    let world =
        World::<S>::new(conditions, Place::of(conditions)?, conditions.entries, Durability::Buffered)?;
    let txn = world.db.read()?;
    let table = txn.table(TABLE)?;
    // So that all pages are there, and verified.
    if table.iter().try_fold(0, |seen, entry| entry.map(|_| seen + 1))? != conditions.entries {
        return Err("entries are missing".into());
    }
    for seed in picks(conditions.entries, 100, 7) {
        if table.get(seed.key())?.as_deref() != Some(&seed.value()[..]) {
            return Err("a value is another".into());
        }
    }
    drop(txn);
    Ok(world)
}

fn keys(conditions: &Conditions) -> impl Iterator<Item = Key> {
    picks(conditions.entries, KEYS, 0).into_iter().map(Seed::key)
}

/// A read transaction, begun and ended.
#[derive(Debug)]
pub(super) struct Begin<S: Side>(World<S>);

impl<S: Side> Begin<S> {
    pub(super) fn new(conditions: &Conditions) -> Result<Self> {
        Ok(Self(world(conditions)?))
    }
}

impl<S: Side> Piece for Begin<S> {
    fn run(&mut self, times: u64) -> Result<()> {
        for _ in 0..times {
            black_box(&self.0.db.read()?);
        }
        Ok(())
    }
}

/// A get of a random key, in a transaction that is there.
#[derive(Debug)]
pub(super) struct Get<S: Side> {
    world: World<S>,
    keys: Ring<Key>,
}

impl<S: Side> Get<S> {
    pub(super) fn new(conditions: &Conditions) -> Result<Self> {
        Ok(Self { world: world(conditions)?, keys: Ring::new(keys(conditions).collect())? })
    }
}

impl<S: Side> Piece for Get<S> {
    fn run(&mut self, times: u64) -> Result<()> {
        let txn = self.world.db.read()?;
        let table = txn.table(TABLE)?;
        for _ in 0..times {
            let value = table.get(self.keys.next())?.ok_or("an entry is missing")?;
            black_box(&value[..]);
        }
        Ok(())
    }
}

/// 64 random keys in one call, in a transaction that is there.
#[derive(Debug)]
pub(super) struct GetMany<S: Side> {
    world: World<S>,
    batches: Ring<Vec<Key>>,
}

impl<S: Side> GetMany<S> {
    pub(super) fn new(conditions: &Conditions) -> Result<Self> {
        let keys: Vec<Key> = keys(conditions).collect();
        let batches = keys.chunks_exact(MANY).map(<[Key]>::to_vec).collect();
        Ok(Self { world: world(conditions)?, batches: Ring::new(batches)? })
    }
}

impl<S: Side> Piece for GetMany<S> {
    fn run(&mut self, times: u64) -> Result<()> {
        let txn = self.world.db.read()?;
        let table = txn.table(TABLE)?;
        for _ in 0..times {
            let values = table.get_many(self.batches.next())?;
            if black_box(&values).iter().any(Option::is_none) {
                return Err("an entry is missing".into());
            }
        }
        Ok(())
    }
}

/// A cursor's step to the next entry, from leaf to leaf where one ends.
#[derive(Debug)]
pub(super) struct Step<S: Side> {
    world: World<S>,
    from: Ring<Key>,
}

impl<S: Side> Step<S> {
    pub(super) fn new(conditions: &Conditions) -> Result<Self> {
        Ok(Self { world: world(conditions)?, from: Ring::new(keys(conditions).collect())? })
    }
}

impl<S: Side> Piece for Step<S> {
    fn run(&mut self, times: u64) -> Result<()> {
        let txn = self.world.db.read()?;
        let mut cursor = txn.table(TABLE)?.cursor();
        cursor.seek(self.from.next())?;
        for _ in 0..times {
            let Some((key, value)) = cursor.next()? else {
                // Once in all entries.
                cursor.first()?;
                continue;
            };
            if black_box(key).len() + black_box(value).len() < VALUE_LEN {
                return Err("an entry is cut short".into());
            }
        }
        Ok(())
    }
}
