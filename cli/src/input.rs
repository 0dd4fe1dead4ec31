//! What `load` reads: a file or standard input, under the name that messages give it.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use bifold_text::escape::shown;
use bifold_text::{Entry, How, Next, Reader};
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Stdin, Write};
use std::path::Path;

/// Bytes read at a time.
const READ_BUFFER: usize = 1 << 17;

/// What is to be loaded.
pub(crate) struct Input {
    /// For messages.
    name: String,
    reader: Box<dyn BufRead>,
    /// In bytes, where that is known.
    pub(crate) len: Option<u64>,
}

impl Input {
    /// The file at `path`; standard input without one, or if it is `-`.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let reader = Box::new(BufReader::with_capacity(READ_BUFFER, standard_input()));
            return Ok(Self { name: "standard input".into(), reader, len: None });
        };
        let name = shown(path.as_os_str().as_encoded_bytes());
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok((file, metadata.is_file().then_some(metadata.len())))
        };
        match open() {
            Ok((file, len)) => {
                let reader = Box::new(BufReader::with_capacity(READ_BUFFER, file));
                Ok(Self { name, reader, len })
            }
            Err(error) => Err(Error::Read(name, error)),
        }
    }
}

/// Standard input, which is about to be read. Says so if it is a terminal, at which somebody would else wait for a
/// program that waits for them.
pub(crate) fn standard_input() -> Stdin {
    let input = io::stdin();
    if input.is_terminal() {
        let _ = writeln!(io::stderr(), "bifold: reading standard input, up to its end");
    }
    input
}

/// The entries of an input.
pub(crate) struct Reading {
    reader: Reader<Box<dyn BufRead>>,
    name: String,
}

impl Reading {
    /// Begins to read: looks at the first line.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(crate) fn new(input: Input, how: How) -> Result<Self> {
        let Input { name, reader, .. } = input;
        match Reader::new(reader, how) {
            Ok(reader) => Ok(Self { reader, name }),
            Err(error) => Err(Error::Input(name, error)),
        }
    }

    /// What comes next. If it is an entry, it is put into `entry`.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub(crate) fn next(&mut self, entry: &mut Entry) -> Result<Next> {
        self.reader.next(entry).map_err(|error| Error::Input(self.name.clone(), error))
    }

    /// The line of the newest entry, counted from 1; of one of several lines, the last.
    pub(crate) fn line(&self) -> u64 {
        self.reader.line()
    }

    /// What it means that the database did not take the entry of a line.
    pub(crate) fn refused(&self, line: u64, error: bifold::Error) -> Error {
        match error {
            error @ (bifold::Error::KeyTooLong { .. } | bifold::Error::ValueTooLong { .. }) => {
                let what = error.to_string();
                Error::Input(self.name.clone(), bifold_text::Error::Line { line, byte: None, what })
            }
            error => error.into(),
        }
    }
}
