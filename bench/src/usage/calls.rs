//! How many system calls a process makes.
#![forbid(unsafe_code)]

use super::sys;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::OnceLock;

/// The tracepoint that every system call passes, below wherever tracefs is mounted.
const POINT: &str = "events/raw_syscalls/sys_enter/id";
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Once for the process; an error is kept as the words for it.
static COUNTER: OnceLock<Result<Counter, String>> = OnceLock::new();

/// A number of system calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SystemCalls {
    /// How many.
    pub count: u64,
    /// Whether all kinds are counted, or calls of the `read` and `write` families only: no `fdatasync`, no `futex`,
    /// no `madvise`, no `io_uring_enter`.
    pub all: bool,
}

/// Counters of the threads there were at the start; each takes in those its thread starts.
#[derive(Debug)]
struct Counter {
    files: Vec<File>,
}

/// The tracepoint's number. `read` reads its file below a mount point of tracefs.
fn number(read: impl Fn(&str) -> io::Result<String>) -> Result<u64, String> {
    let mut why = None;
    for dir in TRACEFS {
        match read(dir) {
            Ok(text) => return text.trim().parse().map_err(|_| format!("{dir}/{POINT} is not a number")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            // That it is not permitted says more than that it is not at the other place.
            Err(e) => why = why.or(Some(format!("{dir}/{POINT}: {e}"))),
        }
    }
    let missing = || {
        let mount = format!("mount -t tracefs none {}", TRACEFS[0]);
        format!("tracefs is not mounted, or the kernel has no {POINT} (as root: {mount})")
    };
    Err(why.unwrap_or_else(missing))
}

impl Counter {
    fn start() -> Result<Self, String> {
        let id = number(|dir| fs::read_to_string(format!("{dir}/{POINT}")))?;
        let threads = fs::read_dir("/proc/self/task").map_err(|e| format!("/proc/self/task: {e}"))?;
        let mut files = Vec::new();
        for thread in threads {
            let name = thread.map_err(|e| e.to_string())?.file_name();
            let Some(tid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            match sys::tracepoint(id, tid) {
                Ok(file) => files.push(file),
                // The thread has ended since.
                Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
                Err(e) => {
                    return Err(format!("perf_event_open: {e} (see /proc/sys/kernel/perf_event_paranoid)"));
                }
            }
        }
        Ok(Self { files })
    }

    fn read(&self) -> io::Result<u64> {
        self.files.iter().try_fold(0_u64, |sum, mut file| {
            let mut count = [0; 8];
            file.read_exact(&mut count)?;
            Ok(sum.wrapping_add(u64::from_ne_bytes(count)))
        })
    }
}

/// Counts every system call of this process from now on, by the tracepoint `raw_syscalls:sys_enter`, where that is
/// permitted (root, or `kernel.perf_event_paranoid` of at most 1 and a readable tracefs). To be called before
/// threads are started: one that starts another during the call may see that one missed.
///
/// Counting has a price at each call of this process: 25 to 30 ns where a `pread` of a cached page takes 200 and
/// `getppid` 80. [`Usage::now`](super::Usage::now) itself makes about twenty calls.
///
/// # Errors
/// Why only reads and writes are counted, in words.
pub fn count_system_calls() -> Result<(), &'static str> {
    match COUNTER.get_or_init(Counter::start) {
        Ok(_) => Ok(()),
        Err(why) => Err(why),
    }
}

/// All calls since the counting began, if it did.
pub(super) fn counted() -> Option<SystemCalls> {
    let count = COUNTER.get()?.as_ref().ok()?.read().ok()?;
    Some(SystemCalls { count, all: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracepoint() {
        let answer = |first: io::Result<&str>, second: io::Result<&str>| {
            let answers = [first, second].map(|answer| answer.map(str::to_owned).map_err(|e| e.kind()));
            number(|dir| answers[usize::from(dir == TRACEFS[1])].clone().map_err(io::Error::from))
        };
        let (missing, denied) = (io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied);
        assert_eq!(answer(Ok("443\n"), Err(missing.into())), Ok(443));
        assert_eq!(answer(Err(missing.into()), Ok("7")), Ok(7));
        assert_eq!(answer(Err(denied.into()), Ok("7")), Ok(7));
        assert!(answer(Ok("many"), Ok("7")).unwrap_err().contains("is not a number"));
        assert!(answer(Err(missing.into()), Err(missing.into())).unwrap_err().contains("mount -t tracefs"));
        let why = answer(Err(denied.into()), Err(missing.into())).unwrap_err();
        assert!(why.starts_with("/sys/kernel/tracing/events") && why.contains("denied"), "{why}");
    }
}
