//! Commit: to the log, and then to the readers; or, where the log has no room, by a checkpoint.
#![forbid(unsafe_code)]

use super::state::WriteState;
use super::writer::Writer;
use crate::checkpoint::{self, Candidate, Failure, OpenCommit};
use crate::db::counters::Counters;
use crate::db::shared::{Mode, Shared};
use crate::durability::Durability;
use crate::error::{Error, Result};
use crate::free::Run;
use crate::group::Logged;
use crate::meta::LogState;
use crate::root::{Root, TableState};
use crate::tree::change::Dropped;
use crate::wal::Wal;
use bifold_page_source::{PageId, PageSource};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes the log has when it is made.
const LOG_INITIAL: u64 = 1 << 20;

/// What is left to do once the writer's gate is open again.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub(crate) struct AfterCommit {
    /// The commit's number, or that of the newest if the transaction changed nothing.
    pub(crate) seq: u64,
    /// The background has something to do.
    wake: bool,
}

impl AfterCommit {
    /// Tells the background.
    pub(crate) fn wake<S: PageSource>(self, shared: &Shared<S>) {
        if self.wake {
            shared.wake_checkpointer();
        }
    }
}

impl WriteState {
    /// Commits. On `Ok` the transaction is the newest commit; it has the durability asked for, but for
    /// [`Durability::Sync`], which is to be waited for when the gate is open again.
    ///
    /// # Errors
    /// `OutcomeUnknown` if a write of the log failed; any other means that the transaction is not committed, and then
    /// all it made has been given back.
    pub(crate) fn commit<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        durability: Durability,
    ) -> Result<AfterCommit> {
        if self.failed {
            return self.abort(&shared.store).and(Err(Error::TransactionFailed));
        }
        if !self.log.has_changes() {
            self.abort(&shared.store)?;
            return Ok(AfterCommit { seq: self.writer.seq, wake: false });
        }
        let span = tracing::trace_span!("commit", pages = self.changes.pages.mark(), record = self.log.len());
        let _entered = span.enter();
        let begun = shared.background.now();
        if let Err(error) = self.prepare(shared) {
            self.abort(&shared.store)?;
            return Err(error);
        }
        let reserved = shared.background.now();
        let (put_bytes, bytes) = (self.log.put_bytes(), self.changes.pages.bytes());
        let seq = self.writer.seq + 1;
        let made = self.hand_over(shared, seq);
        let mut open =
            OpenCommit { changed: self.changed_tables(), dropped: std::mem::take(&mut self.changes.dropped) };
        if !self.log_or_publish(shared, seq, durability, &mut open)? {
            self.commit_by_checkpoint(shared, seq, open, &made)?;
        }
        let writer = &mut self.writer;
        let swept = writer.sweep_retired(&shared.store.slab, &shared.registry, false);
        // The commit is made: what is wrong with the books is the next writer's error.
        let _ = swept.inspect_err(|error| shared.poison(error));
        gauges(shared, writer);
        let wake = shared.note_commit(writer, bytes);
        let appended = shared.background.now().saturating_sub(reserved);
        shared.counters.committed(put_bytes, reserved.saturating_sub(begun), appended);
        Ok(AfterCommit { seq, wake })
    }

    /// Sees to all that must be there before the record is: room on file for the next checkpoint, the extents that the
    /// record names, and a log. A full disk is met here, where the transaction can still be aborted.
    fn prepare<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        self.check_drops()?;
        self.reserve(shared)?;
        if shared.mode != Mode::Durable || self.log.record().is_none() {
            return Ok(());
        }
        let writer = &mut self.writer;
        if writer.grown || !self.early.is_empty() {
            // The log's record will count on the file's length, and name the extents.
            let synced = shared.store.source.sync().map_err(Error::from);
            synced.inspect_err(|error| shared.poison(error))?;
            writer.grown = false;
        }
        if shared.group.has_wal() { Ok(()) } else { start_log(shared, writer) }
    }

    /// Looks whether what was dropped can be: a damaged file may refer to a page twice, or to one that is free. That is
    /// to be found while the transaction can still be aborted.
    fn check_drops(&mut self) -> Result<()> {
        let page_size = self.writer.meta.page_size;
        let space = self.writer.space()?;
        let mut runs = Vec::with_capacity(self.changes.dropped.len());
        for dropped in &self.changes.dropped {
            let run = match *dropped {
                Dropped::Delta(_) => continue,
                Dropped::Page(page, _) => Run::new(page.get(), 1),
                Dropped::Extent(first, len, _) => {
                    let (header, data) = crate::extent::pages_for(len, page_size);
                    Run::new(first.get(), header + data)
                }
                Dropped::Subtree { root, .. } => Run::new(root.page().get(), 1),
            };
            let cut = matches!(*dropped, Dropped::Subtree { root, .. } if space.is_cut(root));
            if cut || !space.is_in_use(run) {
                return Err(twice(run));
            }
            runs.push(run);
        }
        runs.sort_unstable();
        match runs.windows(2).find(|pair| pair[0].end() > pair[1].start) {
            Some(pair) => Err(twice(pair[1])),
            None => Ok(()),
        }
    }

    /// Makes the transaction the newest commit, with a record in the log where there is one. `false` if the log has no
    /// room for it.
    fn log_or_publish<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        seq: u64,
        durability: Durability,
        open: &mut OpenCommit,
    ) -> Result<bool> {
        let unknown = |error| Error::OutcomeUnknown(Arc::new(error));
        if shared.mode == Mode::Ephemeral {
            let root = self.next_root(seq, &open.changed);
            shared.group.publish_unlogged(&shared.registry, Arc::clone(&root));
            self.settle(shared, root, std::mem::take(&mut open.dropped)).map_err(unknown)?;
            return Ok(true);
        }
        let Some(record) = self.log.record() else { return Ok(false) };
        for attempt in 0..2 {
            let root = self.next_root(seq, &open.changed);
            let logged = shared.log_commit(&root, record, durability).map_err(|error| {
                shared.poison(&error);
                unknown(error)
            })?;
            match logged {
                Logged::Yes => {
                    self.settle(shared, root, std::mem::take(&mut open.dropped)).map_err(unknown)?;
                    return Ok(true);
                }
                // The checkpoint under way, if there is one, gives room back when it counts.
                Logged::Full if attempt == 0 && self.writer.under_way.is_some() => {
                    if let Err(error) = shared.finish_job(&mut self.writer, Some(open)) {
                        tracing::warn!(%error, "a checkpoint failed");
                        shared.check_poison()?;
                    }
                }
                Logged::Full => break,
            }
        }
        Ok(false)
    }

    /// The tables that this transaction has changed, as they are after it.
    fn changed_tables(&self) -> Vec<(Arc<str>, TableState)> {
        let changed = self.tables.iter().filter(|t| t.changed);
        changed
            .map(|t| (Arc::clone(&t.name), t.root.map_or(TableState::Dropped, TableState::Changed)))
            .collect()
    }

    /// The root that this transaction makes of the newest.
    fn next_root(&self, seq: u64, changed: &[(Arc<str>, TableState)]) -> Arc<Root> {
        let Root { base, catalog, ref tables, .. } = *self.writer.newest;
        let mut tables = tables.clone();
        for (name, state) in changed {
            tables.set(name, *state);
        }
        Arc::new(Root { seq, base, catalog, tables })
    }

    /// Hands the transaction's pages over to the delta; returns their descriptors.
    fn hand_over<S: PageSource>(&mut self, shared: &Shared<S>, seq: u64) -> Vec<u32> {
        let slab = &shared.store.slab;
        let (pages, ids) = (&mut self.changes.pages, &mut self.writer.descriptors.ids);
        self.changes.dropped.retain(|dropped| match *dropped {
            // What it made itself, before a savepoint, nobody else has seen.
            Dropped::Delta(id) if pages.get(id).is_some() => {
                pages.free(ids, slab, id);
                false
            }
            _ => true,
        });
        let mut made = Vec::new();
        for (id, image) in self.changes.pages.take() {
            self.writer.delta.add(image.bytes().len() as u64, self.writer.descriptors.places(id));
            self.writer.descriptors.born[id as usize] = seq;
            slab.publish(id, image);
            made.push(id);
        }
        made
    }

    /// Publishes a commit that the log holds already, and gives the writer on.
    pub(crate) fn replayed<S: PageSource>(mut self, shared: &Shared<S>, seq: u64) -> Result<Box<Writer>> {
        self.hand_over(shared, seq);
        let root = self.next_root(seq, &self.changed_tables());
        shared.group.publish_unlogged(&shared.registry, Arc::clone(&root));
        let dropped = std::mem::take(&mut self.changes.dropped);
        self.settle(shared, root, dropped)?;
        self.abort(&shared.store)?;
        self.writer.sweep_retired(&shared.store.slab, &shared.registry, false)?;
        Ok(self.writer)
    }

    /// `root` is the newest commit: notes what the transaction leaves. An error is a fault of ours, and poisons.
    fn settle<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        root: Arc<Root>,
        dropped: Vec<Dropped>,
    ) -> Result<()> {
        let (seq, first) = (root.seq, self.writer.begun + 1);
        self.writer.newest = root;
        self.writer.seq = seq;
        let leavings = self.take_leavings(seq, dropped);
        leavings.settle(&mut self.writer, first).inspect_err(|error| shared.poison(error))
    }

    /// What the transaction leaves to be noted once it is committed.
    fn take_leavings(&mut self, seq: u64, dropped: Vec<Dropped>) -> Leavings {
        let early = self.early.take();
        Leavings { seq, dropped, early, undone: std::mem::take(&mut self.undone) }
    }

    /// Commits a transaction that is too large for the log: it is durable when the checkpoint is.
    fn commit_by_checkpoint<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        seq: u64,
        mut open: OpenCommit,
        made: &[u32],
    ) -> Result<()> {
        let finished = shared.finish_job(&mut self.writer, Some(&mut open));
        let begun = finished.map_err(Failure::Refused).and_then(|()| {
            let root = self.next_root(seq, &open.changed);
            let unnoted = open.dropped.len() + self.early.runs() as usize;
            let (catalog, tables) = (root.catalog, root.tables.clone());
            let candidate = Candidate { seq, catalog, tables, unnoted };
            shared.begin_candidate(&mut self.writer, candidate)?;
            Ok(root)
        });
        let root = match begun {
            Ok(root) => root,
            Err(Failure::Refused(error)) => {
                shared.check_poison()?;
                // Nothing was written and nothing noted: the transaction is aborted.
                for id in made {
                    self.writer.descriptors.ids.free(&shared.store.slab, *id);
                }
                self.writer.delta = self.writer.delta.minus(self.writer.sum(made));
                self.abort(&shared.store)?;
                return Err(error);
            }
            Err(Failure::Fatal(error) | Failure::Unknown(error)) => {
                shared.poison(&error);
                return Err(error);
            }
        };
        let number = self.writer.begun;
        self.writer.newest = root;
        self.writer.seq = seq;
        let leavings = self.take_leavings(seq, open.dropped);
        let settled = leavings.settle(&mut self.writer, number);
        let settled = settled.and_then(|()| checkpoint::mark_reached(&mut self.writer));
        settled.inspect_err(|error| shared.poison(error))?;
        match shared.finish_candidate(&mut self.writer) {
            Ok(()) => Ok(()),
            Err(Failure::Refused(error) | Failure::Fatal(error)) => {
                shared.poison(&error);
                Err(error)
            }
            Err(Failure::Unknown(error)) => {
                shared.poison(&error);
                Err(Error::OutcomeUnknown(Arc::new(error)))
            }
        }
    }
}

/// Damage: a page that the transaction dropped has another use as well.
#[cold]
fn twice(run: Run) -> Error {
    let page = PageId::new(run.start).unwrap_or_default();
    Error::page(page, "it is referred to, and is free or referred to from elsewhere as well")
}

/// What a committed transaction leaves behind, to be noted by the writer.
#[derive(Debug, Default)]
struct Leavings {
    seq: u64,
    dropped: Vec<Dropped>,
    /// Extents it wrote.
    early: Vec<Run>,
    /// Extents it wrote and undid.
    undone: Vec<Run>,
}

impl Leavings {
    /// Notes it; `first` is the first checkpoint that does not reach what was dropped.
    fn settle(self, writer: &mut Writer, first: u64) -> Result<()> {
        for run in self.undone {
            writer.space()?.give_back(run)?;
        }
        for run in self.early {
            writer.early.insert(run.start, run);
        }
        for dropped in self.dropped {
            match dropped {
                Dropped::Delta(id) => writer.retire(id, self.seq),
                other => writer.drop_on_file(&other, first)?,
            }
        }
        Ok(())
    }
}

/// Makes the log, and says in the meta page that it is live, before anything in it counts. Where the disk has no room for
/// one, there is none, and commits are made by checkpoints.
fn start_log<S: PageSource>(shared: &Shared<S>, writer: &mut Writer) -> Result<()> {
    let mut meta = writer.meta.next();
    let log_id = xxh3_64_with_seed(&meta.number.to_le_bytes(), shared.store.file_id);
    let max = shared.limits.log_bytes;
    let mut wal = match Wal::create(&*shared.fs, &shared.log_path(), log_id, LOG_INITIAL.min(max), max) {
        Ok(wal) => wal,
        Err(error) if is_refused_for_room(&error) => {
            tracing::warn!(%error, "no log can be made: the commit is made by a checkpoint");
            return Ok(());
        }
        Err(error) => {
            // A sync that failed is not tried again, not even on another file.
            shared.poison(&error);
            return Err(error);
        }
    };
    wal.set_sync_method(shared.limits.sync_method);
    meta.log = LogState::Live(wal.position()?);
    checkpoint::write_meta(shared, &meta).inspect_err(|error| shared.poison(error))?;
    writer.meta = meta;
    shared.group.start(wal);
    Ok(())
}

/// Whether making a file failed for want of room, and before anything of it was to be durable.
fn is_refused_for_room(error: &Error) -> bool {
    match error {
        Error::DiskFull { .. } => true,
        Error::Io { op: "create" | "write", source, .. } => Error::is_full(source),
        _ => false,
    }
}

/// Brings the gauges of `stats` up to date.
pub(crate) fn gauges<S: PageSource>(shared: &Shared<S>, writer: &Writer) {
    let counters = &shared.counters;
    Counters::set(&counters.delta_bytes, writer.delta_bytes());
    Counters::set(&counters.log_live_bytes, shared.group.log_bytes().0);
    if let Some(space) = &writer.space {
        Counters::set(&counters.free_pages, space.free_pages());
        Counters::set(&counters.pinned_pages, space.pinned_pages() + writer.kept_pages);
    }
}
