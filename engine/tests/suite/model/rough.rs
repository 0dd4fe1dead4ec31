//! Random operations where room is short: a delta, a log and a disk so small that transactions fail for want of it.
//! They fail as a whole, and nothing else does.
#![forbid(unsafe_code)]

use super::ops::{Op, Step};
use super::world::{Map, Tables, name, verify_all};
use crate::suite::{Backend, DbOf, PATH, assert_clean, builder, copy};
use bifold::testing::Stepper;
use bifold::{Error, PageSource, ReadTxn, Savepoint, WriteTxn};
use bifold_page_source::MemFs;
use bifold_page_source::testing::FaultFs;
use std::sync::Arc;

/// A database short of room, and what it should hold.
pub struct Rough<B: Backend> {
    fs: MemFs,
    disk: Arc<FaultFs>,
    committed: Tables,
    snapshots: Vec<(ReadTxn<'static, B::Source>, Tables)>,
    /// Transactions that failed for want of room.
    pub refused: u32,
}

fn wants_room(error: &Error) -> bool {
    matches!(error, Error::DiskFull { .. })
}

impl<B: Backend> Rough<B> {
    pub fn new() -> Self {
        let fs = MemFs::new();
        let disk = Arc::new(FaultFs::new(Arc::new(fs.clone())));
        Self { fs, disk, committed: Tables::new(), snapshots: Vec::new(), refused: 0 }
    }

    fn open(&self) -> DbOf<B> {
        let builder = builder::<B>(&self.fs).delta_size(128 << 10).log_size(16 << 10);
        // A copy of the files is a power cut only if nothing is written while they are copied.
        builder.background(Stepper::at_once()).file_system(self.disk.clone()).open(PATH).unwrap()
    }

    /// `rooms` are how many more KiB than now the disk has, step by step; 0 for no bound.
    pub fn run(&mut self, steps: &[Step], rooms: &[u16]) {
        let mut db = self.open();
        for (step, room) in steps.iter().zip(rooms.iter().cycle()) {
            let used: u64 = self.fs.paths().iter().map(|p| self.fs.read_file(p).unwrap().len() as u64).sum();
            self.disk.set_capacity((*room > 0).then(|| used + (u64::from(*room) << 10)));
            match step {
                Step::Txn(ops, commit) => self.transaction(&db, ops, *commit),
                Step::Checkpoint => {
                    if let Err(error) = db.checkpoint() {
                        assert!(wants_room(&error), "{error}");
                    }
                }
                Step::Snapshot => self.snapshots.push((db.read_owned().unwrap(), self.committed.clone())),
                Step::DropSnapshot(_) => drop(self.snapshots.pop()),
                Step::VerifySnapshot(_) | Step::Check => self.verify(&db),
                Step::Leave(_) => {
                    // A power cut; where it starts again there is room.
                    self.snapshots.clear();
                    let crashed = copy(&self.fs);
                    drop(db);
                    self.fs = crashed;
                    self.disk = Arc::new(FaultFs::new(Arc::new(self.fs.clone())));
                    db = self.open();
                }
            }
        }
        self.verify(&db);
        self.disk.set_capacity(None);
        db.update(|txn| txn.table("table 0")?.insert("room", "again")).unwrap();
        self.committed.entry(name(0)).or_default().insert(b"room".to_vec(), b"again".to_vec());
        db.checkpoint().unwrap();
        self.verify(&db);
        self.snapshots.clear();
        db.close().unwrap();
        self.verify(&self.open());
    }

    fn verify(&self, db: &DbOf<B>) {
        verify_all(&db.read().unwrap(), &self.committed);
        for (txn, tables) in &self.snapshots {
            verify_all(txn, tables);
        }
        assert_clean(db);
    }

    fn transaction(&mut self, db: &DbOf<B>, ops: &[Op], commit: bool) {
        let txn = db.write().unwrap();
        let mut tables = self.committed.clone();
        let mut savepoints = Vec::new();
        for op in ops {
            if let Err(error) = apply(&txn, &mut tables, &mut savepoints, op) {
                assert!(wants_room(&error), "{op:?}: {error}");
                self.refused += 1;
                assert!(matches!(txn.table("table 0"), Err(Error::TransactionFailed)));
                assert!(matches!(txn.commit(), Err(Error::TransactionFailed)));
                return;
            }
        }
        if commit {
            match txn.commit() {
                Ok(()) => self.committed = tables,
                Err(error) => {
                    assert!(wants_room(&error), "commit: {error}");
                    self.refused += 1;
                }
            }
        }
    }
}

/// Does one operation to both, unless the engine refuses it. Operations that other tests are for do nothing here.
fn apply<S: PageSource>(
    txn: &WriteTxn<'_, S>,
    tables: &mut Tables,
    savepoints: &mut Vec<(Savepoint, Tables)>,
    op: &Op,
) -> Result<(), Error> {
    match op {
        Op::Insert(t, key, value) | Op::Replace(t, key, value) => {
            txn.table(&name(*t))?.insert(key, value.bytes())?;
            tables.entry(name(*t)).or_default().insert(key.clone(), value.bytes());
        }
        Op::InsertMany(t, many, value) => {
            for key in many.keys() {
                txn.table(&name(*t))?.insert(&key, value.bytes())?;
                tables.entry(name(*t)).or_default().insert(key, value.bytes());
            }
        }
        Op::Remove(t, key) => {
            let removed = txn.table(&name(*t))?.remove(key)?;
            assert_eq!(removed, tables.entry(name(*t)).or_default().remove(key).is_some());
        }
        Op::RemoveMany(t, many) => {
            for key in many.keys() {
                let removed = txn.table(&name(*t))?.remove(&key)?;
                assert_eq!(removed, tables.entry(name(*t)).or_default().remove(&key).is_some());
            }
        }
        Op::RemoveRange(t, a, b) => {
            txn.table(&name(*t))?.remove_range((a.clone(), b.clone()))?;
            tables.entry(name(*t)).or_default().retain(|key, _| !super::world::inside(key, a, b));
        }
        Op::Clear(t) => {
            txn.table(&name(*t))?.clear()?;
            tables.insert(name(*t), Map::new());
        }
        Op::Drop(t) => assert_eq!(txn.drop_table(&name(*t))?, tables.remove(&name(*t)).is_some()),
        Op::Rename(t, new) if tables.contains_key(&name(*t)) && !tables.contains_key(&name(*new)) => {
            txn.rename_table(&name(*t), &name(*new))?;
            let map = tables.remove(&name(*t)).unwrap_or_default();
            tables.insert(name(*new), map);
        }
        Op::Savepoint => savepoints.push((txn.savepoint()?, tables.clone())),
        Op::Rollback(n) if !savepoints.is_empty() => {
            savepoints.truncate(usize::from(*n) % savepoints.len() + 1);
            if let Some((savepoint, then)) = savepoints.last() {
                txn.rollback_to(savepoint)?;
                tables.clone_from(then);
            }
        }
        _ => {}
    }
    Ok(())
}
