//! The arguments of the commands that take many entries in or out: `load` and `dump`, and the formats they know.
#![forbid(unsafe_code)]

use super::table::table_name;
use crate::size;
use clap::{Args as ClapArgs, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// How entries are written as text.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Key, tab, value; a line each
    Tsv,
    /// The text format of LMDB's and Berkeley DB's dumps
    Dump,
    /// A JSON object a line
    Json,
}

impl From<Format> for bifold_text::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Tsv => Self::Tsv,
            Format::Dump => Self::Dump,
            Format::Json => Self::Json,
        }
    }
}

#[derive(ClapArgs, Debug)]
#[command(after_help = LOAD, override_usage = "bifold load [OPTIONS] <DB> <TABLE> [FILE]
       bifold load [OPTIONS] --all <DB> [FILE]")]
pub(crate) struct Load {
    /// The database file
    pub(crate) db: PathBuf,

    /// The table, its name escaped as tables prints it; left out with --all
    #[arg(required_unless_present = "all")]
    pub(crate) table: Option<OsString>,

    /// What to load; standard input if it is - or left out
    pub(crate) file: Option<PathBuf>,

    /// Load every table that the input names, into a table of that name
    #[arg(long)]
    pub(crate) all: bool,

    /// What the input is [default: what its first line shows it to be]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,

    /// The column of TSV that is the key, counted from 1 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) key: Option<u32>,

    /// The column of TSV that is the value, counted from 1 [default: all columns but the key]
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
    "The first line tells the format: it has a tab in TSV, begins with VERSION= in a dump, with { in JSON.\n\n",
    "TSV: every line has a key and a value; one that is empty, or lacks a column, is an error. A line ends with a line ",
    "feed; a carriage return before it belongs to the value. How text is escaped, bifold --help tells.\n",
    "Dump: what bifold dump, LMDB's mdb_dump and Berkeley DB's db_dump print. Databases with several values for one ",
    "key (DUPSORT) are refused.\n",
    "JSON: one object a line, {\"key\": …, \"value\": …}, with \"table\" as well for --all. Bytes that are not UTF-8 are ",
    "{\"base64\": \"…\"}.\n\n",
    "Entries in the order of their keys, byte by byte (LC_ALL=C), that go behind all that the table has, are loaded ",
    "fastest. Others are loaded as well, but more slowly the more there is beyond --delta: --sort sorts them first.\n\n",
    "Examples:\n",
    "  bifold load geo.bifold cities cities.tsv\n",
    "  bifold load geo.bifold population cities.tsv --key 1 --value 6\n",
    "  zcat dump.tsv.gz | bifold load big.bifold dump --sort --memory 1GiB --tmp /var/tmp\n",
    "  mdb_dump -a lmdb/ | bifold load new.bifold --all\n",
    "  db_dump old.db | bifold load new.bifold t",
);

#[derive(ClapArgs, Debug)]
#[command(after_help = DUMP)]
pub(crate) struct Dump {
    /// The database file
    pub(crate) db: PathBuf,

    /// The tables, their names escaped as tables prints them; all of them if none is named
    #[arg(value_name = "TABLE", value_parser = table_name)]
    pub(crate) tables: Vec<String>,

    /// How entries are written [default: dump]
    #[arg(long, value_enum, conflicts_with = "json")]
    pub(crate) format: Option<Format>,

    /// In a dump, write printing characters as they are, and others as \hh
    #[arg(short, long)]
    pub(crate) print: bool,

    /// In a dump of one table, leave its name out: it is then loaded into the database that has no name
    #[arg(long)]
    pub(crate) unnamed: bool,

    /// In a dump for LMDB, say how large its map is to be, which is 1 MiB otherwise; Berkeley DB does not know the word
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) mapsize: Option<u64>,
}

const DUMP: &str = concat!(
    "All tables are shown as of one commit. bifold load takes every format back; so do mdb_load and db_load that of ",
    "dump, within their own limits: LMDB has no empty key, and none of more than 511 bytes. TSV has no place for a ",
    "table's name, so it is for one table. --json is --format json; its lines have the field \"table\", unless one table ",
    "was named.\n\n",
    "Examples:\n",
    "  bifold dump geo.bifold > geo.dump && bifold load --all new.bifold geo.dump\n",
    "  bifold dump geo.bifold --mapsize 1GiB | mdb_load lmdb/\n",
    "  bifold dump geo.bifold cities --unnamed | db_load cities.db\n",
    "  bifold dump geo.bifold cities --json | jq .key",
);
