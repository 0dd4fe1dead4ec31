//! Verdicts on made-up rounds.

use super::super::{Cell, Environment, Part, Report, VERSION};
use super::*;
use crate::cell::{Beside, Done, Latency, Source};
use crate::compare::{Memory, setup_for};
use crate::corpus::{Made, Sizes};
use crate::drive::{Pace, Until};
use crate::usage::Usage;
use crate::workload::{Op, find};

const WORKLOADS: [&str; 4] = ["get", "scan", "get-txn", "ycsb-c"];
/// Rounds of sides that are apart from each other, and that are not.
const SLOW: &[f64] = &[100.0, 101.0, 102.0];
const ALSO_SLOW: &[f64] = &[101.0, 102.0, 103.0];
const FAST: &[f64] = &[198.0, 200.0, 204.0];
const WILD: &[f64] = &[90.0, 150.0, 230.0];

fn outcome(rate: f64) -> Outcome {
    let done = Done { op: Op::Read, count: 1, latency: Latency::default() };
    Outcome {
        operations: (rate * 10.0) as u64,
        main: Op::Read,
        seconds: 10.0,
        ops: vec![done],
        beside: Beside::default(),
        entries_read: 0,
        bytes_read: 0,
        entries_written: 0,
        bytes_written: 0,
        usage: Usage::default(),
        disk: None,
        series: Vec::new(),
        step_ms: 100,
        checkpoints: Vec::new(),
        file_bytes: 0,
        entries_before: None,
        entries: 0,
        open_loop: None,
        counters: None,
        open_seconds: 0.0,
        close_seconds: 0.0,
        cold: None,
        notes: Vec::new(),
    }
}

/// A report with the rates of the rounds of each side, for each workload.
fn report(sides: &[&str], workloads: &[&[&[f64]]]) -> Report {
    let mut cells = Vec::new();
    for (workload, of_sides) in WORKLOADS.iter().zip(workloads) {
        for (side, rates) in sides.iter().zip(*of_sides) {
            for (round, rate) in rates.iter().enumerate() {
                let result = if *rate > 0.0 { Ok(outcome(*rate)) } else { Err(Died::ForMemory) };
                let (side, workload) = ((*side).to_owned(), (*workload).to_owned());
                cells.push(Cell { part: 0, side, workload, round: round as u64, result });
            }
        }
    }
    let made = Made { entries: 1000, keys: Sizes::Fixed(16), values: Sizes::Fixed(100), seed: 1 };
    let names = WORKLOADS.iter().take(workloads.len());
    let part = Part {
        title: "data".into(),
        sides: sides.iter().map(ToString::to_string).collect(),
        baseline: sides[0].into(),
        workloads: names.map(|name| find(name).unwrap()).collect(),
        source: Source::Made(made),
        data_bytes: 116_000,
        entries: 1000,
        rounds: 3,
        pace: Pace { threads: 1, warmup: 0.0, until: Until::Seconds(1.0), rate: None, seed: 1 },
        setup: setup_for(116_000, &Memory::default()).0,
        fits: true,
        memory: None,
        notes: Vec::new(),
        check_nanos: 1.0,
    };
    Report {
        version: VERSION,
        environment: Environment::default(),
        command: Vec::new(),
        complete: true,
        cut_short: None,
        limits: None,
        article: None,
        parts: vec![part],
        cells,
    }
}

fn of_two(workloads: &[[&[f64]; 2]]) -> String {
    let workloads: Vec<&[&[f64]]> = workloads.iter().map(|sides| &sides[..]).collect();
    verdict(&report(&[MMAP, POOL], &workloads))
}

#[test]
fn one_round_is_no_evidence_of_equality() {
    let said = of_two(&[[&[259e3], &[11.8e3]]]);
    let wanted = "- data, get: undecided, as of one round nothing can be said for sure; in it mmap was 21.9 times as fast \
                  as the pool.\n\
                  Nothing is decided: these rounds do not tell which side to build with for speed.\n\
                  To decide what is undecided: --rounds 3 or more, which is the default.\n";
    assert_eq!(said, wanted);
}

#[test]
fn rounds_that_lie_among_each_other_decide_nothing() {
    let said = of_two(&[[WILD, SLOW]]);
    assert!(said.starts_with("- data, get: undecided: by the medians mmap was 1.49 times as fast"), "{said}");
    assert!(said.contains("\nNothing is decided") && said.contains("longer runs (--duration)"), "{said}");
    assert!(!said.contains("does not matter") && !said.contains("--rounds"), "{said}");
    // Medians that are equal are not enough.
    let said = of_two(&[[&[80.0, 101.0, 130.0], SLOW]]);
    assert!(
        said.contains("the medians of mmap and the pool lie within 5 %, but their rounds do not"),
        "{said}"
    );
    assert!(!said.contains("does not matter"), "{said}");
}

#[test]
fn it_does_not_matter_only_if_all_rounds_are_equal() {
    let said = of_two(&[[SLOW, ALSO_SLOW], [ALSO_SLOW, SLOW]]);
    assert!(said.contains("- data, scan: no difference: all rounds of both lie within 5 %.\n"), "{said}");
    assert!(
        said.ends_with("\nOn these workloads it does not matter for speed which side you build with.\n"),
        "{said}"
    );
    let said = of_two(&[[SLOW, ALSO_SLOW], [WILD, SLOW]]);
    assert!(said.contains("\nNeither wins any of 2; 1 is within 5 %; 1 is undecided.\n"), "{said}");
}

#[test]
fn the_sum_tells_wins_equals_and_the_undecided_apart() {
    let said = of_two(&[[FAST, SLOW], [WILD, SLOW], [SLOW, WILD], [SLOW, ALSO_SLOW]]);
    let wanted = "\nmmap wins 1 of 4; the pool wins none; 1 is within 5 %; 2 are undecided.\n";
    assert!(said.contains(wanted), "{said}");
    let said = of_two(&[[FAST, SLOW], [SLOW, FAST], [SLOW, WILD], [SLOW, &[0.0, 0.0, 0.0]]]);
    let wanted =
        "\nmmap wins 1, the pool wins 1 of 3; 1 is undecided; 1 is without a result on one side: it depends";
    assert!(said.contains(wanted), "{said}");
    assert!(said.contains("- data, ycsb-c: the pool has no result (killed: out of memory).\n"), "{said}");
}

#[test]
fn a_side_that_has_no_result_in_some_rounds_is_compared_by_the_rest() {
    let said = of_two(&[[FAST, &[0.0, 100.0, 101.0]]]);
    assert!(said.contains("as of 2 rounds nothing can be said for sure"), "{said}");
    assert!(said.contains("; bifold-pool has no result in 1 of 3 rounds.\n"), "{said}");
}

#[test]
fn sides_without_both_of_bifolds_are_ranked() {
    let sides = [MMAP, "lmdb", "redb"];
    let none: &[f64] = &[0.0, 0.0, 0.0];
    let said =
        verdict(&report(&sides, &[&[SLOW, FAST, ALSO_SLOW], &[FAST, SLOW, none], &[none, none, SLOW]]));
    for wanted in [
        "- data, get: lmdb is the fastest, 1.96 times as fast as the next, redb.\n",
        "- data, scan: bifold-mmap is the fastest, 1.98 times as fast as the next, lmdb.\n",
        "- data, get-txn: only redb comes to a result.\n",
        "\nlmdb is the fastest in 1 of 3, bifold-mmap in 1, redb in 1.\n",
    ] {
        assert!(said.contains(wanted), "{wanted}{said}");
    }
}

#[test]
fn a_ranking_is_no_surer_than_its_rounds() {
    let sides = ["lmdb", "redb", "rocksdb"];
    // The last is slower than both by the medians, and its fastest round is not.
    let said =
        verdict(&report(&sides, &[&[FAST, SLOW, &[10.0, 20.0, 300.0]], &[SLOW, ALSO_SLOW, &[1.0; 3]]]));
    assert!(
        said.contains("- data, get: undecided: by the medians lmdb was 10.0 times as fast as rocksdb"),
        "{said}"
    );
    assert!(
        said.contains("- data, scan: redb and lmdb are the fastest, all their rounds within 5 %.\n"),
        "{said}"
    );
    assert!(said.contains("\nIn 1 of 2 the fastest are within 5 %, 1 is undecided.\n"), "{said}");
    let said = verdict(&report(&sides, &[&[&[3.0], &[2.0], &[1.0]]]));
    assert!(said.contains("of one round nothing can be said for sure; in it lmdb was 1.50 times"), "{said}");
    assert!(said.contains("\nNothing is decided"), "{said}");
    // One side alone has nobody to be faster than.
    assert_eq!(verdict(&report(&sides[..1], &[&[SLOW]])), "");
}

#[test]
fn bifolds_sides_stand_to_the_best_of_the_others_in_a_sentence() {
    let sides = [MMAP, POOL, "lmdb", "redb"];
    let slowest: &[f64] = &[50.0, 50.0, 50.0];
    let workloads: [&[&[f64]]; 3] =
        [&[FAST, SLOW, SLOW, slowest], &[SLOW, slowest, FAST, slowest], &[FAST, SLOW, slowest, WILD]];
    let said = verdict(&report(&sides, &workloads));
    let wanted = "\nAgainst the best of the others (lmdb in 2, redb in 1): mmap is ahead in 1 (1.98 times), behind in 1 \
                  (1.98 times), undecided in 1; the pool is behind in 1 (4.0 times), within 5 % in 1, undecided in 1.\n";
    assert!(said.contains(wanted), "{said}");
    assert!(said.contains("\nmmap wins 3 of 3; the pool wins none.\n"), "{said}");
    assert!(!of_two(&[[FAST, SLOW]]).contains("the others"));
}
