//! Making the log durable: syncs begun and ended.
//!
//! A sync is begun and ended where the log is guarded, and run in between, where it is not. It either syncs what has
//! been written, or has taken the buffer with it and writes it durably itself. In that case the operating system
//! has the records only when it ends, and until then their sectors belong to it, whatever is retired.
#![forbid(unsafe_code)]

use super::choice::{Choice, Means, SyncMethod};
use super::format::SECTOR;
use super::log::Wal;
use super::pending::{PendingSync, UnderWay, Work};
use crate::error::{Error, Result};
use std::time::Duration;

impl Wal {
    /// Says how the log is to be made durable, from the next sync on. Unless it is told, it finds out.
    pub(crate) fn set_sync_method(&mut self, method: SyncMethod) {
        self.choice = Choice::new(method);
    }

    /// How it is made durable: `fdatasync` or `RWF_DSYNC`; `None` as long as it finds out.
    pub(crate) fn sync_method(&self) -> Option<&'static str> {
        self.choice.name()
    }

    /// Writes the buffer and makes everything appended so far durable.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Poisoned`] ever after: whether the records are durable is unknown.
    #[cfg(test)]
    pub(crate) fn sync(&mut self) -> Result<()> {
        let pending = self.begin_sync()?;
        let result = pending.run();
        self.end_sync(pending, result, None)
    }

    /// Takes the buffer, and returns the sync that makes everything appended so far durable. Records may be appended
    /// and written while it runs, and the log may be retired beyond them.
    ///
    /// # Errors
    /// As [`write`](Self::write). [`Error::Internal`] if a sync is under way.
    pub(crate) fn begin_sync(&mut self) -> Result<PendingSync> {
        self.check_poison()?;
        if self.under_way.is_some() {
            return Err(Error::Internal("a sync of the log was begun while another was under way"));
        }
        let sectors = self.batch.sectors();
        if sectors > 0 {
            self.settle()?;
        }
        // A durable write makes only its own bytes durable, in one piece: with anything else there is no choice.
        let free = self.taken == self.durable && sectors > 0 && sectors <= self.ring.end - self.at.sector;
        let means = free.then(|| self.choice.next());
        let from = self.at;
        let work = if means == Some(Means::Dsync) {
            self.batch.seal(self.log_id, 0, sectors, from, 0);
            self.advance(sectors);
            let batch = std::mem::replace(&mut self.batch, std::mem::take(&mut self.spare));
            Work::Write { batch, offset: from.sector * SECTOR as u64 }
        } else {
            self.write()?;
            if self.taken == self.durable { Work::Nothing } else { Work::Sync }
        };
        let writes_from = matches!(work, Work::Write { .. }).then_some(from);
        self.under_way = Some(UnderWay { writes_from, handed: None, retire_to: None });
        let (file, last_seq, taken) = (self.file.clone(), self.last_seq, self.taken);
        Ok(PendingSync { file, work, means, last_seq, taken })
    }

    /// Takes note of how a sync went, and returns it. `took` is how long [`run`](PendingSync::run) did, if that was
    /// measured: by the first of them the method is chosen.
    ///
    /// # Errors
    /// That of the sync; then [`Error::Poisoned`] ever after.
    pub(crate) fn end_sync(
        &mut self,
        pending: PendingSync,
        result: Result<()>,
        took: Option<Duration>,
    ) -> Result<()> {
        debug_assert!(self.under_way.is_some(), "ended without having begun");
        let meanwhile = self.under_way.take();
        self.poison_on(result)?;
        // Another sync of this file may have been told of what went wrong with this one.
        self.check_poison()?;
        self.durable = self.durable.max(pending.taken);
        self.handed_over = self.handed_over.max(pending.last_seq);
        if let Some(UnderWay { handed, retire_to, .. }) = meanwhile {
            self.handed_over = self.handed_over.max(handed);
            if let Some(position) = retire_to {
                self.free_to(position)?;
            }
        }
        if let (Some(means), Some(took)) = (pending.means, took) {
            self.choice.note(means, took);
        }
        match pending.work {
            Work::Nothing => return Ok(()),
            Work::Sync => {}
            Work::Write { mut batch, .. } => {
                batch.clear();
                self.spare = batch;
                self.stats.dsyncs += 1;
            }
        }
        self.stats.syncs += 1;
        Ok(())
    }
}
