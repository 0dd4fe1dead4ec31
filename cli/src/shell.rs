//! What helps at a shell: `bifold completions` and `bifold man`, made from the arguments' own descriptions.
#![forbid(unsafe_code)]

use crate::args::{Args, Completions, Man};
use crate::error::{Error, Result, Status};
use crate::output::Output;
use clap::CommandFactory;
use std::io::Write;
use std::path::Path;

pub(crate) fn completions(args: &Completions, out: &mut Output) -> Result<Status> {
    // Not straight to the output: clap panics where that cannot be written.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "bifold", &mut text);
    out.stream().write_all(&text)?;
    Ok(Status::Good)
}

pub(crate) fn man(args: &Man, out: &mut Output) -> Result<Status> {
    let mut program = Args::command();
    // Gives the commands their full names.
    program.build();
    let Some(dir) = &args.dir else {
        out.stream().write_all(&page(program)?)?;
        return Ok(Status::Good);
    };
    // bifold help says what these pages do, and needs none.
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("bifold-{}", command.get_name());
        write(dir, &name, &page(command.clone())?)?;
    }
    write(dir, "bifold", &page(program)?)?;
    Ok(Status::Good)
}

/// The man page of a command.
fn page(command: clap::Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let version = concat!("bifold ", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command).source(version).render(&mut text)?;
    Ok(text)
}

fn write(dir: &Path, name: &str, page: &[u8]) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page).map_err(|error| Error::WriteFile(path, error))
}
