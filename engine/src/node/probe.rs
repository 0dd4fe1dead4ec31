//! A page's search by itself, with the feature `testing`: for benchmarks of what happens within one page.
#![forbid(unsafe_code)]

use super::read::Node;

/// Where `key` is (`Ok`) or belongs (`Err`) in `page`, a whole leaf or branch as it lies in the file. `None` if the page
/// makes no sense, or the key does not lie between its separators.
///
/// This is the step that every descent takes in every page.
#[inline]
pub fn search_page(page: &[u8], key: &[u8]) -> Option<Result<usize, usize>> {
    Node::file(page).search(key)
}

/// The keys of `page`, a whole leaf or branch as it lies in the file; a branch's first is but the prefix. `None` if the
/// page makes no sense.
pub fn page_keys(page: &[u8]) -> Option<Vec<Vec<u8>>> {
    let node = Node::file(page);
    (0..node.count()).map(|index| node.key(index)).collect()
}
