//! A sweep as one page of HTML that needs nothing besides: a map for each measure, drawn as SVG, the verdict, and all
//! figures.
#![forbid(unsafe_code)]

use super::document::Sweep;
use super::grid::{Figures, Measure, Place, Standing, figure, standing};
use super::text::{cell, letters, short};
use super::verdict::verdict;
use std::fmt::Write;

/// A cell's width and height, and the margins at the left and below, in pixels.
const CELL: (usize, usize) = (64, 36);
const LEFT: usize = 70;
const BELOW: usize = 44;
const ABOVE: usize = 8;
/// A factor of so much has the full colour.
const FULL: f64 = 4.0;

/// The colours of the two sides: told apart by colour-blind readers too.
const COLOURS: [(f64, f64, f64); 2] = [(217.0, 95.0, 2.0), (31.0, 105.0, 190.0)];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#1a1a1a;\
background:#fff}h1{font-size:1.5em}h2{font-size:1.1em;margin:1.6em 0 .3em}svg text{font:13px system-ui,sans-serif}\
.maps{display:flex;flex-wrap:wrap;gap:0 2em}svg{max-width:100%;height:auto}table{border-collapse:collapse;font-size:13px}\
td,th{padding:.15em .7em;text-align:right;border-bottom:1px solid #ddd}th{border-bottom:2px solid #999}\
.key span{display:inline-block;padding:0 .6em;margin-right:.6em;border:1px solid #bbb}pre{white-space:pre-wrap;\
font:13px/1.5 ui-monospace,monospace;background:#f6f6f4;padding:1em}";

/// The page.
pub fn page(sweep: &Sweep) -> String {
    let [first, second] = &sweep.settings.sides;
    let letters = letters(&sweep.settings.sides);
    let mut html = String::new();
    let title = format!("Where {first} wins and where {second} does: {}", sweep.settings.workload.name);
    let _ = write!(
        html,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{0}</title><style>{STYLE}</style><h1>{0}</h1><p>{1}. Across: bytes of data, as multiples of the {2} MiB of \
         memory that each side has in all. Up: threads. In a cell stands the winner and by what factor it wins.</p>",
        escape(&title),
        escape(&sweep.settings.workload.about),
        sweep.settings.memory >> 20
    );
    let _ = write!(
        html,
        "<p class=key><span style=\"background:{};color:#fff\">{}</span>{}&emsp;<span style=\"background:{};color:#fff\">{}</span>{}&emsp;\
         <span style=\"background:#e4e4e0\">=</span>no difference&emsp;<span style=\"background:#e4e4e0\">~</span>within \
         the noise&emsp;<span>?</span>run once only&emsp;<span>!</span>the other side has no result&emsp;\
         <span style=\"border-style:dashed\">&nbsp;</span>not run</p><div class=maps>",
        colour(0, FULL),
        letters[0],
        escape(first),
        colour(1, FULL),
        letters[1],
        escape(second)
    );
    for measure in Measure::ALL {
        let _ = write!(html, "<section><h2>{}</h2>{}</section>", measure.name(), svg(sweep, measure));
    }
    html.push_str("</div><h2>In words</h2><ul>");
    for line in verdict(sweep).lines() {
        let _ = write!(html, "<li>{}</li>", escape(line.strip_prefix("- ").unwrap_or(line)));
    }
    html.push_str("</ul><h2>Figures</h2><p>Medians over the repeats of a cell.</p>");
    table(&mut html, sweep);
    html.push_str("<h2>Where and how</h2><pre>");
    for line in sweep.environment.lines() {
        let _ = writeln!(html, "{}", escape(&line));
    }
    let _ = writeln!(
        html,
        "each run: all entries are read once, {} s of warm-up, {} s that count; in each repeat both sides, one straight \
         after the other",
        sweep.settings.warmup, sweep.settings.duration
    );
    let _ = writeln!(html, "{}</pre></html>", escape(&sweep.command.join(" ")));
    html
}

/// One map.
pub fn svg(sweep: &Sweep, measure: Measure) -> String {
    let grid = &sweep.settings.grid;
    let letters = letters(&sweep.settings.sides);
    let (width, height) = (LEFT + CELL.0 * grid.sizes.len() + 8, ABOVE + CELL.1 * grid.threads.len() + BELOW);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" aria-label=\"{}\">",
        measure.name()
    );
    for place in grid.places() {
        let (x, y) = (LEFT + CELL.0 * place.size, ABOVE + CELL.1 * (grid.threads.len() - 1 - place.threads));
        let standing = standing(&sweep.repeats, place, measure);
        let fill = match standing {
            Standing::NotRun => "none".to_owned(),
            Standing::Neither => "#999".to_owned(),
            Standing::Even { .. } => "#e4e4e0".to_owned(),
            Standing::Alone { side } => colour(side, FULL),
            Standing::Wins { side, factor, .. } => colour(side, factor),
        };
        let not_run = standing == Standing::NotRun;
        let stroke = if not_run { "stroke=\"#bbb\" stroke-dasharray=\"3 3\"" } else { "stroke=\"#fff\"" };
        let ink = match standing {
            Standing::Alone { .. } => "#fff",
            Standing::Wins { factor, .. } if factor > 2.4 => "#fff",
            _ => "#1a1a1a",
        };
        let text = if not_run { String::new() } else { cell(&standing, letters) };
        let _ = write!(
            svg,
            "<g><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{fill}\" {stroke}/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{ink}\">{text}</text></g>",
            escape(&tip(sweep, place, measure)),
            x + 1,
            y + 1,
            CELL.0 - 2,
            CELL.1 - 2,
            x + CELL.0 / 2,
            y + CELL.1 / 2 + 5
        );
    }
    for (index, threads) in grid.threads.iter().enumerate() {
        let y = ABOVE + CELL.1 * (grid.threads.len() - 1 - index) + CELL.1 / 2 + 5;
        let _ = write!(svg, "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{threads}</text>", LEFT - 8);
    }
    let below = ABOVE + CELL.1 * grid.threads.len();
    for (index, size) in grid.sizes.iter().enumerate() {
        let x = LEFT + CELL.0 * index + CELL.0 / 2;
        let _ = write!(svg, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{size}x</text>", below + 17);
    }
    let (middle, up) = (LEFT + CELL.0 * grid.sizes.len() / 2, ABOVE + CELL.1 * grid.threads.len() / 2);
    let _ = write!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">data / memory</text><text x=\"16\" y=\"{up}\" \
         text-anchor=\"middle\" transform=\"rotate(-90 16 {up})\">threads</text></svg>",
        below + 37
    );
    svg
}

/// The colour of a side that wins by a factor: the stronger the more, on a scale of logarithms.
fn colour(side: usize, factor: f64) -> String {
    let strength = (factor.max(1.0).ln() / FULL.ln()).min(1.0).mul_add(0.8, 0.2);
    let (r, g, b) = COLOURS[side.min(1)];
    let mixed = [r, g, b].map(|full| (255.0 + (full - 255.0) * strength).round() as u8);
    format!("#{:02x}{:02x}{:02x}", mixed[0], mixed[1], mixed[2])
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

fn table(html: &mut String, sweep: &Sweep) {
    html.push_str(
        "<table><tr><th>data<th>threads<th>repeats<th>side<th>ops/s<th>factor<th>p50, us<th>p99, us<th>cpu/op, us\
         <th>soft faults/op<th>hard faults/op<th>disk bytes/op",
    );
    let letters = letters(&sweep.settings.sides);
    for place in sweep.settings.grid.places() {
        let repeats = sweep.repeats.iter().filter(|repeat| repeat.place == place);
        let count = repeats.clone().count();
        if count == 0 {
            continue;
        }
        let wins = cell(&standing(&sweep.repeats, place, Measure::Rate), letters);
        for (side, name) in sweep.settings.sides.iter().enumerate() {
            let _ = write!(
                html,
                "<tr><td>{}x<td>{}<td>{count}<td>{}",
                sweep.settings.grid.sizes[place.size],
                sweep.settings.grid.threads[place.threads],
                escape(name)
            );
            let of = |of: fn(&Figures) -> f64| figure(&sweep.repeats, place, side, of);
            let Some(rate) = of(|f| f.rate) else {
                let died = repeats.clone().find_map(|repeat| repeat.sides[side].as_ref().err());
                let how = died.map(ToString::to_string).unwrap_or_default();
                let _ = write!(html, "<td colspan=8>{}", escape(&how));
                continue;
            };
            let _ = write!(html, "<td>{rate:.0}<td>{wins}");
            for value in [of(|f| f.p50_ns / 1e3), of(|f| f.p99_ns / 1e3), of(|f| f.cpu_ns / 1e3)] {
                let _ = write!(html, "<td>{}", value.map_or_else(|| "-".into(), short));
            }
            for value in [of(|f| f.soft_faults), of(|f| f.hard_faults)] {
                let _ = write!(html, "<td>{}", value.map_or_else(|| "-".into(), |v| format!("{v:.3}")));
            }
            let read = of(|f| f.read_bytes.unwrap_or(f64::NAN));
            let _ = write!(html, "<td>{}", read.map_or_else(|| "-".into(), |v| format!("{v:.0}")));
        }
    }
    html.push_str("</table>");
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
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
            let svg = svg(&sweep, measure);
            assert_eq!(svg.matches("<rect").count(), 12);
            assert_eq!(svg.matches("stroke-dasharray").count(), 9, "cells not run are drawn as such");
            assert_eq!(svg.matches('<').count(), svg.matches('>').count());
        }
        let svg = svg(&sweep, Measure::Rate);
        assert!(svg.contains(">M1.50?<") && svg.contains(">P10.0?<") && svg.contains(">P!<"), "{svg}");
        assert!(svg.contains(&colour(1, 100.0)) && colour(1, 100.0) == colour(1, FULL));
        assert_ne!(colour(0, 1.1), colour(0, 2.0));
        let page = page(&sweep);
        assert!(page.contains("&lt;oh &amp; no&gt;") && !page.contains("<oh"));
        assert!(
            !page.contains("http:")
                || page.matches("http://www.w3.org/2000/svg").count() == page.matches("http:").count()
        );
        assert!(page.contains("data / memory") && page.contains("<li>throughput: "));
    }
}
