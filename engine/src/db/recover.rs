//! Recovery: what the log holds beyond the last checkpoint is done again.
//!
//! The log's records are logical, so they are replayed by the same code that made them, into a delta, and a checkpoint
//! makes them part of the file before opening returns: what an opening has shown never goes away again. When opened
//! for reading only, the delta stays in memory and nothing is written.
#![forbid(unsafe_code)]

use super::ensure_space;
use super::shared::{Mode, Shared};
use crate::checkpoint::LogAfter;
use crate::error::{Error, Result};
use crate::extent::pages_for;
use crate::free::{Fault, Run};
use crate::gate::Wait;
use crate::meta::{LogState, Meta};
use crate::node::key_max;
use crate::txn::commit::gauges;
use crate::txn::log_ops::{Op, Ops};
use crate::txn::state::{EARLY_VALUE, WriteState};
use crate::txn::writer::Writer;
use crate::wal::Wal;
use bifold_page_source::PageSource;
use std::io::ErrorKind;
use std::path::Path;

/// Brings a database that was just opened to its newest commit.
pub(super) fn run<S: PageSource>(shared: &Shared<S>, meta: &Meta, log: &Path) -> Result<()> {
    let start = match &meta.log {
        LogState::Closed => return remove_stale(shared, log),
        LogState::Live(start) => start,
    };
    let mut writer = shared.gate.acquire(Wait::No)?;
    ensure_space(shared, &mut writer)?;
    // Bounded by the log's bound; the extents of all records are to be known before the first is replayed.
    let mut records = Vec::new();
    let read_only = shared.mode == Mode::ReadOnly;
    let recovered =
        Wal::recover(&*shared.fs, log, start, shared.limits.log_bytes, read_only, &mut |seq, record| {
            records.push((seq, record.to_vec()));
            Ok(())
        })?;
    for (_, record) in &records {
        claim_extents(shared, &mut writer, record)?;
    }
    for (seq, record) in records {
        writer = replay(shared, writer, seq, &record)?;
    }
    if recovered.last_seq.is_some_and(|last| last != writer.seq) {
        return Err(Error::Internal("recovery did not come to the log's last commit"));
    }
    let count = recovered.records;
    if !read_only {
        shared.group.start(recovered.wal);
        shared.checkpoint_inside(&mut writer, LogAfter::Closed)?;
    }
    gauges(shared, &writer);
    tracing::info!(records = count, commit = writer.seq, "recovered from the log");
    shared.gate.release(writer);
    Ok(())
}

/// A log beside a closed file holds nothing that is needed.
fn remove_stale<S: PageSource>(shared: &Shared<S>, log: &Path) -> Result<()> {
    if shared.mode != Mode::Durable {
        return Ok(());
    }
    match shared.fs.identity(log) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Wal::remove(&*shared.fs, log),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("look for the log", 0, e)),
    }
}

/// Takes the extents that a record names out of the free space.
fn claim_extents<S: PageSource>(shared: &Shared<S>, writer: &mut Writer, record: &[u8]) -> Result<()> {
    let page_size = writer.meta.page_size;
    for op in Ops::new(record) {
        if let Op::Extent(_, first, len, birth) = op? {
            let (header, data) = pages_for(len, page_size);
            let run = Run::new(first.page().get(), header + data);
            // An extent is durable before the log names it.
            if run.end() > shared.store.source.len_pages() || birth > writer.meta.checkpoint {
                return Err(Error::log(0, "a commit names an extent that cannot be"));
            }
            writer.space()?.claim(run).map_err(|fault| match fault {
                Fault::Damaged(what) => Error::log(0, what),
                Fault::UnknownKind(_) => Error::Internal("a claim of an unknown kind"),
            })?;
            writer.early.insert(run.start, run);
        }
    }
    Ok(())
}

/// Does one commit again.
fn replay<S: PageSource>(
    shared: &Shared<S>,
    writer: Box<Writer>,
    seq: u64,
    record: &[u8],
) -> Result<Box<Writer>> {
    if seq != writer.seq + 1 {
        return Err(Error::log(0, "its commits are not the ones that follow the checkpoint"));
    }
    let mut state = WriteState::new(shared, writer);
    state.unbounded = true;
    let mut table = None;
    for op in Ops::new(record) {
        let op = op?;
        match op {
            Op::Table(name) => {
                let number = match state.find_table(&shared.store, name)? {
                    Some(number) => number,
                    None => state.create_table(&shared.store, name)?,
                };
                table = Some(number);
            }
            Op::Drop(name) => {
                let number = state.find_table(&shared.store, name)?;
                let number = number.ok_or(Error::log(0, "a commit drops a table that is not there"))?;
                state.drop_table(&shared.store, number)?;
                table = None;
            }
            Op::Rename(name, new) => {
                rename(shared, &mut state, name, new)?;
                table = None;
            }
            _ => {
                let number = table.ok_or(Error::log(0, "a commit changes no table in particular"))?;
                replay_op(shared, &mut state, number, op)?;
            }
        }
    }
    state.replayed(shared, seq)
}

fn rename<S: PageSource>(shared: &Shared<S>, state: &mut WriteState, name: &str, new: &str) -> Result<()> {
    let number = state.find_table(&shared.store, name)?;
    let number = number.ok_or(Error::log(0, "a commit renames a table that is not there"))?;
    if state.find_table(&shared.store, new)?.is_some() {
        return Err(Error::log(0, "a commit gives a table a name that another has"));
    }
    state.rename_table(&shared.store, number, new)
}

fn replay_op<S: PageSource>(
    shared: &Shared<S>,
    state: &mut WriteState,
    number: usize,
    op: Op<'_>,
) -> Result<()> {
    let max = key_max(shared.store.page_size);
    let fits = |key: &[u8]| {
        if key.len() <= max { Ok(()) } else { Err(Error::log(0, "a key is longer than a key can be")) }
    };
    match op {
        Op::Put(key, value) => {
            fits(key)?;
            if value.len() > EARLY_VALUE {
                return Err(Error::log(0, "a value is longer than one in the log can be"));
            }
            state.insert(shared, number, key, value)?;
        }
        Op::Delete(key) => {
            fits(key)?;
            state.remove(shared, number, key)?;
        }
        Op::DeleteRange(from, to) => {
            state.remove_range(shared, number, from, to)?;
        }
        Op::Extent(key, first, len, birth) => {
            fits(key)?;
            state.insert_extent(&shared.store, number, key, first, (len, birth))?;
        }
        Op::Table(_) | Op::Drop(_) | Op::Rename(..) => {}
    }
    Ok(())
}
