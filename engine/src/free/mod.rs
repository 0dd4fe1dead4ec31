//! Free space: which pages of the file may be written, which must wait, and how that is remembered on file.
//!
//! A page of the file is in one of five states. *Free*: allocatable now. *Reached*: the newest checkpoint, or the
//! one being written, refers to it. *Early*: handed out and written before any checkpoint refers to it (extents,
//! spilled pages); only memory knows. *Withheld*: dropped, but an older checkpoint or a live snapshot may still
//! need it. *Cut*: part of a subtree that was cut off whole and is yet to be walked; it counts as in use until then.
//!
//! The *persisted map* of checkpoint N is the set of pages that N does not refer to: free, early, and withheld
//! ones whose drop N or an earlier checkpoint records. That snapshots hold pages back is not persisted: they do not outlive the process.
//!
//! - [`runs`], [`page_set`], [`run_set`]: sets of pages, for long runs, for scattered pages, and to allocate from.
//! - [`withheld`]: dropped pages and the rule of births and drops.
//! - [`space`]: [`FreeSpace`], which the writer owns: all states, handing out and taking back.
//! - [`placing`]: which places come first, and when the file can be shorter.
//! - [`chain`]: what a checkpoint records of it, in steps, beside writers who go on.
//! - [`record`], [`replay`]: the persisted form, a chain of records, and reading it back.
#![forbid(unsafe_code)]

mod bits;
mod chain;
mod page_iter;
mod page_set;
mod placing;
mod record;
mod replay;
mod run_set;
mod runs;
mod space;
mod withheld;

#[cfg(test)]
mod model_tests;

pub(crate) use page_set::PageSet;
pub(crate) use record::{Fault, Subtree, decode};
pub(crate) use replay::{Map, Replay};
pub(crate) use runs::Run;
pub(crate) use space::{FreeSpace, Grant, Use};
