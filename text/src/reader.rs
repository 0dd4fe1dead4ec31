//! An input on its way to becoming entries, whatever its format; and which format it is.
#![forbid(unsafe_code)]

use crate::dump::{self, Header};
use crate::error::{Error, Result, Wrong};
use crate::escape::shown;
use crate::lines::Lines;
use crate::tsv::Columns;
use crate::{Entry, json};
use std::io::BufRead;

/// How entries are written as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// A line each: key, tab, value. See [`tsv`](crate::tsv).
    Tsv,
    /// The text format of LMDB's and Berkeley DB's dumps, version 3. See [`dump`](crate::dump).
    Dump,
    /// A JSON object a line. See [`json`](crate::json).
    Json,
}

/// Which tables entries are for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tables {
    /// All are one table's. The input may name it, which is no matter, but not two; [`Next::Table`] never comes.
    One,
    /// The input names a table for each. It is no TSV then.
    Named,
    /// The input may name tables; what it names none for is this one's.
    NamedOr(String),
}

/// How an input is to be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct How {
    /// As this; as its first line shows it if `None`.
    pub format: Option<Format>,
    /// The columns of TSV, if they were chosen: then the first line is taken for TSV, whatever it shows.
    pub columns: Option<Columns>,
    /// Which tables entries are for.
    pub tables: Tables,
    /// The longest line, in bytes: so much memory a line takes, and the key and the value in it as much again.
    pub line_max: u64,
}

/// What comes next in an input.
#[derive(PartialEq, Eq, Debug)]
pub enum Next {
    /// The entries that follow are this table's, of which there may have been some before.
    Table(String),
    /// An entry, and the bytes that it took of the input.
    Entry(u64),
    /// Nothing.
    End,
}

/// An input of entries.
#[derive(Debug)]
pub struct Reader<R> {
    lines: Lines<R>,
    state: State,
    tables: Tables,
    /// The line of the newest entry.
    line: u64,
}

/// Where in its format the reading stands.
#[derive(Debug)]
enum State {
    Tsv(Tsv),
    Json(Json),
    Dump(Dump),
}

impl<R: BufRead> Reader<R> {
    /// Begins to read: looks at the first line. An input with nothing in it is of any format but a dump, which has a
    /// header, and has no entries.
    ///
    /// # Errors
    /// [`Error::NotTsv`] and [`Error::TsvNamesNone`] if `how` asks for what the format does not have; what is wrong
    /// with the first line's length; [`Error::Line`] if nothing is to be a dump.
    pub fn new(reader: R, how: How) -> Result<Self> {
        let How { format, columns, tables, line_max } = how;
        let mut lines = Lines::new(reader, line_max);
        let tsv = State::Tsv(Tsv { columns: columns.unwrap_or_default(), begun: false });
        let Some(found) = lines.peek()?.map(|line| detect(line, columns.is_some())) else {
            if format == Some(Format::Dump) {
                return Err(Wrong::from("the input is empty, and a dump begins with VERSION=3").on(1));
            }
            return Ok(Self { lines, state: tsv, tables, line: 0 });
        };
        let format = format.unwrap_or(found);
        if columns.is_some() && format != Format::Tsv {
            return Err(Error::NotTsv);
        }
        let state = match format {
            Format::Tsv if tables == Tables::Named => return Err(Error::TsvNamesNone),
            Format::Tsv => tsv,
            Format::Json => State::Json(Json::default()),
            Format::Dump => State::Dump(Dump::default()),
        };
        Ok(Self { lines, state, tables, line: 0 })
    }

    /// What comes next. If it is an entry, it is put into `entry`; otherwise what is left there means nothing.
    ///
    /// # Errors
    /// What is wrong with the input. What this gives after an error is unspecified: what came before was whole, and
    /// nobody knows what is behind.
    pub fn next(&mut self, entry: &mut Entry) -> Result<Next> {
        let next = match &mut self.state {
            State::Tsv(tsv) => tsv.next(&mut self.lines, &self.tables, entry),
            State::Json(json) => json.next(&mut self.lines, &self.tables, entry),
            State::Dump(dump) => dump.next(&mut self.lines, &self.tables, entry),
        };
        if let Ok(Next::Entry(_)) = next {
            self.line = self.lines.number();
        }
        next
    }

    /// The line of the newest entry, counted from 1; of one of several lines, the last.
    pub fn line(&self) -> u64 {
        self.line
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

#[derive(Debug)]
struct Tsv {
    columns: Columns,
    /// Whether the table was named that it is for.
    begun: bool,
}

impl Tsv {
    fn next<R: BufRead>(&mut self, lines: &mut Lines<R>, tables: &Tables, entry: &mut Entry) -> Result<Next> {
        if let Tables::NamedOr(name) = tables
            && !std::mem::replace(&mut self.begun, true)
            && lines.peek()?.is_some()
        {
            return Ok(Next::Table(name.clone()));
        }
        let Some((line, bytes)) = lines.next()? else { return Ok(Next::End) };
        self.columns.take(line, entry).map_err(|wrong| wrong.on(lines.number()))?;
        Ok(Next::Entry(bytes))
    }
}

#[derive(Default, Debug)]
struct Json {
    /// Whether there was an entry.
    begun: bool,
    /// The table that the newest names, if it names one.
    table: Option<String>,
    /// An entry that comes behind the name of its table.
    held: Option<(Entry, u64)>,
}

impl Json {
    fn next<R: BufRead>(&mut self, lines: &mut Lines<R>, tables: &Tables, entry: &mut Entry) -> Result<Next> {
        if let Some((held, bytes)) = self.held.take() {
            *entry = held;
            return Ok(Next::Entry(bytes));
        }
        let Some((line, bytes)) = lines.next()? else { return Ok(Next::End) };
        let table = json::take(line, entry).map_err(|wrong| wrong.on(lines.number()))?;
        let line = lines.number();
        if self.begun && self.table == table {
            return Ok(Next::Entry(bytes));
        }
        let name = match (tables, &table) {
            (Tables::One, now) => {
                if self.begun {
                    let (now, before) = (quoted(now.as_deref()), quoted(self.table.as_deref()));
                    let what = format!("its table is {now}, and was {before} before");
                    return Err(Error::AnotherTable { line, what });
                }
                None
            }
            (Tables::Named | Tables::NamedOr(_), Some(name)) | (Tables::NamedOr(name), None) => {
                Some(name.clone())
            }
            (Tables::Named, None) => return Err(Error::NoTable { line, what: "it has no \"table\"" }),
        };
        (self.begun, self.table) = (true, table);
        let Some(name) = name else { return Ok(Next::Entry(bytes)) };
        self.held = Some((std::mem::take(entry), bytes));
        Ok(Next::Table(name))
    }
}

/// A table's name for a message, if there is one.
fn quoted(table: Option<&str>) -> String {
    table.map_or("none".into(), |name| format!("\"{}\"", shown(name.as_bytes())))
}

#[derive(Default, Debug)]
struct Dump {
    /// How many databases have begun.
    databases: u64,
    /// Whether one of them had no name.
    unnamed: bool,
    /// Within the data of one, whether printing characters stand for themselves.
    data: Option<bool>,
}

impl Dump {
    fn next<R: BufRead>(&mut self, lines: &mut Lines<R>, tables: &Tables, entry: &mut Entry) -> Result<Next> {
        loop {
            let Some(print) = self.data else {
                let Some(header) = self.header(lines)? else { return Ok(Next::End) };
                match self.table(header.database, tables, lines.number())? {
                    Some(name) => return Ok(Next::Table(name)),
                    None => continue,
                }
            };
            let (line, key_bytes) = data_line(lines)?;
            if line == b"DATA=END" {
                self.data = None;
                continue;
            }
            dump::take_line(line, print, &mut entry.key).map_err(|wrong| wrong.on(lines.number()))?;
            let (line, value_bytes) = data_line(lines)?;
            if line == b"DATA=END" {
                let what = "the data ends behind a key, without its value";
                return Err(Wrong::from(what).on(lines.number()));
            }
            dump::take_line(line, print, &mut entry.value).map_err(|wrong| wrong.on(lines.number()))?;
            return Ok(Next::Entry(key_bytes + value_bytes));
        }
    }

    /// Reads the header of the next database, if there is one.
    fn header<R: BufRead>(&mut self, lines: &mut Lines<R>) -> Result<Option<Header>> {
        match lines.next()? {
            None => return Ok(None),
            Some((b"VERSION=3", _)) => {}
            Some((line, _)) => return Err(not_version(line, self.databases).on(lines.number())),
        }
        let mut header = Header::default();
        loop {
            match lines.next()? {
                None => {
                    let what = "the input ends within a header, before HEADER=END";
                    return Err(Wrong::from(what).on(lines.number()));
                }
                Some((b"HEADER=END", _)) => break,
                Some((line, _)) => {
                    dump::take_header_line(line, &mut header)
                        .map_err(|what| Wrong::from(what).on(lines.number()))?;
                }
            }
        }
        self.databases += 1;
        self.data = Some(header.print);
        Ok(Some(header))
    }

    /// The table that is to be named for the database that has just begun, on `line`.
    fn table(&mut self, name: Option<String>, tables: &Tables, line: u64) -> Result<Option<String>> {
        let unnamed_before = self.unnamed;
        self.unnamed |= name.is_none();
        let another = |what: &str| Error::AnotherTable { line, what: what.into() };
        match (tables, name) {
            (Tables::One, _) if self.databases > 1 => Err(another("another database begins here")),
            (Tables::One, _) => Ok(None),
            (Tables::Named | Tables::NamedOr(_), Some(name)) => Ok(Some(name)),
            (Tables::Named, None) => Err(Error::NoTable { line, what: "the header has no database=NAME" }),
            (Tables::NamedOr(_), None) if unnamed_before => {
                Err(another("another database without a name begins here"))
            }
            (Tables::NamedOr(name), None) => Ok(Some(name.clone())),
        }
    }
}

/// What is wrong with a line where a dump should begin, behind so many others.
fn not_version(line: &[u8], databases: u64) -> Wrong {
    match (line.strip_prefix(b"VERSION="), databases) {
        (Some(version), _) => format!("VERSION={}; only 3 can be loaded", shown(version)).into(),
        (None, 0) => "a dump begins with VERSION=3".into(),
        (None, _) => {
            "behind DATA=END there is nothing, or another database, which begins with VERSION=3".into()
        }
    }
}

/// A line of data, which must be there.
fn data_line<R: BufRead>(lines: &mut Lines<R>) -> Result<(&[u8], u64)> {
    // Asked first, as a line that is given away holds on to the lines.
    if lines.peek()?.is_none() {
        let what = "the input ends before DATA=END: the dump was cut short";
        return Err(Wrong::from(what).on(lines.number()));
    }
    Ok(lines.next()?.unwrap_or_default())
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
