//! `bifold compact`: a database without unused space and in key order, in its own file or in a new one.
#![forbid(unsafe_code)]

use crate::args::Compact;
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::output::{Output, many};
use bifold::{CompactReport, Db, PageSource};
use bifold_text::escape::shown;
use indicatif::{BinaryBytes, HumanCount};
use serde_json::json;
use std::path::Path;

pub(crate) fn run<S: PageSource>(args: &Compact, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let (report, result) = match &args.into {
        Some(new) => (copy(args, new, context)?, new),
        None => (in_place(args, context)?, &args.db),
    };
    let after = std::fs::metadata(result).map_or(report.bytes_after, |meta| meta.len());
    if context.json {
        out.json(&json!({
            "bytes_before": report.bytes_before,
            "bytes_after": after,
            "entries_copied": report.entries,
            "pages_written": report.pages_written,
            "values_moved": report.values_moved,
        }))?;
        return Ok(Status::Good);
    }
    let sizes = format!("{}, before {}", BinaryBytes(after), BinaryBytes(report.bytes_before));
    let did = match args.into {
        Some(_) if report.entries == 1 => "1 entry copied".into(),
        Some(_) => format!("{} entries copied", HumanCount(report.entries)),
        None => format!(
            "{} written, {} moved",
            many(report.pages_written, "page"),
            many(report.values_moved, "large value")
        ),
    };
    out.line(&format!("{}: {sizes}; {did}", shown(result.as_os_str().as_encoded_bytes())))?;
    Ok(Status::Good)
}

fn copy<S: PageSource>(args: &Compact, new: &Path, context: &Context<S>) -> Result<CompactReport> {
    let db = context.open(&args.db)?;
    let options = context.builder().page_size(db.page_size());
    db.compact_into_with(new, &options).map_err(|error| Error::copying_to(new, error))
}

fn in_place<S: PageSource>(args: &Compact, context: &Context<S>) -> Result<CompactReport> {
    let builder = context.builder().delta_size(args.delta).create(false);
    let db: Db<S> = builder.open(&args.db).map_err(|error| Error::Open(args.db.clone(), error))?;
    let report = db.compact()?;
    db.close().map_err(|error| Error::Close(args.db.clone(), error))?;
    Ok(report)
}
