//! The memory budget is a promise: measured as this process's resident memory, so this file has one test.

#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold_page_source::testing::pages::Rng;
use bifold_page_source::{FileSystem, OsFs, PageSize, PageSource, Visit};
use bifold_pool::{Options, PoolPin};
use common::{fill, look, open};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const BUDGET: u64 = 64 << 20;

/// Anonymous resident memory of this process in bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[test]
fn resident_memory_stays_within_the_budget() {
    if resident().is_none() {
        println!("skipped: no RssAnon in /proc/self/status");
        return;
    }
    let (size, dir) = (PageSize::DEFAULT, tempfile::tempdir().unwrap());
    let file = OsFs.create_unnamed(&dir.path().join("file")).unwrap();
    let pages = fill(&*file, size, 3 * BUDGET / size.bytes() as u64);
    let before = resident().unwrap_or(0);
    let source = open(file, size, &Options::new().cache_size(BUDGET));
    let (peak, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(resident().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let work = |thread: u64| {
            let (source, pages) = (&source, &pages);
            move || {
                let (mut rng, mut held) = (Rng::new(thread), Vec::<PoolPin<'_>>::new());
                if thread == 0 {
                    for part in pages.chunks(64) {
                        source.prefetch(part);
                        for at in part {
                            look(source, *at);
                        }
                    }
                }
                for _ in 0..3000 {
                    let at = pages[rng.below(pages.len() as u64) as usize];
                    look(source, at);
                    if held.len() < 200 {
                        held.push(source.visit().hold(at).unwrap());
                    }
                }
                let batch: Vec<_> = (0..64).map(|_| pages[rng.below(pages.len() as u64) as usize]).collect();
                source.view_each(&batch, &mut |_, _| Ok(())).unwrap();
            }
        };
        let workers: Vec<_> = (0..16).map(|thread| s.spawn(work(thread))).collect();
        for worker in workers {
            worker.join().unwrap();
        }
        // The other thread may never have had its turn.
        peak.fetch_max(resident().unwrap_or(0), Ordering::Relaxed);
        done.store(true, Ordering::Relaxed);
    });
    let (stats, grown) = (source.stats(), peak.load(Ordering::Relaxed).saturating_sub(before));
    assert_eq!(stats.bytes_copied_out, 0, "what users hold beyond half the frames would be theirs");
    assert!(stats.used_bytes <= BUDGET && stats.used_bytes > BUDGET / 2, "{stats:?}");
    println!("{} KiB resident of a budget of {} KiB", grown >> 10, BUDGET >> 10);
    assert!(grown <= BUDGET + BUDGET / 20, "{} KiB of {} KiB", grown >> 10, BUDGET >> 10);
    assert!(grown > BUDGET / 2, "the cache was filled, or this measures nothing");
    drop(source);
    let (before, file) = (resident().unwrap_or(0), OsFs.create_unnamed(&dir.path().join("file")).unwrap());
    let source = open(file, size, &Options::new().cache_size(BUDGET).populate(true));
    let (used, grown) = (source.stats().used_bytes, resident().unwrap_or(0).saturating_sub(before));
    assert!(used <= BUDGET && used > BUDGET / 10 * 9, "{used}: taken at opening");
    assert!(
        grown <= BUDGET + BUDGET / 20 && grown > BUDGET / 4 * 3,
        "{} KiB of {} KiB",
        grown >> 10,
        BUDGET >> 10
    );
}
