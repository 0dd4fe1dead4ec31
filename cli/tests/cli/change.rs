//! `put`, `del`, `rename` and `drop`: what they do, what they say, and that they make no database by mistake.

use crate::common::{BACKENDS, Place};
use serde_json::json;

#[test]
fn a_value_is_put_from_the_argument_a_file_and_standard_input() {
    for [first, second] in [BACKENDS, [BACKENDS[1], BACKENDS[0]]] {
        let place = Place::new();
        let put = |args: &[&str], input: &[u8]| {
            let args = [&["put", "--backend", first, "a.bifold", "t"], args].concat();
            assert_eq!(place.feed_args(&args, input).text(), "");
        };
        put(&["a", r"1\t\\\xff"], b"");
        put(&["b", "-"], b"raw\\n\n\0");
        put(&["c"], b"");
        std::fs::write(place.path("value"), vec![7; 300_000]).unwrap();
        put(&["large", "--file", "value"], b"not this");
        put(&[r"\x2d", "--", "-n"], b"");
        put(&["d", r"\x2d"], b"not this");
        std::fs::remove_file(place.path("value")).unwrap();
        // The database is closed, and so is one file.
        assert_eq!(place.files().len(), 1);
        let get = |key: &str| place.run(&format!("get a.bifold t {key} --raw --backend {second}")).good();
        assert_eq!(get("a"), b"1\t\\\xff");
        assert_eq!(get("b"), b"raw\\n\n\0");
        assert_eq!(get("c"), b"");
        assert_eq!(get("d"), b"-");
        assert_eq!(get(r"\x2d"), b"-n");
        assert!(get("large") == vec![7; 300_000]);
        let put = place.run("put a.bifold t a 22 --json").json();
        assert_eq!(put, [json!({ "table": "t", "value_bytes": 2, "replaced": true })]);
        let put = place.run("put a.bifold u a 22 --json").json();
        assert_eq!(put[0]["replaced"], json!(false));
        assert!(place.run("check a.bifold").text().starts_with("0 faults; 2 tables, 7 entries"));
    }
}

#[test]
fn keys_and_ranges_are_removed() {
    for backend in BACKENDS {
        let place = Place::new();
        place.feed("load a.bifold t", b"a\t1\nb\t2\nba\t3\nbb\t4\nc\t5\nd\\n\t6\n").good();
        let del = |args: &str| place.run(&format!("del a.bifold t {args} --backend {backend}"));
        let keys = || place.run("scan a.bifold t --keys-only").text().replace('\n', " ");
        assert_eq!(del(r"d\n").text(), "");
        let ran = del(r"d\n");
        assert_eq!((ran.code, &*ran.out, &*ran.err), (1, &b""[..], "bifold: t has no key d\\n\n"));
        assert_eq!(del("--prefix b --from ba").text(), "t: 2 entries removed\n");
        assert_eq!(keys(), "a b c ");
        let ran = del("--prefix q");
        assert_eq!((ran.code, &*ran.out), (1, &b"t: 0 entries removed\n"[..]));
        assert_eq!(del("--from b --to c --json").json(), [json!({ "table": "t", "removed": 1 })]);
        assert_eq!(del("a --json").json(), [json!({ "table": "t", "removed": 1 })]);
        let ran = del("a --json");
        assert_eq!((ran.code, &*ran.out), (1, &b"{\"removed\":0,\"table\":\"t\"}\n"[..]));
        assert_eq!(keys(), "c ");
        let all = place.feed_args(&["del", "a.bifold", "t", "--prefix", "", "--backend", backend], b"");
        assert_eq!(all.text(), "t: 1 entry removed\n");
        assert_eq!(place.run("tables a.bifold").text(), "t\t0\n");
    }
}

#[test]
fn tables_are_renamed_and_dropped() {
    for [first, second] in [BACKENDS, [BACKENDS[1], BACKENDS[0]]] {
        let place = Place::new();
        place.feed("load a.bifold old", b"a\t1\nb\t2\n").good();
        place.feed("load a.bifold other", b"a\t1\n").good();
        assert_eq!(place.run(&format!("rename a.bifold old new --backend {first}")).text(), "");
        assert_eq!(place.run(&format!("tables a.bifold --backend {second}")).text(), "new\t2\nother\t1\n");
        assert_eq!(place.run("scan a.bifold new").text(), "a\t1\nb\t2\n");
        let renamed = place.run("rename a.bifold new old --json").json();
        assert_eq!(renamed, [json!({ "renamed": "new", "table": "old" })]);
        let before = place.files();
        let error = place.run(&format!("rename a.bifold old other --backend {first}")).error();
        assert_eq!(error, "bifold: a table named \"other\" exists\n");
        let error = place.run(&format!("rename a.bifold new x --backend {first}")).error();
        assert_eq!(error, "bifold: no table named \"new\"\n");
        let long = "n".repeat(2000);
        let error = place.run(&format!("rename a.bifold old {long} --backend {first}")).error();
        assert!(error.contains("a key of 2000 bytes"), "{error}");
        let error = place.run(&format!("drop a.bifold new --backend {first}")).error();
        assert_eq!(error, "bifold: no table named \"new\"\n");
        let error = place.run(&format!("del a.bifold new a --backend {first}")).error();
        assert_eq!(error, "bifold: no table named \"new\"\n");
        assert!(place.files() == before, "an error changed the file");
        assert_eq!(place.run(&format!("drop a.bifold other --backend {first}")).text(), "");
        let dropped = place.run("drop a.bifold old --json").json();
        assert_eq!(dropped, [json!({ "dropped": "old", "entries": 2 })]);
        assert_eq!(place.run("tables a.bifold").text(), "");
        assert!(place.run("check a.bifold").text().starts_with("0 faults; 0 tables"));
    }
}

#[test]
fn what_changes_a_database_makes_none() {
    let place = Place::new();
    std::fs::create_dir(place.path("folder")).unwrap();
    std::fs::write(place.path("folder/text"), "Not at all a database. ".repeat(2000)).unwrap();
    for backend in BACKENDS {
        for command in
            ["del DB t k", "del DB t --prefix k", "rename DB t u", "drop DB t", "backup DB new", "dump DB"]
        {
            let on = |db: &str| format!("{} --backend {backend}", command.replace("DB", db));
            let error = place.run(&on("a.bifold")).error();
            assert_eq!(error, "bifold: a.bifold: there is no such database\n");
            assert!(!place.path("a.bifold").exists() && !place.path("new").exists(), "{command} made a file");
            let error = place.run(&on("folder/text")).error();
            assert!(error.contains("folder/text: not a Bifold database"), "{error}");
            let error = place.run(&on("folder")).error();
            assert!(error.starts_with("bifold: folder: "), "{error}");
        }
        // What is wrong with the input is known first.
        for put in
            ["put a.bifold t k --file missing", "put a.bifold t k --file folder", r"put a.bifold t k v\q"]
        {
            place.run(&format!("{put} --backend {backend}")).error();
            assert!(!place.path("a.bifold").exists(), "{put} made a file");
        }
        let error = place.run(&format!("put folder/none/a.bifold t k v --backend {backend}")).error();
        assert_eq!(error, "bifold: folder/none/a.bifold: there is no such folder\n");
    }
}

#[test]
fn wrong_arguments() {
    let place = Place::new();
    place.feed("load a.bifold t", b"a\t1\n").good();
    std::fs::create_dir(place.path("folder")).unwrap();
    let before = std::fs::read(place.path("a.bifold")).unwrap();
    let long = "k".repeat(2000);
    let too_long = format!("put a.bifold t {long} v");
    let cases = [
        ("put a.bifold t a\\q v", r"KEY, byte 2: there is no escape \q"),
        ("put a.bifold t a v\\", r"VALUE, byte 2: a backslash at the end"),
        ("put a.bifold t a v --file x", "cannot be used with"),
        ("put a.bifold t a --file missing", "missing: No such file"),
        ("put a.bifold t a --file folder", "folder: Is a directory"),
        ("put a.bifold t", "required arguments"),
        (&*too_long, "a key of 2000 bytes; the limit for this page size is 1024"),
        (r"del a.bifold t a\x1", "KEY, byte 2: "),
        (r"del a.bifold t --from \x1", "--from, byte 1: "),
        (r"del a.bifold t --prefix \q --to a", "--prefix, byte 1: "),
        ("del a.bifold t", "required arguments"),
        ("del a.bifold t a --from b", "cannot be used with"),
        ("drop a.bifold", "required arguments"),
        ("rename a.bifold t", "required arguments"),
        ("rename a.bifold t t", "a table named \"t\" exists"),
    ];
    for (args, what) in cases {
        let error = place.run(args).error();
        assert!(error.contains(what), "{args}: {error}");
    }
    assert!(std::fs::read(place.path("a.bifold")).unwrap() == before);
}

#[test]
fn a_file_that_cannot_be_written_is_not() {
    let place = Place::new();
    place.feed("load a.bifold t", b"a\t1\n").good();
    let path = place.path("a.bifold");
    let mut permissions = path.metadata().unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    if std::fs::File::options().write(true).open(&path).is_ok() {
        println!("skipped: this user writes files that are read-only");
        return;
    }
    for backend in BACKENDS {
        for command in ["put a.bifold t a 2", "del a.bifold t a", "drop a.bifold t", "rename a.bifold t u"] {
            let error = place.run(&format!("{command} --backend {backend}")).error();
            assert!(error.starts_with("bifold: a.bifold: Permission denied"), "{error}");
        }
        assert_eq!(place.run(&format!("get a.bifold t a --backend {backend}")).text(), "1\n");
    }
}

#[test]
fn what_is_open_elsewhere_is_not_changed() {
    let place = Place::new();
    place.feed("load a.bifold t", b"a\t1\n").good();
    let reader = bifold::pool::Builder::new().read_only().open(place.path("a.bifold")).unwrap();
    for command in ["put a.bifold t a 2", "del a.bifold t a", "drop a.bifold t", "rename a.bifold t u"] {
        for backend in BACKENDS {
            let error = place.run(&format!("{command} --backend {backend}")).error();
            assert_eq!(error, "bifold: a.bifold: the database is open elsewhere\n");
        }
    }
    assert_eq!(reader.read().unwrap().table("t").unwrap().get("a").unwrap().as_deref(), Some(&b"1"[..]));
}
