//! `bifold-bench compare --trace`: a recorded trace as the workload.
#![forbid(unsafe_code)]

use super::options::Options;
use super::run::PartPlan;
use crate::cell::{Interrupt, Source};
use crate::corpus::database_of;
use crate::drive::{Pace, Until};
use crate::report::size;
use crate::trace::{Prepared, prepare};
use crate::workload::{Replay, Work, Workload};
use crate::{Durability, Result};
use std::path::Path;

/// The one part. What is found out about the trace goes to `dir`.
pub(super) fn parts(options: &Options, dir: &Path, interrupt: &Interrupt) -> Result<Vec<PartPlan>> {
    let Some(path) = &options.trace else { return Ok(Vec::new()) };
    let from = options.from.as_ref().map(|file| database_of(file, dir, interrupt)).transpose()?;
    let from = from.as_ref().map(|file| (file.as_path(), options.table.as_deref()));
    let Prepared { recording, survey, notes } = prepare(path, from, dir, interrupt)?;
    let (commits, synced) = survey.commits;
    let replay = Replay {
        speed: options.trace_speed,
        durability: if commits > 0 && synced * 2 >= commits {
            Durability::Synced
        } else {
            Durability::Unsynced
        },
        commits,
        scanned: survey.scanned.0 / survey.scanned.1.max(1),
    };
    let pace = Pace {
        threads: survey.threads.len() as u64,
        warmup: 0.0,
        until: match options.trace_speed {
            Some(speed) => Until::Seconds(recording.micros as f64 / 1e6 / speed),
            None => Until::Operations(survey.events),
        },
        rate: None,
        seed: options.seed,
    };
    let name = path.file_name().map_or_else(|| "trace".into(), |name| name.to_string_lossy().into_owned());
    let about = match options.trace_speed {
        Some(speed) => format!("the calls recorded in {name}, at {speed} times their pace"),
        None => format!("the calls recorded in {name}, as fast as can be"),
    };
    let workload = Workload { name: "replay".into(), about, work: Work::Replay(replay) };
    let source = Source::Trace(recording);
    let mut plan = options.part(&source.open()?, source, vec![workload], pace)?;
    plan.part.title = format!("{name}, {} of data", size(plan.part.data_bytes));
    if !options.cold && !plan.part.fits {
        // A replay has no warm-up.
        plan.part.notes.pop();
        plan.part
            .notes
            .push("the data do not fit in memory; each replay begins when the store is opened".into());
    }
    plan.part.notes.extend(notes);
    if let Some(speed) = options.trace_speed {
        plan.part.notes.push(format!(
            "open loop: calls are due at {speed} times the recorded pace; latencies count from when"
        ));
    }
    Ok(vec![plan])
}
