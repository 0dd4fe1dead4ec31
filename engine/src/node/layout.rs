//! Arithmetic of a node's layout: where things lie in a page, and how large they may be.
#![forbid(unsafe_code)]

use bifold_page_source::PageSize;

/// Bytes of the header.
pub(crate) const HEADER: usize = 32;
/// A leaf: entries.
pub(crate) const KIND_LEAF: u8 = 1;
/// A branch: children.
pub(crate) const KIND_BRANCH: u8 = 2;
/// A page of an extent's header.
pub(crate) const KIND_EXTENT: u8 = 3;
/// A page of the free map's chain.
pub(crate) const KIND_FREE_MAP: u8 = 4;

/// Bytes of each entry outside the heap, in a leaf: hint and slot.
pub(super) const LEAF_FIXED: usize = 6;
/// Bytes of each entry outside the heap, in a branch: hint, slot, reference, count.
pub(super) const BRANCH_FIXED: usize = 22;
/// Bytes of a key that its hint holds.
pub(super) const HINT: usize = 4;

pub(super) const AT_KIND: usize = 13;
pub(super) const AT_LEVEL: usize = 14;
pub(super) const AT_BIRTH: usize = 16;
pub(super) const AT_COUNT: usize = 24;
pub(super) const AT_PREFIX: usize = 26;
pub(super) const AT_HEAP: usize = 28;
pub(super) const AT_DEAD: usize = 30;

/// The longest key for a page size: a quarter page.
pub(crate) const fn key_max(size: PageSize) -> usize {
    size.bytes() / 4
}

/// The most that key and value together may take to live in a leaf: a quarter page.
pub(crate) const fn inline_max(size: PageSize) -> usize {
    size.bytes() / 4
}

/// A 16-bit field; 0 if out of bounds.
pub(super) fn get_u16(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 2).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])))
}

pub(super) fn put_u16(bytes: &mut [u8], at: usize, value: usize) {
    debug_assert!(u16::try_from(value).is_ok(), "{value} does not fit 16 bits");
    bytes[at..at + 2].copy_from_slice(&(value as u16).to_le_bytes());
}

/// A 64-bit field; 0 if out of bounds.
pub(super) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

pub(super) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// What kind of page this is.
pub(crate) fn kind_of(bytes: &[u8]) -> u8 {
    bytes.get(AT_KIND).copied().unwrap_or(0)
}

/// The page's height above the leaves.
pub(crate) fn level_of(bytes: &[u8]) -> u8 {
    bytes.get(AT_LEVEL).copied().unwrap_or(0)
}

/// The page's birth, a checkpoint number.
pub(crate) fn birth_of(bytes: &[u8]) -> u64 {
    get_u64(bytes, AT_BIRTH)
}

/// Writes the parts of the header that every kind of page has.
pub(crate) fn set_header(bytes: &mut [u8], kind: u8, level: u8, birth: u64) {
    bytes[AT_KIND] = kind;
    bytes[AT_LEVEL] = level;
    put_u64(bytes, AT_BIRTH, birth);
}

/// Marks a page that was copied from the file as one that has no place there yet.
pub(crate) fn clear_place(bytes: &mut [u8]) {
    bytes[..AT_KIND].fill(0);
}

/// Gives a page another birth.
pub(crate) fn set_birth(bytes: &mut [u8], birth: u64) {
    put_u64(bytes, AT_BIRTH, birth);
}

/// The first bytes of `suffix`, padded with zeros, as a number that orders as they do.
pub(super) fn hint_of(suffix: &[u8]) -> u32 {
    if let Some(bytes) = suffix.first_chunk::<HINT>() {
        return u32::from_be_bytes(*bytes);
    }
    let mut bytes = [0; HINT];
    bytes[..suffix.len()].copy_from_slice(suffix);
    u32::from_be_bytes(bytes)
}

/// Bytes that `value` takes as a varint.
pub(super) const fn varint_len(value: usize) -> usize {
    if value < 1 << 7 {
        1
    } else if value < 1 << 14 {
        2
    } else {
        3
    }
}

/// Reads a varint of at most three bytes; `None` if it does not end within them or within `bytes`.
pub(super) fn get_varint(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *bytes.get(at)?;
    if first < 0x80 {
        return Some((usize::from(first), at + 1));
    }
    let second = *bytes.get(at + 1)?;
    let low = usize::from(first & 0x7F) | usize::from(second & 0x7F) << 7;
    if second < 0x80 {
        return Some((low, at + 2));
    }
    let third = *bytes.get(at + 2)?;
    if third < 0x80 { Some((low | usize::from(third) << 14, at + 3)) } else { None }
}

/// Writes a varint and returns where it ends.
pub(super) fn put_varint(bytes: &mut [u8], at: usize, mut value: usize) -> usize {
    debug_assert!(value < 1 << 21);
    let mut at = at;
    while value >= 0x80 {
        bytes[at] = (value & 0x7F) as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    bytes[at] = value as u8;
    at + 1
}

/// Bytes of heap that a leaf entry takes.
pub(super) const fn leaf_entry_len(suffix_len: usize, value_len: usize) -> usize {
    let rest = suffix_len.saturating_sub(HINT);
    varint_len(suffix_len * 2) + varint_len(value_len) + rest + value_len
}

/// Bytes of heap that a branch entry takes.
pub(super) const fn branch_entry_len(suffix_len: usize) -> usize {
    varint_len(suffix_len) + suffix_len.saturating_sub(HINT)
}

/// How many bytes `a` and `b` share at their beginnings.
pub(crate) fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_and_are_bounded() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 131_072, (1 << 21) - 1] {
            let mut bytes = [0u8; 8];
            let end = put_varint(&mut bytes, 1, value);
            assert_eq!(end - 1, varint_len(value));
            assert_eq!(get_varint(&bytes, 1), Some((value, end)));
            assert_eq!(get_varint(&bytes[..end - 1], 1), None);
        }
        assert_eq!(get_varint(&[0xFF; 4], 0), None);
    }

    #[test]
    fn hints_order_as_their_keys() {
        let keys: [&[u8]; 6] = [b"", b"\0", b"a", b"ab", b"abcd", b"abce"];
        for pair in keys.windows(2) {
            assert!(hint_of(pair[0]) <= hint_of(pair[1]));
        }
    }

    #[test]
    fn three_children_with_the_longest_keys_fit_the_smallest_page() {
        for size in [512, 1024, 4096, 65536].map(|s| PageSize::new(s).unwrap()) {
            let entry = BRANCH_FIXED + branch_entry_len(key_max(size));
            assert!(HEADER + BRANCH_FIXED + 1 + 3 * entry <= size.bytes(), "{size:?}");
            let leaf = LEAF_FIXED + leaf_entry_len(key_max(size), 24);
            assert!(HEADER + 2 * leaf <= size.bytes(), "{size:?}");
        }
    }
}
