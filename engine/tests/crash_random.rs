//! Lives of random databases: a random run, a crash somewhere in it, recovery, the next run on what was left, and so on,
//! each under another backend. What no script thought of.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "test code: what fails here is to panic")]

mod common;

use bifold::Durability;
use bifold_page_source::MemSource;
use bifold_page_source::testing::pages::Rng;
use bifold_page_source::testing::{CrashPlan, Crashes, Image};
use common::crashes::Bounds;
use common::model::{Change, State};
use common::run::{OPENED, Step, go_on, recording};
use common::verify::{check, is_clean};
use common::{DB, Setup, TestSource, step_at_once, step_by_hand};
use std::sync::Arc;

const TABLES: [&str; 4] = ["a", "b", "c", "d"];

fn value(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(40) {
        0 => 65_537 + rng.below(20_000),
        1 => 60_000 + rng.below(5537),
        2..=4 => 500 + rng.below(6000),
        5 => 0,
        _ => rng.below(120),
    };
    vec![rng.below(256) as u8; len as usize]
}

fn key(rng: &mut Rng) -> Vec<u8> {
    let mut key = format!("{:03}", rng.below(200)).into_bytes();
    // Some are as long as keys in small pages can be.
    if rng.below(8) == 0 {
        key.resize(100 + rng.below(28) as usize, b'x');
    }
    key
}

fn change(rng: &mut Rng) -> Change {
    let table = TABLES[rng.below(4) as usize];
    match rng.below(30) {
        0 => Change::Drop(table),
        1 | 2 => Change::RemoveRange(table, key(rng), key(rng)),
        3 => Change::Rename(table, TABLES[rng.below(4) as usize]),
        4..=8 => Change::Remove(table, key(rng)),
        _ => Change::Put(table, key(rng), value(rng).into()),
    }
}

fn changes(rng: &mut Rng) -> Vec<Change> {
    let most = [2, 10, 40][rng.below(3) as usize];
    let mut changes: Vec<Change> = (0..rng.below(most)).map(|_| change(rng)).collect();
    // What changes nothing is no commit.
    changes.push(Change::put("count", "", rng.below(u64::MAX).to_be_bytes()));
    changes
}

fn steps(rng: &mut Rng) -> Vec<Step> {
    let step = |rng: &mut Rng| match rng.below(20) {
        0 => Step::Checkpoint,
        1 => Step::Reopen,
        2 => Step::Abort(changes(rng)),
        3 => Step::Rollback(changes(rng), changes(rng)),
        4 | 5 => Step::Hold,
        6 => Step::Sync,
        7 => Step::Wait(rng.below(1000)),
        8..=11 => Step::Background(1 + rng.below(20)),
        12 => Step::CommitAs(changes(rng), Durability::Deferred),
        13 => Step::CommitAs(changes(rng), Durability::Buffered),
        14 => Step::CommitAs(changes(rng), Durability::Sync),
        15 if rng.below(2) == 0 => Step::Compact,
        _ => Step::Commit(changes(rng)),
    };
    (0..3 + rng.below(35)).map(|_| step(rng)).collect()
}

/// One stretch of a life: opens what was left, checks it, goes on, and crashes. Returns what is left then.
fn live<S: TestSource>(
    setup: Setup,
    image: Image,
    bounds: &mut Bounds,
    history: &mut Vec<State>,
    rng: &mut Rng,
) -> Result<Image, String> {
    let met = image.len();
    let fs = recording(image);
    let seam = Arc::new(fs.clone());
    let opened = check::<S>(setup, seam.clone(), history, &bounds.allowed())?;
    let (db, number) = match opened {
        Some(opened) => opened,
        None => (setup.builder(seam).open(DB).map_err(|e| format!("creating: {e}"))?, 0),
    };
    is_clean(&db)?;
    // A second recovery, of what is left of this one, finds the same; and if there was none, nothing or an empty one.
    *bounds = if met == 0 { Bounds::new(None) } else { Bounds::new(Some(number)) };
    fs.mark(OPENED, number);
    history.truncate(number as usize + 1);
    let steps = steps(rng);
    go_on(&fs, setup, db, history, &steps).map_err(|e| format!("{}: going on: {e}", S::NAME))?;
    let ops = fs.ops();
    let mut crashes = Crashes::new(&ops);
    let stop = met + rng.below((ops.len() - met) as u64 + 1) as usize;
    while crashes.position() < stop
        && let Some(op) = crashes.advance()
    {
        bounds.note(op);
    }
    let plan = match rng.below(6) {
        0 => CrashPlan::AllKept,
        1 => CrashPlan::AllDropped,
        _ => CrashPlan::random(rng.below(u64::MAX)),
    };
    // Commits after the crash were never begun.
    history.truncate(*bounds.allowed().commits.end() as usize + 1);
    Ok(crashes.image(&plan))
}

fn life(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let page = [512, 512, 1024, 4096][rng.below(4) as usize];
    let mut image = Image::new();
    let mut history = vec![State::new()];
    let mut bounds = Bounds::new(None);
    for round in 0..8 {
        // Sometimes background work is done where it is called for, and else bit by bit, or not at all.
        if rng.below(3) == 0 {
            step_at_once();
        } else {
            step_by_hand();
        }
        // Whoever opens may have other options than whoever wrote.
        let setup = Setup {
            page,
            delta: [64 << 10, 256 << 10, 4 << 20][rng.below(3) as usize],
            log: [16 << 10, 64 << 10, 256 << 10][rng.below(3) as usize],
        };
        let (image_now, bounds, history) = (std::mem::take(&mut image), &mut bounds, &mut history);
        let rng = &mut rng;
        let left = match rng.below(3) {
            #[cfg(feature = "mmap")]
            0 => live::<bifold::mmap::Source>(setup, image_now, bounds, history, rng),
            #[cfg(feature = "buffer-pool")]
            1 => live::<bifold::pool::Source>(setup, image_now, bounds, history, rng),
            _ => live::<MemSource>(setup, image_now, bounds, history, rng),
        };
        image = left.map_err(|what| format!("seed {seed}, round {round}, {setup:?}: {what}"))?;
    }
    Ok(())
}

#[test]
fn random_lives_lose_nothing() {
    // More of them: `BIFOLD_TEST_LIVES=10000`.
    let lives = std::env::var("BIFOLD_TEST_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    for seed in 0..lives {
        life(seed).unwrap_or_else(|what| panic!("{what}"));
    }
}
