//! Something that can be measured again and again.
#![forbid(unsafe_code)]

use crate::Result;
use std::time::Duration;

/// One figure's measurement, ready to be taken.
pub(super) trait Probe {
    /// Measures for about `time`, and returns the figure in its unit: a mean over all that was done.
    ///
    /// # Errors
    /// I/O errors, and bytes that are not those that were written.
    fn sample(&mut self, time: Duration) -> Result<f64>;

    /// How it was measured, and what is to be known of it; asked when all samples are taken.
    fn note(&self) -> String;
}
