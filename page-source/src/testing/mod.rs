//! What tests put around the two seams: recorded, crashed, failing and gated files; a source that catches broken
//! promises; and the suite that every source must pass. Built with the feature `testing` only.
#![expect(clippy::unwrap_used, reason = "test code: what fails here is to panic")]
#![expect(clippy::needless_for_each, reason = "test code: one line a check")]

pub mod conformance;
pub mod crash;
pub mod faults;
pub mod pages;
pub mod recording;
pub mod stale_view;

pub use crash::{CrashPlan, Crashes, Image, SECTOR, sync_points};
pub use faults::{Fault, FaultFs, Gate, OpKind};
pub use recording::{FileId, Op, RecordingFs};
pub use stale_view::StaleViewSource;
