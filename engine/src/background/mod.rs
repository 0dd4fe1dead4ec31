//! The seam for background work: the clock, and threads that do a task step by step.
//!
//! Whatever Bifold does behind its users' backs is a [`Task`], a state machine whose steps are short. What calls the
//! steps is a [`Background`]: [`Threads`] in earnest, and in tests a `Stepper`, which does them one at a time in the
//! test's own thread, with a clock that stands still until the test moves it.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(any(test, feature = "testing")),
    expect(unreachable_pub, reason = "public with the feature `testing`, where tests implement these")
)]

#[cfg(any(test, feature = "testing"))]
mod stepper;
mod threads;

#[cfg(any(test, feature = "testing"))]
pub use stepper::Stepper;
pub(crate) use threads::Threads;

use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a task wants after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The next step at once.
    Again,
    /// The next step after this time, or when woken.
    After(Duration),
    /// The next step when woken.
    WhenWoken,
}

/// Work done in the background.
pub trait Task: Send {
    /// Does a little, and says what next. Not called again once it was stopped.
    fn step(&mut self) -> Next;
}

/// A task that was started.
pub trait Running: Send + Sync + Debug {
    /// Sees to it that a step follows, even if one is under way.
    fn wake(&self);

    /// Stops the task: returns when no step is under way, none will follow, and the task is dropped.
    fn stop(&self);
}

/// The clock, and what does tasks.
pub trait Background: Send + Sync + Debug {
    /// The time since some moment; it never goes back.
    fn now(&self) -> Duration;

    /// Waits.
    fn sleep(&self, time: Duration);

    /// Starts a task, with a first step.
    ///
    /// # Errors
    /// If there can be no more threads.
    fn start(&self, name: &'static str, task: Box<dyn Task>) -> io::Result<Box<dyn Running>>;
}

/// A place for one task, which starts when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    running: OnceLock<Option<Box<dyn Running>>>,
    stopped: AtomicBool,
}

impl Worker {
    /// Starts the task, unless it was. Where no thread is to be had, nothing is started, and who would wake the task
    /// has to do its work itself.
    pub(crate) fn start(
        &self,
        background: &Arc<dyn Background>,
        name: &'static str,
        task: impl Task + 'static,
    ) {
        self.running.get_or_init(|| match background.start(name, Box::new(task)) {
            Ok(running) => Some(running),
            Err(error) => {
                tracing::warn!(name, %error, "no thread for background work: writers will do it");
                None
            }
        });
    }

    /// Whether a task was started or tried to be.
    pub(crate) fn is_started(&self) -> bool {
        self.running.get().is_some()
    }

    /// Wakes the task; `false` if there is none, or none any more.
    pub(crate) fn wake(&self) -> bool {
        let Some(Some(running)) = self.running.get() else { return false };
        if self.stopped.load(Ordering::SeqCst) {
            return false;
        }
        running.wake();
        true
    }

    /// Stops the task. Nothing is started afterwards.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Some(running) = self.running.get_or_init(|| None) {
            running.stop();
        }
    }
}
