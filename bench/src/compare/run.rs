//! Running parts: loading each side, then going round.
//!
//! Each run begins on a store that holds the entries that were loaded. After one that inserted some, or that died while
//! it wrote, the store is loaded anew.
#![forbid(unsafe_code)]

use super::budget::missing;
use super::estimate::{Estimate, durability, is_load, spoils, store_loads, time};
use crate::cell::{self, Child, Died, Interrupt, Outcome, Spec, Start};
use crate::limits::Limits;
use crate::memory::{Group, remove_leftovers};
use crate::report::{Article, Cell, Environment, Part, Report, VERSION, page};
use crate::workload::{Work, Workload};
use crate::{Result, Sabotage, Setup};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
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
    /// Random overwrites of a store that was loaded, before its first run, as a share of the entries.
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
    /// Seconds after which no other cell is begun, and since when.
    budget: Option<(Instant, f64)>,
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
    /// Its store is not what was loaded: other entries are there, or nobody knows.
    spoiled: bool,
}

/// A part on its way.
struct Course<'a> {
    /// Its number.
    index: usize,
    plan: &'a PartPlan,
    /// When a child is given up.
    patience: Duration,
    bar: ProgressBar,
}

/// Entries of a commit of the load before the rest: all of them, or, where memory is bounded, what any store can hold
/// back.
fn loaded_at_once(part: &Part) -> u64 {
    let entry = (part.data_bytes / part.entries.max(1)).max(1);
    if part.memory.is_some() { (part.setup.delta_bytes / 4 / entry).max(1) } else { u64::MAX }
}

impl Runner {
    /// Stores lie in a new directory in `dir`, or in the current one; they are removed in the end unless `keep`.
    ///
    /// # Errors
    /// I/O errors.
    pub fn new(dir: Option<&Path>, keep: bool, outputs: Outputs, interrupt: Interrupt) -> Result<Self> {
        let parent = dir.map_or_else(|| PathBuf::from("."), Path::to_owned);
        remove_leftovers();
        let passing = tempfile::Builder::new().prefix("bifold-bench-").tempdir_in(&parent)?;
        let dir = if keep { Dir::Kept(passing.keep()) } else { Dir::Passing(passing) };
        let report = Report {
            version: VERSION,
            environment: Environment::here(dir.path()),
            command: std::env::args().collect(),
            complete: false,
            cut_short: None,
            limits: None,
            article: None,
            parts: Vec::new(),
            cells: Vec::new(),
        };
        Ok(Self { dir, outputs, interrupt, budget: None, report })
    }

    /// From so many seconds after `since` on no other cell is begun.
    pub fn set_budget(&mut self, since: Instant, seconds: f64) {
        self.budget = Some((since, seconds));
    }

    /// Whether nothing else is to be begun.
    fn is_over(&self) -> bool {
        self.interrupt.came()
            || self.budget.is_some_and(|(since, budget)| since.elapsed().as_secs_f64() >= budget)
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

    /// Runs a part; `false` if the user ended it, or the budget was spent.
    ///
    /// # Errors
    /// If the disk has no room; if no child can be started; I/O errors of the results.
    pub fn part(&mut self, plan: &PartPlan) -> Result<bool> {
        let estimate = Estimate::of(plan);
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
        let cells = part.rounds * part.workloads.len() as u64 + store_loads(part);
        let bar = ProgressBar::new(part.sides.len() as u64 * cells);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} cells, {eta} left: {wide_msg}")?;
        bar.set_style(style);
        let side = |name: &String| Side {
            name: name.clone(),
            entries: part.entries,
            out: None,
            aged: false,
            spoiled: false,
        };
        let mut sides: Vec<Side> = part.sides.iter().map(side).collect();
        let course = Course { index, plan, patience, bar };
        let goes_on = self.rounds(&course, &mut sides);
        course.bar.finish_and_clear();
        goes_on
    }

    fn rounds(&mut self, course: &Course<'_>, sides: &mut [Side]) -> Result<bool> {
        let part = &course.plan.part;
        if !part.workloads.iter().all(is_load) {
            for side in &mut *sides {
                if self.is_over() {
                    return Ok(false);
                }
                self.load(course, side)?;
            }
        }
        // One workload after the other: what a later one does to the stores does not meet the rounds of this one.
        for workload in &part.workloads {
            for round in 0..part.rounds {
                for turn in 0..sides.len() {
                    let at = (round as usize + turn) % sides.len();
                    if !self.turn(course, &mut sides[at], workload, round)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// One side's round of a workload, and the load before it if there must be one; `false` if it is all over before it
    /// is done.
    fn turn(
        &mut self,
        course: &Course<'_>,
        side: &mut Side,
        workload: &Workload,
        round: u64,
    ) -> Result<bool> {
        let loads = is_load(workload);
        if side.spoiled && !loads && side.out.is_none() {
            if self.is_over() {
                return Ok(false);
            }
            self.load(course, side)?;
        }
        if self.is_over() {
            return Ok(false);
        }
        let result = match &side.out {
            Some(died) if !loads => Err(died.clone()),
            _ => self.cell(course, side, workload, round)?,
        };
        if self.interrupt.came() {
            return Ok(false);
        }
        match &result {
            _ if loads => {}
            Ok(outcome) => {
                side.entries = outcome.entries;
                side.aged = true;
                side.spoiled |= spoils(workload);
            }
            // Half of a change may have been made.
            Err(_) => side.spoiled |= workload.writes() || (course.plan.aged > 0.0 && !side.aged),
        }
        let (side, workload) = (side.name.clone(), workload.name.clone());
        self.report.cells.push(Cell { part: course.index, side, workload, round, result });
        self.save()?;
        Ok(true)
    }

    /// Loads a side's store, or loads it anew.
    fn load(&self, course: &Course<'_>, side: &mut Side) -> Result<()> {
        let load = Workload {
            name: "load".into(),
            about: "all entries, in order, before the rest".into(),
            work: Work::Load { sorted: true, per_txn: loaded_at_once(&course.plan.part) },
        };
        match self.child(course, side, &load, 0, "loaded")? {
            Ok(outcome) => {
                side.entries = outcome.entries;
                (side.aged, side.spoiled) = (false, false);
            }
            Err(died) => side.out = Some(died),
        }
        Ok(())
    }

    /// A cell of the report.
    fn cell(
        &self,
        course: &Course<'_>,
        side: &Side,
        workload: &Workload,
        round: u64,
    ) -> Result<Result<Outcome, Died>> {
        if !is_load(workload) {
            return self.child(course, side, workload, round, "loaded");
        }
        let result = self.child(course, side, workload, round, "anew");
        // A load that is measured leaves nothing but its figures.
        let _ = std::fs::remove_dir_all(self.store(course, side, "anew"));
        result
    }

    /// Where a side's store lies.
    fn store(&self, course: &Course<'_>, side: &Side, which: &str) -> PathBuf {
        self.dir.path().join(format!("{}-{}", course.index, side.name)).join(which)
    }

    /// Runs one child, on a store of a side.
    fn child(
        &self,
        course: &Course<'_>,
        side: &Side,
        workload: &Workload,
        round: u64,
        which: &str,
    ) -> Result<Result<Outcome, Died>> {
        let (plan, bar) = (course.plan, &course.bar);
        let part = &plan.part;
        let group = part.memory.map(Group::create).transpose().map_err(|refused| refused.to_string())?;
        let loads = is_load(workload);
        let sabotage =
            plan.sabotage.as_ref().filter(|(name, _)| *name == side.name && !loads).map(|(_, how)| *how);
        let spec = Spec {
            side: side.name.clone(),
            dir: self.store(course, side, which),
            source: part.source.clone(),
            entries: side.entries,
            workload: workload.clone(),
            aged: if side.aged || loads { 0.0 } else { plan.aged },
            pace: crate::drive::Pace { seed: part.pace.seed.wrapping_add(round), ..part.pace },
            setup: Setup {
                durability: durability(&workload.work),
                read_ahead: part.fits || workload.reads_far(part.data_bytes / part.entries.max(1)),
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
        let child = Child { spec: &spec, group: group.as_ref(), patience: course.patience };
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
        result
    }

    fn save(&self) -> Result<()> {
        self.outputs.json.as_ref().map_or(Ok(()), |path| self.report.write(path))
    }

    /// Ends it: writes what there is of `plans`, and which of their cells are missing, and removes the stores.
    ///
    /// # Errors
    /// I/O errors.
    pub fn finish(mut self, plans: &[PartPlan]) -> Result<Report> {
        let missing = missing(plans, &self.report.cells);
        self.report.complete = missing.is_empty() && !self.interrupt.came();
        if !self.report.complete {
            let why = match self.budget {
                Some((_, budget)) if !self.interrupt.came() => {
                    format!("the budget of {} was spent", time(budget))
                }
                _ => "it was interrupted".into(),
            };
            let not =
                if missing.is_empty() { String::new() } else { format!("; not run: {}", missing.join("; ")) };
            self.report.cut_short = Some(format!("{why}{not}"));
        }
        self.save()?;
        if let Some(path) = &self.outputs.html {
            std::fs::write(path, page(&self.report))?;
        }
        Ok(self.report)
    }
}
