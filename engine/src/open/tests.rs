//! Creation races, locks, names that change, and what settling a head shows and writes.
#![forbid(unsafe_code)]

use super::*;
use crate::meta::{self, HEAD_LEN, LogState, Meta, initial_head};
use bifold_page_source::{DirectFile, File, FileIdentity, LockKind, MemFs, OsFs};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

const SIZE: PageSize = PageSize::MIN;
const BOTH: [Access; 2] = [Access::ReadOnly, Access::ReadWrite];

fn made(fs: &dyn FileSystem, path: &Path) {
    create(fs, path, SIZE, Some(7)).unwrap();
}

/// Opens, asserts that nothing is in the way, and settles.
fn settled(fs: &dyn FileSystem, path: &Path, access: Access) -> Result<Meta> {
    settle_head(fs, &open_locked(fs, path, access).unwrap())
}

fn live(number: u64) -> Meta {
    let log = LogState::Live(crate::wal::LogStart { log_id: 1, lap: 1, sector: 2, chain: 3 });
    Meta { log, ..Meta::initial(SIZE, 7, number) }
}

#[test]
fn of_eight_creators_one_succeeds_and_all_find_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let start = Barrier::new(8);
    let outcomes: Vec<Result<()>> = std::thread::scope(|s| {
        let creators: Vec<_> = (0..8)
            .map(|id| {
                let (path, start) = (&path, &start);
                s.spawn(move || {
                    start.wait();
                    let outcome = create(&OsFs, path, PageSize::DEFAULT, Some(id));
                    let meta = settled(&OsFs, path, Access::ReadOnly).unwrap();
                    if outcome.is_ok() {
                        assert_eq!(meta.file_id, id);
                    }
                    outcome
                })
            })
            .collect();
        creators.into_iter().map(|c| c.join().unwrap()).collect()
    });
    let lost = |o: &Result<()>| o.as_ref().is_err_and(|e| is_kind(e, ErrorKind::AlreadyExists));
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
    assert_eq!(outcomes.iter().filter(|o| lost(o)).count(), 7);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["db"], "no creator leaves anything else behind");
}

#[test]
fn whoever_comes_late_opens_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let start = Barrier::new(8);
    let opened = AtomicUsize::new(0);
    std::thread::scope(|s| {
        for id in 0..8 {
            let (path, start, opened) = (&path, &start, &opened);
            s.spawn(move || {
                start.wait();
                loop {
                    match open_or_create(&OsFs, path, SIZE, Some(id)) {
                        Ok(locked) => {
                            assert_eq!(opened.fetch_add(1, Ordering::SeqCst), 0, "alone in the file");
                            assert_eq!(settle_head(&OsFs, &locked).unwrap().number, 1);
                            opened.fetch_sub(1, Ordering::SeqCst);
                            return;
                        }
                        Err(Error::Locked) => std::thread::yield_now(),
                        Err(e) => panic!("{e}"),
                    }
                }
            });
        }
    });
    assert!(settled(&OsFs, &path, Access::ReadOnly).unwrap().file_id < 8);
}

#[test]
fn a_new_file_is_whole_pages_long_and_its_id_random_unless_given() {
    let fs = MemFs::new();
    for shift in 9..=16 {
        let size = PageSize::new(1 << shift).unwrap();
        let path = PathBuf::from(format!("db{shift}"));
        create(&fs, &path, size, Some(7)).unwrap();
        let bytes = fs.read_file(&path).unwrap();
        assert_eq!(bytes.len(), size.bytes().max(HEAD_LEN as usize));
        assert!(bytes[..HEAD_LEN as usize] == initial_head(size, 7));
        assert!(bytes[HEAD_LEN as usize..].iter().all(|&b| b == 0));
    }
    create(&fs, Path::new("a"), SIZE, None).unwrap();
    create(&fs, Path::new("b"), SIZE, None).unwrap();
    let [a, b] = ["a", "b"].map(|p| settled(&fs, Path::new(p), Access::ReadOnly).unwrap().file_id);
    assert_ne!(a, b);
}

#[test]
fn what_cannot_be_created_or_opened_is_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("missing/db");
    assert!(is_kind(&create(&OsFs, &nowhere, SIZE, None).unwrap_err(), ErrorKind::NotFound));
    let absent = dir.path().join("db");
    for access in BOTH {
        let err = open_locked(&OsFs, &absent, access).unwrap_err();
        assert!(is_kind(&err, ErrorKind::NotFound), "{err}");
    }
    assert!(is_kind(&create(&OsFs, dir.path(), SIZE, None).unwrap_err(), ErrorKind::AlreadyExists));
    let dangling = dir.path().join("dangling");
    std::os::unix::fs::symlink(dir.path().join("gone"), &dangling).unwrap();
    let err = open_or_create(&OsFs, &dangling, SIZE, None).unwrap_err();
    assert!(is_kind(&err, ErrorKind::NotFound), "{err}");
    let text = dir.path().join("text");
    std::fs::write(&text, "hello").unwrap();
    for access in BOTH {
        assert!(matches!(settled(&OsFs, &text, access), Err(Error::NotADatabase(_))));
    }
    assert_eq!(std::fs::read(&text).unwrap(), b"hello");
}

#[test]
fn a_writer_is_alone_and_readers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    made(&OsFs, &path);
    let writer = open_locked(&OsFs, &path, Access::ReadWrite).unwrap();
    for access in BOTH {
        assert!(matches!(open_locked(&OsFs, &path, access), Err(Error::Locked)));
    }
    let kept = writer.clone();
    drop(writer);
    assert!(
        matches!(open_locked(&OsFs, &path, Access::ReadOnly), Err(Error::Locked)),
        "a clone holds the lock"
    );
    drop(kept);
    let readers: Vec<_> = (0..3).map(|_| open_locked(&OsFs, &path, Access::ReadOnly).unwrap()).collect();
    assert!(matches!(open_locked(&OsFs, &path, Access::ReadWrite), Err(Error::Locked)));
    for reader in &readers {
        assert_eq!(settle_head(&OsFs, reader).unwrap(), Meta::initial(SIZE, 7, 1));
    }
    drop(readers);
    open_locked(&OsFs, &path, Access::ReadWrite).unwrap();
}

#[test]
fn a_link_leads_to_the_files_own_path_lock_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    std::fs::create_dir(&real).unwrap();
    let path = real.join("db");
    made(&OsFs, &path);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let locked = open_locked(&OsFs, &link, Access::ReadWrite).unwrap();
    assert_eq!(locked.path, std::fs::canonicalize(&path).unwrap());
    assert_eq!(log_path(&locked.path), locked.path.with_file_name("db-log"));
    assert!(matches!(open_locked(&OsFs, &path, Access::ReadOnly), Err(Error::Locked)));
    assert!(is_kind(&create(&OsFs, &link, SIZE, None).unwrap_err(), ErrorKind::AlreadyExists));
}

/// What a [`Meddler`] does to a path.
type Meddling = fn(&Path);

/// A file system in which someone does something to a path each time it has just been opened.
#[derive(Debug)]
struct Meddler {
    times: AtomicUsize,
    meddle: Meddling,
}

impl FileSystem for Meddler {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        let file = OsFs.open(path, access)?;
        let left = self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_ok() {
            (self.meddle)(path);
        }
        Ok(file)
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        OsFs.create_new(path)
    }
    fn create_unnamed(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        OsFs.create_unnamed(path)
    }
    fn publish(&self, file: &dyn File, path: &Path) -> io::Result<()> {
        OsFs.publish(file, path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFs.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        OsFs.unlink(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        OsFs.sync_dir(path)
    }
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        OsFs.canonicalize(path)
    }
    fn identity(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        FileSystem::identity(&OsFs, path)
    }
}

#[test]
fn a_file_replaced_between_opening_and_locking_is_opened_anew() {
    let replace: Meddling = |path| {
        let other = path.with_file_name("other");
        made(&OsFs, &other);
        std::fs::rename(&other, path).unwrap();
    };
    let remove: Meddling = |path| std::fs::remove_file(path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    made(&OsFs, &path);
    for access in BOTH {
        let fs = Meddler { times: 3.into(), meddle: replace };
        let locked = open_locked(&fs, &path, access).unwrap();
        let named = FileSystem::identity(&OsFs, &path).unwrap();
        assert_eq!(Some(locked.file.identity().unwrap()), named);

        // The file that was locked is in nobody's way once it has lost its name.
        let fs = Meddler { times: 1.into(), meddle: replace };
        assert_eq!(open_locked(&fs, &path, Access::ReadWrite).unwrap().path, locked.path);
        drop(locked);

        let endless = Meddler { times: usize::MAX.into(), meddle: replace };
        assert!(matches!(open_locked(&endless, &path, access), Err(Error::Locked)));
    }
    let fs = Meddler { times: 1.into(), meddle: remove };
    let err = open_locked(&fs, &path, Access::ReadWrite).unwrap_err();
    assert!(is_kind(&err, ErrorKind::NotFound), "{err}");
}

#[test]
fn a_writer_heals_what_a_reader_only_bears() {
    let fs = MemFs::new();
    let path = Path::new("db");
    made(&fs, path);
    let whole = fs.read_file(path).unwrap();
    let file = fs.open(path, Access::ReadWrite).unwrap();
    file.write_at(b"rot", 4096 * 3).unwrap();
    let rotten = fs.read_file(path).unwrap();
    assert_eq!(settled(&fs, path, Access::ReadOnly).unwrap().number, 1);
    assert!(fs.read_file(path).unwrap() == rotten);
    assert_eq!(settled(&fs, path, Access::ReadWrite).unwrap().number, 1);
    assert!(fs.read_file(path).unwrap() == whole);
}

#[test]
fn a_file_with_unknown_read_only_features_is_only_read() {
    let fs = MemFs::new();
    let path = Path::new("db");
    made(&fs, path);
    let file = fs.open(path, Access::ReadWrite).unwrap();
    let strange = Meta { read_only_compatible: 4, ..Meta::initial(SIZE, 7, 2) };
    meta::write(&*file, &strange).unwrap();
    let before = fs.read_file(path).unwrap();
    assert_eq!(settled(&fs, path, Access::ReadOnly).unwrap(), strange);
    assert!(matches!(settled(&fs, path, Access::ReadWrite), Err(Error::UnsupportedFeature(4))));
    assert!(fs.read_file(path).unwrap() == before);
}

/// A file whose cache and disk differ, as after a failed sync.
#[derive(Debug)]
struct Apart {
    cache: Arc<dyn File>,
    disk: Arc<dyn File>,
    /// What the kernel grants: to drop the cache, or to go past it.
    drops: bool,
    dropped: AtomicUsize,
}

impl File for Apart {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let dropped = self.drops && self.dropped.load(Ordering::SeqCst) > 0;
        if dropped { self.disk.read_at(buf, offset) } else { self.cache.read_at(buf, offset) }
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.cache.write_at(buf, offset)?;
        self.disk.write_at(buf, offset)
    }
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.cache.write_vectored_at(bufs, offset)?;
        self.disk.write_vectored_at(bufs, offset)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        self.cache.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.cache.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.cache.allocate(offset, len)
    }
    fn lock(&self, kind: LockKind) -> io::Result<bool> {
        self.cache.lock(kind)
    }
    fn drop_cache(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn direct(&self) -> io::Result<Option<DirectFile>> {
        Ok(if self.drops { None } else { Some(DirectFile { file: self.disk.clone(), align: 512 }) })
    }
    fn identity(&self) -> io::Result<FileIdentity> {
        self.cache.identity()
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[test]
fn the_disk_is_believed_and_the_cache_is_not() {
    for (drops, access) in [true, false].into_iter().flat_map(|d| BOTH.map(|a| (d, a))) {
        let fs = MemFs::new();
        let [cache, disk] = ["db", "disk"].map(|name| {
            made(&fs, Path::new(name));
            fs.open(Path::new(name), Access::ReadWrite).unwrap()
        });
        // Meta 2 reached the disk, meta 3 only the cache.
        for file in [&cache, &disk] {
            meta::write(&**file, &live(2)).unwrap();
        }
        meta::write(&*cache, &live(3)).unwrap();
        let file = Arc::new(Apart { cache, disk, drops, dropped: 0.into() });
        let locked = LockedFile { file, path: "db".into(), access };
        assert_eq!(settle_head(&fs, &locked).unwrap(), live(2));
    }
}
