//! What a check finds: one thing is made wrong at a time.
#![forbid(unsafe_code)]

use super::*;
use crate::delta::{EpochGuard, Image};
use crate::free::Use;
use crate::node::{NodeMut, set_birth};
use crate::root::Root;
use bifold_page_source::{MemFs, MemSource};
use std::path::Path;
use std::sync::Arc;

type Database = Db<MemSource>;

/// A table with several levels, and a large value among its first keys. Nothing is checkpointed.
fn filled() -> Database {
    let db = Database::builder().page_size(512).in_memory().unwrap();
    db.update(|txn| {
        let table = txn.table("t")?;
        table.insert("key 0000", vec![1; 70_000])?;
        (1..600u32).try_for_each(|i| table.insert(format!("key {i:04}"), [i as u8; 20]))
    })
    .unwrap();
    assert!(db.check().unwrap().is_clean());
    db
}

/// The table's root as it was committed.
fn root(db: &Database) -> TreeRoot {
    match db.shared().registry.current().tables.get("t") {
        Some(TableState::Changed(root) | TableState::Clean(root)) => root,
        other => panic!("{other:?}"),
    }
}

/// Publishes another root of the table.
fn set_root(db: &Database, root: TreeRoot) {
    let registry = &db.shared().registry;
    let current = registry.current();
    let mut tables = current.tables.clone();
    tables.set(&Arc::from("t"), TableState::Changed(root));
    let (seq, base, catalog) = (current.seq, current.base, current.catalog);
    registry.publish(Arc::new(Root { seq, base, catalog, tables }));
}

fn delta(word: Word) -> u32 {
    match word.target() {
        Target::Delta(id) => id,
        other => panic!("{other:?} is not in the delta"),
    }
}

/// Changes a page of the delta behind everybody's back.
fn tamper(db: &Database, id: u32, change: impl FnOnce(&mut Image)) {
    let slab = &db.shared().store.slab;
    let mut image = Image::clone(&slab.pin(id, &EpochGuard::enter()).unwrap());
    change(&mut image);
    slab.publish(id, Arc::new(image));
}

fn edit(image: &mut Image, change: impl FnOnce(&mut NodeMut<'_>)) {
    let (bytes, words) = image.parts_mut();
    change(&mut NodeMut::new(bytes, words));
}

/// The word of child `index` of a page of the delta.
fn child(db: &Database, id: u32, index: usize) -> Word {
    let image = db.shared().store.slab.pin(id, &EpochGuard::enter()).unwrap();
    Node::delta(image.bytes(), image.words()).child(index).unwrap()
}

/// The first leaf.
fn leaf(db: &Database) -> u32 {
    let tree = root(db);
    let word = (0..tree.height).fold(tree.word, |word, _| child(db, delta(word), 0));
    delta(word)
}

#[track_caller]
fn assert_found(db: &Database, what: &str) {
    let report = db.check().unwrap();
    assert!(report.faults.iter().any(|fault| fault.what.contains(what)), "{what}: {:#?}", report.faults);
    assert!(!report.is_clean());
}

#[test]
fn a_root_that_is_wrong_about_its_tree() {
    let db = filled();
    let right = root(&db);
    assert!(right.height >= 2 && right.extents);
    set_root(&db, TreeRoot { len: 601, ..right });
    assert_found(&db, "it has 600 entries, and its root says 601");
    set_root(&db, TreeRoot { extents: false, ..right });
    assert_found(&db, "its root says that it has none");
    set_root(&db, TreeRoot { height: right.height + 1, ..right });
    assert_found(&db, "its level is not the one its parent expects");
    assert!(db.shape().is_err());
    set_root(&db, TreeRoot { height: right.height - 1, ..right });
    assert_found(&db, "its level is not the one its parent expects");
    set_root(&db, TreeRoot { word: Word::delta(4_000_000), ..right });
    assert_found(&db, "names no page of the delta");
    set_root(&db, TreeRoot { word: Word::NULL, ..right });
    assert_found(&db, "it has entries but no root");
    set_root(&db, right);
    assert!(db.check().unwrap().is_clean());
}

#[test]
fn a_branch_that_is_wrong_about_its_children() {
    let find = |what: &str, change: &dyn Fn(&Database, u32)| {
        let db = filled();
        let id = delta(root(&db).word);
        change(&db, id);
        assert_found(&db, what);
    };
    let counts = |db: &Database, id: u32| {
        let image = db.shared().store.slab.pin(id, &EpochGuard::enter()).unwrap();
        Node::delta(image.bytes(), image.words()).count_below(0).unwrap()
    };
    find("entries and not", &|db, id| {
        let count = counts(db, id);
        tamper(db, id, |image| edit(image, |node| node.set_count(0, count + 1, true).unwrap()));
    });
    find("has large values, which it does not say", &|db, id| {
        let count = counts(db, id);
        tamper(db, id, |image| edit(image, |node| node.set_count(0, count, false).unwrap()));
    });
    find("a key of it lies beyond its separators", &|db, id| {
        let (first, second) = (child(db, id, 0), child(db, id, 1));
        tamper(db, id, |image| {
            edit(image, |node| {
                node.set_child(0, second).unwrap();
                node.set_child(1, first).unwrap();
            });
        });
    });
    find("a page in memory is reached twice", &|db, id| {
        let first = child(db, id, 0);
        tamper(db, id, |image| edit(image, |node| node.set_child(1, first).unwrap()));
    });
    find("a reference leads nowhere", &|db, id| {
        tamper(db, id, |image| edit(image, |node| node.set_child(1, Word::NULL).unwrap()));
    });
    find("lies outside", &|db, id| {
        tamper(db, id, |image| {
            edit(image, |node| node.set_child(1, Word::from_bits(1 << 41 | 0x5F5_E0FF)).unwrap());
        });
    });
    find("it is younger than what refers to it", &|db, id| {
        let first = delta(child(db, id, 0));
        tamper(db, first, |image| set_birth(image.bytes_mut(), 9));
    });
}

#[test]
fn a_leaf_that_is_wrong() {
    let db = filled();
    let id = leaf(&db);
    tamper(&db, id, |image| {
        edit(image, |node| {
            node.remove(3).unwrap();
            node.insert(1, b"key 0004", &[4; 20], None).unwrap();
        });
    });
    assert_found(&db, "its keys are not in order");

    let db = filled();
    let (id, longer) = (leaf(&db), Large::payload(70_001, 0));
    tamper(&db, id, |image| {
        edit(image, |node| {
            let word = node.node().value_word(&node.node().entry(0).unwrap()).unwrap().0;
            node.replace(0, b"key 0000", &longer, Some(word)).unwrap();
        });
    });
    assert_found(&db, "its extent is not as long as its leaf says");

    // Any damage to the bytes gives faults and nothing worse.
    let db = filled();
    let id = leaf(&db);
    let image = Image::clone(&db.shared().store.slab.pin(id, &EpochGuard::enter()).unwrap());
    for at in 0..512 {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut damaged = image.clone();
            damaged.bytes_mut()[at] = value;
            db.shared().store.slab.publish(id, Arc::new(damaged));
            db.check().unwrap();
        }
    }
}

#[test]
fn pages_that_are_lost_or_used_twice() {
    let db = filled();
    db.checkpoint().unwrap();
    assert!(db.check().unwrap().is_clean());
    let page = match root(&db).word.target() {
        Target::File(page) => page.page(),
        other => panic!("{other:?}"),
    };
    let shared = db.shared();
    let mut writer = shared.gate.acquire(Wait::No).unwrap();
    let grant = writer.space().unwrap().allocate(5, Use::Early).unwrap();
    shared.gate.release(writer);
    assert_found(&db, "are neither in use nor free");
    let mut writer = shared.gate.acquire(Wait::No).unwrap();
    writer.space().unwrap().revoke(&grant).unwrap();
    shared.gate.release(writer);
    assert!(db.check().unwrap().is_clean());

    let mut writer = shared.gate.acquire(Wait::No).unwrap();
    writer.space().unwrap().give_back(Run::new(page.get(), 1)).unwrap();
    shared.gate.release(writer);
    assert_found(&db, "a page in use is something else as well");
    let report = db.check().unwrap();
    let place = Some(Place::Page(page));
    assert!(report.faults.iter().any(|fault| fault.place == place && fault.table.as_deref() == Some("t")));
}

/// Makes every page younger than what refers to it.
fn age(db: &Database, id: u32, level: u8) {
    tamper(db, id, |image| set_birth(image.bytes_mut(), 9 + u64::from(9 - level)));
    let image = db.shared().store.slab.pin(id, &EpochGuard::enter()).unwrap();
    let count = Node::delta(image.bytes(), image.words()).count();
    for index in 0..if level > 0 { count } else { 0 } {
        age(db, delta(child(db, id, index)), level - 1);
    }
}

#[test]
fn faults_are_bounded_and_the_rest_is_counted() {
    let db = Database::builder().page_size(512).in_memory().unwrap();
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..20_000u32).try_for_each(|i| table.insert(i.to_be_bytes(), [0; 40]))
    })
    .unwrap();
    let tree = root(&db);
    let id = delta(tree.word);
    age(&db, id, tree.height);
    let report = db.check().unwrap();
    assert_eq!(report.faults.len(), FAULTS_MAX);
    assert!(report.faults_omitted > 500);
    assert_eq!(report.entries, 20_000);
}

/// Every page of a closed file that is in use is damaged in turn. The check names it, and goes on around it.
#[test]
fn a_damaged_page_is_named_and_its_siblings_are_seen() {
    let fs = MemFs::new();
    let builder = |fs: &MemFs| Database::builder().page_size(512).file_system(Arc::new(fs.clone()));
    let db = builder(&fs).open("/db").unwrap();
    db.update(|txn| {
        let table = txn.table("t")?;
        table.insert("large", vec![9; 66_000])?;
        (0..300u32).try_for_each(|i| table.insert(format!("key {i:04}"), [i as u8; 20]))
    })
    .unwrap();
    db.close().unwrap();
    let whole = fs.read_file(Path::new("/db")).unwrap();
    let db = builder(&fs).read_only().open("/db").unwrap();
    let (report, shape) = (db.check().unwrap(), db.shape().unwrap());
    drop(db);
    assert!(report.is_clean() && report.entries == 301);
    let mut found = 0;
    for page in shape.head_pages..shape.file_pages {
        let mut bytes = whole.clone();
        bytes[page as usize * 512 + 7] ^= 0x10;
        let damaged = MemFs::from_files([("/db".into(), bytes)]).unwrap();
        let outcome = builder(&damaged).read_only().open("/db");
        let Ok(db) = outcome else {
            // The catalog is looked at when opening.
            found += 1;
            continue;
        };
        let after = db.check().unwrap();
        assert!(after.faults.len() <= 1, "page {page}: {:#?}", after.faults);
        if let Some(Fault { place: Some(Place::Page(named)), .. }) = after.faults.first() {
            // Of a large value, the first page of the chunk is named.
            let chunk =
                after.faults[0].what.contains("chunk") && (named.get()..named.get() + 128).contains(&page);
            assert!(named.get() == page || chunk, "page {page}: {:#?}", after.faults);
        }
        found += after.faults.len() as u64;
        let lost = report.entries - after.entries;
        let table = after.faults.first().and_then(|fault| fault.table.as_deref());
        if lost > 0 && after.tables == 1 {
            assert_eq!(table, Some("t"));
        }
        if lost == 0 && table.is_none() {
            // Free, or of the free map.
            assert_eq!(after.entries, 301);
        }
    }
    let used = shape.file_pages - shape.head_pages - shape.free_pages;
    assert_eq!(found, used, "{shape:#?}");
}
