//! Which sync of a recorded run is which: told by what is pending when it ends and by what comes next.

use super::{DB, LOG};
use bifold_page_source::testing::{FileId, Op};
use std::path::Path;

/// Bytes of the database file's head, where the metas lie.
pub(crate) const HEAD: u64 = 16 << 10;
/// Bytes of the log's heads.
pub(crate) const LOG_HEADS: u64 = 1024;

/// What a sync makes durable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Sync {
    /// A new database's content, before it has a name.
    Created,
    /// The new database's name: by whoever creates it, and again by whoever opens it.
    Named,
    /// A new log's content; there may be several syncs.
    Log,
    /// The new log's name.
    LogNamed,
    /// The meta that says the new log is live.
    LogLive,
    /// Extents written before their commit.
    Extents,
    /// A commit's record in the log.
    Record,
    /// A checkpoint's pages.
    Pages,
    /// A checkpoint's meta, and what the log holds from there on.
    Meta,
    /// The meta that says the log is no longer needed.
    MetaClosed,
    /// That the log has no name any more.
    LogRemoved,
    /// The meta of a file that is about to be cut.
    MetaTrimmed,
    /// The cut.
    Trimmed,
    /// Nothing: there was nothing to make durable.
    Idle,
}

/// The files of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    Db,
    Log,
}

/// Tells the files of a log of operations apart.
#[derive(Debug)]
pub(crate) struct Files {
    db: Option<FileId>,
    logs: Vec<FileId>,
}

impl Files {
    pub(crate) fn of(ops: &[Op]) -> Self {
        let mut files = Self { db: None, logs: Vec::new() };
        for op in ops {
            match op {
                Op::Publish { file, path } | Op::Exists { file, path, .. } if path == Path::new(DB) => {
                    files.db = Some(*file);
                }
                Op::Create { file, path: Some(path) } | Op::Exists { file, path, .. }
                    if path == Path::new(LOG) =>
                {
                    files.logs.push(*file);
                }
                _ => {}
            }
        }
        files
    }

    pub(crate) fn which(&self, file: FileId) -> Option<Which> {
        if self.db == Some(file) { Some(Which::Db) } else { self.logs.contains(&file).then_some(Which::Log) }
    }
}

/// What was done to the database file since its last sync.
#[derive(Clone, Copy, Default)]
struct Pending {
    pages: bool,
    meta: bool,
    cut: bool,
}

/// The position of every sync of a run, and which it is.
pub(crate) fn syncs(ops: &[Op]) -> Vec<(usize, Sync)> {
    let files = Files::of(ops);
    let mut found = Vec::new();
    let (mut pending, mut len) = (Pending::default(), 0);
    let (mut published, mut creating_log, mut log_created) = (false, false, false);
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Publish { .. } => published = true,
            Op::Create { path: Some(_), .. } => creating_log = true,
            Op::Write { file, offset, bytes } if files.which(*file) == Some(Which::Db) => {
                if *offset < HEAD {
                    pending.meta = true;
                } else {
                    pending.pages = true;
                }
                len = len.max(offset + bytes.len() as u64);
            }
            Op::SetLen { file, len: new } if files.which(*file) == Some(Which::Db) => {
                pending.cut |= *new < len;
                len = *new;
            }
            Op::SyncDir { .. } => {
                let next = next_change(&ops[at + 1..], &files);
                let after =
                    ops[..at].iter().rev().find(|op| !matches!(op, Op::SyncBegin { .. } | Op::Mark { .. }));
                found.push((
                    at,
                    match after {
                        Some(Op::Unlink { .. }) => Sync::LogRemoved,
                        _ if creating_log => Sync::LogNamed,
                        _ if next == Some(Next::LogCreated) || published => Sync::Named,
                        _ => Sync::Idle,
                    },
                ));
                log_created |= creating_log;
                creating_log = false;
            }
            Op::SyncEnd { file, .. } if files.which(*file) == Some(Which::Log) => {
                found.push((at, if creating_log { Sync::Log } else { Sync::Record }));
            }
            Op::SyncEnd { .. } => {
                let next = next_change(&ops[at + 1..], &files);
                let done = std::mem::take(&mut pending);
                found.push((
                    at,
                    match (published, done.meta, done.pages) {
                        (false, ..) => Sync::Created,
                        (_, true, _) if log_created => Sync::LogLive,
                        (_, true, _) if next == Some(Next::Unlink) => Sync::MetaClosed,
                        (_, true, _) if next == Some(Next::Cut) => Sync::MetaTrimmed,
                        (_, true, _) => Sync::Meta,
                        (_, _, true) if next == Some(Next::Record) => Sync::Extents,
                        (_, _, true) => Sync::Pages,
                        _ if done.cut => Sync::Trimmed,
                        _ => Sync::Idle,
                    },
                ));
                log_created &= !done.meta;
            }
            _ => {}
        }
    }
    found
}

/// The next thing done to the files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Record,
    Db,
    Cut,
    Unlink,
    LogCreated,
}

fn next_change(ops: &[Op], files: &Files) -> Option<Next> {
    ops.iter().find_map(|op| match op {
        Op::Write { file, .. } if files.which(*file) == Some(Which::Log) => Some(Next::Record),
        Op::Write { .. } => Some(Next::Db),
        Op::SetLen { file, .. } if files.which(*file) == Some(Which::Db) => Some(Next::Cut),
        Op::Unlink { .. } => Some(Next::Unlink),
        Op::Create { .. } => Some(Next::LogCreated),
        _ => None,
    })
}
