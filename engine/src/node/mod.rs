//! Nodes of the B+tree: how one page is laid out, read, checked, changed and built.
//!
//! ```text
//! 0        checksum (8)                          | known to page sources
//! 8        own page number (5)                   |
//! 13       kind (1): 1 leaf, 2 branch, 3 extent header, 4 free map
//! 14       level (1): 0 for a leaf
//! 15       zero (1)
//! 16       birth: the checkpoint at or before the commit that made the page (8)
//! 24       number of entries n (2)
//! 26       length of the prefix (2)
//! 28       bytes of heap in use, dead ones included (2)
//! 30       dead bytes in the heap (2)
//! 32       n hints (4 each, big-endian): the first bytes of each key behind the prefix, padded with zeros
//! 32+4n    n slots (2 each): where each entry begins
//! 32+6n    branch only: n child references (8 each), then n entry counts (8 each; bit 63: extents below)
//! …        free
//! …        heap of entries, growing downwards
//! end-p    prefix (p): what the two separators around this page share
//! ```
//! An entry in a leaf's heap: varint (bytes of key behind the prefix · 2 + has a reference), varint (bytes of
//! value), the key's bytes that are neither prefix nor hint, the value. A value with a reference begins with that
//! reference (8). An entry in a branch's heap: varint (bytes of key behind the prefix), the key's rest. A branch's
//! first key is empty. Integers are little-endian but for the hints. Unused bytes are zero on file.
//!
//! The hint array follows Graefe's and Lomet's "poor man's normalized keys"; prefix and suffix truncation follow
//! Bayer and Unterauer, *Prefix B-Trees* (1977).

mod build;
mod edit;
mod layout;
mod leaf_batch;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod probe;
mod read;
mod validate;

pub(crate) use build::{Items, Packing, pack, separator};
pub(crate) use edit::{EditError, NodeMut};
pub(crate) use layout::{
    HEADER, KIND_EXTENT, KIND_FREE_MAP, birth_of, clear_place, inline_max, key_max, kind_of, set_birth,
    set_header, shared_prefix,
};
pub(crate) use leaf_batch::LeafBatch;
pub(crate) use read::Node;
pub(crate) use validate::validate;
