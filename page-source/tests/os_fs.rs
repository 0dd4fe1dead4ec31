//! The system's files behind the seam.
#![expect(clippy::unwrap_used, reason = "test code")]

use bifold_page_source::{Access, File, FileSystem, LockKind, MemFs, OsFs};
use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;

fn file() -> (tempfile::TempDir, Arc<dyn File>) {
    let dir = tempfile::tempdir().unwrap();
    let file = OsFs.create_new(&dir.path().join("file")).unwrap();
    (dir, file)
}

#[test]
fn of_many_that_create_one_wins_and_nothing_is_left_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let wins: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|thread| {
                let path = &path;
                scope.spawn(move || {
                    let file = OsFs.create_unnamed(path).unwrap();
                    file.write_at(&[thread; 100], 0).unwrap();
                    file.sync().unwrap();
                    match OsFs.publish(&*file, path) {
                        Ok(()) => 1,
                        Err(e) if e.kind() == ErrorKind::AlreadyExists => 0,
                        Err(e) => panic!("{e}"),
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(wins, 1);
    OsFs.sync_dir(&path).unwrap();
    let content = std::fs::read(&path).unwrap();
    assert_eq!(content, [content[0]; 100], "the winner's file, whole");
    let names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["db"]);
}

#[test]
fn locks_stand_between_handles_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let one = OsFs.create_new(&path).unwrap();
    let two = OsFs.open(&path, Access::ReadOnly).unwrap();
    let three = OsFs.open(&path, Access::ReadWrite).unwrap();
    assert!(one.lock(LockKind::Exclusive).unwrap());
    assert!(!two.lock(LockKind::Shared).unwrap());
    assert!(!three.lock(LockKind::Exclusive).unwrap());
    drop(one);
    assert!(two.lock(LockKind::Shared).unwrap());
    assert!(three.lock(LockKind::Shared).unwrap());
    assert!(!three.lock(LockKind::Exclusive).unwrap(), "two is still there");
}

#[test]
fn vectored_writes_take_any_number_of_buffers_even_empty_ones() {
    let (_dir, file) = file();
    let buffers: Vec<Vec<u8>> = (0..5000u32).map(|i| vec![i as u8; (i % 7) as usize]).collect();
    let expected: Vec<u8> = buffers.concat();
    let slices: Vec<_> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
    file.write_vectored_at(&slices, 10).unwrap();
    file.write_vectored_at(&[], 0).unwrap();
    let empty = vec![IoSlice::new(&[]); 3000];
    file.write_vectored_at(&empty, 0).unwrap();
    assert_eq!(file.len().unwrap(), 10 + expected.len() as u64);
    let mut content = vec![0; expected.len()];
    file.read_at(&mut content, 10).unwrap();
    assert_eq!(content, expected);
}

#[test]
fn durable_writes_of_any_length_at_any_place_are_whole() {
    let (_dir, on_disk) = file();
    let in_memory = MemFs::new().create_new(Path::new("file")).unwrap();
    for file in [on_disk, in_memory] {
        let mut expected = Vec::new();
        for (offset, len) in
            [(0usize, 512usize), (512, 1), (100, 5000), (8192, 1 << 20), (9000, 0), (3, 4096)]
        {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + offset) as u8).collect();
            file.write_at_durably(&bytes, offset as u64).unwrap();
            file.start_writeback(offset as u64, len as u64);
            expected.resize(expected.len().max(offset + len), 0);
            expected[offset..offset + len].copy_from_slice(&bytes);
        }
        file.sync().unwrap();
        let mut content = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut content, 0).unwrap();
        assert!(content == expected);
    }
}

#[test]
fn a_durable_write_to_a_handle_for_reading_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    OsFs.create_new(&path).unwrap();
    let file = OsFs.open(&path, Access::ReadOnly).unwrap();
    assert!(file.write_at_durably(b"x", 0).is_err());
    file.start_writeback(0, 100);
}

#[test]
fn reading_beyond_the_end_is_an_error_and_lengths_are_what_was_asked_for() {
    let (_dir, file) = file();
    assert!(file.is_empty().unwrap());
    file.allocate(4096, 4096).unwrap();
    assert_eq!(file.len().unwrap(), 8192);
    file.allocate(0, 100).unwrap();
    assert_eq!(file.len().unwrap(), 8192, "never shorter");
    let mut buf = [1; 100];
    file.read_at(&mut buf, 8092).unwrap();
    assert_eq!(buf, [0; 100]);
    assert_eq!(file.read_at(&mut buf, 8093).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    file.set_len(50).unwrap();
    assert_eq!(file.len().unwrap(), 50);
    assert!(file.read_at(&mut buf, 0).is_err());
}

#[test]
fn a_cache_dropped_is_read_again() {
    let (_dir, file) = file();
    file.write_at(&[5; 10_000], 0).unwrap();
    file.sync().unwrap();
    for (offset, len) in [(0, 0), (4096, 8192), (1, 1), (1 << 40, 0)] {
        file.drop_cache(offset, len).unwrap();
        let mut buf = [0; 10_000];
        file.read_at(&mut buf, 0).unwrap();
        assert_eq!(buf, [5; 10_000]);
    }
}

#[test]
fn direct_handles_see_what_was_written_and_say_how_they_are_aligned() {
    let (_dir, file) = file();
    file.write_at(&[6; 8192], 0).unwrap();
    let Some(direct) = file.direct().unwrap() else {
        println!("skipped: no direct I/O on this file system");
        return;
    };
    assert!(direct.align.is_power_of_two() && direct.align <= 65536);
    let mut buffer = vec![0; 3 * 65536];
    let skip = buffer.as_ptr().align_offset(65536);
    direct.file.read_at(&mut buffer[skip..skip + 8192], 0).unwrap();
    assert_eq!(buffer[skip..skip + 8192], [6; 8192]);
    assert_eq!(direct.file.identity().unwrap(), file.identity().unwrap());
}

#[test]
fn names_and_identities() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    assert_eq!(FileSystem::identity(&OsFs, &path("a")).unwrap(), None);
    let a = OsFs.create_new(&path("a")).unwrap();
    assert_eq!(OsFs.create_new(&path("a")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    std::os::unix::fs::symlink(path("a"), path("link")).unwrap();
    let real = OsFs.canonicalize(&path("a")).unwrap();
    assert_eq!(OsFs.canonicalize(&path("link")).unwrap(), real);
    assert_eq!(OsFs.canonicalize(&path("new")).unwrap(), real.with_file_name("new"));
    assert!(OsFs.canonicalize(&path("no/new")).is_err());
    OsFs.rename(&path("a"), &path("b")).unwrap();
    assert_eq!(FileSystem::identity(&OsFs, &path("b")).unwrap(), Some(a.identity().unwrap()));
    OsFs.unlink(&path("b")).unwrap();
    assert_eq!(OsFs.open(&path("b"), Access::ReadOnly).unwrap_err().kind(), ErrorKind::NotFound);
    OsFs.sync_dir(&path("b")).unwrap();
    assert!(OsFs.publish(&*a, Path::new("/nonexistent/x")).is_err());
}

#[test]
fn a_file_in_memory_is_none_of_the_systems() {
    let file = MemFs::new().create_unnamed(Path::new("x")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert!(OsFs.publish(&*file, &dir.path().join("x")).is_err());
}

#[test]
fn a_lock_ends_with_its_handle_even_if_a_child_inherited_the_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let first = OsFs.create_new(&path).unwrap();
    assert!(first.lock(LockKind::Exclusive).unwrap());
    // What a child has between fork and exec.
    let inherited = first.fd().unwrap().try_clone_to_owned().unwrap();
    let second = OsFs.open(&path, Access::ReadWrite).unwrap();
    assert!(!second.lock(LockKind::Shared).unwrap());
    drop(first);
    assert!(second.lock(LockKind::Exclusive).unwrap());
    drop(inherited);
}
