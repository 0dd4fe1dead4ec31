//! Page and chunk checksums: XXH3-64, seeded so that a page of another file or another place never passes.
//!
//! Every page begins with the same 16 bytes, the part of the format that sources know:
//! the checksum of the rest (8 bytes, little-endian), then the page's own number (low 40 bits of 8 bytes).
#![forbid(unsafe_code)]

use crate::{Error, PageId, PageRef, Result};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// An odd constant (2^64 divided by the golden ratio) that spreads page numbers over the seed's bits.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
const PAGE_MASK: u64 = (1 << 40) - 1;

fn seed(file_id: u64, page: PageId) -> u64 {
    file_id ^ page.get().wrapping_add(1).wrapping_mul(SPREAD)
}

/// The checksum that `bytes`, a whole page, must carry when it lies at `page` in file `file_id`.
pub fn page_checksum(file_id: u64, page: PageId, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes.get(8..).unwrap_or(&[]), seed(file_id, page))
}

/// The checksum of `bytes`, a chunk of an extent whose first page is `first`; `chunk` counts from 0.
pub fn chunk_checksum(file_id: u64, first: PageId, chunk: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, seed(file_id, first).wrapping_add(chunk.wrapping_mul(SPREAD)).rotate_left(17))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Writes the page's own number and its checksum into its first 16 bytes; the top 24 bits of the second word
/// are kept. Returns the reference a parent stores.
///
/// # Panics
/// If `bytes` is shorter than 16 bytes.
pub fn seal_page(file_id: u64, page: PageId, bytes: &mut [u8]) -> PageRef {
    let own = (word(bytes, 8) & !PAGE_MASK) | page.get();
    bytes[8..16].copy_from_slice(&own.to_le_bytes());
    let sum = page_checksum(file_id, page, bytes);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    PageRef::new(page, sum)
}

/// Checks that `bytes`, read from where `at` points, are that page: checksum, own number, the parent's bits.
///
/// # Errors
/// [`Error::Corrupt`] naming the page and what does not fit.
pub fn verify_page(file_id: u64, at: PageRef, bytes: &[u8]) -> Result<()> {
    let page = at.page();
    let stored = word(bytes, 0);
    let what = if stored != page_checksum(file_id, page, bytes) {
        "its checksum does not match its bytes"
    } else if word(bytes, 8) & PAGE_MASK != page.get() {
        "it carries another page's number"
    } else if !at.matches(stored) {
        "it is not the version its parent refers to"
    } else {
        return Ok(());
    };
    Err(Error::Corrupt { page, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_page_verifies_only_in_its_place_and_whole() {
        let page = PageId::new(9).unwrap();
        let mut bytes = vec![3u8; 512];
        let r = seal_page(42, page, &mut bytes);
        assert!(verify_page(42, r, &bytes).is_ok());
        assert!(verify_page(42, PageRef::unchecked(page), &bytes).is_ok());
        assert!(verify_page(43, r, &bytes).is_err(), "another file's page");
        let elsewhere = PageRef::unchecked(PageId::new(10).unwrap());
        assert!(verify_page(42, elsewhere, &bytes).is_err(), "a misplaced page");
        for bit in [0, 64, 70, 130, 512 * 8 - 1] {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(verify_page(42, r, &flipped).is_err(), "bit {bit} flipped");
        }
        bytes[100] = 4;
        seal_page(42, page, &mut bytes);
        assert!(verify_page(42, r, &bytes).is_err(), "an older version of the page");
    }
}
