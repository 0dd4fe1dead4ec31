//! What transactions, tables, cursors, scans and loads carry while they are recorded.
//!
//! Where nothing is recorded they carry a `None` or a zero. What sums up calls reports when it is dropped.
#![forbid(unsafe_code)]

use super::Recorder;
use super::event::{From, Op};
use crate::durability::Durability;
use crate::error::Result;
use std::borrow::Cow;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// A transaction that is recorded.
#[derive(Debug)]
pub(crate) struct TxnCalls {
    recorder: Arc<Recorder>,
    pub(crate) txn: u64,
    writes: bool,
    ended: bool,
}

impl TxnCalls {
    /// A read transaction begins.
    #[cold]
    pub(crate) fn read(recorder: &Arc<Recorder>) -> Self {
        let txn = recorder.number();
        recorder.record(recorder.now(), &Op::ReadBegin { txn });
        Self { recorder: Arc::clone(recorder), txn, writes: false, ended: false }
    }

    /// The write transaction, which was asked for `at`.
    #[cold]
    pub(crate) fn write(recorder: &Arc<Recorder>, at: u64) -> Self {
        let txn = recorder.number();
        recorder.record(at, &Op::WriteBegin { txn });
        Self { recorder: Arc::clone(recorder), txn, writes: true, ended: false }
    }

    pub(crate) fn now(&self) -> u64 {
        self.recorder.now()
    }

    /// Records a call; `at` is when it began.
    #[cold]
    pub(crate) fn record<'a>(&self, at: u64, op: impl FnOnce(u64) -> Op<'a>) {
        self.recorder.record(at, &op(self.txn));
    }

    /// Records that a table was looked up; the number of the opening.
    #[cold]
    pub(crate) fn open_table(&self, at: u64, name: &str, found: bool) -> u64 {
        let table = self.recorder.number();
        self.record(at, |txn| Op::OpenTable { txn, table, name: Cow::Borrowed(name), found });
        table
    }

    /// Records that a table was created; the number of the opening.
    #[cold]
    pub(crate) fn create_table(&self, at: u64, name: &str) -> u64 {
        let table = self.recorder.number();
        self.record(at, |txn| Op::CreateTable { txn, table, name: Cow::Borrowed(name) });
        table
    }

    /// Records a commit, and the end of the transaction.
    #[cold]
    pub(crate) fn commit(mut self, at: u64, durability: Durability, waited: bool, number: Option<u64>) {
        self.ended = true;
        self.record(at, |txn| Op::Commit { txn, durability, waited, number });
    }
}

impl Drop for TxnCalls {
    fn drop(&mut self) {
        if !self.ended {
            let txn = self.txn;
            let op = if self.writes { Op::Abort { txn } } else { Op::ReadEnd { txn } };
            self.recorder.record(self.recorder.now(), &op);
        }
    }
}

/// A table that is recorded, by the number of its opening.
#[derive(Clone, Copy)]
pub(crate) struct TableCalls<'t> {
    pub(crate) recorder: &'t Arc<Recorder>,
    pub(crate) table: u64,
}

impl TableCalls<'_> {
    /// Makes a call, and records it unless it fails.
    #[cold]
    #[inline(never)]
    pub(crate) fn call<'a, R>(
        self,
        call: impl FnOnce() -> Result<R>,
        op: impl FnOnce(u64, &R) -> Op<'a>,
    ) -> Result<R> {
        let at = self.recorder.now();
        let result = call()?;
        self.recorder.record(at, &op(self.table, &result));
        Ok(result)
    }

    /// Records a `get_many` that began `at`: its keys, and the lengths of their values.
    #[cold]
    pub(crate) fn get_many<'a>(self, at: u64, keys: impl ExactSizeIterator<Item = (&'a [u8], Option<u64>)>) {
        self.recorder.record(at, &Op::GetMany { table: self.table, count: keys.len() as u64 });
        for (key, value_len) in keys {
            self.recorder.record(at, &Op::GetManyKey { key: Cow::Borrowed(key), value_len });
        }
    }
}

/// The bounds of a range.
type Bounds<'a> = (Bound<Cow<'a, [u8]>>, Bound<Cow<'a, [u8]>>);

/// The bounds of a range, borrowed.
pub(crate) fn borrowed<'a, K: AsRef<[u8]> + 'a>(range: &'a impl RangeBounds<K>) -> Bounds<'a> {
    let borrow = |bound: Bound<&'a K>| bound.map(|key| Cow::Borrowed(key.as_ref()));
    (borrow(range.start_bound()), borrow(range.end_bound()))
}

/// A cursor that is recorded, and its way since it was last sent to a place.
pub(crate) struct CursorCalls {
    recorder: Arc<Recorder>,
    table: u64,
    from: From<'static>,
    forward: u64,
    backward: u64,
}

impl CursorCalls {
    #[cold]
    pub(crate) fn new(calls: TableCalls<'_>) -> Self {
        Self {
            recorder: Arc::clone(calls.recorder),
            table: calls.table,
            from: From::Fresh,
            forward: 0,
            backward: 0,
        }
    }

    /// It is sent elsewhere: what it did so far is recorded.
    #[cold]
    pub(crate) fn sent(&mut self, from: From<'static>) {
        self.report();
        (self.from, self.forward, self.backward) = (from, 0, 0);
    }

    /// It gave an entry.
    #[cold]
    pub(crate) fn stepped(&mut self, forward: bool) {
        *(if forward { &mut self.forward } else { &mut self.backward }) += 1;
    }

    fn report(&self) {
        if self.from == From::Fresh && self.forward + self.backward == 0 {
            return;
        }
        let op = Op::Cursor {
            table: self.table,
            from: self.from.clone(),
            forward: self.forward,
            backward: self.backward,
        };
        self.recorder.record(self.recorder.now(), &op);
    }
}

impl Drop for CursorCalls {
    fn drop(&mut self) {
        self.report();
    }
}

/// A scan that is recorded.
pub(crate) struct ScanCalls {
    recorder: Arc<Recorder>,
    table: u64,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    forward: u64,
    backward: u64,
    /// Whether keys alone are asked for.
    pub(crate) keys: bool,
}

impl ScanCalls {
    #[cold]
    pub(crate) fn new(calls: TableCalls<'_>, lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> Self {
        Self {
            recorder: Arc::clone(calls.recorder),
            table: calls.table,
            lower: lower.clone(),
            upper: upper.clone(),
            forward: 0,
            backward: 0,
            keys: false,
        }
    }

    /// It gave an entry.
    #[cold]
    pub(crate) fn stepped(&mut self, forward: bool) {
        *(if forward { &mut self.forward } else { &mut self.backward }) += 1;
    }
}

impl Drop for ScanCalls {
    fn drop(&mut self) {
        let borrow = |bound: &Bound<Vec<u8>>| bound.as_ref().map(|key| Cow::Owned(key.clone()));
        let op = Op::Scan {
            table: self.table,
            lower: borrow(&self.lower),
            upper: borrow(&self.upper),
            forward: self.forward,
            backward: self.backward,
            keys: self.keys,
        };
        self.recorder.record(self.recorder.now(), &op);
    }
}

/// A load that is recorded.
pub(crate) struct LoadCalls {
    recorder: Arc<Recorder>,
    load: u64,
    pub(crate) finished: bool,
}

impl LoadCalls {
    #[cold]
    pub(crate) fn new(calls: TableCalls<'_>) -> Self {
        let TableCalls { recorder, table } = calls;
        let load = recorder.number();
        recorder.record(recorder.now(), &Op::LoadBegin { table, load });
        Self { recorder: Arc::clone(recorder), load, finished: false }
    }

    /// It was given an entry.
    #[cold]
    pub(crate) fn pushed(&self, key: &[u8], value_len: u64) {
        let op = Op::LoadPush { load: self.load, key: Cow::Borrowed(key), value_len };
        self.recorder.record(self.recorder.now(), &op);
    }
}

impl Drop for LoadCalls {
    fn drop(&mut self) {
        let op = Op::LoadEnd { load: self.load, finished: self.finished };
        self.recorder.record(self.recorder.now(), &op);
    }
}

impl fmt::Debug for TableCalls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableCalls").field(&self.table).finish()
    }
}
