//! What an advice says beside its figures: of memory, of writes, and what would change it.
#![forbid(unsafe_code)]

use super::advice::{Basis, Choice};
use super::measure::{Bound, cache_for};
use crate::Durability;
use crate::compare::durability;
use crate::crossover::{Measure, Standing};

impl Basis<'_> {
    /// How much memory there was, what fits it, and how it was divided.
    pub(super) fn words_of_memory(&self) -> String {
        let (table, memory) = (self.facts.table_bytes, self.memory);
        let cache = cache_for(memory, table);
        let cache = if cache < memory / 8 * 5 {
            format!("The pool's cache is what the table needs, {} MiB", cache >> 20)
        } else {
            format!("The pool's cache is five eighths of it, {} MiB", cache >> 20)
        };
        let delta = match self.written_with() {
            Some(setup) => {
                format!("; changes held back may take {} MiB on either side", setup.delta_bytes >> 20)
            }
            None => String::new(),
        };
        let bounded = if self.unbounded.is_none() {
            ". Each run had that in all, the page cache of its file among it"
        } else {
            ""
        };
        format!(
            "Memory: {} MiB, {}; the table is {:.2} times that{bounded}. {cache}, or half of that{delta}.",
            memory >> 20,
            self.memory_origin,
            table as f64 / memory as f64
        )
    }

    /// What the writes do to the choice, if the reads were measured alone too.
    pub(super) fn effect_of_writes(&self) -> Option<String> {
        let all = self.standing(Bound::Asked, false, Measure::Rate)?;
        let alone = self.standing(Bound::Asked, true, Measure::Rate)?;
        let fast = |side, factor: f64| format!("{} is {factor:.2} times as fast", spoken(side));
        Some(match (alone, all) {
            (Standing::Wins { side, factor, .. }, Standing::Wins { side: now, factor: then, .. }) => {
                let reads = fast(side, factor);
                if side != now {
                    format!("The writes turn it: by its reads alone {reads}")
                } else if then < factor {
                    format!("By its reads alone {reads}: the writes narrow that")
                } else {
                    format!("By its reads alone {reads}: the writes widen that")
                }
            }
            (Standing::Wins { side, factor, .. }, Standing::Even { .. }) => {
                format!("By its reads alone {}; the writes take that away", fast(side, factor))
            }
            (Standing::Even { .. }, Standing::Wins { .. }) => {
                "It is the writes that decide: by its reads alone the runs bear out no difference".into()
            }
            (Standing::Even { .. }, Standing::Even { .. }) => {
                "By its reads alone the runs bear out no difference either".into()
            }
            _ => return None,
        })
    }

    /// What would change the advice.
    pub(super) fn changes(&self, choice: &Choice) -> Vec<String> {
        let mut changes = vec![self.change_of_size(choice)];
        if choice.side == 1 {
            changes.extend(self.change_of_cache());
        } else if self.facts.table_bytes <= self.memory {
            changes.push(
                "other programs: what the map has in memory is the kernel's page cache, which they push out when they \
                 need memory; the pool's cache is the process's own"
                    .into(),
            );
        }
        changes.push(
            "a disk that fails: a page that cannot be read ends the process by SIGBUS with mmap, and is an error of \
             the call with the pool"
                .into(),
        );
        changes.push("another pattern (--assume, --trace), or another number of threads (--threads)".into());
        changes.push(if self.pattern.workload.writes() {
            let (syncs, option) = match durability(&self.pattern.workload.work) {
                Durability::Synced => ("that wait for no sync", "--unsynced"),
                Durability::Unsynced => ("that wait for a sync", "without --unsynced"),
            };
            format!(
                "another share of writes, commits of more entries, or commits {syncs} (--writes, --per-txn, {option}); \
                 runs of seconds do not show what fills up in hours"
            )
        } else {
            "writing: only reads were measured; --writes 0.1, or a trace with commits, measures both on a copy".into()
        });
        changes
    }

    /// More data, if they fit; more memory, if they do not.
    fn change_of_size(&self, choice: &Choice) -> String {
        let (table, memory) = (self.facts.table_bytes, self.memory);
        if table > memory {
            return format!(
                "more memory: from {} MiB on, all of the table fits (--memory asks what is best then)",
                (table / 8 * 9) >> 20
            );
        }
        let name = spoken(choice.side);
        let per_entry = table as f64 / self.facts.entries as f64;
        let beyond = format!(
            "growth: the table passes {} MiB of memory at about {} entries",
            memory >> 20,
            round(memory as f64 / per_entry.max(1.0))
        );
        match self.standing(Bound::Tight, false, Measure::Rate) {
            Some(Standing::Wins { side, factor, .. }) if side == choice.side => {
                format!(
                    "{beyond}; but with a quarter of the table in memory {name} wins too, {factor:.2} times as fast"
                )
            }
            Some(Standing::Wins { side, factor, .. }) => {
                format!(
                    "{beyond}; with a quarter of it in memory {} is {factor:.2} times as fast",
                    spoken(side)
                )
            }
            Some(Standing::Alone { side }) => {
                format!("{beyond}; with a quarter of it in memory only {} came to a result", spoken(side))
            }
            Some(Standing::Even { .. }) => {
                format!("{beyond}; with a quarter of it in memory the runs bear out no difference")
            }
            _ => format!("{beyond}; what is best then was not measured (--memory asks)"),
        }
    }

    /// What the larger of the pool's two caches is worth.
    fn change_of_cache(&self) -> Option<String> {
        let sizes: Vec<(u64, f64)> = self
            .configs(1, Bound::Asked, false)
            .into_iter()
            .filter_map(|config| Some((self.plan.configs.get(config)?.cache, self.rate(config)?)))
            .collect();
        let [(large, fast), (small, slow), ..] = sizes.as_slice() else { return None };
        Some(format!(
            "the cache: {} MiB of it give {:.2} times the rate of {} MiB",
            large >> 20,
            fast / slow.max(1e-9),
            small >> 20
        ))
    }
}

/// A side as one speaks of it.
pub(super) fn spoken(side: usize) -> &'static str {
    if side == 0 { "mmap" } else { "the pool" }
}

pub(super) fn better(measure: Measure) -> &'static str {
    match measure {
        Measure::Rate => "times as fast",
        Measure::P99 => "times as quick in p99",
        Measure::Cpu => "times as cheap in processor time",
    }
}

/// A number to two digits, in words that are read at a glance.
fn round(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.1} billion", v / 1e9),
        v if v >= 1e6 => format!("{:.1} million", v / 1e6),
        v => format!("{v:.0}"),
    }
}
