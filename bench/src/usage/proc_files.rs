//! The process's own figures in `/proc/self`, which `proc_pid_io(5)` and `proc_pid_status(5)` describe.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};

/// The bytes that `name` has in lines of `name:  number kB`, which `/proc/self/status` and `/proc/meminfo` are made of.
pub(crate) fn kib_field(text: &str, name: &str) -> Option<u64> {
    let kib: u64 = text.lines().find_map(|line| {
        line.strip_prefix(name)?.strip_prefix(':')?.strip_suffix(" kB")?.trim().parse().ok()
    })?;
    kib.checked_mul(1024)
}

/// What a process read and wrote, by the counts of `/proc/self/io`: all its threads, also those that have ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Io {
    /// Bytes that calls of the `read` family returned, from the page cache or from a device (`rchar`).
    pub read_by_calls: u64,
    /// Bytes handed to calls of the `write` family (`wchar`).
    pub written_by_calls: u64,
    /// Calls of the `read` family (`syscr`). Those that `io_uring` makes are not among them.
    pub read_calls: u64,
    /// Calls of the `write` family (`syscw`).
    pub write_calls: u64,
    /// Bytes that had to be fetched from a device on behalf of this process, read-ahead and page faults included
    /// (`read_bytes`).
    pub read_from_disk: u64,
    /// Bytes of pages this process made dirty, which is when they are counted (`write_bytes`).
    pub written_to_disk: u64,
    /// Bytes of dirty pages that this process threw away before they were written, by truncating or deleting
    /// (`cancelled_write_bytes`).
    pub cancelled: u64,
}

impl Io {
    pub(super) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/io").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.trim().parse().ok())
        };
        Some(Self {
            read_by_calls: field("rchar")?,
            written_by_calls: field("wchar")?,
            read_calls: field("syscr")?,
            write_calls: field("syscw")?,
            read_from_disk: field("read_bytes")?,
            written_to_disk: field("write_bytes")?,
            cancelled: field("cancelled_write_bytes")?,
        })
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            read_by_calls: self.read_by_calls.saturating_sub(earlier.read_by_calls),
            written_by_calls: self.written_by_calls.saturating_sub(earlier.written_by_calls),
            read_calls: self.read_calls.saturating_sub(earlier.read_calls),
            write_calls: self.write_calls.saturating_sub(earlier.write_calls),
            read_from_disk: self.read_from_disk.saturating_sub(earlier.read_from_disk),
            written_to_disk: self.written_to_disk.saturating_sub(earlier.written_to_disk),
            cancelled: self.cancelled.saturating_sub(earlier.cancelled),
        }
    }
}

/// Memory of a process that is resident, in bytes, to within what the kernel's threads of accounting have not added up
/// yet (some hundred KiB).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Resident {
    /// The most there ever was, or since [`reset_peak`] (`VmHWM`).
    pub peak: u64,
    /// Now (`VmRSS`).
    pub now: u64,
    /// Of it, memory that no file stands behind (`RssAnon`).
    pub anonymous: u64,
    /// Of it, mapped pages of files (`RssFile`). What is in the page cache without being mapped is in no process.
    pub file: u64,
    /// Of it, shared memory and tmpfs (`RssShmem`).
    pub shared: u64,
}

impl Resident {
    pub(super) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name| kib_field(text, name);
        Some(Self {
            peak: field("VmHWM")?,
            now: field("VmRSS")?,
            anonymous: field("RssAnon")?,
            file: field("RssFile")?,
            shared: field("RssShmem")?,
        })
    }
}

/// Begins the peak of resident memory anew, at what is resident now.
///
/// # Errors
/// Those of the write to `/proc/self/clear_refs`, which kernels without `CONFIG_PROC_PAGE_MONITOR` do not have.
pub fn reset_peak() -> io::Result<()> {
    OpenOptions::new().write(true).open("/proc/self/clear_refs")?.write_all(b"5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_of_linux_6_18() {
        let text = "rchar: 6976\nwchar: 12\nsyscr: 10\nsyscw: 2\nread_bytes: 4096\nwrite_bytes: 8192\n\
                    cancelled_write_bytes: 1\n";
        let io = Io {
            read_by_calls: 6976,
            written_by_calls: 12,
            read_calls: 10,
            write_calls: 2,
            read_from_disk: 4096,
            written_to_disk: 8192,
            cancelled: 1,
        };
        assert_eq!(Io::parse(text), Some(io));
        assert_eq!(io.since(io), Io::default());
        assert_eq!(io.since(Io { read_calls: 4, ..Io::default() }).read_calls, 6);
        assert_eq!(Io::parse("rchar: 6976\n"), None);
        assert_eq!(Io::parse(&text.replace("4096", "many")), None);
    }

    #[test]
    fn status_of_linux_6_18() {
        let text = "Name:\tcat\nVmPeak:\t    3060 kB\nVmHWM:\t    1784 kB\nVmRSS:\t    1700 kB\n\
                    RssAnon:\t     112 kB\nRssFile:\t    1672 kB\nRssShmem:\t       4 kB\n";
        let resident = Resident {
            peak: 1784 << 10,
            now: 1700 << 10,
            anonymous: 112 << 10,
            file: 1672 << 10,
            shared: 4 << 10,
        };
        assert_eq!(Resident::parse(text), Some(resident));
        assert_eq!(Resident::parse("Name:\tkthreadd\n"), None);
        assert_eq!(Resident::parse(&text.replace("1784", "18446744073709551615")), None);
    }
}
