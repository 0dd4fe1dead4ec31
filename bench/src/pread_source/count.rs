//! A count that threads raise at each page without waiting for each other's cache lines.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const STRIPES: usize = 16;

/// Two cache lines, as processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// A sum, one part for each of some threads.
#[derive(Debug, Default)]
pub(super) struct Count {
    stripes: [Stripe; STRIPES],
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

impl Count {
    /// Adds one.
    #[inline]
    pub(super) fn up(&self) {
        let own = OWN.try_with(|own| *own).unwrap_or_default();
        self.stripes[own].0.fetch_add(1, Ordering::Relaxed);
    }

    /// The sum.
    pub(super) fn get(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}
