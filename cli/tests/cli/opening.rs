//! How the database is opened: readers side by side, a writer alone, and what was not closed is read all the same.

use crate::common::{BACKENDS, Place};

#[test]
fn readers_go_side_by_side_and_a_writer_alone() {
    let place = Place::new();
    place.feed("load a.bifold t", b"a\t1\n").good();
    let reader = bifold::pool::Builder::new().read_only().open(place.path("a.bifold")).unwrap();
    for backend in BACKENDS {
        assert_eq!(place.run(&format!("get a.bifold t a --backend {backend}")).text(), "1\n");
        let error = place.feed(&format!("load a.bifold t --backend {backend}"), b"a\t2\n").error();
        assert_eq!(error, "bifold: a.bifold: the database is open elsewhere\n");
    }
    drop(reader);
    let writer = bifold::mmap::Database::open(place.path("a.bifold")).unwrap();
    for backend in BACKENDS {
        let error = place.run(&format!("get a.bifold t a --backend {backend}")).error();
        assert_eq!(error, "bifold: a.bifold: the database is open elsewhere\n");
    }
    drop(writer);
}

#[test]
fn what_was_not_closed_is_read_and_not_written() {
    let place = Place::new();
    let db = bifold::mmap::Database::open(place.path("live")).unwrap();
    for n in 0..100 {
        db.update(|txn| txn.table("t")?.insert(format!("{n:03}"), "value")).unwrap();
    }
    // As if the machine had stopped here.
    std::fs::copy(place.path("live"), place.path("a.bifold")).unwrap();
    std::fs::copy(place.path("live-log"), place.path("a.bifold-log")).unwrap();
    drop(db);
    let before = place.files();
    for backend in BACKENDS {
        assert_eq!(place.run(&format!("tables a.bifold --backend {backend}")).text(), "t\t100\n");
        assert_eq!(place.run(&format!("scan a.bifold t --backend {backend}")).text().lines().count(), 100);
        assert!(place.run(&format!("check a.bifold --backend {backend}")).text().starts_with("0 faults; "));
        let stat = place.run(&format!("stat a.bifold --backend {backend}")).text();
        assert!(stat.contains(", as the database was not closed\n"), "{stat}");
    }
    assert!(place.files() == before);
    // Opening to write recovers it, and closing makes it one file.
    place.feed("load a.bifold t", b"100\tvalue\n").good();
    assert_eq!(place.run("tables a.bifold").text(), "t\t101\n");
    assert!(!place.path("a.bifold-log").exists());
    assert!(place.run("stat a.bifold").text().contains("none, as the database was closed\n"));
}
