//! A measured figure.
#![forbid(unsafe_code)]

use crate::report::median;
use serde::{Deserialize, Serialize};

/// What was measured, from several short repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name, which [`Limits::get`](super::Limits::get) takes.
    pub name: String,
    /// `reads/s` and `MiB/s`, of which more is better; `ns` and `µs`, of which less is.
    pub unit: String,
    /// The median of all repeats, each of which is a mean over all that was done in it.
    pub median: f64,
    /// The least of all repeats.
    pub least: f64,
    /// The most of all repeats.
    pub most: f64,
    /// How it was measured, and what is to be known of it.
    pub note: String,
}

impl Figure {
    /// The figure of these repeats; `None` if there are none.
    pub(super) fn of(name: &str, unit: &str, mut samples: Vec<f64>, note: String) -> Option<Self> {
        samples.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*samples.first()?, *samples.last()?);
        let median = median(&samples)?;
        Some(Self { name: name.into(), unit: unit.into(), median, least, most, note })
    }

    /// Whether more of it is better: it is a rate and not a time.
    pub fn is_rate(&self) -> bool {
        self.unit.ends_with("/s")
    }

    /// What share of this limit `value`, in the figure's unit, is: 1 if it is as good, less if it is worse. A rate's
    /// share is the value over the limit, a time's is the limit over the value. `NaN` for what has no share, as the
    /// share of nothing in nothing.
    pub fn share(&self, value: f64) -> f64 {
        if self.is_rate() { value / self.median } else { self.median / value }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |samples: &[f64]| Figure::of("n", "ns", samples.to_vec(), String::new());
        let figure = of(&[5.0, 1.0, 3.0]).unwrap();
        assert_eq!([figure.least, figure.median, figure.most], [1.0, 3.0, 5.0]);
        assert_eq!(of(&[4.0, 1.0]).unwrap().median, 2.5);
        assert!(of(&[]).is_none());
    }

    #[test]
    fn shares_go_the_right_way() {
        let of = |unit| Figure::of("n", unit, vec![200.0], String::new()).unwrap();
        assert_eq!(of("reads/s").share(100.0), 0.5);
        assert_eq!(of("ns").share(400.0), 0.5);
    }
}
