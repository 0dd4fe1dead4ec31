//! A diff for a terminal.
#![forbid(unsafe_code)]

use super::change::percent;
use super::{Change, Diff, Judged, Line};
use std::fmt::Write;

/// The columns: rate, three latencies, processor time, disk.
const HEAD: [&str; 6] = ["ops/s", "p50", "p99", "p99.9", "cpu/op", "disk/op"];

/// The mark behind a figure.
const fn mark(judged: Judged) -> &'static str {
    match judged {
        Judged::Better => "+",
        Judged::Worse => "!",
        Judged::Same => "=",
        Judged::Noise => "~",
        Judged::TooFew => "?",
        Judged::Unknown => " ",
    }
}

/// All of it: a table of changes, what is better and worse in words, and what that is worth.
pub(super) fn table(diff: &Diff) -> String {
    let mut text = String::new();
    if !diff.warnings.is_empty() {
        text.push_str("Not made alike, so differences may come from that:\n");
        diff.warnings.iter().for_each(|warning| {
            let _ = writeln!(text, "- {warning}");
        });
    }
    let mut part = None;
    for line in &diff.lines {
        if part != Some(&line.part) {
            part = Some(&line.part);
            heading(&mut text, &line.part);
        }
        row(&mut text, line);
    }
    if !diff.lines.is_empty() {
        let _ = writeln!(
            text,
            "\n! worse  + better  = within {}  ~ within the noise of the rounds  ? fewer than 3 rounds: nothing can be said",
            percent(diff.threshold).trim_start_matches('+')
        );
    }
    for (judged, name) in [(Judged::Worse, "Worse"), (Judged::Better, "Better")] {
        said(&mut text, diff, judged, name);
    }
    if !diff.missing.is_empty() {
        text.push_str("\nNot compared:\n");
        diff.missing.iter().for_each(|missing| {
            let _ = writeln!(text, "- {missing}");
        });
    }
    conclusion(&mut text, diff);
    text
}

fn heading(text: &mut String, part: &str) {
    let _ = write!(text, "\n== {part} ==\n{:<14} {:<18}", "workload", "side");
    for name in HEAD {
        let _ = write!(text, " {name:>10}");
    }
    text.push('\n');
}

fn cell(change: Option<&Change>) -> String {
    let Some(change) = change else { return String::new() };
    let shown = match (change.judged, change.change) {
        (Judged::Unknown, _) => "-".into(),
        (_, Some(share)) => percent(share),
        (_, None) => "from 0".into(),
    };
    format!("{shown} {}", mark(change.judged))
}

/// A line, and one for the latencies of each kind of operation if there are several.
fn row(text: &mut String, line: &Line) {
    let figure = |index: usize| cell(line.figures.get(index));
    // Of several kinds, each has its own line.
    let latencies = if let [(_, changes)] = line.latencies.as_slice() { changes.as_slice() } else { &[] };
    let latency = |index: usize| cell(latencies.get(index));
    let cells = [figure(0), latency(0), latency(1), latency(2), figure(1), figure(2)];
    let _ = write!(text, "{:<14} {:<18}", line.workload, line.side);
    for cell in cells {
        let _ = write!(text, " {cell:>10}");
    }
    text.push('\n');
    for (op, changes) in line.latencies.iter().filter(|_| line.latencies.len() > 1) {
        let _ = write!(text, "{:<14} {:<18} {:>10}", "", format!("  {op}"), "");
        for change in changes {
            let _ = write!(text, " {:>10}", cell(Some(change)));
        }
        text.push('\n');
    }
    if let Some(ending) = &line.ending {
        let words = |how: &Option<String>| how.clone().unwrap_or_else(|| "none".into());
        let _ = writeln!(text, "  without a result: before {}; now {}", words(&ending.a), words(&ending.b));
    }
}

fn said(text: &mut String, diff: &Diff, judged: Judged, name: &str) {
    if diff.count(judged) == 0 {
        return;
    }
    let _ = writeln!(text, "\n{name}:");
    for line in &diff.lines {
        let place = format!("{}, {}, {}", line.part, line.workload, line.side);
        if let Some(ending) = line.ending.as_ref().filter(|ending| ending.judged == judged) {
            let (how, when) = match (&ending.a, &ending.b) {
                (_, Some(how)) => (how, "now"),
                (Some(how), None) => (how, "before"),
                (None, None) => continue,
            };
            let _ = writeln!(text, "- {place}: without a result {when}: {how}");
        }
        for change in line.figures.iter().filter(|change| change.judged == judged) {
            let _ = writeln!(text, "- {place}: {} {}", change.figure, change.words());
        }
        for (op, changes) in &line.latencies {
            for change in changes.iter().filter(|change| change.judged == judged) {
                let _ = writeln!(text, "- {place}: {} of {op} {}", change.figure, change.words());
            }
        }
    }
}

fn conclusion(text: &mut String, diff: &Diff) {
    let count = |judged| diff.count(judged);
    let (worse, better) = (count(Judged::Worse), count(Judged::Better));
    let _ = writeln!(
        text,
        "\n{worse} worse, {better} better, {} the same, {} within the noise, {} with too few rounds.",
        count(Judged::Same),
        count(Judged::Noise),
        count(Judged::TooFew)
    );
    if worse + better > 0 && diff.by_chance >= 0.1 {
        let _ = writeln!(
            text,
            "Rounds as few as these fall apart by chance: of so many figures, up to {:.1} would be worse, and as many \
             better, if nothing had changed. More --rounds make that rare.",
            diff.by_chance
        );
    }
}
