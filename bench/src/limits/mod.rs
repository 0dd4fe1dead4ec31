//! What this machine can do at all, in the units of the other reports, which print their numbers as a share of it.
//!
//! Each figure is the median of five short repeats, with the least and the most of them. Figures of a group are taken
//! in turn. All that is read from the disk is checked against what was written; the files have no names, so they are
//! gone however the process ends. Nothing here needs a privilege: a file is put out of the page cache by advice.

mod caches;
mod catalog;
mod disk;
mod engine;
mod faults;
mod figure;
pub(crate) mod file;
pub(crate) mod map;
mod measure;
mod memory;
mod options;
mod permutation;
mod pread;
mod probe;
mod report;
mod ring;
pub(crate) mod sync;
#[cfg(test)]
mod tests;

pub use figure::Figure;
pub use options::Options;

use crate::Result;
use crate::report::write_json;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

/// All that was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the file that was read; 0 if no figure needed one.
    pub file_bytes: u64,
    /// What kept several reads under way: `io_uring`, or threads, and why.
    pub engine: String,
    /// Seconds that each figure was given.
    pub seconds: f64,
    /// The figures, in the order of the table.
    pub figures: Vec<Figure>,
    /// Figures that were asked for and could not be had.
    pub missing: Vec<Missing>,
}

/// A figure that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// Why, in words.
    pub reason: String,
}

/// How far a measurement is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'p> {
    /// What is being done: the name of a figure, mostly.
    pub name: &'p str,
    /// Repeats that are done.
    pub done: usize,
    /// Repeats in all.
    pub of: usize,
}

impl Limits {
    /// Measures what `options` ask for; `progress` is told before each repeat.
    ///
    /// A figure that cannot be had here (no `O_DIRECT`, no huge pages) is among [`Limits::missing`].
    ///
    /// # Errors
    /// Words if a figure does not exist or the disk has not the room; I/O errors of writing the file; bytes that are
    /// not those that were written.
    pub fn measure(options: &Options, mut progress: impl FnMut(Progress<'_>)) -> Result<Self> {
        measure::measure(options, &mut progress)
    }

    /// The figure of that name, if it was measured.
    pub fn get(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// The random reads of 4 KiB with as many under way as the nearest depth measured that is not below `depth`; the
    /// deepest if none is.
    pub fn random_reads(&self, depth: usize) -> Option<&Figure> {
        let depths = self.figures.iter().filter_map(|figure| {
            let depth: usize = figure.name.strip_prefix("read-random-")?.parse().ok()?;
            Some((depth, figure))
        });
        let (above, below): (Vec<_>, Vec<_>) = depths.partition(|(measured, _)| *measured >= depth);
        let nearest = above.into_iter().min_by_key(|(measured, _)| *measured);
        nearest.or_else(|| below.into_iter().max_by_key(|(measured, _)| *measured)).map(|(_, figure)| figure)
    }

    /// The table that the program prints: figures in groups, and what each means for a page of a B-tree.
    pub fn table(&self) -> String {
        report::table(self)
    }
}

/// Measures, prints the table, and writes the figures as JSON if told to.
///
/// # Errors
/// See [`Limits::measure`]; I/O errors of writing the JSON.
pub fn run(options: &Options) -> Result<()> {
    let limits = measure_with_bar(options)?;
    println!(
        "What this machine can do: a file of {} MiB in {}, {} s a figure in 5 repeats, by {}",
        limits.file_bytes >> 20,
        options.dir.display(),
        limits.seconds,
        limits.engine
    );
    println!("{}", limits.table());
    if let Some(path) = &options.json {
        write_json(path, &limits)?;
    }
    Ok(())
}

/// Measures, and shows how far it is.
///
/// # Errors
/// See [`Limits::measure`].
pub fn measure_with_bar(options: &Options) -> Result<Limits> {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let measured = Limits::measure(options, |progress| {
        bar.set_length(progress.of as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.name.to_owned());
    });
    bar.finish_and_clear();
    measured
}
