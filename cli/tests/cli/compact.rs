//! Compacting, in place and into a new file.

use crate::common::{BACKENDS, Place, cities};
use std::fmt::Write;

/// A database of which most was removed again, and its content.
fn sparse(place: &Place, backend: &str) -> String {
    let file = cities();
    let args = ["load", "a.bifold", "cities", file.to_str().unwrap(), "--backend", backend];
    place.feed_args(&args, b"").good();
    let db = bifold::mmap::Database::open(place.path("a.bifold")).unwrap();
    db.update(|txn| txn.table("cities")?.remove_range("B".."X")).unwrap();
    db.close().unwrap();
    place.run("scan a.bifold cities").text()
}

fn len(place: &Place, name: &str) -> u64 {
    place.path(name).metadata().unwrap().len()
}

#[test]
fn in_place() {
    for backend in BACKENDS {
        let place = Place::new();
        let content = sparse(&place, backend);
        let before = len(&place, "a.bifold");
        let said = place.run(&format!("compact a.bifold --backend {backend}")).text();
        assert!(
            said.starts_with("a.bifold: ") && said.contains(" written, 0 large values moved\n"),
            "{said}"
        );
        assert!(len(&place, "a.bifold") < before / 3, "{before} bytes: {said}");
        assert!(place.run("scan a.bifold cities").text() == content);
        assert!(place.run("check a.bifold").text().starts_with("0 faults; "));
        assert_eq!(place.files().len(), 1);
        let json = place.run(&format!("compact a.bifold --delta 1MiB --json --backend {backend}")).json();
        assert_eq!(json[0]["bytes_after"], len(&place, "a.bifold"));
    }
}

#[test]
fn into_a_new_file() {
    for backend in BACKENDS {
        let place = Place::new();
        let content = sparse(&place, backend);
        let (before, files) = (len(&place, "a.bifold"), place.files());
        let said = place.run(&format!("compact a.bifold --into b.bifold --backend {backend}")).text();
        let entries = content.lines().count();
        assert!(said.starts_with("b.bifold: "), "{said}");
        assert!(said.ends_with(&format!("; {} entries copied\n", thousands(entries))), "{said}");
        assert!(len(&place, "b.bifold") < before / 3, "{before} bytes: {said}");
        assert!(place.run("scan b.bifold cities").text() == content);
        assert!(place.run("check b.bifold").text().starts_with("0 faults; "));
        // What was there is as it was.
        assert!(place.files()[..1] == files[..]);
        let json = place.run(&format!("compact a.bifold --into c.bifold --json --backend {backend}")).json();
        assert_eq!((&json[0]["entries_copied"], &json[0]["bytes_before"]), (&entries.into(), &before.into()));
    }
}

/// A number as people write it.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    digits.char_indices().fold(String::new(), |mut text, (at, digit)| {
        let comma = if at > 0 && (digits.len() - at).is_multiple_of(3) { "," } else { "" };
        let _ = write!(text, "{comma}{digit}");
        text
    })
}

#[test]
fn what_cannot_be_compacted() {
    for backend in BACKENDS {
        let place = Place::new();
        let error = place.run(&format!("compact a.bifold --backend {backend}")).error();
        assert_eq!(error, "bifold: a.bifold: there is no such database\n");
        let error = place.run(&format!("compact a.bifold --into b.bifold --backend {backend}")).error();
        assert_eq!(error, "bifold: a.bifold: there is no such database\n");
        assert!(place.files().is_empty());
        place.feed("load a.bifold t", b"a\t1\n").good();
        for new in ["a.bifold", "taken"] {
            std::fs::write(place.path("taken"), "").unwrap();
            let error = place.run(&format!("compact a.bifold --into {new} --backend {backend}")).error();
            assert_eq!(error, format!("bifold: {new}: something of that name is there already\n"));
        }
        assert_eq!(len(&place, "taken"), 0);
        let error = place.run(&format!("compact a.bifold --into no/b --backend {backend}")).error();
        assert_eq!(error, "bifold: no/b: there is no such folder\n");
        let writer = bifold::mmap::Database::open(place.path("a.bifold")).unwrap();
        let error = place.run(&format!("compact a.bifold --backend {backend}")).error();
        assert_eq!(error, "bifold: a.bifold: the database is open elsewhere\n");
        drop(writer);
        let error = place.run(&format!("compact a.bifold --into b --delta 1MiB --backend {backend}")).error();
        assert!(error.contains("cannot be used with"), "{error}");
    }
}
