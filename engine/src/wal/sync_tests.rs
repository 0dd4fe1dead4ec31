//! Syncs under way, and the two methods of making the log durable.
#![forbid(unsafe_code)]

use super::sim::{Fault, Op, SimFile};
use super::tests::{Found, expect, find, must_add, new_log, payload};
use super::*;
use crate::error::{Error, Place};
use std::sync::Arc;
use std::time::Duration;

const KIB: u64 = 1024;
const METHODS: [SyncMethod; 2] = [SyncMethod::Fdatasync, SyncMethod::Dsync];

fn log(bytes: u64, method: SyncMethod) -> (Wal, Arc<SimFile>) {
    let (_, mut wal, file) = new_log(bytes, bytes);
    wal.set_sync_method(method);
    (wal, file)
}

fn end(wal: &mut Wal, pending: PendingSync) {
    let result = pending.run();
    wal.end_sync(pending, result, None).unwrap();
}

/// The last operations on a file, a letter each: written, synced, or a durable write's end.
fn last_ops(file: &SimFile, count: usize) -> String {
    let ops = file.ops();
    let letter = |op: &Op| match op {
        Op::Write { .. } => 'w',
        Op::Sync => 's',
        Op::SyncOfWrite => 'd',
        Op::Len(_) => 'l',
    };
    ops[ops.len() - count..].iter().map(letter).collect()
}

#[test]
fn the_log_and_its_syncs_go_from_thread_to_thread() {
    fn send<T: Send>() {}
    send::<Wal>();
    send::<PendingSync>();
}

#[test]
fn both_methods_write_the_same_bytes() {
    let files = METHODS.map(|method| {
        let (mut wal, file) = log(8 * KIB, method);
        for seq in 1..60 {
            let start = wal.position().unwrap();
            wal.retire_to(&start).unwrap();
            must_add(&mut wal, seq, seq as usize * 97 % 2000);
            wal.sync().unwrap();
        }
        let stats = wal.stats();
        assert_eq!(stats.syncs, 59);
        assert_eq!(stats.dsyncs > 40, method == SyncMethod::Dsync, "{stats:?}");
        assert!(stats.dsyncs < 59, "around the ring's end there are two pieces");
        (file.bytes(), stats.sectors, stats.writes)
    });
    assert!(files[0] == files[1]);
}

#[test]
fn a_durable_write_is_used_where_it_covers_all_and_lies_in_one_piece() {
    let (mut wal, file) = log(4 * KIB, SyncMethod::Dsync);
    let start = wal.position().unwrap();
    must_add(&mut wal, 1, 10);
    wal.sync().unwrap();
    assert_eq!(last_ops(&file, 2), "wd");
    must_add(&mut wal, 2, 10);
    wal.write().unwrap();
    must_add(&mut wal, 3, 10);
    wal.sync().unwrap();
    assert_eq!(last_ops(&file, 3), "wws", "the second was not durable");
    wal.sync().unwrap();
    assert_eq!(last_ops(&file, 3), "wws", "nothing is left to do");
    let next = wal.position().unwrap();
    wal.retire_to(&next).unwrap();
    must_add(&mut wal, 4, 1200);
    wal.sync().unwrap();
    assert_eq!(last_ops(&file, 2), "wd", "up to the ring's end");
    must_add(&mut wal, 5, 10);
    wal.sync().unwrap();
    assert_eq!(last_ops(&file, 2), "wd", "from its beginning");
    assert_eq!(find(&file.bytes(), &next).unwrap(), expect(&[(4, 1200), (5, 10)]));
    assert!(find(&file.bytes(), &start).is_err());
    let next = wal.position().unwrap();
    wal.retire_to(&next).unwrap();
    must_add(&mut wal, 6, 2700);
    wal.sync().unwrap();
    assert_eq!(last_ops(&file, 3), "wws", "around its end");
    assert_eq!((wal.stats().syncs, wal.stats().dsyncs), (5, 3));
}

#[test]
fn records_may_be_appended_while_a_sync_runs() {
    for method in METHODS {
        let (mut wal, file) = log(16 * KIB, method);
        let durably = method == SyncMethod::Dsync;
        let start = wal.position().unwrap();
        assert_eq!(wal.handed_over(), None);
        must_add(&mut wal, 1, 10);
        let first = wal.begin_sync().unwrap();
        assert_eq!(first.last_seq(), Some(1));
        assert_eq!(wal.handed_over(), (!durably).then_some(1));
        must_add(&mut wal, 2, 10);
        assert!(matches!(wal.begin_sync(), Err(Error::Internal(_))), "one at a time");
        wal.write().unwrap();
        assert_eq!(wal.handed_over(), (!durably).then_some(2), "the first may not be there");
        assert_eq!(wal.live_bytes(), 2 * 512);
        let killed = find(&file.bytes(), &start).unwrap();
        assert_eq!(killed.len(), if durably { 0 } else { 2 });
        must_add(&mut wal, 3, 10);
        end(&mut wal, first);
        assert_eq!(wal.handed_over(), Some(2));
        assert_eq!(
            find(&file.bytes(), &start).unwrap(),
            expect(&[(1, 10), (2, 10)]),
            "the third is in memory"
        );
        let second = wal.begin_sync().unwrap();
        assert_eq!(second.last_seq(), Some(3));
        end(&mut wal, second);
        assert_eq!(wal.handed_over(), Some(3));
        assert_eq!(last_ops(&file, 1), "s", "the second was not durable before it");
        assert_eq!(find(&file.bytes(), &start).unwrap().len(), 3);
    }
}

#[test]
fn a_checkpoint_may_begin_and_end_while_a_sync_runs() {
    for method in METHODS {
        let (mut wal, file) = log(8 * KIB, method);
        must_add(&mut wal, 1, 700);
        let pending = wal.begin_sync().unwrap();
        must_add(&mut wal, 2, 700);
        let start = wal.position().unwrap();
        wal.retire_to(&start).unwrap();
        // A commit that the checkpoint holds and the log does not.
        must_add(&mut wal, 4, 30);
        wal.write().unwrap();
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(4, 30)]));
        end(&mut wal, pending);
        assert_eq!((wal.live_bytes(), wal.handed_over()), (512, Some(4)));
        wal.sync().unwrap();
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(4, 30)]));
        must_add(&mut wal, 5, 3000);
        wal.sync().unwrap();
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(4, 30), (5, 3000)]));
    }
}

#[test]
fn a_record_that_a_checkpoint_left_in_the_buffer_is_still_the_last() {
    for method in METHODS {
        let (mut wal, file) = log(4 * KIB, method);
        must_add(&mut wal, 1, 10);
        let start = wal.position().unwrap();
        must_add(&mut wal, 2, 10);
        wal.retire_to(&start).unwrap();
        assert!(matches!(wal.append(4, &[]), Err(Error::Internal(_))), "the third is missing");
        let pending = wal.begin_sync().unwrap();
        assert_eq!(pending.last_seq(), Some(2));
        end(&mut wal, pending);
        assert_eq!(wal.handed_over(), Some(2));
        assert_eq!(find(&file.bytes(), &start).unwrap(), expect(&[(2, 10)]));
    }
}

#[test]
fn sectors_that_a_sync_is_yet_to_write_are_not_given_to_others() {
    let (mut wal, file) = log(4 * KIB, SyncMethod::Dsync);
    must_add(&mut wal, 1, 400);
    wal.sync().unwrap();
    must_add(&mut wal, 2, 900);
    let late = wal.begin_sync().unwrap();
    must_add(&mut wal, 3, 400);
    let start = wal.position().unwrap();
    wal.retire_to(&start).unwrap();
    // Of six sectors, the second and third are the late ones, and the fourth is behind them.
    assert_eq!(wal.live_bytes(), 3 * 512);
    must_add(&mut wal, 4, 400);
    must_add(&mut wal, 5, 400);
    let again = wal.position().unwrap();
    wal.retire_to(&again).unwrap();
    assert_eq!(wal.append(6, &[&payload(6, 900)]).unwrap(), Appended::Full);
    must_add(&mut wal, 6, 400);
    wal.write().unwrap();
    end(&mut wal, late);
    assert_eq!(wal.live_bytes(), 512, "given back at its end");
    must_add(&mut wal, 7, 1800);
    wal.sync().unwrap();
    assert_eq!(find(&file.bytes(), &again).unwrap(), expect(&[(6, 400), (7, 1800)]));
}

#[test]
fn after_a_sync_that_failed_late_nothing_is_taken() {
    for fault in [
        Fault::Write { after: 0, sectors: 0 },
        Fault::Write { after: 0, sectors: 1 },
        Fault::Sync { after: 0 },
    ] {
        let (mut wal, file) = log(4 * KIB, SyncMethod::Dsync);
        let start = wal.position().unwrap();
        must_add(&mut wal, 1, 900);
        let pending = wal.begin_sync().unwrap();
        file.set_fault(Some(fault));
        let result = pending.run();
        file.set_fault(None);
        must_add(&mut wal, 2, 10);
        wal.write().unwrap();
        assert!(matches!(wal.end_sync(pending, result, None), Err(Error::Io { .. })), "{fault:?}");
        assert_eq!(wal.handed_over(), None);
        let ops = file.op_count();
        assert!(matches!(wal.begin_sync(), Err(Error::Poisoned(_))));
        assert!(matches!(wal.write(), Err(Error::Poisoned(_))));
        assert!(matches!(wal.append(3, &[]), Err(Error::Poisoned(_))));
        assert_eq!(file.op_count(), ops);
        let found = find(&file.bytes(), &start).unwrap();
        assert!(found.is_empty() || found == expect(&[(1, 900), (2, 10)]), "{fault:?}");
    }
}

#[test]
fn a_lost_durable_write_is_reported() {
    let (mut wal, file) = log(8 * KIB, SyncMethod::Dsync);
    let start = wal.position().unwrap();
    let empty = file.bytes();
    for seq in 1..=4 {
        must_add(&mut wal, seq, 400);
        wal.sync().unwrap();
    }
    // In flight, and behind it one that is written: neither is durable.
    must_add(&mut wal, 5, 400);
    let pending = wal.begin_sync().unwrap();
    must_add(&mut wal, 6, 400);
    wal.write().unwrap();
    assert_eq!(find(&file.bytes(), &start).unwrap().len(), 4, "the fifth is the tail");
    end(&mut wal, pending);
    assert_eq!(find(&file.bytes(), &start).unwrap().len(), 6);
    for seq in 1..=4usize {
        let mut lost = file.bytes();
        let range = (seq + 1) * 512..(seq + 2) * 512;
        lost[range.clone()].copy_from_slice(&empty[range]);
        let found: crate::error::Result<Found> = find(&lost, &start);
        assert!(
            matches!(found, Err(Error::Corrupt { place: Place::Log(at), .. }) if at == seq as u64 + 1),
            "record {seq}"
        );
    }
}

#[test]
fn the_faster_method_is_found_on_the_first_syncs_that_had_the_choice() {
    for (dsync, expected) in [(5, "RWF_DSYNC"), (10, "fdatasync"), (90, "fdatasync")] {
        let (_, mut wal, file) = new_log(64 * KIB, 64 * KIB);
        let mut seq = 0;
        let mut sync = |wal: &mut Wal, plain: bool, timed: bool| {
            seq += 1;
            must_add(wal, seq, 10);
            if plain {
                wal.write().unwrap();
            }
            let before = wal.stats().dsyncs;
            let pending = wal.begin_sync().unwrap();
            let result = pending.run();
            let durably = last_ops(&file, 1) == "d";
            let took = timed.then(|| Duration::from_micros(if durably { dsync } else { 10 }));
            wal.end_sync(pending, result, took).unwrap();
            assert_eq!(wal.stats().dsyncs > before, durably);
            durably
        };
        for _ in 0..20 {
            assert!(!sync(&mut wal, false, false), "what is not timed takes no turn");
            assert!(!sync(&mut wal, true, true), "and neither does what had no choice");
        }
        for turn in 0..16 {
            assert_eq!(wal.sync_method(), None);
            assert_eq!(sync(&mut wal, false, true), turn % 2 == 1);
        }
        assert_eq!(wal.sync_method(), Some(expected));
        for _ in 0..5 {
            assert_eq!(sync(&mut wal, false, true), expected == "RWF_DSYNC");
        }
    }
}

#[test]
fn on_the_real_file_system_both_methods_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    for method in METHODS {
        let path = dir.path().join("db.log");
        let mut wal = Wal::create(&bifold_page_source::OsFs, &path, 0x1D, 8 * KIB, 8 * KIB).unwrap();
        wal.set_sync_method(method);
        let start = wal.position().unwrap();
        let records: Vec<_> = (1..12).map(|seq| (seq, seq as usize * 40)).collect();
        for &(seq, len) in &records {
            must_add(&mut wal, seq, len);
            let pending = wal.begin_sync().unwrap();
            let (pending, result) = std::thread::spawn(move || {
                let result = pending.run();
                (pending, result)
            })
            .join()
            .unwrap();
            wal.end_sync(pending, result, Some(Duration::from_micros(1))).unwrap();
        }
        drop(wal);
        assert_eq!(find(&std::fs::read(&path).unwrap(), &start).unwrap(), expect(&records));
    }
}
