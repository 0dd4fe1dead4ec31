//! The buffer pool's memory budget, seen from outside: resident memory of this process while 16 threads read at
//! random, another scans everything, and values are held. In a process of its own, as it measures the process.

#![expect(clippy::unwrap_used, reason = "a test")]

use bifold::pool::{Database, Options, Value};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const MIB: u64 = 1 << 20;
const CACHE: u64 = 32 * MIB;
const DELTA: u64 = 4 * MIB;
const ENTRIES: u64 = 1_000_000;
/// The file that a child process is asked to build, so that building it leaves no trace in this process.
const BUILD: &str = "BIFOLD_TEST_BUILD";

fn key(n: u64) -> [u8; 16] {
    let mut key = [b'k'; 16];
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn value(n: u64) -> [u8; 100] {
    let mut value = [0; 100];
    for (i, chunk) in value.chunks_mut(8).enumerate() {
        let word = (n + i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    value
}

fn build(path: &Path) {
    let db = Database::builder().delta_size(512 * MIB).open(path).unwrap();
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    for n in 0..ENTRIES {
        table.insert(key(n), value(n)).unwrap();
    }
    txn.commit().unwrap();
    db.close().unwrap();
}

fn open(path: &Path) -> Database {
    let options = Options::default().cache_size(CACHE);
    Database::builder().delta_size(DELTA).backend(options).open(path).unwrap()
}

/// Anonymous memory of this process that is resident, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "builds_the_file_it_is_asked_for"])
        .env(BUILD, &path)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    (dir, path)
}

#[test]
fn builds_the_file_it_is_asked_for() {
    if let Some(path) = std::env::var_os(BUILD) {
        build(Path::new(&path));
    }
}

#[test]
fn memory_stays_within_the_budget_and_a_million_values_can_be_held() {
    if std::env::var_os(BUILD).is_some() {
        return;
    }
    let (_dir, path) = file();
    stays_within_budget(&path);
    a_million_values(&path);
}

fn stays_within_budget(path: &Path) {
    let before = resident();
    let db = open(path);
    let stop = AtomicBool::new(false);
    let peak = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..16u64 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let txn = db.read().unwrap();
                let table = txn.table("t").unwrap();
                let mut held: Vec<Value<'_>> = Vec::new();
                let mut n = thread;
                while !stop.load(Ordering::Relaxed) {
                    n = (n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
                        % ENTRIES;
                    let got = table.get(key(n)).unwrap().unwrap();
                    assert_eq!(&got[..], value(n), "entry {n}");
                    // 16 x 64 values: an eighth of the frames.
                    if held.len() == 64 {
                        held.swap_remove(n as usize % 64);
                    }
                    held.push(got);
                }
            });
        }
        scope.spawn(|| {
            let txn = db.write().unwrap();
            let table = txn.table("other").unwrap();
            (0..2000u64).for_each(|n| table.insert(key(n * 31), value(n)).unwrap());
            txn.commit().unwrap();
            let txn = db.read().unwrap();
            let mut cursor = txn.table("t").unwrap().cursor();
            let mut count = 0;
            while cursor.next().unwrap().is_some() {
                count += 1;
                if count % 10_000 == 0 {
                    peak.fetch_max(resident(), Ordering::Relaxed);
                }
            }
            assert_eq!(count, ENTRIES);
            stop.store(true, Ordering::Relaxed);
        });
    });
    let stats = db.stats();
    let copies = stats.source.bytes_copied_out;
    let used = peak.load(Ordering::Relaxed).saturating_sub(before);
    let bound = CACHE + CACHE / 20 + DELTA + copies;
    println!("resident {used} bytes of {bound}, {copies} of them copies");
    assert!(used <= bound, "{used} bytes resident, {bound} allowed ({copies} for copies)");
    assert!(used > CACHE / 2, "the cache was hardly used: {used} bytes");
}

fn a_million_values(path: &Path) {
    let options = Options::default().cache_size(16 * MIB);
    let db = Database::builder().read_only().backend(options).open(path).unwrap();
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    let values: Vec<Value<'_>> = table.iter().map(|entry| entry.unwrap().1).collect();
    assert_eq!(values.len() as u64, ENTRIES);
    // Everything else goes on beside them.
    for n in (0..ENTRIES).step_by(997) {
        assert_eq!(&table.get(key(n)).unwrap().unwrap()[..], value(n));
    }
    assert!(values.iter().zip(0..).all(|(got, n)| got[..] == value(n)));
}
