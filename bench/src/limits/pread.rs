//! `pread` of a page through the page cache: one that is there, and one that is not.
#![forbid(unsafe_code)]

use super::file::{DataFile, PAGE, is_stamped, wrong_page};
use super::permutation::Permutation;
use super::probe::Probe;
use crate::Result;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Pages that reads of resident pages are spread over: 64 MiB.
const RESIDENT: u64 = 16_384;
/// Reads between two looks at the clock, where a look would be part of the cost.
const BATCH: u64 = 128;

fn read(file: &File, page: u64, buffer: &mut [u8]) -> Result<()> {
    let offset = page * PAGE as u64;
    file.read_exact_at(buffer, offset)?;
    if is_stamped(buffer, offset) { Ok(()) } else { Err(wrong_page(offset).into()) }
}

/// Reads of pages that are in the page cache, in random order.
pub(super) struct Resident {
    data: Rc<DataFile>,
    order: Permutation,
    pages: u64,
    buffer: Vec<u8>,
}

impl Resident {
    pub(super) fn new(data: &Rc<DataFile>) -> Self {
        let pages = data.pages().min(RESIDENT);
        Self { data: Rc::clone(data), order: Permutation::new(pages), pages, buffer: vec![0; PAGE] }
    }
}

impl Probe for Resident {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        self.data.warm(self.pages)?;
        let (start, mut reads) = (Instant::now(), 0u64);
        loop {
            for _ in 0..BATCH {
                read(&self.data.random, self.order.next().0, &mut self.buffer)?;
            }
            reads += BATCH;
            let spent = start.elapsed();
            if spent >= time {
                return Ok(spent.as_secs_f64() * 1e9 / reads as f64);
            }
        }
    }

    fn note(&self) -> String {
        format!("random pages of {} MiB in the page cache", (self.pages * PAGE as u64) >> 20)
    }
}

/// Reads of pages that are not in the page cache, in random order, with read-ahead off.
pub(super) struct Absent {
    data: Rc<DataFile>,
    order: Permutation,
    buffer: Vec<u8>,
    /// Pages read in all.
    pub(super) reads: u64,
}

impl Absent {
    pub(super) fn new(data: &Rc<DataFile>) -> Result<Self> {
        data.must_leave()?;
        let order = Permutation::new(data.pages());
        Ok(Self { data: Rc::clone(data), order, buffer: vec![0; PAGE], reads: 0 })
    }
}

impl Probe for Absent {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        self.data.evict()?;
        let (mut spent, mut reads) = (Duration::ZERO, 0u64);
        while reads == 0 || spent < time {
            let (page, last) = self.order.next();
            let start = Instant::now();
            read(&self.data.random, page, &mut self.buffer)?;
            spent += start.elapsed();
            reads += 1;
            if last {
                self.data.evict()?;
            }
        }
        self.reads += reads;
        self.data.evict()?;
        Ok(spent.as_secs_f64() * 1e6 / reads as f64)
    }

    fn note(&self) -> String {
        format!("read-ahead off; put out by POSIX_FADV_DONTNEED{}", self.data.stays_note())
    }
}
