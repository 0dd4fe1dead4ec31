//! The built `bifold`, run as a person would run it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cities;
mod common;
mod compact;
mod damage;
mod errors;
mod opening;
mod sort;
mod text;
