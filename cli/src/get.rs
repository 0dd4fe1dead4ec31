//! `bifold get`: the value of one key.
#![forbid(unsafe_code)]

use crate::args::{self, Get};
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::output::Output;
use bifold::PageSource;
use bifold_text::escape::shown;
use bifold_text::json::bytes_json;
use serde_json::json;
use std::io::{self, Read, Write};

pub(crate) fn run<S: PageSource>(args: &Get, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let key = args::key("KEY", &args.key)?;
    let db = context.open(&args.on.db)?;
    let txn = db.read()?;
    let table = txn.table(&args.on.table)?;
    if args.raw {
        return match table.reader(&key)? {
            Some(reader) => copy(reader, out.stream()),
            None => Ok(missing(&args.on.table, &key)),
        };
    }
    let value = table.get(&key)?;
    if context.json {
        out.json(&json!({ "key": bytes_json(&key), "value": value.as_deref().map(bytes_json) }))?;
    }
    match value {
        Some(value) if !context.json => out.value(&value)?,
        Some(_) => {}
        None => return Ok(missing(&args.on.table, &key)),
    }
    Ok(Status::Good)
}

/// Says that there is no such key.
pub(crate) fn missing(table: &str, key: &[u8]) -> Status {
    let _ = writeln!(io::stderr(), "bifold: {} has no key {}", shown(table.as_bytes()), shown(key));
    Status::Bad
}

/// Copies a value of any length, a piece at a time.
fn copy(mut from: impl Read, to: &mut impl Write) -> Result<Status> {
    let mut piece = vec![0; 1 << 18];
    loop {
        match from.read(&mut piece).map_err(database)? {
            0 => return Ok(Status::Good),
            n => to.write_all(&piece[..n])?,
        }
    }
}

/// The database's own error, which came as one of reading.
fn database(error: io::Error) -> Error {
    match error.downcast::<bifold::Error>() {
        Ok(error) => Error::Database(error),
        Err(error) => Error::Read("the value".into(), error),
    }
}
