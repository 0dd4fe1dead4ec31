//! Small stores for the criterion benchmarks, in a directory that goes when they do.
#![forbid(unsafe_code)]

use crate::data::{bytes, sorted};
use crate::{Order, Result, Setup, Store};
use tempfile::TempDir;

/// Entries in a small store: 11 MiB of data.
pub const ENTRIES: u64 = 100_000;

/// A store in a directory of its own.
#[derive(Debug)]
pub struct Small<S> {
    /// The store.
    pub store: S,
    // Dropped behind the store that lies in it.
    _dir: TempDir,
}

impl<S: Store> Small<S> {
    /// An empty store.
    ///
    /// # Errors
    /// The store's, and I/O errors.
    pub fn empty() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let setup = Setup { populate: false, ..Setup::in_memory(bytes(ENTRIES * 16)) };
        Ok(Self { store: S::open(dir.path(), &setup)?, _dir: dir })
    }

    /// A store of [`ENTRIES`] entries, loaded in order, closed and opened again.
    ///
    /// # Errors
    /// The store's, and I/O errors.
    pub fn loaded() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let setup = Setup::in_memory(bytes(ENTRIES));
        crate::bulk::load::<S>(dir.path(), &setup, Order::Sorted, &sorted(ENTRIES), ENTRIES as usize)?;
        Ok(Self { store: S::open(dir.path(), &setup)?, _dir: dir })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{digest, expected, picks, shuffled};
    use crate::{Durability, for_each_store};

    /// Each store does what the trait says: a benchmark of one that loses entries is worth nothing.
    fn round_trip<S: Store>() {
        let small = Small::<S>::loaded().unwrap();
        let some = picks(ENTRIES, 1000, 0);
        let mut sum = 0u64;
        let found = small.store.gets(some.iter().map(|s| s.key()), |v| sum = sum.wrapping_add(digest(v)));
        assert_eq!((found.unwrap(), sum), (1000, expected(&some)), "{}", S::NAME);
        assert_eq!(small.store.gets(["absent"].iter(), |_| panic!("it is absent")).unwrap(), 0);

        let all = sorted(ENTRIES);
        let mut keys = Vec::new();
        let seen = small.store.scan(&all[500].key(), 10, |key, _| keys.push(key.to_vec())).unwrap();
        assert_eq!(seen, 10);
        assert!(keys.iter().eq(all[500..510].iter().map(|s| s.key().to_vec()).collect::<Vec<_>>().iter()));
        assert_eq!(small.store.scan(&all[500].key(), 0, |_, _| panic!("nothing was asked for")).unwrap(), 0);

        let empty = Small::<S>::empty().unwrap();
        for part in shuffled(3000).chunks(1000) {
            empty.store.put(Order::Random, part.iter().map(|s| (s.key(), s.value()))).unwrap();
        }
        crate::bulk::verify(&empty.store, &sorted(3000)).unwrap();
    }

    /// Overwrites and deletes, unsynced, finished and closed, are there when the store is opened again.
    fn changes_last<S: Store>() {
        let dir = tempfile::tempdir().unwrap();
        let setup = Setup { durability: Durability::Unsynced, ..Setup::in_memory(bytes(ENTRIES)) };
        let (all, store) = (shuffled(3000), S::open(dir.path(), &setup).unwrap());
        store.put(Order::Random, all.iter().map(|s| (s.key(), s.value()))).unwrap();
        store.put(Order::Random, all.iter().map(|s| (s.key(), s.value_at(1)))).unwrap();
        store.delete(all[1000..2000].iter().map(|s| s.key())).unwrap();
        store.finish().unwrap();
        store.put(Order::Random, all[1500..2000].iter().map(|s| (s.key(), s.value_at(2)))).unwrap();
        store.finish().unwrap();
        store.close().unwrap();

        let store = S::open(dir.path(), &setup).unwrap();
        for (part, version, there) in [(0..1000, 1, true), (1000..1500, 0, false), (1500..2000, 2, true)] {
            let seeds = &all[part];
            let mut expected = seeds.iter().map(|s| s.value_at(version));
            let keys = seeds.iter().map(|s| s.key());
            let found =
                store.gets(keys, |v| assert_eq!(expected.next().as_ref().map(|v| &v[..]), Some(v))).unwrap();
            assert_eq!(found, if there { seeds.len() as u64 } else { 0 }, "{}, version {version}", S::NAME);
        }
        assert_eq!(store.scan(&[], u64::MAX, |_, _| ()).unwrap(), 2500, "{}", S::NAME);
        store.close().unwrap();
    }

    #[test]
    fn every_store_keeps_changes_made_without_syncs() {
        for_each_store!(S => changes_last::<S>());
    }

    #[test]
    fn every_store_gives_back_what_it_was_given() {
        for_each_store!(S => round_trip::<S>());
    }
}
