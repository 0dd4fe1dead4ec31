//! All workloads on all stores.
#![forbid(unsafe_code)]

use super::contest::{Contest, Contestant, Outcome};
use super::limits::Disk;
use super::workload::Workload;
use super::{Options, report};
use crate::{Durability, Result, data, for_each_store};
use std::fs;

/// What one contestant did in a workload, round by round.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Whether its commits are durable though they need not be: it has no others.
    pub(super) only_durable: bool,
    pub(super) rounds: Vec<Outcome>,
    /// What stopped it, if something did.
    pub(super) failure: Option<String>,
}

/// A workload with what everyone did in it.
pub(super) struct Table {
    pub(super) workload: Workload,
    pub(super) rows: Vec<Row>,
}

/// Runs the workloads, prints a table for each as soon as it is done, and writes them all as JSON if told to.
///
/// # Errors
/// I/O errors; and, once all is done, if a store failed.
pub fn run(options: &Options) -> Result<()> {
    let plan = options.plan()?;
    let sorted = data::sorted(options.entries);
    let mut contestants: Vec<Box<dyn Contestant + '_>> = Vec::new();
    for_each_store!(S => if options.wants::<S>() {
        contestants.push(Box::new(Contest::<S>::new(options, &sorted)));
    });
    if let Some(name) = options.stores.iter().find(|name| contestants.iter().all(|c| c.name() != **name)) {
        return Err(format!("this build has no store called {name}").into());
    }
    if !options.no_limits {
        contestants.push(Box::new(Disk::new(options)));
    }
    println!("{} entries of 16+100 bytes, {} rounds", options.entries, options.rounds);
    println!("{}", options.memory_rule());
    for contestant in &contestants {
        let name = contestant.name();
        println!(
            "{name:<12} durable:  {}",
            contestant.synced().unwrap_or("none that outlasts a power failure")
        );
        println!("{:<12} unsynced: {}", "", contestant.unsynced().unwrap_or("none: durable ones, marked *"));
    }

    fs::create_dir_all(&options.dir)?;
    let mut tables = Vec::new();
    for workload in plan {
        let table = measure(options, workload, &mut contestants);
        report::print(options, &table);
        tables.push(table);
        if let Some(path) = &options.json {
            fs::write(path, serde_json::to_string_pretty(&report::json(options, &tables))?)?;
        }
    }
    let mut failures: Vec<String> =
        tables.iter().flat_map(|table| &table.rows).filter_map(|row| row.failure.clone()).collect();
    for contestant in &mut contestants {
        if let Err(error) = contestant.verify() {
            failures.push(format!("{}, opened again at the end: {error}", contestant.name()));
        }
        contestant.clear()?;
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// Has all contestants do `workload` in turn. One that fails stays out of its later rounds; its data are loaded anew
/// for the next workload.
fn measure(options: &Options, workload: Workload, contestants: &mut [Box<dyn Contestant + '_>]) -> Table {
    let row = |contestant: &dyn Contestant| Row {
        name: contestant.name(),
        only_durable: workload.durability == Durability::Unsynced && contestant.unsynced().is_none(),
        rounds: Vec::new(),
        failure: None,
    };
    let mut rows: Vec<Row> = contestants.iter().map(|contestant| row(&**contestant)).collect();
    let count = contestants.len();
    for round in 0..options.rounds(&workload) {
        for turn in 0..count {
            let at = (round as usize + turn) % count;
            let (contestant, row) = (&mut contestants[at], &mut rows[at]);
            if row.failure.is_some() {
                continue;
            }
            eprintln!("{}, round {}: {}", workload.name, round + 1, row.name);
            match contestant.run(&workload, round) {
                Ok(Some(outcome)) => row.rounds.push(outcome),
                Ok(None) => (),
                Err(error) => {
                    let cleared = contestant.clear().err().map(|e| format!("; {e}")).unwrap_or_default();
                    row.failure = Some(format!("{}, {}: {error}{cleared}", row.name, workload.name));
                }
            }
        }
    }
    Table { workload, rows }
}
