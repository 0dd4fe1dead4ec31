//! `bifold-bench compare`: workloads, side by side.
//!
//! Every cell (a side, a workload, a round) is a process of its own, so that no side inherits another's memory or heat.
//! A workload's rounds follow each other, and in each another side goes first. What is done is estimated before, and every finished cell is kept, whatever
//! ends the run.
#![forbid(unsafe_code)]

mod article;
mod estimate;
mod options;
mod quick;
mod replay;
mod run;
mod setup;
mod sides;

pub(crate) use estimate::durability;
pub use options::{Options, Preset};
pub use run::{Outputs, Runner};
pub use setup::{Memory, setup_for};
pub use sides::{all_sides, choose_sides};

use crate::Result;
use crate::cell::Interrupt;
use crate::limits;
use crate::report::{self, table, verdict};

/// Compares as `options` say. Returns whether it came to its end, and every side to a result: one that the kernel killed
/// for memory has one too.
///
/// # Errors
/// What is wrong with the options; what cannot be run at all; I/O errors of the results. How a side fails is a result.
pub fn compare(options: &Options) -> Result<bool> {
    let interrupt = Interrupt::on_ctrl_c()?;
    let outputs = options.outputs();
    let (json, html) = (outputs.json.clone(), outputs.html.clone());
    let mut runner = Runner::new(options.dir.as_deref(), options.keep, outputs, interrupt)?;
    let parts = options.parts(runner.dir())?;
    if options.limits || options.preset.is_some() {
        let limits = limits::Options { dir: runner.dir().to_owned(), ..Options::some_limits() };
        runner.add(Some(limits::measure_with_bar(&limits)?), None);
    }
    if options.preset == Some(Preset::Article) {
        let written = article::article(runner.dir())?;
        runner.add(None, Some(written));
    }
    for part in parts {
        if !runner.part(&part)? {
            break;
        }
    }
    let report = runner.finish()?;
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
