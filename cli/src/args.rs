//! The command line.
#![forbid(unsafe_code)]

mod bulk;
mod change;
mod file;
mod query;
mod shell;
mod table;

pub(crate) use bulk::{Dump, Format, Load};
pub(crate) use change::{Del, Drop, Put, Rename};
pub(crate) use file::{Backup, Check, Compact, Stat};
pub(crate) use query::{Get, Scan, Tables};
pub(crate) use shell::{Completions, Man};
pub(crate) use table::{KeyRange, table_name};

use crate::error::{Error, Result};
use crate::size;
use bifold_text::escape::unescape;
use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;

/// Load, query, change and check Bifold databases: embedded, ordered, transactional, one file each.
///
/// Commands that read open the database for reading only: any number of them run side by side, and nothing is written.
#[derive(Parser, Debug)]
#[command(name = "bifold", version, after_help = GENERAL)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// How pages are reached: through a mapping, or through a cache of a fixed size. The file is the same
    #[arg(long, global = true, value_enum, default_value_t = Backend::Mmap)]
    pub(crate) backend: Backend,

    /// Memory for the cache, with --backend pool [default: 256MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) cache: Option<u64>,

    /// Print JSON, one object a line; bytes that are not UTF-8 are {"base64": "…"}
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

const GENERAL: &str = concat!(
    "Examples:\n",
    "  bifold load geo.bifold cities cities.tsv\n",
    "  bifold get geo.bifold cities Zürich\n",
    "  bifold scan geo.bifold cities --prefix Z --limit 10\n",
    "  bifold stat geo.bifold\n\n",
    r"Text: keys and values are printed with \\ \t \n \r for backslash, tab, line feed and carriage return, and \xHH ",
    "for other control characters and for bytes that are not UTF-8; a tab within a value is printed as it is. load ",
    "reads the same, and so do keys and the names of tables on the command line, so a backslash is always written ",
    "twice.\n\n",
    "Sizes: a number of bytes, or one with a unit: KiB, MiB, GiB, or K, M, G, which mean the same.\n\n",
    "Exit code: 0; 1 if the key is not there, there is nothing to remove, or the file has faults; 2 after an error.",
);

/// Which page source to run on.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backend {
    /// A read-only mapping; the kernel's page cache is the cache
    Mmap,
    /// Bifold's own cache, with a fixed memory budget
    Pool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Load TSV, JSON or a dump into tables, which are created if need be, as is the database
    Load(Load),
    /// Write tables as text that load takes back, as do the loaders of LMDB and Berkeley DB
    Dump(Dump),
    /// Set the value of a key
    Put(Put),
    /// Print the value of a key
    Get(Get),
    /// Remove a key, or all keys of a range
    Del(Del),
    /// Print entries in key order, as TSV that load takes back
    Scan(Scan),
    /// List the tables and how many entries each has
    Tables(Tables),
    /// Give a table another name
    Rename(Rename),
    /// Remove a table
    Drop(Drop),
    /// Show how the database stands: trees, pages, fill, free space, log, and what the backend did
    Stat(Stat),
    /// Walk everything and list what is wrong: checksums, order, counts, pages lost or used twice
    Check(Check),
    /// Make the file as short as its content allows, and bring its pages in key order
    Compact(Compact),
    /// Copy the database, as it is at one moment, into a new file
    Backup(Backup),
    /// Print what makes a shell complete the program's arguments
    Completions(Completions),
    /// Print the manual, or write it as man pages
    Man(Man),
}

/// The bytes that a key on the command line stands for.
///
/// # Errors
/// [`Error::Usage`] if it holds a backslash that begins no escape.
pub(crate) fn key(name: &str, text: &OsString) -> Result<Vec<u8>> {
    let mut key = Vec::with_capacity(text.len());
    match unescape(text.as_encoded_bytes(), &mut key) {
        Ok(()) => Ok(key),
        Err(bad) => Err(Error::Usage(format!("{name}, byte {}: {bad}", bad.at + 1))),
    }
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Args::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("bifold {}", command.get_name())), "{}", command.get_name());
        }
    }
}
