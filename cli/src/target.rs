//! Entries on their way into a table: in bulk as long as they come in order, one by one from then on.
#![forbid(unsafe_code)]

use crate::error::Result;
use bifold::{BulkLoad, PageSource, TableMut};
use bifold_text::Entry;

/// Where entries go: as one load of sorted entries, as long as they come in order; one by one from then on.
pub(crate) struct Target<'t, S: PageSource> {
    table: TableMut<'t, S>,
    load: Option<BulkLoad<'t, S>>,
    /// The newest entry, held back, as a later one of the same key takes its place; and its line.
    held: Option<(Entry, u64)>,
    /// Memory to be used again.
    spare: Entry,
}

/// What the database says, and to which line's entry.
pub(crate) type Refused = (u64, bifold::Error);

impl<'t, S: PageSource> Target<'t, S> {
    pub(crate) fn new(table: TableMut<'t, S>) -> Result<Self> {
        Ok(Self { table, load: Some(table.bulk_load()?), held: None, spare: Entry::default() })
    }

    /// Puts an entry in, in place of one of the same key, and leaves any other in `entry`.
    pub(crate) fn put(&mut self, entry: &mut Entry, line: u64) -> std::result::Result<(), Refused> {
        if let Some((before, of)) = self.held.take() {
            if before.key != entry.key {
                self.pass_on(&before).map_err(|error| (of, error))?;
            }
            self.spare = before;
        }
        let new = std::mem::replace(entry, std::mem::take(&mut self.spare));
        self.held = Some((new, line));
        Ok(())
    }

    fn pass_on(&mut self, entry: &Entry) -> bifold::Result<()> {
        if let Some(load) = &mut self.load {
            match load.push(&entry.key, &entry.value) {
                Err(bifold::Error::NotInOrder) => self.end_load()?,
                pushed => return pushed,
            }
        }
        self.table.insert(&entry.key, &entry.value)
    }

    fn end_load(&mut self) -> bifold::Result<()> {
        self.load.take().map_or(Ok(0), BulkLoad::finish).map(drop)
    }

    /// After the last entry.
    pub(crate) fn finish(mut self) -> std::result::Result<(), Refused> {
        let mut line = 0;
        if let Some((entry, of)) = self.held.take() {
            line = of;
            self.pass_on(&entry).map_err(|error| (line, error))?;
        }
        self.end_load().map_err(|error| (line, error))
    }
}
