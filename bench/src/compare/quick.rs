//! `bifold-bench compare` without a workload: a tour of under a minute, with an answer at its end.
//!
//! Two parts. The data set that comes with Bifold is small and real, and shows both sides in memory. Made data four
//! times a memory limit show them beyond it, where the system permits such a limit.
#![forbid(unsafe_code)]

use super::options::{Options, source_of};
use super::run::PartPlan;
use crate::Result;
use crate::cell::{Interrupt, Source};
use crate::corpus::{Corpus, Made, Sizes};
use crate::memory::Group;
use crate::workload::find;
use std::path::Path;

/// The data set that comes with Bifold.
const CITIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/cities.tsv");
/// What a reader knows it by.
const SHIPPED: &str = "data/cities.tsv, which comes with Bifold";
/// The limit of memory.
const MEMORY: u64 = 64 << 20;
/// How many times that the made data are.
const TIMES: u64 = 4;
/// Threads on them: as many misses can be on their way.
const THREADS: u64 = 4;
/// Seconds of a warm-up and of a run, in memory and beyond it.
const WITHIN: (f64, f64) = (0.1, 0.5);
const BEYOND: (f64, f64) = (0.6, 0.5);

/// The two parts. What the user has said otherwise (sides, rounds, memory, threads) holds for them, too.
pub(super) fn parts(options: &Options, dir: &Path, interrupt: &Interrupt) -> Result<Vec<PartPlan>> {
    let pace = options.pace(1, WITHIN);
    let mut parts = Vec::new();
    let cities = Path::new(CITIES);
    if cities.exists() {
        let source = source_of((cities, SHIPPED.into()), None, options.seed, dir, interrupt)?;
        let small = Options { memory: None, ..options.clone() };
        let workloads = vec![find("get-txn")?, find("scan")?];
        let mut plan = small.part(&source.open_shown(interrupt)?, source, workloads, pace)?;
        plan.part.title = "cities of the world, in memory".into();
        parts.push(plan);
    } else {
        eprintln!("{CITIES} is not there: the part on real data is left out");
    }
    let memory = options.memory.unwrap_or(MEMORY);
    let group = Group::create(memory);
    if let Err(refused) = &group {
        eprintln!("{refused}\nThe part on data larger than memory is left out.");
        return Ok(parts);
    }
    drop(group);
    let one = Made { entries: 1, keys: Sizes::Fixed(16), values: Sizes::Fixed(100), seed: options.seed };
    let source = Source::Made(Made { entries: memory * TIMES / one.bytes(), ..one });
    let limited = Options { memory: Some(memory), ..options.clone() };
    let pace = options.pace(THREADS, BEYOND);
    let workloads = vec![find("get-txn")?, find("ycsb-b")?];
    let corpus: Corpus = source.open()?;
    let mut plan = limited.part(&corpus, source, workloads, pace)?;
    plan.part.title = format!("data {TIMES} times the memory, {} threads", pace.threads);
    parts.push(plan);
    Ok(parts)
}
