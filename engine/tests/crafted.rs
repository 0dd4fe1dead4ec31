//! Files made to harm: pages changed and sealed again, with all checksums above them, up to the file's head. Whatever
//! is in them, the database answers with an error or goes on; it does not panic, hang, or take memory without bound.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bifold::{Builder, Db, Error, PageSource};
use bifold_page_source::testing::pages::Rng;
use bifold_page_source::{MemFs, MemSource, PageId, PageRef, seal_page};
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const PAGE: usize = 512;
const FILE_ID: u64 = 7;
const PATH: &str = "/db";
/// The head: four slots of a sector each, 4 KiB apart.
const HEAD: usize = 16 << 10;
const SLOT_SEED: u64 = 0x6D65_7461_2073_6C6F;
const KINDS: [&str; 5] = ["none", "leaf", "branch", "extent", "free map"];

fn builder<S: PageSource>(fs: &MemFs) -> Builder<S> {
    let builder = Db::<S>::builder().page_size(PAGE).delta_size(1 << 20).log_size(64 << 10);
    builder.file_id(FILE_ID).file_system(Arc::new(fs.clone()))
}

/// A closed database with tall trees, large values, a free map of several pages, and a subtree that is cut off.
fn whole() -> Vec<u8> {
    let fs = MemFs::new();
    let db = builder::<MemSource>(&fs).open(PATH).unwrap();
    for round in 0..3u8 {
        db.update(|txn| {
            let table = txn.table("tall")?;
            for i in 0..120u32 {
                table.insert([&[b'p'; 110][..], &(i * 3).to_be_bytes()].concat(), [round; 5])?;
            }
            let table = txn.table("flat")?;
            for i in 0..400u32 {
                table.insert(format!("key {:04}", (i * 7919) % 1000), vec![round; i as usize % 40])?;
            }
            table.insert("key large", vec![round; 70_000])?;
            table.insert("key middling", vec![round; 3_000])?;
            txn.table("empty")?.insert([round], "x")
        })
        .unwrap();
        db.checkpoint().unwrap();
    }
    let stuck = db.read_owned().unwrap();
    db.update(|txn| txn.table("tall")?.remove_range([b'p'; 110]..[b'q'; 110]).map(drop)).unwrap();
    db.update(|txn| {
        let table = txn.table("tall")?;
        (0..200u32)
            .try_for_each(|i| table.insert([&[b'p'; 110][..], &(i * 2).to_be_bytes()].concat(), [7; 5]))
    })
    .unwrap();
    db.close().unwrap();
    drop(stuck);
    fs.read_file(Path::new(PATH)).unwrap()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The reference that a parent stores, to the page as it is sealed now.
fn reference(file: &[u8], page: usize) -> PageRef {
    PageRef::new(PageId::new(page as u64).unwrap(), u64_at(file, page * PAGE))
}

/// Changes a page and seals it, and all that refer to it, pages out of use among them.
fn craft(file: &mut [u8], page: usize, change: &mut dyn FnMut(&mut [u8])) {
    let old = reference(file, page);
    change(&mut file[page * PAGE..(page + 1) * PAGE]);
    let new = seal_page(FILE_ID, old.page(), &mut file[page * PAGE..(page + 1) * PAGE]);
    let mut moved = vec![(old, new)];
    while let Some((old, new)) = moved.pop() {
        let (from, to) = (old.bits().to_le_bytes(), new.bits().to_le_bytes());
        for slot in 0..4 {
            let sector = &mut file[slot * 4096..slot * 4096 + PAGE];
            for at in [64, 96] {
                if sector[at..at + 8] == from {
                    sector[at..at + 8].copy_from_slice(&to);
                }
            }
            seal_slot(sector, slot);
        }
        for parent in (HEAD / PAGE..file.len() / PAGE).filter(|p| *p != page) {
            let old = reference(file, parent);
            let bytes = &mut file[parent * PAGE..(parent + 1) * PAGE];
            if is_sealed(bytes, parent)
                && let Some(at) = bytes.windows(8).position(|window| window == from)
            {
                bytes[at..at + 8].copy_from_slice(&to);
                moved.push((old, seal_page(FILE_ID, old.page(), bytes)));
            }
        }
    }
}

/// Whether these are the bytes of a page, rather than of a large value.
fn is_sealed(bytes: &[u8], page: usize) -> bool {
    (1..=4).contains(&bytes[13]) && u64_at(bytes, 8) & 0xFF_FFFF_FFFF == page as u64
}

fn seal_slot(sector: &mut [u8], slot: usize) {
    let sum = xxh3_64_with_seed(&sector[..504], SLOT_SEED + slot as u64);
    sector[504..512].copy_from_slice(&sum.to_le_bytes());
}

/// One change that no engine would make.
fn vandalise(page: &mut [u8], rng: &mut Rng) {
    let mut below = |n: u64| rng.below(n) as usize;
    let count = usize::from(u16::from_le_bytes([page[24], page[25]]));
    match below(12) {
        // Fields of the header.
        0 => page[24 + below(8)] = below(256) as u8,
        1 => page[24 + below(8)] ^= 1 << below(8),
        2 => page[13 + below(2)] = below(6) as u8,
        3 => page[16 + below(8)] = below(256) as u8,
        // Hints, slots, references, counts.
        4 | 5 => page[32 + below(22 * count.clamp(1, 20) as u64)] = below(256) as u8,
        // Two children change places, or one stands twice.
        6 if count > 1 => {
            let (a, b) = (32 + 6 * count + 8 * below(count as u64), 32 + 6 * count + 8 * below(count as u64));
            for i in 0..8.min(PAGE - a.max(b).min(PAGE)) {
                page.swap(a + i, b + i);
            }
        }
        7 if count > 1 => {
            let (a, b) = (32 + 6 * count + 8 * below(count as u64), 32 + 6 * count + 8 * below(count as u64));
            if a.max(b) + 8 <= PAGE {
                page.copy_within(a..a + 8, b);
            }
        }
        8 => {
            let at = 32 + below(472);
            page[at..at + 8]
                .copy_from_slice(&[0, 1, u64::MAX, 1 << 63, 1 << 41 | 0x28][below(5)].to_le_bytes());
        }
        9 => page[32..].fill(below(256) as u8),
        _ => {
            for _ in 0..=below(4) {
                page[13 + below(499)] = below(256) as u8;
            }
        }
    }
}

/// What an error of a crafted file may be.
fn is_fair(error: &Error) -> bool {
    !matches!(error, Error::OutcomeUnknown(_) | Error::Locked | Error::WriterBusy { .. })
}

/// Uses the database in all ways; errors are as good as answers.
fn use_it<S: PageSource>(fs: &MemFs) -> Result<(), Error> {
    let db = builder::<S>(fs).open(PATH)?;
    let fair = |result: Result<(), Error>| assert!(result.as_ref().err().is_none_or(is_fair), "{result:?}");
    fair(db.check().map(drop));
    fair(db.shape().map(drop));
    fair(read(&db));
    for step in 0..6 {
        fair(change(&db, step));
    }
    fair(db.checkpoint());
    fair(db.check().map(drop));
    fair(read(&db));
    db.close()
}

/// As many as a table can have pages.
const MANY: usize = 5_000;

fn read<S: PageSource>(db: &Db<S>) -> Result<(), Error> {
    let txn = db.read()?;
    let names = txn.tables()?;
    for name in names.iter().map(String::as_str).chain(["tall", "flat"]) {
        let Ok(Some(table)) = txn.find_table(name) else { continue };
        // A scan ends at its first error.
        let forward = table.iter().take(MANY).filter_map(Result::ok).count();
        let back = table.range("key 02".."key 05").rev().take(MANY).filter_map(Result::ok).count();
        assert!(forward.max(back) < MANY, "a scan of {name} goes round in circles");
        let keys: Vec<Vec<u8>> = (0..50u32)
            .map(|i| format!("key {:04}", i * 20).into_bytes())
            .chain((0..50u32).map(|i| [&[b'p'; 110][..], &(i * 8).to_be_bytes()].concat()))
            .chain([b"key large".to_vec(), b"key middling".to_vec(), Vec::new(), vec![0xFF; 300]])
            .collect();
        let _ = table.get_many(&keys);
        for key in &keys {
            let _ = (table.get(key), table.rank(key), table.count(..key.clone()), table.prefix(key).count());
            if let Ok(Some(mut reader)) = table.reader(key) {
                let _ = reader.read(&mut [0; 100]);
                let _ = reader.seek(SeekFrom::End(-5));
                let _ = reader.read(&mut [0; 100]);
            }
        }
        for n in [0, 1, 50, 399, 1 << 40, u64::MAX] {
            let _ = table.nth(n);
        }
        let _ = (table.first(), table.last(), table.len());
        let mut cursor = table.cursor();
        for key in &keys {
            let _ = cursor.seek(key);
            let _ = cursor.prev();
            let _ = cursor.next();
            let _ = cursor.value();
        }
    }
    Ok(())
}

fn change<S: PageSource>(db: &Db<S>, step: u32) -> Result<(), Error> {
    let txn = db.write()?;
    let table = txn.table(["tall", "flat", "flat", "tall", "flat", "empty"][step as usize])?;
    match step {
        0 | 1 => {
            for i in 0..60u32 {
                table.insert(format!("key {:04}", i * 17), vec![step as u8; 30])?;
                table.insert([&[b'p'; 110][..], &(i * 5).to_be_bytes()].concat(), "z")?;
            }
        }
        2 => drop(table.remove_range("key 02".."key 07")?),
        3 => drop(table.remove_range([b'p'; 110]..)?),
        4 => {
            for i in 0..300u32 {
                table.remove(format!("key {i:04}"))?;
            }
            while table.pop_last()?.is_some() && table.len()? > 20 {}
            let mut cursor = table.cursor_mut();
            cursor.first()?;
            cursor.remove()?;
        }
        _ => {
            txn.drop_table("flat")?;
            txn.drop_table("tall")?;
        }
    }
    txn.commit()
}

fn run<S: PageSource>(file: Vec<u8>, what: &str) {
    let fs = MemFs::from_files([(PATH.into(), file)]).unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| use_it::<S>(&fs)));
    let Ok(result) = outcome else { panic!("{what}") };
    assert!(result.as_ref().err().is_none_or(is_fair), "{what}: {result:?}");
}

fn cases(default: u64) -> u64 {
    std::env::var("CRAFTED_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn crafting_keeps_every_checksum_right() {
    let mut file = whole();
    let pages: Vec<usize> = (HEAD / PAGE..file.len() / PAGE).collect();
    for page in pages {
        if is_sealed(&file[page * PAGE..(page + 1) * PAGE], page) {
            // Nothing but the reserved byte of the header.
            craft(&mut file, page, &mut |bytes| bytes[15] ^= 1);
        }
    }
    let fs = MemFs::from_files([(PATH.into(), file)]).unwrap();
    let db = builder::<MemSource>(&fs).open(PATH).unwrap();
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{:#?}", report.faults);
    assert!(report.entries > 500);
}

fn pages_of_all_kinds<S: PageSource>(default: u64) {
    let whole = whole();
    let of_kind = |kind: u8| -> Vec<usize> {
        let sealed = |page: &usize| {
            let bytes = &whole[page * PAGE..(page + 1) * PAGE];
            is_sealed(bytes, *page) && bytes[13] == kind
        };
        (HEAD / PAGE..whole.len() / PAGE).filter(sealed).collect()
    };
    for kind in 1..=4u8 {
        let pages = of_kind(kind);
        assert!(!pages.is_empty(), "no page is a {}", KINDS[usize::from(kind)]);
        for seed in 0..cases(default) {
            let mut rng = Rng::new(seed << 3 | u64::from(kind));
            let mut file = whole.clone();
            let mut touched = Vec::new();
            for _ in 0..=rng.below(3) {
                let page = pages[rng.below(pages.len() as u64) as usize];
                craft(&mut file, page, &mut |bytes| vandalise(bytes, &mut rng));
                touched.push(page);
            }
            run::<S>(
                file,
                &format!("{}, kind {}, seed {seed}, pages {touched:?}", S::NAME, KINDS[usize::from(kind)]),
            );
        }
    }
}

fn heads_of_the_file<S: PageSource>(default: u64) {
    let whole = whole();
    for seed in 0..cases(default) {
        let mut rng = Rng::new(seed);
        let mut file = whole.clone();
        let (at, value) = (rng.below(504) as usize, rng.below(256) as u8);
        let field = 8 * rng.below(19) as usize;
        let number = [0, 1, 31, 32, 40, 1 << 20, 1 << 40, 1 << 62, u64::MAX][rng.below(9) as usize];
        for slot in 0..4 {
            let sector = &mut file[slot * 4096..slot * 4096 + PAGE];
            if seed % 2 == 0 {
                sector[at] = value;
            } else {
                sector[field..field + 8].copy_from_slice(&number.to_le_bytes());
            }
            seal_slot(sector, slot);
        }
        run::<S>(file, &format!("head, seed {seed}: byte {at} = {value}, or field {field} = {number}"));
    }
}

#[test]
fn crafted_pages_in_memory() {
    pages_of_all_kinds::<MemSource>(200);
}

#[cfg(feature = "mmap")]
#[test]
fn crafted_pages_under_mmap() {
    pages_of_all_kinds::<bifold::mmap::Source>(40);
}

#[cfg(feature = "buffer-pool")]
#[test]
fn crafted_pages_under_the_pool() {
    pages_of_all_kinds::<bifold::pool::Source>(40);
}

#[test]
fn crafted_heads_in_memory() {
    heads_of_the_file::<MemSource>(600);
}

#[cfg(feature = "mmap")]
#[test]
fn crafted_heads_under_mmap() {
    heads_of_the_file::<bifold::mmap::Source>(100);
}

#[cfg(feature = "buffer-pool")]
#[test]
fn crafted_heads_under_the_pool() {
    heads_of_the_file::<bifold::pool::Source>(100);
}
