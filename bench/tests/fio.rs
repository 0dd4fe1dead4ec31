//! Whether our loop of random reads and `fio`'s find the same disk. Alone in its process, as both need a processor.

use bifold_bench::limits::{Limits, Options};
use std::path::Path;
use std::process::Command;

/// Bytes of the file of either.
const FILE: u64 = 256 << 20;
/// How far the medians may be from each other.
const AGREEMENT: f64 = 0.15;
/// Rounds at least, and at most: a disk that others use needs more.
const ROUNDS: (u64, u64) = (5, 15);
/// Of the last ten seconds, the part in percent in which somebody waited for a processor: with more, the disk is not what
/// is measured.
const PRESSURE: f64 = 10.0;

/// Reads a second that `fio` does at `depth`, or words if it cannot.
fn fio(dir: &Path, depth: usize, seed: u64) -> Result<f64, String> {
    let output = Command::new("fio")
        .args(["--name=limits", "--rw=randread", "--direct=1", "--ioengine=io_uring", "--norandommap"])
        .args(["--time_based", "--output-format=json", "--registerfiles=1", "--bs=4096", "--runtime=400ms"])
        .arg(format!("--filename={}", dir.join("fio").display()))
        .arg(format!("--size={FILE}"))
        .arg(format!("--iodepth={depth}"))
        .arg(format!("--randseed={seed}"))
        .output()
        .map_err(|error| format!("no fio: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let json: serde_json::Value = text
        .find('{')
        .and_then(|begin| serde_json::from_str(&text[begin..]).ok())
        .ok_or_else(|| format!("fio said no figures: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let job = &json["jobs"][0];
    match (job["error"].as_i64(), job["read"]["iops"].as_f64()) {
        (Some(0), Some(rate)) if rate > 0.0 => Ok(rate),
        _ => Err(format!("fio failed: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn ours(dir: &Path, depth: usize) -> Result<f64, String> {
    let name = format!("read-random-{depth}");
    let options = Options {
        dir: dir.to_owned(),
        file_size: FILE,
        seconds: 0.5,
        only: vec![name.clone()],
        max_memory: None,
        threads: false,
        json: None,
    };
    let limits = Limits::measure(&options, |_| ()).map_err(|error| error.to_string())?;
    if !limits.engine.starts_with("io_uring") {
        return Err(limits.engine);
    }
    let figure = limits.get(&name).map(|figure| figure.median);
    figure.ok_or_else(|| format!("{:?}", limits.missing))
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How far the middle half of the rounds is spread, as a part of their median.
fn spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let quarter = sorted.len() / 4;
    (sorted[sorted.len() - 1 - quarter] - sorted[quarter]) / median(values)
}

/// The pressure on processors, if the kernel tells.
fn pressure() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    text.lines().next()?.split_once("avg10=")?.1.split(' ').next()?.parse().ok()
}

#[test]
fn random_reads_agree_with_fio() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).or_else(|_| tempfile::tempdir()).unwrap();
    for depth in [1, 16, 64] {
        let (mut own, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS.1 {
            let both = fio(dir.path(), depth, round).and_then(|rate| Ok((rate, ours(dir.path(), depth)?)));
            match both {
                Ok((rate, mine)) => (theirs.push(rate), own.push(mine)),
                Err(why) => return println!("skipped: {why}"),
            };
            let apart = (median(&own) / median(&theirs) - 1.0).abs();
            if round >= ROUNDS.0 && apart <= AGREEMENT {
                break;
            }
            if let Some(pressure) = pressure().filter(|pressure| *pressure > PRESSURE) {
                return println!("skipped: processors are busy, {pressure} % of the last ten seconds");
            }
            if round == ROUNDS.1 {
                // Whoever does not even agree with itself is measuring what others do to the disk.
                let unsteady = spread(&own).max(spread(&theirs));
                assert!(unsteady > AGREEMENT, "depth {depth}: ours {own:.0?}, fio's {theirs:.0?}");
                return println!("skipped: the disk is not steady, by {:.0} %", unsteady * 100.0);
            }
        }
        println!("depth {depth}: ours {:.0}, fio's {:.0} reads/s", median(&own), median(&theirs));
    }
}
