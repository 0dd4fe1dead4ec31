//! A sweep as one page of HTML that needs nothing besides: a map for each measure, the verdict, and all figures.
#![forbid(unsafe_code)]

use super::document::Sweep;
use super::grid::{Figures, Measure, Place, Standing, figure, standing};
use super::text::{cell, letters, short};
use super::verdict::verdict;
use crate::report::page::html::{self, escape};
use crate::report::page::svg::Plot;
use std::fmt::Write;

/// A cell's least width and its height, in the units of plots: a factor with its signs has room in it.
const CELL: (f64, f64) = (52.0, 34.0);
/// A factor of so much has the full colour.
const FULL: f64 = 4.0;
/// How much of a side's colour a cell has, from the least to the full: never so much that its word could not be read on it,
/// be the page light or dark.
const COLOUR: (f64, f64) = (0.08, 0.5);

/// The page.
pub fn page(sweep: &Sweep) -> String {
    let [first, second] = &sweep.settings.sides;
    let workload = &sweep.settings.workload;
    let title = format!("Where {first} wins and where {second} does: {}", workload.name);
    let mut text = html::begin("Bifold benchmark: crossover", &title, &sweep.environment);
    let _ = write!(
        text,
        "<section aria-labelledby=\"maps\">\n<h2 id=\"maps\">Maps</h2>\n<p>{}. Across: bytes of data, as multiples of the \
         {} MiB of memory that each side has in all. Up: threads. In a cell stands the winner, and by what factor it \
         wins.</p>\n",
        escape(workload.about.trim_end_matches('.')),
        sweep.settings.memory >> 20
    );
    key(&mut text, sweep);
    text.push_str("<div class=\"plots even\">\n");
    for (index, measure) in Measure::ALL.into_iter().enumerate() {
        let map = svg(&format!("m{index}"), sweep, measure);
        let _ = writeln!(text, "<figure><figcaption>{}</figcaption>{map}</figure>", measure.name());
    }
    text.push_str("</div>\n</section>\n");
    // What a sweep comes to are its points, to the last of them.
    let said = verdict(sweep);
    let points: Vec<String> =
        said.lines().map(|line| format!("- {}", line.trim_start_matches("- "))).collect();
    html::verdict(&mut text, points.iter().map(String::as_str));
    table(&mut text, sweep);
    text.push_str("<section aria-labelledby=\"where\">\n");
    html::where_and_how(&mut text, &sweep.environment, &sweep.command);
    let _ = writeln!(
        text,
        "<p>Each run: all entries are read once, {} s of warm-up, {} s that count; in each repeat both sides, one \
         straight after the other.</p>\n</section>",
        sweep.settings.warmup, sweep.settings.duration
    );
    text.push_str(html::END);
    text
}

/// What colours and signs mean.
fn key(text: &mut String, sweep: &Sweep) {
    let letters = letters(&sweep.settings.sides);
    text.push_str("<p class=\"keys\">");
    for (index, side) in sweep.settings.sides.iter().enumerate() {
        let _ = write!(
            text,
            "<span><i class=\"k s{index}\" aria-hidden=\"true\"></i><b>{}</b> {}</span> ",
            escape(&letters[index].to_string()),
            escape(side)
        );
    }
    for (sign, meaning) in [
        ("=", "no difference"),
        ("~", "undecided"),
        ("?", "run once only"),
        ("!", "the other side has no result"),
        ("x", "neither has"),
        (".", "not run"),
    ] {
        let _ = write!(text, "<span><b>{sign}</b> {meaning}</span> ");
    }
    text.push_str("</p>\n");
}

/// One map, with `id` as the page's only one.
fn svg(id: &str, sweep: &Sweep, measure: Measure) -> String {
    let grid = &sweep.settings.grid;
    let letters = letters(&sweep.settings.sides);
    let about = format!(
        "{} columns of data sizes and {} rows of numbers of threads; all figures are in the table below.",
        grid.sizes.len(),
        grid.threads.len()
    );
    let mut map = Plot::map(id, measure.name(), &about, (grid.sizes.len(), grid.threads.len()), CELL);
    for place in grid.places() {
        let standing = standing(&sweep.repeats, place, measure);
        let (class, much) = match standing {
            Standing::NotRun => ("none".to_owned(), 0.0),
            Standing::Neither => ("even".to_owned(), 0.4),
            Standing::Even { .. } => ("even".to_owned(), 0.15),
            Standing::Alone { side } => (format!("s{side}"), strength(FULL)),
            Standing::Wins { side, factor, .. } => (format!("s{side}"), strength(factor)),
        };
        let tip = tip(sweep, place, measure);
        map.cell((place.size, place.threads), &class, much, &cell(&standing, letters), &tip);
    }
    let middle = |index: usize| index as f64 + 0.5;
    let threads: Vec<_> = grid.threads.iter().enumerate().map(|(i, n)| (middle(i), n.to_string())).collect();
    let sizes: Vec<_> =
        grid.sizes.iter().enumerate().map(|(i, size)| (middle(i), format!("{size}x"))).collect();
    map.upright_at("threads", &threads);
    map.level("data / memory", &sizes);
    map.end()
}

/// How much of its colour a side that wins by a factor has, on a scale of logarithms.
fn strength(factor: f64) -> f64 {
    let part = (factor.max(1.0).ln() / FULL.ln()).min(1.0);
    part.mul_add(COLOUR.1 - COLOUR.0, COLOUR.0)
}

/// What a cell shows when it is pointed at.
fn tip(sweep: &Sweep, place: Place, measure: Measure) -> String {
    let mut text = sweep.settings.label(place);
    let repeats = sweep.repeats.iter().filter(|repeat| repeat.place == place).count();
    let _ = write!(text, ", {repeats} repeats");
    for (side, name) in sweep.settings.sides.iter().enumerate() {
        if let Some(value) = figure(&sweep.repeats, place, side, |figures| measure.figure(figures)) {
            let unit = if measure == Measure::Rate { "operations/s" } else { "ns" };
            let _ = write!(text, "; {name}: {value:.0} {unit}");
        }
    }
    text
}

/// All figures: a line for each side of each cell that was run.
fn table(text: &mut String, sweep: &Sweep) {
    const COLUMNS: [&str; 12] = [
        "data",
        "threads",
        "repeats",
        "side",
        "ops/s",
        "factor",
        "p50, µs",
        "p99, µs",
        "cpu/op, µs",
        "soft faults/op",
        "hard faults/op",
        "disk bytes/op",
    ];
    text.push_str(
        "<section aria-labelledby=\"figures\">\n<h2 id=\"figures\">Figures</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"figures\"><table class=\"all\">\
         <caption>Medians over the repeats of a cell</caption><thead><tr>",
    );
    for column in COLUMNS {
        let _ = write!(text, "<th scope=\"col\">{column}</th>");
    }
    text.push_str("</tr></thead><tbody>");
    for place in sweep.settings.grid.places() {
        if sweep.repeats.iter().any(|repeat| repeat.place == place) {
            (0..sweep.settings.sides.len()).for_each(|side| row(text, sweep, place, side));
        }
    }
    text.push_str("</tbody></table></div>\n</section>\n");
}

/// The line of a side in a cell.
fn row(text: &mut String, sweep: &Sweep, place: Place, side: usize) {
    let repeats = || sweep.repeats.iter().filter(|repeat| repeat.place == place);
    let _ = write!(
        text,
        "\n<tr><th scope=\"row\">{}x</th><td>{}</td><td>{}</td><td>{}</td>",
        sweep.settings.grid.sizes[place.size],
        sweep.settings.grid.threads[place.threads],
        repeats().count(),
        escape(&sweep.settings.sides[side])
    );
    let of = |of: fn(&Figures) -> f64| figure(&sweep.repeats, place, side, of);
    let Some(rate) = of(|f| f.rate) else {
        let died = repeats().find_map(|repeat| repeat.sides[side].as_ref().err());
        let how = died.map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, "<td class=\"bad\" colspan=\"8\">{}</td></tr>", escape(&how));
        return;
    };
    let wins = cell(&standing(&sweep.repeats, place, Measure::Rate), letters(&sweep.settings.sides));
    let mut cells = vec![format!("{rate:.0}"), wins];
    let shown = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(|| "–".into(), show);
    cells.extend(
        [of(|f| f.p50_ns / 1e3), of(|f| f.p99_ns / 1e3), of(|f| f.cpu_ns / 1e3)].map(|v| shown(v, short)),
    );
    cells.extend([of(|f| f.soft_faults), of(|f| f.hard_faults)].map(|v| shown(v, |v| format!("{v:.3}"))));
    cells.push(shown(of(|f| f.read_bytes.unwrap_or(f64::NAN)), |v| format!("{v:.0}")));
    for cell in cells {
        let _ = write!(text, "<td>{}</td>", escape(&cell));
    }
    text.push_str("</tr>");
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::sweep;
    use super::super::grid::tests::repeat;
    use super::*;
    use crate::cell::Died;

    #[test]
    fn a_map_has_a_rectangle_for_each_cell() {
        let mut died = repeat(3, 2, 1.0);
        died.sides[0] = Err(Died::Failed("<oh & no>".into()));
        let sweep = sweep(vec![repeat(0, 0, 1.5), repeat(2, 1, 0.1), died]);
        for measure in Measure::ALL {
            let svg = svg("x", &sweep, measure);
            assert_eq!(svg.matches("<rect").count(), 12);
            assert_eq!(svg.matches("class=\"none\"").count(), 9, "cells not run are drawn as such");
            assert_eq!(svg.matches('<').count(), svg.matches('>').count());
        }
        let svg = svg("x", &sweep, Measure::Rate);
        assert!(svg.contains(">M1.50?<") && svg.contains(">P10.0?<") && svg.contains(">P!<"), "{svg}");
        assert!(svg.contains("class=\"s1\"") && svg.contains("fill-opacity=\"0.50\""), "{svg}");
        let page = page(&sweep);
        assert!(page.contains("&lt;oh &amp; no&gt;") && !page.contains("<oh"));
        assert!(page.contains("data / memory") && page.contains("<li>throughput: "));
    }

    #[test]
    fn who_wins_by_more_has_more_colour() {
        assert!(strength(1.1) < strength(2.0) && strength(2.0) < strength(FULL));
        assert!((strength(100.0) - COLOUR.1).abs() < 1e-9 && (strength(0.5) - COLOUR.0).abs() < 1e-9);
    }
}
