//! How much memory this process may take.
#![forbid(unsafe_code)]

use super::hierarchy::Hierarchy;
use super::tree::{Machine, Tree};
use crate::usage::kib_field;
use std::path::Path;

/// What may be taken where nothing is told.
const UNTOLD: u64 = 1 << 30;

/// The lowest memory limit that this process is bounded by already, in bytes; none if nothing bounds it, or nothing
/// that is known.
pub fn limit_here() -> Option<u64> {
    limit(&Machine)
}

/// Bytes of memory that may be taken without harm to others: what the kernel says is available, or what
/// [`limit_here`] says, if that is less.
pub(crate) fn available_memory() -> u64 {
    available(&Machine)
}

fn limit(tree: &dyn Tree) -> Option<u64> {
    Hierarchy::find(tree).ok()?.limit(tree)
}

fn available(tree: &dyn Tree) -> u64 {
    let text = tree.read(Path::new("/proc/meminfo")).unwrap_or_default();
    limit(tree).into_iter().chain(kib_field(&text, "MemAvailable")).min().unwrap_or(UNTOLD)
}

#[cfg(test)]
mod tests {
    use super::super::Version;
    use super::super::made_up::MadeUp;
    use super::*;

    #[test]
    fn the_least_of_what_is_free_and_of_the_limits_may_be_taken() {
        let machine = MadeUp::new(Version::V1, "/jobs/7");
        assert_eq!((available(&machine), limit(&machine)), (UNTOLD, None));
        machine.put("/proc/meminfo", "MemTotal:       8388608 kB\nMemAvailable:    2097152 kB\n");
        assert_eq!(available(&machine), 2 << 30);
        // A group above bounds it as its own does.
        machine.put("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "536870912\n");
        assert_eq!((available(&machine), limit(&machine)), (512 << 20, Some(512 << 20)));
        machine.put("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "8589934592\n");
        assert_eq!((available(&machine), limit(&machine)), (2 << 30, Some(8 << 30)));
    }
}
