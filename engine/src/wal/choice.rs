//! The two ways to make the log durable, and which of them is used.
//!
//! Which is faster differs between disks by as much as a factor of hundreds, and cannot be told from outside. So the
//! first commits take turns, and what was measured on them decides: nothing is written for it that would not be
//! written anyway, and opening a database costs nothing.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Of how many syncs each method's median is taken.
const SAMPLES: usize = 8;

/// How the log is made durable.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SyncMethod {
    /// Whichever of the two is found faster on the first commits.
    #[default]
    Auto,
    /// A write, then `fdatasync`.
    Fdatasync,
    /// A write that is durable by itself (`RWF_DSYNC`), where nothing else waits to become durable and the records
    /// lie in one piece; otherwise as [`Fdatasync`](Self::Fdatasync).
    Dsync,
}

/// One of the two methods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Means {
    Fdatasync,
    Dsync,
}

/// Which method is used, or the measurements that are to decide it.
#[derive(Debug)]
pub(super) struct Choice {
    chosen: Option<Means>,
    fdatasync: Vec<Duration>,
    dsync: Vec<Duration>,
}

impl Choice {
    pub(super) fn new(method: SyncMethod) -> Self {
        let chosen = match method {
            SyncMethod::Auto => None,
            SyncMethod::Fdatasync => Some(Means::Fdatasync),
            SyncMethod::Dsync => Some(Means::Dsync),
        };
        Self { chosen, fdatasync: Vec::new(), dsync: Vec::new() }
    }

    /// What the next sync for which there is a choice is to use.
    pub(super) fn next(&self) -> Means {
        self.chosen.unwrap_or(if self.dsync.len() < self.fdatasync.len() {
            Means::Dsync
        } else {
            Means::Fdatasync
        })
    }

    /// Takes note of how long such a sync took. After the last that counts, the smaller median decides; of equal
    /// ones, `fdatasync`.
    pub(super) fn note(&mut self, means: Means, took: Duration) {
        if self.chosen.is_some() {
            return;
        }
        match means {
            Means::Fdatasync => self.fdatasync.push(took),
            Means::Dsync => self.dsync.push(took),
        }
        if self.fdatasync.len() >= SAMPLES && self.dsync.len() >= SAMPLES {
            let faster = median(&mut self.dsync) < median(&mut self.fdatasync);
            *self = Self::new(if faster { SyncMethod::Dsync } else { SyncMethod::Fdatasync });
        }
    }

    /// The name of the method that is used, once that is settled.
    pub(super) fn name(&self) -> Option<&'static str> {
        self.chosen.map(|means| match means {
            Means::Fdatasync => "fdatasync",
            Means::Dsync => "RWF_DSYNC",
        })
    }
}

/// The lower median.
fn median(samples: &mut [Duration]) -> Option<Duration> {
    samples.sort_unstable();
    samples.get(samples.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn the_faster_median_is_chosen_after_both_have_had_their_turns() {
        for (dsync, expected) in [(99, "RWF_DSYNC"), (100, "fdatasync"), (101, "fdatasync")] {
            let mut choice = Choice::new(SyncMethod::Auto);
            for turn in 0..2 * SAMPLES {
                assert_eq!(choice.name(), None);
                let means = choice.next();
                assert_eq!(means == Means::Dsync, turn % 2 == 1);
                // Two that are far off on either side change nothing.
                let took = match (turn / 2, means) {
                    (0, _) => 1,
                    (1 | 2, _) => 1_000_000,
                    (_, Means::Fdatasync) => 100,
                    (_, Means::Dsync) => dsync,
                };
                choice.note(means, micros(took));
            }
            assert_eq!(choice.name(), Some(expected));
            let settled = choice.next();
            for means in [Means::Fdatasync, Means::Dsync] {
                (0..100).for_each(|n| choice.note(means, micros(n)));
            }
            assert_eq!((choice.next(), choice.name()), (settled, Some(expected)), "for good");
        }
    }

    #[test]
    fn a_method_that_was_asked_for_is_used_from_the_first() {
        for (method, means) in [(SyncMethod::Fdatasync, Means::Fdatasync), (SyncMethod::Dsync, Means::Dsync)]
        {
            let mut choice = Choice::new(method);
            for other in [Means::Fdatasync, Means::Dsync] {
                (0..20).for_each(|_| choice.note(other, micros(1)));
            }
            assert_eq!(choice.next(), means);
        }
    }
}
