//! Where a thread looks first for a free slot: the one it used last, whose cache line it is likely to own.
//!
//! A hint and nothing more: it owns no slot, so it may be stale, and a thread may end without a word. Registries have
//! ids that are never used again, so another registry's hint is not taken for ours.
#![forbid(unsafe_code)]

#[cfg(not(loom))]
use std::cell::Cell;

/// Registries a thread remembers, by the low bits of their ids; more than these only make it search.
#[cfg(not(loom))]
const WAYS: usize = 4;

#[cfg(not(loom))]
thread_local! {
    /// Registry and slot. Needs no destructor, so it can be used for as long as the thread runs anything.
    static HINTS: [Cell<(u64, u32)>; WAYS] = const { [const { Cell::new((0, 0)) }; WAYS] };
}

/// The slot of `registry` that this thread used last, or the first.
#[cfg(not(loom))]
#[inline]
pub(super) fn last(registry: u64) -> u32 {
    let (id, slot) = HINTS.with(|hints| hints[registry as usize % WAYS].get());
    if id == registry { slot } else { 0 }
}

/// Remembers that this thread used `slot` of `registry`.
#[cfg(not(loom))]
#[inline]
pub(super) fn remember(registry: u64, slot: u32) {
    HINTS.with(|hints| hints[registry as usize % WAYS].set((registry, slot)));
}

/// Under loom all threads of a model share one thread's locals, and a search from the start is what to explore.
#[cfg(loom)]
pub(super) fn last(_registry: u64) -> u32 {
    0
}

/// See [`last`].
#[cfg(loom)]
pub(super) fn remember(_registry: u64, _slot: u32) {}
