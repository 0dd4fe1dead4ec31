//! Sorting entries that need not fit in memory: sorted runs in a temporary file, which are then merged.
//!
//! Entries are kept in memory up to a bound, sorted, and written behind one another to one file that has no name, so
//! that nothing stays behind however the program ends. If there are more runs than can be read side by side within the
//! bound, neighbours are merged to longer ones first. Of equal keys the entry that came last stays: the sort is stable,
//! and runs keep the order in which they were filled.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use bifold_text::Entry;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The least memory that is of use.
const MEMORY_MIN: u64 = 64 << 10;
/// Bytes of each run that are read at a time, at least and at most.
const WINDOW: Range<usize> = 16 << 10..1 << 20;
/// Bytes written at a time.
const WRITE_BUFFER: usize = 1 << 18;

/// Takes entries in any order.
#[derive(Debug)]
pub(crate) struct Sorter {
    memory: usize,
    dir: PathBuf,
    /// Records, one behind the other.
    records: Vec<u8>,
    slots: Vec<Slot>,
    spilled: Option<Runs>,
}

/// A record in memory.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The key's first bytes, padded with zeros: enough to tell most keys apart.
    prefix: u64,
    /// Where the record begins.
    at: usize,
}

/// Sorted runs in a file.
#[derive(Debug)]
struct Runs {
    file: Arc<File>,
    /// Where each lies, in the order in which they were filled.
    parts: Vec<Range<u64>>,
    end: u64,
}

/// A record, taken apart.
struct Record<'r> {
    line: u64,
    key: &'r [u8],
    value: &'r [u8],
}

fn put_number(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn take_number(from: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = from.split_first() else { break };
        *from = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    number
}

fn put_record(line: u64, key: &[u8], value: &[u8], to: &mut Vec<u8>) {
    for number in [line, key.len() as u64, value.len() as u64] {
        put_number(number, to);
    }
    to.extend_from_slice(key);
    to.extend_from_slice(value);
}

/// The record at the beginning of `bytes`, which [`put_record`] made.
fn record(mut bytes: &[u8]) -> Record<'_> {
    let line = take_number(&mut bytes);
    let key_len = take_number(&mut bytes) as usize;
    let value_len = take_number(&mut bytes) as usize;
    let (key, rest) = bytes.split_at(key_len);
    Record { line, key, value: &rest[..value_len] }
}

fn prefix_of(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

impl Sorter {
    /// Keeps about `memory` bytes in memory, and the rest in a file without a name in `dir`.
    pub(crate) fn new(memory: u64, dir: &Path) -> Self {
        let memory = usize::try_from(memory.max(MEMORY_MIN)).unwrap_or(usize::MAX);
        Self { memory, dir: dir.into(), records: Vec::new(), slots: Vec::new(), spilled: None }
    }

    /// Takes an entry, which came from a line.
    ///
    /// # Errors
    /// [`Error::Temporary`].
    pub(crate) fn push(&mut self, entry: &Entry, line: u64) -> Result<()> {
        self.slots.push(Slot { prefix: prefix_of(&entry.key), at: self.records.len() });
        put_record(line, &entry.key, &entry.value, &mut self.records);
        if self.records.len() + self.slots.len() * size_of::<Slot>() < self.memory {
            return Ok(());
        }
        self.spill().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::Temporary(self.dir.clone(), error)
    }

    /// Sorts what is in memory; of equal keys the last stays.
    fn sort(&mut self) {
        let key = |slot: &Slot| record(&self.records[slot.at..]).key;
        self.slots.sort_unstable_by(|a, b| {
            let keys = a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b)));
            // The last first, which is the one that is kept.
            keys.then(b.at.cmp(&a.at))
        });
        self.slots.dedup_by(|next, kept| next.prefix == kept.prefix && key(next) == key(kept));
    }

    /// Writes what is in memory as one run.
    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let runs = match &mut self.spilled {
            Some(runs) => runs,
            None => self.spilled.insert(Runs::new(&self.dir)?),
        };
        let mut run = runs.begin();
        let mut bytes = Vec::new();
        for slot in self.slots.drain(..) {
            let Record { line, key, value } = record(&self.records[slot.at..]);
            run.add(line, key, value, &mut bytes)?;
        }
        let run = run.end()?;
        runs.note(run);
        self.records.clear();
        Ok(())
    }

    /// The entries in order.
    ///
    /// # Errors
    /// [`Error::Temporary`].
    pub(crate) fn finish(mut self) -> Result<Sorted> {
        if self.spilled.is_none() {
            self.sort();
            let slots = self.slots.into_iter();
            return Ok(Sorted { dir: self.dir, from: From::Memory(self.records, slots) });
        }
        self.merge_all().map_err(|error| Error::Temporary(self.dir.clone(), error))
    }

    fn merge_all(&mut self) -> io::Result<Sorted> {
        self.spill()?;
        // Memory is for the runs' windows from now on.
        (self.records, self.slots) = (Vec::new(), Vec::new());
        let side_by_side = (self.memory / WINDOW.start).max(2);
        let mut runs = match self.spilled.take() {
            Some(runs) => runs,
            None => Runs::new(&self.dir)?,
        };
        while runs.parts.len() > side_by_side {
            let mut longer = Runs::new(&self.dir)?;
            let (mut entry, mut bytes) = (Entry::default(), Vec::new());
            for group in runs.parts.chunks(side_by_side) {
                let mut merge = Merge::new(&runs.file, group, self.memory)?;
                let mut run = longer.begin();
                while let Some(line) = merge.next(&mut entry)? {
                    run.add(line, &entry.key, &entry.value, &mut bytes)?;
                }
                let run = run.end()?;
                longer.note(run);
            }
            runs = longer;
        }
        let merge = Merge::new(&runs.file, &runs.parts, self.memory)?;
        Ok(Sorted { dir: self.dir.clone(), from: From::File(merge) })
    }
}

impl Runs {
    fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self { file: Arc::new(tempfile::tempfile_in(dir)?), parts: Vec::new(), end: 0 })
    }

    /// Begins a run at the file's end.
    fn begin(&self) -> RunWriter {
        let file = BufWriter::with_capacity(WRITE_BUFFER, Arc::clone(&self.file));
        RunWriter { file, run: self.end..self.end }
    }

    fn note(&mut self, run: Range<u64>) {
        self.end = run.end;
        self.parts.push(run);
    }
}

/// A run being written.
struct RunWriter {
    file: BufWriter<Arc<File>>,
    run: Range<u64>,
}

impl RunWriter {
    fn add(&mut self, line: u64, key: &[u8], value: &[u8], bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.clear();
        put_record(line, key, value, bytes);
        self.run.end += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn end(mut self) -> io::Result<Range<u64>> {
        self.file.flush()?;
        Ok(self.run)
    }
}

/// Entries in order, each key once.
#[derive(Debug)]
pub(crate) struct Sorted {
    dir: PathBuf,
    from: From,
}

#[derive(Debug)]
enum From {
    Memory(Vec<u8>, std::vec::IntoIter<Slot>),
    File(Merge),
}

impl Sorted {
    /// The next entry and the line that it came from; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Temporary`].
    pub(crate) fn next(&mut self, entry: &mut Entry) -> Result<Option<u64>> {
        match &mut self.from {
            From::Memory(records, slots) => Ok(slots.next().map(|slot| {
                let Record { line, key, value } = record(&records[slot.at..]);
                entry.key.clear();
                entry.key.extend_from_slice(key);
                entry.value.clear();
                entry.value.extend_from_slice(value);
                line
            })),
            From::File(merge) => merge.next(entry).map_err(|error| Error::Temporary(self.dir.clone(), error)),
        }
    }
}

/// Runs read side by side.
#[derive(Debug)]
struct Merge {
    runs: Vec<RunReader>,
    heads: BinaryHeap<Head>,
}

/// The key that a run is at.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    key: Vec<u8>,
    run: usize,
}

/// The least key is the greatest head; of equal keys, that of the last run.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key).then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Merge {
    fn new(file: &Arc<File>, runs: &[Range<u64>], memory: usize) -> io::Result<Self> {
        let window = (memory / runs.len().max(1)).clamp(WINDOW.start, WINDOW.end);
        let mut merge = Self { runs: Vec::with_capacity(runs.len()), heads: BinaryHeap::new() };
        for (number, run) in runs.iter().enumerate() {
            let part = Part { file: Arc::clone(file), at: run.start, end: run.end };
            let reader = BufReader::with_capacity(window, part);
            merge.runs.push(RunReader { reader, line: 0, value_len: 0 });
            merge.go_on(number, Vec::new())?;
        }
        Ok(merge)
    }

    /// Puts a run's next key among the heads, if it has one.
    fn go_on(&mut self, run: usize, mut key: Vec<u8>) -> io::Result<()> {
        if self.runs[run].next_key(&mut key)? {
            self.heads.push(Head { key, run });
        }
        Ok(())
    }

    /// The next entry and its line; `None` at the end.
    fn next(&mut self, entry: &mut Entry) -> io::Result<Option<u64>> {
        let Some(head) = self.heads.pop() else { return Ok(None) };
        entry.key.clear();
        entry.key.extend_from_slice(&head.key);
        let run = &mut self.runs[head.run];
        let line = run.line;
        run.take_value(&mut entry.value)?;
        self.go_on(head.run, head.key)?;
        // Of the same key in runs before, nothing stays.
        while self.heads.peek().is_some_and(|head| head.key == entry.key) {
            let Some(older) = self.heads.pop() else { break };
            self.runs[older.run].skip_value()?;
            self.go_on(older.run, older.key)?;
        }
        Ok(Some(line))
    }
}

/// A run being read, a key ahead of its value: of many runs only the keys are in memory, and one value.
#[derive(Debug)]
struct RunReader {
    reader: BufReader<Part>,
    line: u64,
    value_len: u64,
}

impl RunReader {
    /// Reads up to behind the next key; false at the end.
    fn next_key(&mut self, key: &mut Vec<u8>) -> io::Result<bool> {
        if self.reader.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.line = self.number()?;
        let key_len = self.number()?;
        self.value_len = self.number()?;
        self.read(key_len, key)?;
        Ok(true)
    }

    fn take_value(&mut self, value: &mut Vec<u8>) -> io::Result<()> {
        self.read(self.value_len, value)
    }

    fn skip_value(&mut self) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(self.value_len), &mut io::sink())?;
        if skipped == self.value_len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            number |= u64::from(byte[0] & 0x7F) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        Ok(number)
    }

    fn read(&mut self, len: u64, to: &mut Vec<u8>) -> io::Result<()> {
        to.clear();
        let read = (&mut self.reader).take(len).read_to_end(to)?;
        if read as u64 == len { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// A part of a file, read without moving the place that others read or write at.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let len = to.len().min(left);
        let read = self.file.read_at(&mut to[..len], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Entries = Vec<(Vec<u8>, Vec<u8>)>;

    /// What comes out of a sorter, and whether it was ever in a file.
    fn sorted(entries: &Entries, memory: usize) -> (Entries, bool) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(0, dir.path());
        sorter.memory = memory;
        for (line, (key, value)) in (1..).zip(entries) {
            sorter.push(&Entry { key: key.clone(), value: value.clone() }, line).unwrap();
        }
        let spilled = sorter.spilled.is_some();
        let mut sorted = sorter.finish().unwrap();
        // The file has no name.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let (mut entry, mut found) = (Entry::default(), Vec::new());
        while let Some(line) = sorted.next(&mut entry).unwrap() {
            let (key, value) = &entries[line as usize - 1];
            assert_eq!((key, value), (&entry.key, &entry.value));
            found.push((entry.key.clone(), entry.value.clone()));
        }
        (found, spilled)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// As a map has them, whatever the memory; the last of equal keys stays.
        #[test]
        fn entries_come_as_from_a_map(
            entries in prop::collection::vec(
                (prop::collection::vec(0u8..3, 0..12), prop::collection::vec(any::<u8>(), 0..60)), 0..400),
            memory in prop_oneof![Just(1usize), 100usize..3000, Just(1 << 20)],
        ) {
            let map: BTreeMap<_, _> = entries.iter().cloned().collect();
            let (found, _) = sorted(&entries, memory);
            prop_assert_eq!(found, map.into_iter().collect::<Vec<_>>());
        }
    }

    /// Many more runs than can be merged at once, values longer than the memory.
    #[test]
    fn runs_are_merged_in_several_passes() {
        let entries: Vec<_> = (0..3000u32)
            .map(|n| {
                let key = (n.wrapping_mul(2_654_435_761) % 1000).to_be_bytes().to_vec();
                (key, vec![n as u8; if n % 500 == 0 { 50_000 } else { 20 }])
            })
            .collect();
        let map: BTreeMap<_, _> = entries.iter().cloned().collect();
        let (found, spilled) = sorted(&entries, 300);
        assert!(spilled && found.into_iter().eq(map));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let mut sorter = Sorter::new(0, Path::new("/no/such/folder"));
        let entry = Entry { key: vec![1; 40_000], value: vec![2; 40_000] };
        assert!(matches!(sorter.push(&entry, 1), Err(Error::Temporary(..))));
    }
}
