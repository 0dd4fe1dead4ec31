//! `check` finds damage, says where, and no other command shows what is damaged.

use crate::common::{BACKENDS, Place, Ran};
use std::fmt::Write;

const PAGE: usize = 4096;

fn database() -> Place {
    let place = Place::new();
    let mut text = String::new();
    for n in 0..5000 {
        writeln!(text, "key {n:05}\tthe value of {n}").unwrap();
    }
    place.feed("load a.bifold t", text.as_bytes()).good();
    assert!(place.run("check a.bifold").text().starts_with("0 faults; 1 table, 5,000 entries, "));
    place
}

/// Flips one bit of the file.
fn flip(place: &Place, offset: usize) {
    let mut bytes = std::fs::read(place.path("a.bifold")).unwrap();
    bytes[offset] ^= 0x40;
    std::fs::write(place.path("a.bifold"), bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_any_page_is_found_and_named() {
    let place = database();
    let whole = std::fs::read(place.path("a.bifold")).unwrap();
    let mut found = 0;
    for page in (4..whole.len() / PAGE).step_by(3) {
        flip(&place, page * PAGE + 1234);
        for backend in BACKENDS {
            let ran = place.run(&format!("check a.bifold --backend {backend}"));
            let text = String::from_utf8(ran.out.clone()).unwrap();
            let named = text.contains(&format!("page {page}: "));
            // What is free holds nothing that could be damaged.
            assert_eq!(ran.code == 1, named, "page {page}: {text}{}", ran.err);
            assert!(ran.code == 1 || text.starts_with("0 faults; "), "{ran:?}");
            found += ran.code;
        }
        std::fs::write(place.path("a.bifold"), &whole).unwrap();
    }
    assert!(found > 20, "{found}");
}

#[test]
fn nothing_damaged_is_shown() {
    let place = database();
    let whole = place.run("scan a.bifold t").text();
    let bytes = std::fs::read(place.path("a.bifold")).unwrap();
    // Somewhere in the leaf with this key.
    let needle = b"the value of 2500";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    flip(&place, at + 13);
    let page = format!("page {}", at / PAGE);
    let says = |ran: &Ran| ran.code == 2 && ran.err.contains(&page) && ran.err.contains("damaged");
    for backend in BACKENDS {
        let scan = place.run(&format!("scan a.bifold t --backend {backend}"));
        assert!(says(&scan), "{}", scan.err);
        // What came before the damage is right.
        assert!(!scan.out.is_empty() && whole.as_bytes().starts_with(&scan.out));
        let get = place.feed_args(&["get", "a.bifold", "t", "key 02500", "--backend", backend], b"");
        assert!(says(&get) && get.out.is_empty(), "{get:?}");
        assert!(says(&place.run(&format!("stat a.bifold --backend {backend}"))));
        let get = place.feed_args(&["get", "a.bifold", "t", "key 00001", "--backend", backend], b"");
        assert_eq!(get.text(), "the value of 1\n");
        let check = place.run(&format!("check a.bifold --json --backend {backend}"));
        assert_eq!(check.code, 1);
        let report: serde_json::Value = serde_json::from_slice(&check.out).unwrap();
        assert_eq!(report["faults"][0]["place"], page.as_str());
        assert_eq!(report["faults"][0]["table"], "t");
    }
}

#[test]
fn a_damaged_head_is_a_fault_too() {
    let place = database();
    for slot in 0..4 {
        flip(&place, slot * 4096 + 40);
    }
    for backend in BACKENDS {
        let ran = place.run(&format!("check a.bifold --backend {backend}"));
        let text = String::from_utf8(ran.out).unwrap();
        assert_eq!(ran.code, 1, "{text}{}", ran.err);
        assert!(text.contains("of the file's head: ") && text.contains("1 fault; "), "{text}");
        let error = place.run(&format!("tables a.bifold --backend {backend}")).error();
        assert!(error.contains("of the file's head is damaged"), "{error}");
    }
}

#[test]
fn a_file_cut_short_is_found() {
    let place = database();
    let bytes = std::fs::read(place.path("a.bifold")).unwrap();
    std::fs::write(place.path("a.bifold"), &bytes[..bytes.len() / 2]).unwrap();
    for backend in BACKENDS {
        let ran = place.run(&format!("check a.bifold --backend {backend}"));
        let text = String::from_utf8(ran.out).unwrap();
        assert_eq!(ran.code, 1, "{text}{}", ran.err);
        assert!(text.contains("the file ends before it"), "{text}");
        let scan = place.run(&format!("scan a.bifold t --backend {backend}"));
        assert_eq!(scan.code, 2, "{scan:?}");
    }
}
