//! Dumps to and from the real tools of LMDB (`mdb_dump`, `mdb_load`) and Berkeley DB (`db_dump`, `db_load`).

use crate::common::{BACKENDS, Place, cities};

/// Whether a tool is there; says so if it is not.
fn have(place: &Place, tool: &str) -> bool {
    let found = place.shell(&format!("command -v {tool}")).code == 0;
    if !found {
        println!("skipped: no {tool}");
    }
    found
}

/// Two tables: the cities, and awkward bytes within the limits of LMDB.
fn fill(place: &Place) {
    place.feed_args(&["load", "a.bifold", "cities", cities().to_str().unwrap()], b"").good();
    let db = bifold::mmap::Database::open(place.path("a.bifold")).unwrap();
    db.update(|txn| {
        let table = txn.table("wörter = 2")?;
        for byte in 0..=255u8 {
            table.insert([byte], [byte; 3])?;
            table.insert([b'k', byte, b'\\'], [b'\\', byte, b'\n', b' '])?;
        }
        table.insert("no value", "")?;
        table.insert("large", (0..300_000u32).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<_>>())
    })
    .unwrap();
    db.close().unwrap();
}

/// Asserts that `b.bifold` has what `a.bifold` has, and takes it away.
#[track_caller]
fn assert_same(place: &Place, backend: &str, what: &str) {
    let dump = |db: &str| place.run(&format!("dump {db} --backend {backend}")).good();
    assert!(dump("b.bifold") == dump("a.bifold"), "{what}");
    assert!(place.run("check b.bifold").text().starts_with("0 faults; 2 tables"));
    std::fs::remove_file(place.path("b.bifold")).unwrap();
}

#[test]
fn through_lmdb_and_back() {
    let place = Place::new();
    if !have(&place, "mdb_load") || !have(&place, "mdb_dump") {
        return;
    }
    fill(&place);
    for (backend, print) in BACKENDS.into_iter().zip(["", "--print"]) {
        let load = format!(
            r#"rm -rf env && mkdir env && "$BIFOLD" dump a.bifold {print} --mapsize 64MiB --backend {backend} | mdb_load env"#
        );
        let ran = place.shell(&load);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{print}");
        place
            .shell(&format!(r#"mdb_dump -a env | "$BIFOLD" load b.bifold --all --backend {backend}"#))
            .good();
        assert_same(&place, backend, print);
    }
    // Printed, LMDB's backslash stands for itself in some versions, and some of ours are no escapes then.
    let ran = place.shell(r#"mdb_dump -a -p env | "$BIFOLD" load b.bifold --all"#);
    if ran.code == 0 {
        assert_same(&place, BACKENDS[0], "printed by LMDB");
    } else {
        assert!(ran.error().contains("dump without -p"));
    }
    place.shell("rm -rf b.bifold env && mkdir env").good();
    // The database without a name.
    let ran = place.shell(r#""$BIFOLD" dump a.bifold cities --unnamed -p --mapsize 64MiB | mdb_load env"#);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    place.shell(r#"mdb_dump -p env | "$BIFOLD" load b.bifold cities && rm -r env"#).good();
    let scan = |db: &str| place.run(&format!("scan {db} cities")).good();
    assert!(scan("b.bifold") == scan("a.bifold"));
}

#[test]
fn through_berkeley_db_and_back() {
    let place = Place::new();
    if !have(&place, "db_load") || !have(&place, "db_dump") {
        return;
    }
    fill(&place);
    for (backend, print) in BACKENDS.into_iter().zip(["", "-p"]) {
        let load =
            format!(r#"rm -f x.db && "$BIFOLD" dump a.bifold {print} --backend {backend} | db_load x.db"#);
        let ran = place.shell(&load);
        assert_eq!((ran.code, &*ran.err), (0, ""), "{print}");
        for back in ["", "-p"] {
            place
                .shell(&format!(r#"db_dump {back} x.db | "$BIFOLD" load b.bifold --all --backend {backend}"#))
                .good();
            assert_same(&place, backend, &format!("{print} {back}"));
        }
    }
    // A hash has its keys in no order; a database without a name goes where it is told to.
    place
        .shell(r#""$BIFOLD" dump a.bifold cities --unnamed | sed s/type=btree/type=hash/ | db_load h.db"#)
        .good();
    place.shell(r#"db_dump h.db | "$BIFOLD" load b.bifold cities --sort"#).good();
    let scan = |db: &str| place.run(&format!("scan {db} cities")).good();
    assert!(scan("b.bifold") == scan("a.bifold"));
    let error = place.shell(r#"db_dump h.db | "$BIFOLD" load c.bifold --all"#).error();
    assert!(error.contains("the header has no database=NAME"), "{error}");
}

#[test]
fn what_has_several_values_for_a_key_is_refused() {
    let place = Place::new();
    let dump =
        "VERSION=3\nformat=print\ndatabase=d\ntype=btree\nHEAD\nHEADER=END\n a\n 1\n a\n 2\nDATA=END\n";
    let lmdb = have(&place, "mdb_load");
    let berkeley = have(&place, "db_load");
    if lmdb {
        std::fs::write(place.path("in"), dump.replace("HEAD\n", "duplicates=1\ndupsort=1\n")).unwrap();
        place.shell("mkdir env && mdb_load -f in env").good();
        let error = place
            .shell(r#"mdb_dump -a env | "$BIFOLD" load a.bifold --all; code=$?; rm -r env; exit $code"#)
            .error();
        assert!(error.contains("=1: a key may have several values (DUPSORT)"), "{error}");
    }
    if berkeley {
        std::fs::write(place.path("in"), dump.replace("HEAD\n", "duplicates=1\n")).unwrap();
        place.shell("db_load -f in x.db").good();
        let error = place.shell(r#"db_dump x.db | "$BIFOLD" load a.bifold --all"#).error();
        assert!(error.contains("duplicates=1: a key may have several values (DUPSORT)"), "{error}");
        let recno = "printf 'a\\nb\\n' | db_load -T -t recno r.db";
        place.shell(recno).good();
        let error = place.shell(r#"db_dump r.db | "$BIFOLD" load a.bifold t"#).error();
        assert!(error.contains("type=recno, whose entries have record numbers"), "{error}");
    }
    assert!(place.run("tables a.bifold").out.is_empty());
}
