//! Runs a command on the backend that was asked for. Each command is written once, over any page source.
#![forbid(unsafe_code)]

use crate::args::{Args, Backend, Command};
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::output::Output;
use crate::{check, compact, get, load, scan, stat, tables};
use bifold::PageSource;

/// Runs a command.
pub(crate) fn run(args: &Args) -> Result<Status> {
    let (command, json) = (&args.command, args.json);
    match args.backend {
        Backend::Mmap if args.cache.is_some() => Err(Error::Usage(
            "--cache is for --backend pool; mmap has the kernel's page cache, which has no size to set"
                .into(),
        )),
        Backend::Mmap => {
            let options = bifold::mmap::Options::default();
            run_on(command, &Context::<bifold::mmap::Source> { options, json })
        }
        Backend::Pool => {
            let mut options = bifold::pool::Options::default();
            if let Some(bytes) = args.cache {
                options = options.cache_size(bytes);
            }
            run_on(command, &Context::<bifold::pool::Source> { options, json })
        }
    }
}

fn run_on<S: PageSource>(command: &Command, context: &Context<S>) -> Result<Status> {
    let mut out = Output::new();
    let status = match command {
        Command::Load(args) => load::run(args, context, &mut out),
        Command::Get(args) => get::run(args, context, &mut out),
        Command::Scan(args) => scan::run(args, context, &mut out),
        Command::Stat(args) => stat::run(args, context, &mut out),
        Command::Check(args) => check::run(args, context, &mut out),
        Command::Compact(args) => compact::run(args, context, &mut out),
        Command::Tables(args) => tables::run(args, context, &mut out),
    };
    // What was found before an error is shown before it.
    let finished = out.finish();
    let status = status?;
    finished?;
    Ok(status)
}
