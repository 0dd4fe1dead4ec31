//! What a commit survives, as its caller chooses.
#![forbid(unsafe_code)]

/// What a commit must have survived before it counts: chosen for a database
/// ([`Builder::durability`](crate::Builder::durability)) or a transaction
/// ([`WriteTxn::set_durability`](crate::WriteTxn::set_durability)).
///
/// No choice can corrupt a file: after a crash the database opens to the state after some commit, with every commit
/// before it. A weaker choice only means that this may be an earlier one.
///
/// | | returns when | survives the process | survives power loss |
/// | --- | --- | --- | --- |
/// | `Sync` | the log is synced | yes | yes |
/// | `Buffered` | the operating system has it | yes | once synced: within a second |
/// | `Deferred` | it is in memory | once synced or checkpointed: within a second | the same |
///
/// A commit is never durable before those before it are; a sync of one is a sync of all before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Durability {
    /// In memory alone, until the next sync or checkpoint.
    Deferred,
    /// Handed to the operating system: survives the death of the process, and not that of the system.
    Buffered,
    /// Synced: survives the death of process, system, and power.
    #[default]
    Sync,
}
