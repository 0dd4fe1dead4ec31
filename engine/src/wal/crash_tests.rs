//! The log under crashes: what was acknowledged is found, in order and unaltered, whatever a crash keeps.
#![forbid(unsafe_code)]

use super::sim::{Random, SimFile, SimFs};
use super::*;
use crate::error::Result;
use proptest::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const ID: u64 = 77;

fn path() -> PathBuf {
    PathBuf::from("db.log")
}

/// A meta page: where the log is live from, and the first record that its checkpoint lacks.
#[derive(Clone, Copy, Debug)]
struct Meta {
    start: LogStart,
    next_seq: u64,
}

/// What holds from some operation on the file on.
#[derive(Clone, Debug)]
struct Moment {
    ops: usize,
    /// All records before this one are acknowledged as durable.
    acked: u64,
    /// All records before this one survive the process.
    handed: u64,
    /// The meta pages of which one is found after a crash.
    metas: Vec<Meta>,
}

/// A database as the log sees one: records with numbers from 0, and meta pages.
struct World {
    wal: Wal,
    method: SyncMethod,
    /// A sync under way, and its result if it has run.
    pending: Option<(PendingSync, Option<Result<()>>)>,
    file: Arc<SimFile>,
    /// What the file held when it was opened.
    base: Vec<u8>,
    records: Vec<Vec<u8>>,
    moments: Vec<Moment>,
    /// Makes the records of each incarnation differ, so that a survivor of an older one is noticed.
    written: u64,
}

impl World {
    fn new(bytes: u64, max: u64, method: SyncMethod) -> Self {
        let fs = SimFs::default();
        let mut wal = Wal::create(&fs, &path(), ID, bytes, max).unwrap();
        wal.set_sync_method(method);
        let file = fs.file(&path());
        let meta = Meta { start: wal.position().unwrap(), next_seq: 0 };
        let moments = vec![Moment { ops: file.op_count(), acked: 0, handed: 0, metas: vec![meta] }];
        let (base, records) = (Vec::new(), Vec::new());
        Self { wal, method, pending: None, base, file, records, moments, written: 0 }
    }

    fn now(&self) -> &Moment {
        self.moments.last().unwrap()
    }

    fn remember(&mut self, acked: u64, metas: Vec<Meta>) {
        let handed = self.wal.handed_over().map_or(0, |seq| seq + 1).max(self.now().handed);
        assert!(handed <= self.records.len() as u64);
        self.moments.push(Moment { ops: self.file.op_count(), acked, handed, metas });
    }

    /// Appends a record of `len` bytes; a checkpoint makes room if there is none.
    fn append(&mut self, len: usize) {
        self.written += 1;
        let mut random = Random::new(self.written);
        let record: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        let seq = self.records.len() as u64;
        let mut outcome = self.wal.append(seq, &[&record]).unwrap();
        if outcome == Appended::Full {
            self.checkpoint();
            outcome = self.wal.append(seq, &[&record]).unwrap();
        }
        if outcome == Appended::Full && self.pending.is_some() {
            // What a sync under way writes takes room until it ends.
            self.end_sync();
            outcome = self.wal.append(seq, &[&record]).unwrap();
        }
        assert_eq!(outcome == Appended::Yes, len as u64 <= self.wal.max_record_len());
        if outcome == Appended::Yes {
            self.records.push(record);
        }
    }

    fn write(&mut self) {
        self.wal.write().unwrap();
        self.remember(self.now().acked, self.now().metas.clone());
    }

    fn begin_sync(&mut self) {
        if self.pending.is_none() {
            self.pending = Some((self.wal.begin_sync().unwrap(), None));
            self.remember(self.now().acked, self.now().metas.clone());
        }
    }

    fn run_sync(&mut self) {
        if let Some((pending, result @ None)) = &mut self.pending {
            *result = Some(pending.run());
        }
    }

    fn end_sync(&mut self) {
        self.run_sync();
        let Some((pending, Some(result))) = self.pending.take() else { return };
        let durable = pending.last_seq().map_or(0, |seq| seq + 1);
        // So that either method is found faster now and then.
        let took = Duration::from_micros(Random::new(self.written).below(100) as u64);
        self.wal.end_sync(pending, result, Some(took)).unwrap();
        self.remember(durable.max(self.now().acked), self.now().metas.clone());
    }

    fn sync(&mut self) {
        self.end_sync();
        self.begin_sync();
        self.end_sync();
        assert!(self.now().acked == self.records.len() as u64 || self.wal.last_seq.is_none());
    }

    /// The background writes a piece of what the log will grow by, if there is one to write.
    fn lengthen(&mut self) -> bool {
        let Some(piece) = self.wal.begin_piece() else { return false };
        let result = piece.run();
        self.wal.end_piece(&piece, result).unwrap();
        self.remember(self.now().acked, self.now().metas.clone());
        true
    }

    /// A meta page is being written that states the present position.
    fn begin_checkpoint(&mut self) {
        let meta = Meta { start: self.wal.position().unwrap(), next_seq: self.records.len() as u64 };
        let old = self.now().metas[0];
        self.remember(self.now().acked, vec![old, meta]);
    }

    /// That page is durable.
    fn end_checkpoint(&mut self) {
        let Some(&meta) = self.now().metas.get(1) else { return };
        self.remember(self.now().acked.max(meta.next_seq), vec![meta]);
        self.wal.retire_to(&meta.start).unwrap();
    }

    fn checkpoint(&mut self) {
        if self.now().metas.len() == 1 {
            self.begin_checkpoint();
        }
        self.end_checkpoint();
        // What was appended since a checkpoint that was under way fills the log still.
        self.begin_checkpoint();
        self.end_checkpoint();
    }

    /// What is found after a crash behind the first `upto` operations. The records found replace those known.
    fn crash(&mut self, upto: usize, random: &mut Random) {
        let moment = self.moments.iter().rfind(|moment| moment.ops <= upto).unwrap().clone();
        let favour = random.below(4);
        let bytes = self.file.after_crash(&self.base, upto, &mut |n| match favour {
            0 => 0,
            1 => n - 1,
            _ => random.below(n),
        });
        let meta = moment.metas[random.below(moment.metas.len())];
        let fs = SimFs::with_file(&path(), bytes.clone());
        let mut end = meta.next_seq;
        let recovered = Wal::recover(&fs, &path(), &meta.start, 1 << 15, false, &mut |seq, record| {
            assert_eq!(seq, end, "the next record");
            assert_eq!(self.records[seq as usize], record, "record {seq}");
            end += 1;
            Ok(())
        });
        let recovered = recovered.unwrap_or_else(|e| panic!("{e}; {moment:?}"));
        assert!(end >= moment.acked, "records up to {} were acknowledged, {end} found", moment.acked);
        // What only the process forgets.
        assert!(favour != 1 || end >= moment.handed, "{end} found of {}", moment.handed);
        self.records.truncate(end as usize);
        self.wal = recovered.wal;
        self.wal.set_sync_method(self.method);
        self.pending = None;
        self.file = fs.file(&path());
        self.base = bytes;
        // What an open has shown stays: it counts as acknowledged from here on.
        self.moments = vec![Moment { ops: 0, acked: end, handed: end, metas: vec![meta] }];
    }
}

/// Runs `script` on a fresh world, crashes it behind every operation in several ways, and goes on from there with
/// crashes in and after recovery.
fn crash_everywhere(bytes: u64, max: u64, method: SyncMethod, script: &dyn Fn(&mut World)) -> usize {
    let mut whole = World::new(bytes, max, method);
    let first = whole.file.op_count();
    script(&mut whole);
    let last = whole.file.op_count();
    for upto in first..=last {
        for seed in 0..24 {
            let mut random = Random::new(seed * 1000 + upto as u64);
            let mut world = World::new(bytes, max, method);
            script(&mut world);
            world.crash(upto, &mut random);
            // Again, in the midst of recovery: it has written nothing that counts.
            let count = world.file.op_count();
            world.crash(random.below(count + 1), &mut random);
            // Again, around the meta page that names the new position.
            world.begin_checkpoint();
            if seed % 3 == 0 {
                let count = world.file.op_count();
                world.crash(count, &mut random);
                world.begin_checkpoint();
            }
            world.end_checkpoint();
            // And among records appended afterwards, which survivors beyond the cut might seem to continue.
            for len in [300, 900, 20, 1500] {
                world.append(len);
                world.write();
            }
            let count = world.file.op_count();
            world.crash(count - random.below(4.min(count)), &mut random);
        }
    }
    last - first
}

#[test]
fn a_crash_behind_any_write_loses_nothing_acknowledged() {
    for method in [SyncMethod::Fdatasync, SyncMethod::Dsync] {
        let ops = crash_everywhere(1 << 12, 1 << 12, method, &|world| {
            for round in 0..6 {
                for len in [10, 700, 0, 430] {
                    world.append(len + round * 50);
                    if len != 0 && round % 3 != 2 {
                        world.write();
                    }
                }
                world.sync();
                world.append(60 + round * 100);
                world.sync();
                world.begin_checkpoint();
                world.append(60);
                world.write();
                world.end_checkpoint();
            }
            assert_eq!(world.wal.stats().dsyncs > 3, method == SyncMethod::Dsync);
        });
        assert!(ops >= 30, "{ops} operations");
    }
}

#[test]
fn a_crash_around_a_sync_that_is_late_loses_nothing_acknowledged() {
    for method in [SyncMethod::Fdatasync, SyncMethod::Dsync] {
        let ops = crash_everywhere(1 << 12, 1 << 12, method, &|world| {
            for round in 0..7 {
                world.append(300 + round * 90);
                world.begin_sync();
                world.append(200);
                world.write();
                if round % 2 == 0 {
                    world.checkpoint();
                }
                world.append(500);
                if round % 3 == 0 {
                    world.write();
                }
                world.end_sync();
                world.sync();
            }
        });
        assert!(ops >= 25, "{ops} operations");
    }
}

#[test]
fn a_crash_in_the_midst_of_growth_loses_nothing_acknowledged() {
    for method in [SyncMethod::Fdatasync, SyncMethod::Dsync] {
        let ops = crash_everywhere(1 << 12, 1 << 14, method, &|world| {
            for round in 0..10 {
                world.append(400);
                world.append(300 + round * 30);
                if round % 4 != 0 {
                    world.write();
                }
                if round % 2 == 0 {
                    world.begin_sync();
                }
                if round == 7 {
                    world.end_sync();
                }
            }
            world.append(9000);
            world.end_sync();
            world.sync();
            assert_eq!(world.wal.stats().growths, 2);
        });
        assert!(ops > 20, "{ops} operations");
    }
}

#[test]
fn a_crash_while_the_log_is_lengthened_ahead_loses_nothing_acknowledged() {
    for method in [SyncMethod::Fdatasync, SyncMethod::Dsync] {
        let ops = crash_everywhere(1 << 12, 1 << 14, method, &|world| {
            let mut pieces = 0;
            for round in 0..16 {
                world.append(420);
                if round % 3 == 0 {
                    world.begin_sync();
                }
                pieces += usize::from(world.lengthen());
                world.append(80 + round * 20);
                world.end_sync();
                pieces += usize::from(world.lengthen());
            }
            world.sync();
            assert_eq!(world.wal.stats().growths, 2);
            assert!(pieces > 4, "{pieces} pieces");
        });
        assert!(ops > 20, "{ops} operations");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Lengthen,
    Write,
    Sync,
    BeginSync,
    RunSync,
    EndSync,
    BeginCheckpoint,
    EndCheckpoint,
    Crash { seed: u64, back: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop_oneof![3 => 0usize..600, 1 => 0usize..4000].prop_map(Step::Append),
        2 => Just(Step::Lengthen),
        3 => Just(Step::Write),
        3 => Just(Step::Sync),
        2 => Just(Step::BeginSync),
        2 => Just(Step::RunSync),
        1 => Just(Step::EndSync),
        1 => Just(Step::BeginCheckpoint),
        1 => Just(Step::EndCheckpoint),
        2 => (any::<u64>(), 0usize..12).prop_map(|(seed, back)| Step::Crash { seed, back }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_history_with_any_crashes_keeps_what_it_must(
        method in prop_oneof![Just(SyncMethod::Fdatasync), Just(SyncMethod::Dsync), Just(SyncMethod::Auto)],
        initial in prop_oneof![Just(1u64 << 12), Just(1u64 << 13)],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(initial, 1 << 15, method);
        let created = world.file.op_count();
        let mut first = created;
        for step in steps {
            match step {
                Step::Append(len) => world.append(len),
                Step::Lengthen => drop(world.lengthen()),
                Step::Write => world.write(),
                Step::BeginSync => world.begin_sync(),
                Step::RunSync => world.run_sync(),
                Step::EndSync => world.end_sync(),
                Step::Sync => world.sync(),
                Step::BeginCheckpoint if world.now().metas.len() == 1 => world.begin_checkpoint(),
                Step::BeginCheckpoint => {}
                Step::EndCheckpoint => world.end_checkpoint(),
                Step::Crash { seed, back } => {
                    let mut random = Random::new(seed);
                    let upto = world.file.op_count().saturating_sub(back).max(first);
                    world.crash(upto, &mut random);
                    first = 0;
                    if seed % 3 == 0 {
                        let count = world.file.op_count();
                        world.crash(random.below(count + 1), &mut random);
                    }
                    world.begin_checkpoint();
                    if seed % 4 == 0 {
                        let count = world.file.op_count();
                        world.crash(count, &mut random);
                        world.begin_checkpoint();
                    }
                    world.end_checkpoint();
                    // What the checkpoint holds is durable.
                    let next = world.records.len() as u64;
                    let metas = world.now().metas.clone();
                    world.remember(next, metas);
                }
            }
        }
    }
}
