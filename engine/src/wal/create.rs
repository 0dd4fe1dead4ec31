//! Making a log's file, and lengthening it: sectors of lap 0, and the heads.
#![forbid(unsafe_code)]

use super::format::{BACK_UNKNOWN, Head, SECTOR, VERSION, seal_sector};
use super::position::{FIRST, Ring};
use crate::error::{Error, Result};
use bifold_page_source::{File, FileSystem};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// How much is written in one call, in sectors (256 KiB).
const SECTORS_PER_WRITE: u64 = 512;

/// Creates the file under its name, with every sector whole and unused, and makes both durable.
pub(super) fn create_file(
    fs: &dyn FileSystem,
    path: &Path,
    log_id: u64,
    ring: Ring,
) -> Result<Arc<dyn File>> {
    let create = || fs.create_new(path);
    let file = match create() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs.unlink(path).map_err(|e| Error::io("unlink", 0, e))?;
            create()
        }
        result => result,
    };
    let file = file.map_err(|e| Error::io("create", 0, e))?;
    let filled = fill(&*file, log_id, ring)
        .and_then(|()| fs.sync_dir(path).map_err(|e| Error::io("sync directory", 0, e)));
    if let Err(error) = filled {
        // Nothing refers to the file: if it stays, the next creation removes it.
        let _ = fs.unlink(path);
        return Err(error);
    }
    Ok(file)
}

fn fill(file: &dyn File, log_id: u64, ring: Ring) -> Result<()> {
    let bytes = ring.end * SECTOR as u64;
    match file.allocate(0, bytes) {
        Err(e) if Error::is_full(&e) => return Err(Error::DiskFull { wanted: bytes }),
        result => result.map_err(|e| Error::io("grow", 0, e))?,
    }
    write_unused(file, log_id, FIRST, ring.end)?;
    // Nothing refers to the file yet, so one sync does for all of it.
    write_head(file, log_id, ring, 1)?;
    write_head(file, log_id, ring, 0)?;
    sync(file)
}

/// Writes sectors of lap 0 from `from` up to `end`.
pub(super) fn write_unused(file: &dyn File, log_id: u64, from: u64, end: u64) -> Result<()> {
    let mut buffer = Vec::new();
    let mut first = from;
    while first < end {
        let count = (end - first).min(SECTORS_PER_WRITE);
        buffer.clear();
        for number in first..first + count {
            let mut sector = [0; SECTOR];
            seal_sector(&mut sector, log_id, number, 0, 0, BACK_UNKNOWN);
            buffer.extend_from_slice(&sector);
        }
        let offset = first * SECTOR as u64;
        file.write_at(&buffer, offset).map_err(|e| Error::io("write", offset, e))?;
        first += count;
    }
    Ok(())
}

/// Writes the copy of the head and syncs, then the head and syncs: one of the two is whole at any time.
pub(super) fn write_heads(file: &dyn File, log_id: u64, ring: Ring) -> Result<()> {
    for number in [1, 0] {
        write_head(file, log_id, ring, number)?;
        sync(file)?;
    }
    Ok(())
}

/// Writes the head (0) or its copy (1).
fn write_head(file: &dyn File, log_id: u64, ring: Ring, number: u64) -> Result<()> {
    let head = Head { version: VERSION, log_id, end: ring.end };
    let offset = number * SECTOR as u64;
    file.write_at(&head.encode(number), offset).map_err(|e| Error::io("write", offset, e))
}

fn sync(file: &dyn File) -> Result<()> {
    file.sync().map_err(|e| Error::io("sync", 0, e))
}
