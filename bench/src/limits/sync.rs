//! Durable writes: what a commit cannot be faster than.
#![forbid(unsafe_code)]

use super::file::PAGE;
use super::probe::Probe;
use crate::Result;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of the file that is overwritten round and round, as a log would be.
pub(super) const RING: usize = 16 << 20;
/// Bytes after which a file that is appended to is begun anew.
pub(super) const APPENDED: u64 = 64 << 20;

/// A file that has been written before, and is written again round and round, each record with an `fdatasync`.
pub(crate) struct Overwrites {
    file: File,
    record: Vec<u8>,
    offset: usize,
}

impl Overwrites {
    /// Writes the file (without a name, in `dir`) for records of `record` bytes, and syncs it.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn new(dir: &Path, record: usize) -> io::Result<Self> {
        let mut file = tempfile::tempfile_in(dir)?;
        file.write_all(&vec![0; RING.max(record)])?;
        file.sync_all()?;
        Ok(Self { file, record: vec![0xB1; record], offset: 0 })
    }

    /// Writes a record and makes it durable; how long that took.
    ///
    /// # Errors
    /// I/O errors.
    pub(crate) fn step(&mut self) -> io::Result<Duration> {
        let start = Instant::now();
        self.file.write_all_at(&self.record, self.offset as u64)?;
        self.file.sync_data()?;
        let time = start.elapsed();
        let next = self.offset + self.record.len();
        self.offset = if next + self.record.len() > RING { 0 } else { next };
        Ok(time)
    }
}

/// What a step takes on average, in microseconds, over so much time and one step at least.
fn mean(time: Duration, mut step: impl FnMut() -> io::Result<Duration>) -> Result<f64> {
    let start = Instant::now();
    let (mut total, mut steps) = (Duration::ZERO, 0);
    while steps == 0 || start.elapsed() < time {
        total += step()?;
        steps += 1;
    }
    Ok(total.as_secs_f64() * 1e6 / f64::from(steps))
}

impl Probe for Overwrites {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        mean(time, || self.step())
    }

    fn note(&self) -> String {
        "4 KiB by pwrite over what was written before, and fdatasync".into()
    }
}

/// A file that grows by a page at a time, each with an `fdatasync`, which so has to write the file's length, too.
pub(super) struct Appends {
    file: File,
    page: Vec<u8>,
    pub(super) len: u64,
}

impl Appends {
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(dir)?, page: vec![0xB1; PAGE], len: 0 })
    }

    fn step(&mut self) -> io::Result<Duration> {
        if self.len >= APPENDED {
            self.file.set_len(0)?;
            self.file.sync_all()?;
            self.len = 0;
        }
        let start = Instant::now();
        self.file.write_all_at(&self.page, self.len)?;
        self.file.sync_data()?;
        self.len += PAGE as u64;
        Ok(start.elapsed())
    }
}

impl Probe for Appends {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        mean(time, || self.step())
    }

    fn note(&self) -> String {
        "4 KiB by pwrite behind the file's end, and fdatasync".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_round_the_ring_and_never_beyond_it() {
        let dir = tempfile::tempdir().unwrap();
        let record = RING / 2 - 512;
        let mut writes = Overwrites::new(dir.path(), record).unwrap();
        let mut offsets = Vec::new();
        for _ in 0..3 {
            offsets.push(writes.offset);
            writes.step().unwrap();
        }
        assert_eq!(offsets, [0, record, 0]);
        assert_eq!(writes.file.metadata().unwrap().len(), RING as u64);
        let mut read = vec![0; 1];
        writes.file.read_exact_at(&mut read, 2 * record as u64 - 1).unwrap();
        assert_eq!(read, [0xB1]);
        writes.file.read_exact_at(&mut read, 2 * record as u64).unwrap();
        assert_eq!(read, [0]);
    }

    #[test]
    fn appends_grow_their_file_and_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut appends = Appends::new(dir.path()).unwrap();
        assert!(appends.sample(Duration::ZERO).unwrap() > 0.0);
        appends.step().unwrap();
        assert_eq!((appends.len, appends.file.metadata().unwrap().len()), (8192, 8192));
        appends.len = APPENDED;
        appends.step().unwrap();
        assert_eq!((appends.len, appends.file.metadata().unwrap().len()), (4096, 4096));
    }
}
