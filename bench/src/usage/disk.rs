//! What a disk did, below the file system: `/sys/dev/block/MAJOR:MINOR/stat`.
//!
//! The fields are those of the kernel's `Documentation/block/stat.rst`; a sector is 512 bytes whatever the device's
//! own are.
#![forbid(unsafe_code)]

use super::mounts::Mount;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;

/// The block device below a file system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// The device's name, a partition's perhaps (`vda1`).
    pub name: String,
    /// The disk that a partition is on (`vda`).
    pub whole: Option<String>,
    /// What is to be known about the counts, in words.
    pub note: Option<String>,
    dir: PathBuf,
}

/// There is no block device to ask, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NoDisk {
    /// The reason, as text for the report.
    pub why: String,
}

impl fmt::Display for NoDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for NoDisk {}

/// What a device has done for all processes, or between two moments.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transfers {
    /// Reads completed, after requests next to each other were merged.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes completed.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Cache flushes completed; 0 where the kernel (before Linux 5.5) or the device does not count them.
    pub flushes: u64,
    /// Milliseconds in which something was in flight.
    pub busy_ms: u64,
}

impl Transfers {
    fn parse(text: &str) -> Option<Self> {
        let fields: Option<Vec<u64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
        let fields = fields?;
        let field = |at: usize| fields.get(at).copied();
        Some(Self {
            reads: field(0)?,
            read_bytes: field(2)?.wrapping_mul(SECTOR),
            writes: field(4)?,
            written_bytes: field(6)?.wrapping_mul(SECTOR),
            busy_ms: field(9)?,
            flushes: field(15).unwrap_or(0),
        })
    }

    /// What was added since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            reads: self.reads.saturating_sub(earlier.reads),
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            writes: self.writes.saturating_sub(earlier.writes),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            flushes: self.flushes.saturating_sub(earlier.flushes),
            busy_ms: self.busy_ms.saturating_sub(earlier.busy_ms),
        }
    }
}

impl Disk {
    /// The block device below the file system of `path`, which must exist.
    ///
    /// # Errors
    /// [`NoDisk`] with the reason: the file system has none (tmpfs, overlay, NFS), or several (zfs), or `path` is
    /// not there.
    pub fn of(path: &Path) -> Result<Self, NoDisk> {
        let no = |e: io::Error| NoDisk { why: format!("{}: {e}", path.display()) };
        let path = path.canonicalize().map_err(no)?;
        let device = fs::metadata(&path).map_err(no)?.dev();
        if let Some(disk) = Self::numbered(Path::new("/sys"), device) {
            return Ok(disk);
        }
        // Some file systems, btrfs among them, have device numbers of their own. What was mounted says more.
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(no)?;
        let Some(mount) = mount_of(&mounts, &path) else {
            return Err(NoDisk { why: format!("{} is below no mount point", path.display()) });
        };
        let source = fs::metadata(&mount.source).ok().filter(|meta| meta.file_type().is_block_device());
        let Some(mut disk) = source.and_then(|meta| Self::numbered(Path::new("/sys"), meta.rdev())) else {
            let (kind, point) = (&mount.kind, mount.point.display());
            return Err(NoDisk { why: format!("the {kind} mounted at {point} names no block device") });
        };
        disk.note = Some(format!("{} may use other devices beside {}", mount.kind, disk.name));
        Ok(disk)
    }

    /// The block device of that number, looked for in `sys`.
    fn numbered(sys: &Path, device: u64) -> Option<Self> {
        let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let dir = sys.join("dev/block").join(number).canonicalize().ok()?;
        let name = |dir: &Path| Some(dir.file_name()?.to_str()?.to_owned());
        let whole = if dir.join("partition").exists() { name(dir.parent()?) } else { None };
        Some(Self { name: name(&dir)?, whole, note: None, dir })
    }

    /// What the device has done so far, for all processes.
    ///
    /// # Errors
    /// Those of reading its `stat` file.
    pub fn now(&self) -> io::Result<Transfers> {
        read(&self.dir)
    }

    /// What the whole disk has done so far: the device itself, if it is no partition.
    ///
    /// # Errors
    /// Those of reading its `stat` file.
    pub fn whole_now(&self) -> io::Result<Transfers> {
        match self.dir.parent() {
            Some(parent) if self.whole.is_some() => read(parent),
            _ => self.now(),
        }
    }
}

fn read(dir: &Path) -> io::Result<Transfers> {
    Transfers::parse(&fs::read_to_string(dir.join("stat"))?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a stat file that is none"))
}

/// The mount that `path` is in: of those with the longest point, the last, which hides the others.
fn mount_of(mounts: &str, path: &Path) -> Option<Mount> {
    let above = mounts.lines().filter_map(Mount::parse).filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const LINE: &str = "14186752   152940 565355087  6504197 70115154   788654 2498982641 41273469        0  2355904 \
                        48275365   506933       98 848708544   147121  4121680   350577\n";

    #[test]
    fn stat_of_linux_6_18() {
        let transfers = Transfers {
            reads: 14_186_752,
            read_bytes: 565_355_087 * 512,
            writes: 70_115_154,
            written_bytes: 2_498_982_641 * 512,
            flushes: 4_121_680,
            busy_ms: 2_355_904,
        };
        assert_eq!(Transfers::parse(LINE), Some(transfers));
        assert_eq!(transfers.since(&transfers), Transfers::default());
        let earlier = Transfers { reads: 2, ..Transfers::default() };
        assert_eq!(transfers.since(&earlier).reads, 14_186_750);
    }

    #[test]
    fn stat_of_linux_4_4() {
        let transfers = Transfers::parse("  1  2  3  4  5  6  7  8  0  9  10\n").unwrap();
        assert_eq!((transfers.read_bytes, transfers.written_bytes), (3 * 512, 7 * 512));
        assert_eq!((transfers.flushes, transfers.busy_ms), (0, 9));
        assert_eq!(Transfers::parse("1 2 3"), None);
        assert_eq!(Transfers::parse("1 2 3 4 5 6 7 8 0 nine 10"), None);
        assert_eq!(Transfers::parse(""), None);
    }

    #[test]
    fn a_partition_and_its_disk() {
        let sys = tempfile::tempdir().unwrap();
        let disk = sys.path().join("devices/block/sda");
        fs::create_dir_all(disk.join("sda2")).unwrap();
        fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        fs::write(disk.join("stat"), "10 0 0 0 0 0 0 0 0 0 0").unwrap();
        fs::write(disk.join("sda2/stat"), "3 0 0 0 0 0 0 0 0 0 0").unwrap();
        fs::write(disk.join("sda2/partition"), "2\n").unwrap();
        symlink("../../devices/block/sda", sys.path().join("dev/block/8:0")).unwrap();
        symlink("../../devices/block/sda/sda2", sys.path().join("dev/block/8:2")).unwrap();
        let part = Disk::numbered(sys.path(), rustix::fs::makedev(8, 2)).unwrap();
        assert_eq!((part.name.as_str(), part.whole.as_deref()), ("sda2", Some("sda")));
        assert_eq!((part.now().unwrap().reads, part.whole_now().unwrap().reads), (3, 10));
        let whole = Disk::numbered(sys.path(), rustix::fs::makedev(8, 0)).unwrap();
        assert_eq!((whole.name.as_str(), whole.whole.as_deref()), ("sda", None));
        assert_eq!(whole.whole_now().unwrap().reads, 10);
        assert_eq!(Disk::numbered(sys.path(), rustix::fs::makedev(8, 3)), None);
        fs::write(disk.join("stat"), "nothing").unwrap();
        assert_eq!(whole.now().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_mount_of_a_path() {
        let mounts = "1 0 254:0 / / rw - ext4 /dev/vda rw\n\
                      2 1 0:30 / /data rw - btrfs /dev/vdb rw\n\
                      3 1 0:31 / /data/tmp rw - tmpfs none rw\n\
                      4 1 0:32 / /data/tmp rw - tmpfs over rw\n";
        let source = |path| mount_of(mounts, Path::new(path)).unwrap().source;
        assert_eq!(source("/data/db"), Path::new("/dev/vdb"));
        assert_eq!(source("/database"), Path::new("/dev/vda"));
        assert_eq!(source("/data/tmp/a"), Path::new("over"));
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn no_disk() {
        assert!(Disk::of(Path::new("/nonexistent")).unwrap_err().why.contains("/nonexistent"));
        let why = Disk::of(Path::new("/proc/self")).unwrap_err().why;
        assert!(why.contains("proc") && why.contains("no block device"), "{why}");
    }
}
