//! `bifold-bench limits` as its user meets it.

use bifold_bench::limits::Limits;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

fn limits(dir: &Path, arguments: &[&str]) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_bifold-bench"))
        .args(["limits", "--seconds", "0.01", "--file-size", "1MiB", "--max-memory", "4MiB", "--dir"])
        .arg(dir)
        .args(arguments)
        .output()
}

#[test]
fn a_table_is_printed_and_the_same_figures_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let json = tempfile::NamedTempFile::new().unwrap();
    let path = json.path().to_str().unwrap();
    let output =
        limits(dir.path(), &["--only", "sync,pread-resident,latency-l1-4k,read-random-2", "--json", path])
            .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let limits: Limits = serde_json::from_slice(&std::fs::read(json.path()).unwrap()).unwrap();
    assert_eq!(limits.figures.len() + limits.missing.len(), 5);
    for name in ["sync-overwrite", "sync-append", "pread-resident", "latency-l1-4k", "read-random-2"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    let figure = limits.get("pread-resident").unwrap();
    assert_eq!((figure.unit.as_str(), figure.is_rate()), ("ns", false));
    assert!((figure.share(figure.median * 2.0) - 0.5).abs() < 1e-9);
    assert!(limits.get("latency-l2-4k").is_none(), "it was not asked for");
    if let Some(reads) = limits.get("read-random-2") {
        assert_eq!(limits.random_reads(1), Some(reads), "of the depths measured, the nearest above");
        assert_eq!(limits.random_reads(64), Some(reads), "or the deepest");
        assert!(reads.is_rate());
    } else {
        println!("skipped: random reads: {:?}", limits.missing);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files were left behind");
}

#[test]
fn threads_serve_where_io_uring_may_not() {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let output = limits(dir.path(), &["--threads", "--only", "read-random-4,write-in-order"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("threads of pread (threads were asked for)"), "{text}");
    assert!(text.contains("4 descents at once") || text.contains("refuses O_DIRECT"), "{text}");
}

#[test]
fn bad_options_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, words) in [
        (&["--only", "speed"][..], "there is no figure"),
        (&["--file-size", "1 furlong"], "is no unit"),
        (&["--file-size", "8000000GiB"], "choose a smaller --file-size"),
        (&["--seconds", "0"], "from more than 0"),
        (&["--dir", "/nonexistent/directory"], "/nonexistent/directory"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_bifold-bench"))
            .args(["limits", "--only", "read-random-1"])
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(words), "{arguments:?}: {error}");
        assert!(!error.contains("panicked"), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
