//! The three system calls of this crate that no safe interface offers: `getrusage`, `perf_event_open`, `cachestat`.
#![expect(unsafe_code, reason = "no safe crate of this workspace offers these three calls")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What the process has used so far, with all its threads, also those that have ended.
pub(super) fn rusage() -> io::Result<libc::rusage> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is to memory of the size that the call fills.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, and so it has written all of it; any bits are a value of its integers.
    Ok(unsafe { usage.assume_init() })
}

/// `struct perf_event_attr` in the size of its first version, which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct EventAttributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
}

const TRACEPOINT: u32 = 2;
const INHERIT: u64 = 1 << 1;
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// A counter of the passes of thread `tid`, and of the threads and processes that it starts from now on, through the
/// tracepoint of that number. Eight bytes read from the file are the count, in native order.
pub(super) fn tracepoint(id: u64, tid: i32) -> io::Result<File> {
    let attributes = EventAttributes {
        kind: TRACEPOINT,
        size: size_of::<EventAttributes>() as u32,
        config: id,
        flags: INHERIT,
        ..EventAttributes::default()
    };
    let (any_cpu, no_group): (libc::c_int, libc::c_int) = (-1, -1);
    // SAFETY: the structure has the size it names and lives through the call, which only reads it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            libc::pid_t::from(tid),
            any_cpu,
            no_group,
            CLOSE_ON_EXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nothing else knows of it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}

/// `struct cachestat_range`: all of a file, if both are zero.
#[repr(C)]
#[derive(Default)]
struct CacheRange {
    offset: u64,
    len: u64,
}

/// `struct cachestat`, in pages.
#[repr(C)]
#[derive(Default)]
struct CacheState {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// The same number on all architectures.
const SYS_CACHESTAT: libc::c_long = 451;

/// Pages of `file` that are in the page cache (Linux 6.5).
pub(super) fn cached_pages(file: &File) -> io::Result<u64> {
    let (range, mut state) = (CacheRange::default(), CacheState::default());
    let no_flags: libc::c_uint = 0;
    // SAFETY: both structures have the layout that the call reads and writes, and live through it.
    let done =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut state, no_flags) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state.cached)
}
