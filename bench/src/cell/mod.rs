//! One cell of a comparison: a side does one thing to its store, in a process of its own.
//!
//! The parent writes a [`Spec`] to the child's standard input, as JSON, and the child writes [`Message`]s to its
//! standard output, one a line: how far it is, and in the end what came of it. A child that ends without that has died,
//! and how is a result too.
#![forbid(unsafe_code)]

mod child;
mod latency;
mod spawn;

pub use child::child;
pub use latency::Latency;
pub use spawn::{Child, Died, Interrupt, run};

use crate::corpus::{Corpus, Made, Sample, Traced};
use crate::drive::{OpenLoop, Pace, STEP_MS, Tally};
use crate::memory::How;
use crate::trace::Recording;
use crate::usage::{Transfers, Usage};
use crate::workload::{Op, Workload};
use crate::{Counters, Result, Setup};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the entries are.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Made ones.
    Made(Made),
    /// Those of a Bifold database, which is read only.
    File {
        /// The database.
        path: PathBuf,
        /// Its table; the largest if it is not said.
        table: Option<String>,
        /// For random orders.
        seed: u64,
        /// Of what it was made for the while of a comparison, as the user named that; nothing if the database is the
        /// user's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made_of: Option<String>,
    },
    /// Those that were there when a trace was recorded.
    Trace(Recording),
}

impl Source {
    /// The file that the user knows it by: empty for made data.
    pub fn named(&self) -> String {
        match self {
            Self::Made(_) => String::new(),
            Self::File { made_of: Some(name), .. } => name.clone(),
            Self::File { path, .. } => path.display().to_string(),
            Self::Trace(recording) => recording.trace.display().to_string(),
        }
    }

    /// The same as it is shown to the user: without paths of what was there for a comparison only, which are others each
    /// time.
    #[must_use]
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        match &mut shown {
            Self::File { path, made_of, .. } => {
                if let Some(name) = made_of.take() {
                    *path = name.into();
                }
            }
            Self::Trace(recording) => recording.prepared = PathBuf::new(),
            Self::Made(_) => {}
        }
        shown
    }

    /// Makes ready what can be asked for.
    ///
    /// # Errors
    /// Those of reading a file.
    pub fn open(&self) -> Result<Corpus> {
        self.open_seen(&Interrupt::default(), |_, _| ())
    }

    /// The same for a user who may end it, and sees on the terminal how far it is.
    ///
    /// # Errors
    /// Those of reading a file; that the user ended it.
    pub fn open_shown(&self, interrupt: &Interrupt) -> Result<Corpus> {
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template("{bar:30} {percent} % of the file, {eta} left")?);
        let corpus = self.open_seen(interrupt, |entries, read| {
            bar.set_length(entries);
            bar.set_position(read);
        });
        bar.finish_and_clear();
        corpus
    }

    fn open_seen(&self, interrupt: &Interrupt, seen: impl FnMut(u64, u64)) -> Result<Corpus> {
        Ok(match self {
            Self::Made(made) => Corpus::Made(*made),
            Self::File { path, table, seed, .. } => {
                let sample = Sample::read(path, table.as_deref(), *seed, interrupt, seen);
                // That it was interrupted is nothing of the file.
                let named = |error| {
                    if interrupt.came() { error } else { format!("{}: {error}", self.named()).into() }
                };
                Corpus::Sample(sample.map_err(named)?)
            }
            Self::Trace(recording) => Corpus::Traced(Box::new(Traced::open(recording)?)),
        })
    }
}

/// What is in memory when a run begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// As little as can be: caches are emptied before the store is opened.
    Cold,
    /// What there happens to be; the warm-up brings what it brings.
    AsIs,
    /// Everything: all entries are read, and checked, before.
    Warm,
}

/// What a child is to do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The side's name.
    pub side: String,
    /// Where its store lies.
    pub dir: PathBuf,
    /// What it holds, or is to hold.
    pub source: Source,
    /// Entries in the store by now: more than were loaded after runs that insert.
    pub entries: u64,
    /// What is done.
    pub workload: Workload,
    /// Random overwrites before it, which are not measured, as a share of the entries.
    pub aged: f64,
    /// How it is run, if it is not a load.
    pub pace: Pace,
    /// How the store is opened.
    pub setup: Setup,
    /// The memory group that the child is to join before all else.
    pub group: Option<PathBuf>,
    /// What is in memory when the run begins.
    pub start: Start,
    /// The store is the file of `source` itself, with its table named, which is read and never written; `dir` is not
    /// used.
    #[serde(default)]
    pub read_only: bool,
}

impl Spec {
    /// The user's own file that is read in place, and its table.
    fn own_file(&self) -> Option<(&Path, &str)> {
        match &self.source {
            Source::File { path, table: Some(table), .. } if self.read_only => Some((path, table)),
            _ => None,
        }
    }
}

/// What a child says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// It begins with this part.
    Phase(String),
    /// It is done.
    Done(Box<Outcome>),
    /// It failed, in words.
    Failed(String),
}

/// What was done of one kind.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Which.
    pub op: Op,
    /// How often; each entry of a commit counts.
    pub count: u64,
    /// How long they took; a commit counts once.
    pub latency: Latency,
}

/// What the roles did that are not what is measured.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Beside {
    /// Operations.
    pub operations: u64,
    /// By kind.
    pub ops: Vec<Done>,
    /// Seconds until the last of them had ended; 0 in reports of before it was told.
    #[serde(default)]
    pub seconds: f64,
}

impl Beside {
    /// Operations a second of one kind, if there were any.
    pub fn rate(&self, op: Op) -> Option<f64> {
        let done = self.ops.iter().find(|done| done.op == op)?;
        (done.count > 0 && self.seconds > 0.0).then(|| done.count as f64 / self.seconds)
    }
}

/// What came of a cell.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Operations of what is measured.
    pub operations: u64,
    /// What the workload is about.
    pub main: Op,
    /// How long that took.
    pub seconds: f64,
    /// By kind.
    pub ops: Vec<Done>,
    /// What others did meanwhile.
    pub beside: Beside,
    /// Entries read, whose values were all checked.
    pub entries_read: u64,
    /// Bytes of their keys and values.
    pub bytes_read: u64,
    /// Entries put or deleted.
    pub entries_written: u64,
    /// Bytes of their keys and values.
    pub bytes_written: u64,
    /// What the process took meanwhile.
    pub usage: Usage,
    /// What reached the disk meanwhile, or came from it, of whatever process; `None` if there is none to be counted.
    pub disk: Option<Transfers>,
    /// Operations in each step of [`STEP_MS`].
    pub series: Vec<u64>,
    /// Width of these, in milliseconds.
    pub step_ms: u64,
    /// Seconds at which a checkpoint had ended.
    pub checkpoints: Vec<f64>,
    /// Bytes of the store's files, when it was closed.
    pub file_bytes: u64,
    /// Entries in the store at the beginning, if they were counted: where all were read before, or loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries_before: Option<u64>,
    /// Entries in the store at the end.
    pub entries: u64,
    /// How the rate was kept, if one was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_loop: Option<OpenLoop>,
    /// What the store counted, if it does.
    pub counters: Option<Counters>,
    /// Seconds that opening took, and closing.
    pub open_seconds: f64,
    /// Closing.
    pub close_seconds: f64,
    /// How caches were emptied before, if they were to be.
    pub cold: Option<How>,
    /// What could not be counted, and why.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds.max(1e-9)
    }

    /// What was done of the kind that the workload is about.
    pub fn main(&self) -> Option<&Done> {
        self.ops.iter().find(|done| done.op == self.main)
    }

    /// Processor time of the whole process, in seconds, for an operation.
    pub fn cpu_per_op(&self) -> f64 {
        self.usage.cpu_ns() as f64 / 1e9 / (self.operations.max(1) as f64)
    }
}

fn done_of(tally: &Tally) -> Vec<Done> {
    let done = |(op, tally): (&Op, &crate::drive::OpTally)| Done {
        op: *op,
        count: tally.count,
        latency: Latency::of(&tally.latencies),
    };
    tally.ops.iter().map(done).collect()
}

/// How those of [`Outcome::notes`] begin that say in what a replay differed from the recording.
pub const REPLAY: &str = "replay: ";

/// The width of a step in [`Outcome::series`].
pub const SERIES_STEP_MS: u64 = STEP_MS;
