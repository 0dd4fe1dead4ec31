//! What `bifold-bench limits` may be told.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// The options of a run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The directory, which must be there, whose disk is measured. The files have no names, and go with the process
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Bytes of the file that is read; more than caches of the disk hold, for figures of the disk itself
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = crate::sizes::bytes)]
    pub file_size: u64,
    /// Seconds for each figure, shared by its five repeats
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    pub seconds: f64,
    /// Only these figures, by their names or by how those begin: read-random-8, read-random, latency
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub only: Vec<String>,
    /// The most memory that is taken for a figure; an eighth of what is available by default
    #[arg(long, value_name = "SIZE", value_parser = crate::sizes::bytes)]
    pub max_memory: Option<u64>,
    /// Keep a depth with as many threads of pread, instead of an io-uring
    #[arg(long)]
    pub threads: bool,
    /// Write all figures to this file, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if seconds > 0.0 && seconds <= 3600.0 { Ok(seconds) } else { Err("from more than 0 to 3600".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_and_bad_ones_refused() {
        assert_eq!(parse_seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "x", "3601"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
