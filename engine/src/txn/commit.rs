//! Commit: to the log, and then to the readers; or, where the log has no room, by a checkpoint.
#![forbid(unsafe_code)]

use super::state::WriteState;
use super::writer::Writer;
use crate::checkpoint::{self, Candidate, Failure, LogAfter, walk_cut_subtrees};
use crate::db::counters::Counters;
use crate::db::shared::{Mode, Shared};
use crate::delta::EpochGuard;
use crate::error::{Error, Result};
use crate::free::Run;
use crate::meta::LogState;
use crate::root::{Root, TableMap, TableState};
use crate::tree::change::Dropped;
use crate::wal::{Appended, Wal};
use bifold_page_source::{PageSize, PageSource};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes the log has when it is made.
const LOG_INITIAL: u64 = 1 << 20;
/// Commits to make before a checkpoint that was refused is tried again.
const PATIENCE: u32 = 64;

impl WriteState {
    /// Commits. On `Ok` the transaction is durable and published.
    ///
    /// # Errors
    /// `OutcomeUnknown` if a write or sync of the log failed; any other means that the transaction is not committed,
    /// and then all it made has been given back.
    pub(crate) fn commit<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        if self.failed {
            return self.abort(&shared.store).and(Err(Error::TransactionFailed));
        }
        if !self.log.has_changes() {
            return self.abort(&shared.store);
        }
        if let Err(error) = self.reserve(shared) {
            self.abort(&shared.store)?;
            return Err(error);
        }
        let seq = self.writer.seq + 1;
        let logged = match self.append(shared, seq) {
            Ok(logged) => logged,
            Err(error) => {
                shared.poison(&error);
                return Err(Error::OutcomeUnknown(Arc::new(error)));
            }
        };
        if logged || shared.mode == Mode::Ephemeral {
            self.publish(shared, seq).inspect_err(|error| shared.poison(error))?;
        } else {
            self.commit_by_checkpoint(shared, seq)?;
        }
        Counters::add(&shared.counters.commits, 1);
        maintain(shared, &mut self.writer);
        Ok(())
    }

    /// Makes sure that the file has room for all that the next checkpoint will write, and that there is a log. A full
    /// disk is met here, where the transaction can still be aborted.
    fn reserve<S: PageSource>(&mut self, shared: &Shared<S>) -> Result<()> {
        let page_size = shared.store.page_size;
        let catalog = self.catalog_pages(page_size);
        let writer = &mut self.writer;
        let (mut nodes, mut values) = (writer.delta_pages + catalog, writer.value_pages);
        for id in self.changes.pages.ids() {
            match writer.descriptors.places(id) {
                1 => nodes += 1,
                places => values += places,
            }
        }
        let drops = self.changes.dropped.len() as u64 + nodes;
        let space = writer.space()?;
        let chain = space.upper_bound_pages(checkpoint::chain_capacity(page_size), drops);
        // Values want contiguous places; a run at the end that holds them all does for any order.
        let short = space.shortfall(nodes + values + chain).max(match values {
            0 => 0,
            values => space.shortfall_contiguous(values),
        });
        if short > 0 {
            // Some more, so that not every commit grows the file.
            let slack = (space.end() / 64).max((1 << 20) / page_size.bytes() as u64);
            let end = space.end();
            if shared.grow_file(end + short + slack).is_err() {
                shared.grow_file(end + short)?;
            }
            let grown = shared.store.source.len_pages().saturating_sub(end);
            space.extend(grown)?;
        }
        if shared.mode != Mode::Durable {
            return Ok(());
        }
        if short > 0 || !self.early.is_empty() {
            // The log's record will count on the file's length, and name the extents.
            let synced = shared.store.source.sync().map_err(Error::from);
            synced.inspect_err(|error| shared.poison(error))?;
        }
        if self.log.record().is_some() && writer.wal.is_none() {
            start_log(shared, writer)?;
        }
        Ok(())
    }

    /// About how many pages of the catalog the next checkpoint will write. (Where it is short, a full disk refuses that
    /// checkpoint, and nothing is lost.)
    fn catalog_pages(&self, page_size: PageSize) -> u64 {
        /// What an entry takes beside the table's name.
        const ENTRY: usize = 48;
        let before = &self.base.tables;
        let (mut count, mut bytes) = (before.changed(), before.changed_bytes());
        for table in self.tables.iter().filter(|t| t.changed) {
            if !before.is_changed(&table.name) {
                count += 1;
                bytes += table.name.len();
            }
        }
        // Leaves that are there are touched once each; new ones are at least half full, and so are branches.
        let touched = count.min(usize::try_from(self.base.catalog.len).unwrap_or(count));
        let added = 2 * (bytes + count * ENTRY) / (page_size.bytes() / 2) + 2;
        (touched + added) as u64 * 2 + u64::from(self.base.catalog.height) + 4
    }

    /// Appends the transaction to the log and makes it durable; false if there is no room, and nothing was written.
    fn append<S: PageSource>(&mut self, shared: &Shared<S>, seq: u64) -> Result<bool> {
        if shared.mode == Mode::Ephemeral {
            return Ok(false);
        }
        let (Some(record), Some(wal)) = (self.log.record(), &mut self.writer.wal) else { return Ok(false) };
        match wal.append(seq, &[record]) {
            Ok(Appended::Yes) => {}
            // No room, or none to grow on the disk: a checkpoint takes less.
            Ok(Appended::Full) | Err(Error::DiskFull { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        wal.sync()?;
        Counters::add(&shared.counters.log_bytes, record.len() as u64);
        Counters::add(&shared.counters.log_syncs, 1);
        Ok(true)
    }

    /// The tables as they are after this transaction.
    fn tables_after(&self) -> TableMap {
        let mut tables = self.base.tables.clone();
        for table in self.tables.iter().filter(|t| t.changed) {
            let state = table.root.map_or(TableState::Dropped, TableState::Changed);
            tables.set(&table.name, state);
        }
        tables
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
            self.writer.delta_bytes += image.bytes().len() as u64;
            match self.writer.descriptors.places(id) {
                1 => self.writer.delta_pages += 1,
                places => self.writer.value_pages += places,
            }
            self.writer.descriptors.born[id as usize] = seq;
            slab.publish(id, image);
            made.push(id);
        }
        made
    }

    /// What the transaction leaves to be noted once it is committed.
    fn take_leavings(&mut self, seq: u64) -> Leavings {
        Leavings {
            seq,
            dropped: std::mem::take(&mut self.changes.dropped),
            early: std::mem::take(&mut self.early),
            undone: std::mem::take(&mut self.undone),
        }
    }

    /// Publishes a commit that the log holds already, and gives the writer on.
    pub(crate) fn replayed<S: PageSource>(mut self, shared: &Shared<S>, seq: u64) -> Result<Box<Writer>> {
        self.publish(shared, seq)?;
        self.abort(&shared.store)?;
        self.writer.sweep_retired(&shared.store.slab, &shared.registry, false);
        Ok(self.writer)
    }

    fn publish<S: PageSource>(&mut self, shared: &Shared<S>, seq: u64) -> Result<()> {
        let tables = self.tables_after();
        self.hand_over(shared, seq);
        self.take_leavings(seq).settle(shared, &mut self.writer)?;
        self.writer.seq = seq;
        let base = self.base.base;
        let catalog = self.base.catalog;
        shared.registry.publish(Arc::new(Root { seq, base, catalog, tables }));
        Ok(())
    }

    /// Commits a transaction that is too large for the log: it is durable when the checkpoint is.
    fn commit_by_checkpoint<S: PageSource>(&mut self, shared: &Shared<S>, seq: u64) -> Result<()> {
        let candidate = Candidate {
            seq,
            catalog: self.base.catalog,
            tables: self.tables_after(),
            dropped: self.changes.dropped.len(),
        };
        let counts = (self.writer.delta_bytes, self.writer.delta_pages, self.writer.value_pages);
        let made = self.hand_over(shared, seq);
        let mut leavings = self.take_leavings(seq);
        let ready = &mut |writer: &mut Writer| std::mem::take(&mut leavings).settle(shared, writer);
        match checkpoint::run(shared, &mut self.writer, &candidate, LogAfter::Live, ready) {
            Ok(()) => Ok(()),
            Err(Failure::Refused(error)) => {
                // Nothing was written and nothing noted: the transaction is aborted.
                for id in made {
                    self.writer.descriptors.ids.free(&shared.store.slab, id);
                }
                (self.writer.delta_bytes, self.writer.delta_pages, self.writer.value_pages) = counts;
                (self.early, self.undone) = (leavings.early, leavings.undone);
                self.abort(&shared.store)?;
                Err(error)
            }
            Err(Failure::Fatal(error)) => {
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
    fn settle<S: PageSource>(self, shared: &Shared<S>, writer: &mut Writer) -> Result<()> {
        for run in self.undone {
            writer.space()?.give_back(run)?;
        }
        for run in self.early {
            writer.early.insert(run.start, run);
        }
        for dropped in self.dropped {
            match dropped {
                Dropped::Delta(id) => {
                    let image = shared.store.slab.pin(id, &EpochGuard::enter());
                    let image = image.ok_or(Error::Internal("a dropped page was not in the delta"))?;
                    writer.retire(image.bytes().len() as u64, id, self.seq);
                }
                other => writer.drop_on_file(&other)?,
            }
        }
        Ok(())
    }
}

/// Makes the log, and says in the meta page that it is live, before anything in it counts.
fn start_log<S: PageSource>(shared: &Shared<S>, writer: &mut Writer) -> Result<()> {
    let mut meta = writer.meta.next();
    let log_id = xxh3_64_with_seed(&meta.number.to_le_bytes(), shared.store.file_id);
    let max = shared.limits.log_bytes;
    let created = Wal::create(&*shared.fs, &shared.log_path(), log_id, LOG_INITIAL.min(max), max);
    let mut wal = created.inspect_err(|error| {
        // A sync that failed is not tried again, not even on another file.
        if !matches!(error, Error::DiskFull { .. }) {
            shared.poison(error);
        }
    })?;
    meta.log = LogState::Live(wal.position()?);
    checkpoint::write_meta(shared, &meta).inspect_err(|error| shared.poison(error))?;
    writer.meta = meta;
    writer.wal = Some(wal);
    Ok(())
}

/// After a commit: a checkpoint if delta or log have grown to half their bound, and what is due of tidying up. The
/// commit is durable already, so an error here is not its error.
pub(crate) fn maintain<S: PageSource>(shared: &Shared<S>, writer: &mut Writer) {
    writer.sweep_retired(&shared.store.slab, &shared.registry, false);
    let log_live = writer.wal.as_ref().map_or(0, Wal::live_bytes);
    // Space that only a checkpoint can free.
    let (waiting, end) = writer.space.as_ref().map_or((0, 0), |s| (s.awaiting_pages(), s.end()));
    let waiting_bytes = waiting * shared.store.page_size.bytes() as u64;
    let due = writer.delta_bytes >= shared.limits.delta_bytes / 2
        || log_live >= shared.limits.log_bytes / 2
        || waiting_bytes > shared.limits.delta_bytes && waiting > end / 8;
    writer.patience = writer.patience.saturating_sub(1);
    if due
        && writer.patience == 0
        && let Err(error) = checkpoint_now(shared, writer, LogAfter::Live)
    {
        tracing::warn!(%error, "a checkpoint failed");
        writer.patience = PATIENCE;
    }
    if let Err(error) = walk_cut_subtrees(shared, writer) {
        // A damaged page below a cut: its space stays unused, and nothing else is wrong.
        tracing::warn!(%error, "a subtree that was cut off cannot be walked");
    }
    gauges(shared, writer);
}

/// After a transaction that was too large: what others had left in the delta goes, so that one that fits alone has
/// room when it is tried again.
pub(crate) fn make_room<S: PageSource>(shared: &Shared<S>, writer: &mut Writer) {
    if writer.delta_bytes > 0
        && let Err(error) = checkpoint_now(shared, writer, LogAfter::Live)
    {
        tracing::warn!(%error, "a checkpoint failed");
    }
    gauges(shared, writer);
}

/// Checkpoints what is committed.
pub(crate) fn checkpoint_now<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    log_after: LogAfter,
) -> Result<()> {
    shared.check_poison()?;
    let root = shared.registry.current();
    let candidate =
        Candidate { seq: root.seq, catalog: root.catalog, tables: root.tables.clone(), dropped: 0 };
    match checkpoint::run(shared, writer, &candidate, log_after, &mut |_| Ok(())) {
        Ok(()) => Ok(()),
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Fatal(error) | Failure::Unknown(error)) => {
            shared.poison(&error);
            Err(error)
        }
    }
}

/// Brings the gauges of `stats` up to date.
pub(crate) fn gauges<S: PageSource>(shared: &Shared<S>, writer: &Writer) {
    let counters = &shared.counters;
    Counters::set(&counters.delta_bytes, writer.delta_bytes);
    Counters::set(&counters.log_live_bytes, writer.wal.as_ref().map_or(0, Wal::live_bytes));
    if let Some(space) = &writer.space {
        Counters::set(&counters.free_pages, space.free_pages());
        Counters::set(&counters.pinned_pages, space.pinned_pages());
    }
}
