//! The catalog: the tree that maps tables' names to their roots.
//!
//! An entry's value is the root's reference (8 bytes, zero if the table is empty), then tagged fields: a tag, a
//! length, the bytes. A reader skips fields whose tags it does not know, unless the tag's top bit says that the table
//! cannot be understood without them.
//!
//! | tag | field |
//! | --- | --- |
//! | 1 | height of the tree (1 byte) |
//! | 2 | number of entries (8) |
//! | 3 | extents may hang below (1) |
//! | 0x81 | kind of table (1): 0 plain; 1 multimap and 2 typed are reserved |
//! | 0x82 | reserved for named snapshots |
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::root::TreeRoot;
use crate::word::Word;

const HEIGHT: u8 = 1;
const LEN: u8 = 2;
const EXTENTS: u8 = 3;
const KIND: u8 = 0x81;
/// Tags from here on must be understood.
const MANDATORY: u8 = 0x80;

/// The value of a table's entry in the catalog; its first eight bytes are for the reference.
pub(crate) fn encode(root: &TreeRoot) -> Vec<u8> {
    let mut value = vec![0; 8];
    value.extend_from_slice(&[KIND, 1, 0, HEIGHT, 1, root.height, LEN, 8]);
    value.extend_from_slice(&root.len.to_le_bytes());
    value.extend_from_slice(&[EXTENTS, 1, u8::from(root.extents)]);
    value
}

/// Reads an entry back: the reference, and what follows it.
///
/// # Errors
/// `UnsupportedFeature` for a table of another kind; `None` inside for bytes that make no sense.
pub(crate) fn decode(word: Word, fields: &[u8]) -> Result<Option<TreeRoot>> {
    let mut root = TreeRoot { word, ..TreeRoot::EMPTY };
    let mut rest = fields;
    while let Some((&[tag, len], tail)) = rest.split_first_chunk::<2>() {
        let Some((field, tail)) = tail.split_at_checked(usize::from(len)) else { return Ok(None) };
        rest = tail;
        match (tag, field) {
            (HEIGHT, [height]) => root.height = *height,
            (LEN, _) => match field.try_into() {
                Ok(bytes) => root.len = u64::from_le_bytes(bytes),
                Err(_) => return Ok(None),
            },
            (EXTENTS, [extents]) => root.extents = *extents != 0,
            (KIND, [0]) => {}
            (tag, _) if tag >= MANDATORY => return Err(Error::UnsupportedFeature(1 << (tag & 63))),
            _ => {}
        }
    }
    Ok(if rest.is_empty() { Some(root) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip_and_unknown_kinds_are_refused() {
        let root = TreeRoot { word: Word::NULL, height: 3, len: u64::MAX / 3, extents: true };
        let value = encode(&root);
        assert_eq!(decode(Word::NULL, &value[8..]).unwrap(), Some(root));
        assert_eq!(decode(Word::NULL, &value[8..value.len() - 1]).unwrap(), None);
        assert!(matches!(decode(Word::NULL, &[KIND, 1, 1]), Err(Error::UnsupportedFeature(_))));
        assert_eq!(decode(Word::NULL, &[70, 2, 1, 1]).unwrap(), Some(TreeRoot::EMPTY), "an optional field");
    }
}
