//! A file as pages: the calls that sources without a queue of their own make alike, with the same checks and the same
//! errors. What a source keeps in memory, and how long it takes the file to be, stays its own affair.
#![forbid(unsafe_code)]

use crate::sync::Mutex;
use crate::{
    Error, File, PageId, PageRef, PageSize, PageWrite, Result, SourceConfig, verify_page, write_pages,
};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// An extent is written by calls of this size: each has the file's lock to itself, for which others wait.
const WRITE_STEP: u64 = 2 << 20;

/// A file, what a source must know of it, and the lock under which it grows and is cut.
pub struct PageFile {
    file: Arc<dyn File>,
    config: SourceConfig,
    /// Held over the calls; no reader and no write takes it.
    resizing: Mutex<()>,
}

impl fmt::Debug for PageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageFile")
            .field("file", &self.file)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl PageFile {
    /// `file`, with pages as `config` says.
    pub fn new(file: Arc<dyn File>, config: SourceConfig) -> Self {
        Self { file, config, resizing: Mutex::new(()) }
    }

    /// The file itself.
    #[inline]
    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// The size of its pages.
    #[inline]
    pub const fn page_size(&self) -> PageSize {
        self.config.page_size
    }

    /// The whole pages it says that it has.
    ///
    /// # Errors
    /// The file's.
    pub fn len_pages(&self) -> io::Result<u64> {
        Ok(self.file.len()? >> self.page_size().shift())
    }

    /// The error of looking at a page that the file has not.
    #[cold]
    pub const fn beyond(page: PageId) -> Error {
        Error::Corrupt { page, what: "it lies beyond the end of the file" }
    }

    /// Fills `buf` from byte `skip` behind the beginning of `page` on.
    ///
    /// # Errors
    /// I/O errors; [`beyond`](Self::beyond) if the file ends there.
    pub fn read(&self, page: PageId, skip: u64, buf: &mut [u8]) -> Result<()> {
        let offset = page.offset(self.page_size()) + skip;
        self.file.read_at(buf, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Self::beyond(page),
            _ => Error::io("read", offset, e),
        })
    }

    /// Checks that `bytes` are the page that `at` refers to, and whole: checksum first, then structure.
    ///
    /// # Errors
    /// `Corrupt`, naming the page.
    pub fn verify(&self, at: PageRef, bytes: &[u8]) -> Result<()> {
        verify_page(self.config.file_id, at, bytes)?;
        (self.config.validate)(bytes).map_err(|what| Error::Corrupt { page: at.page(), what })
    }

    /// Checks, before anything is allocated for it, that `range` lies within an extent of `len` bytes from page `first`
    /// on, and the extent within a file of `len_pages` pages.
    ///
    /// # Errors
    /// `Corrupt`, naming `first`.
    pub fn check_extent(&self, first: PageId, len: u64, range: &Range<u64>, len_pages: u64) -> Result<()> {
        let corrupt = |what| Err(Error::Corrupt { page: first, what });
        if range.start > range.end || range.end > len {
            return corrupt("a range beyond its extent was asked for");
        }
        match first.get().checked_add(self.page_size().pages_for(len)) {
            Some(end) if end <= len_pages => Ok(()),
            _ => corrupt("its extent lies beyond the end of the file"),
        }
    }

    /// As [`write_pages`], to this file.
    ///
    /// # Errors
    /// As [`write_pages`].
    pub fn write_pages(&self, writes: &[PageWrite<'_>]) -> Result<u64> {
        write_pages(&*self.file, self.page_size(), writes)
    }

    /// Writes whole pages of an extent from page `at` on, in calls of at most 2 MiB, and tells `wrote` of the bytes of
    /// the file that each has written. Returns the number of calls.
    ///
    /// # Errors
    /// I/O errors; what was written before, `wrote` has been told.
    pub fn write_extent(&self, at: PageId, bytes: &[u8], mut wrote: impl FnMut(Range<u64>)) -> Result<u64> {
        debug_assert_eq!(bytes.len() % self.page_size().bytes(), 0, "an extent is whole pages");
        let (mut at, mut rest, mut calls) = (at.offset(self.page_size()), bytes, 0);
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min((WRITE_STEP - at % WRITE_STEP) as usize));
            self.file.write_at(part, at).map_err(|e| Error::io("write", at, e))?;
            let next = at + part.len() as u64;
            wrote(at..next);
            (at, rest, calls) = (next, behind, calls + 1);
        }
        Ok(calls)
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// I/O errors.
    pub fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|e| Error::io("sync", 0, e))
    }

    /// Makes the file at least `pages` pages long, one caller at a time. `len` is how many the source takes it to have;
    /// `follow` looks how long it has become, also after a failure, as it may then be longer than before.
    ///
    /// # Errors
    /// I/O errors, the file's before those of `follow`; `FileTooLarge` for more pages than there are numbers.
    pub fn grow(
        &self,
        pages: u64,
        len: impl Fn() -> u64,
        follow: impl FnOnce(&dyn File) -> io::Result<()>,
    ) -> Result<()> {
        if pages <= len() {
            return Ok(());
        }
        let _one_at_a_time = self.resizing.lock();
        let (now, shift) = (len(), self.page_size().shift());
        if pages <= now {
            return Ok(());
        }
        let from = now << shift;
        if pages > PageId::MAX.get() + 1 {
            return Err(Error::io("grow", from, io::ErrorKind::FileTooLarge.into()));
        }
        let grown = self.file.allocate(from, (pages - now) << shift);
        let followed = follow(&*self.file);
        grown.and(followed).map_err(|e| Error::io("grow", from, e))
    }

    /// Has `cut` shorten the file, unless it has no more than `pages` pages, while nobody else grows or cuts it. `len` is
    /// how many the source takes it to have; `cut` gets the pages that go, and the bytes that stay.
    ///
    /// # Errors
    /// Those of `cut`.
    pub fn shrink(
        &self,
        pages: u64,
        len: impl FnOnce() -> u64,
        cut: impl FnOnce(&dyn File, Range<u64>, u64) -> io::Result<()>,
    ) -> Result<()> {
        let _one_at_a_time = self.resizing.lock();
        let before = len();
        if pages >= before {
            return Ok(());
        }
        let bytes = pages << self.page_size().shift();
        cut(&*self.file, pages..before, bytes).map_err(|e| Error::io("shrink", bytes, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileSystem, MemFs, seal_page};
    use std::path::Path;

    const PAGE: u64 = 512;

    fn page_file() -> PageFile {
        let file = MemFs::new().create_unnamed(Path::new("/f")).unwrap();
        let validate: fn(&[u8]) -> Result<(), &'static str> =
            |bytes| if bytes[100] == 9 { Err("a nine") } else { Ok(()) };
        PageFile::new(
            file,
            SourceConfig { page_size: PageSize::new(PAGE as u32).unwrap(), file_id: 7, validate },
        )
    }

    fn id(number: u64) -> PageId {
        PageId::new(number).unwrap()
    }

    fn corrupt(result: Result<()>) -> &'static str {
        match result {
            Err(Error::Corrupt { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    fn kind(result: Result<()>) -> io::ErrorKind {
        match result {
            Err(Error::Io { source, .. }) => source.kind(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_grows_to_what_was_asked_and_is_cut_once() {
        let file = page_file();
        let len = || file.len_pages().unwrap();
        file.grow(10, len, |_| Ok(())).unwrap();
        file.grow(4, len, |_| panic!("it is longer than that")).unwrap();
        assert_eq!(len(), 10);
        assert_eq!(
            kind(file.grow((1 << 40) + 1, len, |_| panic!("nothing was done"))),
            io::ErrorKind::FileTooLarge
        );
        assert_eq!(kind(file.grow(11, len, |_| Err(io::ErrorKind::Other.into()))), io::ErrorKind::Other);
        assert_eq!(len(), 11, "the file has grown, whatever became of following it");

        file.shrink(11, len, |_, _, _| panic!("it is no longer than that")).unwrap();
        let mut gone = 0..0;
        let cut = |file: &dyn File, pages, bytes| {
            gone = pages;
            file.set_len(bytes)
        };
        file.shrink(3, len, cut).unwrap();
        assert_eq!((gone, len()), (3..11, 3));
    }

    #[test]
    fn an_extent_is_written_in_steps_and_read_from_anywhere() {
        let file = page_file();
        let bytes: Vec<u8> = (0..5 << 20).map(|at: u32| (at >> 9) as u8).collect();
        let mut told = Vec::new();
        let calls = file.write_extent(id(3), &bytes, |range| told.push(range)).unwrap();
        assert_eq!((calls, told.len()), (3, 3));
        assert!(told.windows(2).all(|two| two[0].end == two[1].start && two[1].start % WRITE_STEP == 0));
        assert_eq!((told[0].start, told[2].end), (3 * PAGE, 3 * PAGE + bytes.len() as u64));
        let mut read = vec![0; 3000];
        file.read(id(3), 70_001, &mut read).unwrap();
        assert_eq!(read, bytes[70_001..73_001]);
        let end = bytes.len() as u64 - 10;
        assert_eq!(corrupt(file.read(id(3), end, &mut read)), "it lies beyond the end of the file");
    }

    #[test]
    fn extents_that_reach_too_far_are_refused() {
        let file = page_file();
        file.check_extent(id(2), 1024, &(0..1024), 4).unwrap();
        file.check_extent(id(2), 1024, &(5..5), 4).unwrap();
        for (len, range, pages, what) in [
            (1024, 0..1025, 4, "range"),
            (1024, Range { start: 9, end: 8 }, 4, "range"),
            (1025, 0..1, 4, "extent"),
            (1024, 0..1, 3, "extent"),
            (u64::MAX, 0..1, 4, "extent"),
        ] {
            let said = corrupt(file.check_extent(id(2), len, &range, pages));
            assert!(said.contains(what), "{len} {range:?} {pages}: {said}");
        }
    }

    #[test]
    fn a_page_is_verified_by_checksum_and_structure() {
        let file = page_file();
        let sealed = |fill: u8| {
            let mut bytes = [fill; PAGE as usize];
            (seal_page(7, id(5), &mut bytes), bytes)
        };
        let (at, mut bytes) = sealed(1);
        file.verify(at, &bytes).unwrap();
        bytes[200] ^= 1;
        corrupt(file.verify(at, &bytes));
        let (at, bytes) = sealed(9);
        assert_eq!(corrupt(file.verify(at, &bytes)), "a nine");
    }
}
