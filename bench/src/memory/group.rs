//! A memory group in use: who is in it, what it holds, and its end.
#![forbid(unsafe_code)]

use super::hierarchy::Version;
use super::tree::{Machine, Tree};
use super::{Refused, create, stat};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often the end of a group is waited for before giving up, and how long each time.
const WAITS: u32 = if cfg!(test) { 5 } else { 500 };
const WAIT: Duration = Duration::from_millis(10);
/// Bytes of the greatest piece of memory that is commonly charged at once.
const HUGE: u64 = 2 << 20;
/// Groups within groups are removed to that depth.
const DEPTH: u32 = 8;

/// A control group with a memory limit and no swap, for one child process.
///
/// The page cache is charged to the group whose process first touches a page, and stays charged there: what the child
/// is to find bounded must not be in the cache already when it starts ([`drop_caches`](super::drop_caches)).
///
/// The group that [`create`](Self::create) made is removed when it is dropped, with whatever still runs in it. One
/// opened by [`from_path`](Self::from_path) is left alone.
#[derive(Debug)]
pub struct Group {
    tree: Arc<dyn Tree>,
    dir: PathBuf,
    version: Version,
    owned: bool,
    notes: Vec<String>,
}

/// How often a group reached its limit, since it was made.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Events {
    /// Times that memory was asked for when the limit had been reached: the kernel then takes back page cache, and if
    /// there is none, kills. `None`: the limit was reached, but the kernel did not count (recent ones with version 1,
    /// if they count swap too).
    pub limit_hits: Option<u64>,
    /// Processes killed. `None`: the kernel does not count them (version 1 before Linux 4.13).
    pub oom_kills: Option<u64>,
}

/// What a group holds now, in bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// All that counts against the limit.
    pub total: u64,
    /// Memory of processes that no file stands behind: heap and stacks, a pool's frames.
    pub anonymous: u64,
    /// Pages of files, mapped or not, with shared memory and tmpfs.
    pub page_cache: u64,
    /// The kernel's own on behalf of the group: page tables, sockets, inodes. `None` if it does not say.
    pub kernel: Option<u64>,
}

impl Group {
    /// Makes a group of `bytes` of memory and no swap: below the group this process runs in if that is allowed, else
    /// below the nearest one above it that allows it. (In version 2, one with processes in it never does, unless it
    /// is the root.)
    ///
    /// # Errors
    /// [`Refused`], with the reasons and the user's remedy: no permission, a read-only or missing hierarchy, no memory
    /// controller, this process being bounded by less than `bytes`.
    pub fn create(bytes: u64) -> Result<Self, Refused> {
        create::create(&(Arc::new(Machine) as Arc<dyn Tree>), bytes)
    }

    /// The group at `path`, which another process made and keeps.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] if there is no memory group.
    pub fn from_path(path: &Path) -> io::Result<Self> {
        Self::opened(Arc::new(Machine), path)
    }

    pub(super) fn opened(tree: Arc<dyn Tree>, path: &Path) -> io::Result<Self> {
        let version = [Version::V1, Version::V2]
            .into_iter()
            .find(|version| tree.read(&path.join(version.limit_file())).is_ok());
        match version {
            Some(version) => {
                Ok(Self { tree, dir: path.to_owned(), version, owned: false, notes: Vec::new() })
            }
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not a memory control group", path.display()),
            )),
        }
    }

    pub(super) fn owned(tree: Arc<dyn Tree>, dir: PathBuf, version: Version) -> Self {
        Self { tree, dir, version, owned: true, notes: Vec::new() }
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The group's directory, to be handed to the child.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The kernel interface in use.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What could not be had in full, such as the bound on swap, in words for the report.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Moves the calling process into the group, all its threads with it. What it holds already stays charged where
    /// it was: call this first.
    ///
    /// # Errors
    /// Those of the write to `cgroup.procs`.
    pub fn join(&self) -> io::Result<()> {
        self.tree.write(&self.dir.join("cgroup.procs"), &std::process::id().to_string())
    }

    /// The limit in bytes; `None` if it was lifted.
    ///
    /// # Errors
    /// Those of reading the control file.
    pub fn limit(&self) -> io::Result<Option<u64>> {
        let file = self.version.limit_file();
        stat::limit(&self.read(file)?).map_err(|_| odd(file))
    }

    /// The most that the group ever held, in bytes. As page cache counts, it is the limit for any process that reads
    /// more than that. `None`: the kernel does not say (version 2 before Linux 5.19).
    ///
    /// # Errors
    /// Those of reading the control file.
    pub fn peak(&self) -> io::Result<Option<u64>> {
        let file = match self.version {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        };
        match self.read(file) {
            Ok(text) => stat::number(&text).map(Some).ok_or_else(|| odd(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.version == Version::V2 => {
                // Not this file only, but the group may be gone.
                self.limit().map(|_| None)
            }
            Err(e) => Err(e),
        }
    }

    /// How often the limit was reached.
    ///
    /// # Errors
    /// Those of reading the control files.
    pub fn events(&self) -> io::Result<Events> {
        match self.version {
            Version::V1 => {
                let alone =
                    stat::number(&self.read("memory.failcnt")?).ok_or_else(|| odd("memory.failcnt"))?;
                // Where swap is counted, the limit of both together is met first, and memory's own never.
                let both = self.read("memory.memsw.failcnt").ok().and_then(|text| stat::number(&text));
                let oom_kills = stat::field(&self.read("memory.oom_control")?, "oom_kill");
                let hits = alone.saturating_add(both.unwrap_or(0));
                let uncounted = hits == 0 && (oom_kills.is_some_and(|kills| kills > 0) || self.was_full()?);
                Ok(Events { limit_hits: (!uncounted).then_some(hits), oom_kills })
            }
            Version::V2 => {
                let text = self.read("memory.events")?;
                let limit_hits = stat::field(&text, "max").ok_or_else(|| odd("memory.events"))?;
                Ok(Events { limit_hits: Some(limit_hits), oom_kills: stat::field(&text, "oom_kill") })
            }
        }
    }

    /// Whether the group ever held so much that one huge page more would have passed the limit.
    fn was_full(&self) -> io::Result<bool> {
        let limit = self.limit()?;
        Ok(limit.zip(self.peak()?).is_some_and(|(limit, peak)| peak.saturating_add(HUGE) > limit))
    }

    /// What the group holds now, by kind.
    ///
    /// # Errors
    /// Those of reading the control files.
    pub fn held(&self) -> io::Result<Held> {
        let (total, anonymous, cache) = match self.version {
            Version::V1 => ("memory.usage_in_bytes", "total_rss", "total_cache"),
            Version::V2 => ("memory.current", "anon", "file"),
        };
        let text = self.read("memory.stat")?;
        let field = |name| stat::field(&text, name).ok_or_else(|| odd("memory.stat"));
        let kernel = match self.version {
            Version::V1 => self.read("memory.kmem.usage_in_bytes").ok().and_then(|text| stat::number(&text)),
            Version::V2 => stat::field(&text, "kernel"),
        };
        Ok(Held {
            total: stat::number(&self.read(total)?).ok_or_else(|| odd(total))?,
            anonymous: field(anonymous)?,
            page_cache: field(cache)?,
            kernel,
        })
    }

    /// Kills what is left in the group, waits for its end and removes the group.
    ///
    /// # Errors
    /// If the calling process is in the group itself, or if something in it does not end within five seconds.
    pub fn remove(mut self) -> io::Result<()> {
        self.owned = false;
        clear(&*self.tree, &self.dir, DEPTH)
    }

    fn read(&self, file: &str) -> io::Result<String> {
        self.tree.read(&self.dir.join(file))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.owned {
            // Nobody is left to be told. What stays is found by `remove_leftovers` of a later run.
            let _ = clear(&*self.tree, &self.dir, DEPTH);
        }
    }
}

fn odd(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} says something unexpected"))
}

/// Ends and removes the group `dir` and those in it. One that is gone already is no error.
fn clear(tree: &dyn Tree, dir: &Path, depth: u32) -> io::Result<()> {
    let own = std::process::id() as i32;
    for _ in 0..WAITS {
        let procs = dir.join("cgroup.procs");
        let pids = match tree.read(&procs) {
            Ok(text) => stat::pids(&text),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        if pids.contains(&own) {
            return Err(io::Error::other(format!("this process is in {} itself", dir.display())));
        }
        for pid in pids {
            tree.kill(pid, &procs)?;
        }
        for inner in tree.dirs(dir).unwrap_or_default() {
            if depth > 0 {
                clear(tree, &inner, depth - 1)?;
            }
        }
        match remove_empty(tree, dir) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => thread::sleep(WAIT),
            done => return done,
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("processes in {} do not end", dir.display())))
}

/// Removes a group with no processes in it.
pub(super) fn remove_empty(tree: &dyn Tree, dir: &Path) -> io::Result<()> {
    // Version 1 can give back what the group holds, page cache most of all, before it goes. In version 2 the group
    // above inherits it. There is nothing to do if this fails.
    let _ = tree.write(&dir.join("memory.force_empty"), "0");
    match tree.remove_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
