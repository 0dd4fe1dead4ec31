//! A small writer of SVG: plots, which are a frame with axes, linear or logarithmic, and marks in a side's colour; and maps
//! of cells.
//!
//! Colours and text come from the page's style sheet (`currentColor`, classes), so that one picture serves light and
//! dark; a plotting library would fix both in the picture.
#![forbid(unsafe_code)]

use super::html::escape;
use std::fmt::Write;

/// The width of plots, in units of their own; a map with many columns is wider.
pub(crate) const WIDTH: f64 = 420.0;
/// Room at the left for labels of the upright axis.
const LEFT: f64 = 58.0;
/// Room at the right.
const RIGHT: f64 = 14.0;
/// Room above.
const TOP: f64 = 28.0;
/// Room below for labels.
const BOTTOM: f64 = 36.0;

/// Where values lie on an axis: from 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Scale {
    /// Even.
    Linear { least: f64, most: f64 },
    /// Even in powers of ten; of values above 0.
    Log { least: f64, most: f64 },
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        let (least, most, value) = match self {
            Self::Linear { least, most } => (least, most, value),
            Self::Log { least, most } => (least.log10(), most.log10(), value.max(least).log10()),
        };
        let span = most - least;
        let place = (value - least) / span;
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// From 0 to `most` or a little more.
    pub(crate) fn from_zero(most: f64) -> Self {
        Self::Linear { least: 0.0, most: if most > 0.0 { most * 1.04 } else { 1.0 } }
    }

    /// Whole decades around what there is.
    pub(crate) fn decades(least: f64, most: f64) -> Self {
        let from = 10f64.powf(least.max(1e-9).log10().floor());
        let to = 10f64.powf(most.max(1e-9).log10().ceil());
        Self::Log { least: from, most: if to > from { to } else { from * 10.0 } }
    }

    /// Where marks are to stand.
    pub(crate) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { least, most } => {
                let step = nice((most - least) / 5.0);
                if step <= 0.0 || !(most / step).is_finite() {
                    return vec![least];
                }
                let first = (least / step).ceil();
                (0..=10).map(|i| (first + f64::from(i)) * step).take_while(|tick| *tick <= most).collect()
            }
            Self::Log { least, most } => {
                let decades = (most / least).log10().round() as i32;
                let every = (decades / 6).max(0) + 1;
                let powers = (0..=decades).filter(|i| i % every == 0);
                let steps: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let all = powers.flat_map(|i| steps.iter().map(move |step| least * 10f64.powi(i) * step));
                all.filter(|tick| *tick <= most * 1.001).collect()
            }
        }
    }
}

/// The next of 1, 2, 5, 10, 20 and so on.
fn nice(step: f64) -> f64 {
    if !step.is_finite() || step <= 0.0 {
        return 0.0;
    }
    let power = 10f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= step * 0.999).unwrap_or(10.0);
    times * power
}

/// A count as a label: `0`, `250`, `1.5 M`.
pub(crate) fn count(value: f64) -> String {
    let (part, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, " G"),
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    // Without what the steps' sums leave behind the third digit.
    format!("{}{unit}", (part * 1000.0).round() / 1000.0)
}

/// A plot that is being drawn.
#[derive(Debug)]
pub(crate) struct Plot {
    text: String,
    x: Scale,
    y: Scale,
    width: f64,
    height: f64,
}

impl Plot {
    /// An empty one, of this height. `id` is the page's only one; `title` and `about` are for those who do not see it,
    /// and are escaped here.
    pub(crate) fn new(id: &str, title: &str, about: &str, height: f64, x: Scale, y: Scale) -> Self {
        Self { text: open(id, title, about, (WIDTH, height)), x, y, width: WIDTH, height }
    }

    /// An empty map of so many columns and rows, of cells of at least this width and this height. A column's middle lies
    /// at its index and a half, as a row's does, from below.
    pub(crate) fn map(
        id: &str,
        title: &str,
        about: &str,
        (columns, rows): (usize, usize),
        (wide, high): (f64, f64),
    ) -> Self {
        let until = |most: usize| Scale::Linear { least: 0.0, most: most.max(1) as f64 };
        let width = (LEFT + wide * columns as f64 + RIGHT).max(WIDTH);
        let height = TOP + high * rows as f64 + BOTTOM;
        let text = open(id, title, about, (width, height));
        Self { text, x: until(columns), y: until(rows), width, height }
    }

    /// A cell of a map, in a class of colours, more or less of it from 0 to 1, with a word in its middle and more for who
    /// points at it.
    pub(crate) fn cell(
        &mut self,
        (column, row): (usize, usize),
        class: &str,
        much: f64,
        word: &str,
        tip: &str,
    ) {
        let (left, right) = (self.px(column as f64), self.px(column as f64 + 1.0));
        let (bottom, top) = (self.py(row as f64), self.py(row as f64 + 1.0));
        let _ = write!(
            self.text,
            "<g class=\"h\"><title>{}</title><rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\" fill-opacity=\"{much:.2}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            escape(tip),
            left + 1.0,
            top + 1.0,
            right - left - 2.0,
            bottom - top - 2.0,
            f64::midpoint(left, right),
            f64::midpoint(top, bottom) + 5.0,
            escape(word)
        );
    }

    fn px(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (self.width - LEFT - RIGHT)
    }

    fn py(&self, value: f64) -> f64 {
        let bottom = self.height - BOTTOM;
        bottom - self.y.place(value) * (bottom - TOP)
    }

    /// Lines and labels of the upright axis; `what` it is stands above.
    pub(crate) fn upright(&mut self, what: &str, label: impl Fn(f64) -> String) {
        let right = self.width - RIGHT;
        let ticks: Vec<_> = self.y.ticks().into_iter().map(|tick| (tick, label(tick))).collect();
        let lines = ticks.iter().fold(String::new(), |mut lines, (tick, _)| {
            let _ = write!(lines, "M{LEFT} {:.1}H{right}", self.py(*tick));
            lines
        });
        let _ = write!(self.text, "<path class=\"g\" d=\"{lines}\"/>");
        self.upright_at(what, &ticks);
    }

    /// Labels of the upright axis at these places; `what` it is stands above.
    pub(crate) fn upright_at(&mut self, what: &str, ticks: &[(f64, String)]) {
        let labels = ticks.iter().fold(String::new(), |mut labels, (tick, label)| {
            let (x, y) = (LEFT - 6.0, self.py(*tick) + 4.0);
            let _ = write!(labels, "<text x=\"{x:.0}\" y=\"{y:.1}\">{}</text>", escape(label));
            labels
        });
        let _ =
            write!(self.text, "<g class=\"e\">{labels}</g><text x=\"4\" y=\"12\">{}</text>", escape(what));
    }

    /// Labels of the level axis at these places; `what` it is stands below.
    pub(crate) fn level(&mut self, what: &str, ticks: &[(f64, String)]) {
        let bottom = self.height - BOTTOM;
        let mut lines = String::new();
        let mut labels = String::new();
        for (tick, label) in ticks {
            let x = self.px(*tick);
            let _ = write!(lines, "M{x:.1} {bottom:.1}v4");
            let _ = write!(labels, "<text x=\"{x:.1}\" y=\"{:.1}\">{}</text>", bottom + 16.0, escape(label));
        }
        let _ = write!(
            self.text,
            "<path class=\"a\" d=\"M{LEFT} {bottom:.1}H{:.1}{lines}\"/><g class=\"m\">{labels}</g>\
             <text class=\"n\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            self.width - RIGHT,
            self.width - RIGHT,
            self.height - 4.0,
            escape(what)
        );
    }

    /// A line through points, in the colour of a side.
    pub(crate) fn line(&mut self, side: usize, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let first = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{first}{:.1} {:.1}", self.px(x), self.py(y));
        }
        if !path.is_empty() {
            let _ = write!(self.text, "<path class=\"l s{side}\" d=\"{path}\"/>");
        }
    }

    /// Short strokes above the level axis at these values, in the lane of a side.
    pub(crate) fn strokes(&mut self, side: usize, lane: usize, at: impl IntoIterator<Item = f64>) {
        let y = self.height - BOTTOM - 1.0 - 8.0 * lane as f64;
        let mut places: Vec<i64> = at.into_iter().map(|x| self.px(x).round() as i64).collect();
        // What falls together is drawn once.
        places.dedup();
        let path = places.iter().fold(String::new(), |mut path, x| {
            let _ = write!(path, "M{x} {y:.0}v-6");
            path
        });
        if !path.is_empty() {
            let _ = write!(self.text, "<path class=\"t s{side}\" d=\"{path}\"/>");
        }
    }

    /// The picture.
    pub(crate) fn end(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }
}

/// The beginning of a picture, with its title and description.
pub(crate) fn open(id: &str, title: &str, about: &str, (width, height): (f64, f64)) -> String {
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
        escape(title),
        escape(about)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within() {
        assert_eq!(Scale::from_zero(480.0).ticks(), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(Scale::decades(120.0, 4000.0).ticks().len(), 7);
        assert_eq!(Scale::decades(120.0, 4e9).ticks().len(), 5);
        assert_eq!(Scale::decades(100.0, 100.0).ticks(), [100.0, 200.0, 500.0, 1000.0]);
        assert_eq!(Scale::from_zero(0.0).ticks().len(), 6);
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(Scale::from_zero(bad).ticks().len() <= 11);
        }
        assert_eq!([0.0, 250.0, 1.5e6, 3.0 * 0.1 * 1e3].map(count), ["0", "250", "1.5 M", "300"]);
    }

    #[test]
    fn values_lie_within_the_frame() {
        let log = Scale::decades(10.0, 1000.0);
        for (value, place) in
            [(10.0, 0.0), (100.0, 0.5), (1000.0, 1.0), (0.0, 0.0), (1e9, 1.0), (f64::NAN, 0.0)]
        {
            assert!((log.place(value) - place).abs() < 1e-9, "{value}");
        }
        let mut plot =
            Plot::new("x", "a < b", "c & d", 200.0, Scale::from_zero(1.0), Scale::from_zero(f64::NAN));
        plot.line(0, [(0.5, 0.5), (f64::NAN, 1.0)]);
        plot.strokes(1, 0, [0.1, 0.1001, 0.9]);
        let text = plot.end();
        assert!(text.contains("a &lt; b") && text.contains("c &amp; d"), "{text}");
        assert_eq!(text.matches("v-6").count(), 2, "{text}");
    }
}
