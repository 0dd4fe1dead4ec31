//! Runs a command on the backend that was asked for. Each command is written once, over any page source.
#![forbid(unsafe_code)]

use crate::args::{Args, Backend, Command};
use crate::context::Context;
use crate::error::{Error, Result, Status};
use crate::output::Output;
use crate::{backup, check, compact, del, dump, get, load, put, scan, shell, stat, tables};
use bifold::PageSource;

/// Runs a command.
pub(crate) fn run(args: &Args) -> Result<Status> {
    let (command, json) = (&args.command, args.json);
    if json && matches!(command, Command::Completions(_) | Command::Man(_)) {
        return Err(Error::Usage("--json is for commands on a database".into()));
    }
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
    printed(|out| match command {
        Command::Load(args) => load::run(args, context, out),
        Command::Dump(args) => dump::run(args, context, out),
        Command::Put(args) => put::run(args, context, out),
        Command::Get(args) => get::run(args, context, out),
        Command::Del(args) => del::run(args, context, out),
        Command::Scan(args) => scan::run(args, context, out),
        Command::Tables(args) => tables::run(args, context, out),
        Command::Rename(args) => tables::rename(args, context, out),
        Command::Drop(args) => tables::remove(args, context, out),
        Command::Stat(args) => stat::run(args, context, out),
        Command::Check(args) => check::run(args, context, out),
        Command::Compact(args) => compact::run(args, context, out),
        Command::Backup(args) => backup::run(args, context, out),
        Command::Completions(args) => shell::completions(args, out),
        Command::Man(args) => shell::man(args, out),
    })
}

/// Runs what prints, and sees to it that all is written.
fn printed(command: impl FnOnce(&mut Output) -> Result<Status>) -> Result<Status> {
    let mut out = Output::new();
    let status = command(&mut out);
    // What was found before an error is shown before it.
    let finished = out.finish();
    let status = status?;
    finished?;
    Ok(status)
}
