//! Reading a trace: block by block, each verified before it is parsed.
#![forbid(unsafe_code)]

use super::block::{BLOCK_HEAD, BLOCK_MAX, BadHead, BlockHead, HEAD, Head, checksum};
use super::decode::Decoder;
use super::encode::Last;
use super::event::Event;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::iter::FusedIterator;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a trace cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a read.
    #[error("reading the trace: {0}")]
    Io(#[from] io::Error),
    /// The file is not a trace.
    #[error("not a trace of Bifold's")]
    NotATrace,
    /// The trace was recorded by another version.
    #[error("the trace's format version is {0}")]
    UnsupportedVersion(u32),
    /// The file is damaged. What came before is whole.
    #[error("the trace is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where, in bytes from the beginning of the file: its head, or that of a block.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// The events of a trace, in the order they were written to the file.
///
/// That is the order of the calls for each thread. The threads' events lie in blocks of some thousand, one thread's
/// behind another's; whoever wants them in one order sorts by [`Event::micros`].
///
/// A file that ends within a block, as the recording of a process that was killed may do, is read to the end of the
/// last whole block; [`cut_at`](Self::cut_at) tells. After an error there are no more events.
///
/// ```no_run
/// use bifold::trace::{Op, Reader};
///
/// let mut gets = 0;
/// for event in Reader::open("geo.trace")? {
///     gets += u64::from(matches!(event?.op, Op::Get { .. }));
/// }
/// println!("{gets} gets");
/// # Ok::<(), bifold::trace::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    head: Head,
    /// Where the next block begins, and its number.
    offset: u64,
    number: u64,
    /// The present block: its bytes, where it begins, how far it has been read, how many events are left.
    block: Vec<u8>,
    begins: u64,
    at: usize,
    left: u32,
    thread: u32,
    micros: u64,
    last: Last,
    /// The thread whose events are given, if not all are.
    only: Option<u32>,
    done: bool,
    cut_at: Option<u64>,
}

impl Reader<BufReader<File>> {
    /// Opens the trace at `path`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(BufReader::new(File::open(path)?))
    }
}

impl<R: Read> Reader<R> {
    /// Reads a trace from its first byte on.
    ///
    /// # Errors
    /// [`Error::NotATrace`], [`Error::UnsupportedVersion`], [`Error::Damaged`] if its head is; I/O errors.
    pub fn new(mut input: R) -> Result<Self> {
        let mut bytes = [0; HEAD];
        let got = fill(&mut input, &mut bytes)?;
        let head = Head::decode(&bytes).map_err(|bad| match bad {
            BadHead::Magic => Error::NotATrace,
            _ if got < HEAD => Error::Damaged { offset: 0, what: "it ends within its head" },
            BadHead::Version(version) => Error::UnsupportedVersion(version),
            BadHead::Checksum => Error::Damaged { offset: 0, what: "its head's checksum is wrong" },
            BadHead::Flags => Error::Damaged { offset: 0, what: "its head has flags that are not known" },
        })?;
        Ok(Self {
            input,
            head,
            offset: HEAD as u64,
            number: 0,
            block: Vec::new(),
            begins: 0,
            at: 0,
            left: 0,
            thread: 0,
            micros: 0,
            last: Last::default(),
            only: None,
            done: false,
            cut_at: None,
        })
    }

    /// Gives the events of one thread only. Blocks of others are verified, but not parsed.
    #[must_use]
    pub fn only(mut self, thread: u32) -> Self {
        self.only = Some(thread);
        self
    }

    /// The version of the file's format: 1, in which renamed tables were not recorded, or 2.
    pub fn format_version(&self) -> u32 {
        self.head.version
    }

    /// When the recording began, by the clock of its machine.
    pub fn began(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.head.began)
    }

    /// Bytes of a page of the database that was recorded.
    pub fn page_size(&self) -> u32 {
        self.head.page_size
    }

    /// Whether keys were replaced by others of the same lengths
    /// ([`hide_trace_keys`](crate::Builder::hide_trace_keys)), which are in another order.
    pub fn keys_are_hidden(&self) -> bool {
        self.head.hidden
    }

    /// Where the file ends within a block, in bytes, once all before it has been read: the process that recorded
    /// it was stopped, or its disk was full. `None` for a file that ends with a block.
    pub fn cut_at(&self) -> Option<u64> {
        self.cut_at
    }

    fn damaged(&self, what: &'static str) -> Error {
        Error::Damaged { offset: self.begins, what }
    }

    /// Reads and verifies the next block; `false` if there is none.
    fn next_block(&mut self) -> Result<bool> {
        self.begins = self.offset;
        self.block.resize(BLOCK_HEAD, 0);
        let got = fill(&mut self.input, &mut self.block)?;
        if got < BLOCK_HEAD {
            self.cut_at = (got > 0).then_some(self.begins);
            return Ok(false);
        }
        let head = BlockHead::decode(&self.block);
        let len = head.len as usize;
        if len > BLOCK_MAX {
            return Err(self.damaged("a block is longer than any that is written"));
        }
        self.block.resize(BLOCK_HEAD + len, 0);
        if fill(&mut self.input, &mut self.block[BLOCK_HEAD..])? < len {
            self.cut_at = Some(self.begins);
            return Ok(false);
        }
        if head.checksum != checksum(self.head.id, self.number, &self.block) {
            return Err(self.damaged("a block's checksum is wrong"));
        }
        self.offset += self.block.len() as u64;
        self.number += 1;
        self.at = BLOCK_HEAD;
        (self.left, self.thread, self.micros) = (head.events, head.thread, head.began);
        if self.only.is_some_and(|only| only != self.thread) {
            (self.left, self.at) = (0, self.block.len());
        }
        self.last = Last::default();
        Ok(true)
    }

    fn event(&mut self) -> Result<Option<Event>> {
        while self.left == 0 {
            if self.at < self.block.len() && self.begins > 0 {
                return Err(self.damaged("a block has more bytes than events"));
            }
            if !self.next_block()? {
                return Ok(None);
            }
        }
        let (version, rest) = (self.head.version, &self.block[self.at..]);
        let mut decoder = Decoder { version, rest, last: &mut self.last };
        let decoded = decoder.event();
        let rest = decoder.rest.len();
        let (after, op) = decoded.map_err(|what| self.damaged(what))?;
        self.at = self.block.len() - rest;
        self.left -= 1;
        self.micros = self.micros.saturating_add(after);
        Ok(Some(Event { thread: self.thread, micros: self.micros, op }))
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let event = self.event();
        self.done = !matches!(event, Ok(Some(_)));
        event.transpose()
    }
}

impl<R: Read> FusedIterator for Reader<R> {}

/// Reads until `buf` is full or the input ends; how many bytes.
fn fill(input: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buf.len() {
        match input.read(&mut buf[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
