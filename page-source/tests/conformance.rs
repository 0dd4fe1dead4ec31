//! The in-memory source is held to the suite that holds the others to it.

use bifold_page_source::testing::{StaleViewSource, conformance};
use bifold_page_source::{FileSystem, MemSource, OsFs};

#[test]
fn the_memory_source_conforms() {
    conformance::run::<MemSource>(&());
}

#[test]
fn the_memory_source_conforms_on_files_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    conformance::run_on::<MemSource>(&(), &|| OsFs.create_unnamed(&path).unwrap());
}

#[test]
fn the_source_that_catches_broken_promises_conforms() {
    conformance::run::<StaleViewSource<MemSource>>(&());
}
