//! Bytes that were written, as the kernel counts them.
#![forbid(unsafe_code)]

use crate::Result;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Counters at one moment, or what was added to them between two.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Bytes {
    /// Written to the device, by all processes. Nothing if the file system has no block device.
    pub(super) device: Option<u64>,
    /// Charged to this process when it made pages dirty.
    pub(super) process: Option<u64>,
}

impl Bytes {
    /// The counters now, once what is dirty in `dir`'s file system has been written.
    pub(super) fn synced(dir: &Path) -> Result<Self> {
        rustix::fs::syncfs(File::open(dir)?)?;
        let device = fs::metadata(dir)?.dev();
        let stat = format!("/sys/dev/block/{}:{}/stat", rustix::fs::major(device), rustix::fs::minor(device));
        // The seventh number counts sectors of 512 bytes, whatever the device's are.
        let sectors =
            fs::read_to_string(stat).ok().and_then(|s| s.split_whitespace().nth(6)?.parse::<u64>().ok());
        let io = fs::read_to_string("/proc/self/io").ok();
        let process = io.and_then(|io| {
            let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?;
            line.parse().ok()
        });
        Ok(Self { device: sectors.map(|sectors| sectors * 512), process })
    }

    /// What was added since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        let added = |now: Option<u64>, before: Option<u64>| Some(now?.wrapping_sub(before?));
        Self { device: added(self.device, before.device), process: added(self.process, before.process) }
    }
}
