//! Bifold: an embedded, ordered, transactional key-value engine.
//!
//! One B+tree, one file format, and two ways to reach the pages, chosen at build time: `mmap`, where the kernel's page
//! cache is the cache, and `buffer-pool`, Bifold's own cache with a fixed memory budget. API, file and guarantees are
//! the same; a file written under one opens under the other.
//!
//! ```
//! # #[cfg(not(any(feature = "mmap", feature = "buffer-pool")))] fn main() {}
//! # #[cfg(any(feature = "mmap", feature = "buffer-pool"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("geo.bifold");
//! let db = bifold::Database::open(path)?;
//! db.update(|txn| txn.table("cities")?.insert("Zürich", "415367"))?;
//! let txn = db.read()?;
//! let cities = txn.table("cities")?;
//! assert_eq!(cities.get("Zürich")?.as_deref(), Some(&b"415367"[..]));
//! for entry in cities.prefix("Z") {
//!     let (city, people) = entry?;
//!     println!("{}: {}", String::from_utf8_lossy(&city), String::from_utf8_lossy(&people));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Choosing a backend
//! With one backend's feature on, [`Database`] is that one; with both, `mmap`. `bifold::mmap::Database` and
//! `bifold::pool::Database` are always the two, where their feature is on. What only one backend understands lies in
//! its own options, so that a default flipped by feature unification fails to compile rather than lose a setting.

// Under loom there is nothing here: `tests/loom.rs` takes in the parts that are modelled.
#![cfg(not(loom))]

/// The names of one backend's module: types without parameters other than lifetimes.
#[cfg(any(feature = "mmap", feature = "buffer-pool"))]
macro_rules! aliases {
    ($source:ty, $options:ty) => {
        /// The page source.
        pub type Source = $source;
        /// What only this backend understands; see [`Builder::backend`](crate::Builder::backend).
        pub type Options = $options;
        /// An open database; see [`Db`](crate::Db).
        pub type Database = crate::Db<Source>;
        /// Options to open a database with; see [`Builder`](crate::Builder).
        pub type Builder = crate::Builder<Source>;
        /// A snapshot; see [`ReadTxn`](crate::ReadTxn).
        pub type ReadTxn<'db> = crate::ReadTxn<'db, Source>;
        /// The write transaction; see [`WriteTxn`](crate::WriteTxn).
        pub type WriteTxn<'db> = crate::WriteTxn<'db, Source>;
        /// A table of a snapshot; see [`Table`](crate::Table).
        pub type Table<'t> = crate::Table<'t, Source, crate::access::ReadAccess<'t, Source>>;
        /// A table of the write transaction; see [`TableMut`](crate::TableMut).
        pub type TableMut<'t> = crate::TableMut<'t, Source>;
        /// A load of sorted entries; see [`BulkLoad`](crate::BulkLoad).
        pub type BulkLoad<'t> = crate::BulkLoad<'t, Source>;
        /// A cursor of a snapshot; see [`Cursor`](crate::Cursor).
        pub type Cursor<'t> = crate::Cursor<'t, Source, crate::access::ReadAccess<'t, Source>>;
        /// A cursor of the write transaction; see [`CursorMut`](crate::CursorMut).
        pub type CursorMut<'t> = crate::CursorMut<'t, Source>;
        /// An iterator over a range of a snapshot; see [`Scan`](crate::Scan).
        pub type Scan<'t> = crate::Scan<'t, Source, crate::access::ReadAccess<'t, Source>>;
        /// A value that is read without a copy; see [`Value`](crate::Value).
        pub type Value<'t> = crate::Value<'t, Source>;
        /// A value as a stream; see [`ValueReader`](crate::ValueReader).
        pub type ValueReader<'t> = crate::ValueReader<'t, Source>;
    };
}

mod background;
mod checkpoint;
#[cfg(doctest)]
mod compile_checks;
mod db;
mod delta;
mod durability;
mod error;
mod extent;
#[cfg(test)]
mod extent_tests;
mod free;
mod gate;
mod group;
mod meta;
mod node;
mod open;
mod root;
mod snapshot;
pub mod trace;
mod tree;
mod txn;
mod value;
mod wal;
mod walk;
mod word;

pub use bifold_page_source::{PageSource, SourceStats};
pub use db::check::CheckReport;
pub use db::compact::CompactReport;
pub use db::inspect::Fault;
pub use db::shape::{Shape, TableShape};
pub use db::stats::Stats;
pub use db::{Builder, Db};
pub use durability::Durability;
pub use error::{Error, Place, Result};
pub use tree::cursor::Cursor;
pub use tree::scan::{Keys, Scan};
pub use txn::bulk::BulkLoad;
pub use txn::read::ReadTxn;
pub use txn::reader::ValueReader;
pub use txn::table::{Entry, Table};
pub use txn::table_mut::{CursorMut, TableMut};
pub use txn::ticket::CommitTicket;
pub use txn::write::{Savepoint, WriteTxn};
pub use value::Value;
pub use wal::SyncMethod;

/// The database over a read-only mapping: the kernel's page cache is the cache.
#[cfg(all(feature = "mmap", not(loom)))]
pub mod mmap {
    aliases!(bifold_mmap::MmapSource, bifold_mmap::Options);
}

/// The database over Bifold's own page cache, with a fixed memory budget.
#[cfg(all(feature = "buffer-pool", not(loom)))]
pub mod pool {
    aliases!(bifold_pool::PoolSource, bifold_pool::Options);
}

#[cfg(all(feature = "mmap", not(loom)))]
pub use mmap::Database;
#[cfg(all(feature = "buffer-pool", not(feature = "mmap"), not(loom)))]
pub use pool::Database;

/// What tests put in place of threads and clock; see [`Builder::background`].
#[cfg(any(test, feature = "testing"))]
pub mod testing {
    pub use crate::background::{Background, Next, Running, Stepper, Task};
}

/// How a table, cursor or scan reaches its transaction: types that appear in signatures and need no naming.
pub mod access {
    pub use crate::tree::access::ReadAccess;
    pub use crate::txn::access::WriteAccess;
}
