//! An input on its way to becoming entries, whatever its format; and which format it is.
#![forbid(unsafe_code)]

use crate::args::Format;
use crate::dump_text::{self, Header};
use crate::error::{Error, Result};
use crate::escape::shown;
use crate::input::{Columns, Entry, Lines, Wrong};
use crate::json_lines;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// Bytes read at a time.
const READ_BUFFER: usize = 1 << 17;

/// What comes next in an input.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The entries that follow are this table's.
    Table(String),
    /// An entry, and the bytes that it took.
    Entry(u64),
    /// Nothing.
    End,
}

/// How the input is to be understood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// As this; as its first line shows it if `None`.
    pub(crate) format: Option<Format>,
    /// The columns of the key and the value, if they were chosen: then it is TSV.
    pub(crate) key: Option<u32>,
    pub(crate) value: Option<u32>,
    /// Whether the input names the tables. Otherwise all of it is for one, whatever name it has there.
    pub(crate) tables: bool,
}

/// An input of entries.
pub(crate) struct Reading {
    lines: Lines<Box<dyn BufRead>>,
    state: State,
    /// The input names the tables.
    tables: bool,
    /// For messages.
    name: String,
    /// The line of the newest entry.
    line: u64,
}

/// Where in its format the reading stands.
#[derive(Debug)]
enum State {
    Tsv(Columns),
    Json(Json),
    Dump(Dump),
}

#[derive(Default, Debug)]
struct Json {
    /// Whether there was an entry.
    begun: bool,
    /// The table that the newest entry names.
    table: Option<String>,
    /// An entry that comes behind the name of its table.
    held: Option<(Entry, u64)>,
}

#[derive(Default, Debug)]
struct Dump {
    /// How many databases have begun.
    databases: u64,
    /// Within the data of one, whether printing characters stand for themselves.
    data: Option<bool>,
}

/// What one format says is wrong with the line it has come to.
type Taken<T> = std::result::Result<T, Wrong>;

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Line(what)
    }
}

impl Reading {
    /// Begins to read: looks at the first line, of which none may be longer than `max` bytes.
    ///
    /// # Errors
    /// [`Error::Usage`] if `how` asks for what the format does not have; what is wrong with the first line.
    pub(crate) fn new(input: Input, max: u64, how: How) -> Result<Self> {
        let columns = how.key.is_some() || how.value.is_some();
        let tsv = State::Tsv(Columns {
            key: how.key.map_or(1, |n| n as usize),
            value: how.value.map(|n| n as usize),
        });
        let lines = Lines::new(input.reader, max);
        let mut reading = Self { lines, state: tsv, tables: how.tables, name: input.name, line: 0 };
        let first = reading.lines.peek().map(|line| line.map(|line| detect(line, columns)));
        let Some(found) = first.map_err(|wrong| reading.wrong(wrong))? else {
            // Nothing at all is the same in every format.
            return Ok(reading);
        };
        match how.format.unwrap_or(found) {
            Format::Tsv if how.tables => {
                let what = "TSV names no tables: with --all, the input is a dump or JSON";
                return Err(Error::Usage(format!("{}: {what}", reading.name)));
            }
            Format::Tsv => return Ok(reading),
            Format::Json => reading.state = State::Json(Json::default()),
            Format::Dump => reading.state = State::Dump(Dump::default()),
        }
        if columns {
            return Err(Error::Usage(
                "--key and --value choose columns of TSV, which the input is not".into(),
            ));
        }
        Ok(reading)
    }

    /// What comes next. If it is an entry, it is put into `entry`.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Line`].
    pub(crate) fn next(&mut self, entry: &mut Entry) -> Result<Next> {
        let next = match &mut self.state {
            State::Tsv(columns) => tsv(&mut self.lines, *columns, entry),
            State::Json(json) => json.next(&mut self.lines, self.tables, entry),
            State::Dump(dump) => dump.next(&mut self.lines, self.tables, entry),
        };
        if let Ok(Next::Entry(_)) = next {
            self.line = self.lines.number();
        }
        next.map_err(|wrong| self.wrong(wrong))
    }

    /// The line of the newest entry, counted from 1; of one of several lines, the last.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    fn wrong(&self, wrong: Wrong) -> Error {
        match wrong {
            Wrong::Line(what) => self.wrong_line(self.lines.number(), what),
            Wrong::Read(error) => Error::Read(self.name.clone(), error),
        }
    }

    fn wrong_line(&self, line: u64, what: String) -> Error {
        Error::Line { input: self.name.clone(), line, what }
    }

    /// What it means that the database did not take the entry of a line.
    pub(crate) fn refused(&self, line: u64, error: bifold::Error) -> Error {
        match error {
            error @ (bifold::Error::KeyTooLong { .. } | bifold::Error::ValueTooLong { .. }) => {
                self.wrong_line(line, error.to_string())
            }
            error => error.into(),
        }
    }
}

/// The format that a first line shows. A line of TSV has a tab, unless a column was chosen; nothing is taken for
/// another format that could be TSV.
fn detect(line: &[u8], columns: bool) -> Format {
    if columns || line.contains(&b'\t') {
        Format::Tsv
    } else if line.starts_with(b"VERSION=") {
        Format::Dump
    } else if line.starts_with(b"{") {
        Format::Json
    } else {
        Format::Tsv
    }
}

fn tsv<R: BufRead>(lines: &mut Lines<R>, columns: Columns, entry: &mut Entry) -> Taken<Next> {
    let Some((line, bytes)) = lines.next()? else { return Ok(Next::End) };
    columns.take(line, entry)?;
    Ok(Next::Entry(bytes))
}

impl Json {
    fn next<R: BufRead>(&mut self, lines: &mut Lines<R>, tables: bool, entry: &mut Entry) -> Taken<Next> {
        if let Some((held, bytes)) = self.held.take() {
            *entry = held;
            return Ok(Next::Entry(bytes));
        }
        let Some((line, bytes)) = lines.next()? else { return Ok(Next::End) };
        let table = json_lines::take(line, entry)?;
        let same = self.begun && self.table == table;
        if !tables {
            if self.begun && !same {
                let name =
                    |table: &Option<String>| table.as_ref().map_or("none".into(), |name| format!("{name:?}"));
                let (before, now) = (name(&self.table), name(&table));
                let what =
                    format!("its table is {now}, and was {before} before: --all loads each into its own");
                return Err(what.into());
            }
        } else if !same {
            let Some(name) = table.clone() else {
                return Err(Wrong::Line("it has no \"table\", which --all needs".into()));
            };
            self.held = Some((std::mem::take(entry), bytes));
            (self.begun, self.table) = (true, table);
            return Ok(Next::Table(name));
        }
        (self.begun, self.table) = (true, table);
        Ok(Next::Entry(bytes))
    }
}

impl Dump {
    fn next<R: BufRead>(&mut self, lines: &mut Lines<R>, tables: bool, entry: &mut Entry) -> Taken<Next> {
        loop {
            let Some(print) = self.data else {
                match self.header(lines, tables)? {
                    Some(Header { database: Some(name), .. }) if tables => return Ok(Next::Table(name)),
                    Some(_) => continue,
                    None => return Ok(Next::End),
                }
            };
            let (line, key_bytes) = data_line(lines)?;
            if line == b"DATA=END" {
                self.data = None;
                continue;
            }
            dump_text::take_line(line, print, &mut entry.key)?;
            let (line, value_bytes) = data_line(lines)?;
            if line == b"DATA=END" {
                return Err(Wrong::Line("the data ends behind a key, without its value".into()));
            }
            dump_text::take_line(line, print, &mut entry.value)?;
            return Ok(Next::Entry(key_bytes + value_bytes));
        }
    }

    /// Reads the header of the next database, if there is one.
    fn header<R: BufRead>(&mut self, lines: &mut Lines<R>, tables: bool) -> Taken<Option<Header>> {
        match lines.next()? {
            None => return Ok(None),
            Some((b"VERSION=3", _)) => {}
            Some((line, _)) => return Err(not_version(line, self.databases).into()),
        }
        let mut header = Header::default();
        loop {
            match lines.next()? {
                None => return Err(Wrong::Line("the input ends within a header, before HEADER=END".into())),
                Some((b"HEADER=END", _)) => break,
                Some((line, _)) => dump_text::take_header_line(line, &mut header)?,
            }
        }
        self.databases += 1;
        if tables && header.database.is_none() {
            let what = "the header has no database=NAME, which --all needs: without --all, name the table";
            return Err(Wrong::Line(what.into()));
        }
        if !tables && self.databases > 1 {
            let what = "another database begins here: --all loads each into the table of its name";
            return Err(Wrong::Line(what.into()));
        }
        self.data = Some(header.print);
        Ok(Some(header))
    }
}

/// What is wrong with a line where a dump should begin, behind so many others.
fn not_version(line: &[u8], databases: u64) -> String {
    match (line.strip_prefix(b"VERSION="), databases) {
        (Some(version), _) => format!("VERSION={}; only 3 can be loaded", shown(version)),
        (None, 0) => "a dump begins with VERSION=3".into(),
        (None, _) => {
            "behind DATA=END there is nothing, or another database, which begins with VERSION=3".into()
        }
    }
}

/// A line of data, which must be there.
fn data_line<R: BufRead>(lines: &mut Lines<R>) -> Taken<(&[u8], u64)> {
    let cut = || Wrong::Line("the input ends before DATA=END: the dump was cut short".into());
    lines.next()?.ok_or_else(cut)
}

/// What is to be loaded.
pub(crate) struct Input {
    /// For messages.
    pub(crate) name: String,
    pub(crate) reader: Box<dyn BufRead>,
    /// In bytes, where that is known.
    pub(crate) len: Option<u64>,
}

impl Input {
    /// The file at `path`; standard input without one, or if it is `-`.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let reader = Box::new(BufReader::with_capacity(READ_BUFFER, io::stdin()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Tables, and their entries.
    type Tables = Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)>;

    /// What a reading gives, and how it ends.
    fn read(text: &[u8], how: How) -> (Tables, Result<u64>) {
        let input = Input { name: "in".into(), reader: Box::new(io::Cursor::new(text.to_vec())), len: None };
        let mut tables = vec![("given".to_owned(), Vec::new())];
        let (mut entry, mut took) = (Entry::default(), 0);
        let mut reading = match Reading::new(input, 1 << 16, how) {
            Ok(reading) => reading,
            Err(error) => return (tables, Err(error)),
        };
        loop {
            match reading.next(&mut entry) {
                Ok(Next::Table(name)) => tables.push((name, Vec::new())),
                Ok(Next::Entry(bytes)) => {
                    took += bytes;
                    tables.last_mut().unwrap().1.push((entry.key.clone(), entry.value.clone()));
                }
                Ok(Next::End) => return (tables, Ok(took)),
                Err(error) => return (tables, Err(error)),
            }
        }
    }

    const ANY: How = How { format: None, key: None, value: None, tables: false };

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

    #[test]
    fn tables_come_before_their_entries() {
        let how = How { tables: true, ..ANY };
        let dump = "VERSION=3\nformat=print\ndatabase=a\nHEADER=END\nDATA=END\n\
                    VERSION=3\ndatabase=b\nHEADER=END\n 6b\n 76\nDATA=END\n";
        let (tables, end) = read(dump.as_bytes(), how);
        assert_eq!(end.unwrap(), 8);
        let entry = (b"k".to_vec(), b"v".to_vec());
        assert_eq!(tables[1..], [("a".into(), vec![]), ("b".into(), vec![entry.clone()])]);
        let json = r#"{"table":"a","key":"k","value":"v"}"#;
        let json = format!(
            "{json}\n{json}\n{}\n{json}",
            json.replace('a', "b").replace("tbble", "table").replace("vblue", "value")
        );
        let (tables, end) = read(json.as_bytes(), how);
        assert_eq!(end.unwrap(), json.len() as u64);
        let names: Vec<_> =
            tables[1..].iter().map(|(name, entries)| (name.as_str(), entries.len())).collect();
        assert_eq!(names, [("a", 2), ("b", 1), ("a", 1)]);
        assert!(tables[1..].iter().all(|(_, entries)| entries.iter().all(|found| *found == entry)));
    }

    proptest! {
        /// Lines that are likely to be right here and there, in every mode: an end is always come to.
        #[test]
        fn nothing_panics_and_all_ends(
            lines in proptest::collection::vec(prop_oneof![
                Just("VERSION=3"), Just("HEADER=END"), Just("DATA=END"), Just("database=x"), Just("format=print"),
                Just("type=btree"), Just(" 61"), Just(" "), Just(""), Just("a\tb"), Just("{}"), Just("VERSION=2"),
                Just(r#"{"key":"a","value":"b"}"#), Just(r#"{"table":"t","key":"a","value":"b"}"#),
            ], 0..12),
            format in prop_oneof![Just(None), Just(Some(Format::Tsv)), Just(Some(Format::Dump)), Just(Some(Format::Json))],
            tables in any::<bool>(), key in proptest::option::of(1..3u32),
        ) {
            let text = lines.join("\n");
            let (_, end) = read(text.as_bytes(), How { format, key, value: None, tables });
            if let Err(Error::Line { line, .. }) = end {
                prop_assert!((1..=lines.len() as u64 + 1).contains(&line));
            }
        }
    }
}
