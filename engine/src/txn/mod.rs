//! Transactions: snapshots to read, and the one that writes.

pub(crate) mod access;
pub(crate) mod bulk;
mod bulk_pages;
pub(crate) mod catalog_bound;
pub(crate) mod commit;
pub(crate) mod log_ops;
pub(crate) mod pages;
pub(crate) mod read;
pub(crate) mod reader;
pub(crate) mod reserve;
pub(crate) mod reuse;
pub(crate) mod spill;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod table_mut;
pub(crate) mod ticket;
pub(crate) mod write;
pub(crate) mod writer;
