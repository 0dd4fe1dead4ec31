//! `bifold del`: removes a key, or all keys of a range.
#![forbid(unsafe_code)]

use crate::args::{self, Del};
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::get::missing;
use crate::output::{Output, entries};
use crate::range;
use bifold::{PageSource, TableMut, WriteTxn};
use bifold_text::escape::shown;
use serde_json::json;
use std::sync::Arc;

pub(crate) fn run<S: PageSource>(args: &Del, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let key = args.key.as_ref().map(|key| args::key("KEY", key)).transpose()?;
    let bounds = range::bounds(&args.range)?;
    let removed = context.change(&args.on.db, false, |txn| {
        let table = existing(txn, &args.on.table)?;
        Ok(match &key {
            Some(key) => u64::from(table.remove(key)?),
            None => table.remove_range::<Vec<u8>>(bounds)?,
        })
    })?;
    if context.json {
        out.json(&json!({ "table": args.on.table, "removed": removed }))?;
    }
    match key {
        Some(key) if removed == 0 => return Ok(missing(&args.on.table, &key)),
        None if !context.json => {
            out.line(&format!("{}: {} removed", shown(args.on.table.as_bytes()), entries(removed)))?;
        }
        _ => {}
    }
    Ok(if removed == 0 { Status::Bad } else { Status::Good })
}

/// The table of this name, which is not made if it is not there.
fn existing<'t, S: PageSource>(txn: &'t WriteTxn<'_, S>, name: &str) -> Result<TableMut<'t, S>> {
    let table = txn.find_table(name)?;
    table.ok_or_else(|| Error::Database(bifold::Error::NoSuchTable(Arc::from(name))))
}
