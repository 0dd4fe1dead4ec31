//! `bifold put`: sets the value of one key.
#![forbid(unsafe_code)]

use crate::args::{self, Put};
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::input::standard_input;
use crate::output::Output;
use bifold::PageSource;
use bifold_text::escape::shown;
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// One byte more than a value can have: enough for the database to refuse it.
const READ_MAX: u64 = 1 << 32;

pub(crate) fn run<S: PageSource>(args: &Put, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let key = args::key("KEY", &args.key)?;
    // Before the database is opened, so that what cannot be read makes none.
    let value = match (&args.value, &args.file) {
        (_, Some(path)) => from_file(path)?,
        (Some(text), None) if text != "-" => args::key("VALUE", text)?,
        (_, None) => from(standard_input(), "standard input".into())?,
    };
    let replaced = context.change(&args.on.db, true, |txn| {
        let table = txn.table(&args.on.table)?;
        let replaced = context.json && table.contains_key(&key)?;
        table.insert(&key, &value)?;
        Ok(replaced)
    })?;
    if context.json {
        out.json(&json!({ "table": args.on.table, "value_bytes": value.len(), "replaced": replaced }))?;
    }
    Ok(Status::Good)
}

fn from_file(path: &Path) -> Result<Vec<u8>> {
    let name = shown(path.as_os_str().as_encoded_bytes());
    match File::open(path) {
        Ok(file) => from(file, name),
        Err(error) => Err(Error::Read(name, error)),
    }
}

fn from(reader: impl Read, name: String) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    reader.take(READ_MAX).read_to_end(&mut value).map_err(|error| Error::Read(name, error))?;
    Ok(value)
}
