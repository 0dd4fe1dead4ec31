//! The writer's gate: one holder at a time, first come, first served.
//!
//! What the gate protects is *owned* by its holder: taken out on the way in, put back on the way out. So a write
//! transaction needs no guard that borrows the gate, and there is no way to reach the state without it. The price is
//! that whoever forgets what it took (`mem::forget` of a transaction) closes the gate for good: then [`Wait::No`]
//! and [`Wait::For`] still return, and [`Wait::Ever`] does what it says.
//!
//! Each waiter has a condition of its own and a place in the queue. Letting go wakes the first, and nobody else: no
//! herd, and no newcomer overtakes, as whoever finds a queue joins it.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// How long to wait for the gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// At most so long.
    For(Duration),
    /// Until the gate opens, if ever.
    Ever,
}

/// A gate and, while nobody is inside, what it protects.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    /// What is protected; `None` while someone holds it.
    state: Option<Box<T>>,
    /// The thread that took it.
    holder: Option<ThreadId>,
    /// Who waits, the first to come in front.
    queue: VecDeque<Waiter>,
    /// The next waiter's number.
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    wake: Arc<Condvar>,
}

impl<T> Gate<T> {
    /// An open gate around `state`.
    pub(crate) fn new(state: T) -> Self {
        let inner =
            Inner { state: Some(Box::new(state)), holder: None, queue: VecDeque::new(), next_ticket: 0 };
        Self { inner: Mutex::new(inner) }
    }

    /// Takes what the gate protects; it is to be given back by [`release`](Self::release).
    ///
    /// # Errors
    /// `WriterHeldHere` if this thread holds it, whatever `wait` says: waiting would never end. `WriterBusy` if it
    /// was not to be had in time.
    pub(crate) fn acquire(&self, wait: Wait) -> Result<Box<T>> {
        let thread = thread::current().id();
        let mut inner = self.inner.lock();
        if inner.holder == Some(thread) {
            return Err(Error::WriterHeldHere);
        }
        if inner.queue.is_empty()
            && let Some(state) = inner.enter(thread)
        {
            return Ok(state);
        }
        let begun = Instant::now();
        let deadline = match wait {
            Wait::No => return Err(Error::WriterBusy { waited: Duration::ZERO }),
            // A time beyond what the clock can tell never comes.
            Wait::For(time) => begun.checked_add(time),
            Wait::Ever => None,
        };
        let wake = Arc::new(Condvar::new());
        let ticket = inner.queue_up(&wake);
        loop {
            let late = if let Some(at) = deadline {
                wake.wait_until(&mut inner, at).timed_out()
            } else {
                wake.wait(&mut inner);
                false
            };
            // Looked at before the time: if the gate was opened for this waiter, nobody else has been woken.
            if inner.queue.front().is_some_and(|first| first.ticket == ticket)
                && let Some(state) = inner.enter(thread)
            {
                inner.queue.pop_front();
                return Ok(state);
            }
            if late {
                inner.queue.retain(|waiter| waiter.ticket != ticket);
                return Err(Error::WriterBusy { waited: begun.elapsed() });
            }
        }
    }

    /// Gives back what was taken, from whatever thread, and lets the next one in.
    pub(crate) fn release(&self, state: Box<T>) {
        let mut inner = self.inner.lock();
        debug_assert!(inner.state.is_none(), "given back without having been taken");
        inner.state = Some(state);
        inner.holder = None;
        if let Some(first) = inner.queue.front() {
            first.wake.notify_one();
        }
    }
}

impl<T> Inner<T> {
    fn enter(&mut self, thread: ThreadId) -> Option<Box<T>> {
        let state = self.state.take()?;
        self.holder = Some(thread);
        Some(state)
    }

    fn queue_up(&mut self, wake: &Arc<Condvar>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queue.push_back(Waiter { ticket, wake: Arc::clone(wake) });
        ticket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread::Scope;

    impl<T> Gate<T> {
        /// Returns when `count` threads wait.
        fn wait_until_queued(&self, count: usize) {
            while self.inner.lock().queue.len() != count {
                thread::yield_now();
            }
        }
    }

    /// Starts a thread that notes its name once it is in; returns when it waits as number `place`.
    fn enqueue<'s>(s: &'s Scope<'s, '_>, gate: &'s Gate<Vec<usize>>, name: usize, wait: Wait, place: usize) {
        s.spawn(move || {
            let mut names = gate.acquire(wait).unwrap();
            names.push(name);
            gate.release(names);
        });
        gate.wait_until_queued(place);
    }

    fn names(gate: &Gate<Vec<usize>>) -> Vec<usize> {
        // Behind everyone who waits already.
        let names = gate.acquire(Wait::Ever).unwrap();
        let copy = names.to_vec();
        gate.release(names);
        copy
    }

    #[test]
    fn waiters_enter_in_the_order_of_their_coming() {
        let gate = Gate::new(Vec::new());
        thread::scope(|s| {
            let held = gate.acquire(Wait::No).unwrap();
            for name in 0..16 {
                let wait = if name % 2 == 0 { Wait::Ever } else { Wait::For(Duration::MAX) };
                enqueue(s, &gate, name, wait, name + 1);
            }
            gate.release(held);
            assert_eq!(names(&gate), (0..16).collect::<Vec<_>>());
        });
    }

    #[test]
    fn whoever_waits_no_longer_leaves_the_queue_and_stops_nobody() {
        let gate = Gate::new(Vec::new());
        let patience = Duration::from_millis(1);
        thread::scope(|s| {
            let held = gate.acquire(Wait::No).unwrap();
            let leaver = || s.spawn(|| gate.acquire(Wait::For(patience))).join().unwrap();
            for name in 0..4 {
                // Each time somebody leaves the end of the queue, and the first time the front.
                let Err(Error::WriterBusy { waited }) = leaver() else { panic!("the gate is closed") };
                assert!(waited >= patience);
                enqueue(s, &gate, name, Wait::Ever, name + 1);
            }
            gate.release(held);
            assert_eq!(names(&gate), [0, 1, 2, 3]);
        });
    }

    #[test]
    fn a_waiter_that_leaves_from_among_others_stops_none_of_them() {
        for ahead in 0..3 {
            let gate = Gate::new(Vec::new());
            thread::scope(|s| {
                let held = gate.acquire(Wait::No).unwrap();
                for name in 0..ahead {
                    enqueue(s, &gate, name, Wait::Ever, name + 1);
                }
                let leaver = s.spawn(|| gate.acquire(Wait::For(Duration::from_millis(50))));
                // Counted by tickets: it may have left before anyone looks, and then it left from the end.
                while gate.inner.lock().next_ticket != ahead as u64 + 1 {
                    thread::yield_now();
                }
                s.spawn(|| {
                    let mut names = gate.acquire(Wait::Ever).unwrap();
                    names.push(7);
                    gate.release(names);
                });
                assert!(matches!(leaver.join().unwrap(), Err(Error::WriterBusy { .. })));
                gate.wait_until_queued(ahead + 1);
                gate.release(held);
                assert_eq!(names(&gate), (0..ahead).chain([7]).collect::<Vec<_>>());
            });
        }
    }

    #[test]
    fn a_thread_that_holds_the_gate_is_told_so_and_not_left_waiting() {
        let gate = Gate::new(5);
        let held = gate.acquire(Wait::Ever).unwrap();
        for wait in [Wait::No, Wait::For(Duration::MAX), Wait::Ever] {
            assert!(matches!(gate.acquire(wait), Err(Error::WriterHeldHere)));
        }
        gate.release(held);
        let held = gate.acquire(Wait::Ever).unwrap();
        // Given back elsewhere, it is no longer held here.
        thread::scope(|s| {
            s.spawn(|| gate.release(held));
        });
        assert_eq!(*gate.acquire(Wait::No).unwrap(), 5);
    }

    #[test]
    fn a_closed_gate_makes_nobody_wait_who_will_not() {
        let gate = Gate::new(());
        let _held = gate.acquire(Wait::No).unwrap();
        thread::scope(|s| {
            s.spawn(|| {
                let Err(Error::WriterBusy { waited }) = gate.acquire(Wait::No) else { panic!() };
                assert_eq!(waited, Duration::ZERO);
                assert!(matches!(gate.acquire(Wait::For(Duration::ZERO)), Err(Error::WriterBusy { .. })));
            });
        });
        gate.wait_until_queued(0);
    }

    #[test]
    fn what_is_forgotten_closes_the_gate_for_good() {
        let gate = Gate::new(());
        thread::scope(|s| {
            s.spawn(|| std::mem::forget(gate.acquire(Wait::No).unwrap()));
        });
        // The thread is gone, and no other is taken for it.
        for wait in [Wait::No, Wait::For(Duration::from_millis(1))] {
            assert!(matches!(gate.acquire(wait), Err(Error::WriterBusy { .. })));
        }
    }

    #[test]
    fn many_threads_with_all_kinds_of_patience_are_never_inside_together() {
        let gate = Gate::new(0_usize);
        let inside = AtomicBool::new(false);
        let entered = AtomicUsize::new(0);
        thread::scope(|s| {
            for id in 0..8_u64 {
                let (gate, inside, entered) = (&gate, &inside, &entered);
                s.spawn(move || {
                    for i in 0..2000 {
                        let wait = match (id + i) % 4 {
                            0 => Wait::No,
                            1 => Wait::For(Duration::from_micros(i % 50)),
                            _ => Wait::Ever,
                        };
                        let Ok(mut count) = gate.acquire(wait) else { continue };
                        assert!(!inside.swap(true, Ordering::SeqCst));
                        *count += 1;
                        entered.fetch_add(1, Ordering::SeqCst);
                        assert!(inside.swap(false, Ordering::SeqCst));
                        gate.release(count);
                    }
                });
            }
        });
        let count = *gate.acquire(Wait::No).unwrap();
        assert_eq!(count, entered.into_inner());
        assert!(count >= 8 * 1000, "whoever waits for ever gets in");
    }
}
