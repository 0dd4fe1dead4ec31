//! `dump` and `load` of what it printed: every format, every byte, and everything that can be wrong with an input.

use crate::common::{BACKENDS, Place};
use serde_json::json;
use std::collections::BTreeMap;

/// Three tables: awkward bytes, none at all, and a name that has to be escaped.
fn fill(place: &Place) {
    let db = bifold::mmap::Database::open(place.path("a.bifold")).unwrap();
    db.update(|txn| {
        let table = txn.table("t")?;
        for byte in 0..=255u8 {
            table.insert([byte], [byte; 3])?;
            table.insert([b'k', byte, b'\\'], [b'\\', byte, b'\n', b' '])?;
        }
        table.insert("", "no key")?;
        table.insert("no value", "")?;
        table.insert("large", (0..300_000u32).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<_>>())?;
        txn.table("empty")?;
        txn.table("städte = a\\5c\n")?.insert("Zürich", "DATA=END")
    })
    .unwrap();
    db.close().unwrap();
}

type Tables = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

fn content(place: &Place, db: &str) -> Tables {
    let db = bifold::pool::Builder::new().read_only().open(place.path(db)).unwrap();
    let txn = db.read().unwrap();
    let entries = |name: &String| {
        let table = txn.table(name).unwrap();
        table.iter().map(|entry| entry.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
    };
    txn.tables().unwrap().into_iter().map(|name| (name.clone(), entries(&name))).collect()
}

#[test]
fn every_format_is_taken_back_and_known_by_its_first_line() {
    for [first, second] in [BACKENDS, [BACKENDS[1], BACKENDS[0]]] {
        let place = Place::new();
        fill(&place);
        let mut expected = content(&place, "a.bifold");
        let load = |args: &str, text: &[u8]| {
            std::fs::remove_file(place.path("b.bifold")).unwrap_or_default();
            place.feed(&format!("load b.bifold {args} --backend {second}"), text).good();
            content(&place, "b.bifold")
        };
        for args in ["", " --print", " --format dump", " --mapsize 1GiB"] {
            let text = place.run(&format!("dump a.bifold{args} --backend {first}")).good();
            assert!(load("--all", &text) == expected, "{args}");
            assert!(load("--all --sort --memory 64KiB --format dump -", &text) == expected, "{args}");
        }
        // One table of it, under another name.
        let one = |table: &Tables| BTreeMap::from([("new".to_owned(), table["t"].clone())]);
        for args in ["", " --print --unnamed", " --format tsv", " --format json"] {
            let text = place.run(&format!("dump a.bifold t{args} --backend {first}")).good();
            assert!(load("new", &text) == one(&expected), "{args}");
        }
        // Lines of JSON name no table without entries.
        let text = place.run(&format!("dump a.bifold --json --backend {first}")).good();
        expected.remove("empty");
        assert!(load("--all", &text) == expected);
        let printed = place.run("dump b.bifold").good();
        std::fs::write(place.path("in.json"), &text).unwrap();
        assert!(load("--all in.json --format json", b"not this") == expected);
        assert!(place.run(&format!("dump b.bifold --backend {second}")).good() == printed);
    }
}

#[test]
fn what_is_printed() {
    let place = Place::new();
    place.feed("load a.bifold t", b"a\t1\xff\nb\\\\\t\n").good();
    place.feed("load a.bifold none", b"").good();
    let header = |name| format!("VERSION=3\nformat=bytevalue\ndatabase={name}\ntype=btree\nHEADER=END\n");
    let t = format!("{} 61\n 31ff\n 625c\n \nDATA=END\n", header("t"));
    assert_eq!(place.run("dump a.bifold").text(), format!("{}DATA=END\n{t}", header("none")));
    assert_eq!(place.run("dump a.bifold t").text(), t);
    let print =
        "VERSION=3\nformat=print\ntype=btree\nmapsize=1048576\nHEADER=END\n a\n 1\\ff\n b\\5c\n \nDATA=END\n";
    assert_eq!(place.run("dump a.bifold t -p --unnamed --mapsize 1M").text(), print);
    assert_eq!(place.run("dump a.bifold t --format tsv").text(), "a\t1\\xff\nb\\\\\t\n");
    let lines = place.run("dump a.bifold t --json").json();
    let entries =
        [json!({ "key": "a", "value": { "base64": "Mf8=" } }), json!({ "key": "b\\", "value": "" })];
    assert_eq!(lines, entries);
    assert_eq!(
        place.run("dump a.bifold --format json").json()[1],
        json!({ "table": "t", "key": "b\\", "value": "" })
    );
    place.run("drop a.bifold none").good();
    assert_eq!(place.run("dump a.bifold --format tsv").text().lines().count(), 2);
    place.run("drop a.bifold t").good();
    assert_eq!(place.run("dump a.bifold").text(), "");
    let load = place.feed("load b.bifold --all --json", b"").json();
    assert_eq!((&load[0]["tables"], &load[0]["entries"]), (&json!([]), &json!(0)));
    assert_eq!(place.run("tables b.bifold").text(), "");
}

#[test]
fn what_was_loaded_is_said() {
    let place = Place::new();
    place.feed("load a.bifold b", b"before\t1\n").good();
    let lines = br#"{"table":"b","key":"k","value":"1"}
{"table":"a","key":"k","value":"2"}
{"table":"b","key":"k","value":"3"}
{"table":"b","key":"a","value":"4"}
"#;
    let load = place.feed("load a.bifold --all --json", lines).json().remove(0);
    let held = json!([{ "table": "a", "table_entries": 1 }, { "table": "b", "table_entries": 3 }]);
    assert_eq!((&load["entries"], &load["tables"], &load["table"]), (&json!(4), &held, &json!(null)));
    assert_eq!(place.run("get a.bifold b k").text(), "3\n");
    let ran = place.feed("load a.bifold --all", lines);
    assert!(ran.err.starts_with("2 tables: 4 entries in "), "{}", ran.err);
    // Without --all, whatever name the one table has there.
    place.feed("load a.bifold c", &lines[..36]).good();
    assert_eq!(place.run("scan a.bifold c").text(), "k\t1\n");
}

/// A header that is good.
const HEAD: &str = "VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n";
const NAMED: &str = "VERSION=3\ndatabase=x\nHEADER=END\n 61\n 62\nDATA=END\n";

/// Loads what is wrong, and sees that it is said, and that nothing was loaded.
fn refused(cases: &[(&str, String, &str)]) {
    for backend in BACKENDS {
        let place = Place::new();
        place.feed("load a.bifold t", b"before\t0\n").good();
        for (args, input, what) in cases {
            let error =
                place.feed(&format!("load a.bifold {args} --backend {backend}"), input.as_bytes()).error();
            assert!(error.contains(what), "{args} {input:?}: {error}");
        }
        assert_eq!(place.run("dump a.bifold --format tsv").text(), "before\t0\n");
        assert!(place.run("check a.bifold").text().starts_with("0 faults; "));
    }
}

#[test]
fn dumps_that_are_malformed_or_cut_short_name_their_line_and_load_nothing() {
    let dump = |rest: &str| format!("{HEAD}{rest}");
    let head = |line: &str| format!("VERSION=3\n{line}\nHEADER=END\n 61\n 62\nDATA=END\n");
    refused(&[
        (
            "t",
            dump(" 61\n 62\n"),
            "standard input: line 7: the input ends before DATA=END: the dump was cut short",
        ),
        ("t", dump(" 61\n 62"), "line 7: the input ends before DATA=END"),
        ("t", dump(" 61\n 6"), "line 6: 1 hexadecimal digits, where each byte takes two"),
        ("t", dump(" 61\n"), "line 6: the input ends before DATA=END"),
        ("t", dump(" 61\nDATA=END\n"), "line 6: the data ends behind a key, without its value"),
        ("t", dump(" 6g\n 62\nDATA=END\n"), "line 5: byte 3: \"g\" is no hexadecimal digit"),
        ("t", dump(" 61\n62\nDATA=END\n"), "line 6: it should begin with a space"),
        ("t", dump(" 61\r\n 62\r\nDATA=END\r\n"), "line 5: byte 4: \"\\r\" is no hexadecimal digit"),
        ("t", dump("DATA=END\nmore\n"), "line 6: behind DATA=END there is nothing, or another database"),
        ("t", dump("DATA=END\n\n"), "line 6: behind DATA=END there is nothing"),
        ("t", HEAD[..20].to_owned(), "line 2: format=byt, which is neither"),
        ("t", HEAD[..26].to_owned(), "line 3: the input ends within a header"),
        ("t", "VERSION=2\n".into(), "line 1: VERSION=2; only 3 can be loaded"),
        ("t --format dump", "a\tb\n".into(), "line 1: a dump begins with VERSION=3"),
        (
            "t",
            head("duplicates=1\ndupsort=1"),
            "line 2: duplicates=1: a key may have several values (DUPSORT)",
        ),
        ("t", head("type=recno"), "line 2: type=recno, whose entries have record numbers"),
        ("t", head("format=hex"), "line 2: format=hex, which is neither"),
        ("t", head("integerkey=1"), "line 2: integerkey=1: its keys have another order"),
        ("t", head("colour=red"), "line 2: the header says colour=red, which is not known here"),
        ("t", head("type"), "line 2: a line of the header is NAME=VALUE"),
        ("--all", head("database=x\ndatabase=y"), "line 3: the header names the database a second time"),
        ("t --format dump", String::new(), "line 1: the input is empty, and a dump begins with VERSION=3"),
        ("--all --format dump", String::new(), "line 1: the input is empty"),
        (
            "t",
            head("format=print").replace(" 62", r" \6"),
            r"line 5: byte 2: a backslash should be followed by",
        ),
        ("t", format!("{HEAD}DATA=END\n{NAMED}"), "line 8: another database begins here: --all"),
        ("--all", format!("{NAMED}{HEAD}DATA=END\n"), "line 10: the header has no database=NAME"),
        ("--all", format!("{NAMED}{NAMED}x"), "line 13: behind DATA=END"),
        ("t", dump(&format!(" {}\n 61\nDATA=END\n", "61".repeat(2000))), "line 6: a key of 2000 bytes"),
        ("--all", head(&format!("database={}", "n".repeat(2000))), "a key of 2000 bytes"),
        (
            "t --delta 64K",
            dump(&format!(" 61\n {}\n", "61".repeat(40_000))),
            "line 6: it is longer than 64.00 KiB",
        ),
    ]);
}

#[test]
fn json_that_is_malformed_names_its_line_and_loads_nothing() {
    let good = r#"{"key":"a","value":"1"}"#;
    let named = r#"{"table":"x","key":"a","value":"1"}"#;
    refused(&[
        ("t", format!("{good}\n{{\"key\":\"b\""), "standard input: line 2: byte 10: it is not JSON: EOF"),
        ("t", format!("{good}\n\n"), "line 2: it is empty"),
        ("t", format!("{good}\na\tb\n"), "line 2: byte 1: it is not JSON"),
        ("t", format!("{good}\n[]"), "line 2: it is JSON, but no object"),
        ("t", r#"{"key":"a","value":1}"#.into(), "line 1: its \"value\" is neither a string nor"),
        (
            "t",
            r#"{"key":{"base64":"A-=="},"value":""}"#.into(),
            "line 1: its \"key\": character 2 is no base64",
        ),
        ("t", r#"{"key":"a"}"#.into(), "line 1: it has no \"value\""),
        ("t --format json", "key\tvalue\n".into(), "line 1: byte 1: it is not JSON"),
        ("t", format!("{named}\n{good}\n"), "line 2: its table is none, and was \"x\" before: --all"),
        ("t", format!("{good}\n{named}\n"), "line 2: its table is \"x\", and was none before"),
        ("--all", format!("{named}\n{good}\n"), "line 2: it has no \"table\", which --all needs"),
        ("--all", good.into(), "line 1: it has no \"table\""),
        (
            "t",
            format!("{good}\n{{\"key\":\"b\",\"value\":\"\",\"key\":\"c\"}}"),
            "line 2: it has more than one \"key\"",
        ),
        ("t", r#"{"key":"b","value":"","value":""}"#.into(), "line 1: it has more than one \"value\""),
        ("--all", named.replace("\"key", "\"table\":\"y\",\"key"), "line 1: it has more than one \"table\""),
        (
            "t --sort",
            format!("{good}\n{}\n", good.replacen("\"a\"", &format!("{:?}", "k".repeat(2000)), 1)),
            "line 2: a key of 2000 bytes",
        ),
    ]);
}

#[test]
fn options_that_do_not_go_together() {
    let place = Place::new();
    place.feed("load a.bifold t", b"a\t1\n").good();
    place.feed("load a.bifold u", b"a\t1\n").good();
    std::fs::create_dir(place.path("folder")).unwrap();
    let cases = [
        ("dump a.bifold --format tsv", "TSV is for one table, and there are 2"),
        ("dump a.bifold t u --unnamed", "--unnamed is for one table, and there are 2"),
        ("dump a.bifold none t", "no table named \"none\""),
        ("dump a.bifold t none", "no table named \"none\""),
        ("dump a.bifold t --format tsv --print", "--print is for a dump"),
        ("dump a.bifold --json --mapsize 1G", "--mapsize is for a dump"),
        ("dump a.bifold --json --format dump", "cannot be used with"),
        ("dump a.bifold --format xml", "invalid value 'xml'"),
        ("dump a.bifold --mapsize much", "\"much\" is no unit"),
        ("load a.bifold", "required arguments"),
        ("load a.bifold --all in t", "with --all, the input names the tables"),
        ("load a.bifold --all", "standard input: TSV names no tables"),
        ("load a.bifold t --key 1 --format json", "--key and --value choose columns of TSV"),
        ("load a.bifold t missing", "missing: No such file"),
        ("load b.bifold t folder", "folder: "),
        ("load b.bifold --all folder", "folder: "),
        ("load a.bifold --all --value 2", "standard input: TSV names no tables"),
        ("load b.bifold t --format dump", "line 1: a dump begins with VERSION=3"),
    ];
    for (args, what) in cases {
        let error = place.feed(args, b"a\tb\n").error();
        assert!(error.contains(what), "{args}: {error}");
    }
    // A wrong beginning makes no database, but for the last, which is known only when it is loaded.
    assert!(place.run("tables b.bifold").out.is_empty());
}

/// A database without tables is dumped as nothing; what nothing is, its reader has to be told to hear that it was cut.
#[test]
fn nothing_is_no_entries_in_every_format_but_a_dump() {
    let place = Place::new();
    for format in ["", " --format tsv", " --format json"] {
        place.feed(&format!("load a.bifold t{format}"), b"").good();
    }
    assert_eq!(place.run("tables a.bifold").text(), "t\t0\n");
    place.feed("load c.bifold --all", b"").good();
    assert_eq!(place.run("dump c.bifold").text(), "");
    for args in ["b.bifold t --format dump", "b.bifold --all --format dump"] {
        let error = place.feed(&format!("load {args}"), b"").error();
        assert!(error.contains("the input is empty") && error.contains("nothing was loaded"), "{error}");
        assert!(!place.path("b.bifold").exists());
    }
}

#[test]
fn a_line_with_a_tab_is_tsv_whatever_it_begins_with() {
    let place = Place::new();
    place.feed("load a.bifold t", b"VERSION=3\t1\n{\t2\n").good();
    assert_eq!(place.run("scan a.bifold t").text(), "VERSION=3\t1\n{\t2\n");
    place.feed("load a.bifold u --key 1 --value 1", b"VERSION=3\n{}\n").good();
    assert_eq!(place.run("scan a.bifold u").text(), "VERSION=3\tVERSION=3\n{}\t{}\n");
    let dump = format!("{HEAD} 62\n 32\n 61\n 31\n 62\n 33\nDATA=END");
    place.feed("load a.bifold v", dump.as_bytes()).good();
    assert_eq!(place.run("scan a.bifold v").text(), "a\t1\nb\t3\n");
}
