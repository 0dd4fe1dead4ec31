//! Images that nobody can see any more, kept for the writer to make its next ones of.
//!
//! Each commit copies the pages that it changes, and as many older copies go out of sight. Without this, their memory
//! would be freed where the epoch happens to notice, which is often a reader's thread: it would wait for the allocator
//! that the writer keeps busy. So images leave in batches, a batch comes back whole once the epoch allows, and the
//! writer takes from it. What it takes it overwrites wholly: no byte of an old page is ever in a new one.
#![forbid(unsafe_code)]

use super::{EpochGuard, Frame, Frames, Image};
use parking_lot::Mutex;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Images that leave together: one piece of garbage for the epoch, whose pieces readers' threads may have to pick up.
const BATCH: usize = if cfg!(loom) { 1 } else { 32 };

/// Images on their way from the table to the writer.
#[derive(Debug)]
pub(crate) struct Spares {
    /// Bytes of a page. Images of another length, which are large values, are not kept.
    page_len: usize,
    /// Taken out of the table, not yet given to the epoch.
    leaving: Mutex<Vec<Arc<Image>>>,
    back: Arc<Back>,
    /// Where the memory of new ones comes from.
    frames: Option<Arc<Frames>>,
}

/// Images that have come back.
#[derive(Debug)]
struct Back {
    images: Mutex<Vec<Arc<Image>>>,
    /// Bytes of these and of those in the writer's [`Stock`]; at most `bound`.
    bytes: AtomicU64,
    bound: u64,
}

impl Spares {
    /// Keeps images of `page_len` bytes, and at most `bound` bytes of them, of a delta that may grow to `delta` bytes.
    pub(crate) fn new(page_len: usize, bound: u64, delta: u64) -> Self {
        let back = Back { images: Mutex::default(), bytes: AtomicU64::new(0), bound };
        Self {
            page_len,
            leaving: Mutex::default(),
            back: Arc::new(back),
            frames: Frames::new(page_len, delta),
        }
    }

    /// Bytes of a page.
    #[inline]
    pub(crate) fn page_len(&self) -> usize {
        self.page_len
    }

    /// Takes in an image that has been taken out of the table. Nobody gets it before every guard that exists now is gone,
    /// and the writer not before nobody pins it.
    pub(crate) fn leave(&self, image: Arc<Image>, guard: &EpochGuard) {
        if image.bytes().len() != self.page_len || self.back.bound == 0 {
            guard.retire(move || drop(image));
            return;
        }
        let batch = {
            let mut leaving = self.leaving.lock();
            leaving.push(image);
            if leaving.len() < BATCH {
                return;
            }
            mem::replace(&mut *leaving, Vec::with_capacity(BATCH))
        };
        self.give(batch, guard);
    }

    /// Gives what waits for a batch to be full to the epoch as it is.
    pub(crate) fn flush(&self, guard: &EpochGuard) {
        let batch = mem::take(&mut *self.leaving.lock());
        if batch.is_empty() {
            guard.flush();
        } else {
            self.give(batch, guard);
        }
    }

    fn give(&self, batch: Vec<Arc<Image>>, guard: &EpochGuard) {
        let back = Arc::clone(&self.back);
        guard.retire(move || back.accept(batch));
        // A thread's own garbage is counted in pieces, and these are large.
        guard.flush();
    }

    /// Bytes in memory of their own.
    fn frame(&self, bytes: &[u8]) -> Frame {
        match &self.frames {
            Some(frames) => frames.frame(bytes),
            None => Frame::from(Box::from(bytes)),
        }
    }

    /// Whether memory for new images is to be got [ready](Self::prepare).
    #[inline]
    pub(crate) fn wants_frames(&self) -> bool {
        self.frames.as_ref().is_some_and(|frames| frames.wants_region())
    }

    /// Gets memory for new images ready: the work of a thread that has time.
    pub(crate) fn prepare(&self) {
        if let Some(frames) = &self.frames {
            frames.prepare();
        }
    }

    /// Bytes of the images that are kept, but for those on their way.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn bytes(&self) -> u64 {
        self.back.bytes.load(Ordering::Relaxed)
    }
}

impl Back {
    /// Keeps of `batch` what the bound allows. Runs on whatever thread the epoch chooses, so it does not wait: if the
    /// writer is just looking, the batch is freed.
    fn accept(&self, mut batch: Vec<Arc<Image>>) {
        if let Some(mut images) = self.images.try_lock() {
            // Only here, under the lock, does the sum grow.
            let mut bytes = self.bytes.load(Ordering::Relaxed);
            let mut fitting = 0;
            for image in &batch {
                let size = image.size_bytes();
                if bytes + size > self.bound {
                    break;
                }
                bytes = self.bytes.fetch_add(size, Ordering::Relaxed) + size;
                fitting += 1;
            }
            images.extend(batch.drain(..fitting));
        }
        drop(batch);
    }
}

/// The writer's own share of the images that have come back.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    /// Images without room for words: of leaves.
    plain: Vec<Arc<Image>>,
    /// The others.
    worded: Vec<Arc<Image>>,
}

impl Stock {
    /// A copy of `image` that nobody else has, made of a spare one if there is one.
    pub(crate) fn copy_of(&mut self, spares: &Spares, image: &Image) -> Arc<Image> {
        let mut copy = self.image_of(spares, image.bytes(), !image.words().is_empty());
        if let Some(copy) = Arc::get_mut(&mut copy) {
            copy.copy_words_of(image);
        }
        copy
    }

    /// An image of `bytes` that refers to nothing, and that nobody else has. Whether words will be added is a hint.
    pub(crate) fn image_of(&mut self, spares: &Spares, bytes: &[u8], with_words: bool) -> Arc<Image> {
        let mut spare = self.take(spares, bytes.len(), with_words);
        match spare.as_mut().and_then(Arc::get_mut) {
            Some(image) => image.restart(bytes, with_words),
            None => spare = None,
        }
        spare.unwrap_or_else(|| Arc::new(Image::framed(spares.frame(bytes))))
    }

    /// A spare image that nobody pins.
    fn take(&mut self, spares: &Spares, len: usize, with_words: bool) -> Option<Arc<Image>> {
        if len != spares.page_len || spares.back.bound == 0 {
            return None;
        }
        if self.plain.is_empty() || self.worded.is_empty() {
            for image in spares.back.images.lock().drain(..) {
                let kind = if image.has_room_for_words() { &mut self.worded } else { &mut self.plain };
                kind.push(image);
            }
        }
        let (like, unlike) = if with_words {
            (&mut self.worded, &mut self.plain)
        } else {
            (&mut self.plain, &mut self.worded)
        };
        while let Some(mut image) = like.pop().or_else(|| unlike.pop()) {
            spares.back.bytes.fetch_sub(image.size_bytes(), Ordering::Relaxed);
            if Arc::get_mut(&mut image).is_some() {
                return Some(image);
            }
            // Who pins it has it for good.
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
#[path = "spares_tests.rs"]
mod tests;
