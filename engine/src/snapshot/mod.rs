//! Snapshots: which root readers start from, and which older roots they still hold.
//!
//! A read transaction costs one compare-and-swap on a slot of its own; the writer learns by a scan of the slots what
//! nobody sees any more.

mod hint;
mod registry;
mod slots;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use registry::{Registry, Snapshot};
