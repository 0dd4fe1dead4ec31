//! What an extent's reader accepts, and everything it must not.
#![forbid(unsafe_code)]

use crate::error::{Error, Place, Result};
use crate::extent::{build_header, pages_for, read_span};
use crate::node::validate;
use bifold_page_source::{
    CHUNK_SIZE, File, FileSystem, MemFs, MemSource, PageId, PageRef, PageSize, PageSource, SourceConfig,
    seal_page,
};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const FILE_ID: u64 = 77;
const SIZE: PageSize = PageSize::MIN;
const FIRST: u64 = 3;
const CHUNK: u64 = CHUNK_SIZE as u64;

struct Written {
    file: Arc<dyn File>,
    source: MemSource,
    at: PageRef,
    value: Vec<u8>,
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 977) as u8).collect()
}

/// An extent at page 3 of a file that ends with it; `spoil` may change the file's bytes before anyone reads them.
fn write_spoiled(len: usize, size: PageSize, spoil: impl Fn(&mut Vec<u8>)) -> Written {
    let value = bytes(len);
    let (header, at) = build_header(FILE_ID, PageId::new(FIRST).unwrap(), 9, &value, size).unwrap();
    let mut all = vec![0; FIRST as usize * size.bytes()];
    all.extend(header);
    all.extend_from_slice(&value);
    all.resize(all.len().next_multiple_of(size.bytes()), 0);
    let (headers, data) = pages_for(len as u64, size);
    assert_eq!(all.len() as u64, (FIRST + headers + data) << size.shift());
    spoil(&mut all);
    let file = MemFs::new().create_new(Path::new("db")).unwrap();
    file.write_at(&all, 0).unwrap();
    let config = SourceConfig { page_size: size, file_id: FILE_ID, validate };
    let source = MemSource::open(Arc::clone(&file), config, &()).unwrap();
    Written { file, source, at, value }
}

fn write(len: usize, size: PageSize) -> Written {
    write_spoiled(len, size, |_| {})
}

impl Written {
    fn read(&self, size: PageSize, range: Range<u64>) -> Result<Vec<u8>> {
        self.read_as(size, self.value.len() as u64, range)
    }

    fn read_as(&self, size: PageSize, len: u64, range: Range<u64>) -> Result<Vec<u8>> {
        read_span(&self.source, FILE_ID, size, self.at, len, range).map(|span| span.to_vec())
    }
}

fn damaged_page(outcome: Result<Vec<u8>>) -> u64 {
    match outcome {
        Err(Error::Corrupt { place: Place::Page(page), .. }) => page.get(),
        other => panic!("expected damage, got {:?}", other.map(|bytes| bytes.len())),
    }
}

/// Gives header page `index` other bytes at `at`, sealed again.
fn reseal(all: &mut [u8], index: u64, at: usize, bytes: &[u8]) {
    let start = (FIRST + index) as usize * SIZE.bytes();
    let page = &mut all[start..start + SIZE.bytes()];
    page[at..at + bytes.len()].copy_from_slice(bytes);
    seal_page(FILE_ID, PageId::new(FIRST + index).unwrap(), page);
}

#[test]
fn header_pages_are_counted_by_their_checksums() {
    assert_eq!(pages_for(0, SIZE), (1, 0));
    assert_eq!(pages_for(1, SIZE), (1, 1));
    assert_eq!(pages_for(58 * CHUNK, SIZE), (1, 58 * 128));
    assert_eq!(pages_for(58 * CHUNK + 1, SIZE), (2, 58 * 128 + 1));
    assert_eq!(pages_for(u64::MAX, PageSize::MAX).1, 1 << 48, "no overflow");
}

#[test]
fn values_of_every_kind_of_length_come_back_whole_and_in_parts() {
    let chunk = CHUNK as usize;
    for size in [SIZE, PageSize::DEFAULT, PageSize::MAX] {
        for len in [0, 1, 511, 512, 513, chunk - 1, chunk, chunk + 1, 3 * chunk + 700] {
            let written = write(len, size);
            let end = len as u64;
            assert_eq!(written.read(size, 0..end).unwrap(), written.value, "{len} bytes, {size:?}");
            for range in [0..end.min(1), end / 2..end, end / 3..end / 2, end..end] {
                let expected = &written.value[range.start as usize..range.end as usize];
                assert_eq!(written.read(size, range.clone()).unwrap(), expected, "{range:?} of {len}");
            }
        }
    }
}

#[test]
fn several_header_pages_are_read_as_one_list() {
    let len = 120 * CHUNK_SIZE + 5;
    let written = write(len, SIZE);
    assert_eq!(pages_for(len as u64, SIZE).0, 3);
    assert_eq!(written.read(SIZE, 0..len as u64).unwrap(), written.value);
    // Within one header page, and over the border of two.
    for range in [60 * CHUNK + 3..61 * CHUNK, 57 * CHUNK + 9..59 * CHUNK + 2, 115 * CHUNK..len as u64] {
        let expected = &written.value[range.start as usize..range.end as usize];
        assert_eq!(written.read(SIZE, range).unwrap(), expected);
    }
}

#[test]
fn a_damaged_chunk_is_named_and_spares_the_others() {
    let written = write(3 * CHUNK_SIZE, SIZE);
    // Page 4 is the first of the data.
    let in_second_chunk = (FIRST + 1) * 512 + CHUNK + 1234;
    let mut byte = [0];
    written.file.read_at(&mut byte, in_second_chunk).unwrap();
    written.file.write_at(&[byte[0] ^ 8], in_second_chunk).unwrap();
    assert_eq!(damaged_page(written.read(SIZE, 0..3 * CHUNK)), FIRST + 1 + CHUNK / 512);
    assert_eq!(damaged_page(written.read(SIZE, CHUNK..CHUNK + 1)), FIRST + 1 + CHUNK / 512);
    assert_eq!(written.read(SIZE, 0..CHUNK).unwrap(), written.value[..CHUNK_SIZE]);
    assert_eq!(written.read(SIZE, 2 * CHUNK..3 * CHUNK).unwrap(), written.value[2 * CHUNK_SIZE..]);
}

#[test]
fn a_length_that_is_not_the_headers_is_damage() {
    let written = write(5000, SIZE);
    for len in [0, 1, 4999, 5001, 5120] {
        assert_eq!(damaged_page(written.read_as(SIZE, len, 0..len)), FIRST, "{len}");
    }
}

#[test]
fn nothing_is_allocated_for_an_extent_beyond_the_file() {
    let written = write(5000, SIZE);
    for len in [5121, 1 << 40, 1 << 62, u64::MAX] {
        assert_eq!(damaged_page(written.read_as(SIZE, len, 0..len)), FIRST, "{len}");
    }
    let far = PageRef::unchecked(PageId::MAX);
    assert!(read_span(&written.source, FILE_ID, SIZE, far, 0, 0..0).is_err());
}

#[test]
fn a_range_beyond_the_value_is_refused() {
    let written = write(5000, SIZE);
    assert!(matches!(written.read(SIZE, 0..5001), Err(Error::Internal(_))));
    #[expect(clippy::reversed_empty_ranges, reason = "that is the point")]
    let reversed = 7..6;
    assert!(matches!(written.read(SIZE, reversed), Err(Error::Internal(_))));
}

/// What is changed in a header page, where, and to what.
type Change = (&'static str, usize, Vec<u8>);

#[test]
fn header_pages_of_another_extent_or_place_are_damage() {
    let len = 59 * CHUNK_SIZE;
    let last = 58 * CHUNK..59 * CHUNK;
    let changes: [Change; 5] = [
        ("birth", 16, 8u64.to_le_bytes().into()),
        ("kind", 13, vec![4]),
        ("length", 32, (len as u64 + 1).to_le_bytes().into()),
        ("index", 40, 2u32.to_le_bytes().into()),
        ("pages", 44, 3u32.to_le_bytes().into()),
    ];
    for (what, at, bytes) in changes {
        let written = write_spoiled(len, SIZE, |all| reseal(all, 1, at, &bytes));
        assert_eq!(damaged_page(written.read(SIZE, last.clone())), FIRST + 1, "{what}");
        let first_page = written.read(SIZE, 0..CHUNK).unwrap();
        assert_eq!(first_page, written.value[..CHUNK_SIZE], "{what}: the other page's chunks are readable");
    }
}

#[test]
fn an_older_header_in_place_of_the_first_is_damage() {
    let written = write_spoiled(5000, SIZE, |all| reseal(all, 0, 16, &1u64.to_le_bytes()));
    assert_eq!(damaged_page(written.read(SIZE, 0..5000)), FIRST);
}

#[test]
fn a_value_whose_pages_cannot_be_numbered_is_too_long() {
    let last = PageId::MAX;
    assert!(matches!(build_header(FILE_ID, last, 0, &[1; 513], SIZE), Err(Error::ValueTooLong { .. })));
    assert!(build_header(FILE_ID, last, 0, &[], SIZE).is_ok());
}
