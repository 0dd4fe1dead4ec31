//! The built `bifold`, run as a person would run it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup;
mod change;
mod cities;
mod common;
mod compact;
mod damage;
mod dump;
mod errors;
mod opening;
mod other_stores;
mod shell;
mod sort;
mod text;
