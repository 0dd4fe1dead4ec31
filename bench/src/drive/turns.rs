//! When a replaying thread may begin its next call.
//!
//! As fast as can be, a thread waits for the others only so that none of them is more than [`WINDOW`] ahead in the
//! recording's time: what was done side by side is done side by side, and what came after a load comes after it. At a
//! given pace, it also waits until the call is due; how many calls were begun before the recording's time was over is
//! told ([`OpenLoop`]), since those that come later are no longer side by side with what they were. (The conservative
//! time windows of parallel simulation: Lubachevsky, "Efficient distributed event-driven simulations of multiple-loop
//! networks", 1989.)
#![forbid(unsafe_code)]

use super::OpenLoop;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How far a thread may be ahead of the slowest, in microseconds of the recording.
const WINDOW: u64 = 1000;
/// How much longer than the recording's time a replay at a given pace may take and be in time: so much of it, and at
/// least so long, for what timers and the scheduler make late.
const LATE: f64 = 0.01;
const LATE_LEAST: Duration = Duration::from_millis(10);
/// Looks at the others before it sleeps between two.
const LOOKS: u32 = 50;

/// A thread's time, on a cache line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Time(AtomicU64);

/// What the threads of a replay share.
#[derive(Debug)]
pub(super) struct Turns {
    times: Vec<Time>,
    stop: AtomicBool,
    start: Instant,
    /// The recorded time that is replayed at `start`, in microseconds.
    base: u64,
    /// At how many times the recorded pace.
    speed: Option<f64>,
    /// Calls that begin later are not in time.
    end: Instant,
}

impl Turns {
    /// From now on; `firsts` are the recorded times of the threads' first calls, `last` that of the last of all.
    pub(super) fn begin(firsts: &[u64], last: u64, speed: Option<f64>) -> Self {
        let base = firsts.iter().copied().min().unwrap_or(0);
        let times = firsts.iter().map(|first| Time(AtomicU64::new(*first))).collect();
        let start = Instant::now();
        let mut turns = Self { times, stop: AtomicBool::new(false), start, base, speed, end: start };
        let whole = turns.due(last).saturating_duration_since(start);
        turns.end += whole + whole.mul_f64(LATE).max(LATE_LEAST);
        turns
    }

    /// When a call that was recorded at `micros` is due, if a pace is given; or else at once.
    fn due(&self, micros: u64) -> Instant {
        let Some(speed) = self.speed else { return self.start };
        let after = micros.saturating_sub(self.base) as f64 / speed / 1e6;
        self.start + Duration::from_secs_f64(after.min(1e8))
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A thread's place among the others. When it is dropped, nobody waits for it any more.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    me: usize,
    /// The others were seen to be so far that this one may go on until then.
    free_until: Cell<u64>,
    /// Calls of a given pace that were due, and those of them that were begun in time.
    kept: Cell<OpenLoop>,
}

impl<'t> Turn<'t> {
    pub(super) fn new(turns: &'t Turns, me: usize) -> Self {
        Self { turns, me, free_until: Cell::new(0), kept: Cell::default() }
    }

    /// Waits until a call that was recorded at `micros` may begin. Returns when it begins, as far as its latency is
    /// concerned: at a given pace, when it was due.
    pub(super) fn wait(&self, micros: u64) -> Instant {
        if self.turns.times.len() > 1 {
            self.wait_for_others(micros);
        }
        if self.turns.speed.is_none() {
            return Instant::now();
        }
        let due = self.turns.due(micros);
        loop {
            let now = Instant::now();
            let early = due.saturating_duration_since(now);
            if early.is_zero() || self.turns.stopped() {
                self.note(now);
                return due;
            }
            thread::sleep(early.min(Duration::from_millis(10)));
        }
    }

    /// A call begins `now`.
    fn note(&self, now: Instant) {
        let OpenLoop { due, begun } = self.kept.get();
        self.kept.set(OpenLoop { due: due + 1, begun: begun + u64::from(now <= self.turns.end) });
    }

    /// Of this thread's calls, how many were begun in time; of none, where no pace is given.
    pub(super) fn kept(&self) -> OpenLoop {
        self.kept.get()
    }

    fn wait_for_others(&self, micros: u64) {
        self.turns.times[self.me].0.store(micros, Ordering::Release);
        let mut looks = 0;
        while micros > self.free_until.get() && !self.turns.stopped() {
            let times = self.turns.times.iter().map(|time| time.0.load(Ordering::Acquire));
            self.free_until.set(times.min().unwrap_or(u64::MAX).saturating_add(WINDOW));
            if micros > self.free_until.get() {
                looks += 1;
                if looks < LOOKS { thread::yield_now() } else { thread::sleep(Duration::from_micros(50)) }
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.times[self.me].0.store(u64::MAX, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn nobody_is_far_ahead_and_nobody_waits_for_those_who_have_ended() {
        let turns = Turns::begin(&[0, 0, 500_000], 510_000, None);
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (me, times) in [(0, 0..200u64), (1, 0..100), (2, 500..510)] {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let turn = Turn::new(turns, me);
                    for time in times {
                        turn.wait(time * 1000);
                        order.lock().unwrap().push(time * 1000);
                    }
                });
            }
        });
        let order = order.into_inner().unwrap();
        assert_eq!(order.len(), 310);
        let mut latest = 0;
        for time in order {
            // Whoever notes it does so before its next call; another may have gone on by a window meanwhile.
            assert!(time + 2 * WINDOW >= latest, "{time} behind {latest}");
            latest = latest.max(time);
        }
    }

    #[test]
    fn a_pace_is_kept_and_a_stop_ends_it() {
        let turns = Turns::begin(&[1_000_000], 1_020_000, Some(2.0));
        let turn = Turn::new(&turns, 0);
        assert_eq!(turn.wait(1_000_000), turns.start());
        assert_eq!(turn.wait(1_020_000), turns.start() + Duration::from_millis(10));
        assert!(turns.start().elapsed() >= Duration::from_millis(10));
        turns.stop();
        assert!(turn.wait(u64::MAX) > turns.start());
    }

    #[test]
    fn what_begins_after_the_recorded_time_is_not_in_time() {
        let turns = Turns::begin(&[1_000_000, 2_000_000], 5_000_000, Some(2.0));
        let at = |ms: u64| turns.start() + Duration::from_millis(ms);
        let turn = Turn::new(&turns, 0);
        assert_eq!(turn.kept(), OpenLoop::default());
        // Two seconds, and a hundredth more.
        for ms in [0, 1000, 2019, 2021, 5000] {
            turn.note(at(ms));
        }
        assert_eq!(turn.kept(), OpenLoop { due: 5, begun: 3 });
        // Of a short one what a timer may be late is more than a hundredth.
        let short = Turns::begin(&[7], 1007, Some(1.0));
        assert_eq!(short.end, short.due(1007) + LATE_LEAST);
        let any = Turns::begin(&[0], 1000, None);
        let turn = Turn::new(&any, 0);
        turn.wait(1000);
        assert_eq!(turn.kept(), OpenLoop::default(), "no pace is given");
    }
}
