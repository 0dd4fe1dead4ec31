//! The pattern of a recorded trace: which reads and writes a table met, how many at a time, and how they were spread over
//! the keys.
//!
//! The trace is not replayed. It is told by its shares, and a workload that has the same ones is run in its place: so
//! one trace of an hour makes runs of seconds. How skewed the reads are is told by how many different keys they meet,
//! compared with what as many uniform or Zipfian ones would.
#![forbid(unsafe_code)]

use super::pattern::{Pattern, Writes};
use crate::corpus::Random;
use crate::workload::{Distribution, Op, Role, Work, Workload, Zipfian};
use bifold::trace::{self, From, Reader};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Events that are looked at.
const EVENTS: usize = 10_000_000;
/// Keys that are told apart.
const KEYS: u64 = 2_000_000;
/// Operations of a transaction that reads, at most, and entries of a commit.
const PER_TXN: u64 = 1000;
const PER_COMMIT: u64 = 100_000;

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
    /// Entries put and removed by transactions that were committed, those that did so, and how many of them waited for a
    /// sync.
    puts: u64,
    removals: u64,
    commits: u64,
    synced: u64,
    /// Entries of loads, and removals of ranges: these are not measured.
    loaded: u64,
    ranges: u64,
    /// Loads of the table.
    loads: HashSet<u64>,
    /// What open transactions have put and removed.
    open: HashMap<u64, (u64, u64)>,
    threads: HashSet<u32>,
    /// Keys that were asked for, and how many different ones.
    asked: u64,
    keys: HashSet<u64>,
}

/// The pattern of `table`, of so many `entries`, in the trace at `path`; without its writes, if only reads are wanted.
///
/// # Errors
/// Those of the trace; if it has no reads or writes of the table. In words.
pub(super) fn pattern(path: &Path, table: &str, entries: u64, reads_only: bool) -> Result<Pattern, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let seen = read(path, table).map_err(|error| named(&error))?;
    let reads: u64 = seen.reads.values().sum();
    let writes = if reads_only { 0 } else { seen.puts + seen.removals };
    if reads + writes == 0 {
        return Err(named(&format!(
            "it has no reads of the table {table:?}, nor commits that change its entries"
        )));
    }
    let role = seen.role(entries);
    let all = |role: &Role, ops: &[(Op, u64)]| {
        let sum: u64 = ops.iter().map(|(_, count)| count).sum();
        let shares = ops.iter().filter(|(_, count)| *count > 0);
        let shares: Vec<(Op, f64)> =
            shares.map(|(op, count)| (*op, *count as f64 / sum.max(1) as f64)).collect();
        let said: Vec<String> =
            shares.iter().map(|(op, share)| format!("{:.0} % {}", share * 100.0, op.name())).collect();
        (Role { mix: role.chosen(shares), ..role.clone() }, said.join(", "))
    };
    let workload = |name: &str, about: String, role: Role| Workload {
        name: name.into(),
        about,
        work: Work::Run(vec![role]),
    };
    let spread = if role.distribution == Distribution::Zipfian { "Zipfian" } else { "uniform" };
    let per_txn = role.per_txn;
    let mut ops: Vec<(Op, u64)> = seen.reads.iter().map(|(op, count)| (*op, *count)).collect();
    let (reading, said) = all(&role, &ops);
    let reading = workload("recorded", format!("{said}; {spread}, {per_txn} in a transaction"), reading);
    let origin = seen.origin(path, reads, reads_only);
    let threads = Some(seen.threads.len().clamp(1, 1024) as u64);
    if writes == 0 {
        return Ok(Pattern { workload: reading, reads: None, origin, threads });
    }
    let how = seen.writes();
    let role = Role { per_commit: Some(how.per_commit), durability: how.durability(), ..role };
    // A delete beside reads would have them miss what is not put back yet.
    ops.push((Op::Update, seen.puts + seen.removals));
    let (role, said) = all(&role, &ops);
    let about = format!("{said}; {spread}, {per_txn} read in a transaction, {}", how.words());
    let reads = (reads > 0).then_some(reading);
    Ok(Pattern { workload: workload("recorded-writes", about, role), reads, origin, threads })
}

/// What the trace's first events say of `table`. Threads' events lie in blocks, so that a table may be used before
/// its opening is read: openings are looked for first.
fn read(path: &Path, table: &str) -> trace::Result<Seen> {
    let mut openings = HashMap::new();
    for event in Reader::open(path)?.take(EVENTS) {
        match event?.op {
            trace::Op::OpenTable { txn, table: number, name, found: true }
            | trace::Op::CreateTable { txn, table: number, name }
                if name == table =>
            {
                openings.insert(number, txn);
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
    /// What is common to reads and writes; its mix is to be said.
    fn role(&self, entries: u64) -> Role {
        let count = |op: Op| self.reads.get(&op).copied().unwrap_or(0);
        let scans = count(Op::Scan) + count(Op::ScanBack);
        let length = (self.scanned / scans.max(1)).clamp(1, 1 << 30);
        let gets = count(Op::Read) + count(Op::Missing);
        let per_txn = if count(Op::ReadMany) > gets {
            self.many / count(Op::ReadMany).max(1)
        } else {
            gets / self.openings.max(1)
        };
        Role {
            distribution: distribution(self.asked, self.keys.len() as u64, entries),
            per_txn: per_txn.clamp(1, PER_TXN),
            scan: (length, length),
            ..Role::of(Op::Read)
        }
    }

    /// How it was written.
    fn writes(&self) -> Writes {
        let (written, commits) = (self.puts + self.removals, self.commits.max(1));
        Writes {
            share: 0.0,
            per_commit: ((written + commits / 2) / commits).clamp(1, PER_COMMIT),
            synced: self.synced * 2 >= self.commits,
        }
    }

    /// Where it is known from, in words.
    fn origin(&self, path: &Path, reads: u64, reads_only: bool) -> String {
        let mut said =
            format!("from {reads} reads in {}, which met {} different keys", path.display(), self.keys.len());
        let Self { puts, removals, commits, synced, loaded, ranges, .. } = self;
        let _ = if reads_only {
            write!(said, "; its {} writes were not measured", puts + removals)
        } else {
            write!(
                said,
                "; and {puts} inserts and {removals} removals in {commits} commits, {synced} of them synced"
            )
        };
        if puts + removals > 0 && !reads_only {
            said.push_str(
                ". Each insert and each removal is measured as an overwrite of an entry that is there, in the \
                 reads' spread",
            );
        }
        if *loaded + *ranges > 0 {
            let _ =
                write!(said, "; {loaded} entries of bulk loads and {ranges} removals of ranges are left out");
        }
        said
    }

    /// Takes note of how a write transaction ended.
    fn end(&mut self, txn: u64, op: &trace::Op<'_>) {
        let Some((puts, removals)) = self.open.remove(&txn) else { return };
        if let trace::Op::Commit { durability, waited, number: Some(_), .. } = op
            && puts + removals > 0
        {
            self.puts += puts;
            self.removals += removals;
            self.commits += 1;
            self.synced += u64::from(*waited && *durability == bifold::Durability::Sync);
        }
    }

    /// Takes note of a change of the table that `txn` has made.
    fn change(&mut self, thread: u32, txn: u64, op: &trace::Op<'_>) {
        use trace::Op as T;
        self.threads.insert(thread);
        let (puts, removals) = self.open.entry(txn).or_default();
        match op {
            T::Insert { .. } => *puts += 1,
            T::Remove { found: true, .. } => *removals += 1,
            T::RemoveRange { removed, .. } if *removed > 0 => self.ranges += 1,
            _ => {}
        }
    }

    /// Takes note of an event; returns the number of the opening that was read through, if it was the table's.
    fn note(&mut self, thread: u32, op: &trace::Op<'_>, openings: &HashMap<u64, u64>) -> Option<u64> {
        use trace::Op as T;
        let (table, kind, key) = match op {
            T::Get { table, key, value_len } | T::Stream { table, key, value_len } => {
                (table, if value_len.is_some() { Op::Read } else { Op::Missing }, Some(key))
            }
            T::Contains { table, key, found } => {
                (table, if *found { Op::Read } else { Op::Missing }, Some(key))
            }
            T::GetMany { table, count } => {
                self.many += if openings.contains_key(table) { *count } else { 0 };
                (table, Op::ReadMany, None)
            }
            T::Scan { table, forward, backward, .. } => {
                (table, self.scan(*forward, *backward, openings.contains_key(table)), None)
            }
            T::Cursor { table, forward, backward, from } => {
                let kind = self.scan(*forward, *backward, openings.contains_key(table));
                let key = match from {
                    From::Seek(key) | From::SeekExact(key) => Some(key),
                    _ => None,
                };
                (table, kind, key)
            }
            T::Insert { table, .. } | T::Remove { table, .. } | T::RemoveRange { table, .. } => {
                if let Some(txn) = openings.get(table) {
                    self.change(thread, *txn, op);
                }
                return None;
            }
            T::LoadBegin { table, load } => {
                if openings.contains_key(table) {
                    self.loads.insert(*load);
                }
                return None;
            }
            T::LoadPush { load, .. } => {
                self.loaded += u64::from(self.loads.contains(load));
                return None;
            }
            T::Commit { txn, .. } | T::Abort { txn } => {
                self.end(*txn, op);
                return None;
            }
            _ => return None,
        };
        if !openings.contains_key(table) {
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
        for n in 0..50 {
            let txn = db.write().unwrap();
            let table = txn.table("t").unwrap();
            (0..2).for_each(|m| table.insert(key(n * 2 + m), "other").unwrap());
            (0..2).for_each(|m| assert!(table.remove(key(500 + n * 2 + m)).unwrap()));
            assert!(!table.remove("none").unwrap());
            txn.set_durability(bifold::Durability::Buffered);
            txn.commit().unwrap();
        }
        let aborted = db.write().unwrap();
        aborted.table("t").unwrap().insert("a", "b").unwrap();
        drop(aborted);
        // Neither is told by its entries.
        let txn = db.write().unwrap();
        txn.set_durability(bifold::Durability::Deferred);
        let table = txn.table("t").unwrap();
        let mut load = table.bulk_load().unwrap();
        (0..7).for_each(|n| load.push(format!("z{n}"), "loaded").unwrap());
        load.finish().unwrap();
        assert_eq!(table.remove_range("z"..).unwrap(), 7);
        (500..600).for_each(|n| table.insert(key(n), "again").unwrap());
        drop(txn);
        let zipfian = Zipfian::new(500);
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
        let reads = pattern(&trace, "t", 1000, true).unwrap();
        let shares = |workload: &Workload| {
            let Work::Run(roles) = &workload.work else { panic!() };
            let at_once = |(op, share): &(Op, f64)| (*op, share * roles[0].at_once(*op) as f64);
            let shares: Vec<(Op, f64)> = roles[0].mix.iter().map(at_once).collect();
            let sum: f64 = shares.iter().map(|(_, share)| share).sum();
            (
                shares.iter().map(|(op, share)| (*op, (share / sum * 1e6).round())).collect::<Vec<_>>(),
                roles[0].clone(),
            )
        };
        let (mix, role) = shares(&reads.workload);
        assert_eq!(mix, [(Op::Read, 900_000.0), (Op::Missing, 100_000.0)]);
        assert_eq!((role.per_txn, role.distribution), (10, Distribution::Zipfian));
        assert_eq!((reads.threads, reads.reads), (Some(1), None));
        assert!(reads.origin.contains("its 1200 writes were not measured"), "{}", reads.origin);

        let both = pattern(&trace, "t", 1000, false).unwrap();
        assert_eq!(both.reads, Some(reads.workload));
        let (mix, role) = shares(&both.workload);
        // 900 reads, 100 that found nothing, 1100 inserts, 100 removals.
        let part = |count: f64| (count / 2200.0 * 1e6f64).round();
        assert_eq!(
            mix,
            [
                (Op::Read, part(900.0)),
                (Op::Missing, part(100.0)),
                // A removal among reads is an overwrite too: deletes, put back later, would make reads miss them.
                (Op::Update, part(1200.0)),
            ]
        );
        assert!(
            both.origin.contains("Each insert and each removal is measured as an overwrite"),
            "{}",
            both.origin
        );
        assert_eq!((role.per_commit, role.durability), (Some(24), crate::Durability::Unsynced));
        let wanted = "1100 inserts and 100 removals in 51 commits, 1 of them synced";
        assert!(
            both.origin.contains(wanted) && both.origin.contains("7 entries of bulk loads and 1 removals"),
            "{}",
            both.origin
        );
        assert!(super::pattern(&trace, "none", 1000, false).unwrap_err().contains("no reads of the table"));
        assert!(super::pattern(&file, "t", 1000, false).unwrap_err().contains("not a trace"));
    }

    #[test]
    fn skew_is_told_by_different_keys() {
        assert_eq!(distribution(0, 0, 100), Distribution::Uniform);
        assert_eq!(distribution(100_000, 63_000, 100_000), Distribution::Uniform);
        assert_eq!(distribution(100_000, 25_000, 100_000), Distribution::Zipfian);
    }
}
