//! The data of a recorded trace: keys as they were, and values of the recorded lengths whose bytes are made.
//!
//! A value of eight bytes or more begins with a version, and all else follows from that, from the key and from the length;
//! a shorter one follows from key and length alone. So each value that is read is checked, whatever was written last.
#![forbid(unsafe_code)]

use super::{Random, mix};
use crate::Result;
use crate::trace::{Recording, Renames, Tables};
use bifold::pool;
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of cache to read what was prepared with.
const CACHE: u64 = 4 << 20;
/// Bytes of the least value that has a version.
pub(crate) const VERSIONED: usize = 8;

/// A trace that was prepared.
#[derive(Debug)]
pub struct Traced {
    recording: Recording,
    tables: Tables,
    shared: HashMap<u64, u32>,
    threads: Vec<u32>,
}

impl Traced {
    /// Opens what was prepared.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn open(recording: &Recording) -> Result<Self> {
        let db = open(recording)?;
        let txn = db.read()?;
        let mut names = Vec::new();
        let mut cursor = txn.table(crate::trace::NAMES)?.cursor();
        while let Some((_, name)) = cursor.next()? {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
        let mut renames = Vec::new();
        let mut cursor = txn.table(crate::trace::RENAMES)?.cursor();
        while let Some((_, renamed)) = cursor.next()? {
            renames.push(serde_json::from_slice(renamed)?);
        }
        let mut shared = HashMap::new();
        let mut cursor = txn.table(crate::trace::SHARED)?.cursor();
        while let Some((table, number)) = cursor.next()? {
            shared.insert(u64::from_be_bytes(table.try_into()?), u32::from_le_bytes(number.try_into()?));
        }
        let mut threads = Vec::new();
        let mut cursor = txn.table(crate::trace::THREADS)?.cursor();
        while let Some((thread, _)) = cursor.next()? {
            threads.push(u32::from_be_bytes(thread.try_into()?));
        }
        let tables = Tables::new(names, Renames::new(renames), recording.longest)?;
        Ok(Self { recording: recording.clone(), tables, shared, threads })
    }

    /// What is known of it.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Its tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The tables that other threads use than those that looked them up.
    pub fn shared(&self) -> &HashMap<u64, u32> {
        &self.shared
    }

    /// Its threads.
    pub fn threads(&self) -> &[u32] {
        &self.threads
    }

    /// A length that values have in the mean.
    pub(super) fn typical(&self) -> u64 {
        (self.recording.bytes / self.recording.entries.max(1)).clamp(8, 4096)
    }

    pub(super) fn for_each(
        &self,
        sorted: bool,
        seed: u64,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let db = open(&self.recording)?;
        let txn = db.read()?;
        let mut cursor = txn.table(crate::trace::ENTRIES)?.cursor();
        let mut value = Vec::new();
        let mut show = |key: &[u8], len: u64| {
            make(key, 0, len, &mut value);
            visit(key, &value)
        };
        if sorted {
            while let Some((key, len)) = cursor.next()? {
                show(key, u64::from_le_bytes(len.try_into()?))?;
            }
            return Ok(());
        }
        let mut all: Vec<(Vec<u8>, u64)> = Vec::new();
        while let Some((key, len)) = cursor.next()? {
            all.push((key.to_vec(), u64::from_le_bytes(len.try_into()?)));
        }
        let mut random = Random::new(seed);
        for at in (1..all.len()).rev() {
            all.swap(at, random.below(at as u64 + 1) as usize);
        }
        all.iter().try_for_each(|(key, len)| show(key, *len))
    }
}

fn open(recording: &Recording) -> Result<pool::Database> {
    let options = pool::Options::new().cache_size(CACHE);
    Ok(pool::Database::builder().backend(options).read_only().open(&recording.prepared)?)
}

/// Writes the value of `len` bytes that `key` has in `version` over `value`.
pub fn make(key: &[u8], version: u32, len: u64, value: &mut Vec<u8>) {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    value.clear();
    let mut state = xxh3_64(key) ^ mix(len as u64);
    if len >= VERSIONED {
        value.extend_from_slice(&version.to_le_bytes());
        state ^= u64::from(version).rotate_left(32);
    }
    while value.len() < len {
        state = mix(state);
        let more = (len - value.len()).min(8);
        value.extend_from_slice(&state.to_le_bytes()[..more]);
    }
}

/// The version in which `value` was made for `key`, 0 if it is too short to say; nothing if it was not.
pub fn made_version(key: &[u8], value: &[u8]) -> Option<u32> {
    let mut state = xxh3_64(key) ^ mix(value.len() as u64);
    let (version, rest) = match value.split_first_chunk::<4>() {
        Some((version, rest)) if value.len() >= VERSIONED => {
            let version = u32::from_le_bytes(*version);
            state ^= u64::from(version).rotate_left(32);
            (version, rest)
        }
        _ => (0, value),
    };
    let (words, last) = rest.as_chunks::<8>();
    let mut same = true;
    for word in words {
        state = mix(state);
        same &= *word == state.to_le_bytes();
    }
    (same && *last == mix(state).to_le_bytes()[..last.len()]).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_lengths_are_checked_to_the_last_bit() {
        let mut value = Vec::new();
        for len in (0..40).chain([100, 4097]) {
            for version in [0, 1, u32::MAX] {
                make(b"key", version, len, &mut value);
                assert_eq!(value.len() as u64, len);
                assert_eq!(made_version(b"key", &value), Some(if len < 8 { 0 } else { version }));
                if len >= 4 {
                    assert!(made_version(b"kez", &value).is_none(), "{len}");
                }
                for bit in 0..value.len().min(50) * 8 {
                    value[bit / 8] ^= 1 << (bit % 8);
                    assert!(made_version(b"key", &value).is_none(), "{len}: bit {bit}");
                    value[bit / 8] ^= 1 << (bit % 8);
                }
                assert!(len < 8 || made_version(b"key", &value[..value.len() - 1]).is_none());
            }
        }
    }
}
