//! Threads: readers beside a writer, transactions that move, the writer's turn.
#![forbid(unsafe_code)]

use super::{Backend, assert_clean, bytes, fresh};
use bifold::access::ReadAccess;
use bifold::{
    Builder, Cursor, Db, Error, Keys, PageSource, ReadTxn, Savepoint, Scan, Table, Value, ValueReader,
};
use std::mem;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Every commit leaves each value equal to its number: whoever sees two numbers has seen two commits.
pub fn readers_in_many_threads_beside_a_writer<B: Backend>() {
    const KEYS: u32 = 150;
    const ROUNDS: u32 = 150;
    let db = fresh::<B>();
    let write = |round: u32| {
        let txn = db.write().unwrap();
        let table = txn.table("t").unwrap();
        for key in 0..KEYS {
            table.insert(key.to_be_bytes(), bytes(4 + round as usize % 150, round as u8)).unwrap();
        }
        if round.is_multiple_of(10) {
            table.insert("large", bytes(66_000, round as u8)).unwrap();
        }
        txn.commit().unwrap();
        if round % 16 == 7 {
            db.checkpoint().unwrap();
        }
    };
    write(0);
    let done = AtomicBool::new(false);
    let reads = AtomicU32::new(0);
    thread::scope(|s| {
        for reader in 0..4u32 {
            let (db, done, reads) = (&db, &done, &reads);
            s.spawn(move || {
                while !done.load(Ordering::Relaxed) || reads.load(Ordering::Relaxed) < 8 {
                    let txn = db.read().unwrap();
                    let round = txn.commit_number() as u32 - 1;
                    let wanted = bytes(4 + round as usize % 150, round as u8);
                    let table = txn.table("t").unwrap();
                    if reader % 2 == 0 {
                        let scan = table.range(..KEYS.to_be_bytes().to_vec());
                        assert!(scan.map(Result::unwrap).all(|(_, value)| value == wanted), "{round}");
                    } else {
                        for key in (0..KEYS).step_by(7) {
                            assert_eq!(table.get(key.to_be_bytes()).unwrap().unwrap(), wanted);
                        }
                    }
                    let large = table.get("large").unwrap().unwrap();
                    assert!(large == bytes(66_000, (round / 10 * 10) as u8));
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..ROUNDS {
            write(round);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_clean(&db);
}

fn is_send<T: Send>() {}
fn is_send_and_sync<T: Send + Sync>() {}

/// What may go to another thread, and what may be shared: a matter of types.
fn types_of_reading_are_send<S: PageSource>() {
    is_send_and_sync::<Db<S>>();
    is_send_and_sync::<Builder<S>>();
    is_send_and_sync::<ReadTxn<'_, S>>();
    is_send_and_sync::<Table<'_, S, ReadAccess<'_, S>>>();
    is_send_and_sync::<Value<'_, S>>();
    is_send::<ValueReader<'_, S>>();
    is_send::<Cursor<'_, S, ReadAccess<'_, S>>>();
    is_send::<Scan<'_, S, ReadAccess<'_, S>>>();
    is_send::<Keys<'_, S, ReadAccess<'_, S>>>();
    is_send_and_sync::<Savepoint>();
    is_send_and_sync::<Error>();
}

pub fn transactions_move_between_threads<B: Backend>() {
    types_of_reading_are_send::<B::Source>();
    let db = fresh::<B>();
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..500u32).try_for_each(|i| table.insert(i.to_be_bytes(), i.to_le_bytes()))
    })
    .unwrap();
    let txn = db.read().unwrap();
    let owned = db.read_owned().unwrap();
    thread::scope(|s| {
        let table = txn.table("t").unwrap();
        let guard = table.get(3u32.to_be_bytes()).unwrap().unwrap();
        let mut cursor = table.cursor();
        cursor.next().unwrap();
        let mut scan = table.iter();
        scan.next().unwrap().unwrap();
        // Guard, cursor, scan and handle go on elsewhere, while the transaction is shared.
        s.spawn(move || {
            assert_eq!(guard, 3u32.to_le_bytes());
            assert_eq!(cursor.next().unwrap().unwrap().0, 1u32.to_be_bytes());
            assert_eq!(scan.count(), 499);
            drop(guard);
        });
        s.spawn(|| assert_eq!(txn.table("t").unwrap().len().unwrap(), 500));
    });
    // A transaction ends on another thread than it began on.
    thread::scope(|s| s.spawn(move || drop(txn)).join().unwrap());
    let owned = thread::spawn(move || {
        assert_eq!(owned.table("t").unwrap().len().unwrap(), 500);
        owned
    });
    drop(owned.join().unwrap());
    db.checkpoint().unwrap();
    assert_eq!(db.stats().oldest_reader, 1);
    assert_clean(&db);
}

pub fn many_transactions_in_one_thread<B: Backend>() {
    let db = fresh::<B>();
    let mut readers = Vec::new();
    for i in 0..300u32 {
        db.update(|txn| txn.table("t")?.insert(i.to_be_bytes(), "")).unwrap();
        readers.push(db.read().unwrap());
        readers.push(db.read().unwrap());
    }
    let writer = db.write().unwrap();
    writer.table("t").unwrap().insert("more", "").unwrap();
    for (i, txn) in readers.iter().enumerate() {
        assert_eq!(txn.table("t").unwrap().len().unwrap(), i as u64 / 2 + 1);
    }
    writer.commit().unwrap();
    // They end in another order than they began.
    while readers.len() > 1 {
        readers.swap_remove(readers.len() / 3);
    }
    let left = &readers[0];
    assert_eq!(left.table("t").unwrap().len().unwrap(), left.commit_number());
}

pub fn write_waits_for_its_turn<B: Backend>() {
    let db = fresh::<B>();
    let held = db.write().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|s| {
        let waiter = s.spawn(|| {
            sender.send(()).unwrap();
            let txn = db.write().unwrap();
            // It sees what was committed while it waited.
            let seen = txn.find_table("t").unwrap().is_some();
            txn.table("t").unwrap().insert("b", "2").unwrap();
            txn.commit().unwrap();
            seen
        });
        receiver.recv().unwrap();
        held.table("t").unwrap().insert("a", "1").unwrap();
        held.commit().unwrap();
        assert!(waiter.join().unwrap());
    });
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 2);

    // Nobody is left out, and nobody's commit is lost.
    let barrier = Barrier::new(6);
    thread::scope(|s| {
        for writer in 0..6u32 {
            let (db, barrier) = (&db, &barrier);
            s.spawn(move || {
                barrier.wait();
                for i in 0..40u32 {
                    db.update(|txn| txn.table("u")?.insert((writer * 1000 + i).to_be_bytes(), "")).unwrap();
                }
            });
        }
    });
    assert_eq!(db.read().unwrap().table("u").unwrap().len().unwrap(), 240);
    assert_clean(&db);
}

pub fn waiting_for_the_writer_has_an_end<B: Backend>() {
    let db = fresh::<B>();
    let held = db.write().unwrap();
    thread::scope(|s| {
        s.spawn(|| {
            assert!(matches!(db.try_write(), Err(Error::WriterBusy { .. })));
            let patience = Duration::from_millis(5);
            let Err(Error::WriterBusy { waited }) = db.write_timeout(patience) else { panic!("got in") };
            assert!(waited >= patience);
        });
    });
    drop(held);
    thread::scope(|s| {
        s.spawn(|| db.try_write().unwrap().commit().unwrap());
    });
    db.write_timeout(Duration::MAX).unwrap().commit().unwrap();
    db.try_write().unwrap().commit().unwrap();
}

pub fn writing_twice_in_one_thread_is_an_error<B: Backend>() {
    let db = fresh::<B>();
    let txn = db.write().unwrap();
    assert!(matches!(db.write(), Err(Error::WriterHeldHere)));
    assert!(matches!(db.try_write(), Err(Error::WriterHeldHere)));
    assert!(matches!(db.write_timeout(Duration::from_secs(1)), Err(Error::WriterHeldHere)));
    assert!(matches!(db.checkpoint(), Err(Error::WriterHeldHere)));
    assert!(matches!(db.check(), Err(Error::WriterHeldHere)));
    txn.table("t").unwrap().insert("a", "1").unwrap();
    txn.commit().unwrap();
    db.write().unwrap().commit().unwrap();
    assert_clean(&db);
}

pub fn a_forgotten_write_transaction_keeps_the_writer<B: Backend>() {
    let fs = bifold_page_source::MemFs::new();
    let db = super::open::<B>(&fs);
    db.update(|txn| txn.table("t")?.insert("a", "1")).unwrap();
    let txn = db.write().unwrap();
    txn.table("t").unwrap().insert("b", "2").unwrap();
    mem::forget(txn);
    assert!(matches!(db.write(), Err(Error::WriterHeldHere)));
    thread::scope(|s| {
        s.spawn(|| {
            assert!(matches!(db.try_write(), Err(Error::WriterBusy { .. })));
            let patience = Duration::from_millis(2);
            assert!(matches!(db.write_timeout(patience), Err(Error::WriterBusy { .. })));
        });
    });
    // Reading goes on. Closing cannot checkpoint, so that the next opening recovers.
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 1);
    assert!(db.close().is_err());
    let db = super::open::<B>(&fs);
    assert_eq!(db.read().unwrap().table("t").unwrap().len().unwrap(), 1);
    db.update(|txn| txn.table("t")?.insert("b", "2")).unwrap();
    assert_clean(&db);
}

pub fn checks_run_beside_a_writer<B: Backend>() {
    let db = fresh::<B>();
    let done = AtomicBool::new(false);
    thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_clean(&db);
                let shape = db.shape().unwrap();
                assert!(shape.file_pages >= shape.free_pages + shape.pending_pages + shape.head_pages);
            }
        });
        for round in 0..120u32 {
            let txn = db.write().unwrap();
            let table = txn.table(&format!("t{}", round % 3)).unwrap();
            for i in 0..100u32 {
                table.insert((i * 37 + round).to_be_bytes(), bytes(50, 1)).unwrap();
            }
            table.insert("large", bytes(70_000, 1)).unwrap();
            if round % 9 == 8 {
                txn.drop_table("t1").unwrap();
            }
            txn.commit().unwrap();
            if round % 5 == 0 {
                db.checkpoint().unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_clean(&db);
}
