//! Conformance: extents, their ranges, their checks and their spans.
#![forbid(unsafe_code)]

use super::bed::{Bed, Setup, assert_same};
use crate::testing::pages;
use crate::{CHUNK_SIZE, Error, PageRef, PageSource, Result};
use std::cell::RefCell;
use std::ops::Range;

/// All tests of this file.
pub fn extents<S: PageSource>(setup: &Setup<'_, S>) {
    ranges_are_what_was_written(setup);
    every_chunk_is_checked_before_it_is_seen(setup);
    a_bad_chunk_is_an_error_where_it_is_touched(setup);
    extents_beyond_the_file_are_errors(setup);
    a_rewritten_extent_is_the_new_one(setup);
    spans_are_kept_side_by_side(setup);
}

const CHUNK: u64 = CHUNK_SIZE as u64;
/// Where the extents of these tests begin.
const FIRST: u64 = 3;

/// A bed with one extent of `len` bytes at [`FIRST`].
fn with_extent<'a, S: PageSource>(setup: &'a Setup<'a, S>, len: u64, seed: u64) -> (Bed<'a, S>, Vec<u8>) {
    let pages = setup.size.pages_for(len);
    let bed = Bed::new(setup, FIRST + pages + 2);
    let data = pages::noise(len as usize, seed);
    bed.write_extent(FIRST, &padded(setup, &data));
    (bed, data)
}

fn padded<S: PageSource>(setup: &Setup<'_, S>, data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize((setup.size.pages_for(data.len() as u64) as usize) * setup.size.bytes(), 0);
    bytes
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a chunk check")]
fn good(_: u64, _: &[u8]) -> Result<()> {
    Ok(())
}

fn lengths<S: PageSource>(setup: &Setup<'_, S>) -> [u64; 7] {
    let page = setup.size.bytes() as u64;
    [1, page - 1, page, page + 1, CHUNK, CHUNK + 1, 5 * CHUNK + 777]
}

/// The whole, and parts that begin and end anywhere.
pub fn ranges_are_what_was_written<S: PageSource>(setup: &Setup<'_, S>) {
    for len in lengths(setup) {
        let (bed, data) = with_extent(setup, len, len);
        let bed = bed.reopened();
        let mut ranges: Vec<Range<u64>> = vec![0..len, 0..1, len - 1..len, 0..0, len..len, len / 2..len / 2];
        ranges.extend([len / 3..len / 2, len / 2..len, 1..len]);
        for edge in [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            if edge < len {
                ranges.extend([edge..len, 0..edge, edge - 1..edge + 1]);
            }
        }
        for range in ranges {
            let span = bed.source.extent(pages::id(FIRST), len, range.clone(), &good).unwrap();
            assert_same(&span, &data[range.start as usize..range.end as usize], pages::id(FIRST));
        }
    }
}

/// `check` sees each chunk of a range, whole and unchanged, and no other. (It may not be asked again later.)
pub fn every_chunk_is_checked_before_it_is_seen<S: PageSource>(setup: &Setup<'_, S>) {
    let len = 4 * CHUNK + 99;
    for (range, chunks) in [
        (0..len, 0..5),
        (0..1, 0..1),
        (CHUNK..2 * CHUNK, 1..2),
        (CHUNK - 1..CHUNK + 1, 0..2),
        (4 * CHUNK..len, 4..5),
        (7..7, 0..0),
    ] {
        let (bed, data) = with_extent(setup, len, 1);
        let asked = RefCell::new(Vec::new());
        let check = |chunk: u64, bytes: &[u8]| {
            let start = chunk as usize * CHUNK_SIZE;
            let end = (start + CHUNK_SIZE).min(data.len());
            assert_same(bytes, &data[start..end], pages::id(FIRST));
            asked.borrow_mut().push(chunk);
            Ok(())
        };
        bed.source.extent(pages::id(FIRST), len, range, &check).unwrap();
        let mut asked = asked.into_inner();
        asked.sort_unstable();
        assert_eq!(asked, chunks.collect::<Vec<u64>>());
    }
}

/// The check's own error comes out, each time; ranges that do not touch the chunk are not concerned.
pub fn a_bad_chunk_is_an_error_where_it_is_touched<S: PageSource>(setup: &Setup<'_, S>) {
    let len = 4 * CHUNK;
    let (bed, data) = with_extent(setup, len, 2);
    let check = |chunk: u64, _: &[u8]| match chunk {
        2 => Err(Error::Corrupt { page: pages::id(2222), what: "the test's bad chunk" }),
        _ => Ok(()),
    };
    for _ in 0..2 {
        for range in [0..len, 2 * CHUNK..2 * CHUNK + 1, 2 * CHUNK - 1..2 * CHUNK + 1, 3 * CHUNK - 1..len] {
            match bed.source.extent(pages::id(FIRST), len, range, &check) {
                Err(Error::Corrupt { page, what }) => {
                    assert_eq!((page.get(), what), (2222, "the test's bad chunk"));
                }
                other => panic!("{:?}", other.map(|span| span.len())),
            }
        }
        for range in [0..2 * CHUNK, 3 * CHUNK..len, 2 * CHUNK..2 * CHUNK] {
            let span = bed.source.extent(pages::id(FIRST), len, range.clone(), &check).unwrap();
            assert_same(&span, &data[range.start as usize..range.end as usize], pages::id(FIRST));
        }
    }
}

/// Neither an extent that reaches beyond the file, nor a range beyond its extent, is read.
pub fn extents_beyond_the_file_are_errors<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, _) = with_extent(setup, CHUNK, 3);
    let in_file = (bed.source.len_pages() - FIRST) * setup.size.bytes() as u64;
    let last = (1u64 << 40) - 1;
    let backwards = Range { start: 5, end: 4 };
    for (first, len, range) in [
        (FIRST, in_file + 1, 0..in_file + 1),
        (FIRST, in_file + 1, 0..1),
        (FIRST, CHUNK, 0..CHUNK + 1),
        (FIRST, CHUNK, CHUNK + 1..CHUNK + 1),
        (FIRST, CHUNK, backwards),
        (bed.source.len_pages(), 1, 0..1),
        (last, 1, 0..1),
        (FIRST, u64::MAX, 0..1),
        (FIRST, u64::MAX, u64::MAX - 1..u64::MAX),
        (last, u64::MAX, 0..u64::MAX),
    ] {
        match bed.source.extent(pages::id(first), len, range.clone(), &good) {
            Err(Error::Corrupt { page, .. }) => assert_eq!(page.get(), first),
            other => panic!("{first} {len} {range:?}: {:?}", other.map(|span| span.len())),
        }
    }
    assert_eq!(
        bed.source.extent(pages::id(FIRST), in_file, 0..in_file, &good).unwrap().len() as u64,
        in_file
    );
}

/// New bytes are shown and checked anew, whether the place was discarded, held pages, or was cut off between.
pub fn a_rewritten_extent_is_the_new_one<S: PageSource>(setup: &Setup<'_, S>) {
    let len = 2 * CHUNK + 5;
    let (bed, _) = with_extent(setup, len, 0);
    let pages = setup.size.pages_for(len);
    let asked = || {
        let asked = RefCell::new(0);
        let check = |_: u64, _: &[u8]| {
            *asked.borrow_mut() += 1;
            Ok(())
        };
        let span = bed.source.extent(pages::id(FIRST), len, 0..len, &check).unwrap();
        (span, asked.into_inner())
    };
    for round in 1..6 {
        assert_eq!(asked().0.len() as u64, len);
        match round {
            1 => {}
            2 => bed.source.discard(pages::id(FIRST)..pages::id(FIRST + pages)),
            3 => {
                bed.shrink(FIRST);
                bed.source.grow(FIRST + pages).unwrap();
            }
            _ => {
                let at = bed.write(&[FIRST, FIRST + 1], round);
                at.iter().for_each(|at| bed.expect(*at, round));
            }
        }
        let data = pages::noise(len as usize, round);
        bed.write_extent(FIRST, &padded(setup, &data));
        bed.expect_corrupt(PageRef::unchecked(pages::id(FIRST)), "an extent lies there now");
        let (span, asked) = asked();
        assert_same(&span, &data, pages::id(FIRST));
        assert_eq!(asked, 3, "round {round}: what was found good before the rewrite is not good by that");
    }
    bed.shrink(FIRST);
    bed.source.grow(FIRST + pages).unwrap();
    let (span, asked) = asked();
    assert_eq!(asked, 3, "what was cut off and grown again is not what was found good");
    assert!(span.iter().all(|byte| *byte == 0));
}

/// Spans, like pins, keep what they show while other things are read, from several threads.
pub fn spans_are_kept_side_by_side<S: PageSource>(setup: &Setup<'_, S>) {
    let len = 3 * CHUNK + 1;
    let (bed, data) = with_extent(setup, len, 8);
    let (source, data) = (&bed.source, &data);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            scope.spawn(move || {
                let spans: Vec<_> = (0..20)
                    .map(|i| {
                        let start = (i * 9973 + thread * 777) % len;
                        (start, source.extent(pages::id(FIRST), len, start..len, &good).unwrap())
                    })
                    .collect();
                for (start, span) in spans {
                    assert_same(&span, &data[start as usize..], pages::id(FIRST));
                }
            });
        }
    });
}
