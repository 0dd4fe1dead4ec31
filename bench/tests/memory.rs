//! Memory groups and figures of use on this machine, for real: each test that is not permitted here says so.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use bifold_bench::memory::{self, Group};
use bifold_bench::usage::{self, Disk, Usage};
use std::env;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

const MIB: u64 = 1 << 20;
/// The child's group, and what it is to do in it.
const GROUP: &str = "BIFOLD_BENCH_TEST_GROUP";
const TASK: &str = "BIFOLD_BENCH_TEST_TASK";

/// A group of 64 MiB, or none with the reason printed.
fn group() -> Option<Group> {
    match Group::create(64 * MIB) {
        Ok(group) => Some(group),
        Err(refused) => {
            println!("skipped: {refused}");
            None
        }
    }
}

/// This test program once more, in `group`.
fn child(group: &Group, task: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["in_the_group", "--exact", "--nocapture", "--test-threads=1"])
        .env(GROUP, group.path())
        .env(TASK, task)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test but the child's part of those below.
#[test]
fn in_the_group() {
    let Some(path) = env::var_os(GROUP) else { return };
    Group::from_path(Path::new(&path)).unwrap().join().unwrap();
    let task = env::var(TASK).unwrap();
    let mut kept = Vec::new();
    if let Some(mib) = task.strip_prefix("touch ") {
        kept = vec![0_u8; mib.parse::<usize>().unwrap() << 20];
        kept.iter_mut().step_by(512).for_each(|byte| *byte = 1);
    } else if let Some(path) = task.strip_prefix("read ") {
        let mut file = File::open(path).unwrap();
        let mut bytes = vec![0; 1 << 16];
        while file.read(&mut bytes).unwrap() > 0 {}
    }
    print!("\ndone\n");
    io::stdout().flush().unwrap();
    // Until the parent has looked, or has closed its end.
    let _ = io::stdin().read(&mut [0]);
    black_box(&kept);
}

/// Waits for the child's word that it is done; it stays in the group.
fn wait_done(child: &mut Child) {
    let mut said = String::new();
    let mut byte = [0];
    let mut out = child.stdout.take().unwrap();
    while !said.contains("\ndone\n") {
        assert_eq!(out.read(&mut byte).unwrap(), 1, "the child ended early: {said}");
        said.push(char::from(byte[0]));
    }
    // It has more to say when it ends.
    child.stdout = Some(out);
}

#[test]
fn too_much_memory_is_told_as_that() {
    let Some(group) = group() else { return };
    let mut child = child(&group, "touch 128");
    let status = child.wait().unwrap();
    assert!(memory::killed_for_memory(status, &group), "{status}, {:?}", group.events());
    let events = group.events().unwrap();
    assert_ne!(events.limit_hits, Some(0), "{events:?}");
    if let Some(peak) = group.peak().unwrap() {
        assert!((32 * MIB..=65 * MIB).contains(&peak), "a peak of {peak}");
    }
    let path = group.path().to_owned();
    group.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn enough_memory_and_another_death() {
    let Some(group) = group() else { return };
    let mut child = child(&group, "touch 16");
    wait_done(&mut child);
    let held = group.held().unwrap();
    assert!((15 * MIB..64 * MIB).contains(&held.anonymous), "{held:?}");
    if let Some(peak) = group.peak().unwrap() {
        assert!((16 * MIB..=64 * MIB).contains(&peak), "a peak of {peak}");
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(!memory::killed_for_memory(status, &group), "{status}, {:?}", group.events());
    assert_eq!(group.limit().unwrap(), Some(64 * MIB));
}

/// A file of twice the limit is read; what is cached of it stays within the limit, and nobody is killed.
#[test]
fn the_page_cache_is_bounded() {
    let Some(group) = group() else { return };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("data");
    let mut file = File::create(&path).unwrap();
    for _ in 0..128 {
        file.write_all(&vec![7; 1 << 20]).unwrap();
    }
    let how = memory::drop_files(std::slice::from_ref(&path));
    assert_eq!((how.files, how.notes.len()), (1, 0), "{how:?}");
    let mut child = child(&group, &format!("read {}", path.display()));
    wait_done(&mut child);
    let cached = usage::resident(&File::open(&path).unwrap());
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}, {:?}", group.events());
    match (how.left, cached) {
        (Some(left), Some(cached)) if left < MIB => {
            assert!((16 * MIB..=65 * MIB).contains(&cached), "{cached} bytes cached in a group of 64 MiB");
            assert_ne!(group.events().unwrap().limit_hits, Some(0));
        }
        _ => println!("skipped: this kernel or file system does not say what is cached"),
    }
}

#[test]
fn a_dropped_group_takes_its_processes_along() {
    let Some(group) = group() else { return };
    let mut child = child(&group, "wait");
    wait_done(&mut child);
    let path = group.path().to_owned();
    // A living maker's groups are not left over.
    assert!(!memory::remove_leftovers().contains(&path));
    assert!(path.exists());
    drop(group);
    assert!(!path.exists());
    let status = child.wait().unwrap();
    assert!(!status.success(), "{status}");
}

#[test]
fn leftovers() {
    let Some(group) = group() else { return };
    // The name of a process that has ended.
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let path: PathBuf = group.path().with_file_name(format!("bifold-bench-{}-0", ended.id()));
    fs::create_dir(&path).unwrap();
    let removed = memory::remove_leftovers();
    // Another test of this program may have come first.
    assert!(!path.exists(), "removed: {removed:?}");
}

#[test]
fn use_of_the_machine() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let all = usage::count_system_calls();
    if let Err(why) = all {
        println!("skipped: counting all system calls: {why}");
    }
    let before = Usage::now();
    let mut file = File::create(dir.path().join("data")).unwrap();
    // In a thread, which ends before the second look.
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..1000 {
                file.write_all(&[1; 4096]).unwrap();
            }
            for _ in 0..100 {
                file.sync_data().unwrap();
            }
        });
    });
    let mut memory = vec![0_u8; 32 << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    black_box(&memory);
    let resident = Usage::now();
    drop(memory);
    let used = resident.since(&before);
    let io = used.io.expect("/proc/self/io");
    assert!(io.write_calls >= 1000 && io.written_by_calls >= 4_096_000, "{io:?}");
    let calls = used.system_calls.expect("/proc/self/io is a count at least");
    assert_eq!(calls.all, all.is_ok());
    let least = if calls.all { 1100 } else { 1000 };
    assert!(calls.count >= least, "{calls:?}");
    assert!(used.soft_faults > 0 && used.cpu_ns() > 0, "{used:?}");
    let memory = used.memory.expect("/proc/self/status");
    assert!(memory.peak >= memory.now && memory.anonymous >= 24 * MIB, "{memory:?}");
    match usage::reset_peak() {
        Ok(()) => {
            let after = Usage::now().memory.unwrap();
            assert!(after.peak < memory.peak, "{after:?} after {memory:?}");
        }
        Err(e) => println!("skipped: the peak of memory cannot be reset: {e}"),
    }
}

#[test]
fn use_of_the_disk() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk = match Disk::of(dir.path()) {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped: {why}");
            return;
        }
    };
    let (before, whole) = (disk.now().unwrap(), disk.whole_now().unwrap());
    let mut file = File::create(dir.path().join("data")).unwrap();
    let mut state = 1_u64;
    // Bytes that no disk or file system makes fewer.
    let noise: Vec<u8> = (0..8 * MIB)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    file.write_all(&noise).unwrap();
    file.sync_all().unwrap();
    let done = disk.now().unwrap().since(&before);
    assert!(done.writes > 0 && done.written_bytes >= 8 * MIB, "{disk:?}: {done:?}");
    assert!(disk.whole_now().unwrap().since(&whole).written_bytes >= 8 * MIB);
}
