//! The engine's epoch: what a walk through the delta holds so that no image vanishes under it.
//!
//! A thin wrapper of crossbeam-epoch's (Fraser, "Practical lock-freedom", 2004), so that the scheme is named in
//! one place. A guard is held only while a walk is in the delta, never over I/O or user code.
#![forbid(unsafe_code)]

use crossbeam_epoch::Guard;
use std::fmt;

/// Proof that this thread is inside the epoch: nothing unlinked after it was made is freed before it is dropped.
/// Stays on its thread; may be nested.
pub(crate) struct EpochGuard(Guard);

impl EpochGuard {
    /// Enters the epoch. Neither locks nor allocates, but for a thread's first entry.
    #[inline]
    pub(crate) fn enter() -> Self {
        let guard = crossbeam_epoch::pin();
        model_fence();
        Self(guard)
    }

    /// Calls `f`, on whatever thread, once every guard that exists now is gone.
    pub(crate) fn retire(&self, f: impl FnOnce() + Send + 'static) {
        self.0.defer(f);
    }

    /// Hands what this thread has retired to everybody, and frees some of what is due. To be called after a batch
    /// of [`retire`](Self::retire): otherwise a thread that falls idle keeps a few dozen pieces of garbage.
    pub(crate) fn flush(&self) {
        model_fence();
        self.0.flush();
    }
}

/// Crossbeam's fences, where it enters and where it looks who is inside, are none that a model knows of: there they are
/// repeated with the model's own.
#[inline]
fn model_fence() {
    #[cfg(loom)]
    bifold_page_source::sync::atomic::fence(bifold_page_source::sync::atomic::Ordering::SeqCst);
}

impl fmt::Debug for EpochGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochGuard")
    }
}
