//! Loom models of the engine's concurrent parts: the registry of snapshots, and the delta's table of pages. They stand
//! beside the code they model; here it is compiled with loom's atomics, and the rest of the engine is left out.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p bifold --no-default-features --test loom`
#![cfg(loom)]
#![allow(dead_code, unused_imports, reason = "the models take a part of what they model")]

#[path = "../src/delta/mod.rs"]
mod delta;
#[path = "../src/snapshot/mod.rs"]
mod snapshot;
