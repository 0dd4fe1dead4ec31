//! Where a report was made: what a reader must know to compare it with another.
#![forbid(unsafe_code)]

use crate::usage::{Disk, kib_field};
use rustix::fs::statfs;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The machine, the system, and this program. What cannot be told is `None`.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Environment {
    /// When, in seconds since 1970.
    pub made: u64,
    /// This program's version.
    pub version: String,
    /// The commit that it was built from.
    pub commit: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// The processor's name.
    pub cpu: Option<String>,
    /// Processors.
    pub processors: usize,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// How the system uses huge pages.
    pub huge_pages: Option<String>,
    /// The file system that stores lie on.
    pub file_system: Option<String>,
    /// The block device beneath it.
    pub device: Option<String>,
    /// Its model, and whether the kernel has it for one that turns.
    pub disk: Option<String>,
    /// Bytes that the kernel reads ahead on it.
    pub read_ahead_bytes: Option<u64>,
    /// The I/O scheduler.
    pub scheduler: Option<String>,
    /// Whether the machine is virtual.
    pub hypervisor: Option<String>,
    /// The load average, when it began.
    pub load_average: Option<f64>,
}

fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// The value of `name` in lines of `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let of = |line: &str| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(of)
}

/// What the kernel's flag says of a disk. Virtual ones often have it set, whatever is below them.
fn rotational(flag: &str) -> &'static str {
    if flag == "0" { "its rotational flag is not set" } else { "its rotational flag is set" }
}

/// The word in brackets of `a [b] c`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn file_system(dir: &Path) -> Option<String> {
    let magic = statfs(dir).ok()?.f_type as u64 & 0xFFFF_FFFF;
    let name = match magic {
        0xEF53 => "ext2, ext3 or ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x8584_58F6 => "ramfs",
        0x794C_7630 => "overlayfs",
        0x2FC1_2FC1 => "zfs",
        0xF2F5_2010 => "f2fs",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        _ => return Some(format!("of type {magic:#x}")),
    };
    Some(name.into())
}

impl Environment {
    /// Here and now, with stores in `dir`, which exists.
    pub fn here(dir: &Path) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        // A partition's queue is its disk's.
        let device = Disk::of(dir).ok().map(|disk| disk.whole.unwrap_or(disk.name));
        let block = device.as_ref().map(|device| Path::new("/sys/block").join(device));
        let queue = |name: &str| line(block.as_ref()?.join("queue").join(name));
        let turns = queue("rotational").map_or("", |flag| rotational(&flag));
        let model = block.as_ref().and_then(|block| line(block.join("device/model"))).unwrap_or_default();
        let disk = [model.as_str(), turns].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        Self {
            made: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            version: env!("CARGO_PKG_VERSION").into(),
            commit: option_env!("BIFOLD_COMMIT").filter(|commit| !commit.is_empty()).map(str::to_owned),
            kernel: line("/proc/sys/kernel/osrelease"),
            cpu: field(&cpu, "model name").or_else(|| field(&cpu, "Hardware")),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib_field(&memory, "MemTotal"),
            huge_pages: line("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen(&text)),
            file_system: file_system(dir),
            device,
            disk: (!disk.is_empty()).then(|| disk.join(", ")),
            read_ahead_bytes: queue("read_ahead_kb").and_then(|kib| Some(kib.parse::<u64>().ok()? * 1024)),
            scheduler: queue("scheduler").and_then(|text| chosen(&text)),
            hypervisor: line("/sys/class/dmi/id/sys_vendor").filter(|_| {
                field(&cpu, "flags").is_some_and(|flags| flags.split(' ').any(|f| f == "hypervisor"))
            }),
            load_average: line("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }

    /// The lines of a report's head.
    pub fn lines(&self) -> Vec<String> {
        let unknown = || "unknown".to_owned();
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64);
        let ahead = self.read_ahead_bytes.map_or_else(unknown, |bytes| format!("{} KiB", bytes >> 10));
        let mut lines = vec![
            format!(
                "{} x {}, {} of memory, huge pages: {}",
                self.processors,
                self.cpu.clone().unwrap_or_else(unknown),
                self.memory_bytes.map_or_else(unknown, gib),
                self.huge_pages.clone().unwrap_or_else(unknown)
            ),
            format!(
                "Linux {}, {} on {} ({}), read-ahead {ahead}, scheduler {}",
                self.kernel.clone().unwrap_or_else(unknown),
                self.file_system.clone().unwrap_or_else(unknown),
                self.device.clone().unwrap_or_else(|| "no block device".into()),
                self.disk.clone().unwrap_or_else(unknown),
                self.scheduler.clone().unwrap_or_else(unknown)
            ),
            format!(
                "bifold {} ({})",
                self.version,
                self.commit.clone().unwrap_or_else(|| "commit unknown".into())
            ),
        ];
        if let Some(name) = &self.hypervisor {
            lines.push(format!("a virtual machine ({name}): others may share its processors and its disk"));
        }
        if let Some(load) = self.load_average.filter(|load| *load > 0.5) {
            lines.push(format!("load average {load:.1} at the beginning: something else was running"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_system_are_read() {
        assert_eq!(field("a\t: 1\nmodel name\t: X y\n", "model name").as_deref(), Some("X y"));
        assert_eq!(field("nothing", "a"), None);
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen("none"), None);
        assert_eq!(
            ["0", "1"].map(rotational),
            ["its rotational flag is not set", "its rotational flag is set"]
        );
        let here = Environment::here(Path::new("/"));
        assert!(here.processors > 0 && here.made > 1_700_000_000 && here.lines().len() >= 3);
    }
}
