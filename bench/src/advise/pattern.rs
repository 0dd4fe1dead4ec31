//! How a table is used, as a workload that can be run over it.
//!
//! What a pattern comes from does not matter to the rest: it is a workload that only reads, and words that say where
//! it comes from.
#![forbid(unsafe_code)]

use crate::workload::{Distribution, Op, Role, Work, Workload};

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
    /// Where that is known from, in words.
    pub origin: String,
}

impl Pattern {
    /// An assumed one.
    pub fn assumed(assume: Assume) -> Self {
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
        let workload = Workload { name: name.into(), about: about.into(), work: Work::Run(vec![role]) };
        Self { workload, origin: "assumed: --assume says otherwise".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn assumed_patterns_differ_and_only_read() {
        let all: Vec<Pattern> = Assume::value_variants().iter().map(|a| Pattern::assumed(*a)).collect();
        for (index, pattern) in all.iter().enumerate() {
            assert!(!pattern.workload.writes());
            assert!(all[..index].iter().all(|other| other.workload.work != pattern.workload.work));
        }
    }
}
