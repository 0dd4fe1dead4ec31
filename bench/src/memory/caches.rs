//! Cold starts: files leave the page cache.
#![forbid(unsafe_code)]

use crate::usage::resident;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const DROP: &str = "/proc/sys/vm/drop_caches";
/// Directories are entered to that depth.
const DEPTH: u32 = 16;

/// What could be done for a cold start.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct How {
    /// Files that were synced and given up by `POSIX_FADV_DONTNEED`.
    pub files: u64,
    /// Whether the kernel dropped the whole machine's page cache (`/proc/sys/vm/drop_caches`), with it the metadata
    /// of file systems, which advice on a file leaves cached.
    pub machine: bool,
    /// Bytes of the files that are in the page cache all the same. `None`: the kernel does not say (before Linux
    /// 6.5, and on some file systems).
    pub left: Option<u64>,
    /// What could not be done, in words.
    pub notes: Vec<String>,
}

/// Drops the page cache, where permitted the whole machine's: [`drop_files`], and then what other processes cached.
pub fn drop_caches(files: &[PathBuf]) -> How {
    drop_by(files, Some(Path::new(DROP)))
}

/// Drops what the page cache holds of `files`, and of all files below those of them that are directories. Needs no
/// permission but to read them, and disturbs nobody else. Pages that a process has mapped or locked stay.
pub fn drop_files(files: &[PathBuf]) -> How {
    drop_by(files, None)
}

fn drop_by(files: &[PathBuf], whole: Option<&Path>) -> How {
    let mut how = How::default();
    let mut all = Vec::new();
    for file in files {
        if let Err(e) = collect(file, DEPTH, &mut all) {
            how.notes.push(format!("{}: {e}", file.display()));
        }
    }
    for file in &all {
        match drop_file(file) {
            Ok(()) => how.files += 1,
            Err(e) => how.notes.push(format!("{}: {e}", file.display())),
        }
    }
    if let Some(control) = whole {
        // 1 is the page cache alone. Everybody's inodes and names would only make the others on the machine slow.
        match OpenOptions::new().write(true).open(control).and_then(|mut file| file.write_all(b"1\n")) {
            Ok(()) => how.machine = true,
            Err(e) => how.notes.push(format!(
                "only the files' own pages were dropped, not the file system's metadata ({}: {e})",
                control.display()
            )),
        }
    }
    how.left = all.iter().map(|file| File::open(file).ok().and_then(|file| resident(&file))).sum();
    how
}

/// Adds `path`, or the files in it. Symbolic links within directories are not followed.
fn collect(path: &Path, depth: u32, all: &mut Vec<PathBuf>) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    if meta.is_file() {
        all.push(path.to_owned());
        return Ok(());
    }
    if !meta.is_dir() {
        // To open a pipe would wait for its other end.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a directory"));
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            all.push(entry.path());
        } else if kind.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, all)?;
        }
    }
    Ok(())
}

fn drop_file(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // Pages that are not on disk yet are not dropped.
    file.sync_data()?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_leave_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(dir.path().join("a"), vec![1; 1 << 20]).unwrap();
        fs::write(inner.join("b"), vec![2; 1 << 20]).unwrap();
        let cached = || resident(&File::open(inner.join("b")).unwrap());
        let before = cached();
        let how = drop_files(&[dir.path().to_owned()]);
        assert_eq!((how.files, how.machine, how.notes.len()), (2, false, 0), "{how:?}");
        let Some(before) = before else {
            println!("skipped: this kernel does not say what of a file is cached");
            return;
        };
        assert!(before >= 1 << 20, "{before} bytes cached of what was just written");
        if matches!(rustix::fs::statfs(dir.path()).unwrap().f_type, 0x0102_1994 | 0x8584_58f6) {
            println!("skipped: this file system has nothing but the cache");
            return;
        }
        assert!(how.left.is_some_and(|left| left < 1 << 20), "{how:?}");
    }

    #[test]
    fn the_whole_machine() {
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("drop_caches");
        let how = drop_by(&[], Some(&control));
        assert!(!how.machine);
        assert!(how.notes[0].contains("only the files' own pages"), "{how:?}");
        fs::write(&control, "").unwrap();
        let how = drop_by(&[], Some(&control));
        assert_eq!((how.machine, how.notes.len(), how.left), (true, 0, Some(0)));
        assert_eq!(fs::read_to_string(&control).unwrap(), "1\n");
    }

    #[test]
    fn what_is_not_there() {
        let how = drop_files(&[PathBuf::from("/nonexistent/file")]);
        assert_eq!((how.files, how.notes.len()), (0, 1));
        assert!(how.notes[0].contains("/nonexistent/file"), "{how:?}");
    }
}
