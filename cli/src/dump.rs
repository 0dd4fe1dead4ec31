//! `bifold dump`: tables as text, all as of one commit, that `load` and the tools of other stores take.
#![forbid(unsafe_code)]

use crate::args::{Dump, Format};
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::output::Output;
use bifold::PageSource;
use bifold_text::dump::{Header, write_end, write_header, write_line};
use bifold_text::json::entry_json;

pub(crate) fn run<S: PageSource>(args: &Dump, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let format = format(args, context.json)?;
    let db = context.open(&args.db)?;
    let txn = db.read()?;
    let all;
    let names = if args.tables.is_empty() {
        all = txn.tables()?;
        &all
    } else {
        &args.tables
    };
    if names.len() != 1 && (format == Format::Tsv || args.unnamed) {
        let what = if args.unnamed { "--unnamed is for one table" } else { "TSV is for one table" };
        return Err(Error::Usage(format!("{what}, and there are {}: name it", names.len())));
    }
    // All of them first, so that a wrong name prints nothing.
    for name in names {
        txn.table(name)?;
    }
    for name in names {
        let table = txn.table(name)?;
        let header = Header { database: (!args.unnamed).then(|| name.clone()), print: args.print };
        let named = (args.tables.len() != 1).then_some(name.as_str());
        if format == Format::Dump {
            write_header(out.stream(), &header, args.mapsize)?;
        }
        for entry in &table {
            let (key, value) = entry?;
            match format {
                Format::Tsv => out.entry(&key, &value)?,
                Format::Json => out.json(&entry_json(named, &key, &value))?,
                Format::Dump => {
                    write_line(out.stream(), &key, args.print)?;
                    write_line(out.stream(), &value, args.print)?;
                }
            }
        }
        if format == Format::Dump {
            write_end(out.stream())?;
        }
    }
    Ok(Status::Good)
}

/// The format, if the other options go with it.
fn format(args: &Dump, json: bool) -> Result<Format> {
    let format = args.format.unwrap_or(if json { Format::Json } else { Format::Dump });
    let given = [("--print", args.print), ("--unnamed", args.unnamed), ("--mapsize", args.mapsize.is_some())];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) if format != Format::Dump => {
            Err(Error::Usage(format!("{option} is for a dump; TSV and JSON know nothing like it")))
        }
        _ => Ok(format),
    }
}
