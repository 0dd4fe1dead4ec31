//! The head of the database file: the state that opening starts from.
//!
//! - [`format`]: one meta as one 512-byte sector, encoded and decoded.
//! - [`head`]: the four slots of the file's first 16 KiB: which meta is the newest, what a crash may have left there,
//!   what is damage, and how a head that lost a copy is made whole again.
#![forbid(unsafe_code)]

mod format;
mod head;
#[cfg(test)]
mod tests;

pub(crate) use format::{FreeMapRoot, LogState, Meta};
pub(crate) use head::{HEAD_LEN, Head, head_pages, initial_head, write};
