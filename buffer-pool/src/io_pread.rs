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

/// Jobs that nobody has begun. Reads are waited for, writes belong to a bulk: reads go first. Writes do not wait for
/// ever, as whoever reaps them does them too.
#[derive(Default)]
struct Pending {
    reads: VecDeque<Job>,
    writes: VecDeque<Job>,
    stop: bool,
}

impl Pending {
    fn of(&mut self, op: Op) -> &mut VecDeque<Job> {
        match op {
            Op::Read => &mut self.reads,
            Op::Write => &mut self.writes,
        }
    }

    fn next(&mut self) -> Option<Job> {
        self.reads.pop_front().or_else(|| self.writes.pop_front())
    }
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
                    if let Some(job) = pending.next() {
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
        let mut pending = self.work.pending.lock();
        for request in requests {
            pending.of(request.op).push_back(Job { request, sink: Arc::clone(sink) });
        }
        drop(pending);
        if one {
            self.work.wake.notify_one();
        } else {
            self.work.wake.notify_all();
        }
    }

    fn reap(&self, queue: &Queue, op: Op) -> Completion {
        loop {
            if let Some(completion) = queue.try_pop() {
                return completion;
            }
            let job = self.work.pending.lock().of(op).pop_front();
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
            (std::mem::take(&mut pending.reads), std::mem::take(&mut pending.writes))
        };
        self.work.wake.notify_all();
        drop(dropped);
        for thread in self.threads.lock().take().into_iter().flatten() {
            let _ = thread.join(); // it does not panic
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned::AlignedBuf;
    use crate::device::ALIGN;
    use crate::io::Buffer;
    use bifold_page_source::{FileSystem, MemFs, PageSize};
    use std::path::Path;

    fn request(op: Op, offset: u64, byte: u8) -> Request {
        let mut buf = AlignedBuf::new(4096, ALIGN).unwrap();
        buf.fill(byte);
        Request { op, offset, buffer: Buffer::Owned(buf) }
    }

    #[test]
    fn readers_do_not_do_the_work_of_writers() {
        let file = MemFs::new().create_unnamed(Path::new("file")).unwrap();
        file.set_len(1 << 16).unwrap();
        let device = Arc::new(Device::new(Arc::clone(&file), false, PageSize::DEFAULT).unwrap());
        let io = PreadIo::new(device, 0);
        let [reads, writes] = [(); 2].map(|()| Arc::new(Queue::default()));
        let (read_sink, write_sink): (Arc<dyn Sink>, Arc<dyn Sink>) =
            (Arc::<Queue>::clone(&reads), Arc::<Queue>::clone(&writes));
        io.start((0..3).map(|n| request(Op::Write, n * 4096, 7)).collect(), &write_sink);
        io.start((0..3).map(|n| request(Op::Read, n * 4096, 9)).collect(), &read_sink);
        for n in 0..3 {
            let mut completion = io.reap(&reads, Op::Read);
            assert_eq!(completion.offset, n * 4096);
            assert!(completion.buffer.bytes_mut().iter().all(|&byte| byte == 0), "nothing was written yet");
        }
        assert!(writes.try_pop().is_none());
        (0..3).for_each(|n| assert_eq!(io.reap(&writes, Op::Write).offset, n * 4096));
        let mut bytes = [0; 4096];
        file.read_at(&mut bytes, 4096).unwrap();
        assert_eq!(bytes, [7; 4096]);
    }

    #[test]
    fn threads_read_before_they_write() {
        let mut pending = Pending::default();
        let sink: Arc<dyn Sink> = Arc::new(Queue::default());
        for (op, offset) in [(Op::Write, 1), (Op::Read, 2), (Op::Write, 3), (Op::Read, 4)] {
            pending.of(op).push_back(Job { request: request(op, offset, 0), sink: Arc::clone(&sink) });
        }
        let order: Vec<u64> = std::iter::from_fn(|| pending.next()).map(|job| job.request.offset).collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }
}
