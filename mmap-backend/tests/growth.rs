//! What is particular to a map: it grows beside its readers, outlives its reservation, and is never touched beyond
//! the file.

use bifold_mmap::{MmapSource, Options};
use bifold_page_source::testing::{Fault, FaultFs, OpKind, StaleViewSource, conformance, pages};
use bifold_page_source::{
    Access, Error, File, FileSystem, MemFs, OsFs, PageRef, PageSize, PageSource, PageWrite, Visit,
};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SIZE: PageSize = PageSize::MIN;

fn open(file: &Arc<dyn File>, reserve_bytes: u64) -> MmapSource {
    let mut options = Options::default();
    options.reserve_bytes = reserve_bytes;
    MmapSource::open(Arc::clone(file), pages::config(SIZE), &options).expect("a map")
}

#[expect(unsafe_code, reason = "tests write pages that nobody looks at yet")]
fn write(source: &MmapSource, number: u64, version: u64) -> PageRef {
    let (at, bytes) = pages::page(SIZE, number, version);
    // SAFETY: the tests here write each page before anyone is told of it.
    unsafe { source.write(&[PageWrite { at, replaces: None, bytes: &bytes }]) }.expect("a write");
    at
}

#[test]
fn readers_keep_reading_while_the_file_outgrows_map_after_map() {
    const PAGES: u64 = 4000;
    let file = MemFs::new().create_unnamed(Path::new("x")).unwrap();
    let source = open(&file, 0);
    source.grow(1).unwrap();
    let written = AtomicU64::new(0);
    let (source, written) = (&source, &written);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            scope.spawn(move || {
                let mut rng = pages::Rng::new(seed);
                let mut pins = Vec::new();
                loop {
                    let upto = written.load(Ordering::Acquire);
                    if upto == 0 {
                        continue;
                    }
                    let n = rng.below(upto);
                    let (at, expected) = pages::page(SIZE, n, 3);
                    assert!(source.visit().view(at).unwrap() == expected, "page {n}");
                    if rng.chance(0.1) {
                        pins.push((n, source.visit().hold(at).unwrap()));
                    }
                    let beyond = PageRef::unchecked(pages::id(PAGES + 10));
                    assert!(source.visit().view(beyond).is_err());
                    if upto == PAGES {
                        break;
                    }
                }
                for (n, pin) in pins {
                    assert!(*pin == pages::page(SIZE, n, 3).1, "page {n}, held since the map was smaller");
                }
            });
        }
        for n in 0..PAGES {
            source.grow((n + 1).next_multiple_of(37)).unwrap();
            write(source, n, 3);
            written.store(n + 1, Ordering::Release);
        }
    });
}

#[test]
fn a_pin_taken_from_an_outgrown_map_is_the_page_still() {
    let file = MemFs::new().create_unnamed(Path::new("x")).unwrap();
    let source = open(&file, 0);
    source.grow(4).unwrap();
    let at = write(&source, 2, 0);
    let pin = source.visit().hold(at).unwrap();
    let address = pin.as_ptr();
    source.grow(100_000).unwrap();
    let later = source.visit().hold(at).unwrap();
    assert_ne!(later.as_ptr(), address, "the file has outgrown its first map");
    assert_eq!((pin, pin.as_ptr()), (later, address));
}

#[test]
fn pages_are_verified_once_and_again_after_a_rewrite() {
    let file = MemFs::new().create_unnamed(Path::new("x")).unwrap();
    let source = open(&file, 1 << 30);
    source.grow(10).unwrap();
    let at = write(&source, 5, 0);
    for _ in 0..3 {
        source.visit().view(at).unwrap();
    }
    assert_eq!(source.stats().pages_verified, 1);
    let newer = write(&source, 5, 1);
    for _ in 0..3 {
        source.visit().view(newer).unwrap();
        assert!(source.visit().view(at).is_err(), "the older reference is refused though the page is good");
    }
    assert_eq!(source.stats().pages_verified, 2);
}

#[test]
fn a_file_that_ends_within_a_page_of_the_system_is_read_to_its_last_whole_page_only() {
    let dir = tempfile::tempdir().unwrap();
    let file = OsFs.create_new(&dir.path().join("f")).unwrap();
    for n in 0..3 {
        file.write_at(&pages::page(SIZE, n, 0).1, n * 512).unwrap();
    }
    file.set_len(3 * 512 - 1).unwrap();
    let source = open(&file, 1 << 30);
    assert_eq!(source.len_pages(), 2);
    for n in [2, 3, 8, 1 << 30] {
        let error = source.visit().view(PageRef::unchecked(pages::id(n))).map(<[u8]>::len).unwrap_err();
        assert!(matches!(error, Error::Corrupt { page, .. } if page.get() == n), "{error}");
    }
}

#[test]
fn a_file_without_a_descriptor_is_unsupported() {
    let fs = FaultFs::new(Arc::new(MemFs::new())).without_descriptors();
    let file = fs.create_new(Path::new("x")).unwrap();
    match MmapSource::open(file, pages::config(SIZE), &Options::default()) {
        Err(Error::Io { source, .. }) => assert_eq!(source.kind(), ErrorKind::Unsupported),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_disk_and_failing_calls_leave_the_source_as_it_was() {
    let fs = FaultFs::new(Arc::new(MemFs::new()));
    let file = fs.create_new(Path::new("x")).unwrap();
    let source = open(&file, 0);
    source.grow(10).unwrap();
    let at = write(&source, 5, 0);
    fs.set_capacity(Some(20 * 512));
    match source.grow(100) {
        Err(Error::Io { source, .. }) => assert_eq!(source.kind(), ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
    assert_eq!(source.len_pages(), 10);
    source.grow(20).unwrap();
    for kind in [OpKind::Write, OpKind::Sync, OpKind::SetLen] {
        fs.fail(Fault::new(kind));
    }
    let (other, bytes) = pages::page(SIZE, 6, 0);
    #[expect(unsafe_code, reason = "nobody looks at page 6, nor at what lies beyond page 9")]
    // SAFETY: as the reason says.
    unsafe {
        assert!(source.write(&[PageWrite { at: other, replaces: None, bytes: &bytes }]).is_err());
        assert!(source.sync().is_err());
        assert!(source.shrink(10).is_err());
        assert_eq!(source.len_pages(), 20);
        source.shrink(10).unwrap();
    }
    assert_eq!(source.len_pages(), 10);
    assert!(source.visit().view(at).is_ok());
    assert!(source.visit().view(other).is_err());
}

#[test]
fn a_file_opened_for_reading_only_is_mapped() {
    let fs = MemFs::from_files([("x".into(), pages::page(SIZE, 0, 0).1)]).unwrap();
    let file = fs.open(Path::new("x"), Access::ReadOnly).unwrap();
    let source = open(&file, 1 << 30);
    assert!(source.visit().view(pages::page(SIZE, 0, 0).0).is_ok());
    assert!(source.grow(2).is_err());
}

#[test]
fn the_suite_keeps_its_own_promises_over_a_map() {
    conformance::run::<StaleViewSource<MmapSource>>(&Options::default());
}

/// Whether each page of the file is in memory; `None` where the kernel does not say.
fn in_memory(file: &dyn File, pages: u64) -> Option<Vec<bool>> {
    use rustix::io::{Errno, ReadWriteFlags};
    let fd = file.fd()?;
    let one = |page: u64| {
        let mut byte = [0];
        let buf = &mut [std::io::IoSliceMut::new(&mut byte)];
        match rustix::io::preadv2(fd, buf, page * SIZE.bytes() as u64, ReadWriteFlags::NOWAIT) {
            Ok(_) => Some(true),
            Err(Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    };
    (0..pages).map(one).collect()
}

#[test]
fn what_was_written_stays_in_memory_through_sync_and_discard_and_is_verified_from_there() {
    const PAGES: u64 = 2048;
    let dir = tempfile::tempdir().unwrap();
    let file = OsFs.create_unnamed(&dir.path().join("f")).unwrap();
    let source = open(&file, 1 << 30);
    source.grow(2 * PAGES).unwrap();
    let made: Vec<_> = (0..PAGES).map(|n| pages::page(SIZE, n, 0)).collect();
    let writes: Vec<_> =
        made.iter().map(|(at, bytes)| PageWrite { at: *at, replaces: None, bytes }).collect();
    #[expect(unsafe_code, reason = "nobody looks at any of these pages")]
    // SAFETY: as the reason says.
    unsafe {
        source.write(&writes).unwrap();
        source.write_extent(pages::id(PAGES), &pages::noise(PAGES as usize * SIZE.bytes(), 1)).unwrap();
    }
    source.sync().unwrap();
    source.discard(pages::id(0)..pages::id(2 * PAGES));
    source.prefetch(&made.iter().map(|(at, _)| *at).collect::<Vec<_>>());
    match in_memory(&*file, 2 * PAGES) {
        Some(resident) => {
            let missing = resident.iter().filter(|there| !**there).count();
            assert_eq!(missing, 0, "pages would be read again");
        }
        None => println!("skipped: this file system does not tell what is resident"),
    }
    for (at, bytes) in &made {
        assert!(source.visit().view(*at).unwrap() == bytes);
    }
    assert_eq!(source.stats().pages_verified, PAGES);
}
