//! Bifold's benchmarks: its two backends, and other stores behind features, side by side.
//!
//! [`Store`] is what every store can do, and [`data`] is what they all hold. The program `bifold-bench` measures at
//! the sizes that `docs/benchmarks.md` speaks of; the criterion benchmarks in `benches/` are small, for a change's
//! before and after.

pub mod bifold_store;
pub mod bulk;
pub mod data;
pub mod rounds;
pub mod small;
pub mod store;

#[cfg(feature = "lmdb")]
pub mod lmdb_store;

pub use store::{Order, Setup, Store};

/// Whatever a store may say.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Runs `$body` once for each store of this build, with `$store` as its type.
///
/// The stores are types and not values, so that what is measured is compiled for each of them.
#[macro_export]
macro_rules! for_each_store {
    ($store:ident => $body:expr) => {{
        {
            type $store = $crate::bifold_store::Mmap;
            $body;
        }
        {
            type $store = $crate::bifold_store::Pool;
            $body;
        }
        #[cfg(feature = "lmdb")]
        {
            type $store = $crate::lmdb_store::Lmdb;
            $body;
        }
    }};
}
