//! What every page source must do, as one suite generic over the source.
//!
//! [`run`] takes them all through all tests at three page sizes, over files in memory; [`run_on`] over files of the
//! caller's, such as a real disk's. Each test is a function of its own that panics where the source falls short.

mod bed;
mod damage;
mod extents;
mod reading;
mod writers;
mod writing;

pub use bed::Setup;
pub use damage::*;
pub use extents::*;
pub use reading::*;
pub use writers::*;
pub use writing::*;

use crate::testing::FaultFs;
use crate::{Error, File, FileSystem, MemFs, PageSize, PageSource};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The page sizes every source is tried at, in bytes.
pub const PAGE_SIZES: [u32; 3] = [512, 4096, 65536];

/// Runs the whole suite over files in memory, and over files that have no descriptor if the source takes them.
///
/// # Panics
/// Where the source falls short.
pub fn run<S: PageSource>(options: &S::Options) {
    run_on::<S>(options, &|| new_file(&MemFs::new()));
    let plain = || new_file(&FaultFs::new(Arc::new(MemFs::new())).without_descriptors());
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
        writers(&setup);
        damage(&setup);
        extents(&setup);
    }
}

fn new_file(fs: &dyn FileSystem) -> Arc<dyn File> {
    fs.create_unnamed(Path::new("conformance")).unwrap_or_else(|e| panic!("no file in memory: {e}"))
}

/// How many pages a file of some 2 MiB has; at least 48.
fn many(size: PageSize) -> u64 {
    ((2 << 20) / size.bytes() as u64).clamp(48, 1024)
}
