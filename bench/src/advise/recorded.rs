//! The pattern of a recorded trace: which reads a table met, how many at a time, and how they were spread over the keys.
//!
//! The trace is not replayed. It is told by its shares, and a workload that has the same ones is run in its place: so
//! one trace of an hour makes runs of seconds. How skewed the reads are is told by how many different keys they meet,
//! compared with what as many uniform or Zipfian ones would.
#![forbid(unsafe_code)]

use super::pattern::Pattern;
use crate::corpus::Random;
use crate::workload::{Distribution, Op, Role, Work, Workload, Zipfian};
use bifold::trace::{self, From, Reader};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Events that are looked at.
const EVENTS: usize = 10_000_000;
/// Keys that are told apart.
const KEYS: u64 = 2_000_000;
/// Operations of a transaction, at most.
const PER_TXN: u64 = 1000;

/// What a trace says of a table.
#[derive(Debug, Default)]
struct Seen {
    /// How often each kind of read came.
    reads: BTreeMap<Op, u64>,
    /// Entries that scans showed, and keys of reads of many.
    scanned: u64,
    many: u64,
    /// Read transactions in which the table was opened, about.
    openings: u64,
    writes: u64,
    threads: HashSet<u32>,
    /// Keys that were asked for, and how many different ones.
    asked: u64,
    keys: HashSet<u64>,
}

/// The pattern of `table`, of so many `entries`, in the trace at `path`.
///
/// # Errors
/// Those of the trace; if it has no reads of the table. In words.
pub(super) fn pattern(path: &Path, table: &str, entries: u64) -> Result<Pattern, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let seen = read(path, table).map_err(|error| named(&error))?;
    let reads: u64 = seen.reads.values().sum();
    if reads == 0 {
        return Err(named(&format!("it has no reads of the table {table:?}, and only reads are measured")));
    }
    let distribution = distribution(seen.asked, seen.keys.len() as u64, entries);
    let count = |op: Op| seen.reads.get(&op).copied().unwrap_or(0);
    let scans = count(Op::Scan) + count(Op::ScanBack);
    let length = (seen.scanned / scans.max(1)).clamp(1, 1 << 30);
    let gets = count(Op::Read) + count(Op::Missing);
    let per_txn = if count(Op::ReadMany) > gets {
        seen.many / count(Op::ReadMany).max(1)
    } else {
        gets / seen.openings.max(1)
    };
    let role = Role {
        mix: seen.reads.iter().map(|(op, count)| (*op, *count as f64 / reads as f64)).collect(),
        distribution,
        per_txn: per_txn.clamp(1, PER_TXN),
        scan: (length, length),
        ..Role::of(Op::Read)
    };
    let shares: Vec<String> =
        role.mix.iter().map(|(op, share)| format!("{:.0} % {}", share * 100.0, op.name())).collect();
    let spread = if distribution == Distribution::Zipfian { "Zipfian" } else { "uniform" };
    let about = format!("{}; {spread}, {} in a transaction", shares.join(", "), role.per_txn);
    let origin = format!(
        "from {reads} reads in {}, which met {} different keys; its {} writes were not measured",
        path.display(),
        seen.keys.len(),
        seen.writes
    );
    let workload = Workload { name: "recorded".into(), about, work: Work::Run(vec![role]) };
    Ok(Pattern { workload, origin, threads: Some(seen.threads.len().clamp(1, 1024) as u64) })
}

/// What the trace's first events say of `table`. Threads' events lie in blocks, so that a table may be used before
/// its opening is read: openings are looked for first.
fn read(path: &Path, table: &str) -> trace::Result<Seen> {
    let mut openings = HashSet::new();
    for event in Reader::open(path)?.take(EVENTS) {
        match event?.op {
            trace::Op::OpenTable { table: number, name, found: true, .. }
            | trace::Op::CreateTable { table: number, name, .. }
                if name == table =>
            {
                openings.insert(number);
            }
            _ => {}
        }
    }
    let mut seen = Seen::default();
    let mut used = HashSet::new();
    for event in Reader::open(path)?.take(EVENTS) {
        let event = event?;
        if let Some(number) = seen.note(event.thread, &event.op, &openings) {
            used.insert(number);
        }
    }
    seen.openings = used.len() as u64;
    Ok(seen)
}

impl Seen {
    /// Takes note of an event; returns the number of the opening that was read through, if it was the table's.
    fn note(&mut self, thread: u32, op: &trace::Op<'_>, openings: &HashSet<u64>) -> Option<u64> {
        use trace::Op as T;
        let (table, kind, key) = match op {
            T::Get { table, key, value_len } | T::Stream { table, key, value_len } => {
                (table, if value_len.is_some() { Op::Read } else { Op::Missing }, Some(key))
            }
            T::Contains { table, key, found } => {
                (table, if *found { Op::Read } else { Op::Missing }, Some(key))
            }
            T::GetMany { table, count } => {
                self.many += if openings.contains(table) { *count } else { 0 };
                (table, Op::ReadMany, None)
            }
            T::Scan { table, forward, backward, .. } => {
                (table, self.scan(*forward, *backward, openings.contains(table)), None)
            }
            T::Cursor { table, forward, backward, from } => {
                let kind = self.scan(*forward, *backward, openings.contains(table));
                let key = match from {
                    From::Seek(key) | From::SeekExact(key) => Some(key),
                    _ => None,
                };
                (table, kind, key)
            }
            T::Insert { table, .. } | T::Remove { table, .. } | T::RemoveRange { table, .. } => {
                self.writes += u64::from(openings.contains(table));
                return None;
            }
            _ => return None,
        };
        if !openings.contains(table) {
            return None;
        }
        *self.reads.entry(kind).or_default() += 1;
        self.threads.insert(thread);
        if let Some(key) = key.filter(|_| kind != Op::Missing && self.asked < KEYS) {
            self.asked += 1;
            self.keys.insert(xxh3_64(key));
        }
        Some(*table)
    }

    fn scan(&mut self, forward: u64, backward: u64, counts: bool) -> Op {
        if counts {
            self.scanned += forward + backward;
        }
        if backward > forward { Op::ScanBack } else { Op::Scan }
    }
}

/// Which distribution's `asked` draws from `entries` entries meet a number of different ones that is closer to
/// `different`.
fn distribution(asked: u64, different: u64, entries: u64) -> Distribution {
    if asked == 0 {
        return Distribution::Uniform;
    }
    let uniform = entries as f64 * -(-(asked as f64) / entries.max(1) as f64).exp_m1();
    let (zipfian, mut random) = (Zipfian::new(entries), Random::new(1));
    let drawn: HashSet<u64> = (0..asked).map(|_| zipfian.draw(&mut random)).collect();
    let off = |expected: f64| (different.max(1) as f64 / expected.max(1.0)).ln().abs();
    if off(drawn.len() as f64) < off(uniform) { Distribution::Zipfian } else { Distribution::Uniform }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold::mmap::Database;

    #[test]
    fn a_trace_is_told_by_its_shares() {
        let dir = tempfile::tempdir().unwrap();
        let (file, trace) = (dir.path().join("a.bifold"), dir.path().join("a.trace"));
        let db = Database::builder().record_trace(&trace).open(&file).unwrap();
        let key = |n: u64| format!("{n:05}");
        db.update(|txn| {
            txn.create_table("other")?.insert("x", "y")?;
            let table = txn.create_table("t")?;
            (0..1000).try_for_each(|n| table.insert(key(n), "value").map(drop))
        })
        .unwrap();
        let zipfian = Zipfian::new(1000);
        let mut random = Random::new(7);
        for _ in 0..100 {
            let txn = db.read().unwrap();
            let table = txn.table("t").unwrap();
            for _ in 0..9 {
                assert!(table.get(key(zipfian.draw(&mut random))).unwrap().is_some());
            }
            assert!(table.get("none").unwrap().is_none());
            assert_eq!(txn.table("other").unwrap().iter().count(), 1);
        }
        db.close().unwrap();
        let pattern = pattern(&trace, "t", 1000).unwrap();
        let Work::Run(roles) = &pattern.workload.work else { panic!() };
        assert_eq!(roles[0].mix, [(Op::Read, 0.9), (Op::Missing, 0.1)]);
        assert_eq!((roles[0].per_txn, roles[0].distribution), (10, Distribution::Zipfian));
        assert_eq!(pattern.threads, Some(1));
        assert!(pattern.origin.contains("its 1000 writes"), "{}", pattern.origin);
        assert!(super::pattern(&trace, "none", 1000).unwrap_err().contains("no reads of the table"));
        assert!(super::pattern(&file, "t", 1000).unwrap_err().contains("not a trace"));
    }

    #[test]
    fn skew_is_told_by_different_keys() {
        assert_eq!(distribution(0, 0, 100), Distribution::Uniform);
        assert_eq!(distribution(100_000, 63_000, 100_000), Distribution::Uniform);
        assert_eq!(distribution(100_000, 25_000, 100_000), Distribution::Zipfian);
    }
}
