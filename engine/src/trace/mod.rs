//! A recording of what was asked of a database, and the reader of such files.
//!
//! [`Builder::record_trace`](crate::Builder::record_trace) has every call noted: its kind, its keys, the lengths of
//! values, when, and by which thread. [`Reader`] gives the calls back, one [`Event`] after the other, to be replayed
//! against another backend or to be counted. The bytes are described in `docs/trace-format.md`.
//!
//! A transaction that is recorded carries what records it (`calls.rs`), and hands its number on to tables, cursors and
//! scans. One that is not carries nothing, and each call finds that out by one test. Every thread fills blocks of its
//! own (`recorder.rs`), which are appended to the file as they are full.

mod block;
pub(crate) mod calls;
mod decode;
mod encode;
mod event;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;
mod veil;
#[cfg(test)]
mod version_tests;

pub use event::{Event, From, Op};
pub use reader::{Error, Reader, Result};
pub(crate) use recorder::Recorder;
