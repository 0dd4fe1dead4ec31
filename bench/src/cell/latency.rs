//! Latencies, in a form that a report can keep.
#![forbid(unsafe_code)]

use crate::drive::Latencies;
use serde::{Deserialize, Serialize};

/// Quantiles of the curve: dense where they are rare.
const CURVE: [f64; 22] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998,
    0.9999, 0.99995, 0.99999, 1.0,
];

/// How long something took, in nanoseconds.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// How often it was measured.
    pub count: u64,
    /// On average.
    pub mean: f64,
    /// Half took no longer.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// 999 of 1,000 took no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// Quantiles, from 0 to 1, and what no more took; those left out for which there are too few.
    pub curve: Vec<(f64, u64)>,
}

impl Latency {
    /// Of a histogram.
    pub fn of(latencies: &Latencies) -> Self {
        let at = |quantile| latencies.value_at_quantile(quantile);
        let known = |quantile: &f64| (1.0 - quantile) * latencies.len() as f64 >= 1.0 || *quantile >= 1.0;
        Self {
            count: latencies.len(),
            mean: latencies.mean(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: latencies.max(),
            curve: CURVE.iter().copied().filter(known).map(|quantile| (quantile, at(quantile))).collect(),
        }
    }
}
