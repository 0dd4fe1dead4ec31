//! Making a group of a given limit.
#![forbid(unsafe_code)]

use super::group::Group;
use super::hierarchy::{Hierarchy, Version};
use super::tree::Tree;
use super::{PREFIX, Refused, stat};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The least limit that is set, in bytes: a process that does nothing needs about as much to start.
const LEAST: u64 = 4 << 20;
/// The kernel rounds limits down to whole pages, which are 64 KiB at most.
const ROUNDING: u64 = 64 << 10;

/// Groups made by this process, for their names.
static MADE: AtomicU32 = AtomicU32::new(0);

/// What was tried and how it ended.
type Failure = (String, io::ErrorKind);

pub(super) fn create(tree: &Arc<dyn Tree>, bytes: u64) -> Result<Group, Refused> {
    if bytes < LEAST {
        return Err(Refused {
            why: format!("a process cannot start within {bytes} bytes"),
            advice: format!("The least that can be asked for is {} MiB.", LEAST >> 20),
        });
    }
    let hierarchy = Hierarchy::find(&**tree)?;
    if let Some(limit) = hierarchy.limit(&**tree).filter(|&limit| limit < bytes) {
        return Err(Refused::limited(bytes, limit));
    }
    let name = format!("{PREFIX}{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let mut failures = Vec::new();
    for above in hierarchy.upwards() {
        match create_in(tree, &hierarchy, above, &name, bytes) {
            Ok(group) => return Ok(group),
            Err(failure) => failures.push(failure),
        }
    }
    Err(Refused::nowhere(hierarchy.version, bytes, &failures))
}

fn create_in(
    tree: &Arc<dyn Tree>,
    hierarchy: &Hierarchy,
    above: &Path,
    name: &str,
    bytes: u64,
) -> Result<Group, Failure> {
    if hierarchy.version == Version::V2 {
        enable(&**tree, above)?;
    }
    let dir = above.join(name);
    tree.create_dir(&dir).map_err(failed("no group can be made in", above))?;
    // From here on, leaving with an error drops the group, and that removes it.
    let mut group = Group::owned(Arc::clone(tree), dir, hierarchy.version);
    match hierarchy.version {
        Version::V1 => bound_v1(&**tree, &mut group, bytes)?,
        Version::V2 => bound_v2(&**tree, &mut group, bytes)?,
    }
    let file = group.path().join(hierarchy.version.limit_file());
    let text = tree.read(&file).map_err(failed("cannot read", &file))?;
    match stat::limit(&text) {
        Ok(Some(set)) if set <= bytes && bytes - set < ROUNDING => Ok(group),
        _ => Err((format!("the kernel made {} of the limit of {bytes}", text.trim()), io::ErrorKind::Other)),
    }
}

/// Has the memory controller count groups in `above`, of version 2.
///
/// It stays enabled: to disable it again would take the limits from whatever else was put there since.
fn enable(tree: &dyn Tree, above: &Path) -> Result<(), Failure> {
    let file = above.join("cgroup.controllers");
    let here = tree.read(&file).map_err(failed("cannot read", &file))?;
    if !stat::has_memory(&here) {
        return Err((format!("{} has no memory controller", above.display()), io::ErrorKind::Unsupported));
    }
    let file = above.join("cgroup.subtree_control");
    if tree.read(&file).is_ok_and(|text| stat::has_memory(&text)) {
        return Ok(());
    }
    tree.write(&file, "+memory").map_err(failed("cannot write +memory to", &file))
}

fn bound_v1(tree: &dyn Tree, group: &mut Group, bytes: u64) -> Result<(), Failure> {
    let limit = group.path().join(Version::V1.limit_file());
    tree.write(&limit, &bytes.to_string()).map_err(failed("cannot write", &limit))?;
    // Memory and swap together can be bounded only once memory alone is.
    let both = group.path().join("memory.memsw.limit_in_bytes");
    if let Err(e) = tree.write(&both, &bytes.to_string()) {
        group.note(format!("swap is not bounded ({}: {e}); swappiness is 0", both.display()));
    }
    if let Err(e) = tree.write(&group.path().join("memory.swappiness"), "0") {
        group.note(format!("swappiness stays what it was: {e}"));
    }
    Ok(())
}

fn bound_v2(tree: &dyn Tree, group: &mut Group, bytes: u64) -> Result<(), Failure> {
    let limit = group.path().join(Version::V2.limit_file());
    tree.write(&limit, &bytes.to_string()).map_err(failed("cannot write", &limit))?;
    let swap = group.path().join("memory.swap.max");
    if let Err(e) = tree.write(&swap, "0") {
        group.note(format!("swap is not bounded ({}: {e})", swap.display()));
    }
    Ok(())
}

fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |e| (format!("{what} {}: {e}", path.display()), e.kind())
}
