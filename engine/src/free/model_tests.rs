//! [`FreeSpace`] against a naive model: sets of single pages, and the rules applied page by page.
#![forbid(unsafe_code)]

use super::*;
use bifold_page_source::{PageId, PageRef, PageSize};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const HEAD: u64 = 8;
const CAPACITY: usize = 128;

#[derive(Clone, Debug)]
enum Op {
    /// An extent, in use at once by the current root.
    Early {
        pages: u64,
        contiguous: bool,
    },
    /// An extent that its transaction gives up again.
    Aborted {
        pages: u64,
    },
    /// Some page of the current root, and those behind it, are dropped.
    Drop {
        pick: usize,
        pages: usize,
    },
    /// As `Drop`, but as a subtree that is walked later.
    Cut {
        pick: usize,
        pages: usize,
    },
    /// The oldest cut subtree is walked.
    Walk,
    /// A page that only a snapshot sees is spilled.
    Spill {
        pick: usize,
    },
    Snapshot,
    Close {
        pick: usize,
    },
    /// The next checkpoint's root is taken.
    Begin,
    /// The checkpoint begun last is written with so many pages of the delta, and made durable.
    Finish {
        delta: u64,
    },
    Release,
    Shorten,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (1u64..9, any::<bool>()).prop_map(|(pages, contiguous)| Op::Early { pages, contiguous }),
        1 => (1u64..9).prop_map(|pages| Op::Aborted { pages }),
        5 => (any::<usize>(), 1usize..6).prop_map(|(pick, pages)| Op::Drop { pick, pages }),
        1 => (any::<usize>(), 1usize..6).prop_map(|(pick, pages)| Op::Cut { pick, pages }),
        1 => Just(Op::Walk),
        1 => any::<usize>().prop_map(|pick| Op::Spill { pick }),
        2 => Just(Op::Snapshot),
        2 => any::<usize>().prop_map(|pick| Op::Close { pick }),
        2 => Just(Op::Begin),
        3 => (0u64..20).prop_map(|delta| Op::Finish { delta }),
        2 => Just(Op::Release),
        1 => Just(Op::Shorten),
    ]
}

#[derive(Clone, Debug)]
struct Page {
    birth: u64,
    /// No checkpoint refers to it yet.
    early: bool,
}

#[derive(Clone, Debug)]
struct Dropped {
    page: u64,
    birth: u64,
    at: u64,
    recorded: u64,
}

struct Cut {
    root: PageRef,
    at: u64,
    pages: Vec<(u64, Page)>,
}

struct Model {
    space: FreeSpace,
    /// The current root's pages.
    root: BTreeMap<u64, Page>,
    dropped: Vec<Dropped>,
    cuts: Vec<Cut>,
    /// (base, pages seen)
    snapshots: Vec<(u64, BTreeSet<u64>)>,
    /// The last checkpoint whose root was taken, and its pages until it is recorded.
    taken: u64,
    taken_pages: Option<BTreeSet<u64>>,
    durable: u64,
    durable_pages: BTreeSet<u64>,
    /// The chain's payloads, oldest first.
    chain: Vec<Vec<u8>>,
}

impl Model {
    fn new() -> Self {
        let space = FreeSpace::new(HEAD, HEAD, PageSize::MIN, 0, Map::default(), Vec::new());
        Self {
            space,
            root: BTreeMap::new(),
            dropped: Vec::new(),
            cuts: Vec::new(),
            snapshots: Vec::new(),
            taken: 0,
            taken_pages: None,
            durable: 0,
            durable_pages: BTreeSet::new(),
            chain: Vec::new(),
        }
    }

    /// Nobody may need a page that is handed out.
    fn check_granted(&self, runs: &[Run]) -> Vec<u64> {
        let pages: Vec<u64> = runs.iter().flat_map(|run| run.start..run.end()).collect();
        for page in &pages {
            assert!((HEAD..self.space.end()).contains(page));
            assert!(!self.root.contains_key(page), "page {page} is in use");
            assert!(!self.durable_pages.contains(page), "a crash would need page {page}");
            assert!(self.taken_pages.as_ref().is_none_or(|pages| !pages.contains(page)));
            assert!(self.snapshots.iter().all(|(_, seen)| !seen.contains(page)), "a reader sees page {page}");
            assert!(self.cuts.iter().all(|cut| cut.pages.iter().all(|(p, _)| p != page)));
            assert!(self.dropped.iter().all(|d| d.page != *page), "page {page} must still wait");
        }
        pages
    }

    fn take_from_root(&mut self, pick: usize, count: usize) -> Vec<(u64, Page)> {
        if self.root.is_empty() {
            return Vec::new();
        }
        let skip = pick % self.root.len();
        let picked: Vec<_> = self.root.iter().skip(skip).take(count).map(|(&p, s)| (p, s.clone())).collect();
        self.root.retain(|page, _| picked.iter().all(|(p, _)| p != page));
        picked
    }

    fn drop_pages(&mut self, pages: Vec<(u64, Page)>, at: u64) {
        let recorded = self.recorded();
        for (page, state) in pages {
            self.space.drop_run(Run::new(page, 1), state.birth, at).unwrap();
            let recorded = if state.early { at } else { at.max(self.taken.max(recorded) + 1) };
            self.dropped.push(Dropped { page, birth: state.birth, at, recorded });
        }
    }

    /// The newest checkpoint that was recorded.
    fn recorded(&self) -> u64 {
        self.durable
    }

    fn live(&self) -> Vec<u64> {
        let mut live: Vec<u64> = self.snapshots.iter().map(|&(base, _)| base).collect();
        live.extend([self.taken, self.durable]);
        live.sort_unstable();
        live.dedup();
        live
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Early { pages, contiguous } => self.early(pages, contiguous),
            Op::Aborted { pages } => {
                let grant = self.space.allocate(pages, Use::Early).unwrap();
                self.check_granted(&grant.runs);
                if pages % 2 == 0 {
                    self.space.revoke(&grant).unwrap();
                } else {
                    grant.runs.iter().for_each(|&run| self.space.give_back(run).unwrap());
                }
            }
            Op::Drop { pick, pages } => {
                let pages = self.take_from_root(pick, pages);
                self.drop_pages(pages, self.taken + 1);
            }
            Op::Cut { pick, pages } => self.cut(pick, pages),
            Op::Walk if !self.cuts.is_empty() && self.taken_pages.is_none() => {
                let cut = self.cuts.remove(0);
                self.space.subtree_done(cut.root).unwrap();
                self.drop_pages(cut.pages, cut.at);
            }
            Op::Spill { pick } => self.spill(pick),
            Op::Snapshot => self.snapshots.push((self.taken, self.root.keys().copied().collect())),
            Op::Close { pick } if !self.snapshots.is_empty() => {
                self.snapshots.swap_remove(pick % self.snapshots.len());
            }
            Op::Begin if self.taken_pages.is_none() => {
                self.taken += 1;
                self.space.begin(self.taken).unwrap();
                self.taken_pages = Some(self.root.keys().copied().collect());
            }
            Op::Finish { delta } => self.finish(delta),
            Op::Release => self.release(),
            Op::Shorten => {
                let end = self.space.end() - self.space.trailing_free();
                self.space.shorten(end).unwrap();
                assert_eq!(self.space.trailing_free(), 0);
            }
            _ => {}
        }
    }

    fn early(&mut self, pages: u64, contiguous: bool) {
        let grant = if contiguous {
            self.space.allocate_contiguous(pages, Use::Early).unwrap()
        } else {
            self.space.allocate(pages, Use::Early).unwrap()
        };
        assert!(!contiguous || grant.runs.len() == 1);
        let granted = self.check_granted(&grant.runs);
        assert_eq!(granted.len() as u64, pages);
        for page in granted {
            self.root.insert(page, Page { birth: self.taken, early: true });
        }
    }

    /// Only pages that the last taken root refers to are cut as a subtree.
    fn cut(&mut self, pick: usize, count: usize) {
        let reached = |page: &u64, state: &Page| {
            !state.early || self.taken_pages.as_ref().is_some_and(|pages| pages.contains(page))
        };
        let fit: BTreeSet<u64> = self.root.iter().filter(|(p, s)| reached(p, s)).map(|(&p, _)| p).collect();
        let mut pages = self.take_from_root(pick, count);
        let (cut, back): (Vec<_>, Vec<_>) = pages.drain(..).partition(|(page, _)| fit.contains(page));
        self.root.extend(back);
        let Some(&(first, _)) = cut.first() else { return };
        let root = PageRef::new(PageId::new(first).unwrap(), first << 41);
        let at = self.taken + 1;
        self.space.cut_subtree(Subtree { root, level: 1, flags: 0, cut_at: at }).unwrap();
        self.cuts.push(Cut { root, at, pages: cut });
    }

    fn spill(&mut self, pick: usize) {
        let old: Vec<usize> =
            (0..self.snapshots.len()).filter(|&i| self.snapshots[i].0 < self.taken).collect();
        if old.is_empty() {
            return;
        }
        let holder = old[pick % old.len()];
        let birth = self.snapshots[holder].0;
        let grant = self.space.allocate(1, Use::Early).unwrap();
        let page = self.check_granted(&grant.runs)[0];
        self.snapshots[holder].1.insert(page);
        self.drop_pages(vec![(page, Page { birth, early: true })], birth + 1);
    }

    fn finish(&mut self, delta: u64) {
        let Some(mut pages) = self.taken_pages.take() else { return };
        let checkpoint = self.taken;
        let grant = self.space.allocate(delta, Use::Checkpoint).unwrap();
        for page in self.check_granted(&grant.runs) {
            pages.insert(page);
            self.root.insert(page, Page { birth: checkpoint - 1, early: false });
        }
        let mut early: BTreeSet<u64> = BTreeSet::new();
        for &page in &pages {
            let cut = self.cuts.iter_mut().flat_map(|cut| &mut cut.pages).find(|(p, _)| *p == page);
            let state = self.root.get_mut(&page).or(cut.map(|(_, state)| state));
            // A page of the taken root that was dropped since, while still early, is reached as well.
            let was_early = match state {
                Some(state) => std::mem::replace(&mut state.early, false),
                None => self.space.clone().reached(Run::new(page, 1)).is_ok(),
            };
            if was_early {
                early.insert(page);
            }
        }
        for page in early {
            self.space.reached(Run::new(page, 1)).unwrap();
        }
        let bound = self.space.upper_bound_pages(CAPACITY, 0);
        let old_chain: u64 = self.space.chain().iter().map(|run| run.len).sum();
        let chain = self.space.reserve_chain(CAPACITY, 0).unwrap();
        let sealed = self.space.seal(checkpoint, CAPACITY, chain).unwrap();
        let chain_pages = self.check_granted(&sealed.pages);
        assert_eq!(chain_pages.len(), sealed.payloads.len());
        assert!(chain_pages.len() as u64 <= bound, "{} pages, reckoned {bound}", chain_pages.len());
        if sealed.rewritten {
            assert!(old_chain > 0);
            self.chain.clear();
        }
        for run in self.space.chain() {
            pages.extend(run.start..run.end());
        }
        self.chain.extend(sealed.payloads);
        self.check_map(checkpoint, &pages);
        // Durable from here on; the chain's replaced pages are free now.
        self.durable = checkpoint;
        self.durable_pages = pages;
    }

    /// The stored map of the checkpoint says exactly what it does not refer to.
    fn check_map(&self, checkpoint: u64, pages: &BTreeSet<u64>) {
        let mut replay = Replay::new();
        for payload in &self.chain {
            for record in decode(payload).unwrap() {
                replay.apply(&record).unwrap();
            }
        }
        let map = replay.finish(HEAD, self.space.end(), self.space.chain()).unwrap();
        let unwalked: BTreeSet<u64> = self
            .cuts
            .iter()
            .filter(|cut| cut.at <= checkpoint)
            .flat_map(|cut| cut.pages.iter().map(|&(page, _)| page))
            .collect();
        let expected: Vec<u64> = (HEAD..self.space.end())
            .filter(|page| !pages.contains(page) && !unwalked.contains(page))
            .collect();
        let found: Vec<u64> = map.free.iter().flat_map(|run| run.start..run.end()).collect();
        assert_eq!(found, expected, "the persisted map of checkpoint {checkpoint}");
        let cuts: BTreeSet<u64> =
            self.cuts.iter().filter(|c| c.at <= checkpoint).map(|c| c.root.bits()).collect();
        assert_eq!(map.subtrees.keys().copied().collect::<BTreeSet<_>>(), cuts);
    }

    fn release(&mut self) {
        let live = self.live();
        self.space.release(self.durable, &live, usize::MAX).unwrap();
        let durable = self.durable;
        let held = |d: &Dropped| live.iter().any(|&base| d.birth <= base && base < d.at);
        self.dropped.retain(|d| d.recorded > durable || held(d));
        // No snapshot sees the chain's own pages.
        let mut used: BTreeSet<u64> = self.root.keys().copied().collect();
        used.extend(self.dropped.iter().map(|d| d.page));
        used.extend(self.cuts.iter().flat_map(|cut| cut.pages.iter().map(|&(page, _)| page)));
        used.extend(self.space.chain().iter().flat_map(|run| run.start..run.end()));
        for page in HEAD..self.space.end() {
            assert_eq!(self.space.is_free(page), !used.contains(&page), "page {page}");
        }
        let pinned = self.dropped.iter().filter(|d| d.recorded <= durable).count() as u64;
        assert_eq!(self.space.pinned_pages(), pinned);
        assert_eq!(self.space.awaiting_pages(), self.dropped.len() as u64 - pinned);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn free_space_does_what_the_rules_say(ops in proptest::collection::vec(op(), 1..250)) {
        let mut model = Model::new();
        let mut twin = Model::new();
        for op in &ops {
            model.apply(op);
            twin.apply(op);
        }
        model.apply(&Op::Begin);
        model.apply(&Op::Finish { delta: 3 });
        model.apply(&Op::Release);
        twin.apply(&Op::Begin);
        twin.apply(&Op::Finish { delta: 3 });
        prop_assert_eq!(model.chain, twin.chain, "the same operations write the same bytes");
    }
}

#[test]
fn a_reopened_map_goes_on_where_it_ended() {
    let mut model = Model::new();
    let early = |pages| Op::Early { pages, contiguous: false };
    for round in 0..40 {
        for op in [early(7), Op::Drop { pick: round * 7, pages: 5 }, Op::Begin, Op::Finish { delta: 4 }] {
            model.apply(&op);
        }
        let mut replay = Replay::new();
        for record in model.chain.iter().flat_map(|payload| decode(payload).unwrap()) {
            replay.apply(&record).unwrap();
        }
        let chain = model.space.chain().to_vec();
        let end = model.space.end();
        let map = replay.finish(HEAD, end, &chain).unwrap();
        model.space = FreeSpace::new(HEAD, end, PageSize::MIN, model.durable, map, chain);
        model.dropped.clear();
        model.apply(&Op::Release);
    }
    assert!(model.space.end() < 400, "dropped pages were not found again");
}

#[test]
fn an_extent_named_by_the_log_is_taken_before_anything_else() {
    let mut space = FreeSpace::new(HEAD, HEAD, PageSize::MIN, 0, Map::default(), Vec::new());
    space.extend(10).unwrap();
    let grant = space.allocate(2, Use::Checkpoint).unwrap();
    space.claim(Run::new(HEAD + 4, 3)).unwrap();
    space.claim(Run::new(HEAD + 14, 2)).unwrap();
    assert_eq!(space.end(), HEAD + 16);
    for taken in [grant.runs[0], Run::new(HEAD + 6, 1), Run::new(HEAD - 1, 1), Run::new(HEAD + 9, 7)] {
        assert!(space.claim(taken).is_err(), "{taken:?}");
    }
    let rest = space.allocate(9, Use::Early).unwrap();
    assert_eq!(rest.grow_to(), None);
    assert_eq!(rest.runs, [Run::new(HEAD + 2, 2), Run::new(HEAD + 7, 7)]);
}

#[test]
fn a_grant_that_cannot_be_written_is_undone() {
    let mut space = FreeSpace::new(HEAD, HEAD, PageSize::MIN, 0, Map::default(), Vec::new());
    space.extend(3).unwrap();
    assert_eq!(space.shortfall(5), 2);
    let grant = space.allocate_contiguous(5, Use::Checkpoint).unwrap();
    assert_eq!((grant.runs.as_slice(), grant.grow_to()), (&[Run::new(HEAD, 5)][..], Some(HEAD + 5)));
    space.revoke(&grant).unwrap();
    assert_eq!((space.end(), space.free_pages()), (HEAD + 3, 3));
    assert!(matches!(space.allocate(1 << 40, Use::Early), Err(crate::error::Error::DiskFull { .. })));
    assert_eq!(space.free_pages(), 3);
    for bad in [Run::new(HEAD, 1), Run::new(0, 1), Run::new(HEAD + 3, 1), Run::new(HEAD, 0)] {
        assert!(space.drop_run(bad, 0, 1).is_err() && space.give_back(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_long_chain_is_replaced_by_a_short_one() {
    let mut model = Model::new();
    let mut longest = 0;
    for _ in 0..200 {
        model.apply(&Op::Begin);
        model.apply(&Op::Finish { delta: 3 });
        model.apply(&Op::Release);
        model.apply(&Op::Drop { pick: 0, pages: 3 });
        longest = longest.max(model.chain.len());
    }
    assert!((3..=6).contains(&longest), "a chain of {longest} pages for a map of a few runs");
    assert!(model.space.end() < HEAD + 40, "the chain's replaced pages were not used again");
}
