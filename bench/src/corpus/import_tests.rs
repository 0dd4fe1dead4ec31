//! Tests of importing: texts in every format, tables, order, and what is refused.
#![forbid(unsafe_code)]

use super::*;
use crate::corpus::Sample;
use bifold_text::{dump, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

type Found = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

/// All that a database has.
fn content(database: &Path) -> Found {
    let db = mmap::Database::builder().read_only().open(database).unwrap();
    let txn = db.read().unwrap();
    let entries = |name: &String| {
        let table = txn.table(name).unwrap();
        table.iter().map(|entry| entry.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
    };
    txn.tables().unwrap().into_iter().map(|name| (name.clone(), entries(&name))).collect()
}

/// What becomes of `text`.
fn imported(text: &[u8]) -> Result<Found> {
    let dir = tempfile::tempdir()?;
    let (file, into) = (dir.path().join("in"), dir.path().join("into"));
    fs::create_dir(&into)?;
    fs::write(&file, text)?;
    Ok(content(&database_of(&file, &into, &Interrupt::default())?))
}

fn entry(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), value.to_vec())
}

#[test]
fn lines_become_entries_and_databases_stay_themselves() {
    let text = b"b\t2\t3\na\t1\n\\xff\\n\tC:\\\\\\x00\nc\t\na\t9\n\tno key";
    let entries = vec![
        entry(b"", b"no key"),
        entry(b"a", b"9"),
        entry(b"b", b"2\t3"),
        entry(b"c", b""),
        entry(b"\xff\n", b"C:\\\0"),
    ];
    assert_eq!(imported(text).unwrap(), Found::from([(TABLE.to_owned(), entries)]));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("in");
    fs::write(&file, text).unwrap();
    let made = database_of(&file, dir.path(), &Interrupt::default()).unwrap();
    let error = database_of(&file, dir.path(), &Interrupt::that_came()).unwrap_err();
    assert_eq!(error.to_string(), "it was interrupted");
    assert_eq!(database_of(&made, dir.path(), &Interrupt::default()).unwrap(), made.canonicalize().unwrap());
    assert_eq!(Sample::read(&made, None, 1, &Interrupt::default(), |_, _| ()).unwrap().entries(), 5);
}

#[test]
fn json_lines_and_dumps_are_read_with_the_tables_that_they_name() {
    let wanted = Found::from([
        ("t".to_owned(), vec![entry(b"a", b"\xff\0"), entry(b"b", b"2")]),
        ("ü\n".to_owned(), vec![entry(b"\xfe", b"")]),
        (TABLE.to_owned(), vec![entry(b"k", b"v")]),
    ]);
    let mut lines = String::new();
    for (table, key, value) in [
        (Some("t"), &b"b"[..], &b"1"[..]),
        (None, b"k", b"v"),
        (Some("ü\n"), b"\xfe", b""),
        (Some("t"), b"b", b"2"),
        (Some("t"), b"a", b"\xff\0"),
    ] {
        writeln!(lines, "{}", json::entry_json(table, key, value)).unwrap();
    }
    assert!(lines.contains("base64"));
    assert_eq!(imported(lines.as_bytes()).unwrap(), wanted);
    for print in [false, true] {
        let mut text = Vec::new();
        for (name, entries) in &wanted {
            let database = (name != TABLE).then(|| name.clone());
            dump::write_header(&mut text, &dump::Header { database, print }, None).unwrap();
            for (key, value) in entries.iter().rev() {
                dump::write_line(&mut text, key, print).unwrap();
                dump::write_line(&mut text, value, print).unwrap();
            }
            dump::write_end(&mut text).unwrap();
        }
        assert_eq!(imported(&text).unwrap(), wanted);
    }
}

/// More entries than a transaction takes, in no order, and a table that goes on in the next.
#[test]
fn many_entries_come_in_any_order() {
    let count = PER_TXN + 1000;
    let mut text = String::new();
    for n in 0..count {
        let key = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        writeln!(text, "{{\"table\":\"t\",\"key\":\"{key:016x}\",\"value\":\"{n}\"}}").unwrap();
    }
    let found = imported(text.as_bytes()).unwrap();
    assert_eq!((found.len(), found["t"].len() as u64), (1, count));
    assert!(found["t"].iter().any(|(_, value)| *value == (count - 1).to_string().as_bytes()));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let head = "VERSION=3\nHEADER=END\n";
    for (text, wanted) in [
        ("a\tb\nno tab\n", "line 2: it has no tab"),
        ("a\tb\nc\t\\q\n", "line 2: byte 3: column 2: there is no escape"),
        ("{\"key\":\"a\",\"value\":\"\"}\n{\"key\":7}", "line 2: its \"key\" is neither"),
        ("{\"key\":\"a\",\"value\":{\"base64\":\"A\"}}", "line 1: its \"value\": base64 of 1"),
        (&format!("{head} 61\n 62\n"), "line 5: the input ends before DATA=END"),
        (&format!("{head} 6x\n 62\nDATA=END\n"), "line 3: byte 3: "),
        ("VERSION=3\ndupsort=1\nHEADER=END\nDATA=END\n", "line 2: dupsort=1: a key may have several values"),
        (&format!("{head}DATA=END\n").repeat(2), "line 5: another database without a name"),
        (&format!("{head}DATA=END\n"), "it has no entries"),
        (&format!("VERSION=3\ndatabase={}\nHEADER=END\n", "n".repeat(2000)), "a key of 2000 bytes"),
        (&format!("a\t1\n{}\tx\n", "k".repeat(5000)), "line 2: a key of 5000 bytes"),
        ("", "it has no entries"),
    ] {
        let error = imported(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(&format!("in: {wanted}")), "{text:.40}: {error}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(database_of(&dir.path().join("none"), dir.path(), &Interrupt::default()).is_err());
    assert!(
        database_of(dir.path(), dir.path(), &Interrupt::default())
            .unwrap_err()
            .to_string()
            .contains("not a file")
    );
}

/// Runs a line of shell in `dir`; whether it went well.
fn shell(dir: &Path, line: &str) -> bool {
    Command::new("sh").arg("-c").arg(line).current_dir(dir).status().unwrap().success()
}

/// Whether all of these are there; says which is not.
fn have(dir: &Path, tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| !shell(dir, &format!("command -v {tool} > found")));
    if let Some(tool) = missing {
        println!("skipped: no {tool}");
    }
    missing.is_none()
}

/// What the tools of LMDB and Berkeley DB themselves print.
#[test]
fn dumps_of_other_stores_are_read() {
    let bytes: Vec<_> = (1..=255u8).map(|byte| entry(&[byte, b'\\'], &[byte; 3])).collect();
    let mut text = Vec::new();
    for name in ["städte", "t"] {
        dump::write_header(&mut text, &dump::Header { database: Some(name.into()), print: false }, None)
            .unwrap();
        for (key, value) in &bytes {
            dump::write_line(&mut text, key, false).unwrap();
            dump::write_line(&mut text, value, false).unwrap();
        }
        dump::write_end(&mut text).unwrap();
    }
    let wanted = Found::from([("städte".to_owned(), bytes.clone()), ("t".to_owned(), bytes)]);
    for (tools, line) in [
        (["mdb_load", "mdb_dump"], "mkdir env && mdb_load -f text env && mdb_dump -a env > in"),
        (["db_load", "db_dump"], "db_load -f text x.db && db_dump x.db > in"),
        (["db_load", "db_dump"], "db_load -f text x.db && db_dump -p x.db > in"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("text"), &text).unwrap();
        if have(dir.path(), &tools) {
            assert!(shell(dir.path(), line), "{line}");
            let made = database_of(&dir.path().join("in"), dir.path(), &Interrupt::default()).unwrap();
            assert!(content(&made) == wanted, "{line}");
        }
    }
}
