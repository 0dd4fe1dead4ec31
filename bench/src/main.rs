//! `bifold-bench`: loads stores and measures them side by side.
#![forbid(unsafe_code)]

use bifold_bench::report::{self, Report};
use bifold_bench::{Result, advise, cell, compare, crossover, diff, limits, workload, writes};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about = "Bifold's backends and other stores, measured side by side")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare sides on workloads, each cell in a process of its own, and say which wins
    Compare(Box<compare::Options>),
    /// Sweep data sizes and threads within a limit of memory, and draw where each of two sides wins
    Crossover(Box<crossover::Options>),
    /// Say which side to build with for a database that is there, after short runs on it, or on a copy if they write
    Advise(Box<advise::Options>),
    /// Make the page of a report that `compare` wrote with --json
    Page {
        /// The report
        report: PathBuf,
        /// Where the page is written
        page: PathBuf,
    },
    /// Say what is better and what is worse in a second report, and whether the rounds bear it out
    Diff(diff::Options),
    /// List the workloads and the sides of this build
    List,
    /// Do one cell: what `compare` starts
    #[command(hide = true)]
    Child,
    /// Load, insert, overwrite and commit, with and without syncs, beside readers and checkpoints
    Writes(writes::Options),
    /// What this machine can do at all: its disk, page cache, page faults and memory
    Limits(limits::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bifold-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<bool> {
    match command {
        Command::Compare(options) => return compare::compare(&options),
        Command::Crossover(options) => return crossover::crossover(&options),
        Command::Advise(options) => return advise::advise(&options),
        Command::Page { report, page } => std::fs::write(page, report::page(&Report::read(&report)?))?,
        Command::Diff(options) => return diff::run(&options),
        Command::List => list(),
        Command::Child => return Ok(cell::child()),
        Command::Writes(options) => writes::run(&options)?,
        Command::Limits(options) => limits::run(&options)?,
    }
    Ok(true)
}

fn list() {
    println!("workloads:");
    for workload in workload::presets() {
        println!("  {:<14} {}", workload.name, workload.about);
    }
    println!("sides: {}", compare::all_sides().join(", "));
}
