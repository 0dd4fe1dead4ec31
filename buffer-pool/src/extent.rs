//! Extents: large values, read past the frames into memory of their own.
#![forbid(unsafe_code)]

use crate::aligned::{AlignedBuf, Piece};
use crate::device::ALIGN;
use crate::io::{Buffer, Op, Queue, Request, Sink};
use crate::shared::{Shared, foreign, read_error};
use bifold_page_source::{CHUNK_SIZE, ChunkCheck, Error, PageId, Result};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The bytes of one read request.
const REQUEST_BYTES: usize = 512 << 10;

impl Shared {
    /// The bytes `range` of an extent's data, every chunk they touch checked.
    ///
    /// # Errors
    /// I/O errors; `check`'s; `Corrupt` if anything lies beyond the extent or the file.
    pub(crate) fn extent(
        &self,
        first: PageId,
        len: u64,
        range: Range<u64>,
        check: ChunkCheck<'_>,
    ) -> Result<Bytes> {
        let corrupt = |what| Err(Error::Corrupt { page: first, what });
        // Nothing is allocated before it is known to fit into the file.
        let pages = self.config.page_size.pages_for(len);
        let end = first.get().checked_add(pages);
        if end.is_none_or(|end| end > self.len.load(std::sync::atomic::Ordering::Acquire)) {
            return corrupt("its extent reaches beyond the end of the file");
        }
        if range.start > range.end || range.end > len {
            return corrupt("the range lies beyond the extent");
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let chunk = CHUNK_SIZE as u64;
        let from = range.start / chunk * chunk;
        let to = range.end.next_multiple_of(chunk).min(len);
        let data = self.read_span(first, from, (to - from) as usize)?;
        for (number, bytes) in (from / chunk..).zip(data[..(to - from) as usize].chunks(CHUNK_SIZE)) {
            check(number, bytes)?;
        }
        Ok(Bytes::from_owner(data).slice((range.start - from) as usize..(range.end - from) as usize))
    }

    /// Reads `len` bytes, rounded up to pages, from byte `from` of the extent on, `from` being whole pages.
    fn read_span(&self, first: PageId, from: u64, len: usize) -> Result<AlignedBuf> {
        let start = self.offset(first) + from;
        let error = |offset, e| read_error(first, offset, e);
        let buf =
            AlignedBuf::new(len.next_multiple_of(self.page_bytes()), ALIGN).map_err(|e| error(start, e))?;
        if buf.len() <= REQUEST_BYTES {
            let request = Request { op: Op::Read, offset: start, buffer: Buffer::Owned(buf) };
            let completion = self.io.run(request);
            completion.result.map_err(|e| error(start, e))?;
            let Buffer::Owned(buf) = completion.buffer else { return Err(foreign(start)) };
            return Ok(buf);
        }
        let requests: Vec<_> = (start..)
            .step_by(REQUEST_BYTES)
            .zip(buf.split(REQUEST_BYTES))
            .map(|(offset, piece)| Request { op: Op::Read, offset, buffer: Buffer::Piece(piece) })
            .collect();
        let (queue, count) = (Arc::new(Queue::default()), requests.len());
        let sink: Arc<dyn Sink> = Arc::<Queue>::clone(&queue);
        self.io.start(requests, &sink);
        let (mut pieces, mut outcome) = (Vec::with_capacity(count), Ok(()));
        for _ in 0..count {
            let completion = self.io.reap(&queue, Op::Read);
            outcome = outcome.and(completion.result.map_err(|e| error(completion.offset, e)));
            if let Buffer::Piece(piece) = completion.buffer {
                pieces.push(piece);
            }
        }
        outcome?;
        pieces.into_iter().filter_map(Piece::join).next_back().ok_or_else(|| foreign(start))
    }
}
