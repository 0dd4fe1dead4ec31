//! What becomes of written pages: they are kept for whoever looks at them next, and drive out nothing that is used.

#![expect(clippy::needless_for_each, reason = "one line a check")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold_page_source::{PageId, PageRef, PageSize, PageSource, PageWrite, Visit};
use bifold_pool::{Options, PoolSource};
use common::{fill, leaf, look, memory_file, number, open};
use std::ops::Range;

const SIZE: PageSize = PageSize::MIN;

/// Writes new pages in pieces of 100, each in place of the page that `replaces` names.
fn write(source: &PoolSource, numbers: Range<u64>, replaces: impl Fn(u64) -> Option<PageId>) -> Vec<PageRef> {
    let mut references = Vec::new();
    for piece in numbers.collect::<Vec<_>>().chunks(100) {
        let made: Vec<_> = piece.iter().map(|&n| leaf(SIZE, n, 1)).collect();
        let writes: Vec<_> = made
            .iter()
            .map(|(at, bytes)| PageWrite { at: *at, replaces: replaces(at.page().get()), bytes })
            .collect();
        // SAFETY: nobody knows the new pages yet.
        #[expect(unsafe_code, reason = "the promise is kept")]
        unsafe {
            source.write(&writes).unwrap();
        }
        references.extend(writes.iter().map(|write| write.at));
    }
    references
}

/// How many pages are read from the file to look at these.
fn reads_for(source: &PoolSource, pages: &[PageRef]) -> u64 {
    let before = source.stats().pages_read;
    for at in pages {
        look(source, *at);
    }
    source.stats().pages_read - before
}

/// A pool of this many frames over a file of `count` written pages and room for `more`.
fn pool(frames: u32, count: u64, more: u64) -> (PoolSource, Vec<PageRef>) {
    let file = memory_file();
    let references = fill(&*file, SIZE, count);
    // Room enough for the words of all pages.
    let spare = (count + more) * 8 * 25;
    let options = Options::new().frames(frames, SIZE);
    let budget = options.cache_size.max(spare);
    let source = open(file, SIZE, &options.cache_size(budget).direct(false));
    source.grow(count + more).unwrap();
    (source, references)
}

#[test]
fn pages_just_written_are_not_read_again() {
    let (source, pages) = pool(2048, 8000, 1000);
    // A full cache, all of it used.
    for _ in 0..3 {
        pages[..2500].iter().for_each(|at| look(&source, *at));
    }
    let frames = source.stats().used_bytes / SIZE.bytes() as u64;
    let share = frames / 10;
    let new = write(&source, 8000..8000 + share.min(200), |_| None);
    assert_eq!(source.stats().pages_kept, new.len() as u64);
    assert_eq!(reads_for(&source, &new), 0);
    for at in &new {
        assert_eq!(number(&source.visit().hold(*at).unwrap()), at.page().get());
    }
    assert_eq!(reads_for(&source, &new), 0);
}

#[test]
fn an_empty_cache_keeps_all_that_fits() {
    let (source, _) = pool(2048, 10, 3000);
    let new = write(&source, 10..1800, |_| None);
    assert_eq!(reads_for(&source, &new), 0, "{:?}", source.stats());
    let stats = source.stats();
    assert_eq!((stats.pages_kept, stats.pages_read, stats.evictions), (new.len() as u64, 0, 0));
}

#[test]
fn a_write_of_ten_times_the_cache_leaves_the_hot_pages() {
    // Pages that replace none; those of pages not in memory; and those of pages that have just been evicted.
    for way in 0..3 {
        let (source, pages) = pool(2048, 30_000, 30_000);
        let hot = &pages[..900];
        for _ in 0..4 {
            hot.iter().for_each(|at| look(&source, *at));
        }
        let replaced = |n: u64| match way {
            0 => None,
            1 => PageId::new(n - 30_000 + 1000),
            _ => PageId::new(n - 30_000 + 3000),
        };
        if way == 2 {
            pages[3000..25_000].iter().for_each(|at| look(&source, *at));
        }
        let before = source.stats();
        let new = write(&source, 30_000..52_000, replaced);
        let after = source.stats();
        assert!(after.pages_kept - before.pages_kept > new.len() as u64 * 9 / 10, "way {way}: {after:?}");
        assert!(after.used_bytes <= after.budget_bytes, "way {way}: {after:?}");
        let missed = reads_for(&source, hot);
        assert!(missed <= 90, "way {way}: {missed} of {} hot pages are gone", hot.len());
        // Looked at once each, what was written passes as a scan does, whether it was kept or not.
        reads_for(&source, &new);
        let missed = reads_for(&source, hot);
        assert!(missed <= 90, "way {way}: {missed} of {} hot pages are gone after a scan", hot.len());
    }
}

#[test]
fn hot_pages_stay_hot_in_their_new_places() {
    let (source, pages) = pool(2048, 30_000, 2000);
    let hot = &pages[..900];
    for _ in 0..4 {
        hot.iter().for_each(|at| look(&source, *at));
    }
    let new = write(&source, 30_000..30_900, |n| PageId::new(n - 30_000));
    assert_eq!(reads_for(&source, &new), 0);
    pages[1000..25_000].iter().for_each(|at| look(&source, *at));
    let missed = reads_for(&source, &new);
    assert!(missed <= 90, "{missed} of {} successors of hot pages are gone", new.len());
}

#[test]
fn few_frames_are_given_up_to_keep_what_nobody_asked_for() {
    let file = memory_file();
    let pages = fill(&*file, SIZE, 1000);
    let source = open(file, SIZE, &Options::new().cache_size(1 << 20).direct(false));
    source.grow(200_000).unwrap();
    for _ in 0..3 {
        pages.iter().for_each(|at| look(&source, *at));
    }
    write(&source, 1000..200_000, |_| None);
    let stats = source.stats();
    assert!(stats.used_bytes <= stats.budget_bytes, "{stats:?}");
    assert!(stats.pages_kept < 20_000, "words for more would have taken frames: {stats:?}");
    let missed = reads_for(&source, &pages);
    assert!(missed <= 100, "{missed} of {} hot pages are gone", pages.len());
}

#[test]
fn a_write_that_fails_keeps_nothing() {
    use bifold_page_source::testing::{Fault, FaultFs, OpKind};
    use bifold_page_source::{FileSystem, MemFs};
    let fs = FaultFs::new(std::sync::Arc::new(MemFs::new()));
    let file = fs.create_new(std::path::Path::new("x")).unwrap();
    let pages = fill(&*file, SIZE, 100);
    let source = open(file, SIZE, &Options::new().cache_size(1 << 20).direct(false));
    look(&source, pages[5]);
    let (at, bytes) = leaf(SIZE, 5, 1);
    fs.fail(Fault::new(OpKind::Write));
    // SAFETY: nobody looks at page 5 now.
    #[expect(unsafe_code, reason = "the promise is kept")]
    let outcome = unsafe { source.write(&[PageWrite { at, replaces: Some(at.page()), bytes: &bytes }]) };
    assert!(outcome.is_err());
    assert_eq!(source.stats().pages_kept, 0);
    assert!(source.visit().view(at).is_err(), "the new version is not on file");
    look(&source, pages[5]);
}
