//! Who is covered by which sync, and that nobody else's work waits for one.

use super::*;
use bifold_page_source::testing::pages::Rng;
use std::sync::Mutex;
use std::thread;

const METHODS: [SyncMethod; 2] = [SyncMethod::Fdatasync, SyncMethod::Dsync];

on_each_source! {
    those_who_come_during_a_sync_share_the_next
    the_next_writer_works_while_a_sync_is_under_way
    a_sync_covers_what_was_appended_before_it_and_no_more
    many_threads_with_every_durability
    checkpoints_beside_a_sync_under_way
    a_log_that_begins_during_a_checkpoint_counts
    nothing_is_lost_that_is_walked_beside_a_checkpoint
}

fn those_who_come_during_a_sync_share_the_next<S: TestSource>() {
    const THREADS: u64 = 8;
    for method in METHODS {
        let bed = Bed::<S>::synced_by(method);
        let (before, syncs) = (bed.db.stats(), bed.syncs());
        thread::scope(|s| {
            let gate = bed.hold();
            s.spawn(|| bed.put(100, Durability::Sync).unwrap());
            gate.wait_for(1);
            for n in 0..THREADS {
                let bed = &bed;
                s.spawn(move || bed.put(n + 200, Durability::Sync).unwrap());
            }
            wait_until(|| bed.db.stats().commits == before.commits + 1 + THREADS);
            assert_eq!((bed.seen(), bed.newest()), (1, 2 + THREADS));
            assert_eq!((gate.arrived(), bed.db.stats().log_syncs), (1, before.log_syncs));
        });
        let after = bed.db.stats();
        assert_eq!(bed.syncs() - syncs, 2, "{method:?}: one for the first, one for all the others");
        assert_eq!(after.log_syncs - before.log_syncs, 2);
        assert_eq!(after.synced_commits - before.synced_commits, 1 + THREADS);
        assert_eq!(bed.seen(), 2 + THREADS);
    }
}

fn the_next_writer_works_while_a_sync_is_under_way<S: TestSource>() {
    for method in METHODS {
        let bed = Bed::<S>::synced_by(method);
        let begun = bed.syncs();
        let tickets = thread::scope(|s| {
            let gate = bed.hold();
            let waiting = s.spawn(|| bed.put(2, Durability::Sync));
            gate.wait_for(1);
            let mut tickets = Vec::new();
            for n in 3..=20 {
                let txn = bed.db.write().unwrap();
                assert_eq!(txn.commit_number(), n - 1, "a writer starts from the newest commit");
                let table = txn.table("t").unwrap();
                assert_eq!(table.len().unwrap(), n - 1);
                table.insert(n.to_be_bytes(), n.to_le_bytes()).unwrap();
                tickets.push(txn.commit_nowait().unwrap());
                // Work that is given up is given up beside a sync too.
                bed.db.write().unwrap().table("t").unwrap().insert("never", "").unwrap();
                assert_eq!((bed.seen(), tickets[0].is_durable()), (1, false));
            }
            assert!(!waiting.is_finished());
            gate.open();
            waiting.join().unwrap().unwrap();
            tickets
        });
        assert_eq!(bed.seen(), 2);
        assert!(tickets.iter().all(|ticket| !ticket.is_durable()), "what came later was not covered");
        // Whoever waits for one waits for all before it, and here syncs those behind it as well.
        tickets[9].wait().unwrap();
        assert!(tickets.iter().all(CommitTicket::is_durable));
        assert_eq!((bed.seen(), bed.after_kill(), bed.syncs() - begun), (20, 20, 2));
    }
}

fn a_sync_covers_what_was_appended_before_it_and_no_more<S: TestSource>() {
    let bed = Bed::<S>::new();
    let early: Vec<_> = (2..5).map(|n| bed.put_nowait(n, Durability::Sync).unwrap()).collect();
    let late = thread::scope(|s| {
        let gate = bed.hold();
        let syncing = s.spawn(|| bed.db.sync());
        gate.wait_for(1);
        let late: Vec<_> = (5..8).map(|n| bed.put_nowait(n, Durability::Sync).unwrap()).collect();
        // Another who waits does not begin a sync of their own.
        let waiting = s.spawn(|| early[1].wait());
        assert!(early.iter().chain(&late).all(|ticket| !ticket.is_durable()));
        assert_eq!(gate.arrived(), 1);
        gate.open();
        syncing.join().unwrap().unwrap();
        waiting.join().unwrap().unwrap();
        late
    });
    assert!(early.iter().all(CommitTicket::is_durable));
    assert!(late.iter().all(|ticket| !ticket.is_durable()));
    assert_eq!(bed.seen(), 4);
    bed.db.sync().unwrap();
    assert!(late.iter().all(CommitTicket::is_durable));
    let syncs = bed.syncs();
    bed.db.sync().unwrap();
    early[0].wait().unwrap();
    assert_eq!((bed.syncs(), bed.seen()), (syncs, 7), "nothing was left to sync");
}

/// Real threads in the background as well. Each commit is seen by the time it is promised, readers never go back, and
/// what is durable is a prefix.
fn many_threads_with_every_durability<S: TestSource>() {
    const THREADS: u64 = 6;
    const ROUNDS: u64 = 60;
    for method in [SyncMethod::Auto, SyncMethod::Fdatasync, SyncMethod::Dsync] {
        let disk = MemFs::new();
        let builder = Db::<S>::builder().page_size(512).delta_size(1 << 20).log_size(64 << 10);
        let builder = builder.backend(S::options()).sync_method(method).file_system(Arc::new(disk));
        let db = builder.open(DB).unwrap();
        let tickets = Mutex::new(Vec::new());
        thread::scope(|s| {
            for thread in 0..THREADS {
                let (db, tickets) = (&db, &tickets);
                s.spawn(move || {
                    let mut rng = Rng::new(thread + 1);
                    let mut last = 0;
                    for round in 0..ROUNDS {
                        let n = thread * ROUNDS + round;
                        let durability = pick(&mut rng);
                        if rng.below(2) == 0 {
                            let ticket = put_nowait(db, n, durability).unwrap();
                            if rng.below(4) == 0 {
                                ticket.wait().unwrap();
                                assert!(ticket.is_durable() && seen(db) >= ticket.commit_number());
                            }
                            tickets.lock().unwrap().push(ticket);
                        } else {
                            let txn = db.write().unwrap();
                            txn.set_durability(durability);
                            txn.table("t").unwrap().insert(n.to_be_bytes(), n.to_le_bytes()).unwrap();
                            let number = txn.commit_number() + 1;
                            txn.commit().unwrap();
                            assert!(durability != Durability::Sync || seen(db) >= number);
                        }
                        let now = seen(db);
                        assert!(now >= last, "a reader went back from {last} to {now}");
                        last = now;
                    }
                });
            }
            // Read from the newest to the oldest: what is durable after one that is, must be as well.
            s.spawn(|| {
                for _ in 0..200 {
                    let mut tickets = tickets.lock().unwrap().clone();
                    tickets.sort_by_key(|ticket| std::cmp::Reverse(ticket.commit_number()));
                    let durable: Vec<bool> = tickets.iter().map(CommitTicket::is_durable).collect();
                    assert!(durable.is_sorted(), "a commit is durable and one before it is not");
                    thread::yield_now();
                }
            });
        });
        db.sync().unwrap();
        assert_eq!(seen(&db), THREADS * ROUNDS);
        assert!(tickets.into_inner().unwrap().iter().all(CommitTicket::is_durable));
        let stats = db.stats();
        assert!(stats.synced_commits <= stats.commits && stats.log_syncs <= stats.commits + 1);
        let report = db.check().unwrap();
        assert!(report.is_clean(), "{:?}", report.faults);
        db.close().unwrap();
    }
}

pub(super) fn pick(rng: &mut Rng) -> Durability {
    [Durability::Deferred, Durability::Buffered, Durability::Sync][rng.below(3) as usize]
}

/// A checkpoint makes durable what a sync under way has not covered, and retires the log beneath it.
fn checkpoints_beside_a_sync_under_way<S: TestSource>() {
    let bed = Bed::<S>::synced_by(SyncMethod::Dsync);
    thread::scope(|s| {
        // The log alone is held back: the first sectors of the file that the pages of the database do not reach.
        let gate = bed.faults.gate(OpKind::Write, 1024..2048);
        let waiting = s.spawn(|| bed.put(2, Durability::Sync));
        gate.wait_for(1);
        let tickets: Vec<_> = (3..6).map(|n| bed.put_nowait(n, Durability::Sync).unwrap()).collect();
        assert_eq!(bed.seen(), 1);
        bed.db.checkpoint().unwrap();
        // All of it is in the file: nobody needs the sync that is still held back.
        assert_eq!(bed.seen(), 5);
        assert!(tickets.iter().all(CommitTicket::is_durable));
        tickets[2].wait().unwrap();
        assert!(!waiting.is_finished());
        gate.open();
        waiting.join().unwrap().unwrap();
        for n in 6..40 {
            bed.put(n, Durability::Sync).unwrap();
        }
    });
    assert_eq!((bed.seen(), bed.after_kill()), (39, 39));
}

/// The first commit makes the log. A checkpoint that was begun before must not say that there is none.
fn a_log_that_begins_during_a_checkpoint_counts<S: TestSource>() {
    for turns in 0..12 {
        let disk = MemFs::new();
        let builder = SETUP.builder::<S>(Arc::new(disk.clone())).background(Stepper::new());
        let db = builder.open(DB).unwrap();
        thread::scope(|s| {
            let first = db.write().unwrap();
            let checkpoint = s.spawn(|| db.checkpoint());
            // It waits for its turn after each of these, so that the commit comes between two of its steps.
            drop(first);
            for _ in 0..turns {
                let txn = db.write().unwrap();
                thread::sleep(Duration::from_millis(1));
                drop(txn);
            }
            put(&db, 1, Durability::Sync).unwrap();
            checkpoint.join().unwrap().unwrap();
        });
        put(&db, 2, Durability::Sync).unwrap();
        assert_eq!(seen_after_kill::<S>(&disk), 2, "{turns} turns");
    }
}

/// Pages below a cut are found in the background. A checkpoint that another thread begins meanwhile must know all of
/// them as cut, or all as free.
fn nothing_is_lost_that_is_walked_beside_a_checkpoint<S: TestSource>() {
    for turns in 0..4 {
        let bed = Bed::<S>::new();
        bed.db
            .update(|txn| {
                let table = txn.table("gone")?;
                (0..60u32).try_for_each(|n| table.insert(n.to_be_bytes(), vec![7; 70]))?;
                table.insert("large", vec![7; 66_000])
            })
            .unwrap();
        bed.db.checkpoint().unwrap();
        bed.db.update(|txn| txn.drop_table("gone").map(drop)).unwrap();
        bed.db.checkpoint().unwrap();
        thread::scope(|s| {
            let mut txn = bed.db.write().unwrap();
            let checkpoint = s.spawn(|| bed.db.checkpoint());
            for _ in 0..turns {
                thread::sleep(Duration::from_millis(1));
                drop(txn);
                txn = bed.db.write().unwrap();
            }
            thread::sleep(Duration::from_millis(1));
            let walk = s.spawn(|| bed.stepper.step());
            thread::sleep(Duration::from_millis(1));
            drop(txn);
            checkpoint.join().unwrap().unwrap();
            walk.join().unwrap();
        });
        let copy = copy(&bed.disk);
        let db = SETUP.builder::<S>(Arc::new(copy)).background(Stepper::new()).open(DB).unwrap();
        let report = db.check().unwrap();
        assert!(report.is_clean(), "{turns} turns: {:?}", report.faults);
    }
}
