//! Scripted faults happen where they are scripted, and nowhere else.
#![expect(clippy::unwrap_used, reason = "test code")]

use bifold_page_source::testing::{
    CrashPlan, Crashes, Fault, FaultFs, Op, OpKind, RecordingFs, SECTOR, StaleViewSource, pages,
};
use bifold_page_source::{Access, FileSystem, LockKind, MemFs, MemSource, OsFs, PageSize, PageSource, Visit};
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;

const DB: &str = "/db";

fn faulty() -> (FaultFs, MemFs) {
    let memory = MemFs::new();
    (FaultFs::new(Arc::new(memory.clone())), memory)
}

fn kind<T: std::fmt::Debug>(outcome: io::Result<T>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[test]
fn the_chosen_call_fails_and_does_nothing() {
    let (fs, memory) = faulty();
    let file = fs.create_new(Path::new(DB)).unwrap();
    fs.fail(Fault::new(OpKind::Write).after(1));
    file.write_at(b"one", 0).unwrap();
    let error = file.write_at(b"two", 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "EIO unless told otherwise");
    assert_eq!(memory.read_file(Path::new(DB)).unwrap(), b"one");
    file.write_vectored_at(&[IoSlice::new(b"th"), IoSlice::new(b"ree")], 0).unwrap();
    assert_eq!(memory.read_file(Path::new(DB)).unwrap(), b"three");
    assert_eq!((fs.fired(), fs.count(OpKind::Write), fs.count(OpKind::Read)), (1, 3, 0));
}

#[test]
fn every_kind_can_fail() {
    let (fs, _) = faulty();
    let path = Path::new(DB);
    let file = fs.create_new(path).unwrap();
    let unnamed = fs.create_unnamed(Path::new("/x")).unwrap();
    for op in OpKind::ALL {
        fs.fail(Fault::new(op).error(ErrorKind::TimedOut));
        let before = fs.count(op);
        let failed = match op {
            OpKind::Read => kind(file.read_at(&mut [], 0)),
            OpKind::Write => kind(file.write_at(b"x", 0)),
            OpKind::Sync => kind(file.sync()),
            OpKind::SetLen => kind(file.set_len(9)),
            OpKind::Allocate => kind(file.allocate(0, 9)),
            OpKind::Lock => kind(file.lock(LockKind::Shared)),
            OpKind::Open => kind(fs.open(path, Access::ReadOnly)),
            OpKind::Create => kind(fs.create_new(Path::new("/y"))),
            OpKind::Publish => kind(fs.publish(&*unnamed, Path::new("/x"))),
            OpKind::Rename => kind(fs.rename(path, Path::new("/z"))),
            OpKind::Unlink => kind(fs.unlink(path)),
            OpKind::SyncDir => kind(fs.sync_dir(path)),
        };
        assert_eq!(failed, ErrorKind::TimedOut, "{op:?}");
        assert_eq!(fs.count(op), before + 1, "{op:?}");
    }
    assert_eq!(fs.fired(), OpKind::ALL.len() as u64);
    assert_eq!(file.len().unwrap(), 0);
    fs.unlink(path).unwrap();
    assert_eq!(kind(fs.open(Path::new("/x"), Access::ReadOnly)), ErrorKind::NotFound);
}

#[test]
fn faults_go_on_for_ever_until_healed_and_stay_on_their_file() {
    let (fs, _) = faulty();
    let db = fs.create_new(Path::new(DB)).unwrap();
    let log = fs.create_new(Path::new("/log")).unwrap();
    fs.fail(Fault::new(OpKind::Sync).on("/log").raw_error(28).forever());
    for _ in 0..3 {
        db.sync().unwrap();
        assert_eq!(kind(log.sync()), ErrorKind::StorageFull);
    }
    fs.heal();
    log.sync().unwrap();
}

#[test]
fn a_torn_write_leaves_its_first_sectors_and_a_late_error_all() {
    let (fs, memory) = faulty();
    let file = fs.create_new(Path::new(DB)).unwrap();
    let content = || memory.read_file(Path::new(DB)).unwrap();
    file.write_at(&[b'a'; 2048], 0).unwrap();
    fs.fail(Fault::new(OpKind::Write).torn_after(1));
    assert!(file.write_at(&[b'b'; 1024], 512).is_err());
    assert_eq!(content(), [[b'a'; 512], [b'b'; 512], [b'a'; 512], [b'a'; 512]].concat());
    fs.fail(Fault::new(OpKind::Write).torn_after(2));
    assert!(file.write_vectored_at(&[IoSlice::new(&[b'c'; 700]), IoSlice::new(&[b'd'; 700])], 0).is_err());
    assert_eq!(content()[..1024], [&[b'c'; 700][..], &[b'd'; 324]].concat());
    fs.fail(Fault::new(OpKind::Write).after_the_work());
    assert!(file.write_at(b"all", 0).is_err());
    assert_eq!(&content()[..4], b"allc");
}

#[test]
fn a_durable_write_fails_as_a_write_and_as_a_sync() {
    let (faults, memory) = faulty();
    let fs = RecordingFs::new(Arc::new(faults.clone()));
    let file = fs.create_new(Path::new(DB)).unwrap();
    file.write_at(&[b'a'; 2 * SECTOR], 0).unwrap();
    file.sync().unwrap();
    fs.sync_dir(Path::new(DB)).unwrap();
    let counts = || (faults.count(OpKind::Write), faults.count(OpKind::Sync));
    let before = counts();
    let durably = |byte| file.write_at_durably(&[byte; 2 * SECTOR], 0);
    durably(b'b').unwrap();
    assert_eq!(counts(), (before.0 + 1, before.1 + 1));
    let content =
        || memory.read_file(Path::new(DB)).unwrap().chunks(SECTOR).map(|s| s[0]).collect::<Vec<_>>();
    let disk = |plan: CrashPlan| {
        let ops = fs.ops();
        let mut crashes = Crashes::new(&ops);
        crashes.advance_to(ops.len());
        crashes.image(&plan)[0].1.chunks(SECTOR).map(|s| s[0]).collect::<Vec<_>>()
    };
    faults.fail(Fault::new(OpKind::Write).torn_after(1));
    assert!(durably(b'c').is_err());
    assert_eq!(content(), b"cb");
    assert_eq!((disk(CrashPlan::AllKept), disk(CrashPlan::AllDropped)), (b"cb".to_vec(), b"bb".to_vec()));
    faults.fail(Fault::new(OpKind::Sync));
    assert!(durably(b'd').is_err());
    assert_eq!(content(), b"dd", "written, and not synced");
    assert_eq!((disk(CrashPlan::AllKept), disk(CrashPlan::AllDropped)), (b"dd".to_vec(), b"bb".to_vec()));
    faults.fail(Fault::new(OpKind::Sync).after_the_work());
    assert!(durably(b'e').is_err());
    assert_eq!((content(), faults.fired()), (b"ee".to_vec(), 3));
    faults.set_capacity(Some(2 * SECTOR as u64));
    assert_eq!(kind(file.write_at_durably(&[b'f'; 2 * SECTOR], SECTOR as u64)), ErrorKind::StorageFull);
    assert_eq!(content(), b"ef");
    file.start_writeback(0, 0);
    durably(b'g').unwrap();
    assert_eq!(disk(CrashPlan::AllDropped), b"gg");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (fs, memory) = faulty();
    let file = fs.create_new(Path::new(DB)).unwrap();
    let other = fs.create_new(Path::new("/other")).unwrap();
    fs.set_capacity(Some(1000));
    file.allocate(0, 600).unwrap();
    assert_eq!(kind(other.write_at(&[1; 500], 0)), ErrorKind::StorageFull);
    assert_eq!(memory.read_file(Path::new("/other")).unwrap(), [1; 400]);
    assert_eq!(kind(file.allocate(600, 1)), ErrorKind::StorageFull);
    file.write_at(&[2; 600], 0).unwrap();
    other.set_len(100).unwrap();
    file.allocate(600, 300).unwrap();
    assert_eq!(kind(file.write_at(&[3; 10], 895)), ErrorKind::StorageFull);
    fs.unlink(Path::new("/other")).unwrap();
    file.write_at(&[3; 10], 895).unwrap();
    fs.set_capacity(None);
    file.allocate(0, 5000).unwrap();
}

#[test]
fn a_gate_holds_reads_of_its_range_back() {
    let (fs, _) = faulty();
    let file = fs.create_new(Path::new(DB)).unwrap();
    file.write_at(&[7; 4096], 0).unwrap();
    let gate = fs.gate_reads(1024..2048);
    let mut buf = [0; 512];
    file.read_at(&mut buf, 512).unwrap();
    file.read_at(&mut buf, 2048).unwrap();
    assert_eq!(gate.arrived(), 0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = [600, 1024, 1600]
            .map(|offset| {
                let file = &file;
                scope.spawn(move || {
                    let mut buf = [0; 512];
                    file.read_at(&mut buf, offset).map(|()| buf[0])
                })
            })
            .into_iter()
            .collect();
        gate.wait_for(3);
        assert_eq!(gate.arrived(), 3);
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        gate.open();
        for reader in readers {
            assert_eq!(reader.join().unwrap().unwrap(), 7);
        }
    });
    file.read_at(&mut buf, 1024).unwrap();
    drop(fs.gate_reads(0..1));
    file.read_at(&mut buf, 0).unwrap();
}

#[test]
fn a_recorder_above_sees_what_a_failed_write_left_and_which_sync_failed() {
    let (faults, _) = faulty();
    let fs = RecordingFs::new(Arc::new(faults.clone()));
    let file = fs.create_new(Path::new(DB)).unwrap();
    fs.sync_dir(Path::new(DB)).unwrap();
    file.write_at(&[b'a'; 2 * SECTOR], 0).unwrap();
    file.sync().unwrap();
    faults.fail(Fault::new(OpKind::Write).torn_after(1));
    assert!(file.write_at(&[b'b'; 2 * SECTOR], 0).is_err());
    faults.fail(Fault::new(OpKind::Sync));
    assert!(file.sync().is_err());
    file.sync().unwrap();
    let ops = fs.ops();
    assert!(ops.iter().any(|op| matches!(op, Op::SyncEnd { ok: false, .. })));
    let mut crashes = Crashes::new(&ops);
    crashes.advance_to(ops.len());
    let show = |plan| {
        let image = crashes.image(&plan);
        image[0].1.chunks(SECTOR).map(|sector| sector[0]).collect::<Vec<u8>>()
    };
    assert_eq!(show(CrashPlan::AllKept), b"ba");
    assert_eq!(show(CrashPlan::AllDropped), b"aa", "a sync after a failed one has done nothing");
}

#[test]
fn a_source_says_what_failed_and_goes_on_when_healed() {
    let (fs, _) = faulty();
    let fs = fs.without_descriptors();
    let size = PageSize::MIN;
    let file = fs.create_new(Path::new(DB)).unwrap();
    assert!(file.fd().is_none() && file.direct().unwrap().is_none());
    let (at, bytes) = pages::page(size, 3, 0);
    file.write_at(&vec![0; 8 * 512], 0).unwrap();
    file.write_at(&bytes, 3 * 512).unwrap();
    let source = StaleViewSource::<MemSource>::open(file, pages::config(size), &()).unwrap();
    fs.fail(Fault::new(OpKind::Read));
    let error = source.visit().view(at).map(<[u8]>::len).unwrap_err();
    assert_eq!(error.to_string(), format!("read at byte 1536: {}", io::Error::from_raw_os_error(5)));
    let reads = fs.count(OpKind::Read);
    assert_eq!(source.visit().view(at).unwrap(), bytes);
    assert_eq!(source.visit().view(at).unwrap(), bytes);
    assert_eq!(fs.count(OpKind::Read), reads + 1, "read once");
    fs.fail(Fault::new(OpKind::Allocate).error(ErrorKind::StorageFull));
    assert!(source.grow(100).unwrap_err().to_string().starts_with("grow"));
    assert_eq!(source.len_pages(), 8);
    source.grow(100).unwrap();
    fs.fail(Fault::new(OpKind::Sync));
    assert!(source.sync().is_err());
    assert_eq!(source.stats().syncs, 0);
}

#[test]
fn faults_work_on_files_of_the_system_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let fs = FaultFs::new(Arc::new(OsFs));
    let file = fs.create_unnamed(&path).unwrap();
    file.write_at(b"x", 0).unwrap();
    fs.fail(Fault::new(OpKind::Publish).error(ErrorKind::PermissionDenied));
    assert_eq!(kind(fs.publish(&*file, &path)), ErrorKind::PermissionDenied);
    assert!(!path.exists());
    fs.publish(&*file, &path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
}
