//! Bytes that were written, as the kernel counts them.
#![forbid(unsafe_code)]

use crate::Result;
use crate::usage::{Disk, Usage};
use std::fs::File;
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
        let device = Disk::of(dir).ok().and_then(|disk| disk.now().ok());
        let process = Usage::now().io;
        Ok(Self {
            device: device.map(|device| device.written_bytes),
            process: process.map(|process| process.written_to_disk),
        })
    }

    /// What was added since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        let added = |now: Option<u64>, before: Option<u64>| Some(now?.wrapping_sub(before?));
        Self { device: added(self.device, before.device), process: added(self.process, before.process) }
    }
}
