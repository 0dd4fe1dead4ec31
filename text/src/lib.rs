//! Tables as text: TSV with escapes, JSON lines, and the dumps of LMDB and Berkeley DB, read and written.
//!
//! It knows neither a database nor a command line. [`Reader`] makes entries of an input, whatever its format; what it
//! can find wrong is an [`Error`] that names the line. [`tsv`], [`json`] and [`dump`] write what it takes back, and
//! [`escape`] is how any bytes become one line of text. `docs/command-line.md` is the formats' description.
#![forbid(unsafe_code)]

mod base64;
pub mod dump;
mod error;
pub mod escape;
pub mod json;
mod lines;
mod reader;
pub mod tsv;

pub use error::{Error, Result};
pub use reader::{Format, How, Next, Reader, Tables};

/// An entry taken from an input; the buffers are used again for the next.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}
