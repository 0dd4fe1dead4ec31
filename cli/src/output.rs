//! What commands print, as text for people and `load`, or as JSON for programs.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::escape::{Tab, escape};
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
        escape(key, Tab::Escaped, &mut self.line);
        self.line.push(b'\t');
        escape(value, Tab::Plain, &mut self.line);
        self.end_line()
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

/// Bytes as JSON: a string if they are UTF-8, otherwise `{"base64": "…"}`.
pub(crate) fn bytes_json(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::from(text),
        Err(_) => serde_json::json!({ "base64": base64(bytes) }),
    }
}

/// Base64 as in RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let used = digit <= chunk.len();
            let value = (bits >> (18 - 6 * digit)) & 63;
            out.push(if used { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_by_example() {
        // The examples of RFC 4648, and all digits.
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe, 0x00]), "/+++AA==");
    }

    #[test]
    fn text_is_a_string_and_other_bytes_are_not() {
        assert_eq!(bytes_json("a\tü".as_bytes()).to_string(), r#""a\tü""#);
        assert_eq!(bytes_json(b"\xff\0").to_string(), r#"{"base64":"/wA="}"#);
    }
}
