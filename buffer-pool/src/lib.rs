//! Bifold's buffer pool: a page source with a cache of its own, within a budget of memory, over `O_DIRECT` reads.
//!
//! Pages on file are immutable, so the pool is a read cache: no latches, no dirty pages. A page's *word* (`word.rs`)
//! says which frame it is in; a *visit* reads words inside an epoch (`epoch.rs`), so that looking at a resident page
//! is a load and some arithmetic; a miss is loaded by one thread, whoever else wants the page parks (`ticket.rs`,
//! `parking.rs`); a clock behind a probationary queue says which page goes (`clock.rs`); all transfers go through
//! one batch interface (`io.rs`). The design follows vmcache and `LeanStore` (Leis et al., SIGMOD 2023 and ICDE 2018)
//! in that readers write nothing shared, with an array for translation in place of virtual memory.
//!
//! The state machine of a page together with the epoch is explored by loom:
//! `RUSTFLAGS="--cfg loom" cargo test -p bifold-pool --lib --release loom` (what loom cannot run, threads, files and
//! mapped memory, is not compiled then).
#![cfg_attr(loom, expect(dead_code, reason = "the models take what they need"))]

mod epoch;
mod word;

#[cfg(all(test, loom))]
mod loom_tests;

#[cfg(not(loom))]
mod access;
#[cfg(not(loom))]
mod aligned;
#[cfg(not(loom))]
mod arena;
#[cfg(not(loom))]
mod batch;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod copies;
#[cfg(not(loom))]
mod credits;
#[cfg(not(loom))]
mod device;
#[cfg(not(loom))]
mod extent;
#[cfg(not(loom))]
mod io;
#[cfg(not(loom))]
mod io_pread;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod parking;
#[cfg(not(loom))]
mod pin;
#[cfg(not(loom))]
mod shared;
#[cfg(not(loom))]
mod source;
#[cfg(not(loom))]
mod staging;
#[cfg(not(loom))]
mod ticket;
#[cfg(not(loom))]
mod translation;
#[cfg(not(loom))]
mod visit;
#[cfg(not(loom))]
mod write;

#[cfg(not(loom))]
pub use {options::Options, pin::PoolPin, source::PoolSource, visit::PoolVisit};
