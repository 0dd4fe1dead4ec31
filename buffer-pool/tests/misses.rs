//! Misses: one read however many threads want the page, and none that stays loading whatever goes wrong.

#![expect(clippy::needless_for_each, reason = "one line a check")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold_page_source::testing::{Fault, FaultFs, Gate, OpKind};
use bifold_page_source::{Access, Error, FileSystem, MemFs, PageRef, PageSize, PageSource, PageWrite, Visit};
use bifold_pool::{Options, PoolSource};
use common::{fill, leaf, look, open, version};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

const SIZE: PageSize = PageSize::MIN;
const NAME: &str = "file";

/// A file system that obeys the test, with one file of `count` pages on it, and a pool over that.
fn watched(count: u64, options: &Options) -> (FaultFs, PoolSource, Vec<PageRef>) {
    let fs = FaultFs::new(Arc::new(MemFs::new())).without_descriptors();
    let file = fs.create_new(Path::new(NAME)).unwrap();
    let pages = fill(&*file, SIZE, count);
    let source = open(file, SIZE, options);
    (fs, source, pages)
}

/// Holds all reads back.
fn gate(fs: &FaultFs) -> Gate {
    fs.gate_reads(0..u64::MAX)
}

fn buffered() -> Options {
    Options::new().cache_size(1 << 20).direct(false)
}

#[test]
fn many_threads_that_miss_one_page_read_it_once() {
    let (fs, source, pages) = watched(100, &buffered());
    for at in &pages[10..20] {
        let (before, gate) = (fs.count(OpKind::Read), gate(&fs));
        std::thread::scope(|s| {
            for _ in 0..12 {
                s.spawn(|| look(&source, *at));
            }
            gate.wait_for(1);
            // Give the others time to arrive; they may not read, so nothing says when they have.
            (0..200).for_each(|_| std::thread::yield_now());
            gate.open();
        });
        assert_eq!(fs.count(OpKind::Read) - before, 1);
    }
    assert_eq!(source.stats().pages_read, 10);
}

#[test]
fn a_failed_read_wakes_everyone_and_is_tried_again() {
    let (fs, source, pages) = watched(100, &buffered());
    fs.fail(Fault::new(OpKind::Read));
    let gate = gate(&fs);
    let errors: usize = std::thread::scope(|s| {
        let threads: Vec<_> =
            (0..6).map(|_| s.spawn(|| usize::from(source.visit().view(pages[3]).is_err()))).collect();
        gate.wait_for(1);
        gate.open();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(errors, 1, "the one whose read failed; the others read again");
    fs.fail(Fault::new(OpKind::Read));
    let error = source.visit().view(pages[4]).unwrap_err();
    assert!(matches!(error, Error::Io { op: "read", offset: 2048, .. }), "{error}");
    look(&source, pages[4]);
}

#[test]
fn a_loader_that_panics_leaves_nothing_loading() {
    let (fs, source, pages) = watched(100, &buffered());
    fs.fail(Fault::new(OpKind::Read).panics());
    assert!(catch_unwind(AssertUnwindSafe(|| look(&source, pages[5]))).is_err());
    look(&source, pages[5]);
    // In a batch it is a thread of the pool that panics.
    fs.fail(Fault::new(OpKind::Read).panics());
    let spread: Vec<_> = pages[10..60].iter().step_by(3).copied().collect();
    source.view_each(&spread, &mut |_, _| Ok(())).unwrap();
    (0..2).for_each(|_| fs.fail(Fault::new(OpKind::Read).panics()));
    source.prefetch(&pages[70..90]);
    pages.iter().for_each(|at| drop(catch_unwind(AssertUnwindSafe(|| look(&source, *at)))));
    pages.iter().for_each(|at| look(&source, *at));
}

#[test]
fn a_caller_that_panics_in_a_batch_leaves_nothing_loading() {
    let (_fs, source, pages) = watched(200, &buffered());
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
    let (fs, source, pages) = watched(400, &buffered().cache_size(16 << 20));
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
    assert!(fs.count(OpKind::Read) <= 4, "{} reads of 60 neighbours", fs.count(OpKind::Read));
}

#[test]
fn two_batches_that_want_the_same_pages_do_not_wait_for_each_other() {
    let (_fs, source, pages) = watched(300, &Options::new().frames(64, SIZE).direct(false));
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
    let (fs, source, pages) = watched(100, &buffered());
    for round in 1..20 {
        let gate = gate(&fs);
        source.prefetch(&[pages[7]]);
        gate.wait_for(1);
        let (at, bytes) = leaf(SIZE, 7, round);
        // SAFETY: nobody looks at page 7; the read ahead is what this test is about.
        #[expect(unsafe_code, reason = "the promise is kept")]
        unsafe {
            source.write(&[PageWrite { at, replaces: None, bytes: &bytes }]).unwrap();
        }
        gate.open();
        assert_eq!(version(source.visit().view(at).unwrap()), round);
        source.discard(at.page()..at.page().plus(1));
    }
}

#[test]
fn read_ahead_brings_pages_before_they_are_asked_for() {
    let (fs, source, pages) = watched(400, &buffered());
    source.prefetch(&pages[50..90]);
    pages[50..90].iter().for_each(|at| look(&source, *at));
    assert_eq!(source.stats().pages_read, 40);
    assert!(fs.count(OpKind::Read) <= 40);
    // More than there is room for is left out, and harmless.
    (0..20).for_each(|_| source.prefetch(&pages));
    pages.iter().for_each(|at| look(&source, *at));
}

#[test]
fn a_pool_that_is_dropped_while_it_reads_ahead_ends() {
    let (fs, source, pages) = watched(400, &buffered().io_threads(2));
    let gate = gate(&fs);
    source.prefetch(&pages.iter().step_by(2).copied().collect::<Vec<_>>());
    gate.wait_for(2);
    let opener = std::thread::spawn(move || gate.open());
    drop(source);
    opener.join().unwrap();
}

#[test]
fn a_page_whose_parent_expects_another_version_is_corrupt_also_on_a_hit() {
    let (_fs, source, pages) = watched(100, &buffered());
    look(&source, pages[9]);
    let (stale, _) = leaf(SIZE, 9, 1);
    assert!(matches!(source.visit().view(stale), Err(Error::Corrupt { page, .. }) if page.get() == 9));
    assert!(source.visit().hold(stale).is_err());
    assert!(source.view_each(&[stale], &mut |_, _| Ok(())).is_err());
    look(&source, pages[9]);
}

#[test]
fn a_file_that_got_shorter_is_corrupt() {
    let (fs, source, pages) = watched(100, &buffered());
    fs.open(Path::new(NAME), Access::ReadWrite).unwrap().set_len(50 * 512 + 100).unwrap();
    assert!(matches!(source.visit().view(pages[50]), Err(Error::Corrupt { page, .. }) if page.get() == 50));
    let outcome = source.view_each(&pages[40..60], &mut |_, _| Ok(()));
    assert!(matches!(outcome, Err(Error::Corrupt { page, .. }) if page.get() == 50), "{outcome:?}");
    look(&source, pages[49]);
}

#[test]
fn direct_calls_that_are_refused_go_through_the_page_cache() {
    let size = PageSize::DEFAULT;
    for kind in [OpKind::Read, OpKind::Write] {
        let fs = FaultFs::new(Arc::new(MemFs::new()));
        let file = fs.create_new(Path::new(NAME)).unwrap();
        let pages = fill(&*file, size, 100);
        let source = open(file, size, &Options::new().cache_size(1 << 20));
        if !source.stats().direct {
            println!("skipped: files in memory cannot be read past the page cache here");
            return;
        }
        // Some file systems say so only when it comes to reading or writing.
        fs.fail(Fault::new(kind).error(ErrorKind::InvalidInput));
        let (at, bytes) = leaf(size, 3, 1);
        // SAFETY: nobody else uses the source.
        #[expect(unsafe_code, reason = "the promise is kept")]
        unsafe {
            source.write(&[PageWrite { at, replaces: None, bytes: &bytes }]).unwrap();
        }
        source.discard(at.page()..at.page().plus(1));
        assert_eq!(version(source.visit().view(at).unwrap()), 1);
        pages[4..].iter().for_each(|at| look(&source, *at));
        assert!(!source.stats().direct, "one refusal will do");
        assert_eq!(fs.fired(), 1);
    }
}

#[test]
fn what_was_written_is_cached() {
    let (fs, source, pages) = watched(200, &buffered());
    source.grow(300).unwrap();
    pages[..50].iter().for_each(|at| look(&source, *at));
    let new: Vec<_> = (200..260).map(|n| leaf(SIZE, n, 1)).collect();
    let writes: Vec<_> = (0..60)
        .map(|i| PageWrite { at: new[i].0, replaces: Some(pages[i].page()), bytes: &new[i].1 })
        .collect();
    let writes_before = fs.count(OpKind::Write);
    // SAFETY: nobody knows the new pages yet.
    #[expect(unsafe_code, reason = "the promise is kept")]
    unsafe {
        source.write(&writes).unwrap();
    }
    assert_eq!(fs.count(OpKind::Write) - writes_before, 1, "neighbours in one call");
    let before = fs.count(OpKind::Read);
    new.iter().for_each(|(at, _)| look(&source, *at));
    assert_eq!(fs.count(OpKind::Read), before, "successors of cached pages, and of others");
}
