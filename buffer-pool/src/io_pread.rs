//! The batch interface over `pread` and `pwrite`: a few threads, started at the first batch.
//!
//! Whoever waits for a batch takes jobs itself while there are any, so a batch ends even if no thread could be
//! started.
#![forbid(unsafe_code)]

use crate::device::Device;
use crate::io::{BatchIo, Completion, Op, Queue, Request, Sink};
use bifold_page_source::sync::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// Enough for a system call and a sink that checks a page.
const STACK_SIZE: usize = 256 << 10;

struct Job {
    request: Request,
    sink: Arc<dyn Sink>,
}

#[derive(Default)]
struct Pending {
    jobs: VecDeque<Job>,
    stop: bool,
}

struct Work {
    device: Arc<Device>,
    pending: Mutex<Pending>,
    wake: Condvar,
}

/// Threads that do positioned reads and writes.
pub(crate) struct PreadIo {
    work: Arc<Work>,
    wanted: usize,
    threads: Mutex<Option<Vec<JoinHandle<()>>>>,
    running: AtomicUsize,
}

impl fmt::Debug for PreadIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreadIo").field("threads", &self.wanted).finish_non_exhaustive()
    }
}

impl PreadIo {
    /// Transfers on `device`, up to `threads` at a time beside the callers' own.
    pub(crate) fn new(device: Arc<Device>, threads: usize) -> Self {
        let work = Work { device, pending: Mutex::new(Pending::default()), wake: Condvar::new() };
        Self {
            work: Arc::new(work),
            wanted: threads,
            threads: Mutex::new(None),
            running: AtomicUsize::new(0),
        }
    }

    /// Starts the threads, once.
    fn ensure_threads(&self) {
        if self.wanted == 0 || self.running.load(Ordering::Acquire) > 0 {
            return;
        }
        let mut threads = self.threads.lock();
        if threads.is_some() {
            return;
        }
        let spawn = |_| {
            let work = Arc::clone(&self.work);
            let thread = std::thread::Builder::new().name("bifold-pool-io".into()).stack_size(STACK_SIZE);
            thread.spawn(move || work.serve())
        };
        let started: Vec<_> = (0..self.wanted).map_while(|i| spawn(i).ok()).collect();
        if started.len() < self.wanted {
            tracing::warn!(started = started.len(), wanted = self.wanted, "could not start all I/O threads");
        }
        self.running.store(started.len(), Ordering::Release);
        *threads = Some(started);
    }
}

impl Work {
    fn serve(&self) {
        loop {
            let job = {
                let mut pending = self.pending.lock();
                loop {
                    if pending.stop {
                        return;
                    }
                    if let Some(job) = pending.jobs.pop_front() {
                        break job;
                    }
                    self.wake.wait(&mut pending);
                }
            };
            self.perform(job);
        }
    }

    /// Does a job, whatever the file beneath does.
    fn perform(&self, job: Job) {
        let Job { mut request, sink } = job;
        let result = catch_unwind(AssertUnwindSafe(|| self.transfer(&mut request)))
            .unwrap_or_else(|_| Err(io::Error::other("the file panicked")));
        let Request { offset, buffer, .. } = request;
        // A sink that panics has dropped its completion, which ends the load.
        let _ = catch_unwind(AssertUnwindSafe(|| sink.complete(Completion { offset, buffer, result })));
    }

    fn transfer(&self, request: &mut Request) -> io::Result<()> {
        let bytes = request.buffer.bytes_mut();
        match request.op {
            Op::Read => self.device.read(bytes, request.offset),
            Op::Write => self.device.write(bytes, request.offset),
        }
    }
}

impl BatchIo for PreadIo {
    fn run(&self, mut request: Request) -> Completion {
        let result = self.work.transfer(&mut request);
        Completion { offset: request.offset, buffer: request.buffer, result }
    }

    fn start(&self, requests: Vec<Request>, sink: &Arc<dyn Sink>) {
        self.ensure_threads();
        let one = requests.len() == 1;
        let jobs = requests.into_iter().map(|request| Job { request, sink: Arc::clone(sink) });
        self.work.pending.lock().jobs.extend(jobs);
        if one {
            self.work.wake.notify_one();
        } else {
            self.work.wake.notify_all();
        }
    }

    fn reap(&self, queue: &Queue) -> Completion {
        loop {
            if let Some(completion) = queue.try_pop() {
                return completion;
            }
            let job = self.work.pending.lock().jobs.pop_front();
            match job {
                Some(job) => self.work.perform(job),
                // Every transfer of this batch is in the hands of a running thread.
                None => return queue.pop(),
            }
        }
    }

    fn runs_by_itself(&self) -> bool {
        self.ensure_threads();
        self.running.load(Ordering::Acquire) > 0
    }

    fn shut_down(&self) {
        let dropped = {
            let mut pending = self.work.pending.lock();
            pending.stop = true;
            std::mem::take(&mut pending.jobs)
        };
        self.work.wake.notify_all();
        drop(dropped);
        for thread in self.threads.lock().take().into_iter().flatten() {
            let _ = thread.join(); // it does not panic
        }
    }
}
