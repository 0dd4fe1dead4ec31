//! Reading the log as it is on the disk, not as the page cache has it.
//!
//! After a failed sync the kernel calls pages clean that it could not write; the cache then shows what the disk does
//! not hold. So the caller syncs and drops the cache first, and here the file is read through a handle that bypasses
//! the cache, where there is one.
#![forbid(unsafe_code)]

use super::format::{SECTOR, SectorBytes};
use crate::error::{Error, Result};
use bifold_page_source::File;
use std::ops::Range;
use std::sync::Arc;

/// How much is read in one call, in bytes.
const WINDOW: u64 = 256 * 1024;

/// Sectors of a file, read in windows.
#[derive(Debug)]
pub(super) struct Reader {
    file: Arc<dyn File>,
    /// What offset, length and memory of a read must be multiples of, in bytes.
    align: u64,
    /// Whole sectors of the file, in bytes.
    len: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the window begins.
    skew: usize,
    /// Which bytes of the file the buffer holds.
    window: Range<u64>,
}

impl Reader {
    /// A reader of a file that is `len` bytes long.
    pub(super) fn new(file: &Arc<dyn File>, len: u64) -> Self {
        let sector = SECTOR as u64;
        // Where there is no such handle, for whatever reason, a cache that was dropped must do. A file whose length
        // is no multiple of the unit was cut, and is read as it is.
        let direct = file.direct().ok().flatten().filter(|direct| {
            let align = direct.align as u64;
            align.is_power_of_two() && (sector..=WINDOW).contains(&align) && len.is_multiple_of(align)
        });
        let (file, align) = match direct {
            Some(direct) => (direct.file, direct.align as u64),
            None => (file.clone(), sector),
        };
        let buffer = vec![0; (WINDOW + align) as usize];
        let skew = buffer.as_ptr().align_offset(align as usize).min(align as usize);
        Self { file, align, len: len / sector * sector, buffer, skew, window: 0..0 }
    }

    /// The bytes of a sector.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Corrupt`] if the file ends before.
    pub(super) fn sector(&mut self, number: u64) -> Result<&SectorBytes> {
        const MISSING: &str = "the file ends before it";
        let sector = SECTOR as u64;
        let begin = number.checked_mul(sector).filter(|&begin| begin + sector <= self.len);
        let begin = begin.ok_or(Error::log(number, MISSING))?;
        if !(self.window.contains(&begin) && begin + sector <= self.window.end) {
            self.load(begin)?;
        }
        let at = self.skew + (begin - self.window.start) as usize;
        self.buffer.get(at..).and_then(<[u8]>::first_chunk).ok_or(Error::log(number, MISSING))
    }

    /// Reads a window that holds the sector at `begin`. If it cannot be read whole, reads as little as possible:
    /// what lies behind the sector may be unreadable, and not wanted.
    fn load(&mut self, begin: u64) -> Result<()> {
        let start = begin / self.align * self.align;
        let whole = WINDOW.min(self.len - start);
        match self.read(start, whole) {
            Err(_) if whole > self.align => self.read(start, self.align),
            result => result,
        }
    }

    fn read(&mut self, start: u64, len: u64) -> Result<()> {
        self.window = 0..0;
        let buffer = &mut self.buffer[self.skew..self.skew + len as usize];
        self.file.read_at(buffer, start).map_err(|e| Error::io("read", start, e))?;
        self.window = start..start + len;
        Ok(())
    }
}
