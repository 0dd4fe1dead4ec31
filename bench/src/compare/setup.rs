//! The one rule by which memory is given to sides.
#![forbid(unsafe_code)]

use crate::memory::available_memory;
use crate::{Durability, Setup};

/// What a side may have of memory.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Memory {
    /// Bytes of a child's memory group, if there is one.
    pub group: Option<u64>,
    /// Bytes of cache, if it is said.
    pub cache: Option<u64>,
    /// Bytes of changes held back, if it is said.
    pub delta: Option<u64>,
}

/// The least cache and the least delta.
const LEAST: u64 = 4 << 20;

/// How every side is opened on `data` bytes of keys and values, and the rule in words.
///
/// Without a group, memory is no dimension: caches hold all the data, if the machine has the memory, and changes have
/// 256 MiB. In a group, all that a
/// side has lies within it: the page cache of its files, its own cache, changes held back, threads and heaps. A store with
/// a cache of its own gets five eighths of it for that; changes get an eighth, at most 256 MiB; the rest is left to the
/// page cache and the heap.
pub fn setup_for(data: u64, memory: &Memory) -> (Setup, String) {
    let cache = memory.cache.unwrap_or(match memory.group {
        Some(group) => (group / 8 * 5).max(LEAST),
        // No more than the machine has: what does not fit then is read again.
        None => (data + data / 2 + (64 << 20)).min(available_memory() / 8 * 5),
    });
    let delta = memory.delta.unwrap_or(match memory.group {
        Some(group) => (group / 8).clamp(LEAST, 256 << 20),
        None => 256 << 20,
    });
    let setup = Setup {
        cache_bytes: cache,
        delta_bytes: delta,
        transaction_bytes: 0,
        durability: Durability::Unsynced,
        file_bytes_max: data * 16 + (8 << 30),
        populate: false,
        read_ahead: true,
        readers: 1,
        sabotage: None,
    };
    let mib = |bytes: u64| bytes >> 20;
    let bound = match memory.group {
        Some(group) => {
            format!("each side has {} MiB of memory in all, page cache included, and no swap", mib(group))
        }
        None => "memory is not bounded".into(),
    };
    let words = format!(
        "{bound}; {} MiB are the cache of each store that has one of its own (the page cache is the cache of the others), \
         {} MiB the changes that a store may hold back",
        mib(cache),
        mib(delta)
    );
    (setup, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_fits_the_group() {
        for group in [64u64 << 20, 1 << 30, 100 << 30] {
            let (setup, words) = setup_for(1 << 40, &Memory { group: Some(group), ..Memory::default() });
            assert!(setup.cache_bytes + setup.delta_bytes <= group / 8 * 6 + 8, "{words}");
            assert!(words.contains(&format!("{} MiB of memory", group >> 20)));
        }
        let (setup, _) = setup_for(1 << 30, &Memory::default());
        assert!(setup.cache_bytes > 1 << 30);
        let said = Memory { group: Some(1 << 30), cache: Some(7 << 20), delta: Some(5 << 20) };
        let (setup, _) = setup_for(1, &said);
        assert_eq!((setup.cache_bytes, setup.delta_bytes), (7 << 20, 5 << 20));
    }
}
