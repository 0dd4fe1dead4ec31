//! The suite over the buffer pool: with a cache that holds everything, and with one so small that pages come and go.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod suite;

use bifold::pool::Options;
use bifold_page_source::PageSize;

/// A cache large enough for every test.
pub struct Pool;

impl suite::Backend for Pool {
    type Source = bifold::pool::Source;

    fn options(_page_size: usize) -> Options {
        Options::default().cache_size(32 << 20)
    }
}

/// A cache of 64 frames, which every test outgrows.
pub struct SmallPool;

impl suite::Backend for SmallPool {
    type Source = bifold::pool::Source;

    fn options(page_size: usize) -> Options {
        let page_size = PageSize::new(page_size as u32).unwrap();
        Options::default().frames(64, page_size)
    }
}

mod pool {
    suite!(Pool);
}

mod small_pool {
    suite!(SmallPool);
}
