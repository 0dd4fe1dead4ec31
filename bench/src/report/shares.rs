//! Rates as shares of what the machine can do.
#![forbid(unsafe_code)]

use super::{Part, Row};
use crate::limits::Limits;
use crate::workload::Work;
use crate::{Durability, Store, for_each_store};

/// Reads from the disk for an operation, from which on the disk is what a rate is compared with.
const READS: f64 = 0.05;

/// How near a side is to the limit that bounds its work, and what limit that is; `None` if none of those measured does.
///
/// Work that reads from the disk is compared with the disk's random reads at as many under way as there are threads;
/// commits of one thread that wait for the disk, with a bare write and sync.
pub fn share(row: &Row<'_>, part: &Part, workload: &str, limits: &Limits) -> Option<(f64, String)> {
    let reads = row.value(|outcome| {
        outcome.disk.as_ref().map_or(f64::NAN, |disk| disk.reads as f64 / outcome.operations.max(1) as f64)
    })?;
    let threads = part.pace.threads;
    if reads.median > READS {
        let limit = limits.random_reads(usize::try_from(threads).unwrap_or(usize::MAX))?;
        let rate = row.value(|outcome| {
            outcome.disk.as_ref().map_or(f64::NAN, |disk| disk.reads as f64 / outcome.seconds)
        })?;
        let share = limit.share(rate.median);
        // More than the disk can do was somebody else's as well.
        return (share <= 1.1).then(|| (share, limit.name.clone()));
    }
    let work = &part.workloads.iter().find(|known| known.name == workload)?.work;
    let Work::Run(roles) = work else { return None };
    let role = roles.iter().find(|role| role.measured)?;
    if role.writes() && role.durability == Durability::Synced && threads == 1 && syncs(row.side) {
        let limit = limits.get("sync-overwrite")?;
        let commits = row.rate?.median / role.per_txn as f64;
        return Some((limit.share(1e6 / commits), limit.name.clone()));
    }
    None
}

/// Whether the store has durable commits at all.
fn syncs(side: &str) -> bool {
    let mut syncs = false;
    for_each_store!(S => syncs |= S::NAME == side && S::SYNCED.is_some());
    syncs
}
