//! Recorded traces of calls, made into something that every store can replay.
//!
//! A trace names tables, transactions, cursors and loads; a [`Store`](crate::Store) has one table, and transactions of puts
//! or deletes. [`Tables`] lays all tables into one, [`Session`] follows what a thread of the recording did and says
//! what is left to be done to a store, and [`prepare`] finds out, before anything is run, what was there at the beginning.
#![forbid(unsafe_code)]

mod changes;
mod model;
mod prepare;
mod renames;
mod session;
mod survey;
mod tables;

#[cfg(test)]
mod tests;

pub use changes::Changes;
pub(crate) use prepare::{ENTRIES, NAMES, RENAMES, SHARED, THREADS};
pub use prepare::{Prepared, Recording, prepare};
pub use renames::{Follower, Renamed, Renames};
pub use session::{Expected, Session, Skip, Step};
pub use survey::Survey;
pub(crate) use tables::after;
pub use tables::{Span, Tables};
