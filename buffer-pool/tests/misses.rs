//! Misses: one read however many threads want the page, and none that stays loading whatever goes wrong.

#![expect(clippy::needless_for_each, reason = "one line a check")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold_page_source::{Error, File, PageSize, PageSource, PageWrite, Visit};
use bifold_pool::Options;
use common::{Watched, fill, leaf, look, memory_file, open, version};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const SIZE: PageSize = PageSize::MIN;

/// A watched file of `count` pages, and a pool over it.
fn watched(
    count: u64,
    options: &Options,
) -> (Arc<Watched>, bifold_pool::PoolSource, Vec<bifold_page_source::PageRef>) {
    let file = Watched::new(memory_file());
    let references = fill(&*file, SIZE, count);
    let source = open(file.clone(), SIZE, options);
    (file, source, references)
}

fn buffered() -> Options {
    Options::new().cache_size(1 << 20).direct(false)
}

#[test]
fn many_threads_that_miss_one_page_read_it_once() {
    let (file, source, pages) = watched(100, &buffered());
    for at in &pages[10..20] {
        let before = file.begun.load(Ordering::SeqCst);
        file.close_gate();
        std::thread::scope(|s| {
            for _ in 0..12 {
                s.spawn(|| look(&source, *at));
            }
            file.await_reads(before + 1);
            // Give the others time to arrive; they may not read, so nothing says when they have.
            (0..200).for_each(|_| std::thread::yield_now());
            file.open_gate();
        });
        assert_eq!(file.reads_of(*at, SIZE), 1);
    }
    assert_eq!(source.stats().pages_read, 10);
}

#[test]
fn a_failed_read_wakes_everyone_and_is_tried_again() {
    let (file, source, pages) = watched(100, &buffered());
    file.fail.store(1, Ordering::SeqCst);
    file.close_gate();
    let errors: usize = std::thread::scope(|s| {
        let threads: Vec<_> =
            (0..6).map(|_| s.spawn(|| usize::from(source.visit().view(pages[3]).is_err()))).collect();
        file.await_reads(1);
        file.open_gate();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(errors, 1, "the one whose read failed; the others read again");
    file.fail.store(1, Ordering::SeqCst);
    let error = source.visit().view(pages[4]).unwrap_err();
    assert!(matches!(error, Error::Io { op: "read", offset: 2048, .. }), "{error}");
    look(&source, pages[4]);
}

#[test]
fn a_loader_that_panics_leaves_nothing_loading() {
    let (file, source, pages) = watched(100, &buffered());
    file.panic.store(1, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| look(&source, pages[5]))).is_err());
    look(&source, pages[5]);
    // In a batch it is a thread of the pool that panics.
    file.panic.store(1, Ordering::SeqCst);
    let spread: Vec<_> = pages[10..60].iter().step_by(3).copied().collect();
    source.view_each(&spread, &mut |_, _| Ok(())).unwrap();
    file.panic.store(2, Ordering::SeqCst);
    source.prefetch(&pages[70..90]);
    pages.iter().for_each(|at| drop(catch_unwind(AssertUnwindSafe(|| look(&source, *at)))));
    pages.iter().for_each(|at| look(&source, *at));
}

#[test]
fn a_caller_that_panics_in_a_batch_leaves_nothing_loading() {
    let (_file, source, pages) = watched(200, &buffered());
    let shown = catch_unwind(AssertUnwindSafe(|| {
        source.view_each(&pages, &mut |i, _| {
            assert!(i < 30, "a test's panic");
            Ok(())
        })
    }));
    assert!(shown.is_err());
    pages.iter().for_each(|at| look(&source, *at));
}

#[test]
fn a_batch_reads_each_page_once_and_neighbours_together() {
    let (file, source, pages) = watched(400, &buffered().cache_size(16 << 20));
    let batch: Vec<_> = pages[100..160].iter().chain(&pages[100..160]).copied().collect();
    let mut shown = 0;
    source
        .view_each(&batch, &mut |_, _| {
            shown += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(shown, 120);
    assert_eq!(source.stats().pages_read, 60);
    assert!(file.total_reads() <= 4, "{} reads of 60 neighbours", file.total_reads());
}

#[test]
fn two_batches_that_want_the_same_pages_do_not_wait_for_each_other() {
    let (_file, source, pages) = watched(300, &Options::new().frames(64, SIZE).direct(false));
    std::thread::scope(|s| {
        for thread in 0..6 {
            let (source, pages) = (&source, &pages);
            s.spawn(move || {
                for round in 0..50 {
                    let mut batch: Vec<_> = pages[round..].iter().step_by(7 + thread).copied().collect();
                    if thread % 2 == 0 {
                        batch.reverse();
                    }
                    let check = |i: usize, bytes: &[u8]| {
                        assert_eq!(common::number(bytes), batch[i].page().get());
                        Ok(())
                    };
                    source.view_each(&batch, &mut { check }).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_write_dooms_the_load_in_flight() {
    let (file, source, pages) = watched(100, &buffered());
    for round in 1..20 {
        let before = file.begun.load(Ordering::SeqCst);
        file.close_gate();
        source.prefetch(&[pages[7]]);
        file.await_reads(before + 1);
        let (at, bytes) = leaf(SIZE, 7, round);
        // SAFETY: nobody looks at page 7; the read ahead is what this test is about.
        #[expect(unsafe_code, reason = "the promise is kept")]
        unsafe {
            source.write(&[PageWrite { at, replaces: None, bytes: &bytes }]).unwrap();
        }
        file.open_gate();
        assert_eq!(version(source.visit().view(at).unwrap()), round);
        source.discard(at.page()..at.page().plus(1));
    }
}

#[test]
fn read_ahead_brings_pages_before_they_are_asked_for() {
    let (file, source, pages) = watched(400, &buffered());
    source.prefetch(&pages[50..90]);
    pages[50..90].iter().for_each(|at| look(&source, *at));
    assert_eq!(source.stats().pages_read, 40);
    assert!(file.total_reads() <= 40);
    // More than there is room for is left out, and harmless.
    (0..20).for_each(|_| source.prefetch(&pages));
    pages.iter().for_each(|at| look(&source, *at));
}

#[test]
fn a_pool_that_is_dropped_while_it_reads_ahead_ends() {
    let (file, source, pages) = watched(400, &buffered().io_threads(2));
    file.close_gate();
    source.prefetch(&pages.iter().step_by(2).copied().collect::<Vec<_>>());
    file.await_reads(2);
    let opener = std::thread::spawn(move || file.open_gate());
    drop(source);
    opener.join().unwrap();
}

#[test]
fn a_page_whose_parent_expects_another_version_is_corrupt_also_on_a_hit() {
    let (_file, source, pages) = watched(100, &buffered());
    look(&source, pages[9]);
    let (stale, _) = leaf(SIZE, 9, 1);
    assert!(matches!(source.visit().view(stale), Err(Error::Corrupt { page, .. }) if page.get() == 9));
    assert!(source.visit().hold(stale).is_err());
    assert!(source.view_each(&[stale], &mut |_, _| Ok(())).is_err());
    look(&source, pages[9]);
}

#[test]
fn a_file_that_got_shorter_is_corrupt() {
    let (file, source, pages) = watched(100, &buffered());
    file.set_len(50 * 512 + 100).unwrap();
    assert!(matches!(source.visit().view(pages[50]), Err(Error::Corrupt { page, .. }) if page.get() == 50));
    let outcome = source.view_each(&pages[40..60], &mut |_, _| Ok(()));
    assert!(matches!(outcome, Err(Error::Corrupt { page, .. }) if page.get() == 50), "{outcome:?}");
    look(&source, pages[49]);
}

#[test]
fn direct_calls_that_are_refused_go_through_the_page_cache() {
    let file = Watched::new(memory_file());
    file.has_direct.store(true, Ordering::SeqCst);
    file.refuse.store(true, Ordering::SeqCst);
    let pages = fill(&*file, SIZE, 100);
    let source = open(file.clone(), SIZE, &Options::new().cache_size(1 << 20));
    assert!(source.stats().direct);
    let (at, bytes) = leaf(SIZE, 3, 1);
    // SAFETY: nobody else uses the source.
    #[expect(unsafe_code, reason = "the promise is kept")]
    unsafe {
        source.write(&[PageWrite { at, replaces: None, bytes: &bytes }]).unwrap();
    }
    assert!(!source.stats().direct);
    assert_eq!(version(source.visit().view(at).unwrap()), 1);
    pages[4..].iter().for_each(|at| look(&source, *at));
}

#[test]
fn a_page_that_replaces_a_cached_one_is_cached() {
    let (file, source, pages) = watched(200, &buffered());
    source.grow(300).unwrap();
    pages[..50].iter().for_each(|at| look(&source, *at));
    let new: Vec<_> = (200..260).map(|n| leaf(SIZE, n, 1)).collect();
    let writes: Vec<_> = (0..60)
        .map(|i| PageWrite { at: new[i].0, replaces: Some(pages[i].page()), bytes: &new[i].1 })
        .collect();
    let writes_before = file.writes.load(Ordering::SeqCst);
    // SAFETY: nobody knows the new pages yet.
    #[expect(unsafe_code, reason = "the promise is kept")]
    unsafe {
        source.write(&writes).unwrap();
    }
    assert_eq!(file.writes.load(Ordering::SeqCst) - writes_before, 1, "neighbours in one call");
    let before = file.total_reads();
    new[..50].iter().for_each(|(at, _)| look(&source, *at));
    assert_eq!(file.total_reads(), before, "successors of cached pages");
    new[50..].iter().for_each(|(at, _)| look(&source, *at));
    assert_eq!(file.total_reads(), before + 10);
}
