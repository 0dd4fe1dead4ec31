//! Conformance: every way in which a page can be wrong is an error that names it.
#![forbid(unsafe_code)]

use super::bed::{Bed, Setup};
use crate::testing::pages;
use crate::{Error, PageRef, PageSource, Visit, seal_page};

/// All tests of this file.
pub fn damage<S: PageSource>(setup: &Setup<'_, S>) {
    damaged_pages_are_errors(setup);
    pages_beyond_the_file_are_errors(setup);
    a_page_repaired_is_readable(setup);
    a_malformed_page_says_what_is_wrong(setup);
    a_torn_end_of_file_is_an_error(setup);
}

/// A flipped bit, a page of zeros, a misplaced page, another file's page and an older version are all refused.
pub fn damaged_pages_are_errors<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 48);
    let size = setup.size;
    for (page, bit) in
        [(1, 0), (2, 63), (3, 64), (4, 16 * 8), (5, size.bytes() * 8 - 1), (6, size.bytes() * 4)]
    {
        let (_, mut bytes) = pages::page(size, page, 0);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bed.plant(page, &bytes);
    }
    bed.plant(7, &vec![0; size.bytes()]);
    bed.plant(8, &pages::page(size, 9, 0).1);
    let mut foreign = pages::page(size, 10, 0).1;
    seal_page(pages::FILE_ID + 1, pages::id(10), &mut foreign);
    bed.plant(10, &foreign);
    bed.plant(11, &pages::page(size, 11, 77).1);
    let bed = bed.reopened();
    for (page, why) in [
        (1, "a bit of the checksum flipped"),
        (2, "the checksum's last bit flipped"),
        (3, "a bit of the own number flipped"),
        (4, "a bit of the content flipped"),
        (5, "the last bit flipped"),
        (6, "a bit in the middle flipped"),
        (7, "zeros"),
        (8, "another page's content"),
        (10, "another file's page"),
        (11, "another version"),
    ] {
        // Twice: an error does not make the page good.
        bed.expect_corrupt(references[page], why);
        bed.expect_corrupt(references[page], why);
    }
    references[12..].iter().for_each(|at| bed.expect(*at, 0));
    bed.expect(references[9], 0);
}

/// A page beyond the end, however far, is damage (in the page that refers to it), not a crash.
pub fn pages_beyond_the_file_are_errors<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 8);
    for number in [8, 9, 100, 1 << 20, 1 << 32, (1 << 40) - 1] {
        bed.expect_corrupt(PageRef::unchecked(pages::id(number)), "beyond the file");
        bed.expect_corrupt(PageRef::new(pages::id(number), 1 << 60), "beyond the file");
    }
    references[1..].iter().for_each(|at| bed.expect(*at, 0));
}

/// The error of a damaged page is not remembered once the page is written anew.
pub fn a_page_repaired_is_readable<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 8);
    bed.plant(3, &vec![1; setup.size.bytes()]);
    let bed = bed.reopened();
    bed.source.prefetch(&references[3..4]);
    bed.expect_corrupt(references[3], "damaged");
    let at = bed.write(&[3], 2)[0];
    bed.expect(at, 2);
}

/// What `validate` says becomes the error, though the checksum is right.
pub fn a_malformed_page_says_what_is_wrong<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, _) = Bed::filled(setup, 8);
    let (at, bytes) = pages::malformed(setup.size, 5);
    bed.plant(5, &bytes);
    let bed = bed.reopened();
    for _ in 0..2 {
        bed.expect_corrupt(at, "malformed");
        let mut visit = bed.source.visit();
        match visit.view(at) {
            Err(Error::Corrupt { what, .. }) => assert_eq!(what, pages::MALFORMED_MESSAGE),
            other => panic!("{:?}", other.map(<[u8]>::len)),
        }
    }
}

/// A file that ends within a page does not have that page.
pub fn a_torn_end_of_file_is_an_error<S: PageSource>(setup: &Setup<'_, S>) {
    let (bed, references) = Bed::filled(setup, 8);
    bed.file.set_len(7 * setup.size.bytes() as u64 + 300).unwrap();
    let bed = bed.reopened();
    assert_eq!(bed.source.len_pages(), 7);
    references[1..7].iter().for_each(|at| bed.expect(*at, 0));
    bed.expect_corrupt(references[7], "torn off");
    bed.source.grow(8).unwrap();
    let at = bed.write(&[7], 1)[0];
    bed.expect(at, 1);
}
