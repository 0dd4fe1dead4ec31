//! Moving large values to lower places of the file.
//!
//! A value may be long, so it is not copied while the writer's gate is held. A place is taken; the value is copied, as a
//! snapshot sees it; then a transaction lets the entry refer to the copy, if it still has the value that was copied. A
//! crash in between leaves nothing: until a checkpoint reaches the copy, its place is free on file.
#![forbid(unsafe_code)]

use crate::checkpoint::write_value_at;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::extent::{pages_for, read_span};
use crate::free::Run;
use crate::gate::Wait;
use crate::root::TreeRoot;
use crate::tree::get;
use crate::txn::read::ReadTxn;
use crate::txn::state::{WriteState, lookup_table};
use crate::value::Large;
use crate::walk::Walk;
use bifold_page_source::{PageId, PageRef, PageSource};
use std::sync::Arc;

/// Values moved by one transaction, at most.
const BATCH: usize = 64;
/// Bytes of values moved by one transaction, but for the last value.
const BATCH_BYTES: u64 = 8 << 20;

/// A large value that lies too far behind.
#[derive(Clone, Debug)]
pub(super) struct Far {
    pub(super) table: Arc<str>,
    pub(super) key: Vec<u8>,
    /// Where it lies.
    pub(super) first: PageRef,
    pub(super) len: u64,
}

/// A value on its way.
pub(super) struct Copy<'a> {
    far: &'a Far,
    run: Run,
    birth: u64,
    /// Where its copy lies; `None` if it was not copied.
    to: Option<PageRef>,
}

/// Where the large value of `key` lies on file, and its length, if it has one and that has a place.
fn place_of<S: PageSource>(
    walk: &mut Walk<'_, '_, S>,
    root: &TreeRoot,
    key: &[u8],
) -> Result<Option<(PageRef, u64)>> {
    let Some((leaf, index)) = get::get(walk, root, key)? else { return Ok(None) };
    if !leaf.node().entry(index).is_some_and(|entry| entry.has_word) {
        return Ok(None);
    }
    let large = Large::parse(&leaf.node(), index)?;
    Ok(walk.on_file(large.word)?.map(|first| (first, large.len)))
}

impl<S: PageSource> Db<S> {
    /// Moves values to lower places, as far as there are any; how many.
    pub(super) fn move_values(&self, values: &[Far]) -> Result<u64> {
        let (mut moved, mut rest) = (0, values);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |far: &&Far| {
                let room = bytes < BATCH_BYTES;
                bytes += far.len;
                room
            };
            let (batch, more) = rest.split_at(rest.iter().take(BATCH).take_while(fits).count());
            rest = more;
            moved += self.move_batch(batch)?;
        }
        Ok(moved)
    }

    fn move_batch(&self, batch: &[Far]) -> Result<u64> {
        let mut copies = self.take_lower(batch)?;
        if copies.is_empty() {
            return Ok(0);
        }
        // Until the entries refer to the copies: what it sees keeps its place, so that no other value is taken for it.
        let snapshot = self.read_own();
        let copied = copies.iter_mut().try_for_each(|copy| self.copy_value(&snapshot, copy));
        // Whatever came of it, the places are the transaction's now.
        let txn = self.write_own(Wait::Ever)?;
        let moved = txn.attempt(|state| {
            state.undone.extend(copies.iter().map(|copy| copy.run));
            copied?;
            copies.iter().try_fold(0, |moved, copy| Ok(moved + u64::from(self.refer(state, copy)?)))
        })?;
        super::in_place::commit(txn)?;
        Ok(moved)
    }

    /// Takes places for those of `batch` that find lower ones.
    pub(super) fn take_lower<'a>(&self, batch: &'a [Far]) -> Result<Vec<Copy<'a>>> {
        let page_size = self.shared().store.page_size;
        self.shared().with_writer(Wait::Ever, |writer| {
            let birth = writer.newest.base;
            let mut copies = Vec::new();
            for far in batch {
                let (header, data) = pages_for(far.len, page_size);
                let taken = writer.space()?.allocate_below(header + data, far.first.page().get())?;
                let Some(run) = taken else { continue };
                // What is set aside for what was committed is not to be had.
                if !writer.has_room(page_size)? {
                    writer.space()?.give_back(run)?;
                    continue;
                }
                copies.push(Copy { far, run, birth, to: None });
            }
            Ok(copies)
        })
    }

    /// Copies a value to its new place, if it is still where it was.
    fn copy_value(&self, snapshot: &ReadTxn<'_, S>, copy: &mut Copy<'_>) -> Result<()> {
        let shared = self.shared();
        let store = &shared.store;
        let far = copy.far;
        let Some(root) = lookup_table(store, snapshot.root(), &far.table)? else { return Ok(()) };
        if place_of(&mut Walk::new(store, None), &root, &far.key)? != Some((far.first, far.len)) {
            return Ok(());
        }
        let span = read_span(&store.source, store.file_id, store.page_size, far.first, far.len, 0..far.len)?;
        let first = PageId::new(copy.run.start).ok_or(Error::Internal("a place beyond the largest page"))?;
        shared.check_poison()?;
        let written = write_value_at(shared, first, copy.birth, &span);
        copy.to = Some(written.inspect_err(|error| shared.poison(error))?);
        Ok(())
    }

    /// Lets the entry refer to the copy, if it still has the value; whether it does.
    fn refer(&self, state: &mut WriteState, copy: &Copy<'_>) -> Result<bool> {
        let store = &self.shared().store;
        let (Some(to), Copy { far, run, birth, .. }) = (copy.to, copy) else { return Ok(false) };
        let Some(number) = state.find_table(store, &far.table)? else { return Ok(false) };
        let root = state.root(number)?;
        if place_of(&mut state.walk(store), &root, &far.key)? != Some((far.first, far.len)) {
            return Ok(false);
        }
        state.log.table(number, &far.table);
        state.insert_extent(store, number, &far.key, to, (far.len, *birth))?;
        let at = state.undone.iter().position(|undone| undone == run);
        state.undone.swap_remove(at.ok_or(Error::Internal("a value's place was lost"))?);
        state.early.add_newest(*run)?;
        Ok(true)
    }
}
