//! Power cuts anywhere in a run that does everything: what opens afterwards is what was acknowledged, or what was begun
//! besides.
#![cfg(feature = "testing")]
#![forbid(unsafe_code)]

mod common;

use bifold_page_source::testing::{CrashPlan, Crashes, Op};
use bifold_page_source::{MemFs, MemSource};
use common::run::{ACKED, OPENED, Recorded, STARTED, record, script};
use common::verify::{Allowed, check};
use common::{Setup, TestSource};
use std::sync::{Arc, LazyLock};

/// The run that most tests crash.
static RUN: LazyLock<Recorded> =
    LazyLock::new(|| record::<MemSource>(Setup::SMALL, &script(66, 1)).unwrap());

/// What an image at a position of a run may be.
#[derive(Debug)]
struct Bounds {
    acked: u64,
    started: u64,
    created: bool,
}

impl Bounds {
    fn new() -> Self {
        Self { acked: 0, started: 0, created: false }
    }

    fn note(&mut self, op: &Op) {
        match op {
            Op::Mark { what: STARTED, number } => self.started = *number,
            Op::Mark { what: ACKED, number } => self.acked = *number,
            Op::Mark { what: OPENED, .. } => self.created = true,
            _ => {}
        }
    }

    fn allowed(&self) -> Allowed {
        Allowed { commits: self.acked..=self.started, absent: !self.created }
    }
}

fn crash<S: TestSource>(run: &Recorded, plans: impl Fn(&Crashes<'_>) -> Vec<CrashPlan>) -> usize {
    let mut crashes = Crashes::new(&run.ops);
    let mut bounds = Bounds::new();
    let mut images = 0;
    while let Some(op) = crashes.advance() {
        bounds.note(op);
        for plan in plans(&crashes) {
            let fs = Arc::new(MemFs::from_files(crashes.image(&plan)).unwrap());
            let opened = check::<S>(run.setup, fs, &run.history, &bounds.allowed());
            if let Err(what) = opened {
                panic!("after {:?} at {}, {plan:?}: {what}", op_name(op), crashes.position());
            }
            images += 1;
        }
    }
    images
}

fn op_name(op: &Op) -> String {
    match op {
        Op::Write { file, offset, bytes } => format!("write {file:?} {offset} {}", bytes.len()),
        Op::Exists { file, .. } => format!("exists {file:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_prefix() {
    let run = &*RUN;
    eprintln!("{} ops, {} checkpoints", run.ops.len(), run.checkpoints);
    let began = std::time::Instant::now();
    let images = crash::<MemSource>(run, |crashes| {
        let seed = crashes.position() as u64 * 10;
        let mut plans = vec![CrashPlan::AllDropped, CrashPlan::AllKept];
        plans.extend((0..4).map(|i| CrashPlan::random(seed + i)));
        let choices = crashes.choices();
        if choices > 0 {
            let one = (seed * 7919) as usize % choices;
            plans.extend([CrashPlan::DropOne(one), CrashPlan::KeepOne(one)]);
        }
        plans
    });
    eprintln!("{images} images in {:?}", began.elapsed());
}
