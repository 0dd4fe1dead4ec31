//! The pool passes the suite that every source must, with memory to spare and with 64 frames, direct and not.

use bifold_page_source::testing::conformance::{self, PAGE_SIZES, Setup};
use bifold_page_source::{File, FileSystem, MemFs, OsFs, PageSize};
use bifold_pool::{Options, PoolSource};
use std::path::Path;
use std::sync::Arc;

fn sixty_four_frames(options: &Options, file: &dyn Fn() -> Arc<dyn File>) {
    for size in PAGE_SIZES.into_iter().filter_map(PageSize::new) {
        let options = &options.clone().frames(64, size);
        let setup = Setup::<PoolSource> { options, size, file };
        conformance::reading(&setup);
        conformance::writing(&setup);
        conformance::writers(&setup);
        conformance::damage(&setup);
        conformance::extents(&setup);
    }
}

#[test]
fn the_pool_conforms_in_memory() {
    conformance::run::<PoolSource>(&Options::new());
    conformance::run::<PoolSource>(&Options::new().cache_size(4 << 20).direct(false).io_threads(0));
}

#[test]
fn the_pool_conforms_with_64_frames_in_memory() {
    let file = || MemFs::new().create_unnamed(Path::new("file")).unwrap();
    sixty_four_frames(&Options::new(), &file);
    sixty_four_frames(&Options::new().direct(false).io_threads(0), &file);
}

#[test]
fn the_pool_conforms_on_files_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = || OsFs.create_unnamed(&path).unwrap();
    conformance::run_on::<PoolSource>(&Options::new(), &file);
    sixty_four_frames(&Options::new(), &file);
}
