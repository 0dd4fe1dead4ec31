//! What everyone is told when a sync or a write of the log fails, and that a thread that panics leaves nobody waiting.

use super::*;
use crate::common::model::{Change, State, after, difference};
use crate::common::run::changes;
use bifold_page_source::testing::Fault;
use bifold_page_source::testing::pages::Rng;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use Durability::{Buffered, Deferred, Sync};

on_each_source! {
    a_failed_sync_is_told_to_all_who_wait
    what_was_seen_before_a_sync_failed_is_seen_after_it
    a_failed_write_of_the_log_is_told_to_all_who_wait
    the_background_meets_the_failure
    a_leader_that_panics_leaves_nobody_waiting
    a_panic_anywhere_leaves_nobody_waiting
    a_failure_anywhere_leaves_nobody_waiting
    a_failure_that_another_thread_meets_is_told_to_all
}

/// Runs `work` in a thread of its own, and gives up if it hangs. A panic there is this thread's, but for one that a
/// file system was told to make.
fn within_limits(what: &str, work: impl FnOnce() + Send + 'static) {
    let (done, wait) = channel::<()>();
    let thread = thread::spawn(move || {
        let _done = done;
        work();
    });
    assert!(wait.recv_timeout(HUNG) != Err(RecvTimeoutError::Timeout), "it hangs: {what}");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What a commit came to in a thread; a panic that the file system made is `None`.
type Outcome = Option<Result<(), Error>>;

fn outcome(thread: thread::ScopedJoinHandle<'_, Result<(), Error>>) -> Outcome {
    match thread.join() {
        Ok(result) => Some(result),
        Err(panic) if panic.downcast_ref() == Some(&"a test's panic") => None,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn a_failed_sync_is_told_to_all_who_wait<S: TestSource>() {
    const THREADS: u64 = 5;
    for method in [SyncMethod::Fdatasync, SyncMethod::Dsync] {
        for after_the_work in [false, true] {
            let bed = Bed::<S>::synced_by(method);
            let before = bed.db.stats();
            let old = bed.db.read().unwrap();
            let (outcomes, mut tickets) = thread::scope(|s| {
                let gate = bed.hold();
                let leader = s.spawn(|| bed.put(2, Sync));
                gate.wait_for(1);
                let waiting = (0..THREADS).map(|n| {
                    let bed = &bed;
                    s.spawn(move || bed.put(n + 100, Sync))
                });
                let waiting: Vec<_> = waiting.collect();
                wait_until(|| bed.db.stats().commits == before.commits + 1 + THREADS);
                let mut tickets: Vec<_> =
                    [Sync, Deferred].map(|d| bed.put_nowait(d as u64 + 200, d).unwrap()).into();
                for ticket in &mut tickets {
                    assert!(tickets::poll_once(ticket).is_none());
                }
                let fault = Fault::new(OpKind::Sync);
                bed.faults.fail(if after_the_work { fault.after_the_work() } else { fault });
                gate.open();
                let outcomes: Vec<_> = waiting.into_iter().chain([leader]).map(outcome).collect();
                (outcomes, tickets)
            });
            assert!(outcomes.iter().flatten().all(is_unknown), "{method:?}: {outcomes:?}");
            assert_eq!(bed.faults.fired(), 1, "nothing is tried again");
            for ticket in &mut tickets {
                assert!(!ticket.is_durable() && is_unknown(&ticket.wait()));
                assert!(tickets::poll_once(ticket).is_some_and(|result| is_unknown(&result)));
            }
            assert!(is_unknown(&bed.db.sync()));
            assert!(is_poisoned(&bed.db.write().map(drop)) && is_poisoned(&bed.db.checkpoint()));
            bed.stepper.advance(Duration::from_secs(2));
            bed.stepper.run();
            // Readers stay, those that were there and those that come.
            assert_eq!((old.commit_number(), bed.seen()), (1, 1));
            let disk = bed.disk.clone();
            drop((old, tickets));
            assert!(is_poisoned(&Arc::into_inner(bed.db).unwrap().close()));
            assert_eq!(bed.faults.fired(), 1);
            // After reopening, a prefix of them is there.
            let db = SETUP.builder::<S>(Arc::new(disk)).open(DB).unwrap();
            assert!((1..=4 + THREADS).contains(&seen(&db)));
        }
    }
}

fn what_was_seen_before_a_sync_failed_is_seen_after_it<S: TestSource>() {
    let bed = Bed::<S>::new();
    bed.put(2, Deferred).unwrap();
    bed.put(3, Buffered).unwrap();
    bed.faults.fail(Fault::new(OpKind::Sync));
    assert!(is_unknown(&bed.put(4, Sync)));
    assert_eq!(bed.seen(), 3, "they asked for no sync");
    for durability in [Deferred, Buffered, Sync] {
        assert!(is_poisoned(&bed.put(5, durability)) && is_poisoned(&bed.put_nowait(5, durability)));
    }
    assert_eq!(bed.seen(), 3);
}

fn a_failed_write_of_the_log_is_told_to_all_who_wait<S: TestSource>() {
    // By the leader, by a commit that hands over, in both cases with somebody waiting for a sync under way.
    for last in [Sync, Buffered] {
        let bed = Bed::<S>::new();
        let before = bed.db.stats().commits;
        let outcomes = thread::scope(|s| {
            let gate = bed.hold();
            let leader = s.spawn(|| bed.put(2, Sync));
            gate.wait_for(1);
            let second = s.spawn(|| bed.put(3, Sync));
            wait_until(|| bed.db.stats().commits == before + 2);
            bed.faults.fail(Fault::new(OpKind::Write).torn_after(1));
            let third = s.spawn(|| bed.put(4, last));
            if last == Buffered {
                wait_until(|| bed.faults.fired() == 1);
            } else {
                wait_until(|| bed.db.stats().commits == before + 3);
            }
            gate.open();
            [leader, second, third].map(outcome)
        });
        let [leader, second, third] = outcomes;
        // The sync under way is none of it: it may say so, or that the log has failed since.
        assert!(leader.is_some_and(|result| result.is_ok() || is_unknown(&result)));
        assert!(second.is_some_and(|result| is_unknown(&result)), "{last:?}");
        assert!(third.is_some_and(|result| is_unknown(&result)), "{last:?}");
        assert!(is_poisoned(&bed.db.write().map(drop)));
        assert!((1..=2).contains(&bed.seen()), "{}", bed.seen());
    }
}

fn the_background_meets_the_failure<S: TestSource>() {
    let bed = Bed::<S>::new();
    bed.put(2, Deferred).unwrap();
    let mut ticket = bed.put_nowait(3, Sync).unwrap();
    bed.faults.fail(Fault::new(OpKind::Sync));
    bed.stepper.advance(Duration::from_secs(1));
    bed.stepper.run();
    assert_eq!(bed.faults.fired(), 1);
    assert!(tickets::poll_once(&mut ticket).is_some_and(|result| is_unknown(&result)));
    assert!(is_poisoned(&bed.put(4, Sync)));
    assert_eq!(bed.seen(), 2);
}

fn a_leader_that_panics_leaves_nobody_waiting<S: TestSource>() {
    for kind in [OpKind::Sync, OpKind::Write] {
        within_limits("a panic of the leader", move || {
            let bed = Bed::<S>::new();
            let before = bed.db.stats().commits;
            let (first, others, mut ticket) = thread::scope(|s| {
                let gate = bed.hold();
                let first = s.spawn(|| bed.put(2, Sync));
                gate.wait_for(1);
                let others = [3, 4, 5].map(|n| {
                    let bed = &bed;
                    s.spawn(move || bed.put(n, Sync))
                });
                wait_until(|| bed.db.stats().commits == before + 4);
                let mut ticket = bed.put_nowait(6, Deferred).unwrap();
                assert!(tickets::poll_once(&mut ticket).is_none());
                bed.faults.fail(Fault::new(kind).panics());
                gate.open();
                (outcome(first), others.map(outcome), ticket)
            });
            // With syncs the first panics, with writes it is the leader after it.
            assert_eq!(first.is_none(), kind == OpKind::Sync);
            assert!(first.is_none_or(|result| result.is_ok()));
            let panics = others.iter().filter(|outcome| outcome.is_none()).count();
            assert_eq!(panics, usize::from(kind == OpKind::Write));
            assert!(others.iter().flatten().all(is_unknown), "{kind:?}: {others:?}");
            assert!(tickets::poll_once(&mut ticket).is_some_and(|result| is_unknown(&result)));
            assert!(is_poisoned(&bed.db.write().map(drop)));
            assert!((1..=2).contains(&bed.seen()));
        });
    }
}

/// Small bounds, so that checkpoints and full logs come often.
const TIGHT: Setup = Setup { page: 512, delta: 64 << 10, log: 16 << 10 };

fn changes_of(n: u64) -> Vec<Change> {
    changes(n, &mut Rng::new(n))
}

/// Commits again and again, with every durability; notes in `kept` the newest commit that is promised to survive.
fn write_mixed<S: TestSource>(db: &Db<S>, thread: u64, kept: &AtomicU64) -> Result<(), Error> {
    let mut rng = Rng::new(thread);
    for round in 0..12 {
        let txn = db.write()?;
        let number = txn.commit_number() + 1;
        let durability = sharing::pick(&mut rng);
        txn.set_durability(durability);
        changes_of(number).iter().try_for_each(|change| change.perform(&txn))?;
        let survives = if round % 3 == 2 {
            let ticket = txn.commit_nowait()?;
            let wait = rng.below(2) == 0;
            if wait {
                ticket.wait()?;
            }
            wait
        } else {
            txn.commit()?;
            durability != Deferred
        };
        if survives {
            kept.fetch_max(number, Ordering::SeqCst);
        }
    }
    Ok(())
}

/// Three threads write, and one makes checkpoints, with threads in the background, while one call fails. Everyone comes
/// to an end; what was acknowledged is there after reopening, and nothing but whole commits is. Whether the fault was
/// met.
fn threads_with<S: TestSource>(fault: &Fault) -> bool {
    let disk = MemFs::new();
    let faults = FaultFs::new(Arc::new(disk.clone()));
    let builder = Db::<S>::builder().page_size(TIGHT.page).delta_size(TIGHT.delta).log_size(TIGHT.log);
    let db = builder.backend(S::options()).file_system(Arc::new(faults.clone())).open(DB).unwrap();
    faults.fail(fault.clone());
    let kept = AtomicU64::new(0);
    let outcomes: Vec<Outcome> = thread::scope(|s| {
        let (db, kept) = (&db, &kept);
        let writers = (1..=3).map(|thread| s.spawn(move || write_mixed(db, thread, kept)));
        let mut threads: Vec<_> = writers.collect();
        threads.push(s.spawn(|| (0..4).try_for_each(|_| db.checkpoint())));
        threads.into_iter().map(outcome).collect()
    });
    let named = |result: &Result<(), Error>| match result {
        Err(Error::Internal(what)) => what.contains("panic"),
        Err(error) => matches!(
            error,
            Error::OutcomeUnknown(_) | Error::Poisoned(_) | Error::Io { .. } | Error::DiskFull { .. }
        ),
        Ok(()) => true,
    };
    assert!(outcomes.iter().flatten().all(named), "{outcomes:?}");
    // Readers are there whatever happened.
    drop(db.read().unwrap());
    let met = faults.fired() > 0;
    faults.heal();
    drop(db);
    let db = TIGHT.builder::<S>(Arc::new(disk)).open(DB).unwrap();
    let txn = db.read().unwrap();
    let (number, kept) = (txn.commit_number(), kept.into_inner());
    assert!(number >= kept, "{fault:?}: commit {kept} was acknowledged, {number} is there; {outcomes:?}");
    let state = (1..=number).fold(State::new(), |state, n| after(&state, &changes_of(n)));
    assert_eq!(difference(&txn, &state).unwrap(), None);
    drop(txn);
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{fault:?}: {:?}; {outcomes:?}", report.faults);
    met
}

/// A fault at many calls of each kind.
fn threads_with_faults<S: TestSource>(shape: fn(Fault) -> Fault) {
    for kind in [OpKind::Write, OpKind::Sync, OpKind::Allocate] {
        let (mut at, mut met) = (0, 0);
        loop {
            let (sent, received) = channel();
            within_limits(&format!("a fault at {kind:?} number {at}"), move || {
                sent.send(threads_with::<S>(&shape(Fault::new(kind).after(at)))).unwrap();
            });
            if !received.recv().unwrap() {
                break;
            }
            met += 1;
            at += 1 + at / 6;
        }
        assert!(met > 0, "{kind:?}");
    }
}

fn a_panic_anywhere_leaves_nobody_waiting<S: TestSource>() {
    threads_with_faults::<S>(Fault::panics);
}

fn a_failure_anywhere_leaves_nobody_waiting<S: TestSource>() {
    threads_with_faults::<S>(|fault| fault);
    threads_with_faults::<S>(Fault::forever);
}

/// A checkpoint belongs to nobody: the background does steps of the one that a commit or a call waits for, and may be
/// who meets its failure.
fn a_failure_that_another_thread_meets_is_told_to_all<S: TestSource>() {
    type Work<S> = fn(&Db<S>) -> Result<(), Error>;
    // More than the log holds, so that it commits by a checkpoint.
    let large: Work<S> = |db| {
        let txn = db.write()?;
        let table = txn.table("t")?;
        (0..600u32).try_for_each(|n| table.insert(n.to_be_bytes(), vec![1; 60]))?;
        txn.commit()
    };
    let checkpoint: Work<S> = Db::checkpoint;
    for (what, work) in [("a commit", large), ("a checkpoint", checkpoint)] {
        for kind in [OpKind::Write, OpKind::Sync] {
            for round in 0..12 {
                within_limits(what, move || meets::<S>(what, work, &Fault::new(kind).after(round % 3)));
            }
        }
    }
}

/// Does `work` while the background does steps of its checkpoint, and one call fails.
fn meets<S: TestSource>(what: &str, work: fn(&Db<S>) -> Result<(), Error>, fault: &Fault) {
    let (disk, stepper) = (MemFs::new(), Stepper::new());
    let faults = FaultFs::new(Arc::new(disk.clone()));
    let setup = Setup { log: 16 << 10, ..SETUP };
    let db = setup.builder::<S>(Arc::new(faults.clone())).background(stepper.clone()).open(DB).unwrap();
    let old = (0..60u32).map(|n| (n.to_be_bytes(), [2; 50]));
    db.update(|txn| old.clone().try_for_each(|(key, value)| txn.table("u")?.insert(key, value))).unwrap();
    let result = thread::scope(|s| {
        // The log and the metas lie before these bytes.
        let gate = faults.gate(OpKind::Write, 16 << 10..u64::MAX);
        let working = s.spawn(|| work(&db));
        gate.wait_for(1);
        faults.fail(fault.clone());
        let stepping = s.spawn(|| while stepper.step_task("bifold-checkpoint") {});
        // Whoever has waited for a lock for some time is given it.
        thread::sleep(Duration::from_millis(2));
        gate.open();
        let result = working.join().unwrap();
        stepping.join().unwrap();
        result
    });
    if result.is_ok() {
        let crashed = setup.builder::<S>(Arc::new(copy(&disk))).background(Stepper::new()).open(DB).unwrap();
        let there =
            |name| crashed.read().unwrap().find_table(name).unwrap().map(|table| table.len().unwrap());
        assert_eq!(there("u"), Some(60));
        let done = if what == "a commit" { there("t") == Some(600) } else { db.stats().checkpoints > 0 };
        assert!(done, "{fault:?}: {what} failed in another thread, and all is well");
    }
    assert!(result.is_ok() || is_poisoned(&db.write().map(drop)), "{fault:?}: {result:?}");
}
