//! The mmap source passes the suite that every source must, however it is told to map.

use bifold_mmap::{MmapSource, Options};
use bifold_page_source::testing::conformance;
use bifold_page_source::{FileSystem, OsFs};

/// The default, the smallest reservation (so that files outgrow it), and everything switched the other way.
fn variants() -> [Options; 3] {
    let mut small = Options::default();
    small.reserve_bytes = 0;
    let mut eager = Options::default();
    eager.populate = true;
    eager.read_ahead = true;
    [Options::default(), small, eager]
}

#[test]
fn the_mmap_source_conforms_in_memory() {
    variants().iter().for_each(conformance::run::<MmapSource>);
}

#[test]
fn the_mmap_source_conforms_on_files_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for options in variants() {
        conformance::run_on::<MmapSource>(&options, &|| OsFs.create_unnamed(&path).unwrap());
    }
}
