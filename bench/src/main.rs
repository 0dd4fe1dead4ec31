//! `bifold-bench`: loads stores and measures them side by side.
#![forbid(unsafe_code)]

use bifold_bench::data::{self, Seed, digest, expected};
use bifold_bench::report::{self, Report};
use bifold_bench::rounds::{self, Side};
use bifold_bench::{
    Order, Result, Setup, Store, bulk, cell, compare, diff, for_each_store, limits, workload, writes,
};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(version, about = "Bifold's backends and other stores, measured side by side")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Data {
    /// Entries of 16+100 bytes
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    entries: u64,
    /// Where the stores lie, one directory each; made if missing
    #[arg(long)]
    dir: PathBuf,
    /// Only these stores; all of this build by default
    #[arg(long, value_delimiter = ',')]
    stores: Vec<String>,
    /// Leaves it to the first touch to bring pages into memory, where opening could do it
    #[arg(long)]
    no_populate: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Compare sides on workloads, each cell in a process of its own, and say which wins
    Compare(Box<compare::Options>),
    /// Make the page of a report that `compare` wrote with --json
    Page {
        /// The report
        report: PathBuf,
        /// Where the page is written
        page: PathBuf,
    },
    /// Say what is better and what is worse in a second report, and whether the rounds bear it out
    Diff(diff::Options),
    /// List the workloads and the sides of this build
    List,
    /// Do one cell: what `compare` starts
    #[command(hide = true)]
    Child,
    /// Load each store anew, reopen it, check it and scan it
    Load {
        #[command(flatten)]
        data: Data,
        /// Put entries in a random order instead of the order of their keys
        #[arg(long)]
        random: bool,
        /// Entries a transaction; all in one by default
        #[arg(long)]
        per_commit: Option<usize>,
    },
    /// Get random entries from loaded stores, all of it in memory, in one read transaction a round
    Gets {
        #[command(flatten)]
        data: Data,
        /// Rounds; in each, every store is asked for the same keys
        #[arg(long, default_value_t = 5)]
        rounds: u64,
        /// Gets a round
        #[arg(long, default_value_t = 1_000_000)]
        gets: u64,
    },
    /// Scan loaded stores from end to end, all of it in memory
    Scans {
        #[command(flatten)]
        data: Data,
        /// Rounds; in each, every store is scanned once
        #[arg(long, default_value_t = 5)]
        rounds: u64,
    },
    /// Load, insert, overwrite and commit, with and without syncs, beside readers and checkpoints
    Writes(writes::Options),
    /// What this machine can do at all: its disk, page cache, page faults and memory
    Limits(limits::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bifold-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<bool> {
    match command {
        Command::Compare(options) => return compare::compare(&options),
        Command::Page { report, page } => std::fs::write(page, report::page(&Report::read(&report)?))?,
        Command::Diff(options) => return diff::run(&options),
        Command::List => list(),
        Command::Child => return Ok(cell::child()),
        Command::Load { data, random, per_commit } => load(&data, random, per_commit)?,
        Command::Gets { data, rounds, gets } => {
            let work = |round| {
                let picks = data::picks(data.entries, gets, round);
                let expected = expected(&picks);
                Work { picks, expected }
            };
            side_by_side(&data, rounds, "get", gets, work)?;
        }
        Command::Scans { data, rounds } => {
            let all = expected(&data::shuffled(data.entries));
            side_by_side(&data, rounds, "entry", data.entries, |_| Work {
                picks: Vec::new(),
                expected: all,
            })?;
        }
        Command::Writes(options) => writes::run(&options)?,
        Command::Limits(options) => limits::run(&options)?,
    }
    Ok(true)
}

fn list() {
    println!("workloads:");
    for workload in workload::presets() {
        println!("  {:<14} {}", workload.name, workload.about);
    }
    println!("sides: {}", compare::all_sides().join(", "));
}

impl Data {
    fn setup(&self) -> Setup {
        Setup { populate: !self.no_populate, ..Setup::in_memory(data::bytes(self.entries)) }
    }

    fn wants<S: Store>(&self) -> bool {
        self.stores.is_empty() || self.stores.iter().any(|name| name == S::NAME)
    }

    fn dir_of<S: Store>(&self) -> PathBuf {
        self.dir.join(S::NAME)
    }
}

fn load(data: &Data, random: bool, per_commit: Option<usize>) -> Result<()> {
    let (order, seeds) = if random {
        (Order::Random, data::shuffled(data.entries))
    } else {
        (Order::Sorted, data::sorted(data.entries))
    };
    let per_commit = per_commit.unwrap_or(seeds.len());
    println!("{} entries of 16+100 bytes, {order:?} order, {per_commit} a transaction", seeds.len());
    println!(
        "{:<12} {:>10} {:>12} {:>10} {:>9} {:>10}",
        "store", "load", "entries/s", "reopen", "check", "file/data"
    );
    for_each_store!(S => if data.wants::<S>() {
        load_one::<S>(&data.dir_of::<S>(), &data.setup(), order, &seeds, per_commit)?;
    });
    Ok(())
}

fn load_one<S: Store>(
    dir: &Path,
    setup: &Setup,
    order: Order,
    seeds: &[Seed],
    per_commit: usize,
) -> Result<()> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir)?;
    let done = bulk::load::<S>(dir, setup, order, seeds, per_commit)?;
    let rate = seeds.len() as f64 / done.load.as_secs_f64();
    let check = done.check.map_or_else(|| "-".into(), |time| format!("{time:.2?}"));
    let ratio = done.file_bytes as f64 / data::bytes(seeds.len() as u64) as f64;
    println!(
        "{:<12} {:>10.2?} {rate:>12.0} {:>10.2?} {check:>9} {ratio:>10.3}",
        S::NAME,
        done.load,
        done.reopen
    );
    Ok(())
}

/// What every store is asked in one round: these keys, or a full scan if there are none.
struct Work {
    picks: Vec<Seed>,
    expected: u64,
}

/// Opens all stores, touches every page of them, and then measures them in turn.
fn side_by_side(
    data: &Data,
    rounds: u64,
    what: &str,
    operations: u64,
    work: impl Fn(u64) -> Work,
) -> Result<()> {
    let seeds = data::sorted(data.entries);
    let work = &work;
    let mut sides = Vec::new();
    for_each_store!(S => if data.wants::<S>() {
        sides.push(side::<S>(data, &seeds, work)?);
    });
    drop(seeds);
    rounds::run(&mut sides, rounds)?;
    report(&sides, what, operations);
    Ok(())
}

fn side<'w, S: Store + 'w>(data: &Data, seeds: &[Seed], work: &'w impl Fn(u64) -> Work) -> Result<Side<'w>> {
    let dir = data.dir_of::<S>();
    if !dir.exists() {
        return Err(format!("{} is not loaded: run `load` with the same --entries and --dir", S::NAME).into());
    }
    let store = S::open(&dir, &data.setup())?;
    bulk::verify(&store, seeds)?;
    Ok(Side::new(S::NAME, move |round| {
        let work = work(round);
        let mut sum = 0u64;
        let start = Instant::now();
        if work.picks.is_empty() {
            store.scan(&[], u64::MAX, |_, value| sum = sum.wrapping_add(digest(value)))?;
        } else {
            store.gets(work.picks.iter().map(|s| s.key()), |value| sum = sum.wrapping_add(digest(value)))?;
        }
        let time = start.elapsed();
        if sum != work.expected {
            return Err(format!("{}: wrong values in round {round}", S::NAME).into());
        }
        Ok(time)
    }))
}

fn report(sides: &[Side<'_>], what: &str, operations: u64) {
    let nanos = |time: std::time::Duration| time.as_secs_f64() * 1e9 / operations as f64;
    let peer = sides.iter().find(|side| side.name() == "lmdb");
    println!("{:<12} {:>14} {:>20} {:>10}", "store", format!("ns a {what}"), "least-most", "to lmdb");
    for side in sides {
        let (least, most) = side.spread();
        let ratio = peer.map_or_else(|| "-".into(), |peer| format!("{:.2}", side.ratio_to(peer)));
        let spread = format!("{:.1}-{:.1}", nanos(least), nanos(most));
        println!("{:<12} {:>14.1} {spread:>20} {ratio:>10}", side.name(), nanos(side.median()));
    }
}
