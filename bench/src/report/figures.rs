//! The figures of an outcome besides its rate, each with a name and a unit: what the page and the diff show.
#![forbid(unsafe_code)]

use super::{bytes, nanos, short};
use crate::cell::{Latency, Outcome};
use crate::usage::Transfers;
use crate::workload::Op;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a figure counts, and so how it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Things, or a ratio.
    Number,
    /// Nanoseconds.
    Nanos,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// A value in few characters; `-` for one that is not known.
    pub fn show(self, value: f64) -> String {
        match self {
            _ if !value.is_finite() => "-".into(),
            Self::Number => short(value),
            Self::Nanos => nanos(value),
            // Less than a byte an operation is something.
            Self::Bytes if value < 10.0 => format!("{} B", short(value)),
            Self::Bytes => bytes(value),
        }
    }
}

/// One figure of an outcome.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name in a report.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Its value; NaN where it was not counted.
    pub of: fn(&Outcome) -> f64,
}

fn per_op(outcome: &Outcome, count: u64) -> f64 {
    count as f64 / outcome.operations.max(1) as f64
}

fn disk(outcome: &Outcome, count: impl Fn(&Transfers) -> u64) -> f64 {
    outcome.disk.as_ref().map_or(f64::NAN, |disk| count(disk) as f64)
}

impl Figure {
    /// Processor time of the whole process for an operation.
    pub const CPU: Self = Self {
        name: "processor time per operation",
        unit: Unit::Nanos,
        of: |outcome| outcome.cpu_per_op() * 1e9,
    };
    /// Bytes that came from the disk and reached it, for an operation.
    pub const DISK: Self = Self {
        name: "bytes read from and written to disk per operation",
        unit: Unit::Bytes,
        of: |outcome| {
            disk(outcome, |disk| disk.read_bytes + disk.written_bytes) / outcome.operations.max(1) as f64
        },
    };

    /// What an operation costs.
    pub const COSTS: [Self; 6] = [
        Self::CPU,
        Self {
            name: "of it, in the kernel",
            unit: Unit::Nanos,
            of: |outcome| per_op(outcome, outcome.usage.system_ns),
        },
        Self {
            name: "system calls",
            unit: Unit::Number,
            of: |outcome| outcome.usage.system_calls.map_or(f64::NAN, |calls| per_op(outcome, calls.count)),
        },
        Self {
            name: "soft page faults",
            unit: Unit::Number,
            of: |outcome| per_op(outcome, outcome.usage.soft_faults),
        },
        Self {
            name: "hard page faults",
            unit: Unit::Number,
            of: |outcome| per_op(outcome, outcome.usage.hard_faults),
        },
        Self {
            name: "context switches",
            unit: Unit::Number,
            of: |outcome| {
                let usage = &outcome.usage;
                per_op(outcome, usage.voluntary_switches + usage.involuntary_switches)
            },
        },
    ];

    /// What reached the disk or came from it.
    pub const TRANSFERS: [Self; 4] = [
        Self {
            name: "read from disk per operation",
            unit: Unit::Bytes,
            of: |outcome| disk(outcome, |disk| disk.read_bytes) / outcome.operations.max(1) as f64,
        },
        Self {
            name: "written to disk per operation",
            unit: Unit::Bytes,
            of: |outcome| disk(outcome, |disk| disk.written_bytes) / outcome.operations.max(1) as f64,
        },
        Self {
            name: "read amplification",
            unit: Unit::Number,
            // Nothing asked for is no ratio: infinite or NaN, and left out either way.
            of: |outcome| disk(outcome, |disk| disk.read_bytes) / outcome.bytes_read as f64,
        },
        Self {
            name: "write amplification",
            unit: Unit::Number,
            of: |outcome| disk(outcome, |disk| disk.written_bytes) / outcome.bytes_written as f64,
        },
    ];

    /// What it takes of memory and of the file system.
    pub const SIZES: [Self; 2] = [
        Self {
            name: "peak resident memory",
            unit: Unit::Bytes,
            of: |outcome| outcome.usage.memory.map_or(f64::NAN, |memory| memory.peak as f64),
        },
        Self { name: "size of its files", unit: Unit::Bytes, of: |outcome| outcome.file_bytes as f64 },
    ];
}

/// The latencies of `op`, if it was done.
pub fn latency_of(outcome: &Outcome, op: Op) -> Option<&Latency> {
    outcome
        .ops
        .iter()
        .find(|done| done.op == op)
        .map(|done| &done.latency)
        .filter(|latency| latency.count > 0)
}

/// The kinds of operation in `outcomes`, the one that was done most often first.
///
/// That is asked of all sides and rounds together, so that one side's reads do not stand beside another's updates.
pub fn ops_of<'o>(outcomes: impl IntoIterator<Item = &'o Outcome>) -> Vec<Op> {
    let mut counts: BTreeMap<Op, u64> = BTreeMap::new();
    for done in outcomes.into_iter().flat_map(|outcome| &outcome.ops) {
        let count = counts.entry(done.op).or_default();
        *count = count.saturating_add(done.count);
    }
    let mut ops: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    // A sort that is stable: of kinds as frequent, the first in their own order.
    ops.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ops.into_iter().map(|(op, _)| op).collect()
}
