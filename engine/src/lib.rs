//! Bifold (under construction).
mod error;
pub use error::{Error, Place, Result};
