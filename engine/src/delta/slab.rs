//! The table of delta pages' descriptors, which readers consult without a lock and without waiting.
//!
//! A descriptor is named by a `u32` and holds an image, a home, or, for a while, both. It lives in a chunked array
//! that only grows and never moves. Readers hold an [`EpochGuard`]; an image taken out is dropped when every guard of
//! that time is gone.
//!
//! # Why a reader always finds one or the other
//! The writer stores the home (`Release`) before it takes the image out (`AcqRel`). A reader loads the home, then the
//! image, then, if that was null, the home again. If the null is the writer's, the `Acquire` load that read it
//! synchronises with the swap that wrote it, so the home stored before that swap is visible to the load after it. If
//! the null is older than the first image, the id was not published to this reader, and [`Entry::Missing`] says so.
//! That needs two loads of the home at most, no loop: lookups are wait-free.
//!
//! An id is reused only when no walk can still name it (its death has passed for every live snapshot), which the
//! caller sees to. Were that broken, a reader could meet another page or [`Entry::Missing`], and still no freed memory.
#![expect(unsafe_code, reason = "readers follow shared pointers without a lock; the epoch keeps them valid")]

use super::{EpochGuard, Image, Spares, Stock};
use bifold_page_source::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use bifold_page_source::{prefetch_held_at, prefetch_viewed_at};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::ptr;
use std::sync::{Arc, OnceLock};

/// Slots of the first chunk, as a power of two; each further chunk has twice the slots of the one before.
const FIRST_BITS: u32 = if cfg!(loom) { 2 } else { 12 };

/// Chunks enough for every `u32`.
const CHUNKS: usize = (u32::BITS - FIRST_BITS + 1) as usize;

/// What a descriptor says of its page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'g> {
    /// The page is here.
    Image(&'g Image),
    /// The page has a place on file, and these are the bits of the reference to it.
    Home(u64),
    /// No such page: a broken invariant of whoever asks.
    Missing,
}

/// One descriptor. Four share a cache line, and none lies in two.
#[repr(align(16))]
struct Slot {
    /// From [`Arc::into_raw`], owning one count; null if there is none.
    image: AtomicPtr<Image>,
    /// Zero, or a home, or [`HINT`] with the address of the image's bytes: to be asked for before the image itself is
    /// there to tell, and never followed.
    home: AtomicU64,
}

/// Tells the address of an image's bytes from a home, which is a reference to a page on file and never has this bit.
const HINT: u64 = 1 << 63;

impl Slot {
    fn new() -> Self {
        Self { image: AtomicPtr::new(ptr::null_mut()), home: AtomicU64::new(0) }
    }

    /// The home, or 0.
    #[inline]
    fn home(&self) -> u64 {
        match self.home.load(Ordering::Acquire) {
            home if home < HINT => home,
            _ => 0,
        }
    }

    /// Where the bytes of the image are, or of one that was here: of no use but to the processor.
    #[inline]
    fn bytes(&self) -> *const u8 {
        ptr::without_provenance((self.home.load(Ordering::Relaxed) & !HINT) as usize)
    }
}

/// What is in the table: counted at every commit, beside readers of the table, whose lines it is not to share.
#[derive(Debug)]
struct Totals {
    images: AtomicU64,
    image_bytes: AtomicU64,
}

/// The table. Reading takes `&self` on any thread; the methods marked *writer* are called, for each id, by one thread at
/// a time: whoever holds the engine's writer lock, or the checkpoint whose page it is.
pub(crate) struct Slab {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
    totals: CachePadded<Totals>,
    spares: CachePadded<Spares>,
}

impl Slab {
    /// An empty table that keeps no images for later.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::with_spares(0, 0, 0)
    }

    /// An empty table. Images of `page_len` bytes that nobody sees any more are kept for the writer's next ones, at most
    /// `bound` bytes of them; [`image_bytes`](Self::image_bytes) does not count them. All images together are meant to
    /// stay below `delta` bytes.
    pub(crate) fn with_spares(page_len: usize, bound: u64, delta: u64) -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            totals: CachePadded::new(Totals { images: AtomicU64::new(0), image_bytes: AtomicU64::new(0) }),
            spares: CachePadded::new(Spares::new(page_len, bound, delta)),
        }
    }

    /// What descriptor `id` says now. What it shows stays readable for as long as `guard` is held, whatever the
    /// writer does, and even if the table is dropped. Wait-free.
    #[inline]
    pub(crate) fn get<'g>(&self, id: u32, guard: &'g EpochGuard) -> Entry<'g> {
        let Some(slot) = self.slot(id) else { return Entry::Missing };
        let home = slot.home();
        if home != 0 {
            return Entry::Home(home);
        }
        let image = Self::load(slot, guard);
        // The count that the slot owned leaves it in `replace` and goes to `Spares::leave`, which drops it or gives it to
        // the writer only through the epoch, entered after that.
        // SAFETY: null, or an image whose count the slot owned at this `Acquire` load. That count lives until every guard
        // of the time is gone, and `guard` is one: until then the image is not freed, and no `Arc` of it is unique, so
        // that nobody gets `&mut` to it. The reference ends before the guard.
        if let Some(image) = unsafe { image.as_ref() } {
            return Entry::Image(image);
        }
        // The image may have gone between the two loads; then the home was stored before it went (see the top).
        match slot.home() {
            0 => Entry::Missing,
            home => Entry::Home(home),
        }
    }

    /// Asks the processor for what a look at the image of `id` will read, as if it were a branch.
    #[inline]
    pub(crate) fn prefetch_viewed(&self, id: u32) {
        if let Some(slot) = self.slot(id) {
            prefetch_viewed_at(slot.bytes());
        }
    }

    /// Asks the processor for what a search of the image of `id` will read, as if it were a leaf.
    #[inline]
    pub(crate) fn prefetch_held(&self, id: u32) {
        if let Some(slot) = self.slot(id) {
            prefetch_held_at(slot.bytes(), self.spares.page_len());
        }
    }

    /// The home of descriptor `id`, or 0. Needs no guard, as it shows nothing that could be freed. Wait-free.
    #[inline]
    pub(crate) fn home(&self, id: u32) -> u64 {
        self.slot(id).map_or(0, Slot::home)
    }

    /// The image of descriptor `id`, kept beyond the epoch; `None` if it is gone, and then [`get`](Self::get) tells
    /// where to. While it is held, the image is the holder's memory.
    #[inline]
    pub(crate) fn pin(&self, id: u32, guard: &EpochGuard) -> Option<Arc<Image>> {
        let image = Self::load(self.slot(id)?, guard);
        if image.is_null() {
            return None;
        }
        // SAFETY: the pointer is the one that `Arc::into_raw` gave to the slot. The count that the slot owned is
        // dropped only after every guard of the time is gone (`replace`), and `guard`, alive when the pointer was
        // loaded, is alive still: so the count is at least one now, and the increment is the new handle's own.
        unsafe {
            Arc::increment_strong_count(image);
            Some(Arc::from_raw(image))
        }
    }

    /// Images in the table, whether or not their pages have a home as well.
    pub(crate) fn images(&self) -> u64 {
        self.totals.images.load(Ordering::Relaxed)
    }

    /// Their heap memory in bytes. Images taken out count no longer, even if a walk or a pin still keeps them.
    pub(crate) fn image_bytes(&self) -> u64 {
        self.totals.image_bytes.load(Ordering::Relaxed)
    }

    /// Whether memory for new images is to be got [ready](Self::prepare_frames).
    #[inline]
    pub(crate) fn wants_frames(&self) -> bool {
        self.spares.wants_frames()
    }

    /// Gets memory for new images ready, if there is too little: the work of a thread that has time.
    pub(crate) fn prepare_frames(&self) {
        if self.wants_frames() {
            self.spares.prepare();
        }
    }

    /// Bytes of the images that are kept for later.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn spare_bytes(&self) -> u64 {
        self.spares.bytes()
    }

    /// *Writer*: gives descriptor `id` its image, in place of the one it had. Not before the id is published in a
    /// root or in a published page's word does any reader come here.
    pub(crate) fn publish(&self, id: u32, image: Arc<Image>) {
        self.replace(self.slot_or_grow(id), Some(image));
    }

    /// *Writer*: from now on the page of `id` is where `bits` refers to. The page is written and synced, or will
    /// never be needed after a crash.
    pub(crate) fn set_home(&self, id: u32, bits: u64) {
        debug_assert!(bits != 0 && bits < HINT, "a home of these bits says that there is none");
        self.slot_or_grow(id).home.store(bits, Ordering::Release);
    }

    /// *Writer*: takes the image out of `id`, which has a home. It is dropped once all walks begun before have
    /// ended, and nobody pins it.
    pub(crate) fn retire_image(&self, id: u32) {
        let Some(slot) = self.slot(id) else { return };
        debug_assert_ne!(slot.home(), 0, "an image goes after a home has come");
        self.replace(slot, None);
    }

    /// Lets go of images taken out that wait for more to leave with them. To be called after a batch of retirements.
    pub(crate) fn flush(&self) {
        self.spares.flush(&EpochGuard::enter());
    }

    #[inline]
    fn slot(&self, id: u32) -> Option<&Slot> {
        let (chunk, offset) = place(id);
        self.chunks[chunk].get()?.get(offset)
    }

    fn slot_or_grow(&self, id: u32) -> &Slot {
        let (chunk, offset) = place(id);
        let slots = self.chunks[chunk].get_or_init(|| (0..chunk_len(chunk)).map(|_| Slot::new()).collect());
        &slots[offset]
    }

    /// The image's pointer. The guard is the proof that what it points to stays, if it is not null.
    #[inline]
    fn load(slot: &Slot, _guard: &EpochGuard) -> *const Image {
        slot.image.load(Ordering::Acquire)
    }

    /// Puts `new` in a slot, keeps the books, and drops the count of what was there once the epoch allows.
    fn replace(&self, slot: &Slot, new: Option<Arc<Image>>) {
        let guard = EpochGuard::enter();
        let new = new.map_or(ptr::null_mut(), |image| {
            self.totals.images.fetch_add(1, Ordering::Relaxed);
            self.totals.image_bytes.fetch_add(image.size_bytes(), Ordering::Relaxed);
            if slot.home() == 0 {
                let hint = image.bytes().as_ptr().addr() as u64 | HINT;
                slot.home.store(hint, Ordering::Relaxed);
            }
            Arc::into_raw(image).cast_mut()
        });
        // Release, so that a reader of the pointer sees the image whole, and a reader of the null sees the home.
        let old = slot.image.swap(new, Ordering::AcqRel);
        if old.is_null() {
            return;
        }
        // SAFETY: every pointer in a slot comes from `Arc::into_raw` above and owns a count. The swap took it out, so
        // that count is taken back once, here; it goes to the epoch, and is never dropped at once.
        let old = unsafe { Arc::from_raw(old) };
        self.totals.images.fetch_sub(1, Ordering::Relaxed);
        self.totals.image_bytes.fetch_sub(old.size_bytes(), Ordering::Relaxed);
        self.spares.leave(old, &guard);
    }

    /// Empties `id` for its next life.
    fn clear(&self, id: u32) {
        if let Some(slot) = self.slot(id) {
            self.replace(slot, None);
            slot.home.store(0, Ordering::Release);
        }
    }
}

impl Drop for Slab {
    /// What [`get`](Slab::get) has shown may outlive the table, as it is bound to its guard alone; so the images take
    /// the way through the epoch here too.
    fn drop(&mut self) {
        for slot in self.chunks.iter().filter_map(OnceLock::get).flatten() {
            self.replace(slot, None);
        }
        self.flush();
    }
}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("images", &self.images())
            .field("image_bytes", &self.image_bytes())
            .finish_non_exhaustive()
    }
}

/// The ids of a [`Slab`], which the writer hands out and takes back. There is one beside each slab.
#[derive(Debug, Default)]
pub(crate) struct SlabWriter {
    /// Ids handed out before and free again; the last comes first, as its slot is warm.
    free: Vec<u32>,
    /// Which of the ids below `next` are in use: one bit each, so that an id freed twice is never handed out twice.
    used: Vec<u64>,
    /// The lowest id never handed out, or 2^32.
    next: u64,
    stock: Stock,
}

impl SlabWriter {
    /// No id is in use.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A free id, without image and home; `None` if all 2^32 are in use.
    pub(crate) fn allocate(&mut self) -> Option<u32> {
        let id = if let Some(id) = self.free.pop() {
            id
        } else {
            let id = u32::try_from(self.next).ok()?;
            self.next += 1;
            id
        };
        let word = id as usize / 64;
        if word == self.used.len() {
            self.used.push(0);
        }
        self.used[word] |= 1 << (id % 64);
        Some(id)
    }

    /// A copy of `image` that nobody else has.
    pub(crate) fn copy_of(&mut self, slab: &Slab, image: &Image) -> Arc<Image> {
        self.stock.copy_of(&slab.spares, image)
    }

    /// An image of `bytes` that refers to nothing, and that nobody else has. Whether words will be added is a hint.
    pub(crate) fn image_of(&mut self, slab: &Slab, bytes: &[u8], with_words: bool) -> Arc<Image> {
        self.stock.image_of(&slab.spares, bytes, with_words)
    }

    /// Clears `id`, with its image and its home, for its next life. No walk can name it any more.
    pub(crate) fn free(&mut self, slab: &Slab, id: u32) {
        let bit = 1_u64 << (id % 64);
        let in_use = self.used.get_mut(id as usize / 64).filter(|word| **word & bit != 0);
        debug_assert!(in_use.is_some(), "descriptor {id} is freed, but not in use");
        // Freed twice, it would become two pages' id: leave it alone.
        let Some(word) = in_use else { return };
        *word &= !bit;
        slab.clear(id);
        self.free.push(id);
    }

    /// Ids in use.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> u64 {
        self.next - self.free.len() as u64
    }
}

/// The chunk of an id, and its slot there.
#[inline]
fn place(id: u32) -> (usize, usize) {
    // Shifted by the first chunk's length, ids of chunk `i` are those with `FIRST_BITS + i + 1` significant bits.
    let shifted = u64::from(id) + (1 << FIRST_BITS);
    let bits = shifted.ilog2();
    ((bits - FIRST_BITS) as usize, (shifted - (1 << bits)) as usize)
}

/// Slots of a chunk; the last is cut where the ids end.
fn chunk_len(chunk: usize) -> usize {
    if chunk == CHUNKS - 1 { 1 << FIRST_BITS } else { 1 << (FIRST_BITS as usize + chunk) }
}

#[cfg(test)]
#[path = "slab_tests.rs"]
mod tests;
