//! What `bifold-bench advise` may be told.
#![forbid(unsafe_code)]

use super::pattern::Assume;
use std::path::PathBuf;

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
    /// Threads that read; as many as there are processors, up to 8, by default
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub threads: Option<u64>,
    /// How long it may take, as 60s or 5m
    #[arg(long, default_value = "60s", value_parser = crate::crossover::budget)]
    pub budget: f64,
    /// Other choices for each
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
