//! The table of a workload: a column a side, a row a figure.
#![forbid(unsafe_code)]

use super::html::escape;
use super::{Sides, ended, shown};
use crate::cell::Outcome;
use crate::limits::Limits;
use crate::report::{Figure, Row, Summary, Unit, Value, latency_of, of_rounds, percent, share, short};
use crate::workload::Op;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A table that is being written.
struct Table<'s, 'r> {
    text: String,
    summary: &'s Summary<'r>,
    /// A heading that waits for its first row: without one it is left out.
    heading: Option<String>,
    /// Whether there are rows that are not closed.
    open: bool,
}

impl Table<'_, '_> {
    /// A heading of the rows to come.
    fn group(&mut self, name: &str) {
        self.heading = Some(name.to_owned());
    }

    /// A row; left out if no side has a value.
    fn row(&mut self, name: &str, cell: impl Fn(&Row<'_>) -> Option<String>) {
        let cells: Vec<_> = self.summary.rows.iter().map(cell).collect();
        if cells.iter().all(Option::is_none) {
            return;
        }
        if let Some(heading) = self.heading.take() {
            self.close();
            let columns = self.summary.rows.len() + 1;
            let _ = write!(
                self.text,
                "<tbody><tr><th class=\"grp\" colspan=\"{columns}\" scope=\"rowgroup\"><span>{}</span></th></tr>",
                escape(&heading)
            );
            self.open = true;
        }
        let _ = write!(self.text, "<tr><th scope=\"row\">{}</th>", escape(name));
        for cell in cells {
            let _ = write!(self.text, "<td>{}</td>", escape(cell.as_deref().unwrap_or("–")));
        }
        self.text.push_str("</tr>");
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.text.push_str("</tbody>");
        }
    }

    fn figures(&mut self, figures: &[Figure]) {
        for figure in figures {
            self.row(figure.name, |row| Some(shown(figure.unit, row.value(figure.of)?.median)));
        }
    }
}

/// The table.
pub(super) fn figures(
    summary: &Summary<'_>,
    sides: &Sides<'_>,
    ops: &[Op],
    limits: Option<&Limits>,
) -> String {
    let mut table = Table { text: String::new(), summary, heading: None, open: false };
    let caption = format!("{}: {}", summary.workload, of_rounds(summary.part.rounds));
    let _ = write!(
        table.text,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Figures of {0}\"><table>\
         <caption>{1}</caption><thead><tr><td></td>",
        escape(summary.workload),
        escape(&caption)
    );
    for row in &summary.rows {
        let key = sides.key(row.side);
        let _ = write!(table.text, "<th scope=\"col\">{key}{}</th>", escape(row.side));
    }
    table.text.push_str("</tr></thead>");
    speed(&mut table);
    if let Some(limits) = limits {
        table.row("of a limit of this machine", |row| {
            let (share, of) = share(row, summary.part, summary.workload, limits)?;
            Some(format!("{:.0} % of {of}", share * 100.0))
        });
    }
    for op in ops {
        latency(&mut table, *op);
    }
    beside(&mut table);
    table.group("Cost of an operation");
    table.figures(&Figure::COSTS);
    table.group("Disk");
    table.figures(&Figure::TRANSFERS);
    table.group("Space");
    table.figures(&Figure::SIZES);
    table.row("space amplification", |row| {
        Some(short(row.value(|outcome| summary.part.space(outcome))?.median))
    });
    table.close();
    table.text.push_str("</table></div>");
    table.text
}

fn speed(table: &mut Table<'_, '_>) {
    let baseline = table.summary.part.baseline.clone();
    table.group("Speed");
    if table.summary.rows.iter().any(|row| !row.died.is_empty()) {
        table.row("ended", |row| (!row.died.is_empty()).then(|| ended(row)));
    }
    table.row("operations a second", |row| Some(short(row.rate?.median)));
    let many = |row: &Row<'_>| row.rate.is_some_and(|rate| rate.rounds > 1);
    if table.summary.rows.iter().any(many) {
        table.row("slowest to fastest round", |row| {
            row.rate.map(|rate| format!("{} – {}", short(rate.least), short(rate.most)))
        });
    }
    table.row(&format!("times {baseline}"), |row| Some(format!("{:.2}", row.ratio?.median)));
    table.row(table.summary.kept_of(), |row| Some(percent(row.kept()?.median)));
}

/// What was done beside what is measured.
fn beside(table: &mut Table<'_, '_>) {
    let ops: BTreeSet<Op> = table.summary.rows.iter().flat_map(Row::beside).collect();
    for op in ops {
        let nanos = |value: Value| shown(Unit::Nanos, value.median);
        table.group(&format!("Beside that: {}", op.name()));
        table.row("a second", |row| Some(short(row.beside_rate(op)?.median)));
        table.row("p50", |row| row.beside_latency(op, |l| l.p50).map(nanos));
        table.row("p99", |row| row.beside_latency(op, |l| l.p99).map(nanos));
    }
}

fn latency(table: &mut Table<'_, '_>, op: Op) {
    table.group(&format!("Latency of {}", op.name()));
    let of = |row: &Row<'_>, at: &dyn Fn(&crate::cell::Latency) -> f64| {
        let value = |outcome: &Outcome| latency_of(outcome, op).map_or(f64::NAN, at);
        row.value(value).map(|value: Value| shown(Unit::Nanos, value.median))
    };
    table.row("p50", |row| of(row, &|l| l.p50 as f64));
    table.row("p99", |row| of(row, &|l| l.p99 as f64));
    table.row("p99.9", |row| of(row, &|l| l.p999 as f64));
    table.row("longest", |row| of(row, &|l| l.max as f64));
}
