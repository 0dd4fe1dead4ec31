//! What `bifold-bench crossover` may be told.
#![forbid(unsafe_code)]

use super::document::{Settings, has_threads};
use super::grid::Grid;
use crate::Result;
use crate::compare::choose_sides;
use crate::corpus::{KEY_LEAST, Sizes, VALUE_LEAST};
use crate::workload;
use std::path::PathBuf;

/// The options of a sweep.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What is done; `bifold-bench list` says what there is
    #[arg(long, default_value = "get-txn")]
    pub workload: String,
    /// The two sides
    #[arg(long, value_delimiter = ',', default_value = "mmap,pool")]
    pub sides: Vec<String>,
    /// Memory that each side's process has in all, page cache included: it runs in a memory cgroup
    #[arg(long, default_value = "256MiB", value_parser = crate::sizes::bytes)]
    pub memory: u64,
    /// Sizes of the data, as multiples of the memory
    #[arg(long, value_delimiter = ',', default_value = "0.25,0.5,0.75,1,1.5,2,4,8")]
    pub sizes: Vec<f64>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    pub threads: Vec<u64>,
    /// Bytes of a key: 16, 10-30 (each as often), or ~20 (exponential with this mean); at least 8
    #[arg(long, default_value = "16")]
    pub keys: Sizes,
    /// Bytes of a value, in the same way
    #[arg(long, default_value = "100")]
    pub values: Sizes,
    /// Seconds of each run before anything counts
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    pub warmup: f64,
    /// Seconds of each run that count
    #[arg(long, default_value_t = 1.5, value_parser = seconds)]
    pub duration: f64,
    /// Other data and choices for each
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long it may take, as 90s, 10m or 1.5h: it picks cells and repeats, and leaves out what does not fit
    #[arg(long, default_value = "10m", value_parser = budget)]
    pub budget: f64,
    /// Goes on with a sweep that was written by --json, with its settings; this budget is added to what it took
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "workload", "sides", "memory", "sizes", "threads", "keys", "values", "warmup", "duration", "seed"
        ]
    )]
    pub resume: Option<PathBuf>,
    /// Where a directory for the stores is made, and removed again; the current one by default
    #[arg(long, value_parser = crate::sizes::directory)]
    pub dir: Option<PathBuf>,
    /// Write all figures to this file, rewritten after every repeat; that of --resume by default
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the maps to this file, a page that opens in any browser
    #[arg(long)]
    pub html: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.01..=1e6).contains(&value) => Ok(value),
        Ok(_) => Err("not from 0.01 to 1000000".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// A time as `90s`, `10m`, `1.5h` or seconds, in seconds.
///
/// # Errors
/// What is wrong with it.
pub fn budget(text: &str) -> Result<f64, String> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim() {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("'{other}' is no unit: s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{text}' is no time"))?;
    let time = number * unit;
    if (1.0..=1e6).contains(&time) { Ok(time) } else { Err(format!("{text} is out of range")) }
}

impl Options {
    /// What is swept.
    ///
    /// # Errors
    /// What is wrong.
    pub fn settings(&self) -> Result<Settings> {
        let workload = workload::find(&self.workload)?;
        let sides = <[String; 2]>::try_from(choose_sides(&self.sides)?)
            .map_err(|sides| format!("a border lies between two sides, not {}", sides.len()))?;
        for (what, sizes, least) in [("--keys", self.keys, KEY_LEAST), ("--values", self.values, VALUE_LEAST)]
        {
            if let Sizes::Fixed(size) | Sizes::Uniform(size, _) = sizes
                && size < least
            {
                return Err(format!("{what} {sizes}: made ones have at least {least} bytes").into());
            }
        }
        let (mut sizes, mut threads) = (self.sizes.clone(), self.threads.clone());
        sizes.sort_unstable_by(f64::total_cmp);
        threads.sort_unstable();
        if !has_threads(&workload) {
            threads = vec![1];
        }
        let settings = Settings {
            workload,
            sides,
            memory: self.memory,
            grid: Grid { sizes, threads },
            keys: self.keys,
            values: self.values,
            seed: self.seed,
            warmup: self.warmup,
            duration: self.duration,
        };
        settings.check()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!([budget("90"), budget("90s"), budget("1.5m")], [Ok(90.0), Ok(90.0), Ok(90.0)]);
        assert_eq!([budget("10m"), budget("2h")], [Ok(600.0), Ok(7200.0)]);
        for bad in ["", "x", "5d", "0", "-5", "99999999", "1.2.3m"] {
            assert!(budget(bad).is_err(), "{bad}");
        }
    }
}
