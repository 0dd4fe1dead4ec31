//! What `bifold-bench writes` may be told.
#![forbid(unsafe_code)]

use super::workload::{WORKLOADS, Workload};
use crate::{Durability, Result, Setup, Store, data};
use std::path::PathBuf;
use std::time::Duration;

/// The options of a run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Entries of 16+100 bytes
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1000..))]
    pub entries: u64,
    /// Rounds; in each, every store does every workload once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub rounds: u64,
    /// Seconds that a store works in a round, where the work has no end of its own
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// Seconds of the workload longest-commit, which has one round; --seconds by default
    #[arg(long)]
    pub longest_seconds: Option<u64>,
    /// Where the stores lie, one directory each; made if missing. What an earlier run left of them is removed
    #[arg(long)]
    pub dir: PathBuf,
    /// Only these stores; all of this build by default
    #[arg(long, value_delimiter = ',')]
    pub stores: Vec<String>,
    /// Only these workloads; all by default
    #[arg(long, value_delimiter = ',')]
    pub workloads: Vec<String>,
    /// The store that the others are compared with; the first if it does not take part
    #[arg(long, default_value = "lmdb")]
    pub baseline: String,
    /// MiB of cache for a store that has one of its own; twice the data and 64 by default
    #[arg(long)]
    pub cache_mib: Option<u64>,
    /// MiB of changes that a store may hold in memory, if it bounds them; it begins to write them out at half
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(2..))]
    pub delta_mib: u64,
    /// Leave out what the disk does without a store
    #[arg(long)]
    pub no_limits: bool,
    /// Write all figures to this file, too
    #[arg(long)]
    pub json: Option<PathBuf>,
}

impl Options {
    /// Whether store `S` takes part.
    pub fn wants<S: Store>(&self) -> bool {
        self.stores.is_empty() || self.stores.iter().any(|name| name == S::NAME)
    }

    /// The workloads of the run.
    ///
    /// # Errors
    /// If one is asked for that does not exist.
    pub fn plan(&self) -> Result<Vec<Workload>> {
        if let Some(name) = self.workloads.iter().find(|name| WORKLOADS.iter().all(|w| w.name != **name)) {
            let names = WORKLOADS.map(|workload| workload.name).join(", ");
            return Err(format!("no workload is called {name}; there are {names}").into());
        }
        let wanted =
            |w: &Workload| self.workloads.is_empty() || self.workloads.iter().any(|name| name == w.name);
        Ok(WORKLOADS.into_iter().filter(wanted).collect())
    }

    /// How long a store does `workload` in a round.
    pub fn time(&self, workload: &Workload) -> Duration {
        let seconds = if workload.once { self.longest_seconds } else { None };
        Duration::from_secs(seconds.unwrap_or(self.seconds))
    }

    /// Rounds of `workload`.
    pub const fn rounds(&self, workload: &Workload) -> u64 {
        if workload.once { 1 } else { self.rounds }
    }

    /// How stores are opened. Those that map their file have no cache of their own; the page cache is theirs.
    pub fn setup(&self, durability: Durability) -> Setup {
        let bytes = data::bytes(self.entries);
        Setup {
            cache_bytes: self.cache_mib.map_or(bytes * 2 + (64 << 20), |mib| mib << 20),
            delta_bytes: self.delta_mib << 20,
            durability,
            // Room for a file that grows while a reader keeps old pages, or until a sync.
            file_bytes_max: bytes * 16 + (8 << 30),
            ..Setup::in_memory(bytes)
        }
    }

    /// The rule by which memory is given, in words.
    pub fn memory_rule(&self) -> String {
        let setup = self.setup(Durability::Synced);
        format!(
            "memory: {} MiB of cache for each store that has one of its own, the page cache for the others (LMDB, \
             libmdbx, Bifold over mmap); {} MiB of changes for each store that bounds them (Bifold's delta; memtables, \
             canopydb's checkpoints, SQLite's WAL and libmdbx's unsynced bytes at half of it)",
            setup.cache_bytes >> 20,
            self.delta_mib
        )
    }
}
