//! `bifold backup`: the database, as it is at one moment, in a new file.
#![forbid(unsafe_code)]

use crate::args::Backup;
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::output::{Output, entries};
use bifold::PageSource;
use bifold_text::escape::shown;
use indicatif::BinaryBytes;
use serde_json::json;

pub(crate) fn run<S: PageSource>(args: &Backup, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let db = context.open(&args.db)?;
    let report = db.backup(&args.dest).map_err(|error| Error::copying_to(&args.dest, error))?;
    if context.json {
        out.json(&json!({ "entries": report.entries, "bytes": report.bytes_after }))?;
    } else {
        let (bytes, dest) = (BinaryBytes(report.bytes_after), args.dest.as_os_str().as_encoded_bytes());
        out.line(&format!("{}: {bytes}, {}", shown(dest), entries(report.entries)))?;
    }
    Ok(Status::Good)
}
