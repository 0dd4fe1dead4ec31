//! Cursors, and scans of tables that change.
#![forbid(unsafe_code)]

use super::{Backend, DbOf, assert_clean, bytes, fresh};

fn numbers<B: Backend>(count: u32) -> DbOf<B> {
    let db = fresh::<B>();
    db.update(|txn| {
        let table = txn.table("t")?;
        (0..count).try_for_each(|i| table.insert((i * 2).to_be_bytes(), bytes(20, i as u8)))
    })
    .unwrap();
    db
}

pub fn a_cursor_moves_both_ways_and_turns_at_the_ends<B: Backend>() {
    let db = numbers::<B>(500);
    db.checkpoint().unwrap();
    let txn = db.read().unwrap();
    let mut cursor = txn.table("t").unwrap().cursor();
    let key = |i: u32| i.to_be_bytes().to_vec();
    assert!(cursor.key().is_none() && cursor.current().unwrap().is_none());
    for i in 0..500 {
        assert_eq!(cursor.next().unwrap().unwrap(), (&key(i * 2)[..], &bytes(20, i as u8)[..]));
    }
    for _ in 0..3 {
        assert!(cursor.next().unwrap().is_none());
    }
    for i in (0..500).rev() {
        assert_eq!(cursor.prev().unwrap().unwrap().0, key(i * 2));
    }
    for _ in 0..3 {
        assert!(cursor.prev().unwrap().is_none());
    }
    assert_eq!(cursor.next().unwrap().unwrap().0, key(0));
    assert_eq!(cursor.last().unwrap().unwrap().0, key(998));
    assert_eq!(cursor.seek(key(501)).unwrap().unwrap().0, key(502));
    assert_eq!(cursor.prev().unwrap().unwrap().0, key(500));
    assert_eq!(cursor.current().unwrap().unwrap().0, key(500));
    assert!(cursor.seek_exact(key(301)).unwrap().is_none());
    assert!(cursor.key().is_none());
    assert_eq!(cursor.next().unwrap().unwrap().0, key(302));
    assert!(cursor.seek_exact(key(301)).unwrap().is_none());
    assert_eq!(cursor.prev().unwrap().unwrap().0, key(300));
    assert_eq!(cursor.seek_exact(key(302)).unwrap().unwrap(), bytes(20, 151));
    assert!(cursor.seek(key(999)).unwrap().is_none());
    assert_eq!(cursor.prev().unwrap().unwrap().0, key(998));
    assert_eq!(cursor.first().unwrap().unwrap().0, key(0));
    let kept = cursor.value().unwrap().unwrap();
    cursor.last().unwrap();
    assert_eq!(kept, bytes(20, 0));
    let mut fresh = txn.table("t").unwrap().cursor();
    assert_eq!(fresh.prev().unwrap().unwrap().0, key(998));
}

pub fn a_cursor_keeps_its_place_while_the_table_changes<B: Backend>() {
    let db = numbers::<B>(500);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let key = |i: u32| i.to_be_bytes().to_vec();
    let mut cursors: Vec<_> = (0..500u32)
        .map(|i| {
            let mut cursor = table.cursor();
            assert!(cursor.seek_exact(key(i * 2)).unwrap().is_some());
            cursor
        })
        .collect();
    // Pages split around some, merge around others; every third entry goes.
    for i in 0..500u32 {
        table.insert(key(i * 2 + 1), bytes(100, 7)).unwrap();
    }
    for i in (0..500u32).step_by(3) {
        assert!(table.remove(key(i * 2)).unwrap());
    }
    table.remove_range(key(401)..=key(499)).unwrap();
    for (i, cursor) in (0..500u32).zip(&mut cursors) {
        let at = i * 2;
        let gone = (401..500).contains(&at) || i % 3 == 0;
        assert_eq!(cursor.current().unwrap().is_none(), gone, "{i}");
        let first_after = (at + 1..1001).find(|k| !(401..500).contains(k) && (k % 2 == 1 || k / 2 % 3 != 0));
        let next = cursor.next().unwrap().map(|(key, _)| key.to_vec());
        assert_eq!(next, first_after.filter(|k| *k < 1000).map(key), "{i}");
    }
    drop(cursors);
    txn.commit().unwrap();
    assert_clean(&db);
}

pub fn a_cursor_changes_what_it_stands_on<B: Backend>() {
    let db = numbers::<B>(300);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let mut cursor = table.cursor_mut();
    assert!(!cursor.replace("x").unwrap() && !cursor.remove().unwrap());
    let mut at = 0u32;
    while let Some((key, _)) = cursor.next().unwrap() {
        assert_eq!(key, (at * 2).to_be_bytes());
        match at % 4 {
            0 => assert!(cursor.remove().unwrap() && !cursor.remove().unwrap()),
            1 => assert!(cursor.replace(bytes(110, 1)).unwrap()),
            2 => {
                // Behind where it stands: it is the next to come, but for the insertion going there.
                cursor.insert((at * 2 + 1).to_be_bytes(), bytes(3000, 2)).unwrap();
                assert_eq!(cursor.key().unwrap(), (at * 2 + 1).to_be_bytes());
                assert_eq!(cursor.current().unwrap().unwrap().1, bytes(3000, 2));
            }
            _ => assert_eq!(cursor.current().unwrap().unwrap().1, bytes(20, at as u8)),
        }
        at += 1;
    }
    assert_eq!(at, 300);
    drop(cursor);
    assert_eq!(table.len().unwrap(), 300);
    txn.commit().unwrap();
    assert_clean(&db);
    let txn = db.read().unwrap();
    let table = txn.table("t").unwrap();
    assert!(table.get(0u32.to_be_bytes()).unwrap().is_none());
    assert_eq!(table.get(2u32.to_be_bytes()).unwrap().unwrap(), bytes(110, 1));
    assert_eq!(table.get(5u32.to_be_bytes()).unwrap().unwrap(), bytes(3000, 2));
}

/// Changes beyond the entries already given are seen, and nothing comes twice or is skipped.
pub fn a_scan_goes_on_while_the_table_changes<B: Backend>() {
    let db = numbers::<B>(400);
    let txn = db.write().unwrap();
    let table = txn.table("t").unwrap();
    let mut scan = table.iter();
    for i in 0..200u32 {
        let (key, _) = scan.next().unwrap().unwrap();
        assert_eq!(key, (i * 2).to_be_bytes());
        table.remove(&key).unwrap();
        table.insert((i * 2 + 1).to_be_bytes(), bytes(60, 3)).unwrap();
        let (key, value) = scan.next().unwrap().unwrap();
        assert_eq!(key, (i * 2 + 1).to_be_bytes());
        assert_eq!(value, bytes(60, 3));
        table.insert((i * 2 + 1).to_be_bytes(), "changed").unwrap();
        assert_eq!(value, bytes(60, 3), "a value that was given has changed");
    }
    table.remove_range(500u32.to_be_bytes()..700u32.to_be_bytes()).unwrap();
    let rest: Vec<_> = scan.keys().map(Result::unwrap).collect();
    let wanted = (400..800u32).step_by(2).filter(|k| !(500..700).contains(k));
    assert!(rest.into_iter().eq(wanted.map(|k| k.to_be_bytes().to_vec())));
    // From the end.
    let mut scan = table.range(..400u32.to_be_bytes().to_vec()).rev();
    for i in (0..200u32).rev() {
        let (key, value) = scan.next().unwrap().unwrap();
        assert_eq!((key, &*value), ((i * 2 + 1).to_be_bytes().to_vec(), &b"changed"[..]));
        table.remove((i * 2 + 1).to_be_bytes()).unwrap();
    }
    assert!(scan.next().is_none());
    drop(scan);
    assert_eq!(table.len().unwrap(), 100);
    txn.commit().unwrap();
    assert_clean(&db);
}
