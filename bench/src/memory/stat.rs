//! What the control files of a memory group say, in the words of version 1 and of version 2.
//!
//! The files are described in the kernel's `Documentation/admin-guide/cgroup-v1/memory.rst` and `cgroup-v2.rst`.
#![forbid(unsafe_code)]

use std::num::ParseIntError;

/// The number behind `name` in lines of `name number`.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        if key == name { value.trim().parse().ok() } else { None }
    })
}

/// A file of one number.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A limit in bytes. `None`: no limit, which version 2 calls `max` and version 1 the greatest number of pages
/// that a signed 64-bit number of bytes can hold.
pub(super) fn limit(text: &str) -> Result<Option<u64>, ParseIntError> {
    let text = text.trim();
    if text == "max" {
        return Ok(None);
    }
    let bytes: u64 = text.parse()?;
    Ok((bytes < 1 << 62).then_some(bytes))
}

/// The processes of `cgroup.procs`. Those of other process namespaces are written as 0 and left out: for `kill`, 0
/// would mean the caller's own process group.
pub(super) fn pids(text: &str) -> Vec<i32> {
    text.lines().filter_map(|line| line.trim().parse().ok()).filter(|&pid| pid > 0).collect()
}

/// Whether `memory` is among the controllers of a `cgroup.controllers` or `cgroup.subtree_control`.
pub(super) fn has_memory(text: &str) -> bool {
    text.split_whitespace().any(|name| name == "memory")
}
