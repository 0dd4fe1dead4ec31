//! How far a load has come: a bar on a terminal, and a summary at the end in any case.
#![forbid(unsafe_code)]

use crate::output::entries;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::fmt;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Entries between two looks at the clock.
const STRIDE: u64 = 1024;

/// Counts entries, and shows them if standard error is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    began: Instant,
    entries: u64,
    bytes: u64,
    /// Entries put into the table after sorting.
    put: u64,
}

impl Progress {
    /// Begins now; `len` is the bytes to come, where that is known.
    pub(crate) fn new(len: Option<u64>) -> Self {
        let (bar, style) = match len {
            _ if !io::stderr().is_terminal() => (ProgressBar::hidden(), None),
            Some(len) => (ProgressBar::new(len), Some("{bar:20} {percent:>3} %  {msg}")),
            None => (ProgressBar::new_spinner(), Some("{spinner} {binary_bytes:>12}  {msg}")),
        };
        if let Some(style) = style.and_then(|style| ProgressStyle::with_template(style).ok()) {
            bar.set_style(style);
        }
        Self { bar, began: Instant::now(), entries: 0, bytes: 0, put: 0 }
    }

    /// One more entry, which took `bytes` of the input.
    pub(crate) fn entry(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
        if self.entries.is_multiple_of(STRIDE) {
            self.show();
        }
    }

    fn show(&self) {
        if self.bar.is_hidden() {
            return;
        }
        let summary = self.summary();
        let rate = HumanCount(summary.rate() as u64);
        self.bar.set_message(format!("{} entries, {rate} entries/s", HumanCount(self.entries)));
        self.bar.set_position(self.bytes);
    }

    /// All is read and being sorted; from now on [`put`](Self::put) counts.
    pub(crate) fn sorting(&self) {
        self.show();
        self.bar.set_message(format!("{} entries, sorting", HumanCount(self.entries)));
    }

    /// One more of the sorted entries is in the table.
    pub(crate) fn put(&mut self) {
        self.put += 1;
        if self.put.is_multiple_of(STRIDE) && !self.bar.is_hidden() {
            let (put, all) = (HumanCount(self.put), HumanCount(self.entries));
            self.bar.set_message(format!("{put} of {all} sorted entries loaded"));
        }
    }

    /// All is read, and is now being committed.
    pub(crate) fn committing(&self) {
        self.show();
        self.bar.set_message(format!("{} entries, committing", HumanCount(self.entries)));
    }

    /// Takes the bar away. Also done when it is dropped.
    pub(crate) fn finish(&self) -> Summary {
        self.bar.finish_and_clear();
        self.summary()
    }

    fn summary(&self) -> Summary {
        Summary { entries: self.entries, time: self.began.elapsed() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What a load did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    /// Lines loaded.
    pub(crate) entries: u64,
    /// From the first read to the end of the commit.
    pub(crate) time: Duration,
}

impl Summary {
    /// Entries per second.
    pub(crate) fn rate(self) -> f64 {
        self.entries as f64 / self.time.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (entries, rate) = (entries(self.entries), HumanCount(self.rate() as u64));
        write!(f, "{entries} in {:.2} s, {rate} entries/s", self.time.as_secs_f64())
    }
}
