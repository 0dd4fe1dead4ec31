//! `bifold stat`: how the database stands, and what the backend did to find out.
#![forbid(unsafe_code)]

use crate::args::Stat;
use crate::context::Context;
use crate::error::{Result, Status};
use crate::output::{Output, many};
use bifold::{PageSource, Shape, SourceStats, Stats, TableShape};
use bifold_text::escape::shown;
use indicatif::{BinaryBytes, HumanCount};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::path::Path;

pub(crate) fn run<S: PageSource>(args: &Stat, context: &Context<S>, out: &mut Output) -> Result<Status> {
    let db = context.open(&args.db)?;
    let shape = db.shape()?;
    let stats = db.stats();
    let log = log_bytes(db.path());
    if context.json {
        out.json(&to_json(&shape, &stats, log))?;
        return Ok(Status::Good);
    }
    print_file(&shape, &stats, log, out)?;
    print_tables(&shape, out)?;
    print_backend(&stats, out)?;
    Ok(Status::Good)
}

/// Bytes of the log beside the database at `path`; `None` if there is none.
fn log_bytes(path: &Path) -> Option<u64> {
    let mut log = path.as_os_str().to_owned();
    log.push("-log");
    Some(std::fs::metadata(Path::new(&log)).ok()?.len())
}

/// Prints a name and what there is to say of it.
fn item(out: &mut Output, name: &str, text: &str) -> Result<()> {
    out.line(&format!("{name:<16}{text}"))
}

fn print_file(shape: &Shape, stats: &Stats, log: Option<u64>, out: &mut Output) -> Result<()> {
    let pages = |count: u64| format!("{} ({})", many(count, "page"), BinaryBytes(count * shape.page_size));
    item(out, "page size", &format!("{} bytes", HumanCount(shape.page_size)))?;
    item(out, "file", &pages(shape.file_pages))?;
    item(out, "  head", &pages(shape.head_pages))?;
    let trees: u64 = shape.tables.iter().chain([&shape.catalog]).map(in_use).sum();
    item(out, "  in use", &pages(trees))?;
    item(out, "  free", &pages(shape.free_pages))?;
    item(out, "  free map", &pages(shape.free_map_pages))?;
    item(out, "  pending", &pages(shape.pending_pages))?;
    match log {
        None => item(out, "log", "none, as the database was closed")?,
        Some(bytes) => item(out, "log", &format!("{}, as the database was not closed", BinaryBytes(bytes)))?,
    }
    item(out, "last commit", &HumanCount(stats.commit_number).to_string())
}

/// Pages of a table.
fn in_use(table: &TableShape) -> u64 {
    table.leaf_pages + table.branch_pages + table.extent_pages
}

/// Prints the tables as a table.
fn print_tables(shape: &Shape, out: &mut Output) -> Result<()> {
    const HEAD: [&str; 8] =
        ["table", "entries", "height", "leaves", "fill", "branches", "large values", "their pages"];
    let row = |name: String, table: &TableShape| {
        let count = |n: u64| HumanCount(n).to_string();
        [
            name,
            count(table.entries),
            table.height.to_string(),
            count(table.leaf_pages),
            format!("{:.1} %", table.leaf_fill() * 100.0),
            count(table.branch_pages),
            count(table.large_values),
            count(table.extent_pages),
        ]
    };
    let named = shape.tables.iter().map(|table| row(shown(table.name.as_bytes()), table));
    let mut rows = vec![HEAD.map(String::from)];
    rows.extend(named.chain([row("(catalog)".into(), &shape.catalog)]));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; HEAD.len()] = std::array::from_fn(width);
    out.line("")?;
    for row in &rows {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        out.line(&line)?;
    }
    Ok(())
}

/// Prints what the backend did for this command; what means nothing to it is left out.
fn print_backend(stats: &Stats, out: &mut Output) -> Result<()> {
    let SourceStats { pages_read, bytes_read, pages_verified, evictions, .. } = stats.source;
    let SourceStats { budget_bytes, used_bytes, major_faults, minor_faults, direct, .. } = stats.source;
    out.line("")?;
    item(out, "backend", stats.backend)?;
    if budget_bytes > 0 {
        item(out, "  cache", &format!("{} of {}", BinaryBytes(used_bytes), BinaryBytes(budget_bytes)))?;
        let how = if direct { "past the kernel's cache" } else { "through the kernel's cache" };
        let (read, bytes) = (many(pages_read, "page"), BinaryBytes(bytes_read));
        item(out, "  read", &format!("{read} ({bytes}), {how}"))?;
        item(out, "  evicted", &many(evictions, "page"))?;
    } else {
        let faults = format!("{} hard, {} soft", HumanCount(major_faults), HumanCount(minor_faults));
        item(out, "  page faults", &faults)?;
    }
    item(out, "  verified", &many(pages_verified, "page"))
}

fn to_json(shape: &Shape, stats: &Stats, log: Option<u64>) -> Json {
    let source = stats.source;
    json!({
        "page_size": shape.page_size,
        "file_pages": shape.file_pages,
        "head_pages": shape.head_pages,
        "free_pages": shape.free_pages,
        "free_map_pages": shape.free_map_pages,
        "pending_pages": shape.pending_pages,
        "log_bytes": log,
        "commit_number": stats.commit_number,
        "catalog": table_json(&shape.catalog),
        "tables": shape.tables.iter().map(table_json).collect::<Vec<_>>(),
        "backend": {
            "name": stats.backend,
            "pages_read": source.pages_read,
            "bytes_read": source.bytes_read,
            "reads": source.reads,
            "pages_verified": source.pages_verified,
            "evictions": source.evictions,
            "budget_bytes": source.budget_bytes,
            "used_bytes": source.used_bytes,
            "major_faults": source.major_faults,
            "minor_faults": source.minor_faults,
            "direct": source.direct,
        },
    })
}

fn table_json(table: &TableShape) -> Json {
    json!({
        "name": table.name,
        "entries": table.entries,
        "height": table.height,
        "leaf_pages": table.leaf_pages,
        "leaf_bytes_used": table.leaf_bytes_used,
        "leaf_fill": table.leaf_fill(),
        "branch_pages": table.branch_pages,
        "branch_bytes_used": table.branch_bytes_used,
        "extent_pages": table.extent_pages,
        "large_values": table.large_values,
        "large_value_bytes": table.large_value_bytes,
    })
}
