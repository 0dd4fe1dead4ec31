//! Traces recorded by an engine, replayed by the program as its users run it.

#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

use bifold::mmap::Database;
use bifold_bench::cell::{Died, Outcome};
use bifold_bench::memory::Group;
use bifold_bench::report::Report;
use bifold_bench::workload::Op;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `bifold-bench` with stores and results in `dir`.
fn bench(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bifold-bench")).args(args).current_dir(dir).output().unwrap()
}

/// Replays `calls.trace` in `dir`; the report.
fn replay(dir: &Path, args: &[&str]) -> (Output, Report) {
    let mut all = vec!["compare", "--trace", "calls.trace", "--json", "report.json", "--rounds", "2"];
    all.extend(args);
    let output = bench(dir, &all);
    let report = Report::read(&dir.join("report.json"));
    let report = report.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    (output, report)
}

fn outcomes(report: &Report) -> Vec<(&str, &Outcome)> {
    let outcome = |cell: &'_ bifold_bench::report::Cell| match &cell.result {
        Ok(_) => {}
        Err(died) => panic!("{} {}: {died}", cell.side, cell.round),
    };
    report.cells.iter().for_each(outcome);
    report.cells.iter().filter_map(|cell| Some((cell.side.as_str(), cell.result.as_ref().ok()?))).collect()
}

fn count(outcome: &Outcome, op: Op) -> u64 {
    outcome.ops.iter().find(|done| done.op == op).map_or(0, |done| done.count)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A database of two tables, 300 entries and one; it is closed.
fn made(dir: &Path) {
    let db = Database::builder().page_size(512).open(dir.join("own.bifold")).unwrap();
    db.update(|txn| {
        let table = txn.table("places")?;
        (0..300).try_for_each(|n| table.insert(place(n), vec![7; n % 50]).map(drop))?;
        txn.table("others")?.insert("x", "a value of the other table").map(drop)
    })
    .unwrap();
    db.close().unwrap();
}

fn place(number: usize) -> String {
    format!("place {number:04}")
}

/// The same database, recording its calls.
fn recorded(dir: &Path, hide: bool) -> Database {
    let builder = Database::builder().record_trace(dir.join("calls.trace")).hide_trace_keys(hide);
    builder.open(dir.join("own.bifold")).unwrap()
}

/// Calls of every kind, by one thread.
fn calls(db: &Database) -> bifold::Result<()> {
    let txn = db.read()?;
    let table = txn.table("places")?;
    for n in (0..400).rev() {
        assert_eq!(table.get(place(n))?.is_some(), n < 300);
    }
    assert!(table.contains_key(place(3))? && !table.contains_key("no place")?);
    assert!(table.reader(place(49))?.is_some() && table.reader("no place")?.is_none());
    let keys = [place(5), place(999), place(6), place(5)];
    assert_eq!(table.get_many(&keys)?.iter().filter(|value| value.is_some()).count(), 3);
    assert!(table.first()?.is_some() && table.last()?.is_some());
    assert_eq!(table.range::<&str>("place 0010".."place 0020").count(), 10);
    assert_eq!(table.range::<&str>("place 0010"..="place 0020").rev().take(4).count(), 4);
    assert_eq!(table.iter().count(), 300);
    assert_eq!((table.count::<&str>(..)?, table.rank(place(7))?), (300, 7));
    assert!(table.nth(3)?.is_some());
    let mut cursor = table.cursor();
    assert!(cursor.seek("place 0100")?.is_some());
    for _ in 0..5 {
        cursor.next()?;
    }
    for _ in 0..8 {
        cursor.prev()?;
    }
    assert!(cursor.last()?.is_some() && cursor.prev()?.is_some() && cursor.next()?.is_some());
    assert!(cursor.seek_exact("place 0100")?.is_some() && cursor.seek_exact("nowhere")?.is_none());
    drop(cursor);

    // A snapshot that stays while others commit.
    let write = db.write()?;
    let (places, others) = (write.table("places")?, write.table("others")?);
    assert!(others.get("x")?.is_some());
    others.insert("place 0001", "of the same key as another table's")?;
    for n in 300..350 {
        places.insert(place(n), vec![1; n])?;
    }
    assert!(places.get(place(320))?.is_some(), "its own");
    let savepoint = write.savepoint()?;
    places.remove(place(1))?;
    places.insert(place(2), "rolled back")?;
    write.rollback_to(&savepoint)?;
    assert!(places.remove(place(0))? && !places.remove("no place")?);
    assert_eq!(places.remove_range::<&str>("place 0200".."place 0210")?, 10);
    write.commit()?;
    assert!(table.get(place(0))?.is_some() && table.get(place(345))?.is_none(), "the snapshot's");
    drop(txn);

    let write = db.write()?;
    write.table("places")?.insert(place(0), "aborted")?;
    drop(write);
    let write = db.write()?;
    let loaded = write.table("loaded")?;
    let mut load = loaded.bulk_load()?;
    (0..100).try_for_each(|n| load.push(place(n), "loaded"))?;
    load.finish()?;
    let mut dropped = write.table("dropped load")?.bulk_load()?;
    dropped.push("a", "b")?;
    drop(dropped);
    write.commit()?;

    let txn = db.read()?;
    let table = txn.table("places")?;
    for n in [0, 1, 2, 205, 320] {
        assert_eq!(table.get(place(n))?.is_some(), ![0, 205].contains(&n));
    }
    assert_eq!(table.get(place(2))?.map(|value| value.len()), Some(2));
    assert_eq!(txn.table("loaded")?.get(place(99))?.map(|value| value.len()), Some(6));
    drop(txn);
    db.update(|txn| txn.drop_table("loaded").map(drop))?;
    db.update(|txn| txn.table("others")?.clear().map(drop))?;
    db.sync()?;
    db.checkpoint()
}

#[test]
fn every_call_of_one_thread_is_replayed_in_order_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    fs::copy(dir.path().join("own.bifold"), dir.path().join("before.bifold")).unwrap();
    let db = recorded(dir.path(), false);
    calls(&db).unwrap();
    let left = db.read().unwrap().table("places").unwrap().len().unwrap();
    assert_eq!(left, 300 + 50 - 11);
    db.close().unwrap();

    for from in [&[][..], &["--from", "before.bifold"]] {
        let (output, report) = replay(dir.path(), &[&["--sides", "all"], from].concat());
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        let part = &report.parts[0];
        // Nothing shows the entries that no call found: here each was.
        assert_eq!(part.entries, 301, "{said}");
        let outcomes = outcomes(&report);
        assert_eq!(outcomes.len(), 2 * part.sides.len());
        let (_, first) = outcomes[0];
        for (side, outcome) in &outcomes {
            assert_eq!(outcome.entries, left, "{side}: what is there in the end");
            assert_eq!(
                (outcome.entries_read, outcome.bytes_read),
                (first.entries_read, first.bytes_read),
                "{side}"
            );
            // Two reads were of a snapshot older than a commit.
            let notes: Vec<&String> =
                outcome.notes.iter().filter(|note| note.starts_with("replay: ")).collect();
            assert!(
                matches!(&notes[..], [note] if note.contains("2 gets found something else")),
                "{notes:?}"
            );
            // `contains_key` and a stream, a cursor's exact seek, one in a write transaction, the snapshot's, the last.
            let (read, missing) = (count(outcome, Op::Read), count(outcome, Op::Missing));
            assert_eq!((read, missing), (300 + 2 + 1 + 1 + 1 + 5, 100 + 2 + 1 + 1 + 2), "{side}");
            assert_eq!(count(outcome, Op::ReadMany), 1);
            assert_eq!(count(outcome, Op::Insert), 1 + 50 + 100);
            // One, one that was not there, ten, all of a table twice.
            assert_eq!(count(outcome, Op::Delete), 1 + 1 + 10 + 100 + 2);
            assert!(count(outcome, Op::Scan) >= 4 && count(outcome, Op::ScanBack) >= 3, "{outcome:?}");
        }
        for wanted in
            ["rank, nth and count", "checkpoints and syncs", "reads of what the same", "in its order"]
        {
            assert!(said.contains(wanted), "{wanted}: {said}");
        }
    }
}

/// Within a bound of memory that the data do not fit, each side replays the same.
#[test]
fn a_bound_of_memory_changes_no_result() {
    let memory = 64 << 20;
    match Group::create(memory) {
        Ok(group) => group.remove().unwrap(),
        Err(refused) => return println!("skipped: {refused}"),
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("own.bifold");
    let db = Database::open(&file).unwrap();
    db.update(|txn| {
        let mut load = txn.table("places")?.bulk_load()?;
        (0..10_000).try_for_each(|n| load.push(place(n), vec![7; 9000 + n % 50]))?;
        load.finish().map(drop)
    })
    .unwrap();
    db.close().unwrap();
    fs::copy(&file, dir.path().join("before.bifold")).unwrap();
    let db = recorded(dir.path(), false);
    for n in 0..500 {
        let at = n * 7919 % 10_000;
        let txn = db.read().unwrap();
        let table = txn.table("places").unwrap();
        assert!(table.get(place(at)).unwrap().is_some());
        assert_eq!(table.range(place(at)..).take(20).count(), 20.min(10_000 - at));
        drop(txn);
        db.update(|txn| txn.table("places")?.insert(place(at), vec![3; 8000]).map(drop)).unwrap();
    }
    db.update(|txn| txn.table("places")?.remove_range("place 0100".."place 0200").map(drop)).unwrap();
    let left = db.read().unwrap().table("places").unwrap().len().unwrap();
    db.close().unwrap();
    let sides = format!("mmap,pool,pread{}", if cfg!(feature = "lmdb") { ",lmdb" } else { "" });
    let args = ["--from", "before.bifold", "--memory", "64MiB", "--sides", &sides];
    let (output, report) = replay(dir.path(), &args);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("64 MiB of memory"), "{said}");
    assert!(report.parts[0].data_bytes > memory && !report.parts[0].fits);
    let outcomes = outcomes(&report);
    assert_eq!(outcomes.len(), 2 * report.parts[0].sides.len());
    for (side, outcome) in outcomes {
        assert_eq!((outcome.entries, count(outcome, Op::Read)), (left, 500), "{side}");
    }
}

/// What a trace comes down to is the same on a store that is not Bifold's.
#[cfg(feature = "lmdb")]
#[test]
fn another_store_replays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let db = recorded(dir.path(), false);
    calls(&db).unwrap();
    renames(&db).unwrap();
    db.update(|txn| txn.table("places")?.insert("", "an empty key").map(drop)).unwrap();
    assert!(db.read().unwrap().table("places").unwrap().get("").unwrap().is_some());
    db.close().unwrap();
    let (output, report) = replay(dir.path(), &["--sides", "mmap,lmdb"]);
    assert!(output.status.success(), "{}", text(&output));
    let outcomes = outcomes(&report);
    let of = |outcome: &Outcome| {
        let ops: Vec<(Op, u64)> = outcome.ops.iter().map(|done| (done.op, done.count)).collect();
        (outcome.entries, outcome.entries_read, outcome.bytes_read, outcome.entries_written, ops)
    };
    assert_eq!(outcomes.len(), 4);
    assert!(outcomes.iter().all(|(_, outcome)| of(outcome) == of(outcomes[0].1)), "{outcomes:?}");
}

/// A table is built anew beside an old one, and takes its name; and what is renamed without effect.
fn renames(db: &Database) -> bifold::Result<()> {
    let old = db.read()?;
    let gets = |table: &str, from: usize, len: usize| {
        let txn = db.read()?;
        let table = txn.table(table)?;
        (from..from + 5).try_for_each(|n| {
            assert_eq!(table.get(place(n))?.map(|value| value.len()), Some(len));
            Ok::<_, bifold::Error>(())
        })
    };
    for (turn, len) in [(1, 61), (2, 62)] {
        db.update(|txn| {
            let built = txn.table("built")?;
            (100 * turn..100 * turn + 50).try_for_each(|n| built.insert(place(n), vec![1; len]).map(drop))
        })?;
        gets("built", 100 * turn, len)?;
        let txn = db.write()?;
        let savepoint = txn.savepoint()?;
        txn.rename_table("built", "elsewhere")?;
        assert!(txn.table("elsewhere")?.remove(place(100 * turn))?);
        txn.rollback_to(&savepoint)?;
        txn.drop_table("former")?;
        txn.rename_table("places", "former")?;
        txn.rename_table("built", "places")?;
        assert!(txn.find_table("built")?.is_none());
        assert_eq!(txn.table("places")?.get(place(100 * turn))?.map(|value| value.len()), Some(len));
        txn.commit()?;
        gets("places", 100 * turn, len)?;
        let txn = db.write()?;
        txn.rename_table("places", "aborted")?;
        drop(txn);
    }
    gets("former", 100, 61)?;
    let others = old.table("others")?;
    assert!(others.get("x")?.is_some() && old.table("places")?.get(place(7))?.is_some());
    drop(old);
    // The name of a table that was dropped, in the same transaction and in another.
    db.update(|txn| {
        assert!(txn.drop_table("others")?);
        txn.rename_table("former", "others")?;
        txn.table("former")?.insert("a", "b").map(drop)
    })?;
    gets("others", 110, 61)?;
    db.update(|txn| txn.drop_table("others").map(drop))?;
    db.update(|txn| txn.table("others")?.insert("x", "another value").map(drop))?;
    let txn = db.read()?;
    assert_eq!(txn.table("others")?.get("x")?.map(|value| value.len()), Some(13));
    assert!(txn.table("others")?.get(place(110))?.is_none());
    assert!(txn.table("places")?.get(place(7))?.is_none());
    Ok(())
}

#[test]
fn renamed_tables_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    fs::copy(dir.path().join("own.bifold"), dir.path().join("before.bifold")).unwrap();
    let db = recorded(dir.path(), false);
    renames(&db).unwrap();
    let txn = db.read().unwrap();
    let left: u64 = txn.tables().unwrap().iter().map(|name| txn.table(name).unwrap().len().unwrap()).sum();
    assert_eq!((txn.tables().unwrap().len(), left), (3, 52), "former, others, places");
    drop(txn);
    db.close().unwrap();
    for (from, entries) in [(&[][..], 2), (&["--from", "before.bifold"], 301)] {
        let (output, report) = replay(dir.path(), &[&["--sides", "all"], from].concat());
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(report.parts[0].entries, entries, "{said}");
        for (side, outcome) in outcomes(&report) {
            assert_eq!(outcome.entries, left, "{side}");
            assert_eq!(count(outcome, Op::Read), 2 * 10 + 5 + 2 + 2 + 5 + 1, "{side}");
            let notes: Vec<&String> =
                outcome.notes.iter().filter(|note| note.starts_with("replay: ")).collect();
            // The old snapshot's two, of tables that were dropped since or are others.
            assert!(matches!(&notes[..], [] | [_]), "{notes:?}");
        }
    }
}

#[test]
fn what_differs_from_the_recording_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let db = recorded(dir.path(), false);
    calls(&db).unwrap();
    db.close().unwrap();
    // A wrong byte.
    let (output, report) =
        replay(dir.path(), &["--sabotage", "bifold-pool=wrong-byte", "--sides", "pool,mmap"]);
    assert_eq!(output.status.code(), Some(1));
    for cell in &report.cells {
        match (&cell.result, cell.side.as_str()) {
            (Err(Died::Failed(error)), "bifold-pool") => assert!(error.contains("is wrong"), "{error}"),
            (result, side) => assert!(side != "bifold-pool" && result.is_ok(), "{side}: {result:?}"),
        }
    }
    // An entry that is not there: that of another file.
    let db = Database::builder().open(dir.path().join("less.bifold")).unwrap();
    db.update(|txn| {
        let table = txn.table("places")?;
        (0..300).filter(|n| *n != 77).try_for_each(|n| table.insert(place(n), vec![7; n % 50]).map(drop))?;
        txn.table("others")?.insert("x", "a value of the other table").map(drop)
    })
    .unwrap();
    db.close().unwrap();
    let (output, report) = replay(dir.path(), &["--from", "less.bifold", "--sides", "pool,mmap"]);
    assert_eq!(output.status.code(), Some(1));
    for cell in &report.cells {
        let Err(Died::Failed(error)) = &cell.result else { panic!("{cell:?}") };
        assert!(error.contains("event ") && error.contains("has nothing, and had a value of 27"), "{error}");
    }
}

#[test]
fn several_threads_are_replayed_at_once_and_hidden_keys_too() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    for hide in [false, true] {
        let _ = fs::remove_file(dir.path().join("calls.trace"));
        let db = recorded(dir.path(), hide);
        // One transaction, used by another thread than that which opened the table.
        let txn = db.read().unwrap();
        let table = txn.table("others").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(table.get("x").unwrap().is_some()));
            for thread in 0..3usize {
                let db = &db;
                scope.spawn(move || {
                    for turn in 0..50usize {
                        let txn = db.read().unwrap();
                        let table = txn.table("places").unwrap();
                        for n in 0..20 {
                            assert!(table.get(place((thread * 100 + turn + n) % 300)).unwrap().is_some());
                        }
                        assert_eq!(table.range::<&str>("place 0100"..).take(5).count(), 5);
                        drop(txn);
                        db.update(|txn| {
                            txn.table("places")?
                                .insert(place((thread * 50 + turn) % 300), vec![3; 60])
                                .map(drop)
                        })
                        .unwrap();
                    }
                });
            }
        });
        drop(txn);
        db.close().unwrap();
        let (output, report) = replay(dir.path(), &[]);
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("threads keep within a millisecond"), "{said}");
        assert_eq!(said.contains("its keys are hidden"), hide, "{said}");
        // Those that were read, but for the few that were put before.
        assert!((100..=211).contains(&report.parts[0].entries), "{said}");
        for (side, outcome) in outcomes(&report) {
            assert_eq!(count(outcome, Op::Read), 3 * 50 * 20 + 1, "{side}");
            assert_eq!(count(outcome, Op::Insert), 150, "{side}");
            assert_eq!(count(outcome, Op::Scan), 150, "{side}");
        }
    }
}

#[test]
fn a_pace_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let db = recorded(dir.path(), false);
    let get = || assert!(db.read().unwrap().table("places").unwrap().get(place(1)).unwrap().is_some());
    get();
    std::thread::sleep(std::time::Duration::from_millis(400));
    get();
    db.close().unwrap();
    // At half the pace it takes twice as long at least; as fast as can be there is nothing to wait for.
    let (output, report) = replay(dir.path(), &["--sides", "mmap", "--trace-speed", "0.5"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(outcomes(&report).iter().all(|(_, outcome)| outcome.seconds >= 0.8 && outcome.operations == 2));
    assert!(text(&output).contains("0.5 times the recorded pace"));
}

#[test]
fn what_is_no_whole_trace_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let db = recorded(dir.path(), false);
    calls(&db).unwrap();
    db.close().unwrap();
    let trace = dir.path().join("calls.trace");
    let whole = fs::read(&trace).unwrap();
    let refused = |wanted: &str, args: &[&str]| {
        let output =
            bench(dir.path(), &[&["compare", "--trace", "calls.trace", "--sides", "mmap"], args].concat());
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{wanted}: {said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
    };
    refused("cannot be used with", &["--workloads", "get"]);
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    fs::write(&trace, &damaged).unwrap();
    refused("calls.trace: the trace is damaged at byte", &[]);
    fs::write(&trace, &whole[..64]).unwrap();
    refused("no calls were recorded", &[]);
    fs::write(&trace, "something else, of more bytes than a head has, which is sixty-four").unwrap();
    refused("not a trace of Bifold's", &[]);
    fs::remove_file(&trace).unwrap();
    refused("calls.trace: ", &[]);
    let left = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.starts_with("bifold-bench-")).count(), 0);
}
