//! Background work for tests: no threads, and a clock that the test moves.
#![forbid(unsafe_code)]

use super::{Background, Next, Running, Task};
use parking_lot::Mutex;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Does background work when it is told to, in the caller's thread: what happens between two steps, and in which order
/// tasks come, is the test's to choose.
#[derive(Clone, Default)]
pub struct Stepper {
    inner: Arc<Mutex<Inner>>,
    at_once: bool,
}

#[derive(Default)]
struct Inner {
    now: Duration,
    tasks: Vec<Slot>,
    /// Somebody is in [`Stepper::run`].
    busy: bool,
}

struct Slot {
    name: &'static str,
    /// `None` while it is being stepped, and once it is stopped.
    task: Option<Box<dyn Task>>,
    /// When the next step is due; `None` if it waits to be woken.
    due: Option<Duration>,
    stopped: bool,
}

impl Stepper {
    /// Steps only when told to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever wakes a task does all that is due at once, itself: so background work happens at fixed places of a run.
    pub fn at_once() -> Self {
        Self { at_once: true, ..Self::default() }
    }

    /// Does one step of the first task for which one is due; `false` if there is none.
    pub fn step(&self) -> bool {
        self.step_of(|_| true)
    }

    /// The same, of the task with this name alone.
    pub fn step_task(&self, name: &str) -> bool {
        self.step_of(|slot| slot.name == name)
    }

    fn step_of(&self, wanted: impl Fn(&Slot) -> bool) -> bool {
        let mut inner = self.inner.lock();
        let now = inner.now;
        let due = |slot: &Slot| slot.task.is_some() && slot.due.is_some_and(|at| at <= now) && wanted(slot);
        let Some(at) = inner.tasks.iter().position(due) else { return false };
        let Some(mut task) = inner.tasks[at].task.take() else { return false };
        inner.tasks[at].due = None;
        drop(inner);
        let next = task.step();
        let mut inner = self.inner.lock();
        let now = inner.now;
        let slot = &mut inner.tasks[at];
        // Woken meanwhile, it is due whatever it says.
        let after = match next {
            Next::Again => Some(now),
            Next::After(time) => Some(now + time),
            Next::WhenWoken => None,
        };
        slot.due = match (slot.due, after) {
            (Some(woken), Some(after)) => Some(woken.min(after)),
            (woken, after) => woken.or(after),
        };
        if !slot.stopped {
            slot.task = Some(task);
        }
        true
    }

    /// Does everything that is due now.
    pub fn run(&self) {
        if std::mem::replace(&mut self.inner.lock().busy, true) {
            return;
        }
        while self.step() {}
        self.inner.lock().busy = false;
    }

    /// Moves the clock.
    pub fn advance(&self, time: Duration) {
        self.inner.lock().now += time;
    }
}

impl Background for Stepper {
    fn now(&self) -> Duration {
        self.inner.lock().now
    }

    fn sleep(&self, time: Duration) {
        self.advance(time);
    }

    fn start(&self, name: &'static str, task: Box<dyn Task>) -> io::Result<Box<dyn Running>> {
        let mut inner = self.inner.lock();
        let due = Some(inner.now);
        inner.tasks.push(Slot { name, task: Some(task), due, stopped: false });
        let at = inner.tasks.len() - 1;
        Ok(Box::new(Handle { stepper: self.clone(), at }))
    }
}

impl fmt::Debug for Stepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepper").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Handle {
    stepper: Stepper,
    at: usize,
}

impl Running for Handle {
    fn wake(&self) {
        let mut inner = self.stepper.inner.lock();
        let now = inner.now;
        inner.tasks[self.at].due = Some(now);
        drop(inner);
        if self.stepper.at_once {
            self.stepper.run();
        }
    }

    fn stop(&self) {
        let mut inner = self.stepper.inner.lock();
        let slot = &mut inner.tasks[self.at];
        slot.stopped = true;
        let task = slot.task.take();
        // Not under the lock: what a task holds may do anything when it is dropped.
        drop(inner);
        drop(task);
    }
}
