//! The files of control groups and of `/proc`, as a trait: what the kernel offers, or what a test makes up.
#![forbid(unsafe_code)]

use rustix::process::{Pid, PidfdFlags, Signal};
use std::fmt::Debug;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Files and directories under absolute paths as the kernel names them, and the processes they speak of.
pub(super) trait Tree: Debug + Send + Sync {
    fn read(&self, file: &Path) -> io::Result<String>;

    /// Hands `text` to a file that exists, in one call, as control files want it.
    fn write(&self, file: &Path, text: &str) -> io::Result<()>;

    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Removes a group. Its control files are no obstacle, as they are none to the kernel.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// The directories in `dir`.
    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Whether a process of that id lives (or has not been waited for).
    fn lives(&self, pid: i32) -> bool;

    /// Kills `pid` if it is still listed in `procs`; one that has ended is no error.
    fn kill(&self, pid: i32, procs: &Path) -> io::Result<()>;
}

/// This machine.
#[derive(Debug)]
pub(super) struct Machine;

impl Tree for Machine {
    fn read(&self, file: &Path) -> io::Result<String> {
        fs::read_to_string(file)
    }

    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn dirs(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut dirs = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            }
        }
        Ok(dirs)
    }

    fn lives(&self, pid: i32) -> bool {
        Pid::from_raw(pid).is_some_and(|pid| {
            // Not being permitted to signal it proves that it lives.
            rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
        })
    }

    fn kill(&self, pid: i32, procs: &Path) -> io::Result<()> {
        let Some(id) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Ok(()) };
        let handle = match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        // The handle keeps meaning one process. If the id is still listed now, that process is the one in the group
        // and not a later one that was given the id of a dead one.
        if !super::stat::pids(&self.read(procs)?).contains(&pid) {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(handle, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
