//! Running parts: loading each side, then going round.
#![forbid(unsafe_code)]

use super::estimate::{Estimate, durability};
use crate::cell::{self, Child, Died, Interrupt, Outcome, Spec, Start};
use crate::limits::Limits;
use crate::memory::{Group, remove_leftovers};
use crate::report::{Article, Cell, Environment, Part, Report, VERSION, page};
use crate::workload::{Work, Workload};
use crate::{Result, Sabotage, Setup};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How much longer than estimated a child may take before it is given up.
const PATIENCE: f64 = 20.0;
/// And at least so long.
const PATIENCE_LEAST: Duration = Duration::from_mins(5);

/// Where results go.
#[derive(Clone, Default, Debug)]
pub struct Outputs {
    /// Rewritten after every cell.
    pub json: Option<PathBuf>,
    /// Written at the end.
    pub html: Option<PathBuf>,
}

/// What a part is run with besides what its report keeps.
#[derive(Clone, Debug)]
pub struct PartPlan {
    /// What is reported.
    pub part: Part,
    /// Random overwrites before each read-only workload's first round, as a share of the entries.
    pub aged: f64,
    /// Whether caches are emptied before each run.
    pub cold: bool,
    /// A side that is broken on purpose, but for its loads, and how.
    pub sabotage: Option<(String, Sabotage)>,
}

/// Runs parts, and gathers what comes of them.
#[derive(Debug)]
pub struct Runner {
    dir: Dir,
    outputs: Outputs,
    interrupt: Interrupt,
    report: Report,
}

/// Where stores lie.
#[derive(Debug)]
enum Dir {
    /// Removed at the end, whatever the end is.
    Passing(TempDir),
    /// The user's, in which the stores stay.
    Kept(PathBuf),
}

impl Dir {
    fn path(&self) -> &Path {
        match self {
            Self::Passing(dir) => dir.path(),
            Self::Kept(path) => path,
        }
    }
}

/// A side of a part that is being run.
struct Side {
    name: String,
    /// Entries in its store.
    entries: u64,
    /// Why it takes no more part.
    out: Option<Died>,
    aged: bool,
}

/// Entries of a commit of the load before the rest: all of them, or, where memory is bounded, what any store can hold
/// back.
fn loaded_at_once(part: &Part) -> u64 {
    let entry = (part.data_bytes / part.entries.max(1)).max(1);
    if part.memory.is_some() { (part.setup.delta_bytes / 4 / entry).max(1) } else { u64::MAX }
}

/// Whether each round of a workload needs the store as it was loaded.
fn begins_anew(workload: &Workload) -> bool {
    matches!(&workload.work, Work::Replay(replay) if replay.commits > 0)
}

impl Runner {
    /// Stores lie in a new directory in `dir`, or in the current one; they are removed in the end unless `keep`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn new(dir: Option<&Path>, keep: bool, outputs: Outputs, interrupt: Interrupt) -> Result<Self> {
        let parent = dir.map_or_else(|| PathBuf::from("."), Path::to_owned);
        std::fs::create_dir_all(&parent)?;
        remove_leftovers();
        let passing = tempfile::Builder::new().prefix("bifold-bench-").tempdir_in(&parent)?;
        let dir = if keep { Dir::Kept(passing.keep()) } else { Dir::Passing(passing) };
        let report = Report {
            version: VERSION,
            environment: Environment::here(dir.path()),
            command: std::env::args().collect(),
            complete: false,
            limits: None,
            article: None,
            parts: Vec::new(),
            cells: Vec::new(),
        };
        Ok(Self { dir, outputs, interrupt, report })
    }

    /// Where stores lie.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Keeps what else belongs to the report.
    pub fn add(&mut self, limits: Option<Limits>, article: Option<Article>) {
        self.report.limits = limits.or(self.report.limits.take());
        self.report.article = article.or(self.report.article.take());
    }

    /// Runs a part; `false` if the user ended it.
    ///
    /// # Errors
    /// If the disk has no room; if no child can be started; I/O errors of the results.
    pub fn part(&mut self, plan: &PartPlan) -> Result<bool> {
        let estimate = Estimate::of(&plan.part);
        estimate.check(self.dir.path())?;
        eprintln!("{}: {}", plan.part.title, estimate.words());
        let index = self.report.parts.len();
        self.report.parts.push(plan.part.clone());
        let result = self.cells_of(index, plan, &estimate);
        if matches!(self.dir, Dir::Passing(_)) {
            for side in &plan.part.sides {
                let _ = std::fs::remove_dir_all(self.dir.path().join(format!("{index}-{side}")));
            }
        }
        result
    }

    fn cells_of(&mut self, index: usize, plan: &PartPlan, estimate: &Estimate) -> Result<bool> {
        let part = &plan.part;
        let patience = Duration::from_secs_f64((estimate.seconds * PATIENCE).min(1e7)).max(PATIENCE_LEAST);
        let loads = part.workloads.iter().any(|workload| !matches!(workload.work, Work::Load { .. }));
        let again = part.workloads.iter().filter(|workload| begins_anew(workload)).count() as u64;
        let again = again * (part.rounds - 1);
        let cells =
            part.sides.len() as u64 * (part.rounds * part.workloads.len() as u64 + u64::from(loads) + again);
        let bar = ProgressBar::new(cells);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} cells, {eta} left: {wide_msg}")?;
        bar.set_style(style);
        let mut sides: Vec<Side> = part
            .sides
            .iter()
            .map(|name| Side { name: name.clone(), entries: part.entries, out: None, aged: false })
            .collect();
        let goes_on = self.rounds(index, plan, patience, loads, &mut sides, &bar);
        bar.finish_and_clear();
        goes_on
    }

    fn rounds(
        &mut self,
        index: usize,
        plan: &PartPlan,
        patience: Duration,
        loads: bool,
        sides: &mut [Side],
        bar: &ProgressBar,
    ) -> Result<bool> {
        let part = &plan.part;
        if loads {
            for side in &mut *sides {
                self.load(index, plan, side, patience, bar)?;
                if self.interrupt.came() {
                    return Ok(false);
                }
            }
        }
        // One workload after the other: what a later one does to the stores does not meet the rounds of this one.
        for workload in &part.workloads {
            for round in 0..part.rounds {
                for turn in 0..sides.len() {
                    let at = (round as usize + turn) % sides.len();
                    let side = &mut sides[at];
                    let loads = matches!(workload.work, Work::Load { .. });
                    if round > 0 && begins_anew(workload) && side.out.is_none() {
                        self.load(index, plan, side, patience, bar)?;
                        if self.interrupt.came() {
                            return Ok(false);
                        }
                    }
                    let result = match &side.out {
                        Some(died) if !loads => Err(died.clone()),
                        _ => {
                            let dir = if loads { "anew" } else { "loaded" };
                            let dir = format!("{index}-{}/{dir}", side.name);
                            self.cell(plan, side, workload, round, dir, patience, bar)?
                        }
                    };
                    if self.interrupt.came() {
                        return Ok(false);
                    }
                    if let (Ok(outcome), false) = (&result, loads) {
                        side.entries = outcome.entries;
                        side.aged = true;
                    }
                    let (side, name) = (side.name.clone(), workload.name.clone());
                    self.report.cells.push(Cell { part: index, side, workload: name, round, result });
                    self.save()?;
                }
            }
        }
        Ok(true)
    }

    /// Loads a side's store, or loads it anew.
    fn load(
        &self,
        index: usize,
        plan: &PartPlan,
        side: &mut Side,
        patience: Duration,
        bar: &ProgressBar,
    ) -> Result<()> {
        let load = Workload {
            name: "load".into(),
            about: "all entries, in order, before the rest".into(),
            work: Work::Load { sorted: true, per_txn: loaded_at_once(&plan.part) },
        };
        let dir = format!("{index}-{}/loaded", side.name);
        match self.cell(plan, side, &load, 0, dir, patience, bar)? {
            Ok(outcome) => side.entries = outcome.entries,
            Err(died) => side.out = Some(died),
        }
        Ok(())
    }

    /// Runs one child.
    #[expect(clippy::too_many_arguments, reason = "a cell is where all dimensions meet")]
    fn cell(
        &self,
        plan: &PartPlan,
        side: &Side,
        workload: &Workload,
        round: u64,
        dir: String,
        patience: Duration,
        bar: &ProgressBar,
    ) -> Result<Result<Outcome, Died>> {
        let part = &plan.part;
        let group = part.memory.map(Group::create).transpose().map_err(|refused| refused.to_string())?;
        let loads = matches!(workload.work, Work::Load { .. });
        let sabotage =
            plan.sabotage.as_ref().filter(|(name, _)| *name == side.name && !loads).map(|(_, how)| *how);
        let spec = Spec {
            side: side.name.clone(),
            dir: self.dir.path().join(dir),
            source: part.source.clone(),
            entries: side.entries,
            workload: workload.clone(),
            aged: if side.aged || loads { 0.0 } else { plan.aged },
            pace: crate::drive::Pace { seed: part.pace.seed.wrapping_add(round), ..part.pace },
            setup: Setup {
                durability: durability(&workload.work),
                read_ahead: part.fits || loads || workload.scans(),
                sabotage,
                ..part.setup
            },
            group: group.as_ref().map(|group| group.path().to_owned()),
            start: if plan.cold {
                Start::Cold
            } else if part.fits {
                Start::Warm
            } else {
                Start::AsIs
            },
            read_only: false,
        };
        let child = Child { spec: &spec, group: group.as_ref(), patience };
        let told = |phase: &str| {
            bar.set_message(format!("{} {} round {}: {phase}", side.name, workload.name, round + 1));
        };
        let mut result = cell::run(&child, &self.interrupt, told);
        bar.inc(1);
        if let Some(group) = group {
            if let Ok(Ok(outcome)) = &mut result {
                outcome.notes.extend(group.notes().iter().cloned());
            }
            group.remove()?;
        }
        if loads {
            // A load that is measured leaves nothing but its figures.
            if spec.dir.ends_with("anew") {
                let _ = std::fs::remove_dir_all(&spec.dir);
            }
        }
        result
    }

    fn save(&self) -> Result<()> {
        self.outputs.json.as_ref().map_or(Ok(()), |path| self.report.write(path))
    }

    /// Ends it: writes what there is, and removes the stores.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self) -> Result<Report> {
        self.report.complete = !self.interrupt.came();
        self.save()?;
        if let Some(path) = &self.outputs.html {
            std::fs::write(path, page(&self.report))?;
        }
        Ok(self.report)
    }
}
