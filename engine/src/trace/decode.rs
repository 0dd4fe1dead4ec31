//! Reading events from bytes; see `docs/trace-format.md`.
//!
//! A block's checksum is right before any of this runs, so what is refused here was made by somebody: it is refused
//! all the same, and nothing is allocated for a length that is not there.
#![forbid(unsafe_code)]

use super::encode::{KEY_KEPT, Last};
use super::event::{From, Op};
use crate::durability::Durability;
use std::borrow::Cow;
use std::ops::Bound;

/// The events of a block, one after the other. The error of each method says what is wrong with the bytes.
pub(super) struct Decoder<'a> {
    /// The file's format version.
    pub(super) version: u32,
    pub(super) rest: &'a [u8],
    pub(super) last: &'a mut Last,
}

type Decoded<T> = Result<T, &'static str>;

const ENDS: &str = "an event reaches beyond its block";

impl Decoder<'_> {
    fn byte(&mut self) -> Decoded<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(ENDS)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn flag(&mut self) -> Decoded<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a flag is neither 0 nor 1"),
        }
    }

    fn number(&mut self) -> Decoded<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number has more than 64 bits")
    }

    fn option(&mut self) -> Decoded<Option<u64>> {
        Ok(self.number()?.checked_sub(1))
    }

    fn near(&mut self, last: u64) -> Decoded<u64> {
        let by = self.number()?;
        Ok(last.wrapping_add((by >> 1) ^ (by & 1).wrapping_neg()))
    }

    fn txn(&mut self) -> Decoded<u64> {
        self.last.txn = self.near(self.last.txn)?;
        Ok(self.last.txn)
    }

    fn table(&mut self) -> Decoded<u64> {
        self.last.table = self.near(self.last.table)?;
        Ok(self.last.table)
    }

    fn bytes(&mut self) -> Decoded<&[u8]> {
        let len = self.number()?;
        if len > KEY_KEPT as u64 {
            return Err("a key is longer than any that is recorded");
        }
        let (bytes, rest) = self.rest.split_at_checked(len as usize).ok_or(ENDS)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn name(&mut self) -> Decoded<Cow<'static, str>> {
        let name = str::from_utf8(self.bytes()?).map_err(|_| "a table's name is not UTF-8")?;
        Ok(Cow::Owned(name.to_string()))
    }

    fn key(&mut self) -> Decoded<Cow<'static, [u8]>> {
        Ok(Cow::Owned(self.bytes()?.to_vec()))
    }

    fn bound(&mut self) -> Decoded<Bound<Cow<'static, [u8]>>> {
        match self.byte()? {
            0 => Ok(Bound::Unbounded),
            1 => Ok(Bound::Included(self.key()?)),
            2 => Ok(Bound::Excluded(self.key()?)),
            _ => Err("a bound is of no known kind"),
        }
    }

    fn durability(&mut self) -> Decoded<Durability> {
        match self.byte()? {
            0 => Ok(Durability::Deferred),
            1 => Ok(Durability::Buffered),
            2 => Ok(Durability::Sync),
            _ => Err("a durability is of no known kind"),
        }
    }

    fn from(&mut self) -> Decoded<From<'static>> {
        match self.byte()? {
            0 => Ok(From::Fresh),
            1 => Ok(From::First),
            2 => Ok(From::Last),
            3 => Ok(From::Seek(self.key()?)),
            4 => Ok(From::SeekExact(self.key()?)),
            _ => Err("a cursor was sent to a place of no known kind"),
        }
    }

    /// The next event, and how many microseconds it came after the one before.
    pub(super) fn event(&mut self) -> Decoded<(u64, Op<'static>)> {
        let kind = self.byte()?;
        let after = self.number()?;
        // Fields are read in the order they are written here.
        let op = match kind {
            1 => Op::ReadBegin { txn: self.txn()? },
            2 => Op::ReadEnd { txn: self.txn()? },
            3 => Op::WriteBegin { txn: self.txn()? },
            4 => Op::Commit {
                txn: self.txn()?,
                durability: self.durability()?,
                waited: self.flag()?,
                number: self.option()?,
            },
            5 => Op::Abort { txn: self.txn()? },
            6 => Op::Savepoint { txn: self.txn()?, savepoint: self.number()? },
            7 => Op::Rollback { txn: self.txn()?, savepoint: self.number()? },
            8 => Op::OpenTable {
                txn: self.txn()?,
                table: self.table()?,
                name: self.name()?,
                found: self.flag()?,
            },
            9 => Op::CreateTable { txn: self.txn()?, table: self.table()?, name: self.name()? },
            10 => Op::DropTable { txn: self.txn()?, name: self.name()?, found: self.flag()? },
            11 => Op::ListTables { txn: self.txn()? },
            30 => Op::Checkpoint { waited: self.flag()? },
            31 => Op::Sync,
            32 if self.version >= 2 => {
                Op::RenameTable { txn: self.txn()?, name: self.name()?, new: self.name()? }
            }
            other => self.of_table(other)?,
        };
        Ok((after, op))
    }

    fn of_table(&mut self, kind: u8) -> Decoded<Op<'static>> {
        Ok(match kind {
            12 => Op::Get { table: self.table()?, key: self.key()?, value_len: self.option()? },
            13 => Op::Contains { table: self.table()?, key: self.key()?, found: self.flag()? },
            14 => Op::Stream { table: self.table()?, key: self.key()?, value_len: self.option()? },
            15 => Op::GetMany { table: self.table()?, count: self.number()? },
            16 => Op::GetManyKey { key: self.key()?, value_len: self.option()? },
            17 => Op::First { table: self.table()?, value_len: self.option()? },
            18 => Op::Last { table: self.table()?, value_len: self.option()? },
            19 => Op::Nth { table: self.table()?, n: self.number()?, value_len: self.option()? },
            20 => Op::Rank { table: self.table()?, key: self.key()?, rank: self.number()? },
            21 => Op::Count {
                table: self.table()?,
                lower: self.bound()?,
                upper: self.bound()?,
                entries: self.number()?,
            },
            22 => Op::Scan {
                table: self.table()?,
                lower: self.bound()?,
                upper: self.bound()?,
                forward: self.number()?,
                backward: self.number()?,
                keys: self.flag()?,
            },
            23 => Op::Cursor {
                table: self.table()?,
                from: self.from()?,
                forward: self.number()?,
                backward: self.number()?,
            },
            24 => Op::Insert { table: self.table()?, key: self.key()?, value_len: self.number()? },
            25 => Op::Remove { table: self.table()?, key: self.key()?, found: self.flag()? },
            26 => Op::RemoveRange {
                table: self.table()?,
                lower: self.bound()?,
                upper: self.bound()?,
                removed: self.number()?,
            },
            27 => Op::LoadBegin { table: self.table()?, load: self.number()? },
            28 => Op::LoadPush { load: self.number()?, key: self.key()?, value_len: self.number()? },
            29 => Op::LoadEnd { load: self.number()?, finished: self.flag()? },
            _ => return Err("an event is of no known kind"),
        })
    }
}
