//! What the workloads are.
#![forbid(unsafe_code)]

use crate::Durability;

/// The kinds of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// All entries in the order of their keys, at once, into a new store.
    Load,
    /// All entries in random order into a new store.
    Insert,
    /// Random entries get new values.
    Overwrite,
    /// Random entries are deleted by one commit and put again by the next.
    Churn,
    /// Overwrites while another thread gets random entries, which first does so alone.
    ReaderBeside,
    /// Overwrites while another thread has the store finish what it has put off, compared with those while none does.
    CommitsDuringCheckpoint,
    /// The same for gets of one entry each.
    GetsDuringCheckpoint,
}

/// A workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Workload {
    /// Its name, by which it is asked for.
    pub name: &'static str,
    /// What is done.
    pub kind: Kind,
    /// Threads that write.
    pub threads: u64,
    /// Entries a commit.
    pub batch: u64,
    /// What a commit is.
    pub durability: Durability,
    /// Whether it is one long round instead of several.
    pub once: bool,
}

/// All workloads, in the order in which they run.
pub const WORKLOADS: [Workload; 11] = [
    of("load-sorted", Kind::Load, 1, u64::MAX, Durability::Unsynced),
    of("insert-random", Kind::Insert, 1, 1000, Durability::Unsynced),
    of("overwrite-random", Kind::Overwrite, 1, 1000, Durability::Unsynced),
    of("commit-1", Kind::Overwrite, 1, 1, Durability::Synced),
    of("commit-1-threads-8", Kind::Overwrite, 8, 1, Durability::Synced),
    of("commit-100", Kind::Overwrite, 1, 100, Durability::Synced),
    of("reader-beside-writer", Kind::ReaderBeside, 1, 10, Durability::Unsynced),
    of("commits-during-checkpoint", Kind::CommitsDuringCheckpoint, 1, 1, Durability::Synced),
    of("gets-during-checkpoint", Kind::GetsDuringCheckpoint, 1, 1, Durability::Synced),
    of("churn", Kind::Churn, 1, 1000, Durability::Unsynced),
    Workload { once: true, ..of("longest-commit", Kind::Overwrite, 1, 100, Durability::Unsynced) },
];

const fn of(name: &'static str, kind: Kind, threads: u64, batch: u64, durability: Durability) -> Workload {
    Workload { name, kind, threads, batch, durability, once: false }
}

impl Workload {
    /// Whether its rate is told in commits a second rather than in entries.
    pub const fn in_commits(&self) -> bool {
        matches!(self.durability, Durability::Synced)
    }

    /// What is done, in words.
    pub fn describe(&self) -> String {
        let work = match self.kind {
            Kind::Load => "all entries in order, in one go, from empty".into(),
            Kind::Insert => format!("inserts in random order from empty, {} a commit", self.batch),
            Kind::Overwrite => format!("random overwrites, {} a commit", self.batch),
            Kind::Churn => {
                format!("random deletes, {0} a commit, put again by the next, {0} a commit", self.batch)
            }
            Kind::ReaderBeside => {
                format!("random gets, 100 a transaction, beside overwrites, {} a commit", self.batch)
            }
            Kind::CommitsDuringCheckpoint => "overwrites, 1 a commit, before and during a checkpoint".into(),
            Kind::GetsDuringCheckpoint => "gets, 1 a transaction, before and during a checkpoint".into(),
        };
        let threads = if self.threads > 1 { format!(", {} threads", self.threads) } else { String::new() };
        let commits = match self.durability {
            Durability::Synced => "durable commits",
            Durability::Unsynced => "no sync but at the end",
        };
        format!("{work}{threads}, {commits}")
    }
}
