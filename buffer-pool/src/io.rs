//! The batch interface: all reads and writes of pages and extents go through [`BatchIo`].
//!
//! A request owns its buffer until it is complete, so a caller that unwinds leaves nothing behind that a disk
//! still writes to; and a load's ticket travels with it, so that whoever drops a request ends the load. There is
//! one implementation, threads that call `pread` (`io_pread.rs`); a ring would be a second one: `start` submits,
//! `reap` enters the kernel for completions.
#![forbid(unsafe_code)]

use crate::aligned::{AlignedBuf, Piece};
use crate::staging::Staged;
use crate::ticket::Ticket;
use bifold_page_source::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Read,
    Write,
}

/// Where the bytes go to or come from.
#[derive(Debug)]
pub(crate) enum Buffer {
    /// One page, straight into its frame.
    Page(Ticket),
    /// Neighbouring pages in one transfer, to be copied into their frames.
    Run(Vec<Ticket>, Staged),
    /// Part of an extent.
    Piece(Piece),
    /// Bytes that leave the pool.
    Owned(AlignedBuf),
    /// Bytes to write.
    Staged(Staged),
}

impl Buffer {
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Page(ticket) => ticket.bytes_mut(),
            Self::Run(_, staged) | Self::Staged(staged) => staged.bytes_mut(),
            Self::Piece(piece) => piece.bytes_mut(),
            Self::Owned(buf) => buf,
        }
    }
}

/// One transfer: all of `buffer` at byte `offset` of the file.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) op: Op,
    pub(crate) offset: u64,
    pub(crate) buffer: Buffer,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) offset: u64,
    pub(crate) buffer: Buffer,
    pub(crate) result: io::Result<()>,
}

/// Where completions go. Called on whatever thread completes the request.
pub(crate) trait Sink: Send + Sync {
    fn complete(&self, completion: Completion);
}

/// Does transfers, one or many at a time.
pub(crate) trait BatchIo: Debug + Send + Sync {
    /// One transfer, in the calling thread.
    fn run(&self, request: Request) -> Completion;

    /// Starts transfers; each comes to `sink` once. Whoever starts some for a [`Queue`] reaps them all, so there
    /// is always a thread awake behind them.
    fn start(&self, requests: Vec<Request>, sink: &Arc<dyn Sink>);

    /// The next completion of those started for `queue`, all of them `op`s. Waits for it, and may do transfers of
    /// this kind meanwhile, and of no other: a reader does not do a writer's work. To be called no more often than
    /// transfers were started.
    fn reap(&self, queue: &Queue, op: Op) -> Completion;

    /// Whether transfers go on without anyone who reaps them. If not, there is no reading ahead.
    fn runs_by_itself(&self) -> bool;

    /// Ends all threads; transfers not yet begun are dropped.
    fn shut_down(&self);
}

/// Completions that wait to be reaped.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    done: Mutex<VecDeque<Completion>>,
    arrived: Condvar,
}

impl Queue {
    pub(crate) fn try_pop(&self) -> Option<Completion> {
        self.done.lock().pop_front()
    }

    pub(crate) fn pop(&self) -> Completion {
        let mut done = self.done.lock();
        loop {
            if let Some(completion) = done.pop_front() {
                return completion;
            }
            self.arrived.wait(&mut done);
        }
    }
}

impl Sink for Queue {
    fn complete(&self, completion: Completion) {
        self.done.lock().push_back(completion);
        self.arrived.notify_one();
    }
}
