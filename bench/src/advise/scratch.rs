//! A copy of the user's database, for runs that write: the database itself is never written.
//!
//! It is a copy of the file as it is, free pages and all, and not a backup, which would be a tidier file than the one that
//! is asked about. The table is given the name that stores of the harness have, so that what runs on a loaded store
//! runs on this one.
#![forbid(unsafe_code)]

use super::facts::Facts;
use crate::Result;
use crate::cell::Interrupt;
use crate::stores::bifold::{FILE, TABLE};
use bifold::pool;
use rustix::fs::statvfs;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Bytes that are copied between two looks whether to stop.
const STEP: u64 = 64 << 20;
/// Bytes of the part that is copied to see how long it takes.
const PART: u64 = 32 << 20;
/// Bytes of cache to open the files with.
const CACHE: u64 = 8 << 20;
/// The most that the copy may come to, for each byte of the file: pages are written elsewhere before those that they
/// replace are free. And its log beside it.
const GROWTH: u64 = 2;
const LOG: u64 = 512 << 20;

/// Seconds that a copy of the database of `facts` to `parent` takes, about: as its first part does, which is copied and
/// synced for that to a file without a name. A disk that takes its first bytes into a cache is slower than that with
/// many.
///
/// # Errors
/// See [`Scratch::of`].
pub(super) fn copy_seconds(facts: &Facts, parent: Option<&Path>) -> Result<f64> {
    let parent = checked(facts, parent)?;
    let (from, mut to) = (File::open(&facts.path)?, tempfile::tempfile_in(&parent)?);
    let begun = Instant::now();
    let copied = io::copy(&mut from.take(PART), &mut to)?;
    to.sync_all()?;
    Ok(whole_seconds(facts.file_bytes, copied, begun.elapsed()))
}

/// Seconds for `bytes`, if a `part` of them took so long.
fn whole_seconds(bytes: u64, part: u64, took: Duration) -> f64 {
    took.as_secs_f64() * (bytes as f64 / part.max(1) as f64).max(1.0)
}

/// The directory in which a copy of the database of `facts` is made, which has room for it.
fn checked(facts: &Facts, parent: Option<&Path>) -> Result<PathBuf> {
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_owned);
    let stat = statvfs(&parent)?;
    room(facts.file_bytes, stat.f_bavail.saturating_mul(stat.f_frsize), &parent)?;
    Ok(parent)
}

/// The copy. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch(TempDir);

impl Scratch {
    /// Copies the database of `facts` into a new directory in `parent`, the current one by default; `None` if the user
    /// ended it.
    ///
    /// # Errors
    /// If there is no room, in words; if somebody writes the database; I/O errors.
    pub(super) fn of(facts: &Facts, parent: Option<&Path>, interrupt: &Interrupt) -> Result<Option<Self>> {
        let parent = checked(facts, parent)?;
        let dir = tempfile::Builder::new().prefix("bifold-bench-").tempdir_in(&parent)?;
        let options = || pool::Database::builder().backend(pool::Options::new().cache_size(CACHE));
        // As long as this is open nobody writes it.
        let theirs = options().read_only().open(&facts.path)?;
        let copy = dir.path().join(FILE);
        let whole = copy_file(&facts.path, &copy, interrupt)?;
        drop(theirs);
        if !whole {
            return Ok(None);
        }
        let db = options().create(false).open(&copy)?;
        adopt(&db, &facts.table)?;
        db.close()?;
        Ok(Some(Self(dir)))
    }

    /// Where it lies: the directory of a store of Bifold's.
    pub(super) fn dir(&self) -> &Path {
        self.0.path()
    }
}

/// Refuses, if `free` bytes are not enough for a copy of `bytes`.
fn room(bytes: u64, free: u64, dir: &Path) -> Result<()> {
    let wanted = bytes.saturating_mul(GROWTH).saturating_add(LOG);
    if wanted <= free {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let (wanted, free, dir) = (gib(wanted), gib(free), dir.display());
    Err(format!(
        "runs that write take a copy of it, which may come to {wanted:.1} GiB, and {dir} has {free:.1} GiB left: \
         another --dir, or reads alone (--writes 0, --reads-only)"
    )
    .into())
}

/// Copies a file; `false` if the user ended it.
fn copy_file(from: &Path, to: &Path, interrupt: &Interrupt) -> Result<bool> {
    let (from, mut to) = (File::open(from)?, File::create_new(to)?);
    loop {
        if interrupt.came() {
            return Ok(false);
        }
        if io::copy(&mut (&from).take(STEP), &mut to)? == 0 {
            // What is still to be written by the system is not to slow the first runs.
            to.sync_all()?;
            return Ok(true);
        }
    }
}

/// Gives `table` the name that stores' tables have; another one that has it gets a name that is free.
fn adopt(db: &pool::Database, table: &str) -> Result<()> {
    if table == TABLE {
        return Ok(());
    }
    let txn = db.write()?;
    let mut other = format!("{TABLE} of the user's");
    while txn.find_table(&other)?.is_some() {
        other.push('\'');
    }
    if txn.find_table(TABLE)?.is_some() {
        txn.rename_table(TABLE, &other)?;
    }
    txn.rename_table(table, TABLE)?;
    Ok(txn.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold::mmap::Database;
    use std::fs;

    #[test]
    fn a_copy_has_the_table_under_the_stores_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bifold");
        let db = Database::builder().page_size(512).open(&path).unwrap();
        db.update(|txn| {
            txn.table(TABLE)?.insert("another", "table")?;
            txn.table("bench of the user's")?.insert("and", "another")?;
            txn.table("t")?.insert("a", "1").map(drop)
        })
        .unwrap();
        db.close().unwrap();
        // A copy has not the permissions of what it is made of.
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        let before = fs::read(&path).unwrap();
        let facts = Facts::of(&path, Some("t")).unwrap();
        let interrupt = Interrupt::default();
        let seconds = copy_seconds(&facts, Some(dir.path())).unwrap();
        assert!(seconds.is_finite() && seconds > 0.0);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "the part is gone");
        let scratch = Scratch::of(&facts, Some(dir.path()), &interrupt).unwrap().unwrap();
        let db = Database::open(scratch.dir().join(FILE)).unwrap();
        let txn = db.read().unwrap();
        assert_eq!(txn.tables().unwrap(), [TABLE, "bench of the user's", "bench of the user's'"]);
        assert_eq!(&*txn.table(TABLE).unwrap().get("a").unwrap().unwrap(), b"1");
        drop(txn);
        db.update(|txn| txn.table(TABLE)?.insert("a", "2").map(drop)).unwrap();
        db.close().unwrap();
        assert_eq!(fs::read(&path).unwrap(), before);
        drop(scratch);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "the copy is gone");
        // Somebody writes it.
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        #[expect(clippy::permissions_set_readonly_false, reason = "a file of the test's")]
        permissions.set_readonly(false);
        fs::set_permissions(&path, permissions).unwrap();
        let open = Database::open(&path).unwrap();
        let error = Scratch::of(&facts, Some(dir.path()), &interrupt).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(bifold::Error::Locked)), "{error}");
        open.close().unwrap();
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_copy_is_thought_to_go_on_as_its_first_part_did() {
        let took = Duration::from_secs(2);
        assert!((whole_seconds(PART * 10, PART, took) - 20.0).abs() < 1e-9);
        assert!((whole_seconds(1000, 1000, took) - 2.0).abs() < 1e-9);
        // It has become shorter, or longer, since it was looked at.
        assert!(
            (whole_seconds(1000, 2000, took) - 2.0).abs() < 1e-9 && whole_seconds(9, 0, took).is_finite()
        );
    }

    #[test]
    fn too_little_room_is_refused_in_words() {
        let dir = Path::new("here");
        assert!(room(1 << 30, 3 << 30, dir).is_ok());
        let error = room(1 << 30, 2 << 30, dir).unwrap_err().to_string();
        assert!(error.contains("come to 2.5 GiB, and here has 2.0 GiB left"), "{error}");
        assert!(room(u64::MAX, u64::MAX - 1, dir).is_err());
    }
}
