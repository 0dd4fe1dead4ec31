//! Both versions of memory groups on a made-up machine, and what stands in their way.
#![forbid(unsafe_code)]

use super::group::Group;
use super::made_up::MadeUp;
use super::tree::Tree;
use super::{Events, Held, Refused, Version, create, killed_for_memory, leftovers, stat};
use rustix::io::Errno;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

const GIB: u64 = 1 << 30;

fn machine(version: Version, own: &str) -> Arc<MadeUp> {
    Arc::new(MadeUp::new(version, own))
}

fn make(machine: &Arc<MadeUp>, bytes: u64) -> Result<Group, Refused> {
    create::create(&(Arc::clone(machine) as Arc<dyn Tree>), bytes)
}

fn refused(machine: &Arc<MadeUp>, bytes: u64) -> Refused {
    make(machine, bytes).expect_err("no group can be made")
}

fn put(machine: &MadeUp, group: &Group, name: &str, text: &str) {
    machine.put(group.path().join(name).to_str().unwrap(), text);
}

/// What is in a file of the group, without the line's end.
fn read(machine: &MadeUp, group: &Group, name: &str) -> String {
    machine.read(&group.path().join(name)).unwrap().trim().to_owned()
}

#[test]
fn version_1_below_the_own_group() {
    let machine = machine(Version::V1, "/jobs/7");
    let group = make(&machine, GIB + 5).unwrap();
    assert_eq!(group.path().parent().unwrap(), Path::new("/sys/fs/cgroup/memory/jobs/7"));
    assert_eq!((group.version(), group.limit().unwrap()), (Version::V1, Some(GIB)));
    assert_eq!(read(&machine, &group, "memory.memsw.limit_in_bytes"), (GIB + 5).to_string());
    assert_eq!(read(&machine, &group, "memory.swappiness"), "0");
    assert!(group.notes().is_empty(), "{:?}", group.notes());
    let path = machine.at(group.path());
    drop(group);
    assert!(!path.exists());
}

#[test]
fn version_1_without_permission_below_the_own_group() {
    let machine = machine(Version::V1, "/jobs/7");
    machine.deny(Path::new("/sys/fs/cgroup/memory/jobs"), Errno::ACCESS);
    let group = make(&machine, GIB).unwrap();
    assert_eq!(group.path().parent().unwrap(), Path::new("/sys/fs/cgroup/memory"));
}

#[test]
fn version_1_without_a_count_of_swap() {
    let machine = machine(Version::V1, "/");
    deny_in_groups(&machine, "memory.memsw.limit_in_bytes", Errno::NOENT);
    let group = make(&machine, GIB).unwrap();
    assert!(group.notes()[0].contains("swap is not bounded"), "{:?}", group.notes());
    assert_eq!(read(&machine, &group, "memory.swappiness"), "0");
}

/// Denies writes to `file` of whatever groups this process makes at the root: their names count up.
fn deny_in_groups(machine: &MadeUp, file: &str, errno: Errno) {
    for count in 0..1000 {
        let name = format!("bifold-bench-{}-{count}", std::process::id());
        machine.deny(&machine.root().join(name).join(file), errno);
    }
}

#[test]
fn version_2_beside_the_own_group() {
    let machine = machine(Version::V2, "/");
    // A systemd of sorts: the slice divides memory among its groups, this process is in one of them.
    machine.write(Path::new("/sys/fs/cgroup/cgroup.subtree_control"), "+memory").unwrap();
    for dir in ["/sys/fs/cgroup/app.slice", "/sys/fs/cgroup/app.slice/run.scope"] {
        machine.create_dir(Path::new(dir)).unwrap();
        machine.write(&Path::new(dir).join("cgroup.subtree_control"), "+memory").unwrap();
    }
    machine.put("/sys/fs/cgroup/app.slice/run.scope/cgroup.subtree_control", "");
    machine.put("/sys/fs/cgroup/app.slice/run.scope/cgroup.procs", "1\n");
    machine.put("/proc/self/cgroup", "0::/app.slice/run.scope\n");
    let group = make(&machine, GIB).unwrap();
    assert_eq!(group.path().parent().unwrap(), Path::new("/sys/fs/cgroup/app.slice"));
    assert_eq!((group.version(), group.limit().unwrap()), (Version::V2, Some(GIB)));
    assert_eq!(read(&machine, &group, "memory.swap.max"), "0");
    assert!(group.notes().is_empty(), "{:?}", group.notes());
    let path = machine.at(group.path());
    group.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn version_2_at_the_root_enables_the_controller() {
    let machine = machine(Version::V2, "/");
    let group = make(&machine, GIB).unwrap();
    assert_eq!(group.path().parent().unwrap(), Path::new("/sys/fs/cgroup"));
    assert_eq!(machine.read(Path::new("/sys/fs/cgroup/cgroup.subtree_control")).unwrap().trim(), "memory");
}

#[test]
fn read_only() {
    for version in [Version::V1, Version::V2] {
        let machine = machine(version, "/");
        machine.deny(Path::new("/sys"), Errno::ROFS);
        let refused = refused(&machine, GIB);
        assert!(refused.why.contains("Read-only file system"), "{refused}");
        assert!(refused.advice.contains("docker run --memory"), "{refused}");
    }
}

#[test]
fn no_permission() {
    let words = [(Version::V1, "sudo bifold-bench"), (Version::V2, "systemd-run --user --scope")];
    for (version, advice) in words {
        for errno in [Errno::ACCESS, Errno::PERM] {
            let machine = machine(version, "/");
            machine.deny(Path::new("/sys"), errno);
            let refused = refused(&machine, GIB);
            assert!(refused.why.contains("/sys/fs/cgroup"), "{refused}");
            assert!(refused.advice.contains(advice), "{refused}");
            assert_eq!(refused.advice.contains("MemoryMax=1073741824"), version == Version::V2, "{refused}");
        }
    }
}

#[test]
fn a_group_that_cannot_be_bounded_is_not_left_behind() {
    for version in [Version::V1, Version::V2] {
        let machine = machine(version, "/");
        let file = version.limit_file();
        deny_in_groups(&machine, file, Errno::PERM);
        let refused = refused(&machine, GIB);
        assert!(refused.why.contains(file), "{refused}");
        assert_eq!(machine.dirs(&machine.root()).unwrap(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn missing_controllers_and_hierarchies() {
    let without = machine(Version::V2, "/");
    without.put("/sys/fs/cgroup/cgroup.controllers", "cpu io\n");
    assert!(refused(&without, GIB).why.contains("has no memory controller"));

    let unlisted = machine(Version::V1, "/");
    unlisted.put("/proc/self/cgroup", "3:cpu:/\n");
    let answer = refused(&unlisted, GIB);
    assert!(answer.why.contains("lists no memory controller"), "{answer}");
    assert!(answer.advice.contains("cgroup_enable=memory"), "{answer}");

    for version in [Version::V1, Version::V2] {
        let unmounted = machine(version, "/");
        unmounted.put("/proc/self/mountinfo", "22 27 0:21 / /proc rw - proc proc rw\n");
        let answer = refused(&unmounted, GIB);
        assert!(answer.why.contains("no cgroup") && answer.advice.contains("mount -t cgroup"), "{answer}");
    }
    let bare = machine(Version::V1, "/");
    std::fs::remove_file(bare.at(Path::new("/proc/self/cgroup"))).unwrap();
    assert!(refused(&bare, GIB).why.contains("/proc/self/cgroup"));
}

#[test]
fn limits_that_are_none() {
    let machine = machine(Version::V1, "/jobs/7");
    assert!(refused(&machine, 4096).why.contains("cannot start within 4096 bytes"));
    machine.put("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "536870912\n");
    let answer = refused(&machine, GIB);
    assert!(answer.why.contains("may use 536870912 bytes only"), "{answer}");
    assert!(make(&machine, 536_870_912).is_ok());
}

/// A container sees a part of the hierarchy, and the process's path is told from the top of all.
#[test]
fn a_mount_of_a_part() {
    let machine = machine(Version::V1, "/");
    machine.put("/proc/self/cgroup", "4:memory:/docker/cafe/job\n");
    machine.put(
        "/proc/self/mountinfo",
        "3 1 0:3 /docker/cafe /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
    );
    machine.create_dir(Path::new("/sys/fs/cgroup/memory/job")).unwrap();
    let group = make(&machine, GIB).unwrap();
    assert_eq!(group.path().parent().unwrap(), Path::new("/sys/fs/cgroup/memory/job"));
    for outside in ["4:memory:/../other\n", "4:memory:/docker/else\n"] {
        machine.put("/proc/self/cgroup", outside);
        let group = make(&machine, GIB).unwrap();
        assert_eq!(group.path().parent().unwrap(), Path::new("/sys/fs/cgroup/memory"), "{outside}");
    }
}

#[test]
fn the_child_joins_and_is_killed() {
    for version in [Version::V1, Version::V2] {
        let machine = machine(version, "/");
        let group = make(&machine, GIB).unwrap();
        let child = Group::opened(Arc::clone(&machine) as Arc<dyn Tree>, group.path()).unwrap();
        child.join().unwrap();
        assert_eq!(read(&machine, &group, "cgroup.procs"), std::process::id().to_string());
        drop(child);
        // A process does not end itself by removing the group it is in.
        let error = Group::opened(Arc::clone(&machine) as Arc<dyn Tree>, group.path()).unwrap().remove();
        assert!(error.unwrap_err().to_string().contains("this process is in"));
        put(&machine, &group, "cgroup.procs", "901\n902\n");
        machine.living.lock().unwrap().extend([901, 902]);
        let inner = group.path().join("inner");
        machine.create_dir(&inner).unwrap();
        machine.put(inner.join("cgroup.procs").to_str().unwrap(), "903\n");
        machine.living.lock().unwrap().insert(903);
        let path = machine.at(group.path());
        group.remove().unwrap();
        assert!(!path.exists());
        assert!([901, 902, 903].iter().all(|pid| !machine.lives(*pid)));
    }
    let machine = machine(Version::V2, "/");
    let nothing = Group::opened(Arc::clone(&machine) as Arc<dyn Tree>, Path::new("/proc/self"));
    assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn what_does_not_end_is_told() {
    let machine = machine(Version::V1, "/");
    let group = make(&machine, GIB).unwrap();
    put(&machine, &group, "cgroup.procs", "901\n");
    machine.stubborn.lock().unwrap().insert(901);
    assert_eq!(group.remove().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

/// Texts of Linux 6.18 with version 1, and of 6.8 with version 2, cut short.
#[test]
fn figures() {
    let machine_1 = machine(Version::V1, "/");
    let group = make(&machine_1, GIB).unwrap();
    put(&machine_1, &group, "memory.failcnt", "371\n");
    put(&machine_1, &group, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
    put(&machine_1, &group, "memory.max_usage_in_bytes", "1073741824\n");
    put(&machine_1, &group, "memory.usage_in_bytes", "30318592\n");
    put(&machine_1, &group, "memory.kmem.usage_in_bytes", "3158016\n");
    let text = "cache 25444352\nrss 1716224\nrss_huge 0\nshmem 0\nmapped_file 28672\n\
                hierarchical_memory_limit 1073741824\ntotal_cache 25444353\ntotal_rss 1716225\n";
    put(&machine_1, &group, "memory.stat", text);
    assert_eq!(group.events().unwrap(), Events { limit_hits: Some(371), oom_kills: Some(2) });
    assert_eq!(group.peak().unwrap(), Some(GIB));
    let held =
        Held { total: 30_318_592, anonymous: 1_716_225, page_cache: 25_444_353, kernel: Some(3_158_016) };
    assert_eq!(group.held().unwrap(), held);
    put(&machine_1, &group, "memory.memsw.failcnt", "29\n");
    put(&machine_1, &group, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n");
    assert_eq!(group.events().unwrap().limit_hits, Some(400));
    assert_eq!(group.events().unwrap().oom_kills, None);
    // A recent kernel: the limit was reached, but neither counter of failures moved.
    for name in ["memory.failcnt", "memory.memsw.failcnt"] {
        put(&machine_1, &group, name, "0\n");
    }
    assert_eq!(group.events().unwrap().limit_hits, None);
    put(&machine_1, &group, "memory.max_usage_in_bytes", "104857600\n");
    assert_eq!(group.events().unwrap().limit_hits, Some(0));
    put(&machine_1, &group, "memory.stat", "cache x\n");
    assert_eq!(group.held().unwrap_err().kind(), std::io::ErrorKind::InvalidData);

    let machine_2 = machine(Version::V2, "/");
    let group = make(&machine_2, GIB).unwrap();
    assert_eq!(group.peak().unwrap(), None);
    put(&machine_2, &group, "memory.peak", "67108864\n");
    put(
        &machine_2,
        &group,
        "memory.events",
        "low 0\nhigh 0\nmax 1743\noom 3\noom_kill 1\noom_group_kill 0\n",
    );
    put(&machine_2, &group, "memory.current", "66846720\n");
    put(
        &machine_2,
        &group,
        "memory.stat",
        "anon 401408\nfile 65011712\nkernel 1130496\nkernel_stack 16384\n",
    );
    assert_eq!(group.peak().unwrap(), Some(64 << 20));
    assert_eq!(group.events().unwrap(), Events { limit_hits: Some(1743), oom_kills: Some(1) });
    let held =
        Held { total: 66_846_720, anonymous: 401_408, page_cache: 65_011_712, kernel: Some(1_130_496) };
    assert_eq!(group.held().unwrap(), held);
    put(&machine_2, &group, "memory.events", "");
    assert!(group.events().is_err());
}

#[test]
fn deaths_are_told_apart() {
    let machine = machine(Version::V2, "/");
    let group = make(&machine, GIB).unwrap();
    let (killed, wrapped) = (ExitStatus::from_raw(9), ExitStatus::from_raw(137 << 8));
    let others = [ExitStatus::from_raw(0), ExitStatus::from_raw(1 << 8), ExitStatus::from_raw(11)];
    // Without figures, nothing is claimed.
    assert!(!killed_for_memory(killed, &group));
    put(&machine, &group, "memory.events", "max 100\noom 0\noom_kill 0\n");
    assert!(!killed_for_memory(killed, &group));
    put(&machine, &group, "memory.events", "max 100\noom 1\noom_kill 1\n");
    assert!(killed_for_memory(killed, &group) && killed_for_memory(wrapped, &group));
    assert!(others.iter().all(|&status| !killed_for_memory(status, &group)));
    // A kernel that does not count kills.
    put(&machine, &group, "memory.events", "max 100\n");
    assert!(killed_for_memory(killed, &group));
    put(&machine, &group, "memory.events", "max 0\n");
    assert!(!killed_for_memory(killed, &group));
}

#[test]
fn leftovers_of_the_dead_are_removed() {
    for version in [Version::V1, Version::V2] {
        let machine = machine(version, "/");
        let root = machine.root();
        machine.create_dir(&root.join("beside")).unwrap();
        machine.create_dir(&root.join("own")).unwrap();
        let line = if version == Version::V1 { "4:memory:/own\n" } else { "0::/own\n" };
        machine.put("/proc/self/cgroup", line);
        machine.living.lock().unwrap().insert(555);
        let dead = ["bifold-bench-444-0", "beside/bifold-bench-444-12", "own/bifold-bench-444-1"];
        let kept = ["bifold-bench-555-0", "bifold-bench-444-7", "bifold-bench-444-8", "others-444-0"];
        for name in dead.iter().chain(&kept) {
            machine.create_dir(&root.join(name)).unwrap();
        }
        // Somebody is in these still, one of them of another process namespace.
        machine.put(root.join(kept[1]).join("cgroup.procs").to_str().unwrap(), "556\n");
        machine.put(root.join(kept[2]).join("cgroup.procs").to_str().unwrap(), "0\n");
        let mut removed = leftovers::remove(&*machine);
        removed.sort();
        let mut expected: Vec<_> = dead.iter().map(|name| root.join(name)).collect();
        expected.sort();
        assert_eq!(removed, expected);
        assert!(kept.iter().all(|name| machine.at(&root.join(name)).exists()));
    }
}

#[test]
fn small_parsers() {
    assert_eq!(stat::limit("max\n"), Ok(None));
    assert_eq!(stat::limit("9223372036854771712\n"), Ok(None));
    assert_eq!(stat::limit("67108864\n"), Ok(Some(64 << 20)));
    assert!(stat::limit("soon").is_err());
    assert_eq!(stat::pids("1\n0\n-5\nx\n77\n"), [1, 77]);
    assert_eq!(stat::field("oom 1\noom_kill 2\n", "oom_kill"), Some(2));
    assert_eq!(stat::field("oom_kill x\n", "oom_kill"), None);
    assert!(stat::has_memory("cpu memory io\n") && !stat::has_memory("cpu memory_x\n"));
}

#[test]
fn refusals_travel_as_json() {
    let machine = machine(Version::V1, "/");
    machine.deny(Path::new("/sys"), Errno::ROFS);
    let refused = refused(&machine, GIB);
    let text = serde_json::to_string(&refused).unwrap();
    assert_eq!(serde_json::from_str::<Refused>(&text).unwrap(), refused);
}
