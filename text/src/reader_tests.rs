//! Tests of reading: every format, several tables, what is wrong and where; any bytes give entries or an error.
use super::*;
use crate::{dump, json, tsv};
use proptest::collection::vec;
use proptest::prelude::*;

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What a reading gives: tables in the order in which they are named, and how it ends. The first has no name.
fn read(text: &[u8], how: How) -> (Vec<(String, Entries)>, Result<u64>) {
    let mut tables = vec![(String::new(), Vec::new())];
    let (mut entry, mut took, mut line) = (Entry::default(), 0, 0);
    let mut reader = match Reader::new(text, how) {
        Ok(reader) => reader,
        Err(error) => return (tables, Err(error)),
    };
    loop {
        match reader.next(&mut entry) {
            Ok(Next::Table(name)) => tables.push((name, Vec::new())),
            Ok(Next::Entry(bytes)) => {
                took += bytes;
                assert!(reader.line() > line, "{} comes behind {line}", reader.line());
                line = reader.line();
                tables.last_mut().unwrap().1.push((entry.key.clone(), entry.value.clone()));
            }
            Ok(Next::End) => {
                assert_eq!(reader.next(&mut entry).unwrap(), Next::End);
                return (tables, Ok(took));
            }
            Err(error) => {
                // Nothing is promised of what is behind, but that it is no panic.
                let _ = reader.next(&mut entry);
                return (tables, Err(error));
            }
        }
    }
}

fn how(tables: Tables) -> How {
    How { format: None, columns: None, tables, line_max: 1 << 16 }
}

fn or(name: &str) -> Tables {
    Tables::NamedOr(name.into())
}

fn error(text: &str, how: How) -> String {
    read(text.as_bytes(), how).1.unwrap_err().to_string()
}

#[test]
fn the_first_line_shows_the_format() {
    let cases: [(&str, bool, Format); 8] = [
        ("a\tb", false, Format::Tsv),
        ("VERSION=3", false, Format::Dump),
        ("VERSION=3\t", false, Format::Tsv),
        ("VERSION=3", true, Format::Tsv),
        (r#"{"key":"a"}"#, false, Format::Json),
        ("{\t", false, Format::Tsv),
        ("", false, Format::Tsv),
        (" {", false, Format::Tsv),
    ];
    for (line, columns, format) in cases {
        assert_eq!(detect(line.as_bytes(), columns), format, "{line}");
    }
}

const DUMP: &str = "VERSION=3\nformat=print\ndatabase=a\nHEADER=END\nDATA=END\n\
                    VERSION=3\ndatabase=b\nHEADER=END\n 6b\n 76\nDATA=END\n";
const UNNAMED: &str = "VERSION=3\nHEADER=END\n 6b\n 76\nDATA=END\n";

#[test]
fn tables_come_before_their_entries() {
    let entry = (b"k".to_vec(), b"v".to_vec());
    for tables in [Tables::Named, or("else")] {
        let (tables, end) = read(DUMP.as_bytes(), how(tables));
        assert_eq!(end.unwrap(), 8);
        assert_eq!(tables[1..], [("a".into(), vec![]), ("b".into(), vec![entry.clone()])]);
    }
    let line = |table: &str| format!("{}\n", json::entry_json(Some(table), b"k", b"v"));
    let text = [line("a"), line("a"), line("b"), line("a")].concat();
    for tables in [Tables::Named, or("else")] {
        let (tables, end) = read(text.as_bytes(), how(tables));
        assert_eq!(end.unwrap(), text.len() as u64);
        let names: Vec<_> =
            tables[1..].iter().map(|(name, entries)| (name.as_str(), entries.len())).collect();
        assert_eq!(names, [("a", 2), ("b", 1), ("a", 1)]);
        assert!(tables[1..].iter().all(|(_, entries)| entries.iter().all(|found| *found == entry)));
    }
}

#[test]
fn what_is_named_no_table_is_for_one_that_was_said() {
    let entry = || (b"k".to_vec(), b"v".to_vec());
    let (t, none) = (json::entry_json(Some("t"), b"k", b"v"), json::entry_json(None, b"k", b"v"));
    let cases = [
        ("k\tv\n".into(), vec!["else"]),
        (none.to_string(), vec!["else"]),
        (format!("{none}\n{t}\n{none}\n"), vec!["else", "t", "else"]),
        (UNNAMED.into(), vec!["else"]),
        (format!("{UNNAMED}{}", UNNAMED.replace("HEADER", "database=t\nHEADER")), vec!["else", "t"]),
        (String::new(), vec![]),
    ];
    for (text, names) in cases {
        let (tables, end) = read(text.as_bytes(), how(or("else")));
        end.unwrap();
        let wanted: Vec<_> = names.into_iter().map(|name| (name.to_owned(), vec![entry()])).collect();
        assert_eq!(tables[1..], wanted, "{text}");
        assert!(tables[0].1.is_empty());
    }
    let twice = error(&UNNAMED.repeat(2), how(or("else")));
    assert_eq!(twice, "line 7: another database without a name begins here");
}

#[test]
fn tables_that_do_not_go_with_what_was_asked() {
    let line = |table: Option<&str>| json::entry_json(table, b"k", b"v");
    let two = format!("{}\n{}\n", line(Some("a\n")), line(None));
    for (text, tables, what) in [
        (&*two, Tables::One, r#"line 2: its table is none, and was "a\n" before"#),
        (&*two, Tables::Named, "line 2: it has no \"table\""),
        (DUMP, Tables::One, "line 8: another database begins here"),
        (UNNAMED, Tables::Named, "line 2: the header has no database=NAME"),
        ("a\tb\n", Tables::Named, "it is TSV, which names no tables"),
    ] {
        assert_eq!(error(text, how(tables)), what);
    }
    let columns = Some(Columns::default());
    let dump = How { format: Some(Format::Dump), columns, ..how(Tables::One) };
    assert!(matches!(read(UNNAMED.as_bytes(), dump).1, Err(Error::NotTsv)));
    let (tables, end) = read(
        b"VERSION=3\n{}\n",
        How { columns: Some(Columns { key: 1, value: Some(1) }), ..how(Tables::One) },
    );
    assert_eq!((end.unwrap(), tables[0].1.len()), (13, 2));
}

#[test]
fn nothing_is_of_every_format_but_a_dump() {
    for format in [None, Some(Format::Tsv), Some(Format::Json)] {
        for tables in [Tables::One, Tables::Named, or("else")] {
            let (found, end) = read(b"", How { format, ..how(tables) });
            assert_eq!((found.len(), end.unwrap()), (1, 0), "{format:?}");
        }
    }
    let empty = error("", How { format: Some(Format::Dump), ..how(Tables::Named) });
    assert_eq!(empty, "line 1: the input is empty, and a dump begins with VERSION=3");
}

#[test]
fn errors_name_the_line_and_the_byte() {
    let json = r#"{"key":"a","value":"b"}"#;
    let cases = [
        ("a\tb\nc\\\td", 2, Some(2)),
        ("a\tb\nc", 2, None),
        (&*format!("{json}\n{{\"key\":7}}"), 2, None),
        (&*format!("{json}\n{{\"key\" 7}}"), 2, Some(8)),
        (&*format!("{json}\n{json}x"), 2, Some(24)),
        (&*UNNAMED.replace("76", "7x"), 4, Some(3)),
        (&UNNAMED[..10], 2, None),
        (&UNNAMED[..18], 2, None),
        (&UNNAMED[..23], 3, None),
        (&UNNAMED[..25], 4, None),
        (&UNNAMED[..29], 5, None),
    ];
    for (text, line, byte) in cases {
        match read(text.as_bytes(), how(Tables::One)).1 {
            Err(Error::Line { line: found, byte: at, what }) => {
                assert_eq!((found, at), (line, byte), "{text}: {what}");
                assert!(!what.is_empty());
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let long = "a\tb\n".to_owned() + &"x".repeat(1 << 17);
    assert!(matches!(
        read(long.as_bytes(), how(Tables::One)).1,
        Err(Error::TooLong { line: 2, max: 0x1_0000 })
    ));
}

/// `entries` as text in a format, named a table.
fn written(name: Option<&str>, entries: &Entries, format: Format, print: bool) -> Vec<u8> {
    let mut text = Vec::new();
    if format == Format::Dump {
        let header = dump::Header { database: name.map(String::from), print };
        dump::write_header(&mut text, &header, None).unwrap();
    }
    for (key, value) in entries {
        match format {
            Format::Tsv => tsv::write_entry(key, value, &mut text),
            Format::Json => text.extend(format!("{}\n", json::entry_json(name, key, value)).bytes()),
            Format::Dump => {
                dump::write_line(&mut text, key, print).unwrap();
                dump::write_line(&mut text, value, print).unwrap();
            }
        }
    }
    if format == Format::Dump {
        dump::write_end(&mut text).unwrap();
    }
    text
}

fn entries() -> impl Strategy<Value = Entries> {
    let bytes = || {
        prop_oneof![
            vec(any::<u8>(), 0..12),
            vec(prop_oneof![Just(b'\t'), Just(b'\n'), Just(b'\\'), Just(b'=')], 0..4)
        ]
    };
    vec((bytes(), bytes()), 1..8)
}

fn any_format() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Tsv), Just(Format::Dump), Just(Format::Json)]
}

fn any_how() -> impl Strategy<Value = How> {
    let tables = prop_oneof![Just(Tables::One), Just(Tables::Named), Just(or("else"))];
    let columns =
        (1..3_usize, proptest::option::of(1..3_usize)).prop_map(|(key, value)| Columns { key, value });
    (proptest::option::of(any_format()), proptest::option::weighted(0.3, columns), tables, 5..200_u64)
        .prop_map(|(format, columns, tables, line_max)| How { format, columns, tables, line_max })
}

/// Whether an error says a line of `text`, or the end behind its last.
fn is_placed(error: &Error, text: &[u8]) -> bool {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    match error {
        Error::Line { line, byte, .. } => {
            let len = lines.get(*line as usize - 1).map_or(0, |line| line.len() as u64);
            (1..=lines.len() as u64 + 1).contains(line)
                && byte.is_none_or(|byte| (1..=len.max(1) + 1).contains(&byte))
        }
        Error::TooLong { line, .. } | Error::AnotherTable { line, .. } | Error::NoTable { line, .. } => {
            (1..=lines.len() as u64).contains(line)
        }
        Error::Read(_) => false,
        Error::NotTsv | Error::TsvNamesNone => true,
    }
}

proptest! {
    /// In every format, whether it is said or seen, whatever the bytes.
    #[test]
    fn what_is_written_is_taken_back(entries in entries(), format in any_format(), said in any::<bool>(),
                                     print in any::<bool>(), name in "\\PC{0,3}[\\\\\t\n=]?", named in any::<bool>()) {
        let text = written(named.then_some(&*name), &entries, format, print);
        let said = said.then_some(format);
        let (tables, end) = read(&text, How { format: said, ..how(Tables::One) });
        let header = text.len() as u64 - end.unwrap();
        prop_assert_eq!(header > 0, format == Format::Dump);
        prop_assert_eq!(&tables[0].1, &entries);
        let (tables, end) = read(&text, How { format: said, ..how(or("else")) });
        end.unwrap();
        let table = if named && format != Format::Tsv { name } else { "else".into() };
        prop_assert_eq!(&tables[1..], [(table, entries)]);
    }

    /// Several tables in one dump, and one behind the other in JSON.
    #[test]
    fn tables_are_taken_back(tables in vec(("[a-c]\\PC", entries()), 0..5), print in any::<bool>(), dump in any::<bool>()) {
        let format = if dump { Format::Dump } else { Format::Json };
        let each = tables.iter().map(|(name, entries)| written(Some(name), entries, format, print));
        let (mut found, end) = read(&each.collect::<Vec<_>>().concat(), how(Tables::Named));
        end.unwrap();
        found.remove(0);
        let mut wanted = tables;
        // Lines of JSON do not show where one ends and another of the same name begins.
        for tables in [&mut found, &mut wanted] {
            tables.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1.append(&mut next.1);
                }
                same
            });
        }
        prop_assert_eq!(found, wanted);
    }

    /// Lines that are likely to be right here and there, in every mode: an end is always come to.
    #[test]
    fn nearly_right_lines_give_entries_or_a_placed_error(
        lines in vec(prop_oneof![
            Just("VERSION=3"), Just("HEADER=END"), Just("DATA=END"), Just("database=x"), Just("format=print"),
            Just("type=btree"), Just(" 61"), Just(" "), Just(""), Just("a\tb"), Just("{}"), Just("VERSION=2"),
            Just(r#"{"key":"a","value":"b"}"#), Just(r#"{"table":"t","key":"a","value":"b"}"#), Just(r" \6"),
        ], 0..12),
        how in any_how(),
    ) {
        let text = lines.join("\n");
        if let (_, Err(error)) = read(text.as_bytes(), how) {
            prop_assert!(is_placed(&error, text.as_bytes()), "{:?}", error);
        }
    }

    /// Any bytes, behind a beginning that shows each of the formats, or none.
    #[test]
    fn any_bytes_give_entries_or_a_placed_error(
        head in prop_oneof![Just(""), Just("{"), Just("{\"key\":"), Just("a\t"), Just("VERSION=3\n"), Just("VERSION=3\nHEADER=END\n "),
                            Just("VERSION=3\nformat=print\nHEADER=END\n ")],
        bytes in vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\t'), Just(b'\\'), Just(b'='), Just(b'"'), Just(b' ')], 0..80),
        how in any_how(),
    ) {
        let text = [head.as_bytes(), &bytes].concat();
        if let (_, Err(error)) = read(&text, how) {
            prop_assert!(is_placed(&error, &text), "{:?}", error);
        }
    }

    /// A good text with some bytes changed, or cut short. A dump that was cut is known to be.
    #[test]
    fn damaged_texts_give_entries_or_a_placed_error(entries in entries(), format in any_format(), print in any::<bool>(),
                                                   changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
                                                   cut in any::<prop::sample::Index>()) {
        let mut text = written(Some("t"), &entries, format, print);
        text.truncate(cut.index(text.len()) + 1);
        let whole = text.ends_with(b"DATA=END\n") || text.ends_with(b"DATA=END");
        for (at, byte) in &changes {
            let at = at.index(text.len());
            text[at] = *byte;
        }
        match read(&text, how(Tables::One)).1 {
            Ok(_) => prop_assert!(whole || !changes.is_empty() || format != Format::Dump),
            Err(error) => prop_assert!(is_placed(&error, &text), "{:?}", error),
        }
    }
}
