//! The registry: the published root, and the older ones that readers still hold.
//!
//! Hazard pointers (Michael, "Hazard Pointers", 2004) with one pointer for each reader: a reader claims a slot by
//! storing the published root in it, loads the published root again, and stores anew until both are the same. Then
//! that root stays until the slot is free. Registering is lock-free: it repeats only when a root was published
//! meanwhile.
//!
//! # Why nobody holds what the scan did not find
//! Four accesses decide, all `SeqCst`, so they have one order S that every thread agrees on:
//! the reader's (1) store of root `r` in its slot and (2) validating load of the published root; the writer's
//! (3) store of the next root and (4) load of that slot in a scan. In program order 1 comes before 2, and 3 before 4
//! (a scan takes the lock that publishing held). If 2 reads `r`, though 3 replaces it for good, then 2 precedes 3 in S,
//! hence 1 precedes 4: the scan finds `r`, or what the slot held later, when the reader had left. If 2 comes after 3,
//! the reader does not get `r`. So once a retired root is not found it can never be held again, and may be freed, as
//! may the pages that only it reaches. The count of chunks is `SeqCst` too: it is raised before 1 and read between
//! 3 and 4, so the scan misses no chunk. (A root published again is another publication: it is the current root, which
//! is kept.)
//!
//! A slot is freed by a `Release` store, and claimed and scanned with `Acquire` at least; so all that a reader did
//! with a root happened before the scan that no longer finds it.
//!
//! A slot may hold, between 1 and 2, a pointer whose root is freed already. So a scan never follows what it finds: it
//! compares it with the roots it knows.
#![expect(
    unsafe_code,
    reason = "readers follow the published pointer without a count; their slot keeps it valid"
)]

use super::hint;
use super::slots::Slots;
use bifold_page_source::sync::atomic::{AtomicPtr, Ordering};
use bifold_page_source::sync::{Arc, Mutex};
use crossbeam_utils::CachePadded;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::{fmt, mem, ptr};

/// The id of the next registry. Ids are never used again; 0 is nobody's.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The published root and the readers' slots.
pub(crate) struct Registry<T> {
    id: u64,
    /// The pointer of `roots.current`.
    published: CachePadded<AtomicPtr<T>>,
    slots: Slots<T>,
    roots: Mutex<Roots<T>>,
    /// Whether somebody is in [`publish`](Registry::publish); checked only with debug assertions.
    publishing: AtomicBool,
}

/// What keeps the roots alive.
struct Roots<T> {
    current: Arc<T>,
    /// Published before and not found free yet, oldest first.
    retired: Vec<Arc<T>>,
}

/// A reader's hold on one root of one registry: ends by [`Registry::release`], on any thread. Forgotten, it costs one
/// slot, and its root stays for ever.
#[must_use = "a slot that is not released keeps its root for ever"]
pub(crate) struct RawSlot<T> {
    /// The registry's id; 0 once released.
    registry: u64,
    index: u32,
    root: *const T,
}

// SAFETY: the pointer is only followed, as a shared reference, by `Registry::get`; so moving a slot to another thread
// shares a `T` with it, and releasing it there may be what lets a `T` be dropped elsewhere.
unsafe impl<T: Send + Sync> Send for RawSlot<T> {}
// SAFETY: a shared slot gives nothing but `&T`, as above.
unsafe impl<T: Send + Sync> Sync for RawSlot<T> {}

impl<T> Registry<T> {
    /// A registry whose readers get `root`.
    pub(crate) fn new(root: Arc<T>) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            published: CachePadded::new(AtomicPtr::new(Arc::as_ptr(&root).cast_mut())),
            slots: Slots::new(),
            roots: Mutex::new(Roots { current: root, retired: Vec::new() }),
            publishing: AtomicBool::new(false),
        }
    }

    /// *Writer, one at a time*: readers get `root` from now on. The one before is retired, and kept until
    /// [`collect`](Self::collect) finds that nobody holds it.
    pub(crate) fn publish(&self, root: Arc<T>) {
        if cfg!(debug_assertions) {
            let alone = !self.publishing.swap(true, Ordering::Relaxed);
            debug_assert!(alone, "two threads publish roots at a time");
        }
        let mut roots = self.roots.lock();
        let pointer = Arc::as_ptr(&root).cast_mut();
        let before = mem::replace(&mut roots.current, root);
        self.published.store(pointer, Ordering::SeqCst);
        roots.retired.push(before);
        drop(roots);
        if cfg!(debug_assertions) {
            self.publishing.store(false, Ordering::Relaxed);
        }
    }

    /// The published root, kept by a count of its own: no reader in the sense of [`live`](Self::live). Locks.
    pub(crate) fn current(&self) -> Arc<T> {
        Arc::clone(&self.roots.lock().current)
    }

    /// Takes hold of the published root. Neither locks nor allocates, unless more slots are in use at a time than
    /// ever before.
    #[inline]
    pub(crate) fn register(&self) -> RawSlot<T> {
        let mut claimed = self.published.load(Ordering::Acquire);
        let index = self.slots.claim(hint::last(self.id), claimed);
        hint::remember(self.id, index);
        let root = loop {
            full_fence_for_loom();
            let published = self.published.load(Ordering::SeqCst);
            if published == claimed {
                // This pointer and not the equal one claimed first, which may have been another, freed root's.
                break published;
            }
            claimed = published;
            if let Some(slot) = self.slots.get(index) {
                slot.store(claimed, Ordering::SeqCst);
            }
        };
        RawSlot { registry: self.id, index, root }
    }

    /// The root that `slot` holds.
    ///
    /// # Panics
    /// If `slot` is another registry's, which is a bug of the engine.
    #[inline]
    pub(crate) fn get<'a>(&'a self, slot: &'a RawSlot<T>) -> &'a T {
        assert!(slot.registry == self.id, "a snapshot is asked of a registry that is not its own");
        // SAFETY: ids are unique, so this registry made the slot, and it is not released, as that consumes it. Since
        // `register` has validated it, the slot's word has been this root: nobody else stores to a claimed slot. So
        // no collector has dropped the `Arc` of it (see the top), nor can one, or the registry, before `'a` ends, as
        // the slot and the registry are borrowed. The `SeqCst` load of the pointer acquired what it points to.
        unsafe { &*slot.root }
    }

    /// Lets go of what `slot` holds. Wait-free.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "taking the slot is what ends the hold")]
    pub(crate) fn release(&self, slot: RawSlot<T>) {
        debug_assert_eq!(
            slot.registry, self.id,
            "a snapshot is given back to a registry that is not its own"
        );
        if slot.registry != self.id {
            return;
        }
        if let Some(word) = self.slots.get(slot.index) {
            word.store(ptr::null_mut(), Ordering::Release);
        }
        hint::remember(self.id, slot.index);
    }

    /// Shows `f` every root that a reader may hold, oldest first, each once; the last is the published one. A retired
    /// root not shown is held by no reader and never will be. (Of roots published while this runs nothing is said;
    /// hence it is the writer's to call.)
    pub(crate) fn live(&self, f: &mut dyn FnMut(&T)) {
        let roots = self.roots.lock();
        let protected = self.protected();
        let current = Arc::as_ptr(&roots.current);
        let mut live: Vec<Arc<T>> = Vec::new();
        for root in &roots.retired {
            let pointer = Arc::as_ptr(root);
            let shown = pointer == current || live.iter().any(|other| Arc::as_ptr(other) == pointer);
            if !shown && protected.binary_search(&pointer.cast_mut()).is_ok() {
                live.push(Arc::clone(root));
            }
        }
        live.push(Arc::clone(&roots.current));
        // Not under the lock: `f` is the caller's.
        drop(roots);
        for root in &live {
            f(root);
        }
    }

    /// Lets go of the retired roots that no slot protects, and says how many those were.
    pub(crate) fn collect(&self) -> usize {
        let mut roots = self.roots.lock();
        if roots.retired.is_empty() {
            return 0;
        }
        let protected = self.protected();
        let unseen = |root: &mut Arc<T>| protected.binary_search(&Arc::as_ptr(root).cast_mut()).is_err();
        let dead: Vec<Arc<T>> = roots.retired.extract_if(.., unseen).collect();
        // A root may be large: it is dropped when others can go on.
        drop(roots);
        dead.len()
    }

    /// The scan, accesses 4 of the argument at the top. Called with the lock held.
    fn protected(&self) -> Vec<*mut T> {
        full_fence_for_loom();
        self.slots.protected()
    }
}

impl<T> fmt::Debug for Registry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RawSlot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSlot")
            .field("registry", &self.registry)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// A [`RawSlot`] that knows its registry, through a reference or an owner, and releases itself.
pub(crate) struct Snapshot<T, R: Deref<Target = Registry<T>>> {
    registry: R,
    slot: RawSlot<T>,
}

impl<T, R: Deref<Target = Registry<T>>> Snapshot<T, R> {
    /// Takes hold of the root that `registry` publishes.
    #[inline]
    pub(crate) fn new(registry: R) -> Self {
        let slot = registry.register();
        Self { registry, slot }
    }

    /// The way to the registry.
    pub(crate) fn registry(&self) -> &R {
        &self.registry
    }
}

impl<T, R: Deref<Target = Registry<T>>> Deref for Snapshot<T, R> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.registry.get(&self.slot)
    }
}

impl<T, R: Deref<Target = Registry<T>>> Drop for Snapshot<T, R> {
    #[inline]
    fn drop(&mut self) {
        let released = RawSlot { registry: 0, index: 0, root: ptr::null() };
        let slot = mem::replace(&mut self.slot, released);
        self.registry.release(slot);
    }
}

impl<T: fmt::Debug, R: Deref<Target = Registry<T>>> fmt::Debug for Snapshot<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&**self).finish()
    }
}

/// Loom gives a `SeqCst` access the strength of acquire and release only, but models `SeqCst` fences exactly; so a
/// model gets a fence where the argument relies on the order of accesses. Nothing elsewhere.
#[inline]
fn full_fence_for_loom() {
    #[cfg(loom)]
    bifold_page_source::sync::atomic::fence(Ordering::SeqCst);
}
