//! [`FreeSpace`] against a naive model: sets of single pages, and the rules applied page by page. A checkpoint is a job
//! in steps, and everything else may happen between two of them.
#![forbid(unsafe_code)]

use super::*;
use bifold_page_source::{PageId, PageRef, PageSize};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const HEAD: u64 = 8;
const CAPACITY: usize = 128;
/// Changes of its own that a checkpoint announces.
const OWN: u64 = 3;

#[derive(Clone, Debug)]
enum Op {
    /// A transaction writes an extent.
    Early {
        pages: u64,
        contiguous: bool,
    },
    /// The transaction commits: its extents belong to the current root.
    Commit,
    /// It is given up.
    Abort,
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
    Grow {
        pages: u64,
    },
    Shorten,
    /// The next checkpoint's root is taken, some numbers after the one before.
    Begin {
        skip: u64,
        spare: bool,
    },
    /// The checkpoint begun takes so many places for the delta, some runs at a time.
    Places {
        pages: u64,
        max_runs: usize,
    },
    /// It takes the chain's pages.
    Reserve,
    /// It drops a page of the root that it writes.
    OwnDrop {
        pick: usize,
    },
    /// It cuts one off as a subtree.
    OwnCut {
        pick: usize,
    },
    /// It refers to an extent of the transaction that commits by it.
    OwnReached,
    Prepare {
        max_runs: usize,
    },
    Refuse,
    /// It is recorded, if it has the chain's pages.
    Seal,
    /// What was recorded is durable.
    Durable,
    Release {
        max_runs: usize,
    },
    /// A whole checkpoint.
    Checkpoint {
        pages: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let picks = || (any::<usize>(), 1usize..6);
    prop_oneof![
        5 => (1u64..9, any::<bool>()).prop_map(|(pages, contiguous)| Op::Early { pages, contiguous }),
        4 => Just(Op::Commit),
        1 => Just(Op::Abort),
        8 => picks().prop_map(|(pick, pages)| Op::Drop { pick, pages }),
        1 => picks().prop_map(|(pick, pages)| Op::Cut { pick, pages }),
        2 => Just(Op::Walk),
        1 => any::<usize>().prop_map(|pick| Op::Spill { pick }),
        2 => Just(Op::Snapshot),
        2 => any::<usize>().prop_map(|pick| Op::Close { pick }),
        1 => (1u64..9).prop_map(|pages| Op::Grow { pages }),
        1 => Just(Op::Shorten),
        4 => (0u64..3, any::<bool>()).prop_map(|(skip, spare)| Op::Begin { skip, spare }),
        4 => (0u64..20, 1usize..5).prop_map(|(pages, max_runs)| Op::Places { pages, max_runs }),
        4 => Just(Op::Reserve),
        1 => any::<usize>().prop_map(|pick| Op::OwnDrop { pick }),
        1 => any::<usize>().prop_map(|pick| Op::OwnCut { pick }),
        1 => Just(Op::OwnReached),
        3 => (1usize..4).prop_map(|max_runs| Op::Prepare { max_runs }),
        1 => Just(Op::Refuse),
        4 => Just(Op::Seal),
        4 => Just(Op::Durable),
        3 => (1usize..9).prop_map(|max_runs| Op::Release { max_runs }),
        1 => (0u64..20).prop_map(|pages| Op::Checkpoint { pages }),
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

/// A checkpoint that was begun, or recorded and is not durable yet.
struct Job {
    number: u64,
    /// What it refers to, without the chain.
    pages: BTreeSet<u64>,
    places: Vec<Grant>,
    chain: Option<Grant>,
    own: u64,
    sealed: bool,
}

struct Model {
    space: FreeSpace,
    /// The current root's pages.
    root: BTreeMap<u64, Page>,
    /// Extents of the transaction that is under way.
    open: Vec<Grant>,
    /// Extents of committed transactions that no checkpoint has reached.
    early: Vec<Run>,
    dropped: Vec<Dropped>,
    cuts: Vec<Cut>,
    /// (base, pages seen)
    snapshots: Vec<(u64, BTreeSet<u64>)>,
    /// The last checkpoint whose root was taken.
    taken: u64,
    job: Option<Job>,
    recorded: u64,
    durable: u64,
    durable_pages: BTreeSet<u64>,
    /// The chain's payloads, oldest first.
    chain: Vec<Vec<u8>>,
}

fn pages_of(runs: &[Run]) -> Vec<u64> {
    runs.iter().flat_map(|run| run.start..run.end()).collect()
}

impl Model {
    fn new() -> Self {
        Self {
            space: FreeSpace::new(HEAD, HEAD, PageSize::MIN, 0, Map::default(), Vec::new()),
            root: BTreeMap::new(),
            open: Vec::new(),
            early: Vec::new(),
            dropped: Vec::new(),
            cuts: Vec::new(),
            snapshots: Vec::new(),
            taken: 0,
            job: None,
            recorded: 0,
            durable: 0,
            durable_pages: BTreeSet::new(),
            chain: Vec::new(),
        }
    }

    /// Nobody may need a page that is handed out.
    fn check_granted(&self, runs: &[Run]) -> Vec<u64> {
        let pages = pages_of(runs);
        let in_use = self.in_use();
        for page in &pages {
            assert!((HEAD..self.space.end()).contains(page));
            assert!(!in_use.contains(page), "page {page} is in use");
            assert!(!self.durable_pages.contains(page), "a crash would need page {page}");
            assert!(self.snapshots.iter().all(|(_, seen)| !seen.contains(page)), "a reader sees page {page}");
            assert!(self.dropped.iter().all(|d| d.page != *page), "page {page} must still wait");
        }
        pages
    }

    /// Pages that are neither free nor dropped.
    fn in_use(&self) -> BTreeSet<u64> {
        let mut used: BTreeSet<u64> = self.root.keys().copied().collect();
        used.extend(self.cuts.iter().flat_map(|cut| cut.pages.iter().map(|&(page, _)| page)));
        used.extend(pages_of(self.space.chain()));
        let places = self.job.iter().flat_map(|job| job.places.iter().chain(&job.chain));
        used.extend(places.chain(&self.open).flat_map(|grant| pages_of(&grant.runs)));
        // The job's other pages are of the current root, or dropped since.
        let dropped: BTreeSet<u64> = self.dropped.iter().map(|d| d.page).collect();
        let job = self.job.iter().flat_map(|job| &job.pages);
        assert!(job.into_iter().all(|page| used.contains(page) || dropped.contains(page)));
        used
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
        for (page, state) in pages {
            self.space.drop_run(Run::new(page, 1), state.birth, at).unwrap();
            let recorded = if state.early { at } else { at.max(self.taken + 1) };
            self.dropped.push(Dropped { page, birth: state.birth, at, recorded });
        }
    }

    fn live(&self) -> Vec<u64> {
        let mut live: Vec<u64> = self.snapshots.iter().map(|&(base, _)| base).collect();
        live.extend([self.taken, self.durable]);
        live.sort_unstable();
        live.dedup();
        live
    }

    /// Whether a checkpoint is between its begin and its seal.
    fn is_begun(&self) -> bool {
        self.job.as_ref().is_some_and(|job| !job.sealed)
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Early { pages, contiguous } => self.early(pages, contiguous),
            Op::Commit => self.commit(),
            Op::Abort => self.abort(),
            Op::Drop { pick, pages } => {
                let pages = self.take_from_root(pick, pages);
                self.drop_pages(pages, self.taken + 1);
            }
            Op::Cut { pick, pages } => self.cut(pick, pages),
            Op::Walk if !self.cuts.is_empty() && !self.is_begun() => {
                let cut = self.cuts.remove(0);
                self.space.subtree_done(cut.root).unwrap();
                self.drop_pages(cut.pages, cut.at);
            }
            Op::Spill { pick } => self.spill(pick),
            Op::Snapshot => self.snapshots.push((self.taken, self.root.keys().copied().collect())),
            Op::Close { pick } if !self.snapshots.is_empty() => {
                self.snapshots.swap_remove(pick % self.snapshots.len());
            }
            Op::Grow { pages } => self.space.extend(pages).unwrap(),
            Op::Shorten => {
                let end = self.space.end() - self.space.trailing_free();
                self.space.shorten(end).unwrap();
                assert_eq!(self.space.trailing_free(), 0);
            }
            Op::Begin { skip, spare } if self.job.is_none() => self.begin(self.taken + 1 + skip, spare),
            Op::Places { pages, max_runs } => self.places(pages, max_runs),
            Op::Reserve => self.reserve(),
            Op::OwnDrop { pick } => self.own_drop(pick),
            Op::OwnCut { pick } => self.own_cut(pick),
            Op::OwnReached => self.own_reached(),
            Op::Prepare { max_runs } if self.is_begun() => {
                self.space.prepare(self.taken, max_runs).unwrap();
            }
            Op::Refuse => self.refuse(),
            Op::Seal => self.seal(),
            Op::Durable => self.make_durable(),
            Op::Release { max_runs } => self.release(max_runs),
            Op::Checkpoint { pages } => self.checkpoint(pages),
            _ => {}
        }
    }

    /// A checkpoint that goes on from wherever the one begun is.
    fn checkpoint(&mut self, pages: u64) {
        let steps = [
            Op::Commit,
            Op::Durable,
            Op::Begin { skip: 0, spare: false },
            Op::Places { pages, max_runs: usize::MAX },
            Op::Reserve,
            Op::Seal,
            Op::Durable,
            Op::Release { max_runs: usize::MAX },
        ];
        for step in &steps {
            self.apply(step);
        }
        assert!(self.job.is_none());
    }

    fn early(&mut self, pages: u64, contiguous: bool) {
        let grant = if contiguous {
            self.space.allocate_contiguous(pages, Use::Early).unwrap()
        } else {
            self.space.allocate(pages, Use::Early).unwrap()
        };
        assert!(!contiguous || grant.runs.len() == 1);
        assert_eq!(self.check_granted(&grant.runs).len() as u64, pages);
        self.open.push(grant);
    }

    fn commit(&mut self) {
        for grant in std::mem::take(&mut self.open) {
            for page in pages_of(&grant.runs) {
                self.root.insert(page, Page { birth: self.taken, early: true });
            }
            self.early.extend(grant.runs);
        }
    }

    fn abort(&mut self) {
        for (n, grant) in std::mem::take(&mut self.open).into_iter().enumerate().rev() {
            if n % 2 == 0 {
                self.space.revoke(&grant).unwrap();
            } else {
                grant.runs.iter().for_each(|&run| self.space.give_back(run).unwrap());
            }
        }
    }

    fn cut(&mut self, pick: usize, count: usize) {
        let pages = self.take_from_root(pick, count);
        let Some(&(first, _)) = pages.first() else { return };
        let root = PageRef::new(PageId::new(first).unwrap(), first << 41);
        let at = self.taken + 1;
        self.space.cut_subtree(Subtree { root, level: 1, flags: 0, cut_at: at }).unwrap();
        self.cuts.push(Cut { root, at, pages });
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

    /// All early extents are reached; those of which all was dropped only if not `spare`.
    fn begin(&mut self, number: u64, spare: bool) {
        assert!(self.space.begin(self.taken).is_err());
        self.space.begin(number).unwrap();
        self.taken = number;
        for run in std::mem::take(&mut self.early) {
            let cut = |page| self.cuts.iter().any(|cut| cut.pages.iter().any(|&(p, _)| p == page));
            let needed = (run.start..run.end()).any(|page| self.root.contains_key(&page) || cut(page));
            if needed || !spare {
                self.space.reached(run).unwrap();
            }
        }
        let cut = self.cuts.iter_mut().flat_map(|cut| &mut cut.pages).map(|(_, state)| state);
        self.root.values_mut().chain(cut).for_each(|state| state.early = false);
        let pages = self.root.keys().copied().collect();
        let (places, chain) = (Vec::new(), None);
        self.job = Some(Job { number, pages, places, chain, own: 0, sealed: false });
    }

    fn places(&mut self, pages: u64, max_runs: usize) {
        if self.job.as_ref().is_none_or(|job| job.sealed || job.chain.is_some()) {
            return;
        }
        let (mut wanted, mut runs, mut grants) = (pages, Vec::new(), Vec::new());
        let at_once = self.space.clone().allocate(pages, Use::Checkpoint).unwrap();
        while wanted > 0 {
            let (grant, rest) = self.space.allocate_bounded(wanted, Use::Checkpoint, max_runs).unwrap();
            assert!(grant.runs.len() <= max_runs && rest < wanted);
            wanted = rest;
            runs.extend_from_slice(&grant.runs);
            grants.push(grant);
        }
        runs.sort_unstable();
        if self.space.places_best_fit() {
            assert_eq!(runs, at_once.runs);
        }
        assert_eq!(grants.iter().find_map(Grant::grow_to), at_once.grow_to());
        assert_eq!(self.check_granted(&runs).len() as u64, pages);
        self.job.as_mut().unwrap().places.extend(grants);
    }

    fn reserve(&mut self) {
        if self.job.as_ref().is_none_or(|job| job.sealed || job.chain.is_some()) {
            return;
        }
        let (bound, old_end) = (self.space.upper_bound_pages(CAPACITY, OWN), self.space.end());
        let short = self.space.shortfall(bound);
        let grant = self.space.reserve_chain(CAPACITY, OWN).unwrap();
        // Only a chain that is much too long may take more.
        assert!(self.space.end() <= old_end + short || self.chain.len() > 3);
        self.check_granted(&grant.runs);
        self.job.as_mut().unwrap().chain = Some(grant);
    }

    /// Takes a page out of the checkpoint's root that nobody sees who came after its begin.
    fn take_own(&mut self, pick: usize) -> Option<(u64, Page)> {
        let recent = self.snapshots.iter().filter(|(base, _)| *base == self.taken);
        let seen: BTreeSet<u64> = recent.flat_map(|(_, seen)| seen.iter().copied()).collect();
        let job = self.job.as_mut().filter(|job| !job.sealed && job.own < OWN)?;
        let all = self.root.keys().copied();
        let fit: Vec<u64> = all.filter(|page| job.pages.contains(page) && !seen.contains(page)).collect();
        let page = *fit.get(pick.checked_rem(fit.len())?)?;
        job.pages.remove(&page);
        job.own += 1;
        Some((page, self.root.remove(&page)?))
    }

    fn own_drop(&mut self, pick: usize) {
        let Some((page, Page { birth, .. })) = self.take_own(pick) else { return };
        let at = self.taken;
        self.space.drop_run_at(Run::new(page, 1), birth, at, at).unwrap();
        self.dropped.push(Dropped { page, birth, at, recorded: at });
    }

    fn own_cut(&mut self, pick: usize) {
        let Some((page, state)) = self.take_own(pick) else { return };
        let (at, root) = (self.taken, PageRef::new(PageId::new(page).unwrap(), page << 41));
        self.space.cut_subtree(Subtree { root, level: 0, flags: 0, cut_at: at }).unwrap();
        self.cuts.push(Cut { root, at, pages: vec![(page, state)] });
    }

    fn own_reached(&mut self) {
        let Some(job) = self.job.as_mut().filter(|job| !job.sealed) else { return };
        let Some(at) = self.open.iter().position(|grant| job.own + grant.runs.len() as u64 <= OWN) else {
            return;
        };
        for run in self.open.remove(at).runs {
            self.space.reached(run).unwrap();
            job.own += 1;
            for page in run.start..run.end() {
                job.pages.insert(page);
                self.root.insert(page, Page { birth: self.taken, early: false });
            }
        }
    }

    /// What a checkpoint drops itself it drops when it cannot be refused any more.
    fn refuse(&mut self) {
        let Some(job) = self.job.take_if(|job| !job.sealed && job.own == 0) else { return };
        for grant in job.places.iter().chain(&job.chain).rev() {
            self.space.revoke(grant).unwrap();
        }
        assert!(self.space.prepare(job.number + 1, 1).is_err());
    }

    fn seal(&mut self) {
        let Some(mut job) = self.job.take_if(|job| !job.sealed && job.chain.is_some()) else { return };
        let chain = job.chain.take().unwrap();
        for page in job.places.drain(..).flat_map(|grant| pages_of(&grant.runs)) {
            job.pages.insert(page);
            self.root.insert(page, Page { birth: self.recorded, early: false });
        }
        let old_chain = pages_of(self.space.chain());
        let (end, granted) = (self.space.end(), pages_of(&chain.runs));
        let sealed = self.space.seal(job.number, CAPACITY, chain).unwrap();
        assert_eq!((self.space.end(), sealed.end), (end, end));
        let pages = pages_of(&sealed.pages);
        assert_eq!(pages.len(), sealed.payloads.len());
        assert!(granted.starts_with(&pages), "{} pages, {} reserved", pages.len(), granted.len());
        if sealed.rewritten {
            assert!(!old_chain.is_empty());
            self.chain.clear();
            let at = job.number;
            // No snapshot sees the chain's own pages.
            self.dropped.extend(old_chain.iter().map(|&page| Dropped { page, birth: at, at, recorded: at }));
        }
        self.chain.extend(sealed.payloads);
        job.pages.extend(pages_of(self.space.chain()));
        self.recorded = job.number;
        self.check_map(job.number, &job.pages);
        job.sealed = true;
        self.job = Some(job);
    }

    fn make_durable(&mut self) {
        if let Some(job) = self.job.take_if(|job| job.sealed) {
            self.durable = job.number;
            self.durable_pages = job.pages;
        }
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

    fn release(&mut self, max_runs: usize) {
        let (live, durable) = (self.live(), self.durable);
        let due =
            |d: &Dropped| d.recorded <= durable && !live.iter().any(|&base| d.birth <= base && base < d.at);
        let (released, more) = self.space.release(durable, &live, max_runs).unwrap();
        assert!(released.len() <= max_runs && released.is_sorted());
        let released = pages_of(&released);
        for page in &released {
            let at = self.dropped.iter().position(|d| d.page == *page).expect("it was dropped");
            assert!(due(&self.dropped.swap_remove(at)), "page {page} is not due");
        }
        let mut used = self.in_use();
        used.extend(self.dropped.iter().map(|d| d.page));
        for page in HEAD..self.space.end() {
            assert_eq!(self.space.is_free(page), !used.contains(&page), "page {page}");
        }
        if !more {
            assert!(!self.dropped.iter().any(due), "something due was left");
            let pinned = self.dropped.iter().filter(|d| d.recorded <= durable).count() as u64;
            assert_eq!(self.space.pinned_pages(), pinned);
            assert_eq!(self.space.awaiting_pages(), self.dropped.len() as u64 - pinned);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn free_space_does_what_the_rules_say(ops in proptest::collection::vec(op(), 1..300)) {
        let mut model = Model::new();
        let mut twin = Model::new();
        for op in &ops {
            model.apply(op);
            twin.apply(op);
        }
        model.checkpoint(3);
        twin.checkpoint(3);
        prop_assert_eq!(model.chain, twin.chain, "the same operations write the same bytes");
    }
}

#[test]
fn a_reopened_map_goes_on_where_it_ended() {
    let mut model = Model::new();
    let early = |pages| Op::Early { pages, contiguous: false };
    for round in 0..40 {
        for op in [early(7), Op::Commit, Op::Drop { pick: round * 7, pages: 5 }, Op::Checkpoint { pages: 4 }]
        {
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
        model.apply(&Op::Release { max_runs: usize::MAX });
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
        model.apply(&Op::Checkpoint { pages: 3 });
        model.apply(&Op::Drop { pick: 0, pages: 3 });
        longest = longest.max(model.chain.len());
    }
    assert!((3..=6).contains(&longest), "a chain of {longest} pages for a map of a few runs");
    assert!(model.space.end() < HEAD + 40, "the chain's replaced pages were not used again");
}
