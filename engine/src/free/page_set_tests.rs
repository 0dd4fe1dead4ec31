//! [`PageSet`] against a set of single pages.
#![forbid(unsafe_code)]

use super::super::page_iter::union;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Pages tried; some blocks.
const PAGES: u64 = 5 * BLOCK;

fn run() -> impl Strategy<Value = Run> {
    let near_ends = (0..=5u64, -3..=3i64).prop_map(|(block, by)| (block * BLOCK).saturating_add_signed(by));
    let start = prop_oneof![0..PAGES, near_ends.clone().prop_filter("inside", |at| *at < PAGES)];
    let end = prop_oneof![Just(None), (1u64..6).prop_map(Some), near_ends.prop_map(|end| Some(end + PAGES))];
    (start, end).prop_map(|(start, end)| match end {
        None => Run::new(start, 1),
        Some(end) if end < PAGES => Run::new(start, end.min(PAGES - start)),
        Some(end) => Run::between(start, (end - PAGES).max(start + 1).min(PAGES)),
    })
}

fn runs_of(pages: &BTreeSet<u64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &page in pages {
        match runs.last_mut() {
            Some(last) if last.end() == page => last.len += 1,
            _ => runs.push(Run::new(page, 1)),
        }
    }
    runs
}

fn check(set: &PageSet, pages: &BTreeSet<u64>) {
    let runs = runs_of(pages);
    assert_eq!(set.iter().collect::<Vec<_>>(), runs);
    assert_eq!((set.pages(), set.count()), (pages.len() as u64, runs.len()));
    assert_eq!((set.first(), set.is_empty()), (pages.first().copied(), pages.is_empty()));
    assert!(set.blocks.values().all(|bits| !bits.is_empty() && !bits.is_full()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn it_is_a_set(ops in proptest::collection::vec((0u8..4, run()), 1..60), probe in run()) {
        let (mut set, mut pages) = (PageSet::default(), BTreeSet::new());
        for (op, run) in ops {
            let all: Vec<u64> = (run.start..run.end()).collect();
            let held = all.iter().filter(|page| pages.contains(*page)).count();
            match op {
                0 => {
                    prop_assert_eq!(set.insert(run).is_ok(), held == 0);
                    if held == 0 {
                        pages.extend(&all);
                    }
                }
                1 => {
                    prop_assert_eq!(set.remove(run).is_ok(), held == all.len());
                    if held == all.len() {
                        pages.retain(|page| !all.contains(page));
                    }
                }
                2 => {
                    let mut missing = BTreeSet::new();
                    set.take(run, |part| { missing.extend(part.start..part.end()); Ok(()) }).unwrap();
                    prop_assert_eq!(missing.len(), all.len() - held);
                    prop_assert!(missing.is_disjoint(&pages));
                    pages.retain(|page| !all.contains(page));
                }
                _ => {
                    let gaps: Vec<Run> = set.parts(run).filter(|(inside, _)| !inside).map(|(_, part)| part).collect();
                    for gap in gaps {
                        set.insert(gap).unwrap();
                    }
                    pages.extend(&all);
                }
            }
            check(&set, &pages);
        }
        let inside: BTreeSet<u64> = (probe.start..probe.end()).filter(|page| pages.contains(page)).collect();
        prop_assert_eq!(set.overlapping(probe).collect::<Vec<_>>(), runs_of(&inside));
        prop_assert_eq!(set.overlaps(probe), !inside.is_empty());
        let holder = runs_of(&pages).into_iter().find(|run| run.start <= probe.start && probe.start < run.end());
        prop_assert_eq!(set.run_at(probe.start), holder);
        prop_assert_eq!(set.contains(probe.start), holder.is_some());
    }

    #[test]
    fn sets_unite(runs in proptest::collection::vec((0usize..3, run()), 0..30)) {
        let (mut sets, mut pages) = (<[PageSet; 3]>::default(), BTreeSet::new());
        for (set, run) in runs {
            let gaps: Vec<Run> = sets[set].parts(run).filter(|(inside, _)| !inside).map(|(_, part)| part).collect();
            for gap in gaps {
                sets[set].insert(gap).unwrap();
            }
            pages.extend(run.start..run.end());
        }
        let united: Vec<Run> = union(sets.each_ref()).collect();
        prop_assert_eq!(united, runs_of(&pages));
    }
}

#[test]
fn runs_that_no_file_can_have_are_refused() {
    let mut set = PageSet::default();
    for bad in [(0, 0), (PAGE_LIMIT, 1), (1, u64::MAX), (PAGE_LIMIT - 1, 2), (u64::MAX, u64::MAX)] {
        let bad = Run::new(bad.0, bad.1);
        assert!(set.insert(bad).is_err() && set.remove(bad).is_err(), "{bad:?}");
    }
    assert_eq!(set, PageSet::default());
}

#[test]
fn the_largest_file_costs_no_more_than_its_ends() {
    let mut set = PageSet::default();
    set.insert(Run::new(3, PAGE_LIMIT - 3)).unwrap();
    set.remove(Run::new(PAGE_LIMIT / 2 + 1, 7)).unwrap();
    let halves = [Run::between(3, PAGE_LIMIT / 2 + 1), Run::between(PAGE_LIMIT / 2 + 8, PAGE_LIMIT)];
    assert_eq!(set.iter().collect::<Vec<_>>(), halves);
    assert_eq!(set.run_at(PAGE_LIMIT - 1), Some(halves[1]));
    assert!(set.blocks.len() <= 2);
    set.take(Run::new(0, PAGE_LIMIT), |_| Ok(())).unwrap();
    assert_eq!(set, PageSet::default());
}
