//! Real disks that are full: a small ext4 and a small tmpfs, filled by committing until they refuse. What was
//! acknowledged is there, removing works, and the database goes on once there is room; also if its process was killed.
//!
//! Mounting needs root; elsewhere the tests say that they are skipped.
#![cfg(all(feature = "testing", any(feature = "mmap", feature = "buffer-pool")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::{Builder, Db, Durability, Error};
use bifold_page_source::testing::pages::Rng;
use common::TestSource;
use common::model::{Change, State, after, difference};
use common::mount::Mount;
use common::run::commit;
use common::verify::{is_clean, shown};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const EXT4: u64 = 6 << 20;
const TMPFS: u64 = 4 << 20;
/// Bytes of a file that makes room by going away.
const BALLAST: usize = 640 << 10;

const ALL: [Durability; 3] = [Durability::Sync, Durability::Buffered, Durability::Deferred];

/// Background work runs in threads of its own, as in earnest.
fn builder<S: TestSource>(durability: Durability) -> Builder<S> {
    Db::<S>::builder()
        .page_size(1024)
        .delta_size(512 << 10)
        .log_size(256 << 10)
        .durability(durability)
        .backend(S::options())
}

fn key(rng: &mut Rng) -> Vec<u8> {
    format!("{:05}", rng.below(8000)).into_bytes()
}

/// The changes of commit `n` while there is room: some ten kilobytes, and large values now and then.
fn changes(n: u64) -> Vec<Change> {
    let mut rng = Rng::new(n);
    let mut changes: Vec<Change> = (0..40)
        .map(|_| {
            let (key, len) = (key(&mut rng), 100 + rng.below(300));
            Change::put("t", key, vec![n as u8; len as usize])
        })
        .collect();
    match n % 8 {
        3 => changes.push(Change::put("big", n.to_be_bytes(), vec![n as u8; 70_000])),
        5 => changes.push(Change::put("big", n.to_be_bytes(), vec![n as u8; 9_000])),
        _ => {}
    }
    changes
}

/// What a kind of disk could not be had for, if it could not.
fn disk(bytes: u64, make: fn(u64) -> Result<Mount, String>) -> Option<Mount> {
    make(bytes).inspect_err(|reason| println!("skipped: {reason}")).ok()
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::DiskFull { .. })
}

/// A database on a small disk, and what it holds.
struct Bed<S: TestSource> {
    db: Db<S>,
    state: State,
    n: u64,
}

impl<S: TestSource> Bed<S> {
    /// Commits; on success the model follows.
    fn commit(&mut self, changes: &[Change]) -> Result<(), Error> {
        commit(&self.db, changes)?;
        self.state = after(&self.state, changes);
        Ok(())
    }

    /// Fills the disk to the brim: what is refused is tried with less. How many commits there was room for.
    fn fill(&mut self) -> u64 {
        let before = self.n;
        for size in [usize::MAX, 6, 1] {
            for _ in 0..10_000 {
                let changes = changes(self.n + 1);
                match self.commit(&changes[..size.min(changes.len())]) {
                    Ok(()) => self.n += 1,
                    Err(error) if is_full(&error) => break,
                    Err(error) => panic!("a full disk became {error:?}"),
                }
            }
        }
        self.shows();
        self.n - before
    }

    fn shows(&self) {
        assert_eq!(difference(&self.db.read().unwrap(), &self.state).unwrap(), None);
    }

    /// Removes: many keys at once, one key a transaction, a range, a table. None of it may be refused.
    fn remove(&mut self) {
        let far_apart = self.state["t"].keys().step_by(97);
        let many: Vec<Change> = far_apart.map(|key| Change::Remove("t", key.clone())).collect();
        self.commit(&many).unwrap();
        let keys: Vec<Vec<u8>> = self.state["t"].keys().step_by(7).take(120).cloned().collect();
        for key in keys {
            self.commit(&[Change::Remove("t", key)]).unwrap();
        }
        self.shows();
        self.commit(&[Change::RemoveRange("t", b"02".to_vec(), b"04".to_vec())]).unwrap();
        self.commit(&[Change::Drop("big")]).unwrap();
        self.shows();
    }
}

/// Fills, removes, goes on, fills again, and goes on once somebody else makes room.
fn life<S: TestSource>(mount: &Mount, durability: Durability) {
    let (path, ballast) = (mount.path("db"), mount.path("ballast"));
    std::fs::write(&ballast, vec![1; BALLAST]).unwrap();
    let open = || builder::<S>(durability).open(&path).unwrap();
    let mut bed = Bed { db: open(), state: State::new(), n: 0 };
    assert!(bed.fill() > 20, "{} commits", bed.n);
    for round in 0..3 {
        bed.remove();
        if round == 1 {
            bed.db.checkpoint().unwrap();
        }
        let more = bed.fill();
        assert!(more > 5, "round {round}: room for {more} commits after much was removed");
        is_clean(&bed.db).unwrap();
    }
    std::fs::remove_file(&ballast).unwrap();
    let more = bed.fill();
    assert!(more > 5, "room for {more} commits after somebody else made some");
    bed.db.sync().unwrap();
    is_clean(&bed.db).unwrap();
    bed.db.close().unwrap();
    bed.db = open();
    bed.shows();
    is_clean(&bed.db).unwrap();
    bed.remove();
    bed.db.close().unwrap();
}

fn lives<S: TestSource>(bytes: u64, make: fn(u64) -> Result<Mount, String>) {
    for durability in ALL {
        let Some(mount) = disk(bytes, make) else { return };
        life::<S>(&mount, durability);
    }
}

/// Tells the child what it is, and where the database lies.
const CHILD: &str = "BIFOLD_TEST_FILLER";
const DURABILITY: &str = "BIFOLD_TEST_DURABILITY";
/// What lines of the child begin with.
const COMMITTED: &str = "committed ";
const FULL: &str = "full ";

/// The changes of the `n`-th commit after the disk was full: what an earlier one put in goes.
fn removals(n: u64) -> Vec<Change> {
    let gone = changes(n).into_iter().map(|change| match change {
        Change::Put(table, key, _) => Change::Remove(table, key),
        other => other,
    });
    gone.collect()
}

/// The child: fills the disk, then removes until it is killed.
fn fill_for_ever<S: TestSource>(path: &Path) {
    let durability = ALL[std::env::var(DURABILITY).unwrap().parse::<usize>().unwrap()];
    let db = builder::<S>(durability).open(path).unwrap();
    let mut out = std::io::stdout();
    let mut say = |what: &str, n: u64| writeln!(out, "\n{what}{n}").and_then(|()| out.flush()).unwrap();
    let mut n = 0;
    while commit(&db, &changes(n + 1)).is_ok() {
        n += 1;
        say(COMMITTED, n);
    }
    say(FULL, n);
    for k in 1..=n {
        commit(&db, &removals(k)).unwrap();
        say(COMMITTED, n + k);
    }
    std::thread::sleep(Duration::from_mins(1));
}

fn start(test: &str, path: &Path, durability: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .env(DURABILITY, durability.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child once the disk was full and it has removed something `more` times: when it was full, and the last
/// commit that it has reported.
fn kill_when_full(mut child: Child, more: u64, pause: Duration) -> (u64, u64) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut acked, mut full) = (0, None);
    let mut note = |line: &str| {
        if let Some(n) = line.strip_prefix(COMMITTED).and_then(|n| n.parse().ok()) {
            acked = n;
        }
        if let Some(n) = line.strip_prefix(FULL).and_then(|n| n.parse::<u64>().ok()) {
            full = Some(n);
        }
        (acked, full)
    };
    while let Some(Ok(line)) = lines.next() {
        if let (acked, Some(full)) = note(&line)
            && acked >= full + more
        {
            break;
        }
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut last = note("");
    for line in lines.map_while(Result::ok) {
        last = note(&line);
    }
    (last.1.expect("the disk was never full"), last.0)
}

fn kills<S: TestSource>(test: &str, bytes: u64, make: fn(u64) -> Result<Mount, String>) {
    if let Some(path) = std::env::var_os(CHILD) {
        return fill_for_ever::<S>(&PathBuf::from(path));
    }
    let mut rng = Rng::new(bytes);
    for (at, durability) in ALL.into_iter().enumerate() {
        let Some(mount) = disk(bytes, make) else { return };
        let path = mount.path("db");
        let child = start(test, &path, at);
        let (full, acked) = kill_when_full(child, 8 * at as u64, Duration::from_micros(rng.below(20_000)));
        assert!(full > 20, "{} under {durability:?}: {full} commits", S::NAME);
        let mut history = vec![State::new()];
        for n in 1..=acked + 1 {
            let changes = if n <= full { changes(n) } else { removals(n - full) };
            history.push(after(&history[n as usize - 1], &changes));
        }
        // Nobody else makes room: recovery has what it needs.
        let db = builder::<S>(durability).create(false).open(&path).unwrap();
        let number = shown(&db, &history).unwrap();
        let least = if durability == Durability::Deferred { 0 } else { acked };
        assert!((least..=acked + 1).contains(&number), "commit {number}, {acked} was acknowledged");
        is_clean(&db).unwrap();
        let mut bed = Bed { db, state: history.swap_remove(number as usize), n: 5000 };
        bed.fill();
        bed.remove();
        assert!(bed.fill() > 5);
        is_clean(&bed.db).unwrap();
    }
}

macro_rules! on_disks {
    ($backend:ty, $life_ext4:ident, $life_tmpfs:ident, $kill_ext4:ident, $kill_tmpfs:ident) => {
        #[test]
        fn $life_ext4() {
            lives::<$backend>(EXT4, Mount::ext4);
        }

        #[test]
        fn $life_tmpfs() {
            lives::<$backend>(TMPFS, Mount::tmpfs);
        }

        #[test]
        fn $kill_ext4() {
            kills::<$backend>(stringify!($kill_ext4), EXT4, Mount::ext4);
        }

        #[test]
        fn $kill_tmpfs() {
            kills::<$backend>(stringify!($kill_tmpfs), TMPFS, Mount::tmpfs);
        }
    };
}

#[cfg(feature = "mmap")]
on_disks!(bifold::mmap::Source, life_ext4_mmap, life_tmpfs_mmap, kills_ext4_mmap, kills_tmpfs_mmap);
#[cfg(feature = "buffer-pool")]
on_disks!(bifold::pool::Source, life_ext4_pool, life_tmpfs_pool, kills_ext4_pool, kills_tmpfs_pool);
