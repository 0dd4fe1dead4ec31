//! The arguments of the commands that are about the whole file: `stat`, `check`, `compact`, `backup`.
#![forbid(unsafe_code)]

use crate::size;
use clap::Args as ClapArgs;
use std::path::PathBuf;

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
#[command(after_help = BACKUP)]
pub(crate) struct Backup {
    /// The database file
    pub(crate) db: PathBuf,

    /// The new file; nothing may bear its name yet
    pub(crate) dest: PathBuf,
}

const BACKUP: &str = concat!(
    "The copy shows one commit, whole. It bears its name once it is complete and durable, so a crash before leaves ",
    "nothing of that name. Tables and entries are copied, not pages: what is damaged is found on the way and ends the ",
    "backup, and the copy has no unused space. Other programs may read the database meanwhile. A program that has it ",
    "open to write keeps all others out; such a program makes its backups itself (Db::backup), and writes on ",
    "meanwhile.\n\n",
    "Examples:\n",
    "  bifold backup geo.bifold geo-monday.bifold\n",
    "  bifold backup geo.bifold /mnt/backup/geo.bifold && bifold check /mnt/backup/geo.bifold",
);
