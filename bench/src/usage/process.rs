//! A process's use of the machine at one moment, and between two.
#![forbid(unsafe_code)]

use super::{Io, Resident, SystemCalls, calls, sys};
use serde::{Deserialize, Serialize};
use std::fs::File;

/// What the process has used since it started, with all its threads, also those that have ended; or what it used
/// between two moments.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in the program, in nanoseconds (the kernel tells microseconds).
    pub user_ns: u64,
    /// CPU time in the kernel, in nanoseconds.
    pub system_ns: u64,
    /// Page faults that found their page in memory.
    pub soft_faults: u64,
    /// Page faults that had to wait for a device.
    pub hard_faults: u64,
    /// Times that a thread gave up the CPU to wait.
    pub voluntary_switches: u64,
    /// Times that the CPU was taken from a thread.
    pub involuntary_switches: u64,
    /// Reads and writes.
    pub io: Option<Io>,
    /// System calls: all, if [`count_system_calls`](super::count_system_calls) was called and permitted before, else reads and writes.
    pub system_calls: Option<SystemCalls>,
    /// Resident memory: never a difference.
    pub memory: Option<Resident>,
}

impl Usage {
    /// The process's figures now. Takes some tens of microseconds.
    pub fn now() -> Self {
        // The calls that the reading makes itself come after this one.
        let counted = calls::counted();
        let io = Io::now();
        let reads_and_writes =
            || io.map(|io| SystemCalls { count: io.read_calls.wrapping_add(io.write_calls), all: false });
        let mut usage = Self {
            io,
            system_calls: counted.or_else(reads_and_writes),
            memory: Resident::now(),
            ..Self::default()
        };
        if let Ok(used) = sys::rusage() {
            usage.user_ns = nanoseconds(used.ru_utime);
            usage.system_ns = nanoseconds(used.ru_stime);
            usage.soft_faults = used.ru_minflt as u64;
            usage.hard_faults = used.ru_majflt as u64;
            usage.voluntary_switches = used.ru_nvcsw as u64;
            usage.involuntary_switches = used.ru_nivcsw as u64;
        }
        usage
    }

    /// What was used since `earlier`. Resident memory is what `self` says, and a count of system calls remains one
    /// only if both moments counted the same kinds.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let calls = match (self.system_calls, earlier.system_calls) {
            (Some(now), Some(then)) if now.all == then.all => {
                Some(SystemCalls { count: now.count.saturating_sub(then.count), all: now.all })
            }
            _ => None,
        };
        Self {
            user_ns: self.user_ns.saturating_sub(earlier.user_ns),
            system_ns: self.system_ns.saturating_sub(earlier.system_ns),
            soft_faults: self.soft_faults.saturating_sub(earlier.soft_faults),
            hard_faults: self.hard_faults.saturating_sub(earlier.hard_faults),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(earlier.involuntary_switches),
            io: self.io.zip(earlier.io).map(|(now, then)| now.since(then)),
            system_calls: calls,
            memory: self.memory,
        }
    }

    /// CPU time in the program and in the kernel, in nanoseconds.
    pub const fn cpu_ns(&self) -> u64 {
        self.user_ns.saturating_add(self.system_ns)
    }
}

/// Bytes of `file` in the page cache, by `cachestat` (Linux 6.5). `None`: the kernel does not say.
pub fn resident(file: &File) -> Option<u64> {
    let pages = sys::cached_pages(file).ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

fn nanoseconds(time: libc::timeval) -> u64 {
    (time.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add((time.tv_usec as u64).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        let calls = |count, all| Some(SystemCalls { count, all });
        let then = Usage { user_ns: 5, hard_faults: 2, system_calls: calls(10, true), ..Usage::default() };
        let memory = Some(Resident { peak: 9, ..Resident::default() });
        let now = Usage { user_ns: 8, hard_faults: 1, system_calls: calls(14, true), memory, ..then };
        let used = now.since(&then);
        assert_eq!((used.user_ns, used.hard_faults, used.system_calls), (3, 0, calls(4, true)));
        assert_eq!((used.memory, used.io), (memory, None));
        // Counting that began between the two leaves no difference.
        let later = Usage { system_calls: calls(14, false), ..now };
        assert_eq!(later.since(&then).system_calls, None);
        assert_eq!(Usage { user_ns: 1, system_ns: 2, ..Usage::default() }.cpu_ns(), 3);
        let time = libc::timeval { tv_sec: 2, tv_usec: 3 };
        assert_eq!(nanoseconds(time), 2_000_003_000);
    }

    #[test]
    fn json() {
        let usage = Usage::now();
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
    }
}
