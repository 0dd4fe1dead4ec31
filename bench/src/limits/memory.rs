//! What memory does: copies of a page, and loads that each wait for the one before.
#![forbid(unsafe_code)]

use super::caches::Caches;
use super::file::PAGE;
use super::map::{Anonymous, HUGE, Pages};
use super::permutation::successor;
use super::probe::Probe;
use crate::Result;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Copies between two looks at the clock.
const COPIES: u64 = 256;
/// Loads between two looks at the clock.
const LOADS: u64 = 4096;

/// Where data lie before they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    L1,
    L2,
    L3,
    Dram,
}

impl Level {
    /// How many bytes, a power of two, are gone through to measure it, of `most` that may be had: half of a cache at
    /// most, so that whatever else is in it does not matter; and four times the last cache.
    pub(super) fn bytes(self, caches: &Caches, most: u64) -> u64 {
        let at_most = |bytes: u64| 1u64 << bytes.max(PAGE as u64).ilog2();
        let wanted = match self {
            Self::L1 => at_most(caches.l1 / 2),
            Self::L2 => at_most(caches.l2 / 2),
            Self::L3 => at_most(caches.l3 / 2),
            Self::Dram => (4 * caches.l3).next_power_of_two(),
        };
        wanted.min(at_most(most))
    }

    /// What is to be said if so many bytes are too few, or if the caches' sizes are assumed.
    fn note(self, bytes: u64, caches: &Caches) -> String {
        let short = match self {
            Self::Dram if bytes < 2 * caches.l3 => {
                "; too few to be beyond the caches: there is no memory for more"
            }
            Self::L3 if bytes <= caches.l2 => "; too few to be beyond the second cache",
            _ => "",
        };
        let assumed = if caches.told { "" } else { "; sizes of caches are assumed" };
        let (size, unit) = if bytes < 1 << 20 { (bytes >> 10, "KiB") } else { (bytes >> 20, "MiB") };
        format!("over {size} {unit}{short}{assumed}")
    }
}

/// Memory of such pages, or words if the kernel gives none of them.
fn memory_of(bytes: u64, pages: Pages) -> Result<Anonymous> {
    let mut memory = Anonymous::new(usize::try_from(bytes)?, pages)?;
    memory.bytes_mut().iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    if pages == Pages::Huge && memory.huge_bytes().is_some_and(|huge| huge < memory.bytes().len() as u64 / 2)
    {
        return Err("the kernel gave small pages where huge ones were asked for".into());
    }
    Ok(memory)
}

/// Copies of a page into one place: always the same page, or random pages of more memory than caches hold.
pub(super) struct Copy {
    source: Anonymous,
    target: Vec<u8>,
    /// Pages of the source, a power of two.
    pages: u64,
    at: u64,
    note: String,
}

impl Copy {
    /// Copies of one page, which stays in the nearest cache.
    pub(super) fn cached() -> Result<Self> {
        let note = "from the nearest cache into the nearest cache".to_owned();
        Ok(Self {
            source: memory_of(HUGE as u64, Pages::Small)?,
            target: vec![0; PAGE],
            pages: 1,
            at: 0,
            note,
        })
    }

    /// Copies of random pages beyond the caches; of at most `most` bytes.
    pub(super) fn uncached(caches: &Caches, most: u64) -> Result<Self> {
        let bytes = Level::Dram.bytes(caches, most);
        let huge = memory_of(bytes, Pages::Huge);
        let pages = if huge.is_ok() { "huge" } else { "small" };
        let source = huge.or_else(|_| memory_of(bytes, Pages::Small))?;
        let note = format!("{}, in {pages} pages", Level::Dram.note(bytes, caches));
        Ok(Self { source, target: vec![0; PAGE], pages: bytes / PAGE as u64, at: 0, note })
    }
}

impl Probe for Copy {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        let (start, mut copies) = (Instant::now(), 0u64);
        loop {
            for _ in 0..COPIES {
                let from = self.at as usize * PAGE;
                self.target.copy_from_slice(&black_box(self.source.bytes())[from..from + PAGE]);
                black_box(&mut self.target);
                self.at = successor(self.at, self.pages);
            }
            copies += COPIES;
            let spent = start.elapsed();
            if spent >= time {
                return Ok(spent.as_secs_f64() * 1e9 / copies as f64);
            }
        }
    }

    fn note(&self) -> String {
        self.note.clone()
    }
}

/// Loads that each need what the one before found, through all lines of some memory in an order that no processor
/// foresees (the pointer chase of `lat_mem_rd` in `lmbench`, 1996).
pub(super) struct Chase {
    memory: Anonymous,
    at: usize,
    note: String,
}

impl Chase {
    /// Over the memory that stands for `level`, at most `most` bytes.
    ///
    /// # Errors
    /// If there is no memory, or not of such pages.
    pub(super) fn new(level: Level, pages: Pages, caches: &Caches, most: u64) -> Result<Self> {
        let bytes = level.bytes(caches, most);
        let note = level.note(bytes, caches);
        let mut memory = memory_of(bytes, pages)?;
        let lines = bytes / LINE as u64;
        for (number, line) in (0..lines).zip(memory.bytes_mut().chunks_exact_mut(LINE)) {
            line[..8].copy_from_slice(&(successor(number, lines) * LINE as u64).to_ne_bytes());
        }
        Ok(Self { memory, at: 0, note })
    }

    /// Loads so many times.
    fn load(&mut self, times: u64) -> Result<()> {
        let bytes = self.memory.bytes();
        let mut at = self.at;
        for _ in 0..times {
            let word =
                bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or("a chase left its memory")?;
            at = u64::from_ne_bytes(*word) as usize;
        }
        self.at = at;
        Ok(())
    }
}

impl Probe for Chase {
    fn sample(&mut self, time: Duration) -> Result<f64> {
        let (start, mut loads) = (Instant::now(), 0u64);
        loop {
            self.load(LOADS)?;
            loads += LOADS;
            let spent = start.elapsed();
            if spent >= time {
                return Ok(spent.as_secs_f64() * 1e9 / loads as f64);
            }
        }
    }

    fn note(&self) -> String {
        self.note.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHES: Caches = Caches { l1: 48 << 10, l2: 2 << 20, l3: 30 << 20, told: true };

    #[test]
    fn sizes_fit_their_caches_and_the_memory_there_is() {
        let sizes =
            [Level::L1, Level::L2, Level::L3, Level::Dram].map(|level| level.bytes(&CACHES, u64::MAX));
        assert_eq!(sizes, [16 << 10, 1 << 20, 8 << 20, 128 << 20]);
        assert_eq!(Level::Dram.bytes(&CACHES, 100 << 20), 64 << 20);
        assert_eq!(Level::L1.bytes(&CACHES, 0), 4096);
        assert!(Level::Dram.note(32 << 20, &CACHES).contains("too few"));
        assert!(!Level::Dram.note(128 << 20, &CACHES).contains("too few"));
    }

    #[test]
    fn a_chase_comes_by_every_line_once_a_round() {
        let mut chase = Chase::new(Level::L1, Pages::Small, &CACHES, u64::MAX).unwrap();
        let lines = (16 << 10) / LINE;
        let mut seen = vec![false; lines];
        for _ in 0..lines {
            assert!(!std::mem::replace(&mut seen[chase.at / LINE], true));
            chase.load(1).unwrap();
        }
        assert_eq!(chase.at, 0);
        assert!(chase.sample(Duration::ZERO).unwrap() > 0.0);
    }

    #[test]
    fn copies_copy() {
        let mut copy = Copy::cached().unwrap();
        copy.source.bytes_mut()[..PAGE].fill(9);
        assert!(copy.sample(Duration::ZERO).unwrap() > 0.0);
        assert!(copy.target.iter().all(|byte| *byte == 9));
        let mut copy = Copy::uncached(&CACHES, 4 << 20).unwrap();
        assert!(copy.sample(Duration::ZERO).unwrap() > 0.0);
        assert_eq!(copy.pages, 1024);
    }
}
