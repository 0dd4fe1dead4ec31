//! Bifold's memory-mapped page source: a view is a plain reference into a shared, read-only map of the file.
//!
//! The kernel's page cache is the cache; this crate decides what the map is, when it grows, what the kernel is told
//! about the pages to come, and remembers which pages have been found whole. All writing goes through the file
//! seam, never through the map.
//!
//! What a user must know: nobody else may change the file while it is open, and an I/O error of the disk behind a
//! mapped page is not an error value but the signal `SIGBUS`. Whoever cannot live with that uses the pool.

mod advice;
mod faults;
mod map;
mod options;
mod source;

pub use options::Options;
pub use source::{MmapSource, MmapVisit};
