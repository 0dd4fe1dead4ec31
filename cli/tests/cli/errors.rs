//! What goes wrong, how it is said, and the exit code.

use crate::common::{BACKENDS, Place, cities};

#[test]
fn bad_input_names_its_line_and_loads_nothing() {
    let long = format!("good\t1\n{}\t1\n", "k".repeat(2000));
    let endless = "x".repeat(100_000);
    let cases: [(&[u8], &str, &str); 10] = [
        (b"a\t1\nb\n", "", "standard input: line 2: it has no tab, so no value"),
        (b"a\t1\n\nb\t2\n", "", "standard input: line 2: it is empty"),
        (b"a\t1\nb\t2\\q\n", "", r"line 2: byte 4: column 2: there is no escape \q"),
        (b"a\\x1\t1\n", "", r"line 1: byte 2: column 1: "),
        (b"a\t1\nb\t\\", "", "line 2: byte 3: column 2: a backslash at the end"),
        (b"a\t1\nb\t2\n", " --key 3", "line 1: it has 2 columns, and the key is to be column 3"),
        (b"a\t1\t2\nb\t2\n", " --value 3", "line 2: it has 2 columns, and the value is to be column 3"),
        (long.as_bytes(), "", "line 2: a key of 2000 bytes; the limit for this page size is"),
        (endless.as_bytes(), " --delta 64K", "line 1: it is longer than 64.00 KiB, which --delta sets"),
        (b"", " --key 0", "0 is not in 1..=4294967295"),
    ];
    for backend in BACKENDS {
        let place = Place::new();
        place.feed("load a.bifold t", b"before\t0\n").good();
        for (input, args, what) in cases {
            let error = place.feed(&format!("load a.bifold t --backend {backend}{args}"), input).error();
            assert!(error.contains(what), "{error}");
        }
        let error = place.feed("load a.bifold t missing.tsv", b"").error();
        assert!(error.contains("missing.tsv: No such file"), "{error}");
        assert_eq!(place.run("scan a.bifold t").text(), "before\t0\n");
        assert!(place.run("check a.bifold").text().starts_with("0 faults; "));
    }
}

#[test]
fn an_input_that_is_missing_makes_no_database() {
    let place = Place::new();
    place.run("load a.bifold t missing.tsv").error();
    assert!(place.files().is_empty());
}

#[test]
fn a_load_beyond_the_delta_is_loaded_as_well() {
    for backend in BACKENDS {
        let place = Place::new();
        let file = cities();
        let args = ["load", "a.bifold", "t", file.to_str().unwrap(), "--backend", backend, "--delta", "1MiB"];
        place.feed_args(&args, b"").good();
        assert_eq!(place.run("tables a.bifold").text(), "t\t69472\n");
        assert!(place.run("check a.bifold").text().starts_with("0 faults; "));
    }
}

#[test]
fn what_is_not_there() {
    for backend in BACKENDS {
        let place = Place::new();
        for command in
            ["get a.bifold t k", "scan a.bifold t", "stat a.bifold", "check a.bifold", "tables a.bifold"]
        {
            let error = place.run(&format!("{command} --backend {backend}")).error();
            assert_eq!(error, "bifold: a.bifold: there is no such database\n");
            assert!(place.files().is_empty(), "{command} made a file");
        }
        place.feed("load a.bifold t", b"a\t1\n").good();
        let ran = place.run(&format!(r"get a.bifold t none\n --backend {backend}"));
        assert_eq!((ran.code, &*ran.out, &*ran.err), (1, &b""[..], "bifold: t has no key none\\n\n"));
        assert_eq!(place.run("get a.bifold t none --raw").code, 1);
        let error = place.run("get a.bifold other k").error();
        assert!(error.contains("no table named \"other\""), "{error}");
        // A range with nothing in it is not an error.
        assert_eq!(place.run("scan a.bifold t --from b --to a").text(), "");
        assert_eq!(place.run("scan a.bifold t --limit 0").text(), "");
    }
}

#[test]
fn what_is_no_database() {
    let place = Place::new();
    std::fs::write(place.path("text"), "Not at all a database. ".repeat(2000)).unwrap();
    std::fs::write(place.path("empty"), "").unwrap();
    std::fs::create_dir(place.path("folder")).unwrap();
    for backend in BACKENDS {
        for file in ["text", "empty", "folder"] {
            for command in ["stat", "check", "tables"] {
                let error = place.run(&format!("{command} {file} --backend {backend}")).error();
                assert!(error.starts_with(&format!("bifold: {file}: ")), "{error}");
            }
        }
        let error = place.feed(&format!("load text t --backend {backend}"), b"a\t1\n").error();
        assert!(error.contains("text: not a Bifold database"), "{error}");
    }
}

#[test]
fn wrong_arguments() {
    let place = Place::new();
    place.feed("load a.bifold t", b"a\t1\n").good();
    let cases = [
        ("get a.bifold t a --cache 1GiB", "--cache is for --backend pool"),
        ("get a.bifold t a --cache 1GiB --backend mmap", "--cache is for --backend pool"),
        ("get a.bifold t a --cache lots --backend pool", "\"lots\" is no unit of size"),
        ("get a.bifold t a --backend disk", "invalid value 'disk'"),
        ("get a.bifold t a --raw --json", "cannot be used with"),
        (r"get a.bifold t a\q", r"KEY, byte 2: there is no escape \q"),
        (r"scan a.bifold t --from \x0", r"--from, byte 1: "),
        ("load a.bifold t --delta 1", "option delta_size: it must be at least 64 KiB"),
        ("frobnicate", "unrecognized subcommand"),
        ("get a.bifold", "required arguments"),
    ];
    for (args, what) in cases {
        let error = place.run(args).error();
        assert!(error.contains(what), "{args}: {error}");
    }
    place.run("--help").text();
    assert!(place.run("--version").text().starts_with("bifold "));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let place = Place::new();
    place.feed_args(&["load", "a.bifold", "t", cities().to_str().unwrap()], b"").good();
    // The exit code of `bifold` itself, as its pipe's end is already gone.
    for command in [
        "scan a.bifold t",
        "scan a.bifold t --json",
        "get a.bifold t Zürich",
        "stat a.bifold",
        "tables a.bifold",
        "dump a.bifold",
        "dump a.bifold --print",
        "dump a.bifold --format tsv",
        "dump a.bifold --json",
        "completions bash",
        "man",
    ] {
        for backend in BACKENDS {
            let line = format!(
                r#"{{ sleep 0.2; "$BIFOLD" {command} --backend {backend}; echo "code $?" >&2; }} | true"#
            );
            let ran = place.shell(&line);
            assert_eq!(ran.err, "code 0\n", "{command}");
        }
    }
    let ran = place.shell(r#""$BIFOLD" scan a.bifold t | head -n 1"#);
    assert_eq!((ran.err.as_str(), ran.out.split(|byte| *byte == b'\n').count()), ("", 2));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    if !std::path::Path::new("/dev/full").exists() {
        println!("skipped: there is no /dev/full");
        return;
    }
    place.feed("load a.bifold t", b"a\t1\n").good();
    for command in [
        "scan a.bifold t",
        "get a.bifold t a",
        "tables a.bifold",
        "stat a.bifold",
        "check a.bifold",
        "dump a.bifold",
        "man",
        "completions zsh",
    ] {
        let error = place.shell(&format!(r#""$BIFOLD" {command} > /dev/full"#)).error();
        assert!(error.contains("cannot write the output: "), "{error}");
    }
}
