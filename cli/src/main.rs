//! `bifold`: load, query, change and check Bifold database files, under either backend.
#![forbid(unsafe_code)]

mod args;
mod backup;
mod check;
mod compact;
mod context;
mod del;
mod dump;
mod error;
mod get;
mod input;
mod load;
mod output;
mod progress;
mod put;
mod range;
mod run;
mod scan;
mod shell;
mod size;
mod sort;
mod stat;
mod tables;
mod target;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run::run(&args::Args::parse()) {
        Ok(status) => status.into(),
        // Whoever read the output has had enough of it.
        Err(error::Error::ClosedPipe) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::from(2)
        }
    }
}
