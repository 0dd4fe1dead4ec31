//! What a report means, in words.
#![forbid(unsafe_code)]

use super::{Report, Row, Summary, percent};
use crate::cell::{Died, Outcome};
use std::fmt::Write;

/// The names of Bifold's two sides.
const MMAP: &str = "bifold-mmap";
const POOL: &str = "bifold-pool";
/// Two sides within this factor are called equal, whatever their spread: machines differ more from day to day.
const EQUAL: f64 = 1.05;
/// A side that began so much of what was due kept its rate.
const KEPT: f64 = 0.99;

/// Which side won, workload by workload, and by how much. A difference that the rounds do not bear out is called none.
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
    let mut wins = (0, 0, 0);
    for summary in &summaries {
        let (Some(mmap), Some(pool)) = (summary.row(MMAP), summary.row(POOL)) else { continue };
        let said = match compared(mmap, pool) {
            Compared::Neither => continue,
            Compared::Died(side, how) => format!("{side} has no result ({how})"),
            _ if [mmap, pool].iter().all(|row| keeps(row)) => {
                "both kept the rate, so that only their latencies and costs can differ".into()
            }
            Compared::Equal => {
                wins.2 += 1;
                "no difference that these rounds bear out".into()
            }
            Compared::Mmap(factor) => {
                wins.0 += 1;
                format!("mmap is {factor:.1} times as fast as the pool{}", tail(mmap, pool))
            }
            Compared::Pool(factor) => {
                wins.1 += 1;
                format!("the pool is {factor:.1} times as fast as mmap{}", tail(pool, mmap))
            }
        };
        let _ = writeln!(text, "- {}, {}: {said}.", summary.part.title, summary.workload);
    }
    let (mmap, pool, equal) = wins;
    if wins == (0, 0, 0) {
        return text;
    }
    let whole = match (mmap, pool) {
        (0, 0) => "On these workloads it does not matter for speed which side you build with.".to_owned(),
        (_, 0) => format!("mmap wins {mmap} of {}; the pool wins none.", mmap + equal),
        (0, _) => format!("The pool wins {pool} of {}; mmap wins none.", pool + equal),
        _ => format!("mmap wins {mmap}, the pool wins {pool}, {equal} are equal: it depends on what you do."),
    };
    format!("{text}{whole}\n")
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

enum Compared {
    Mmap(f64),
    Pool(f64),
    Equal,
    Died(&'static str, String),
    Neither,
}

fn compared(mmap: &Row<'_>, pool: &Row<'_>) -> Compared {
    let died = |row: &Row<'_>| row.died.first().map(ToString::to_string);
    match (&mmap.rate, &pool.rate) {
        (None, None) => Compared::Neither,
        (None, Some(_)) => died(mmap).map_or(Compared::Neither, |how| Compared::Died("mmap", how)),
        (Some(_), None) => died(pool).map_or(Compared::Neither, |how| Compared::Died("the pool", how)),
        (Some(m), Some(p)) => {
            let factor = m.median / p.median;
            if m.rounds.min(p.rounds) < 2 {
                return Compared::Equal;
            }
            // With every round of the one before every round of the other, chance is an unlikely winner.
            if factor > EQUAL && m.least > p.most {
                Compared::Mmap(factor)
            } else if factor < 1.0 / EQUAL && p.least > m.most {
                Compared::Pool(1.0 / factor)
            } else {
                Compared::Equal
            }
        }
    }
}
