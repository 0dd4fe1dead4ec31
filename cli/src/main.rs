//! `bifold`: load, query and check Bifold database files, under either backend.
#![forbid(unsafe_code)]

mod args;
mod check;
mod compact;
mod context;
mod error;
mod escape;
mod get;
mod input;
mod load;
mod output;
mod progress;
mod run;
mod scan;
mod size;
mod sort;
mod stat;
mod tables;

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
