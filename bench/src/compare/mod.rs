//! `bifold-bench compare`: workloads, side by side.
//!
//! Every cell (a side, a workload, a round) is a process of its own, so that no side inherits another's memory or heat.
//! A workload's rounds follow each other, and in each another side goes first. What is done is estimated before, and
//! refused if disk or time are short; every finished cell is kept, whatever ends the run.
#![forbid(unsafe_code)]

mod article;
mod budget;
mod estimate;
mod options;
mod quick;
mod replay;
mod run;
mod setup;
mod sides;

pub(crate) use estimate::{durability, spoils};
pub use options::{Options, Preset};
pub use run::{Outputs, Runner};
pub use setup::{Memory, setup_for};
pub use sides::{all_sides, choose_sides};

use crate::Result;
use crate::cell::Interrupt;
use crate::limits;
use crate::report::{self, table, verdict};
use std::time::Instant;

/// Seconds that the limits of the machine take, about, and the writes of the preset `article`.
const LIMITS: f64 = 5.0;
const ARTICLE: f64 = 5.0;

/// Compares as `options` say. Returns whether it came to its end, and every side to a result: one that the kernel killed
/// for memory has one too.
///
/// # Errors
/// What is wrong with the options; what cannot be run at all; that the user ended it before data were made ready; I/O
/// errors of the results. How a side fails is a result.
pub fn compare(options: &Options) -> Result<bool> {
    let since = Instant::now();
    let interrupt = Interrupt::on_ctrl_c()?;
    let outputs = options.outputs();
    let (json, html) = (outputs.json.clone(), outputs.html.clone());
    let mut runner = Runner::new(options.dir.as_deref(), options.keep, outputs, interrupt.clone())?;
    let parts = options.parts(runner.dir(), &interrupt)?;
    let (measures, writes) =
        (options.limits || options.preset.is_some(), options.preset == Some(Preset::Article));
    if let Some(seconds) = options.budget {
        let besides = if measures { LIMITS } else { 0.0 } + if writes { ARTICLE } else { 0.0 };
        budget::check(&parts, besides, seconds)?;
        runner.set_budget(since, seconds);
    }
    if measures {
        let limits = limits::Options { dir: runner.dir().to_owned(), ..Options::some_limits() };
        runner.add(Some(limits::measure_with_bar(&limits)?), None);
    }
    if writes {
        let written = article::article(runner.dir())?;
        runner.add(None, Some(written));
    }
    for part in &parts {
        if !runner.part(part)? {
            break;
        }
    }
    let report = runner.finish(&parts)?;
    print!("{}", table(&report));
    if let Some(text) = report::article(&report) {
        print!("{text}");
    }
    let said = verdict(&report);
    if !said.is_empty() {
        println!("\n{said}");
    }
    for path in [json, html].into_iter().flatten() {
        println!("written: {}", path.display());
    }
    Ok(report.complete && !report.has_failures())
}
