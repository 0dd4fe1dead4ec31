//! The tables as such: `bifold tables` lists them, `rename` gives one another name, `drop` removes one.
#![forbid(unsafe_code)]

use crate::args::{Drop, Rename, Tables};
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::output::Output;
use bifold::PageSource;
use serde_json::json;
use std::sync::Arc;

pub(crate) fn run<S: PageSource>(args: &Tables, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let db = context.open(&args.db)?;
    let txn = db.read()?;
    for name in txn.tables()? {
        let entries = txn.table(&name)?.len()?;
        if context.json {
            out.json(&json!({ "table": name, "entries": entries }))?;
        } else {
            out.entry(name.as_bytes(), entries.to_string().as_bytes())?;
        }
    }
    Ok(Status::Good)
}

pub(crate) fn rename<S: PageSource>(args: &Rename, context: &Context<S>, out: &mut Output) -> Result<Status> {
    context.change(&args.db, false, |txn| Ok(txn.rename_table(&args.old, &args.new)?))?;
    if context.json {
        out.json(&json!({ "renamed": args.old, "table": args.new }))?;
    }
    Ok(Status::Good)
}

pub(crate) fn remove<S: PageSource>(args: &Drop, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let entries = context.change(&args.on.db, false, |txn| {
        let missing = || Error::Database(bifold::Error::NoSuchTable(Arc::from(&*args.on.table)));
        let entries = txn.find_table(&args.on.table)?.ok_or_else(missing)?.len()?;
        txn.drop_table(&args.on.table)?;
        Ok(entries)
    })?;
    if context.json {
        out.json(&json!({ "dropped": args.on.table, "entries": entries }))?;
    }
    Ok(Status::Good)
}
