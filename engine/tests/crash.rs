//! Power cuts anywhere in a run that does everything: what opens afterwards is the state after some commit, the last
//! that was acknowledged or one begun after it, under every backend; it is never an error.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold_page_source::MemSource;
use bifold_page_source::testing::pages::Rng;
use bifold_page_source::testing::{CrashPlan, Op};
use common::crashes::{Bounds, check_image, disk, plans, walk};
use common::model::{Change, after};
use common::run::{ACKED, Recorded, STARTED, Step, changes, commit, needle, record, script, script_by_steps};
use common::syncs::{Files, HEAD, LOG_HEADS, Which};
use common::verify::{Allowed, check, is_clean, shown};
use common::{DB, Setup, TestSource, step_at_once, step_by_hand};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// The run that most tests crash.
static RUN: LazyLock<Recorded> = LazyLock::new(|| record::<MemSource>(Setup::SMALL, &script(66, 1)).unwrap());

/// One whose background work goes on bit by bit between its commits.
static STEPS: LazyLock<Recorded> = LazyLock::new(|| {
    step_by_hand();
    let run = record::<MemSource>(Setup::SMALL, &script_by_steps(90, 1)).unwrap();
    step_at_once();
    run
});

/// One of transactions larger than the delta that write over what they wrote: places are written several times before a
/// checkpoint names them.
static REWRITES: LazyLock<Recorded> = LazyLock::new(|| {
    let rewrite = |n: u64, rounds: u64| {
        let mut changes = vec![Change::put("commits", n.to_be_bytes(), needle(n).repeat(3))];
        for round in 0..rounds {
            let salt = (n * 16 + round) as u8;
            changes.extend((0..500u64).map(|i| {
                let key = (i * 7 * (1 + round % 2) % 500) as u16;
                Change::put("t", key.to_be_bytes(), vec![salt ^ i as u8; 110 + (i % 7) as usize])
            }));
            changes.push(Change::put("t", "large", vec![salt; 66_000 + 1000 * round as usize]));
            if round % 3 == 2 {
                let range = (50u16.to_be_bytes().to_vec(), 400u16.to_be_bytes().to_vec());
                changes.push(Change::RemoveRange("t", range.0, range.1));
            }
        }
        changes
    };
    let mut steps = Vec::new();
    for n in 1..=2 {
        steps.push(Step::Abort(rewrite(n + 50, 4)));
        steps.push(Step::Commit(rewrite(n, 4)));
        steps.push(Step::Commit(vec![Change::put("t", "small", vec![n as u8; 100])]));
        steps.push(Step::Rollback(rewrite(n + 20, 4), rewrite(n + 70, 5)));
        if n == 2 {
            steps.push(Step::Reopen);
        }
    }
    record::<MemSource>(Setup::SMALL, &steps).unwrap()
});

/// Crashes a run at every entry and checks what opens under `S`; returns how many images there were.
fn crash_everywhere<S: TestSource>(run: &Recorded, random: u64, single: u64) -> Result<u64, String> {
    let mut images = 0;
    walk(&run.ops, Bounds::new(None), &[], &mut |crashes, bounds| {
        for plan in plans(crashes, random, single) {
            check_image::<S>(run.setup, crashes, &plan, &run.history, &bounds.allowed())?;
            images += 1;
        }
        Ok(())
    })?;
    Ok(images)
}

fn every_image_opens<S: TestSource>() {
    let images = crash_everywhere::<S>(&RUN, 3, 1).unwrap_or_else(|what| panic!("{}: {what}", S::NAME));
    assert!(images > 5000, "{images} images");
}

#[test]
fn every_image_opens_in_memory() {
    every_image_opens::<MemSource>();
}

#[test]
fn every_image_of_checkpoints_in_the_background_opens() {
    let run = &*STEPS;
    assert!(run.checkpoints > 10, "{} checkpoints", run.checkpoints);

    let images = crash_everywhere::<MemSource>(run, 3, 1).unwrap_or_else(|what| panic!("{what}"));
    assert!(images > 5000, "{images} images");
    #[cfg(feature = "mmap")]
    crash_everywhere::<bifold::mmap::Source>(run, 1, 0).unwrap_or_else(|what| panic!("mmap: {what}"));
    #[cfg(feature = "buffer-pool")]
    crash_everywhere::<bifold::pool::Source>(run, 1, 0).unwrap_or_else(|what| panic!("pool: {what}"));
}

#[cfg(feature = "mmap")]
#[test]
fn every_image_opens_under_mmap() {
    every_image_opens::<bifold::mmap::Source>();
}

#[cfg(feature = "buffer-pool")]
#[test]
fn every_image_opens_under_the_pool() {
    every_image_opens::<bifold::pool::Source>();
}

#[test]
fn every_image_of_transactions_that_use_their_own_places_again_opens() {
    let run = &*REWRITES;
    let mut times = BTreeMap::new();
    let mut most = 0;
    let mut commits = 0;
    let files = Files::of(&run.ops);
    for op in &run.ops {
        match op {
            Op::Mark { what: ACKED, .. } => {
                commits += 1;
                times.clear();
            }
            Op::Write { file, offset, .. } if files.which(*file) == Some(Which::Db) && *offset >= HEAD => {
                let times = times.entry(*offset).or_insert(0);
                *times += 1;
                most = most.max(*times);
            }
            _ => {}
        }
    }
    assert_eq!(commits, 6);
    assert!(most >= 4, "a place was written {most} times in one transaction");
    let images = crash_everywhere::<MemSource>(run, 1, 0).unwrap_or_else(|what| panic!("{what}"));
    assert!(images > 300, "{images} images");
    #[cfg(feature = "mmap")]
    crash_everywhere::<bifold::mmap::Source>(run, 1, 0).unwrap_or_else(|what| panic!("mmap: {what}"));
    #[cfg(feature = "buffer-pool")]
    crash_everywhere::<bifold::pool::Source>(run, 1, 0).unwrap_or_else(|what| panic!("pool: {what}"));
}

/// The writes to one of a run's files: position, offset, length.
fn writes(run: &Recorded, which: Which) -> Vec<(usize, u64, u64)> {
    let files = Files::of(&run.ops);
    let of = |(at, op): (usize, &Op)| match op {
        Op::Write { file, offset, bytes } if files.which(*file) == Some(which) => {
            Some((at, *offset, bytes.len() as u64))
        }
        _ => None,
    };
    run.ops.iter().enumerate().filter_map(of).collect()
}

/// The entries between each commit's beginning and its acknowledgement, by its number.
fn commits(run: &Recorded) -> BTreeMap<u64, std::ops::Range<usize>> {
    let mut found = BTreeMap::new();
    for (at, op) in run.ops.iter().enumerate() {
        match op {
            Op::Mark { what: STARTED, number } => {
                found.insert(*number, at..at);
            }
            Op::Mark { what: ACKED, number } => found.get_mut(number).unwrap().end = at,
            _ => {}
        }
    }
    found
}

/// Where commit `n`'s own bytes were written within `within` to one of the files, the last time.
fn bytes_of(
    run: &Recorded,
    files: &Files,
    which: Which,
    n: u64,
    within: &std::ops::Range<usize>,
) -> Option<usize> {
    let needle = needle(n);
    within.clone().rev().find(|&at| match &run.ops[at] {
        Op::Write { file, bytes, .. } if files.which(*file) == Some(which) => {
            bytes.windows(needle.len()).any(|window| window == needle)
        }
        _ => false,
    })
}

#[test]
fn the_run_holds_what_it_is_for() {
    let run = &*RUN;
    let files = Files::of(&run.ops);
    let count = |wanted: &dyn Fn(&Op) -> bool| run.ops.iter().filter(|op| wanted(op)).count();
    assert_eq!(count(&|op| matches!(op, Op::Publish { path, .. } if path == Path::new(DB))), 1, "creation");
    assert!(run.checkpoints > 10, "{} checkpoints", run.checkpoints);
    let removed = count(&|op| matches!(op, Op::Unlink { .. }));
    assert!(removed >= 3, "the log was removed {removed} times");

    let pages = writes(run, Which::Db);
    let mut times = BTreeMap::new();
    for (_, offset, _) in pages.iter().filter(|(_, offset, len)| *offset >= HEAD && *len <= 4096) {
        *times.entry(offset).or_insert(0) += 1;
    }
    let reused = times.values().filter(|&&times| times > 1).count();
    assert!(reused > 20, "{reused} pages were written more than once");
    let large = pages.iter().filter(|(_, _, len)| *len > 64 << 10).count();
    assert!(large >= 8, "{large} large values");
    let (mut len, mut grown, mut cut) = (0, 0, 0);
    for op in &run.ops {
        if let Op::SetLen { file, len: new } = op
            && files.which(*file) == Some(Which::Db)
        {
            grown += u64::from(*new > len);
            cut += u64::from(*new < len);
            len = *new;
        }
    }
    assert!(grown >= 2 && cut >= 1, "the file grew {grown} times and was cut {cut} times");

    let dropped = run.history.windows(2).filter(|w| w[0].contains_key("gone") && !w[1].contains_key("gone"));
    assert!(dropped.count() >= 3, "a table was dropped");
    let medium = run.history.iter().any(|state| {
        state.get("big").is_some_and(|rows| rows.values().any(|v| (513..60_000).contains(&v.len())))
    });
    assert!(medium, "values of more than a page");

    let log: Vec<_> = writes(run, Which::Log).into_iter().filter(|(_, at, _)| *at >= LOG_HEADS).collect();
    let wraps = log.windows(2).filter(|w| w[1].1 < w[0].1).count();
    assert!(wraps >= 5, "the log wrapped {wraps} times");
    let by_checkpoint = commits(run)
        .iter()
        .filter(|(n, within)| bytes_of(run, &files, Which::Log, **n, within).is_none())
        .count();
    assert!((3..10).contains(&by_checkpoint), "{by_checkpoint} commits were made by a checkpoint");
}

#[test]
fn before_a_commit_is_acknowledged_its_bytes_were_synced() {
    let run = &*RUN;
    let files = Files::of(&run.ops);
    for (n, within) in commits(run) {
        let acked = within.end;
        let Some(record) = bytes_of(run, &files, Which::Log, n, &within) else {
            // Made by a checkpoint: first its pages, then a meta that names them.
            let pages = bytes_of(run, &files, Which::Db, n, &within).expect("its bytes are in the file");
            let synced = synced_after(run, &files, Which::Db, pages, acked).expect("its pages are synced");
            let is_meta = |(at, offset, _): &(usize, u64, u64)| *at > synced && *offset < HEAD;
            let (first, ..) = writes(run, Which::Db).into_iter().find(is_meta).expect("a meta names them");
            // Its copy follows it.
            assert!(
                synced_after(run, &files, Which::Db, first + 1, acked).is_some(),
                "the meta of commit {n}"
            );
            continue;
        };
        assert!(synced_after(run, &files, Which::Log, record, acked).is_some(), "the record of commit {n}");
        let large = writes(run, Which::Db)
            .into_iter()
            .rev()
            .find(|(at, offset, _)| within.contains(at) && *at < record && *offset >= HEAD);
        if let Some((last, ..)) = large {
            let synced = synced_after(run, &files, Which::Db, last, record);
            assert!(synced.is_some(), "the large values of commit {n} were not synced before its record");
        }
    }
}

/// Where the first sync of a file ended that began after `written`, if that was before `until`.
fn synced_after(run: &Recorded, files: &Files, which: Which, written: usize, until: usize) -> Option<usize> {
    let mut begun = Vec::new();
    (written + 1..until).find(|&at| match &run.ops[at] {
        Op::SyncBegin { file, sync } if files.which(*file) == Some(which) => {
            begun.push(*sync);
            false
        }
        Op::SyncEnd { sync, ok: true, .. } => begun.contains(sync),
        _ => false,
    })
}

/// After recovery, the database is as good as any: a reader shows the same without writing, commits go on, and stay.
fn goes_on<S: TestSource>(every: u64) {
    let run = &*RUN;
    let mut count = 0;
    walk(&run.ops, Bounds::new(None), &[], &mut |crashes, bounds| {
        let seed = crashes.position() as u64;
        if !seed.is_multiple_of(every) {
            return Ok(());
        }
        let plan = CrashPlan::random(seed);
        let fs = disk(crashes, &plan);
        let before: Vec<_> = fs.paths().iter().map(|path| fs.read_file(path).unwrap()).collect();
        let read_only = run.setup.builder::<S>(fs.clone()).read_only().open(DB);
        let seen = match read_only {
            Ok(db) => Some(shown(&db, &run.history)?),
            Err(_) if bounds.allowed().absent => None,
            Err(error) => return Err(format!("{plan:?}: opening to read: {error}")),
        };
        let after_reading: Vec<_> = fs.paths().iter().map(|path| fs.read_file(path).unwrap()).collect();
        assert!(before == after_reading, "a reader wrote");

        let Some((db, number)) = check::<S>(run.setup, fs.clone(), &run.history, &bounds.allowed())? else {
            return Ok(());
        };
        assert_eq!(seen, Some(number), "{plan:?}");
        is_clean(&db).map_err(|e| format!("{plan:?}: {e}"))?;
        let mut history = run.history[..=number as usize].to_vec();
        let mut rng = Rng::new(seed);
        for n in number + 1..number + 6 {
            let changes = changes(n, &mut rng);
            history.push(after(history.last().unwrap(), &changes));
            commit(&db, &changes).map_err(|e| format!("{plan:?}: commit {n}: {e}"))?;
            assert_eq!(shown(&db, &history)?, n);
        }
        is_clean(&db).map_err(|e| format!("{plan:?}, five commits later: {e}"))?;
        db.close().map_err(|e| format!("{plan:?}: closing: {e}"))?;
        let newest = number + 5;
        let allowed = Allowed { commits: newest..=newest, absent: false };
        check::<S>(run.setup, fs, &history, &allowed).map_err(|e| format!("{plan:?}: again: {e}"))?;
        count += 1;
        Ok(())
    })
    .unwrap_or_else(|what| panic!("{}: {what}", S::NAME));
    assert!(count > 20, "{count} images");
}

#[test]
fn what_recovered_goes_on() {
    goes_on::<MemSource>(4);
    #[cfg(feature = "mmap")]
    goes_on::<bifold::mmap::Source>(11);
    #[cfg(feature = "buffer-pool")]
    goes_on::<bifold::pool::Source>(13);
}

#[test]
fn a_log_that_grows_is_never_lost() {
    let setup = Setup { page: 512, delta: 16 << 20, log: 4 << 20 };
    let value = |n: u64, i: u64| vec![(n * 7 + i) as u8; 60_000];
    let steps: Vec<Step> = (1..=24)
        .map(|n| {
            Step::Commit((0..2).map(|i| Change::put("t", [(n % 3) as u8, i as u8], value(n, i))).collect())
        })
        .collect();
    let run = record::<MemSource>(setup, &steps).unwrap();
    let growths = run.ops.windows(2).filter(|w| {
        matches!(w, [Op::SetLen { len, .. }, Op::Write { offset, .. }] if *offset >= 1 << 20 && *len > *offset)
    });
    assert!(growths.count() >= 1, "the log grew");
    walk(&run.ops, Bounds::new(None), &[], &mut |crashes, bounds| {
        let seed = crashes.position() as u64;
        let plan = if seed.is_multiple_of(4) { CrashPlan::AllDropped } else { CrashPlan::random(seed) };
        check_image::<MemSource>(run.setup, crashes, &plan, &run.history, &bounds.allowed()).map(drop)
    })
    .unwrap();
}

#[test]
fn pages_of_4096_bytes_crash_as_well() {
    let setup = Setup { page: 4096, delta: 256 << 10, log: 16 << 10 };
    let run = record::<MemSource>(setup, &script(30, 2)).unwrap();
    crash_everywhere::<MemSource>(&run, 1, 1).unwrap();
}
