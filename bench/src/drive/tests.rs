//! Open loops and held snapshots, on stores made up for it.

use super::*;
use crate::corpus::{Made, Sizes};
use crate::store::GetHeld;
use crate::workload::{Distribution, Op, Work, find};
use crate::{Counters, Order, Setup};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A map in memory. Its gets wait as long as they are told to; what it holds as a snapshot may be none.
#[derive(Default)]
struct Memory {
    entries: Mutex<Entries>,
    /// Gets that were asked for.
    gets: AtomicU64,
    /// How many entries were put at once, or asked for, of those times when there were several.
    batches: Mutex<Vec<usize>>,
    /// Gets wait until it is open, if there is one: until the first of them counts.
    gate: Option<(Mutex<bool>, Condvar)>,
    /// How long each get takes.
    slow: Duration,
    /// Gets in snapshots.
    held: AtomicU64,
    /// Gets in a snapshot show what is there now.
    lies: bool,
}

impl Memory {
    fn note_batch(&self, entries: usize) {
        if entries > 1 {
            self.batches.lock().unwrap().push(entries);
        }
    }

    fn open_gate(&self) {
        if let Some((open, opened)) = &self.gate {
            *open.lock().unwrap() = true;
            opened.notify_all();
        }
    }
}

impl Store for Memory {
    const NAME: &'static str = "memory";
    const SYNCED: Option<&'static str> = None;
    const UNSYNCED: Option<&'static str> = Some("nothing");
    const CHECKPOINTS: bool = false;

    fn open(_: &Path, _: &Setup) -> Result<Self> {
        Ok(Self::default())
    }

    fn put<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        _: Order,
        entries: impl Iterator<Item = (K, V)>,
    ) -> Result<()> {
        let entries: Vec<_> =
            entries.map(|(key, value)| (key.as_ref().to_vec(), value.as_ref().to_vec())).collect();
        self.note_batch(entries.len());
        self.entries.lock().unwrap().extend(entries);
        Ok(())
    }

    fn delete<K: AsRef<[u8]>>(&self, keys: impl Iterator<Item = K>) -> Result<()> {
        let mut entries = self.entries.lock().unwrap();
        keys.for_each(|key| drop(entries.remove(key.as_ref())));
        Ok(())
    }

    fn gets<K: AsRef<[u8]>>(
        &self,
        keys: impl Iterator<Item = K>,
        mut visit: impl FnMut(&[u8]),
    ) -> Result<u64> {
        let (mut found, mut asked) = (0, 0);
        for key in keys {
            asked += 1;
            self.gets.fetch_add(1, Ordering::Relaxed);
            if let Some((open, opened)) = &self.gate {
                let _open = opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap();
            }
            thread::sleep(self.slow);
            if let Some(value) = self.entries.lock().unwrap().get(key.as_ref()) {
                visit(value);
                found += 1;
            }
        }
        self.note_batch(asked);
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, mut visit: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        let entries = self.entries.lock().unwrap();
        Ok(entries.range(from.to_vec()..).take(limit as usize).map(|(k, v)| visit(k, v)).count() as u64)
    }

    fn scan_back(&self, _: &[u8], _: u64, _: impl FnMut(&[u8], &[u8])) -> Result<u64> {
        Err("not asked for here".into())
    }

    fn hold<R>(&self, work: impl FnOnce(&mut GetHeld<'_>) -> Result<R>) -> Result<R> {
        let snapshot = self.entries.lock().unwrap().clone();
        work(&mut |key, visit| {
            self.held.fetch_add(1, Ordering::SeqCst);
            let live = self.lies.then(|| self.entries.lock().unwrap().get(key).cloned());
            let value = live.unwrap_or_else(|| snapshot.get(key).cloned());
            Ok(value.map(|value| visit(&value)).is_some())
        })
    }

    fn finish(&self) -> Result<()> {
        Ok(())
    }

    /// They are asked for as soon as what is done counts: only then is the gate opened, if there is one.
    fn counters(&self) -> Option<Counters> {
        self.open_gate();
        None
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

fn corpus() -> Corpus {
    Corpus::Made(Made { entries: 500, keys: Sizes::Fixed(16), values: Sizes::Fixed(20), seed: 1 })
}

/// Does `roles` on a loaded store.
fn driven(store: &Memory, roles: &[Role], pace: Pace) -> Result<Driven> {
    let corpus = corpus();
    corpus.for_each(true, |key, value| store.put(Order::Sorted, std::iter::once((key, value)))).unwrap();
    let job = Job { store, corpus: &corpus, roles, entries: corpus.entries(), pace: &pace };
    run(&job, &mut |_| ())
}

fn pace(rate: f64, warmup: f64, until: Until) -> Pace {
    Pace { threads: 1, warmup, until, rate: Some(rate), seed: 1 }
}

#[test]
fn what_was_due_in_the_warmup_delays_nothing_that_counts() {
    // Forty gets are due before the first of them is let go.
    let store = Memory { gate: Some(<_>::default()), ..Memory::default() };
    let pace = pace(200.0, 0.2, Until::Operations(30));
    let driven = driven(&store, &[Role::of(Op::Read)], pace).unwrap();
    assert_eq!(driven.measured.count(), 30);
    let gets = store.gets.load(Ordering::Relaxed);
    assert!(gets <= 31, "at most one of the warm-up: {gets}");
    assert_eq!(driven.open_loop.unwrap().begun, 30);
}

#[test]
fn a_run_that_is_over_at_once_has_something_of_each_thread() {
    for (op, per_txn) in [(Op::Read, 1), (Op::Update, 7), (Op::Delete, 50)] {
        let role = Role { per_txn, ..Role::of(op) };
        let pace = Pace { threads: 3, rate: None, ..pace(1.0, 0.0, Until::Seconds(0.0)) };
        let driven = driven(&Memory::default(), &[role], pace).unwrap();
        assert!(driven.measured.transactions >= 3 && driven.seconds > 0.0, "{op:?}: {:?}", driven.measured);
        assert!(driven.measured.ops.get(&op).is_some_and(|done| done.count >= 3), "{:?}", driven.measured);
    }
}

#[test]
fn what_was_due_and_never_begun_is_told() {
    let store = Memory { slow: Duration::from_millis(400), ..Memory::default() };
    let pace = pace(100.0, 0.0, Until::Seconds(0.2));
    let driven = driven(&store, &[Role::of(Op::Read)], pace).unwrap();
    let open_loop = driven.open_loop.unwrap();
    assert_eq!(open_loop.due, 20);
    assert!(open_loop.begun < 20, "each takes as long as forty that are due: {open_loop:?}");
    assert!(open_loop.kept() < 1.0 && driven.measured.count() <= open_loop.begun, "{open_loop:?}");

    // Two threads share few operations evenly, and each at its times.
    let store = Memory::default();
    let pace = Pace { threads: 2, ..self::pace(1e6, 0.0, Until::Operations(40)) };
    let driven = self::driven(&store, &[Role::of(Op::Read)], pace).unwrap();
    assert_eq!((driven.measured.count(), driven.open_loop.unwrap().begun), (40, 40));
}

/// What `long-reader` does.
fn long_reader() -> Vec<Role> {
    let Work::Run(roles) = find("long-reader").unwrap().work else { panic!("it runs") };
    roles
}

#[test]
fn a_snapshot_is_read_beside_the_writer_and_one_that_changes_is_found_out() {
    let pace = Pace { rate: None, ..pace(1.0, 0.0, Until::Operations(2000)) };
    let driven = driven(&Memory::default(), &long_reader(), pace).unwrap();
    assert_eq!(driven.measured.ops.keys().collect::<Vec<_>>(), [&Op::Update]);
    assert!(driven.measured.count() > 1000, "of a commit, those that differ count");
    assert!(driven.beside.ops.keys().all(|op| *op == Op::Read), "{:?}", driven.beside);

    let lying = Memory { lies: true, ..Memory::default() };
    let error = self::driven(&lying, &long_reader(), pace).unwrap_err().to_string();
    assert!(error.contains("the snapshot has changed"), "{error}");
}

#[test]
fn a_snapshot_that_cannot_be_read_ends_the_run() {
    let store = Memory::default();
    let corpus = corpus();
    let pace = Pace { rate: None, ..pace(1.0, 3600.0, Until::Operations(1)) };
    // Nothing was loaded.
    let job = Job { store: &store, corpus: &corpus, roles: &long_reader(), entries: 500, pace: &pace };
    let error = run(&job, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("does not show key"), "{error}");
}

#[test]
fn a_transaction_is_whole_but_for_the_last_of_a_number_of_operations() {
    // Sequential ones differ: none is left out of its commit.
    let role = |op, per_txn| Role { per_txn, distribution: Distribution::Sequential, ..Role::of(op) };
    for (op, per_txn, last) in [(Op::Update, 300, 100), (Op::Read, 1000, 600)] {
        let store = Memory::default();
        let operations = 3 * per_txn + last;
        let pace = Pace { rate: None, ..pace(1.0, 0.0, Until::Operations(operations)) };
        let driven = driven(&store, &[role(op, per_txn)], pace).unwrap();
        assert_eq!(driven.measured.count(), operations);
        let mut batches = store.batches.into_inner().unwrap();
        assert_eq!(batches.pop(), Some(last as usize));
        // Those of the warm-up, too.
        assert!(
            batches.len() >= 3 && batches.iter().all(|entries| *entries == per_txn as usize),
            "{batches:?}"
        );
    }
}

#[test]
fn nobody_waits_for_what_was_taken_by_another() {
    // The second thread's first one would be due in a minute.
    let begun = Instant::now();
    let pace = Pace { threads: 2, ..pace(1.0 / 60.0, 0.0, Until::Operations(1)) };
    let driven = driven(&Memory::default(), &[Role::of(Op::Read)], pace).unwrap();
    assert_eq!(driven.measured.count(), 1);
    assert!(begun.elapsed() < Duration::from_mins(1), "not waited for");
}

#[test]
fn nothing_due_is_a_rate_that_was_kept() {
    let kept = |due, begun| OpenLoop { due, begun }.kept();
    let percent = [kept(0, 0), kept(4, 4), kept(4, 1), kept(4, 0)].map(|share| (share * 100.0) as u64);
    assert_eq!(percent, [100, 100, 25, 0]);
}

#[test]
fn deletes_are_done_beside_nothing_else() {
    let pace = Pace { rate: None, ..pace(1.0, 0.0, Until::Operations(100)) };
    let deletes = Role::of(Op::Delete);
    let mixed = Role { mix: vec![(Op::Read, 0.5), (Op::Delete, 0.5)], ..Role::of(Op::Read) };
    for roles in [&[mixed][..], &[deletes.clone(), Role::of(Op::Read)]] {
        let error = driven(&Memory::default(), roles, pace).unwrap_err().to_string();
        assert!(error.contains("a workload that deletes can do nothing else"), "{error}");
    }
    driven(&Memory::default(), &[deletes], pace).unwrap();
}

#[test]
fn what_counts_of_deletes_begins_with_one() {
    let deletes = Role { per_txn: 50, ..Role::of(Op::Delete) };
    // The warm-up ends after a commit that deletes, or after one that puts back.
    for seed in 0..20 {
        for (rate, per_txn) in [(None, 50), (Some(5000.0), 1)] {
            let pace = Pace { rate, seed, ..pace(1.0, 0.005, Until::Operations(5)) };
            let role = Role { per_txn, ..deletes.clone() };
            let driven = driven(&Memory::default(), &[role], pace).unwrap();
            let done = |op| driven.measured.ops.get(&op).map_or(0, |done| done.count);
            assert!(done(Op::Delete) > 0, "seed {seed}: {} were put back", done(Op::Insert));
            assert!(driven.open_loop.is_none_or(|kept| kept.begun >= 5), "{:?}", driven.open_loop);
        }
    }
}

#[test]
fn a_held_snapshot_is_compared_at_the_end_while_nothing_counts() {
    let (store, corpus) = (Memory::default(), corpus());
    corpus.for_each(true, |key, value| store.put(Order::Sorted, std::iter::once((key, value)))).unwrap();
    let pace = Pace { rate: None, ..pace(1.0, 0.0, Until::Operations(1000)) };
    let roles = long_reader();
    let job = Job { store: &store, corpus: &corpus, roles: &roles, entries: 500, pace: &pace };
    let mut told = Vec::new();
    run(&job, &mut |moment| told.push((moment, store.held.load(Ordering::SeqCst)))).unwrap();
    let [(Moment::Begin, _), (Moment::Pause, paused), (Moment::Resume, resumed)] = told[..] else {
        panic!("{told:?}")
    };
    // And perhaps the one get that was on its way when the run was over.
    assert!((500..=501).contains(&(resumed - paused)), "all of the sample, and nothing else: {told:?}");
}
