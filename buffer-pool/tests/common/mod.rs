//! Files of sealed pages, and looking at them.
#![allow(dead_code, reason = "each test uses its part")]

use bifold_page_source::testing::pages;
use bifold_page_source::{File, FileSystem, MemFs, PageId, PageRef, PageSize, PageSource, Visit};
use bifold_pool::{Options, PoolSource};
use std::path::Path;
use std::sync::Arc;

/// An empty file in memory.
pub(crate) fn memory_file() -> Arc<dyn File> {
    MemFs::new().create_unnamed(Path::new("file")).unwrap()
}

/// Fills `file` with `count` sealed leaves and returns the references to them.
pub(crate) fn fill(file: &dyn File, size: PageSize, count: u64) -> Vec<PageRef> {
    let mut references = Vec::new();
    let mut chunk = Vec::new();
    file.set_len(count * size.bytes() as u64).unwrap();
    for number in 0..count {
        let (at, bytes) = leaf(size, number, 0);
        references.push(at);
        chunk.extend_from_slice(&bytes);
        if chunk.len() >= 1 << 20 || number + 1 == count {
            let offset = (number + 1) * size.bytes() as u64 - chunk.len() as u64;
            file.write_at(&chunk, offset).unwrap();
            chunk.clear();
        }
    }
    references
}

/// A sealed leaf that tells its number and version.
pub(crate) fn leaf(size: PageSize, number: u64, version: u64) -> (PageRef, Vec<u8>) {
    let mut bytes = vec![0; size.bytes()];
    bytes[16] = 1; // well formed, to the suite's `validate`
    bytes[24..32].copy_from_slice(&number.to_le_bytes());
    bytes[32..40].copy_from_slice(&version.to_le_bytes());
    let at = bifold_page_source::seal_page(pages::FILE_ID, PageId::new(number).unwrap(), &mut bytes);
    (at, bytes)
}

/// The number that a page's bytes tell.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[24..32].try_into().unwrap())
}

/// The version that a page's bytes tell.
pub(crate) fn version(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[32..40].try_into().unwrap())
}

pub(crate) fn open(file: Arc<dyn File>, size: PageSize, options: &Options) -> PoolSource {
    PoolSource::open(file, pages::config(size), options).unwrap()
}

/// Looks at a page in a visit of its own.
pub(crate) fn look(source: &PoolSource, at: PageRef) {
    assert_eq!(number(source.visit().view(at).unwrap()), at.page().get());
}
