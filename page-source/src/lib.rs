//! The contract between Bifold's engine and whatever reaches its pages.
//!
//! Two seams live here. [`PageSource`] is a read cache over immutable pages plus a bulk writer: what a backend
//! (`mmap`, buffer pool) implements and the engine is generic over. [`File`] and [`FileSystem`] lie beneath it:
//! every call that touches the disk goes through them, so that tests can inject faults and replay crashes.

mod bits;
mod checksum;
mod error;
mod file;
mod huge_pages;
mod id;
mod mem_fs;
mod mem_source;
mod os_fs;
mod page_file;
mod prefetch;
mod source;
mod stats;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod verified;
mod write;
mod writeback;

pub use bits::Bits;
pub use checksum::{chunk_checksum, page_checksum, seal_page, verify_page};
pub use error::{Error, Result};
pub use file::{Access, DirectFile, File, FileIdentity, FileSystem, LockKind};
pub use huge_pages::advise_huge_pages;
pub use id::{PageId, PageRef, PageSize};
pub use mem_fs::MemFs;
pub use mem_source::{MemPin, MemSource, MemVisit};
pub use os_fs::OsFs;
pub use page_file::PageFile;
pub use prefetch::{
    prefetch_ends, prefetch_held, prefetch_held_at, prefetch_line, prefetch_viewed, prefetch_viewed_at,
};
pub use source::{CHUNK_SIZE, ChunkCheck, PageSource, PageWrite, SourceConfig, Visit};
pub use stats::SourceStats;
pub use verified::Verified;
pub use write::write_pages;
