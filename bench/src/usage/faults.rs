//! Page faults of one thread.
#![forbid(unsafe_code)]

use std::fs;

/// Page faults of this thread.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ThreadFaults {
    /// Served without a read.
    pub(crate) soft: u64,
    /// Waited for a read.
    pub(crate) hard: u64,
}

impl ThreadFaults {
    /// The counts now; `None` where `/proc` does not say.
    pub(crate) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/thread-self/stat").ok()?)
    }

    /// Fields 10 and 12 of `proc_pid_stat(5)`. The program's name, in parentheses, may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace().skip(7);
        let soft = fields.next()?.parse().ok()?;
        let hard = fields.nth(1)?.parse().ok()?;
        Some(Self { soft, hard })
    }

    /// What was added since `before`, to `self`.
    pub(crate) fn add(&mut self, before: Option<Self>, now: Option<Self>) {
        if let (Some(before), Some(now)) = (before, now) {
            self.soft += now.soft.saturating_sub(before.soft);
            self.hard += now.hard.saturating_sub(before.hard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_behind_any_name() {
        let found = ThreadFaults::parse("7 (a) b) R 1 2 3 4 5 6 10 11 12 13 14").unwrap();
        assert_eq!((found.soft, found.hard), (10, 12));
        assert!(ThreadFaults::parse("7 no name").is_none());
    }
}
