//! Doing a workload to a store: threads, warm-up, rates, latencies, and the check of every value that is read.
//!
//! What counts is what begins after the warm-up, and the time until the last of it has ended: an operation that takes as
//! long as the run, or longer, is neither lost nor had for nothing.
//!
//! Closed loop: each thread begins an operation when the one before has ended. Open loop (a rate is set): operations
//! are due at even times, whether or not the store keeps up, and a latency counts from when it was due. So a stall is
//! felt by all that had to wait for it (the correction of "coordinated omission" that Gil Tene asks for). The times are
//! counted anew from the end of the warm-up. What was due before the end and never begun has no latency; how many there
//! were is told ([`OpenLoop`]).
#![forbid(unsafe_code)]

mod held;
mod history;
mod load;
mod reading;
mod replay;
mod schedule;
mod shared;
mod tally;
mod turns;
mod worker;

#[cfg(test)]
mod tests;

pub(crate) use history::followed;
pub use load::{load, read_all};
pub use reading::{Checked, check_nanos};
pub use replay::{Replayed, replay};
pub use tally::{Latencies, OpTally, Tally};

use crate::corpus::Corpus;
use crate::workload::{Op, Role};
use crate::{Result, Store};
use held::read_held;
use history::History;
use serde::{Deserialize, Serialize};
use shared::Shared;
use std::sync::mpsc;
use std::thread::{self, ScopedJoinHandle};
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

/// What is to be done, and to what.
#[derive(Debug)]
pub struct Job<'a, S> {
    /// The store.
    pub store: &'a S,
    /// What its entries are.
    pub corpus: &'a Corpus,
    /// Who does what.
    pub roles: &'a [Role],
    /// Entries in it: more than the corpus has, if some were inserted.
    pub entries: u64,
    /// For how long, and how fast.
    pub pace: &'a Pace,
}

/// How a rate was kept, or the pace of a recording.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct OpenLoop {
    /// Operations that were due before the run ended. Of a run of so many operations, those that would have been if
    /// more had been asked for; of a replay, all its calls.
    pub due: u64,
    /// Of these, those that were begun; of a replay those begun before the recorded time was over.
    pub begun: u64,
}

impl OpenLoop {
    /// The share of the rate that was kept, at most 1: all of it, if nothing was due.
    pub fn kept(&self) -> f64 {
        if self.due == 0 { 1.0 } else { self.begun as f64 / self.due as f64 }
    }
}

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
    /// How the rate was kept, if one was set.
    pub open_loop: Option<OpenLoop>,
    /// Of the entries followed, what was written.
    history: Option<History>,
}

/// Called once, when the warm-up is over.
pub type Begin<'a> = &'a mut (dyn FnMut() + Send);

/// What [`run`] tells whoever counts what it costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The warm-up is over: what follows counts.
    Begin,
    /// The work is over, and snapshots that were held are compared with what they showed at first: no part of it.
    Pause,
    /// They were compared.
    Resume,
}

/// Called at each moment.
pub type Tell<'a> = &'a mut (dyn FnMut(Moment) + Send);

/// Does a job.
///
/// Snapshots that roles read in are taken first: what they show was there before anything is written.
///
/// # Errors
/// The store's; or which value was wrong, or missing, or changed in a snapshot; deletes beside anything else.
pub fn run<S: Store>(job: &Job<'_, S>, tell: Tell<'_>) -> Result<Driven> {
    let &Job { store, pace, entries, .. } = job;
    check(job.roles)?;
    let of = |role: &Role| role.threads.count(pace.threads);
    let paced = |role: &Role| role.measured && !role.in_snapshot;
    let threads: u64 = job.roles.iter().map(of).sum();
    let measured: u64 = job.roles.iter().filter(|role| paced(role)).map(of).sum();
    let written = job.roles.iter().any(Role::writes).then(|| writable(job.corpus, entries));
    let shared = Shared::new(entries, threads, pace, written);
    let (mut done, mut beside) = (Tally::default(), Tally::default());
    let (mut seconds, mut checkpoints) = (0.0, Vec::new());
    thread::scope(|scope| -> Result<()> {
        let (mut workers, mut snapshots, mut releases) = (Vec::new(), Vec::new(), Vec::new());
        let (holds, held) = mpsc::channel();
        // Whoever fails ends it for all.
        let ended = |result: Result<Tally>| result.inspect_err(|_| shared.stop());
        let all = job.roles.iter().flat_map(|role| (0..of(role)).map(move |index| (role, index)));
        let (readers, others): (Vec<_>, Vec<_>) =
            (0u64..).zip(all).partition(|(_, (role, _))| role.in_snapshot);
        for (stream, (role, _)) in readers {
            let (holds, shared) = (holds.clone(), &shared);
            let (release, released) = mpsc::channel();
            let work = move || ended(read_held(job, role, shared, stream, holds, &released));
            snapshots.push((role.measured, scope.spawn(work)));
            releases.push(release);
        }
        drop(holds);
        // One that fails says nothing, and is asked below.
        let _ = held.into_iter().take(snapshots.len()).count();
        for (stream, (role, index)) in others {
            let share = paced(role).then_some((index, measured));
            let shared = &shared;
            let work = move || {
                let mut worker = Worker::new(store, job.corpus, role, shared, pace, stream, share);
                ended(worker.run().map(|()| worker.tally))
            };
            workers.push((role.measured, scope.spawn(work)));
        }
        (seconds, checkpoints) = watch(store, &shared, pace, &mut || tell(Moment::Begin), || {
            let mut all = snapshots.iter().chain(&workers);
            all.all(|(measured, worker)| !measured || worker.is_finished())
        });
        join(workers, &mut done, &mut beside)?;
        if !snapshots.is_empty() {
            tell(Moment::Pause);
            drop(releases);
            join(snapshots, &mut done, &mut beside)?;
            tell(Moment::Resume);
        }
        Ok(())
    })?;
    let series = std::mem::take(&mut done.series);
    // What was begun before the end counts, and so does the time until it was done; and, where times are set for it, the
    // time in which nothing was due.
    let last = done.last.as_secs_f64();
    let seconds = match (pace.until, pace.rate) {
        (Until::Seconds(_), Some(_)) => seconds.max(last),
        _ if done.last.is_zero() => seconds,
        _ => last,
    };
    let open_loop = pace.rate.map(|_| done.open_loop);
    let entries = shared.entries();
    let history = shared.into_history();
    Ok(Driven { measured: done, beside, seconds, series, checkpoints, entries, open_loop, history })
}

/// Whether these roles can be done at once: what is deleted is put back by the commit after it, and missed until then.
fn check(roles: &[Role]) -> Result<()> {
    let mut ops = roles.iter().flat_map(|role| &role.mix).map(|(op, _)| *op);
    if ops.clone().any(|op| op == Op::Delete) && ops.any(|op| op != Op::Delete) {
        return Err("a workload that deletes can do nothing else: it would miss what is deleted".into());
    }
    Ok(())
}

/// Waits for threads, which are measured or are not, and adds up what they did.
fn join(
    threads: Vec<(bool, ScopedJoinHandle<'_, Result<Tally>>)>,
    done: &mut Tally,
    beside: &mut Tally,
) -> Result<()> {
    for (measured, thread) in threads {
        let tally = thread.join().map_err(|_| "a thread of the workload panicked")??;
        if measured { done.add(&tally)? } else { beside.add(&tally)? }
    }
    Ok(())
}

/// How many of `entries` may be written: of a file those of its sample.
fn writable(corpus: &Corpus, entries: u64) -> u64 {
    if matches!(corpus, Corpus::Sample(_)) { corpus.known() } else { entries }
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
