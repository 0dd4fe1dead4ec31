//! Lines of `/proc/PID/mountinfo`, which `proc_pid_mountinfo(5)` describes.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mounted file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mount {
    /// The directory within the file system that is the root of this mount.
    pub(crate) root: PathBuf,
    pub(crate) point: PathBuf,
    /// The type of the file system.
    pub(crate) kind: String,
    /// What was mounted: a block device, or any word.
    pub(crate) source: PathBuf,
    /// The file system's own options, among which version 1 of control groups names its controllers.
    pub(crate) options: String,
}

impl Mount {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        // Between the mount point and the dash stands any number of optional fields.
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (unescape(before.next()?), unescape(before.next()?));
        let mut after = after.split(' ');
        let kind = after.next()?.to_owned();
        let source = unescape(after.next()?);
        let options = after.next().unwrap_or("").to_owned();
        Some(Self { root, point, kind, source, options })
    }
}

/// A path in which space, tab, newline and backslash are written as `\` and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = (bytes[at] == b'\\')
            .then(|| text.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()))
            .flatten();
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line =
            "35 31 0:32 /part /mnt/my\\040disk rw,relatime shared:9 master:2 - ext4 /dev/vda rw,discard";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.root, mount.point), ("/part".into(), "/mnt/my disk".into()));
        assert_eq!((mount.kind.as_str(), mount.source), ("ext4", "/dev/vda".into()));
        assert_eq!(mount.options, "rw,discard");
        assert!(Mount::parse("35 31 0:32 / /c rw").is_none());
        assert!(Mount::parse("35 31 0:32 - ext4 a b").is_none());
        assert!(Mount::parse("").is_none());
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("a\\"), PathBuf::from("a\\"));
        assert_eq!(unescape("\\999\\134"), PathBuf::from("\\999\\"));
        assert_eq!(unescape("\\0é"), PathBuf::from("\\0é"));
    }
}
