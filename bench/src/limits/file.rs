//! The file that is measured: without a name, its every page known, so that what is read can be checked.
//!
//! A page holds incompressible bytes with two words of its own at its ends, which are functions of its number. A read
//! of the wrong page, of half a page or of what was never written is so told from a right one at next to no cost.
#![forbid(unsafe_code)]

use super::permutation::mix;
use crate::Result;
use crate::usage::free_space;
use rustix::fs::{Advice, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a page: what a B-tree reads at once, by default.
pub(super) const PAGE: usize = 4096;
/// Bytes of one read or write in order.
pub(super) const PIECE: usize = 1 << 20;
/// Bytes that the measurements write besides the file: the log that is overwritten, and what is appended.
pub(super) const BESIDES: u64 = super::sync::RING as u64 + super::sync::APPENDED;

/// What `statfs` calls the file system that lies in memory.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// [`PIECE`] bytes that no compression makes smaller.
pub(crate) fn incompressible() -> Vec<u8> {
    (0..PIECE as u64 / 8).flat_map(|n| mix(n).to_le_bytes()).collect()
}

/// Writes the words of the pages from `offset` on into `bytes`, whose first byte is the file's at `offset`.
pub(super) fn stamp(bytes: &mut [u8], offset: u64) {
    for (page, number) in bytes.chunks_exact_mut(PAGE).zip(offset / PAGE as u64..) {
        page[..8].copy_from_slice(&first_word(number).to_le_bytes());
        page[PAGE - 8..].copy_from_slice(&last_word(number).to_le_bytes());
    }
}

/// Whether the pages of `bytes`, read at `offset`, hold their words.
pub(super) fn is_stamped(bytes: &[u8], offset: u64) -> bool {
    bytes.chunks_exact(PAGE).zip(offset / PAGE as u64..).all(|(page, number)| {
        page[..8] == first_word(number).to_le_bytes() && page[PAGE - 8..] == last_word(number).to_le_bytes()
    })
}

/// What page `number` begins with.
pub(super) fn first_word(number: u64) -> u64 {
    mix(number)
}

fn last_word(number: u64) -> u64 {
    mix(!number)
}

/// The file, opened in the ways that the measurements need.
#[derive(Debug)]
pub(super) struct DataFile {
    /// Through the page cache, with the kernel's read-ahead.
    pub(super) buffered: File,
    /// Through the page cache, without read-ahead.
    pub(super) random: File,
    /// Past the page cache, or why not.
    direct: Result<File, String>,
    /// Bytes; a multiple of [`PIECE`].
    pub(super) bytes: u64,
    /// The share of it that stays in the page cache when it is put out, in percent, where the system tells.
    pub(super) stays: Option<u64>,
}

impl DataFile {
    /// Writes a file of `bytes` (rounded up to whole pieces) into `dir`. It has no name, and goes when it is closed.
    ///
    /// # Errors
    /// Words if the disk has not the room; I/O errors.
    pub(super) fn create(dir: &Path, bytes: u64) -> Result<Self> {
        let bytes = bytes.max(1).checked_next_multiple_of(PIECE as u64).unwrap_or(u64::MAX);
        check_room(dir, bytes.saturating_add(BESIDES))?;
        let mut buffered = tempfile::tempfile_in(dir)?;
        let mut piece = incompressible();
        for offset in (0..bytes).step_by(PIECE) {
            stamp(&mut piece, offset);
            buffered.write_all(&piece)?;
        }
        buffered.sync_all()?;
        let again = |flags: OFlags| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(flags.bits() as i32)
                .open(format!("/proc/self/fd/{}", buffered.as_raw_fd()))
        };
        let random = again(OFlags::empty())?;
        rustix::fs::fadvise(&random, 0, None, Advice::Random)?;
        if rustix::fs::fstatfs(&buffered)?.f_type == TMPFS {
            let direct = Err("the file system is in memory, and not on a disk".into());
            return Ok(Self { buffered, random, direct, bytes, stays: Some(100) });
        }
        let direct = again(OFlags::DIRECT).map_err(|e| format!("the file system refuses O_DIRECT: {e}"));
        let mut data = Self { buffered, random, direct, bytes, stays: None };
        data.evict()?;
        data.stays = data.resident_percent()?;
        Ok(data)
    }

    /// Its pages.
    pub(super) fn pages(&self) -> u64 {
        self.bytes / PAGE as u64
    }

    /// The file past the page cache.
    ///
    /// # Errors
    /// Words if the file system has no such thing.
    pub(super) fn direct(&self) -> Result<&File> {
        self.direct.as_ref().map_err(|why| why.clone().into())
    }

    /// Puts the file out of the page cache, as far as the kernel does what it is advised. That needs no privilege,
    /// unlike dropping the caches of the whole machine; pages that are mapped stay.
    ///
    /// # Errors
    /// I/O errors of writing what was dirty.
    pub(super) fn evict(&self) -> Result<()> {
        self.buffered.sync_data()?;
        rustix::fs::fadvise(&self.buffered, 0, None, Advice::DontNeed)?;
        Ok(())
    }

    /// The share, in percent, of (at most 256) pages looked at that are in the page cache; `None` where the kernel
    /// or the file system does not tell. They all are, afterwards.
    pub(super) fn resident_percent(&self) -> Result<Option<u64>> {
        let step = (self.pages() / 256).max(1);
        let (mut looked, mut resident) = (0, 0);
        let mut page = vec![0; PAGE];
        for number in (0..self.pages()).step_by(step as usize) {
            let (into, offset) = (&mut [IoSliceMut::new(&mut page)], number * PAGE as u64);
            match rustix::io::preadv2(&self.random, into, offset, ReadWriteFlags::NOWAIT) {
                Ok(_) => resident += 1,
                // The kernel has begun to read it. A page that is being read cannot be put out, so wait for it.
                Err(Errno::AGAIN) => self.random.read_exact_at(&mut page, offset)?,
                Err(_) => return Ok(None),
            }
            looked += 1;
        }
        Ok(Some(resident * 100 / looked))
    }

    /// Refuses in words what is about pages that are not in memory, if most of them stay there.
    pub(super) fn must_leave(&self) -> Result<()> {
        match self.stays {
            Some(percent) if percent >= 50 => {
                Err(format!("{percent} % of a file here stays in memory when it is put out").into())
            }
            _ => Ok(()),
        }
    }

    /// Words on [`DataFile::stays`], if there is something to be said.
    pub(super) fn stays_note(&self) -> String {
        match self.stays {
            Some(0) => String::new(),
            Some(percent) => format!("; {percent} % of the file stays in memory when it is put out"),
            None => "; whether the file leaves memory cannot be told here".into(),
        }
    }

    /// Brings its first `pages` pages into the page cache, in order.
    pub(super) fn warm(&self, pages: u64) -> Result<()> {
        let mut piece = vec![0; PIECE];
        for first in (0..pages).step_by(PIECE / PAGE) {
            let bytes = (pages - first).min((PIECE / PAGE) as u64) as usize * PAGE;
            self.buffered.read_exact_at(&mut piece[..bytes], first * PAGE as u64)?;
        }
        Ok(())
    }
}

/// The error of a page that does not hold what was written to it.
pub(super) fn wrong_page(offset: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("what was read at byte {offset} is not what was written there"),
    )
}

/// Refuses in words if `dir`'s file system has not `bytes` and a twentieth more.
pub(super) fn check_room(dir: &Path, bytes: u64) -> Result<()> {
    let room = free_space(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    if bytes.saturating_add(bytes / 20) > room {
        let mib = |bytes: u64| bytes >> 20;
        return Err(format!(
            "{} has room for {} MiB, and {} MiB would be written: choose a smaller --file-size or another --dir",
            dir.display(),
            mib(room),
            mib(bytes)
        )
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_refused_in_words() {
        let error = check_room(&std::env::temp_dir(), u64::MAX / 2).unwrap_err().to_string();
        assert!(error.contains("--file-size"), "{error}");
        check_room(&std::env::temp_dir(), 0).unwrap();
    }
}
