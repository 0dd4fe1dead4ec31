//! When operations are due, if a rate is set: at even times, whether or not the store keeps up.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// The operations of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// Seconds between two operations, and before the first.
    interval: f64,
    offset: f64,
    start: Instant,
    /// It began when the warm-up had ended: what is begun counts.
    counts: bool,
    /// Operations that were begun since it began.
    begun: u64,
    /// When the last one was.
    last: Instant,
}

impl Schedule {
    /// Of `rate` operations a second of `threads` threads, those of thread `index`. It begins `now`, with the warm-up.
    pub(super) fn new(rate: f64, index: u64, threads: u64, now: Instant) -> Self {
        let (interval, offset) = (threads as f64 / rate, index as f64 / rate);
        Self { interval, offset, start: now, counts: false, begun: 0, last: now }
    }

    /// Begins anew at the end of the warm-up, if it has not: nothing that was due before is waited for.
    pub(super) fn begin_anew(&mut self, end_of_warmup: Instant) {
        if !self.counts {
            *self = Self { start: end_of_warmup, last: end_of_warmup, counts: true, begun: 0, ..*self };
        }
    }

    /// When the next operation is due.
    pub(super) fn due(&self) -> Instant {
        let seconds = self.offset + self.begun as f64 * self.interval;
        // What cannot be told is due long after the end of any run.
        let after = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1 << 32));
        self.start + after
    }

    /// The next operation is begun `now`. Returns when it was due.
    pub(super) fn begin(&mut self, now: Instant) -> Instant {
        let due = self.due();
        self.begun += 1;
        self.last = now;
        due
    }

    /// How many operations were due before `end`, or before the last was begun if it is not said, and how many of them
    /// were begun. Those of the warm-up do not count.
    pub(super) fn kept(&self, end: Option<Instant>) -> (u64, u64) {
        if !self.counts {
            return (0, 0);
        }
        let seconds = end.unwrap_or(self.last).saturating_duration_since(self.start).as_secs_f64();
        // A little less, so that no rounding makes one more of those that are due at the end itself.
        let due = ((seconds - self.offset) / self.interval - 1e-6).ceil().max(0.0) as u64;
        (due.max(self.begun), self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_share_and_begins_anew_after_the_warmup() {
        let now = Instant::now();
        let at = |ms: u64| now + Duration::from_millis(ms);
        let mut second = Schedule::new(100.0, 1, 2, now);
        let due: Vec<Instant> = (0..3).map(|_| second.begin(at(500))).collect();
        assert_eq!(due, [at(10), at(30), at(50)]);
        assert_eq!(second.kept(None), (0, 0), "a warm-up does not count");
        second.begin_anew(at(1000));
        assert_eq!(second.due(), at(1010), "what was due in the warm-up is not");
        assert_eq!(second.begin(at(1010)), at(1010));
        second.begin_anew(at(2000));
        assert_eq!(second.due(), at(1030), "once only");
    }

    #[test]
    fn what_was_due_and_not_begun_is_counted() {
        let now = Instant::now();
        let at = |ms: u64| now + Duration::from_millis(ms);
        let mut only = Schedule::new(100.0, 0, 1, now);
        only.begin_anew(now);
        assert_eq!(only.kept(Some(at(100))), (10, 0), "none was begun");
        for _ in 0..4 {
            only.begin(at(65));
        }
        assert_eq!(only.kept(Some(at(100))), (10, 4));
        // Seven were due before 65 ms, the last at 60.
        assert_eq!(only.kept(None), (7, 4));
        for _ in 0..7 {
            only.begin(at(95));
        }
        assert_eq!(only.kept(Some(at(100))), (11, 11), "never more begun than due");
    }
}
