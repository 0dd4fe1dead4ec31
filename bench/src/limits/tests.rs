//! Every figure at a tiny size, and that what is counted is what is done. No time is asserted but that it is one.

use super::disk::Disk;
use super::engine::{Direction, Engine, Job};
use super::faults::{AnonymousFault, HardFault, SoftFault, Touched};
use super::file::{DataFile, PAGE, PIECE, is_stamped};
use super::map::Pages;
use super::pread::{Absent, Resident};
use super::probe::Probe;
use super::{Limits, Options, catalog};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

const BRIEF: Duration = Duration::from_millis(2);

fn options(dir: &Path) -> Options {
    Options {
        dir: dir.to_owned(),
        file_size: 1 << 20,
        seconds: 0.01,
        only: Vec::new(),
        max_memory: Some(4 << 20),
        threads: false,
        json: None,
    }
}

/// A directory on a real disk, where the build is; the system's for temporary files may be in memory.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).or_else(|_| tempfile::tempdir()).unwrap()
}

fn data(pieces: usize) -> Rc<DataFile> {
    Rc::new(DataFile::create(dir().path(), (pieces * PIECE) as u64).unwrap())
}

fn engines() -> Vec<Engine> {
    let mut engines = vec![Engine::Threads("asked for by the test".into())];
    match Engine::choose() {
        Engine::Ring => engines.push(Engine::Ring),
        Engine::Threads(why) => println!("skipped: no io_uring: {why}"),
    }
    engines
}

fn has_direct(data: &DataFile) -> bool {
    let direct = data.direct();
    if let Err(why) = &direct {
        println!("skipped: {why}");
    }
    direct.is_ok()
}

#[test]
fn every_figure_is_had_or_its_absence_is_explained() {
    let dir = dir();
    let mut calls = Vec::new();
    let limits = Limits::measure(&options(dir.path()), |progress| {
        calls.push((progress.name.to_owned(), progress.done));
    })
    .unwrap();
    for spec in &catalog::ALL {
        let Some(figure) = limits.get(spec.name) else {
            let missing = limits.missing.iter().find(|missing| missing.name == spec.name).unwrap();
            println!("skipped: {}: {}", spec.name, missing.reason);
            assert!(!missing.reason.is_empty());
            continue;
        };
        assert!(figure.least > 0.0 && figure.least <= figure.median && figure.median <= figure.most);
        assert!(figure.most.is_finite(), "{figure:?}");
        assert_eq!(figure.unit, spec.unit);
        assert!(!figure.note.is_empty() && !spec.meaning(figure.median).is_empty());
    }
    // None is left out for a reason that every machine has: these need nothing but a file and memory.
    for name in ["sync-overwrite", "sync-append", "pread-resident", "fault-soft-around", "latency-l1-4k"] {
        assert!(limits.get(name).is_some(), "{name}");
    }
    assert_eq!(calls.len(), catalog::ALL.len() * 5 + 2);
    assert!(calls.is_sorted_by_key(|(_, done)| *done));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files were left behind");
}

#[test]
fn a_disk_of_memory_has_no_figures_of_a_disk() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        return println!("skipped: no /dev/shm");
    };
    let only = ["read-random-1", "pread", "fault-hard"].map(String::from).to_vec();
    let limits = Limits::measure(&Options { only, ..options(dir.path()) }, |_| ()).unwrap();
    let missing: Vec<_> = limits.missing.iter().map(|missing| missing.name.as_str()).collect();
    assert_eq!(missing, ["read-random-1", "pread-absent", "fault-hard"]);
    assert!(limits.missing.iter().all(|missing| missing.reason.contains("in memory")));
}

#[test]
fn figures_survive_json() {
    let dir = dir();
    let options = Options { only: vec!["latency-l1".into(), "sync".into()], ..options(dir.path()) };
    let limits = Limits::measure(&options, |_| ()).unwrap();
    let text = serde_json::to_string(&limits).unwrap();
    let read: Limits = serde_json::from_str(&text).unwrap();
    assert_eq!(read.figures.len() + read.missing.len(), 4);
    assert_eq!(read.file_bytes, 0, "no figure needs a file");
    for (figure, read) in limits.figures.iter().zip(&read.figures) {
        assert_eq!((&figure.name, &figure.note), (&read.name, &read.note));
    }
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let dir = dir();
    let refused = |options: Options| Limits::measure(&options, |_| ()).unwrap_err().to_string();
    let words = refused(Options { file_size: 1 << 60, ..options(dir.path()) });
    assert!(words.contains("--file-size"), "{words}");
    let words = refused(Options { file_size: u64::MAX, ..options(dir.path()) });
    assert!(words.contains("--file-size"), "{words}");
    let words = refused(Options { only: vec!["speed".into()], ..options(dir.path()) });
    assert!(words.contains("speed"), "{words}");
    let words = refused(Options { dir: PathBuf::from("/nonexistent/directory"), ..options(dir.path()) });
    assert!(words.contains("/nonexistent/directory"), "{words}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_depth_that_is_asked_for_is_reached() {
    let data = data(2);
    if !has_direct(&data) {
        return;
    }
    for depth in [1, 2, 7, 128] {
        let mut ring = match Engine::choose() {
            engine @ Engine::Ring => Disk::random_reads(&data, &engine, depth).unwrap(),
            Engine::Threads(why) => return println!("skipped: no io_uring: {why}"),
        };
        assert!(ring.sample(BRIEF).unwrap() > 0.0);
        assert_eq!(ring.peak, depth);
        assert!(!ring.note().contains("no more than"));
    }
    // Threads reach it if they wait at one time; how many do is up to the scheduler, but never more.
    let engine = Engine::Threads(String::new());
    let mut threads = Disk::random_reads(&data, &engine, 4).unwrap();
    threads.sample(BRIEF).unwrap();
    assert!((1..=4).contains(&threads.peak));
}

#[test]
fn reads_count_what_they_did_and_check_it() {
    let data = data(2);
    if !has_direct(&data) {
        return;
    }
    for engine in engines() {
        let job = Job::random_reads(&data, 8).unwrap();
        let mut prepared = engine.prepare(&job).unwrap();
        let done = prepared.run(&job, Duration::ZERO).unwrap();
        assert!(done.pieces >= 8, "{engine:?}: a depth of 8 was not gone through");
        // The second page of the second piece is spoilt: reads in order come by it, and say so, each time.
        let offset = (PIECE + PAGE) as u64;
        data.buffered.write_all_at(&[0xEE; 8], offset).unwrap();
        data.buffered.sync_data().unwrap();
        let job = Job::in_order(&data, Direction::Read, 2).unwrap();
        let mut prepared = engine.prepare(&job).unwrap();
        for _ in 0..2 {
            let error = prepared.run(&job, BRIEF).unwrap_err().to_string();
            assert!(error.contains("not what was written"), "{engine:?}: {error}");
        }
        // Writes in order put the right bytes there again, in all pages.
        let job = Job::in_order(&data, Direction::Write, 2).unwrap();
        let done = engine.prepare(&job).unwrap().run(&job, Duration::ZERO).unwrap();
        assert!(done.pieces >= 2, "{engine:?}: {done:?}");
        data.evict().unwrap();
        let mut bytes = vec![0; 2 * PIECE];
        data.buffered.read_exact_at(&mut bytes, 0).unwrap();
        assert!(is_stamped(&bytes, 0), "{engine:?}");
        let pattern = super::file::incompressible();
        let inside = |n: usize| &bytes[n * PAGE + 8..(n + 1) * PAGE - 8];
        for page in 0..2 * PIECE / PAGE {
            let at = page * PAGE % PIECE;
            assert_eq!(inside(page), &pattern[at + 8..at + PAGE - 8], "{engine:?}, page {page}");
        }
    }
}

#[test]
fn a_wrong_page_ends_the_run_and_not_only_its_figure() {
    let data = data(1);
    let mut wrong = data.pages() - 1;
    wrong *= PAGE as u64;
    data.buffered.write_all_at(&[0xEE; 8], wrong).unwrap();
    let mut probes: Vec<Box<dyn Probe>> =
        vec![Box::new(Resident::new(&data)), Box::new(SoftFault::new(&data, Touched::InOrder).unwrap())];
    if data.must_leave().is_ok() {
        probes.push(Box::new(Absent::new(&data).unwrap()));
        probes.push(Box::new(HardFault::new(&data).unwrap()));
    } else {
        println!(
            "skipped, for pages that are not in memory: the file does not leave it{}",
            data.stays_note()
        );
    }
    for mut probe in probes {
        // Long enough to come by all pages: a time that is not reached, as the error comes first.
        let error = probe.sample(Duration::from_mins(1)).unwrap_err();
        assert!(error.to_string().contains("not what was written"), "{error}");
    }
}

#[test]
fn a_file_cut_short_is_an_error() {
    let data = data(1);
    if !has_direct(&data) {
        return;
    }
    for engine in engines() {
        data.buffered.set_len(PIECE as u64 / 2).unwrap();
        let job = Job::in_order(&data, Direction::Read, 3).unwrap();
        let mut prepared = engine.prepare(&job).unwrap();
        let error = prepared.run(&job, BRIEF).unwrap_err().to_string();
        assert!(error.contains("bytes of"), "{engine:?}: {error}");
    }
}

#[test]
fn soft_faults_are_one_a_touch_of_memory_and_fewer_where_neighbours_come_along() {
    let mut memory = AnonymousFault::new(Pages::Small, 2 << 20).unwrap();
    memory.sample(BRIEF).unwrap();
    let (touches, faults) = memory.counts();
    assert!(faults >= touches, "{faults} faults in {touches} touches");

    let data = data(2);
    for touched in [Touched::WithNeighbours, Touched::Alone, Touched::InOrder] {
        let mut probe = SoftFault::new(&data, touched).unwrap();
        probe.sample(BRIEF).unwrap();
        let (touches, soft, hard) = probe.counts();
        println!("{touched:?}: {touches} touches, {soft} soft and {hard} hard faults");
        assert!(soft > 0 && touches > 0, "{touched:?}");
        assert_eq!(hard, 0, "{touched:?}: pages that were brought into the page cache were not there");
        if touched == Touched::InOrder {
            assert!(soft < touches, "the kernel mapped no neighbours: {soft} faults in {touches} touches");
        }
    }
}

#[test]
fn pages_that_were_put_out_are_read_again() {
    let data = data(2);
    if data.stays != Some(0) {
        return println!("skipped: the file does not leave memory here{}", data.stays_note());
    }
    data.evict().unwrap();
    assert_eq!(data.resident_percent().unwrap(), Some(0));
    assert_eq!(data.resident_percent().unwrap(), Some(100));
    let mut fault = HardFault::new(&data).unwrap();
    fault.sample(BRIEF).unwrap();
    let (touches, hard) = fault.counts();
    assert!(touches >= 16 && hard * 10 >= touches * 9, "{hard} hard faults in {touches} touches");
    let mut absent = Absent::new(&data).unwrap();
    assert!(absent.sample(BRIEF).unwrap() > 0.0);
    assert!(absent.reads > 0);
    data.evict().unwrap();
    assert_eq!(data.resident_percent().unwrap(), Some(0), "a probe left the file mapped or busy");
}
