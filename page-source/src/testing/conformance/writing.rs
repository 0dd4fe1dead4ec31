//! Conformance: writing, growing, shrinking and discarding, and that nothing stale is ever shown.
#![forbid(unsafe_code)]

use super::bed::{Bed, Setup, assert_same};
use super::many;
use crate::testing::pages::{self, Rng};
use crate::{PageRef, PageSource, PageWrite, Visit};
use std::sync::atomic::{AtomicBool, Ordering};

/// All tests of this file.
pub fn writing<S: PageSource>(setup: &Setup<'_, S>) {
    pages_are_written_in_any_order(setup);
    a_rewritten_page_is_the_new_one(setup);
    a_load_in_flight_brings_nothing_stale(setup);
    readers_beside_rewrites_see_their_own_pages(setup);
    growing_disturbs_nobody(setup);
    a_shrunk_file_forgets_what_it_held(setup);
    writes_and_syncs_are_counted(setup);
}

/// One call takes scattered pages, neighbours, and pages that replace others.
pub fn pages_are_written_in_any_order<S: PageSource>(setup: &Setup<'_, S>) {
    let bed = Bed::new(setup, 64);
    let numbers = [40, 41, 42, 3, 2, 1, 63, 20, 10, 11, 9];
    let made: Vec<_> = numbers.iter().map(|n| pages::page(setup.size, *n, 1)).collect();
    let writes: Vec<_> = made
        .iter()
        .enumerate()
        .map(|(i, (at, bytes))| PageWrite {
            at: *at,
            replaces: (i % 2 == 0).then(|| pages::id(30 + i as u64)),
            bytes,
        })
        .collect();
    bed.try_write(&writes).unwrap();
    bed.try_write(&[]).unwrap();
    made.iter().for_each(|(at, _)| bed.expect(*at, 1));
    let bed = bed.reopened();
    made.iter().for_each(|(at, _)| bed.expect(*at, 1));
    bed.expect_corrupt(PageRef::unchecked(pages::id(30)), "never written");
}

/// Rewriting replaces what was cached, with a discard before it and without.
pub fn a_rewritten_page_is_the_new_one<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 40);
    references[1..].iter().for_each(|at| bed.expect(*at, 0));
    for version in 1..6 {
        let numbers: Vec<u64> = (1..40).filter(|n| n % 5 != version).collect();
        if version % 2 == 0 {
            bed.source.discard(pages::id(1)..pages::id(40));
        }
        for at in bed.write(&numbers, version) {
            bed.expect(at, version);
        }
        for n in (1..40).filter(|n| n % 5 == version) {
            bed.expect(PageRef::unchecked(pages::id(n)), version - 1);
            bed.write(&[n], version);
        }
    }
    bed.source.discard(pages::id(0)..pages::id((1 << 40) - 1));
    (1..40).for_each(|n| bed.expect(PageRef::unchecked(pages::id(n)), 5));
}

/// What a prefetch brings after its page was rewritten is dropped.
pub fn a_load_in_flight_brings_nothing_stale<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, mut references) = Bed::filled(setup, 24);
    let numbers: Vec<u64> = (1..24).collect();
    for version in 1..60 {
        bed.source.discard(pages::id(1)..pages::id(24));
        bed.source.prefetch(&references[1..]);
        if version % 3 == 0 {
            bed.source.discard(pages::id(1)..pages::id(24));
        }
        references.truncate(1);
        references.extend(bed.write(&numbers, version));
        references[1..].iter().for_each(|at| bed.expect(*at, version));
    }
}

/// While a writer rewrites one half of the file again and again, readers of the other half see no change.
pub fn readers_beside_rewrites_see_their_own_pages<S: PageSource>(setup: &Setup<'_, S>) {
    let half = many(setup.size) / 2;
    let (bed, references) = Bed::filled(setup, 2 * half);
    let bed = bed.reopened();
    let done = AtomicBool::new(false);
    let (source, references, done, size) = (&bed.source, &references, &done, setup.size);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|seed| {
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    let mut rounds = 0;
                    while !done.load(Ordering::Acquire) || rounds == 0 {
                        let n = 1 + rng.below(half - 1);
                        let mut visit = source.visit();
                        let shown = visit.view(references[n as usize]).unwrap();
                        assert_same(shown, &pages::page(size, n, 0).1, pages::id(n));
                        rounds += 1;
                    }
                })
            })
            .collect();
        for version in 1..40 {
            let from = half + version % 7;
            source.discard(pages::id(from)..pages::id(2 * half));
            let numbers: Vec<u64> = (from..2 * half).step_by(3).collect();
            for at in bed.write(&numbers, version) {
                bed.expect(at, version);
            }
        }
        done.store(true, Ordering::Release);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// Views and pins taken before stay good; the length follows; less than there is changes nothing.
pub fn growing_disturbs_nobody<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 8);
    let bed = bed.reopened();
    let pin = bed.source.visit().hold(references[3]).unwrap();
    let mut visit = bed.source.visit();
    let shown = visit.view(references[4]).unwrap();
    for pages in [9, 9, 4, 64, 65, 200, 1000] {
        let before = bed.source.len_pages();
        bed.source.grow(pages).unwrap();
        let now = before.max(pages);
        assert_eq!(bed.source.len_pages(), now);
        assert!(bed.file.len().unwrap() >= now * setup.size.bytes() as u64);
        let at = bed.write(&[now - 1], pages)[0];
        bed.expect(at, pages);
        bed.expect_corrupt(PageRef::unchecked(pages::id(now)), "just beyond the file");
        assert_same(&pin, &pages::page(setup.size, 3, 0).1, pages::id(3));
        assert_same(shown, &pages::page(setup.size, 4, 0).1, pages::id(4));
    }
    references[1..8].iter().for_each(|at| bed.expect(*at, 0));
    let too_far = bed.source.grow(1 << 50);
    assert!(matches!(too_far, Err(crate::Error::Io { .. })), "{too_far:?}");
    references[1..8].iter().for_each(|at| bed.expect(*at, 0));
}

/// Pages cut off are gone, also when the file is grown again, while those before the cut stay.
pub fn a_shrunk_file_forgets_what_it_held<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 40);
    references[1..].iter().for_each(|at| bed.expect(*at, 0));
    let pin = bed.source.visit().hold(references[2]).unwrap();
    bed.shrink(60);
    assert_eq!(bed.source.len_pages(), 40);
    bed.shrink(10);
    assert_eq!(bed.source.len_pages(), 10);
    assert_eq!(bed.file.len().unwrap(), 10 * setup.size.bytes() as u64);
    references[1..10].iter().for_each(|at| bed.expect(*at, 0));
    references[10..].iter().for_each(|at| bed.expect_corrupt(*at, "cut off"));
    bed.source.grow(40).unwrap();
    references[10..].iter().for_each(|at| {
        bed.expect_corrupt(*at, "cut off and grown again as zeros");
        bed.expect_corrupt(PageRef::unchecked(at.page()), "the same, asked for by its number alone");
    });
    let numbers: Vec<u64> = (10..40).collect();
    for at in bed.write(&numbers, 9) {
        bed.expect(at, 9);
    }
    assert_same(&pin, &pages::page(setup.size, 2, 0).1, pages::id(2));
}

/// The counters that mean the same for every source.
pub fn writes_and_syncs_are_counted<S: PageSource>(setup: &Setup<'_, S>) {
    let bed = Bed::new(setup, 16);
    let before = bed.source.stats();
    bed.write(&[1, 2, 3, 9], 0);
    bed.source.sync().unwrap();
    let after = bed.source.stats();
    assert_eq!(after.pages_written - before.pages_written, 4);
    assert_eq!(after.bytes_written - before.bytes_written, 4 * setup.size.bytes() as u64);
    let calls = after.writes - before.writes;
    assert!((1..=4).contains(&calls), "{calls} calls for 4 pages");
    assert_eq!(after.syncs - before.syncs, 1);
}
