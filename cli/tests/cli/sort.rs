//! Loads of sorted input, and of input that is sorted first: in memory, in a temporary file, in several passes.

use crate::common::{BACKENDS, Place, cities};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;

/// `count` lines in no order, a third of the keys twice, and the entries that they make.
fn shuffled(count: u64) -> (String, BTreeMap<String, String>) {
    let (mut text, mut map) = (String::new(), BTreeMap::new());
    for n in 0..count {
        let key = format!("key {:06}", n.wrapping_mul(7_919) % (count * 3 / 4));
        let value = format!("value {n} {}", "v".repeat((n % 60) as usize));
        writeln!(text, "{key}\t{value}").unwrap();
        map.insert(key, value);
    }
    (text, map)
}

fn text_of(map: &BTreeMap<String, String>) -> String {
    map.iter().fold(String::new(), |text, (key, value)| text + key + "\t" + value + "\n")
}

#[test]
fn sorted_input_goes_behind_what_is_there_at_once() {
    for backend in BACKENDS {
        let place = Place::new();
        let (_, map) = shuffled(40_000);
        let load = format!("load a.bifold t --delta 64KiB --backend {backend}");
        // Of neighbours with one key the last stays.
        let text = text_of(&map).replacen('\n', "\nkey 000000\tlast\n", 1);
        let json = place.feed(&format!("{load} --json"), text.as_bytes()).json();
        assert_eq!((&json[0]["entries"], &json[0]["table_entries"]), (&json!(30_001), &json!(30_000)));
        assert_eq!(place.run("get a.bifold t").code, 2);
        assert_eq!(place.feed_args(&["get", "a.bifold", "t", "key 000000"], b"").text(), "last\n");
        // More behind it.
        let mut more = String::new();
        (0..20_000).for_each(|n| writeln!(more, "later {n:06}\tvalue {n}").unwrap());
        place.feed(&load, more.as_bytes()).good();
        assert_eq!(place.run("tables a.bifold").text(), "t\t50000\n");
        assert!(place.run("check a.bifold").text().starts_with("0 faults; 1 table, 50,000 entries"));
        // A full table: 16 bytes a key and 40 a value, packed close.
        let stat = place.run("stat a.bifold --json").json();
        assert!(stat[0]["tables"][0]["leaf_fill"].as_f64() > Some(0.95), "{stat:?}");
    }
}

#[test]
fn what_is_out_of_order_from_some_line_on_is_loaded_as_well() {
    let place = Place::new();
    let (shuffled, map) = shuffled(4000);
    let text = text_of(&map) + &shuffled;
    place.feed("load a.bifold t", text.as_bytes()).good();
    assert_eq!(place.run("scan a.bifold t").text(), text_of(&map));
    assert!(place.run("check a.bifold").text().starts_with("0 faults; "));
}

#[test]
fn input_is_sorted_in_memory_and_out_of_it() {
    let (text, map) = shuffled(40_000);
    for backend in BACKENDS {
        let place = Place::new();
        std::fs::create_dir(place.path("tmp")).unwrap();
        for (table, args) in
            [("memory", ""), ("file", " --memory 200KiB"), ("passes", " --memory 64K --tmp tmp")]
        {
            let load = format!("load a.bifold {table} --sort --delta 64KiB --backend {backend}{args}");
            let json = place.feed(&format!("{load} --json"), text.as_bytes()).json();
            assert_eq!((&json[0]["entries"], &json[0]["table_entries"]), (&json!(40_000), &json!(30_000)));
            assert!(place.run(&format!("scan a.bifold {table}")).text() == text_of(&map), "{table}");
        }
        assert!(place.run("check a.bifold").text().starts_with("0 faults; 3 tables, 90,000 entries"));
        assert_eq!(std::fs::read_dir(place.path("tmp")).unwrap().count(), 0);
        std::fs::remove_dir(place.path("tmp")).unwrap();
        assert_eq!(place.files().len(), 1);
    }
}

#[test]
fn sorted_into_a_table_that_has_entries_later_lines_win() {
    let place = Place::new();
    place.feed("load a.bifold t", b"b\told\nm\told\nx\told\n").good();
    place.feed("load a.bifold t --sort", b"x\t1\nc\t2\nb\t3\nx\t4\nz\t5\n").good();
    assert_eq!(place.run("scan a.bifold t").text(), "b\t3\nc\t2\nm\told\nx\t4\nz\t5\n");
}

#[test]
fn cities_sorted_are_as_cities_loaded() {
    let place = Place::new();
    let file = cities();
    let file = file.to_str().unwrap();
    place.feed_args(&["load", "a.bifold", "cities", file], b"").good();
    place.feed_args(&["load", "b.bifold", "cities", file, "--sort", "--memory", "1MiB"], b"").good();
    assert!(place.run("scan a.bifold cities").good() == place.run("scan b.bifold cities").good());
}

#[test]
fn what_is_wrong_names_its_line_though_it_was_sorted() {
    let place = Place::new();
    let input = format!("b\t1\n{}\t1\na\t1\n", "k".repeat(2000));
    let error = place.feed("load a.bifold t --sort", input.as_bytes()).error();
    assert!(error.contains("line 2: a key of 2000 bytes"), "{error}");
    let error = place.feed("load a.bifold t --sort", b"b\t1\nb\n").error();
    assert!(error.contains("line 2: it has no tab, so no value; nothing was loaded"), "{error}");
    let mut input = String::new();
    (0..10_000).for_each(|n| writeln!(input, "key {n}\tvalue").unwrap());
    let error = place.feed("load a.bifold t --sort --memory 64KiB --tmp missing", input.as_bytes()).error();
    assert!(error.contains("a temporary file in missing: "), "{error}");
    assert_eq!(place.run("tables a.bifold").text(), "");
    let error = place.feed("load a.bifold t --memory 64KiB", b"a\t1\n").error();
    assert!(error.contains("--sort"), "{error}");
}

#[test]
fn a_full_temporary_folder_says_so() {
    let place = Place::new();
    std::fs::write(place.path("in.tsv"), shuffled(40_000).0).unwrap();
    // The limit of the size of any file, in blocks, stands for a full disk. Its signal is ignored.
    let line = r#"ulimit -f 512 && trap '' XFSZ && "$BIFOLD" load a.bifold t in.tsv --sort --memory 128KiB"#;
    let ran = place.shell(line);
    if !ran.err.contains("a temporary file") && ran.code != 2 {
        println!("skipped: the shell sets no limit of the size of files");
        return;
    }
    let error = ran.error();
    assert!(error.contains("a temporary file in .: ") && error.contains("--tmp names a folder"), "{error}");
    assert_eq!(place.run("tables a.bifold").text(), "");
}
