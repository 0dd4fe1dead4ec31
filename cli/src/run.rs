//! Runs a command on the backend that was asked for. Each command is written once, over any page source.
#![forbid(unsafe_code)]

use crate::args::{Args, Backend, Command};
use crate::error::{Error, Result, Status};
use crate::output::Output;
use crate::{check, get, load, scan, stat, tables};
use bifold::{Builder, Db, PageSource};
use std::path::Path;

/// How the database is opened, and how the result is shown.
#[derive(Debug)]
pub(crate) struct Context<S: PageSource> {
    options: S::Options,
    pub(crate) json: bool,
}

impl<S: PageSource> Context<S> {
    /// A builder for the backend that was asked for.
    pub(crate) fn builder(&self) -> Builder<S> {
        Builder::new().backend(self.options.clone())
    }

    /// Opens the database at `path` for reading only.
    pub(crate) fn open(&self, path: &Path) -> Result<Db<S>> {
        self.builder().read_only().open(path).map_err(|error| Error::Open(path.into(), error))
    }
}

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
        Command::Tables(args) => tables::run(args, context, &mut out),
    };
    // What was found before an error is shown before it.
    let finished = out.finish();
    let status = status?;
    finished?;
    Ok(status)
}
