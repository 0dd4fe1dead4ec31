//! Reports as one page of HTML, which needs nothing besides itself: no script, no font, no picture from elsewhere.
//!
//! What comes from outside (names of sides and workloads, paths, errors, what the system said) is escaped. The map of a
//! sweep is drawn with the same means ([`html`], [`svg`]), and looks alike.
#![forbid(unsafe_code)]

mod about;
pub(crate) mod html;
mod plots;
pub(crate) mod svg;
mod table;

use super::{Part, Report, Row, Summary, Unit, Value, counted, ops_of, short, verdict};
use crate::limits::Limits;
use html::escape;
use std::fmt::Write;

/// Colours that the style sheet has; further sides take them again, paler.
const COLOURS: usize = 16;
/// The most kinds of operation whose latencies are drawn.
const CURVES: usize = 2;

/// The sides in the order in which the report first names them: the place is the colour.
struct Sides<'r>(Vec<&'r str>);

impl<'r> Sides<'r> {
    fn of(report: &'r Report) -> Self {
        let mut sides = Vec::new();
        for side in report.parts.iter().flat_map(|part| &part.sides) {
            if !sides.contains(&side.as_str()) {
                sides.push(side.as_str());
            }
        }
        Self(sides)
    }

    fn index(&self, side: &str) -> usize {
        self.0.iter().position(|known| *known == side).unwrap_or(0) % COLOURS
    }

    /// A patch of the side's colour.
    fn key(&self, side: &str) -> String {
        format!("<i class=\"k s{}\" aria-hidden=\"true\"></i>", self.index(side))
    }

    /// Which colour is which side, for the sides that have lines.
    fn keys(&self, summary: &Summary<'_>) -> String {
        let lines = summary.rows.iter().filter(|row| row.rate.is_some());
        let keys = lines.map(|row| format!("<span>{}{}</span> ", self.key(row.side), escape(row.side)));
        format!(" <span class=\"keys\">{}</span>", keys.collect::<String>())
    }
}

/// A value in few characters, for a page.
fn shown(unit: Unit, value: f64) -> String {
    unit.show(value).replace(" us", " µs")
}

/// A rate with its spread, in words.
fn rate(value: &Value) -> String {
    let median = short(value.median);
    if value.rounds < 2 {
        return median;
    }
    format!("{median} ({} – {})", short(value.least), short(value.most))
}

/// How the rounds of a row ended that have no outcome; each way once.
fn ended(row: &Row<'_>) -> String {
    let mut ways: Vec<(String, usize)> = Vec::new();
    for died in &row.died {
        let how = died.to_string();
        match ways.iter_mut().find(|(known, _)| *known == how) {
            Some((_, times)) => *times += 1,
            None => ways.push((how, 1)),
        }
    }
    if ways.is_empty() {
        return "not run".into();
    }
    let all = row.died.len() + row.outcomes.len();
    let way = |(how, times): &(String, usize)| match (*times == all, all) {
        (true, _) => how.clone(),
        (false, _) => format!("{how} ({times} of {})", counted(all as u64, "round")),
    };
    ways.iter().map(way).collect::<Vec<_>>().join("; ")
}

/// A page.
pub fn page(report: &Report) -> String {
    let sides = Sides::of(report);
    let mut text = html::begin("Bifold benchmark", &about::title(report), &report.environment);
    if let Some(cut) = report.cut("on this page") {
        let _ = writeln!(text, "<p class=\"warn\">{}</p>", escape(&cut));
    }
    html::verdict(&mut text, verdict(report).lines());
    let mut number = 0;
    for (index, part) in report.parts.iter().enumerate() {
        let summaries: Vec<_> =
            (0..part.workloads.len()).filter_map(|w| Summary::of(report, index, w)).collect();
        part_of(&mut text, index, part, &summaries, &sides, number);
        for summary in &summaries {
            workload(&mut text, number, summary, &sides, report.limits.as_ref());
            number += 1;
        }
        text.push_str("</section>\n");
    }
    about::article_of(&mut text, report);
    about::appendix(&mut text, report);
    text.push_str(html::END);
    text
}

/// The head of a part: its conditions, and all rates in a table with links. `number` is its first workload's.
fn part_of(
    text: &mut String,
    index: usize,
    part: &Part,
    summaries: &[Summary<'_>],
    sides: &Sides<'_>,
    number: usize,
) {
    let _ = write!(
        text,
        "<section class=\"part\" aria-labelledby=\"part-{index}\">\n<h2 id=\"part-{index}\">{}</h2>\n",
        escape(&part.title)
    );
    about::conditions(text, part);
    if summaries.len() < 2 {
        return;
    }
    let _ = write!(
        text,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All rates\"><table class=\"all\">\
         <caption>Operations a second, and how many times {}</caption><thead><tr><th scope=\"col\">workload</th>",
        escape(&part.baseline)
    );
    for side in &part.sides {
        let _ = write!(text, "<th scope=\"col\">{}{}</th>", sides.key(side), escape(side));
    }
    text.push_str("</tr></thead><tbody>");
    for (at, summary) in summaries.iter().enumerate() {
        let _ = write!(
            text,
            "\n<tr><th scope=\"row\"><a href=\"#w{}\">{}</a></th>",
            number + at,
            escape(summary.workload)
        );
        for row in &summary.rows {
            let _ = match (row.rate, row.ratio) {
                (Some(rate), Some(ratio)) if row.side != part.baseline => {
                    write!(text, "<td>{} <small>{:.2}×</small></td>", short(rate.median), ratio.median)
                }
                (Some(rate), _) => write!(text, "<td>{}</td>", short(rate.median)),
                (None, _) => write!(text, "<td class=\"bad\">{}</td>", escape(&ended(row))),
            };
        }
        text.push_str("</tr>");
    }
    text.push_str("</tbody></table></div>\n");
}

fn workload(
    text: &mut String,
    number: usize,
    summary: &Summary<'_>,
    sides: &Sides<'_>,
    limits: Option<&Limits>,
) {
    let _ = write!(
        text,
        "<section class=\"workload\" aria-labelledby=\"w{number}\">\n<h3 id=\"w{number}\">{}</h3>\n<p>{}</p>\n",
        escape(summary.workload),
        escape(summary.about)
    );
    for row in summary.rows.iter().filter(|row| !row.died.is_empty()) {
        let _ = writeln!(
            text,
            "<p class=\"warn\"><b>{}</b> has no result in {} of {}: {}</p>",
            escape(row.side),
            row.died.len(),
            counted((row.died.len() + row.outcomes.len()) as u64, "round"),
            escape(&ended(row))
        );
    }
    if summary.rows.iter().all(|row| row.rate.is_none() && row.died.is_empty()) {
        text.push_str("<p>Not run.</p>\n</section>\n");
        return;
    }
    let ops = ops_of(summary.rows.iter().flat_map(|row| row.outcomes.values().copied()));
    let mut figures = Vec::new();
    let keys = sides.keys(summary);
    let mut figure = |caption: &str, keys: &str, plot: &str| {
        figures.push(format!("<figure><figcaption>{}{keys}</figcaption>{plot}</figure>\n", escape(caption)));
    };
    let bars = plots::rates(&format!("r{number}"), summary, sides);
    let many = summary.part.rounds > 1;
    let spread = if many { ": median, and from the slowest round to the fastest" } else { "" };
    figure(&format!("Operations a second{spread}"), "", &bars);
    for (at, op) in ops.iter().take(CURVES).enumerate() {
        if let Some(plot) = plots::latencies(&format!("l{number}-{at}"), summary, sides, *op) {
            figure(&format!("Latency of {}: what share took no longer", op.name()), &keys, &plot);
        }
    }
    if let Some((plot, checkpoints)) = plots::over_time(&format!("t{number}"), summary, sides) {
        let strokes = if checkpoints { "; strokes below are checkpoints" } else { "" };
        let which = if many { "round in the middle" } else { "one round" };
        figure(&format!("Over the time of the {which}{strokes}"), &keys, &plot);
    }
    // Two by two, where three in a row would leave one alone.
    let even = if figures.len() == 4 { " even" } else { "" };
    let _ = writeln!(text, "<div class=\"plots{even}\">\n{}</div>", figures.concat());
    text.push_str(&table::figures(summary, sides, &ops, limits));
    text.push_str("\n</section>\n");
}
