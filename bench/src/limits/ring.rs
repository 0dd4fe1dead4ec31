//! A loop over `io_uring` (J. Axboe, 2019) that keeps a number of reads or writes under way.
//!
//! The file is registered, which spares a look-up of its descriptor for each read. Buffers are not: the pages of one
//! are pinned for each read, as in a program that reads into wherever it likes.
#![expect(unsafe_code, reason = "the kernel writes into memory that it is told the address of")]

use super::engine::{Direction, Done, Job};
use crate::Result;
use io_uring::{IoUring, Probe, opcode, squeue, types};
use memmap2::{MmapMut, MmapRaw};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// A ring with memory for as many pieces as it keeps under way.
///
/// Invariant: the kernel may touch the slots whose numbers are in `under_way`, and no others; a slot that is there is
/// not touched here. The memory is freed when none is.
pub(super) struct Ring {
    uring: IoUring,
    memory: ManuallyDrop<MmapRaw>,
    piece: usize,
    /// For each slot, where in the file its piece lies while it is under way.
    under_way: Vec<Option<u64>>,
    count: usize,
}

impl Ring {
    /// Whether the kernel has `io_uring` and its reads and writes, and lets this process use them.
    pub(super) fn probe() -> io::Result<()> {
        let ring = IoUring::new(8)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if probe.is_supported(opcode::Read::CODE) && probe.is_supported(opcode::Write::CODE) {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring of this kernel has no plain reads"))
        }
    }

    /// A ring for `job`.
    pub(super) fn new(job: &Job) -> io::Result<Self> {
        let entries = u32::try_from(job.depth).map_err(|_| io::ErrorKind::InvalidInput)?;
        let ring = IoUring::new(entries.next_power_of_two())?;
        ring.submitter().register_files(&[job.file.as_raw_fd()])?;
        let memory: MmapMut = job.buffers(job.depth)?;
        let memory = ManuallyDrop::new(MmapRaw::from(memory));
        Ok(Self { uring: ring, memory, piece: job.piece, under_way: vec![None; job.depth], count: 0 })
    }

    /// Keeps at `job`, for which it was made, until `time` after `start`, and then waits for what is under way.
    pub(super) fn run(&mut self, job: &Job, start: Instant, time: Duration) -> Result<Done> {
        if job.piece != self.piece || job.depth != self.under_way.len() || self.count != 0 {
            return Err("a ring was asked to do another job than its own".into());
        }
        let mut done = Done::default();
        let result = self.keep(job, start, time, &mut done);
        // Whatever went wrong, the next run is to find all slots free.
        let mut drained = 0;
        self.drain(|_, _, _| drained += 1)?;
        result?;
        if job.direction == Direction::Write {
            done.pieces += drained;
        }
        Ok(done)
    }

    fn keep(&mut self, job: &Job, start: Instant, time: Duration, done: &mut Done) -> io::Result<()> {
        let mut free: Vec<usize> = (0..job.depth).rev().collect();
        loop {
            while let Some(slot) = free.pop() {
                self.push(job, slot)?;
            }
            done.peak = done.peak.max(self.count);
            self.wait(1)?;
            let mut failure = None;
            self.reap(|slot, bytes, offset, result| {
                free.push(slot);
                done.pieces += 1;
                let checked = result.and_then(|count| job.after(bytes, offset, count));
                failure = failure.take().or(checked.err());
            });
            if let Some(failure) = failure {
                return Err(failure);
            }
            done.time = start.elapsed();
            if done.time >= time && done.pieces >= job.depth as u64 {
                return Ok(());
            }
        }
    }

    fn slot(&self, slot: usize) -> *mut u8 {
        debug_assert!(slot < self.under_way.len(), "a slot of the ring");
        self.memory.as_mut_ptr().wrapping_add(slot * self.piece)
    }

    /// Begins the next piece of `job` in a free slot.
    fn push(&mut self, job: &Job, slot: usize) -> io::Result<()> {
        if self.under_way[slot].is_some() {
            return Err(io::Error::other("a slot of the ring was given out twice"));
        }
        let offset = job.next_offset();
        let at = self.slot(slot);
        // SAFETY: the slot lies within the memory, which `&mut self` owns, and by the invariant the kernel does not
        // touch it, as it is not under way. The reference ends before the kernel is told of the slot.
        job.before(unsafe { std::slice::from_raw_parts_mut(at, self.piece) }, offset);
        let (file, len) = (types::Fixed(0), self.piece as u32);
        let entry: squeue::Entry = match job.direction {
            Direction::Read => opcode::Read::new(file, at, len).offset(offset).build(),
            Direction::Write => opcode::Write::new(file, at, len).offset(offset).build(),
        };
        // SAFETY: the kernel touches `piece` bytes from `at` on, all of them the slot's, until its completion has
        // been taken; till then the slot is under way, so it is not touched here, and the memory is not freed.
        let pushed = unsafe { self.uring.submission().push(&entry.user_data(slot as u64)) };
        pushed.map_err(|_| io::Error::other("a ring has fewer entries than its depth"))?;
        self.under_way[slot] = Some(offset);
        self.count += 1;
        Ok(())
    }

    /// Submits what was pushed, and waits until `completions` more can be taken.
    fn wait(&self, completions: usize) -> io::Result<()> {
        loop {
            match self.uring.submit_and_wait(completions) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                result => return result.map(|_| ()),
            }
        }
    }

    /// Takes all completions that are there.
    fn reap(&mut self, mut took: impl FnMut(usize, &[u8], u64, io::Result<usize>)) {
        let (memory, piece) = (self.memory.as_mut_ptr(), self.piece);
        for entry in self.uring.completion() {
            let slot = entry.user_data() as usize;
            let Some(offset) = self.under_way.get_mut(slot).and_then(Option::take) else {
                debug_assert!(false, "a completion of a slot that is not under way");
                continue;
            };
            self.count -= 1;
            let result =
                usize::try_from(entry.result()).map_err(|_| io::Error::from_raw_os_error(-entry.result()));
            // SAFETY: the slot lies within the memory (its number was found in `under_way`), and the kernel has
            // finished with it and touches it no more, as its completion has come.
            let bytes = unsafe { std::slice::from_raw_parts(memory.wrapping_add(slot * piece), piece) };
            took(slot, bytes, offset, result);
        }
    }

    /// Waits for all that is under way.
    fn drain(&mut self, mut took: impl FnMut(usize, u64, io::Result<usize>)) -> io::Result<()> {
        while self.count > 0 {
            self.wait(1)?;
            self.reap(|slot, _, offset, result| took(slot, offset, result));
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Memory that the kernel may still write to is leaked rather than given to somebody else.
        if self.drain(|_, _, _| ()).is_ok() {
            // SAFETY: nothing is under way, so by the invariant the kernel does not touch the memory; it is not used
            // after this, as the ring is gone.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
