//! How long the file is: bounded under overwrites for ever, shorter when much was removed, and compact when asked.

use super::{Backend, DbOf, PATH, assert_clean, builder, builder_sized, bytes, disk_builder, fresh, settled};
use bifold::testing::Stepper;
use bifold::{Builder, CompactReport, Error, PageSource, ReadTxn};
use bifold_page_source::{FileSystem, MemFs};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// What the delta may hold in most of these tests.
const DELTA: u64 = 64 << 10;
/// Bytes that a compact file may have to spare: for the free map, and for what removals need.
const SLACK: u64 = 64 * 512;
/// Where compacted databases go.
const COPY: &str = "/copy";

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Pages that hold something.
fn live_pages<B: Backend>(db: &DbOf<B>) -> u64 {
    let shape = db.shape().unwrap();
    let tables = shape.tables.iter().chain([&shape.catalog]);
    tables.map(|t| t.leaf_pages + t.branch_pages + t.extent_pages).sum()
}

/// Pages of a small file that are kept free, so that removing works on a full disk.
fn kept_free(file: u64) -> u64 {
    file / 8
}

fn file_pages<B: Backend>(db: &DbOf<B>) -> u64 {
    let stats = db.stats();
    stats.file_bytes / stats.page_size
}

/// What overwriting does.
struct Load {
    keys: u64,
    /// Entries put by one commit.
    puts: u64,
    /// Steps of background work between two commits; none if it is done at once.
    steps: usize,
    /// The length of a value.
    len: fn(u64) -> usize,
}

impl Load {
    fn fill<B: Backend>(&self, db: &DbOf<B>) {
        for first in (0..self.keys).step_by(50) {
            db.update(|txn| {
                let table = txn.table("t")?;
                (first..(first + 50).min(self.keys))
                    .try_for_each(|key| table.insert(key.to_be_bytes(), bytes((self.len)(key), 0)))
            })
            .unwrap();
        }
    }

    fn overwrite<B: Backend>(&self, db: &DbOf<B>, numbers: &mut Numbers, round: u64) {
        db.update(|txn| {
            let table = txn.table("t")?;
            (0..self.puts).try_for_each(|_| {
                let key = numbers.below(self.keys);
                table.insert(key.to_be_bytes(), bytes((self.len)(key + round), round as u8))
            })
        })
        .unwrap();
    }
}

/// Overwrites random entries for some hundred checkpoints, and says how long the file is, as a multiple of its live
/// pages: the most, and at the end.
fn overwrite_for_long<B: Backend>(load: &Load) -> (f64, f64) {
    let stepper = if load.steps == 0 { Stepper::at_once() } else { Stepper::new() };
    let fs = MemFs::new();
    let db = builder::<B>(&fs).delta_size(DELTA).background(stepper.clone()).open(PATH).unwrap();
    load.fill::<B>(&db);
    let live = live_pages::<B>(&db);
    assert!(live * 512 >= 4 * DELTA, "{live} live pages are too few");
    let begun = db.stats().checkpoints;
    let mut numbers = Numbers(1);
    let (mut round, mut most, mut last) = (0, 0.0f64, 0.0);
    while db.stats().checkpoints < begun + 300 {
        round += 1;
        load.overwrite::<B>(&db, &mut numbers, round);
        (0..load.steps).for_each(|_| _ = stepper.step());
        if round % 10 == 0 {
            last = file_pages::<B>(&db) as f64 / live_pages::<B>(&db) as f64;
            most = most.max(last);
        }
    }
    assert_clean(&db);
    (most, last)
}

pub fn random_overwrites_for_ever<B: Backend>() {
    let loads = [
        Load { keys: 4000, puts: 20, steps: 0, len: |_| 50 },
        Load { keys: 4000, puts: 20, steps: 2, len: |_| 50 },
        Load { keys: 4000, puts: 20, steps: 0, len: |n| (n * 7919 % 110) as usize },
        Load { keys: 1000, puts: 5, steps: 0, len: |n| 500 + (n * 7919 % 1000) as usize },
        Load {
            keys: 1000,
            puts: 5,
            steps: 1,
            len: |n| if n % 4 > 0 { 40 } else { 1000 + (n * 7919 % 5000) as usize },
        },
    ];
    for (at, load) in loads.iter().enumerate() {
        let (most, last) = overwrite_for_long::<B>(load);
        println!("load {at}: the file has {last:.2} times its live pages, and had {most:.2} times");
        assert!(most < 1.75 && last < 1.6, "load {at}: {last} times the live pages, {most} on the way");
    }
}

pub fn a_reader_pins_what_it_sees_and_no_more<B: Backend>() {
    let load = Load { keys: 4000, puts: 60, steps: 0, len: |_| 50 };
    let fs = MemFs::new();
    let db = builder::<B>(&fs).delta_size(DELTA).background(Stepper::at_once()).open(PATH).unwrap();
    load.fill::<B>(&db);
    db.checkpoint().unwrap();
    let seen = live_pages::<B>(&db);
    let stuck = db.read().unwrap();
    let written = db.stats().checkpoint_pages;
    let mut numbers = Numbers(5);
    let mut round = 0;
    while db.stats().checkpoint_pages < written + 100_000 {
        round += 1;
        load.overwrite::<B>(&db, &mut numbers, round);
        // A base may lie one interval behind.
        let pinned = db.stats().pinned_pages;
        assert!(pinned <= seen + DELTA / 512, "{pinned} pages are pinned, {seen} are seen");
    }
    let (file, live) = (file_pages::<B>(&db), live_pages::<B>(&db));
    assert!(db.stats().pinned_pages > seen / 2, "nothing is pinned: this tests nothing");
    assert!(
        file * 10 < (live + seen) * 16,
        "a file of {file} pages, of which {live} live and {seen} are seen"
    );
    assert!(stuck.table("t").unwrap().iter().all(|entry| entry.unwrap().1 == bytes(50, 0)));
    assert_clean(&db);
}

pub fn the_end_of_the_file_is_given_back_without_closing<B: Backend>() {
    let db = settled::<B>();
    let load = Load { keys: 60_000, puts: 50, steps: 0, len: |_| 50 };
    load.fill::<B>(&db);
    db.checkpoint().unwrap();
    let full = db.stats().file_bytes;
    db.update(|txn| txn.table("t")?.remove_range(500u64.to_be_bytes()..).map(drop)).unwrap();
    let mut numbers = Numbers(5);
    let load = Load { keys: 500, ..load };
    let mut overwrite = |round| {
        load.overwrite::<B>(&db, &mut numbers, round);
        db.checkpoint().unwrap();
    };
    // Until nothing of what is left lies at the end, where the reader would keep it.
    (0..12).for_each(&mut overwrite);
    let reader = db.read().unwrap();
    let table = reader.table("t").unwrap();
    let value = table.get(7u64.to_be_bytes()).unwrap().unwrap();
    let seen = value.to_vec();
    let mut lengths = Vec::new();
    for round in 1..40 {
        overwrite(round);
        lengths.push(db.stats().file_bytes);
    }
    let last = *lengths.last().unwrap();
    assert!(last < full / 2, "{full} bytes, and then {lengths:?}");
    assert!(lengths[10..].iter().all(|len| *len == last), "the length changes: {lengths:?}");
    assert_eq!(value, seen);
    assert_eq!(table.len().unwrap(), 500);
    assert_clean(&db);
}

/// All entries of all tables.
fn content<S: PageSource>(txn: &ReadTxn<'_, S>) -> BTreeMap<(String, Vec<u8>), Vec<u8>> {
    let mut content = BTreeMap::new();
    for name in txn.tables().unwrap() {
        for entry in &txn.table(&name).unwrap() {
            let (key, value) = entry.unwrap();
            content.insert((name.clone(), key), value.to_vec());
        }
    }
    content
}

/// Three tables, one of them empty, put and removed in no order, so that pages are half empty and all over the file.
fn scatter<B: Backend>(db: &DbOf<B>, keys: u64, keep: u64) {
    let mut numbers = Numbers(11);
    for round in 0..keys / 10 {
        db.update(|txn| {
            let table = txn.table("t")?;
            (0..20).try_for_each(|_| {
                table
                    .insert(numbers.below(keys).to_be_bytes(), bytes(numbers.below(70) as usize, round as u8))
            })?;
            if round % 10 == 0 {
                let values = txn.table("values")?;
                let len = if round % 40 == 0 { 66_000 } else { 700 + numbers.below(4000) };
                values.insert(numbers.below(40).to_be_bytes(), bytes(len as usize, round as u8))?;
            }
            txn.table("empty").map(drop)
        })
        .unwrap();
    }
    for first in (0..keys).step_by(100) {
        db.update(|txn| {
            let table = txn.table("t")?;
            let mut gone = (first..first + 100).filter(|key| key % 100 >= keep);
            gone.try_for_each(|key| table.remove(key.to_be_bytes()).map(drop))
        })
        .unwrap();
    }
    db.update(|txn| txn.table("values")?.remove_range(..30u64.to_be_bytes()).map(drop)).unwrap();
    db.checkpoint().unwrap();
}

fn in_memory_of_its_own<B: Backend>(fs: &MemFs) -> Builder<B::Source> {
    builder::<B>(fs).delta_size(256 << 10).background(Stepper::at_once())
}

pub fn a_copy_has_all_and_no_more<B: Backend>() {
    let fs = MemFs::new();
    let db = in_memory_of_its_own::<B>(&fs).open(PATH).unwrap();
    scatter::<B>(&db, 6000, 30);
    let before = content(&db.read().unwrap());
    // Somebody writes meanwhile, and reads.
    let reader = db.read().unwrap();
    let writing = db.write().unwrap();
    writing.table("t").unwrap().insert("new", "").unwrap();
    let report = db.compact_into(COPY).unwrap();
    assert_eq!(report.entries, before.len() as u64);
    assert_eq!(report.bytes_before, db.stats().file_bytes);
    writing.commit().unwrap();
    assert_eq!(content(&reader), before);
    let copy = builder::<B>(&fs).create(false).open(COPY).unwrap();
    assert_clean(&copy);
    assert!(content(&copy.read().unwrap()) == before);
    assert_eq!(copy.read().unwrap().tables().unwrap(), ["empty", "t", "values"]);
    assert_eq!(copy.stats().file_bytes, report.bytes_after);
    assert_eq!(copy.stats().page_size, 512);
    let shape = copy.shape().unwrap();
    assert!(shape.free_pages + shape.free_map_pages < 8, "{shape:?}");
    assert!(shape.tables[1].leaf_fill() > 0.85, "{shape:?}");
    let error = db.compact_into(COPY).unwrap_err();
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists),
        "{error:?}"
    );
    assert_eq!(copy.read().unwrap().commit_number(), 1);
    assert_clean(&db);
}

pub fn copies_of_other_shapes<B: Backend>() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let db = disk_builder::<B>(1024).in_memory().unwrap();
    let report = db.compact_into_with(path("none"), &disk_builder::<B>(1024)).unwrap();
    assert_eq!(report.entries, 0);
    scatter::<B>(&db, 1000, 60);
    let before = content(&db.read().unwrap());
    let _ = db.compact_into_with(path("small"), &disk_builder::<B>(512)).unwrap();
    for (name, page_size, entries) in [("none", 1024, 0), ("small", 512, before.len())] {
        let copy = disk_builder::<B>(512).create(false).open(path(name)).unwrap();
        assert_eq!((copy.page_size(), content(&copy.read().unwrap()).len()), (page_size, entries));
        assert_clean(&copy);
    }
    let names: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // Keys that do not fit smaller pages.
    db.update(|txn| txn.table("t")?.insert([7; 200], "")).unwrap();
    let error = db.compact_into_with(path("smaller"), &disk_builder::<B>(512)).unwrap_err();
    assert!(matches!(error, Error::KeyTooLong { len: 200, .. }), "{error:?}");
    assert!(!path("smaller").exists());
}

/// Compacts in place, and sees that nothing is changed but places.
#[track_caller]
fn compacted<B: Backend>(db: &DbOf<B>) -> CompactReport {
    let before = content(&db.read().unwrap());
    let report = db.compact().unwrap();
    assert!(content(&db.read().unwrap()) == before);
    assert_clean(db);
    assert_eq!(report.bytes_after, db.stats().file_bytes);
    report
}

pub fn a_file_in_disorder_becomes_short<B: Backend>() {
    let fs = MemFs::new();
    let db = in_memory_of_its_own::<B>(&fs).open(PATH).unwrap();
    scatter::<B>(&db, 12_000, 30);
    let (before, live) = (file_pages::<B>(&db), live_pages::<B>(&db));
    let report = compacted::<B>(&db);
    let (after, now) = (file_pages::<B>(&db), live_pages::<B>(&db));
    println!("{before} pages, {live} of them live; now {after} and {now}: {report:?}");
    assert!(report.pinned_pages == 0 && report.bytes_before == before * 512);
    // A gap may be left that is too short for the large value behind it.
    let gap = 66_000 / 512 + 2;
    assert!(
        after - kept_free(after) < now * 11 / 10 + gap && after < before,
        "{after} pages, {now} of them live"
    );
    assert!(report.pages_written <= 3 * live, "{report:?}");
    assert!(db.shape().unwrap().tables[1].leaf_fill() > 0.6, "{:?}", db.shape().unwrap());
    // It is a file like any other.
    scatter::<B>(&db, 2000, 90);
    assert_clean(&db);
    let content_now = content(&db.read().unwrap());
    db.close().unwrap();
    let db = super::open::<B>(&fs);
    assert!(content(&db.read().unwrap()) == content_now);
}

pub fn a_compact_file_stays_as_it_is<B: Backend>() {
    let fs = MemFs::new();
    let db = in_memory_of_its_own::<B>(&fs).open(PATH).unwrap();
    db.update(|txn| {
        let mut load = txn.table("t")?.bulk_load()?;
        (0..20_000u32).try_for_each(|key| load.push(key.to_be_bytes(), bytes(50, key as u8)))?;
        load.finish().map(drop)
    })
    .unwrap();
    let live = live_pages::<B>(&db);
    for _ in 0..3 {
        let report = compacted::<B>(&db);
        assert!(report.bytes_after <= report.bytes_before + SLACK);
        assert!(report.pages_written < live / 8, "{report:?} of {live} pages");
    }
    let file = file_pages::<B>(&db);
    assert!(file - kept_free(file) < live_pages::<B>(&db) * 11 / 10, "{:?}", db.shape());
}

pub fn a_full_file_in_disorder_does_not_grow<B: Backend>() {
    let fs = MemFs::new();
    let db = in_memory_of_its_own::<B>(&fs).open(PATH).unwrap();
    scatter::<B>(&db, 6000, 100);
    let report = compacted::<B>(&db);
    assert!(report.bytes_after <= report.bytes_before, "{report:?}");
    let again = compacted::<B>(&db);
    assert!(again.bytes_after <= report.bytes_after, "{report:?} {again:?}");
}

pub fn large_values_move_to_the_front<B: Backend>() {
    let fs = MemFs::new();
    let db = in_memory_of_its_own::<B>(&fs).open(PATH).unwrap();
    for n in 0..60u32 {
        let len = if n % 3 == 0 { 100_000 } else { 3000 } + n as usize;
        db.update(|txn| txn.table("values")?.insert(n.to_be_bytes(), bytes(len, n as u8))).unwrap();
    }
    db.update(|txn| txn.table("values")?.remove_range(..48u32.to_be_bytes()).map(drop)).unwrap();
    let report = compacted::<B>(&db);
    assert!(report.values_moved > 4, "{report:?}");
    let (file, live) = (file_pages::<B>(&db), live_pages::<B>(&db));
    assert!(file < live + live / 2, "{file} pages, {live} of them live: {report:?}");
}

pub fn a_stuck_reader_ends_a_compaction<B: Backend>() {
    let fs = MemFs::new();
    let db = in_memory_of_its_own::<B>(&fs).open(PATH).unwrap();
    scatter::<B>(&db, 12_000, 100);
    // Without room to spare.
    db.close().unwrap();
    let db = in_memory_of_its_own::<B>(&fs).open(PATH).unwrap();
    let stuck = db.read().unwrap();
    let seen = content(&stuck);
    let report = compacted::<B>(&db);
    assert!(report.pinned_pages > 0, "{report:?}");
    assert!(report.bytes_after < report.bytes_before / 3 * 4, "{report:?}");
    assert!(content(&stuck) == seen);
    drop(stuck);
    let report = compacted::<B>(&db);
    assert!(report.pinned_pages == 0 && report.bytes_after < report.bytes_before, "{report:?}");
}

pub fn compacting_other_databases<B: Backend>() {
    let report = fresh::<B>().compact().unwrap();
    assert!(report.bytes_after <= report.bytes_before + SLACK, "{report:?}");
    let small = disk_builder::<B>(512).delta_size(256 << 10);
    let db = small.background(Stepper::at_once()).in_memory().unwrap();
    scatter::<B>(&db, 3000, 20);
    let report = compacted::<B>(&db);
    assert!(report.bytes_after < report.bytes_before, "{report:?}");
    let fs = MemFs::new();
    builder_sized::<B>(&fs, 1024).open(PATH).unwrap().close().unwrap();
    let db = builder::<B>(&fs).read_only().open(PATH).unwrap();
    assert!(matches!(db.compact(), Err(Error::ReadOnly)));
    assert_eq!(db.compact_into(COPY).unwrap().entries, 0);
}

pub fn others_write_and_read_meanwhile<B: Backend>() {
    let fs = MemFs::new();
    let db = builder::<B>(&fs).delta_size(256 << 10).open(PATH).unwrap();
    scatter::<B>(&db, 6000, 40);
    std::thread::scope(|scope| {
        let compacting = scope.spawn(|| (0..3).for_each(|_| _ = db.compact().unwrap()));
        let mut round = 0u32;
        while round < 20 || !compacting.is_finished() {
            round += 1;
            db.update(|txn| {
                let table = txn.table("t")?;
                for key in 0..10u32 {
                    table.insert((round * 37 + key * 599).to_be_bytes(), round.to_be_bytes())?;
                }
                table.insert("newest", round.to_be_bytes())?;
                txn.table("values")?
                    .insert((round % 7).to_be_bytes(), bytes(1000 + round as usize % 90_000, 3))
            })
            .unwrap();
            let reader = db.read().unwrap();
            let newest = reader.table("t").unwrap().get("newest").unwrap();
            assert_eq!(newest.as_deref(), Some(&round.to_be_bytes()[..]));
            assert!(reader.table("t").unwrap().iter().all(|entry| entry.is_ok()));
            assert!(reader.table("values").unwrap().iter().all(|entry| entry.is_ok()));
        }
        compacting.join().unwrap();
    });
    assert_clean(&db);
}

pub fn whoever_has_a_transaction_open_does_not_wait_for_a_compaction<B: Backend>() {
    let db = settled::<B>();
    db.update(|txn| txn.table("t")?.insert("a", "b")).unwrap();
    std::thread::scope(|scope| {
        let txn = db.write().unwrap();
        let compacting = scope.spawn(|| db.compact());
        // Long enough for it to wait for the transaction's end.
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(matches!(db.compact(), Err(Error::WriterHeldHere)));
        drop(txn);
        let _ = compacting.join().unwrap().unwrap();
    });
}

pub fn a_copy_leaves_alone_what_lies_beside_its_name<B: Backend>() {
    let fs = MemFs::new();
    let db = in_memory_of_its_own::<B>(&fs).open(PATH).unwrap();
    db.update(|txn| txn.table("t")?.insert([7; 100], "b")).unwrap();
    // It may be the log of a database that somebody makes there at this moment.
    let log = Path::new("/copy-log");
    let file = fs.create_unnamed(log).unwrap();
    file.write_at(b"another's", 0).unwrap();
    fs.publish(&*file, log).unwrap();
    let _ = db.compact_into(COPY).unwrap();
    assert_eq!(fs.read_file(log).unwrap(), b"another's");
    // It was a leftover.
    let copy = builder::<B>(&fs).create(false).open(COPY).unwrap();
    assert_eq!(content(&copy.read().unwrap()), content(&db.read().unwrap()));
    assert!(!fs.paths().iter().any(|path| path == log));
}
