//! How a table is used, as a workload that can be run over it.
//!
//! What a pattern comes from does not matter to the rest: it is a workload, the reads of it alone, and words that say
//! where it comes from.
#![forbid(unsafe_code)]

use super::recorded;
use crate::Durability;
use crate::workload::{Distribution, Op, Role, Work, Workload};
use std::path::Path;

/// A pattern that is assumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Assume {
    /// Gets of random entries, a read transaction each
    Uniform,
    /// The same, of few entries very often (Zipfian, 0.99)
    Zipfian,
    /// Scans of 100 entries from random ones on
    Scan,
}

/// How a table is used.
#[derive(Clone, PartialEq, Debug)]
pub struct Pattern {
    /// What is done.
    pub workload: Workload,
    /// The reads alone, if there are both reads and writes.
    pub reads: Option<Workload>,
    /// Where that is known from, in words.
    pub origin: String,
    /// Threads, if that is known.
    pub threads: Option<u64>,
}

impl Pattern {
    /// What a trace says of `table`, which has so many `entries`; without writes, if `reads_only`.
    ///
    /// # Errors
    /// Those of reading the trace; if the table is neither read nor written in it. In words.
    pub fn recorded(trace: &Path, table: &str, entries: u64, reads_only: bool) -> Result<Self, String> {
        recorded::pattern(trace, table, entries, reads_only)
    }

    /// An assumed one.
    pub fn assumed(assume: Assume, writes: &Writes) -> Self {
        let (name, about, role) = match assume {
            Assume::Uniform => {
                ("uniform", "gets of random entries, a read transaction each", Role::of(Op::Read))
            }
            Assume::Zipfian => (
                "zipfian",
                "gets of few entries most often (Zipfian, 0.99), a read transaction each",
                Role { distribution: Distribution::Zipfian, ..Role::of(Op::Read) },
            ),
            Assume::Scan => (
                "scan",
                "scans of 100 entries from random ones on",
                Role { scan: (100, 100), ..Role::of(Op::Scan) },
            ),
        };
        let reads = Workload { name: name.into(), about: about.into(), work: Work::Run(vec![role.clone()]) };
        let origin = "assumed: --assume and --writes say otherwise".into();
        if writes.share <= 0.0 {
            return Self { workload: reads, reads: None, origin, threads: None };
        }
        let (share, read) = (writes.share, role.mix[0].0);
        let role = Role { per_commit: Some(writes.per_commit), durability: writes.durability(), ..role };
        let mix = [(read, 1.0 - share), (Op::Update, share)];
        let role = Role { mix: role.chosen(mix.into_iter().filter(|(_, share)| *share > 0.0)), ..role };
        let about = format!(
            "{:.0} % overwrites of entries chosen in the same way, {}; the rest {about}",
            share * 100.0,
            writes.words()
        );
        let workload = Workload { name: format!("{name}-writes"), about, work: Work::Run(vec![role]) };
        Self { workload, reads: (share < 1.0).then_some(reads), origin, threads: None }
    }
}

/// What is written beside reads.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Writes {
    /// The share of operations.
    pub share: f64,
    /// Entries a commit.
    pub per_commit: u64,
    /// Whether commits wait until they outlast a power failure.
    pub synced: bool,
}

impl Writes {
    /// What commits are.
    pub fn durability(&self) -> Durability {
        if self.synced { Durability::Synced } else { Durability::Unsynced }
    }

    /// How they are committed, in words.
    pub fn words(&self) -> String {
        let waits = if self.synced { "that waits for its sync" } else { "that waits for no sync" };
        format!("{} a commit {waits}", self.per_commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn assumed_patterns_differ_and_only_read() {
        let none = Writes { share: 0.0, per_commit: 1, synced: true };
        let all: Vec<Pattern> =
            Assume::value_variants().iter().map(|a| Pattern::assumed(*a, &none)).collect();
        for (index, pattern) in all.iter().enumerate() {
            assert!(!pattern.workload.writes());
            assert!(all[..index].iter().all(|other| other.workload.work != pattern.workload.work));
        }
    }

    #[test]
    fn writes_are_assumed_beside_reads() {
        let writes = Writes { share: 0.1, per_commit: 10, synced: true };
        for assume in Assume::value_variants() {
            let reads = Pattern::assumed(*assume, &Writes { share: 0.0, ..writes });
            let pattern = Pattern::assumed(*assume, &writes);
            assert_eq!(pattern.reads.as_ref(), Some(&reads.workload));
            let Work::Run(roles) = &pattern.workload.work else { panic!() };
            let [role] = &roles[..] else { panic!() };
            assert_eq!((role.per_commit, role.durability), (Some(10), Durability::Synced));
            // Ten are overwritten whenever it comes to that: which is so much rarer.
            let [(read, reads), (Op::Update, updates)] = role.mix[..] else { panic!() };
            let (reads, updates) =
                (reads * role.at_once(read) as f64, updates * role.at_once(Op::Update) as f64);
            assert!((updates / (reads + updates) - 0.1).abs() < 1e-9);
            assert!(pattern.workload.about.contains("10 % overwrites"), "{}", pattern.workload.about);
        }
        let all = Pattern::assumed(Assume::Uniform, &Writes { share: 1.0, ..writes });
        assert!(all.reads.is_none() && all.workload.writes());
    }
}
