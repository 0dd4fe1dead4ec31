//! What the disk does without a store, by the calls that a store would make.
#![forbid(unsafe_code)]

use super::contest::{Contestant, Outcome};
use super::workload::{Kind, Workload};
use super::{Options, disk, drive};
use crate::limits::file::incompressible;
use crate::limits::sync::Overwrites;
use crate::{Durability, Result, data};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// For unsynced work: the entries' bytes written in order, with one `fdatasync` at the end. For durable commits: a
/// loop of one write into a file that has been written before, of the commit's entries rounded up to 512 bytes, and
/// `fdatasync`; with several threads, one commit of each shares a sync.
pub(super) struct Disk<'o> {
    options: &'o Options,
    dir: PathBuf,
}

impl<'o> Disk<'o> {
    pub(super) fn new(options: &'o Options) -> Self {
        Self { options, dir: options.dir.join("disk") }
    }

    fn in_order(&self, outcome: &mut Outcome) -> Result<()> {
        let piece = incompressible();
        let bytes = data::bytes(self.options.entries).next_multiple_of(piece.len() as u64);
        let start = Instant::now();
        let mut file = File::create(self.dir.join("order"))?;
        for _ in 0..bytes / piece.len() as u64 {
            file.write_all(&piece)?;
        }
        outcome.run = start.elapsed();
        let start = Instant::now();
        file.sync_data()?;
        outcome.finish = start.elapsed();
        outcome.puts = bytes / data::bytes(1);
        Ok(())
    }

    fn durable(&self, workload: &Workload, outcome: &mut Outcome) -> Result<()> {
        let commits = workload.threads;
        let record = (data::bytes(commits * workload.batch) as usize).next_multiple_of(512);
        let mut disk = Overwrites::new(&self.dir, record)?;
        let (start, time) = (Instant::now(), self.options.time(workload));
        while start.elapsed() < time {
            drive::record(&mut outcome.latency, disk.step()?);
            outcome.commits += commits;
        }
        outcome.run = start.elapsed();
        outcome.puts = outcome.commits * workload.batch;
        Ok(())
    }
}

impl Contestant for Disk<'_> {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn synced(&self) -> Option<&'static str> {
        Some("a bare loop of one write, over what was written before, and fdatasync")
    }

    fn unsynced(&self) -> Option<&'static str> {
        Some("the entries' bytes written in order, and one fdatasync")
    }

    fn run(&mut self, workload: &Workload, _round: u64) -> Result<Option<Outcome>> {
        if !matches!(workload.kind, Kind::Load | Kind::Insert | Kind::Overwrite) || workload.once {
            return Ok(None);
        }
        fs::create_dir_all(&self.dir)?;
        let before = disk::Bytes::synced(&self.dir)?;
        let mut outcome = Outcome::new();
        match workload.durability {
            Durability::Synced => self.durable(workload, &mut outcome)?,
            Durability::Unsynced => self.in_order(&mut outcome)?,
        }
        outcome.written = disk::Bytes::synced(&self.dir)?.since(before);
        self.clear()?;
        Ok(Some(outcome))
    }

    fn verify(&mut self) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        Ok(())
    }
}
