//! A sync on its way: what it has to do, and what the log remembers of it meanwhile.
#![forbid(unsafe_code)]

use super::batch::Batch;
use super::choice::Means;
use super::position::Position;
use crate::error::{Error, Result};
use bifold_page_source::File;
use std::sync::Arc;

/// What is left to be done to make records durable.
#[derive(Debug)]
pub(super) enum Work {
    /// Nothing: they are.
    Nothing,
    /// They have been handed to the system.
    Sync,
    /// They are still to be written, at this byte of the file.
    Write { batch: Batch, offset: u64 },
}

/// A sync of everything appended before it was begun. [`run`](Self::run) it once, where no lock is held, and give it
/// back to [`Wal::end_sync`](super::Wal::end_sync), whatever came of it and before the log is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct PendingSync {
    pub(super) file: Arc<dyn File>,
    pub(super) work: Work,
    /// The method used, if there was a choice.
    pub(super) means: Option<Means>,
    pub(super) last_seq: Option<u64>,
    /// Sectors taken from the buffer when it was begun.
    pub(super) taken: u64,
}

impl PendingSync {
    /// Makes the records durable.
    ///
    /// # Errors
    /// [`Error::Io`]: whether they are durable is then unknown, and it must not be tried again.
    pub(crate) fn run(&self) -> Result<()> {
        match &self.work {
            Work::Nothing => Ok(()),
            Work::Sync => self.file.sync().map_err(|e| Error::io("sync", 0, e)),
            Work::Write { batch, offset } => {
                let written = self.file.write_at_durably(batch.bytes(), *offset);
                written.map_err(|e| Error::io("write", *offset, e))
            }
        }
    }

    /// The last record it covers; `None` if there is none since the log was opened or found superfluous to its end.
    #[cfg(test)]
    pub(crate) fn last_seq(&self) -> Option<u64> {
        self.last_seq
    }
}

/// What the log remembers of a sync that is under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    /// Where the sectors begin that it writes itself. They must not be given to other records before it ends: it may
    /// come to write them late.
    pub(super) writes_from: Option<Position>,
    /// The last record that was handed to the system meanwhile, behind sectors that perhaps are not.
    pub(super) handed: Option<u64>,
    /// What has become superfluous meanwhile, beyond `writes_from`.
    pub(super) retire_to: Option<Position>,
}
