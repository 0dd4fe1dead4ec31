//! Records on their way to the file: the stream laid out in sectors, in memory.
//!
//! Which sectors these become is settled when they are written: the ring may grow before that.
#![forbid(unsafe_code)]

use super::format::{PAYLOAD, SECTOR, SECTOR_HEADER, seal_sector};
use super::position::Position;

/// A buffer that has grown beyond this is given back once it has been written, in bytes.
const KEEP_MAX: usize = 1 << 20;

/// Sectors that are yet to be written; the last may be partly filled.
#[derive(Default, Debug)]
pub(super) struct Batch {
    sectors: Vec<u8>,
    /// Bytes of the stream in them.
    used: usize,
}

impl Batch {
    /// How many sectors there are.
    pub(super) fn sectors(&self) -> u64 {
        (self.sectors.len() / SECTOR) as u64
    }

    /// How many sectors there would be with `bytes` more of the stream.
    pub(super) fn sectors_with(&self, bytes: u64) -> u64 {
        (self.used as u64 + bytes).div_ceil(PAYLOAD as u64)
    }

    /// Takes the memory at once that `bytes` more of the stream need.
    pub(super) fn reserve(&mut self, bytes: u64) {
        let sectors = self.sectors_with(bytes) - self.sectors();
        self.sectors.reserve(sectors as usize * SECTOR);
    }

    /// All sectors, for those that have been sealed.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.sectors
    }

    /// Adds to the stream.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let filled = self.used % PAYLOAD;
            if filled == 0 {
                self.sectors.resize(self.sectors.len() + SECTOR, 0);
            }
            let at = self.sectors.len() - PAYLOAD + filled;
            let (now, later) = bytes.split_at(bytes.len().min(PAYLOAD - filled));
            self.sectors[at..at + now.len()].copy_from_slice(now);
            self.used += now.len();
            bytes = later;
        }
    }

    /// Completes `count` sectors from the `first` on, to be written from `at`, and returns their bytes.
    /// `since_durable` is how many sectors have been written since the durable part, before the `first`.
    pub(super) fn seal(
        &mut self,
        log_id: u64,
        first: u64,
        count: u64,
        at: Position,
        since_durable: u64,
    ) -> &[u8] {
        let range = first as usize * SECTOR..(first + count) as usize * SECTOR;
        let used = self.used;
        let (sectors, _) = self.sectors[range.clone()].as_chunks_mut::<SECTOR>();
        for (index, bytes) in sectors.iter_mut().enumerate() {
            let filled = used.saturating_sub((first as usize + index) * PAYLOAD).min(PAYLOAD);
            let back = u16::try_from(since_durable + index as u64).unwrap_or(u16::MAX);
            seal_sector(bytes, log_id, at.sector + index as u64, at.lap, filled, back);
        }
        debug_assert_eq!(SECTOR_HEADER + PAYLOAD, SECTOR);
        &self.sectors[range]
    }

    /// Empties the batch.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.sectors.clear();
        self.sectors.shrink_to(KEEP_MAX);
    }
}
