//! The user's own data: a table of a Bifold file, and a sample of it that is asked for.
//!
//! The file is read past the page cache, through a small cache of its own, so that it takes nothing from a store that
//! has a limit of memory. A sample of its entries, spread evenly over the keys, stays in memory with digests of their
//! values; if there are no more than [`SAMPLE`] entries that is all of them. Reads ask for these, and these are checked.
//! Values that a run writes are made as [`Made`](super::Made) makes them: a version, and bytes that follow from it and from the key.
#![forbid(unsafe_code)]

use super::{Random, mix};
use crate::Result;
use crate::cell::Interrupt;
use bifold::pool;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Entries of a sample, at most.
const SAMPLE: u64 = 1 << 20;
/// Entries that are read between two looks whether to go on.
const LOOK: u64 = 1 << 10;
/// Bytes of cache to read the file with.
const CACHE: u64 = 8 << 20;

/// A table of a file.
#[derive(Debug)]
pub struct Sample {
    file: PathBuf,
    table: String,
    entries: u64,
    bytes: u64,
    /// Bytes of all keys of the sample, and where each ends.
    keys: Vec<u8>,
    ends: Vec<u32>,
    /// Digests of keys and of the values loaded for them, in the order of the former.
    digests: Vec<(u64, u64)>,
    /// Bytes of a value that is written.
    value_len: usize,
    seed: u64,
}

impl Sample {
    /// Reads the sample of `table` in the Bifold database `file`; the largest table, if it is not said which. `seen` hears
    /// from time to time of how many entries so many were read.
    ///
    /// # Errors
    /// Those of opening and reading; a file without entries; keys that take more than 4 GiB; that the user ended it.
    pub fn read(
        file: &Path,
        table: Option<&str>,
        seed: u64,
        interrupt: &Interrupt,
        mut seen: impl FnMut(u64, u64),
    ) -> Result<Self> {
        let db = open(file)?;
        let txn = db.read()?;
        let table = match table {
            Some(table) => table.to_owned(),
            None => largest(&txn)?.ok_or("it has no tables")?,
        };
        let entries = txn.table(&table)?.len()?;
        if entries == 0 {
            return Err(format!("the table {table} is empty").into());
        }
        let every = entries.div_ceil(SAMPLE);
        let mut sample = Self {
            file: file.to_owned(),
            table: table.clone(),
            entries,
            bytes: 0,
            keys: Vec::new(),
            ends: Vec::new(),
            digests: Vec::new(),
            value_len: 0,
            seed,
        };
        let (mut cursor, mut number, mut value_bytes) = (txn.table(&table)?.cursor(), 0, 0);
        while let Some((key, value)) = cursor.next()? {
            if number % LOOK == 0 {
                interrupt.check()?;
                seen(entries, number);
            }
            if number % every == 0 {
                sample.keys.extend_from_slice(key);
                let end = u32::try_from(sample.keys.len()).map_err(|_| "keys of more than 4 GiB")?;
                sample.ends.push(end);
                sample.digests.push((xxh3_64(key), xxh3_64(value)));
            }
            sample.bytes += (key.len() + value.len()) as u64;
            value_bytes += value.len() as u64;
            number += 1;
        }
        sample.digests.sort_unstable();
        sample.value_len = usize::try_from(value_bytes / number.max(1)).unwrap_or(8).max(8);
        Ok(sample)
    }

    /// Entries of the table.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Entries of the sample.
    pub fn known(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Bytes of the table's keys and values.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    pub(super) fn key(&self, number: u64, key: &mut Vec<u8>) {
        let at = number as usize;
        let from = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let to = self.ends.get(at).copied().unwrap_or(from);
        key.clear();
        key.extend_from_slice(self.keys.get(from as usize..to as usize).unwrap_or_default());
    }

    /// A key of the sample, and a byte more that makes it one that is hardly there.
    pub(super) fn missing_key(&self, number: u64, key: &mut Vec<u8>) {
        self.key(number % self.known().max(1), key);
        key.truncate(500);
        key.extend_from_slice(&mix(number).to_be_bytes());
    }

    pub(super) fn value(&self, key: &[u8], version: u32, value: &mut Vec<u8>) {
        value.clear();
        value.extend_from_slice(&version.to_le_bytes());
        let mut state = xxh3_64(key) ^ u64::from(version).rotate_left(32);
        while value.len() < self.value_len {
            state = mix(state);
            let more = (self.value_len - value.len()).min(8);
            value.extend_from_slice(&state.to_le_bytes()[..more]);
        }
    }

    pub(super) fn version(&self, key: &[u8], value: &[u8]) -> Option<u32> {
        let digest = xxh3_64(key);
        let Ok(at) = self.digests.binary_search_by_key(&digest, |(key, _)| *key) else {
            // Not in the sample: nothing is known of it, and it is never written.
            return (self.known() < self.entries).then_some(0);
        };
        if self.digests[at].1 == xxh3_64(value) {
            return Some(0);
        }
        let (version, rest) = value.split_first_chunk::<4>()?;
        let version = u32::from_le_bytes(*version);
        let mut state = digest ^ u64::from(version).rotate_left(32);
        let mut same = value.len() == self.value_len;
        for part in rest.chunks(8) {
            state = mix(state);
            same &= *part == state.to_le_bytes()[..part.len()];
        }
        same.then_some(version)
    }

    pub(super) fn for_each(
        &self,
        sorted: bool,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let db = open(&self.file)?;
        let txn = db.read()?;
        let table = txn.table(&self.table)?;
        let mut cursor = table.cursor();
        if sorted {
            while let Some((key, value)) = cursor.next()? {
                visit(key, value)?;
            }
            return Ok(());
        }
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        while let Some((key, _)) = cursor.next()? {
            keys.push(key.into());
        }
        let mut random = Random::new(self.seed);
        for at in (1..keys.len()).rev() {
            keys.swap(at, random.below(at as u64 + 1) as usize);
        }
        for key in keys {
            let value = table.get(&key)?.ok_or("an entry of the file is gone")?;
            visit(&key, &value)?;
        }
        Ok(())
    }
}

fn open(file: &Path) -> Result<pool::Database> {
    let options = pool::Options::new().cache_size(CACHE);
    Ok(pool::Database::builder().backend(options).read_only().open(file)?)
}

fn largest(txn: &bifold::ReadTxn<'_, pool::Source>) -> Result<Option<String>> {
    let mut largest: Option<(u64, String)> = None;
    for name in txn.tables()? {
        let entries = txn.table(&name)?.len()?;
        if largest.as_ref().is_none_or(|(most, _)| entries > *most) {
            largest = Some((entries, name));
        }
    }
    Ok(largest.map(|(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Corpus;

    #[test]
    fn a_file_is_shown_sampled_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data.bifold");
        let db = bifold::mmap::Database::open(&file).unwrap();
        db.update(|txn| {
            txn.create_table("small")?.insert("a", "1")?;
            let table = txn.create_table("large")?;
            (0..1000).try_for_each(|n| table.insert(format!("{n:05}"), format!("value {n}")).map(drop))
        })
        .unwrap();
        db.close().unwrap();
        let read = |file: &Path, table| Sample::read(file, table, 7, &Interrupt::default(), |_, _| ());
        let mut seen = Vec::new();
        let error = Sample::read(&file, None, 7, &Interrupt::that_came(), |of, _| seen.push(of)).unwrap_err();
        assert_eq!((error.to_string().as_str(), seen.len()), ("it was interrupted", 0));
        let sample = Sample::read(&file, None, 7, &Interrupt::default(), |of, _| seen.push(of)).unwrap();
        assert_eq!(seen, [1000]);
        assert_eq!((sample.table(), sample.entries(), sample.known()), ("large", 1000, 1000));
        let corpus = Corpus::Sample(sample);
        let (mut key, mut value) = (Vec::new(), Vec::new());
        corpus.key(17, &mut key);
        assert_eq!(key, b"00017");
        assert_eq!(corpus.version(&key, b"value 17"), Some(0));
        assert_eq!(corpus.version(&key, b"value 18"), None);
        for version in [1, 2] {
            corpus.value(&key, version, &mut value);
            assert_eq!(corpus.version(&key, &value), Some(version));
            value[6] ^= 1;
            assert!(!corpus.is_written(&key, &value));
        }
        corpus.missing_key(17, &mut key);
        assert!(!corpus.is_written(&key, b"value 17"), "all entries are known");
        for sorted in [true, false] {
            let mut seen = Vec::new();
            corpus
                .for_each(sorted, |key, value| {
                    assert!(corpus.is_written(key, value));
                    seen.push(key.to_vec());
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen.is_sorted(), sorted);
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 1000);
        }
        assert_eq!(read(&file, Some("small")).unwrap().entries(), 1);
        assert!(read(&file, Some("none")).is_err());
        assert!(read(&dir.path().join("none"), None).is_err());
    }
}
