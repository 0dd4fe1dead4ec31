//! Pieces of the engine's work, each by itself: what happens in one page, one visit, one transaction, one checkpoint.
//!
//! The criterion benchmark `pieces` times them, and the program `instructions` counts their instructions under callgrind.
//! Both take them from [`all`], so a piece that was added there is timed and counted.
#![forbid(unsafe_code)]

mod nodes;
mod pages;
mod reads;
mod world;
mod writes;

use crate::Result;
use bifold::{Durability, mmap, pool};
use std::fmt;

pub use world::Conditions;
use world::Side;

/// Work that can be repeated.
pub trait Piece {
    /// What has to be there before the work can be done once more, and is not part of it.
    ///
    /// # Errors
    /// The engine's.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Does the work `times` times.
    ///
    /// # Errors
    /// The engine's; or an answer that is not the right one.
    fn run(&mut self, times: u64) -> Result<()>;

    /// Pages and bytes that the last run wrote, where that is the measure of the work.
    fn written(&self) -> Option<(u64, u64)> {
        None
    }
}

/// A piece that can be made.
pub struct Entry {
    /// Its name: the backend, unless it needs none, and what is done.
    pub name: String,
    /// How often it is done while instructions are counted; 0 if it is only timed.
    pub counted: u64,
    /// Whether [`Piece::prepare`] has to come before every single time.
    pub one_by_one: bool,
    make: fn(&Conditions) -> Result<Box<dyn Piece>>,
}

impl Entry {
    fn new(name: impl Into<String>, counted: u64, make: fn(&Conditions) -> Result<Box<dyn Piece>>) -> Self {
        Self { name: name.into(), counted, one_by_one: false, make }
    }

    fn one_by_one(self) -> Self {
        Self { one_by_one: true, ..self }
    }

    /// Sets the piece up.
    ///
    /// # Errors
    /// The engine's, and I/O errors.
    pub fn make(&self, conditions: &Conditions) -> Result<Box<dyn Piece>> {
        (self.make)(conditions)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("counted", &self.counted)
            .finish_non_exhaustive()
    }
}

/// All pieces.
pub fn all() -> Vec<Entry> {
    let mut entries = vec![
        Entry::new("node/leaf-hit", 100_000, |c| Ok(Box::new(nodes::leaf(c, true)?))),
        Entry::new("node/leaf-miss", 100_000, |c| Ok(Box::new(nodes::leaf(c, false)?))),
        Entry::new("node/branch-hit", 100_000, |c| Ok(Box::new(nodes::branch(c, true)?))),
        Entry::new("node/branch-miss", 100_000, |c| Ok(Box::new(nodes::branch(c, false)?))),
    ];
    of_backend::<mmap::Source>(&mut entries);
    of_backend::<pool::Source>(&mut entries);
    entries
}

fn of_backend<S: Side>(entries: &mut Vec<Entry>) {
    use Durability::{Buffered, Deferred};
    let mut add = |entry: Entry| {
        entries.push(Entry { name: format!("{}/{}", S::NAME, entry.name), ..entry });
    };
    add(Entry::new("visit", 100_000, |c| Ok(Box::new(pages::Visiting::<S>::new(c)?))));
    add(Entry::new("pin", 100_000, |c| Ok(Box::new(pages::Pinning::<S>::new(c)?))));
    add(Entry::new("read-txn", 100_000, |c| Ok(Box::new(reads::Begin::<S>::new(c)?))));
    add(Entry::new("get", 20_000, |c| Ok(Box::new(reads::Get::<S>::new(c)?))));
    add(Entry::new("get-many-64", 400, |c| Ok(Box::new(reads::GetMany::<S>::new(c)?))));
    add(Entry::new("cursor-step", 100_000, |c| Ok(Box::new(reads::Step::<S>::new(c)?))));
    add(Entry::new("commit-1-buffered", 2000, |c| Ok(Box::new(writes::Commit::<S>::new(c, 1, Buffered)?))));
    add(Entry::new("commit-1-deferred", 2000, |c| Ok(Box::new(writes::Commit::<S>::new(c, 1, Deferred)?))));
    add(Entry::new("commit-100-buffered", 50, |c| Ok(Box::new(writes::Commit::<S>::new(c, 100, Buffered)?))));
    add(Entry::new("commit-100-deferred", 50, |c| Ok(Box::new(writes::Commit::<S>::new(c, 100, Deferred)?))));
    // Counted, files are in memory anyway.
    add(Entry::new("checkpoint-in-memory", 1, |c| Ok(Box::new(writes::Checkpoint::<S>::in_memory(c)?)))
        .one_by_one());
    add(Entry::new("checkpoint-on-disk", 0, |c| Ok(Box::new(writes::Checkpoint::<S>::on_disk(c)?)))
        .one_by_one());
}

/// Does the work `times` times. A function of this name, of which there is one, is how callgrind knows when to count.
///
/// # Errors
/// The piece's.
#[inline(never)]
pub fn the_counted_piece(piece: &mut dyn Piece, times: u64) -> Result<()> {
    piece.run(times)
}

/// Things that are asked for in turn, and again from the first.
#[derive(Debug)]
struct Ring<T> {
    things: Vec<T>,
    next: usize,
}

impl<T> Ring<T> {
    fn new(things: Vec<T>) -> Result<Self> {
        if things.is_empty() {
            Err("there is nothing to choose from".into())
        } else {
            Ok(Self { things, next: 0 })
        }
    }

    #[inline]
    fn next(&mut self) -> &T {
        let at = self.next;
        self.next = if at + 1 == self.things.len() { 0 } else { at + 1 };
        &self.things[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_piece_can_be_made_and_done_in_either_way() {
        for steady in [true, false] {
            let conditions = Conditions { entries: 20_000, leaves: 300, steady };
            for entry in all() {
                let mut piece = entry.make(&conditions).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
                for _ in 0..2 {
                    piece.prepare().unwrap();
                    let times = if entry.one_by_one { 1 } else { 3 };
                    the_counted_piece(&mut *piece, times).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
                }
                if let Some((pages, bytes)) = piece.written() {
                    assert!(
                        pages >= 300 && bytes >= pages * 4096,
                        "{}: {pages} pages, {bytes} bytes",
                        entry.name
                    );
                }
            }
        }
    }

    #[test]
    fn names_differ() {
        let names: BTreeSet<String> = all().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), all().len());
        assert!(names.iter().all(|name| !name.contains(char::is_whitespace)));
    }
}
