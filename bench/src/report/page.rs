//! Reports as one page of HTML.
#![forbid(unsafe_code)]

use super::{Report, table};

/// A page.
pub fn page(report: &Report) -> String {
    format!("<!doctype html><meta charset=utf-8><title>Bifold</title><pre>{}</pre>", table(report))
}
