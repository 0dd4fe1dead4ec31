//! A sweep as it is kept: JSON, rewritten after every repeat, from which a later run can go on.
#![forbid(unsafe_code)]

use super::grid::{Grid, Place, Repeat};
use crate::cell::Died;
use crate::compare::{Memory, setup_for};
use crate::corpus::{Made, Sizes};
use crate::report::{Environment, VERSION, read_json, write_json};
use crate::workload::{Threads, Work, Workload};
use crate::{Result, Setup};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What tells it from other reports.
const KIND: &str = "crossover";

/// What is swept, and how a cell is run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// What is done.
    pub workload: Workload,
    /// The two sides.
    pub sides: [String; 2],
    /// Bytes of memory that a side has in all.
    pub memory: u64,
    /// Sizes and threads.
    pub grid: Grid,
    /// Bytes of keys.
    pub keys: Sizes,
    /// Bytes of values.
    pub values: Sizes,
    /// Other data and choices for each.
    pub seed: u64,
    /// Seconds of a run before anything counts.
    pub warmup: f64,
    /// Seconds of a run that count.
    pub duration: f64,
}

impl Settings {
    /// The data at the size with this index.
    pub fn data(&self, size: usize) -> Made {
        let one = Made { entries: 1, keys: self.keys, values: self.values, seed: self.seed };
        let bytes = self.grid.sizes.get(size).copied().unwrap_or(1.0) * self.memory as f64;
        Made { entries: (bytes as u64 / one.bytes().max(1)).max(1), ..one }
    }

    /// How stores of the size with this index are opened, and the rule in words.
    pub fn setup(&self, size: usize) -> (Setup, String) {
        setup_for(self.data(size).bytes(), &Memory { group: Some(self.memory), ..Memory::default() })
    }

    /// The label of a cell: "1.5x memory, 8 threads".
    pub fn label(&self, place: Place) -> String {
        let size = self.grid.sizes.get(place.size).copied().unwrap_or(f64::NAN);
        let threads = self.grid.threads.get(place.threads).copied().unwrap_or(0);
        format!("{size}x memory, {threads} thread{}", if threads == 1 { "" } else { "s" })
    }
}

/// Whether the number of threads says how a workload is run: a load has one, and so have some others.
pub(super) fn has_threads(workload: &Workload) -> bool {
    match &workload.work {
        Work::Load { .. } | Work::Replay(_) => false,
        Work::Run(roles) => roles.iter().any(|role| role.measured && role.threads == Threads::All),
    }
}

/// How a sweep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// No cell that is left would tell more.
    Done,
    /// No cell that is left fitted into the rest of the budget.
    Budget,
    /// It was cut short.
    CutShort,
}

/// A sweep.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sweep {
    /// [`VERSION`].
    pub version: u32,
    /// `crossover`.
    pub kind: String,
    /// Where it was made.
    pub environment: Environment,
    /// The command line; that of the last run, if it was resumed.
    pub command: Vec<String>,
    /// What is swept.
    pub settings: Settings,
    /// Seconds that it has taken so far, over all runs.
    pub seconds: f64,
    /// How the last run ended; it is [`Ended::CutShort`] until it has.
    pub ended: Ended,
    /// All repeats that were done, in that order.
    pub repeats: Vec<Repeat>,
}

impl Sweep {
    /// One in which nothing was run yet.
    pub fn new(settings: Settings, environment: Environment) -> Self {
        Self {
            version: VERSION,
            kind: KIND.into(),
            environment,
            command: std::env::args().collect(),
            settings,
            seconds: 0.0,
            ended: Ended::CutShort,
            repeats: Vec::new(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// In words: if it cannot be read, is none, is of a version that cannot be read, or has cells that its grid has not.
    pub fn read(path: &Path) -> Result<Self> {
        let what = "sweep of `crossover`";
        let no = |why: String| format!("{} is no {what}: {why}", path.display());
        let mut sweep: Self = read_json(path, what, Some(KIND))?;
        // What is written of it is of this version, and nothing of it was lacking.
        sweep.version = VERSION;
        sweep.settings.check().map_err(no)?;
        let grid = &sweep.settings.grid;
        let outside = |r: &Repeat| r.place.size >= grid.sizes.len() || r.place.threads >= grid.threads.len();
        if sweep.repeats.iter().any(outside) {
            return Err(no("a cell is outside of its grid".into()).into());
        }
        Ok(sweep)
    }

    /// Writes it. What had the name before stays until all of it is written.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }

    /// What differs from `here` in a way that makes figures no match for those of this sweep; `None` if nothing does.
    pub fn other_machine(&self, here: &Environment) -> Option<String> {
        let then = &self.environment;
        let differs = [
            ("the processor", then.cpu != here.cpu || then.processors != here.processors),
            ("the memory", then.memory_bytes != here.memory_bytes),
            ("the kernel", then.kernel != here.kernel),
            ("the file system", then.file_system != here.file_system || then.device != here.device),
        ];
        differs.iter().find(|(_, differs)| *differs).map(|(what, _)| (*what).to_owned())
    }

    /// Cells that were run.
    pub fn cells(&self) -> usize {
        let places: std::collections::BTreeSet<Place> = self.repeats.iter().map(|r| r.place).collect();
        places.len()
    }

    /// Runs that gave a wrong answer, an error, or died of something else than too little memory: side, cell and how.
    pub fn failures(&self) -> Vec<(&str, Place, &Died)> {
        let mut failures = Vec::new();
        for repeat in &self.repeats {
            for (side, result) in self.settings.sides.iter().zip(&repeat.sides) {
                if let Err(died @ (Died::Failed(_) | Died::Silent(_))) = result {
                    failures.push((side.as_str(), repeat.place, died));
                }
            }
        }
        failures
    }
}

impl Settings {
    /// Whether they can be run at all.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let grid = &self.grid;
        let sizes = grid.sizes.iter().all(|size| (0.001..=1000.0).contains(size));
        if grid.is_empty() || !sizes || !grid.sizes.is_sorted_by(|a, b| a < b) {
            return Err("sizes are multiples of memory from 0.001 to 1000, each given once".into());
        }
        let threads = grid.threads.iter().all(|threads| (1..=1024).contains(threads));
        if !threads || !grid.threads.is_sorted_by(|a, b| a < b) {
            return Err("threads are numbers from 1 to 1024, each given once".into());
        }
        if self.sides[0] == self.sides[1] {
            return Err(format!("two different sides are needed, not {} twice", self.sides[0]));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::grid::tests::repeat;
    use super::*;

    pub(in crate::crossover) fn settings() -> Settings {
        Settings {
            workload: crate::workload::find("get-txn").unwrap(),
            sides: ["bifold-mmap".into(), "bifold-pool".into()],
            memory: 256 << 20,
            grid: Grid { sizes: vec![0.5, 1.0, 2.0, 8.0], threads: vec![1, 8, 64] },
            keys: Sizes::Fixed(16),
            values: Sizes::Fixed(100),
            seed: 1,
            warmup: 1.0,
            duration: 2.0,
        }
    }

    pub(in crate::crossover) fn sweep(repeats: Vec<Repeat>) -> Sweep {
        Sweep { repeats, ended: Ended::Budget, ..Sweep::new(settings(), Environment::default()) }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.json");
        let mut died = repeat(1, 2, 1.0);
        died.sides = [Err(Died::Nothing), Err(Died::ForMemory)];
        let sweep = sweep(vec![repeat(0, 0, 2.0), died]);
        sweep.write(&file).unwrap();
        assert_eq!(Sweep::read(&file).unwrap(), sweep);
        assert_eq!((sweep.cells(), sweep.failures().len()), (2, 0));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("\"version\": 2", "\"version\": 1", 1)).unwrap();
        assert_eq!(Sweep::read(&file).unwrap(), sweep, "the version before is read, and becomes this one");
        for (from, to, wanted) in [
            ("\"crossover\"", "\"compare\"", "it says that it is one of `compare`"),
            ("\"version\": 2", "\"version\": 99", "of version 99, and this program reads versions 1 to 2"),
            ("\"size\": 1", "\"size\": 4", "outside of its grid"),
            ("8.0\n", "1.0\n", "sizes are"),
            ("{", "", "no sweep"),
        ] {
            std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
            let error = Sweep::read(&file).unwrap_err().to_string();
            assert!(error.contains(wanted), "{to}: {error}");
        }
        assert!(Sweep::read(&dir.path().join("none")).is_err());
    }

    #[test]
    fn figures_of_another_machine_are_no_match() {
        let sweep = sweep(Vec::new());
        assert_eq!(sweep.other_machine(&Environment::default()), None);
        let other = Environment { processors: 64, ..Environment::default() };
        assert_eq!(sweep.other_machine(&other).as_deref(), Some("the processor"));
    }

    #[test]
    fn sizes_are_multiples_of_memory() {
        let settings = settings();
        assert_eq!(settings.data(1).bytes() >> 20, 255);
        assert_eq!(settings.data(3).entries / settings.data(1).entries, 8);
        assert_eq!(settings.setup(0).0.cache_bytes, settings.setup(3).0.cache_bytes);
        assert_eq!(settings.label(Place { size: 0, threads: 0 }), "0.5x memory, 1 thread");
        assert!(!has_threads(&crate::workload::find("load-sorted").unwrap()));
        assert!(has_threads(&settings.workload));
    }
}
