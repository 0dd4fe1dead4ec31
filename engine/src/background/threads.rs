//! Background work in earnest: a thread for each task, and the system's monotonic clock.
#![forbid(unsafe_code)]

use super::{Background, Next, Running, Task};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Threads of the operating system.
#[derive(Debug)]
pub(crate) struct Threads {
    begun: Instant,
}

impl Threads {
    /// A clock that starts now.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now() }
    }
}

impl Background for Threads {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    fn start(&self, name: &'static str, mut task: Box<dyn Task>) -> io::Result<Box<dyn Running>> {
        let signal = Arc::new(Signal::default());
        let theirs = Arc::clone(&signal);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while theirs.goes_on() {
                theirs.wait(task.step());
            }
        })?;
        Ok(Box::new(Handle { signal, thread: Mutex::new(Some(thread)) }))
    }
}

/// What a task is told.
#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    stopped: bool,
}

impl Signal {
    fn goes_on(&self) -> bool {
        let mut state = self.state.lock();
        state.woken = false;
        !state.stopped
    }

    /// Waits for as long as the task wants, unless it was woken since its step began.
    fn wait(&self, next: Next) {
        let mut state = self.state.lock();
        let deadline = match next {
            Next::Again => return,
            Next::After(time) => Instant::now().checked_add(time),
            Next::WhenWoken => None,
        };
        while !state.woken && !state.stopped {
            match deadline {
                Some(at) if self.changed.wait_until(&mut state, at).timed_out() => return,
                Some(_) => {}
                None => self.changed.wait(&mut state),
            }
        }
    }

    fn tell(&self, what: impl FnOnce(&mut State)) {
        what(&mut self.state.lock());
        self.changed.notify_all();
    }
}

#[derive(Debug)]
struct Handle {
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Running for Handle {
    fn wake(&self) {
        self.signal.tell(|state| state.woken = true);
    }

    fn stop(&self) {
        self.signal.tell(|state| state.stopped = true);
        let thread = self.thread.lock().take();
        // One that panicked has said so where it panicked.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Counting(u32, Sender<u32>);

    impl Task for Counting {
        fn step(&mut self) -> Next {
            self.0 += 1;
            let _ = self.1.send(self.0);
            match self.0 {
                1 => Next::Again,
                2 => Next::After(Duration::from_micros(10)),
                _ => Next::WhenWoken,
            }
        }
    }

    #[test]
    fn a_task_is_stepped_as_it_wants_and_when_woken_until_it_is_stopped() {
        let (send, receive) = channel();
        let running = Threads::new().start("test", Box::new(Counting(0, send))).unwrap();
        for step in 1..=3 {
            assert_eq!(receive.recv(), Ok(step));
        }
        for step in 4..20 {
            running.wake();
            assert_eq!(receive.recv(), Ok(step));
        }
        running.stop();
        running.wake();
        running.stop();
        assert!(receive.recv().is_err(), "the task is dropped");
    }
}
