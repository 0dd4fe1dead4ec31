//! A made-up kernel for tests: control groups in a temporary directory that answer as the real ones do.
#![forbid(unsafe_code)]

use super::tree::Tree;
use super::{Version, stat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

const UNLIMITED: &str = "9223372036854771712";

/// What refuses what: the beginning of a path and the error that changing anything there gives.
type Denial = (PathBuf, Errno);

#[derive(Debug)]
pub(super) struct MadeUp {
    dir: TempDir,
    version: Version,
    denied: Mutex<Vec<Denial>>,
    /// Processes that live.
    pub(super) living: Mutex<BTreeSet<i32>>,
    /// Processes that stay in their groups when killed.
    pub(super) stubborn: Mutex<BTreeSet<i32>>,
}

impl MadeUp {
    /// A machine with one hierarchy of `version`, in which this process is in the group `own` (`/a/b`).
    pub(super) fn new(version: Version, own: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Self {
            dir,
            version,
            denied: Mutex::default(),
            living: Mutex::default(),
            stubborn: Mutex::default(),
        };
        let (line, mount) = match version {
            Version::V1 => (format!("3:cpu:/\n4:memory:{own}\n0::/elsewhere\n"), "cgroup cgroup rw,memory"),
            Version::V2 => (format!("0::{own}\n"), "cgroup2 cgroup2 rw,nsdelegate"),
        };
        made.put("/proc/self/cgroup", &line);
        let root = made.root();
        let other = "22 27 0:21 / /proc rw,relatime - proc proc rw\n";
        made.put(
            "/proc/self/mountinfo",
            &format!("{other}35 31 0:32 / {} rw,relatime shared:9 - {mount}\n", root.display()),
        );
        fs::create_dir_all(made.at(&root)).unwrap();
        made.populate(&root);
        let mut at = root;
        for part in own.split('/').filter(|part| !part.is_empty()) {
            at.push(part);
            made.create_dir(&at).unwrap();
        }
        let procs = at.join("cgroup.procs");
        made.put(procs.to_str().unwrap(), &format!("{}\n", std::process::id()));
        made.living.lock().unwrap().insert(std::process::id() as i32);
        made
    }

    /// The mount point.
    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(match self.version {
            Version::V1 => "/sys/fs/cgroup/memory",
            Version::V2 => "/sys/fs/cgroup",
        })
    }

    /// Where the made-up `path` really is.
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        self.dir.path().join(path.strip_prefix("/").unwrap())
    }

    /// Writes a made-up file, whatever is denied.
    pub(super) fn put(&self, path: &str, text: &str) {
        let at = self.at(Path::new(path));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    /// Denies every change at and below `path`.
    pub(super) fn deny(&self, path: &Path, error: Errno) {
        self.denied.lock().unwrap().push((path.to_owned(), error));
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        match self.denied.lock().unwrap().iter().find(|(start, _)| path.starts_with(start)) {
            Some(&(_, error)) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// The control files of a new group.
    fn populate(&self, dir: &Path) {
        let put = |name: &str, text: &str| self.put(dir.join(name).to_str().unwrap(), text);
        put("cgroup.procs", "");
        let above = dir.parent().unwrap();
        match self.version {
            Version::V1 => {
                put("memory.limit_in_bytes", UNLIMITED);
                put("memory.memsw.limit_in_bytes", UNLIMITED);
                put("memory.swappiness", "60");
                put("memory.force_empty", "");
            }
            Version::V2 if dir == self.root() => {
                put("cgroup.controllers", "cpuset cpu io memory pids\n");
                put("cgroup.subtree_control", "");
            }
            Version::V2 => {
                let given = self.read(&above.join("cgroup.subtree_control")).unwrap();
                put("cgroup.controllers", &given);
                put("cgroup.subtree_control", "");
                if stat::has_memory(&given) {
                    put("memory.max", "max\n");
                    put("memory.swap.max", "max\n");
                }
            }
        }
    }

    fn unbounded(&self, dir: &Path) -> bool {
        self.read(&dir.join("memory.limit_in_bytes")).unwrap() == UNLIMITED
    }
}

impl Tree for MadeUp {
    fn read(&self, file: &Path) -> io::Result<String> {
        fs::read_to_string(self.at(file))
    }

    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        self.check(file)?;
        let (at, dir) = (self.at(file), file.parent().unwrap());
        let old = fs::read_to_string(&at)?;
        let new = match file.file_name().unwrap().to_str().unwrap() {
            "cgroup.subtree_control" => {
                // "No internal processes": only the root may have both processes and divided groups.
                if dir != self.root() && !self.read(&dir.join("cgroup.procs"))?.is_empty() {
                    return Err(Errno::BUSY.into());
                }
                format!("{} {}\n", old.trim(), text.trim_start_matches('+'))
            }
            "memory.limit_in_bytes" | "memory.max" => {
                format!("{}\n", text.parse::<u64>().unwrap() / 4096 * 4096)
            }
            "memory.memsw.limit_in_bytes" if self.unbounded(dir) => return Err(Errno::INVAL.into()),
            "cgroup.procs" => format!("{old}{text}\n"),
            _ => text.to_owned(),
        };
        fs::write(at, new)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(dir)?;
        fs::create_dir(self.at(dir))?;
        self.populate(dir);
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(dir)?;
        let procs = self.read(&dir.join("cgroup.procs"));
        if procs.is_ok_and(|text| !text.is_empty()) || self.dirs(dir).is_ok_and(|dirs| !dirs.is_empty()) {
            return Err(Errno::BUSY.into());
        }
        fs::remove_dir_all(self.at(dir))
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut dirs = Vec::new();
        for entry in fs::read_dir(self.at(dir))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(dir.join(entry.file_name()));
            }
        }
        Ok(dirs)
    }

    fn lives(&self, pid: i32) -> bool {
        self.living.lock().unwrap().contains(&pid)
    }

    fn kill(&self, pid: i32, procs: &Path) -> io::Result<()> {
        if self.stubborn.lock().unwrap().contains(&pid) {
            return Ok(());
        }
        self.living.lock().unwrap().remove(&pid);
        let left = stat::pids(&self.read(procs)?).into_iter().filter(|&found| found != pid);
        let text: Vec<String> = left.map(|pid| pid.to_string() + "\n").collect();
        fs::write(self.at(procs), text.concat())
    }
}
