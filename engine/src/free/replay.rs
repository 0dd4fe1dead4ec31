//! Reading the persisted map back: records applied oldest first, contradictions refused.
#![forbid(unsafe_code)]

use super::record::{Fault, Record, Subtree};
use super::run_set::RunSet;
use super::runs::{Run, Runs};
use std::collections::BTreeMap;

/// What a chain says: the pages that its checkpoint does not refer to, and the subtrees yet to be walked.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Map {
    /// The pages.
    pub(crate) free: RunSet,
    /// The subtrees, by the word that refers to their root.
    pub(crate) subtrees: BTreeMap<u64, Subtree>,
}

/// The state of reading a chain.
#[derive(Clone, Default, Debug)]
pub(crate) struct Replay {
    free: Runs,
    subtrees: BTreeMap<u64, Subtree>,
}

impl Replay {
    /// An empty map, before its oldest record.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Applies the next younger record.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it contradicts the older ones: a page freed twice, or allocated though not free, a
    /// subtree cut twice or done though not cut.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), Fault> {
        match *record {
            Record::Free(run) => {
                self.free.insert(run).map_err(|_| Fault::Damaged("the free map frees a page twice"))
            }
            Record::Alloc(run) => self
                .free
                .remove(run)
                .map_err(|_| Fault::Damaged("the free map allocates a page that is not free")),
            Record::Subtree(subtree) => match self.subtrees.insert(subtree.root.bits(), subtree) {
                None => Ok(()),
                Some(_) => Err(Fault::Damaged("the free map cuts a subtree twice")),
            },
            Record::SubtreeDone(root) => match self.subtrees.remove(&root.bits()) {
                Some(_) => Ok(()),
                None => Err(Fault::Damaged("the free map finishes a subtree that was not cut")),
            },
        }
    }

    /// The map, of a file whose pages before `head` are its head and which has `end` pages in all. `chain` are the
    /// pages that the map itself was read from.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if a free page lies outside, or is one of the chain's, or a subtree's root is free.
    pub(crate) fn finish(self, head: u64, end: u64, chain: &[Run]) -> Result<Map, Fault> {
        let outside = self.free.iter().next().is_some_and(|run| run.start < head)
            || self.free.last().is_some_and(|run| run.end() > end);
        if outside {
            return Err(Fault::Damaged("the free map holds a page outside the file"));
        }
        if chain.iter().any(|&run| self.free.overlaps(run)) {
            return Err(Fault::Damaged("the free map holds a page of its own"));
        }
        for subtree in self.subtrees.values() {
            let root = subtree.root.page().get();
            if root < head || root >= end || self.free.contains(root) {
                return Err(Fault::Damaged("a cut subtree's root is free or outside the file"));
            }
        }
        let mut free = RunSet::default();
        for run in self.free.iter() {
            free.insert(run).map_err(|_| Fault::Damaged("the free map's runs overlap"))?;
        }
        Ok(Map { free, subtrees: self.subtrees })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifold_page_source::{PageId, PageRef};

    fn free(start: u64, len: u64) -> Record {
        Record::Free(Run { start, len })
    }

    fn alloc(start: u64, len: u64) -> Record {
        Record::Alloc(Run { start, len })
    }

    fn replay(records: &[Record]) -> Result<Map, Fault> {
        let mut replay = Replay::new();
        for record in records {
            replay.apply(record)?;
        }
        replay.finish(4, 100, &[Run::new(50, 2)])
    }

    #[test]
    fn records_add_up() {
        let map = replay(&[free(10, 10), alloc(12, 3), free(12, 1), free(90, 20), alloc(100, 10)]).unwrap();
        assert_eq!(map.free.iter().collect::<Vec<_>>(), [Run::new(10, 3), Run::new(15, 5), Run::new(90, 10)]);
    }

    #[test]
    fn contradictions_are_refused() {
        let root = PageRef::new(PageId::new(20).unwrap(), 77);
        let cut = Record::Subtree(Subtree { root, level: 1, flags: 0, cut_at: 3 });
        let done = Record::SubtreeDone(root);
        assert!(replay(&[cut, done, cut]).is_ok());
        for bad in [
            &[free(10, 10), free(15, 1)][..],
            &[alloc(10, 1)],
            &[free(10, 2), alloc(11, 2)],
            &[free(3, 2)],
            &[free(99, 2)],
            &[free(49, 2)],
            &[cut, cut],
            &[done],
            &[cut, free(20, 1)],
        ] {
            assert!(matches!(replay(bad), Err(Fault::Damaged(_))), "{bad:?}");
        }
    }
}
