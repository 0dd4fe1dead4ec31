//! Instructions counted by callgrind, to see a regression before it is merged.
//!
//! Time depends on what else the machine does, and a change of a few percent drowns in it. The number of instructions
//! that a piece of work takes does not: two runs agree within a thousandth. It says nothing about caches, branches that
//! are guessed wrong, the kernel, or the disk, so it is the first question to ask and not the last.
#![forbid(unsafe_code)]

mod callgrind;
mod counts;
mod verdict;

pub use callgrind::{count, valgrind};
pub use counts::Counts;
pub use verdict::{Change, Row, Verdict};
