//! Conformance: views, pins, batches and hints, alone and among threads.
#![forbid(unsafe_code)]

use super::bed::{Bed, Setup, assert_same};
use super::many;
use crate::testing::pages::{self, Rng};
use crate::{Error, PageRef, PageSource, Result, Visit};
use std::io;

/// All tests of this file.
pub fn reading<S: PageSource>(setup: &Setup<'_, S>) {
    what_was_written_is_read(setup);
    a_new_source_reads_it_too(setup);
    visits_nest(setup);
    pins_outlive_visits_and_pressure(setup);
    everything_can_be_held_at_once(setup);
    batches_show_each_page_once_per_mention(setup);
    a_batch_ends_with_the_first_error(setup);
    prefetch_is_a_hint(setup);
    threads_read_at_random(setup);
}

/// A page written is a page read, before and after a sync.
pub fn what_was_written_is_read<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 40);
    references[1..].iter().for_each(|at| bed.expect(*at, 0));
    bed.source.sync().unwrap();
    references[1..].iter().rev().for_each(|at| bed.expect(*at, 0));
    // What a reference does not know of the checksum is not asked.
    bed.expect(PageRef::unchecked(pages::id(7)), 0);
}

/// So it is by a source that opens the file afterwards.
pub fn a_new_source_reads_it_too<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 40);
    let bed = bed.reopened();
    assert_eq!(bed.source.len_pages(), 40);
    references[1..].iter().for_each(|at| bed.expect(*at, 0));
}

/// A visit within a visit disturbs neither, on one page or on two.
pub fn visits_nest<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, many(setup.size));
    let bed = bed.reopened();
    let mut outer = bed.source.visit();
    let shown = outer.view(references[1]).unwrap();
    let expected = pages::page(setup.size, 1, 0).1;
    for at in &references[1..] {
        let mut inner = bed.source.visit();
        let (_, inner_expected) = pages::page(setup.size, at.page().get(), 0);
        assert_same(inner.view(*at).unwrap(), &inner_expected, at.page());
        assert_same(shown, &expected, pages::id(1));
    }
    assert_same(outer.view(references[2]).unwrap(), &pages::page(setup.size, 2, 0).1, pages::id(2));
}

/// A page held stays what it was when its visit is over, however much is read meanwhile, and when it is discarded.
pub fn pins_outlive_visits_and_pressure<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, many(setup.size));
    let bed = bed.reopened();
    let held = [1, 2, 3, 17].map(|n: usize| (n as u64, bed.source.visit().hold(references[n]).unwrap()));
    let clone = held[0].1.clone();
    for _ in 0..3 {
        references[1..].iter().for_each(|at| bed.touch(*at));
    }
    bed.source.discard(pages::id(2)..pages::id(18));
    references[20..].iter().for_each(|at| bed.touch(*at));
    for (number, pin) in &held {
        assert_same(pin, &pages::page(setup.size, *number, 0).1, pages::id(*number));
    }
    drop(held);
    references[20..].iter().for_each(|at| bed.touch(*at));
    assert_same(&clone, &pages::page(setup.size, 1, 0).1, pages::id(1));
}

/// Holding every page of the file at once works, and reading goes on beside it.
pub fn everything_can_be_held_at_once<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, many(setup.size));
    let bed = bed.reopened();
    let pins: Vec<_> = references[1..].iter().map(|at| bed.source.visit().hold(*at).unwrap()).collect();
    references[1..].iter().for_each(|at| bed.expect(*at, 0));
    for (pin, at) in pins.iter().zip(&references[1..]) {
        assert_same(pin, &pages::page(setup.size, at.page().get(), 0).1, at.page());
    }
}

/// Every index of a batch is shown exactly once, duplicates included, cold and warm, from one page to all.
pub fn batches_show_each_page_once_per_mention<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, many(setup.size));
    let bed = bed.reopened();
    let mut rng = Rng::new(5);
    bed.source.view_each(&[], &mut |_, _| panic!("nothing to show")).unwrap();
    for len in [1, 2, 3, 16, 17, 64, 200, references.len() * 2] {
        let batch: Vec<PageRef> =
            (0..len).map(|_| references[1 + rng.below(references.len() as u64 - 1) as usize]).collect();
        let mut shown = vec![0; len];
        bed.source
            .view_each(&batch, &mut |index, bytes| {
                shown[index] += 1;
                let page = batch[index].page();
                assert_same(bytes, &pages::page(setup.size, page.get(), 0).1, page);
                Ok(())
            })
            .unwrap();
        assert!(shown.iter().all(|n| *n == 1), "a batch of {len}: {shown:?}");
    }
    let same = [references[5]; 40];
    let mut count = 0;
    bed.source
        .view_each(&same, &mut |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(count, 40);
}

/// What `f` returns comes out as it is, and nothing is shown after it; so does a damaged page's error.
pub fn a_batch_ends_with_the_first_error<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 40);
    bed.plant(33, &vec![0xEE; setup.size.bytes()]);
    let bed = bed.reopened();
    let mut shown = 0;
    let outcome = bed.source.view_each(&references[1..30], &mut |_, _| {
        shown += 1;
        if shown == 7 { Err(Error::io("test", 77, io::ErrorKind::Other.into())) } else { Ok(()) }
    });
    assert!(matches!(outcome, Err(Error::Io { op: "test", offset: 77, .. })), "{outcome:?}");
    assert_eq!(shown, 7);
    let outcome = bed.source.view_each(&references[1..], &mut |index, _| {
        assert_ne!(index, 32, "the damaged page is not shown");
        Ok(())
    });
    assert!(matches!(outcome, Err(Error::Corrupt { page, .. }) if page.get() == 33), "{outcome:?}");
    references[1..33].iter().chain(&references[34..]).for_each(|at| bed.expect(*at, 0));
}

/// A prefetch changes nothing but speed: not for damaged pages, nor for pages that are not there.
pub fn prefetch_is_a_hint<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, many(setup.size));
    bed.plant(9, &vec![0xEE; setup.size.bytes()]);
    let bed = bed.reopened();
    let beyond = |n: u64| PageRef::unchecked(pages::id(n));
    let mut hints = references[1..].to_vec();
    hints.extend([bed.source.len_pages(), 1 << 20, (1 << 40) - 1].map(beyond));
    bed.source.prefetch(&[]);
    for _ in 0..3 {
        bed.source.prefetch(&hints);
        bed.source.prefetch(&references[9..10]);
    }
    bed.expect_corrupt(references[9], "damaged and prefetched");
    bed.expect_corrupt(beyond(1 << 20), "beyond the file and prefetched");
    references[1..9].iter().chain(&references[10..]).for_each(|at| bed.expect(*at, 0));
    bed.source.prefetch(&hints);
}

/// Eight threads view, hold, prefetch, discard and batch at random, and each finds what it should.
pub fn threads_read_at_random<S: PageSource>(setup: &Setup<'_, S>) {
    const THREADS: u64 = 8;
    const STEPS: usize = 400;
    let (bed, references) = Bed::filled(setup, many(setup.size));
    let bed = bed.reopened();
    let (source, references) = (&bed.source, &references[1..]);
    let expected: Vec<Vec<u8>> =
        references.iter().map(|at| pages::page(setup.size, at.page().get(), 0).1).collect();
    let expected = &expected;
    let reader = |seed: u64| -> Result<()> {
        let mut rng = Rng::new(seed);
        let mut any = move || rng.below(references.len() as u64) as usize;
        let mut pins = Vec::new();
        for step in 0..STEPS {
            let mut visit = source.visit();
            for _ in 0..4 {
                let n = any();
                assert_same(visit.view(references[n])?, &expected[n], references[n].page());
            }
            let n = any();
            pins.push((n, visit.hold(references[n])?));
            drop(visit);
            if step % 16 == 0 {
                let batch: Vec<usize> = (0..12).map(|_| any()).collect();
                let asked: Vec<PageRef> = batch.iter().map(|n| references[*n]).collect();
                source.prefetch(&asked[..6]);
                source.view_each(&asked, &mut |i, bytes| {
                    assert_same(bytes, &expected[batch[i]], asked[i].page());
                    Ok(())
                })?;
                let from = references[any()].page();
                source.discard(from..from.plus(3));
            }
            if pins.len() > 5 {
                let (n, pin) = pins.swap_remove(step % 5);
                assert_same(&pin, &expected[n], references[n].page());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || reader(seed))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    });
}
