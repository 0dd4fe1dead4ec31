//! The user's data in other forms, made into a Bifold file that a comparison can read.
#![forbid(unsafe_code)]

use crate::Result;
use bifold::{Error, mmap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The table of what is imported.
const TABLE: &str = "imported";
/// The longest line, in bytes.
const LINE: u64 = 64 << 20;
/// Lines of a transaction.
const PER_TXN: u64 = 100_000;

/// The Bifold database that `file` is, or one made of it in `dir`: of a text, each line's first column is the key, and
/// what is behind the first tab is the value.
///
/// # Errors
/// I/O errors; a database that cannot be opened; what is wrong with a line, and which.
pub fn database_of(file: &Path, dir: &Path) -> Result<PathBuf> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let path = file.canonicalize().map_err(|error| named(&error))?;
    if !path.is_file() {
        return Err(named(&"not a file").into());
    }
    match mmap::Database::builder().read_only().open(&path) {
        Ok(_) => return Ok(path),
        Err(Error::NotADatabase(_)) => {}
        Err(error) => return Err(named(&error).into()),
    }
    let mut lines = BufReader::new(File::open(&path).map_err(|error| named(&error))?);
    let made = tempfile::Builder::new().prefix("imported-").suffix(".bifold").tempfile_in(dir)?;
    // Only the name is wanted: the database makes its own file.
    let made = made.into_temp_path().to_path_buf();
    let db = mmap::Database::open(&made)?;
    let mut line = Vec::new();
    let mut number = 0u64;
    let mut more = true;
    while more {
        let txn = db.write()?;
        let table = txn.table(TABLE)?;
        for _ in 0..PER_TXN {
            line.clear();
            let read = (&mut lines).take(LINE).read_until(b'\n', &mut line).map_err(|error| named(&error))?;
            more = read > 0;
            if !more {
                break;
            }
            number += 1;
            let (key, value) = entry(&line).map_err(|what| named(&format!("line {number}: {what}")))?;
            table.insert(key, value).map_err(|error| named(&format!("line {number}: {error}")))?;
        }
        txn.commit()?;
    }
    db.close()?;
    if number == 0 {
        return Err(named(&"it is empty").into());
    }
    Ok(made)
}

fn entry(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let Some(line) = line.strip_suffix(b"\n").or(((line.len() as u64) < LINE).then_some(line)) else {
        return Err("longer than 64 MiB");
    };
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or("there is no tab: not a key and a value")?;
    if tab == 0 {
        return Err("the key is empty");
    }
    Ok((&line[..tab], &line[tab + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_become_entries_and_databases_stay_themselves() {
        let dir = tempfile::tempdir().unwrap();
        let (text, into) = (dir.path().join("a.tsv"), dir.path().join("into"));
        fs::create_dir(&into).unwrap();
        fs::write(&text, "b\t2\t3\na\t1\nc\t\na\t9").unwrap();
        let made = database_of(&text, &into).unwrap();
        let db = mmap::Database::builder().read_only().open(&made).unwrap();
        let txn = db.read().unwrap();
        let table = txn.table(TABLE).unwrap();
        let value = |key: &str| table.get(key).unwrap().map(|value| value.to_vec());
        assert_eq!(value("a").as_deref(), Some(&b"9"[..]));
        assert_eq!(value("b").as_deref(), Some(&b"2\t3"[..]));
        assert_eq!((value("c").as_deref(), table.len().unwrap()), (Some(&b""[..]), 3));
        drop(txn);
        drop(db);
        assert_eq!(database_of(&made, &into).unwrap(), made.canonicalize().unwrap());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("bad.tsv");
        for (content, wanted) in [
            ("a\tb\nno tab\n", "line 2: there is no tab"),
            ("\tx\n", "line 1: the key is empty"),
            ("", "it is empty"),
        ] {
            fs::write(&text, content).unwrap();
            let error = database_of(&text, dir.path()).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("bad.tsv"), "{error}");
        }
        fs::write(&text, format!("{}\tx\n", "k".repeat(5000))).unwrap();
        assert!(database_of(&text, dir.path()).unwrap_err().to_string().contains("line 1: "));
        assert!(database_of(&dir.path().join("none"), dir.path()).is_err());
        assert!(database_of(dir.path(), dir.path()).unwrap_err().to_string().contains("not a file"));
    }
}
