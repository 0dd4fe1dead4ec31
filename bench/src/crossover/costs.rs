//! What loading and running take, in seconds and bytes on disk: a guess at first, then what was seen.
#![forbid(unsafe_code)]

use super::document::Settings;
use crate::workload::Work;

/// Bytes of data that are loaded in a second, of the slower stores.
const LOADED: f64 = 60e6;
/// Bytes of data that are read in a second to fill the memory before a run.
const READ: f64 = 200e6;
/// Seconds to start a child, open its store and close it.
const START: f64 = 0.3;
/// Bytes of files for a byte of data, at the worst.
const SPACE: f64 = 3.0;
/// How much of a new observation is taken for the truth.
const TRUST: f64 = 0.5;

/// What things take here, compared with the guess.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Costs {
    load: f64,
    run: f64,
    seen: (bool, bool),
}

impl Costs {
    /// The guess.
    pub(super) const fn guess() -> Self {
        Self { load: 1.0, run: 1.0, seen: (false, false) }
    }

    fn guessed_load(settings: &Settings, size: usize) -> f64 {
        2.0 * (START + settings.data(size).bytes() as f64 / LOADED)
    }

    fn guessed_run(settings: &Settings, size: usize) -> f64 {
        if matches!(settings.workload.work, Work::Load { .. }) {
            return Self::guessed_load(settings, size);
        }
        let read = settings.data(size).bytes() as f64 / READ;
        2.0 * (START + read + settings.warmup + settings.duration)
    }

    /// Seconds to load both sides of a size.
    pub(super) fn load(&self, settings: &Settings, size: usize) -> f64 {
        self.load * Self::guessed_load(settings, size)
    }

    /// Seconds of one repeat.
    pub(super) fn run(&self, settings: &Settings, size: usize) -> f64 {
        self.run * Self::guessed_run(settings, size)
    }

    /// Both sides of a size took so many seconds to load.
    pub(super) fn loaded(&mut self, settings: &Settings, size: usize, seconds: f64) {
        let factor = seconds / Self::guessed_load(settings, size);
        self.load = if self.seen.0 { self.load + TRUST * (factor - self.load) } else { factor };
        self.seen.0 = true;
    }

    /// A repeat took so many seconds.
    pub(super) fn ran(&mut self, settings: &Settings, size: usize, seconds: f64) {
        let factor = seconds / Self::guessed_run(settings, size);
        self.run = if self.seen.1 { self.run + TRUST * (factor - self.run) } else { factor };
        self.seen.1 = true;
    }

    /// Bytes on disk that both sides of a size may take.
    pub(super) fn disk(settings: &Settings, size: usize) -> u64 {
        (2.0 * settings.data(size).bytes() as f64 * SPACE) as u64 + (64 << 20)
    }
}

/// A time in words.
pub(super) fn time(seconds: f64) -> String {
    match seconds.clamp(0.0, 1e9) {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} minutes", s / 60.0),
        s => format!("{:.1} hours", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::settings;
    use super::*;

    #[test]
    fn what_was_seen_replaces_the_guess() {
        let settings = settings();
        let mut costs = Costs::guess();
        let (load, run) = (costs.load(&settings, 1), costs.run(&settings, 1));
        assert!(costs.load(&settings, 3) > 7.0 * load && costs.run(&settings, 3) > run);
        costs.loaded(&settings, 1, load / 10.0);
        costs.ran(&settings, 0, costs.run(&settings, 0) * 2.0);
        assert!((costs.load(&settings, 1) - load / 10.0).abs() < 1e-9);
        assert!((costs.run(&settings, 1) - run * 2.0).abs() < 1e-9);
        costs.loaded(&settings, 1, load);
        assert!(costs.load(&settings, 1) > load / 10.0 && costs.load(&settings, 1) < load);
        assert!(Costs::disk(&settings, 3) > 12 << 30 && Costs::disk(&settings, 0) < 1 << 30);
        assert_eq!([time(5.0), time(600.0), time(9000.0)], ["5 s", "10 minutes", "2.5 hours"]);
    }
}
