//! `bifold-bench advise`: which side to build with, for a database that is there.
//!
//! From what the file is like, how it is used, and how much memory there is, some short runs of both sides are planned:
//! on the file itself, which they read in place; or, if the pattern writes, on a copy, so that the file is never written.
//! What they come to is an advice with its reasons, and with what would change it.
#![forbid(unsafe_code)]

mod advice;
mod facts;
mod measure;
mod options;
mod pattern;
mod recorded;
mod scratch;
mod words;

pub use facts::{Facts, Unfit};
pub use options::Options;
pub use pattern::{Assume, Pattern, Writes};

use crate::Result;
use crate::cell::{Died, Interrupt};
use crate::memory::available_memory;
use crate::memory::{Group, remove_leftovers};
use advice::Basis;
use measure::Bench;
use scratch::{Scratch, copy_seconds};

/// The memory that is asked about.
struct Memory {
    bytes: u64,
    /// Where that is said.
    origin: &'static str,
    /// Why it cannot be bounded here, if it cannot.
    unbounded: Option<String>,
}

impl Memory {
    /// What `options` say, or what the machine has. Without a bound the machine's own is all that can be asked about.
    fn of(options: &Options, facts: &Facts) -> std::result::Result<Self, String> {
        let (bytes, origin) = match options.memory {
            Some(memory) => (memory, "by --memory"),
            None => (available_memory(), "which this machine has available (--memory says otherwise)"),
        };
        remove_leftovers();
        let unbounded = match Group::create(bytes + facts.harness_bytes) {
            Ok(group) => group.remove().err().map(|error| error.to_string()),
            Err(refused) => Some(refused.to_string()),
        };
        match (&unbounded, options.memory) {
            (Some(why), Some(asked)) if asked < available_memory() && facts.table_bytes > asked / 2 => {
                Err(format!("what it does within {} MiB cannot be told here: {why}", asked >> 20))
            }
            _ => Ok(Self { bytes, origin, unbounded }),
        }
    }
}

/// Advises as `options` ask. Returns whether every run came to a result, or was killed for want of memory.
///
/// # Errors
/// [`Unfit`] with the file's name; a budget that is too short; if no child can be started, or neither side came to a
/// result.
pub fn advise(options: &Options) -> Result<bool> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", options.database.display());
    let facts = Facts::of(&options.database, options.table.as_deref()).map_err(|unfit| named(&unfit))?;
    let pattern = pattern(options, &facts)?;
    let memory = Memory::of(options, &facts).map_err(|why| named(&why))?;
    let copy = if pattern.workload.writes() {
        copy_seconds(&facts, options.dir.as_deref()).map_err(|why| named(&why))?
    } else {
        0.0
    };
    let time = (options.budget, copy);
    let plan = measure::plan(&facts, &pattern, memory.bytes, memory.unbounded.is_none(), time);
    let plan = plan.map_err(|why| named(&why))?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let scratch = if pattern.workload.writes() {
        let copied = Scratch::of(&facts, options.dir.as_deref(), &interrupt);
        match copied.map_err(|why| named(&why))? {
            None => return Err(named(&"it was cut short").into()),
            copied => copied,
        }
    } else {
        None
    };
    let bench = Bench {
        facts: &facts,
        pattern: &pattern,
        options,
        plan: &plan,
        scratch: scratch.as_ref(),
        interrupt: &interrupt,
    };
    let measured = bench.run()?;
    // Before anything is said: the copy is gone whatever becomes of the output.
    drop(scratch);
    let basis = Basis {
        facts: &facts,
        pattern: &pattern,
        plan: &plan,
        measured: &measured,
        memory: memory.bytes,
        memory_origin: memory.origin,
        unbounded: memory.unbounded.as_deref(),
        threads: measure::threads(&pattern, options),
    };
    let died = measured.iter().flatten().filter_map(|run| run.as_ref().err());
    let failed: Vec<&Died> =
        died.clone().filter(|died| matches!(died, Died::Failed(_) | Died::Silent(_))).collect();
    for died in &failed {
        eprintln!("FAILED: {died}");
    }
    let Some(choice) = basis.choose() else {
        let why = died.clone().next().map_or_else(|| "it was cut short".into(), ToString::to_string);
        return Err(named(&format!("no side came to a result: {why}")).into());
    };
    print!("{}", basis.text(&choice));
    Ok(failed.is_empty() && !interrupt.came())
}

/// How the table is read and written: as it was recorded, or as it is assumed.
fn pattern(options: &Options, facts: &Facts) -> Result<Pattern> {
    // clap waives this where something conflicts with --trace.
    if options.reads_only && options.trace.is_none() {
        return Err("--reads-only goes with --trace".into());
    }
    match &options.trace {
        Some(trace) => Ok(Pattern::recorded(trace, &facts.table, facts.entries, options.reads_only)?),
        None => Ok(Pattern::assumed(
            options.assume,
            &Writes {
                share: options.writes.unwrap_or(0.0),
                per_commit: options.per_txn.unwrap_or(1),
                synced: !options.unsynced,
            },
        )),
    }
}
