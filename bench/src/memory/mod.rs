//! Memory as a dimension: a child process within a memory limit, and cold starts.
//!
//! A database that is larger than memory is made at will by making memory smaller: the child runs in a control group
//! in which the page cache and its own memory are bounded alike, so that a mapping and a buffer pool have the same.
//! The parent makes a [`Group`] and hands its path to the child, which joins it before anything else; the parent
//! reads what the group held and whether the kernel killed for memory, and removes it.
#![forbid(unsafe_code)]

mod available;
mod caches;
mod create;
mod group;
mod hierarchy;
mod leftovers;
mod refused;
mod stat;
mod tree;

#[cfg(test)]
mod made_up;
#[cfg(test)]
mod tests;

pub(crate) use available::available_memory;
pub use available::limit_here;
pub use caches::{How, drop_caches, drop_files};
pub use group::{Events, Group, Held};
pub use hierarchy::Version;
pub use refused::Refused;

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Names of groups begin like this; the process that made it and a count follow.
const PREFIX: &str = "bifold-bench-";

/// Removes empty groups of earlier runs that were killed. Their names carry the process that made them; those of
/// living processes are left alone. Returns the directories removed.
pub fn remove_leftovers() -> Vec<PathBuf> {
    leftovers::remove(&tree::Machine)
}

/// Whether a child that ran in `group` and ended with `status` was killed by the kernel for want of memory, and not
/// by someone else's SIGKILL. Where the kernel does not count such kills (version 1 before Linux 4.13), any SIGKILL
/// after the limit was reached is taken for one.
pub fn killed_for_memory(status: ExitStatus, group: &Group) -> bool {
    // A shell or another wrapper turns the signal into an exit status of 128 + 9.
    let killed = status.signal() == Some(9) || status.code() == Some(137);
    let counted = |events: Events| events.oom_kills.or(events.limit_hits).is_none_or(|count| count > 0);
    killed && group.events().is_ok_and(counted)
}
