//! The stores under measurement, one file each, and each peer behind its feature.
//!
//! What a durable commit calls, and what "unsynced" means, is for each store in [`Store::SYNCED`](crate::Store::SYNCED)
//! and [`Store::UNSYNCED`](crate::Store::UNSYNCED), and is printed above every table.

pub mod bifold;
#[cfg(feature = "canopydb")]
pub mod canopydb;
#[cfg(feature = "fjall")]
pub mod fjall;
#[cfg(feature = "lmdb")]
pub mod lmdb;
#[cfg(feature = "mdbx")]
pub mod mdbx;
pub mod pread;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
mod sabotage;
#[cfg(feature = "sled")]
pub mod sled;
#[cfg(feature = "sqlite")]
pub mod sqlite;
