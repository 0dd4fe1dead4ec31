//! The suite over pages in memory: once plainly, and once through a source that catches every write beneath a reader.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod suite;

use bifold_page_source::MemSource;
use bifold_page_source::testing::StaleViewSource;

/// Pages in memory.
pub struct Memory;

impl suite::Backend for Memory {
    type Source = MemSource;
}

/// The same, with poison where a page was looked at.
pub struct Stale;

impl suite::Backend for Stale {
    type Source = StaleViewSource<MemSource>;
}

mod memory {
    suite!(Memory);
}

mod stale {
    suite!(Stale);
}
