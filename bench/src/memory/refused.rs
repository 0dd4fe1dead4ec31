//! Why there is no memory group, and what to do about it.
#![forbid(unsafe_code)]

use super::hierarchy::Version;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// A memory limit that cannot be set here: the reason, and what would help, both as text to be shown to a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// What stands in the way, down to the file and the kernel's answer.
    pub why: String,
    /// What the user can do.
    pub advice: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory limit can be set: {}\n{}", self.why, self.advice)
    }
}

impl std::error::Error for Refused {}

impl Refused {
    /// Something is amiss that no advice fits, but that a run without a limit is possible.
    pub(super) fn here(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            advice: "Without a limit (no `--memory`), everything else can be run.".into(),
        }
    }

    pub(super) fn no_controller(why: impl Into<String>) -> Self {
        let advice = "The kernel must be built with CONFIG_MEMCG and not be started with cgroup_disable=memory; some \
                      distributions (Raspberry Pi OS among them) want cgroup_enable=memory on its command line. \
                      In a virtual machine with a small memory, the same questions can be asked without a limit.";
        Self { why: why.into(), advice: advice.into() }
    }

    pub(super) fn no_hierarchy(version: Version) -> Self {
        let (name, command) = match version {
            Version::V1 => {
                ("cgroup (version 1, memory)", "mount -t cgroup -o memory none /sys/fs/cgroup/memory")
            }
            Version::V2 => ("cgroup2", "mount -t cgroup2 none /sys/fs/cgroup"),
        };
        Self {
            why: format!("no {name} hierarchy is mounted"),
            advice: format!("As root: {command} (after mkdir -p of the directory)."),
        }
    }

    pub(super) fn limited(bytes: u64, limit: u64) -> Self {
        Self {
            why: format!(
                "a limit of {bytes} bytes would say nothing: this process itself may use {limit} bytes only"
            ),
            advice: format!(
                "Ask for at most {limit} bytes, or start outside the group that sets this limit."
            ),
        }
    }

    /// No group on the way up would take the new one. `tries` says what each answered.
    pub(super) fn nowhere(version: Version, bytes: u64, tries: &[(String, io::ErrorKind)]) -> Self {
        // The same answer all the way up is said once.
        let same = tries.windows(2).all(|pair| pair[0].1 == pair[1].1);
        let why = match tries {
            [(first, _), _, ..] if same => format!("{first} (nor in any group above it)"),
            _ => tries.iter().map(|(what, _)| what.as_str()).collect::<Vec<_>>().join("; "),
        };
        let any = |kind| tries.iter().any(|&(_, found)| found == kind);
        let scope = format!("-p MemoryMax={bytes} -p MemorySwapMax=0 bifold-bench …");
        let advice = if any(io::ErrorKind::PermissionDenied) {
            match version {
                Version::V1 => "Run it as root: `sudo bifold-bench …`.".into(),
                Version::V2 => format!(
                    "Run it as root, `sudo bifold-bench …`, or let systemd set the limit for the whole run and \
                     leave out `--memory`: `systemd-run --user --scope {scope}`."
                ),
            }
        } else if any(io::ErrorKind::ReadOnlyFilesystem) {
            "The hierarchy is mounted read-only, as containers have it. Give the container itself the limit and leave \
             out `--memory` (`docker run --memory … --memory-swap …`, both with the same number), or start it with \
             `--privileged`."
                .into()
        } else if version == Version::V2 {
            format!(
                "A group that has processes of its own cannot divide memory among groups below it, and none above \
                 it may be used. Let systemd set the limit for the whole run and leave out `--memory`: \
                 `systemd-run --user --scope {scope}`, or with `sudo` and without `--user`."
            )
        } else {
            "Run it as root, on the machine itself or in a container started with `--privileged`.".into()
        };
        Self { why, advice }
    }
}
