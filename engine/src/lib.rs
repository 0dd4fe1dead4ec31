//! Bifold (under construction).
mod delta;
mod error;
mod node;
mod root;
mod tree;
mod txn;
mod walk;
mod word;
pub use error::{Error, Place, Result};
