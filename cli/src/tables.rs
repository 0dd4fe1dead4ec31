//! `bifold tables`: the tables and how many entries each has.
#![forbid(unsafe_code)]

use crate::args::Tables;
use crate::context::Context;
use crate::error::{Result, Status};
use crate::output::Output;
use bifold::PageSource;
use serde_json::json;

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
