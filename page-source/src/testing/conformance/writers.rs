//! Conformance: a writer beside a writer, as a checkpoint runs beside a transaction, among readers.
//!
//! Each call keeps to its own places, as the contract asks; everything that is read is compared with what was written.
#![forbid(unsafe_code)]

use super::bed::{Bed, Setup, assert_same, try_write, write_extent};
use super::many;
use crate::testing::pages::{self, Rng};
use crate::testing::{FaultFs, OpKind};
use crate::{CHUNK_SIZE, FileSystem, MemFs, PageRef, PageSize, PageSource, PageWrite, Visit};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

/// All tests of this file.
pub fn writers<S: PageSource>(setup: &Setup<'_, S>) {
    a_checkpoint_beside_a_transaction(setup);
    two_writers_of_neighbouring_places(setup);
    two_that_grow_get_what_they_asked_for(setup);
    nobody_waits_for_a_writers_disk(setup);
}

/// How many checkpoints are written.
const CHECKPOINTS: u64 = 20;

/// The pages of a test: some that never change, then two places for each of the pages that do.
struct Place {
    size: PageSize,
    still: Range<u64>,
    first: u64,
    count: u64,
}

impl Place {
    fn of(size: PageSize) -> Self {
        let part = many(size) / 4;
        Self { size, still: 1..part, first: part, count: part }
    }

    /// Behind the last page; extents lie from here on.
    fn end(&self) -> u64 {
        self.first + 2 * self.count
    }

    /// Where a version of a page goes: not where the version before it is.
    fn home(&self, page: u64, turn: bool) -> u64 {
        self.first + page + if turn { self.count } else { 0 }
    }
}

/// What is reachable now: for each page its reference, version, and which of its places it is in.
type Root = RwLock<Vec<(PageRef, u64, bool)>>;

/// Tells the others to end, however its thread ends.
struct EndOthers<'a>(&'a AtomicBool);

impl Drop for EndOthers<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A checkpoint writes pages, syncs, publishes and discards; a transaction grows the file, writes extents into it,
/// reads them, syncs and discards them; readers view, hold, batch, read ahead and discard; all at the same time.
pub fn a_checkpoint_beside_a_transaction<S: PageSource>(setup: &Setup<'_, S>) {
    let place = Place::of(setup.size);
    let (bed, references) = Bed::filled(setup, place.end());
    let root: Root =
        RwLock::new((0..place.count).map(|p| (references[(place.first + p) as usize], 0, false)).collect());
    let still = &references[..place.still.end as usize];
    let (source, before, done) = (&bed.source, bed.source.stats(), AtomicBool::new(false));
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (place, root, done, written) = (&place, &root, &done, &written);
        for seed in 0..2 {
            scope.spawn(move || read(source, place, still, root, seed, done));
        }
        scope.spawn(move || transact(source, place, done, written));
        let _end = EndOthers(done);
        (1..=CHECKPOINTS).for_each(|version| checkpoint(source, place, root, version, written));
    });
    let after = bed.source.stats();
    assert_eq!(after.pages_written - before.pages_written, written.into_inner());
    let (bed, root) = (bed.reopened(), root.into_inner().unwrap());
    root.iter().for_each(|(at, version, _)| bed.expect(*at, *version));
    still[1..].iter().for_each(|at| bed.expect(*at, 0));
}

/// Writes a version of some of the pages to their other places, and shows them to the readers.
fn checkpoint<S: PageSource>(source: &S, place: &Place, root: &Root, version: u64, written: &AtomicU64) {
    let old = root.read().unwrap().clone();
    let chosen: Vec<u64> = (version % 5..place.count).step_by(1 + (version % 3) as usize).collect();
    let mut new = old.clone();
    for batch in chosen.chunks(16) {
        let homes = batch.iter().map(|&page| place.home(page, !old[page as usize].2));
        let made: Vec<_> = homes.map(|home| pages::page(place.size, home, version)).collect();
        let writes: Vec<_> = batch
            .iter()
            .zip(&made)
            .map(|(&page, (at, bytes))| {
                let replaces = (page % 4 != 0).then(|| old[page as usize].0.page());
                PageWrite { at: *at, replaces, bytes }
            })
            .collect();
        try_write(source, &writes).unwrap();
        written.fetch_add(writes.len() as u64, Ordering::Relaxed);
        for (&page, (at, _)) in batch.iter().zip(&made) {
            new[page as usize] = (*at, version, !old[page as usize].2);
        }
    }
    source.sync().unwrap();
    // From here on nobody looks at the old places.
    (*root.write().unwrap()).clone_from(&new);
    for &page in &chosen {
        let (at, _, _) = old[page as usize];
        source.discard(at.page()..at.page().plus(1));
    }
    for (at, version, _) in new {
        let expected = pages::page(place.size, at.page().get(), version).1;
        assert_same(source.visit().view(at).unwrap(), &expected, at.page());
    }
}

/// Looks at what the root names and at what never changes, and reads ahead whatever there is.
fn read<S: PageSource>(
    source: &S,
    place: &Place,
    still: &[PageRef],
    root: &Root,
    seed: u64,
    done: &AtomicBool,
) {
    let (mut rng, mut pins) = (Rng::new(seed), Vec::new());
    let check = |at: PageRef, version: u64, bytes: &[u8]| {
        assert_same(bytes, &pages::page(place.size, at.page().get(), version).1, at.page());
    };
    while !done.load(Ordering::Acquire) {
        let now = root.read().unwrap();
        let (at, version, _) = now[rng.below(place.count) as usize];
        check(at, version, source.visit().view(at).unwrap());
        let some: Vec<_> = (0..4).map(|_| now[rng.below(place.count) as usize]).collect();
        let batch: Vec<_> = some.iter().map(|(at, ..)| *at).collect();
        source
            .view_each(&batch, &mut |i, bytes| {
                check(some[i].0, some[i].1, bytes);
                Ok(())
            })
            .unwrap();
        drop(now);
        // Also pages that are being written at this moment.
        let ahead = place.first + rng.below(2 * place.count - 4);
        source.prefetch(&[0, 1, 3].map(|n| PageRef::unchecked(pages::id(ahead + n))));
        let at = still[1 + rng.below(still.len() as u64 - 1) as usize];
        pins.push((at, source.visit().hold(at).unwrap()));
        if pins.len() > 6 {
            let (at, pin) = pins.swap_remove(rng.below(6) as usize);
            check(at, 0, &pin);
            source.discard(at.page()..at.page().plus(rng.below(2)));
        }
    }
    pins.iter().for_each(|(at, pin)| check(*at, 0, pin));
}

/// Grows the file and fills what is new with extents, over and over; the last few are kept and read.
fn transact<S: PageSource>(source: &S, place: &Place, done: &AtomicBool, written: &AtomicU64) {
    let page = place.size.bytes() as u64;
    let (mut rng, mut kept, mut round) = (Rng::new(7), Vec::new(), 0);
    let (mut next, limit) = (place.end(), place.end() + 5 * place.size.pages_for(4 * CHUNK_SIZE as u64));
    while !done.load(Ordering::Acquire) || round < 3 {
        round += 1;
        let len = 1 + rng.below(3 * CHUNK_SIZE as u64);
        let count = place.size.pages_for(len);
        if next + count > limit {
            // Everything is dropped and its space used again.
            kept.clear();
            source.discard(pages::id(place.end())..pages::id(next));
            next = place.end();
        }
        source.grow(next + count).unwrap();
        assert!(source.len_pages() >= next + count);
        let mut bytes = pages::noise(len as usize, round);
        bytes.resize((count * page) as usize, 0);
        let (front, back) = bytes.split_at((rng.below(count + 1) * page) as usize);
        write_extent(source, next, front);
        write_extent(source, next + front.len() as u64 / page, back);
        written.fetch_add(count, Ordering::Relaxed);
        if round % 8 == 0 {
            source.sync().unwrap();
        }
        kept.push((next, len, round));
        next += count;
        let (at, len, seed) = kept[rng.below(kept.len() as u64) as usize];
        let data = pages::noise(len as usize, seed);
        let check = |chunk: u64, bytes: &[u8]| {
            let start = chunk as usize * CHUNK_SIZE;
            assert_same(bytes, &data[start..start + bytes.len()], pages::id(at));
            Ok(())
        };
        let from = rng.below(len);
        let span = source.extent(pages::id(at), len, from..len, &check).unwrap();
        assert_same(&span, &data[from as usize..], pages::id(at));
    }
}

/// Two threads write every other page, and extents between: calls that meet in one block of the disk or one word of
/// a bitmap.
pub fn two_writers_of_neighbouring_places<S: PageSource>(setup: &Setup<'_, S>) {
    const ROUNDS: u64 = 20;
    let (bed, _) = Bed::filled(setup, 50);
    let (source, size) = (&bed.source, setup.size);
    std::thread::scope(|scope| {
        for own in 0..3u64 {
            scope.spawn(move || {
                let numbers: Vec<u64> = (1..49).filter(|n| n % 3 == own).collect();
                for version in 1..=ROUNDS {
                    let made: Vec<_> = numbers.iter().map(|n| pages::page(size, *n, version)).collect();
                    if own == 2 {
                        // A page is bytes like any others.
                        for (at, bytes) in &made {
                            write_extent(source, at.page().get(), bytes);
                        }
                    } else {
                        let writes: Vec<_> = made
                            .iter()
                            .map(|(at, bytes)| PageWrite { at: *at, replaces: Some(at.page()), bytes })
                            .collect();
                        try_write(source, &writes).unwrap();
                    }
                    for (at, bytes) in &made {
                        assert_same(source.visit().view(*at).unwrap(), bytes, at.page());
                        if (at.page().get() + version) % 2 == 0 {
                            source.discard(at.page()..at.page().plus(1));
                        }
                    }
                }
            });
        }
    });
    let last = (1..49).map(|n| pages::page(size, n, ROUNDS).0);
    last.clone().for_each(|at| bed.expect(at, ROUNDS));
    let bed = bed.reopened();
    last.for_each(|at| bed.expect(at, ROUNDS));
}

/// What a thread has grown the file by, it can write, whatever another one grows meanwhile.
pub fn two_that_grow_get_what_they_asked_for<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, _) = Bed::filled(setup, 8);
    let (source, size) = (&bed.source, setup.size);
    let last = 8 + 2 * 60;
    std::thread::scope(|scope| {
        for own in 0..2u64 {
            scope.spawn(move || {
                for number in (8 + own..last).step_by(2) {
                    source.grow(number + 1).unwrap();
                    assert!(source.len_pages() > number);
                    let (at, bytes) = pages::page(size, number, 5);
                    try_write(source, &[PageWrite { at, replaces: None, bytes: &bytes }]).unwrap();
                    assert_same(source.visit().view(at).unwrap(), &bytes, at.page());
                }
            });
        }
    });
    assert_eq!(bed.source.len_pages(), last);
    (8..last).for_each(|n| bed.expect(PageRef::unchecked(pages::id(n)), 5));
}

/// While a disk takes its time over a write, and then over a sync, pages are read, batched and discarded, the file
/// grows, and (beside the sync) pages and extents are written. (Over files of its own: the caller's are not used.)
pub fn nobody_waits_for_a_writers_disk<S: PageSource>(setup: &Setup<'_, S>) {
    const PAGES: u64 = 60;
    let size = setup.size;
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let file = || fs.create_unnamed(Path::new("slow")).unwrap();
    let slow = Setup::<S> { options: setup.options, size, file: &file };
    let (bed, references) = Bed::filled(&slow, PAGES);
    let bed = bed.reopened();
    let (source, references) = (&bed.source, &references);
    let (at, bytes) = &pages::page(size, 7, 1);
    for kind in [OpKind::Write, OpKind::Sync] {
        let gate = fs.gate(kind, at.page().offset(size)..at.page().plus(1).offset(size));
        let (told, done) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || match kind {
                OpKind::Sync => source.sync().unwrap(),
                _ => try_write(source, &[PageWrite { at: *at, replaces: None, bytes }]).unwrap(),
            });
            gate.wait_for(1);
            scope.spawn(move || {
                work_beside(source, size, references, kind == OpKind::Sync);
                told.send(()).unwrap();
            });
            let outcome = done.recv_timeout(Duration::from_mins(1));
            gate.open(); // or the threads would not end
            assert_ne!(outcome, Err(mpsc::RecvTimeoutError::Timeout), "someone waits for a {kind:?}");
        });
    }
    bed.expect(*at, 1);
}

/// What must not wait: all of it in places other than page 7.
fn work_beside<S: PageSource>(source: &S, size: PageSize, references: &[PageRef], writing: bool) {
    source.discard(pages::id(8)..pages::id(40));
    source.grow(source.len_pages() + 10).unwrap();
    let batch: Vec<PageRef> = references[20..40].iter().step_by(3).copied().collect();
    source.prefetch(&batch[..3]);
    let pin = source.visit().hold(references[9]).unwrap();
    source.view_each(&batch, &mut |_, _| Ok(())).unwrap();
    references[8..40].iter().for_each(|at| {
        let expected = pages::page(size, at.page().get(), 0).1;
        assert_same(source.visit().view(*at).unwrap(), &expected, at.page());
    });
    assert_same(&pin, &pages::page(size, 9, 0).1, pages::id(9));
    assert!(source.stats().pages_read <= 100 && source.len_pages() >= 70);
    if writing {
        let (at, bytes) = pages::page(size, 50, 4);
        try_write(source, &[PageWrite { at, replaces: Some(pages::id(9)), bytes: &bytes }]).unwrap();
        write_extent(source, 51, &vec![3; 2 * size.bytes()]);
        assert_same(source.visit().view(at).unwrap(), &bytes, at.page());
        let span = source.extent(pages::id(51), 100, 0..100, &|_, _| Ok(())).unwrap();
        assert!(span.iter().all(|byte| *byte == 3));
    }
}
