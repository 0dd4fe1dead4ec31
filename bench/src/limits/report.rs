//! The table of limits.
#![forbid(unsafe_code)]

use super::catalog::Spec;
use super::{Figure, Limits};
use std::fmt::Write;

/// The table as text: groups of figures, and under each what is to be known of how they were measured.
pub(super) fn table(limits: &Limits) -> String {
    let mut out = String::new();
    let columns = "median     least-most             unit     for a page of a B-tree";
    // Writing to a string does not fail.
    let _ = writeln!(out, "{:<20} {columns:>10}", "");
    let specs = |figure: &Figure| Spec::named(&figure.name);
    let groups = limits.figures.chunk_by(|a, b| specs(a).map(Spec::group) == specs(b).map(Spec::group));
    for group in groups {
        let heading = group.first().and_then(specs).map(Spec::group).unwrap_or_default();
        let _ = writeln!(out, "\n{heading}");
        for figure in group {
            let meaning = specs(figure).map(|spec| spec.meaning(figure.median)).unwrap_or_default();
            let spread = format!("{}-{}", number(figure.least), number(figure.most));
            let Figure { name, unit, median, .. } = figure;
            let _ = writeln!(out, "  {name:<20} {:>9}  {spread:>17}  {unit:<8} {meaning}", number(*median));
        }
        notes(&mut out, group);
    }
    if !limits.missing.is_empty() {
        let _ = writeln!(out, "\nNot measured");
        for missing in &limits.missing {
            let _ = writeln!(out, "  {:<20} {}", missing.name, missing.reason);
        }
    }
    out
}

/// The notes of a group, each with the names it belongs to if it is not all of theirs.
fn notes(out: &mut String, group: &[Figure]) {
    let mut seen: Vec<&str> = Vec::new();
    for note in group.iter().map(|figure| figure.note.as_str()) {
        if note.is_empty() || seen.contains(&note) {
            continue;
        }
        seen.push(note);
        let names: Vec<&str> =
            group.iter().filter(|figure| figure.note == note).map(|figure| figure.name.as_str()).collect();
        if names.len() == group.len() {
            let _ = writeln!(out, "    ({note})");
        } else {
            let _ = writeln!(out, "    ({}: {note})", names.join(", "));
        }
    }
}

/// Three digits or more, and none that mean nothing.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::super::Missing;
    use super::*;

    #[test]
    fn the_table_has_groups_notes_and_what_is_missing() {
        let figure = |name: &str, note: &str, median| {
            let unit = Spec::named(name).unwrap().unit;
            Figure::of(name, unit, vec![median], note.into()).unwrap()
        };
        let limits = Limits {
            file_bytes: 1,
            engine: String::new(),
            seconds: 1.0,
            figures: vec![
                figure("read-random-1", "one note", 10_000.0),
                figure("read-random-8", "one note", 50_000.0),
                figure("sync-append", "a note", 2000.0),
                figure("sync-overwrite", "another", 12.345),
            ],
            missing: vec![Missing { name: "fault-memory-2m".into(), reason: "no huge pages".into() }],
        };
        let table = table(&limits);
        for part in [
            "a descent waits 100 µs for a page",
            "8 descents at once: 20.0 µs a page",
            "(one note)",
            "(sync-append: a note)",
            "500 commits/s",
            " 12.3 ",
            "Not measured\n  fault-memory-2m      no huge pages",
        ] {
            assert!(table.contains(part), "{part:?} in\n{table}");
        }
        assert_eq!(table.matches("one note").count(), 1);
    }
}
