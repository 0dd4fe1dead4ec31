//! Loading a store, and seeing that what was loaded is there.
#![forbid(unsafe_code)]

use crate::data::{Seed, digest, expected};
use crate::{Order, Result, Setup, Store};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a load took.
#[derive(Clone, Copy, Debug)]
pub struct Loaded {
    /// Putting, committing and closing.
    pub load: Duration,
    /// Opening again.
    pub reopen: Duration,
    /// The store's own check, if it has one.
    pub check: Option<Duration>,
    /// Bytes of the closed store's files.
    pub file_bytes: u64,
}

/// Loads `seeds` into a new store in `dir`, `per_commit` entries a transaction, closes it, opens it again, and sees
/// that every entry is there.
///
/// # Errors
/// The store's; or what is missing.
pub fn load<S: Store>(
    dir: &Path,
    setup: &Setup,
    order: Order,
    seeds: &[Seed],
    per_commit: usize,
) -> Result<Loaded> {
    let store = S::open(dir, setup)?;
    let start = Instant::now();
    for part in seeds.chunks(per_commit.max(1)) {
        store.put(order, part.iter().map(|seed| (seed.key(), seed.value())))?;
    }
    store.close()?;
    let load = start.elapsed();

    let file_bytes = crate::store::file_bytes(dir)?;
    let start = Instant::now();
    let store = S::open(dir, setup)?;
    let reopen = start.elapsed();
    let start = Instant::now();
    let check = store.check()?.map(|entries| (entries, start.elapsed()));
    if check.is_some_and(|(entries, _)| entries != seeds.len() as u64) {
        return Err(format!("{}: its check counted {check:?} of {} entries", S::NAME, seeds.len()).into());
    }
    verify(&store, seeds)?;
    store.close()?;
    Ok(Loaded { load, reopen, check: check.map(|(_, time)| time), file_bytes })
}

/// Scans the whole store: its entries are those of `seeds`, in order. Touches every page.
///
/// # Errors
/// The store's; or what is missing.
pub fn verify<S: Store>(store: &S, seeds: &[Seed]) -> Result<()> {
    let (mut sum, mut last, mut in_order) = (0u64, Vec::new(), true);
    let seen = store.scan(&[], u64::MAX, |key, value| {
        in_order &= last.as_slice() < key;
        last.clear();
        last.extend_from_slice(key);
        sum = sum.wrapping_add(digest(value));
    })?;
    if seen != seeds.len() as u64 || !in_order || sum != expected(seeds) {
        let name = S::NAME;
        return Err(format!("{name}: {seen} entries of {}, in order: {in_order}", seeds.len()).into());
    }
    Ok(())
}
