//! What a sweep means, in words: where each side wins, and by how much.
#![forbid(unsafe_code)]

use super::costs::time;
use super::document::{Ended, Sweep};
use super::grid::{Measure, Place, Standing, standing};
use super::text::short;
use std::fmt::Write;

/// What the cells of one size say together.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Says {
    /// This side wins all of them, or none does.
    One(Option<usize>),
    /// Below this number of threads it is one, from there on another.
    Split { few: Option<usize>, from: u64, many: Option<usize> },
    /// It changes more often.
    Mixed,
}

/// Sizes, one behind the other, that say the same.
struct Group {
    says: Says,
    sizes: Vec<usize>,
}

/// A side as one speaks of it.
pub(super) fn spoken(side: &str) -> &str {
    match side {
        "bifold-mmap" => "mmap",
        "bifold-pool" => "the pool",
        other => other.strip_prefix("bifold-").unwrap_or(other),
    }
}

/// The verdict, one line for each measure, and what it rests on.
pub fn verdict(sweep: &Sweep) -> String {
    let mut text = String::new();
    for (side, place, died) in sweep.failures() {
        let _ = writeln!(text, "- FAILED: {side}, {}: {died}", sweep.settings.label(place));
    }
    for measure in Measure::ALL {
        let groups = groups(sweep, measure);
        if groups.is_empty() {
            continue;
        }
        let said: Vec<String> = groups.iter().map(|group| sentence(sweep, measure, group)).collect();
        let _ = writeln!(text, "- {}: {}.", measure.name(), said.join("; "));
    }
    let unsure = |place: &Place| {
        let standing = standing(&sweep.repeats, *place, Measure::Rate);
        standing.known() && !standing.sure()
    };
    let (cells, all) = (sweep.cells(), sweep.settings.grid.len());
    let unsure = sweep.settings.grid.places().filter(unsure).count();
    let _ = write!(
        text,
        "{cells} of {all} cells were run, {} pairs of runs in {}",
        sweep.repeats.len(),
        time(sweep.seconds)
    );
    if unsure > 0 {
        let _ = write!(text, "; the throughput of {unsure} was run once only, or is undecided");
    }
    let _ = writeln!(
        text,
        "{}.",
        match sweep.ended {
            Ended::Done => "; more would tell little",
            Ended::Budget => "; the budget is used up (--resume goes on)",
            Ended::CutShort => "; it was cut short (--resume goes on)",
        }
    );
    let _ = writeln!(text, "Memory: {}.", sweep.settings.setup(0).1);
    text
}

fn known(sweep: &Sweep, measure: Measure, size: usize) -> Vec<(u64, Standing)> {
    let threads = sweep.settings.grid.threads.iter().enumerate();
    let all = threads
        .map(|(index, count)| (*count, standing(&sweep.repeats, Place { size, threads: index }, measure)));
    all.filter(|(_, standing)| standing.known()).collect()
}

fn says(cells: &[(u64, Standing)]) -> Option<Says> {
    let mut changes: Vec<(u64, Option<usize>)> = Vec::new();
    for (threads, standing) in cells {
        if changes.last().is_none_or(|(_, winner)| *winner != standing.winner()) {
            changes.push((*threads, standing.winner()));
        }
    }
    match changes.as_slice() {
        [] => None,
        [(_, one)] => Some(Says::One(*one)),
        [(_, few), (from, many)] => Some(Says::Split { few: *few, from: *from, many: *many }),
        _ => Some(Says::Mixed),
    }
}

fn groups(sweep: &Sweep, measure: Measure) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for size in 0..sweep.settings.grid.sizes.len() {
        let Some(says) = says(&known(sweep, measure, size)) else { continue };
        match groups.last_mut() {
            Some(group) if group.says == says => group.sizes.push(size),
            _ => groups.push(Group { says, sizes: vec![size] }),
        }
    }
    groups
}

fn sentence(sweep: &Sweep, measure: Measure, group: &Group) -> String {
    let sizes: Vec<String> =
        group.sizes.iter().map(|size| format!("{}x", sweep.settings.grid.sizes[*size])).collect();
    let sizes = match sizes.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => sizes.concat(),
    };
    let cells = || group.sizes.iter().flat_map(|size| known(sweep, measure, *size));
    let who = |winner, from: u64, below: u64| {
        let within = cells().filter(|(threads, _)| (from..below).contains(threads));
        outcome(sweep, measure, winner, &within.map(|(_, standing)| standing).collect::<Vec<_>>())
    };
    match group.says {
        Says::One(winner) => format!("at {sizes} memory {}", who(winner, 0, u64::MAX)),
        Says::Split { few, from, many } => format!(
            "at {sizes} memory {} with fewer than {from} threads, and from {from} on {}",
            who(few, 0, from),
            who(many, from, u64::MAX)
        ),
        Says::Mixed => {
            let wins = |side| cells().filter(|(_, standing)| standing.winner() == Some(side)).count();
            let [first, second] = &sweep.settings.sides;
            let (a, b) = (wins(0), wins(1));
            let even = cells().count() - a - b;
            format!(
                "at {sizes} memory it changes with the threads: of its cells {} wins {a}, {} {b}, and neither {even}",
                spoken(first),
                spoken(second)
            )
        }
    }
}

/// By how much `winner` wins in these cells, all of which it wins.
fn outcome(sweep: &Sweep, measure: Measure, winner: Option<usize>, cells: &[Standing]) -> String {
    let Some(name) = winner.and_then(|side| sweep.settings.sides.get(side)) else {
        let sure = cells.iter().all(Standing::sure);
        let said = if sure { "there is no difference" } else { "the runs do not decide it" };
        return said.into();
    };
    let factors = cells.iter().filter_map(|standing| match standing {
        Standing::Wins { factor, .. } => Some(*factor),
        _ => None,
    });
    let (least, most) = factors.fold((f64::INFINITY, 0.0f64), |(l, m), f| (l.min(f), m.max(f)));
    let name = spoken(name);
    if least > most {
        return format!("only {name} comes to a result");
    }
    let (least, most) = (short(least), short(most));
    let factor = if least == most { least } else { format!("{least} to {most}") };
    format!("{name} is {factor} {}", measure.better())
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::sweep;
    use super::super::grid::tests::repeat;
    use super::*;

    #[test]
    fn a_verdict_says_where_each_side_wins() {
        let mut repeats = Vec::new();
        for threads in 0..3 {
            repeats.extend([repeat(0, threads, 1.5), repeat(0, threads, 1.5)]);
            let at_one = if threads == 0 { 1.2 } else { 0.5 };
            repeats.extend([repeat(1, threads, at_one), repeat(1, threads, at_one)]);
        }
        repeats.push(repeat(3, 2, 0.25));
        let text = verdict(&sweep(repeats));
        let wanted = "- throughput: at 0.5x memory mmap is 1.50 times as fast; at 1x memory mmap is 1.20 times as fast \
                      with fewer than 8 threads, and from 8 on the pool is 2.00 times as fast; at 8x memory the pool \
                      is 4.00 times as fast.\n";
        assert!(text.starts_with(wanted), "{text}");
        assert!(
            text.contains("per operation: at 0.5x, 1x and 8x memory the runs do not decide it"),
            "{text}"
        );
        assert!(
            text.contains("7 of 12 cells were run, 13 pairs of runs in 0 s; the throughput of 1 was"),
            "{text}"
        );
        assert!(text.contains("Memory: each side has 256 MiB"), "{text}");
    }

    #[test]
    fn what_changes_often_is_counted() {
        let text = verdict(&sweep(vec![repeat(2, 0, 2.0), repeat(2, 1, 0.5), repeat(2, 2, 3.0)]));
        assert!(text.contains("of its cells mmap wins 2, the pool 1, and neither 0"), "{text}");
        let none = verdict(&sweep(Vec::new()));
        assert!(none.starts_with("0 of 12 cells"), "{none}");
    }
}
