//! Keys and values as one line of text, and back: any bytes survive the way there and back.
//!
//! A backslash is `\\`; tab, line feed and carriage return are `\t`, `\n` and `\r`; other control characters, and
//! bytes that are not UTF-8, are `\xHH`, byte by byte. Everything else stands for itself, combining marks included. A
//! tab in a value stays a tab: the value is the rest of its line, so nothing is mistaken.
#![forbid(unsafe_code)]

use std::fmt;

/// What becomes of a tab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tab {
    /// It stays, as in a value.
    Plain,
    /// It is escaped, as in a key.
    Escaped,
}

/// Appends `bytes` to `out`, escaped.
pub fn escape(bytes: &[u8], tab: Tab, out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        let mut plain = 0;
        let special = |c: &char| *c == '\\' || (c.is_control() && (*c != '\t' || tab == Tab::Escaped));
        for (at, c) in valid.char_indices().filter(|(_, c)| special(c)) {
            out.extend_from_slice(&valid.as_bytes()[plain..at]);
            plain = at + c.len_utf8();
            match c {
                '\\' => out.extend_from_slice(br"\\"),
                '\t' => out.extend_from_slice(br"\t"),
                '\n' => out.extend_from_slice(br"\n"),
                '\r' => out.extend_from_slice(br"\r"),
                _ => hex(&valid.as_bytes()[at..plain], out),
            }
        }
        out.extend_from_slice(&valid.as_bytes()[plain..]);
        hex(chunk.invalid(), out);
    }
}

/// `bytes` escaped as a key is, for a message.
pub fn shown(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    escape(bytes, Tab::Escaped, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Something that begins as an escape and is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadEscape {
    /// Where the backslash stands, in bytes from the beginning.
    pub at: usize,
    /// What is there, from the backslash on.
    text: String,
}

impl fmt::Display for BadEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            r"\" => write!(f, r"a backslash at the end (a backslash itself is written \\)"),
            text if text.starts_with(r"\x") => write!(f, r"{text} should be \x and two hexadecimal digits"),
            text => write!(f, r"there is no escape {text} (there are \\ \t \n \r and \xHH)"),
        }
    }
}

/// Appends to `out` what the escaped `text` stands for. What needs no escape here, or is not UTF-8, is taken as it is.
///
/// # Errors
/// The first backslash that begins no escape; what stands before it has been appended.
pub fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<(), BadEscape> {
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| *byte == b'\\') {
        let at = from + found;
        out.extend_from_slice(&text[from..at]);
        let (byte, len) = decode(&text[at..]).ok_or_else(|| bad(text, at))?;
        out.push(byte);
        from = at + len;
    }
    out.extend_from_slice(&text[from..]);
    Ok(())
}

/// The byte that the escape at the beginning of `text` stands for, and the escape's length.
fn decode(text: &[u8]) -> Option<(u8, usize)> {
    let digit = |at: usize| text.get(at).and_then(|d| char::from(*d).to_digit(16));
    match text.get(1)? {
        b'\\' => Some((b'\\', 2)),
        b't' => Some((b'\t', 2)),
        b'n' => Some((b'\n', 2)),
        b'r' => Some((b'\r', 2)),
        b'x' => Some(((digit(2)? << 4 | digit(3)?) as u8, 4)),
        _ => None,
    }
}

fn bad(text: &[u8], at: usize) -> BadEscape {
    let rest = &text[at..];
    let near = String::from_utf8_lossy(&rest[..rest.len().min(16)]);
    let chars = if rest.get(1) == Some(&b'x') { 3 } else { 1 };
    let behind: String = near.chars().skip(1).take(chars).collect();
    BadEscape { at, text: format!(r"\{}", shown(behind.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(bytes: &[u8], tab: Tab) -> String {
        let mut out = Vec::new();
        escape(bytes, tab, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn unescaped(text: &str) -> Result<Vec<u8>, BadEscape> {
        let mut out = Vec::new();
        unescape(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn by_example() {
        let cases: [(&[u8], &str); 9] = [
            (b"plain text", "plain text"),
            ("Zürich 東京".as_bytes(), "Zürich 東京"),
            // A combining mark is shown as it is.
            ("e\u{301}".as_bytes(), "e\u{301}"),
            (b"C:\\temp", r"C:\\temp"),
            (b"a\tb\nc\rd", r"a\tb\nc\rd"),
            (b"\0\x1b\x7f", r"\x00\x1b\x7f"),
            ("\u{85}".as_bytes(), r"\xc2\x85"),
            (b"ok\xff\xfeok", r"ok\xff\xfeok"),
            // The first two bytes of a three-byte character, cut off.
            (b"\xe6\x9d", r"\xe6\x9d"),
        ];
        for (bytes, text) in cases {
            assert_eq!(escaped(bytes, Tab::Escaped), text);
            assert_eq!(unescaped(text).unwrap(), bytes);
        }
        assert_eq!(escaped(b"a\tb\n", Tab::Plain), "a\tb\\n");
        assert_eq!(unescaped(r"\xAf\xfA").unwrap(), b"\xaf\xfa");
    }

    #[test]
    fn bad_escapes() {
        let cases = [
            (r"ab\q", 2, r"no escape \q"),
            (r"\ü", 0, r"no escape \ü"),
            ("\\\tb", 0, r"no escape \\t "),
            (r"abc\", 3, "a backslash at the end"),
            (r"\\\", 2, "a backslash at the end"),
            (r"a\x1", 1, "two hexadecimal digits"),
            (r"a\xg0", 1, "two hexadecimal digits"),
            (r"a\x", 1, "two hexadecimal digits"),
        ];
        for (text, at, what) in cases {
            let bad = unescaped(text).unwrap_err();
            assert_eq!(bad.at, at, "{text}");
            assert!(bad.to_string().contains(what), "{text}: {bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..200), plain in any::<bool>()) {
            let tab = if plain { Tab::Plain } else { Tab::Escaped };
            let text = escaped(&bytes, tab);
            prop_assert_eq!(unescaped(&text).unwrap(), bytes);
            prop_assert!(text.chars().all(|c| !c.is_control() || (plain && c == '\t')));
        }

        #[test]
        fn any_text_survives(text in "\\PC*[\\\\\t\n\r\u{0}-\u{1f}é\u{301}]*\\PC*") {
            prop_assert_eq!(unescaped(&escaped(text.as_bytes(), Tab::Escaped)).unwrap(), text.as_bytes());
        }

        #[test]
        fn nothing_panics(text in "[\\\\xtnr0-9a-fg\u{e9}]{0,12}") {
            let _ = unescaped(&text);
        }
    }
}
