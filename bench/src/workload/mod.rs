//! Workloads: who does what, how often, to which entries.
//!
//! A workload is one role or several, and a role is a mix of operations that some threads do at once. YCSB's six are
//! here under their names (Cooper et al., "Benchmarking Cloud Serving Systems with `YCSB`", 2010), and any other
//! that its properties can say ([`ycsb`]).
#![forbid(unsafe_code)]

mod choice;
mod presets;
pub mod ycsb;

pub use choice::{Choice, Distribution, Zipfian};
pub use presets::{find, names, presets};

use crate::Durability;
use serde::{Deserialize, Serialize};

/// What one operation does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Gets the value of an entry that is there.
    Read,
    /// Looks for a key that is not there.
    Missing,
    /// Gets many values at once, with the store's own means if it has any.
    ReadMany,
    /// Reads some entries from a chosen one on, in key order.
    Scan,
    /// The same against the order.
    ScanBack,
    /// Reads all entries, in key order.
    FullScan,
    /// Puts another value in place of an entry's.
    Update,
    /// Puts a new entry.
    Insert,
    /// Gets an entry's value and puts another.
    ReadModifyWrite,
    /// Deletes an entry, which a later commit of the same thread puts again.
    Delete,
}

impl Op {
    /// Whether it changes something.
    pub const fn writes(self) -> bool {
        matches!(self, Self::Update | Self::Insert | Self::ReadModifyWrite | Self::Delete)
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Missing => "missing",
            Self::ReadMany => "read-many",
            Self::Scan => "scan",
            Self::ScanBack => "scan-back",
            Self::FullScan => "full-scan",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::ReadModifyWrite => "read-modify-write",
            Self::Delete => "delete",
        }
    }
}

/// How many threads do a role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threads {
    /// As many as the run has.
    All,
    /// One.
    One,
}

impl Threads {
    /// How many, in a run that has `all`.
    pub fn count(self, all: u64) -> u64 {
        match self {
            Self::All => all.max(1),
            Self::One => 1,
        }
    }
}

/// What some threads do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Role {
    /// How many of them there are.
    pub threads: Threads,
    /// Operations, and how often each comes, as shares of their sum.
    pub mix: Vec<(Op, f64)>,
    /// Which entries they choose.
    pub distribution: Distribution,
    /// Operations a transaction; of those that read many at once or scan, one is always a transaction.
    pub per_txn: u64,
    /// Entries of a commit of updates or of deletes, if that is not `per_txn`.
    #[serde(default)]
    pub per_commit: Option<u64>,
    /// Entries of a scan at least and at most; each length as often.
    pub scan: (u64, u64),
    /// What their commits are.
    pub durability: Durability,
    /// Whether the role is what is measured. What others do is told apart from it.
    pub measured: bool,
    /// Whether each of its threads takes a snapshot before anything else begins, and does nothing but gets in it until the
    /// end: at no rate, and none of the operations of a run that has so many.
    #[serde(default)]
    pub in_snapshot: bool,
}

impl Role {
    /// Operations of one kind.
    pub fn of(op: Op) -> Self {
        Self {
            threads: Threads::All,
            mix: vec![(op, 1.0)],
            distribution: Distribution::Uniform,
            per_txn: 1,
            per_commit: None,
            scan: (1, 100),
            durability: Durability::Unsynced,
            measured: true,
            in_snapshot: false,
        }
    }

    /// How many operations are done whenever one of this kind is chosen.
    pub fn at_once(&self, op: Op) -> u64 {
        let count = match op {
            Op::Update | Op::Delete => self.per_commit.unwrap_or(self.per_txn),
            Op::Read | Op::Missing => self.per_txn,
            // Of the others, one is a transaction.
            _ => 1,
        };
        count.max(1)
    }

    /// How often each kind is to be chosen, so that of all operations these shares are of these kinds.
    pub fn chosen(&self, shares: impl IntoIterator<Item = (Op, f64)>) -> Vec<(Op, f64)> {
        shares.into_iter().map(|(op, share)| (op, share / self.at_once(op) as f64)).collect()
    }

    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        self.mix.iter().any(|(op, share)| op.writes() && *share > 0.0)
    }
}

/// What is done to a store.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Loads all entries into a new store, in the order of their keys or in a random one, so many a commit.
    Load {
        /// In the order of keys.
        sorted: bool,
        /// Entries a commit.
        per_txn: u64,
    },
    /// Threads in these roles work on a loaded store.
    Run(Vec<Role>),
    /// The calls of a recorded trace, by as many threads, on what was there when the recording began.
    Replay(Replay),
}

/// How a trace is replayed.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// At how many times the recorded pace; as fast as it can be if it is not said.
    pub speed: Option<f64>,
    /// What its commits are.
    pub durability: Durability,
    /// Commits; 0 if it changes nothing.
    pub commits: u64,
    /// Entries that a scan shows, on average; 0 if there are no scans.
    #[serde(default)]
    pub scanned: u64,
}

/// A workload.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// What it does, in a line.
    pub about: String,
    /// What is done.
    pub work: Work,
}

impl Workload {
    /// Whether the store holds something else afterwards.
    pub fn writes(&self) -> bool {
        match &self.work {
            Work::Load { .. } => true,
            Work::Run(roles) => roles.iter().any(Role::writes),
            Work::Replay(replay) => replay.commits > 0,
        }
    }

    /// Whether it reads so much in one go, of entries of so many bytes, that the kernel's read-ahead is of use to it
    /// where data do not fit in memory: at least a megabyte. To shorter scans it is ruin, as to random reads: each may
    /// begin with up to as much as the disk's read-ahead (8 MiB on some), most of it for nothing.
    pub fn reads_far(&self, entry_bytes: u64) -> bool {
        const FAR: u64 = 1 << 20;
        let far = |entries: u64| entries.saturating_mul(entry_bytes) >= FAR;
        match &self.work {
            Work::Load { .. } => true,
            Work::Run(roles) => roles.iter().any(|role| {
                role.mix.iter().any(|(op, _)| match op {
                    Op::FullScan => true,
                    Op::Scan | Op::ScanBack => far(role.scan.0.midpoint(role.scan.1)),
                    _ => false,
                })
            }),
            Work::Replay(replay) => far(replay.scanned),
        }
    }

    /// Whether it adds entries that were not loaded, chosen by their numbers.
    pub fn inserts(&self) -> bool {
        match &self.work {
            Work::Load { .. } | Work::Replay(_) => false,
            Work::Run(roles) => roles.iter().flat_map(|role| &role.mix).any(|(op, _)| *op == Op::Insert),
        }
    }
}
