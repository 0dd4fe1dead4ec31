//! The recorder: a buffer for each thread, which goes to the file as a block when it is full.
//!
//! A thread takes only the lock of its own buffer, which nobody else wants but whoever flushes, and, once in some
//! thousand calls, that of the file. What goes wrong there ends the recording and nothing else.
#![forbid(unsafe_code)]

use super::block::{BLOCK_FULL, BLOCK_HEAD, BlockHead, HEAD, Head, VERSION};
use super::encode::{Encoder, Last};
use super::event::Op;
use super::veil::Veil;
use crate::error::{Error, Result};
use crate::open::create::random_file_id;
use bifold_page_source::{File, FileSystem};
use parking_lot::Mutex;
use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

/// Microseconds that an event waits in a buffer, if its thread goes on making calls.
const PATIENCE: u64 = 1_000_000;

/// A recording under way.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: Arc<dyn File>,
    id: u64,
    began: Instant,
    veil: Option<Veil>,
    /// Where the next block goes. Locked after a buffer.
    end: Mutex<End>,
    /// An error has ended the recording.
    ended: AtomicBool,
    /// The buffers of all threads that have one. Not locked together with one of them.
    buffers: Mutex<Vec<Arc<Mutex<Buffer>>>>,
    /// For threads that are so near their end that they have no memory of their own any more.
    common: Arc<Mutex<Buffer>>,
    numbers: AtomicU64,
    /// The next thread's number; 0 is that of `common`.
    threads: AtomicU32,
}

#[derive(Debug)]
struct End {
    offset: u64,
    blocks: u64,
}

/// Events on their way to the file, behind room for the head of their block.
#[derive(Debug, Default)]
struct Buffer {
    thread: u32,
    bytes: Vec<u8>,
    events: u32,
    last: Last,
    /// Microseconds to the first event in it, and to the last one of the thread.
    first_at: u64,
    last_at: u64,
}

/// A thread's buffer for a recording.
struct Own {
    recorder: Weak<Recorder>,
    buffer: Arc<Mutex<Buffer>>,
}

impl Drop for Own {
    /// The thread has ended.
    fn drop(&mut self) {
        if let Some(recorder) = self.recorder.upgrade() {
            recorder.write(&mut self.buffer.lock());
            recorder.buffers.lock().retain(|buffer| !Arc::ptr_eq(buffer, &self.buffer));
        }
    }
}

thread_local! {
    static OWN: RefCell<Vec<Own>> = const { RefCell::new(Vec::new()) };
}

impl Recorder {
    /// Begins a recording in a new file.
    ///
    /// # Errors
    /// I/O errors, `AlreadyExists` among them.
    pub(crate) fn create(
        fs: &dyn FileSystem,
        path: &Path,
        page_size: usize,
        hide: bool,
    ) -> Result<Arc<Self>> {
        let file = fs.create_new(path).map_err(|e| Error::io("create the trace", 0, e))?;
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let head = Head {
            version: VERSION,
            id: random_file_id(),
            began: since_1970.as_micros() as u64,
            page_size: page_size as u32,
            hidden: hide,
        };
        file.write_at(&head.encode(), 0).map_err(|e| Error::io("create the trace", 0, e))?;
        let common = Arc::new(Mutex::new(Buffer::default()));
        Ok(Arc::new(Self {
            file,
            id: head.id,
            began: Instant::now(),
            veil: hide.then(Veil::new),
            end: Mutex::new(End { offset: HEAD as u64, blocks: 0 }),
            ended: AtomicBool::new(false),
            buffers: Mutex::new(vec![Arc::clone(&common)]),
            common,
            numbers: AtomicU64::new(0),
            threads: AtomicU32::new(1),
        }))
    }

    /// Microseconds since the recording began.
    pub(crate) fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    /// A number for a transaction, a table or a load; never 0, and never the same.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Records a call that began `at`.
    pub(crate) fn record(self: &Arc<Self>, at: u64, op: &Op<'_>) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let own = OWN.try_with(|own| own.try_borrow_mut().ok().map(|mut own| self.own_buffer(&mut own)));
        let buffer = own.ok().flatten().unwrap_or_else(|| Arc::clone(&self.common));
        self.append(&mut buffer.lock(), at, op);
    }

    /// This thread's buffer, which it gets at its first call.
    fn own_buffer(self: &Arc<Self>, own: &mut Vec<Own>) -> Arc<Mutex<Buffer>> {
        let mine = |own: &&Own| std::ptr::eq(own.recorder.as_ptr(), Arc::as_ptr(self));
        if let Some(own) = own.iter().find(mine) {
            return Arc::clone(&own.buffer);
        }
        own.retain(|own| own.recorder.strong_count() > 0);
        let buffer = Arc::new(Mutex::new(Buffer { thread: self.next_thread(), ..Buffer::default() }));
        self.buffers.lock().push(Arc::clone(&buffer));
        own.push(Own { recorder: Arc::downgrade(self), buffer: Arc::clone(&buffer) });
        buffer
    }

    fn next_thread(&self) -> u32 {
        self.threads.fetch_add(1, Ordering::Relaxed)
    }

    fn append(&self, buffer: &mut Buffer, at: u64, op: &Op<'_>) {
        let at = at.max(buffer.last_at);
        if buffer.events == 0 {
            buffer.bytes.clear();
            buffer.bytes.resize(BLOCK_HEAD, 0);
            (buffer.last, buffer.first_at, buffer.last_at) = (Last::default(), at, at);
        }
        let Buffer { bytes: out, last, .. } = buffer;
        Encoder { out, last, veil: self.veil.as_ref() }.event(at - buffer.last_at, op);
        buffer.last_at = at;
        buffer.events += 1;
        if buffer.bytes.len() >= BLOCK_HEAD + BLOCK_FULL || at - buffer.first_at >= PATIENCE {
            self.write(buffer);
        }
    }

    /// Appends what a buffer has to the file.
    fn write(&self, buffer: &mut Buffer) {
        if buffer.events == 0 {
            return;
        }
        let mut end = self.end.lock();
        if !self.ended.load(Ordering::Relaxed) {
            let Buffer { thread, first_at, events, .. } = *buffer;
            BlockHead::seal(self.id, end.blocks, &mut buffer.bytes, thread, first_at, events);
            match self.file.write_at(&buffer.bytes, end.offset) {
                Ok(()) => {
                    end.offset += buffer.bytes.len() as u64;
                    end.blocks += 1;
                }
                Err(error) => {
                    self.ended.store(true, Ordering::Relaxed);
                    tracing::warn!(%error, "recording the trace has ended");
                }
            }
        }
        buffer.events = 0;
        if self.ended.load(Ordering::Relaxed) {
            buffer.bytes = Vec::new();
        }
    }

    /// Appends what all threads have recorded so far to the file.
    pub(crate) fn flush(&self) {
        let buffers = self.buffers.lock().clone();
        for buffer in buffers {
            self.write(&mut buffer.lock());
        }
    }
}

#[cfg(test)]
impl Recorder {
    /// How many buffers there are.
    pub(super) fn buffers(&self) -> usize {
        self.buffers.lock().len()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.flush();
    }
}
