//! What a comparison came to: kept as JSON, and shown as a table, a page, and words.
#![forbid(unsafe_code)]

mod article;
mod contest;
mod environment;
mod figures;
mod json;
pub(crate) mod page;
mod ranking;
mod shares;
mod summary;
mod table;
mod verdict;

pub use article::{Article, Written, article};
pub use environment::Environment;
pub use figures::{Figure, Unit, latency_of, ops_of};
pub use json::{OLDEST, VERSION};
pub(crate) use json::{read_json, write_json};
pub use page::page;
pub use shares::share;
pub use summary::{Row, Summary, Value, median};
pub use table::table;
pub(crate) use table::{bytes, counted, nanos, of_rounds, percent, short, size};
pub use verdict::verdict;

use crate::cell::{Died, Outcome, Source};
use crate::drive::Pace;
use crate::limits::Limits;
use crate::workload::Workload;
use crate::{Result, Setup};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One side's work on one workload in one round.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The part of the report that it belongs to.
    pub part: usize,
    /// The side.
    pub side: String,
    /// The workload.
    pub workload: String,
    /// The round, from 0.
    pub round: u64,
    /// What came of it.
    pub result: Result<Outcome, Died>,
}

/// What was compared under one set of conditions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// A heading.
    pub title: String,
    /// The sides, in the order of the table.
    pub sides: Vec<String>,
    /// The side that ratios refer to.
    pub baseline: String,
    /// What was done.
    pub workloads: Vec<Workload>,
    /// To which data.
    pub source: Source,
    /// Bytes of their keys and values.
    pub data_bytes: u64,
    /// How many entries there were.
    pub entries: u64,
    /// Rounds that were planned.
    pub rounds: u64,
    /// How it was run.
    pub pace: Pace,
    /// How stores were opened.
    pub setup: Setup,
    /// Whether all data fit in memory, which all of it is then brought to before a run.
    pub fits: bool,
    /// Bytes of memory that each child had, if that was bounded.
    pub memory: Option<u64>,
    /// The rule by which memory was given, and whatever else is to be known, in words.
    pub notes: Vec<String>,
    /// Nanoseconds that the check of one value takes.
    pub check_nanos: f64,
}

/// A report.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`], when it was written.
    pub version: u32,
    /// Where it was made.
    pub environment: Environment,
    /// The command line.
    pub command: Vec<String>,
    /// Whether it came to its end.
    pub complete: bool,
    /// If not, why, and what was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_short: Option<String>,
    /// What the machine can do at all, if that was measured too.
    pub limits: Option<Limits>,
    /// What writing costs, of the preset `article`.
    pub article: Option<Article>,
    /// What was compared.
    pub parts: Vec<Part>,
    /// All cells that were done.
    pub cells: Vec<Cell>,
}

impl Part {
    /// Bytes of a side's files for a byte of keys and values in it, entries that were inserted since the load included.
    pub fn space(&self, outcome: &Outcome) -> f64 {
        let grown = outcome.entries as f64 / self.entries.max(1) as f64;
        outcome.file_bytes as f64 / (self.data_bytes.max(1) as f64 * grown.max(1e-9))
    }
}

impl Report {
    /// Reads one.
    ///
    /// # Errors
    /// In words: if it cannot be read, is none, or is of a version that cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        read_json(path, "report", None)
    }

    /// Writes it. What had the name before stays until all of it is written.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }

    /// That it was cut short, if it was, and why; what is not `here` was not measured.
    pub(crate) fn cut(&self, here: &str) -> Option<String> {
        let why = self.cut_short.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        (!self.complete).then(|| format!("This run was cut short{why}: what is not {here} was not measured."))
    }

    /// Whether a side gave a wrong answer, an error, or died of something else than too little memory.
    pub fn has_failures(&self) -> bool {
        self.cells
            .iter()
            .any(|cell| matches!(cell.result, Err(Died::Failed(_) | Died::Silent(_) | Died::TookTooLong(_))))
    }

    /// The cells of a side and a workload, by round.
    pub fn cells_of<'r>(
        &'r self,
        part: usize,
        side: &'r str,
        workload: &'r str,
    ) -> impl Iterator<Item = &'r Cell> {
        let belongs = move |cell: &&Cell| cell.part == part && cell.side == side && cell.workload == workload;
        self.cells.iter().filter(belongs)
    }
}
