//! Property tests: random operations on the engine and on sorted maps, which must agree at every step.
#![forbid(unsafe_code)]

mod cursor;
mod ops;
mod rough;
mod world;

use super::Backend;
use ops::{Step, steps};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use rough::Rough;
use std::cell::Cell;
use std::fmt::Debug;
use world::World;

/// How many cases each test runs, unless the environment says otherwise.
const CASES: u32 = 96;

fn config(cases: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}

fn run<B: Backend>(page_size: usize, large: u32) {
    let mut runner = TestRunner::new(config(CASES));
    let outcome = runner.run(&steps(large), |steps| {
        World::<B>::new(page_size).run(&steps);
        Ok(())
    });
    report(outcome);
}

pub fn random_operations_agree_with_a_sorted_map<B: Backend>() {
    run::<B>(512, 2);
}

pub fn large_values_agree_with_a_sorted_map<B: Backend>() {
    run::<B>(512, 12);
}

/// Where there is little room for anything.
pub fn transactions_without_room_fail_as_a_whole<B: Backend>() {
    let mut runner = TestRunner::new(config(CASES));
    let room = prop_oneof![3 => Just(0u16), 2 => 1..40u16, 1 => 40..400u16];
    let refused = Cell::new(0);
    let outcome = runner.run(&(steps(4), vec(room, 1..12)), |(steps, rooms)| {
        let mut rough = Rough::<B>::new();
        rough.run(&steps, &rooms);
        refused.set(refused.get() + rough.refused);
        Ok(())
    });
    report(outcome);
    assert!(refused.get() > 0, "nothing was refused: this tests nothing");
}

/// Keys of up to a quarter page: a branch has but three children.
pub fn tall_trees_agree_with_a_sorted_map<B: Backend>() {
    let many = |family, from, n| ops::Many { family, from, step: 1, n };
    let val = ops::Val { len: 3, salt: 9 };
    let mut runner = TestRunner::new(config(CASES / 4));
    let strategy = (0..1500u16, 1..400u16, 0..1500u16, 1..400u16, steps(1));
    let outcome = runner.run(&strategy, |(a, n, b, m, rest)| {
        let mut all = vec![
            Step::Txn(vec![ops::Op::InsertMany(0, many(4, 0, 1500), val)], true),
            Step::Checkpoint,
            Step::Snapshot,
            Step::Txn(vec![ops::Op::RemoveMany(0, many(4, a, n))], true),
            Step::Check,
            Step::Txn(vec![ops::Op::RemoveRange(0, range_start(b), range_start(b + m))], true),
            Step::Check,
        ];
        all.extend(rest);
        World::<B>::new(512).run(&all);
        Ok(())
    });
    report(outcome);
}

/// Fails the test with the least case found, in few lines.
fn report(outcome: Result<(), TestError<impl Debug>>) {
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{why}; the least case: {case:?}"),
        Err(error) => panic!("{error}"),
    }
}

fn range_start(n: u16) -> std::ops::Bound<ops::Key> {
    std::ops::Bound::Included(ops::family(4, n))
}
