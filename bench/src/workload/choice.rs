//! Which entry comes next: YCSB's request distributions.
//!
//! The Zipfian numbers are drawn as YCSB does, after Gray et al., "Quickly Generating Billion-Record Synthetic
//! Databases" (SIGMOD 1994). YCSB scatters the hot entries over the keys by a hash, modulo their number, so that some
//! share a place and some are never asked for; here a permutation does that.
#![forbid(unsafe_code)]

use crate::corpus::{Random, Shuffle};
use serde::{Deserialize, Serialize};

/// YCSB's constant of the Zipfian distribution.
const THETA: f64 = 0.99;

/// How requests are spread over the entries (YCSB: `requestdistribution`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Each entry as often
    Uniform,
    /// Few entries very often (Zipfian, 0.99), scattered over the keys
    Zipfian,
    /// The newest entries most often (Zipfian, 0.99)
    Latest,
    /// One entry after the other, in key order
    Sequential,
}

/// Draws ranks from 0, of which low ones are the most frequent.
#[derive(Clone, Debug)]
pub struct Zipfian {
    count: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
    half: f64,
}

/// The sum of `1 / i^theta` for `i` from 1 to `count`.
fn zeta(count: u64) -> f64 {
    /// What is summed up; the rest is an integral, exact to some 1e-9 from here on.
    const SUMMED: u64 = 100_000;
    let sum: f64 = (1..=count.min(SUMMED)).map(|i| (i as f64).powf(-THETA)).sum();
    if count <= SUMMED {
        return sum;
    }
    // Euler and Maclaurin's first terms.
    let integral = |x: f64| x.powf(1.0 - THETA) / (1.0 - THETA);
    let (from, to) = (SUMMED as f64, count as f64);
    sum + integral(to) - integral(from) + (to.powf(-THETA) - from.powf(-THETA)) / 2.0
}

impl Zipfian {
    /// Of `count` ranks, at least one.
    pub fn new(count: u64) -> Self {
        let count = count.max(1);
        let zeta_n = zeta(count);
        let zeta_2 = zeta(2.min(count));
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - zeta_2 / zeta_n);
        Self { count, zeta: zeta_n, alpha: 1.0 / (1.0 - THETA), eta, half: 0.5f64.powf(THETA) }
    }

    /// The next rank.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> u64 {
        let part = random.part();
        let scaled = part * self.zeta;
        if scaled < 1.0 || self.count == 1 {
            return 0;
        }
        if scaled < 1.0 + self.half || self.count == 2 {
            return 1;
        }
        let rank = self.count as f64 * (self.eta * part - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count - 1)
    }
}

/// Chooses entries, for one thread.
#[derive(Clone, Debug)]
pub struct Choice {
    distribution: Distribution,
    entries: u64,
    zipfian: Option<Zipfian>,
    scatter: Shuffle,
    random: Random,
    at: u64,
}

impl Choice {
    /// Chooses of `entries` entries (at least one) that were there from the start. All threads share `seed`, by which hot
    /// entries are the same ones for all; `stream` tells them apart.
    pub fn new(distribution: Distribution, entries: u64, seed: u64, stream: u64) -> Self {
        let entries = entries.max(1);
        let skewed = matches!(distribution, Distribution::Zipfian | Distribution::Latest);
        let mut random = Random::new(seed ^ (stream + 1).rotate_left(40));
        let at = random.below(entries);
        Self {
            distribution,
            entries,
            zipfian: skewed.then(|| Zipfian::new(entries)),
            scatter: Shuffle::new(entries, seed),
            random,
            at,
        }
    }

    /// The number of the next entry, with `there` entries there by now.
    #[inline]
    pub fn next(&mut self, there: u64) -> u64 {
        match (self.distribution, &self.zipfian) {
            (Distribution::Zipfian, Some(zipfian)) => self.scatter.at(zipfian.draw(&mut self.random)),
            (Distribution::Latest, Some(zipfian)) => {
                let back = zipfian.draw(&mut self.random);
                there.saturating_sub(1).saturating_sub(back)
            }
            (Distribution::Sequential, _) => {
                self.at = (self.at + 1) % self.entries;
                self.at
            }
            _ => self.random.below(there.max(1)),
        }
    }

    /// Chance for other choices.
    #[inline]
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_long_row_is_close() {
        let slow: f64 = (1..=1_000_000u64).map(|i| (i as f64).powf(-THETA)).sum();
        assert!((zeta(1_000_000) / slow - 1.0).abs() < 1e-9);
    }

    #[test]
    fn zipfian_ranks_are_as_frequent_as_they_should_be() {
        const DRAWS: u64 = 2_000_000;
        for count in [1u64, 2, 3, 100, 1_000_000] {
            let (zipfian, mut random) = (Zipfian::new(count), Random::new(count));
            let mut seen = vec![0u64; count.min(100) as usize];
            for _ in 0..DRAWS {
                let rank = zipfian.draw(&mut random);
                assert!(rank < count);
                if let Some(seen) = seen.get_mut(rank as usize) {
                    *seen += 1;
                }
            }
            let zeta = zeta(count);
            // The two first are exact, the others an approximation.
            for (rank, seen) in seen.iter().enumerate().take(2) {
                let wanted = (rank as f64 + 1.0).powf(-THETA) / zeta;
                let share = *seen as f64 / DRAWS as f64;
                assert!((share / wanted - 1.0).abs() < 0.03, "{count}: rank {rank}: {share} for {wanted}");
            }
            let wanted: f64 = (1..=seen.len()).map(|i| (i as f64).powf(-THETA)).sum::<f64>() / zeta;
            let share = seen.iter().sum::<u64>() as f64 / DRAWS as f64;
            assert!((share / wanted - 1.0).abs() < 0.05, "{count}: {share} for {wanted}");
        }
    }

    #[test]
    fn choices_follow_their_distribution() {
        let draws = |distribution, there| {
            let mut choice = Choice::new(distribution, 1000, 5, 0);
            (0..50_000).map(|_| choice.next(there)).collect::<Vec<u64>>()
        };
        assert!(draws(Distribution::Uniform, 1500).iter().any(|n| *n >= 1400));
        let latest = draws(Distribution::Latest, 5000);
        assert!(latest.iter().filter(|n| **n == 4999).count() > 4000);
        assert!(latest.iter().all(|n| (4000..5000).contains(n)));
        let sequential = draws(Distribution::Sequential, 1000);
        assert!(sequential.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 1000));
        let zipfian = draws(Distribution::Zipfian, 1000);
        let mut counts = vec![0; 1000];
        for number in &zipfian {
            counts[*number as usize] += 1;
        }
        let hot = counts.iter().enumerate().max_by_key(|(_, count)| **count).unwrap().0;
        assert!(hot != 0, "scattered");
        let mut other = Choice::new(Distribution::Zipfian, 1000, 5, 9);
        let mut others = vec![0; 1000];
        for _ in 0..50_000 {
            others[other.next(1000) as usize] += 1;
        }
        assert_eq!(others.iter().enumerate().max_by_key(|(_, count)| **count).unwrap().0, hot);
    }
}
