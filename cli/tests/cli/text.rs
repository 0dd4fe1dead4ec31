//! Text and JSON: any bytes come out as text, and go in again as they were.

use crate::common::{BACKENDS, Place};
use serde_json::json;
use std::collections::BTreeMap;

/// Entries with every byte, and all that is easily got wrong.
fn awkward() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = BTreeMap::new();
    for byte in 0..=255 {
        entries.insert(vec![byte], vec![byte; 3]);
        entries.insert(vec![b'k', byte, b'k'], vec![b'\t', byte, b'\n']);
    }
    let mut state = 1_u64;
    let mut random = |len: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    for len in 0..100 {
        entries.insert(random(len), random(len * 7));
    }
    entries.insert(b"large".to_vec(), random(300_000));
    entries.insert(b"empty".to_vec(), Vec::new());
    entries.insert(Vec::new(), b"no key".to_vec());
    entries.insert("e\u{301}\u{85}\u{feff}".as_bytes().to_vec(), "\u{202e}東京".as_bytes().to_vec());
    entries
}

fn fill(place: &Place) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = awkward();
    let db = bifold::mmap::Database::open(place.path("a.bifold")).unwrap();
    db.update(|txn| entries.iter().try_for_each(|(key, value)| txn.table("t")?.insert(key, value))).unwrap();
    db.close().unwrap();
    entries
}

#[test]
fn any_bytes_survive_scan_and_load() {
    let place = Place::new();
    let entries = fill(&place);
    for [first, second] in [BACKENDS, [BACKENDS[1], BACKENDS[0]]] {
        let text = place.run(&format!("scan a.bifold t --backend {first}")).good();
        assert_eq!(text.split_inclusive(|byte| *byte == b'\n').count(), entries.len());
        assert!(
            String::from_utf8(text.clone()).unwrap().chars().all(|c| !c.is_control() || "\t\n".contains(c))
        );
        let copy = format!("{second}.bifold");
        place.feed(&format!("load {copy} t - --backend {second}"), &text).good();
        let db = bifold::pool::Builder::new().read_only().open(place.path(&copy)).unwrap();
        let txn = db.read().unwrap();
        let found: bifold::Result<BTreeMap<_, _>> = txn
            .table("t")
            .unwrap()
            .iter()
            .map(|entry| entry.map(|(key, value)| (key, value.to_vec())))
            .collect();
        assert!(found.unwrap() == entries);
        // The copy prints as the original did.
        assert!(place.run(&format!("scan {copy} t")).good() == text);
    }
}

#[test]
fn a_printed_key_can_be_asked_for() {
    let place = Place::new();
    let entries = fill(&place);
    let keys = place.run("scan a.bifold t --keys-only").text();
    for (text, (key, value)) in keys.lines().zip(&entries).step_by(7) {
        let raw = place.feed_args(&["get", "a.bifold", "t", "--raw", "--", text], b"");
        assert!(raw.good() == *value, "{key:?}");
    }
    assert_eq!(
        place.feed_args(&["get", "a.bifold", "t", "large", "--raw", "--backend", "pool"], b"").good().len(),
        300_000
    );
    assert_eq!(place.feed_args(&["get", "a.bifold", "t", r"k\tk"], b"").text(), "\t\t\\n\n");
    let found = place.feed_args(&["scan", "a.bifold", "t", "--prefix", r"k\xff", "--limit", "1"], b"");
    assert_eq!(found.text(), "k\\xffk\t\t\\xff\\n\n");
}

/// Every command takes a table's name as `tables` prints it.
#[test]
fn a_printed_name_of_a_table_can_be_given_to_every_command() {
    for [first, second] in [BACKENDS, [BACKENDS[1], BACKENDS[0]]] {
        let place = Place::new();
        let name = "a\tb\\c\u{1b}\nü\u{85}";
        let run = |args: &[&str]| place.feed_args(&[args, &["--backend", first]].concat(), b"k\t1\n");
        run(&["load", "a.bifold", r"a\tb\\c\x1b\nü\xc2\x85"]).good();
        let db = bifold::pool::Builder::new().read_only().open(place.path("a.bifold")).unwrap();
        assert_eq!(db.read().unwrap().tables().unwrap(), [name]);
        drop(db);
        let tables = place.run(&format!("tables a.bifold --backend {second}")).text();
        let printed = tables.strip_suffix("\t1\n").unwrap();
        assert_eq!(printed, r"a\tb\\c\x1b\nü\xc2\x85");
        assert!(place.run("stat a.bifold").text().contains(printed));
        assert_eq!(run(&["put", "a.bifold", printed, "l", "2"]).text(), "");
        assert_eq!(run(&["get", "a.bifold", printed, "l"]).text(), "2\n");
        assert_eq!(run(&["scan", "a.bifold", printed]).text(), "k\t1\nl\t2\n");
        assert_eq!(run(&["dump", "a.bifold", printed, "--format", "tsv"]).text(), "k\t1\nl\t2\n");
        assert_eq!(run(&["get", "a.bifold", printed, "m"]).err, format!("bifold: {printed} has no key m\n"));
        assert_eq!(run(&["del", "a.bifold", printed, "l"]).text(), "");
        let other = printed.replace('ü', r"\xc3\xbc\x01");
        assert_eq!(run(&["rename", "a.bifold", printed, &other]).text(), "");
        let error = run(&["scan", "a.bifold", printed]).error();
        assert_eq!(error, format!("bifold: no table named \"{printed}\"\n"));
        run(&["load", "a.bifold", printed]).good();
        let error = run(&["rename", "a.bifold", &other, printed]).error();
        assert_eq!(error, format!("bifold: a table named \"{printed}\" exists\n"));
        assert_eq!(run(&["drop", "a.bifold", &other]).text(), "");
        assert_eq!(place.run("tables a.bifold --json").json(), [json!({ "table": name, "entries": 1 })]);
    }
}

#[test]
fn a_name_that_no_table_can_have_is_an_error_of_every_command() {
    let place = Place::new();
    place.feed("load a.bifold t", b"k\t1\n").good();
    let before = place.files();
    for command in [
        "load DB T",
        "dump DB T",
        "put DB T k v",
        "get DB T k",
        "del DB T k",
        "scan DB T",
        "rename DB T u",
        "rename DB t T",
        "drop DB T",
    ] {
        for (name, what) in [
            (r"t\q", r"byte 2: there is no escape \q"),
            ("t\\", "byte 2: a backslash at the end"),
            (r"t\xff", "not UTF-8"),
        ] {
            let error = place.run(&command.replace("DB", "a.bifold").replace('T', name)).error();
            assert!(error.contains(what), "{command}: {error}");
        }
    }
    assert!(place.files() == before);
}

#[test]
fn json_shows_text_as_strings_and_other_bytes_as_base64() {
    let place = Place::new();
    place.feed("load a.bifold t --json", b"a\t1\tx\\n\nb\\xff\t\\x00\\xfe\n").json();
    let entries = place.run("scan a.bifold t --json").json();
    let a = json!({ "key": "a", "value": "1\tx\n" });
    let b = json!({ "key": { "base64": "Yv8=" }, "value": { "base64": "AP4=" } });
    assert_eq!(entries, [a.clone(), b.clone()]);
    assert_eq!(
        place.run("scan a.bifold t --json --keys-only").json()[1],
        json!({ "key": { "base64": "Yv8=" } })
    );
    assert_eq!(place.run("get a.bifold t a --json").json(), [a]);
    assert_eq!(place.run(r"--json get a.bifold t b\xff").json(), [b]);
    let missing = place.run("get a.bifold t nothing --json");
    assert_eq!(missing.code, 1);
    assert_eq!(missing.out, b"{\"key\":\"nothing\",\"value\":null}\n");
    assert_eq!(place.run("tables a.bifold --json").json(), [json!({ "table": "t", "entries": 2 })]);
    let check = place.run("check a.bifold --json").json();
    assert_eq!((&check[0]["entries"], &check[0]["faults"]), (&json!(2), &json!([])));
    let load = place.feed("load a.bifold t --json", b"a\t2\nc\t3\n");
    assert_eq!(load.err, "");
    let load = load.json().remove(0);
    assert_eq!(
        (&load["table"], &load["entries"], &load["table_entries"]),
        (&json!("t"), &json!(2), &json!(3))
    );
    assert!(load["seconds"].as_f64() > Some(0.0) && load["entries_per_second"].as_f64() > Some(0.0));
}

#[test]
fn input_may_come_from_standard_input_in_three_ways() {
    let place = Place::new();
    place.feed("load a.bifold t", b"a\t1\nb\t2").good();
    place.feed("load a.bifold t -", b"b\t3\n").good();
    place.shell(r#"printf 'c\t4\n' > c.tsv && "$BIFOLD" load a.bifold t c.tsv"#).good();
    assert_eq!(place.run("scan a.bifold t").text(), "a\t1\nb\t3\nc\t4\n");
    place.shell(r#""$BIFOLD" scan a.bifold t | "$BIFOLD" load b.bifold t --backend pool"#).good();
    assert_eq!(place.run("scan b.bifold t").text(), "a\t1\nb\t3\nc\t4\n");
    // Nothing at all is loaded just as well.
    place.feed("load a.bifold none", b"").good();
    assert_eq!(place.run("tables a.bifold").text(), "none\t0\nt\t3\n");
}

/// At a terminal, which waits for the one who waits for it.
#[test]
fn reading_from_a_terminal_is_said() {
    let place = Place::new();
    if place.shell("command -v script").code != 0 {
        println!("skipped: no script");
        return;
    }
    for (command, what) in
        [("load a.bifold t", true), ("put a.bifold t k", true), ("put a.bifold t k v", false)]
    {
        let line =
            format!(r#"printf 'k\t1\n' | script -qec '"$BIFOLD" {command} 2> err' /dev/null; cat err >&2"#);
        let err = place.shell(&line).err;
        assert_eq!(err.starts_with("bifold: reading standard input"), what, "{command}: {err}");
    }
    assert!(place.feed("load a.bifold t", b"k\t1\n").err.starts_with("t: 1 entry in "));
}

#[test]
fn of_a_key_that_comes_twice_the_last_value_stays() {
    let place = Place::new();
    let ran = place.feed("load a.bifold t --json", b"k\t1\nx\t0\nk\t2\n").json();
    assert_eq!((&ran[0]["entries"], &ran[0]["table_entries"]), (&json!(3), &json!(2)));
    assert_eq!(place.run("get a.bifold t k").text(), "2\n");
}

#[test]
fn a_carriage_return_is_data() {
    let place = Place::new();
    place.feed("load a.bifold t", b"k\tv\r\n").good();
    assert_eq!(place.run("get a.bifold t k --raw").good(), b"v\r");
    assert_eq!(place.run("get a.bifold t k").text(), "v\\r\n");
}
