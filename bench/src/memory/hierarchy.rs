//! Where the memory controller is, and in which of its groups this process runs.
#![forbid(unsafe_code)]

use super::tree::Tree;
use super::{Refused, stat};
use crate::usage::Mount;
use std::path::{Component, Path, PathBuf};

/// The two interfaces of control groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A hierarchy of the memory controller's own.
    V1,
    /// The unified hierarchy.
    V2,
}

impl Version {
    pub(super) const fn limit_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.limit_in_bytes",
            Self::V2 => "memory.max",
        }
    }
}

/// A mounted hierarchy that can bound memory, and the process's place in it.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// The mount point.
    pub(super) root: PathBuf,
    /// The process's own group: `root` or below it.
    pub(super) own: PathBuf,
}

impl Hierarchy {
    /// Reads `/proc/self/cgroup` and `/proc/self/mountinfo`. On a machine with both versions, the memory controller
    /// is in one of them: version 1, if the process has a line for it.
    pub(super) fn find(tree: &dyn Tree) -> Result<Self, Refused> {
        let read = |file: &str| {
            tree.read(Path::new(file)).map_err(|e| Refused::here(format!("{file} cannot be read: {e}")))
        };
        let (groups, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        let Some((version, path)) = own_group(&groups) else {
            return Err(Refused::no_controller("the kernel lists no memory controller for this process"));
        };
        let Some(mount) = mounts.lines().filter_map(Mount::parse).find(|mount| serves(mount, version)) else {
            return Err(Refused::no_hierarchy(version));
        };
        // Inside a container, the mount may show a part of the hierarchy only. A process outside that part is
        // treated as if it were at its top.
        let below = path.strip_prefix(&mount.root).unwrap_or_else(|_| Path::new(""));
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let own = if plain && below != Path::new("") { mount.point.join(below) } else { mount.point.clone() };
        Ok(Self { version, root: mount.point, own })
    }

    /// The own group, the one above it, and so on up to the root.
    pub(super) fn upwards(&self) -> impl Iterator<Item = &Path> {
        self.own.ancestors().take_while(|dir| dir.starts_with(&self.root))
    }

    /// The lowest limit of the own group and those above it, in bytes; none if nothing bounds them.
    pub(super) fn limit(&self, tree: &dyn Tree) -> Option<u64> {
        let file = self.version.limit_file();
        self.upwards().filter_map(|dir| stat::limit(&tree.read(&dir.join(file)).ok()?).ok().flatten()).min()
    }
}

/// The version and the path of the memory controller's group in a `/proc/PID/cgroup`.
fn own_group(text: &str) -> Option<(Version, PathBuf)> {
    let lines = || {
        text.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            Some((parts.next()?, parts.next()?, parts.next()?))
        })
    };
    let v1 = lines().find(|(_, names, _)| names.split(',').any(|name| name == "memory"));
    if let Some((_, _, path)) = v1 {
        return Some((Version::V1, PathBuf::from(path)));
    }
    lines()
        .find(|(number, names, _)| *number == "0" && names.is_empty())
        .map(|(_, _, path)| (Version::V2, PathBuf::from(path)))
}

fn serves(mount: &Mount, version: Version) -> bool {
    match version {
        Version::V1 => mount.kind == "cgroup" && mount.options.split(',').any(|option| option == "memory"),
        Version::V2 => mount.kind == "cgroup2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_groups() {
        let hybrid = "9:name=systemd:/\n4:memory:/jobs/7\n3:cpuset:/\n0::/user.slice\n";
        assert_eq!(own_group(hybrid), Some((Version::V1, "/jobs/7".into())));
        let together = "5:cpu,cpuacct:/a\n4:hugetlb,memory:/b:with:colons\n";
        assert_eq!(own_group(together), Some((Version::V1, "/b:with:colons".into())));
        let unified = "0::/user.slice/user-1000.slice/session-3.scope\n";
        let path = "/user.slice/user-1000.slice/session-3.scope";
        assert_eq!(own_group(unified), Some((Version::V2, path.into())));
        assert_eq!(own_group("9:name=memory:/\n5:cpu:/\n"), None);
        assert_eq!(own_group(""), None);
        assert_eq!(own_group("nonsense\n0:\n"), None);
    }

    #[test]
    fn mounts() {
        let serves = |line| {
            let mount = Mount::parse(line).unwrap();
            (serves(&mount, Version::V1), serves(&mount, Version::V2))
        };
        assert_eq!(serves("35 31 0:32 / /c rw - cgroup cgroup rw,memory"), (true, false));
        assert_eq!(serves("35 31 0:32 / /c rw - cgroup cgroup rw,cpu"), (false, false));
        assert_eq!(serves("41 31 0:38 / /c rw,relatime - cgroup2 cgroup2 rw"), (false, true));
    }
}
