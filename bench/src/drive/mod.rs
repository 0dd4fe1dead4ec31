//! Doing a workload to a store: threads, warm-up, rates, latencies, and the check of every value that is read.
//!
//! What counts is what begins after the warm-up, and the time until the last of it has ended: an operation that takes as
//! long as the run, or longer, is neither lost nor had for nothing.
//!
//! Closed loop: each thread begins an operation when the one before has ended. Open loop (a rate is set): operations
//! are due at even times, whether or not the store keeps up, and a latency counts from when it was due. So a stall is
//! felt by all that had to wait for it (the correction of "coordinated omission" that Gil Tene asks for).
#![forbid(unsafe_code)]

mod history;
mod load;
mod reading;
mod replay;
mod shared;
mod tally;
mod turns;
mod worker;

pub use load::load;
pub use reading::{Checked, check_nanos};
pub use replay::{Replayed, read_all, replay};
pub use tally::{Latencies, OpTally, Tally};

use crate::corpus::Corpus;
use crate::workload::{Role, Threads};
use crate::{Result, Store};
use history::History;
use serde::{Deserialize, Serialize};
use shared::Shared;
use std::thread;
use std::time::{Duration, Instant};
use worker::Worker;

/// How long a run takes.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// So many seconds after the warm-up.
    Seconds(f64),
    /// So many operations after the warm-up, of all threads that are measured.
    Operations(u64),
}

/// How a workload is run.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pace {
    /// Threads of roles that have all of them.
    pub threads: u64,
    /// Seconds before anything counts.
    pub warmup: f64,
    /// What ends it.
    pub until: Until,
    /// Operations a second that all measured threads are to begin, in transactions of one; as many as they can if it is
    /// not said.
    pub rate: Option<f64>,
    /// Other choices for each.
    pub seed: u64,
}

/// Width of a step in [`Driven::series`], in milliseconds.
pub const STEP_MS: u64 = 100;

/// What a run came to.
#[derive(Debug)]
pub struct Driven {
    /// What the measured roles did.
    pub measured: Tally,
    /// What the others did meanwhile.
    pub beside: Tally,
    /// How long it took, without the warm-up.
    pub seconds: f64,
    /// Operations of the measured roles that ended in each step of [`STEP_MS`], the warm-up left out.
    pub series: Vec<u64>,
    /// Seconds into the run at which a checkpoint had ended.
    pub checkpoints: Vec<f64>,
    /// Entries there at the end.
    pub entries: u64,
    /// Of the entries followed, what was written.
    history: Option<History>,
}

/// Called once, when the warm-up is over.
pub type Begin<'a> = &'a mut (dyn FnMut() + Send);

/// Has `roles` work on a store that holds `entries` entries of `corpus`.
///
/// # Errors
/// The store's; or which value was wrong, or missing.
pub fn run<S: Store>(
    store: &S,
    corpus: &Corpus,
    roles: &[Role],
    entries: u64,
    pace: &Pace,
    begin: Begin<'_>,
) -> Result<Driven> {
    let held = roles.iter().any(|role| role.beside_snapshot);
    if !held {
        return run_all(store, corpus, roles, entries, pace, begin);
    }
    store.hold(|| run_all(store, corpus, roles, entries, pace, begin))
}

fn run_all<S: Store>(
    store: &S,
    corpus: &Corpus,
    roles: &[Role],
    entries: u64,
    pace: &Pace,
    begin: Begin<'_>,
) -> Result<Driven> {
    let of = |role: &Role| if role.threads == Threads::All { pace.threads.max(1) } else { 1 };
    let threads: u64 = roles.iter().map(of).sum();
    let measured: u64 = roles.iter().filter(|role| role.measured).map(of).sum();
    let shared = Shared::new(entries, threads, pace, roles.iter().any(Role::writes));
    let (mut done, mut beside) = (Tally::default(), Tally::default());
    let (mut seconds, mut checkpoints) = (0.0, Vec::new());
    thread::scope(|scope| -> Result<()> {
        let mut workers = Vec::new();
        for (role, index) in roles.iter().flat_map(|role| (0..of(role)).map(move |index| (role, index))) {
            let stream = workers.len() as u64;
            let share = role.measured.then_some((index, measured));
            let (shared, corpus) = (&shared, corpus);
            let work = move || {
                let mut worker = Worker::new(store, corpus, role, shared, pace, stream, share);
                let result = worker.run();
                // Whoever fails ends it for all.
                result.inspect_err(|_| shared.stop()).map(|()| worker.tally)
            };
            workers.push((role.measured, scope.spawn(work)));
        }
        (seconds, checkpoints) = watch(store, &shared, pace, begin, || {
            workers.iter().filter(|(measured, _)| *measured).all(|(_, worker)| worker.is_finished())
        });
        for (measured, worker) in workers {
            let tally = worker.join().map_err(|_| "a thread of the workload panicked")??;
            if measured { done.add(&tally)? } else { beside.add(&tally)? }
        }
        Ok(())
    })?;
    let series = std::mem::take(&mut done.series);
    // What was begun before the end counts, and so does the time until it was done.
    let seconds = if done.last.is_zero() { seconds } else { done.last.as_secs_f64() };
    let entries = shared.entries();
    let history = shared.into_history();
    Ok(Driven { measured: done, beside, seconds, series, checkpoints, entries, history })
}

/// Lets the workers go through warm-up and measurement, and looks for checkpoints meanwhile. Returns the seconds
/// measured, and when checkpoints had ended.
fn watch<S: Store>(
    store: &S,
    shared: &Shared,
    pace: &Pace,
    begin: Begin<'_>,
    finished: impl Fn() -> bool,
) -> (f64, Vec<f64>) {
    const LOOK: Duration = Duration::from_millis(10);
    let count = || store.counters().map_or(0, |counters| counters.checkpoints);
    let warm = Instant::now() + Duration::from_secs_f64(pace.warmup);
    while Instant::now() < warm && !shared.stopped() {
        thread::sleep(LOOK.min(warm.saturating_duration_since(Instant::now())));
    }
    begin();
    let start = Instant::now();
    shared.measure(start);
    let end = match pace.until {
        Until::Seconds(seconds) => Some(Duration::from_secs_f64(seconds)),
        Until::Operations(_) => None,
    };
    let (mut checkpoints, mut seen) = (Vec::new(), count());
    while !finished() && !shared.stopped() {
        let left = end.map_or(LOOK, |end| end.saturating_sub(start.elapsed()));
        if left.is_zero() {
            break;
        }
        thread::sleep(LOOK.min(left));
        let now = count();
        if now > seen {
            seen = now;
            checkpoints.push(start.elapsed().as_secs_f64());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    shared.stop();
    (seconds, checkpoints)
}
