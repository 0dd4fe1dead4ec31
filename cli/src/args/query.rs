//! The arguments of the commands that read: `get`, `scan`, `tables`.
#![forbid(unsafe_code)]

use super::table::{KeyRange, TableArgs};
use clap::Args as ClapArgs;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(ClapArgs, Debug)]
#[command(after_help = GET)]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) on: TableArgs,

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
    #[command(flatten)]
    pub(crate) on: TableArgs,

    #[command(flatten)]
    pub(crate) range: KeyRange,

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
#[command(after_help = "Example:\n  bifold tables geo.bifold")]
pub(crate) struct Tables {
    /// The database file
    pub(crate) db: PathBuf,
}
