//! What every page source must do, as one suite generic over the source.
//!
//! [`run`] takes them all through all tests at three page sizes, over files in memory; [`run_on`] over files of the
//! caller's, such as a real disk's. Each test is a function of its own that panics where the source falls short.

mod bed;
mod damage;
mod extents;
mod reading;
mod writing;

pub use bed::Setup;
pub use damage::*;
pub use extents::*;
pub use reading::*;
pub use writing::*;

use crate::{DirectFile, Error, File, FileIdentity, FileSystem, LockKind, MemFs, PageSize, PageSource};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

/// The page sizes every source is tried at, in bytes.
pub const PAGE_SIZES: [u32; 3] = [512, 4096, 65536];

/// Runs the whole suite over files in memory, and over files that have no descriptor if the source takes them.
///
/// # Panics
/// Where the source falls short.
pub fn run<S: PageSource>(options: &S::Options) {
    run_on::<S>(options, &memory_file);
    let plain = || -> Arc<dyn File> { Arc::new(Plain(memory_file())) };
    let config = super::pages::config(PageSize::MIN);
    match S::open(plain(), config, options) {
        Ok(_) => run_on::<S>(options, &plain),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::Unsupported => {
            println!("skipped: {} needs a descriptor", S::NAME);
        }
        Err(e) => panic!("a file without a descriptor is taken or Unsupported, not {e}"),
    }
}

/// Runs the whole suite over files of the caller's; each call of `file` makes an empty one.
///
/// # Panics
/// Where the source falls short.
pub fn run_on<S: PageSource>(options: &S::Options, file: &dyn Fn() -> Arc<dyn File>) {
    for size in PAGE_SIZES.into_iter().filter_map(PageSize::new) {
        let setup = Setup::<S> { options, size, file };
        reading(&setup);
        writing(&setup);
        damage(&setup);
        extents(&setup);
    }
}

fn memory_file() -> Arc<dyn File> {
    MemFs::new().create_unnamed(Path::new("conformance")).unwrap_or_else(|e| panic!("no file in memory: {e}"))
}

/// How many pages a file of some 2 MiB has; at least 48.
fn many(size: PageSize) -> u64 {
    ((2 << 20) / size.bytes() as u64).clamp(48, 1024)
}

/// A file that offers nothing but buffered calls.
#[derive(Debug)]
struct Plain(Arc<dyn File>);

impl File for Plain {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.0.write_vectored_at(bufs, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write_at_durably(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at_durably(buf, offset)
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.0.start_writeback(offset, len);
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }

    fn lock(&self, kind: LockKind) -> io::Result<bool> {
        self.0.lock(kind)
    }

    fn drop_cache(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.drop_cache(offset, len)
    }

    fn direct(&self) -> io::Result<Option<DirectFile>> {
        Ok(None)
    }

    fn identity(&self) -> io::Result<FileIdentity> {
        self.0.identity()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
