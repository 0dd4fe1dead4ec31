//! Lengthening the log's file before its ring needs it.
//!
//! New sectors have to be written and durable before the ring takes them in, and for a ring of many megabytes that is
//! longer than a commit should wait. So when three quarters of a ring that will grow are behind the writer, the background
//! begins to write what comes behind its end, a piece at a time; growth is then a matter of the two heads. Pieces are
//! small, because a commit's sync writes what it finds of one.
#![forbid(unsafe_code)]

use super::create::write_unused;
use super::format::SECTOR;
use super::log::{Mode, Wal};
use crate::error::{Error, Result};
use bifold_page_source::File;
use std::sync::Arc;

/// Sectors of a piece.
const PIECE: u64 = if cfg!(test) { 4 } else { 256 };

/// What lies ready behind the ring's end.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Sectors before this one are whole, unused and durable, if it lies behind the ring's end.
    pub(super) end: u64,
    /// A piece is being written.
    pub(super) under_way: bool,
    /// The disk has no room for it.
    pub(super) refused: bool,
}

/// Some sectors to write behind the ring's end. [`run`](Self::run) it where no lock is held, and give it back to
/// [`Wal::end_piece`].
#[derive(Debug)]
#[must_use]
pub(crate) struct Piece {
    file: Arc<dyn File>,
    log_id: u64,
    from: u64,
    to: u64,
    /// The sector up to which disk space is taken at once, so that it lies in one place.
    whole: u64,
}

impl Piece {
    /// Writes the piece, and makes it durable.
    ///
    /// # Errors
    /// [`Error::DiskFull`], which harms nothing; [`Error::Io`], also for what a commit has written meanwhile.
    pub(crate) fn run(&self) -> Result<()> {
        let (from, wanted) = (self.from * SECTOR as u64, (self.whole - self.from) * SECTOR as u64);
        match self.file.allocate(from, wanted) {
            Err(e) if Error::is_full(&e) => return Err(Error::DiskFull { wanted }),
            result => result.map_err(|e| Error::io("grow", from, e))?,
        }
        match write_unused(&*self.file, self.log_id, self.from, self.to) {
            // Where space cannot be reserved, it is missed here. No head names these sectors.
            Err(Error::Io { source, .. }) if Error::is_full(&source) => {
                return Err(Error::DiskFull { wanted });
            }
            written => written?,
        }
        self.file.sync().map_err(|e| Error::io("sync", 0, e))
    }
}

impl Wal {
    /// Whether there is a piece to be written.
    pub(crate) fn wants_piece(&self) -> bool {
        self.next_piece().is_some()
    }

    /// The sectors of the next piece, and how far all of them will reach.
    fn next_piece(&self) -> Option<(u64, u64, u64)> {
        let Ahead { end, under_way, refused } = self.ahead;
        let whole = self.ring.doubled(self.limit).end;
        let from = end.max(self.ring.end);
        let buffered = self.batch.sectors();
        let grows = self.start.lap == self.at.lap
            && 4 * (self.at.sector + buffered) >= 3 * self.ring.end
            && 8 * (self.live + buffered) >= 3 * self.ring.sectors();
        let wanted = from < whole && grows && !under_way && !refused && self.mode == Mode::Open;
        (wanted && self.check_poison().is_ok()).then(|| (from, (from + PIECE).min(whole), whole))
    }

    /// The next piece to write, if the ring is likely to grow. Until it is given back, the ring does not.
    pub(crate) fn begin_piece(&mut self) -> Option<Piece> {
        let (from, to, whole) = self.next_piece()?;
        self.ahead.under_way = true;
        Some(Piece { file: Arc::clone(&self.file), log_id: self.log_id, from, to, whole })
    }

    /// Takes note of what came of a piece, which may have been another log's.
    ///
    /// # Errors
    /// That of the piece, and [`Error::Poisoned`] ever after; none for a full disk.
    pub(crate) fn end_piece(&mut self, piece: &Piece, result: Result<()>) -> Result<()> {
        if piece.log_id != self.log_id {
            return Ok(());
        }
        self.ahead.under_way = false;
        match result {
            Ok(()) => self.ahead.end = piece.to,
            Err(Error::DiskFull { .. }) => self.ahead.refused = true,
            failed => return self.poison_on(failed),
        }
        Ok(())
    }
}
