//! The text format of Berkeley DB's `db_dump` and LMDB's `mdb_dump`, version 3: how its lines are written and read.
//!
//! ```text
//! VERSION=3                   a header: NAME=VALUE, a line each
//! format=bytevalue            or print
//! database=NAME
//! type=btree
//! HEADER=END
//!  6b6579                     a space, then a key: two hexadecimal digits a byte
//!  76616c7565                 a space, then its value
//! DATA=END                    another database may follow, from its header on
//! ```
//!
//! With `format=print`, printing ASCII characters stand for themselves and a backslash with two digits for any byte.
//! Berkeley DB writes a backslash as `\\`, which LMDB reads as something else; `\5c` is read right by both.
#![forbid(unsafe_code)]

use crate::error::Wrong;
use crate::escape::shown;
use std::io::{self, Write};

/// What a header says that concerns us.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Header {
    /// The database's name.
    pub database: Option<String>,
    /// Whether printing characters stand for themselves.
    pub print: bool,
}

/// Writes a header. `mapsize` is for LMDB alone.
///
/// # Errors
/// Those of `out`.
pub fn write_header(out: &mut impl Write, header: &Header, mapsize: Option<u64>) -> io::Result<()> {
    let format = if header.print { "print" } else { "bytevalue" };
    writeln!(out, "VERSION=3\nformat={format}")?;
    if let Some(name) = &header.database {
        out.write_all(b"database=")?;
        write_name(out, name)?;
        out.write_all(b"\n")?;
    }
    out.write_all(b"type=btree\n")?;
    if let Some(bytes) = mapsize {
        writeln!(out, "mapsize={bytes}")?;
    }
    out.write_all(b"HEADER=END\n")
}

/// A name as it is, but for what would be mistaken. `mdb_load` does not undo that; such names are rare.
fn write_name(out: &mut impl Write, name: &str) -> io::Result<()> {
    for byte in name.bytes() {
        match byte {
            b'\\' | 0..=0x1F | 0x7F => write!(out, "\\{byte:02x}")?,
            _ => out.write_all(&[byte])?,
        }
    }
    Ok(())
}

/// Writes a key or a value on a line of its own.
///
/// # Errors
/// Those of `out`.
pub fn write_line(out: &mut impl Write, bytes: &[u8], print: bool) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Vec::with_capacity(3 << 12);
    text.push(b' ');
    // Piece by piece, as a value may be much larger than what memory there is for its text.
    for piece in bytes.chunks(1 << 12) {
        for byte in piece {
            let plain = print && matches!(byte, b' '..=b'~') && *byte != b'\\';
            let hex = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            match (plain, print) {
                (true, _) => text.push(*byte),
                (false, true) => text.extend_from_slice(&[b'\\', hex[0], hex[1]]),
                (false, false) => text.extend_from_slice(&hex),
            }
        }
        out.write_all(&text)?;
        text.clear();
    }
    text.push(b'\n');
    out.write_all(&text)
}

/// Writes what ends the data of a database.
///
/// # Errors
/// Those of `out`.
pub fn write_end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"DATA=END\n")
}

/// Takes a line of a header behind `VERSION=3`; the error says why it cannot be had.
pub(crate) fn take_header_line(line: &[u8], header: &mut Header) -> Result<(), String> {
    let Some(at) = line.iter().position(|byte| *byte == b'=') else {
        return Err("a line of the header is NAME=VALUE, and this has no =".into());
    };
    let value = &line[at + 1..];
    // As they are, if they are words that are known.
    let (name, text) = (shown(&line[..at]), shown(value));
    match (&*name, &*text) {
        ("format", "bytevalue") => header.print = false,
        ("format", "print") => header.print = true,
        ("format", _) => return Err(format!("format={text}, which is neither bytevalue nor print")),
        ("database" | "subdatabase", _) => {
            let name = String::from_utf8(read_name(value));
            let name = name.map_err(|_| "the database's name is not UTF-8, which a table's must be")?;
            if header.database.replace(name).is_some() {
                return Err("the header names the database a second time".into());
            }
        }
        (name, text) if means_nothing(name, text) => {}
        ("type", _) => {
            let have = "whose entries have record numbers, not keys; btree and hash can be loaded";
            return Err(format!("type={text}, {have}"));
        }
        ("duplicates" | "dupsort" | "dupfixed" | "integerdup" | "reversedup", "1") => {
            let have = "a key may have several values (DUPSORT), and a table keeps one for each";
            return Err(format!("{name}=1: {have}"));
        }
        ("integerkey" | "reversekey", "1") => {
            let have = "its keys have another order than that of their bytes, which a table has";
            return Err(format!("{name}=1: {have}"));
        }
        ("keys", "0") => return Err("keys=0: it was dumped without its keys (db_dump without -k)".into()),
        _ => return Err(format!("the header says {name}={text}, which is not known here")),
    }
    Ok(())
}

/// Whether what a header says makes no difference to a table.
fn means_nothing(name: &str, text: &str) -> bool {
    match name {
        // A hash's entries come in no order, which load puts right.
        "type" => text == "btree" || text == "hash",
        "keys" => text == "1",
        "duplicates" | "dupsort" | "dupfixed" | "integerdup" | "reversedup" | "integerkey" | "reversekey" => {
            text == "0"
        }
        // How the other store keeps its pages.
        "bt_minkey" | "chksum" | "db_lorder" | "db_pagesize" | "extentsize" | "h_ffactor" | "h_nelem"
        | "mapaddr" | "mapsize" | "maxreaders" | "recnum" => true,
        _ => false,
    }
}

/// A name, as Berkeley DB escapes it, or LMDB, which does not: what is no escape stands for itself.
fn read_name(text: &[u8]) -> Vec<u8> {
    let (mut name, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        let (byte, len) = escaped(&text[at..]).unwrap_or((text[at], 1));
        name.push(byte);
        at += len;
    }
    name
}

/// The byte that the escape at the beginning of `text` stands for, and the escape's length.
fn escaped(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'\\', b'\\', ..] => Some((b'\\', 2)),
        [b'\\', high, low, ..] => Some((digit(*high)? << 4 | digit(*low)?, 3)),
        _ => None,
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Replaces `to` by the bytes that a line stands for; the error says what is wrong with it.
pub(crate) fn take_line(line: &[u8], print: bool, to: &mut Vec<u8>) -> Result<(), Wrong> {
    to.clear();
    let Some((b' ', text)) = line.split_first() else {
        return Err("it should begin with a space, as keys and values do, or be DATA=END".into());
    };
    if print { take_print(text, to) } else { take_hex(text, to) }
}

fn take_hex(text: &[u8], to: &mut Vec<u8>) -> Result<(), Wrong> {
    let wrong = |at: usize| {
        let found = String::from_utf8_lossy(&text[at..=at]).into_owned();
        Wrong::at(at + 1, format!("{found:?} is no hexadecimal digit"))
    };
    let (pairs, rest) = text.as_chunks::<2>();
    to.reserve(pairs.len());
    for (pair, at) in pairs.iter().zip((0..).step_by(2)) {
        let high = digit(pair[0]).ok_or_else(|| wrong(at))?;
        to.push(high << 4 | digit(pair[1]).ok_or_else(|| wrong(at + 1))?);
    }
    match rest {
        [] => Ok(()),
        [last] if digit(*last).is_none() => Err(wrong(text.len() - 1)),
        _ => Err(format!("{} hexadecimal digits, where each byte takes two", text.len()).into()),
    }
}

fn take_print(text: &[u8], to: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut at = 0;
    while let Some(found) = text[at..].iter().position(|byte| *byte == b'\\') {
        to.extend_from_slice(&text[at..at + found]);
        at += found;
        let (byte, len) = escaped(&text[at..]).ok_or_else(|| {
            Wrong::at(
                at + 1,
                "a backslash should be followed by two hexadecimal digits or another (mdb_dump -p is known to \
                 print one as it is: dump without -p)",
            )
        })?;
        to.push(byte);
        at += len;
    }
    to.extend_from_slice(&text[at..]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(bytes: &[u8], print: bool) -> String {
        let mut out = Vec::new();
        write_line(&mut out, bytes, print).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn taken(line: &str, print: bool) -> Result<Vec<u8>, String> {
        let mut bytes = b"left over".to_vec();
        take_line(line.as_bytes(), print, &mut bytes).map(|()| bytes).map_err(|wrong| wrong.to_string())
    }

    fn header(lines: &[&str]) -> Result<Header, String> {
        let mut header = Header::default();
        lines.iter().try_for_each(|line| take_header_line(line.as_bytes(), &mut header))?;
        Ok(header)
    }

    #[test]
    fn lines_by_example() {
        let cases: [(&[u8], &str, &str); 4] = [
            (b"", " \n", " \n"),
            (b"key", " 6b6579\n", " key\n"),
            (b"a\\ b\n\xff", " 615c20620aff\n", " a\\5c b\\0a\\ff\n"),
            ("ü~\x7f".as_bytes(), " c3bc7e7f\n", " \\c3\\bc~\\7f\n"),
        ];
        for (bytes, hex, print) in cases {
            assert_eq!((written(bytes, false), written(bytes, true)), (hex.into(), print.into()));
        }
        assert_eq!(taken(" 6B6579", false).unwrap(), b"key");
        assert_eq!(taken(r" a\\b\5Cü", true).unwrap(), "a\\b\\ü".as_bytes());
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let cases = [
            ("", false, "begin with a space"),
            ("6b", false, "begin with a space"),
            (" 6b6", false, "3 hexadecimal digits"),
            (" 6g", false, "byte 3: \"g\" is no hex"),
            (" 6b\r", false, "byte 4: \"\\r\" is no hex"),
            (" 6b 65", false, "byte 4: \" \" is no hex"),
            (r" a\", true, "byte 3: a backslash"),
            (r" ab\6", true, "byte 4: a backslash"),
            (r" \zz", true, "byte 2: a backslash"),
        ];
        for (line, print, what) in cases {
            let error = taken(line, print).unwrap_err();
            assert!(error.contains(what), "{line}: {error}");
        }
    }

    #[test]
    fn headers_by_example() {
        let lmdb = ["format=bytevalue", "database=städte", "type=btree", "mapsize=1048576", "maxreaders=126"];
        let header_of = |name: &str, print| Header { database: Some(name.into()), print };
        assert_eq!(header(&lmdb).unwrap(), header_of("städte", false));
        let berkeley =
            [r"database=st\c3\a4dte", "format=print", "type=hash", "h_nelem=2", "db_pagesize=4096", "keys=1"];
        assert_eq!(header(&berkeley).unwrap(), header_of("städte", true));
        assert_eq!(header(&["type=btree", "duplicates=0"]).unwrap(), Header::default());
        assert_eq!(header(&[r"database=a\qb\\c="]).unwrap(), header_of(r"a\qb\c=", false));
    }

    #[test]
    fn what_a_header_asks_for_in_vain_is_said() {
        let cases = [
            ("format=json", "neither bytevalue nor print"),
            ("type=recno", "record numbers"),
            ("type=", "record numbers"),
            ("duplicates=1", "(DUPSORT)"),
            ("dupsort=1", "(DUPSORT)"),
            ("dupsort=2", "dupsort=2, which is not known"),
            ("integerkey=1", "another order"),
            ("keys=0", "without its keys"),
            ("colour=red", "colour=red, which is not known"),
            ("HEADER", "NAME=VALUE"),
            ("type=\u{1b}[2J", r"type=\x1b[2J, whose"),
            ("h\tue=\u{1b}", r"says h\tue=\x1b, which"),
        ];
        for (line, what) in cases {
            let error = header(&[line]).unwrap_err();
            assert!(error.contains(what), "{line}: {error}");
        }
        assert!(header(&["database=a", "subdatabase=b"]).unwrap_err().contains("a second time"));
        assert!(
            take_header_line(b"database=\xff", &mut Header::default()).unwrap_err().contains("not UTF-8")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..9000), print in any::<bool>()) {
            let line = written(&bytes, print);
            let text = line.strip_suffix('\n').unwrap();
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(taken(text, print).unwrap(), bytes);
        }

        #[test]
        fn any_name_survives(name in "[\\PC\\\\\n\t]{0,20}") {
            let before = Header { database: Some(name), print: true };
            let mut text = Vec::new();
            write_header(&mut text, &before, Some(1)).unwrap();
            let text = String::from_utf8(text).unwrap();
            let mut lines: Vec<&str> = text.split('\n').collect();
            prop_assert_eq!(lines.split_off(lines.len() - 2), ["HEADER=END", ""]);
            prop_assert_eq!(lines.remove(0), "VERSION=3");
            prop_assert_eq!(header(&lines).unwrap(), before);
        }

        #[test]
        fn nothing_panics(line in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'=')], 0..20)) {
            let _ = take_line(&line, true, &mut Vec::new());
            let _ = take_line(&line, false, &mut Vec::new());
            let _ = take_header_line(&line, &mut Header::default());
        }
    }
}
