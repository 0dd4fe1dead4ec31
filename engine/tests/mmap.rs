//! The suite over the mapping.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod suite;

/// Pages reached through a read-only mapping.
pub struct Mmap;

impl suite::Backend for Mmap {
    type Source = bifold::mmap::Source;

    fn options(_page_size: usize) -> bifold::mmap::Options {
        // Many small databases are open at a time.
        let mut options = bifold::mmap::Options::default();
        options.reserve_bytes = 256 << 20;
        options
    }
}

mod mmap {
    suite!(Mmap);
}
