//! Places in the log, and the arithmetic of the ring.
#![forbid(unsafe_code)]

use super::format::SECTOR;

/// The ring's first sector; those before it are the head and its copy.
pub(super) const FIRST: u64 = 2;
/// The file's length is a multiple of so many sectors (4 KiB), so that it can be read past the page cache.
pub(super) const GRAIN: u64 = 8;
/// The most sectors a log can have (2^40, half a PiB), so that no sum of a few of them overflows.
pub(super) const END_MAX: u64 = 1 << 40;

/// Where a log is live from: what a meta page states, and what recovery starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LogStart {
    /// Which log file it is.
    pub(crate) log_id: u64,
    /// The lap of the first record's first sector, from 1.
    pub(crate) lap: u32,
    /// That sector's number in the file.
    pub(crate) sector: u64,
    /// The chain value before that record.
    pub(crate) chain: u64,
}

/// A sector at a time: which lap is, or is to be, written there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// The lap.
    pub(super) lap: u32,
    /// The sector's number; the ring's end stands for its next sector, wherever that will be.
    pub(super) sector: u64,
}

/// The ring's extent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ring {
    /// The sector behind the last.
    pub(super) end: u64,
}

impl Ring {
    /// The ring of a file of `bytes`, rounded up to what a log can have.
    pub(super) fn of_bytes(bytes: u64) -> Self {
        let end = bytes.div_ceil(SECTOR as u64).min(END_MAX).next_multiple_of(GRAIN).max(GRAIN);
        Self { end }
    }

    /// How many sectors the ring has.
    pub(super) fn sectors(self) -> u64 {
        self.end - FIRST
    }

    /// Twice as long, or as long as `limit` allows.
    pub(super) fn doubled(self, limit: Self) -> Self {
        Self { end: (2 * self.end).min(limit.end).max(self.end) }
    }

    /// `at`, with the ring's end turned into the first sector of the next lap. `None` if there is no next lap.
    pub(super) fn wrapped(self, at: Position) -> Option<Position> {
        if at.sector < self.end {
            return Some(at);
        }
        Some(Position { lap: at.lap.checked_add(1)?, sector: FIRST })
    }

    /// The position behind `at`.
    pub(super) fn next(self, at: Position) -> Option<Position> {
        self.wrapped(Position { lap: at.lap, sector: at.sector + 1 })
    }

    /// How many sectors lie from `from` up to `to`, which is at most one lap later. The ring does not grow while
    /// its live part reaches over its end, so its present length is the one that counts.
    pub(super) fn distance(self, from: Position, to: Position) -> Option<u64> {
        match to.lap.checked_sub(from.lap)? {
            0 => to.sector.checked_sub(from.sector),
            1 => Some(self.end.checked_sub(from.sector)? + to.sector.checked_sub(FIRST)?),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_round() {
        let ring = Ring::of_bytes(1);
        assert_eq!(ring, Ring { end: 8 });
        let mut at = Position { lap: 3, sector: 5 };
        let from = at;
        for steps in 0..6 {
            assert_eq!(ring.distance(from, at), Some(steps));
            at = ring.next(at).unwrap();
        }
        assert_eq!(at, Position { lap: 4, sector: 5 });
        assert_eq!(ring.distance(at, from), None);
        assert_eq!(ring.next(Position { lap: u32::MAX, sector: 7 }), None);
        assert_eq!(Ring::of_bytes(u64::MAX).end, END_MAX);
    }
}
