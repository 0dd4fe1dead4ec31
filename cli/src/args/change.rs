//! The arguments of the commands that change a little: `put`, `del`, `rename`, `drop`.
#![forbid(unsafe_code)]

use super::table::{KeyRange, TableArgs, table_name};
use clap::Args as ClapArgs;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(ClapArgs, Debug)]
#[command(after_help = PUT)]
pub(crate) struct Put {
    #[command(flatten)]
    pub(crate) on: TableArgs,

    /// The key, escaped as scan prints it
    pub(crate) key: OsString,

    /// The value, escaped as scan prints it; standard input's bytes as they are if it is - or left out
    pub(crate) value: Option<OsString>,

    /// Take the value from this file, its bytes as they are
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
}

const PUT: &str = r"A value that is there is replaced. Database and table are created if need be. A value that begins with - comes
behind --; one that is - alone is written \x2d.

Examples:
  bifold put geo.bifold capitals Schweiz Bern
  bifold put pictures.bifold png logo --file logo.png
  date | bifold put log.bifold seen today";

#[derive(ClapArgs, Debug)]
#[command(after_help = DEL, override_usage = "bifold del [OPTIONS] <DB> <TABLE> <KEY>
       bifold del [OPTIONS] <DB> <TABLE> --from|--to|--prefix …")]
pub(crate) struct Del {
    #[command(flatten)]
    pub(crate) on: TableArgs,

    /// The key, escaped as scan prints it
    #[arg(required_unless_present_any = ["from", "to", "prefix"], conflicts_with_all = ["from", "to", "prefix"])]
    pub(crate) key: Option<OsString>,

    #[command(flatten)]
    pub(crate) range: KeyRange,
}

const DEL: &str = r#"Exit code 1 if there was nothing to remove. --from, --to and --prefix together remove what all of them mean;
--prefix "" removes everything.

Examples:
  bifold del geo.bifold cities Zürich
  bifold del geo.bifold cities --prefix Z
  bifold del log.bifold seen --to 2024-01-01"#;

#[derive(ClapArgs, Debug)]
#[command(after_help = RENAME)]
pub(crate) struct Rename {
    /// The database file
    pub(crate) db: PathBuf,

    /// The table's name, escaped as tables prints it
    #[arg(value_parser = table_name)]
    pub(crate) old: String,

    /// Its new name, which no table has; escaped as well
    #[arg(value_parser = table_name)]
    pub(crate) new: String,
}

const RENAME: &str =
    "Takes no longer for a large table.\n\nExample:\n  bifold rename geo.bifold cities towns";

#[derive(ClapArgs, Debug)]
#[command(after_help = DROP)]
pub(crate) struct Drop {
    #[command(flatten)]
    pub(crate) on: TableArgs,
}

const DROP: &str =
    "The table goes with all its entries, without a question. What it took is free for other entries;
bifold compact makes the file shorter.\n\nExample:\n  bifold drop geo.bifold cities";
