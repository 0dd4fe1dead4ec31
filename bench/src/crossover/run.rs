//! Running a sweep: loading a size when it is first needed, and pairs of runs until the budget is used up.
#![forbid(unsafe_code)]

use super::costs::{Costs, time};
use super::document::{Ended, Sweep};
use super::grid::{Figures, Place, Repeat};
use super::plan::{self, Step};
use crate::cell::{self, Child, Died, Interrupt, Outcome, Source, Spec, Start};
use crate::compare::{durability, spoils};
use crate::drive::{Pace, Until};
use crate::memory::{Group, drop_files};
use crate::usage::free_space;
use crate::workload::{Work, Workload};
use crate::{Result, Setup};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How much longer than expected a child may take before it is given up, and how long at least.
const PATIENCE: f64 = 20.0;
const PATIENCE_LEAST: f64 = 120.0;
/// Data up to this multiple of memory fit, with what a tree takes besides.
const FITS: f64 = 0.6;

/// A sweep under way.
#[derive(Debug)]
pub(super) struct Sweeper {
    /// What was done so far.
    pub sweep: Sweep,
    dir: TempDir,
    json: Option<PathBuf>,
    interrupt: Interrupt,
    costs: Costs,
    /// For each size, what loading it on each side came to: entries in the store by now.
    loaded: Vec<Option<[Result<u64, Died>; 2]>>,
    bar: ProgressBar,
}

impl Sweeper {
    /// Stores lie in a new directory in `parent`, which is removed in the end. `json` is rewritten after each repeat.
    ///
    /// # Errors
    /// I/O errors.
    pub(super) fn new(
        sweep: Sweep,
        parent: &Path,
        json: Option<PathBuf>,
        interrupt: Interrupt,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("bifold-bench-").tempdir_in(parent)?;
        let loaded = vec![None; sweep.settings.grid.sizes.len()];
        let bar = ProgressBar::hidden();
        Ok(Self { sweep, dir, json, interrupt, costs: Costs::guess(), loaded, bar })
    }

    /// Refuses if the disk has no room for the largest size, or the time is too short for any cell. Says what it will take.
    ///
    /// # Errors
    /// In words.
    pub(super) fn estimate(&self, budget: f64) -> Result<()> {
        let settings = &self.sweep.settings;
        let (last, free) = (settings.grid.sizes.len() - 1, free_space(self.dir.path())?);
        let disk = Costs::disk(settings, last);
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        if disk > free {
            return Err(format!(
                "this may take {:.1} GiB on disk, and {} has {:.1} GiB left: take fewer or smaller --sizes, less \
                 --memory, which they are multiples of, or another --dir",
                gib(disk),
                self.dir.path().parent().unwrap_or(Path::new(".")).display(),
                gib(free)
            )
            .into());
        }
        let anew = spoils(&settings.workload);
        let load = |size| self.costs.load(settings, size);
        let each =
            |place: Place| self.costs.run(settings, place.size) + if anew { load(place.size) } else { 0.0 };
        let frame: f64 = plan::frame(&settings.grid).into_iter().map(each).sum();
        let loads: f64 = if anew { 0.0 } else { (0..=last).map(load).sum() };
        let all: f64 = settings.grid.places().map(|place| 3.0 * each(place)).sum();
        let next = |left| plan::next(&settings.grid, &self.sweep.repeats, left, |place| self.cost(place));
        if next(budget).is_none() && next(f64::INFINITY).is_some() {
            return Err(format!(
                "the next cell takes longer than the {} of the budget: give it more (--budget), or take a shorter \
                 --duration, smaller --sizes or less --memory",
                time(budget)
            )
            .into());
        }
        eprintln!(
            "{} cells; a first look takes about {}, and all of them three times {}; the budget is {}; up to {:.1} GiB on disk",
            settings.grid.len(),
            time(loads + frame),
            time(loads + all),
            time(budget),
            gib(disk)
        );
        Ok(())
    }

    /// Runs cells for `budget` seconds.
    ///
    /// # Errors
    /// If no child can be started; if the disk fills up; I/O errors of the results. How a side fails is a result.
    pub(super) fn run(&mut self, budget: f64) -> Result<()> {
        self.bar = ProgressBar::new(budget as u64);
        self.bar.set_style(ProgressStyle::with_template("{bar:30} {eta} left: {wide_msg}")?);
        let (begun, before) = (Instant::now(), self.sweep.seconds);
        self.sweep.ended = Ended::CutShort;
        let ended = loop {
            let spent = begun.elapsed().as_secs_f64();
            self.sweep.seconds = before + spent;
            self.save()?;
            self.bar.set_position(spent as u64);
            if self.interrupt.came() {
                break Ended::CutShort;
            }
            let next = |left| {
                plan::next(&self.sweep.settings.grid, &self.sweep.repeats, left, |place| self.cost(place))
            };
            let Some(step) = next(budget - spent) else {
                break if next(f64::INFINITY).is_none() { Ended::Done } else { Ended::Budget };
            };
            let Some(repeat) = self.step(step)? else { break Ended::CutShort };
            self.sweep.repeats.push(repeat);
        };
        self.sweep.ended = ended;
        self.bar.finish_and_clear();
        self.save()
    }

    fn save(&self) -> Result<()> {
        self.json.as_ref().map_or(Ok(()), |path| self.sweep.write(path))
    }

    /// Seconds that a repeat of `place` takes.
    fn cost(&self, place: Place) -> f64 {
        let settings = &self.sweep.settings;
        let load = match self.loaded.get(place.size) {
            Some(None) if self.preloads() => self.costs.load(settings, place.size),
            _ => 0.0,
        };
        load + self.costs.run(settings, place.size)
    }

    /// Whether stores are loaded before: a load that is measured begins with none.
    fn preloads(&self) -> bool {
        matches!(self.sweep.settings.workload.work, Work::Run(_))
    }

    fn store(&self, place: Place, side: usize) -> PathBuf {
        self.dir.path().join(format!("{}-{side}", place.size))
    }

    /// One repeat, loading included where it comes to that; `None` if the user ended it.
    fn step(&mut self, step: Step) -> Result<Option<Repeat>> {
        let place = step.place;
        if self.preloads() && self.loaded.get(place.size).is_some_and(Option::is_none) && !self.load(place)? {
            return Ok(None);
        }
        let begun = Instant::now();
        let nth = self.sweep.repeats.iter().filter(|repeat| repeat.place == place).count();
        let mut results = [const { None }; 2];
        for turn in 0..2 {
            let side = (nth + place.size + place.threads + turn) % 2;
            let name = &self.sweep.settings.sides[side];
            self.bar.set_message(format!(
                "{} ({}), {name}",
                self.sweep.settings.label(place),
                step.why.words()
            ));
            let result = self.side(place, side, nth as u64)?;
            if self.interrupt.came() {
                return Ok(None);
            }
            results[side] = Some(result);
        }
        self.costs.ran(&self.sweep.settings, place.size, begun.elapsed().as_secs_f64());
        if self.spoiled(place.size, &results) {
            self.unload(place.size);
        }
        let [Some(first), Some(second)] = results else { return Ok(None) };
        Ok(Some(Repeat { place, sides: [first, second] }))
    }

    /// Whether the stores of a size are no longer what was loaded: other entries are there, or nobody knows.
    fn spoiled(&self, size: usize, results: &[Option<Result<Figures, Died>>; 2]) -> bool {
        let workload = &self.sweep.settings.workload;
        let Some(Some(sides)) = self.loaded.get(size) else { return false };
        // A side that could not be loaded was not run. One that ended well and has no figures did no half of a change.
        let died = |(loaded, result): (&Result<u64, Died>, &Option<Result<Figures, Died>>)| {
            loaded.is_ok() && matches!(result, Some(Err(died)) if *died != Died::Nothing)
        };
        spoils(workload) || (workload.writes() && sides.iter().zip(results).any(died))
    }

    /// One side of a repeat.
    fn side(&mut self, place: Place, side: usize, nth: u64) -> Result<Result<Figures, Died>> {
        let entries = match self.loaded.get(place.size) {
            Some(Some(sides)) => match &sides[side] {
                Ok(entries) => *entries,
                Err(died) => return Ok(Err(died.clone())),
            },
            _ => 0,
        };
        let dir = self.store(place, side);
        // What is in the page cache already would not count against the group.
        drop_files(std::slice::from_ref(&dir));
        let workload = self.sweep.settings.workload.clone();
        let group = Group::create(self.sweep.settings.memory).map_err(|refused| refused.to_string())?;
        let spec =
            Spec { group: Some(group.path().to_owned()), ..self.spec(place, side, workload, entries, nth) };
        let expected = self.costs.run(&self.sweep.settings, place.size);
        let result = self.child(&spec, Some(&group), expected)?;
        group.remove()?;
        if !self.preloads() {
            let _ = std::fs::remove_dir_all(&dir);
        }
        if let (Ok(outcome), Some(Some(sides))) = (&result, self.loaded.get_mut(place.size)) {
            sides[side] = Ok(outcome.entries);
        }
        Ok(result.and_then(|outcome| Figures::of(&outcome)))
    }

    fn spec(&self, place: Place, side: usize, workload: Workload, entries: u64, nth: u64) -> Spec {
        let settings = &self.sweep.settings;
        let (setup, _) = settings.setup(place.size);
        let fits = settings.grid.sizes[place.size] <= FITS;
        let data = settings.data(place.size);
        let read_ahead = fits || workload.reads_far(data.bytes() / data.entries.max(1));
        Spec {
            side: settings.sides[side].clone(),
            dir: self.store(place, side),
            source: Source::Made(data),
            entries,
            aged: 0.0,
            pace: Pace {
                threads: settings.grid.threads[place.threads],
                warmup: settings.warmup,
                until: Until::Seconds(settings.duration),
                rate: None,
                seed: settings.seed.wrapping_add(nth),
            },
            setup: Setup { durability: durability(&workload.work), read_ahead, ..setup },
            workload,
            group: None,
            // All is read once: what fits in memory is there, and what does not leaves no memory unused.
            start: Start::Warm,
            read_only: false,
        }
    }

    fn child(&self, spec: &Spec, group: Option<&Group>, expected: f64) -> Result<Result<Outcome, Died>> {
        let patience = Duration::from_secs_f64((expected * PATIENCE).clamp(PATIENCE_LEAST, 1e6));
        cell::run(&Child { spec, group, patience }, &self.interrupt, |_| self.bar.tick())
    }

    /// Loads a size on both sides, without a bound of memory, as it is not measured. `false` if the user ended it.
    fn load(&mut self, place: Place) -> Result<bool> {
        self.make_room(place.size)?;
        let begun = Instant::now();
        let load = Workload {
            name: "load".into(),
            about: "all entries, in order".into(),
            work: Work::Load { sorted: true, per_txn: u64::MAX },
        };
        let mut results = Vec::new();
        for side in 0..2 {
            let settings = &self.sweep.settings;
            let size = settings.grid.sizes[place.size];
            self.bar.set_message(format!("loading {size}x memory, {}", settings.sides[side]));
            let spec = self.spec(place, side, load.clone(), 0, 0);
            let expected = self.costs.load(settings, place.size);
            let result = self.child(&spec, None, expected)?;
            if self.interrupt.came() {
                return Ok(false);
            }
            results.push(result.map(|outcome| outcome.entries));
        }
        self.costs.loaded(&self.sweep.settings, place.size, begun.elapsed().as_secs_f64());
        if let (Some(loaded), Ok(results)) = (self.loaded.get_mut(place.size), results.try_into()) {
            *loaded = Some(results);
        }
        Ok(true)
    }

    /// Removes stores of other sizes, the largest first, until there is room for this one.
    fn make_room(&mut self, size: usize) -> Result<()> {
        let wanted = Costs::disk(&self.sweep.settings, size);
        for other in (0..self.loaded.len()).rev() {
            if free_space(self.dir.path())? >= wanted {
                return Ok(());
            }
            if other != size {
                self.unload(other);
            }
        }
        if free_space(self.dir.path())? >= wanted {
            return Ok(());
        }
        Err(format!("the disk of {} has no room left", self.dir.path().display()).into())
    }

    fn unload(&mut self, size: usize) {
        if let Some(loaded) = self.loaded.get_mut(size) {
            *loaded = None;
        }
        for side in 0..2 {
            let _ = std::fs::remove_dir_all(self.store(Place { size, threads: 0 }, side));
        }
    }
}
