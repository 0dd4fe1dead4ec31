//! Single rules of recording a checkpoint in steps; the model tests try them together.
#![forbid(unsafe_code)]

use super::super::{Map, Replay, decode};
use super::*;
use bifold_page_source::{PageId, PageSize};

const HEAD: u64 = 8;
const CAPACITY: usize = 128;

/// A file of which checkpoint 1 refers to `used` pages behind the head, and `free` ones are free behind those.
fn file(used: u64, free: u64) -> (FreeSpace, Vec<Vec<u8>>) {
    let mut space = FreeSpace::new(HEAD, HEAD, PageSize::MIN, 0, Map::default(), Vec::new());
    let _ = space.allocate(used, Use::Checkpoint).unwrap();
    space.extend(free + 8).unwrap();
    space.begin(1).unwrap();
    let sealed = finish(&mut space, 1);
    (space, sealed.payloads)
}

fn finish(space: &mut FreeSpace, number: u64) -> Sealed {
    let chain = space.reserve_chain(CAPACITY, 0).unwrap();
    space.seal(number, CAPACITY, chain).unwrap()
}

/// The pages that the chain calls free.
fn replayed(space: &FreeSpace, chain: &[Vec<u8>]) -> Vec<Run> {
    let mut replay = Replay::new();
    for record in chain.iter().flat_map(|payload| decode(payload).unwrap()) {
        replay.apply(&record).unwrap();
    }
    replay.finish(HEAD, space.end(), space.chain()).unwrap().free.iter().collect()
}

fn holds(runs: &[Run], page: u64) -> bool {
    runs.iter().any(|run| run.start <= page && page < run.end())
}

fn page(n: u64) -> Run {
    Run::new(HEAD + n, 1)
}

#[test]
fn checkpoints_come_in_order_with_gaps() {
    let (mut space, _) = file(4, 0);
    assert!(space.reserve_chain(CAPACITY, 0).is_err(), "none is begun");
    assert!(space.prepare(1, 1).is_err() && space.prepare(2, 1).is_err());
    assert!(space.begin(1).is_err());
    space.begin(5).unwrap();
    assert!(space.begin(5).is_err());
    assert!(space.reserve_chain(CAPACITY_MIN - 1, 0).is_err());
    let chain = space.reserve_chain(CAPACITY, 0).unwrap();
    for wrong in [1, 4, 6] {
        assert!(space.seal(wrong, CAPACITY, chain.clone()).is_err() && space.prepare(wrong, 1).is_err());
    }
    let _ = space.seal(5, CAPACITY, chain.clone()).unwrap();
    assert!(space.seal(5, CAPACITY, chain).is_err(), "recorded already");
    space.begin(7).unwrap();
    space.begin(9).unwrap();
    assert!(space.prepare(7, 1).is_err(), "refused");
    let _ = finish(&mut space, 9);
    assert_eq!(space.begun(), 9);
}

#[test]
fn what_is_dropped_after_the_begin_is_recorded_by_the_next_checkpoint() {
    let (mut space, mut chain) = file(6, 0);
    space.drop_run(page(0), 0, 2).unwrap();
    space.begin(2).unwrap();
    space.drop_run(page(2), 0, 2).unwrap();
    space.drop_run(page(3), 0, 3).unwrap();
    space.drop_run_at(page(4), 0, 2, 2).unwrap();
    assert!(space.drop_run_at(page(5), 0, 2, 1).is_err(), "recorded already");
    assert!(space.drop_run_at(page(5), 0, 3, 2).is_err(), "recorded before it is dropped");
    assert!(space.drop_run_at(page(5), 3, 2, 2).is_err(), "dropped before its birth");
    chain.extend(finish(&mut space, 2).payloads);
    let map = replayed(&space, &chain);
    let expected = [true, false, false, false, true, false];
    assert_eq!([0, 1, 2, 3, 4, 5].map(|n| holds(&map, HEAD + n)), expected);
    let (released, more) = space.release(2, &[2], 9).unwrap();
    assert_eq!((released, more), (vec![page(0), page(4)], false));
    space.begin(3).unwrap();
    chain.extend(finish(&mut space, 3).payloads);
    let map = replayed(&space, &chain);
    assert_eq!([1, 2, 3, 4, 5].map(|n| holds(&map, HEAD + n)), [false, true, true, true, false]);
}

#[test]
fn a_checkpoint_prepared_in_pieces_writes_the_same() {
    let (space, _) = file(60, 3);
    let sealed = [1, 7, usize::MAX].map(|max_runs| {
        let mut space = space.clone();
        for n in (0..60).step_by(2) {
            space.drop_run(page(n * 7 % 60), 0, 2).unwrap();
        }
        space.begin(2).unwrap();
        let chain = space.reserve_chain(CAPACITY, 0).unwrap();
        let mut steps = 1;
        while space.prepare(2, max_runs).unwrap() {
            steps += 1;
        }
        assert_eq!(steps, 30usize.div_ceil(max_runs));
        (space.seal(2, CAPACITY, chain).unwrap(), space.chain().to_vec())
    });
    assert!(!sealed[0].0.pages.is_empty());
    assert!(sealed[0] == sealed[1] && sealed[1] == sealed[2]);
}

#[test]
fn a_refused_checkpoint_leaves_its_drops_to_the_next() {
    let (mut space, mut chain) = file(20, 40);
    let before = (space.end(), space.free_pages());
    (0..10).for_each(|n| space.drop_run(page(2 * n), 0, 2).unwrap());
    space.begin(2).unwrap();
    let places = space.allocate(7, Use::Checkpoint).unwrap();
    let reserved = space.reserve_chain(CAPACITY, 0).unwrap();
    assert!(space.prepare(2, 4).unwrap());
    space.revoke(&reserved).unwrap();
    space.revoke(&places).unwrap();
    assert_eq!((space.end(), space.free_pages()), before);
    space.drop_run(page(1), 0, 3).unwrap();
    space.begin(4).unwrap();
    chain.extend(finish(&mut space, 4).payloads);
    let map = replayed(&space, &chain);
    for n in 0..20 {
        assert_eq!(holds(&map, HEAD + n), n % 2 == 0 || n == 1, "page {n}");
    }
    let (released, _) = space.release(4, &[4], usize::MAX).unwrap();
    assert_eq!(released.iter().map(|run| run.len).sum::<u64>(), 11);
}

#[test]
fn an_extent_of_which_a_part_was_dropped_is_reached_whole() {
    let (mut space, mut chain) = file(1, 40);
    let extent = space.allocate_contiguous(8, Use::Early).unwrap().runs[0];
    let at = |n: u64| Run::new(extent.start + n, 1);
    space.drop_run(at(2), 1, 2).unwrap();
    space.drop_run(at(3), 1, 2).unwrap();
    let root = PageRef::new(PageId::new(at(6).start).unwrap(), 5);
    space.cut_subtree(Subtree { root, level: 0, flags: 0, cut_at: 2 }).unwrap();
    space.begin(2).unwrap();
    // Another part is dropped after the begin: checkpoint 2 refers to it.
    space.drop_run(at(5), 1, 3).unwrap();
    space.reached(extent).unwrap();
    assert!(space.reached(extent).is_err());
    chain.extend(finish(&mut space, 2).payloads);
    let map = replayed(&space, &chain);
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6, 7].map(|n| holds(&map, at(n).start)),
        [false, false, true, true, false, false, false, false]
    );
    assert_eq!(space.release(2, &[2], 9).unwrap(), (vec![Run::new(at(2).start, 2)], false));
    space.subtree_done(root).unwrap();
    space.drop_run(at(6), 1, 2).unwrap();
    space.begin(3).unwrap();
    chain.extend(finish(&mut space, 3).payloads);
    let map = replayed(&space, &chain);
    assert!(holds(&map, at(5).start) && holds(&map, at(6).start) && !holds(&map, at(4).start));
}

#[test]
fn what_was_noted_is_reached_no_more() {
    let (mut space, _) = file(1, 40);
    let extent = space.allocate_contiguous(4, Use::Early).unwrap().runs[0];
    space.drop_run(Run::new(extent.start, 1), 1, 2).unwrap();
    space.begin(2).unwrap();
    assert!(!space.prepare(2, 5).unwrap());
    assert!(space.reached(extent).is_err());
    space.reached(Run::between(extent.start + 1, extent.end())).unwrap();
}

#[test]
fn a_subtree_on_a_page_that_no_checkpoint_reached_is_refused() {
    let (mut space, _) = file(1, 40);
    let extent = space.allocate_contiguous(4, Use::Early).unwrap().runs[0];
    let root = PageRef::new(PageId::new(extent.start).unwrap(), 5);
    space.cut_subtree(Subtree { root, level: 0, flags: 0, cut_at: 2 }).unwrap();
    space.begin(2).unwrap();
    let chain = space.reserve_chain(CAPACITY, 0).unwrap();
    assert!(matches!(space.seal(2, CAPACITY, chain), Err(Error::Internal(_))));
}

#[test]
fn places_taken_in_steps_are_those_taken_at_once() {
    let (mut space, _) = file(40, 30);
    (0..20).for_each(|n| space.drop_run(page(2 * n), 0, 2).unwrap());
    space.begin(2).unwrap();
    let _ = finish(&mut space, 2);
    let _ = space.release(2, &[2], usize::MAX).unwrap();
    for pages in [1, 5, 35, 100] {
        let at_once = space.clone().allocate(pages, Use::Checkpoint).unwrap();
        let mut steps = space.clone();
        let (mut runs, mut grants, mut wanted) = (Vec::new(), Vec::new(), pages);
        while wanted > 0 {
            let (grant, rest) = steps.allocate_bounded(wanted, Use::Checkpoint, 2).unwrap();
            assert!(
                grant.runs.len() <= 2 && grant.runs.iter().map(|run| run.len).sum::<u64>() == wanted - rest
            );
            wanted = rest;
            runs.extend_from_slice(&grant.runs);
            grants.push(grant);
        }
        runs.sort_unstable();
        assert_eq!(runs, at_once.runs);
        assert_eq!(grants[0].grow_to(), at_once.grow_to());
        assert!(grants[1..].iter().all(|grant| grant.grow_to().is_none()));
        grants.iter().rev().for_each(|grant| steps.revoke(grant).unwrap());
        assert_eq!((steps.end(), steps.free_pages()), (space.end(), space.free_pages()));
    }
}

#[test]
fn a_file_that_grows_meanwhile_changes_nothing_but_the_end() {
    let (mut space, mut chain) = file(60, 0);
    (0..30).for_each(|n| space.drop_run(page(2 * n), 0, 2).unwrap());
    space.begin(2).unwrap();
    let reserved = space.reserve_chain(CAPACITY, 0).unwrap();
    let first = reserved.runs[0].start;
    for _ in 0..50 {
        space.extend(3).unwrap();
        let _ = space.allocate(2, Use::Early).unwrap();
        space.extend(1 << 20).unwrap();
        space.shorten(space.end() - space.trailing_free()).unwrap();
    }
    space.extend(5).unwrap();
    let end = space.end();
    let sealed = space.seal(2, CAPACITY, reserved).unwrap();
    assert_eq!((sealed.end, space.end()), (end, end));
    assert_eq!(sealed.pages[0].start, first, "the first of the pages reserved");
    if sealed.rewritten {
        chain.clear();
    }
    chain.extend(sealed.payloads);
    let map = replayed(&space, &chain);
    assert_eq!(map.last().map(|run| run.end()), Some(end));
}

#[test]
fn a_long_chain_waits_for_room_to_be_written_anew() {
    // The room there is, whether a checkpoint was refused, when the chain is first written anew at the latest.
    for (room, refused, by) in [(60, false, 15), (0, false, 30), (60, true, 15), (0, true, u64::MAX)] {
        let (mut space, _) = file(200, 0);
        // A reader holds many scattered pages, so that the map is long and nothing is free.
        (0..60).for_each(|n| space.drop_run(page(3 * n), 0, 2).unwrap());
        if refused {
            space.begin(2).unwrap();
        }
        let mut first = u64::MAX;
        for number in 3..55 {
            space.drop_run(page(3 * number + 1), 0, number).unwrap();
            let spare = space.free_pages().saturating_sub(room);
            let _ = space.allocate(spare, Use::Early).unwrap();
            space.extend(room.saturating_sub(space.free_pages())).unwrap();
            space.begin(number).unwrap();
            let (bound, end) = (space.upper_bound_pages(CAPACITY, 0), space.end());
            if finish(&mut space, number).rewritten {
                first = first.min(number);
            }
            assert!(first == number || space.end() <= end + bound.saturating_sub(room));
            // The old chain becomes free, and nothing else.
            let (released, _) = space.release(number, &[1, number], usize::MAX).unwrap();
            assert_eq!(released.is_empty(), first != number);
            if first == number {
                break;
            }
        }
        assert!(if by == u64::MAX { first == by } else { first <= by }, "{room} {refused}: at {first}");
        assert!(room > 0 || first > 15);
    }
}

#[test]
fn what_was_not_reckoned_with_comes_from_free_pages_or_is_refused() {
    for (room, fits) in [(40, true), (0, false)] {
        let (mut space, mut chain) = file(300, 0);
        let spare = space.free_pages();
        let _ = space.allocate(spare, Use::Early).unwrap();
        space.begin(2).unwrap();
        let reserved = space.reserve_chain(CAPACITY, 0).unwrap();
        // A hundred drops of its own that it did not announce.
        (0..100).for_each(|n| space.drop_run_at(page(3 * n), 0, 2, 2).unwrap());
        space.extend(room).unwrap();
        let end = space.end();
        match space.seal(2, CAPACITY, reserved) {
            Ok(sealed) => {
                assert!(fits);
                chain.extend(sealed.payloads);
                assert_eq!(space.end(), end);
                let map = replayed(&space, &chain);
                assert!((0..300).all(|n| holds(&map, HEAD + n) == (n % 3 == 0)));
            }
            Err(error) => assert!(!fits && matches!(error, Error::Internal(_))),
        }
    }
}

#[test]
fn what_was_dropped_or_announced_fits_the_pages_reserved() {
    for announced in [0, 150, 300] {
        let (mut space, mut chain) = file(900, 0);
        let spare = space.free_pages();
        let _ = space.allocate(spare, Use::Early).unwrap();
        let drop = |space: &mut FreeSpace, n| space.drop_run_at(page(3 * n), 0, 2, 2).unwrap();
        (announced..300).for_each(|n| drop(&mut space, n));
        space.begin(2).unwrap();
        let reserved = space.reserve_chain(CAPACITY, announced).unwrap();
        (0..announced).for_each(|n| drop(&mut space, n));
        let spare = space.free_pages();
        let _ = space.allocate(spare, Use::Early).unwrap();
        let sealed = space.seal(2, CAPACITY, reserved.clone()).unwrap();
        let pages: u64 = sealed.pages.iter().map(|run| run.len).sum();
        assert_eq!(Some(sealed.pages), first_pages(&reserved.runs, pages));
        assert!(pages > 5 && pages <= space.upper_bound_pages(CAPACITY, 300));
        chain.extend(sealed.payloads);
        let map = replayed(&space, &chain);
        assert!((0..900).all(|n| holds(&map, HEAD + n) == (n % 3 == 0)));
    }
}

#[test]
fn a_checkpoint_without_changes_takes_no_page() {
    let (mut space, _) = file(10, 20);
    let (chain, free) = (space.chain().to_vec(), space.free_pages());
    for number in 2..30 {
        space.begin(number).unwrap();
        let sealed = finish(&mut space, number);
        assert!(sealed.pages.is_empty() && sealed.payloads.is_empty() && !sealed.rewritten);
        assert_eq!((space.chain(), space.free_pages()), (&chain[..], free));
    }
}
