//! The crash simulator: from a recorded log, what a disk may hold after the power fails.
//!
//! The crash model, which this file implements and nothing else:
//! - The unit is the sector of 512 bytes; it is never torn. After a crash a sector holds what it held at the last
//!   completed sync of its file, or what it held after any one of the writes to it since. Every sector chooses for
//!   itself: there is no order between sectors, pages, writes or files. So a write in flight may be torn at any
//!   sector, and a sync in flight may have done any part of its work.
//! - A sync makes durable what was written before it *began*.
//! - A durable write makes its own sectors durable when it returns, and lets the file be no shorter than its end. It
//!   says nothing of other sectors, although a disk's cache is flushed for all. In flight it is a write like others.
//! - A file has any length that it has had since its last completed sync, whatever became of its sectors; a write
//!   that makes it longer takes it through every sector's end on the way. Bytes within it that were never written,
//!   or were cut off before, read as zero.
//! - A name that was made, changed or removed since the last sync of its directory may have been or not, each
//!   such change for itself (a rename is one change, and may persist before the file's data does).
//! - A failed sync leaves every sector that it covered old or new, for good: the kernel takes the pages for clean,
//!   so that a later sync that succeeds says nothing about them; only a later write and sync does. (Rebello et al.,
//!   "Can applications recover from fsync failures?", 2020.) A length that was set or allocated is kept in the file
//!   system's journal instead, and the next sync that succeeds does make it durable.
//!
//! [`Crashes`] walks through the log once and keeps the disk's state as it goes, so that an image costs a copy of
//! the files and not a replay.
#![forbid(unsafe_code)]

use crate::testing::pages::Rng;
use crate::testing::recording::{FileId, Op};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The unit of what a disk writes at once, in bytes.
pub const SECTOR: usize = 512;

/// The files of a disk after a crash; made for [`MemFs::from_files`](crate::MemFs::from_files).
pub type Image = Vec<(PathBuf, Vec<u8>)>;

/// How everything that is pending (sectors, lengths, names) decides.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum CrashPlan {
    /// Nothing that is not certainly durable survives.
    AllDropped,
    /// Everything survives: as when only the process is killed.
    AllKept,
    /// Everything decides at random. With probability `keep` it is in its newest state, otherwise in any older
    /// one, all alike. Sectors in one aligned group of `grain` bytes draw one lot, as pages in one
    /// write-back do.
    Random {
        /// From which everything follows.
        seed: u64,
        /// The probability of the newest state.
        keep: f64,
        /// Bytes that decide alike; [`SECTOR`] lets every sector decide for itself.
        grain: usize,
    },
    /// Everything survives but the newest state of this one of the [`Crashes::choices`].
    DropOne(usize),
    /// Nothing survives but the newest state of this one of the [`Crashes::choices`].
    KeepOne(usize),
}

impl CrashPlan {
    /// A random plan whose inclination also follows from `seed`: few, half or most survive, by sectors, pages or
    /// larger groups.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xC4A5_4E5D);
        let keep = [0.03, 0.2, 0.5, 0.8, 0.97][rng.below(5) as usize];
        let grain = [SECTOR, SECTOR, 4096, 65536][rng.below(4) as usize];
        Self::Random { seed, keep, grain }
    }
}

/// Says of an entry of the log, which is a sync, that it has done nothing.
type Ignored<'a> = Box<dyn Fn(usize, &Op) -> bool + Send + Sync + 'a>;

/// The crashes of a recorded run: a position in its log, and what the disk may hold there.
pub struct Crashes<'a> {
    ops: &'a [Op],
    position: usize,
    ignored: Ignored<'a>,
    files: BTreeMap<FileId, FileState>,
    /// Where each sync that has begun did so.
    begun: HashMap<u64, usize>,
    names: BTreeMap<PathBuf, FileId>,
    /// Changes of names that are not certainly durable, in order.
    changes: Vec<NameChange>,
}

#[derive(Clone, Debug)]
struct NameChange {
    /// Directories that must still be synced for this to be durable.
    dirs: Vec<PathBuf>,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, FileId)>,
}

/// Bytes of one sector.
#[derive(Clone, Debug)]
enum Value {
    Zero,
    Of { bytes: Arc<[u8]>, at: usize },
}

/// A sector that may hold something else than the file's base.
#[derive(Clone, Debug, Default)]
struct SectorState {
    /// What failed syncs may have left there.
    stray: Vec<Value>,
    /// What was written since the last sync that covered it, with the position of each write.
    pending: Vec<(usize, Value)>,
}

/// Lengths a file may have after one change of it, in bytes: `to`, or anything on the way there from `from`.
#[derive(Clone, Copy, Debug)]
struct Length {
    from: u64,
    to: u64,
}

impl Length {
    fn exactly(len: u64) -> Self {
        Self { from: len, to: len }
    }

    /// Leaves out what is shorter than `end`, which `to` is not.
    fn reach(&mut self, end: u64) {
        self.from = self.from.max(end.saturating_sub(1)).min(self.to);
        // Nothing lies on the way from the last sector's beginning.
        if self.from / SECTOR as u64 * SECTOR as u64 + SECTOR as u64 >= self.to {
            self.from = self.to;
        }
    }
}

/// What a file may be on the disk.
#[derive(Clone, Debug, Default)]
struct FileState {
    /// What a reader of the running system sees.
    cache: Vec<u8>,
    /// The certain state, whole sectors; beyond it all is zero.
    base: Vec<u8>,
    sectors: BTreeMap<u64, SectorState>,
    /// Certain, or what failed syncs may have left: the newest last. Never empty.
    lengths: Vec<Length>,
    pending_lengths: Vec<(usize, Length)>,
}

impl<'a> Crashes<'a> {
    /// Before the first entry of a log.
    pub fn new(ops: &'a [Op]) -> Self {
        Self::ignoring(ops, |_, _| false)
    }

    /// As [`new`](Self::new), on a disk that returns from some syncs without having done anything: those entries
    /// ([`Op::SyncEnd`], [`Op::SyncDir`]; see [`sync_points`]) for whose position `ignored` is true. A test whose
    /// crashes all recover proves little until it fails with any one sync ignored.
    pub fn ignoring(ops: &'a [Op], ignored: impl Fn(usize, &Op) -> bool + Send + Sync + 'a) -> Self {
        Self {
            ops,
            position: 0,
            ignored: Box::new(ignored),
            files: BTreeMap::new(),
            begun: HashMap::new(),
            names: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    /// How many entries have happened.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Lets the next entry happen and returns it; `None` at the end of the log.
    pub fn advance(&mut self) -> Option<&'a Op> {
        let op = self.ops.get(self.position)?;
        self.apply(op);
        self.position += 1;
        Some(op)
    }

    /// Lets everything before `position` happen.
    pub fn advance_to(&mut self, position: usize) {
        while self.position < position && self.advance().is_some() {}
    }

    /// How many things have more than one state that they may be in: sectors, lengths and changes of names. What
    /// [`CrashPlan::DropOne`] and [`CrashPlan::KeepOne`] number, in an order that is the same at one position.
    pub fn choices(&self) -> usize {
        let of_files: usize = self.files.values().map(FileState::choices).sum();
        of_files + self.changes.len()
    }

    /// What the disk may hold if the power fails now.
    pub fn image(&self, plan: &CrashPlan) -> Image {
        let mut chooser = Chooser::new(plan);
        let mut images: HashMap<FileId, Vec<u8>> = HashMap::new();
        for (id, file) in &self.files {
            images.insert(*id, file.image(*id, &mut chooser));
        }
        let mut names = self.names.clone();
        for change in &self.changes {
            if chooser.choose(2, None) == 1 {
                change.apply(&mut names);
            }
        }
        names.into_iter().map(|(path, id)| (path, images.get(&id).cloned().unwrap_or_default())).collect()
    }

    fn apply(&mut self, op: &Op) {
        let position = self.position;
        match op {
            Op::Exists { file, path, bytes } => {
                self.files.insert(*file, FileState::durable(bytes));
                self.names.insert(path.clone(), *file);
            }
            Op::Create { file, path } => {
                self.files.insert(*file, FileState::durable(&[]));
                if let Some(path) = path {
                    self.change(None, Some((path.clone(), *file)));
                }
            }
            Op::Publish { file, path } => self.change(None, Some((path.clone(), *file))),
            Op::Rename { file, from, to } => self.change(Some(from.clone()), Some((to.clone(), *file))),
            Op::Unlink { path } => self.change(Some(path.clone()), None),
            Op::Write { file, offset, bytes } => self.file(*file).write(position, *offset, bytes),
            Op::SetLen { file, len } => self.file(*file).set_len(position, *len),
            Op::SyncBegin { sync, .. } => {
                self.begun.insert(*sync, position);
            }
            Op::SyncEnd { file, sync, ok, only } => {
                let begin = self.begun.remove(sync).unwrap_or(position);
                if !(self.ignored)(position, op) {
                    match only {
                        None => self.file(*file).sync(begin, *ok),
                        Some(range) => self.file(*file).sync_range(begin, range, *ok),
                    }
                }
            }
            Op::SyncDir { dir } if !(self.ignored)(position, op) => self.sync_dir(dir),
            Op::SyncDir { .. } | Op::Mark { .. } => {}
        }
    }

    fn file(&mut self, id: FileId) -> &mut FileState {
        self.files.entry(id).or_insert_with(|| FileState::durable(&[]))
    }

    fn change(&mut self, removed: Option<PathBuf>, added: Option<(PathBuf, FileId)>) {
        let paths = removed.iter().chain(added.iter().map(|(path, _)| path));
        let mut dirs: Vec<PathBuf> =
            paths.map(|path| path.parent().unwrap_or(Path::new("")).to_owned()).collect();
        dirs.dedup();
        self.changes.push(NameChange { dirs, removed, added });
    }

    fn sync_dir(&mut self, dir: &Path) {
        let names = &mut self.names;
        self.changes.retain_mut(|change| {
            change.dirs.retain(|needed| needed != dir);
            if change.dirs.is_empty() {
                change.apply(names);
            }
            !change.dirs.is_empty()
        });
    }
}

/// The positions of all entries of a log that make something durable.
pub fn sync_points(ops: &[Op]) -> Vec<usize> {
    let durable = |op: &Op| matches!(op, Op::SyncEnd { ok: true, .. } | Op::SyncDir { .. });
    ops.iter().enumerate().filter(|(_, op)| durable(op)).map(|(position, _)| position).collect()
}

impl std::fmt::Debug for Crashes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crashes")
            .field("position", &self.position)
            .field("of", &self.ops.len())
            .field("choices", &self.choices())
            .finish_non_exhaustive()
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        if let Some(path) = &self.removed {
            // The old name of a rename may by now be another file's, whose creation survived.
            let mine = self.added.as_ref().is_none_or(|(_, file)| names.get(path) == Some(file));
            if mine {
                names.remove(path);
            }
        }
        if let Some((path, file)) = &self.added {
            names.insert(path.clone(), *file);
        }
    }
}

impl Value {
    fn put(&self, sector: &mut [u8]) {
        match self {
            Self::Zero => sector.fill(0),
            Self::Of { bytes, at } => sector.copy_from_slice(&bytes[*at..*at + SECTOR]),
        }
    }
}

impl FileState {
    fn durable(bytes: &[u8]) -> Self {
        let mut base = bytes.to_vec();
        base.resize(bytes.len().next_multiple_of(SECTOR), 0);
        let lengths = vec![Length::exactly(bytes.len() as u64)];
        Self { cache: bytes.to_vec(), base, lengths, ..Self::default() }
    }

    fn write(&mut self, position: usize, offset: u64, bytes: &Arc<[u8]>) {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let before = self.cache.len() as u64;
        if end > self.cache.len() {
            self.cache.resize(end, 0);
            self.pending_lengths.push((position, Length { from: before, to: end as u64 }));
        }
        self.cache[start..end].copy_from_slice(bytes);
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            let from = sector * SECTOR;
            let value = if from >= start && from + SECTOR <= end {
                Value::Of { bytes: Arc::clone(bytes), at: from - start }
            } else {
                self.cached(sector)
            };
            self.pend(position, sector as u64, value);
        }
    }

    fn set_len(&mut self, position: usize, len: u64) {
        let (old, new) = (self.cache.len(), len as usize);
        self.cache.resize(new, 0);
        self.pending_lengths.push((position, Length::exactly(len)));
        if new >= old {
            return;
        }
        // What is cut off reads as zero if the file grows again.
        if !new.is_multiple_of(SECTOR) {
            let value = self.cached(new / SECTOR);
            self.pend(position, (new / SECTOR) as u64, value);
        }
        for sector in new.div_ceil(SECTOR)..old.div_ceil(SECTOR) {
            self.pend(position, sector as u64, Value::Zero);
        }
    }

    /// A sector as the running system sees it.
    fn cached(&self, sector: usize) -> Value {
        let from = (sector * SECTOR).min(self.cache.len());
        let to = (from + SECTOR).min(self.cache.len());
        let mut bytes = vec![0; SECTOR];
        bytes[..to - from].copy_from_slice(&self.cache[from..to]);
        Value::Of { bytes: bytes.into(), at: 0 }
    }

    fn pend(&mut self, position: usize, sector: u64, value: Value) {
        self.sectors.entry(sector).or_default().pending.push((position, value));
    }

    /// Ends a sync that began at `begin`.
    fn sync(&mut self, begin: usize, ok: bool) {
        self.sync_sectors(begin, 0..u64::MAX, ok);
        let covered = self.pending_lengths.iter().take_while(|(position, _)| *position < begin).count();
        let covered: Vec<_> = self.pending_lengths.drain(..covered).map(|(_, length)| length).collect();
        match covered.last() {
            // A length that was set is journalled and stays pending; one that came of a lost write is lost with it.
            None if ok => {
                if let Some(newest) = self.lengths.last().copied().filter(|length| length.from == length.to) {
                    self.lengths = vec![newest];
                }
            }
            None => {}
            Some(newest) if ok => self.lengths = vec![Length::exactly(newest.to)],
            Some(_) => self.lengths.extend(covered),
        }
    }

    /// Ends a durable write to `range`, in bytes, of which a sync began at `begin`.
    fn sync_range(&mut self, begin: usize, range: &Range<u64>, ok: bool) {
        let sector = SECTOR as u64;
        self.sync_sectors(begin, range.start / sector..range.end.div_ceil(sector), ok);
        if !ok {
            return;
        }
        self.lengths.retain(|length| length.to >= range.end);
        self.lengths.iter_mut().for_each(|length| length.reach(range.end));
        self.pending_lengths.retain(|(position, length)| *position >= begin || length.to >= range.end);
        let earlier = self.pending_lengths.iter_mut().filter(|(position, _)| *position < begin);
        earlier.for_each(|(_, length)| length.reach(range.end));
        if self.lengths.is_empty()
            && let Some(&(_, oldest)) = self.pending_lengths.first()
        {
            // The write itself, or one before it, made the file as long: so long it certainly is.
            if oldest.from == oldest.to {
                self.pending_lengths.remove(0);
            }
            self.lengths.push(Length::exactly(if oldest.from == oldest.to { oldest.to } else { range.end }));
        }
    }

    /// Makes writes to the `range` of sectors that came before `begin` certain, or uncertain for good.
    fn sync_sectors(&mut self, begin: usize, range: Range<u64>, ok: bool) {
        let base = &mut self.base;
        self.sectors.retain(|sector, state| {
            if !range.contains(sector) {
                return true;
            }
            let covered = state.pending.iter().take_while(|(position, _)| *position < begin).count();
            let mut covered: Vec<Value> = state.pending.drain(..covered).map(|(_, value)| value).collect();
            if !ok {
                state.stray.append(&mut covered);
            } else if let Some(newest) = covered.pop() {
                state.stray.clear();
                let from = *sector as usize * SECTOR;
                if base.len() < from + SECTOR {
                    base.resize(from + SECTOR, 0);
                }
                newest.put(&mut base[from..from + SECTOR]);
            }
            !(state.stray.is_empty() && state.pending.is_empty())
        });
    }

    fn choices(&self) -> usize {
        self.sectors.len() + usize::from(self.lengths.len() + self.pending_lengths.len() > 1)
    }

    fn image(&self, id: FileId, chooser: &mut Chooser) -> Vec<u8> {
        let mut image = self.base.clone();
        for (sector, state) in &self.sectors {
            let states = 1 + state.stray.len() + state.pending.len();
            let chosen = chooser.choose(states, Some((id, *sector)));
            let Some(chosen) = chosen.checked_sub(1) else { continue };
            let value = match state.stray.get(chosen) {
                Some(stray) => stray,
                None => &state.pending[chosen - state.stray.len()].1,
            };
            let from = *sector as usize * SECTOR;
            if image.len() < from + SECTOR {
                image.resize(from + SECTOR, 0);
            }
            value.put(&mut image[from..from + SECTOR]);
        }
        let pending = self.pending_lengths.iter().map(|(_, length)| *length);
        let lengths: Vec<Length> = self.lengths.iter().copied().chain(pending).collect();
        let chosen = if lengths.len() > 1 { chooser.choose(lengths.len(), None) } else { 0 };
        let newest = chosen + 1 == lengths.len();
        let len = chooser.length(lengths[chosen], newest) as usize;
        image.resize(len, 0);
        image
    }
}

/// Carries out a plan: asked once for each choice, always in the same order.
struct Chooser {
    plan: CrashPlan,
    rng: Rng,
    asked: usize,
    group: Option<(FileId, u64)>,
    group_keeps: bool,
}

impl Chooser {
    fn new(plan: &CrashPlan) -> Self {
        let seed = if let CrashPlan::Random { seed, .. } = plan { *seed } else { 0 };
        Self { plan: *plan, rng: Rng::new(seed), asked: 0, group: None, group_keeps: false }
    }

    /// One of `states` states, the oldest 0; `sector` if it is a sector that chooses.
    fn choose(&mut self, states: usize, sector: Option<(FileId, u64)>) -> usize {
        let asked = self.asked;
        self.asked += 1;
        match self.plan {
            CrashPlan::AllDropped => 0,
            CrashPlan::AllKept => states - 1,
            CrashPlan::DropOne(one) => {
                if asked == one {
                    0
                } else {
                    states - 1
                }
            }
            CrashPlan::KeepOne(one) => {
                if asked == one {
                    states - 1
                } else {
                    0
                }
            }
            CrashPlan::Random { keep, grain, .. } => {
                let group = sector.map(|(file, number)| (file, number / (grain / SECTOR).max(1) as u64));
                if group.is_none() || group != self.group {
                    self.group_keeps = self.rng.chance(keep);
                    self.group = group;
                }
                if self.group_keeps { states - 1 } else { self.rng.below(states as u64 - 1) as usize }
            }
        }
    }

    /// A length within a range: the end of it, or at random the end of any sector on the way.
    fn length(&mut self, range: Length, newest: bool) -> u64 {
        let last = range.to;
        let sector = SECTOR as u64;
        let first_end = (range.from / sector + 1) * sector;
        match self.plan {
            CrashPlan::Random { keep, .. } if first_end < last && !(newest && self.rng.chance(keep)) => {
                let ends = (last - first_end) / sector + 1;
                (first_end + self.rng.below(ends + 1) * sector).min(last)
            }
            _ => last,
        }
    }
}
