//! Placeholder.
/// Placeholder.
#[derive(Debug, Default)]
pub struct MemFs;
