//! Transactions: snapshots to read, and the one that writes.

pub(crate) mod pages;
