//! What commands print, as text for people and `load`, or as JSON for programs.
#![forbid(unsafe_code)]

use crate::error::Result;
use bifold_text::escape::{Tab, escape};
use bifold_text::tsv;
use indicatif::HumanCount;
use serde_json::Value as Json;
use std::io::{self, BufWriter, StdoutLock, Write};

/// Standard output, buffered.
#[derive(Debug)]
pub(crate) struct Output {
    stream: BufWriter<StdoutLock<'static>>,
    line: Vec<u8>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { stream: BufWriter::with_capacity(1 << 16, io::stdout().lock()), line: Vec::new() }
    }

    /// Prints an entry as a line of TSV.
    pub(crate) fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.line.clear();
        tsv::write_entry(key, value, &mut self.line);
        Ok(self.stream.write_all(&self.line)?)
    }

    /// Prints a key on a line of its own.
    pub(crate) fn key(&mut self, key: &[u8]) -> Result<()> {
        self.line.clear();
        escape(key, Tab::Escaped, &mut self.line);
        self.end_line()
    }

    /// Prints a value on a line of its own.
    pub(crate) fn value(&mut self, value: &[u8]) -> Result<()> {
        self.line.clear();
        escape(value, Tab::Plain, &mut self.line);
        self.end_line()
    }

    fn end_line(&mut self) -> Result<()> {
        self.line.push(b'\n');
        Ok(self.stream.write_all(&self.line)?)
    }

    /// Prints a line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.stream, "{text}")?)
    }

    /// Prints `json` on a line of its own.
    pub(crate) fn json(&mut self, json: &Json) -> Result<()> {
        serde_json::to_writer(&mut self.stream, json)?;
        Ok(self.stream.write_all(b"\n")?)
    }

    /// Where bytes are written as they are.
    pub(crate) fn stream(&mut self) -> &mut impl Write {
        &mut self.stream
    }

    /// Writes what is still in the buffer. Without this, an error would be lost.
    pub(crate) fn finish(mut self) -> Result<()> {
        Ok(self.stream.flush()?)
    }
}

/// So many of `one`, which takes an s.
pub(crate) fn many(count: u64, one: &str) -> String {
    format!("{} {one}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

/// So many entries.
pub(crate) fn entries(count: u64) -> String {
    if count == 1 { "1 entry".into() } else { format!("{} entries", HumanCount(count)) }
}
