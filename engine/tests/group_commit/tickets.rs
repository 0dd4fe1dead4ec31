//! Tickets: waited for by threads and as futures, by many at once, dropped, and outliving their database.

use super::*;
use bifold_page_source::testing::Fault;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

on_each_source! {
    a_future_is_ready_when_the_background_has_synced
    one_commit_is_awaited_by_many_tasks
    tasks_that_commit_again_and_again
    a_future_during_a_sync_is_woken_by_the_one_that_covers_it
    dropped_tickets_and_futures_change_nothing
    a_ticket_outlives_the_database
    a_ticket_outlives_a_database_that_could_not_be_closed
    a_close_that_fails_loses_no_commit
}

/// A task that counts how often it was woken.
struct Task {
    thread: Thread,
    woken: AtomicUsize,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Task {
    fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), woken: AtomicUsize::new(0) })
    }

    fn woken(&self) -> usize {
        self.woken.load(Ordering::SeqCst)
    }

    /// Polls once, for this task.
    fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Option<F::Output> {
        let waker = Waker::from(Arc::clone(self));
        match Pin::new(future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

/// Polls once, for a task that nobody waits for.
pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    Task::new().poll(future)
}

/// Runs tasks until all are done: polls those that were woken, and parks when none was.
fn run_all<T>(tasks: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut tasks: Vec<_> = tasks.into_iter().map(|future| (Task::new(), Some(future))).collect();
    // Each is polled once without having been woken.
    for (task, _) in &tasks {
        task.woken.fetch_add(1, Ordering::SeqCst);
    }
    let mut outputs = Vec::new();
    while tasks.iter().any(|(_, future)| future.is_some()) {
        let mut progress = false;
        for (task, slot) in &mut tasks {
            if task.woken.swap(0, Ordering::SeqCst) == 0 {
                continue;
            }
            progress = true;
            if let Some(output) = slot.as_mut().and_then(|future| task.poll(future)) {
                *slot = None;
                outputs.push(output);
            }
        }
        if !progress {
            let begun = Instant::now();
            thread::park_timeout(HUNG);
            assert!(begun.elapsed() < HUNG, "no task is woken");
        }
    }
    outputs
}

fn block_on<F: Future>(future: F) -> F::Output {
    let future: Pin<Box<dyn Future<Output = F::Output> + '_>> = Box::pin(future);
    run_all(vec![future]).pop().unwrap()
}

fn a_future_is_ready_when_the_background_has_synced<S: TestSource>() {
    let bed = Bed::<S>::new();
    let syncs = bed.syncs();
    let mut ticket = bed.put_nowait(2, Durability::Sync).unwrap();
    bed.stepper.run();
    assert!(!ticket.is_durable(), "nobody hurries for what nobody waits for");
    let task = Task::new();
    assert!(task.poll(&mut ticket).is_none());
    // Polled again before anything has happened, it registers no second time.
    assert!(task.poll(&mut ticket).is_none());
    assert_eq!((task.woken(), bed.syncs()), (0, syncs));
    bed.stepper.run();
    assert_eq!((task.woken(), bed.syncs(), bed.seen()), (1, syncs + 1, 2));
    assert!(task.poll(&mut ticket).is_some_and(|result| result.is_ok()));
    assert!(task.poll(&mut ticket.clone()).is_some_and(|result| result.is_ok()), "and stays so");
}

fn one_commit_is_awaited_by_many_tasks<S: TestSource>() {
    let bed = Bed::<S>::new();
    let syncs = bed.syncs();
    let mut tickets = Vec::new();
    for n in 2..6 {
        let ticket = bed.put_nowait(n, Durability::Sync).unwrap();
        tickets.extend([ticket.clone(), ticket]);
    }
    let tasks: Vec<_> = tickets.iter().map(|_| Task::new()).collect();
    for (task, ticket) in tasks.iter().zip(&mut tickets) {
        assert!(task.poll(ticket).is_none());
    }
    // A future may move to another task between two polls: the last one is woken.
    let last = Task::new();
    assert!(last.poll(&mut tickets[0]).is_none());
    thread::scope(|s| {
        // One of the tickets is waited for by a thread, which syncs for all.
        s.spawn(|| tickets[3].wait().unwrap());
    });
    assert!(tasks.iter().chain([&last]).all(|task| task.woken() == 1));
    for (task, ticket) in tasks.iter().zip(&mut tickets) {
        assert!(task.poll(ticket).is_some_and(|result| result.is_ok()));
    }
    bed.stepper.run();
    assert_eq!(bed.syncs(), syncs + 1);
}

/// With threads in the background and no runtime but the one above.
fn tasks_that_commit_again_and_again<S: TestSource>() {
    const TASKS: u64 = 12;
    const ROUNDS: u64 = 8;
    let fs = Arc::new(MemFs::new());
    let db = &Db::<S>::builder().page_size(512).backend(S::options()).file_system(fs).open(DB).unwrap();
    let threads = 3;
    thread::scope(|s| {
        for thread in 0..threads {
            s.spawn(move || {
                let tasks = (0..TASKS).map(|task| {
                    let first = (thread * TASKS + task) * ROUNDS;
                    let future: Pin<Box<dyn Future<Output = ()> + '_>> = Box::pin(async move {
                        for n in first..first + ROUNDS {
                            let durability = [Durability::Sync, Durability::Deferred][n as usize % 2];
                            let ticket = put_nowait(db, n, durability).unwrap();
                            ticket.clone().await.unwrap();
                            assert!(ticket.is_durable() && seen(db) >= ticket.commit_number());
                        }
                    });
                    future
                });
                assert_eq!(run_all(tasks.collect()).len() as u64, TASKS);
            });
        }
    });
    assert_eq!(seen(db), threads * TASKS * ROUNDS);
    assert!(db.stats().log_syncs <= threads * TASKS * ROUNDS + 1);
}

fn a_future_during_a_sync_is_woken_by_the_one_that_covers_it<S: TestSource>() {
    let bed = Bed::<S>::new();
    let mut ticket = thread::scope(|s| {
        let gate = bed.hold();
        let waiting = s.spawn(|| bed.put(2, Durability::Sync));
        gate.wait_for(1);
        let mut ticket = bed.put_nowait(3, Durability::Sync).unwrap();
        assert!(poll_once(&mut ticket).is_none());
        // The background comes while the sync is under way, and must come again.
        bed.stepper.run();
        assert_eq!(gate.arrived(), 1);
        gate.open();
        waiting.join().unwrap().unwrap();
        ticket
    });
    assert!(!ticket.is_durable());
    let task = Task::new();
    assert!(task.poll(&mut ticket).is_none());
    bed.stepper.advance(Duration::from_millis(2));
    bed.stepper.run();
    assert_eq!((task.woken(), bed.seen()), (1, 3));
    assert!(task.poll(&mut ticket).is_some_and(|result| result.is_ok()));
}

fn dropped_tickets_and_futures_change_nothing<S: TestSource>() {
    let bed = Bed::<S>::new();
    let task = Task::new();
    for n in 2..10 {
        let mut ticket = bed.put_nowait(n, Durability::Sync).unwrap();
        if n % 2 == 0 {
            assert!(task.poll(&mut ticket).is_none());
        }
        drop(ticket);
    }
    drop(task);
    bed.stepper.advance(Duration::from_secs(1));
    bed.stepper.run();
    assert_eq!((bed.seen(), bed.after_kill()), (9, 9));
    bed.put(10, Durability::Sync).unwrap();
    Arc::try_unwrap(bed.db).unwrap().close().unwrap();
}

fn a_ticket_outlives_the_database<S: TestSource>() {
    for close in [true, false] {
        let bed = Bed::<S>::new();
        let mut tickets = Vec::new();
        for n in 2..6 {
            let durability = [Durability::Sync, Durability::Deferred][n as usize % 2];
            tickets.push(bed.put_nowait(n, durability).unwrap());
        }
        let task = Task::new();
        assert!(task.poll(&mut tickets[0]).is_none());
        let (disk, db) = (bed.disk.clone(), Arc::try_unwrap(bed.db).unwrap());
        if close {
            db.close().unwrap();
        } else {
            drop(db);
        }
        assert_eq!(task.woken(), 1);
        for ticket in &mut tickets {
            assert!(ticket.is_durable());
            ticket.wait().unwrap();
            block_on(&mut *ticket).unwrap();
        }
        // Tickets keep the file open.
        let open = || SETUP.builder::<S>(Arc::new(disk.clone())).open(DB);
        assert!(matches!(open(), Err(Error::Locked)));
        drop(tickets);
        assert_eq!(seen(&open().unwrap()), 5);
    }
}

/// The writer is forgotten, so that closing can make no checkpoint: the commits go to the log.
fn a_ticket_outlives_a_database_that_could_not_be_closed<S: TestSource>() {
    let bed = Bed::<S>::new();
    let mut tickets: Vec<_> =
        [Durability::Sync, Durability::Deferred].map(|d| bed.put_nowait(d as u64 + 10, d).unwrap()).into();
    let task = Task::new();
    assert!(task.poll(&mut tickets[0]).is_none());
    mem::forget(bed.db.write().unwrap());
    let db = Arc::into_inner(bed.db).unwrap();
    assert!(db.close().is_err());
    assert_eq!(task.woken(), 1);
    for ticket in &mut tickets {
        assert!(task.poll(ticket).is_some_and(|result| result.is_ok()));
        ticket.wait().unwrap();
    }
    drop(tickets);
    let db = SETUP.builder::<S>(Arc::new(bed.disk)).open(DB).unwrap();
    assert_eq!(seen(&db), 3);
}

/// The checkpoint that closes fails: what was committed is in the log, whatever it asked for.
fn a_close_that_fails_loses_no_commit<S: TestSource>() {
    for poisoned_before in [true, false] {
        let bed = Bed::<S>::new();
        let (disk, faults) = (bed.disk.clone(), bed.faults.clone());
        let mut ticket = bed.put_nowait(2, Durability::Deferred).unwrap();
        let task = Task::new();
        assert!(task.poll(&mut ticket).is_none());
        faults.fail(Fault::new(OpKind::Write).on(DB).forever());
        if poisoned_before {
            assert!(matches!(bed.db.checkpoint(), Err(Error::Io { .. })));
        }
        let closed = Arc::into_inner(bed.db).unwrap().close();
        assert!(matches!(closed, Err(Error::Io { .. } | Error::Poisoned(_))), "{closed:?}");
        assert!(ticket.is_durable(), "nobody is left who would sync it");
        assert_eq!(task.woken(), 1);
        assert!(task.poll(&mut ticket).is_some_and(|result| result.is_ok()));
        drop(ticket);
        let db = SETUP.builder::<S>(Arc::new(disk)).open(DB).unwrap();
        assert_eq!(seen(&db), 2);
    }
}

/// Tickets as futures need no pinning, and go anywhere.
#[test]
fn tickets_are_send_sync_and_unpin() {
    fn is_all<T: Send + Sync + Unpin + Clone + 'static>() {}
    is_all::<CommitTicket>();
}
