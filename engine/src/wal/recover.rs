//! Recovery: reading a log from where a meta page says it is live, up to its tail.
#![forbid(unsafe_code)]

use super::create::write_heads;
use super::format::{
    BACK_UNKNOWN, Head, PAYLOAD, RECORD_HEADER, SECTOR, VERSION, VERSION_OLDEST, chain_seed, open_sector,
};
use super::log::{Mode, Wal};
use super::position::{END_MAX, FIRST, GRAIN, LogStart, Position, Ring};
use super::reader::Reader;
use super::records::Records;
use crate::error::{Error, Result};
use bifold_page_source::{Access, FileSystem};
use std::io;
use std::path::Path;

/// How far beyond the tail lost writes are looked for, in sectors (1 MiB).
const LOOK_AHEAD: u64 = 2048;

/// A log that has been read.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The log, to go on with. Appending to it is an error before [`Wal::retire_to`] has been given its
    /// [`position`](Wal::position).
    pub(crate) wal: Wal,
    /// How many records were found.
    pub(crate) records: u64,
    /// The last one's sequence number.
    pub(crate) last_seq: Option<u64>,
}

impl Wal {
    /// Reads the log at `path` from `start` on and gives every record, in order, to `apply`: sequence number and
    /// payload. Memory is bounded by the longest record. What was found is durable and will be found again.
    ///
    /// With `read_only`, nothing is written, and the log takes no records. Otherwise the log goes on in a fresh
    /// lap behind the tail: the caller checkpoints, makes a meta page durable that states its
    /// [`position`](Wal::position), and says so by [`retire_to`](Wal::retire_to).
    ///
    /// # Errors
    /// [`Error::LogMissing`] if there is no such file or it is another log; [`Error::Corrupt`], naming the sector,
    /// if it is damaged; [`Error::UnsupportedVersion`] and [`Error::UnsupportedFeature`] for what a later version
    /// wrote; [`Error::NeedsRecovery`] if the log cannot be synced for reading only; [`Error::Io`]; whatever
    /// `apply` says.
    pub(crate) fn recover(
        fs: &dyn FileSystem,
        path: &Path,
        start: &LogStart,
        max_bytes: u64,
        read_only: bool,
        apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<Recovered> {
        let access = if read_only { Access::ReadOnly } else { Access::ReadWrite };
        let file = match fs.open(path, access) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(missing(path)),
            result => result.map_err(|e| Error::io("open", 0, e))?,
        };
        // First what the process before left in the page cache is made durable, then the cache is not believed:
        // after a sync that failed there, it shows what the disk does not hold.
        match file.sync() {
            // Nothing can be pending on a file system that takes no writes.
            Err(e) if read_only && e.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            Err(_) if read_only => return Err(Error::NeedsRecovery("its log cannot be synced")),
            result => result.map_err(|e| Error::io("sync", 0, e))?,
        }
        file.drop_cache(0, 0).map_err(|e| Error::io("drop cache", 0, e))?;
        let len = file.len().map_err(|e| Error::io("length", 0, e))?;
        let mut reader = Reader::new(&file, len);
        let heads = Heads::read(&mut reader, start.log_id)?.ok_or_else(|| missing(path))?;
        let ring = heads.ring;
        if ring.end > len / SECTOR as u64 {
            return Err(Error::log(len / SECTOR as u64, "the file ends before the ring does"));
        }
        let tail = scan(&mut reader, ring, start, apply)?;
        if !read_only && heads.differ {
            write_heads(&*file, start.log_id, ring)?;
        }
        let lap = tail.at.lap.checked_add(1).ok_or(Error::Internal("the log has no laps left"))?;
        let at = Position { lap, sector: tail.at.sector };
        let chain = chain_seed(start.log_id, at.lap, at.sector, tail.chain);
        let mode = if read_only { Mode::ReadOnly } else { Mode::Recovered };
        let mut wal = Self::at(file, start.log_id, ring, Ring::of_bytes(max_bytes), at, chain, mode);
        wal.last_seq = tail.last_seq;
        Ok(Recovered { wal, records: tail.records, last_seq: tail.last_seq })
    }
}

fn missing(path: &Path) -> Error {
    Error::LogMissing(path.to_string_lossy().into())
}

/// What the head and its copy say together.
struct Heads {
    ring: Ring,
    /// Whether one of them is to be written again.
    differ: bool,
}

impl Heads {
    /// Reads both. `None` if they are another log's.
    fn read(reader: &mut Reader, log_id: u64) -> Result<Option<Self>> {
        let found = [Head::decode(reader.sector(0)?, 0), Head::decode(reader.sector(1)?, 1)];
        let mut whole = found.into_iter().flatten().peekable();
        if whole.peek().is_none() {
            return Err(Error::log(0, "neither the head nor its copy is whole"));
        }
        let mut end = None;
        for head in whole {
            if !(VERSION_OLDEST..=VERSION).contains(&head.version) {
                return Err(Error::UnsupportedVersion(head.version));
            }
            if head.log_id == log_id {
                end = end.max(Some(head.end));
            }
        }
        // They differ after a crash in the midst of growth: the larger ring is there, and nothing lies beyond the
        // smaller one's end.
        let Some(end) = end else { return Ok(None) };
        if !(GRAIN..=END_MAX).contains(&end) {
            return Err(Error::log(0, "the ring's length cannot be"));
        }
        // An older version's are made this one's: the log may go on with what that did not know.
        let old = found.iter().flatten().any(|head| head.version < VERSION);
        Ok(Some(Self { ring: Ring { end }, differ: old || found[0] != found[1] }))
    }
}

/// Where the stream ends, and after what.
struct Tail {
    /// The first sector that is not part of it, and the lap that was expected there.
    at: Position,
    chain: u64,
    last_seq: Option<u64>,
    records: u64,
}

/// Reads the stream.
fn scan(
    reader: &mut Reader,
    ring: Ring,
    start: &LogStart,
    apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Tail> {
    if start.lap == 0 || !(FIRST..ring.end).contains(&start.sector) {
        return Err(Error::log(0, "the database's position in the log lies outside the ring"));
    }
    let len_max = ring.sectors() * PAYLOAD as u64 - RECORD_HEADER as u64;
    let mut records = Records::new(start.chain, len_max, apply);
    let mut at = Position { lap: start.lap, sector: start.sector };
    let mut count = 0;
    // Once round at most: then the ring was full, and the tail is where it began.
    while count < ring.sectors() {
        let Some(sector) = open_sector(reader.sector(at.sector)?, start.log_id, at.sector) else {
            return Err(Error::log(at.sector, "its checksum does not match its bytes"));
        };
        if sector.lap > at.lap {
            return Err(Error::log(at.sector, "it is of a later lap than its place"));
        }
        if sector.lap < at.lap {
            look_ahead(reader, ring, start.log_id, at, count)?;
            break;
        }
        records.feed(sector.payload, at.sector)?;
        // The writer pads only behind a whole record.
        if sector.payload.len() < PAYLOAD && !records.is_whole() {
            return Err(Error::log(records.began(), "a record breaks off"));
        }
        at = ring.next(at).ok_or(Error::log(at.sector, "it is of the last lap there can be"))?;
        count += 1;
    }
    Ok(Tail { at, chain: records.chain, last_seq: records.last_seq, records: records.count })
}

/// Looks for sectors beyond the tail that were written when the tail's sector was durable: then it is no tail, but
/// holds what a lost write should have replaced. `count` sectors lie before the tail.
fn look_ahead(reader: &mut Reader, ring: Ring, log_id: u64, tail: Position, count: u64) -> Result<()> {
    let mut at = tail;
    for distance in 1..LOOK_AHEAD.min(ring.sectors() - count) {
        let Some(next) = ring.next(at) else { break };
        at = next;
        // What lies here was never acknowledged: that it cannot be read, or is damaged, does no harm.
        let Ok(bytes) = reader.sector(at.sector) else { break };
        let Some(sector) = open_sector(bytes, log_id, at.sector) else { continue };
        if sector.lap == at.lap && sector.back != BACK_UNKNOWN && u64::from(sector.back) < distance {
            return Err(Error::log(tail.sector, "a write that was durable has been lost"));
        }
    }
    Ok(())
}
