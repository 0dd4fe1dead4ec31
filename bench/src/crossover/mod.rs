//! `bifold-bench crossover`: where does the one side win, and where the other?
//!
//! Data larger and smaller than memory, few threads and many: a grid of cells, each of which two sides run in turn, in
//! processes of their own, within one limit of memory. A budget of time decides which cells are run, and how often
//! ([`plan`]). What comes of it are three maps, for throughput, p99 and processor time per operation, and a verdict in
//! words. A sweep is kept as JSON and can be resumed.
#![forbid(unsafe_code)]

mod costs;
mod document;
mod grid;
mod map;
mod options;
pub mod plan;
mod run;
mod text;
mod verdict;

pub use document::{Ended, Settings, Sweep};
pub use grid::{EQUAL, Figures, Grid, Measure, Place, Repeat, Standing, figure, standing};
pub use map::page;
pub use options::{Options, budget};
pub use text::maps;
pub use verdict::verdict;

use crate::Result;
use crate::cell::Interrupt;
use crate::memory::{Group, remove_leftovers};
use crate::report::Environment;
use run::Sweeper;
use std::path::{Path, PathBuf};

/// Sweeps as `options` say. Returns whether it came to its end, or that of its budget, and every side to a result: one
/// that the kernel killed for memory has one too.
///
/// # Errors
/// What is wrong with the options or with the file to resume; if no memory can be bounded; if disk or time are short;
/// I/O errors of the results. How a side fails is a result.
pub fn crossover(options: &Options) -> Result<bool> {
    let parent = options.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    let here = Environment::here(&parent);
    let sweep = match &options.resume {
        None => Sweep::new(options.settings()?, here),
        Some(path) => resumed(path, &here)?,
    };
    let json = options.json.clone().or_else(|| options.resume.clone());
    remove_leftovers();
    // Without a limit of memory nothing would be swept: it is tried before anything is loaded.
    Group::create(sweep.settings.memory).map_err(|refused| refused.to_string())?.remove()?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let mut sweeper = Sweeper::new(sweep, &parent, json.clone(), interrupt)?;
    sweeper.estimate(options.budget)?;
    let ran = sweeper.run(options.budget);
    let sweep = &sweeper.sweep;
    if let Some(path) = &options.html {
        std::fs::write(path, page(sweep))?;
    }
    show(sweep);
    for path in [&json, &options.html].into_iter().flatten() {
        println!("written: {}", path.display());
    }
    ran?;
    Ok(sweep.ended != Ended::CutShort && sweep.failures().is_empty())
}

fn show(sweep: &Sweep) {
    for line in sweep.environment.lines() {
        println!("{line}");
    }
    let workload = &sweep.settings.workload;
    println!("{}: {}\n\n{}\n{}", workload.name, workload.about, maps(sweep), verdict(sweep));
}

/// The sweep in a file, made on this machine.
fn resumed(path: &Path, here: &Environment) -> Result<Sweep> {
    let mut sweep = Sweep::read(path)?;
    if let Some(what) = sweep.other_machine(here) {
        return Err(format!(
            "{} cannot be resumed here: {what} is not the same, and figures of two machines make no map",
            path.display()
        )
        .into());
    }
    let sides = crate::compare::choose_sides(&sweep.settings.sides)?;
    debug_assert_eq!(sides, sweep.settings.sides);
    sweep.command = std::env::args().collect();
    Ok(sweep)
}
