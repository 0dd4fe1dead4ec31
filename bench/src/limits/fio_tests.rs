//! Whether our loop and `fio`'s find the same disk: the same file, read in turn.

use super::disk::Disk;
use super::engine::Engine;
use super::file::{DataFile, PAGE};
use super::probe::Probe;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

/// Time of one run of either.
const TIME: Duration = Duration::from_millis(400);
/// How far the medians may be from each other.
const AGREEMENT: f64 = 0.15;

/// Reads a second that `fio` does at `depth`, or words if it cannot.
fn fio(data: &DataFile, depth: usize, seed: u64) -> Result<f64, String> {
    // The file has no name, but while this process lives it has this one.
    let file = format!("/proc/{}/fd/{}", std::process::id(), data.buffered.as_raw_fd());
    let output = Command::new("fio")
        .args(["--name=limits", "--rw=randread", "--direct=1", "--ioengine=io_uring", "--norandommap"])
        .args(["--time_based", "--output-format=json", "--allow_file_create=0", "--registerfiles=1"])
        .arg(format!("--filename={file}"))
        .arg(format!("--size={}", data.bytes))
        .arg(format!("--bs={PAGE}"))
        .arg(format!("--iodepth={depth}"))
        .arg(format!("--runtime={}ms", TIME.as_millis()))
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

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn random_reads_agree_with_fio() {
    if let Err(error) = Command::new("fio").arg("--version").output() {
        return println!("skipped: no fio: {error}");
    }
    let engine = Engine::choose();
    if let Engine::Threads(why) = &engine {
        return println!("skipped: no io_uring: {why}");
    }
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).or_else(|_| tempfile::tempdir()).unwrap();
    let data = match DataFile::create(dir.path(), 256 << 20) {
        Ok(data) => data,
        Err(error) => return println!("skipped: {error}"),
    };
    if let Err(error) = data.direct() {
        return println!("skipped: {error}");
    }
    for depth in [1, 16, 64] {
        let mut disk = Disk::random_reads(&data, &engine, depth).unwrap();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // A disk that others use needs more rounds, and so gets them, before it is said that the two disagree.
        for round in 1..=21 {
            let ask = |theirs: &mut Vec<f64>| fio(&data, depth, round).map(|rate| theirs.push(rate));
            let asked = if round % 2 == 0 { ask(&mut theirs) } else { Ok(()) };
            ours.push(disk.sample(TIME).unwrap());
            let asked = asked.and_then(|()| if round % 2 == 1 { ask(&mut theirs) } else { Ok(()) });
            if let Err(why) = asked {
                return println!("skipped: {why}");
            }
            let apart = (median(&ours) / median(&theirs) - 1.0).abs();
            if round >= 5 && apart <= AGREEMENT {
                break;
            }
            assert!(round < 21, "depth {depth}: ours {ours:.0?}, fio's {theirs:.0?}");
        }
        let (ours, rounds, theirs) = (median(&ours), ours.len(), median(&theirs));
        println!("depth {depth}: ours {ours:.0}, fio's {theirs:.0} reads/s, {rounds} rounds each");
    }
}
