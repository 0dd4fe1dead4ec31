//! The command line.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::escape::unescape;
use crate::size;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Load, query and check Bifold databases: embedded, ordered, transactional, one file each.
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
    "reads the same, and so do keys on the command line, so a backslash is always written twice.\n\n",
    "Sizes: a number of bytes, or one with a unit: KiB, MiB, GiB, or K, M, G, which mean the same.\n\n",
    "Exit code: 0; 1 if the key is not there or the file has faults; 2 after an error.",
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
    /// Load a TSV file into a table, which is created if need be, as is the database
    Load(Load),
    /// Print the value of a key
    Get(Get),
    /// Print entries in key order, as TSV that load takes back
    Scan(Scan),
    /// Show how the database stands: trees, pages, fill, free space, log, and what the backend did
    Stat(Stat),
    /// Walk everything and list what is wrong: checksums, order, counts, pages lost or used twice
    Check(Check),
    /// Make the file as short as its content allows, and bring its pages in key order
    Compact(Compact),
    /// List the tables and how many entries each has
    Tables(Tables),
}

#[derive(ClapArgs, Debug)]
#[command(after_help = LOAD)]
pub(crate) struct Load {
    /// The database file
    pub(crate) db: PathBuf,

    /// The table
    pub(crate) table: String,

    /// What to load; standard input if it is - or left out
    pub(crate) file: Option<PathBuf>,

    /// The column that is the key, counted from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) key: u32,

    /// The column that is the value, counted from 1 [default: all columns but the key]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) value: Option<u32>,

    /// Memory for the pages that lines out of order change, and the longest line
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size::parse)]
    pub(crate) delta: u64,

    /// Sort by key first, in memory or, if there is more, in a temporary file
    #[arg(long)]
    pub(crate) sort: bool,

    /// Memory for --sort, about; at least 64KiB
    #[arg(long, value_name = "SIZE", requires = "sort", default_value = "256MiB", value_parser = size::parse)]
    pub(crate) memory: u64,

    /// Where --sort keeps what does not fit in memory; once, at times twice, as much as the input
    /// [default: the database's folder]
    #[arg(long, value_name = "DIR", requires = "sort")]
    pub(crate) tmp: Option<PathBuf>,
}

const LOAD: &str = concat!(
    "One transaction: all is loaded, or nothing. A key that comes twice, or is there already, keeps its last value. ",
    "Every line has a key and a value: one that is empty, or lacks a column, is an error. A line ends with a line ",
    "feed; a carriage return before it belongs to the value. How text is escaped, bifold --help tells.\n\n",
    "Lines in the order of their keys, byte by byte (LC_ALL=C), that go behind all that the table has, are loaded ",
    "fastest. Others are loaded as well, but more slowly the more there is beyond --delta: --sort sorts them first.\n\n",
    "Examples:\n",
    "  bifold load geo.bifold cities cities.tsv\n",
    "  bifold load geo.bifold population cities.tsv --key 1 --value 6\n",
    "  zcat dump.tsv.gz | bifold load big.bifold dump --sort --memory 1GiB --tmp /var/tmp\n",
    "  bifold scan old.bifold t | bifold load new.bifold t",
);

#[derive(ClapArgs, Debug)]
#[command(after_help = GET)]
pub(crate) struct Get {
    /// The database file
    pub(crate) db: PathBuf,

    /// The table
    pub(crate) table: String,

    /// The key, escaped as scan prints it
    pub(crate) key: OsString,

    /// Print the value's bytes as they are, with nothing added
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

const GET: &str = r"Examples:
  bifold get geo.bifold cities Zürich
  bifold get geo.bifold cities Zürich --backend pool --json
  bifold get pictures.bifold png logo --raw > logo.png";

#[derive(ClapArgs, Debug)]
#[command(after_help = SCAN)]
pub(crate) struct Scan {
    /// The database file
    pub(crate) db: PathBuf,

    /// The table
    pub(crate) table: String,

    /// The first key, or where it would be
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Option<OsString>,

    /// The key to stop before
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<OsString>,

    /// Only keys that begin with this
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<OsString>,

    /// At most so many entries
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,

    /// From the last entry to the first
    #[arg(long)]
    pub(crate) reverse: bool,

    /// Print keys only; large values are then not read
    #[arg(long)]
    pub(crate) keys_only: bool,
}

const SCAN: &str = r"Examples:
  bifold scan geo.bifold cities --prefix Z --limit 10
  bifold scan geo.bifold cities --from L --to M --keys-only
  bifold scan geo.bifold cities --reverse --limit 1 --backend pool --cache 16MiB";

#[derive(ClapArgs, Debug)]
#[command(after_help = "Example:\n  bifold stat geo.bifold")]
pub(crate) struct Stat {
    /// The database file
    pub(crate) db: PathBuf,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = CHECK)]
pub(crate) struct Check {
    /// The database file
    pub(crate) db: PathBuf,
}

const CHECK: &str = r"Examples:
  bifold check geo.bifold
  bifold check geo.bifold --json && cp geo.bifold backup/";

#[derive(ClapArgs, Debug)]
#[command(after_help = COMPACT)]
pub(crate) struct Compact {
    /// The database file
    pub(crate) db: PathBuf,

    /// Copy into this new file, and leave the database as it is
    #[arg(long, value_name = "NEW")]
    pub(crate) into: Option<PathBuf>,

    /// Memory for the pages that are rewritten in place
    #[arg(long, value_name = "SIZE", conflicts_with = "into", default_value = "256MiB", value_parser = size::parse)]
    pub(crate) delta: u64,
}

const COMPACT: &str = concat!(
    "In place, pages are rewritten into free ones, some at a time: it needs little room (the file may grow by an eighth ",
    "meanwhile), and a crash at any time leaves a good file. --into needs room for all that is in use, and packs it ",
    "tighter; the new file bears its name once it is complete.

",
    "Examples:
",
    "  bifold compact geo.bifold
",
    "  bifold compact geo.bifold --into small.bifold",
);

#[derive(ClapArgs, Debug)]
#[command(after_help = "Example:\n  bifold tables geo.bifold")]
pub(crate) struct Tables {
    /// The database file
    pub(crate) db: PathBuf,
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
