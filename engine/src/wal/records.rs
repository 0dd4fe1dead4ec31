//! Putting records together from the stream, and checking that they are the ones meant.
#![forbid(unsafe_code)]

use super::format::{KIND_COMMIT, RECORD_HEADER, RecordHeader};
use crate::error::{Error, Result};

/// The state of reading a stream of records.
pub(super) struct Records<'f> {
    /// The longest payload that a record of this log can have.
    len_max: u64,
    /// The bytes of a header that is not complete yet.
    header: Vec<u8>,
    /// The record whose payload is being gathered.
    open: Option<RecordHeader>,
    payload: Vec<u8>,
    /// The sector in which the record at hand begins.
    began: u64,
    /// The chain value of the last complete record.
    pub(super) chain: u64,
    /// Its sequence number.
    pub(super) last_seq: Option<u64>,
    /// How many were complete.
    pub(super) count: u64,
    apply: &'f mut dyn FnMut(u64, &[u8]) -> Result<()>,
}

impl<'f> Records<'f> {
    /// Before the first record, with the chain value before it. Complete records go to `apply`.
    pub(super) fn new(chain: u64, len_max: u64, apply: &'f mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Self {
        Self {
            len_max,
            header: Vec::with_capacity(RECORD_HEADER),
            open: None,
            payload: Vec::new(),
            began: 0,
            chain,
            last_seq: None,
            count: 0,
            apply,
        }
    }

    /// Whether the stream so far ends with a whole record.
    pub(super) fn is_whole(&self) -> bool {
        self.open.is_none() && self.header.is_empty()
    }

    /// The sector in which the record at hand begins.
    pub(super) fn began(&self) -> u64 {
        self.began
    }

    /// Takes the next bytes of the stream, found in `sector`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a record is not the one that must follow; whatever applying one says.
    pub(super) fn feed(&mut self, mut bytes: &[u8], sector: u64) -> Result<()> {
        while !bytes.is_empty() {
            if self.is_whole() {
                self.began = sector;
            }
            let wanted = match &self.open {
                None => RECORD_HEADER - self.header.len(),
                Some(header) => header.len as usize - self.payload.len(),
            };
            let (now, later) = bytes.split_at(wanted.min(bytes.len()));
            bytes = later;
            match &self.open {
                None => self.header.extend_from_slice(now),
                Some(_) => self.payload.extend_from_slice(now),
            }
            if self.open.is_none() {
                self.try_open()?;
            }
            self.try_close()?;
        }
        Ok(())
    }

    /// Reads the header, if all of it is there.
    fn try_open(&mut self) -> Result<()> {
        let Some(header) = self.header.first_chunk().map(RecordHeader::decode) else { return Ok(()) };
        if u64::from(header.len) > self.len_max {
            return Err(Error::log(self.began, "a record is longer than the log"));
        }
        self.header.clear();
        self.payload.clear();
        self.open = Some(header);
        Ok(())
    }

    /// Applies the record, if all of it is there.
    fn try_close(&mut self) -> Result<()> {
        let Some(header) = self.open.filter(|header| self.payload.len() == header.len as usize) else {
            return Ok(());
        };
        if header.chain_after(self.chain, &[&self.payload]) != header.chain {
            return Err(Error::log(self.began, "a record does not continue the one before it"));
        }
        if self.last_seq.is_some_and(|last| last.checked_add(1) != Some(header.seq)) {
            return Err(Error::log(self.began, "a record's number does not follow the one before it"));
        }
        if header.kind != KIND_COMMIT {
            return Err(Error::UnsupportedFeature(1 << header.kind.min(63)));
        }
        (self.apply)(header.seq, &self.payload)?;
        self.chain = header.chain;
        self.last_seq = Some(header.seq);
        self.count += 1;
        self.open = None;
        Ok(())
    }
}
