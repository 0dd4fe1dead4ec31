//! The sizes of the processor's caches.
#![forbid(unsafe_code)]

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
