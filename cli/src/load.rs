//! `bifold load`: TSV into a table, in one transaction.
#![forbid(unsafe_code)]

use crate::args::Load;
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::escape::shown;
use crate::input::{Columns, Entry, Lines, Wrong};
use crate::output::Output;
use crate::progress::Progress;
use crate::sort::Sorter;
use bifold::{BulkLoad, Db, PageSource, TableMut};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

/// Bytes read at a time.
const READ_BUFFER: usize = 1 << 17;

pub(crate) fn run<S: PageSource>(args: &Load, context: &Context<S>, out: &mut Output) -> Result<Status> {
    // First of all, so that a wrong name makes no database.
    let input = Input::open(args.file.as_deref())?;
    let builder = context.builder().delta_size(args.delta);
    let db = builder.open(&args.db).map_err(|error| Error::Open(args.db.clone(), error))?;
    let progress = Progress::new(input.len);
    let (progress, held) = load(args, &db, input, progress)?;
    let path = db.path().to_path_buf();
    // The file is whole only when what the log holds has come to it, so this is part of the load's time.
    db.close().map_err(|error| Error::Close(path, error))?;
    let summary = progress.finish();
    if context.json {
        out.json(&json!({
            "table": args.table,
            "entries": summary.entries,
            "table_entries": held,
            "seconds": summary.time.as_secs_f64(),
            "entries_per_second": summary.rate(),
        }))?;
    } else {
        let _ = writeln!(io::stderr(), "{}: {summary}", shown(args.table.as_bytes()));
    }
    Ok(Status::Good)
}

/// Loads all lines, or none. Returns how many entries the table then has.
fn load<S: PageSource>(
    args: &Load,
    db: &Db<S>,
    input: Input,
    mut progress: Progress,
) -> Result<(Progress, u64)> {
    let columns = Columns { key: args.key as usize, value: args.value.map(|n| n as usize) };
    let mut reading = Reading { lines: Lines::new(input.reader, args.delta), columns, name: input.name };
    let txn = db.write()?;
    let table = txn.table(&args.table)?;
    let mut target = Target::new(table)?;
    let mut entry = Entry::default();
    if args.sort {
        let beside = args.db.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut sorter = Sorter::new(args.memory, args.tmp.as_deref().unwrap_or(beside));
        while let Some(bytes) = reading.next(&mut entry)? {
            sorter.push(&entry, reading.lines.number())?;
            progress.entry(bytes);
        }
        progress.sorting();
        let mut sorted = sorter.finish()?;
        while let Some(line) = sorted.next(&mut entry)? {
            target.put(&mut entry, line).map_err(|(line, error)| reading.refused(line, error))?;
            progress.put();
        }
    } else {
        while let Some(bytes) = reading.next(&mut entry)? {
            let put = target.put(&mut entry, reading.lines.number());
            put.map_err(|(line, error)| reading.refused(line, error))?;
            progress.entry(bytes);
        }
    }
    target.finish().map_err(|(line, error)| reading.refused(line, error))?;
    let held = table.len()?;
    progress.committing();
    txn.commit()?;
    Ok((progress, held))
}

/// An input on its way to becoming entries.
struct Reading {
    lines: Lines<Box<dyn BufRead>>,
    columns: Columns,
    /// For messages.
    name: String,
}

impl Reading {
    /// Reads the next entry; the bytes that its line took, or `None` at the end.
    fn next(&mut self, entry: &mut Entry) -> Result<Option<u64>> {
        let (what, number) = match self.lines.next() {
            Ok(None) => return Ok(None),
            Ok(Some((line, bytes))) => match self.columns.take(line, entry) {
                Ok(()) => return Ok(Some(bytes)),
                Err(what) => (what, self.lines.number()),
            },
            Err(Wrong::Line(what)) => (what, self.lines.number()),
            Err(Wrong::Read(error)) => return Err(Error::Read(self.name.clone(), error)),
        };
        Err(self.wrong(number, what))
    }

    fn wrong(&self, line: u64, what: String) -> Error {
        Error::Line { input: self.name.clone(), line, what }
    }

    /// What it means that the database did not take the entry of a line.
    fn refused(&self, line: u64, error: bifold::Error) -> Error {
        match error {
            error @ (bifold::Error::KeyTooLong { .. } | bifold::Error::ValueTooLong { .. }) => {
                self.wrong(line, error.to_string())
            }
            error => error.into(),
        }
    }
}

/// Where entries go: as one load of sorted entries, as long as they come in order; one by one from then on.
struct Target<'t, S: PageSource> {
    table: TableMut<'t, S>,
    load: Option<BulkLoad<'t, S>>,
    /// The newest entry, held back, as a later one of the same key takes its place; and its line.
    held: Option<(Entry, u64)>,
    /// Memory to be used again.
    spare: Entry,
}

/// What the database says, and to which line's entry.
type Refused = (u64, bifold::Error);

impl<'t, S: PageSource> Target<'t, S> {
    fn new(table: TableMut<'t, S>) -> Result<Self> {
        Ok(Self { table, load: Some(table.bulk_load()?), held: None, spare: Entry::default() })
    }

    /// Puts an entry in, in place of one of the same key, and leaves any other in `entry`.
    fn put(&mut self, entry: &mut Entry, line: u64) -> std::result::Result<(), Refused> {
        if let Some((before, of)) = self.held.take() {
            if before.key != entry.key {
                self.pass_on(&before).map_err(|error| (of, error))?;
            }
            self.spare = before;
        }
        let new = std::mem::replace(entry, std::mem::take(&mut self.spare));
        self.held = Some((new, line));
        Ok(())
    }

    fn pass_on(&mut self, entry: &Entry) -> bifold::Result<()> {
        if let Some(load) = &mut self.load {
            match load.push(&entry.key, &entry.value) {
                Err(bifold::Error::NotInOrder) => self.end_load()?,
                pushed => return pushed,
            }
        }
        self.table.insert(&entry.key, &entry.value)
    }

    fn end_load(&mut self) -> bifold::Result<()> {
        self.load.take().map_or(Ok(0), BulkLoad::finish).map(drop)
    }

    /// After the last entry.
    fn finish(mut self) -> std::result::Result<(), Refused> {
        let mut line = 0;
        if let Some((entry, of)) = self.held.take() {
            line = of;
            self.pass_on(&entry).map_err(|error| (line, error))?;
        }
        self.end_load().map_err(|error| (line, error))
    }
}

/// What is to be loaded.
struct Input {
    /// For messages.
    name: String,
    reader: Box<dyn BufRead>,
    /// In bytes, where that is known.
    len: Option<u64>,
}

impl Input {
    /// The file at `path`; standard input without one, or if it is `-`.
    fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            let reader = Box::new(BufReader::with_capacity(READ_BUFFER, io::stdin()));
            return Ok(Self { name: "standard input".into(), reader, len: None });
        };
        let name = shown(path.as_os_str().as_encoded_bytes());
        let open = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
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
