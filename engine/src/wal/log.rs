//! [`Wal`]: appending, syncing, and giving back what a checkpoint has made superfluous.
#![forbid(unsafe_code)]

use super::ahead::Ahead;
use super::batch::Batch;
use super::choice::{Choice, SyncMethod};
use super::create::{create_file, write_heads, write_unused};
#[cfg(test)]
use super::format::PAYLOAD;
use super::format::{BACK_UNKNOWN, RECORD_HEADER, RecordHeader, SECTOR, chain_seed};
use super::pending::UnderWay;
use super::position::{END_MAX, FIRST, LogStart, Position, Ring};
use crate::error::{Error, Result};
use bifold_page_source::{File, FileSystem};
use std::io;
use std::path::Path;
use std::sync::Arc;

const OUTSIDE: &str = "the log was retired to a place outside its live part";

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Appended {
    /// It is in the log's buffer, and will be written and synced with the others.
    Yes,
    /// There is no room for it before a checkpoint has retired older records. Nothing has changed.
    Full,
}

/// Counts since the log was opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct WalStats {
    /// Records appended.
    pub(crate) records: u64,
    /// Bytes of their payloads.
    pub(crate) payload_bytes: u64,
    /// Sectors written to the ring, 512 bytes each; padding and headers included, unused ones of growth not.
    pub(crate) sectors: u64,
    /// Write calls to the ring.
    pub(crate) writes: u64,
    /// Syncs completed, those apart that had nothing to do.
    pub(crate) syncs: u64,
    /// How many of them were durable writes.
    pub(crate) dsyncs: u64,
    /// How often the ring was lengthened.
    pub(crate) growths: u64,
}

/// Who may append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// The owner.
    Open,
    /// Nobody, until a meta page that names the new position is durable.
    Recovered,
    /// Nobody.
    ReadOnly,
}

/// An open log.
#[derive(Debug)]
pub(crate) struct Wal {
    pub(super) file: Arc<dyn File>,
    pub(super) log_id: u64,
    pub(super) ring: Ring,
    /// How far the ring may grow.
    pub(super) limit: Ring,
    pub(super) ahead: Ahead,
    /// Where the live part begins. Never at the ring's end. While a durable write is under way, its sectors are part
    /// of it.
    pub(super) start: Position,
    /// Where the next sector is written.
    pub(super) at: Position,
    /// Sectors from `start` to `at`.
    pub(super) live: u64,
    /// The chain value of the last record.
    pub(super) chain: u64,
    pub(super) last_seq: Option<u64>,
    pub(super) mode: Mode,
    pub(super) batch: Batch,
    /// An empty batch, for its memory.
    pub(super) spare: Batch,
    /// Sectors taken from the buffer since the log was opened, to be written at once or by a sync that is under way,
    /// and how many of them a completed sync covers.
    pub(super) taken: u64,
    pub(super) durable: u64,
    pub(super) choice: Choice,
    pub(super) under_way: Option<UnderWay>,
    /// The last record that, with all before it, is with the operating system.
    pub(super) handed_over: Option<u64>,
    poisoned: Option<Arc<Error>>,
    /// A write of the buffer was begun. Seen set when another begins, a panic has broken it off, and which part of the
    /// buffer was written is unknown.
    writing: bool,
    pub(super) stats: WalStats,
}

impl Wal {
    /// Creates a log of `initial_bytes` that may grow to `max_bytes`; the file counts whole, in steps of 4 KiB.
    /// A file that bears the name is removed: the caller knows that no meta page refers to it. When this returns,
    /// file and name are durable.
    ///
    /// # Errors
    /// [`Error::DiskFull`], or [`Error::Io`]; the file is then removed as far as that is possible.
    pub(crate) fn create(
        fs: &dyn FileSystem,
        path: &Path,
        log_id: u64,
        initial_bytes: u64,
        max_bytes: u64,
    ) -> Result<Self> {
        let limit = Ring::of_bytes(max_bytes);
        let ring = Ring { end: Ring::of_bytes(initial_bytes).end.min(limit.end) };
        let file = create_file(fs, path, log_id, ring)?;
        let start = Position { lap: 1, sector: FIRST };
        let chain = chain_seed(log_id, start.lap, start.sector, 0);
        Ok(Self::at(file, log_id, ring, limit, start, chain, Mode::Open))
    }

    /// A log that is empty from `start` on.
    pub(super) fn at(
        file: Arc<dyn File>,
        log_id: u64,
        ring: Ring,
        limit: Ring,
        start: Position,
        chain: u64,
        mode: Mode,
    ) -> Self {
        Self {
            file,
            log_id,
            ring,
            limit,
            ahead: Ahead::default(),
            start,
            at: start,
            live: 0,
            chain,
            last_seq: None,
            mode,
            batch: Batch::default(),
            spare: Batch::default(),
            taken: 0,
            durable: 0,
            choice: Choice::new(SyncMethod::Auto),
            under_way: None,
            handed_over: None,
            poisoned: None,
            writing: false,
            stats: WalStats::default(),
        }
    }

    /// Removes a log's file and makes that durable. A file that is not there is as good.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn remove(fs: &dyn FileSystem, path: &Path) -> Result<()> {
        match fs.unlink(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("unlink", 0, e)),
            _ => {}
        }
        fs.sync_dir(path).map_err(|e| Error::io("sync directory", 0, e))
    }

    /// Appends a commit's record, whose payload is the concatenation of `payload` (less than 4 GiB), to the log's
    /// buffer. `seq` is one more than the last record's, if the log's live part holds any.
    ///
    /// The room it needs in the file is there when this returns: the ring is lengthened here, if the record reaches
    /// beyond its end and at least half of it is live, or if it fits no other way.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if the ring cannot be lengthened and the record does not fit without: nothing has
    /// changed. [`Error::Io`] if lengthening failed otherwise, and [`Error::Poisoned`] ever after.
    /// [`Error::Internal`] for a wrong `seq`, or if a recovered log is not yet named by a meta page.
    pub(crate) fn append(&mut self, seq: u64, payload: &[&[u8]]) -> Result<Appended> {
        self.check_writable()?;
        if self.last_seq.is_some_and(|last| last.checked_add(1) != Some(seq)) {
            return Err(Error::Internal("a commit was logged out of order"));
        }
        let len: u64 = payload.iter().map(|part| part.len() as u64).sum();
        let Ok(len) = u32::try_from(len) else { return Ok(Appended::Full) };
        let sectors = self.batch.sectors_with(RECORD_HEADER as u64 + u64::from(len));
        if !self.make_room(sectors)? {
            return Ok(Appended::Full);
        }
        let header = RecordHeader::commit(len, seq, self.chain, payload);
        self.batch.reserve(RECORD_HEADER as u64 + u64::from(len));
        self.batch.push(&header.encode());
        for part in payload {
            self.batch.push(part);
        }
        self.chain = header.chain;
        self.last_seq = Some(seq);
        self.stats.records += 1;
        self.stats.payload_bytes += u64::from(len);
        Ok(Appended::Yes)
    }

    /// Hands the buffer's records to the operating system, with one call, or two around the ring's end. They
    /// survive the process, but not the system, from then on, or, if a sync is under way that writes the records
    /// before them itself, from its end on: see [`handed_over`](Self::handed_over).
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Poisoned`] ever after: which of the records will be found is unknown.
    pub(crate) fn write(&mut self) -> Result<()> {
        self.check_poison()?;
        self.writing = true;
        let result = self.write_all();
        self.writing = false;
        result
    }

    fn write_all(&mut self) -> Result<()> {
        let total = self.batch.sectors();
        let mut done = 0;
        while done < total {
            self.settle()?;
            let count = (total - done).min(self.ring.end - self.at.sector);
            let since_durable = (self.taken - self.durable).min(u64::from(BACK_UNKNOWN));
            let bytes = self.batch.seal(self.log_id, done, count, self.at, since_durable);
            let offset = self.at.sector * SECTOR as u64;
            let result = self.file.write_at(bytes, offset);
            self.poison_on(result.map_err(|e| Error::io("write", offset, e)))?;
            self.advance(count);
            done += count;
        }
        self.batch.clear();
        match &mut self.under_way {
            Some(UnderWay { writes_from: Some(_), handed, .. }) => *handed = self.last_seq.max(*handed),
            _ => self.handed_over = self.last_seq.max(self.handed_over),
        }
        Ok(())
    }

    /// The last record that, with all before it, has been handed to the operating system, so that it survives the
    /// process; `None` if there is none since the log was opened.
    pub(crate) fn handed_over(&self) -> Option<u64> {
        self.handed_over
    }

    /// Where the next record will lie: what the meta page of a checkpoint states that holds everything appended so
    /// far. Writes the buffer, as a position is a sector's beginning.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(crate) fn position(&mut self) -> Result<LogStart> {
        self.write()?;
        // Settled here: a position at the ring's end would mean another place once the ring has grown.
        self.settle()?;
        let Position { lap, sector } = self.at;
        Ok(LogStart { log_id: self.log_id, lap, sector, chain: self.chain })
    }

    /// Gives back everything before `start`: a meta page that states it is durable. After a recovery, this is what
    /// allows to append. The sectors that a sync under way writes itself, and those behind them, are given back when
    /// it ends.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is no position of the log's live part.
    pub(crate) fn retire_to(&mut self, start: &LogStart) -> Result<()> {
        let position = Position { lap: start.lap, sector: start.sector };
        let held = match self.under_way.as_ref().and_then(|sync| sync.writes_from) {
            Some(from) => {
                let before = self.ring.distance(self.start, from);
                Some((from, before.ok_or(Error::Internal("a sync under way lies outside the live part"))?))
            }
            None => None,
        };
        let freed = self.ring.distance(self.start, position).filter(|&freed| freed <= self.live);
        let freed = freed.filter(|_| start.log_id == self.log_id && start.sector < self.ring.end);
        let freed = freed.ok_or(Error::Internal(OUTSIDE))?;
        let empty = freed == self.live && self.batch.sectors() == 0;
        match (held, &mut self.under_way) {
            (Some((from, before)), Some(sync)) if before < freed => {
                sync.retire_to = Some(position);
                self.free_to(from)?;
            }
            _ => self.free_to(position)?,
        }
        if empty {
            // What the checkpoint holds may reach beyond the last record: a commit too large for the log has none.
            self.last_seq = None;
        }
        if self.mode == Mode::Recovered {
            self.mode = Mode::Open;
        }
        Ok(())
    }

    /// Lets the live part begin at `position`, which lies in it.
    pub(super) fn free_to(&mut self, position: Position) -> Result<()> {
        let freed = self.ring.distance(self.start, position).filter(|&freed| freed <= self.live);
        self.live -= freed.ok_or(Error::Internal(OUTSIDE))?;
        self.start = position;
        Ok(())
    }

    /// Bytes of the file that are in use: from the live part's beginning to the last record, buffered ones included.
    pub(crate) fn live_bytes(&self) -> u64 {
        (self.live + self.batch.sectors()) * SECTOR as u64
    }

    /// Bytes of the ring as it is now.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> u64 {
        self.ring.sectors() * SECTOR as u64
    }

    /// Bytes of the ring when it has grown as far as it may.
    #[cfg(test)]
    pub(crate) fn max_capacity(&self) -> u64 {
        self.ring.sectors().max(self.limit.sectors()) * SECTOR as u64
    }

    /// The longest payload, in bytes, that fits an empty log grown as far as it may. A longer one never fits.
    #[cfg(test)]
    pub(crate) fn max_record_len(&self) -> u64 {
        let sectors = self.max_capacity() / SECTOR as u64;
        (sectors * PAYLOAD as u64 - RECORD_HEADER as u64).min(u64::from(u32::MAX))
    }

    /// Whether a payload of `len` bytes has to wait for the piece under way ([`begin_piece`](Self::begin_piece)),
    /// behind which the ring is to grow.
    pub(crate) fn waits_for_piece(&self, len: u64) -> bool {
        let sectors = || self.batch.sectors_with((RECORD_HEADER as u64).saturating_add(len.min(1 << 32)));
        self.ahead.under_way && matches!(self.plan(sectors()), Plan::Grow { .. })
    }

    /// Whether a payload of `len` bytes would be appended now, if the disk has room for what growth that takes.
    #[cfg(test)]
    pub(crate) fn fits(&self, len: u64) -> bool {
        let sectors = self.batch.sectors_with((RECORD_HEADER as u64).saturating_add(len.min(1 << 32)));
        u32::try_from(len).is_ok() && self.plan(sectors) != Plan::Full
    }

    /// Bytes written to the ring since the log was opened.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.stats.sectors * SECTOR as u64
    }

    /// What was done since the log was opened.
    #[cfg(test)]
    pub(crate) fn stats(&self) -> WalStats {
        self.stats
    }

    fn check_writable(&self) -> Result<()> {
        self.check_poison()?;
        match self.mode {
            Mode::Open => Ok(()),
            Mode::Recovered => Err(Error::Internal("the recovered log's position is not durable yet")),
            Mode::ReadOnly => Err(Error::ReadOnly),
        }
    }

    pub(super) fn check_poison(&self) -> Result<()> {
        if self.writing {
            return Err(Error::Internal("a write of the log was broken off by a panic"));
        }
        self.poisoned.as_ref().map_or(Ok(()), |error| Err(Error::Poisoned(error.clone())))
    }

    /// Turns the ring's end, if the writer stands there, into its beginning in the next lap.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.at = self.ring.wrapped(self.at).ok_or(Error::Internal("the log has no laps left"))?;
        Ok(())
    }

    /// Takes note of `count` sectors taken from the buffer in one piece.
    pub(super) fn advance(&mut self, count: u64) {
        self.at.sector += count;
        self.live += count;
        self.taken += count;
        self.stats.writes += 1;
        self.stats.sectors += count;
    }

    pub(super) fn poison_on(&mut self, result: Result<()>) -> Result<()> {
        if let Err(error) = &result {
            self.poisoned.get_or_insert_with(|| Arc::new(error.clone()));
        }
        result
    }

    /// How `sectors` sectors can be written from `at` on.
    fn plan(&self, sectors: u64) -> Plan {
        let fits = |ring: Ring| sectors <= ring.sectors() - self.live;
        let reaches_end = sectors > self.ring.end - self.at.sector;
        // A live part that begins in the lap before leaves room up to its beginning only, not at the end.
        if !reaches_end || self.start.lap != self.at.lap {
            return if fits(self.ring) { Plan::Fits } else { Plan::Full };
        }
        let mut grown = self.ring;
        if !fits(self.ring) || 2 * (self.live + sectors) >= self.ring.sectors() {
            while grown.end < self.limit.end && (grown == self.ring || !fits(grown)) {
                grown = grown.doubled(self.limit);
            }
        }
        let wraps = fits(self.ring) && self.at.lap < u32::MAX;
        if grown != self.ring && fits(grown) {
            Plan::Grow { to: grown, or_wrap: wraps }
        } else if wraps {
            Plan::Fits
        } else {
            Plan::Full
        }
    }

    /// Sees to it that `sectors` sectors can be written from `at` on. `false` if that cannot be.
    fn make_room(&mut self, sectors: u64) -> Result<bool> {
        match self.plan(sectors) {
            Plan::Fits => Ok(true),
            Plan::Full => Ok(false),
            Plan::Grow { to, or_wrap } => match self.grow(to) {
                Err(Error::DiskFull { .. }) if or_wrap => Ok(true),
                result => result.map(|()| true),
            },
        }
    }

    /// Lengthens the ring. The writer stands before its end and the live part does not reach over it, so the new
    /// sectors, of lap 0, lie ahead.
    fn grow(&mut self, to: Ring) -> Result<()> {
        debug_assert!(self.start.lap == self.at.lap && to.end <= END_MAX);
        if self.ahead.under_way {
            return Err(Error::Internal("the log grows beneath a piece that is being written"));
        }
        let ready = self.ahead.end.clamp(self.ring.end, to.end);
        if ready < to.end {
            self.lengthen(ready, to.end)?;
        }
        let result = write_heads(&*self.file, self.log_id, to);
        self.poison_on(result)?;
        self.ring = to;
        self.ahead.refused = false;
        self.stats.growths += 1;
        Ok(())
    }

    /// Writes sectors of lap 0 from `from` up to `to`, and makes them durable.
    fn lengthen(&mut self, from: u64, to: u64) -> Result<()> {
        let (offset, wanted) = (from * SECTOR as u64, (to - from) * SECTOR as u64);
        match self.file.allocate(offset, wanted) {
            Err(e) if Error::is_full(&e) => return Err(Error::DiskFull { wanted }),
            result => self.poison_on(result.map_err(|e| Error::io("grow", offset, e)))?,
        }
        let result = write_unused(&*self.file, self.log_id, from, to)
            .and_then(|()| self.file.sync().map_err(|e| Error::io("sync", 0, e)));
        self.poison_on(result)
    }
}

/// What is to be done before sectors can be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// Nothing.
    Fits,
    /// The ring must be lengthened, or should be and may as well wrap.
    Grow { to: Ring, or_wrap: bool },
    /// There is no room.
    Full,
}
