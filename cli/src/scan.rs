//! `bifold scan`: entries in key order, as TSV that `load` takes back.
#![forbid(unsafe_code)]

use crate::args::Scan;
use crate::context::Context;
use crate::error::{Result, Status};
use crate::output::Output;
use crate::range;
use bifold::PageSource;
use bifold_text::json::{bytes_json, entry_json};
use serde_json::json;

pub(crate) fn run<S: PageSource>(args: &Scan, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let bounds = range::bounds(&args.range)?;
    let db = context.open(&args.on.db)?;
    let txn = db.read()?;
    let entries = txn.table(&args.on.table)?.range::<Vec<u8>>(bounds);
    if args.keys_only {
        return each(args, entries.keys(), |key| {
            if context.json { out.json(&json!({ "key": bytes_json(&key) })) } else { out.key(&key) }
        });
    }
    each(args, entries, |(key, value)| {
        if context.json { out.json(&entry_json(None, &key, &value)) } else { out.entry(&key, &value) }
    })
}

/// Hands what was asked for of `entries` to `print`.
fn each<T>(
    args: &Scan,
    entries: impl DoubleEndedIterator<Item = bifold::Result<T>>,
    mut print: impl FnMut(T) -> Result<()>,
) -> Result<Status> {
    let limit = args.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    if args.reverse {
        entries.rev().take(limit).try_for_each(|entry| print(entry?))?;
    } else {
        let mut entries = entries;
        entries.by_ref().take(limit).try_for_each(|entry| print(entry?))?;
    }
    Ok(Status::Good)
}
