//! Power cuts and I/O errors anywhere in a run with loads of sorted entries: what opens afterwards is the state after
//! some commit, the last that was acknowledged or one begun after it; an error leaves a load undone as a whole.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::{Db, Error};
use bifold_page_source::testing::pages::Rng;
use bifold_page_source::testing::{Fault, FaultFs, OpKind};
use bifold_page_source::{MemFs, MemSource};
use common::crashes::{Bounds, check_image, plans, walk};
use common::model::{Change, Rows, State, after};
use common::run::{Step, changes, commit, record};
use common::verify::{Allowed, check, is_clean, is_named, shown};
use common::{DB, Setup, TestSource};
use std::sync::Arc;

/// The load of commit `n`: some hundred entries behind those of the commits before, values of all sizes.
fn loaded(n: u64, rng: &mut Rng) -> Change {
    let rows: Rows = (0..100 + rng.below(300))
        .map(|i| {
            let len = match i % 60 {
                7 => 200 + rng.below(3000),
                33 if n.is_multiple_of(8) => 66_000,
                _ => rng.below(90),
            };
            (format!("load {n:04} entry {i:04}").into_bytes(), vec![(n + i) as u8; len as usize].into())
        })
        .collect();
    Change::Load(if n.is_multiple_of(3) { "loaded" } else { "loads" }, Arc::new(rows))
}

/// Ordinary commits, loads between them and in them, loads that are rolled back, aborted and dropped again.
fn script(commits: u64, seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut steps = Vec::new();
    for n in 1..=commits {
        let mut changes = changes(n, &mut rng);
        if n % 2 == 0 {
            changes.push(loaded(n, &mut rng));
        }
        if n % 4 == 0 {
            let from = format!("load {:04} entry 0050", n.saturating_sub(2)).into_bytes();
            let to = format!("load {n:04} entry 0040").into_bytes();
            changes.push(Change::RemoveRange("loads", from, to));
            changes.push(Change::put("loads", format!("load {n:04} entry 0090"), "changed"));
        }
        if n % 10 == 0 {
            changes.push(Change::Drop("loaded"));
        }
        match n % 5 {
            3 => steps.push(Step::Abort(vec![loaded(n + 1000, &mut rng)])),
            4 => {
                let more = vec![loaded(n + 1000, &mut rng), Change::Drop("loads")];
                steps.push(Step::Rollback(changes, more));
                continue;
            }
            _ => {}
        }
        steps.push(Step::Commit(changes));
        if n % 9 == 5 {
            steps.push(Step::Checkpoint);
        }
        if n == commits / 2 {
            steps.push(Step::Reopen);
        }
    }
    steps
}

fn every_image_opens<S: TestSource>(random: u64) {
    let run = record::<MemSource>(Setup::SMALL, &script(22, 3)).unwrap();
    assert!(run.history.iter().any(|state| state.get("loads").is_some_and(|rows| rows.len() > 500)));
    let mut images = 0;
    walk(&run.ops, Bounds::new(None), &[], &mut |crashes, bounds| {
        for plan in plans(crashes, random, 0) {
            check_image::<S>(run.setup, crashes, &plan, &run.history, &bounds.allowed())?;
            images += 1;
        }
        Ok(())
    })
    .unwrap_or_else(|what| panic!("{}: {what}", S::NAME));
    println!("{images} images");
    assert!(images > 1000, "{images} images");
}

#[test]
fn every_image_opens_in_memory() {
    every_image_opens::<MemSource>(2);
}

#[cfg(feature = "mmap")]
#[test]
fn every_image_opens_under_mmap() {
    every_image_opens::<bifold::mmap::Source>(1);
}

#[cfg(feature = "buffer-pool")]
#[test]
fn every_image_opens_under_the_pool() {
    every_image_opens::<bifold::pool::Source>(1);
}

/// A database with something in it, on a disk with faults.
struct Bed<S: TestSource> {
    disk: MemFs,
    faults: FaultFs,
    db: Db<S>,
    history: Vec<State>,
}

fn bed<S: TestSource>() -> Bed<S> {
    let disk = MemFs::new();
    let mut faults = FaultFs::new(Arc::new(disk.clone()));
    if S::NAME != "mmap" {
        faults = faults.without_descriptors();
    }
    let db = Setup::SMALL.builder::<S>(Arc::new(faults.clone())).open(DB).unwrap();
    let mut history = vec![State::new()];
    let mut rng = Rng::new(9);
    for n in 1..=6 {
        let changes = [changes(n, &mut rng), vec![loaded(n, &mut rng)]].concat();
        commit(&db, &changes).unwrap();
        history.push(after(&history[history.len() - 1], &changes));
    }
    Bed { disk, faults, db, history }
}

/// A load with one fault in it or in its commit; false if the fault was not met.
fn load_with<S: TestSource>(fault: Fault) -> Result<bool, String> {
    let Bed { disk, faults, db, mut history } = bed::<S>();
    let changes = vec![loaded(8, &mut Rng::new(5)), loaded(9, &mut Rng::new(6))];
    let newest = history.len() as u64 - 1;
    let fired = faults.fired();
    faults.fail(fault);
    let result = commit(&db, &changes);
    let met = faults.fired() > fired;
    history.push(after(&history[newest as usize], &changes));
    let mut acked = newest;
    let mut most = newest;
    match &result {
        Ok(()) => (acked, most) = (newest + 1, newest + 1),
        Err(Error::OutcomeUnknown(_)) => most = newest + 1,
        Err(error) if is_named(error) => {}
        Err(error) => return Err(format!("an I/O error became {error:?}")),
    }
    faults.heal();
    let sees = shown(&db, &history)?;
    if sees != acked {
        return Err(format!("after {result:?} readers see commit {sees}"));
    }
    let poisoned = matches!(db.write(), Err(Error::Poisoned(_)));
    if result.is_err() && !poisoned {
        is_clean(&db)?;
        commit(&db, &changes).map_err(|e| format!("after {result:?}, once more: {e:?}"))?;
        (acked, most) = (newest + 1, newest + 1);
        is_clean(&db)?;
    }
    drop(db);
    let allowed = Allowed { commits: acked..=most, absent: false };
    let opened = check::<S>(Setup::SMALL, Arc::new(disk), &history, &allowed)?;
    let (db, _) = opened.ok_or("there is no database")?;
    is_clean(&db)?;
    Ok(met)
}

fn at_every_call<S: TestSource>(kind: OpKind, shape: fn(Fault) -> Fault) -> u64 {
    let (mut k, mut runs) = (0, 0);
    loop {
        match load_with::<S>(shape(Fault::new(kind).after(k))) {
            Ok(false) => return runs,
            Ok(true) => runs += 1,
            Err(what) => panic!("{}: {kind:?} number {k} failed: {what}", S::NAME),
        }
        k += 1 + k / 30;
    }
}

fn errors_are_named<S: TestSource>() {
    assert!(at_every_call::<S>(OpKind::Write, |fault| fault) > 10);
    at_every_call::<S>(OpKind::Write, |fault| fault.torn_after(1));
    at_every_call::<S>(OpKind::Write, |fault| fault.raw_error(28));
    assert!(at_every_call::<S>(OpKind::Sync, |fault| fault) > 1);
    assert!(at_every_call::<S>(OpKind::Allocate, |fault| fault) > 0);
    at_every_call::<S>(OpKind::Allocate, |fault| fault.raw_error(28));
}

#[test]
fn errors_in_a_load_are_named() {
    errors_are_named::<MemSource>();
    #[cfg(feature = "mmap")]
    errors_are_named::<bifold::mmap::Source>();
    #[cfg(feature = "buffer-pool")]
    errors_are_named::<bifold::pool::Source>();
}
