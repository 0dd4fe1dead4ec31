//! The write-ahead log: a ring of sectors in a file beside the database.
//!
//! What is here knows bytes and sequence numbers, not what a commit means, and has no threads: whoever owns the
//! [`Wal`] guards it, and may run a [`PendingSync`] outside that guard.
//!
//! **Every sector is written once a lap.** Records are gathered in memory and written together, from a fresh sector
//! on; the last one is padded. So a sector is, at any time and after any crash, as it was a lap ago or as it is
//! meant to be, and what a crash keeps of a lap is whole up to the first sector that it lost. The tail is a sector
//! of an older lap, and nothing else is: a sector that fails its checksum, one of zeros, or one of a newer lap is
//! damage, as is a record that breaks off in sectors of the right lap. Each sector also says which sectors before
//! it were durable when it was written; if the tail is among those, a write was lost, which is damage too.
//!
//! **What lies ahead is older.** When the writer stands at sector `s` in lap `n`, every sector from `s` to the end
//! has a lap below `n`, and every sector before `s` one of `n` at most. Writing keeps this so, and so does growth,
//! which adds sectors of lap 0 at the end while the writer stands there. A crash can leave sectors beyond the tail
//! (of lap `n` ahead of it, of lap `n + 1` at the ring's beginning). Recovery therefore goes on at the tail in lap
//! `n + 1`, with which the sentence holds again: none of them can be met where its lap is expected. Besides, a new
//! chain begins there, so that not even a record that lies as it should continues an old one.
//!
//! **The crash moments.**
//! - *While the log is created*: the file is written whole, synced, and its name made durable, before a meta page
//!   names it. Until then nothing refers to it.
//! - *Between two syncs*: the stream ends at the first sector that was lost. All that was acknowledged lies before
//!   it, as a sync covers all that was written before it began.
//! - *While a sync writes its records itself*: some of its sectors are there, in any order, and sectors behind it may
//!   be, which say that nothing since its beginning was durable when they were written. So the stream ends in it,
//!   and what lies behind was not acknowledged in any way: not as durable, and not as handed over. Nor are its
//!   sectors given to later records before it has ended, even if a checkpoint makes them superfluous: it would
//!   write over them.
//! - *While the log grows*: the new sectors are durable before a head names them, both heads are before a record
//!   lies there. (They may be durable long before, and none of them, or some, after a crash.) If the heads differ, no record lies in the difference, and the larger one is right about the file.
//! - *During recovery*: it reads what is durable (it syncs first and reads past the page cache), and writes nothing
//!   but a head that differs from its copy. A second recovery finds the same.
//! - *After recovery, before a meta page names the new position*: nothing is appended until the owner says, by
//!   [`Wal::retire_to`], that such a page is durable. So the old position still leads to the same records.
//! - *Around a checkpoint's meta page*: sectors before its position are reused only after `retire_to`. Until then
//!   the old and the new position both lead to all records that their checkpoint lacks.
//!
//! The stream, its sectors and the head are laid out in [`mod@format`]. The idea of laps and of a log that tells a torn
//! tail from damage follows Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage" (FAST '18).
#![forbid(unsafe_code)]

mod ahead;
mod batch;
mod choice;
mod create;
mod format;
mod log;
mod pending;
mod position;
mod reader;
mod records;
mod recover;
mod sync;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod sync_tests;
#[cfg(test)]
mod tests;

pub use choice::SyncMethod;
pub(crate) use log::{Appended, Wal};
pub(crate) use pending::PendingSync;
pub(crate) use position::LogStart;
