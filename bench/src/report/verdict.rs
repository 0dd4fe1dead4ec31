//! What a report means, in words. It never says more than the rounds bear out ([`Contest`]).
#![forbid(unsafe_code)]

use super::contest::{Contest, Doubts, are, times};
use super::ranking::{Fastest, Peers, raced};
use super::{Report, Row, Summary, percent};
use crate::cell::{Died, Outcome};
use std::fmt::Write;

/// The names of Bifold's two sides, and how they are spoken of.
const MMAP: &str = "bifold-mmap";
const POOL: &str = "bifold-pool";
const SPOKEN: [&str; 2] = ["mmap", "the pool"];
/// A side that began so much of what was due kept its rate.
const KEPT: f64 = 0.99;
/// What is said where no rate tells sides apart, as each did what was due.
const ONLY_COSTS: &str = "kept the rate, so that only their latencies and costs can differ";

/// Which side won, workload by workload, and by how much; then what that comes to, and what would decide the rest. If both
/// of Bifold's sides are there, they are compared, and stand to the others in a sentence; otherwise all are ranked.
pub fn verdict(report: &Report) -> String {
    let mut text = String::new();
    for cell in &report.cells {
        if let Err(died @ (Died::Failed(_) | Died::Silent(_) | Died::TookTooLong(_))) = &cell.result {
            let round = cell.round + 1;
            let _ = writeln!(text, "- FAILED: {}, {}, round {round}: {died}", cell.side, cell.workload);
        }
    }
    let summaries = Summary::all(report);
    for summary in &summaries {
        not_kept(&mut text, summary);
    }
    let (mut tally, mut fastest, mut doubts) = (Tally::default(), Fastest::default(), Doubts::default());
    let mut peers = Peers::default();
    for summary in &summaries {
        let said = match (summary.row(MMAP), summary.row(POOL)) {
            (Some(mmap), Some(pool)) => {
                // Where a rate was set, it does not show who could do more.
                if summary.rows.iter().all(|row| row.kept().is_none()) {
                    peers.add([mmap, pool], &summary.rows, &mut doubts);
                }
                tally.say(mmap, pool, &mut doubts)
            }
            _ => ranked(&mut fastest, summary, &mut doubts),
        };
        if let Some(said) = said {
            let part = partly(&summary.rows);
            let _ = writeln!(text, "- {}, {}: {said}{part}.", summary.part.title, summary.workload);
        }
    }
    for line in [tally.sum(), fastest.sum(), peers.sum(SPOKEN), doubts.remedy()].into_iter().flatten() {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// How the two sides did, counted in workloads.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    wins: [usize; 2],
    within: usize,
    undecided: usize,
    /// Only one side has a result.
    alone: usize,
}

impl Tally {
    /// Counts a workload, and says how the two did; `None` if there is nothing to be said.
    fn say(&mut self, mmap: &Row<'_>, pool: &Row<'_>, doubts: &mut Doubts) -> Option<String> {
        let (m, p) = match (raced(mmap), raced(pool)) {
            (Some(m), Some(p)) => (m, p),
            (None, None) => {
                let (a, b) = (lost(mmap)?, lost(pool)?);
                return Some(format!("neither has a result (mmap: {a}; the pool: {b})"));
            }
            (Some(_), None) => return Some(self.alone(SPOKEN[1], &lost(pool)?)),
            (None, Some(_)) => return Some(self.alone(SPOKEN[0], &lost(mmap)?)),
        };
        if keeps(mmap) && keeps(pool) {
            return Some(format!("both {ONLY_COSTS}"));
        }
        Some(match Contest::of(&m, &p)? {
            Contest::First(factor) => {
                self.wins[0] += 1;
                won(SPOKEN, factor, [mmap, pool])
            }
            Contest::Second(factor) => {
                self.wins[1] += 1;
                let [mmap_name, pool_name] = SPOKEN;
                won([pool_name, mmap_name], factor, [pool, mmap])
            }
            Contest::Within => {
                self.within += 1;
                "no difference: all rounds of both lie within 5 %".into()
            }
            Contest::Undecided(doubt) => {
                self.undecided += 1;
                doubts.add(doubt);
                doubt.words((SPOKEN[0], m.median), (SPOKEN[1], p.median))
            }
        })
    }

    fn alone(&mut self, side: &str, how: &str) -> String {
        self.alone += 1;
        format!("{side} has no result ({how})")
    }

    /// What it comes to; nothing if no workload was compared.
    fn sum(self) -> Option<String> {
        let [mmap, pool] = self.wins;
        let compared = mmap + pool + self.within + self.undecided;
        if compared == 0 {
            return None;
        }
        if self.within == compared {
            let whole = "On these workloads it does not matter for speed which side you build with";
            return Some(format!("{whole}{}.", self.others(false)));
        }
        if self.undecided == compared {
            let whole = "Nothing is decided: these rounds do not tell which side to build with for speed";
            return Some(format!("{whole}{}.", self.others(false)));
        }
        let others = self.others(true);
        Some(match (mmap, pool) {
            (0, 0) => format!("Neither wins any of {compared}{others}."),
            (_, 0) => format!("mmap wins {mmap} of {compared}; the pool wins none{others}."),
            (0, _) => format!("The pool wins {pool} of {compared}; mmap wins none{others}."),
            _ => format!(
                "mmap wins {mmap}, the pool wins {pool} of {compared}{others}: it depends on what you do."
            ),
        })
    }

    /// The workloads that nobody wins, each kind apart; with those that were `compared`.
    fn others(self, compared: bool) -> String {
        let mut text = String::new();
        let mut add = |count: usize, what: &str| {
            if count > 0 {
                let _ = write!(text, "; {count} {} {what}", are(count));
            }
        };
        if compared {
            add(self.within, "within 5 %");
            add(self.undecided, "undecided");
        }
        add(self.alone, "without a result on one side");
        text
    }
}

/// That a side won, by how much, and what it pays for it. One that did all that was due might have done more.
fn won(names: [&str; 2], factor: f64, [winner, loser]: [&Row<'_>; 2]) -> String {
    let least = if keeps(winner) { "at least " } else { "" };
    let [first, second] = names;
    format!("{first} is {least}{} times as fast as {second}{}", times(factor), tail(winner, loser))
}

/// Why a side has no rate to compare; `None` if it was not run.
fn lost(row: &Row<'_>) -> Option<String> {
    let died = row.died.first().map(ToString::to_string);
    died.or_else(|| row.rate.map(|_| "no operation ended in its time".to_owned()))
}

/// Which sides have no result in some of their rounds, so that they are compared by fewer.
fn partly(rows: &[Row<'_>]) -> String {
    let some = rows.iter().filter(|row| row.rate.is_some() && !row.died.is_empty());
    let of = |row: &Row<'_>| {
        let all = row.died.len() + row.outcomes.len();
        format!("; {} has no result in {} of {all} rounds", row.side, row.died.len())
    };
    some.map(of).collect()
}

/// Which of all sides is the fastest at a workload.
fn ranked<'r>(fastest: &mut Fastest<'r>, summary: &Summary<'r>, doubts: &mut Doubts) -> Option<String> {
    let raced = summary.rows.iter().filter(|row| row.rate.is_some()).count();
    let kept: Vec<&str> = summary.rows.iter().filter(|row| keeps(row)).map(|row| row.side).collect();
    match kept.len() {
        0 => fastest.say(&summary.rows, doubts),
        _ if raced < 2 => None,
        all if all == raced => Some(format!("all {ONLY_COSTS}")),
        1 => Some(format!("only {} kept the rate", kept.concat())),
        _ => Some(format!("{} {ONLY_COSTS}; the others did not", kept.join(", "))),
    }
}

/// Whether a rate was set, and the side kept it.
fn keeps(row: &Row<'_>) -> bool {
    row.kept().is_some_and(|kept| kept.median >= KEPT)
}

/// Which sides did not keep the rate.
fn not_kept(text: &mut String, summary: &Summary<'_>) {
    for row in &summary.rows {
        if let Some(kept) = row.kept().filter(|_| !keeps(row)) {
            let kept = percent(kept.median);
            let what = match summary.part.pace.rate {
                Some(rate) => format!(
                    "kept {kept} of the rate of {rate} a second; what was due and never begun has no latency"
                ),
                // A replay.
                None => format!("began {kept} of the calls in the recorded time, and the others after it"),
            };
            let (title, workload, side) = (&summary.part.title, &summary.workload, &row.side);
            let _ = writeln!(text, "- NOT KEPT UP: {title}, {workload}: {side} {what}.");
        }
    }
}

/// What the winner pays, or gains besides.
fn tail(winner: &Row<'_>, loser: &Row<'_>) -> String {
    let cpu = |row: &Row<'_>| row.value(Outcome::cpu_per_op).map(|value| value.median);
    let p999 = |row: &Row<'_>| {
        row.value(|outcome| outcome.main().map_or(f64::NAN, |done| done.latency.p999 as f64))
            .map(|v| v.median)
    };
    let mut said = Vec::new();
    for (what, of) in [("processor time", &cpu as &dyn Fn(&Row<'_>) -> Option<f64>), ("p99.9", &p999)] {
        if let (Some(mine), Some(other)) = (of(winner), of(loser))
            && mine > 0.0
            && other > 0.0
        {
            match mine / other {
                part if part > 1.5 => said.push(format!("{part:.1} times the {what}")),
                part if part < 1.0 / 1.5 => said.push(format!("{:.1} times less {what}", 1.0 / part)),
                _ => {}
            }
        }
    }
    if said.is_empty() { String::new() } else { format!(", at {}", said.join(" and ")) }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
