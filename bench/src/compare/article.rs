//! The preset `article`: what every article on mmap argues about, on the reader's own machine.
//!
//! A database keeps a B-tree of three or four levels and goes down it once a query, in the page cache and beyond it. What
//! does each way to reach a page cost: system calls, bytes copied, page faults? And what does it cost to write through a
//! mapping and `msync` it, against `pwrite` and `fdatasync`?
#![forbid(unsafe_code)]

use super::options::Options;
use super::run::PartPlan;
use crate::Result;
use crate::cell::Source;
use crate::corpus::{Made, Random, Sizes};
use crate::limits::map::{WrittenMap, filled};
use crate::memory::Group;
use crate::report::{Article, Value, Written};
use crate::usage::Disk;
use crate::workload::find;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The limit of memory beyond which the second part goes.
const MEMORY: u64 = 64 << 20;
/// Bytes of data: enough for a tree of four levels.
const DATA: u64 = 256 << 20;
/// Bytes of the file that is written to.
const WRITTEN: u64 = 64 << 20;
/// Pages that are written before each sync, at random places.
const PAGES: u64 = 256;
/// Seconds of a warm-up and of a run, unless it is said.
const SECONDS: (f64, f64) = (1.0, 3.0);
/// How often.
const REPEATS: usize = 9;

/// In the page cache, and beyond it, a descent a query.
pub(super) fn parts(options: &Options) -> Result<Vec<PartPlan>> {
    let one = Made { entries: 1, keys: Sizes::Fixed(16), values: Sizes::Fixed(100), seed: options.seed };
    let source = Source::Made(Made { entries: DATA / one.bytes(), ..one });
    let pace = options.pace(1, SECONDS);
    let corpus = source.open()?;
    let mut parts = Vec::new();
    let inside = Options { memory: None, ..options.clone() };
    let mut plan = inside.part(&corpus, source.clone(), vec![find("get-txn")?], pace)?;
    plan.part.title = "a descent a query, in memory".into();
    parts.push(plan);
    let memory = options.memory.unwrap_or(MEMORY);
    match Group::create(memory) {
        Ok(_) => {
            let beyond = Options { memory: Some(memory), ..options.clone() };
            let mut plan = beyond.part(&corpus, source, vec![find("get-txn")?], pace)?;
            let times = DATA as f64 / memory as f64;
            plan.part.title = format!("a descent a query, with data {times:.0} times the memory");
            parts.push(plan);
        }
        Err(refused) => eprintln!("{refused}\nThe part on data larger than memory is left out."),
    }
    Ok(parts)
}

/// What writing costs either way, in files without names in `dir`.
///
/// # Errors
/// I/O errors.
pub(super) fn article(dir: &Path) -> Result<Article> {
    let mut random = Random::new(1);
    let disk = Disk::of(dir).ok();
    let (mut mapped, mut called) = (Side::default(), Side::default());
    let mut for_calls = filled(dir, WRITTEN)?;
    let mut map = WrittenMap::new(dir, WRITTEN)?;
    for repeat in 0..REPEATS {
        let pages: Vec<u64> = (0..PAGES).map(|_| random.below(WRITTEN / 4096)).collect();
        let bytes = [repeat as u8; 4096];
        for turn in 0..2 {
            // Another side goes first each time.
            if (turn + repeat) % 2 == 0 {
                let mut write = |map: &mut WrittenMap| pages.iter().all(|page| map.write(*page, &bytes));
                mapped.time(disk.as_ref(), &mut map, &mut write, &|map| map.sync())?;
            } else {
                let mut write =
                    |file: &mut File| pages.iter().all(|page| file.write_all_at(&bytes, page * 4096).is_ok());
                called.time(disk.as_ref(), &mut for_calls, &mut write, &|file| Ok(file.sync_data()?))?;
            }
        }
    }
    Ok(Article { pages: PAGES, file_bytes: WRITTEN, mapped: mapped.written(), called: called.written() })
}

/// Times of one way to write.
#[derive(Default)]
struct Side {
    write: Vec<Duration>,
    sync: Vec<Duration>,
    disk: Vec<f64>,
}

impl Side {
    fn time<T>(
        &mut self,
        disk: Option<&Disk>,
        to: &mut T,
        write: &mut dyn FnMut(&mut T) -> bool,
        sync: &dyn Fn(&T) -> Result<()>,
    ) -> Result<()> {
        let before = disk.and_then(|disk| disk.now().ok());
        let begun = Instant::now();
        if !write(to) {
            return Err("a page could not be written".into());
        }
        let written = begun.elapsed();
        sync(to)?;
        self.write.push(written);
        self.sync.push(begun.elapsed().saturating_sub(written));
        if let Some((now, before)) = disk.and_then(|disk| disk.now().ok()).zip(before) {
            self.disk.push(now.since(&before).written_bytes as f64 / PAGES as f64);
        }
        Ok(())
    }

    fn written(&self) -> Written {
        let micros = |times: &[Duration]| {
            let each = times.iter().map(|time| time.as_secs_f64() * 1e6 / PAGES as f64);
            Value::of(each).map_or(f64::NAN, |value| value.median)
        };
        Written {
            write_us: micros(&self.write),
            sync_us: micros(&self.sync),
            disk_bytes: Value::of(self.disk.iter().copied()).map(|value| value.median),
        }
    }
}
