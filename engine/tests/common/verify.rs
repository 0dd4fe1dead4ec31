//! Whether what a crash has left opens to what it may: the promises P1 to P4 of one image.

use super::model::{State, difference};
use super::{DB, Setup, TestSource};
use bifold::{Db, Error};
use bifold_page_source::FileSystem;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

/// What an image may open to.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    /// The numbers of the commits whose state it may be.
    pub(crate) commits: RangeInclusive<u64>,
    /// Whether there may be no database.
    pub(crate) absent: bool,
}

/// Whether an error may come of a failing call.
pub(crate) fn is_named(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => matches!(source.raw_os_error(), Some(5 | 28)),
        Error::DiskFull { .. } => true,
        Error::OutcomeUnknown(cause) | Error::Poisoned(cause) => is_named(cause),
        _ => false,
    }
}

/// Opens an existing database; `None` if there is none.
pub(crate) fn open<S: TestSource>(
    setup: Setup,
    fs: Arc<dyn FileSystem>,
    path: &Path,
) -> Result<Option<Db<S>>, Error> {
    match setup.builder(fs).create(false).open(path) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Which commit's state a database shows: its whole content is that of the model after that commit.
pub(crate) fn shown<S: TestSource>(db: &Db<S>, history: &[State]) -> Result<u64, String> {
    let txn = db.read().map_err(|e| format!("reading: {e}"))?;
    let number = txn.commit_number();
    let state = history.get(number as usize).ok_or(format!("commit {number} was never begun"))?;
    match difference(&txn, state) {
        Ok(None) => Ok(number),
        Ok(Some(difference)) => Err(format!("commit {number}: {difference}")),
        Err(error) => Err(format!("commit {number}: {error}")),
    }
}

/// Whether the database's own check finds it whole: pages, tables' counts, and that every page is in use or free.
pub(crate) fn is_clean<S: TestSource>(db: &Db<S>) -> Result<(), String> {
    let report = db.check().map_err(|e| format!("checking: {e}"))?;
    if report.is_clean() { Ok(()) } else { Err(format!("the check found {:?}", report.faults)) }
}

/// Opens what is on `fs` and compares it with what it may be. Returns the database, still open, and which commit it
/// shows; `None` if there is none and may be none.
pub(crate) fn check<S: TestSource>(
    setup: Setup,
    fs: Arc<dyn FileSystem>,
    history: &[State],
    allowed: &Allowed,
) -> Result<Option<(Db<S>, u64)>, String> {
    check_at(setup, fs, Path::new(DB), history, allowed)
}

/// The same for a database that lies elsewhere.
pub(crate) fn check_at<S: TestSource>(
    setup: Setup,
    fs: Arc<dyn FileSystem>,
    path: &Path,
    history: &[State],
    allowed: &Allowed,
) -> Result<Option<(Db<S>, u64)>, String> {
    let Some(db) = open::<S>(setup, fs, path).map_err(|e| format!("opening: {e}"))? else {
        return if allowed.absent { Ok(None) } else { Err("there is no database".into()) };
    };
    let number = shown(&db, history)?;
    if !allowed.commits.contains(&number) {
        return Err(format!("commit {number} is shown, not one of {:?}", allowed.commits));
    }
    Ok(Some((db, number)))
}
