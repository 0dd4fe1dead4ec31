//! A small cache under pressure: scans, more pins than frames, more threads than frames have room for.

#![expect(clippy::needless_for_each, reason = "one line a check")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold_page_source::testing::pages::Rng;
use bifold_page_source::{PageRef, PageSize, PageSource, PageWrite, Visit};
use bifold_pool::{Options, PoolPin, PoolSource};
use common::{fill, leaf, look, memory_file, number, open, version};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A pool with this cache over a file of `count` pages.
fn pool(size: PageSize, count: u64, options: &Options) -> (PoolSource, Vec<PageRef>) {
    let file = memory_file();
    let references = fill(&*file, size, count);
    (open(file, size, options), references)
}

#[test]
fn a_scan_of_ten_times_the_cache_leaves_the_hot_pages() {
    // By views alone; with read-ahead; and with pins, as cursors do it.
    for way in 0..3 {
        let (source, pages) = pool(PageSize::MIN, 26_000, &Options::new().frames(2048, PageSize::MIN));
        let hot = &pages[..600];
        (0..4).for_each(|_| hot.iter().for_each(|at| look(&source, *at)));
        for scanned in pages[1000..21_480].chunks(32) {
            match way {
                0 => scanned.iter().for_each(|at| look(&source, *at)),
                1 => {
                    source.prefetch(scanned);
                    scanned.iter().for_each(|at| look(&source, *at));
                }
                _ => scanned.iter().for_each(|at| {
                    let pin = source.visit().hold(*at).unwrap();
                    assert_eq!(number(&pin.clone()), at.page().get());
                }),
            }
        }
        let before = source.stats().pages_read;
        hot.iter().for_each(|at| look(&source, *at));
        let missed = source.stats().pages_read - before;
        assert!(missed <= 60, "way {way}: {missed} of 600 hot pages are gone");
    }
}

#[test]
fn a_million_pins_are_held_under_a_small_cache() {
    let size = PageSize::DEFAULT;
    let (source, pages) = pool(size, 12_000, &Options::new().cache_size(16 << 20));
    let mut rng = Rng::new(1);
    let pins: Vec<PoolPin<'_>> = (0..1_000_000)
        .map(|_| source.visit().hold(pages[rng.below(pages.len() as u64) as usize]).unwrap())
        .collect();
    let stats = source.stats();
    assert!(stats.pages_pinned <= 2048 && stats.pages_pinned > 1500, "{stats:?}");
    assert!(stats.bytes_copied_out <= 12_000 * 4096, "a copy is shared by all who hold the page: {stats:?}");
    assert!(stats.used_bytes <= stats.budget_bytes, "{stats:?}");
    // The rest of the cache serves others meanwhile: what is looked at again is there.
    for _ in 0..2 {
        pages[..500].iter().for_each(|at| look(&source, *at));
    }
    let before = source.stats().pages_read;
    pages[..500].iter().for_each(|at| look(&source, *at));
    assert_eq!(source.stats().pages_read, before);
    let mut rng = Rng::new(1);
    for pin in &pins {
        assert_eq!(number(pin), rng.below(pages.len() as u64));
    }
    drop(pins);
    assert_eq!(source.stats().pages_pinned, 0);
}

#[test]
fn pins_may_be_leaked() {
    let (source, pages) = pool(PageSize::MIN, 1000, &Options::new().frames(64, PageSize::MIN));
    for at in &pages[..200] {
        std::mem::forget(source.visit().hold(*at).unwrap());
    }
    // Their places are written anew all the same, and read, and written again.
    for round in 1..4 {
        for number in 0..200 {
            let (at, bytes) = leaf(PageSize::MIN, number, round);
            // SAFETY: every pin of the page is leaked, and no reference to its bytes is left.
            #[expect(unsafe_code, reason = "the promise is kept")]
            unsafe {
                source.write(&[PageWrite { at, replaces: None, bytes: &bytes }]).unwrap();
            }
            assert_eq!(version(source.visit().view(at).unwrap()), round);
        }
    }
    pages[200..].iter().for_each(|at| look(&source, *at));
}

#[test]
fn threads_make_progress_with_half_of_64_frames_pinned() {
    let (source, pages) = pool(PageSize::MIN, 3000, &Options::new().frames(64, PageSize::MIN));
    let held: Vec<_> = pages[..100].iter().map(|at| source.visit().hold(*at).unwrap()).collect();
    std::thread::scope(|s| {
        for thread in 0..20 {
            let (source, pages) = (&source, &pages);
            s.spawn(move || {
                let mut rng = Rng::new(thread);
                for round in 0..2000u64 {
                    let at = pages[rng.below(pages.len() as u64) as usize];
                    match round % 8 {
                        0 => assert_eq!(number(&source.visit().hold(at).unwrap()), at.page().get()),
                        1 => source.prefetch(&[at]),
                        2 => source.discard(at.page()..at.page().plus(2)),
                        _ => look(source, at),
                    }
                }
            });
        }
    });
    held.iter().zip(&pages).for_each(|(pin, at)| assert_eq!(number(pin), at.page().get()));
}

#[test]
fn pages_are_rewritten_beside_readers_of_others() {
    // Even pages are rewritten by one thread, which then reads them; odd pages are read by all.
    let (source, pages) = pool(PageSize::MIN, 600, &Options::new().frames(64, PageSize::MIN));
    let done = AtomicUsize::new(0);
    std::thread::scope(|s| {
        for thread in 0..4 {
            let (source, pages, done) = (&source, &pages, &done);
            s.spawn(move || {
                let mut rng = Rng::new(thread);
                while done.load(Ordering::Relaxed) == 0 {
                    let at = pages[rng.below(300) as usize * 2 + 1];
                    look(source, at);
                    // Read-ahead may blunder into pages that are being written.
                    source.prefetch(&[PageRef::unchecked(at.page().plus(1))]);
                }
            });
        }
        let mut rng = Rng::new(99);
        for round in 1..3000 {
            let number = rng.below(300) * 2;
            let (at, bytes) = leaf(PageSize::MIN, number, round);
            // SAFETY: even pages are looked at by this thread only, and not now.
            #[expect(unsafe_code, reason = "the promise is kept")]
            unsafe {
                source.write(&[PageWrite { at, replaces: Some(at.page()), bytes: &bytes }]).unwrap();
            }
            assert_eq!(version(source.visit().view(at).unwrap()), round);
        }
        done.store(1, Ordering::Relaxed);
    });
}

#[test]
fn frames_are_given_up_for_the_translation_of_a_large_file() {
    let (size, file) = (PageSize::MIN, memory_file());
    let options = Options::new().cache_size(1 << 20).direct(false);
    // One page in each system page of the translation, so that 128 pages cost half the budget.
    let stride = 512;
    file.set_len(stride * 512 * 512).unwrap();
    let pages: Vec<_> = (0..128)
        .map(|i| {
            let (at, bytes) = leaf(size, i * stride + 7, 0);
            file.write_at(&bytes, at.page().offset(size)).unwrap();
            at
        })
        .collect();
    let near: Vec<_> = (0..400)
        .map(|i| {
            let (at, bytes) = leaf(size, i + 8, 0);
            file.write_at(&bytes, at.page().offset(size)).unwrap();
            at
        })
        .collect();
    let source = open(file, size, &options);
    let held: Vec<_> = near.iter().map(|at| source.visit().hold(*at).unwrap()).collect();
    for _ in 0..3 {
        pages.iter().chain(&near).for_each(|at| look(&source, *at));
    }
    assert!(held.iter().zip(&near).all(|(pin, at)| number(pin) == at.page().get()));
    drop(held);
    for _ in 0..3 {
        pages.iter().chain(&near).for_each(|at| look(&source, *at));
        let stats = source.stats();
        assert!(stats.used_bytes <= stats.budget_bytes, "{stats:?}");
        assert!(stats.used_bytes > stats.budget_bytes / 2, "{stats:?}");
    }
}

#[test]
fn random_operations_follow_a_model() {
    let size = PageSize::MIN;
    for seed in 0..8 {
        let (source, pages) = pool(size, 300, &Options::new().frames(64, size));
        let mut model: Vec<(PageRef, u64)> = pages.into_iter().map(|at| (at, 0)).collect();
        let mut rng = Rng::new(seed);
        for round in 1..4000 {
            let i = rng.below(model.len() as u64) as usize;
            let at = model[i].0;
            match rng.below(12) {
                0 => source.discard(at.page()..at.page().plus(rng.below(20))),
                1 => source.prefetch(&model.iter().skip(i).take(10).map(|m| m.0).collect::<Vec<_>>()),
                2 => source.grow(model.len() as u64).unwrap(),
                3 | 4 => {
                    let numbers = i..(i + 1 + rng.below(9) as usize).min(model.len());
                    let new: Vec<_> = numbers.map(|n| leaf(size, n as u64, round)).collect();
                    let replaces = Some(model[rng.below(model.len() as u64) as usize].0.page());
                    let writes: Vec<_> =
                        new.iter().map(|(at, bytes)| PageWrite { at: *at, replaces, bytes }).collect();
                    // SAFETY: one thread, which holds nothing now.
                    #[expect(unsafe_code, reason = "the promise is kept")]
                    unsafe {
                        source.write(&writes).unwrap();
                    }
                    new.iter().for_each(|(at, _)| model[at.page().get() as usize] = (*at, round));
                }
                5 => {
                    let batch: Vec<_> = model.iter().skip(i).step_by(3).map(|m| m.0).collect();
                    let mut check = |n: usize, bytes: &[u8]| {
                        assert_eq!(version(bytes), model[batch[n].page().get() as usize].1);
                        Ok(())
                    };
                    source.view_each(&batch, &mut check).unwrap();
                }
                6 => assert_eq!(version(&source.visit().hold(at).unwrap().clone()), model[i].1),
                _ => assert_eq!(version(source.visit().view(at).unwrap()), model[i].1),
            }
        }
        assert_eq!(source.stats().pages_pinned, 0);
    }
}
