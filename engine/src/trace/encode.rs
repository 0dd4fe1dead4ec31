//! Writing events as bytes; see `docs/trace-format.md`.
//!
//! A number is written seven bits a byte, the lowest first (LEB128). Transactions, tables and loads are written as
//! the difference from the one last named in the block, its sign in the lowest bit, as most calls name the same again.
#![forbid(unsafe_code)]

use super::block::{BLOCK_FULL, BLOCK_MAX};
use super::event::{From, Op};
use super::veil::Veil;
use crate::durability::Durability;
use std::borrow::Cow;
use std::ops::Bound;

/// Bytes of a key or a name that are kept. No database has keys of more than 16,384 bytes; of a longer one, the byte
/// beyond them is enough to find and to order as the whole of it.
pub(super) const KEY_KEPT: usize = (16 << 10) + 1;

/// A block that is not full takes any event: two keys with their lengths, and a few numbers.
const _: () = assert!(BLOCK_FULL + 2 * (KEY_KEPT + 3) + 100 < BLOCK_MAX);

/// What encoder and decoder remember between events of a block.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Last {
    pub(super) txn: u64,
    pub(super) table: u64,
}

/// Events on their way into a block.
pub(super) struct Encoder<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) last: &'a mut Last,
    pub(super) veil: Option<&'a Veil>,
}

impl Encoder<'_> {
    fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn option(&mut self, number: Option<u64>) {
        self.number(number.map_or(0, |number| number.saturating_add(1)));
    }

    fn near(&mut self, number: u64, last: u64) {
        let by = number.wrapping_sub(last) as i64;
        self.number((by << 1 ^ by >> 63) as u64);
    }

    fn txn(&mut self, txn: u64) {
        self.near(txn, self.last.txn);
        self.last.txn = txn;
    }

    fn table(&mut self, table: u64) {
        self.near(table, self.last.table);
        self.last.table = table;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn name(&mut self, name: &str) {
        self.bytes(&name.as_bytes()[..name.floor_char_boundary(KEY_KEPT)]);
    }

    fn key(&mut self, key: &[u8]) {
        let kept = &key[..key.len().min(KEY_KEPT)];
        self.bytes(kept);
        if let Some(veil) = self.veil {
            let at = self.out.len() - kept.len();
            veil.hide(&mut self.out[at..]);
        }
    }

    fn bound(&mut self, bound: &Bound<Cow<'_, [u8]>>) {
        match bound {
            Bound::Unbounded => self.byte(0),
            Bound::Included(key) => {
                self.byte(1);
                self.key(key);
            }
            Bound::Excluded(key) => {
                self.byte(2);
                self.key(key);
            }
        }
    }

    fn head(&mut self, kind: u8, after: u64) {
        self.byte(kind);
        self.number(after);
    }

    /// Adds an event, `after` microseconds after the one before.
    pub(super) fn event(&mut self, after: u64, op: &Op<'_>) {
        self.head(kind(op), after);
        match op {
            Op::ReadBegin { txn }
            | Op::ReadEnd { txn }
            | Op::WriteBegin { txn }
            | Op::Abort { txn }
            | Op::ListTables { txn } => self.txn(*txn),
            Op::Commit { txn, durability, waited, number } => {
                self.txn(*txn);
                self.byte(match durability {
                    Durability::Deferred => 0,
                    Durability::Buffered => 1,
                    Durability::Sync => 2,
                });
                self.flag(*waited);
                self.option(*number);
            }
            Op::Savepoint { txn, savepoint } | Op::Rollback { txn, savepoint } => {
                self.txn(*txn);
                self.number(*savepoint);
            }
            Op::OpenTable { txn, table, name, found } => {
                self.txn(*txn);
                self.table(*table);
                self.name(name);
                self.flag(*found);
            }
            Op::CreateTable { txn, table, name } => {
                self.txn(*txn);
                self.table(*table);
                self.name(name);
            }
            Op::DropTable { txn, name, found } => {
                self.txn(*txn);
                self.name(name);
                self.flag(*found);
            }
            Op::RenameTable { txn, name, new } => {
                self.txn(*txn);
                self.name(name);
                self.name(new);
            }
            Op::LoadBegin { table, load } => {
                self.table(*table);
                self.number(*load);
            }
            Op::LoadPush { load, key, value_len } => {
                self.number(*load);
                self.key(key);
                self.number(*value_len);
            }
            Op::LoadEnd { load, finished } => {
                self.number(*load);
                self.flag(*finished);
            }
            Op::Checkpoint { waited } => self.flag(*waited),
            Op::Sync => {}
            of_table => self.of_table(of_table),
        }
    }

    fn of_table(&mut self, op: &Op<'_>) {
        match op {
            Op::Get { table, key, value_len } | Op::Stream { table, key, value_len } => {
                self.table(*table);
                self.key(key);
                self.option(*value_len);
            }
            Op::Contains { table, key, found } | Op::Remove { table, key, found } => {
                self.table(*table);
                self.key(key);
                self.flag(*found);
            }
            Op::GetMany { table, count } => {
                self.table(*table);
                self.number(*count);
            }
            Op::GetManyKey { key, value_len } => {
                self.key(key);
                self.option(*value_len);
            }
            Op::First { table, value_len } | Op::Last { table, value_len } => {
                self.table(*table);
                self.option(*value_len);
            }
            Op::Nth { table, n, value_len } => {
                self.table(*table);
                self.number(*n);
                self.option(*value_len);
            }
            Op::Rank { table, key, rank: number } | Op::Insert { table, key, value_len: number } => {
                self.table(*table);
                self.key(key);
                self.number(*number);
            }
            Op::Count { table, lower, upper, entries: number }
            | Op::RemoveRange { table, lower, upper, removed: number } => {
                self.table(*table);
                self.bound(lower);
                self.bound(upper);
                self.number(*number);
            }
            Op::Scan { table, lower, upper, forward, backward, keys } => {
                self.table(*table);
                self.bound(lower);
                self.bound(upper);
                self.number(*forward);
                self.number(*backward);
                self.flag(*keys);
            }
            Op::Cursor { table, from, forward, backward } => {
                self.table(*table);
                self.from(from);
                self.number(*forward);
                self.number(*backward);
            }
            // The others are `event`'s.
            _ => {}
        }
    }

    fn from(&mut self, from: &From<'_>) {
        match from {
            From::Fresh => self.byte(0),
            From::First => self.byte(1),
            From::Last => self.byte(2),
            From::Seek(key) => {
                self.byte(3);
                self.key(key);
            }
            From::SeekExact(key) => {
                self.byte(4);
                self.key(key);
            }
        }
    }
}

/// The number of each kind in the file.
fn kind(op: &Op<'_>) -> u8 {
    match op {
        Op::ReadBegin { .. } => 1,
        Op::ReadEnd { .. } => 2,
        Op::WriteBegin { .. } => 3,
        Op::Commit { .. } => 4,
        Op::Abort { .. } => 5,
        Op::Savepoint { .. } => 6,
        Op::Rollback { .. } => 7,
        Op::OpenTable { .. } => 8,
        Op::CreateTable { .. } => 9,
        Op::DropTable { .. } => 10,
        Op::ListTables { .. } => 11,
        Op::Get { .. } => 12,
        Op::Contains { .. } => 13,
        Op::Stream { .. } => 14,
        Op::GetMany { .. } => 15,
        Op::GetManyKey { .. } => 16,
        Op::First { .. } => 17,
        Op::Last { .. } => 18,
        Op::Nth { .. } => 19,
        Op::Rank { .. } => 20,
        Op::Count { .. } => 21,
        Op::Scan { .. } => 22,
        Op::Cursor { .. } => 23,
        Op::Insert { .. } => 24,
        Op::Remove { .. } => 25,
        Op::RemoveRange { .. } => 26,
        Op::LoadBegin { .. } => 27,
        Op::LoadPush { .. } => 28,
        Op::LoadEnd { .. } => 29,
        Op::Checkpoint { .. } => 30,
        Op::Sync => 31,
        // From version 2 on.
        Op::RenameTable { .. } => 32,
    }
}
