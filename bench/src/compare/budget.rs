//! A budget of time: what does not fit is refused beforehand, and what takes longer than was estimated is cut short.
#![forbid(unsafe_code)]

use super::estimate::{Estimate, time};
use super::run::PartPlan;
use crate::Result;
use crate::drive::Until;
use crate::report::{Cell, Part};
use crate::workload;

/// The shortest runs that are proposed, in seconds and in operations.
const SHORTEST: f64 = 0.1;
const FEWEST: f64 = 100.0;

fn total(plans: &[PartPlan]) -> f64 {
    plans.iter().map(|plan| Estimate::of(plan).seconds).sum()
}

/// What it would be with other parts.
fn changed(plans: &[PartPlan], change: impl Fn(&mut Part)) -> f64 {
    let mut plans = plans.to_vec();
    for plan in &mut plans {
        change(&mut plan.part);
    }
    total(&plans)
}

/// Refuses what takes longer than `budget` seconds, `besides` the parts being what else is done.
///
/// # Errors
/// In words: how long it takes, and what would fit.
pub(super) fn check(plans: &[PartPlan], besides: f64, budget: f64) -> Result<()> {
    let wanted = total(plans) + besides;
    if wanted <= budget {
        return Ok(());
    }
    let fitting = fitting(plans, budget - besides);
    let what = if fitting.is_empty() {
        "fewer rounds, shorter runs or fewer workloads alone do not fit it: take less data (--entries, --data), fewer \
         sides, or a larger --budget"
            .to_owned()
    } else {
        format!("what fits: {}", fitting.join("; or "))
    };
    Err(format!("this takes about {}, and the budget is {}: {what}", time(wanted), time(budget)).into())
}

/// Which single changes would do.
fn fitting(plans: &[PartPlan], budget: f64) -> Vec<String> {
    let mut fitting = Vec::new();
    let rounds = plans.iter().map(|plan| plan.part.rounds).max().unwrap_or(1);
    if let Some(rounds) =
        (1..rounds).rev().find(|rounds| changed(plans, |part| part.rounds = *rounds) <= budget)
    {
        fitting.push(format!("--rounds {rounds}"));
    }
    fitting.extend(shorter(plans, budget));
    if let [plan] = plans {
        let all = &plan.part.workloads;
        let some = |count: usize| changed(plans, |part| part.workloads.truncate(count));
        // Those of a file cannot be asked for by their names.
        let named = |count: usize| all.iter().take(count).all(|w| workload::find(&w.name).is_ok());
        if let Some(count) = (1..all.len()).rev().find(|count| named(*count) && some(*count) <= budget) {
            let names: Vec<&str> = all.iter().take(count).map(|workload| workload.name.as_str()).collect();
            fitting.push(format!("only --workloads {}", names.join(",")));
        }
    }
    fitting
}

/// How short runs would have to be; nothing if that does not do, or if no option says it.
fn shorter(plans: &[PartPlan], budget: f64) -> Option<String> {
    let first = plans.first()?.part.pace.until;
    let replays = |plan: &PartPlan| {
        plan.part.workloads.iter().any(|w| matches!(w.work, crate::workload::Work::Replay(_)))
    };
    if plans.iter().any(|plan| plan.part.pace.until != first || replays(plan)) {
        return None;
    }
    let with = |until: Until| changed(plans, |part| part.pace.until = until);
    // The time is linear in it, but for a warm-up and the loads.
    let (none, long) = match first {
        Until::Seconds(seconds) => (with(Until::Seconds(0.0)), seconds),
        Until::Operations(operations) => (with(Until::Operations(0)), operations as f64),
    };
    let each = (total(plans) - none) / long;
    let most = (budget - none) / each;
    match first {
        Until::Seconds(_) => {
            let seconds = (most * 10.0).floor() / 10.0;
            (seconds >= SHORTEST).then(|| format!("--duration {seconds:.1}"))
        }
        Until::Operations(_) => (most >= FEWEST).then(|| format!("--operations {}", most as u64)),
    }
}

/// Which cells of these parts are missing, in words, a workload of a part each.
pub(super) fn missing(plans: &[PartPlan], cells: &[Cell]) -> Vec<String> {
    let mut missing = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        let part = &plan.part;
        for workload in &part.workloads {
            let there = |side: &str, round: u64| {
                cells.iter().any(|cell| {
                    (cell.part, cell.round) == (index, round)
                        && cell.side == side
                        && cell.workload == workload.name
                })
            };
            let of = |side: &String| (0..part.rounds).filter(|round| !there(side, *round)).collect();
            let rounds: Vec<(&String, Vec<u64>)> = part.sides.iter().map(|side| (side, of(side))).collect();
            let name = if plans.len() > 1 {
                format!("{} ({})", workload.name, part.title)
            } else {
                workload.name.clone()
            };
            if rounds.iter().all(|(_, rounds)| rounds.len() as u64 == part.rounds) {
                missing.push(name);
                continue;
            }
            let some = rounds.iter().filter(|(_, rounds)| !rounds.is_empty()).map(|(side, rounds)| {
                let rounds: Vec<String> = rounds.iter().map(|round| (round + 1).to_string()).collect();
                format!("{side} round {}", rounds.join(", "))
            });
            let some: Vec<String> = some.collect();
            if !some.is_empty() {
                missing.push(format!("{name}: {}", some.join("; ")));
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Died, Source};
    use crate::compare::{Memory, setup_for};
    use crate::corpus::{Made, Sizes};
    use crate::drive::Pace;
    use crate::workload::find;

    fn plan(workloads: &[&str], until: Until) -> PartPlan {
        let made = Made { entries: 1000, keys: Sizes::Fixed(16), values: Sizes::Fixed(100), seed: 1 };
        let part = Part {
            title: "some data".into(),
            sides: vec!["a".into(), "b".into()],
            baseline: "a".into(),
            workloads: workloads.iter().map(|name| find(name).unwrap()).collect(),
            source: Source::Made(made),
            data_bytes: 116_000,
            entries: 1000,
            rounds: 3,
            pace: Pace { threads: 1, warmup: 1.0, until, rate: None, seed: 1 },
            setup: setup_for(116_000, &Memory::default()).0,
            fits: true,
            memory: None,
            notes: Vec::new(),
            check_nanos: 1.0,
        };
        PartPlan { part, aged: 0.0, cold: false, sabotage: None }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let plans = [plan(&["get", "scan"], Until::Seconds(10.0))];
        let all = total(&plans);
        assert!((120.0..150.0).contains(&all), "12 runs of 11 s: {all}");
        assert!(check(&plans, 0.0, all).is_ok());
        let error = check(&plans, 1.0, all).unwrap_err().to_string();
        assert!(error.starts_with("this takes about 2 minutes, and the budget is 2 minutes"), "{error}");
        assert!(error.contains("--rounds 2; or --duration 9.9; or only --workloads get"), "{error}");
        // What is proposed fits, and not much more would.
        for (budget, wanted) in
            [(60.0, "--rounds 1;"), (100.0, "--rounds 2;"), (30.0, "what fits: --duration 1.3")]
        {
            let error = check(&plans, 0.0, budget).unwrap_err().to_string();
            assert!(error.contains(wanted), "{budget}: {error}");
        }
        let mut of_file = plans.clone();
        of_file[0].part.workloads[0].name = "mine.properties".into();
        let error = check(&of_file, 0.0, all - 1.0).unwrap_err().to_string();
        assert!(error.contains("--rounds 2; or --duration") && !error.contains("--workloads"), "{error}");
        let error = check(&plans, 0.0, 10.0).unwrap_err().to_string();
        assert!(error.contains("alone do not fit it") && !error.contains("what fits"), "{error}");

        let plans = [plan(&["get"], Until::Operations(10_000_000))];
        let error = check(&plans, 0.0, 60.0).unwrap_err().to_string();
        let most: u64 = error.split("--operations ").nth(1).unwrap().parse().unwrap();
        let with = |operations| changed(&plans, |part| part.pace.until = Until::Operations(operations));
        assert!(with(most) <= 60.0 && with(most + 10_000) > 60.0, "{error}");
    }

    #[test]
    fn loads_and_ageing_are_estimated() {
        let seconds = |plan: &PartPlan| Estimate::of(plan).seconds;
        let (gets, grows) =
            (plan(&["get", "get-txn"], Until::Seconds(1.0)), plan(&["ycsb-d", "get"], Until::Seconds(1.0)));
        // The first begins with a load, the second with one for each round of ycsb-d and one for what follows.
        let loads = |plan: &PartPlan| super::super::estimate::store_loads(&plan.part);
        assert_eq!((loads(&gets), loads(&grows)), (1, 4));
        assert!(seconds(&grows) > seconds(&gets));
        let big = |plan: &PartPlan| {
            let mut plan = plan.clone();
            plan.part.data_bytes = 6_000_000_000;
            plan
        };
        assert!(
            (500.0..700.0).contains(&(seconds(&big(&grows)) - seconds(&big(&gets)))),
            "3 loads of 2 sides"
        );
        let aged = PartPlan { aged: 1.0, ..big(&grows) };
        assert!((1500.0..1700.0).contains(&(seconds(&aged) - seconds(&big(&grows)))), "each is aged");
        assert!(Estimate::of(&grows).disk_bytes > Estimate::of(&gets).disk_bytes, "inserts take room");
    }

    #[test]
    fn what_was_not_run_is_named() {
        let plans = [plan(&["get", "scan"], Until::Seconds(1.0))];
        let cell = |side: &str, round| Cell {
            part: 0,
            side: side.into(),
            workload: "get".into(),
            round,
            result: Err(Died::ForMemory),
        };
        assert_eq!(missing(&plans, &[]), ["get", "scan"]);
        let mut cells = vec![cell("a", 0), cell("b", 0), cell("a", 1)];
        assert_eq!(missing(&plans, &cells), ["get: a round 3; b round 2, 3", "scan"]);
        cells.extend([cell("b", 1), cell("a", 2), cell("b", 2)]);
        assert_eq!(missing(&plans, &cells), ["scan"]);
        let two = [plans[0].clone(), plan(&["get"], Until::Seconds(1.0))];
        assert_eq!(missing(&two, &cells), ["scan (some data)", "get (some data)"]);
    }
}
