//! Bifold's benchmarks: its two backends, a plain `pread` beneath the same engine, and other stores behind features,
//! side by side.
//!
//! [`Store`] is what every store can do, and [`data`] is what they all hold. The program `bifold-bench` measures at
//! the sizes that `docs/benchmarks.md` speaks of; the criterion benchmarks in `benches/` are small, for a change's
//! before and after.

pub mod advise;
pub mod bulk;
pub mod cell;
pub mod compare;
pub mod corpus;
pub mod crossover;
pub mod data;
pub mod diff;
pub mod drive;
pub mod instructions;
pub mod limits;
pub mod memory;
#[cfg(feature = "testing")]
pub mod pieces;
pub mod pread_source;
pub mod report;
pub mod sizes;
pub mod small;
pub mod store;
pub mod stores;
pub mod trace;
pub mod usage;
pub mod workload;
pub mod writes;

#[cfg(any(feature = "fjall", feature = "rocksdb"))]
mod poll;

pub use store::{Counters, Durability, Order, Sabotage, Setup, Store};

/// Whatever a store may say.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Runs `$body` once for each store of this build, with `$store` as its type.
///
/// The stores are types and not values, so that what is measured is compiled for each of them.
#[macro_export]
macro_rules! for_each_store {
    ($store:ident => $body:expr) => {{
        {
            type $store = $crate::stores::bifold::Mmap;
            $body;
        }
        {
            type $store = $crate::stores::bifold::Pool;
            $body;
        }
        {
            type $store = $crate::stores::pread::Pread;
            $body;
        }
        #[cfg(feature = "lmdb")]
        {
            type $store = $crate::stores::lmdb::Lmdb<false>;
            $body;
        }
        #[cfg(feature = "lmdb")]
        {
            type $store = $crate::stores::lmdb::Lmdb<true>;
            $body;
        }
        #[cfg(feature = "mdbx")]
        {
            type $store = $crate::stores::mdbx::Mdbx;
            $body;
        }
        #[cfg(feature = "redb")]
        {
            type $store = $crate::stores::redb::Redb;
            $body;
        }
        #[cfg(feature = "canopydb")]
        {
            type $store = $crate::stores::canopydb::Canopy;
            $body;
        }
        #[cfg(feature = "fjall")]
        {
            type $store = $crate::stores::fjall::Fjall;
            $body;
        }
        #[cfg(feature = "rocksdb")]
        {
            type $store = $crate::stores::rocksdb::Rocks;
            $body;
        }
        #[cfg(feature = "sqlite")]
        {
            type $store = $crate::stores::sqlite::Sqlite;
            $body;
        }
        #[cfg(feature = "sled")]
        {
            type $store = $crate::stores::sled::Sled;
            $body;
        }
    }};
}
