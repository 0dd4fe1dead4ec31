//! `bifold load`: TSV, JSON or a dump into tables, in one transaction.
#![forbid(unsafe_code)]

use crate::args::{Load, table_name};
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::input::{Input, Reading};
use crate::output::{Output, entries, many};
use crate::progress::{Progress, Summary};
use crate::sort::Sorter;
use crate::target::Target;
use bifold::{Db, PageSource, WriteTxn};
use bifold_text::escape::shown;
use bifold_text::tsv::Columns;
use bifold_text::{Entry, How, Next, Tables};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

pub(crate) fn run<S: PageSource>(args: &Load, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let (table, file) = names(args)?;
    let table = table.as_deref();
    // First of all, so that a wrong name makes no database.
    let input = Input::open(file)?;
    let mut progress = Progress::new(input.len);
    let reading = Reading::new(input, how(args))?;
    let builder = context.builder().delta_size(args.delta);
    let db: Db<S> = builder.open(&args.db).map_err(|error| Error::Create(args.db.clone(), error))?;
    let held = load(args, table, &db, reading, &mut progress)?;
    let path = db.path().to_path_buf();
    // The file is whole only when what the log holds has come to it, so this is part of the load's time.
    db.close().map_err(|error| Error::Close(path, error))?;
    report(table, &held, progress.finish(), context.json, out)
}

/// How the input is to be understood.
fn how(args: &Load) -> How {
    let chosen = args.key.is_some() || args.value.is_some();
    let columns = Columns { key: args.key.map_or(1, |n| n as usize), value: args.value.map(|n| n as usize) };
    How {
        format: args.format.map(Into::into),
        columns: chosen.then_some(columns),
        tables: if args.all { Tables::Named } else { Tables::One },
        line_max: args.delta,
    }
}

/// The table, unless the input names the tables, and the input's file.
fn names(args: &Load) -> Result<(Option<String>, Option<&Path>)> {
    if !args.all {
        let name = |table: &OsString| {
            let text = table.to_str().ok_or("it is not UTF-8, which a table's name must be")?;
            table_name(text)
        };
        let table = args.table.as_ref().map(name).transpose();
        return Ok((table.map_err(|what| Error::Usage(format!("TABLE: {what}")))?, args.file.as_deref()));
    }
    if args.file.is_some() {
        let what = "with --all, the input names the tables: bifold load --all DB [FILE]";
        return Err(Error::Usage(what.into()));
    }
    Ok((None, args.table.as_deref().map(Path::new)))
}

/// Says what was loaded.
fn report(
    table: Option<&str>,
    held: &[(String, u64)],
    summary: Summary,
    json: bool,
    out: &mut Output,
) -> Result<Status> {
    if json {
        let mut object = json!({
            "entries": summary.entries,
            "seconds": summary.time.as_secs_f64(),
            "entries_per_second": summary.rate(),
        });
        if let (Some(table), [(_, held)]) = (table, held) {
            (object["table"], object["table_entries"]) = (table.into(), (*held).into());
        } else {
            let one = |(name, held): &(String, u64)| json!({ "table": name, "table_entries": held });
            object["tables"] = held.iter().map(one).collect::<Vec<Json>>().into();
        }
        out.json(&object)?;
        return Ok(Status::Good);
    }
    let what = table.map_or_else(|| many(held.len() as u64, "table"), |table| shown(table.as_bytes()));
    // Keys that came again, or were there before.
    let other = match held {
        [(_, held)] if *held != summary.entries => format!("; the table has {}", entries(*held)),
        _ => String::new(),
    };
    let _ = writeln!(io::stderr(), "{what}: {summary}{other}");
    Ok(Status::Good)
}

/// Loads everything, or nothing. Returns the tables, and how many entries each then has.
fn load<S: PageSource>(
    args: &Load,
    table: Option<&str>,
    db: &Db<S>,
    mut reading: Reading,
    progress: &mut Progress,
) -> Result<Vec<(String, u64)>> {
    let txn = db.write()?;
    let names = fill(args, table, &txn, &mut reading, progress)?;
    let mut held = Vec::new();
    for name in names {
        let entries = txn.table(&name)?.len()?;
        held.push((name, entries));
    }
    progress.committing();
    txn.commit()?;
    Ok(held)
}

/// Puts everything into its tables, or into the one given; which they are.
fn fill<S: PageSource>(
    args: &Load,
    table: Option<&str>,
    txn: &WriteTxn<'_, S>,
    reading: &mut Reading,
    progress: &mut Progress,
) -> Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = table.iter().copied().map(String::from).collect();
    let mut filling = table.map(|table| Filling::new(txn, table, args)).transpose()?;
    let mut entry = Entry::default();
    loop {
        match reading.next(&mut entry)? {
            Next::Entry(bytes) => {
                let filling = filling.as_mut().ok_or(bifold::Error::Internal("an entry of no table"))?;
                filling.put(&mut entry, reading)?;
                progress.entry(bytes);
            }
            Next::Table(name) => {
                if let Some(before) = filling.take() {
                    before.finish(reading, progress)?;
                }
                filling = Some(Filling::new(txn, &name, args)?);
                names.insert(name);
            }
            Next::End => break,
        }
    }
    if let Some(last) = filling {
        last.finish(reading, progress)?;
    }
    Ok(names)
}

/// A table that is being loaded, and what sorts its entries first, if they are to be sorted.
struct Filling<'t, S: PageSource> {
    target: Target<'t, S>,
    sorter: Option<Sorter>,
}

impl<'t, S: PageSource> Filling<'t, S> {
    fn new(txn: &'t WriteTxn<'_, S>, table: &str, args: &Load) -> Result<Self> {
        let sorter = args.sort.then(|| {
            let beside = args.db.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Sorter::new(args.memory, args.tmp.as_deref().unwrap_or(beside))
        });
        Ok(Self { target: Target::new(txn.table(table)?)?, sorter })
    }

    /// Takes the entry that was just read.
    fn put(&mut self, entry: &mut Entry, reading: &Reading) -> Result<()> {
        if let Some(sorter) = &mut self.sorter {
            return sorter.push(entry, reading.line());
        }
        let put = self.target.put(entry, reading.line());
        put.map_err(|(line, error)| reading.refused(line, error))
    }

    /// After the last entry.
    fn finish(mut self, reading: &Reading, progress: &mut Progress) -> Result<()> {
        let refused = |(line, error)| reading.refused(line, error);
        if let Some(sorter) = self.sorter.take() {
            progress.sorting();
            let (mut sorted, mut entry) = (sorter.finish()?, Entry::default());
            while let Some(line) = sorted.next(&mut entry)? {
                self.target.put(&mut entry, line).map_err(refused)?;
                progress.put();
            }
        }
        self.target.finish().map_err(refused)
    }
}
