//! The B+tree: reading it, changing it.

pub(crate) mod change;
mod cut;
mod edit;
mod restructure;

#[cfg(test)]
mod model_tests;
