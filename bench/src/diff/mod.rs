//! `bifold-bench diff`: what is better and what is worse in a second report, and whether the rounds bear it out.
//!
//! A difference is beyond noise if every round of the one report lies on the same side of every round of the other.
//! That is the rank test of Wilcoxon, and of Mann and Whitney, at its extreme: with three rounds each it happens by
//! chance in one comparison of twenty for the worse, and as often for the better. So it is said, too, in how many of the
//! figures that is to be expected; and with fewer than three rounds nothing is called better or worse.
#![forbid(unsafe_code)]

mod change;
mod conditions;
mod lines;
mod table;

pub use change::{Better, Change, Judged};
pub use lines::{Diff, Ending, Line};

use crate::Result;
use crate::report::Report;
use std::path::PathBuf;

/// The options of a diff.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The report before
    pub a: PathBuf,
    /// The report after
    pub b: PathBuf,
    /// Print JSON, with every figure of both
    #[arg(long)]
    pub json: bool,
    /// In percent: what changes by less is called the same, whatever the rounds say
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    pub threshold: f64,
}

/// `5%` or `5`, as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim().trim_end_matches('%').trim_end().parse().map_err(|_| "not a percentage")?;
    if (0.0..=1000.0).contains(&number) { Ok(number / 100.0) } else { Err("not from 0% to 1000%".into()) }
}

/// Prints what differs. Returns whether nothing is worse beyond noise and threshold.
///
/// # Errors
/// If a report cannot be read; if the two have nothing in common.
pub fn run(options: &Options) -> Result<bool> {
    let (a, b) = (Report::read(&options.a)?, Report::read(&options.b)?);
    let diff = Diff::of(&a, &b, options.threshold);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&diff)?);
    } else {
        print!("{}", table::table(&diff));
    }
    if diff.lines.is_empty() {
        return Err("the reports have no side of a workload in common".into());
    }
    Ok(diff.count(Judged::Worse) == 0)
}
