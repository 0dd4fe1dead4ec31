//! The workloads that have a name.
#![forbid(unsafe_code)]

use super::{Distribution, Op, Role, Threads, Work, Workload};
use crate::Durability;

/// Gets in one read transaction, where it is held.
const HELD: u64 = 100;
/// Entries a commit, where that is not the point.
const COMMIT: u64 = 1000;

/// All of them, in the order in which they are listed.
pub fn presets() -> Vec<Workload> {
    let mut all = ycsb();
    all.extend(reads());
    all.extend(writes());
    all.extend(mixed());
    all
}

/// The one of this name.
///
/// # Errors
/// If there is none; which there are.
pub fn find(name: &str) -> Result<Workload, String> {
    let found = presets().into_iter().find(|workload| workload.name == name);
    found.ok_or_else(|| format!("no workload is called {name}; there are {}", names().join(", ")))
}

/// Their names.
pub fn names() -> Vec<String> {
    presets().into_iter().map(|workload| workload.name).collect()
}

fn of(name: &str, about: &str, role: Role) -> Workload {
    Workload { name: name.into(), about: about.into(), work: Work::Run(vec![role]) }
}

fn ycsb() -> Vec<Workload> {
    use Op::{Insert, Read, ReadModifyWrite, Scan, Update};
    let role = |mix: &[(Op, f64)], distribution| Role { mix: mix.to_vec(), distribution, ..Role::of(Read) };
    let zipfian = Distribution::Zipfian;
    vec![
        of("ycsb-a", "half reads, half updates; Zipfian", role(&[(Read, 0.5), (Update, 0.5)], zipfian)),
        of("ycsb-b", "95 % reads, 5 % updates; Zipfian", role(&[(Read, 0.95), (Update, 0.05)], zipfian)),
        of("ycsb-c", "reads; Zipfian", role(&[(Read, 1.0)], zipfian)),
        of(
            "ycsb-d",
            "95 % reads of the newest, 5 % inserts",
            role(&[(Read, 0.95), (Insert, 0.05)], Distribution::Latest),
        ),
        of(
            "ycsb-e",
            "95 % scans of up to 100 entries, 5 % inserts; Zipfian",
            role(&[(Scan, 0.95), (Insert, 0.05)], zipfian),
        ),
        of(
            "ycsb-f",
            "half reads, half read-modify-writes; Zipfian",
            role(&[(Read, 0.5), (ReadModifyWrite, 0.5)], zipfian),
        ),
    ]
}

fn reads() -> Vec<Workload> {
    let hot = Role { distribution: Distribution::Zipfian, per_txn: HELD, ..Role::of(Op::Read) };
    let scan = |op| Role { scan: (100, 100), ..Role::of(op) };
    vec![
        of(
            "get",
            "gets of random entries, 100 in a read transaction",
            Role { per_txn: HELD, ..Role::of(Op::Read) },
        ),
        of("get-txn", "gets of random entries, a read transaction each", Role::of(Op::Read)),
        of("get-hot", "gets of few entries most often (Zipfian), 100 in a read transaction", hot),
        of("get-many", "gets of 64 random entries at once", Role { per_txn: 64, ..Role::of(Op::ReadMany) }),
        of(
            "get-missing",
            "gets of keys that are not there, 100 in a read transaction",
            Role { per_txn: HELD, ..Role::of(Op::Missing) },
        ),
        of("scan", "scans of 100 entries from random ones on", scan(Op::Scan)),
        of("scan-back", "the same against the order of keys", scan(Op::ScanBack)),
        of("full-scan", "scans of all entries", Role::of(Op::FullScan)),
    ]
}

fn writes() -> Vec<Workload> {
    let load = |name: &str, about: &str, sorted, per_txn| Workload {
        name: name.into(),
        about: about.into(),
        work: Work::Load { sorted, per_txn },
    };
    let synced = |per_txn| Role { per_txn, durability: Durability::Synced, ..Role::of(Op::Update) };
    vec![
        load("load-sorted", "all entries into a new store, in order, in one go", true, u64::MAX),
        load("load-random", "all entries into a new store, in a random order, 1,000 a commit", false, COMMIT),
        of(
            "overwrite",
            "random overwrites, 1,000 a commit, no sync",
            Role { per_txn: COMMIT, ..Role::of(Op::Update) },
        ),
        of(
            "delete",
            "random deletes, 1,000 a commit, each put again by the next, no sync",
            Role { per_txn: COMMIT, ..Role::of(Op::Delete) },
        ),
        of("commit-1", "random overwrites, durable commits of one", synced(1)),
        of("commit-100", "random overwrites, durable commits of 100", synced(100)),
    ]
}

fn mixed() -> Vec<Workload> {
    let writer = Role { threads: Threads::One, per_txn: 10, measured: false, ..Role::of(Op::Update) };
    let readers = Role { per_txn: HELD, ..Role::of(Op::Read) };
    let held = Role { threads: Threads::One, measured: false, in_snapshot: true, ..readers.clone() };
    vec![
        Workload {
            name: "mixed".into(),
            about: "gets, 100 in a read transaction, beside one writer of 10 updates a commit, no sync"
                .into(),
            work: Work::Run(vec![readers, writer.clone()]),
        },
        Workload {
            name: "long-reader".into(),
            about:
                "overwrites, 10 a commit, no sync, beside gets in one snapshot that is held from the start"
                    .into(),
            work: Work::Run(vec![Role { measured: true, ..writer }, held]),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Replay;
    use std::collections::HashSet;

    #[test]
    fn names_differ_and_are_found() {
        let all = presets();
        let names: HashSet<&str> = all.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for workload in &all {
            assert_eq!(find(&workload.name).as_ref(), Ok(workload));
            if let Work::Run(roles) = &workload.work {
                assert!(roles.iter().any(|role| role.measured));
                for role in roles {
                    let sum: f64 = role.mix.iter().map(|(_, share)| share).sum();
                    assert!((sum - 1.0).abs() < 1e-9, "{}", workload.name);
                }
            }
        }
        assert!(find("ycsb-z").unwrap_err().contains("ycsb-a, ycsb-b"));
    }

    #[test]
    fn only_what_reads_far_is_read_ahead_for() {
        let far = |entry_bytes| -> Vec<String> {
            let all = presets().into_iter().filter(|workload| workload.reads_far(entry_bytes));
            all.map(|workload| workload.name).collect()
        };
        assert_eq!(far(116), ["full-scan", "load-sorted", "load-random"]);
        let large = far(20 << 10);
        assert!(
            large.iter().any(|name| name == "scan") && !large.iter().any(|name| name == "get"),
            "{large:?}"
        );
        let replay = |scanned| Workload {
            name: "replay".into(),
            about: String::new(),
            work: Work::Replay(Replay { speed: None, durability: Durability::Synced, commits: 0, scanned }),
        };
        assert_eq!([0, 100, 100_000].map(|scanned| replay(scanned).reads_far(116)), [false, false, true]);
    }
}
