//! Reads and writes of a file at a depth: how many of them the disk has before it at any time.
//!
//! Kept by `io_uring` ([`Ring`]) or, where there is none, by as many threads of `pread` and `pwrite`. Both take their
//! offsets from one [`Job`], and check every page that they read.
#![forbid(unsafe_code)]

use super::file::{DataFile, PAGE, PIECE, incompressible, is_stamped, stamp, wrong_page};
use super::permutation::mix;
use super::ring::Ring;
use crate::Result;
use memmap2::MmapMut;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What keeps a depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// One thread with an `io_uring`.
    Ring,
    /// A thread for each read, for this reason.
    Threads(String),
}

impl Engine {
    /// `io_uring`, where the kernel has it and allows it.
    pub(super) fn choose() -> Self {
        Ring::probe().map_or_else(|why| Self::Threads(why.to_string()), |()| Self::Ring)
    }

    /// Makes ready to do `job`.
    ///
    /// # Errors
    /// If the ring or its memory cannot be had.
    pub(super) fn prepare(&self, job: &Job) -> Result<Prepared> {
        Ok(match self {
            Self::Ring => Prepared::Ring(Box::new(Ring::new(job)?)),
            Self::Threads(_) => {
                Prepared::Threads((0..job.depth).map(|_| job.buffer()).collect::<io::Result<_>>()?)
            }
        })
    }

    /// What is to be said of it in a figure's note.
    pub(super) fn note(&self) -> &str {
        match self {
            Self::Ring => "io_uring",
            Self::Threads(_) => "threads of pread and pwrite",
        }
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// What is read or written, by pieces of one size.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) file: File,
    pub(super) direction: Direction,
    /// Bytes of one read or write.
    pub(super) piece: usize,
    /// How many are under way at a time; at least one.
    pub(super) depth: usize,
    pieces: u64,
    random: bool,
    /// Counts those that were begun.
    begun: AtomicU64,
}

impl Job {
    /// Reads of random pages.
    ///
    /// # Errors
    /// If the file cannot be had past the page cache.
    pub(super) fn random_reads(data: &DataFile, depth: usize) -> Result<Self> {
        Self::new(data, Direction::Read, PAGE, depth, true)
    }

    /// Reads or writes from the first byte to the last, and round again, a mebibyte at a time.
    ///
    /// # Errors
    /// If the file cannot be had past the page cache.
    pub(super) fn in_order(data: &DataFile, direction: Direction, depth: usize) -> Result<Self> {
        Self::new(data, direction, PIECE, depth, false)
    }

    fn new(data: &DataFile, direction: Direction, piece: usize, depth: usize, random: bool) -> Result<Self> {
        let file = data.direct()?.try_clone()?;
        let (pieces, depth) = (data.bytes / piece as u64, depth.max(1));
        // Each depth reads pages of its own, lest one finds what another brought into a cache of the disk's.
        let begun = AtomicU64::new(if random { mix(depth as u64) } else { 0 });
        Ok(Self { file, direction, piece, depth, pieces, random, begun })
    }

    /// Where the next piece lies.
    pub(super) fn next_offset(&self) -> u64 {
        let turn = self.begun.fetch_add(1, Ordering::Relaxed);
        let number = if self.random { mix(turn) } else { turn } % self.pieces;
        number * self.piece as u64
    }

    /// Memory for one piece or several, aligned as direct I/O needs it; full of what is to be written.
    pub(super) fn buffers(&self, count: usize) -> io::Result<MmapMut> {
        let mut memory = MmapMut::map_anon(self.piece * count)?;
        if self.direction == Direction::Write {
            // Pieces to be written are as long as the pattern, and begin where it does.
            let pattern = incompressible();
            memory.chunks_mut(PIECE).for_each(|piece| piece.copy_from_slice(&pattern[..piece.len()]));
        }
        Ok(memory)
    }

    fn buffer(&self) -> io::Result<MmapMut> {
        self.buffers(1)
    }

    /// What is done to a piece before it goes to the disk.
    pub(super) fn before(&self, bytes: &mut [u8], offset: u64) {
        if self.direction == Direction::Write {
            stamp(bytes, offset);
        }
    }

    /// What is done to a piece when the disk has answered with a count of bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` of half a piece, `InvalidData` of wrong bytes.
    pub(super) fn after(&self, bytes: &[u8], offset: u64, done: usize) -> io::Result<()> {
        if done != self.piece {
            let what = format!("{done} bytes of {} were read or written at {offset}", self.piece);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        if self.direction == Direction::Read && !is_stamped(bytes, offset) {
            return Err(wrong_page(offset));
        }
        Ok(())
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// Pieces finished before the time was over (reads), or all of them (writes, as the time ends with a sync).
    pub(super) pieces: u64,
    /// How long they took.
    pub(super) time: Duration,
    /// The most pieces that were under way at one moment.
    pub(super) peak: usize,
}

impl Done {
    /// Pieces in a second.
    pub(super) fn rate(&self) -> f64 {
        self.pieces as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

/// An engine that is ready for its job.
pub(super) enum Prepared {
    /// See [`Ring`].
    Ring(Box<Ring>),
    /// One buffer a thread.
    Threads(Vec<MmapMut>),
}

impl Prepared {
    /// Keeps at `job` for `time`, and at least until its depth has been gone through once. Writes are synced, too.
    ///
    /// # Errors
    /// I/O errors, and pages that do not hold what was written to them.
    pub(super) fn run(&mut self, job: &Job, time: Duration) -> Result<Done> {
        let start = Instant::now();
        let mut done = match self {
            Self::Ring(ring) => ring.run(job, start, time)?,
            Self::Threads(buffers) => run_threads(buffers, job, start, time)?,
        };
        if job.direction == Direction::Write {
            job.file.sync_data()?;
            done.time = start.elapsed();
        }
        Ok(done)
    }
}

fn run_threads(buffers: &mut [MmapMut], job: &Job, start: Instant, time: Duration) -> Result<Done> {
    let (under_way, peak) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = |buffer: &mut [u8]| -> io::Result<u64> {
        let mut pieces = 0;
        while pieces == 0 || start.elapsed() < time {
            let offset = job.next_offset();
            job.before(buffer, offset);
            peak.fetch_max(under_way.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let done = match job.direction {
                Direction::Read => job.file.read_at(buffer, offset),
                Direction::Write => job.file.write_at(buffer, offset),
            };
            under_way.fetch_sub(1, Ordering::Relaxed);
            job.after(buffer, offset, done?)?;
            pieces += 1;
        }
        Ok(pieces)
    };
    let pieces = std::thread::scope(|scope| -> Result<u64> {
        let mut threads = Vec::with_capacity(buffers.len());
        for buffer in buffers {
            threads.push(std::thread::Builder::new().spawn_scoped(scope, || work(buffer))?);
        }
        let mut pieces = 0;
        for thread in threads {
            pieces += thread.join().map_err(|_| "a reading thread panicked")??;
        }
        Ok(pieces)
    })?;
    Ok(Done { pieces, time: start.elapsed(), peak: peak.into_inner() as usize })
}
