//! Finding out, before a trace is replayed, what was there when its recording began.
//!
//! A key was there if a call found it before anything was put under it. The keys and the lengths of their values go to a
//! database of their own, from which each side's process loads them: so that what each keeps in memory does not grow
//! with them.
#![forbid(unsafe_code)]

use super::model::Model;
use super::{Session, Skip, Step, Survey, Tables};
use crate::Result;
use crate::cell::Interrupt;
use bifold::trace::Reader;
use bifold::{mmap, pool};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Bytes of a value whose length no call shows, if no call shows any.
const VALUE: u64 = 100;
/// The tables of what is prepared: keys and the lengths of their values; names; how these are changed; lookups used by
/// other threads; threads.
pub(crate) const ENTRIES: &str = "entries";
pub(crate) const NAMES: &str = "names";
pub(crate) const RENAMES: &str = "renames";
pub(crate) const SHARED: &str = "shared";
pub(crate) const THREADS: &str = "threads";

/// A trace that is ready to be replayed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// The trace.
    pub trace: PathBuf,
    /// What was found out: a database.
    pub prepared: PathBuf,
    /// Entries at the beginning.
    pub entries: u64,
    /// Bytes of their keys and values, and of those that are put later under other keys.
    pub bytes: u64,
    /// Keys that are put or removed, of those that it names; 0 in reports of before it was told.
    #[serde(default)]
    pub changed: u64,
    /// Events.
    pub events: u64,
    /// When the first was, in microseconds since the recording began.
    pub first_micros: u64,
    /// From that to the last.
    pub micros: u64,
    /// Bytes of the longest key.
    pub longest: usize,
    /// Bytes of keys and values of the largest transaction.
    pub largest: u64,
    /// Whether keys are hidden.
    pub hidden: bool,
    /// Whether its order is known, so that the same must be found as was recorded.
    pub exact: bool,
    /// Whether all entries at the beginning are known, so that scans must find as many as in the recording.
    pub complete: bool,
    /// How many entries there must be at the end, if that is known.
    pub entries_at_end: Option<u64>,
}

/// What [`prepare`] found out.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// For the sides.
    pub recording: Recording,
    /// What is in the trace.
    pub survey: Survey,
    /// What a reader of the results is to know.
    pub notes: Vec<String>,
}

/// Reads the trace at `path` from beginning to end, and makes it ready in `dir`. The data at the beginning are those that
/// the trace shows, or else those of `from`: a database as it was when the recording began, and its table if the
/// trace has only one and it is not called so.
///
/// # Errors
/// In words: what is wrong with the trace, or with the data; that the user ended it; I/O errors. What was made by then
/// stays in `dir`.
pub fn prepare(
    path: &Path,
    from: Option<(&Path, Option<&str>)>,
    dir: &Path,
    interrupt: &Interrupt,
) -> Result<Prepared> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let path = path.canonicalize().map_err(|error| named(&error))?;
    let survey = Survey::of(&path, interrupt).map_err(|error| named(&error))?;
    if survey.hidden && from.is_some() {
        return Err(named(&"its keys are hidden, and those of a file are others").into());
    }
    let tables = Tables::new(survey.names.clone(), survey.renames.clone(), survey.longest)
        .map_err(|error| named(&error))?;
    let (model, skipped) = model(&path, &survey, &tables, interrupt).map_err(|error| named(&error))?;
    // Only the name is wanted: the database makes its own file.
    let made = tempfile::Builder::new().prefix("trace-").suffix(".bifold").tempfile_in(dir)?;
    let made = made.into_temp_path().to_path_buf();
    let db = mmap::Database::builder().page_size(65_536).open(&made)?;
    let (entries, bytes) = match from {
        None => write(&db, model.initial(), interrupt)?,
        Some((file, table)) => copy(&db, &tables, file, table, interrupt)?,
    };
    note_survey(&db, &survey)?;
    let in_order = survey.threads.len() == 1;
    let broken = skipped.contains_key(&Skip::Hidden) || skipped.contains_key(&Skip::Unknown);
    let exact = in_order && !broken;
    let (added, entries_at_end) = {
        let txn = db.read()?;
        let table = txn.table(ENTRIES)?;
        let there = |key: &[u8]| table.contains_key(key).unwrap_or(false);
        let known = exact && !(from.is_some() && model.cleared());
        let at_end = if known { model.entries_at_end(entries, there) } else { None };
        (model.added_bytes(there), at_end)
    };
    db.close()?;
    let recording = Recording {
        trace: path,
        prepared: made,
        entries,
        bytes: bytes + added,
        changed: model.changed(),
        events: survey.events,
        first_micros: survey.micros.0,
        micros: survey.micros.1 - survey.micros.0,
        longest: survey.longest + 2,
        largest: model.largest,
        hidden: survey.hidden,
        exact,
        complete: from.is_some(),
        entries_at_end,
    };
    let notes = notes(&recording, &survey, &model, &skipped, from.is_some());
    Ok(Prepared { recording, survey, notes })
}

/// Goes through all events.
fn model(
    path: &Path,
    survey: &Survey,
    tables: &Tables,
    interrupt: &Interrupt,
) -> Result<(Model, BTreeMap<Skip, u64>)> {
    let in_order = survey.threads.len() == 1;
    let mut sessions: HashMap<u32, Session<'_>> = HashMap::new();
    let (mut model, mut skipped) = (Model::default(), BTreeMap::new());
    for (event, number) in Reader::open(path)?.zip(0u64..) {
        interrupt.check()?;
        let event = event?;
        let time = if in_order { number } else { event.micros };
        let new = || Session::new(tables, &survey.shared, survey.hidden, event.thread);
        let session = sessions.entry(event.thread).or_insert_with(new);
        match session.step(event.micros, event.op) {
            Step::Get { key, expected, fresh, .. } => model.read(&key, expected, time, fresh),
            Step::GetMany { keys, expected, fresh } => {
                keys.iter().zip(expected).for_each(|(key, expected)| model.read(key, expected, time, fresh));
            }
            Step::Removed { key, found: true, fresh } => {
                model.read(&key, super::Expected::There, time, fresh);
            }
            Step::RemoveRange { txn, span, .. } if in_order => {
                let keys = model.clear(&span);
                session.remove(txn, &span, keys);
            }
            Step::Commit(changes) => model.commit(changes, time),
            Step::Skipped(why) => *skipped.entry(why).or_default() += 1,
            _ => {}
        }
    }
    Ok((model, skipped))
}

/// Writes keys and the lengths of their values. Returns how many, and the bytes of both.
fn write<'k>(
    db: &mmap::Database,
    initial: impl Iterator<Item = (&'k [u8], Option<u64>)> + Clone,
    interrupt: &Interrupt,
) -> Result<(u64, u64)> {
    let (known, sum) =
        initial.clone().filter_map(|(_, len)| len).fold((0u64, 0u64), |(n, sum), len| (n + 1, sum + len));
    let typical = sum.checked_div(known).unwrap_or(VALUE);
    let (mut entries, mut bytes) = (0, 0);
    let txn = db.write()?;
    let mut load = txn.table(ENTRIES)?.bulk_load()?;
    for (key, len) in initial {
        interrupt.check()?;
        let len = len.unwrap_or(typical);
        load.push(key, len.to_le_bytes())?;
        entries += 1;
        bytes += key.len() as u64 + len;
    }
    load.finish()?;
    txn.commit()?;
    Ok((entries, bytes))
}

/// Copies keys and the lengths of values from the user's database. Returns how many, and the bytes of both.
fn copy(
    db: &mmap::Database,
    tables: &Tables,
    file: &Path,
    table: Option<&str>,
    interrupt: &Interrupt,
) -> Result<(u64, u64)> {
    let theirs = pool::Database::builder().backend(pool::Options::new().cache_size(8 << 20)).read_only();
    let theirs = theirs.open(file)?;
    let read = theirs.read()?;
    let there = read.tables()?;
    let (mut entries, mut bytes) = (0, 0);
    let txn = db.write()?;
    let mut load = txn.table(ENTRIES)?.bulk_load()?;
    for (name, number) in tables.names().iter().zip(0u32..) {
        let alone = tables.names().len() == 1;
        let name = match table {
            Some(table) if alone => table,
            Some(_) => return Err("the trace has several tables, and --table names one".into()),
            None if alone && there.len() == 1 => &there[0],
            None => name,
        };
        let Some(table) = read.find_table(name)? else {
            // It was created later.
            continue;
        };
        let mut cursor = table.cursor();
        while let Some((key, value)) = cursor.next()? {
            interrupt.check()?;
            load.push(tables.key(number, key), (value.len() as u64).to_le_bytes())?;
            entries += 1;
            bytes += (key.len() + value.len()) as u64;
        }
    }
    load.finish()?;
    txn.commit()?;
    Ok((entries, bytes))
}

/// Keeps what the replaying threads must know beforehand.
fn note_survey(db: &mmap::Database, survey: &Survey) -> Result<()> {
    let txn = db.write()?;
    let names = txn.table(NAMES)?;
    for (name, number) in survey.names.iter().zip(0u32..) {
        names.insert(number.to_be_bytes(), name)?;
    }
    let renames = txn.table(RENAMES)?;
    for (renamed, number) in survey.renames.all().iter().zip(0u64..) {
        renames.insert(number.to_be_bytes(), serde_json::to_vec(renamed)?)?;
    }
    let shared = txn.table(SHARED)?;
    for (table, number) in &survey.shared {
        shared.insert(table.to_be_bytes(), number.to_le_bytes())?;
    }
    let threads = txn.table(THREADS)?;
    for (thread, events) in &survey.threads {
        threads.insert(thread.to_be_bytes(), events.to_le_bytes())?;
    }
    Ok(txn.commit()?)
}

/// What is to be known of a replay, in words.
fn notes(
    recording: &Recording,
    survey: &Survey,
    model: &Model,
    skipped: &BTreeMap<Skip, u64>,
    from: bool,
) -> Vec<String> {
    let (events, threads, tables) = (survey.events, survey.threads.len(), survey.names.len());
    let seconds = recording.micros as f64 / 1e6;
    let mut notes = vec![format!(
        "a trace of {events} events of {threads} threads on {tables} tables, recorded in {seconds:.3} s; reading one takes \
         {:.0} ns, on every side",
        survey.nanos
    )];
    notes.push(if from {
        format!(
            "{} entries are there before it: the keys and lengths of values are the file's",
            recording.entries
        )
    } else {
        let entries = recording.entries;
        format!("{entries} entries are there before it: those that its calls found and had not put")
    });
    notes.push(if recording.exact {
        "one thread, in its order: each read must find what was found in the recording".into()
    } else if threads == 1 {
        "some of its calls cannot be replayed: what reads find may differ from the recording; each value is checked".into()
    } else {
        "threads keep within a millisecond of each other in the recording's time, but the order between them is not that \
         of the recording: what reads find may differ from it; each value is checked"
            .into()
    });
    let (commits, synced) = survey.commits;
    if commits > 0 {
        let said = if synced * 2 >= commits { "waits for its sync" } else { "waits for no sync" };
        notes.push(format!("{synced} of {commits} commits waited for a sync; here each {said}"));
    }
    if model.mixed > 0 {
        notes.push(format!("{} transactions both put and delete, and are two on every side", model.mixed));
    }
    if survey.hidden {
        notes.push("its keys are hidden: scans read as many entries as in the recording, but others".into());
    }
    for (skip, times) in skipped {
        notes.push(format!("left out: {times} times {}", skip.words()));
    }
    if let Some(at) = survey.cut_at {
        notes.push(format!("the trace is cut within a block, at byte {at}: what comes before is replayed"));
    }
    notes
}
