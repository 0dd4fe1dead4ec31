//! Groups that earlier runs left behind, having been killed before they could remove them.
#![forbid(unsafe_code)]

use super::hierarchy::Hierarchy;
use super::tree::Tree;
use super::{PREFIX, group, stat};
use std::path::{Path, PathBuf};

/// Removes empty groups whose names say that a process made them that no longer lives. Looks in the groups from the
/// own one upwards, and in those beside the own one. Returns what was removed.
pub(super) fn remove(tree: &dyn Tree) -> Vec<PathBuf> {
    let Ok(hierarchy) = Hierarchy::find(tree) else { return Vec::new() };
    let mut places: Vec<PathBuf> = hierarchy.upwards().map(Path::to_owned).collect();
    if hierarchy.own != hierarchy.root
        && let Some(above) = hierarchy.own.parent()
    {
        let beside = tree.dirs(above).unwrap_or_default();
        places.extend(beside.into_iter().filter(|dir| *dir != hierarchy.own && maker(dir).is_none()));
    }
    let mut removed = Vec::new();
    for dir in places.iter().flat_map(|place| tree.dirs(place).unwrap_or_default()) {
        let dead = maker(&dir).is_some_and(|pid| !tree.lives(pid));
        // Written as 0, a process of another namespace counts here too.
        let empty = || tree.read(&dir.join("cgroup.procs")).is_ok_and(|text| text.trim().is_empty());
        if dead && empty() && group::remove_empty(tree, &dir).is_ok() {
            removed.push(dir);
        }
    }
    removed
}

/// The process that made a group of that name.
fn maker(dir: &Path) -> Option<i32> {
    let (pid, count) = dir.file_name()?.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    count.parse::<u32>().ok()?;
    stat::pids(pid).first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makers() {
        assert_eq!(maker(Path::new("/a/bifold-bench-77-0")), Some(77));
        for other in ["/a/bifold-bench-77", "/a/bifold-bench-x-0", "/a/bifold-bench-0-0", "/a/b-77-0", "/"] {
            assert_eq!(maker(Path::new(other)), None, "{other}");
        }
    }
}
