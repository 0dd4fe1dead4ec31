//! The log without crashes: what is appended is found, room, growth, faults, and damage.
#![forbid(unsafe_code)]

use super::format::{Head, PAYLOAD, RECORD_HEADER, RecordHeader, SECTOR, open_sector, seal_sector};
use super::sim::{Fault, Op, SimFile, SimFs};
use super::*;
use crate::error::{Error, Place, Result};
use bifold_page_source::{FileSystem, OsFs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ID: u64 = 0x1D;
const KIB: u64 = 1024;

fn path() -> PathBuf {
    PathBuf::from("db.log")
}

pub(super) fn new_log(bytes: u64, max: u64) -> (SimFs, Wal, Arc<SimFile>) {
    let fs = SimFs::default();
    let wal = Wal::create(&fs, &path(), ID, bytes, max).unwrap();
    let file = fs.file(&path());
    (fs, wal, file)
}

pub(super) fn payload(seq: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| (seq as usize * 31 + i * 7 + (i >> 8)) as u8 | 1).collect()
}

fn add(wal: &mut Wal, seq: u64, len: usize) -> Appended {
    let bytes = payload(seq, len);
    let (a, b) = bytes.split_at(len / 3);
    wal.append(seq, &[a, &[], b]).unwrap()
}

pub(super) fn must_add(wal: &mut Wal, seq: u64, len: usize) {
    assert_eq!(add(wal, seq, len), Appended::Yes, "record {seq} of {len} bytes");
}

pub(super) type Found = Vec<(u64, Vec<u8>)>;

fn read(
    fs: &dyn FileSystem,
    path: &Path,
    start: &LogStart,
    read_only: bool,
) -> Result<(super::recover::Recovered, Found)> {
    let mut found = Vec::new();
    let recovered = Wal::recover(fs, path, start, 1 << 20, read_only, &mut |seq, bytes| {
        found.push((seq, bytes.to_vec()));
        Ok(())
    })?;
    assert_eq!(recovered.records, found.len() as u64);
    assert_eq!(recovered.last_seq, found.last().map(|&(seq, _)| seq));
    Ok((recovered, found))
}

pub(super) fn find(bytes: &[u8], start: &LogStart) -> Result<Found> {
    let fs = SimFs::with_file(&path(), bytes.to_vec());
    read(&fs, &path(), start, true).map(|(_, found)| found)
}

pub(super) fn expect(records: &[(u64, usize)]) -> Found {
    records.iter().map(|&(seq, len)| (seq, payload(seq, len))).collect()
}

/// What fits exactly into so many sectors.
fn full(sectors: usize) -> usize {
    sectors * PAYLOAD - RECORD_HEADER
}

#[test]
fn records_of_all_sizes_come_back() {
    let sizes = [0, 1, 471, 472, 473, full(1) - 1, full(1), full(1) + 1, full(3), 5000, 0, 0];
    for grouped in [false, true] {
        let (_, mut wal, file) = new_log(64 * KIB, 64 * KIB);
        let start = wal.position().unwrap();
        let mut records = Vec::new();
        for (index, &len) in sizes.iter().enumerate() {
            let seq = 40 + index as u64;
            must_add(&mut wal, seq, len);
            records.push((seq, len));
            if !grouped {
                wal.write().unwrap();
            }
        }
        wal.sync().unwrap();
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&records));
        let total: usize = sizes.iter().map(|len| len + RECORD_HEADER).sum();
        if grouped {
            assert_eq!(wal.stats().sectors as usize, total.div_ceil(PAYLOAD));
            assert_eq!(wal.stats().writes, 1);
        }
        assert_eq!(wal.live_bytes(), wal.stats().sectors * SECTOR as u64);
        assert_eq!(wal.stats().payload_bytes as usize, sizes.iter().sum());
    }
}

#[test]
fn a_log_on_the_real_file_system_works_and_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db.log");
    std::fs::write(&path, b"a stale file").unwrap();
    let mut wal = Wal::create(&OsFs, &path, ID, 8 * KIB, 64 * KIB).unwrap();
    let start = wal.position().unwrap();
    let records: Vec<_> = (1..30).map(|seq| (seq, seq as usize * 40)).collect();
    for &(seq, len) in &records {
        must_add(&mut wal, seq, len);
        wal.sync().unwrap();
    }
    drop(wal);
    for read_only in [true, false] {
        let (recovered, found) = read(&OsFs, &path, &start, read_only).unwrap();
        assert_eq!(found, expect(&records));
        let mut wal = recovered.wal;
        let error = wal.append(30, &[]).unwrap_err();
        assert!(matches!(error, Error::ReadOnly | Error::Internal(_)), "{error}");
        if !read_only {
            let start = wal.position().unwrap();
            wal.retire_to(&start).unwrap();
            must_add(&mut wal, 30, 100);
            wal.sync().unwrap();
            assert_eq!(read(&OsFs, &path, &start, true).unwrap().1, expect(&[(30, 100)]));
        }
    }
    Wal::remove(&OsFs, &path).unwrap();
    Wal::remove(&OsFs, &path).unwrap();
    assert!(matches!(read(&OsFs, &path, &start, true), Err(Error::LogMissing(_))));
}

#[test]
fn the_name_is_durable_after_the_file_and_a_stale_file_is_removed_first() {
    let fs = SimFs::with_file(&path(), vec![7; 5000]);
    Wal::create(&fs, &path(), ID, 4 * KIB, 4 * KIB).unwrap();
    assert_eq!(*fs.calls.lock(), ["unlink", "create", "sync_dir"]);
    let ops = fs.file(&path()).ops();
    let heads = ops.iter().filter(|op| matches!(op, Op::Write { offset, .. } if *offset < 1024)).count();
    assert_eq!((ops.len(), heads), (5, 2), "length, sectors, copy, head, sync");
    let bytes = fs.file(&path()).bytes();
    for number in 2..8 {
        let sector = open_sector(bytes[number * SECTOR..].first_chunk().unwrap(), ID, number as u64).unwrap();
        assert_eq!(sector.lap, 0);
    }
}

#[test]
fn the_ring_is_reused_lap_after_lap() {
    let (_, mut wal, file) = new_log(4 * KIB, 4 * KIB);
    let ring = wal.capacity() as usize / SECTOR;
    let mut seq = 0;
    let mut wraps = 0;
    for round in 0..300 {
        let start = wal.position().unwrap();
        wal.retire_to(&start).unwrap();
        assert_eq!(wal.live_bytes(), 0);
        let mut records = Vec::new();
        // All sizes up to a full ring, so that records lie around the end in every way.
        for len in [round * 13 % 700, round * 29 % full(ring - 2)] {
            seq += 1;
            if add(&mut wal, seq, len) == Appended::Full {
                seq -= 1;
                continue;
            }
            wal.sync().unwrap();
            records.push((seq, len));
        }
        wraps += u32::from(wal.position().unwrap().lap > start.lap);
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&records), "round {round}");
    }
    assert!(wraps > 50 && wal.stats().growths == 0);
}

#[test]
fn a_ring_may_be_filled_to_the_last_sector_and_then_is_full() {
    let (_, mut wal, file) = new_log(4 * KIB, 4 * KIB);
    let sectors = wal.capacity() as usize / SECTOR;
    assert_eq!(wal.max_record_len() as usize, full(sectors));
    for skew in 0..sectors as u64 {
        let start = wal.position().unwrap();
        wal.retire_to(&start).unwrap();
        assert_eq!(add(&mut wal, 2 * skew + 1, full(sectors) + 1), Appended::Full);
        assert!(!wal.fits(full(sectors) as u64 + 1) && wal.fits(full(sectors) as u64));
        must_add(&mut wal, 2 * skew + 1, full(sectors));
        wal.sync().unwrap();
        let before = (wal.stats(), file.bytes());
        assert_eq!(add(&mut wal, 2 * skew + 2, 0), Appended::Full);
        assert!(!wal.fits(0));
        assert_eq!((wal.stats(), file.bytes()), before, "a full log is left alone");
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(2 * skew + 1, full(sectors))]));
        let start = wal.position().unwrap();
        wal.retire_to(&start).unwrap();
        must_add(&mut wal, 2 * skew + 2, 0);
        wal.sync().unwrap();
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(2 * skew + 2, 0)]));
    }
    assert!(!wal.fits(u64::MAX));
}

#[test]
fn a_ring_with_much_alive_grows_at_its_end_up_to_its_limit() {
    let (_, mut wal, file) = new_log(4 * KIB, 32 * KIB);
    let start = wal.position().unwrap();
    let mut records = Vec::new();
    for seq in 1.. {
        if add(&mut wal, seq, 100) == Appended::Full {
            break;
        }
        records.push((seq, 100));
        wal.sync().unwrap();
    }
    assert_eq!((wal.stats().growths, wal.capacity()), (3, 31 * KIB));
    assert_eq!(records.len(), 62, "each sync takes a sector, and all sectors were used");
    assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&records));
    // A record that needs more than twice the ring makes it grow at once.
    let (_, mut wal, file) = new_log(4 * KIB, 64 * KIB);
    must_add(&mut wal, 1, 10);
    wal.write().unwrap();
    let start = wal.position().unwrap();
    must_add(&mut wal, 2, 30_000);
    wal.sync().unwrap();
    assert_eq!((wal.stats().growths, wal.capacity()), (1, 31 * KIB));
    assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(2, 30_000)]));
}

#[test]
fn a_ring_with_little_alive_wraps_instead() {
    let (_, mut wal, _) = new_log(16 * KIB, 64 * KIB);
    for seq in 1..500 {
        must_add(&mut wal, seq, 1000);
        wal.sync().unwrap();
        if seq % 3 == 0 {
            let start = wal.position().unwrap();
            wal.retire_to(&start).unwrap();
        }
    }
    assert_eq!(wal.stats().growths, 0);
}

/// Writes all pieces that the log wants now; how many there were.
fn lengthen(wal: &mut Wal) -> usize {
    let mut pieces = 0;
    while let Some(piece) = wal.begin_piece() {
        assert!(!wal.wants_piece(), "one at a time");
        let result = piece.run();
        wal.end_piece(&piece, result).unwrap();
        pieces += 1;
    }
    pieces
}

#[test]
fn a_ring_lengthened_ahead_grows_by_its_heads_alone() {
    let (_, mut wal, file) = new_log(8 * KIB, 16 * KIB);
    let start = wal.position().unwrap();
    let mut records = Vec::new();
    let mut ready = None;
    for seq in 1..=20 {
        must_add(&mut wal, seq, 100);
        records.push((seq, 100));
        wal.sync().unwrap();
        let pieces = lengthen(&mut wal);
        if pieces > 0 {
            assert_eq!((seq, pieces, ready), (10, 4, None), "from three quarters on, all of it");
            ready = Some(file.bytes().len());
        }
        // From then on the disk need have no more room.
        file.set_room(if ready.is_some() { 0 } else { 1 << 20 });
    }
    assert_eq!((ready, wal.stats().growths), (Some(16 << 10), 1));
    assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&records));
}

#[test]
fn pieces_are_refused_fail_and_are_waited_for() {
    let (_, mut wal, file) = new_log(4 * KIB, 8 * KIB);
    must_add(&mut wal, 1, 2000);
    wal.sync().unwrap();
    file.set_room(4 * KIB);
    let piece = wal.begin_piece().unwrap();
    assert!(wal.waits_for_piece(900) && !wal.waits_for_piece(10));
    assert!(matches!(wal.append(2, &[&[1; 900]]), Err(Error::Internal(_))));
    let refused = piece.run();
    assert!(matches!(refused, Err(Error::DiskFull { wanted: 4096 })));
    wal.end_piece(&piece, refused).unwrap();
    assert!(!wal.wants_piece() && !wal.waits_for_piece(900), "not until the ring has grown");
    file.set_room(1 << 20);
    must_add(&mut wal, 2, 900);
    assert_eq!(wal.stats().growths, 1);
    assert!(!wal.wants_piece(), "it grows no further");

    let (_, mut wal, file) = new_log(4 * KIB, 8 * KIB);
    must_add(&mut wal, 1, 2000);
    wal.sync().unwrap();
    let piece = wal.begin_piece().unwrap();
    file.set_fault(Some(Fault::Sync { after: 0 }));
    let failed = piece.run();
    assert!(matches!(wal.end_piece(&piece, failed), Err(Error::Io { op: "sync", .. })));
    assert!(matches!(wal.append(2, &[]), Err(Error::Poisoned(_))));
    let (_, mut other, _) = new_log(4 * KIB, 8 * KIB);
    other.log_id += 1;
    other.end_piece(&piece, Err(Error::Internal("another log's"))).unwrap();
}

#[test]
fn a_full_disk_is_met_before_anything_is_written() {
    let (_, mut wal, file) = new_log(4 * KIB, 64 * KIB);
    file.set_room(4 * KIB);
    let start = wal.position().unwrap();
    must_add(&mut wal, 1, 1000);
    let error = wal.append(2, &[&[1; 10_000]]).unwrap_err();
    assert!(matches!(error, Error::DiskFull { wanted: 12_288 }), "{error}");
    // What fits without growth still does, around the ring's end.
    must_add(&mut wal, 2, 1000);
    wal.sync().unwrap();
    assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(1, 1000), (2, 1000)]));
    file.set_room(64 * KIB);
    let next = wal.position().unwrap();
    wal.retire_to(&next).unwrap();
    must_add(&mut wal, 3, 10_000);
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_taken() {
    for fault in [
        Fault::Write { after: 0, sectors: 0 },
        Fault::Write { after: 0, sectors: 2 },
        Fault::Sync { after: 0 },
    ] {
        let (_, mut wal, file) = new_log(4 * KIB, 4 * KIB);
        let start = wal.position().unwrap();
        must_add(&mut wal, 1, 1500);
        file.set_fault(Some(fault));
        assert!(matches!(wal.sync(), Err(Error::Io { .. })), "{fault:?}");
        file.set_fault(None);
        let writes = file.op_count();
        assert!(matches!(wal.sync(), Err(Error::Poisoned(_))));
        assert!(matches!(wal.write(), Err(Error::Poisoned(_))));
        assert!(matches!(wal.position(), Err(Error::Poisoned(_))));
        assert!(matches!(wal.append(2, &[]), Err(Error::Poisoned(_))));
        assert_eq!(file.op_count(), writes);
        let found = find(&file.bytes(), &start).unwrap();
        assert!(found.is_empty() || found == expect(&[(1, 1500)]));
    }
    // A write that fails in the midst of growth.
    for after in 0..3 {
        let (_, mut wal, file) = new_log(4 * KIB, 8 * KIB);
        let start = wal.position().unwrap();
        must_add(&mut wal, 1, 2000);
        wal.sync().unwrap();
        file.set_fault(Some(Fault::Write { after, sectors: 0 }));
        assert!(matches!(wal.append(2, &[&[1; 900]]), Err(Error::Io { .. })));
        file.set_fault(None);
        assert!(matches!(wal.append(2, &[]), Err(Error::Poisoned(_))));
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(1, 2000)]));
    }
}

#[test]
fn misuse_is_an_error() {
    let (_, mut wal, _) = new_log(4 * KIB, 4 * KIB);
    must_add(&mut wal, 7, 10);
    assert!(matches!(wal.append(7, &[]), Err(Error::Internal(_))));
    assert!(matches!(wal.append(9, &[]), Err(Error::Internal(_))));
    let good = wal.position().unwrap();
    for bad in [
        LogStart { log_id: ID + 1, ..good },
        LogStart { sector: good.sector + 1, ..good },
        LogStart { lap: 0, ..good },
        LogStart { lap: 2, ..good },
        LogStart { sector: 8, ..good },
    ] {
        assert!(matches!(wal.retire_to(&bad), Err(Error::Internal(_))), "{bad:?}");
    }
    wal.retire_to(&good).unwrap();
}

#[test]
fn a_missing_log_another_log_and_a_later_version_are_told_apart() {
    let (fs, mut wal, file) = new_log(4 * KIB, 4 * KIB);
    let start = wal.position().unwrap();
    let other = LogStart { log_id: ID + 1, ..start };
    assert!(matches!(read(&fs, &path(), &other, true), Err(Error::LogMissing(_))));
    assert!(matches!(read(&fs, &PathBuf::from("x"), &start, true), Err(Error::LogMissing(_))));
    let mut bytes = file.bytes();
    for (version, known) in [(0, false), (1, true), (2, true), (3, false)] {
        let other = Head { version, log_id: ID, end: 8 };
        bytes[..SECTOR].copy_from_slice(&other.encode(0));
        match find(&bytes, &start) {
            Ok(_) => assert!(known, "{version}"),
            Err(Error::UnsupportedVersion(found)) => assert!(!known && found == version, "{version}"),
            Err(error) => panic!("{version}: {error}"),
        }
    }
    for lost in
        [LogStart { sector: 8, ..start }, LogStart { sector: 1, ..start }, LogStart { lap: 0, ..start }]
    {
        assert!(matches!(find(&file.bytes(), &lost), Err(Error::Corrupt { .. })), "{lost:?}");
    }
}

/// A log of 14 sectors around whose end six live records lie in eight sectors; the tail and the sectors behind it.
fn damaged_subject() -> (Vec<u8>, LogStart, Found) {
    let (_, mut wal, file) = new_log(8 * KIB, 8 * KIB);
    for seq in 1..=9 {
        must_add(&mut wal, seq, 400);
        wal.sync().unwrap();
    }
    let start = wal.position().unwrap();
    wal.retire_to(&start).unwrap();
    let records = [(10, 300), (11, 0), (12, 900), (13, 460), (14, 700), (15, 10)];
    for &(seq, len) in &records {
        must_add(&mut wal, seq, len);
        wal.sync().unwrap();
    }
    assert_eq!((start.sector, wal.position().unwrap().sector, start.lap), (11, 5, 1));
    (file.bytes(), start, expect(&records))
}

/// The sectors that recovery of [`damaged_subject`] reads in the ring: live ones and the tail.
fn needed(sector: usize) -> bool {
    sector >= 11 || (2..=5).contains(&sector)
}

#[test]
fn a_flipped_bit_is_reported_or_harmless() {
    let (bytes, start, records) = damaged_subject();
    assert_eq!(find(&bytes, &start).unwrap(), records);
    for bit in (0..bytes.len() * 8).step_by(37) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let sector = bit / 8 / SECTOR;
        match find(&damaged, &start) {
            Ok(found) => assert!(found == records && !needed(sector), "bit {bit} of sector {sector}"),
            Err(Error::Corrupt { place, .. }) => assert_eq!(place, Place::Log(sector as u64)),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn zeroed_and_swapped_sectors_and_cut_files_are_reported_or_harmless() {
    let (bytes, start, records) = damaged_subject();
    let sectors = bytes.len() / SECTOR;
    let mut cases = Vec::new();
    for sector in 0..sectors {
        let mut zeroed = bytes.clone();
        zeroed[sector * SECTOR..][..SECTOR].fill(0);
        cases.push((sector, zeroed, format!("sector {sector} zeroed")));
        for other in 0..sectors {
            let mut copied = bytes.clone();
            copied.copy_within(other * SECTOR..(other + 1) * SECTOR, sector * SECTOR);
            if copied != bytes {
                cases.push((sector, copied, format!("sector {other} written over {sector}")));
            }
        }
    }
    for (sector, damaged, what) in cases {
        match find(&damaged, &start) {
            Ok(found) => assert!(found == records && !needed(sector), "{what}"),
            Err(Error::Corrupt { place, .. }) => assert_eq!(place, Place::Log(sector as u64), "{what}"),
            Err(other) => panic!("{other}"),
        }
    }
    for len in (0..bytes.len()).step_by(100) {
        assert!(matches!(find(&bytes[..len], &start), Err(Error::Corrupt { .. })), "cut to {len} bytes");
    }
    let mut headless = bytes.clone();
    headless[..2 * SECTOR].fill(0);
    assert!(matches!(find(&headless, &start), Err(Error::Corrupt { place: Place::Log(0), .. })));
}

#[test]
fn a_lost_write_of_a_durable_record_is_reported() {
    let (_, mut wal, file) = new_log(8 * KIB, 8 * KIB);
    let start = wal.position().unwrap();
    let empty = file.bytes();
    for seq in 1..=5 {
        must_add(&mut wal, seq, 400);
        wal.sync().unwrap();
    }
    must_add(&mut wal, 6, 400);
    wal.write().unwrap();
    must_add(&mut wal, 7, 400);
    wal.write().unwrap();
    for seq in 1..=7usize {
        let mut lost = file.bytes();
        let range = (seq + 1) * SECTOR..(seq + 2) * SECTOR;
        lost[range.clone()].copy_from_slice(&empty[range]);
        match find(&lost, &start) {
            // Records 6 and 7 were not synced: their loss is a tail.
            Ok(found) => assert!(seq >= 6 && found.len() == seq - 1, "record {seq}"),
            Err(Error::Corrupt { place, .. }) => {
                assert!(seq <= 5);
                assert_eq!(place, Place::Log(seq as u64 + 1));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_wrong_chain_and_what_applying_says_are_reported() {
    let (bytes, start, _) = damaged_subject();
    let wrong = LogStart { chain: start.chain ^ 1, ..start };
    assert!(matches!(find(&bytes, &wrong), Err(Error::Corrupt { place: Place::Log(11), .. })));
    let fs = SimFs::with_file(&path(), bytes);
    let error = Wal::recover(&fs, &path(), &start, 0, true, &mut |seq, _| {
        if seq == 12 { Err(Error::NotInOrder) } else { Ok(()) }
    });
    assert!(matches!(error, Err(Error::NotInOrder)));
}

#[test]
fn a_damaged_head_is_written_again_unless_reading_only() {
    let (bytes, start, records) = damaged_subject();
    for head in [0, SECTOR] {
        let mut damaged = bytes.clone();
        damaged[head + 33] ^= 1;
        for read_only in [true, false] {
            let fs = SimFs::with_file(&path(), damaged.clone());
            assert_eq!(read(&fs, &path(), &start, read_only).unwrap().1, records);
            assert_eq!(fs.file(&path()).bytes(), if read_only { damaged.clone() } else { bytes.clone() });
        }
    }
}

#[test]
fn a_sector_of_a_later_lap_is_damage() {
    let (_, mut wal, file) = new_log(4 * KIB, 4 * KIB);
    let start = wal.position().unwrap();
    for seq in 1..=8 {
        let position = wal.position().unwrap();
        wal.retire_to(&position).unwrap();
        must_add(&mut wal, seq, 400);
        wal.sync().unwrap();
    }
    match find(&file.bytes(), &start) {
        Err(Error::Corrupt { place: Place::Log(2), what }) => assert!(what.contains("later lap"), "{what}"),
        other => panic!("{other:?}"),
    }
}

/// The bytes of a log whose first sectors hold `parts`.
fn crafted(parts: &[&[u8]]) -> (Vec<u8>, LogStart) {
    let (_, mut wal, file) = new_log(4 * KIB, 4 * KIB);
    let start = wal.position().unwrap();
    let mut bytes = file.bytes();
    for (index, part) in parts.iter().enumerate() {
        let mut sector = [0; SECTOR];
        sector[16..16 + part.len()].copy_from_slice(part);
        let number = 2 + index;
        seal_sector(&mut sector, ID, number as u64, 1, part.len(), 0);
        bytes[number * SECTOR..][..SECTOR].copy_from_slice(&sector);
    }
    (bytes, start)
}

#[test]
fn whole_sectors_with_impossible_records_are_reported() {
    let (_, start) = crafted(&[]);
    let record = |len: u32, seq, chain: Option<u64>, payload: &[u8]| {
        let mut header = RecordHeader::commit(len, seq, start.chain, &[payload]);
        header.chain = chain.unwrap_or(header.chain);
        [&header.encode()[..], payload].concat()
    };
    let good = record(3, 1, None, b"abc");
    let skipping = {
        let before = RecordHeader::decode(good.first_chunk().unwrap()).chain;
        let next = RecordHeader::commit(0, 3, before, &[]);
        [&good[..], &next.encode()].concat()
    };
    let mut unknown = RecordHeader { len: 0, kind: 9, seq: 1, chain: 0 };
    unknown.chain = unknown.chain_after(start.chain, &[]);
    let broken_off = &good[..20];
    assert_eq!(find(&crafted(&[&good]).0, &start).unwrap(), [(1, b"abc".to_vec())]);
    for (parts, expected) in [
        (&[broken_off][..], "breaks off"),
        (&[broken_off, &good[20..]], "breaks off"),
        (&[&record(u32::MAX, 1, None, b"")], "longer than the log"),
        (&[&record(3, 1, Some(7), b"abc")], "does not continue"),
        (&[&skipping], "does not follow"),
    ] {
        match find(&crafted(parts).0, &start) {
            Err(Error::Corrupt { place: Place::Log(2), what }) => assert!(what.contains(expected), "{what}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let later = find(&crafted(&[&unknown.encode()]).0, &start);
    assert!(matches!(later, Err(Error::UnsupportedFeature(0x200))), "{later:?}");
}

#[test]
fn recovery_does_not_believe_the_page_cache() {
    let (fs, mut wal, file) = new_log(4 * KIB, 4 * KIB);
    let start = wal.position().unwrap();
    must_add(&mut wal, 1, 100);
    wal.sync().unwrap();
    let disk = file.bytes();
    must_add(&mut wal, 2, 100);
    file.set_fault(Some(Fault::Sync { after: 0 }));
    assert!(wal.sync().is_err());
    drop(fs);
    for read_only in [true, false] {
        let fs = SimFs::with_file(&path(), disk.clone());
        fs.file(&path()).set_cache(file.bytes());
        assert_eq!(read(&fs, &path(), &start, read_only).unwrap().1, expect(&[(1, 100)]));
    }
    // A log that cannot be synced is not read at all.
    let fs = SimFs::with_file(&path(), disk);
    fs.file(&path()).set_fault(Some(Fault::Sync { after: 0 }));
    assert!(matches!(read(&fs, &path(), &start, true), Err(Error::NeedsRecovery(_))));
    assert!(matches!(read(&fs, &path(), &start, false), Err(Error::Io { .. })));
}

#[test]
fn a_log_that_cannot_be_made_leaves_no_file() {
    for (room, fault) in [(Some(4000), None), (None, Some(Fault::Sync { after: 0 }))] {
        let mut fs = SimFs::default();
        (fs.room, fs.fault) = (room, fault);
        let error = Wal::create(&fs, &path(), ID, 4 * KIB, 4 * KIB).unwrap_err();
        assert_eq!(matches!(error, Error::DiskFull { wanted: 4096 }), room.is_some(), "{error}");
        assert_eq!(*fs.calls.lock(), ["create", "unlink"]);
    }
}
