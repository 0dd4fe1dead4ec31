//! What `bifold-bench advise` may be told.
#![forbid(unsafe_code)]

use super::pattern::Assume;
use std::path::PathBuf;

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) => Err("not from 0 to 1".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The options of an advice.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Your database; it is read, and never written
    #[arg(value_name = "DB")]
    pub database: PathBuf,
    /// The table that is asked about; the largest by default
    #[arg(long)]
    pub table: Option<String>,
    /// Memory that the program may have in all, page cache included; what is available here by default
    #[arg(long, value_parser = crate::sizes::bytes)]
    pub memory: Option<u64>,
    /// How the table is read
    #[arg(long, value_enum, default_value_t = Assume::Uniform)]
    pub assume: Assume,
    /// The share of operations that overwrite an entry, from 0 to 1, the rest being reads; measured on a copy
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub writes: Option<f64>,
    /// Entries a commit [default: 1]
    #[arg(long, requires = "writes", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub per_txn: Option<u64>,
    /// Commits wait for no sync; by default each outlasts a power failure when it returns
    #[arg(long, requires = "writes")]
    pub unsynced: bool,
    /// A trace of your program (`Builder::record_trace`), which says how the table is read and written
    #[arg(long, value_name = "FILE", conflicts_with_all = ["assume", "writes", "per_txn", "unsynced"])]
    pub trace: Option<PathBuf>,
    /// Measure the reads of a trace alone, without a copy
    #[arg(long, requires = "trace")]
    pub reads_only: bool,
    /// Where a copy of the database is made for runs that write, which is removed at the end; the current directory by
    /// default
    #[arg(long, value_parser = crate::sizes::directory)]
    pub dir: Option<PathBuf>,
    /// Threads; those of the trace, or as many as there are processors, up to 8, by default
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: Option<u64>,
    /// How long it may take, as 60s or 5m
    #[arg(long, default_value = "60s", value_parser = crate::crossover::budget)]
    pub budget: f64,
    /// Other choices for each
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
