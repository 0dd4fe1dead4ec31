//! What each durability promises: when a commit returns, when readers see it, what it survives, and that what nobody
//! waits for is synced within a second.

use super::sharing::pick;
use super::*;
use bifold_page_source::testing::pages::Rng;
use std::thread;

use Durability::{Buffered, Deferred, Sync};

on_each_source! {
    each_durability_does_what_it_says_and_no_more
    durability_is_chosen_for_the_database_and_for_a_transaction
    readers_see_a_commit_when_it_and_all_before_it_have_what_they_asked_for
    what_readers_see_follows_from_what_is_durable
    what_nobody_waits_for_is_synced_within_a_second
    a_commit_during_the_backgrounds_sync_is_synced_in_time
    a_database_in_memory_makes_nobody_wait
    syncing_by_hand
}

fn each_durability_does_what_it_says_and_no_more<S: TestSource>() {
    let bed = Bed::<S>::new();
    let writes = || bed.faults.count(OpKind::Write);
    let (before, syncs) = (writes(), bed.syncs());
    bed.put(2, Deferred).unwrap();
    assert_eq!((writes(), bed.syncs()), (before, syncs), "in memory");
    assert_eq!((bed.seen(), bed.after_kill()), (2, 1));
    bed.put(3, Buffered).unwrap();
    assert_eq!((writes(), bed.syncs()), (before + 1, syncs), "written, with those before it");
    assert_eq!((bed.seen(), bed.after_kill()), (3, 3));
    bed.put(4, Deferred).unwrap();
    bed.put(5, Sync).unwrap();
    assert_eq!((writes(), bed.syncs()), (before + 2, syncs + 1));
    assert_eq!((bed.seen(), bed.after_kill()), (5, 5));
    // Without waiting, nothing is written either, but for what asks to be handed over.
    let tickets = [Deferred, Sync].map(|durability| bed.put_nowait(10, durability));
    assert_eq!((writes(), bed.syncs()), (before + 2, syncs + 1));
    drop(tickets);
}

fn durability_is_chosen_for_the_database_and_for_a_transaction<S: TestSource>() {
    for chosen in [Deferred, Buffered, Sync] {
        let faults = FaultFs::new(Arc::new(MemFs::new()));
        let builder = SETUP.builder::<S>(Arc::new(faults.clone())).background(Stepper::new());
        let db = builder.durability(chosen).open(DB).unwrap();
        put(&db, 0, Sync).unwrap();
        let counts = || (faults.count(OpKind::Write), faults.count(OpKind::Sync));
        let calls = |durability: Durability| match durability {
            Deferred => (0, 0),
            Buffered => (1, 0),
            Sync => (1, 1),
        };
        let others = [None, Some(Deferred), Some(Buffered), Some(Sync), None];
        for (n, other) in (1..).zip(others) {
            // Nothing is left over from the last.
            db.sync().unwrap();
            let before = counts();
            let txn = db.write().unwrap();
            if let Some(other) = other {
                // The last word counts.
                txn.set_durability(Sync);
                txn.set_durability(other);
            }
            txn.table("t").unwrap().insert(u64::to_be_bytes(n), "").unwrap();
            txn.commit().unwrap();
            let (writes, syncs) = calls(other.unwrap_or(chosen));
            assert_eq!(counts(), (before.0 + writes, before.1 + syncs), "{other:?} over {chosen:?}");
        }
    }
}

fn readers_see_a_commit_when_it_and_all_before_it_have_what_they_asked_for<S: TestSource>() {
    let bed = Bed::<S>::new();
    // Nothing is waited for: at once.
    bed.put(2, Deferred).unwrap();
    assert_eq!(bed.seen(), 2);
    bed.put(3, Buffered).unwrap();
    assert_eq!(bed.seen(), 3);
    let old = bed.db.read().unwrap();
    let waits = bed.put_nowait(4, Sync).unwrap();
    assert_eq!((bed.seen(), bed.newest()), (3, 4), "a commit to be synced is seen when it is");
    // What asks for less waits for those before it.
    bed.put(5, Deferred).unwrap();
    bed.put(6, Buffered).unwrap();
    assert_eq!((bed.seen(), bed.newest(), bed.after_kill()), (3, 6, 6));
    let last = thread::scope(|s| {
        let gate = bed.hold();
        let waiting = s.spawn(|| waits.wait());
        gate.wait_for(1);
        let deferred = bed.put_nowait(7, Deferred).unwrap();
        let synced = bed.put_nowait(8, Sync).unwrap();
        bed.put(9, Deferred).unwrap();
        assert_eq!((bed.seen(), bed.newest()), (3, 9));
        gate.open();
        waiting.join().unwrap().unwrap();
        assert!(!deferred.is_durable());
        synced
    });
    // The sync covered 4; 5, 6 and 7 asked for less, and 8 waits for the next one.
    assert_eq!((bed.seen(), bed.newest()), (7, 9));
    last.wait().unwrap();
    assert_eq!(bed.seen(), 9);
    assert_eq!(old.commit_number(), 3);
    assert_eq!(old.table("t").unwrap().len().unwrap(), 3, "a snapshot stays as it was");
}

/// Random work in one thread: what is durable is a prefix, and readers see the longest prefix of which each commit has
/// what it asked for.
fn what_readers_see_follows_from_what_is_durable<S: TestSource>() {
    for seed in 1..9 {
        let bed = Bed::<S>::new();
        let mut rng = Rng::new(seed);
        let mut commits = vec![(Sync, None)];
        for n in 2..150 {
            let durability = pick(&mut rng);
            let ticket = bed.put_nowait(n, durability).unwrap();
            assert_eq!(ticket.commit_number(), n);
            commits.push((durability, Some(ticket)));
            match rng.below(12) {
                0 => bed.db.sync().unwrap(),
                1 => bed.db.checkpoint().unwrap(),
                2 => bed.stepper.advance(Duration::from_millis(rng.below(700))),
                3 => drop(bed.stepper.step()),
                4 => bed.stepper.run(),
                5 => {
                    let (_, ticket) = &commits[rng.below(commits.len() as u64) as usize];
                    ticket.as_ref().map_or(Ok(()), CommitTicket::wait).unwrap();
                }
                _ => {}
            }
            let durable: Vec<bool> =
                commits.iter().map(|(_, t)| t.as_ref().is_none_or(CommitTicket::is_durable)).collect();
            assert!(durable.is_sorted_by(|a, b| a >= b), "seed {seed}: {durable:?}");
            let waits = commits.iter().zip(&durable).position(|((asked, _), done)| *asked == Sync && !done);
            assert_eq!(bed.seen(), waits.map_or(n, |at| at as u64), "seed {seed}");
        }
    }
}

fn what_nobody_waits_for_is_synced_within_a_second<S: TestSource>() {
    const STEP: u64 = 20;
    type Commit<S> = fn(&Bed<S>, u64);
    let kinds: [Commit<S>; 5] = [
        |bed, n| bed.put(n, Deferred).unwrap(),
        |bed, n| bed.put(n, Buffered).unwrap(),
        |bed, n| drop(bed.put_nowait(n, Deferred).unwrap()),
        |bed, n| drop(bed.put_nowait(n, Buffered).unwrap()),
        |bed, n| drop(bed.put_nowait(n, Sync).unwrap()),
    ];
    for (kind, commit) in kinds.iter().enumerate() {
        for pause in [1, 7, 200, 990, 5000] {
            let bed = Bed::<S>::new();
            let mut made = Vec::new();
            let before = bed.db.stats();
            for now in (0..6000).step_by(STEP as usize) {
                if now / pause > (now.max(STEP) - STEP) / pause && now < 4000 {
                    let n = made.len() as u64 + 2;
                    commit(&bed, n);
                    made.push(now);
                }
                bed.stepper.run();
                let synced = (bed.db.stats().synced_commits - before.synced_commits) as usize;
                if let Some(oldest) = made.get(synced) {
                    assert!(
                        now <= oldest + 1000,
                        "kind {kind}, pause {pause}: {oldest} ms waits at {now} ms"
                    );
                }
                bed.stepper.advance(Duration::from_millis(STEP));
            }
            let after = bed.db.stats();
            assert_eq!(after.synced_commits - before.synced_commits, made.len() as u64);
            assert_eq!((bed.seen(), bed.after_kill()), (bed.newest(), bed.newest()));
            let syncs = after.log_syncs - before.log_syncs;
            assert!(syncs <= 12 && syncs <= made.len() as u64, "{syncs} syncs for {}", made.len());
        }
    }
}

fn a_commit_during_the_backgrounds_sync_is_synced_in_time<S: TestSource>() {
    let bed = Bed::<S>::new();
    bed.put(2, Deferred).unwrap();
    bed.stepper.advance(Duration::from_millis(900));
    let syncs = bed.db.stats().log_syncs;
    thread::scope(|s| {
        let gate = bed.hold();
        let background = s.spawn(|| bed.stepper.run());
        gate.wait_for(1);
        bed.put(3, Deferred).unwrap();
        drop(bed.put_nowait(4, Sync).unwrap());
        assert_eq!((bed.seen(), bed.newest()), (3, 4));
        gate.open();
        background.join().unwrap();
    });
    // The clock stood still meanwhile, so that the later ones are as old as nothing.
    for _ in 0..50 {
        bed.stepper.advance(Duration::from_millis(20));
        bed.stepper.run();
    }
    assert_eq!((bed.seen(), bed.after_kill()), (4, 4));
    assert_eq!(bed.db.stats().log_syncs, syncs + 2);
}

fn a_database_in_memory_makes_nobody_wait<S: TestSource>() {
    let db = Db::<S>::builder().page_size(512).backend(S::options()).in_memory().unwrap();
    for n in 0..30 {
        let durability = [Deferred, Buffered, Sync][n as usize % 3];
        if n % 2 == 0 {
            put(&db, n, durability).unwrap();
        } else {
            let ticket = put_nowait(&db, n, durability).unwrap();
            assert!(ticket.is_durable());
            ticket.wait().unwrap();
            assert!(tickets::poll_once(&mut ticket.clone()).is_some_and(|result| result.is_ok()));
        }
        assert_eq!(seen(&db), n + 1);
        db.sync().unwrap();
    }
    assert_eq!(db.stats().log_syncs, 0);
    db.close().unwrap();
}

fn syncing_by_hand<S: TestSource>() {
    let bed = Bed::<S>::new();
    let syncs = bed.syncs();
    bed.db.sync().unwrap();
    assert_eq!(bed.syncs(), syncs, "everything is");
    let tickets = [Deferred, Buffered, Sync].map(|durability| bed.newest_after(durability));
    bed.db.sync().unwrap();
    assert!(tickets.iter().all(CommitTicket::is_durable));
    assert_eq!((bed.seen(), bed.after_kill(), bed.syncs()), (4, 4, syncs + 1));
    // A transaction that changed nothing stands for the newest commit.
    bed.put(5, Deferred).unwrap();
    let ticket = bed.db.write().unwrap().commit_nowait().unwrap();
    assert_eq!((ticket.commit_number(), ticket.is_durable()), (5, false));
    bed.db.write().unwrap().commit().unwrap();
    assert!(ticket.is_durable(), "committing nothing with `Sync` is a sync of what was before");
    let disk = bed.disk.clone();
    drop((ticket, tickets, bed));
    let db = SETUP.builder::<S>(Arc::new(disk)).read_only().open(DB).unwrap();
    assert!(matches!(db.sync(), Err(Error::ReadOnly)));
    assert_eq!(seen(&db), 5);
}

impl<S: TestSource> Bed<S> {
    /// The ticket of one more commit.
    fn newest_after(&self, durability: Durability) -> CommitTicket {
        let n = self.newest() + 1;
        self.put_nowait(n, durability).unwrap()
    }
}
