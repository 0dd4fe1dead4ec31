//! A database and the maps it should agree with.
#![forbid(unsafe_code)]

use super::cursor::Model;
use super::ops::{Key, Leave, Op, Step};
use crate::suite::{Backend, DbOf, PATH, assert_clean, builder, copy, is_one_file};
use bifold::{CursorMut, Error, PageSource, ReadTxn, Savepoint, Table, TableMut, Value, WriteTxn};
use bifold_page_source::MemFs;
use std::collections::BTreeMap;
use std::ops::Bound;

pub type Map = BTreeMap<Key, Vec<u8>>;
pub type Tables = BTreeMap<String, Map>;

/// Everything one case works with.
pub struct World<B: Backend> {
    fs: MemFs,
    page_size: usize,
    committed: Tables,
    snapshots: Vec<(ReadTxn<'static, B::Source>, Tables)>,
}

pub fn name(table: u8) -> String {
    format!("table {table}")
}

impl<B: Backend> World<B> {
    pub fn new(page_size: usize) -> Self {
        Self { fs: MemFs::new(), page_size, committed: Tables::new(), snapshots: Vec::new() }
    }

    fn open(&self) -> DbOf<B> {
        // Bounds so small that checkpoints come by themselves, and some transactions do not fit the log.
        let builder = builder::<B>(&self.fs).page_size(self.page_size);
        builder.log_size(64 << 10).delta_size(8 << 20).open(PATH).unwrap()
    }

    pub fn run(&mut self, steps: &[Step]) {
        let mut db = self.open();
        for step in steps {
            match step {
                Step::Txn(ops, commit) => self.transaction(&db, ops, *commit),
                Step::Checkpoint => db.checkpoint().unwrap(),
                Step::Snapshot => {
                    let txn = db.read_owned().unwrap();
                    self.snapshots.push((txn, self.committed.clone()));
                }
                Step::DropSnapshot(n) if !self.snapshots.is_empty() => {
                    let at = usize::from(*n) % self.snapshots.len();
                    self.snapshots.swap_remove(at);
                }
                Step::VerifySnapshot(n) if !self.snapshots.is_empty() => {
                    let (txn, tables) = &self.snapshots[usize::from(*n) % self.snapshots.len()];
                    verify_all(txn, tables);
                }
                Step::DropSnapshot(_) | Step::VerifySnapshot(_) => {}
                Step::Check => self.verify(&db),
                Step::Leave(how) => db = self.leave(db, *how),
            }
        }
        self.verify(&db);
        let db = self.leave(db, Leave::Close);
        self.verify(&db);
    }

    fn verify(&self, db: &DbOf<B>) {
        verify_all(&db.read().unwrap(), &self.committed);
        for (txn, tables) in &self.snapshots {
            verify_all(txn, tables);
        }
        assert_clean(db);
        let shape = db.shape().unwrap();
        let entries: Vec<u64> = shape.tables.iter().map(|table| table.entries).collect();
        assert_eq!(entries, self.committed.values().map(|map| map.len() as u64).collect::<Vec<_>>());
    }

    fn leave(&mut self, db: DbOf<B>, how: Leave) -> DbOf<B> {
        match how {
            Leave::Close => {
                self.snapshots.clear();
                db.close().unwrap();
                assert!(is_one_file(&self.fs), "{:?}", self.fs.paths());
            }
            Leave::Drop => {
                self.snapshots.clear();
                drop(db);
                assert!(is_one_file(&self.fs), "{:?}", self.fs.paths());
            }
            Leave::Crash | Leave::CrashAndLook => {
                let crashed = copy(&self.fs);
                self.snapshots.clear();
                drop(db);
                self.fs = crashed;
                if how == Leave::CrashAndLook {
                    let before: Vec<_> =
                        self.fs.paths().iter().map(|p| self.fs.read_file(p).unwrap()).collect();
                    let db = builder::<B>(&self.fs).read_only().open(PATH).unwrap();
                    self.verify(&db);
                    drop(db);
                    let after: Vec<_> =
                        self.fs.paths().iter().map(|p| self.fs.read_file(p).unwrap()).collect();
                    assert!(before == after, "reading only wrote");
                }
            }
        }
        self.open()
    }

    fn transaction(&mut self, db: &DbOf<B>, ops: &[Op], commit: bool) {
        let txn = db.write().unwrap();
        let mut open = Open::new(&txn, self.committed.clone());
        for op in ops {
            open.apply(op);
        }
        let tables = open.finish();
        if commit {
            txn.commit().unwrap();
            self.committed = tables;
        }
    }
}

/// A write transaction, and what must be seen in it.
struct Open<'t, S: PageSource> {
    txn: &'t WriteTxn<'t, S>,
    tables: Tables,
    savepoints: Vec<(Savepoint, Tables)>,
    held: Vec<(Value<'t, S>, Vec<u8>)>,
    cursors: [Option<(String, CursorMut<'t, S>, Model)>; 3],
}

impl<'t, S: PageSource> Open<'t, S> {
    fn new(txn: &'t WriteTxn<'t, S>, tables: Tables) -> Self {
        Self { txn, tables, savepoints: Vec::new(), held: Vec::new(), cursors: [None, None, None] }
    }

    /// The table and its map.
    fn table(&mut self, table: u8) -> (TableMut<'t, S>, &mut Map) {
        let name = name(table);
        let handle = self.txn.table(&name).unwrap();
        (handle, self.tables.entry(name).or_default())
    }

    fn finish(mut self) -> Tables {
        let names: Vec<String> = self.tables.keys().cloned().collect();
        assert_eq!(self.txn.tables().unwrap(), names);
        for name in names {
            verify(&self.txn.table(&name).unwrap(), &self.tables[&name]);
        }
        self.verify_held();
        self.cursors = [None, None, None];
        self.tables
    }

    fn verify_held(&self) {
        for (value, bytes) in &self.held {
            assert!(**value == **bytes, "a held value has changed");
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Insert(..) | Op::InsertMany(..) | Op::Replace(..) | Op::InsertNew(..) | Op::Append(..) => {
                self.put(op);
            }
            Op::Remove(..) | Op::Take(..) | Op::RemoveMany(..) | Op::RemoveRange(..) | Op::Clear(..) => {
                self.remove(op);
            }
            Op::PopFirst(..) | Op::PopLast(..) => self.pop(op),
            Op::Cursor(t, cursor, moves) => self.cursor(*t, usize::from(*cursor), moves),
            Op::Read(t, a, b, key) => {
                let (table, map) = self.table(*t);
                read(&table, map, (a, b), key);
            }
            Op::Hold(t, key) => {
                let (table, map) = self.table(*t);
                let (value, wanted) = (table.get(key).unwrap(), map.get(key).cloned());
                assert_eq!(value.is_some(), wanted.is_some());
                self.held.extend(value.zip(wanted));
            }
            Op::Drop(t) => {
                let name = name(*t);
                assert_eq!(self.txn.drop_table(&name).unwrap(), self.tables.remove(&name).is_some());
                for cursor in &mut self.cursors {
                    cursor.take_if(|(table, ..)| *table == name);
                }
            }
            Op::Rename(t, new) => self.rename(&name(*t), &name(*new)),
            Op::Savepoint => {
                self.savepoints.push((self.txn.savepoint().unwrap(), self.tables.clone()));
            }
            Op::Rollback(n) => self.rollback(*n),
            Op::Verify(t) => {
                self.verify_held();
                let (table, map) = self.table(*t);
                verify(&table, map);
            }
        }
    }

    fn rename(&mut self, table: &str, new: &str) {
        let renamed = self.txn.rename_table(table, new);
        if !self.tables.contains_key(table) {
            assert!(matches!(renamed, Err(Error::NoSuchTable(name)) if &*name == table));
        } else if self.tables.contains_key(new) {
            assert!(matches!(renamed, Err(Error::TableExists(name)) if &*name == new));
        } else {
            renamed.unwrap();
            let map = self.tables.remove(table).unwrap();
            self.tables.insert(new.to_owned(), map);
            for cursor in &mut self.cursors {
                cursor.take_if(|(of, ..)| *of == table);
            }
        }
    }

    fn rollback(&mut self, n: u8) {
        if self.savepoints.is_empty() {
            return;
        }
        let at = usize::from(n) % self.savepoints.len();
        let later = self.savepoints.split_off(at + 1);
        let (savepoint, tables) = &self.savepoints[at];
        self.txn.rollback_to(savepoint).unwrap();
        self.tables = tables.clone();
        for (savepoint, _) in later {
            assert!(self.txn.rollback_to(&savepoint).is_err(), "a later savepoint is still valid");
        }
        // A cursor's handle may be of a table opened since.
        self.cursors = [None, None, None];
    }

    fn put(&mut self, op: &Op) {
        match op {
            Op::Insert(t, key, value) => {
                let (table, map) = self.table(*t);
                table.insert(key, value.bytes()).unwrap();
                map.insert(key.clone(), value.bytes());
            }
            Op::InsertMany(t, many, value) => {
                let (table, map) = self.table(*t);
                let mut value = value.bytes();
                for key in many.keys() {
                    table.insert(&key, &value).unwrap();
                    map.insert(key, value.clone());
                    let by = usize::from(value.len() > 1);
                    value.rotate_left(by);
                }
            }
            Op::Replace(t, key, value) => {
                let (table, map) = self.table(*t);
                let before = table.replace(key, value.bytes()).unwrap();
                let wanted = map.insert(key.clone(), value.bytes());
                assert!(before.as_deref() == wanted.as_deref(), "{op:?}");
            }
            Op::InsertNew(t, key, value) => {
                let (table, map) = self.table(*t);
                let new = !map.contains_key(key);
                assert_eq!(table.insert_new(key, value.bytes()).unwrap(), new, "{op:?}");
                map.entry(key.clone()).or_insert_with(|| value.bytes());
            }
            Op::Append(t, key, value) => {
                let (table, map) = self.table(*t);
                let fits = map.last_key_value().is_none_or(|(last, _)| last < key);
                assert_eq!(table.append(key, value.bytes()).is_ok(), fits, "{op:?}");
                if fits {
                    map.insert(key.clone(), value.bytes());
                }
            }
            _ => {}
        }
    }

    fn remove(&mut self, op: &Op) {
        match op {
            Op::Remove(t, key) => {
                let (table, map) = self.table(*t);
                assert_eq!(table.remove(key).unwrap(), map.remove(key).is_some(), "{op:?}");
            }
            Op::Take(t, key) => {
                let (table, map) = self.table(*t);
                assert!(table.take(key).unwrap().as_deref() == map.remove(key).as_deref(), "{op:?}");
            }
            Op::RemoveMany(t, many) => {
                let (table, map) = self.table(*t);
                for key in many.keys() {
                    assert_eq!(table.remove(&key).unwrap(), map.remove(&key).is_some(), "{op:?}");
                }
            }
            Op::RemoveRange(t, a, b) => {
                let (table, map) = self.table(*t);
                let doomed: Vec<Key> = map.keys().filter(|key| inside(key, a, b)).cloned().collect();
                let removed = table.remove_range((a.clone(), b.clone())).unwrap();
                assert_eq!(removed, doomed.len() as u64, "{op:?}");
                for key in doomed {
                    map.remove(&key);
                }
            }
            Op::Clear(t) => {
                let (table, map) = self.table(*t);
                table.clear().unwrap();
                map.clear();
            }
            _ => {}
        }
    }

    fn pop(&mut self, op: &Op) {
        let (t, n, first) = match op {
            Op::PopFirst(t, n) => (*t, *n, true),
            Op::PopLast(t, n) => (*t, *n, false),
            _ => return,
        };
        let (table, map) = self.table(t);
        for _ in 0..n {
            let got = if first { table.pop_first() } else { table.pop_last() }.unwrap();
            let wanted = if first { map.pop_first() } else { map.pop_last() };
            assert!(got.map(|(key, value)| (key, value.to_vec())) == wanted, "{op:?}");
        }
    }

    fn cursor(&mut self, t: u8, at: usize, moves: &[super::ops::Move]) {
        let (table, _) = self.table(t);
        let new = || (name(t), table.cursor_mut(), Model::new());
        let (table, cursor, model) = self.cursors[at].get_or_insert_with(new);
        // Another cursor's table, if this one has lived for longer; it exists, or the cursor would be gone.
        let Some(map) = self.tables.get_mut(table.as_str()) else { panic!("{table} is gone") };
        for step in moves {
            model.step(map, cursor, step);
        }
    }
}

pub fn inside(key: &Key, a: &Bound<Key>, b: &Bound<Key>) -> bool {
    let behind = match a {
        Bound::Included(a) => key >= a,
        Bound::Excluded(a) => key > a,
        Bound::Unbounded => true,
    };
    behind
        && match b {
            Bound::Included(b) => key <= b,
            Bound::Excluded(b) => key < b,
            Bound::Unbounded => true,
        }
}

/// What all tables' readers can do: implemented for tables of both kinds of transaction.
macro_rules! reads {
    ($name:ident, $verify:ident, $table:ty) => {
        /// Reads in all ways, and compares.
        fn $name<S: PageSource>(table: &$table, map: &Map, range: (&Bound<Key>, &Bound<Key>), key: &Key) {
            let (a, b) = range;
            let wanted: Vec<(&Key, &Vec<u8>)> = map.iter().filter(|(key, _)| inside(key, a, b)).collect();
            let got: Vec<_> = table.range((a.clone(), b.clone())).map(Result::unwrap).collect();
            assert!(got.iter().map(|(k, v)| (k, &**v)).eq(wanted.iter().map(|(k, v)| (*k, &v[..]))));
            let got: Vec<_> = table.range((a.clone(), b.clone())).rev().map(Result::unwrap).collect();
            assert!(got.iter().rev().map(|(k, v)| (k, &**v)).eq(wanted.iter().map(|(k, v)| (*k, &v[..]))));
            assert_eq!(table.count((a.clone(), b.clone())).unwrap(), wanted.len() as u64, "{a:?} {b:?}");
            assert!(table.get(key).unwrap().as_deref() == map.get(key).map(|v| &v[..]));
            assert_eq!(table.rank(key).unwrap(), map.range(..key.clone()).count() as u64);
            let prefix = &key[..key.len().min(3)];
            let wanted: Vec<&Key> = map.keys().filter(|key| key.starts_with(prefix)).collect();
            let got: Vec<Key> = table.prefix(prefix).keys().map(Result::unwrap).collect();
            assert!(got.iter().eq(wanted));
        }

        /// Compares the whole table.
        fn $verify<S: PageSource>(table: &$table, map: &Map) {
            assert_eq!(table.len().unwrap(), map.len() as u64);
            let got: Vec<_> = table.iter().map(Result::unwrap).collect();
            for ((key, value), (wanted, bytes)) in got.iter().zip(map) {
                assert_eq!(key, wanted);
                assert!(**value == **bytes, "the value of {key:?} differs");
            }
            assert_eq!(got.len(), map.len());
            assert!(table.iter().keys().rev().map(Result::unwrap).eq(map.keys().rev().cloned()));
            let keys: Vec<Key> =
                map.keys().flat_map(|key| [key.clone(), [&key[..], b"\0"].concat()]).collect();
            for (key, value) in keys.iter().zip(table.get_many(&keys).unwrap()) {
                assert!(value.as_deref() == map.get(key).map(|v| &v[..]));
            }
            let step = map.len() / 20 + 1;
            for (n, (key, value)) in map.iter().enumerate().step_by(step) {
                let found = table.nth(n as u64).unwrap().unwrap();
                assert!((&found.0, &found.1[..]) == (key, &value[..]));
                assert_eq!(table.rank(key).unwrap(), n as u64);
            }
            assert!(table.nth(map.len() as u64).unwrap().is_none());
            let first = table.first().unwrap().map(|(key, _)| key);
            let last = table.last().unwrap().map(|(key, _)| key);
            assert_eq!(first.as_ref(), map.keys().next());
            assert_eq!(last.as_ref(), map.keys().next_back());
        }
    };
}

reads!(read, verify, TableMut<'_, S>);
reads!(read_snapshot, verify_snapshot, Table<'_, S, bifold::access::ReadAccess<'_, S>>);

pub fn verify_all<S: PageSource>(txn: &ReadTxn<'_, S>, tables: &Tables) {
    assert!(txn.tables().unwrap().iter().eq(tables.keys()));
    for (name, map) in tables {
        let table = txn.table(name).unwrap();
        verify_snapshot(&table, map);
        if let Some((key, _)) = map.iter().nth(map.len() / 2) {
            read_snapshot(&table, map, (&Bound::Included(key.clone()), &Bound::Unbounded), key);
        }
    }
}
