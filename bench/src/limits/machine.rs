//! What the machine says of itself: sizes of caches, memory and disk, and counts of page faults.
#![forbid(unsafe_code)]

use crate::Result;
use std::fs;
use std::path::Path;

/// Bytes of the first processor's data caches, from the nearest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caches {
    pub(super) l1: u64,
    pub(super) l2: u64,
    pub(super) l3: u64,
    /// Whether the system told them; a common processor's are assumed otherwise.
    pub(super) told: bool,
}

impl Caches {
    /// As the kernel tells.
    pub(super) fn of_this_machine() -> Self {
        Self::told_at(Path::new("/sys/devices/system/cpu/cpu0/cache"))
    }

    fn told_at(dir: &Path) -> Self {
        let mut sizes = [None; 3];
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let read =
                |name| fs::read_to_string(entry.path().join(name)).unwrap_or_default().trim().to_owned();
            let size = read("size").strip_suffix('K').and_then(|k| k.parse::<u64>().ok());
            let level = read("level").parse::<usize>().ok().and_then(|level| level.checked_sub(1));
            if let (Some(slot), Some(kib), true) =
                (level.and_then(|level| sizes.get_mut(level)), size, read("type") != "Instruction")
            {
                *slot = Some(kib << 10).filter(|bytes| *bytes > 0);
            }
        }
        match sizes {
            [Some(l1), Some(l2), l3] if l1 < l2 => {
                Self { l1, l2, l3: l3.filter(|l3| *l3 > l2).unwrap_or(4 * l2), told: true }
            }
            _ => Self { l1: 32 << 10, l2: 1 << 20, l3: 32 << 20, told: false },
        }
    }
}

/// Bytes of memory that may be taken without harm to others: what the kernel says is available, or what a memory
/// group of this process leaves, if that is less.
pub(crate) fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let limit = |path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limits = own_groups().into_iter().filter_map(limit);
    limits.chain(available.map(|kib| kib << 10)).min().unwrap_or(1 << 30)
}

/// Files that may hold the limit of this process's memory group, of either version.
fn own_groups() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut files = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        // Within a container the group's own path may not be there, but its limit is the root's.
        for path in [path, ""] {
            if controllers.is_empty() {
                files.push(format!("/sys/fs/cgroup{path}/memory.max"));
            } else if controllers.split(',').any(|name| name == "memory") {
                files.push(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"));
            }
        }
    }
    files
}

/// Refuses in words if `dir`'s file system has not `bytes` and a twentieth more.
pub(super) fn check_room(dir: &Path, bytes: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let room = stat.f_bavail.saturating_mul(stat.f_frsize);
    if bytes.saturating_add(bytes / 20) > room {
        let mib = |bytes: u64| bytes >> 20;
        return Err(format!(
            "{} has room for {} MiB, and {} MiB would be written: choose a smaller --file-size or another --dir",
            dir.display(),
            mib(room),
            mib(bytes)
        )
        .into());
    }
    Ok(())
}

/// Page faults of this thread.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Faults {
    /// Served without a read.
    pub(super) soft: u64,
    /// Waited for a read.
    pub(super) hard: u64,
}

impl Faults {
    /// The counts now; `None` where `/proc` does not say.
    pub(super) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/thread-self/stat").ok()?)
    }

    /// Fields 10 and 12 of `proc_pid_stat(5)`. The program's name, in parentheses, may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace().skip(7);
        let soft = fields.next()?.parse().ok()?;
        let hard = fields.nth(1)?.parse().ok()?;
        Some(Self { soft, hard })
    }

    /// What was added since `before`, to `self`.
    pub(super) fn add(&mut self, before: Option<Self>, now: Option<Self>) {
        if let (Some(before), Some(now)) = (before, now) {
            self.soft += now.soft.saturating_sub(before.soft);
            self.hard += now.hard.saturating_sub(before.hard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_behind_any_name() {
        let found = Faults::parse("7 (a) b) R 1 2 3 4 5 6 10 11 12 13 14").unwrap();
        assert_eq!((found.soft, found.hard), (10, 12));
        assert!(Faults::parse("7 no name").is_none());
    }

    #[test]
    fn caches_are_read_and_assumed_where_nothing_tells() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Caches::told_at(&dir.path().join("none")).told);
        let index = [("1", "Data", "48K"), ("1", "Instruction", "64K"), ("2", "Unified", "2048K")];
        for (n, (level, kind, size)) in index.iter().enumerate() {
            let at = dir.path().join(format!("index{n}"));
            fs::create_dir(&at).unwrap();
            for (name, text) in [("level", level), ("type", kind), ("size", size)] {
                fs::write(at.join(name), format!("{text}\n")).unwrap();
            }
        }
        let expected = Caches { l1: 48 << 10, l2: 2 << 20, l3: 8 << 20, told: true };
        assert_eq!(Caches::told_at(dir.path()), expected);
    }

    #[test]
    fn a_disk_without_room_is_refused_in_words() {
        let error = check_room(&std::env::temp_dir(), u64::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("--file-size"), "{error}");
        check_room(&std::env::temp_dir(), 0).unwrap();
    }
}
