//! `bifold load`: TSV into a table, in one transaction.
#![forbid(unsafe_code)]

use crate::args::Load;
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::escape::shown;
use crate::input::{Columns, Entry, Lines, Wrong};
use crate::output::Output;
use crate::progress::Progress;
use bifold::{Db, PageSource};
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
    let wrong = |line, what| Error::Line { input: input.name.clone(), line, what };
    let columns = Columns { key: args.key as usize, value: args.value.map(|n| n as usize) };
    let txn = db.write()?;
    let table = txn.table(&args.table)?;
    let mut lines = Lines::new(input.reader, args.delta);
    let mut entry = Entry::default();
    loop {
        let (line, bytes) = match lines.next() {
            Ok(Some(found)) => found,
            Ok(None) => break,
            Err(Wrong::Line(what)) => return Err(wrong(lines.number(), what)),
            Err(Wrong::Read(error)) => return Err(Error::Read(input.name, error)),
        };
        if let Err(what) = columns.take(line, &mut entry) {
            return Err(wrong(lines.number(), what));
        }
        match table.insert(&entry.key, &entry.value) {
            Ok(()) => progress.entry(bytes),
            Err(error @ (bifold::Error::KeyTooLong { .. } | bifold::Error::ValueTooLong { .. })) => {
                return Err(wrong(lines.number(), error.to_string()));
            }
            Err(error @ bifold::Error::TransactionTooLarge { .. }) => {
                return Err(wrong(lines.number(), Error::Database(error).to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let held = table.len()?;
    progress.committing();
    txn.commit()?;
    Ok((progress, held))
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
