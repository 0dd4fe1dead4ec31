//! The B+tree: reading it, changing it.

pub(crate) mod access;
pub(crate) mod bulk;
pub(crate) mod change;
pub(crate) mod cursor;
mod cut;
mod edit;
pub(crate) mod gap;
pub(crate) mod get;
pub(crate) mod get_many;
pub(crate) mod position;
mod read_ahead;
mod restructure;
pub(crate) mod scan;
pub(crate) mod touch;

#[cfg(test)]
mod bulk_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
pub(crate) mod test_tree;
