//! The user's data in other forms, made into a Bifold file that a comparison can read.
#![forbid(unsafe_code)]

use crate::Result;
use crate::cell::Interrupt;
use bifold::{Error, TableMut, mmap};
use bifold_text::{Entry, How, Next, Reader, Tables};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The table of entries for which the text names none.
const TABLE: &str = "imported";
/// The longest line, in bytes: as `bifold load` has it if nothing is said.
const LINE: u64 = 256 << 20;
/// Entries of a transaction.
const PER_TXN: u64 = 100_000;
/// Bytes read at a time.
const READ_BUFFER: usize = 1 << 17;

/// The Bifold database that `file` is, or one made of it in `dir`: of TSV, JSON lines or a dump, which the first line
/// shows, as `bifold load` reads them. Tables that the text names are there under their names; what it names none for
/// is in one. Entries may come in any order, and of a key that comes twice the last stays.
///
/// # Errors
/// I/O errors; a database that cannot be opened; what is wrong with a line, and which; a text without entries;
/// that the user ended it. What was made by then stays in `dir`.
pub fn database_of(file: &Path, dir: &Path, interrupt: &Interrupt) -> Result<PathBuf> {
    let path = file.canonicalize().map_err(|error| named(file, &error))?;
    if !path.is_file() {
        return Err(named(file, &"not a file").into());
    }
    match mmap::Database::builder().read_only().open(&path) {
        Ok(_) => return Ok(path),
        Err(Error::NotADatabase(_)) => {}
        Err(error) => return Err(named(file, &error).into()),
    }
    let text = BufReader::with_capacity(READ_BUFFER, File::open(&path).map_err(|error| named(file, &error))?);
    let how = How { format: None, columns: None, tables: Tables::NamedOr(TABLE.into()), line_max: LINE };
    let mut reader = Reader::new(text, how).map_err(|error| named(file, &error))?;
    let made = tempfile::Builder::new().prefix("imported-").suffix(".bifold").tempfile_in(dir)?;
    // Only the name is wanted: the database makes its own file.
    let made = made.into_temp_path().to_path_buf();
    let entries = import(&mut reader, &made, file, interrupt)?;
    if entries == 0 {
        return Err(named(file, &"it has no entries").into());
    }
    Ok(made)
}

/// What is wrong with `file`.
fn named(file: &Path, error: &dyn fmt::Display) -> String {
    format!("{}: {error}", file.display())
}

/// Puts all that is read into a new database; how many entries that was.
fn import<R: BufRead>(
    reader: &mut Reader<R>,
    into: &Path,
    file: &Path,
    interrupt: &Interrupt,
) -> Result<u64> {
    let db = mmap::Database::open(into)?;
    let (mut entry, mut entries) = (Entry::default(), 0);
    let (mut name, mut more) = (None::<String>, true);
    while more {
        let txn = db.write()?;
        let mut table: Option<TableMut<'_, _>> = name.as_deref().map(|name| txn.table(name)).transpose()?;
        let mut left = PER_TXN;
        while more && left > 0 {
            interrupt.check()?;
            match reader.next(&mut entry).map_err(|error| named(file, &error))? {
                Next::Table(next) => {
                    table = Some(txn.table(&next).map_err(|error| named(file, &error))?);
                    name = Some(next);
                }
                Next::Entry(_) => {
                    let table = table.as_ref().ok_or(Error::Internal("an entry of no table"))?;
                    let refused = |error| named(file, &format!("line {}: {error}", reader.line()));
                    table.insert(&entry.key, &entry.value).map_err(refused)?;
                    entries += 1;
                    left -= 1;
                }
                Next::End => more = false,
            }
        }
        txn.commit()?;
    }
    db.close()?;
    Ok(entries)
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
