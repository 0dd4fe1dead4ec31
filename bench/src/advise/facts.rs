//! What a file is like, or why no advice can be given on it.
#![forbid(unsafe_code)]

use crate::cell::Source;
use bifold::pool;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bytes of cache to read the file with.
const CACHE: u64 = 8 << 20;
/// Entries whose keys are looked at for the mean length.
const KEYS: u64 = 1000;
/// Bytes that the harness holds in memory for an entry of the sample beside its key, growth of tables included.
const BESIDE_KEY: u64 = 48;

/// Why no advice can be given on a file.
#[derive(Debug)]
pub enum Unfit {
    /// There is none, or it cannot be read.
    Unreadable(String),
    /// It is no Bifold database, or one that this version does not read.
    NotADatabase(bifold::Error),
    /// Somebody has it open for writing.
    Locked,
    /// It was not closed.
    Unclean(String),
    /// It has no table of this name; these are there.
    NoSuchTable(String, Vec<String>),
    /// The table, or the whole file, has no entries.
    Empty(Option<String>),
    /// It is damaged.
    Damaged(bifold::Error),
    /// Something else.
    Other(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::NotADatabase(error) => write!(f, "{error}"),
            Self::Locked => {
                f.write_str("it is open elsewhere: close it there, or take a copy (`bifold backup`)")
            }
            Self::Unclean(why) => write!(
                f,
                "it was not closed ({why}): open and close it once, so that what its log holds is in the file"
            ),
            Self::NoSuchTable(name, there) => {
                write!(f, "it has no table named {name:?}; there are {}", there.join(", "))
            }
            Self::Empty(None) => f.write_str("it has no tables, so there is nothing to be read"),
            Self::Empty(Some(table)) => {
                write!(f, "its table {table:?} is empty: there is nothing to be read")
            }
            Self::Damaged(error) => write!(f, "{error}; `bifold check` tells more"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Unfit {}

impl From<bifold::Error> for Unfit {
    fn from(error: bifold::Error) -> Self {
        use bifold::Error as E;
        match error {
            E::Locked => Self::Locked,
            E::NotADatabase(_) | E::UnsupportedVersion(_) | E::UnsupportedFeature(_) => {
                Self::NotADatabase(error)
            }
            E::NeedsRecovery(_) | E::LogMissing(_) => Self::Unclean(error.to_string()),
            E::Corrupt { .. } => Self::Damaged(error),
            E::Io { .. } => Self::Unreadable(error.to_string()),
            other => Self::Other(other.to_string()),
        }
    }
}

/// What a file and one of its tables are like.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub file_bytes: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// Tables in it.
    pub tables: usize,
    /// The table in question.
    pub table: String,
    /// Its entries.
    pub entries: u64,
    /// Its levels of pages.
    pub height: u8,
    /// Bytes of all its pages.
    pub table_bytes: u64,
    /// Bytes of its branches among them.
    pub branch_bytes: u64,
    /// The part of its leaves' bytes that is in use.
    pub leaf_fill: f64,
    /// Values that do not lie in leaves.
    pub large_values: u64,
    /// Bytes of all its keys and values.
    pub data_bytes: u64,
    /// Bytes of a key, on average.
    pub key_mean: f64,
    /// Bytes of a value, on average.
    pub value_mean: f64,
    /// Bytes that the harness needs beside the store, to know what it asks for and to check it.
    pub harness_bytes: u64,
    /// Seconds that it took to read all entries once.
    pub read_seconds: f64,
}

impl Facts {
    /// Of `table` in the database at `path`; of the largest, if it is not said.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn of(path: &Path, table: Option<&str>) -> Result<Self, Unfit> {
        let path = path.canonicalize().map_err(|error| Unfit::Unreadable(error.to_string()))?;
        let file_bytes = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => return Err(Unfit::Unreadable("it is not a file".into())),
            Err(error) => return Err(Unfit::Unreadable(error.to_string())),
        };
        let options = pool::Options::new().cache_size(CACHE);
        let db = pool::Database::builder().backend(options).read_only().open(&path)?;
        let stats = db.stats();
        if stats.delta_bytes > 0 || stats.log_live_bytes > 0 {
            return Err(Unfit::Unclean("its log holds commits that the file does not".into()));
        }
        let shape = db.shape()?;
        let chosen = match table {
            Some(name) => shape.tables.iter().find(|table| table.name == name).ok_or_else(|| {
                Unfit::NoSuchTable(name.into(), shape.tables.iter().map(|t| t.name.clone()).collect())
            })?,
            None => shape.tables.iter().max_by_key(|table| table.entries).ok_or(Unfit::Empty(None))?,
        };
        if chosen.entries == 0 {
            return Err(Unfit::Empty(Some(chosen.name.clone())));
        }
        drop(db);
        let begun = Instant::now();
        let source =
            Source::File { path: path.clone(), table: Some(chosen.name.clone()), seed: 0, made_of: None };
        let corpus = source.open().map_err(|error| Unfit::Other(error.to_string()))?;
        let read_seconds = begun.elapsed().as_secs_f64();
        let (known, mut key, mut key_bytes) = (corpus.known().max(1), Vec::new(), 0);
        let looked = known.min(KEYS);
        for number in 0..looked {
            corpus.key(number * (known / looked), &mut key);
            key_bytes += key.len();
        }
        let key_mean = key_bytes as f64 / looked as f64;
        let value_mean = (corpus.bytes() as f64 / chosen.entries as f64 - key_mean).max(0.0);
        let pages = chosen.leaf_pages + chosen.branch_pages + chosen.extent_pages;
        Ok(Self {
            file_bytes,
            page_size: shape.page_size,
            tables: shape.tables.len(),
            table: chosen.name.clone(),
            entries: chosen.entries,
            height: chosen.height,
            table_bytes: pages * shape.page_size,
            branch_bytes: chosen.branch_pages * shape.page_size,
            leaf_fill: chosen.leaf_fill(),
            large_values: chosen.large_values,
            data_bytes: corpus.bytes(),
            key_mean,
            value_mean,
            harness_bytes: known * (BESIDE_KEY + 2 * key_mean as u64) + (8 << 20) + CACHE,
            read_seconds,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold::mmap;

    fn database(path: &Path, entries: u32) {
        let db = mmap::Database::open(path).unwrap();
        db.update(|txn| {
            txn.create_table("empty")?;
            let table = txn.create_table("t")?;
            (0..entries).try_for_each(|n| table.insert(format!("{n:08}"), [7; 92]).map(drop))
        })
        .unwrap();
        db.close().unwrap();
    }

    #[test]
    fn a_file_is_described_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bifold");
        database(&path, 5000);
        let before = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
        let facts = Facts::of(&path, None).unwrap();
        assert_eq!((facts.table.as_str(), facts.entries, facts.tables), ("t", 5000, 2));
        assert!((facts.key_mean - 8.0).abs() < 1e-9 && (facts.value_mean - 92.0).abs() < 1e-9);
        assert_eq!(facts.data_bytes, 500_000);
        assert!(facts.height >= 2 && facts.leaf_fill > 0.3 && facts.table_bytes >= 500_000);
        assert_eq!((fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()), before);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1, "nothing lies beside it");
    }

    #[test]
    fn what_stands_against_an_advice_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(matches!(Facts::of(&at("none"), None), Err(Unfit::Unreadable(_))));
        assert!(matches!(Facts::of(dir.path(), None), Err(Unfit::Unreadable(_))));
        fs::write(at("text"), "no database\n".repeat(1000)).unwrap();
        assert!(matches!(Facts::of(&at("text"), None), Err(Unfit::NotADatabase(_))));
        mmap::Database::open(at("bare")).unwrap().close().unwrap();
        assert!(matches!(Facts::of(&at("bare"), None), Err(Unfit::Empty(None))));
        database(&at("a"), 10);
        assert!(matches!(Facts::of(&at("a"), Some("empty")), Err(Unfit::Empty(Some(_)))));
        assert!(
            matches!(Facts::of(&at("a"), Some("x")), Err(Unfit::NoSuchTable(_, t)) if t == ["empty", "t"])
        );
        let db = mmap::Database::open(at("a")).unwrap();
        assert!(matches!(Facts::of(&at("a"), None), Err(Unfit::Locked)));
        db.update(|txn| txn.table("t")?.insert("more", "1").map(drop)).unwrap();
        // As a crash leaves it: with a log, and nobody who holds it.
        fs::copy(at("a"), at("b")).unwrap();
        fs::copy(at("a-log"), at("b-log")).unwrap();
        drop(db);
        let unclean = Facts::of(&at("b"), None);
        assert!(matches!(unclean, Err(Unfit::Unclean(_))), "{unclean:?}");
        fs::remove_file(at("b-log")).unwrap();
        let unclean = Facts::of(&at("b"), None);
        assert!(matches!(unclean, Err(Unfit::Unclean(_))), "{unclean:?}");
    }
}
