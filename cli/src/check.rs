//! `bifold check`: walks everything, and lists what is wrong.
#![forbid(unsafe_code)]

use crate::args::Check;
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::output::{Output, entries, many};
use bifold::{CheckReport, Db, Fault, PageSource};
use bifold_text::escape::shown;
use indicatif::HumanCount;
use serde_json::{Value as Json, json};

pub(crate) fn run<S: PageSource>(args: &Check, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let report = match context.open(&args.db).and_then(|db: Db<S>| Ok(db.check()?)) {
        Ok(report) => report,
        // Damage that keeps the database from being opened at all.
        Err(
            Error::Open(_, bifold::Error::Corrupt { place, what })
            | Error::Database(bifold::Error::Corrupt { place, what }),
        ) => {
            let fault = (Some(place.to_string()), None, what.to_owned());
            return print(None, vec![fault], context.json, out);
        }
        Err(error) => return Err(error),
    };
    let faults = report.faults.iter().map(|Fault { place, table, what, .. }| {
        (place.map(|place| place.to_string()), table.clone(), what.clone())
    });
    let faults = faults.collect();
    print(Some(&report), faults, context.json, out)
}

/// A fault's place, table, and what is wrong.
type Found = (Option<String>, Option<String>, String);

/// Prints what was found; without a report, because the database could not be opened.
fn print(report: Option<&CheckReport>, faults: Vec<Found>, json: bool, out: &mut Output) -> Result<Status> {
    let status = if faults.is_empty() { Status::Good } else { Status::Bad };
    let omitted = report.map_or(0, |report| report.faults_omitted);
    if json {
        let one = |(place, table, what): Found| json!({ "place": place, "table": table, "what": what });
        out.json(&json!({
            "tables": report.map(|report| report.tables),
            "entries": report.map(|report| report.entries),
            "pages": report.map(|report| report.pages),
            "free_pages": report.map(|report| report.free_pages),
            "faults": faults.into_iter().map(one).collect::<Vec<Json>>(),
            "faults_omitted": omitted,
        }))?;
        return Ok(status);
    }
    let count = many(faults.len() as u64 + omitted, "fault");
    for (place, table, what) in faults {
        let table = table.map(|name| format!("table {}", shown(name.as_bytes())));
        let parts: Vec<String> = [place, table, Some(what)].into_iter().flatten().collect();
        out.line(&parts.join(": "))?;
    }
    if omitted > 0 {
        out.line(&format!("and {} more", HumanCount(omitted)))?;
    }
    let Some(report) = report else {
        out.line(&format!("{count}; the database cannot be opened, so nothing else was looked at"))?;
        return Ok(status);
    };
    let (tables, free) = (many(report.tables, "table"), many(report.free_pages, "page"));
    let (entries, pages) = (entries(report.entries), many(report.pages, "page"));
    out.line(&format!("{count}; {tables}, {entries}, {pages} looked at, {free} free"))?;
    Ok(status)
}
